//! Pods' real-time scheduling, the operator's part: what Nodes advertise for the scheduler to count, and the ConfigMap
//! by which admission knows who may ask. The daemons' words are written by the test; there is no kubelet here (see
//! `capacity_real_node`).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use rand::RngExt as _;
use realtime_core::api::{RealtimeNode, RealtimeProfile};
use realtime_core::names::{self, RESOURCE_RUNTIME_US};
use realtime_testing::pool_standin::{self, Capacity};
use realtime_testing::sandbox;
use serde_json::{Value, json};
use support::{Cluster, NAME, profile, until};

/// Somebody else's.
const DONGLE: &str = "example.org/dongle";

fn with_budget(name: &str, budget: &Value) -> Value {
    profile(name, json!({"podBudget": budget}))
}

/// A cluster with its nodes in the pool, the profile applied and a RealtimeNode for each, and nobody who reboots nodes.
async fn cluster() -> Cluster {
    let mut cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    cluster.standin = None;
    cluster.join(NAME).await;
    cluster
        .apply(&with_budget(NAME, &json!({"enabled": true})))
        .await;
    for node in &cluster.nodes {
        until_spec(&cluster, node, |budget| budget).await;
    }
    cluster
}

/// Waits until the RealtimeNode's spec has budgets for pods, or none.
async fn until_spec(cluster: &Cluster, node: &str, test: impl Fn(bool) -> bool) {
    until(
        "its RealtimeNode",
        &cluster.api(),
        node,
        |node: Option<&RealtimeNode>| node.is_some_and(|node| test(node.spec.pod_budget.is_some())),
    )
    .await;
}

