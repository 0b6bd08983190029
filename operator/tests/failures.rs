//! What OpenShift doesn't show: each case stands in the profile's conditions, with a reason and a next step.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use realtime_core::api::RealtimeProfile;
use realtime_core::names;
use realtime_core::openshift::{KubeletConfig, MachineConfigPool};
use serde_json::{Value, json};
use support::{Cluster, NAME, message, profile};

#[allow(clippy::needless_pass_by_value, reason = "reads well with json!")]
fn foreign(name: &str, kubelet: Value) -> KubeletConfig {
    serde_json::from_value(json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "KubeletConfig",
        "metadata": {"name": name},
        "spec": {
            "machineConfigPoolSelector": {"matchLabels": {names::pool_label(NAME): ""}},
            "kubeletConfig": kubelet
        }
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_blocks_a_pool_unseen_stands_in_the_conditions() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    cluster.until_available(NAME).await;

    // A KubeletConfig of somebody else that is refused blocks the pool, and the pool shows nothing.
    let configs = cluster.api::<KubeletConfig>();
    configs
        .create(
            &PostParams::default(),
            &foreign("theirs", json!({"cgroupDriver": "cgroupfs"})),
        )
        .await
        .unwrap();
    let told = cluster
        .until_condition(NAME, "Degraded", "True", "KubeletConfigRefused")
        .await;
    let words = message(&told, "Degraded");
    assert!(
        words.contains("theirs") && words.contains("cgroupDriver"),
        "{words}"
    );
    configs
        .delete("theirs", &DeleteParams::default())
        .await
        .unwrap();
    cluster.until_available(NAME).await;

    // A second one that is accepted replaces ours as a whole.
    configs
        .create(
            &PostParams::default(),
            &foreign("theirs", json!({"maxPods": 77})),
        )
        .await
        .unwrap();
    let told = cluster
        .until_condition(NAME, "Degraded", "True", "ForeignKubeletConfig")
        .await;
    assert!(message(&told, "Degraded").contains("theirs"));
    configs
        .delete("theirs", &DeleteParams::default())
        .await
        .unwrap();
    cluster.until_available(NAME).await;

    // A node with the label of a second custom pool drops out of management.
    cluster.create_pool("second").await;
    cluster
        .label(
            &cluster.nodes[0],
            json!({names::node_role_label("second"): ""}),
        )
        .await;
    let told = cluster
        .until_condition(NAME, "Degraded", "True", "NodeInTwoPools")
        .await;
    assert!(message(&told, "Degraded").contains(&cluster.nodes[0]));
    cluster
        .label(
            &cluster.nodes[0],
            json!({names::node_role_label("second"): null}),
        )
        .await;
    cluster.until_available(NAME).await;

    // A cordon looks like a rollout to the pool. It is none.
    let nodes = cluster.api::<k8s_openapi::api::core::v1::Node>();
    let cordon = |wanted: bool| Patch::Merge(json!({"spec": {"unschedulable": wanted}}));
    nodes
        .patch(&cluster.nodes[0], &PatchParams::default(), &cordon(true))
        .await
        .unwrap();
    support::until(
        "the cordon is told",
        &cluster.api(),
        NAME,
        |profile: Option<&RealtimeProfile>| {
            profile.is_some_and(|profile| {
                message(profile, "Available").contains("cordoned by somebody")
            })
        },
    )
    .await;
    cluster.until_available(NAME).await;
    nodes
        .patch(&cluster.nodes[0], &PatchParams::default(), &cordon(false))
        .await
        .unwrap();

    // An invalid edit changes nothing, and says why; so does a pause of the profile.
    let before = cluster.desired_counts();
    cluster
        .apply(&profile(
            NAME,
            json!({"cpu": {"reserved": "0-1", "isolated": "1-7"}}),
        ))
        .await;
    cluster
        .until_condition(NAME, "Valid", "False", "Invalid")
        .await;
    cluster.apply(&profile(NAME, json!({"rollout": {"pause": true}, "kernel": {"realtime": true, "additionalArguments": ["audit=0"]}}))).await;
    cluster
        .until_condition(NAME, "Progressing", "False", "RolloutPaused")
        .await;
    assert_eq!(cluster.desired_counts(), before);
    let pool = cluster.api::<MachineConfigPool>().get(NAME).await.unwrap();
    assert_ne!(pool.spec.paused, Some(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_degraded_node_is_named_with_its_reason() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    let standin = cluster.standin.as_ref().unwrap();
    let failed = &cluster.nodes[0];
    standin.choose_nodes([failed.clone()]);
    standin
        .degrade_node(failed, Some("Packages not found: kernel-rt-core"))
        .await
        .unwrap();
    cluster.apply(&profile(NAME, json!({}))).await;
    let told = cluster
        .until_condition(NAME, "Degraded", "True", "NodeDegraded")
        .await;
    let words = message(&told, "Degraded");
    assert!(
        words.contains("Packages not found") && words.contains(failed.as_str()),
        "{words}"
    );
    standin.degrade_node(failed, None).await.unwrap();
    cluster.until_available(NAME).await;
}
