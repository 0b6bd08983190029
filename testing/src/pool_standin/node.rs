//! The stand-in's node controller: which node gets the pool's target next, and what the pool says of its nodes.
//! Pure; `controller` writes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use realtime_core::openshift::{MachineConfigPool, MachineConfigPoolStatus, OpenShiftCondition};

use super::names::{self, state};

/// Nodes are taken zone by zone, then oldest first.
const ZONE: &str = "topology.kubernetes.io/zone";

fn annotation<'a>(node: &'a Node, name: &str) -> &'a str {
    node.annotations().get(name).map_or("", String::as_str)
}

/// The pool's target.
pub fn target(pool: &MachineConfigPool) -> Option<&str> {
    pool.spec
        .configuration
        .as_ref()?
        .name
        .as_deref()
        .filter(|name| !name.is_empty())
}

/// Ready, and not cordoned by anybody.
fn is_ready(node: &Node) -> bool {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    !cordoned
        && conditions
            .into_iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
}

fn is_settled(node: &Node) -> bool {
    annotation(node, names::STATE) == state::DONE
        && annotation(node, names::CURRENT) == annotation(node, names::DESIRED)
}

fn is_updated(node: &Node, target: &str) -> bool {
    is_settled(node) && annotation(node, names::CURRENT) == target
}

fn is_degraded(node: &Node) -> bool {
    [state::DEGRADED, state::UNRECONCILABLE].contains(&annotation(node, names::STATE))
}

/// Failed on its way to another configuration: may be sent to yet another one.
fn is_failing(node: &Node) -> bool {
    is_degraded(node) && annotation(node, names::CURRENT) != annotation(node, names::DESIRED)
}

/// Counts against maxUnavailable: cordoned or not ready, or under way. A node that drifted (Degraded without
/// a change under way) does, one that failed an update doesn't.
fn is_unavailable(node: &Node) -> bool {
    !is_ready(node) || !(is_settled(node) || is_failing(node))
}

/// Default 1; a percentage of the nodes rounds down; at least 1.
pub fn max_unavailable(pool: &MachineConfigPool, nodes: usize) -> usize {
    let wanted = match &pool.spec.max_unavailable {
        None => 1,
        Some(IntOrString::Int(count)) => usize::try_from(*count).unwrap_or_default(),
        Some(IntOrString::String(text)) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or_default();
            nodes * percent / 100
        }
    };
    wanted.max(1)
}

/// The nodes that get the pool's target now. `first` are names to prefer among nodes of equal age, where
/// the real controller's choice is arbitrary.
pub fn candidates(pool: &MachineConfigPool, nodes: &[&Node], first: &[String]) -> Vec<String> {
    let Some(target) = target(pool).filter(|_| pool.spec.paused != Some(true)) else {
        return Vec::new();
    };
    let unavailable = nodes.iter().filter(|node| is_unavailable(node)).count();
    let failing = nodes
        .iter()
        .filter(|node| annotation(node, names::DESIRED) == target && is_failing(node))
        .count();
    let capacity = max_unavailable(pool, nodes.len())
        .saturating_sub(unavailable)
        .saturating_sub(failing);
    let mut waiting: Vec<&&Node> = nodes
        .iter()
        .filter(|node| annotation(node, names::DESIRED) != target && is_ready(node))
        .collect();
    waiting.sort_by_key(|node| {
        let zone = node.labels().get(ZONE);
        let age = node.metadata.creation_timestamp.as_ref().map(|time| time.0);
        let preferred = first
            .iter()
            .position(|name| *name == node.name_any())
            .unwrap_or(usize::MAX);
        (
            zone.is_none(),
            zone.cloned(),
            age,
            preferred,
            node.name_any(),
        )
    });
    waiting
        .iter()
        .take(capacity)
        .map(|node| node.name_any())
        .collect()
}

/// The nodes whose in-progress taint is wrong: (name, whether it shall have one). It is there while the
/// node's desired configuration isn't the pool's target.
pub fn taints(pool: &MachineConfigPool, nodes: &[&Node]) -> Vec<(String, bool)> {
    let Some(target) = target(pool).filter(|_| pool.spec.paused != Some(true)) else {
        return Vec::new();
    };
    nodes
        .iter()
        .filter_map(|node| {
            let wanted = annotation(node, names::DESIRED) != target;
            (has_taint(node) != wanted).then(|| (node.name_any(), wanted))
        })
        .collect()
}

/// Whether the node has the in-progress taint.
pub fn has_taint(node: &Node) -> bool {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    taints
        .into_iter()
        .any(|taint| taint.key == names::IN_PROGRESS_TAINT)
}

