//! Plays the drain controller: cordons, evicts through the eviction API, uncordons.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, EvictParams, ListParams};
use serde_json::json;
use tokio::time::Instant;

use super::super::queue::Key;
use super::super::{names, node};
use super::{Controller, SMALLEST_PAUSE, gone};

impl Controller {
    /// Cordons, evicts, uncordons: what a node's agent asked for.
    pub(super) async fn sync_drain(&mut self, name: &str) -> kube::Result<()> {
        let Some((drain, asked)) = self.world.nodes.get(name).and_then(node::drain_wanted) else {
            return Ok(());
        };
        let api: Api<Node> = Api::all(self.client.clone());
        self.patch_node(&api, name, &json!({"spec": {"unschedulable": drain}}))
            .await?;
        if drain && !self.evicted(name).await? {
            // Pods are still there, or a PodDisruptionBudget holds one: looked at again.
            let pause = self.scaled(self.options.step).max(SMALLEST_PAUSE);
            self.queue
                .add(Key::Drain(name.to_owned()), Instant::now() + pause);
            return Ok(());
        }
        let applied = BTreeMap::from([(names::LAST_APPLIED_DRAIN, asked)]);
        self.patch_node(&api, name, &node::annotations_patch(&applied))
            .await
    }

    /// Asks for the eviction of every pod on the node; whether none is left. DaemonSet and mirror pods stay.
    pub(super) async fn evicted(&self, node: &str) -> kube::Result<bool> {
        let everywhere: Api<Pod> = Api::all(self.client.clone());
        let on_node = ListParams::default().fields(&format!("spec.nodeName={node}"));
        let mut none_left = true;
        for pod in everywhere.list(&on_node).await? {
            let by_daemon_set = pod
                .owner_references()
                .iter()
                .any(|owner| owner.kind == "DaemonSet");
            let mirror = pod
                .annotations()
                .contains_key("kubernetes.io/config.mirror");
            let phase = pod
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref())
                .unwrap_or_default();
            if by_daemon_set || mirror || ["Succeeded", "Failed"].contains(&phase) {
                continue;
            }
            none_left = false;
            let namespace = pod.namespace().unwrap_or_default();
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
            if pod.metadata.deletion_timestamp.is_some() {
                // No kubelet here to end the pod: the stand-in plays that part too.
                gone(
                    pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0))
                        .await,
                )?;
                continue;
            }
            match pods.evict(&pod.name_any(), &EvictParams::default()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 429 || status.code == 404 => {
                    tracing::debug!(pod = pod.name_any(), reason = status.message, "not evicted");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(none_left)
    }
}
