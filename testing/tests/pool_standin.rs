//! The pool stand-in end to end on a real API server: rollouts, drains and misbehaviour on demand. That it
//! behaves as the real one is the question of `pool_conformance.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking; `json!` values read better given away"
)]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt};
use realtime_core::cluster::Dialect;
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool};
use realtime_testing::control_plane::{self, ControlPlane};
use realtime_testing::openshift_crds::install_openshift;
use realtime_testing::pool_standin::{
    Capacity, Options, PoolStandin, RenderDelay, create_nodes, names,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Twenty times as fast as the real one.
const SCALE: f64 = 0.05;
/// A rollout takes seconds; this is for a machine that is starved.
const DEADLINE: Duration = Duration::from_mins(2);

struct Cluster {
    client: Client,
    standin: PoolStandin,
    _control_plane: ControlPlane,
}

async fn cluster(options: Options) -> Cluster {
    let control_plane = ControlPlane::start(control_plane::Options::default())
        .await
        .unwrap();
    install_openshift(&control_plane, Dialect::KernelType)
        .await
        .unwrap();
    let client = control_plane.admin_client().await.unwrap();
    let standin = PoolStandin::start(client.clone(), options).await.unwrap();
    create_nodes(&client, "n", 3, &BTreeMap::new(), &Capacity::default())
        .await
        .unwrap();
    Cluster {
        client,
        standin,
        _control_plane: control_plane,
    }
}

impl Cluster {
    async fn create<K>(&self, object: Value)
    where
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + serde::Serialize,
        K::DynamicType: Default,
    {
        let object: K = serde_json::from_value(object).unwrap();
        Api::all(self.client.clone())
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
    }

    async fn create_edge_pool(&self) {
        self.create::<MachineConfigPool>(json!({
            "metadata": {"name": "edge", "labels": {"pools.operator.machineconfiguration.openshift.io/edge": ""}},
            "spec": {
                "machineConfigSelector": {"matchExpressions": [
                    {"key": "machineconfiguration.openshift.io/role", "operator": "In", "values": ["worker", "edge"]}]},
                "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/edge": ""}}}}))
        .await;
    }

    async fn create_config(&self, name: &str, spec: Value) {
        self.create::<MachineConfig>(json!({
            "metadata": {"name": name, "labels": {"machineconfiguration.openshift.io/role": "edge"}}, "spec": spec}))
        .await;
    }

    async fn create_kubelet_config(&self, fields: Value) {
        self.create::<KubeletConfig>(json!({"metadata": {"name": "edge"}, "spec": {
            "machineConfigPoolSelector": {"matchLabels": {"pools.operator.machineconfiguration.openshift.io/edge": ""}},
            "kubeletConfig": fields}}))
        .await;
    }

    async fn label(&self, node: &str, label: Option<&str>) {
        self.patch_node(
            node,
            json!({"metadata": {"labels": {"node-role.kubernetes.io/edge": label}}}),
        )
        .await;
    }

    async fn patch_node(&self, node: &str, patch: Value) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes
            .patch(node, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    async fn wait<K>(&self, name: &str, what: &str, condition: impl Fn(&K) -> bool + Send)
    where
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        K::DynamicType: Default,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let reached = await_condition(api.clone(), name, |object: Option<&K>| {
            object.is_some_and(&condition)
        });
        let in_time = tokio::time::timeout(DEADLINE, reached).await.is_ok();
        assert!(
            in_time,
            "{name} never came to {what}: {:#?}",
            api.get(name).await
        );
    }

    /// Until all of the pool's nodes have a target that was made of this source.
    async fn updated(&self, pool: &str, machines: i64, source: &str) {
        self.wait(
            pool,
            &format!("{machines} nodes with {source}"),
            |pool: &MachineConfigPool| {
                let target = pool.spec.configuration.clone().unwrap_or_default();
                let status = pool.status.clone().unwrap_or_default();
                target
                    .source
                    .iter()
                    .any(|s| s.name.as_deref() == Some(source))
                    && status.configuration.as_ref() == Some(&target)
                    && status.machine_count == Some(machines)
                    && status.updated_machine_count == Some(machines)
                    && status
                        .conditions
                        .iter()
                        .any(|c| c.type_ == "Updated" && c.status == "True")
            },
        )
        .await;
    }

    async fn node(&self, name: &str) -> Node {
        Api::all(self.client.clone()).get(name).await.unwrap()
    }
}