/// The pool's status. With `names_nodes` a degraded node is named, as where MachineConfigNodes are served.
pub fn status(
    pool: &MachineConfigPool,
    nodes: &[&Node],
    names_nodes: bool,
    now: &str,
) -> MachineConfigPoolStatus {
    let mut status = pool.status.clone().unwrap_or_default();
    let Some(target) = target(pool) else {
        return status;
    };
    let count = |matches: &dyn Fn(&Node) -> bool| {
        i64::try_from(nodes.iter().filter(|node| matches(node)).count()).unwrap_or(i64::MAX)
    };
    let machines = count(&|_| true);
    let updated = count(&|node| is_updated(node, target));
    let ready = count(&|node| is_updated(node, target) && is_ready(node));
    let unavailable = count(&is_unavailable);
    let degraded = count(&is_degraded);
    status.observed_generation = pool.metadata.generation;
    status.machine_count = Some(machines);
    status.updated_machine_count = Some(updated);
    status.ready_machine_count = Some(ready);
    status.unavailable_machine_count = Some(unavailable);
    status.degraded_machine_count = Some(degraded);

    let mut conditions = Conditions {
        list: status.conditions,
        now,
    };
    if updated == machines && ready == machines && unavailable == 0 {
        conditions.set(
            "Updated",
            true,
            "",
            &format!("All nodes are updated with MachineConfig {target}"),
        );
        conditions.set("Updating", false, "", "");
        status.configuration.clone_from(&pool.spec.configuration);
    } else {
        conditions.set("Updated", false, "", "");
        if pool.spec.paused == Some(true) {
            conditions.set(
                "Updating",
                false,
                "",
                &format!("Pool is paused; will not update to MachineConfig {target}"),
            );
        } else {
            conditions.set(
                "Updating",
                true,
                "",
                &format!("All nodes are updating to MachineConfig {target}"),
            );
        }
    }
    let reported = if names_nodes {
        reports(nodes)
    } else {
        String::new()
    };
    if degraded > 0 {
        let named = if names_nodes { degraded } else { 0 };
        conditions.set(
            "NodeDegraded",
            true,
            &format!("{named} nodes are reporting degraded status on sync"),
            &reported,
        );
    } else {
        conditions.set("NodeDegraded", false, "", "");
    }
    let render_degraded = conditions.is_true("RenderDegraded");
    conditions.set("Degraded", degraded > 0 || render_degraded, "", &reported);
    status.conditions = conditions.list;
    status
}

fn reports(nodes: &[&Node]) -> String {
    let degraded = nodes.iter().filter(|node| is_degraded(node));
    let texts: Vec<String> = degraded
        .map(|node| {
            format!(
                "Node {} is reporting: {:?}",
                node.name_any(),
                annotation(node, names::REASON)
            )
        })
        .collect();
    texts.join(", ")
}

/// Sets `RenderDegraded`, and what the pinned-image-set controller says of every pool.
pub fn render_status(
    pool: &MachineConfigPool,
    refusal: Option<&str>,
    now: &str,
) -> MachineConfigPoolStatus {
    let mut status = pool.status.clone().unwrap_or_default();
    let mut conditions = Conditions {
        list: status.conditions,
        now,
    };
    conditions.set("PinnedImageSetsDegraded", false, "", "");
    conditions.set(
        "RenderDegraded",
        refusal.is_some(),
        "",
        refusal.unwrap_or_default(),
    );
    status.conditions = conditions.list;
    status
}

/// Conditions as the Machine Config Operator keeps them: one that changed goes to the end, and its time
/// is that of the last change of its status.
struct Conditions<'a> {
    list: Vec<OpenShiftCondition>,
    now: &'a str,
}

impl Conditions<'_> {
    fn set(&mut self, type_: &str, status: bool, reason: &str, message: &str) {
        let status = if status { "True" } else { "False" };
        let before = self.list.iter().find(|c| c.type_ == type_);
        if before.is_some_and(|c| {
            c.status == status
                && c.reason.as_deref().unwrap_or_default() == reason
                && c.message.as_deref().unwrap_or_default() == message
        }) {
            return;
        }
        let since = before
            .filter(|c| c.status == status)
            .and_then(|c| c.last_transition_time.clone());
        let condition = OpenShiftCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(since.unwrap_or_else(|| self.now.to_owned())),
        };
        self.list.retain(|c| c.type_ != type_);
        self.list.push(condition);
    }

    fn is_true(&self, type_: &str) -> bool {
        self.list
            .iter()
            .any(|c| c.type_ == type_ && c.status == "True")
    }
}

