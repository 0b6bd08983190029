//! The shape of the configuration file: our keys and rt-operator's, and under `node` the schema of a RealtimeNode's spec,
//! out of the same type as the CRD. Must not check what a shape can't say.

use realtime_core::api::RealtimeNode;
use serde_json::{Map, Value, json};

/// The profile's name that stands in for one where there is no profile.
const PROFILE: &str = "standalone";

/// The schema of the whole file.
pub(super) fn schema() -> Value {
    let text = json!({"type": "string"});
    json!({
        "type": "object",
        "properties": {
            "log_level": {"x-kubernetes-int-or-string": true},
            "kube_path": text,
            "node_name": {
                "type": "string", "maxLength": 253,
                "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
            },
            "cgroup_handler": {"type": "string", "enum": ["auto", "noop", "cgroup_v1", "cgroup_v2"]},
            "cgroup_v1_capacity": {"x-kubernetes-int-or-string": true},
            "pods_group": {"type": "string", "maxLength": 4095},
            "feature_gates": {"type": "array", "items": {"type": "string", "enum": super::GATES}},
            "node": node_schema(),
            "reboot": {"type": "boolean"},
            "retry": {"type": "string", "maxLength": 253},
            "root": text,
            "commands": text,
            "state_directory": text,
        }
    })
}

/// The schema of a RealtimeNode's spec, what has a default here not required.
fn node_schema() -> Value {
    use kube::CustomResourceExt as _;
    let definition = serde_json::to_value(RealtimeNode::crd()).unwrap_or_default();
    let mut spec = definition
        .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec")
        .cloned()
        .unwrap_or_default();
    optional(&mut spec, &["profile"]);
    for (path, fields) in [
        ("/properties/kernel", &["provider"][..]),
        (
            "/properties/cpu",
            &["isolation", "smt", "power", "balanceInterruptsOnIsolated"],
        ),
    ] {
        if let Some(part) = spec.pointer_mut(path) {
            optional(part, fields);
        }
    }
    spec
}

fn optional(schema: &mut Value, fields: &[&str]) {
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !fields.iter().any(|field| name == field));
    }
}

/// `node` with what need not be written: the defaults are a profile's.
pub(super) fn with_defaults(node: &Value) -> Value {
    let mut node = node.clone();
    fill(&mut node, &json!({"profile": PROFILE}));
    if let Some(kernel) = node.get_mut("kernel") {
        fill(kernel, &json!({"provider": "NodeDaemon"}));
    }
    if let Some(cpu) = node.get_mut("cpu") {
        fill(
            cpu,
            &json!({
                "isolation": "ManagedIrq", "smt": "Keep", "power": "LowLatency",
                "balanceInterruptsOnIsolated": true
            }),
        );
    }
    node
}

fn fill(value: &mut Value, defaults: &Value) {
    let empty = Map::new();
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    for (key, default) in defaults.as_object().unwrap_or(&empty) {
        if fields.get(key).is_none_or(Value::is_null) {
            fields.insert(key.clone(), default.clone());
        }
    }
}
