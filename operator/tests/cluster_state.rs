//! What of the cluster stands against a profile: STATUS has the precise reason, and going away heals it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use realtime_core::api::RealtimeProfile;
use realtime_core::names;
use realtime_core::openshift::{MachineConfig, PerformanceProfile};
use serde_json::{Value, json};
use support::{Cluster, NAME, message, profile};

impl Cluster {
    /// Waits until the STATUS column says this.
    async fn until_summary(&self, summary: &str) -> RealtimeProfile {
        support::until(
            &format!("STATUS {summary}"),
            &self.api(),
            NAME,
            |profile: Option<&RealtimeProfile>| {
                profile.is_some_and(|profile| {
                    profile.status.as_ref().is_some_and(|status| {
                        status.observed_generation == profile.metadata.generation
                            && status.summary.as_deref() == Some(summary)
                    })
                })
            },
        )
        .await
        .unwrap()
    }
}

#[allow(clippy::needless_pass_by_value, reason = "reads well with json!")]
fn machine_config(name: &str, spec: Value) -> MachineConfig {
    serde_json::from_value(json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {"name": name, "labels": {names::LABEL_MACHINE_CONFIG_ROLE: NAME}},
        "spec": spec
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_in_the_way_is_the_status() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    cluster.until_available(NAME).await;
    let before = cluster.desired_counts();

    // A PerformanceProfile on the pool: nothing is fought over.
    let performance = cluster.api::<PerformanceProfile>();
    let theirs: Value = json!({
        "apiVersion": "performance.openshift.io/v2", "kind": "PerformanceProfile",
        "metadata": {"name": "theirs"},
        "spec": {
            "cpu": {"reserved": "0-1", "isolated": "2-7"},
            "nodeSelector": {names::node_role_label(NAME): ""}
        }
    });
    performance
        .patch(
            "theirs",
            &PatchParams::apply("admin").force(),
            &Patch::Apply(&theirs),
        )
        .await
        .unwrap();
    let told = cluster.until_summary("PerformanceProfileOnPool").await;
    let words = message(&told, "Valid");
    assert!(words.contains("PerformanceProfile/theirs"), "{words}");
    assert_eq!(cluster.desired_counts(), before);
    performance
        .delete("theirs", &DeleteParams::default())
        .await
        .unwrap();
    cluster.until_available(NAME).await;

    // A MachineConfig that OpenShift can't merge.
    let configs = cluster.api::<MachineConfig>();
    let bad = machine_config("99-bad", json!({"kernelType": "fast"}));
    configs.create(&PostParams::default(), &bad).await.unwrap();
    let told = cluster.until_summary("RenderDegraded").await;
    let words = message(&told, "Degraded");
    assert!(words.contains("kernelType"), "{words}");
    configs
        .delete("99-bad", &DeleteParams::default())
        .await
        .unwrap();
    cluster.until_available(NAME).await;
    assert_eq!(cluster.desired_counts(), before, "{:#?}", cluster.desired());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inherited_real_time_kernel_cannot_be_turned_off() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    let configs = cluster.api::<MachineConfig>();
    let inherited = machine_config("60-realtime", json!({"kernelType": "realtime"}));
    configs
        .create(&PostParams::default(), &inherited)
        .await
        .unwrap();
    let stock = json!({"kernel": {"realtime": false}});
    cluster.apply(&profile(NAME, stock)).await;
    let told = cluster.until_summary("RealtimeInherited").await;
    let words = message(&told, "Degraded");
    assert!(words.contains("60-realtime"), "{words}");
    assert_eq!(cluster.remains().await, Vec::<String>::new());
    configs
        .delete("60-realtime", &DeleteParams::default())
        .await
        .unwrap();
    let available = cluster.until_available(NAME).await;
    assert_eq!(
        available.status.unwrap().nodes.unwrap().realtime_kernel,
        0,
        "the stock kernel runs"
    );
}