/// What the node's daemon says.
async fn says(cluster: &Cluster, node: &str, budget: &Value) {
    let patch = json!({"status": {"podBudget": budget}});
    cluster
        .api::<RealtimeNode>()
        .patch_status(node, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

fn serves(micros: i64) -> Value {
    json!({"mode": "V1Budget", "evidence": "tested", "capacityMicroseconds": micros})
}

/// As a kubelet, or anybody else, writes a node's status.
async fn patch_node(cluster: &Cluster, node: &str, status: &Value) {
    let patch = json!({"status": status});
    cluster
        .api::<Node>()
        .patch_status(node, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

fn quantity(
    list: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
    key: &str,
) -> Option<String> {
    Some(list?.get(key)?.0.clone())
}

/// Capacity and allocatable of a resource.
fn of(node: &Node, key: &str) -> [Option<String>; 2] {
    let status = node.status.as_ref().unwrap();
    [status.capacity.as_ref(), status.allocatable.as_ref()].map(|list| quantity(list, key))
}

/// Waits until the node advertises that much, as the API server writes it.
async fn until_advertised(cluster: &Cluster, node: &str, wanted: Option<&str>) {
    let both = [wanted.map(str::to_owned), wanted.map(str::to_owned)];
    let what = format!("{node} advertises {wanted:?}");
    until(&what, &cluster.api(), node, |node: Option<&Node>| {
        node.is_some_and(|node| of(node, RESOURCE_RUNTIME_US) == both)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_daemon_can_give_is_advertised_and_put_back_by_all_its_rules() {
    let cluster = cluster().await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!("three nodes");
    };
    patch_node(
        &cluster,
        first,
        &json!({"capacity": {DONGLE: "3"}, "allocatable": {DONGLE: "2"}}),
    )
    .await;
    says(&cluster, first, &serves(800_000)).await;
    says(
        &cluster,
        second,
        &json!({"mode": "V2Policy", "capacityMicroseconds": 950_000}),
    )
    .await;
    until_advertised(&cluster, first, Some("800k")).await;
    until_advertised(&cluster, second, Some("950k")).await;
    until_advertised(&cluster, third, None).await;

    // As a kubelet does that registers anew; and halves of it.
    for lists in [
        &["capacity", "allocatable"][..],
        &["capacity"],
        &["allocatable"],
    ] {
        for value in [json!("0"), json!(null)] {
            let zeroed: Value = lists
                .iter()
                .map(|list| ((*list).to_owned(), json!({RESOURCE_RUNTIME_US: value})))
                .collect();
            patch_node(&cluster, first, &zeroed).await;
            until_advertised(&cluster, first, Some("800k")).await;
        }
    }
    // Another number, also one below what pods may have already.
    for (micros, text) in [
        (300_000, "300k"),
        (25_001, "25001"),
        (0, "0"),
        (800_000, "800k"),
    ] {
        says(&cluster, first, &serves(micros)).await;
        until_advertised(&cluster, first, Some(text)).await;
    }
    // The kernel refuses, or somebody switched it off; and a number that no node has.
    for none in [
        json!({"mode": "Blocked"}),
        json!({"mode": "Off"}),
        serves(-1),
        serves(1_000_001),
        json!(null),
    ] {
        says(&cluster, first, &none).await;
        until_advertised(&cluster, first, None).await;
        says(&cluster, first, &json!(null)).await;
        says(&cluster, first, &serves(800_000)).await;
        until_advertised(&cluster, first, Some("800k")).await;
    }
    let node = cluster.api::<Node>().get(first).await.unwrap();
    assert_eq!(
        of(&node, DONGLE),
        [Some("3".to_owned()), Some("2".to_owned())]
    );
    assert_eq!(cluster.operator_refusals(), vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_taken_away_with_whatever_it_stood_on() {
    let cluster = cluster().await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!("three nodes");
    };
    for node in &cluster.nodes {
        says(&cluster, node, &serves(800_000)).await;
        until_advertised(&cluster, node, Some("800k")).await;
    }
    // Its RealtimeNode: the operator makes another one, whose daemon hasn't spoken yet.
    cluster
        .api::<RealtimeNode>()
        .delete(first, &DeleteParams::default())
        .await
        .unwrap();
    until_advertised(&cluster, first, None).await;
    until_spec(&cluster, first, |budget| budget).await;
    says(&cluster, first, &serves(700_000)).await;
    until_advertised(&cluster, first, Some("700k")).await;
    // The node itself, which comes back as another one of that name.
    let nodes = cluster.api::<Node>();
    let before = nodes.get(second).await.unwrap();
    nodes
        .delete(second, &DeleteParams::default())
        .await
        .unwrap();
    until(
        "its RealtimeNode goes with it",
        &cluster.api(),
        second,
        |node: Option<&RealtimeNode>| node.is_none(),
    )
    .await;
    let labels = before.labels().clone();
    pool_standin::create_node(&cluster.client, second, &labels, &Capacity::default())
        .await
        .unwrap();
    until_spec(&cluster, second, |budget| budget).await;
    says(&cluster, second, &serves(800_000)).await;
    until_advertised(&cluster, second, Some("800k")).await;
    // A node that leaves the pool.
    cluster
        .label(third, json!({names::node_role_label(NAME): null}))
        .await;
    until_advertised(&cluster, third, None).await;
    // Nobody of ours put it there.
    patch_node(&cluster, third, &json!({"capacity": {RESOURCE_RUNTIME_US: "5", DONGLE: "1"}, "allocatable": {RESOURCE_RUNTIME_US: "5"}})).await;
    until_advertised(&cluster, third, None).await;
    assert_eq!(
        of(&nodes.get(third).await.unwrap(), DONGLE)[0].as_deref(),
        Some("1")
    );

    // Budgets switched off by the profile, and on again.
    cluster
        .apply(&with_budget(NAME, &json!({"enabled": false})))
        .await;
    until_advertised(&cluster, first, None).await;
    until_advertised(&cluster, second, None).await;
    cluster
        .apply(&with_budget(NAME, &json!({"enabled": true})))
        .await;
    until_advertised(&cluster, first, Some("700k")).await;
    until_advertised(&cluster, second, Some("800k")).await;
    // The profile: when its deletion begins, however long its nodes take.
    cluster.delete_profile(NAME).await;
    until_advertised(&cluster, first, None).await;
    until_advertised(&cluster, second, None).await;
    assert_eq!(cluster.operator_refusals(), vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_while_no_operator_runs_is_found_by_the_next() {
    let cluster = cluster().await;
    let [first, second, third] = &cluster.nodes[..] else {
        panic!("three nodes");
    };
    for node in &cluster.nodes {
        says(&cluster, node, &serves(800_000)).await;
        until_advertised(&cluster, node, Some("800k")).await;
    }
    cluster.control_plane.kill_program("operator").unwrap();
    let zero =
        json!({"capacity": {RESOURCE_RUNTIME_US: "0"}, "allocatable": {RESOURCE_RUNTIME_US: "0"}});
    patch_node(&cluster, first, &zero).await;
    says(
        &cluster,
        second,
        &json!({"mode": "Blocked", "capacityMicroseconds": null}),
    )
    .await;
    // A node that has nothing to do with any profile, and one whose RealtimeNode went.
    pool_standin::create_node(
        &cluster.client,
        "stranger",
        &BTreeMap::new(),
        &Capacity::default(),
    )
    .await
    .unwrap();
    patch_node(
        &cluster,
        "stranger",
        &json!({"capacity": {RESOURCE_RUNTIME_US: "9"}}),
    )
    .await;
    cluster
        .label(third, json!({names::node_role_label(NAME): null}))
        .await;
    cluster
        .api::<RealtimeNode>()
        .delete(third, &DeleteParams::default())
        .await
        .unwrap();

    cluster
        .operator("operator", &["--leader-elect=false"])
        .await;
    until_advertised(&cluster, first, Some("800k")).await;
    for none in [second.as_str(), "stranger", third] {
        until_advertised(&cluster, none, None).await;
    }
    // Killed at random while everything moves: in the end it stands as the daemons say.
    for round in 1..=20 {
        cluster.control_plane.kill_program("operator").unwrap();
        cluster.operator_unready("operator", &["--leader-elect=false"]);
        for node in [first, second] {
            says(&cluster, node, &serves(1000 * round)).await;
        }
        patch_node(&cluster, first, &zero).await;
        let milliseconds = rand::rng().random_range(40..500);
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    for node in [first, second] {
        until_advertised(&cluster, node, Some("20k")).await;
    }
    assert_eq!(cluster.operator_refusals(), vec![]);
}

/// Requests of the operator's about nodes and the ConfigMap, of any verb.
fn requests(cluster: &Cluster) -> Vec<(String, String)> {
    let user = format!(
        "system:serviceaccount:{}:{}",
        names::OPERATOR_NAMESPACE,
        sandbox::OPERATOR_ACCOUNT
    );
    let requests = cluster.control_plane.audit_requests().unwrap().into_iter();
    requests
        .filter(|request| request.user == user)
        .filter(|request| {
            ["nodes", "nodes/status", "configmaps"].contains(&request.resource.as_str())
        })
        .map(|request| (request.verb, request.resource))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_is_written_once_and_nothing_is_asked_while_nothing_changes() {
    let cluster = cluster().await;
    for node in &cluster.nodes {
        says(&cluster, node, &serves(800_000)).await;
        until_advertised(&cluster, node, Some("800k")).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = requests(&cluster);
    let written = before
        .iter()
        .filter(|(_, resource)| resource == "nodes/status")
        .count();
    assert_eq!(written, 3, "{before:?}");
    let written = before
        .iter()
        .filter(|(verb, resource)| verb == "patch" && resource == "configmaps")
        .count();
    assert!(
        (1..=2).contains(&written),
        "made, and its entry when the profile came: {before:?}"
    );
    // Heartbeats of kubelets, and pods that come and go at the daemons.
    for beat in 0..20 {
        for node in &cluster.nodes {
            let time = format!("2026-01-01T00:00:{beat:02}Z");
            patch_node(&cluster, node, &json!({"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": time}]})).await;
            says(
                &cluster,
                node,
                &json!({"allocatedMicroseconds": beat * 1000}),
            )
            .await;
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(requests(&cluster), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_nodes_are_advertised_at_once() {
    const NODES: u32 = 200;
    let cluster = cluster().await;
    let labels = BTreeMap::from([(names::node_role_label(NAME), String::new())]);
    let made = pool_standin::create_nodes(
        &cluster.client,
        "loom-",
        NODES,
        &labels,
        &Capacity::default(),
    )
    .await
    .unwrap();
    for node in &made {
        until_spec(&cluster, node, |budget| budget).await;
    }
    cluster.control_plane.kill_program("operator").unwrap();
    let words = serves(800_000);
    futures::stream::iter(&made)
        .for_each_concurrent(8, |node| says(&cluster, node, &words))
        .await;
    let writes = cluster.operator_writes().len();
    cluster
        .operator("operator", &["--leader-elect=false"])
        .await;
    let started = Instant::now();
    for node in &made {
        until_advertised(&cluster, node, Some("800k")).await;
    }
    let took = started.elapsed();
    println!("{NODES} nodes advertised after {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(30), "{took:?}");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let written = cluster.operator_writes().split_off(writes);
    let of_nodes = written
        .iter()
        .filter(|(_, resource, _)| resource == "nodes/status")
        .count();
    assert_eq!(of_nodes, made.len(), "{written:?}");
}

/// Waits until the ConfigMap holds exactly this.
async fn until_data(cluster: &Cluster, wanted: &[(&str, &str)]) -> ConfigMap {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), names::OPERATOR_NAMESPACE);
    let wanted: BTreeMap<String, String> = wanted
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let what = format!("the ConfigMap holds {wanted:?}");
    let found = until(
        &what,
        &maps,
        names::CONFIG_MAP_NAMESPACES,
        |map: Option<&ConfigMap>| {
            map.is_some_and(|map| map.data.clone().unwrap_or_default() == wanted)
        },
    )
    .await;
    found.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admission_reads_the_selectors_of_all_profiles() {
    let cluster = Cluster::start().await;
    cluster.operator("operator", &[]).await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), names::OPERATOR_NAMESPACE);
    let name = names::CONFIG_MAP_NAMESPACES;
    until_data(&cluster, &[]).await;

    let selected = |selector: Value| json!({"enabled": true, "namespaceSelector": selector});
    let looms = selected(json!({
        "matchLabels": {"team": "weaving", "realtime.openshift.io/allowed": "true"},
        "matchExpressions": [
            {"key": "stage", "operator": "NotIn", "values": ["test", "dev"]},
            {"key": "owner", "operator": "Exists"},
            {"key": "old", "operator": "DoesNotExist"}
        ]
    }));
    let text = "DoesNotExist old;Exists owner;In realtime.openshift.io/allowed true;In team weaving;NotIn stage dev,test";
    cluster.apply(&with_budget("looms", &looms)).await;
    cluster
        .apply(&with_budget("every", &json!({"enabled": true})))
        .await;
    cluster
        .apply(&with_budget("none", &json!({"enabled": false})))
        .await;
    cluster.apply(&profile("plain", json!({}))).await;
    until_data(&cluster, &[("every", ""), ("looms", text)]).await;

    // Another selector.
    let spindles = selected(json!({"matchLabels": {"team": "spinning"}}));
    cluster.apply(&with_budget("looms", &spindles)).await;
    until_data(&cluster, &[("every", ""), ("looms", "In team spinning")]).await;
    // One that is none: the profile is invalid, and its entry stays.
    for none in [
        json!({"matchLabels": {"team": "a;b"}}),
        json!({"matchExpressions": [{"key": "team", "operator": "Near"}]}),
    ] {
        cluster.apply(&with_budget("looms", &selected(none))).await;
        cluster
            .until_condition("looms", "Valid", "False", "Invalid")
            .await;
        cluster
            .apply(&with_budget(
                "every",
                &selected(json!({"matchLabels": {"a": "b"}})),
            ))
            .await;
        until_data(
            &cluster,
            &[("every", "In a b"), ("looms", "In team spinning")],
        )
        .await;
        cluster
            .apply(&with_budget("every", &json!({"enabled": true})))
            .await;
        until_data(&cluster, &[("every", ""), ("looms", "In team spinning")]).await;
    }
    cluster.apply(&with_budget("looms", &spindles)).await;
    // Deleted, changed and added to by hand.
    for _ in 0..3 {
        maps.delete(name, &DeleteParams::default()).await.unwrap();
        until_data(&cluster, &[("every", ""), ("looms", "In team spinning")]).await;
        let by_hand = json!({"data": {"every": "Exists x", "theirs": "", "looms": null}});
        maps.patch(name, &PatchParams::default(), &Patch::Merge(&by_hand))
            .await
            .unwrap();
        until_data(&cluster, &[("every", ""), ("looms", "In team spinning")]).await;
    }
    // Deleted, and a profile too, while no operator runs.
    cluster.control_plane.kill_program("operator").unwrap();
    maps.delete(name, &DeleteParams::default()).await.unwrap();
    let theirs: ConfigMap = serde_json::from_value(
        json!({"metadata": {"name": name}, "data": {"gone": "", "every": "Exists x"}}),
    )
    .unwrap();
    maps.create(&PostParams::default(), &theirs).await.unwrap();
    cluster.delete_profile("looms").await;
    cluster
        .operator("operator", &["--leader-elect=false"])
        .await;
    cluster.until_gone("looms").await;
    until_data(&cluster, &[("every", "")]).await;
    for name in ["every", "none", "plain"] {
        cluster.delete_profile(name).await;
        until(
            &format!("{name} gone"),
            &cluster.api(),
            name,
            |profile: Option<&RealtimeProfile>| profile.is_none(),
        )
        .await;
    }
    let empty = until_data(&cluster, &[]).await;
    assert!(empty.resource_version().is_some());
    assert_eq!(cluster.operator_refusals(), vec![]);
}
