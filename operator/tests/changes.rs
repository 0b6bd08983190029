//! What changes while something is under way: the profile, its validity, the pool's nodes; and what is told of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use realtime_core::api::RealtimeNode;
use realtime_core::names;
use realtime_core::openshift::{MachineConfig, MachineConfigPool};
use serde_json::json;
use support::{Cluster, NAME, annotation, message, profile, until};

fn with_argument(argument: &str) -> serde_json::Value {
    profile(
        NAME,
        json!({"kernel": {"realtime": true, "additionalArguments": [argument]}}),
    )
}

/// Reason and how often, of every Event about the profile.
async fn events(cluster: &Cluster) -> Vec<(String, i32)> {
    let events: Api<Event> = Api::all(cluster.client.clone());
    let mut found: Vec<(String, i32)> = events
        .list(&kube::api::ListParams::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .filter(|event| {
            event
                .regarding
                .as_ref()
                .is_some_and(|of| of.kind.as_deref() == Some("RealtimeProfile"))
        })
        .map(|event| {
            assert!(event.note.unwrap_or_default().len() <= 1024);
            let count = event.series.map_or(1, |series| series.count);
            (event.reason.unwrap_or_default(), count)
        })
        .collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_in_mid_rollout_costs_waiting_nodes_nothing() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    cluster.apply(&with_argument("round=1")).await;
    cluster
        .until_condition(NAME, "Progressing", "True", "RollingOut")
        .await;
    cluster.apply(&with_argument("round=2")).await;
    cluster.until_available(NAME).await;
    let counts = cluster.desired_counts();
    // Who was on the way ends that first; who had not begun goes to the last one at once.
    assert!(
        counts.iter().all(|count| (2..=3).contains(count)) && counts.contains(&2),
        "{:#?}",
        cluster.desired()
    );
    let pool = cluster.api::<MachineConfigPool>().get(NAME).await.unwrap();
    assert_ne!(pool.spec.paused, Some(true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_edit_of_a_running_profile_changes_nothing_and_is_told() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.join(NAME).await;
    cluster.apply(&profile(NAME, json!({}))).await;
    cluster.until_available(NAME).await;
    let told = events(&cluster).await;
    assert!(
        told.iter().all(
            |(reason, _)| ["WaitingForRender", "RollingOut", "Updated", "NoNodes"]
                .contains(&reason.as_str())
        ),
        "{told:?}"
    );
    assert!(told.len() <= 4, "{told:?}");

    let configs = cluster.api::<MachineConfig>();
    let machine = names::machine_config_name(NAME);
    let before = configs.get(&machine).await.unwrap();
    let counts = cluster.desired_counts();
    let writes = cluster.operator_writes().len();
    let overlapping = json!({"cpu": {"reserved": "0-1", "isolated": "1-7"}});
    cluster.apply(&profile(NAME, overlapping)).await;
    let invalid = cluster
        .until_condition(NAME, "Valid", "False", "Invalid")
        .await;
    let words = message(&invalid, "Valid");
    assert!(words.contains("spec.cpu"), "{words}");
    let node = cluster
        .api::<RealtimeNode>()
        .get_opt(&cluster.nodes[0])
        .await;
    assert!(node.unwrap().is_some(), "it goes on as it was");
    assert_eq!(configs.get(&machine).await.unwrap(), before);
    assert_eq!(cluster.desired_counts(), counts);
    let written = cluster.operator_writes().split_off(writes);
    assert!(
        written
            .iter()
            .all(|(_, resource, _)| ["realtimeprofiles/status", "events"]
                .contains(&resource.as_str())),
        "{written:?}"
    );
    // The Event follows the status.
    let told = ("Invalid".to_owned(), 1);
    for _ in 0..200 {
        if events(&cluster).await.contains(&told) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(events(&cluster).await.contains(&told));

    // Repaired, with a change: on it goes.
    cluster.apply(&with_argument("audit=0")).await;
    cluster.until_available(NAME).await;
    let plus: Vec<usize> = counts.iter().map(|count| count + 1).collect();
    assert_eq!(cluster.desired_counts(), plus, "{:#?}", cluster.desired());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
// A story, read from top to bottom.
#[allow(clippy::too_many_lines)]
async fn nodes_join_and_leave_one_by_one() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!("three nodes");
    };
    // The profile comes first, and the pool lets two nodes go at once.
    cluster
        .apply(&profile(NAME, json!({"pool": {"maxUnavailable": 2}})))
        .await;
    cluster
        .until_condition(NAME, "Available", "False", "NoNodes")
        .await;
    let pools = cluster.api::<MachineConfigPool>();
    let limit = || async {
        let pool = pools.get(NAME).await.unwrap();
        serde_json::to_value(pool.spec.max_unavailable).unwrap()
    };
    assert_eq!(limit().await, json!(2));
    let role = names::node_role_label(NAME);
    for node in [first, second] {
        cluster.label(node, json!({&role: ""})).await;
    }
    let two = until(
        "two nodes are there",
        &cluster.api(),
        NAME,
        |profile: Option<&realtime_core::api::RealtimeProfile>| {
            profile.is_some_and(|profile| {
                support::has_condition(profile, "Available", "True", "Updated")
                    && profile
                        .status
                        .as_ref()
                        .and_then(|status| status.nodes.as_ref())
                        .is_some_and(|nodes| nodes.total == 2)
            })
        },
    )
    .await
    .unwrap();
    assert_eq!(two.status.unwrap().nodes.unwrap().ready, 2);
    assert_eq!(cluster.desired_counts(), [2, 2, 1]);

    // What the profile names no more, the pool has no more; and nobody reboots for that.
    cluster.apply(&profile(NAME, json!({}))).await;
    until(
        "the pool's own default",
        &pools,
        NAME,
        |pool: Option<&MachineConfigPool>| {
            pool.is_some_and(|pool| pool.spec.max_unavailable.is_none())
        },
    )
    .await;
    cluster.until_available(NAME).await;
    let writes = cluster.operator_writes().len();

    // One more node.
    cluster.label(third, json!({&role: ""})).await;
    let reported = cluster.api::<RealtimeNode>();
    until(
        "it has a RealtimeNode",
        &reported,
        third,
        |node: Option<&RealtimeNode>| node.is_some_and(|node| node.spec.profile == NAME),
    )
    .await;
    until(
        "it has arrived",
        &cluster.api(),
        third,
        |node: Option<&Node>| {
            node.is_some_and(|node| {
                let current = annotation(node, "currentConfig");
                current.is_some_and(|current| current.starts_with(&format!("rendered-{NAME}-")))
            })
        },
    )
    .await;
    cluster.until_available(NAME).await;
    assert_eq!(
        cluster.desired_counts(),
        [2, 2, 2],
        "{:#?}",
        cluster.desired()
    );
    let written = cluster.operator_writes().split_off(writes);
    assert!(
        written
            .iter()
            .all(|(_, resource, _)| !resource.starts_with("machineconfig")),
        "a node that joins changes no configuration: {written:?}"
    );

    // And away again.
    cluster.label(third, json!({&role: null})).await;
    until(
        "its RealtimeNode is gone",
        &reported,
        third,
        |node: Option<&RealtimeNode>| node.is_none(),
    )
    .await;
    until(
        "it is back",
        &cluster.api(),
        third,
        |node: Option<&Node>| {
            node.is_some_and(|node| {
                let current = annotation(node, "currentConfig");
                current.is_some_and(|current| current.starts_with("rendered-worker-"))
                    && !current.unwrap().starts_with(&format!("rendered-{NAME}-"))
            })
        },
    )
    .await;
    cluster.until_available(NAME).await;
    assert_eq!(cluster.desired_counts(), [2, 2, 3]);
}
