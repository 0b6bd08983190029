//! What a daemon may do and what not, by the shipped rights and policies on a real API server, with tokens that are bound
//! to pods as a kubelet's are.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test ends at what it doesn't expect, and `json!` values read better given away"
)]

mod on_cluster;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::Status;
use kube::{Api, Client, ResourceExt as _};
use on_cluster::{Cluster, DAEMON, WORK, until};
use realtime_core::api::RealtimeNode;
use realtime_core::names;
use serde_json::{Value, json};

type Answer = Result<(), String>;

fn answer<T>(result: kube::Result<T>) -> Answer {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(format!("{} {}", status.code, status.message)),
        Err(error) => Err(error.to_string()),
    }
}

async fn patch_node(client: &Client, name: &str, patch: Value) -> Answer {
    let nodes: Api<Node> = Api::all(client.clone());
    answer(
        nodes
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await,
    )
}

async fn write_status(client: &Client, name: &str) -> Answer {
    let nodes: Api<RealtimeNode> = Api::all(client.clone());
    let mut node = nodes.get(name).await.unwrap();
    let status = node.status.get_or_insert_default();
    status.observed_generation = Some(status.observed_generation.unwrap_or(0) + 1);
    answer(
        nodes
            .replace_status(name, &PostParams::default(), &node)
            .await,
    )
}

async fn evict(client: &Client, pod: &str, options: Value) -> Answer {
    let pods: Api<Pod> = Api::namespaced(client.clone(), WORK);
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": WORK}, "deleteOptions": options,
    });
    answer(
        pods.create_subresource::<Value, Status>(
            "eviction",
            pod,
            &PostParams::default(),
            &eviction,
        )
        .await,
    )
}

fn refused(what: &str, answer: Answer, words: &str) {
    let said = answer.expect_err(what);
    assert!(said.starts_with("403"), "{what}: {said}");
    assert!(said.contains(words), "{what}: {said}");
}

fn cordon(on: bool) -> Value {
    json!({
        "metadata": {"annotations": {names::ANNOTATION_CORDONED_AT: on.then_some("2026-11-21T15:00:00Z")}},
        "spec": {"unschedulable": on.then_some(true)},
    })
}

