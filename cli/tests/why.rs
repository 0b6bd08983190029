//! `oc realtime why` against a real API server, under an account that may only get the four objects; the test is the
//! scheduler and the node's daemon.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test ends at what it doesn't expect, and `json!` values read better given away"
)]

mod common;

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use realtime_core::api::RealtimeNode;
use realtime_testing::control_plane::{ControlPlane, Options, apply};
use serde_json::{Value, json};

use common::{Run, root};

const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: lab, labels: {rt: allowed}}
---
apiVersion: v1
kind: Namespace
metadata: {name: office}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: lab}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: default, namespace: office}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: asker, namespace: lab}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: tenant, namespace: lab}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: asker}
rules:
- {apiGroups: [''], resources: [pods, namespaces], verbs: [get]}
- {apiGroups: [realtime.openshift.io], resources: [realtimenodes, realtimeprofiles], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: asker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: asker}
subjects: [{kind: ServiceAccount, name: asker, namespace: lab}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: tenant, namespace: lab}
rules:
- {apiGroups: [''], resources: [pods], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant, namespace: lab}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: tenant}
subjects: [{kind: ServiceAccount, name: tenant, namespace: lab}]
---
apiVersion: realtime.openshift.io/v1alpha1
kind: RealtimeProfile
metadata: {name: press}
spec: {kernel: {realtime: true}}
---
apiVersion: realtime.openshift.io/v1alpha1
kind: RealtimeNode
metadata: {name: anvil}
spec:
  profile: press
  kernel: {realtime: true, provider: NodeDaemon}
  podBudget:
    capacityMicroseconds: 800000
    maxPerContainerMicroseconds: 500000
    namespaceSelector: {matchLabels: {rt: allowed}}
";

struct Cluster {
    control_plane: ControlPlane,
    client: Client,
    asker: PathBuf,
    tenant: PathBuf,
}

impl Cluster {
    async fn start() -> Self {
        let control_plane = ControlPlane::start(Options::default()).await.unwrap();
        let crds = apply::read(&root().join("manifests/crds")).unwrap();
        control_plane.apply_values(crds).await.unwrap();
        control_plane.apply_yaml(OBJECTS).await.unwrap();
        Self {
            client: control_plane.admin_client().await.unwrap(),
            asker: control_plane.kubeconfig_for("lab", "asker").await.unwrap(),
            tenant: control_plane.kubeconfig_for("lab", "tenant").await.unwrap(),
            control_plane,
        }
    }

