//! `oc realtime plan` against a real API server with OpenShift's definitions and the pool stand-in, under an account that
//! may only read.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at what it doesn't expect"
)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt as _};
use realtime_core::cluster::Dialect;
use realtime_core::openshift::{KubeletConfig, MachineConfigPool};
use realtime_testing::control_plane::{ControlPlane, Options, apply};
use realtime_testing::openshift_crds::install_openshift;
use realtime_testing::pool_standin::{self, Capacity, PoolStandin, create_nodes};
use serde_json::{Value, json};

use common::{Run, root};

/// For a machine that is starved.
const DEADLINE: Duration = Duration::from_mins(2);
const PROFILE: &str = "docs/examples/worker-rt.yaml";

struct Cluster {
    control_plane: ControlPlane,
    client: Client,
    _standin: PoolStandin,
    reader: std::path::PathBuf,
}

async fn cluster() -> Cluster {
    let control_plane = ControlPlane::start(Options::default()).await.unwrap();
    install_openshift(&control_plane, Dialect::KernelType)
        .await
        .unwrap();
    let crds = apply::read(&root().join("manifests/crds")).unwrap();
    control_plane.apply_values(crds).await.unwrap();
    let client = control_plane.admin_client().await.unwrap();
    let standin = PoolStandin::start(client.clone(), pool_standin::Options::scaled(0.05))
        .await
        .unwrap();
    create_nodes(&client, "anvil-", 3, &BTreeMap::new(), &Capacity::default())
        .await
        .unwrap();
    control_plane
        .apply_yaml(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: reader, namespace: default}\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: reader}\n\
             rules: [{apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}]\n---\n\
             apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: reader}\n\
             roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}\n\
             subjects: [{kind: ServiceAccount, name: reader, namespace: default}]\n",
        )
        .await
        .unwrap();
    let reader = control_plane
        .kubeconfig_for("default", "reader")
        .await
        .unwrap();
    let cluster = Cluster {
        control_plane,
        client,
        _standin: standin,
        reader,
    };
    for name in ["anvil-1", "anvil-2", "anvil-3"] {
        // The plan compares with what the nodes run: the stand-in must have given them their first configuration.
        cluster
            .wait::<Node>(name, |node| {
                node.annotations()
                    .contains_key("machineconfiguration.openshift.io/currentConfig")
            })
            .await;
    }
    cluster
}

