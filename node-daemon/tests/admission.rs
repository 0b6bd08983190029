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

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams};
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

    what_it_may_see(&daemon).await;
    events(&daemon).await;
    a_token_without_a_node_is_refused(&cluster).await;
}

/// Pods of its node and namespaces, as they change; nothing else of a namespace.
async fn what_it_may_see(daemon: &Client) {
    let pods: Api<Pod> = Api::all(daemon.clone());
    let of_node = WatchParams::default().fields("spec.nodeName=machine-1");
    drop(pods.watch(&of_node, "0").await.unwrap());
    let namespaces: Api<Namespace> = Api::all(daemon.clone());
    let allowed = WatchParams::default().labels("realtime.openshift.io/allowed=true");
    drop(namespaces.watch_metadata(&allowed, "0").await.unwrap());
    namespaces
        .list_metadata(&ListParams::default())
        .await
        .unwrap();
    let label = json!({"metadata": {"labels": {"realtime.openshift.io/allowed": "true"}}});
    let patched = namespaces
        .patch(WORK, &PatchParams::default(), &Patch::Merge(label))
        .await;
    refused("a namespace's label", answer(patched), "cannot patch");
    let maps: Api<ConfigMap> = Api::namespaced(daemon.clone(), names::OPERATOR_NAMESPACE);
    let read = maps.get(names::CONFIG_MAP_NAMESPACES).await;
    refused("a ConfigMap", answer(read), "cannot get");
}

/// An Event of that daemon, with this further content.
fn event(namespace: &str, reporter: [&str; 2], regarding: Value) -> Event {
    serde_json::from_value(json!({
        "metadata": {"generateName": "machine-1-", "namespace": namespace},
        "eventTime": "2026-11-21T15:00:00.000000Z", "action": "GiveBudget", "reason": "RealtimeApplied",
        "reportingController": reporter[0], "reportingInstance": reporter[1], "type": "Normal",
        "regarding": regarding,
    }))
    .unwrap()
}

/// About pods in their namespace, about its own node in `default`; always in its own name.
async fn events(daemon: &Client) {
    let ours = [names::DAEMON_FIELD_MANAGER, "machine-1"];
    let pod = |namespace| json!({"kind": "Pod", "name": "app", "namespace": namespace});
    let node = |kind, name| json!({"kind": kind, "name": name});
    // Policies come into force one after another.
    until("the policy on Events is in force", || async {
        match write_event(daemon, "default", ours, node("Node", "machine-2")).await {
            Err(_) => Ok(()),
            Ok(()) => Err("accepted".to_owned()),
        }
    })
    .await;
    for (namespace, regarding) in [
        ("default", node("Node", "machine-1")),
        ("default", node("RealtimeNode", "machine-1")),
        ("default", pod("default")),
        (WORK, pod(WORK)),
    ] {
        write_event(daemon, namespace, ours, regarding)
            .await
            .unwrap();
    }
    let about = "is about a pod of the Event's namespace";
    let own = "its token is of node \"machine-1\"";
    for (what, namespace, reporter, regarding, words) in [
        (
            "a foreign node",
            "default",
            ours,
            node("Node", "machine-2"),
            about,
        ),
        (
            "a foreign RealtimeNode",
            "default",
            ours,
            node("RealtimeNode", "machine-2"),
            about,
        ),
        (
            "a Secret",
            "default",
            ours,
            node("Secret", "machine-1"),
            about,
        ),
        (
            "its node elsewhere",
            WORK,
            ours,
            json!({"kind": "Node", "name": "machine-1", "namespace": WORK}),
            about,
        ),
        (
            "something else than a pod",
            WORK,
            ours,
            json!({"kind": "Service", "name": "a", "namespace": WORK}),
            about,
        ),
        ("nothing", "default", ours, json!({}), about),
        (
            "a foreign node's name",
            WORK,
            [ours[0], "machine-2"],
            pod(WORK),
            own,
        ),
        ("another's name", WORK, ["kubelet", ours[1]], pod(WORK), own),
    ] {
        let said = write_event(daemon, namespace, reporter, regarding).await;
        refused(what, said, words);
    }
    // A pod in another namespace than the Event's: the API server itself, or the policy.
    write_event(daemon, WORK, ours, pod("default"))
        .await
        .unwrap_err();
    let events: Api<Event> = Api::namespaced(daemon.clone(), WORK);
    let listed = events.list(&ListParams::default()).await.map(drop);
    refused("reading Events", answer(listed), "cannot list");
}

async fn write_event(
    client: &Client,
    namespace: &str,
    reporter: [&str; 2],
    regarding: Value,
) -> Answer {
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    let event = event(namespace, reporter, regarding);
    answer(events.create(&PostParams::default(), &event).await)
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
    refused(
        "an Event",
        write_event(
            &stray,
            WORK,
            [names::DAEMON_FIELD_MANAGER, "machine-1"],
            json!({"kind": "Pod", "name": "other", "namespace": WORK}),
        )
        .await,
        "its token is of node \"\"",
    );
    // Nobody else is concerned: an admin and a kubelet do what they may.
    cluster
        .patch_node("machine-1", json!({"metadata": {"labels": {"a": "b"}}}))
        .await;
}
