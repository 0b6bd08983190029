//! A real API server with the shipped definitions, rights and policies, and nodes, pods and tokens as they would be in a
//! cluster. It asserts nothing about the daemon.
#![allow(dead_code, reason = "each test file uses a part")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use realtime_core::api::RealtimeNode;
use realtime_testing::control_plane::{ControlPlane, Options};
use realtime_testing::sandbox;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Generous: two cores carry several tests at once.
pub const LONG: Duration = Duration::from_secs(90);
/// The daemon's namespace and ServiceAccount, as shipped.
pub const DAEMON: &str = "realtime-node-daemon";
/// The namespace of the tests' pods.
pub const WORK: &str = "work";

/// A cluster. Dropping it ends it.
pub struct Cluster {
    pub control_plane: ControlPlane,
    pub client: Client,
}

impl Cluster {
    /// With everything in manifests/, less what needs a kubelet.
    pub async fn start() -> Self {
        let filter = std::env::var("TEST_LOG").unwrap_or_else(|_| "error".to_owned());
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let options = Options {
            audit_log: true,
            ..Options::default()
        };
        let control_plane = ControlPlane::start(options).await.unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        control_plane
            .apply_values(sandbox::manifests(&root).unwrap())
            .await
            .unwrap();
        let client = control_plane.admin_client().await.unwrap();
        let namespace = Namespace {
            metadata: kube::api::ObjectMeta {
                name: Some(WORK.to_owned()),
                ..kube::api::ObjectMeta::default()
            },
            ..Namespace::default()
        };
        Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
        let cluster = Self {
            control_plane,
            client,
        };
        for account in [DAEMON, WORK] {
            cluster.default_account(account).await;
        }
        cluster
    }

    /// No controller-manager makes it here, and a pod needs it.
    async fn default_account(&self, namespace: &str) {
        let api: Api<k8s_openapi::api::core::v1::ServiceAccount> =
            Api::namespaced(self.client.clone(), namespace);
        let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
        let _ = api.create(&PostParams::default(), &account).await;
    }

    pub fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    pub fn realtime_nodes(&self) -> Api<RealtimeNode> {
        Api::all(self.client.clone())
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), WORK)
    }

    /// A node that is Ready.
    pub async fn node(&self, name: &str) {
        let node = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        }))
        .unwrap();
        self.nodes()
            .create(&PostParams::default(), &node)
            .await
            .unwrap();
        let status = json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}]}});
        self.nodes()
            .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
        // The admission plugin taints new nodes, and nobody here takes that off.
        self.patch_node(name, json!({"spec": {"taints": null}}))
            .await;
    }

    pub async fn patch_node(&self, name: &str, patch: Value) -> Node {
        self.nodes()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap()
    }

    /// What that node shall be.
    pub async fn wish(&self, name: &str, spec: Value) -> RealtimeNode {
        let object = json!({
            "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeNode",
            "metadata": {"name": name}, "spec": spec,
        });
        self.realtime_nodes()
            .patch(
                name,
                &PatchParams::apply("test").force().validation_strict(),
                &Patch::Apply(object),
            )
            .await
            .unwrap()
    }

    /// A pod that runs on a node, with these further fields of its metadata.
    pub async fn pod(&self, namespace: &str, name: &str, node: &str, metadata: Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "nodeName": node,
                "serviceAccountName": if namespace == DAEMON { DAEMON } else { "default" },
                "terminationGracePeriodSeconds": 30,
                "containers": [{"name": "main", "image": "none"}],
                "tolerations": [{"operator": "Exists"}],
            },
        });
        for (key, value) in metadata.as_object().into_iter().flatten() {
            pod["metadata"][key] = value.clone();
        }
        let api: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let pod = serde_json::from_value(pod).unwrap();
        api.create(&PostParams::default(), &pod).await.unwrap();
        let status = json!({"status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"}]}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap()
    }

    /// The kubeconfig of the daemon's pod on a node.
    pub async fn daemon_kubeconfig(&self, node: &str) -> PathBuf {
        let owner = json!({"ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "DaemonSet", "name": DAEMON, "controller": true,
            "uid": "6f3f0f3e-8b0a-4c58-9d7c-0d1f0a000001"}]});
        let pod = self
            .pod(DAEMON, &format!("daemon-{node}"), node, owner)
            .await;
        self.control_plane
            .kubeconfig_for_pod(DAEMON, DAEMON, &pod)
            .await
            .unwrap()
    }

    /// A client with the token of the daemon's pod on a node.
    pub async fn daemon_client(&self, node: &str) -> Client {
        client(&self.daemon_kubeconfig(node).await).await
    }

    /// Ends pods that were told to, as a kubelet does, until it is dropped.
    pub fn kubelet(&self) -> Kubelet {
        let pods = self.pods();
        Kubelet(tokio::spawn(async move {
            let now = DeleteParams {
                grace_period_seconds: Some(0),
                ..DeleteParams::default()
            };
            loop {
                // The API server may be away.
                let list = pods.list(&ListParams::default()).await;
                for pod in list.into_iter().flatten() {
                    if pod.metadata.deletion_timestamp.is_some()
                        && !pod.annotations().contains_key("test/stuck")
                    {
                        let _ = pods.delete(&pod.name_any(), &now).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }))
    }
}

/// Ends pods while it is there.
pub struct Kubelet(JoinHandle<()>);

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A client of a kubeconfig.
pub async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    realtime_node_daemon::cluster::client(config).unwrap()
}

/// Asks until something holds; says what was seen last otherwise.
pub async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, String>>,
{
    let started = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) => assert!(
                started.elapsed() < LONG,
                "{what}: not within {LONG:?}; seen last: {seen}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
