//! The three dialects of MachineConfig, and a cluster where an API comes later.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use realtime_core::api::RealtimeNode;
use realtime_core::cluster::Dialect;
use realtime_core::names;
use realtime_core::openshift::MachineConfig;
use realtime_testing::pool_standin::RenderDelay;
use serde_json::json;
use support::{Cluster, NAME, profile};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_drafts_boolean_is_written_where_it_is_served() {
    let cluster = Cluster::with(Dialect::Realtime, RenderDelay::AsObserved, 2).await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    cluster.until_available(NAME).await;
    let ours = cluster
        .api::<MachineConfig>()
        .get(&names::machine_config_name(NAME))
        .await
        .unwrap();
    assert_eq!(
        (ours.spec.realtime, ours.spec.kernel_type),
        (Some(true), None)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_either_the_kernel_is_the_node_daemons_and_that_is_told() {
    let cluster = Cluster::with(Dialect::None, RenderDelay::AsObserved, 2).await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    cluster
        .until_condition(NAME, "Progressing", "True", "KernelByNodeDaemon")
        .await;
    let ours = cluster
        .api::<MachineConfig>()
        .get(&names::machine_config_name(NAME))
        .await
        .unwrap();
    assert_eq!((ours.spec.realtime, ours.spec.kernel_type), (None, None));
    let node = cluster
        .api::<RealtimeNode>()
        .get(&cluster.nodes[0])
        .await
        .unwrap();
    let kernel = node.spec.kernel.unwrap();
    assert!(kernel.realtime);
    assert_eq!(format!("{:?}", kernel.provider), "NodeDaemon");
}
