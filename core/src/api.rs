//! The three kinds of the API, as types with their schema and CEL rules. No behaviour beyond defaults.

// Two printer columns may well have one type: the lint takes their attributes for a repetition.
#![allow(clippy::duplicated_attributes)]

pub mod latency_check;
pub mod realtime_node;
pub mod realtime_profile;

pub use latency_check::LatencyCheck;
pub use realtime_node::RealtimeNode;
pub use realtime_profile::RealtimeProfile;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};

/// The CRDs of the product, in the order in which they are installed.
pub fn crds() -> [CustomResourceDefinition; 3] {
    [
        RealtimeProfile::crd(),
        RealtimeNode::crd(),
        LatencyCheck::crd(),
    ]
}

/// A map of conditions keyed by type, so that several writers can apply their own.
pub(crate) fn conditions_schema(generator: &mut SchemaGenerator) -> Schema {
    let mut schema =
        generator.subschema_for::<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>>();
    schema.insert("x-kubernetes-list-type".into(), "map".into());
    schema.insert(
        "x-kubernetes-list-map-keys".into(),
        serde_json::json!(["type"]),
    );
    schema
}

/// An object whose keys are another API's: kept as it is, checked in `validate`.
pub(crate) fn free_object_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// An integer or a percentage, as Kubernetes' `IntOrString`.
pub(crate) fn int_or_string_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})
}