fn kernel(node: &Node) -> &str {
    &node
        .status
        .as_ref()
        .unwrap()
        .node_info
        .as_ref()
        .unwrap()
        .kernel_version
}

fn boot_id(node: &Node) -> &str {
    &node
        .status
        .as_ref()
        .unwrap()
        .node_info
        .as_ref()
        .unwrap()
        .boot_id
}

fn has(node: &Node, annotation: &str, value: &str) -> bool {
    node.annotations()
        .get(annotation)
        .is_some_and(|has| has == value)
}

#[tokio::test]
async fn nodes_reboot_once_into_the_real_time_kernel_and_once_back() {
    let cluster = cluster(Options {
        render_delay: RenderDelay::Random,
        ..Options::scaled(SCALE)
    })
    .await;
    cluster.create_edge_pool().await;
    cluster
        .create_kubelet_config(json!({"cpuManagerPolicy": "static", "reservedSystemCPUs": "0-1"}))
        .await;
    cluster
        .create_config(
            "50-rt",
            json!({"kernelType": "realtime", "kernelArguments": ["skew_tick=1"]}),
        )
        .await;
    cluster.updated("edge", 0, "50-rt").await;
    cluster
        .updated("edge", 0, "99-edge-generated-kubelet")
        .await;
    let first_boot = boot_id(&cluster.node("n1").await).to_owned();
    cluster.label("n1", Some("")).await;
    cluster.label("n2", Some("")).await;
    cluster.updated("edge", 2, "50-rt").await;
    for (node, reboots) in [("n1", 1), ("n2", 1), ("n3", 0)] {
        assert_eq!(
            cluster.standin.reboots(node).await.unwrap(),
            reboots,
            "{node}"
        );
    }
    let n1 = cluster.node("n1").await;
    assert!(kernel(&n1).ends_with("+rt"), "{}", kernel(&n1));
    assert_ne!(boot_id(&n1), first_boot);
    assert!(!kernel(&cluster.node("n3").await).ends_with("+rt"));

    cluster.label("n1", None).await;
    cluster.updated("worker", 2, "00-worker").await;
    let n1 = cluster.node("n1").await;
    assert!(!kernel(&n1).ends_with("+rt"), "{}", kernel(&n1));
    assert_eq!(cluster.standin.reboots("n1").await.unwrap(), 2);
}

#[tokio::test]
async fn a_pod_disruption_budget_holds_a_drain() {
    let cluster = cluster(Options::scaled(SCALE)).await;
    let account = json!({"metadata": {"name": "default"}});
    Api::<k8s_openapi::api::core::v1::ServiceAccount>::namespaced(
        cluster.client.clone(),
        "default",
    )
    .create(
        &PostParams::default(),
        &serde_json::from_value(account).unwrap(),
    )
    .await
    .unwrap();
    assert!(
        Api::<Namespace>::all(cluster.client.clone())
            .get("default")
            .await
            .is_ok()
    );
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), "default");
    let pod = json!({"metadata": {"name": "guarded", "labels": {"app": "guarded"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "example.org/none"}]}});
    pods.create(
        &PostParams::default(),
        &serde_json::from_value(pod).unwrap(),
    )
    .await
    .unwrap();
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    pods.patch_status("guarded", &PatchParams::default(), &Patch::Merge(&running))
        .await
        .unwrap();
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.client.clone(), "default");
    let budget = json!({"metadata": {"name": "guard"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "guarded"}}}});
    budgets
        .create(
            &PostParams::default(),
            &serde_json::from_value(budget).unwrap(),
        )
        .await
        .unwrap();

    cluster.create_edge_pool().await;
    cluster
        .create_config("50-rt", json!({"kernelType": "realtime"}))
        .await;
    cluster.label("n1", Some("")).await;
    cluster
        .wait("n1", "a drain that is under way", |node: &Node| {
            node.spec.as_ref().unwrap().unschedulable == Some(true)
                && has(node, names::STATE, "Working")
        })
        .await;
    // Several rounds of the drain controller, each of them refused.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(pods.get("guarded").await.is_ok());
    assert_eq!(cluster.standin.reboots("n1").await.unwrap(), 0);
    budgets
        .delete("guard", &DeleteParams::default())
        .await
        .unwrap();
    cluster.updated("edge", 1, "50-rt").await;
    assert!(pods.get_opt("guarded").await.unwrap().is_none());
}

