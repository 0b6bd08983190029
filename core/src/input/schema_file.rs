//! Derives `profile_schema.json` from the types, and compares or writes it. Only a test: nothing derives at run time.
#![allow(
    clippy::disallowed_methods,
    reason = "a test writes the file that it compares"
)]

use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::api::RealtimeProfile;
use crate::names::{GROUP, VERSION};

/// The profile's schema as the CRD has it, with the three fields that every object has.
fn profile_schema() -> Value {
    let mut schema = RealtimeProfile::crd()
        .spec
        .versions
        .into_iter()
        .next()
        .and_then(|version| version.schema?.open_api_v3_schema)
        .and_then(|schema| serde_json::to_value(schema).ok())
        .unwrap_or_default();
    let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "apiVersion".into(),
            json!({"type": "string", "enum": [format!("{GROUP}/{VERSION}")]}),
        );
        properties.insert(
            "kind".into(),
            json!({"type": "string", "enum": ["RealtimeProfile"]}),
        );
        properties.insert(
            "metadata".into(),
            json!({"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 253,
                    "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"},
                "generateName": {"type": "string"}, "namespace": {"type": "string"},
                "labels": texts, "annotations": texts,
                "uid": {"type": "string"}, "resourceVersion": {"type": "string"},
                "generation": {"type": "integer"}, "selfLink": {"type": "string"},
                "creationTimestamp": {"nullable": true}, "deletionTimestamp": {"nullable": true},
                "deletionGracePeriodSeconds": {"type": "integer"},
                "finalizers": {"type": "array", "items": {"type": "string"}},
                "ownerReferences": {"type": "array"}, "managedFields": {"type": "array"},
            }}),
        );
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(
            "required".into(),
            json!(["apiVersion", "kind", "metadata", "spec"]),
        );
    }
    schema
}

#[test]
fn the_schema_file_is_what_the_types_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/input/profile_schema.json");
    let derived = format!("{:#}\n", profile_schema());
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(path, &derived).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap();
    assert!(
        derived == stored,
        "UPDATE_GOLDEN=1 writes core/src/input/profile_schema.json"
    );
}
