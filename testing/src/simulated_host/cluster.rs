//! A simulated host's side of the cluster: what its kubelet tells of it, its daemon's pod, and the kubeconfig that such a
//! pod's token makes. The daemon has the rights that it ships with, never more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;

use super::tree::Kernel;
use super::{Error, SimulatedHost};
use crate::control_plane::ControlPlane;

/// The daemon's ServiceAccount and its DaemonSet, as shipped.
pub const DAEMON_ACCOUNT: &str = "realtime-node-daemon";

/// Their namespace.
pub const DAEMON_NAMESPACE: &str = "realtime-node-daemon";

/// Before the API server is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

fn kube_error(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let action = action.into();
    move |source| Error::Kube {
        action,
        source: Box::new(source),
    }
}

/// Tells the cluster what a kubelet would: the running kernel, and whether the node is Ready.
#[derive(Clone)]
pub struct Kubelet {
    nodes: Api<Node>,
    node: String,
}

impl std::fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubelet")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Kubelet {
    /// The kubelet of this node, which exists. The client needs an administrator's rights.
    pub fn new(client: Client, node: &str) -> Self {
        Self {
            nodes: Api::all(client),
            node: node.to_owned(),
        }
    }

    /// The node is going down.
    pub async fn down(&self) -> Result<(), Error> {
        self.patch(json!({"status": {"conditions": [
            {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "the simulated machine boots"},
        ]}}))
        .await
    }

    /// The node is up, with this kernel.
    pub async fn up(&self, kernel: &Kernel) -> Result<(), Error> {
        self.patch(json!({"status": {
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the simulated machine is up"},
            ],
            "nodeInfo": {"kernelVersion": kernel.release, "bootID": kernel.boot_id},
        }}))
        .await
    }

    /// [`Self::up`], until the API server takes it, as a kubelet goes on trying.
    pub async fn up_at_last(&self, kernel: &Kernel) {
        while let Err(error) = self.up(kernel).await {
            // Somebody has deleted the node: there is nothing to tell.
            if let Error::Kube { source, .. } = &error
                && matches!(&**source, kube::Error::Api(status) if status.code == 404)
            {
                return;
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "`json!` values read better given away"
    )]
    async fn patch(&self, patch: serde_json::Value) -> Result<(), Error> {
        self.nodes
            .patch_status(&self.node, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(kube_error(format!(
                "setting the status of node {}",
                self.node
            )))?;
        Ok(())
    }
}

/// The daemon's pod on a node, as its DaemonSet would make it, and a kubeconfig with that pod's token.
pub async fn daemon_kubeconfig(control_plane: &ControlPlane, node: &str) -> Result<PathBuf, Error> {
    let client = control_plane.admin_client().await?;
    let pod = daemon_pod(&client, node).await?;
    Ok(control_plane
        .kubeconfig_for_pod(DAEMON_NAMESPACE, DAEMON_ACCOUNT, &pod)
        .await?)
}

async fn daemon_pod(client: &Client, node: &str) -> Result<Pod, Error> {
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), DAEMON_NAMESPACE);
    let set = sets
        .list(&ListParams::default())
        .await
        .map_err(kube_error("listing DaemonSets"))?
        .items
        .into_iter()
        .find(|set| set.name_any() == DAEMON_ACCOUNT);
    let uid = set
        .and_then(|set| set.metadata.uid)
        .unwrap_or_else(|| "00000000-0000-4000-8000-000000000000".to_owned());
    let name = format!("{DAEMON_ACCOUNT}-{node}");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": name,
            "labels": {"app.kubernetes.io/name": DAEMON_ACCOUNT},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": DAEMON_ACCOUNT, "uid": uid, "controller": true,
            }],
        },
        "spec": {
            "serviceAccountName": DAEMON_ACCOUNT,
            "nodeName": node,
            "containers": [{"name": "daemon", "image": "simulated"}],
            "tolerations": [{"operator": "Exists"}],
        },
    }))
    .map_err(|error| Error::Io {
        action: format!("making pod {name}"),
        source: std::io::Error::other(error),
    })?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), DAEMON_NAMESPACE);
    match pods.create(&PostParams::default(), &pod).await {
        Err(kube::Error::Api(status)) if status.code == 409 => pods.get(&name).await,
        other => other,
    }
    .map_err(kube_error(format!("creating pod {name}")))
}

/// How the daemon of a simulated host in a cluster is started.
pub fn launch(program: &Path, host: &SimulatedHost, kubeconfig: &Path) -> super::Launch {
    let mut arguments = host.arguments();
    arguments.push(format!("--kubeconfig={}", kubeconfig.display()));
    super::Launch {
        program: program.to_owned(),
        arguments,
        environment: Vec::new(),
    }
}