#[tokio::test]
async fn it_misbehaves_as_it_is_told_to() {
    let cluster = cluster(Options::scaled(SCALE)).await;
    cluster.create_edge_pool().await;
    cluster
        .create_config("50-rt", json!({"kernelType": "realtime"}))
        .await;
    cluster.updated("edge", 0, "50-rt").await;

    cluster
        .standin
        .degrade_node("n1", Some("Packages not found: kernel-rt-core"))
        .await
        .unwrap();
    cluster.label("n1", Some("")).await;
    cluster
        .wait("edge", "a degraded node", |pool: &MachineConfigPool| {
            let conditions = &pool.status.as_ref().unwrap().conditions;
            conditions.iter().any(|c| {
                c.type_ == "NodeDegraded"
                    && c.status == "True"
                    && c.message.as_deref()
                        == Some("Node n1 is reporting: \"Packages not found: kernel-rt-core\"")
            })
        })
        .await;
    cluster.standin.degrade_node("n1", None).await.unwrap();
    cluster.updated("edge", 1, "50-rt").await;

    cluster.standin.hang_render("edge", true).await.unwrap();
    cluster.standin.hang_node("n2", true).await.unwrap();
    cluster
        .create_config("51-more", json!({"kernelArguments": ["a=1"]}))
        .await;
    cluster.label("n2", Some("")).await;
    cluster
        .wait("n2", "its target", |node: &Node| {
            !has(node, names::DESIRED, &node.annotations()[names::CURRENT])
        })
        .await;
    cluster.standin.hang_render("edge", false).await.unwrap();
    cluster.standin.hang_node("n2", false).await.unwrap();
    cluster.updated("edge", 2, "51-more").await;

    cluster.create_kubelet_config(json!({"maxPods": 77})).await;
    cluster
        .updated("edge", 2, "99-edge-generated-kubelet")
        .await;
    cluster
        .standin
        .refuse_kubelet_config("edge", Some("told to"))
        .await
        .unwrap();
    cluster
        .wait("edge", "a refusal", |config: &KubeletConfig| {
            let conditions = config
                .status
                .as_ref()
                .map(|status| status.conditions.clone())
                .unwrap_or_default();
            conditions
                .iter()
                .any(|c| c.type_ == "Failure" && c.message.as_deref() == Some("Error: told to"))
        })
        .await;
}

#[tokio::test]
async fn a_node_in_two_custom_pools_is_left_alone() {
    let cluster = cluster(Options::scaled(SCALE)).await;
    cluster.create_edge_pool().await;
    cluster
        .create_config("50-rt", json!({"kernelType": "realtime"}))
        .await;
    cluster.create::<MachineConfigPool>(json!({
        "metadata": {"name": "other"},
        "spec": {
            "machineConfigSelector": {"matchExpressions": [
                {"key": "machineconfiguration.openshift.io/role", "operator": "In", "values": ["worker", "other"]}]},
            "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/other": ""}}}}))
    .await;
    cluster.patch_node("n1", json!({"metadata": {"labels": {"node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/other": ""}}})).await;
    cluster.label("n2", Some("")).await;
    cluster.updated("edge", 1, "50-rt").await;
    cluster.updated("other", 0, "00-worker").await;
    cluster.updated("worker", 1, "00-worker").await;
    assert_eq!(cluster.standin.reboots("n1").await.unwrap(), 0);
}
