//! Plays the nodes' agents: writes the steps of `agent`, and the reboots.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::super::hosts::Outcome;
use super::super::{agent, install, names, node};
use super::Controller;

impl Controller {
    /// One step of a node's agent.
    pub(super) async fn sync_agent(&mut self, name: &str) -> kube::Result<()> {
        let Some(node) = self.world.nodes.get(name).cloned() else {
            return Ok(());
        };
        let Some(step) = agent::next(&node, self.first_config(&node).as_deref()) else {
            return Ok(());
        };
        let api: Api<Node> = Api::all(self.client.clone());
        let mut annotations = step.annotations;
        if let Some(config) = &step.reboots_into {
            let boots: u64 = node
                .annotations()
                .get(names::REBOOTS)
                .and_then(|n| n.parse().ok())
                .unwrap_or_default();
            match self.update_machine(&node, config).await {
                Ok(Outcome::Done) => {}
                Ok(Outcome::NoMachine) => self.reboot(&api, &node, config, boots + 1).await?,
                Err(reason) => {
                    // As the real agent: Degraded, the node stays cordoned, and it tries again.
                    let degraded = BTreeMap::from([
                        (names::STATE, names::state::DEGRADED.to_owned()),
                        (names::REASON, reason),
                    ]);
                    return self
                        .patch_node(&api, name, &node::annotations_patch(&degraded))
                        .await;
                }
            }
            annotations.insert(names::REBOOTS, (boots + 1).to_string());
        }
        self.patch_node(&api, name, &node::annotations_patch(&annotations))
            .await
    }

    /// Has the machine behind the node updated, where there is one.
    async fn update_machine(&self, node: &Node, config: &str) -> Result<Outcome, String> {
        let Some(hosts) = self.options.hosts.clone() else {
            return Ok(Outcome::NoMachine);
        };
        let Some(to) = self.world.configs.get(config) else {
            return Err(format!("missing MachineConfig {config}"));
        };
        let from = node
            .annotations()
            .get(names::CURRENT)
            .and_then(|name| self.world.configs.get(name));
        hosts.update(&node.name_any(), from, to).await
    }

    pub(super) async fn reboot(
        &mut self,
        api: &Api<Node>,
        node: &Node,
        config: &str,
        boots: u64,
    ) -> kube::Result<()> {
        let name = node.name_any();
        let info = node
            .status
            .as_ref()
            .and_then(|status| status.node_info.as_ref());
        let running = info.map_or("", |info| info.kernel_version.as_str());
        let kernel = match self.world.configs.get(config) {
            Some(config) => agent::kernel_release(running, config),
            None => running.to_owned(),
        };
        let patch = json!({"status": {"nodeInfo": {"bootID": install::boot_id(&name, boots), "kernelVersion": kernel}}});
        match api
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(written) => {
                // What follows from it comes with the annotations that are written next.
                self.world.nodes.apply(written);
                Ok(())
            }
            // A node without nodeInfo has nothing that a reboot could change.
            Err(kube::Error::Api(status)) if status.code == 422 => Ok(()),
            Err(error) => Err(error),
        }
    }
}
