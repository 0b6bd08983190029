//! This node's own Node: who cordoned it, and our cordon. An admin's cordon is never touched.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use realtime_core::kernel::Cordon;
use realtime_core::names;
use serde_json::json;

use super::{Cluster, ClusterError, answer};

/// What matters of the Node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeView {
    /// Who cordoned it.
    pub cordon: Cordon,
    /// Since when, when we did.
    pub since: Option<Timestamp>,
    /// Our annotation is on a node that is not cordoned: an admin uncordoned it under our hands. The annotation must
    /// go before the next cordon, or an admin's would be taken for ours.
    pub stale_annotation: bool,
    /// Whether the Machine Config Operator has nothing to do on it. `None`: there is none.
    pub settled: Option<bool>,
    resource_version: Option<String>,
    uid: Option<String>,
}

impl NodeView {
    /// The Node's uid.
    pub fn uid(&self) -> Option<&str> {
        self.uid.as_deref()
    }

    fn of(node: &Node) -> Self {
        let annotation = node.annotations().get(names::ANNOTATION_CORDONED_AT);
        let cordoned = node
            .spec
            .as_ref()
            .and_then(|spec| spec.unschedulable)
            .unwrap_or(false);
        Self {
            cordon: match (cordoned, annotation) {
                (false, _) => Cordon::No,
                (true, Some(_)) => Cordon::Ours,
                (true, None) => Cordon::Others,
            },
            since: annotation.and_then(|when| when.parse().ok()),
            stale_annotation: !cordoned && annotation.is_some(),
            settled: settled(node),
            resource_version: node.resource_version(),
            uid: node.uid(),
        }
    }
}

/// Its state is Done, at the configuration that it shall have.
fn settled(node: &Node) -> Option<bool> {
    let annotation = |name: &str| {
        node.annotations()
            .get(&format!("{}{name}", names::MCO_ANNOTATION_PREFIX))
    };
    let state = annotation("state")?;
    Some(state == "Done" && annotation("currentConfig") == annotation("desiredConfig"))
}

impl Cluster {
    fn nodes(&self) -> Api<Node> {
        Api::all(self.client().clone())
    }

    /// Reads the Node. An annotation of ours on a node that is not cordoned is taken off.
    pub async fn node(&self) -> Result<NodeView, ClusterError> {
        let action = format!("reading Node {}", self.name());
        let view = NodeView::of(&answer(&action, self.nodes().get(self.name())).await?);
        if view.stale_annotation {
            return self.patch_node(&view, "uncordoning", None).await;
        }
        Ok(view)
    }

    /// Cordons the node, unless somebody did.
    pub async fn cordon(&self, view: &NodeView, now: Timestamp) -> Result<NodeView, ClusterError> {
        if view.cordon != Cordon::No {
            return Ok(view.clone());
        }
        self.patch_node(view, "cordoning", Some(now)).await
    }

    /// Uncordons the node, if we cordoned it.
    pub async fn uncordon(&self, view: &NodeView) -> Result<NodeView, ClusterError> {
        if view.cordon != Cordon::Ours {
            return Ok(view.clone());
        }
        self.patch_node(view, "uncordoning", None).await
    }

    async fn patch_node(
        &self,
        view: &NodeView,
        verb: &str,
        since: Option<Timestamp>,
    ) -> Result<NodeView, ClusterError> {
        // To the second: a person reads it.
        let since = since.map(|when| when.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        let patch = json!({
            "metadata": {
                "resourceVersion": view.resource_version,
                "annotations": {names::ANNOTATION_CORDONED_AT: since},
            },
            "spec": {"unschedulable": since.as_ref().map(|_| true)},
        });
        let params = PatchParams {
            field_manager: Some(names::DAEMON_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let action = format!("{verb} Node {}", self.name());
        let node = answer(
            &action,
            self.nodes()
                .patch(self.name(), &params, &Patch::Merge(&patch)),
        )
        .await?;
        Ok(NodeView::of(&node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(unschedulable: bool, annotated: bool) -> Node {
        let mut node: Node = serde_json::from_value(json!({
            "metadata": {"name": "machine-7"}, "spec": {"unschedulable": unschedulable}
        }))
        .unwrap();
        if annotated {
            node.annotations_mut().insert(
                names::ANNOTATION_CORDONED_AT.to_owned(),
                "2026-11-21T15:00:00Z".to_owned(),
            );
        }
        node
    }

    #[test]
    fn whose_cordon_it_is_says_our_annotation() {
        assert_eq!(NodeView::of(&node(false, false)).cordon, Cordon::No);
        assert_eq!(NodeView::of(&node(true, false)).cordon, Cordon::Others);
        let ours = NodeView::of(&node(true, true));
        assert_eq!(ours.cordon, Cordon::Ours);
        assert_eq!(ours.since, Some("2026-11-21T15:00:00Z".parse().unwrap()));
    }

    #[test]
    fn the_machine_config_operator_is_done_at_the_wanted_configuration() {
        assert_eq!(NodeView::of(&node(false, false)).settled, None);
        let with = |state: &str, current: &str| {
            let mut node = node(false, false);
            for (name, value) in [
                ("state", state),
                ("currentConfig", current),
                ("desiredConfig", "rendered-2"),
            ] {
                let name = format!("{}{name}", names::MCO_ANNOTATION_PREFIX);
                node.annotations_mut().insert(name, value.to_owned());
            }
            NodeView::of(&node).settled
        };
        assert_eq!(with("Done", "rendered-2"), Some(true));
        assert_eq!(with("Done", "rendered-1"), Some(false));
        assert_eq!(with("Working", "rendered-2"), Some(false));
    }

    #[test]
    fn an_annotation_that_an_admin_left_behind_is_no_cordon() {
        let view = NodeView::of(&node(false, true));
        assert_eq!(view.cordon, Cordon::No);
        assert!(view.stale_annotation);
    }
}