/// Policies come into force a moment after they are made.
async fn policies_in_force(daemon: &Client) {
    until("the policies are in force", || async {
        match patch_node(daemon, "machine-2", cordon(true)).await {
            Err(said) if said.contains("its own Node only") => {}
            other => return Err(format!("{other:?}")),
        }
        match write_status(daemon, "machine-2").await {
            Err(said) if said.contains("its own node only") => {}
            other => return Err(format!("{other:?}")),
        }
        match evict(daemon, "app", json!({})).await {
            Err(said) if said.contains("by its uid") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[allow(
    clippy::too_many_lines,
    reason = "one control plane: what is allowed and what is refused, one after the other"
)]
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_may_do_its_work_on_its_own_node_and_nothing_else() {
    let cluster = Cluster::start().await;
    for name in ["machine-1", "machine-2"] {
        cluster.node(name).await;
        cluster.wish(name, json!({"profile": "worker-rt"})).await;
    }
    let app = cluster.pod(WORK, "app", "machine-1", json!({})).await;
    let daemon = cluster.daemon_client("machine-1").await;
    policies_in_force(&daemon).await;

    // Its own node: everything that it does, and no more.
    for change in [cordon(true), cordon(false)] {
        patch_node(&daemon, "machine-1", change).await.unwrap();
    }
    write_status(&daemon, "machine-1").await.unwrap();
    for (what, patch, words) in [
        (
            "a label",
            json!({"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}}),
            "no label",
        ),
        (
            "a foreign annotation",
            json!({"metadata": {"annotations": {"machineconfiguration.openshift.io/desiredConfig": "x"}}}),
            "realtime.openshift.io/cordoned-at only",
        ),
        (
            "a taint",
            json!({"spec": {"taints": [{"key": "a", "effect": "NoExecute"}]}}),
            "unschedulable only",
        ),
        (
            "a provider id",
            json!({"spec": {"providerID": "other://1"}}),
            "unschedulable only",
        ),
        (
            "a finalizer",
            json!({"metadata": {"finalizers": ["a/b"]}}),
            "finalizer",
        ),
    ] {
        refused(what, patch_node(&daemon, "machine-1", patch).await, words);
    }
    // An annotation of somebody else can't be taken off either.
    cluster
        .patch_node(
            "machine-1",
            json!({"metadata": {"annotations": {"somebody/else": "1"}}}),
        )
        .await;
    refused(
        "taking off an annotation",
        patch_node(
            &daemon,
            "machine-1",
            json!({"metadata": {"annotations": {"somebody/else": null}}}),
        )
        .await,
        "cordoned-at only",
    );
    patch_node(&daemon, "machine-1", cordon(true))
        .await
        .unwrap();

    // The spec and the label that grants a turn are the operator's: no right at all.
    let nodes: Api<RealtimeNode> = Api::all(daemon.clone());
    for patch in [
        json!({"metadata": {"labels": {names::LABEL_TURN: names::TURN_GRANTED}}}),
        json!({"spec": {"profile": "other"}}),
    ] {
        let said = answer(
            nodes
                .patch("machine-1", &PatchParams::default(), &Patch::Merge(patch))
                .await,
        );
        refused("the operator's part", said, "cannot patch resource");
    }
    // Nor through the door of the status.
    let mut node = nodes.get("machine-1").await.unwrap();
    node.labels_mut()
        .insert(names::LABEL_TURN.to_owned(), names::TURN_GRANTED.to_owned());
    node.spec.profile = "other".to_owned();
    let written = nodes
        .replace_status("machine-1", &PostParams::default(), &node)
        .await
        .unwrap();
    assert_eq!(written.spec.profile, "worker-rt");
    assert!(!written.labels().contains_key(names::LABEL_TURN));

    // Pods: listed and evicted politely, never deleted.
    let pods: Api<Pod> = Api::namespaced(daemon.clone(), WORK);
    let fields = ListParams::default().fields("spec.nodeName=machine-1");
    assert_eq!(pods.list_metadata(&fields).await.unwrap().items.len(), 1);
    refused(
        "a delete",
        answer(pods.delete("app", &DeleteParams::default()).await.map(drop)),
        "cannot delete",
    );
    let uid = json!({"preconditions": {"uid": app.uid()}});
    refused(
        "no grace",
        evict(
            &daemon,
            "app",
            json!({"preconditions": {"uid": app.uid()}, "gracePeriodSeconds": 0}),
        )
        .await,
        "grace period",
    );
    evict(&daemon, "app", uid).await.unwrap();

    // Events about its node.
    let events: Api<Event> = Api::namespaced(daemon.clone(), "default");
    let event: Event = serde_json::from_value(json!({
        "metadata": {"name": "machine-1.1", "namespace": "default"},
        "eventTime": "2026-11-21T15:00:00.000000Z", "action": "SwitchKernel", "reason": "Draining",
        "reportingController": names::DAEMON_FIELD_MANAGER, "reportingInstance": "machine-1", "type": "Normal",
        "regarding": {"kind": "Node", "name": "machine-1"},
    }))
    .unwrap();
    events.create(&PostParams::default(), &event).await.unwrap();

    a_token_without_a_node_is_refused(&cluster).await;
}

/// A token of the same ServiceAccount that no pod has, as one that was asked for by hand.
async fn a_token_without_a_node_is_refused(cluster: &Cluster) {
    let stray = cluster
        .control_plane
        .client_for(DAEMON, DAEMON)
        .await
        .unwrap();
    refused(
        "a cordon",
        patch_node(&stray, "machine-1", cordon(false)).await,
        "its token is of node \"\"",
    );
    refused(
        "a status",
        write_status(&stray, "machine-1").await,
        "its token is of node \"\"",
    );
    let other = cluster.pod(WORK, "other", "machine-1", json!({})).await;
    refused(
        "an eviction",
        evict(
            &stray,
            "other",
            json!({"preconditions": {"uid": other.uid()}}),
        )
        .await,
        "token of its pod only",
    );
    // Nobody else is concerned: an admin and a kubelet do what they may.
    cluster
        .patch_node("machine-1", json!({"metadata": {"labels": {"a": "b"}}}))
        .await;
}
