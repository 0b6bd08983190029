//! Cordon and drain on a real API server, under the shipped rights: what goes and what stays, budgets, an API server that
//! is away in the middle, and other people's cordons.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test ends at what it doesn't expect, and `json!` values read better given away"
)]

mod on_cluster;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use on_cluster::{Cluster, DAEMON, WORK, until};
use realtime_core::api::realtime_node::{NodeTurn, RealtimeNodeStatus};
use realtime_core::kernel::{Cordon, Drain};
use realtime_core::names;
use realtime_node_daemon::cluster::{Cluster as Side, ClusterError};
use realtime_node_daemon::drain;
use serde_json::{Value, json};

fn owner(kind: &str) -> Value {
    json!({"ownerReferences": [{
        "apiVersion": "apps/v1", "kind": kind, "name": "owner", "controller": true,
        "uid": "6f3f0f3e-8b0a-4c58-9d7c-0d1f0a000002"}]})
}

async fn pass(client: &Client) -> Result<Drain, ClusterError> {
    drain::pass(client, "machine-1", Timestamp::now(), Timestamp::now()).await
}

async fn drained(client: &Client) {
    until("the node is drained", || async {
        match pass(client).await {
            Ok(Drain::Done) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

/// A budget, with the status that the disruption controller would write.
async fn budget(cluster: &Cluster, app: &str, allowed: i32) {
    let api: Api<PodDisruptionBudget> = Api::namespaced(cluster.client.clone(), WORK);
    let budget = serde_json::from_value(json!({
        "metadata": {"name": app},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": app}}},
    }))
    .unwrap();
    let _ = api.create(&PostParams::default(), &budget).await;
    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": allowed,
        "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
    }});
    api.patch_status(app, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

async fn pods(cluster: &Cluster) -> Vec<String> {
    let list = cluster.pods().list(&kube::api::ListParams::default()).await;
    list.unwrap()
        .into_iter()
        .map(|pod| pod.name_any())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_but_what_a_reboot_does_not_hurt() {
    let cluster = Cluster::start().await;
    cluster.node("machine-1").await;
    cluster.node("machine-2").await;
    let daemon = cluster.daemon_client("machine-1").await;

    cluster.pod(WORK, "alone", "machine-1", json!({})).await;
    cluster
        .pod(WORK, "replica", "machine-1", owner("ReplicaSet"))
        .await;
    cluster
        .pod(WORK, "daemon-set", "machine-1", owner("DaemonSet"))
        .await;
    cluster
        .pod(
            WORK,
            "static",
            "machine-1",
            json!({"annotations": {"kubernetes.io/config.mirror": "x"}}),
        )
        .await;
    cluster.pod(WORK, "elsewhere", "machine-2", json!({})).await;
    cluster.pod(WORK, "finished", "machine-1", json!({})).await;
    cluster
        .pods()
        .patch_status(
            "finished",
            &PatchParams::default(),
            &Patch::Merge(json!({"status": {"phase": "Succeeded"}})),
        )
        .await
        .unwrap();

    let Drain::Remaining { pods: told, .. } = pass(&daemon).await.unwrap() else {
        panic!("two pods must go");
    };
    assert_eq!(told, ["work/alone: is ending", "work/replica: is ending"]);
    // They were given their grace period, and a second pass asks nobody again.
    pass(&daemon).await.unwrap();
    let pod = cluster.pods().get("alone").await.unwrap();
    assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(30));

    let kubelet = cluster.kubelet();
    drained(&daemon).await;
    drop(kubelet);
    assert_eq!(
        pods(&cluster).await,
        ["daemon-set", "elsewhere", "finished", "static"]
    );

    // By eviction, once a pod, and never by a deletion.
    let asked = cluster.control_plane.audit_requests().unwrap();
    let of_daemon = |verb: &str| {
        asked
            .iter()
            .filter(|request| request.user.contains(DAEMON) && request.verb == verb)
            .count()
    };
    assert_eq!(of_daemon("create"), 2);
    assert_eq!(of_daemon("delete"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_holds_a_pod_and_is_told_in_its_words() {
    let cluster = Cluster::start().await;
    cluster.node("machine-1").await;
    let daemon = cluster.daemon_client("machine-1").await;
    cluster.pod(WORK, "web", "machine-1", json!({})).await;
    cluster.pod(WORK, "free", "machine-1", json!({})).await;
    budget(&cluster, "web", 0).await;
    let _kubelet = cluster.kubelet();

    let told = until("only the held pod is left", || async {
        let since = Timestamp::now();
        let now = since + k8s_openapi::jiff::SignedDuration::from_secs(120);
        match drain::pass(&daemon, "machine-1", since, now).await {
            Ok(Drain::Remaining { pods, seconds })
                if pods.len() == 1 && pods[0].contains("/web") =>
            {
                assert_eq!(seconds, 120);
                Ok(pods[0].clone())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(
        told.starts_with("work/web: a PodDisruptionBudget holds it: ")
            && told.contains("web needs 1"),
        "{told}"
    );
    assert_eq!(pods(&cluster).await, ["web"]);

    // The budget frees it: the next pass gets it out.
    budget(&cluster, "web", 1).await;
    drained(&daemon).await;
    assert!(pods(&cluster).await.is_empty());
}

/// It tolerates the cordon, or names the node: evicted, it would be back at once, and the drain would never end.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_under_the_cordon_is_not_chased() {
    let cluster = Cluster::start().await;
    cluster.node("machine-1").await;
    let daemon = cluster.daemon_client("machine-1").await;
    cluster
        .pod(WORK, "back-again", "machine-1", owner("ReplicaSet"))
        .await;
    let now = Timestamp::now();
    let since = now - k8s_openapi::jiff::SignedDuration::from_secs(120);
    let drain = drain::pass(&daemon, "machine-1", since, now).await.unwrap();
    assert!(matches!(drain, Drain::Done), "{drain:?}");
    assert_eq!(pods(&cluster).await, ["back-again"]);
    // Within the time by which clocks may differ it may have been there before.
    let drain = drain::pass(&daemon, "machine-1", now, now).await.unwrap();
    assert!(matches!(drain, Drain::Remaining { .. }), "{drain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_in_the_middle_is_waited_for() {
    let cluster = Cluster::start().await;
    cluster.node("machine-1").await;
    let daemon = cluster.daemon_client("machine-1").await;
    cluster.pod(WORK, "web", "machine-1", json!({})).await;
    budget(&cluster, "web", 0).await;
    assert!(matches!(pass(&daemon).await, Ok(Drain::Remaining { .. })));

    cluster.control_plane.stop_api_server().await.unwrap();
    let error = pass(&daemon).await.unwrap_err();
    assert!(matches!(error, ClusterError::Away { .. }), "{error}");
    assert!(!error.is_race());

    cluster.control_plane.start_api_server().await.unwrap();
    budget(&cluster, "web", 1).await;
    let _kubelet = cluster.kubelet();
    drained(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_does_not_end_is_told_with_what_to_look_at() {
    let cluster = Cluster::start().await;
    cluster.node("machine-1").await;
    let daemon = cluster.daemon_client("machine-1").await;
    cluster
        .pod(
            WORK,
            "stuck",
            "machine-1",
            json!({"finalizers": ["test/finalizer"]}),
        )
        .await;
    pass(&daemon).await.unwrap();
    let later = Timestamp::now() + k8s_openapi::jiff::SignedDuration::from_secs(600);
    let drain = drain::pass(&daemon, "machine-1", Timestamp::now(), later)
        .await
        .unwrap();
    let Drain::Remaining { pods, .. } = drain else {
        panic!("it is still there");
    };
    assert!(
        pods[0].contains("is 5") && pods[0].contains("finalizers"),
        "{pods:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_our_own_cordon_is_undone() {
    let cluster = Cluster::start().await;
    cluster.node("machine-1").await;
    let daemon = cluster.daemon_client("machine-1").await;
    let side = Side::new(daemon, "machine-1".to_owned());
    let unschedulable = || async {
        let node = cluster.nodes().get("machine-1").await.unwrap();
        let spec = node.spec.clone().unwrap();
        (
            spec.unschedulable.unwrap_or(false),
            node.annotations()
                .get(names::ANNOTATION_CORDONED_AT)
                .cloned(),
        )
    };

    // Ours: cordoned with our annotation, uncordoned without a trace.
    let view = side.node().await.unwrap();
    let now: Timestamp = "2026-11-21T15:00:00Z".parse().unwrap();
    let view = side.cordon(&view, now).await.unwrap();
    assert_eq!((view.cordon, view.since), (Cordon::Ours, Some(now)));
    assert_eq!(
        unschedulable().await,
        (true, Some("2026-11-21T15:00:00Z".to_owned()))
    );
    let view = side.uncordon(&view).await.unwrap();
    assert_eq!(view.cordon, Cordon::No);
    assert_eq!(unschedulable().await, (false, None));

    // An admin's: neither taken over nor undone.
    cluster
        .patch_node("machine-1", json!({"spec": {"unschedulable": true}}))
        .await;
    let view = side.node().await.unwrap();
    assert_eq!(view.cordon, Cordon::Others);
    let view = side.cordon(&view, now).await.unwrap();
    assert_eq!(view.cordon, Cordon::Others);
    side.uncordon(&view).await.unwrap();
    assert_eq!(unschedulable().await, (true, None));

    // Decided on an old version: nothing is written.
    cluster
        .patch_node("machine-1", json!({"spec": {"unschedulable": null}}))
        .await;
    let old = side.node().await.unwrap();
    cluster
        .patch_node("machine-1", json!({"spec": {"unschedulable": true}}))
        .await;
    let error = side.cordon(&old, now).await.unwrap_err();
    assert!(error.is_race(), "{error}");
    assert_eq!(unschedulable().await, (true, None));

    // An admin uncordoned under our hands: the annotation goes before it can make an admin's cordon ours.
    cluster
        .patch_node("machine-1", json!({"spec": {"unschedulable": null}}))
        .await;
    let view = side.node().await.unwrap();
    side.cordon(&view, now).await.unwrap();
    cluster
        .patch_node("machine-1", json!({"spec": {"unschedulable": null}}))
        .await;
    assert_eq!(side.node().await.unwrap().cordon, Cordon::No);
    assert_eq!(unschedulable().await, (false, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_taken_at_the_version_of_its_grant_only() {
    let cluster = Cluster::start().await;
    cluster.node("machine-1").await;
    cluster
        .wish("machine-1", json!({"profile": "worker-rt"}))
        .await;
    let daemon = cluster.daemon_client("machine-1").await;
    let mut side = Side::new(daemon, "machine-1".to_owned());
    let label = |value: Option<&str>| {
        let patch = json!({"metadata": {"labels": {names::LABEL_TURN: value}}});
        let api = cluster.realtime_nodes();
        async move {
            api.patch("machine-1", &PatchParams::default(), &Patch::Merge(patch))
                .await
                .unwrap()
        }
    };
    let taken = || RealtimeNodeStatus {
        turn: Some(NodeTurn::Taken),
        ..RealtimeNodeStatus::default()
    };

    label(Some(names::TURN_GRANTED)).await;
    side.refresh().await.unwrap();
    // Between the look and the word the grant is taken back: nothing is written.
    label(None).await;
    let error = side.write_status(taken()).await.unwrap_err();
    assert!(error.is_race(), "{error}");
    let node = cluster.realtime_nodes().get("machine-1").await.unwrap();
    assert_eq!(node.status.and_then(|status| status.turn), None);

    // At the version of the grant it holds.
    label(Some(names::TURN_GRANTED)).await;
    side.refresh().await.unwrap();
    side.write_status(taken()).await.unwrap();
    let status = side.seen().unwrap().status.clone().unwrap();
    assert_eq!(status.turn, Some(NodeTurn::Taken));

    // An object that is gone is no race, and is forgotten at the next look.
    cluster
        .realtime_nodes()
        .delete("machine-1", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    let error = side.write_status(taken()).await.unwrap_err();
    assert!(
        matches!(
            error,
            ClusterError::Missing { .. } | ClusterError::Changed { .. }
        ),
        "{error}"
    );
    side.refresh().await.unwrap();
    assert!(side.seen().is_none());
}
