//! Writes what `node` decides: desired configurations and taints of nodes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Taint};
use kube::ResourceExt;
use kube::api::{Api, Patch};
use realtime_core::pools;
use serde_json::{Value, json};

use super::super::{names, node};
use super::{Controller, now, parameters};

impl Controller {
    pub(super) async fn sync_nodes(&mut self, name: &str) -> kube::Result<()> {
        let Some(pool) = self.world.pools.get(name).cloned() else {
            return Ok(());
        };
        let Some(target) = node::target(&pool).map(str::to_owned) else {
            return Ok(());
        };
        let pools = self.world.pools.list();
        let managed = |node: &&Node| node.annotations().contains_key(names::CURRENT);
        let api: Api<Node> = Api::all(self.client.clone());

        let nodes = self.world.nodes.list();
        let mine: Vec<&Node> = pools::nodes_of(name, &nodes, &pools)
            .into_iter()
            .filter(managed)
            .collect();
        if pool.spec.paused != Some(true) {
            for node in mine
                .iter()
                .filter(|node| !node.annotations().contains_key(names::TOPOLOGY))
            {
                let topology = BTreeMap::from([(names::TOPOLOGY, "HighlyAvailable".to_owned())]);
                self.patch_node(&api, &node.name_any(), &node::annotations_patch(&topology))
                    .await?;
            }
            for (node, wanted) in node::taints(&pool, &mine) {
                self.set_taint(&api, &node, wanted).await?;
            }
            let nodes = self.world.nodes.list();
            let mine: Vec<&Node> = pools::nodes_of(name, &nodes, &pools)
                .into_iter()
                .filter(managed)
                .collect();
            let picks = self.picks.borrow().clone();
            let preferred: Vec<String> = picks
                .get(self.picked..)
                .unwrap_or_default()
                .iter()
                .take(1)
                .cloned()
                .collect();
            let candidates = node::candidates(&pool, &mine, &preferred);
            for node in &candidates {
                let desired = BTreeMap::from([(names::DESIRED, target.clone())]);
                self.patch_node(&api, node, &node::annotations_patch(&desired))
                    .await?;
                self.picked += 1;
            }
            match candidates.as_slice() {
                [] => {}
                [one] => {
                    self.tell(
                        &pool,
                        "SetDesiredConfig",
                        format!("Targeted node {one} to MachineConfig: {target}"),
                    )
                    .await;
                }
                several => {
                    let text = format!(
                        "Set target for {} nodes to MachineConfig: {target}",
                        several.len()
                    );
                    self.tell(&pool, "SetDesiredConfig", text).await;
                }
            }
        }
        let nodes = self.world.nodes.list();
        let mine: Vec<&Node> = pools::nodes_of(name, &nodes, &pools)
            .into_iter()
            .filter(managed)
            .collect();
        let status = node::status(&pool, &mine, self.options.names_degraded_nodes, &now());
        self.write_status(&pool, status).await
    }

    pub(super) async fn patch_node(
        &mut self,
        api: &Api<Node>,
        name: &str,
        patch: &Value,
    ) -> kube::Result<()> {
        let written = api.patch(name, &parameters(), &Patch::Merge(patch)).await?;
        self.world.nodes.apply(written.clone());
        self.node_changed(&written);
        Ok(())
    }

    pub(super) async fn set_taint(
        &mut self,
        api: &Api<Node>,
        name: &str,
        wanted: bool,
    ) -> kube::Result<()> {
        let Some(node) = self.world.nodes.get(name) else {
            return Ok(());
        };
        let mut taints = node
            .spec
            .as_ref()
            .and_then(|spec| spec.taints.clone())
            .unwrap_or_default();
        taints.retain(|taint| taint.key != names::IN_PROGRESS_TAINT);
        if wanted {
            taints.push(Taint {
                key: names::IN_PROGRESS_TAINT.to_owned(),
                effect: "PreferNoSchedule".to_owned(),
                ..Taint::default()
            });
        }
        // The list is replaced whole: the version guards against somebody else's taint in between.
        let patch = json!({"metadata": {"resourceVersion": node.resource_version()}, "spec": {"taints": taints}});
        self.patch_node(api, name, &patch).await
    }
}
