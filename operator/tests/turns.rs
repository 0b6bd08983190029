//! Nodes whose kernel their own daemon switches: turns, their limits, the way back, and who drives the kernel.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use rand::RngExt as _;
use realtime_core::api::RealtimeNode;
use realtime_core::cluster::Dialect;
use realtime_core::names;
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool};
use realtime_testing::pool_standin::RenderDelay;
use serde_json::json;
use support::daemons::Daemons;
use support::{Cluster, NAME, message, profile, until};

const MOMENT: Duration = Duration::from_millis(300);

async fn no_trace(cluster: &Cluster) {
    for node in &cluster.nodes {
        until(
            "the label is taken back",
            &cluster.api(),
            node,
            |node: Option<&RealtimeNode>| {
                node.is_none_or(|node| !node.labels().contains_key(names::LABEL_TURN))
            },
        )
        .await;
    }
    until(
        "the pool is unpaused",
        &cluster.api(),
        NAME,
        |pool: Option<&MachineConfigPool>| {
            pool.is_none_or(|pool| {
                pool.spec.paused != Some(true)
                    && !pool
                        .annotations()
                        .contains_key(names::ANNOTATION_PAUSED_FOR)
            })
        },
    )
    .await;
}

async fn cordon(cluster: &Cluster, node: &str, on: bool) {
    let patch = json!({"spec": {"unschedulable": on.then_some(true)}});
    cluster
        .api::<Node>()
        .patch(node, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

/// Waits until somebody is being disturbed.
async fn until_down(daemons: &Daemons) -> String {
    let wait = async {
        loop {
            if let Some(node) = daemons.hosts.lock().unwrap().down.first() {
                return node.clone();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(support::LONG, wait).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_twenty_kills_one_node_at_a_time_goes_there_and_back() {
    let cluster = Cluster::with(Dialect::None, RenderDelay::AsObserved, 3).await;
    let daemons = Daemons::start(&cluster, &cluster.nodes, MOMENT);
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    let kill = async |times: usize| {
        for _ in 0..times {
            cluster.operator_unready("operator", &["--leader-elect=false"]);
            let milliseconds = rand::rng().random_range(40..700);
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            cluster.control_plane.kill_program("operator").unwrap();
        }
        cluster
            .operator("operator", &["--leader-elect=false"])
            .await;
    };
    kill(10).await;
    let available = cluster.until_available(NAME).await;
    let nodes = available.status.unwrap().nodes.unwrap();
    assert_eq!((nodes.ready, nodes.realtime_kernel), (3, 3));
    no_trace(&cluster).await;
    assert_eq!(daemons.reboots(), [1, 1, 1]);
    assert_eq!(
        cluster.desired_counts(),
        [2, 2, 2],
        "{:#?}",
        cluster.desired()
    );
    cluster.control_plane.kill_program("operator").unwrap();

    cluster.delete_profile(NAME).await;
    kill(10).await;
    cluster.until_gone(NAME).await;
    assert_eq!(daemons.reboots(), [2, 2, 2]);
    assert_eq!(cluster.remains().await, Vec::<String>::new());
    let hosts = daemons.hosts.lock().unwrap().realtime.clone();
    assert!(hosts.values().all(|realtime| !realtime), "{hosts:?}");
    daemons.assert_clean(1);
    assert_eq!(cluster.operator_refusals(), vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_the_second_goes_on_where_the_first_died() {
    let cluster = Cluster::with(Dialect::None, RenderDelay::AsObserved, 4).await;
    let daemons = Daemons::start(&cluster, &cluster.nodes, MOMENT);
    cluster.join(NAME).await;
    let lease = "--lease-duration=2";
    cluster.operator("operator_a", &[lease]).await;
    cluster.operator("operator_b", &[lease]).await;
    let two = json!({"pool": {"maxUnavailable": 2}, "rollout": {"canaries": 1}});
    cluster.apply(&profile(NAME, two)).await;
    let canary = until_down(&daemons).await;
    assert_eq!(canary, cluster.nodes[0]);
    cluster.control_plane.kill_program("operator_a").unwrap();
    cluster.until_available(NAME).await;
    no_trace(&cluster).await;
    assert_eq!(daemons.reboots(), [1, 1, 1, 1]);
    let hosts = daemons.hosts.lock().unwrap();
    assert_eq!(hosts.most_down, 2, "{hosts:#?}");
    drop(hosts);
    daemons.assert_clean(2);
    assert_eq!(cluster.operator_refusals(), vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_change_in_the_middle_waits_for_whoever_has_a_turn() {
    let cluster = Cluster::with(Dialect::None, RenderDelay::AsObserved, 2).await;
    let daemons = Daemons::start(&cluster, &cluster.nodes, Duration::from_secs(2));
    cluster.join(NAME).await;
    cluster.operator("operator", &[]).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    until_down(&daemons).await;
    let foreign: MachineConfig = serde_json::from_value(json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {"name": "99-foreign", "labels": {names::LABEL_MACHINE_CONFIG_ROLE: NAME}},
        "spec": {"kernelArguments": ["foreign=1"]}
    }))
    .unwrap();
    cluster
        .api::<MachineConfig>()
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    cluster.until_available(NAME).await;
    no_trace(&cluster).await;
    // Ours, and the foreign one: each reached each node once, and never a node that was being switched.
    assert_eq!(cluster.desired_counts(), [3, 3], "{:#?}", cluster.desired());
    assert_eq!(daemons.reboots(), [1, 1]);
    daemons.assert_clean(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admins_cordon_and_pause_hold_turns_and_are_never_undone() {
    let cluster = Cluster::with(Dialect::None, RenderDelay::AsObserved, 2).await;
    let daemons = Daemons::start(&cluster, &cluster.nodes, Duration::from_secs(1));
    cluster.create_pool(NAME).await;
    cluster.join(NAME).await;
    cluster.until_nodes_at_rest_in(NAME).await;
    cluster.operator("operator", &[]).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    // The admin unpauses in the middle of the first turn, and then pauses for himself.
    until_down(&daemons).await;
    cluster
        .patch_pool(
            NAME,
            json!({"metadata": {"annotations": {names::ANNOTATION_PAUSED_FOR: null}}}),
        )
        .await;
    let second = &cluster.nodes[1];
    until(
        "the first is switched",
        &cluster.api(),
        &cluster.nodes[0],
        |node: Option<&RealtimeNode>| {
            node.is_some_and(|node| {
                let status = node.status.as_ref();
                status.is_some_and(|status| status.turn.is_none())
                    && !node.labels().contains_key(names::LABEL_TURN)
            })
        },
    )
    .await;
    let told = until(
        "the pause is told",
        &cluster.api(),
        NAME,
        |profile: Option<&realtime_core::api::RealtimeProfile>| {
            profile.is_some_and(|profile| {
                message(profile, "Progressing").contains("wait for their node daemon's turn")
            })
        },
    )
    .await;
    assert!(told.is_some());
    assert_eq!(daemons.reboots(), [1]);
    // Unpaused, but the second node is cordoned.
    cordon(&cluster, second, true).await;
    cluster
        .patch_pool(NAME, json!({"spec": {"paused": false}}))
        .await;
    until(
        "the cordon is told",
        &cluster.api(),
        NAME,
        |profile: Option<&realtime_core::api::RealtimeProfile>| {
            profile.is_some_and(|profile| {
                message(profile, "Progressing").contains("the cordon to be lifted")
            })
        },
    )
    .await;
    no_trace(&cluster).await;
    assert_eq!(daemons.reboots(), [1]);
    cordon(&cluster, second, false).await;
    cluster.until_available(NAME).await;
    assert_eq!(daemons.reboots(), [1, 1]);
    no_trace(&cluster).await;
    daemons.assert_clean(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kernel_that_changes_hands_never_has_two_drivers() {
    let cluster = Cluster::with(Dialect::KernelType, RenderDelay::AsObserved, 2).await;
    let daemons = Daemons::start(&cluster, &cluster.nodes, MOMENT);
    cluster.join(NAME).await;
    cluster.operator("operator", &[]).await;
    let by = |provider: &str| {
        profile(
            NAME,
            json!({"kernel": {"realtime": true, "provider": provider}}),
        )
    };
    cluster.apply(&by("NodeDaemon")).await;
    cluster.until_available(NAME).await;
    assert_eq!(daemons.reboots(), [1, 1]);

    cluster.apply(&by("MachineConfigOperator")).await;
    cluster
        .until_condition(NAME, "Progressing", "True", "NodesGoingBack")
        .await;
    let ours = names::machine_config_name(NAME);
    let asks = |config: Option<&MachineConfig>| {
        config.is_some_and(|config| config.spec.kernel_type.as_deref() == Some("realtime"))
    };
    until("the MachineConfig asks for it", &cluster.api(), &ours, asks).await;
    let hosts = daemons.hosts.lock().unwrap().realtime.clone();
    assert!(hosts.values().all(|realtime| !realtime), "{hosts:?}");
    cluster.until_available(NAME).await;
    assert_eq!(daemons.reboots(), [2, 2]);

    cluster.apply(&by("NodeDaemon")).await;
    let stock = |config: Option<&MachineConfig>| config.is_some() && !asks(config);
    until("it doesn't any more", &cluster.api(), &ours, stock).await;
    cluster.until_available(NAME).await;
    assert_eq!(daemons.reboots(), [3, 3]);
    no_trace(&cluster).await;
    assert_eq!(cluster.desired_counts(), [4, 4], "{:#?}", cluster.desired());
    daemons.assert_clean(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_canary_stops_the_others_and_is_named() {
    let cluster = Cluster::with(Dialect::None, RenderDelay::AsObserved, 2).await;
    let daemons = Daemons::start(&cluster, &cluster.nodes, MOMENT);
    let canary = cluster.nodes[0].clone();
    daemons.hosts.lock().unwrap().failing.push(canary.clone());
    cluster.join(NAME).await;
    cluster.operator("operator", &[]).await;
    let wide = json!({"pool": {"maxUnavailable": 2}, "rollout": {"canaries": 1}});
    cluster.apply(&profile(NAME, wide)).await;
    let degraded = cluster
        .until_condition(NAME, "Degraded", "True", "NodeDegraded")
        .await;
    assert!(message(&degraded, "Degraded").contains(&canary));
    no_trace(&cluster).await;
    assert_eq!(daemons.reboots(), [1]);
    daemons.assert_clean(1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_write_waits_for_the_hardware_and_for_no_dead_daemon() {
    let cluster = Cluster::with(Dialect::KernelType, RenderDelay::AsObserved, 2).await;
    // One daemon of two.
    let daemons = Daemons::start(&cluster, &cluster.nodes[..1], MOMENT);
    cluster.join(NAME).await;
    cluster
        .operator("operator", &["--first-report-timeout=2"])
        .await;
    cluster.apply(&profile(NAME, json!({}))).await;
    let ours = names::machine_config_name(NAME);
    let written = until(
        "it is written",
        &cluster.api(),
        &ours,
        |config: Option<&MachineConfig>| config.is_some(),
    )
    .await
    .unwrap();
    assert!(written.spec.kernel_arguments.is_some());
    // It knows the NUMA node that the one daemon told of.
    let kubelet = cluster
        .api::<KubeletConfig>()
        .get(&names::object_name(NAME))
        .await
        .unwrap();
    let kubelet = kubelet.spec.kubelet_config.unwrap();
    assert_eq!(kubelet["reservedMemory"][0]["numaNode"], 0, "{kubelet:#}");
    cluster.until_available(NAME).await;
    assert_eq!(cluster.desired_counts(), [2, 2], "{:#?}", cluster.desired());
    daemons.assert_clean(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_gets_the_stock_kernel_back_in_its_new_pool() {
    let cluster = Cluster::with(Dialect::None, RenderDelay::AsObserved, 2).await;
    let daemons = Daemons::start(&cluster, &cluster.nodes, MOMENT);
    cluster.join(NAME).await;
    cluster.operator("operator", &[]).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    cluster.until_available(NAME).await;
    let leaver = &cluster.nodes[0];
    cluster
        .label(leaver, json!({names::node_role_label(NAME): null}))
        .await;
    until(
        "its RealtimeNode goes when it is back",
        &cluster.api(),
        leaver,
        |node: Option<&RealtimeNode>| node.is_none(),
    )
    .await;
    assert_eq!(daemons.reboots(), [2, 1]);
    assert!(!daemons.hosts.lock().unwrap().realtime[leaver]);
    until(
        "the worker pool is as it was",
        &cluster.api(),
        "worker",
        |pool: Option<&MachineConfigPool>| {
            pool.is_some_and(|pool| {
                pool.spec.paused != Some(true)
                    && !pool
                        .annotations()
                        .contains_key(names::ANNOTATION_PAUSED_FOR)
            })
        },
    )
    .await;
    cluster.until_available(NAME).await;
    daemons.assert_clean(1);
}
