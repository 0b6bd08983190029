//! Which nodes have which role and which configuration: an index over the nodes' cache, so that a round looks at its
//! own nodes and not at all 5,000. It may name a node too many, never one too few; whether a node belongs to a pool
//! is not decided here.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use realtime_core::names;

/// The index.
#[derive(Debug, Default)]
pub struct Places(Mutex<Index>);

#[derive(Debug, Default)]
struct Index {
    /// Names of nodes by role label and by name of a current or desired configuration.
    nodes: HashMap<String, BTreeSet<String>>,
    /// By which a node is in there.
    of: HashMap<String, Vec<String>>,
}

impl Places {
    /// A node came or changed.
    pub fn update(&self, node: &Node) {
        let roles = node.labels().keys().filter(|label| is_role(label));
        let configurations = configurations(node);
        let now: Vec<String> = roles
            .map(String::as_str)
            .chain(configurations)
            .map(str::to_owned)
            .collect();
        let name = node.name_any();
        let mut index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if index.of.get(&name) == Some(&now) {
            return;
        }
        for place in index.of.remove(&name).unwrap_or_default() {
            if let Some(nodes) = index.nodes.get_mut(&place) {
                nodes.remove(&name);
                if nodes.is_empty() {
                    index.nodes.remove(&place);
                }
            }
        }
        for place in &now {
            let nodes = index.nodes.entry(place.clone()).or_default();
            nodes.insert(name.clone());
        }
        index.of.insert(name, now);
    }

    /// The nodes with one of these role labels, or with a configuration that may be one of these pools'.
    pub fn find(&self, roles: &BTreeSet<String>, pools: &BTreeSet<String>) -> BTreeSet<String> {
        let index = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let places = index.nodes.iter().filter(|(place, _)| {
            roles.contains(*place) || pools.iter().any(|pool| may_be_of(place, pool))
        });
        places.flat_map(|(_, nodes)| nodes).cloned().collect()
    }
}

/// The role without which this selector takes no node, if it is one that asks for a role.
pub fn role_of(selector: &LabelSelector) -> Option<&str> {
    let labels = selector.match_labels.as_ref()?;
    labels.keys().map(String::as_str).find(|key| is_role(key))
}

/// Whether a node has, or is on its way to, a configuration that may be one of these pools'.
pub fn is_configured_by(node: &Node, pools: &BTreeSet<String>) -> bool {
    configurations(node).any(|name| pools.iter().any(|pool| may_be_of(name, pool)))
}

/// Pool `a` is taken for `a-b` too: one node too many does no harm.
fn may_be_of(configuration: &str, pool: &str) -> bool {
    configuration
        .strip_prefix("rendered-")
        .is_some_and(|rest| rest.starts_with(pool))
}

fn configurations(node: &Node) -> impl Iterator<Item = &str> {
    let of_machine_config = node.annotations().iter().filter_map(|(key, value)| {
        let key = key.strip_prefix(names::MCO_ANNOTATION_PREFIX)?;
        ["currentConfig", "desiredConfig"]
            .contains(&key)
            .then_some(value)
    });
    of_machine_config.map(String::as_str)
}

fn is_role(label: &str) -> bool {
    label.starts_with(names::LABEL_NODE_ROLE_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, role: &str, current: &str) -> Node {
        serde_json::from_value(serde_json::json!({"metadata": {
            "name": name,
            "labels": {names::node_role_label(role): "", "other": ""},
            "annotations": {"machineconfiguration.openshift.io/currentConfig": current}
        }}))
        .unwrap()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_node_is_found_by_its_role_and_by_its_configuration_and_where_it_was_no_more() {
        let places = Places::default();
        let role = |role: &str| set(&[&names::node_role_label(role)]);
        places.update(&node("n", "a", "rendered-b-1"));
        assert_eq!(places.find(&role("a"), &set(&[])), set(&["n"]));
        assert_eq!(places.find(&set(&[]), &set(&["b"])), set(&["n"]));
        assert_eq!(places.find(&role("other"), &set(&["other"])), set(&[]));
        places.update(&node("n", "c", "rendered-c-1"));
        assert_eq!(places.find(&role("a"), &set(&["b"])), set(&[]));
        assert_eq!(places.find(&role("c"), &set(&[])), set(&["n"]));
    }
}