    async fn pod(&self, namespace: &str, name: &str, node: Option<&str>, annotations: Value) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"nodeName": node, "containers": [{"name": "main", "image": "example.org/none"}]},
        }))
        .unwrap();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        pods.create(&PostParams::default(), &pod).await.unwrap();
    }

    async fn pod_status(&self, name: &str, status: Value) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "lab");
        let patch = Patch::Merge(json!({ "status": status }));
        pods.patch_status(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn node_status(&self, budget: Value) {
        let nodes: Api<RealtimeNode> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"status": {"podBudget": budget}}));
        nodes
            .patch_status("anvil", &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    /// The binary, off the runtime's threads.
    async fn why(&self, args: &[&str]) -> Run {
        self.why_as(&self.asker, args).await
    }

    async fn why_as(&self, who: &std::path::Path, args: &[&str]) -> Run {
        let kubeconfig = who.to_str().unwrap().to_owned();
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        tokio::task::spawn_blocking(move || {
            let mut words = vec!["why", "--kubeconfig", &kubeconfig];
            words.extend(args.iter().map(String::as_str));
            common::oc(&words)
        })
        .await
        .unwrap()
    }

    /// The exit code, the verdict and the causes.
    async fn causes(&self, pod: &str) -> (i32, String, Vec<String>) {
        let run = self.why(&[pod, "--output", "json"]).await;
        let answer: Value = serde_json::from_str(&run.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", run.stdout, run.stderr));
        let causes = answer["findings"].as_array().unwrap().iter();
        (
            run.code,
            answer["verdict"].as_str().unwrap().to_owned(),
            causes
                .map(|finding| finding["cause"].as_str().unwrap().to_owned())
                .collect(),
        )
    }
}

fn budget() -> Value {
    json!({"realtime.openshift.io/runtime-us": "25000"})
}

fn both() -> Value {
    json!({"realtime.openshift.io/runtime-us": "25000", "realtime.openshift.io/scheduler": "fifo:50"})
}

fn entry(pod: &str, fields: Value) -> Value {
    let mut entry = json!({"namespace": "lab", "pod": pod, "container": "main", "requestedMicroseconds": 25_000,
        "appliedMicroseconds": 25_000, "state": "Applied", "assignedBeforeStart": true});
    for (key, value) in fields.as_object().unwrap() {
        entry[key] = value.clone();
    }
    entry
}

fn refused(code_and: (i32, String, Vec<String>), causes: &[&str]) {
    let (code, verdict, found) = code_and;
    assert_eq!((code, verdict.as_str()), (1, "Refused"), "{found:?}");
    assert_eq!(found, causes);
}

#[tokio::test]
async fn a_pod_is_told_why() {
    let cluster = Cluster::start().await;
    before_the_node(&cluster).await;
    on_the_node(&cluster).await;
    who_may_not_read(&cluster).await;
    bad_input(&cluster).await;
    cluster.control_plane.shutdown().await.unwrap();
}

async fn before_the_node(cluster: &Cluster) {
    cluster.pod("lab", "silent", Some("anvil"), json!({})).await;
    refused(cluster.causes("lab/silent").await, &["NotAsked"]);

    let wrong = json!({"realtime.openshift.io/runtime-us": "0x10", "realtime.openshift.io/scheduler": "fifo:0"});
    cluster.pod("lab", "wrong", None, wrong).await;
    let run = cluster.why(&["lab/wrong"]).await;
    assert_eq!(run.code, 1);
    assert!(
        run.stdout.contains("\"0x10\"") && run.stdout.contains("\"fifo:0\""),
        "{}",
        run.stdout
    );

    cluster.pod("lab", "big", None, budget()).await;
    let (code, verdict, causes) = cluster.causes("lab/big").await;
    assert_eq!((code, verdict.as_str()), (1, "Waiting"));
    assert_eq!(causes, ["NotScheduled"]);
    let message = "0/3 nodes are available: 3 Insufficient realtime.openshift.io/runtime-us.";
    let scheduled = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
    cluster
        .pod_status("big", json!({"conditions": [scheduled]}))
        .await;
    let run = cluster.why(&["lab/big"]).await;
    assert!(
        run.stdout.contains(message) && run.stdout.contains("capacityMicroseconds"),
        "{}",
        run.stdout
    );

    cluster.pod("lab", "lost", Some("nowhere"), budget()).await;
    refused(cluster.causes("lab/lost").await, &["NoRealtimeNode"]);
    cluster.pod("lab", "spinner", Some("anvil"), both()).await;
    refused(cluster.causes("lab/spinner").await, &["NotReported"]);
}

async fn on_the_node(cluster: &Cluster) {
    let blocked = json!({"mode": "Blocked", "evidence": "the kernel refused", "remedy": "boot with rt_group_sched=0"});
    cluster.node_status(blocked).await;
    let run = cluster.why(&["lab/spinner"]).await;
    assert!(
        run.stdout.contains("mode Blocked")
            && run.stdout.contains("    boot with rt_group_sched=0\n"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("(the kernel refused)"),
        "{}",
        run.stdout
    );

    cluster.pod("office", "clerk", Some("anvil"), both()).await;
    let none = json!({"evidence": null, "remedy": null, "mode": "V1Budget", "capacityMicroseconds": 800_000,
        "allocatedMicroseconds": 790_000, "containers": []});
    cluster.node_status(none).await;
    let run = cluster.why(&["-n", "office", "clerk"]).await;
    assert!(
        run.stdout.contains("oc label namespace office rt=allowed"),
        "{}",
        run.stdout
    );

    let no_room = entry(
        "spinner",
        json!({"state": "Refused", "reason": "NoRoom", "message": "too full", "appliedMicroseconds": 0}),
    );
    cluster.node_status(json!({"containers": [no_room]})).await;
    let run = cluster.why(&["lab/spinner"]).await;
    assert_eq!(run.code, 1);
    assert!(
        run.stdout
            .contains("10000 of the node's 800000 microseconds are free"),
        "{}",
        run.stdout
    );

    let applied = entry("spinner", json!({"policy": "fifo", "priority": 50}));
    cluster.pod("lab", "caller", Some("anvil"), budget()).await;
    cluster
        .node_status(json!({"containers": [applied, entry("caller", json!({}))]}))
        .await;
    let (code, verdict, causes) = cluster.causes("lab/spinner").await;
    assert_eq!((code, verdict.as_str()), (0, "Real"));
    assert_eq!(causes, ["NotPermitted", "Throttling"]);
    let text = cluster.why(&["-n", "lab", "pod/spinner"]).await.success();
    assert!(
        text.starts_with("Pod lab/spinner on node anvil, mode V1Budget\n\nCONTAINER  ASKS FOR"),
        "{text}"
    );
    assert!(
        text.contains(
            "main       25000 us/s, fifo:50  25000 us/s, fifo:50  Applied, before its start\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("\nNothing stands in its way.\n"), "{text}");
    // A budget alone doesn't help a process without the capability.
    refused(
        cluster.causes("lab/caller").await,
        &["NotPermitted", "Throttling"],
    );
}

async fn who_may_not_read(cluster: &Cluster) {
    let run = cluster.why_as(&cluster.tenant, &["lab/spinner"]).await;
    assert_eq!(run.code, 1);
    assert!(
        run.stdout.contains("RealtimeNode anvil: ") && run.stdout.contains("forbidden"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.ends_with("not all could be read.\n"),
        "{}",
        run.stdout
    );
    let told = cluster
        .why_as(&cluster.tenant, &["office/clerk"])
        .await
        .failure();
    assert!(
        told.contains("reading the pod office/clerk") && told.contains("forbidden"),
        "{told}"
    );
}

async fn bad_input(cluster: &Cluster) {
    let told = cluster.why(&["lab/nobody"]).await.failure();
    assert!(
        told.contains("no pod nobody in the namespace lab"),
        "{told}"
    );
    for args in [
        &["a/b/c"][..],
        &["Lab/x"],
        &["-n", "lab", "office/clerk"],
        &[],
    ] {
        let run = cluster.why(args).await;
        assert_eq!(run.code, 2, "{args:?}: {}", run.stderr);
        assert!(run.stdout.is_empty());
    }
    let run = common::oc(&["why", "lab/x", "--kubeconfig", "/nonexistent"]);
    assert!(run.failure().contains("kubeconfig"));
}