/// What the agent of a node asks of the drain controller and hasn't got yet: true to drain, false to uncordon.
pub fn drain_wanted(node: &Node) -> Option<(bool, String)> {
    let desired = annotation(node, names::DESIRED_DRAIN);
    if desired.is_empty() || desired == annotation(node, names::LAST_APPLIED_DRAIN) {
        return None;
    }
    Some((desired.starts_with("drain-"), desired.to_owned()))
}

/// Annotations as a merge patch's value.
pub fn annotations_patch(annotations: &BTreeMap<&str, String>) -> serde_json::Value {
    serde_json::json!({"metadata": {"annotations": annotations}})
}

#[cfg(test)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "`json!` values read better given away"
)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pool(max_unavailable: serde_json::Value) -> MachineConfigPool {
        serde_json::from_value(json!({"metadata": {"name": "edge", "generation": 4},
            "spec": {"maxUnavailable": max_unavailable, "configuration": {"name": "new"}}}))
        .unwrap()
    }

    fn node(name: &str, current: &str, desired: &str, state: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name, "annotations": {
            names::CURRENT: current, names::DESIRED: desired, names::STATE: state}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
        .unwrap()
    }

    fn cordoned(mut node: Node) -> Node {
        node.spec.get_or_insert_default().unschedulable = Some(true);
        node
    }

    #[test]
    fn nodes_go_one_by_one_within_max_unavailable() {
        let nodes = [
            node("a", "old", "old", "Done"),
            node("b", "old", "old", "Done"),
            node("c", "old", "old", "Done"),
            node("d", "old", "old", "Done"),
        ];
        let all: Vec<&Node> = nodes.iter().collect();
        assert_eq!(candidates(&pool(json!(null)), &all, &[]), ["a"]);
        assert_eq!(candidates(&pool(json!(2)), &all, &[]), ["a", "b"]);
        assert_eq!(candidates(&pool(json!("74%")), &all, &[]), ["a", "b"]);
        assert_eq!(
            candidates(&pool(json!("1%")), &all, &["d".to_owned()]),
            ["d"]
        );
        let mut paused = pool(json!(2));
        paused.spec.paused = Some(true);
        assert!(candidates(&paused, &all, &[]).is_empty());
    }

    #[test]
    fn whoever_is_cordoned_under_way_drifted_or_failing_takes_a_place() {
        for busy in [
            cordoned(node("a", "old", "old", "Done")),
            node("a", "old", "new", "Done"),
            node("a", "old", "new", "Working"),
            node("a", "old", "new", "Degraded"),
            node("a", "old", "old", "Degraded"),
        ] {
            let waiting = node("b", "old", "old", "Done");
            assert!(
                candidates(&pool(json!(1)), &[&busy, &waiting], &[]).is_empty(),
                "{busy:?}"
            );
            assert_eq!(
                candidates(&pool(json!(2)), &[&busy, &waiting], &[]).len(),
                1
            );
        }
    }

    #[test]
    fn a_cordon_looks_like_a_rollout() {
        let nodes = [
            cordoned(node("a", "new", "new", "Done")),
            node("b", "new", "new", "Done"),
        ];
        let status = status(
            &pool(json!(1)),
            &nodes.iter().collect::<Vec<_>>(),
            true,
            "now",
        );
        let of = |type_: &str| {
            status
                .conditions
                .iter()
                .find(|c| c.type_ == type_)
                .unwrap()
                .status
                .as_str()
        };
        assert_eq!(
            (of("Updated"), of("Updating"), of("Degraded")),
            ("False", "True", "False")
        );
        assert_eq!(
            (
                status.updated_machine_count,
                status.ready_machine_count,
                status.unavailable_machine_count
            ),
            (Some(2), Some(1), Some(1))
        );
    }

    #[test]
    fn a_degraded_node_is_counted_and_named() {
        let mut failed = node("a", "old", "new", "Degraded");
        failed
            .annotations_mut()
            .insert(names::REASON.to_owned(), "no package".to_owned());
        let status = status(&pool(json!(1)), &[&failed], true, "now");
        let condition = status
            .conditions
            .iter()
            .find(|c| c.type_ == "NodeDegraded")
            .unwrap();
        assert_eq!(
            condition.reason.as_deref(),
            Some("1 nodes are reporting degraded status on sync")
        );
        assert_eq!(
            condition.message.as_deref(),
            Some("Node a is reporting: \"no package\"")
        );
        assert_eq!(
            (
                status.degraded_machine_count,
                status.unavailable_machine_count
            ),
            (Some(1), Some(0))
        );
    }
}
