//! One profile's life on a real API server: created, edited, deleted; each change reaches each node once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use kube::ResourceExt as _;
use realtime_core::cluster::Dialect;
use realtime_core::names;
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool};
use realtime_testing::pool_standin::RenderDelay;
use serde_json::json;
use support::{Cluster, NAME, profile};

fn five_fields() -> serde_json::Value {
    json!({
        "cpu": {"reserved": "0-1", "isolated": "2-7", "power": "UltraLowLatency"},
        "kernel": {"realtime": true, "additionalArguments": ["audit=0"]},
        "memory": {"hugepages": {"defaultSize": "1G", "pages": [{"size": "1G", "count": 2}]}},
        "numa": {"topologyPolicy": "Restricted"},
        "kubelet": {"overrides": {"maxPods": 100}},
        "tuned": {"sysctl": {"vm.swappiness": "10"}}
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_is_created_edited_and_deleted_with_one_reboot_each() {
    let cluster = Cluster::with(Dialect::KernelType, RenderDelay::Random, 3).await;
    let log = cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    let available = cluster.until_available(NAME).await;
    assert_eq!(
        cluster.desired_counts(),
        [2, 2, 2],
        "one new configuration each: {:#?}",
        cluster.desired()
    );
    assert_eq!(cluster.reboots().await, [1, 1, 1]);
    let status = available.status.unwrap();
    let nodes = status.nodes.unwrap();
    assert_eq!((nodes.total, nodes.ready, nodes.realtime_kernel), (3, 3, 3));
    assert_eq!(status.summary.as_deref(), Some("Updated"));
    let writes = cluster.operator_writes();
    for resource in ["kubeletconfigs", "machineconfigs", "tuneds"] {
        let of_it = writes.iter().filter(|write| write.1 == resource).count();
        assert_eq!(of_it, 1, "{resource} written more than once: {writes:#?}");
    }

    // Nothing changes: nothing is written.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = cluster.operator_writes().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let writes = cluster.operator_writes();
    assert_eq!(
        writes.len(),
        before,
        "written while idle: {:?}",
        &writes[before..]
    );

    // Five fields at once.
    cluster.apply(&profile(NAME, five_fields())).await;
    cluster.until_available(NAME).await;
    assert_eq!(
        cluster.desired_counts(),
        [3, 3, 3],
        "one more each: {:#?}",
        cluster.desired()
    );
    assert_eq!(cluster.reboots().await, [2, 2, 2]);

    // Only what needs no reboot.
    let mut tuned = five_fields();
    tuned["tuned"]["sysctl"]["vm.swappiness"] = json!("20");
    cluster.apply(&profile(NAME, tuned)).await;
    cluster.until_available(NAME).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        cluster.desired_counts(),
        [3, 3, 3],
        "no reboot for TuneD: {:#?}",
        cluster.desired()
    );

    // Away with it: the nodes go back, once, and nothing of ours is left.
    cluster.delete_profile(NAME).await;
    cluster.until_gone(NAME).await;
    assert_eq!(cluster.remains().await, Vec::<String>::new());
    assert!(
        cluster
            .api::<MachineConfigPool>()
            .get_opt(NAME)
            .await
            .unwrap()
            .is_none()
    );
    cluster.until_nodes_at_rest_in("worker").await;
    assert_eq!(
        cluster.desired_counts(),
        [4, 4, 4],
        "back, once: {:#?}",
        cluster.desired()
    );
    let worker = cluster
        .api::<MachineConfigPool>()
        .get("worker")
        .await
        .unwrap();
    assert!(
        !worker
            .annotations()
            .contains_key(names::ANNOTATION_NODES_FROM)
    );
    assert_eq!(
        cluster.operator_refusals(),
        vec![],
        "a right is missing; see {}",
        log.display()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_existing_pool_is_used_and_stays() {
    let cluster = Cluster::start().await;
    cluster.create_pool(NAME).await;
    cluster.join(NAME).await;
    cluster.until_nodes_at_rest_in(NAME).await;
    let begin = cluster.desired_counts();
    cluster.operator("operator", &[]).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    cluster.until_available(NAME).await;
    let plus = |by: usize| begin.iter().map(|count| count + by).collect::<Vec<_>>();
    assert_eq!(
        cluster.desired_counts(),
        plus(1),
        "{:#?}",
        cluster.desired()
    );

    cluster.delete_profile(NAME).await;
    cluster.until_gone(NAME).await;
    assert_eq!(cluster.remains().await, Vec::<String>::new());
    let pool = cluster.api::<MachineConfigPool>().get(NAME).await.unwrap();
    assert_ne!(pool.spec.paused, Some(true));
    assert!(
        !pool
            .annotations()
            .contains_key(names::ANNOTATION_PAUSED_FOR)
    );
    assert!(
        !pool.labels().contains_key(&names::pool_label(NAME)),
        "the label that we added: {:?}",
        pool.labels()
    );
    cluster.until_nodes_at_rest_in(NAME).await;
    assert_eq!(
        cluster.desired_counts(),
        plus(2),
        "{:#?}",
        cluster.desired()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admins_pause_is_never_undone() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    cluster.until_available(NAME).await;
    let begin = cluster.desired_counts();
    cluster
        .patch_pool(NAME, json!({"spec": {"paused": true}}))
        .await;
    cluster.apply(&profile(NAME, five_fields())).await;
    cluster
        .until_condition(NAME, "Progressing", "False", "PausedByAdmin")
        .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        cluster
            .api::<MachineConfigPool>()
            .get(NAME)
            .await
            .unwrap()
            .spec
            .paused,
        Some(true)
    );
    assert_eq!(cluster.desired_counts(), begin, "nothing rolls out");
    cluster
        .patch_pool(NAME, json!({"spec": {"paused": false}}))
        .await;
    cluster.until_available(NAME).await;
    let plus: Vec<usize> = begin.iter().map(|count| count + 1).collect();
    assert_eq!(cluster.desired_counts(), plus, "{:#?}", cluster.desired());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_edited_or_deleted_by_hand_comes_back() {
    use kube::api::{DeleteParams, Patch, PatchParams};
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    cluster.until_available(NAME).await;
    let machine = names::machine_config_name(NAME);
    let configs = cluster.api::<MachineConfig>();
    let ours = configs.get(&machine).await.unwrap().spec;

    // Changed, and with something added.
    let by_hand = json!({"spec": {"kernelArguments": ["by=hand"], "extensions": ["usbguard"]}});
    configs
        .patch(&machine, &PatchParams::default(), &Patch::Merge(by_hand))
        .await
        .unwrap();
    support::until(
        "the MachineConfig is as it was",
        &configs,
        &machine,
        |config: Option<&MachineConfig>| config.is_some_and(|config| config.spec == ours),
    )
    .await;
    cluster.until_available(NAME).await;

    // Deleted.
    cluster
        .api::<KubeletConfig>()
        .delete(&names::object_name(NAME), &DeleteParams::default())
        .await
        .unwrap();
    configs
        .delete(&machine, &DeleteParams::default())
        .await
        .unwrap();
    support::until(
        "the MachineConfig is back",
        &configs,
        &machine,
        |config: Option<&MachineConfig>| config.is_some_and(|config| config.spec == ours),
    )
    .await;
    cluster.until_available(NAME).await;
    cluster
        .api::<KubeletConfig>()
        .get(&names::object_name(NAME))
        .await
        .unwrap();
    let pool = cluster.api::<MachineConfigPool>().get(NAME).await.unwrap();
    assert_ne!(pool.spec.paused, Some(true));
    assert!(
        !pool
            .annotations()
            .contains_key(names::ANNOTATION_PAUSED_FOR),
        "{:?}",
        pool.annotations()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_that_names_another_pool_leaves_the_first_one() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.join("first").await;
    cluster
        .apply(&profile(NAME, json!({"pool": {"name": "first"}})))
        .await;
    cluster.until_available(NAME).await;
    // The nodes get the new role, and the profile the new pool.
    for node in &cluster.nodes {
        let labels =
            json!({names::node_role_label("first"): null, names::node_role_label("next"): ""});
        cluster.label(node, labels).await;
    }
    cluster
        .apply(&profile(NAME, json!({"pool": {"name": "next"}})))
        .await;
    cluster.until_available(NAME).await;
    support::until(
        "the first pool is gone",
        &cluster.api::<MachineConfigPool>(),
        "first",
        |pool: Option<&MachineConfigPool>| pool.is_none(),
    )
    .await;
    cluster.until_nodes_at_rest_in("next").await;
    cluster.delete_profile(NAME).await;
    cluster.until_gone(NAME).await;
    assert_eq!(cluster.remains().await, Vec::<String>::new());
}