impl Cluster {
    /// The binary, off the runtime's threads: the stand-in goes on meanwhile.
    async fn plan(&self, args: &[&str]) -> Run {
        let kubeconfig = self.reader.to_str().unwrap().to_owned();
        let args: Vec<String> = ["plan", "--kubeconfig", &kubeconfig]
            .iter()
            .chain(args)
            .map(|arg| (*arg).to_owned())
            .collect();
        tokio::task::spawn_blocking(move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            common::oc(&args)
        })
        .await
        .unwrap()
    }

    async fn json(&self, file: &str) -> (i32, Value) {
        let run = self.plan(&["-f", file, "--output", "json"]).await;
        let plan = serde_json::from_str(&run.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", run.stdout, run.stderr));
        (run.code, plan)
    }

    async fn wait<K>(&self, name: &str, condition: impl Fn(&K) -> bool)
    where
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + 'static,
        K::DynamicType: Default,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let reached = await_condition(api, name, |object: Option<&K>| {
            object.is_some_and(&condition)
        });
        tokio::time::timeout(DEADLINE, reached)
            .await
            .unwrap_or_else(|_| panic!("{name} never got there"))
            .unwrap();
    }

    async fn merge<K>(&self, name: &str, patch: Value)
    where
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        Api::<K>::all(self.client.clone())
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    async fn label(&self, node: &str) {
        self.merge::<Node>(
            node,
            json!({"metadata": {"labels": {"node-role.kubernetes.io/worker-rt": ""}}}),
        )
        .await;
    }

    /// As the operator: the profile, then what it renders to on this cluster.
    async fn apply(&self, profile: &Path) {
        self.control_plane.apply_file(profile).await.unwrap();
        let nodes = Api::<Node>::all(self.client.clone())
            .list(&ListParams::default())
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("nodes.json");
        let list = json!({"apiVersion": "v1", "kind": "NodeList", "items": nodes.items});
        std::fs::write(&file, list.to_string()).unwrap();
        let rendered = common::oc(&[
            "render",
            "-f",
            profile.to_str().unwrap(),
            "-f",
            file.to_str().unwrap(),
        ])
        .success();
        self.control_plane.apply_yaml(&rendered).await.unwrap();
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_tells_what_then_happens() {
    let cluster = cluster().await;

    // Nothing is there yet: everything would be created, and no node is in the pool.
    let run = cluster.plan(&["-f", PROFILE]).await;
    assert_eq!(run.code, 2, "{}{}", run.stdout, run.stderr);
    for text in [
        "+ create RealtimeProfile worker-rt",
        "+ create MachineConfigPool worker-rt",
        "+ create KubeletConfig realtime-worker-rt",
        "+ create MachineConfig 50-realtime-worker-rt",
        "+ create Tuned openshift-cluster-node-tuning-operator/realtime-worker-rt",
        "+ create RuntimeClass realtime-worker-rt",
        "+  kernelType: realtime",
        "isolcpus=managed_irq,2-7",
        "oc label node NAME node-role.kubernetes.io/worker-rt=",
    ] {
        assert!(run.stdout.contains(text), "no {text:?} in {}", run.stdout);
    }
    assert!(
        !run.stdout.contains('\x1b'),
        "no colours outside a terminal"
    );

    // Two nodes are labelled: each reboots once, and why.
    cluster.label("anvil-1").await;
    cluster.label("anvil-2").await;
    let (code, plan) = cluster.json(PROFILE).await;
    let plan = &plan["plans"][0];
    assert_eq!(code, 2);
    assert_eq!(plan["outcome"]["kernel"], "realtime");
    let nodes = plan["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2, "{plan:#}");
    for node in nodes {
        assert_eq!(node["reboots"], 1, "{node}");
        let reasons = strings(&node["reasons"]).join("\n");
        assert!(reasons.contains("comes from pool worker"), "{reasons}");
        assert!(reasons.contains("kernel default → realtime"), "{reasons}");
        assert!(reasons.contains("+nohz_full=2-7"), "{reasons}");
    }
    assert_eq!(plan["conflicts"], json!([]));

    // Applied: the plan is empty, also after OpenShift has acted on the objects.
    cluster.apply(&root().join(PROFILE)).await;
    cluster
        .wait::<MachineConfigPool>("worker-rt", |pool| {
            let status = pool.status.clone().unwrap_or_default();
            status.updated_machine_count == Some(2)
                && status
                    .conditions
                    .iter()
                    .any(|condition| condition.type_ == "Updated" && condition.status == "True")
        })
        .await;
    let run = cluster.plan(&["-f", PROFILE]).await;
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(
        run.stdout.contains("Nothing would change."),
        "{}",
        run.stdout
    );
    assert!(run.stdout.contains("anvil-1  no reboot"), "{}", run.stdout);
    // The merge that was foretold is the one that was made.
    let foretold: Vec<String> = strings(&plan["outcome"]["kernelArguments"])
        .into_iter()
        .map(str::to_owned)
        .collect();
    let pool: MachineConfigPool = Api::all(cluster.client.clone())
        .get("worker-rt")
        .await
        .unwrap();
    let target = pool.spec.configuration.unwrap().name.unwrap();
    let made: realtime_core::openshift::MachineConfig =
        Api::all(cluster.client.clone()).get(&target).await.unwrap();
    assert_eq!(made.spec.kernel_arguments.unwrap(), foretold);

    changes(&cluster).await;
    conflicts(&cluster).await;
    cluster.control_plane.shutdown().await.unwrap();
}

/// One edit in the profile, one by hand in an object of ours.
async fn changes(cluster: &Cluster) {
    let directory = tempfile::tempdir().unwrap();
    let edited = directory.path().join("edited.yaml");
    let text = std::fs::read_to_string(root().join(PROFILE)).unwrap();
    std::fs::write(&edited, text.replace("count: 4", "count: 8")).unwrap();
    let (code, plan) = cluster.json(edited.to_str().unwrap()).await;
    let plan = &plan["plans"][0];
    assert_eq!(code, 2);
    assert_eq!(
        plan["outcome"]["argumentChanges"],
        json!({"added": ["hugepages=8"], "removed": ["hugepages=4"]})
    );
    let changed: Vec<&str> = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["kind"].as_str().unwrap())
        .collect();
    assert!(
        changed.contains(&"RealtimeProfile") && changed.contains(&"MachineConfig"),
        "{changed:?}"
    );
    assert!(!changed.contains(&"RuntimeClass"), "{changed:?}");
    assert_eq!(plan["nodes"][0]["reboots"], 1, "{plan:#}");

    cluster
        .merge::<KubeletConfig>(
            "realtime-worker-rt",
            json!({"spec": {"kubeletConfig": {"maxPods": 17}}}),
        )
        .await;
    let (code, plan) = cluster.json(PROFILE).await;
    let plan = &plan["plans"][0];
    assert_eq!(code, 2);
    let [change] = &plan["changes"].as_array().unwrap()[..] else {
        panic!("{plan:#}")
    };
    assert_eq!(change["kind"], "KubeletConfig");
    let diff = change["diff"].as_str().unwrap();
    assert!(diff.contains("-    maxPods: 17"), "{diff}");
    assert!(
        !diff.contains("managedFields") && !diff.contains("uid"),
        "{diff}"
    );
    cluster
        .merge::<KubeletConfig>(
            "realtime-worker-rt",
            json!({"spec": {"kubeletConfig": {"maxPods": null}}}),
        )
        .await;
}

async fn conflicts(cluster: &Cluster) {
    cluster
        .control_plane
        .apply_yaml(
            "apiVersion: machineconfiguration.openshift.io/v1\nkind: KubeletConfig\nmetadata: {name: theirs}\nspec:\n  \
             machineConfigPoolSelector: {matchLabels: {pools.operator.machineconfiguration.openshift.io/worker-rt: ''}}\n  \
             kubeletConfig: {maxPods: 9}\n",
        )
        .await
        .unwrap();
    // What the operator would refuse is no plan.
    let stderr = cluster.plan(&["-f", PROFILE]).await.failure();
    assert!(stderr.contains("KubeletConfig/theirs"), "{stderr}");
    Api::<KubeletConfig>::all(cluster.client.clone())
        .delete("theirs", &DeleteParams::default())
        .await
        .unwrap();
    cluster
        .merge::<MachineConfigPool>("worker-rt", json!({"spec": {"paused": true}}))
        .await;
    let (code, plan) = cluster.json(PROFILE).await;
    assert_eq!(code, 0, "a pause by somebody else is no change of ours");
    let conflicts = plan["plans"][0]["conflicts"].to_string();
    assert!(conflicts.contains("PausedByAdmin"), "{conflicts}");

    // An invalid profile: nothing is planned, everything is told.
    let directory = tempfile::tempdir().unwrap();
    let invalid = directory.path().join("invalid.yaml");
    let text = std::fs::read_to_string(root().join(PROFILE)).unwrap();
    std::fs::write(&invalid, text.replace("\"2-7\"", "\"2-99\"")).unwrap();
    let run = cluster.plan(&["-f", invalid.to_str().unwrap()]).await;
    assert_eq!(run.stdout, "");
    let stderr = run.failure();
    assert!(
        stderr.contains("spec.cpu.isolated") && stderr.contains("8-99"),
        "{stderr}"
    );
}

#[test]
fn a_cluster_that_cannot_be_asked() {
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(
        &kubeconfig,
        "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n\
         users: [{name: u, user: {}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n",
    )
    .unwrap();
    let path = kubeconfig.to_str().unwrap();
    let refused = common::oc(&["plan", "-f", PROFILE, "--kubeconfig", path]).failure();
    assert!(
        refused.contains("can't be reached") && refused.contains("refused"),
        "{refused}"
    );
    let context = common::oc(&[
        "plan",
        "-f",
        PROFILE,
        "--kubeconfig",
        path,
        "--context",
        "y",
    ])
    .failure();
    assert!(context.contains("--context"), "{context}");
    let missing = common::oc(&["plan", "-f", PROFILE, "--kubeconfig", "/nowhere"]).failure();
    assert!(missing.contains("kubeconfig"), "{missing}");
    // What is wrong with the file is told before any cluster is asked.
    let file = common::oc(&["plan", "-f", "/nowhere.yaml", "--kubeconfig", path]).failure();
    assert!(file.contains("/nowhere.yaml"), "{file}");
}
