//! The operator killed at random, the API server gone for a while, two replicas: it converges, and nothing is done twice.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use kube::ResourceExt as _;
use rand::RngExt as _;
use realtime_core::api::RealtimeProfile;
use realtime_core::cluster::Dialect;
use realtime_core::names;
use realtime_core::openshift::MachineConfigPool;
use realtime_testing::pool_standin::RenderDelay;
use serde_json::json;
use support::{Cluster, NAME, profile};

/// How often the operator is killed: the issue asks for 100 during rollouts.
const KILLS: usize = 100;

async fn killed_operator(cluster: &Cluster, milliseconds: u64) {
    cluster.operator_unready("operator", &["--leader-elect=false"]);
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    cluster.control_plane.kill_program("operator").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_a_hundred_times_each_change_still_reaches_each_node_once() {
    let cluster = Cluster::with(Dialect::KernelType, RenderDelay::Random, 3).await;
    cluster.join(NAME).await;
    let mut kills = 0;
    let mut changes = 1;
    while kills < KILLS {
        // Another command line and another number of pods each time: KubeletConfig and MachineConfig change.
        cluster
            .apply(&profile(NAME, json!({
                "kernel": {"realtime": true, "additionalArguments": [format!("round={changes}")]},
                "kubelet": {"overrides": {"maxPods": 100 + changes}}
            })))
            .await;
        changes += 1;
        for _ in 0..20 {
            // Most die while their caches fill or within the first writes; some live to see the rollout.
            let milliseconds = rand::rng().random_range(40..700);
            killed_operator(&cluster, milliseconds).await;
            kills += 1;
        }
        cluster
            .operator("operator", &["--leader-elect=false"])
            .await;
        cluster.until_available(NAME).await;
        assert_eq!(
            cluster.desired_counts(),
            vec![changes; 3],
            "after {kills} kills: {:#?}",
            cluster.desired()
        );
        let pool = cluster.api::<MachineConfigPool>().get(NAME).await.unwrap();
        assert_ne!(pool.spec.paused, Some(true));
        assert!(
            !pool
                .annotations()
                .contains_key(names::ANNOTATION_PAUSED_FOR)
        );
        cluster.control_plane.kill_program("operator").unwrap();
    }
    cluster.delete_profile(NAME).await;
    for _ in 0..10 {
        let milliseconds = rand::rng().random_range(40..700);
        killed_operator(&cluster, milliseconds).await;
    }
    cluster
        .operator("operator", &["--leader-elect=false"])
        .await;
    cluster.until_gone(NAME).await;
    assert_eq!(cluster.remains().await, Vec::<String>::new());
    cluster.until_nodes_at_rest_in("worker").await;
    assert_eq!(
        cluster.desired_counts(),
        vec![changes + 1; 3],
        "{:#?}",
        cluster.desired()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_is_away_for_a_minute_changes_nothing_in_the_end() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    // In the middle of the rollout.
    cluster
        .until_condition(NAME, "Progressing", "True", "RollingOut")
        .await;
    cluster.control_plane.stop_api_server().await.unwrap();
    // A minute, as the issue asks; other tests run meanwhile.
    tokio::time::sleep(Duration::from_mins(1)).await;
    cluster.control_plane.start_api_server().await.unwrap();
    cluster.until_available(NAME).await;
    cluster.until_desired_is_seen().await;
    assert_eq!(
        cluster.desired_counts(),
        [2, 2, 2],
        "{:#?}",
        cluster.desired()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_acts_and_the_other_takes_over() {
    let cluster = Cluster::start().await;
    let lease = "--lease-duration=2";
    cluster.operator("operator_a", &[lease]).await;
    // The second one is ready too, and silent.
    let log = cluster.operator("operator_b", &[lease]).await;
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    cluster.until_available(NAME).await;
    let wrote = |log: &std::path::Path| std::fs::read_to_string(log).unwrap().contains("wrote");
    assert!(
        !wrote(&log),
        "the second replica wrote while the first one led"
    );
    cluster.control_plane.kill_program("operator_a").unwrap();
    cluster
        .apply(&profile(
            NAME,
            json!({"kernel": {"realtime": true, "additionalArguments": ["audit=0"]}}),
        ))
        .await;
    cluster.until_available(NAME).await;
    assert!(wrote(&log));
    assert_eq!(
        cluster.desired_counts(),
        [3, 3, 3],
        "{:#?}",
        cluster.desired()
    );
    let _: Option<RealtimeProfile> = cluster.api().get_opt(NAME).await.unwrap();
}
