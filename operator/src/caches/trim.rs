//! What of an object no decision needs, taken away before it is kept: 5,000 nodes have to fit.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use realtime_core::names;

/// Annotations that are kept: the Machine Config Operator's, ours, and the stand-in's.
const KEPT: [&str; 3] = [names::MCO_ANNOTATION_PREFIX, names::GROUP, "testing."];

/// An object in memory of its own. What is left of a trimmed one lies scattered among what was taken away, and keeps
/// whole pages of that from being used again.
pub fn compact<K: Clone>(object: &mut K) {
    *object = object.clone();
}

/// A node: labels, taints, capacity, readiness and what it runs stay, and of what is allocatable our own resource where
/// it differs from the capacity (an absent `allocatable` is the same as `capacity` to the API server). The kubelet's heartbeats, the
/// images, the addresses and ids, and the rest of the annotations go.
pub fn node(node: &mut Node) {
    if let Some(annotations) = &mut node.metadata.annotations {
        annotations.retain(|key, _| KEPT.iter().any(|kept| key.starts_with(kept)));
    }
    if let Some(spec) = &mut node.spec {
        spec.provider_id = None;
        spec.pod_cidr = None;
        spec.pod_cidrs = None;
    }
    if let Some(status) = &mut node.status {
        status.images = None;
        status.volumes_attached = None;
        status.volumes_in_use = None;
        status.allocatable = own_allocatable(status);
        status.runtime_handlers = None;
        status.addresses = None;
        status.daemon_endpoints = None;
        if let Some(info) = &mut status.node_info {
            for unused in [
                &mut info.machine_id,
                &mut info.system_uuid,
                &mut info.container_runtime_version,
                &mut info.kube_proxy_version,
            ] {
                *unused = String::new();
            }
        }
        if let Some(conditions) = &mut status.conditions {
            conditions.retain(|condition| condition.type_ == "Ready");
            for condition in conditions {
                condition.last_heartbeat_time = None;
            }
        }
    }
}

/// What of `allocatable` says more than `capacity` of our resource. As good as always that is nothing.
fn own_allocatable(status: &NodeStatus) -> Option<BTreeMap<String, Quantity>> {
    let of = |list: &Option<BTreeMap<String, Quantity>>| {
        let list = list.as_ref()?;
        list.get(names::RESOURCE_RUNTIME_US).cloned()
    };
    let own = of(&status.allocatable);
    (status.allocatable.is_some() && own != of(&status.capacity)).then(|| {
        let own = own.map(|quantity| (names::RESOURCE_RUNTIME_US.to_owned(), quantity));
        own.into_iter().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_leaves_the_trimmed_node_as_it_was() {
        let at = |time: &str| {
            let mut parsed: Node = serde_json::from_value(serde_json::json!({
                "metadata": {"name": "n", "annotations": {
                    "machineconfiguration.openshift.io/state": "Done", "volumes.kubernetes.io/x": time}},
                "status": {"conditions": [
                    {"type": "Ready", "status": "True", "lastHeartbeatTime": time},
                    {"type": "MemoryPressure", "status": "False", "lastHeartbeatTime": time}],
                    "capacity": {"cpu": "8"}}
            }))
            .expect("a node");
            node(&mut parsed);
            parsed
        };
        let early = at("2026-01-01T00:00:00Z");
        assert_eq!(early, at("2026-01-01T00:05:00Z"));
        let status = early.status.expect("status");
        assert_eq!(status.capacity.map(|capacity| capacity.len()), Some(1));
        assert_eq!(early.metadata.annotations.map(|kept| kept.len()), Some(1));
    }

    #[test]
    fn of_what_is_allocatable_only_our_own_is_kept_and_only_when_it_differs() {
        use serde_json::json;
        let ours = names::RESOURCE_RUNTIME_US;
        let kept = |capacity: Option<&str>, allocatable: serde_json::Value| {
            let capacity = capacity.map(|micros| (ours.to_owned(), micros.into()));
            let mut capacity: serde_json::Map<String, serde_json::Value> =
                capacity.into_iter().collect();
            capacity.insert("cpu".to_owned(), "8".into());
            let mut parsed: Node = serde_json::from_value(serde_json::json!({
                "metadata": {"name": "n"},
                "status": {"capacity": capacity, "allocatable": allocatable}
            }))
            .expect("a node");
            node(&mut parsed);
            let kept = parsed.status.and_then(|status| status.allocatable);
            kept.map(|kept| serde_json::to_value(kept).expect("quantities"))
        };
        assert_eq!(kept(None, json!({"cpu": "7"})), None);
        assert_eq!(kept(Some("800k"), json!({"cpu": "7", ours: "800k"})), None);
        assert_eq!(kept(Some("800k"), json!(null)), None);
        assert_eq!(kept(Some("800k"), json!({"cpu": "7"})), Some(json!({})));
        let zero = json!({"cpu": "7", ours: "0"});
        assert_eq!(kept(Some("800k"), zero.clone()), Some(json!({ours: "0"})));
        assert_eq!(kept(None, zero), Some(json!({ours: "0"})));
    }
}
