//! Each CEL rule of our CRDs accepts and refuses, evaluated against the generated schema; and `validate`, which
//! is all that holds offline, says the same as the rules do.
#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use kube::core::CustomResourceExt;
use kube::core::cel::Validator;
use realtime_core::api::{LatencyCheck, RealtimeProfile};
use realtime_core::cluster::{Cluster, Dialect, Served};
use realtime_core::input;
use realtime_core::problem::Problems;
use realtime_core::validate::validate;
use serde_json::{Value, json};

/// What the rule says when it refuses, the field under which `validate` says so, a spec that passes and one that doesn't.
struct Case {
    message: &'static str,
    field: &'static str,
    accepted: Value,
    refused: Value,
}

fn schema<T: CustomResourceExt>() -> Value {
    serde_json::to_value(
        &T::crd().spec.versions[0]
            .schema
            .as_ref()
            .unwrap()
            .open_api_v3_schema,
    )
    .unwrap()
}

fn messages(schema: &Value, object: &Value) -> Vec<String> {
    match Validator::new().validate(schema, object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .as_slice()
            .iter()
            .map(|error| error.message.clone())
            .collect(),
    }
}

fn profile(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile",
        "metadata": {"name": name}, "spec": spec,
    })
}

/// Everything that holds without an API server.
fn natively(object: Value) -> Problems {
    match input::profile(object) {
        Ok(profile) => {
            validate(
                &profile,
                &Cluster::empty(Served::openshift(Dialect::KernelType)),
            )
            .problems
        }
        Err(problems) => problems,
    }
}

/// A rule's message, as a list of all rules in a schema.
fn all_rules(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            for rule in map
                .get("x-kubernetes-validations")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                found.push(rule["message"].as_str().unwrap().to_owned());
            }
            map.values().for_each(|inner| all_rules(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| all_rules(inner, found)),
        _ => {}
    }
}

fn source(source: &Value) -> Value {
    json!({"kernel": {"provider": "NodeDaemon", "packages": {"source": source}}})
}

fn device(device: &Value) -> Value {
    json!({"cpu": {"reserved": "0", "isolated": "1"}, "network": {"limitQueuesToReserved": true, "devices": [device]}})
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            message: "nodeSelector and maxUnavailable belong to a pool that the operator creates: set them on the existing pool, or let create be true",
            field: "spec.pool",
            accepted: json!({"pool": {"create": true, "maxUnavailable": 2}}),
            refused: json!({"pool": {"create": false, "maxUnavailable": 2}}),
        },
        Case {
            message: "nodeSelector and maxUnavailable belong to a pool that the operator creates: set them on the existing pool, or let create be true",
            field: "spec.pool",
            accepted: json!({"pool": {"create": false}}),
            refused: json!({"pool": {"create": false, "nodeSelector": {"matchLabels": {"a": "b"}}}}),
        },
        Case {
            message: "exactly one of repositories, urls, directory and image",
            field: "spec.kernel.packages.source",
            accepted: source(&json!({"directory": "/var/lib/rpms"})),
            refused: source(&json!({"directory": "/var/lib/rpms", "repositories": ["rt"]})),
        },
        Case {
            message: "exactly one of repositories, urls, directory and image",
            field: "spec.kernel.packages.source",
            accepted: source(&json!({"repositories": ["rt"]})),
            refused: source(&json!({})),
        },
        Case {
            message: "isolated needs reserved: the kubelet, the system and interrupts must run somewhere",
            field: "spec.cpu.reserved",
            accepted: json!({"cpu": {"reserved": "0", "isolated": "1-3"}}),
            refused: json!({"cpu": {"isolated": "1-3"}}),
        },
        Case {
            message: "name the device by interfaceName or by vendorID",
            field: "spec.network.devices[0]",
            accepted: device(&json!({"interfaceName": "eth1"})),
            refused: device(&json!({})),
        },
        Case {
            message: "deviceID needs vendorID",
            field: "spec.network.devices[0]",
            accepted: device(&json!({"vendorID": "0x8086", "deviceID": "0x1521"})),
            refused: device(&json!({"interfaceName": "eth1", "deviceID": "0x1521"})),
        },
        Case {
            message: "maxPerContainerMicroseconds can't exceed capacityMicroseconds",
            field: "spec.podBudget.maxPerContainerMicroseconds",
            accepted: json!({"podBudget": {"capacityMicroseconds": 5, "maxPerContainerMicroseconds": 5}}),
            refused: json!({"podBudget": {"capacityMicroseconds": 5, "maxPerContainerMicroseconds": 6}}),
        },
    ]
}

#[test]
fn each_rule_of_a_profile_accepts_and_refuses_and_validate_agrees() {
    let schema = schema::<RealtimeProfile>();
    for case in cases() {
        let (accepted, refused) = (
            profile("edge", &case.accepted),
            profile("edge", &case.refused),
        );
        assert_eq!(
            messages(&schema, &accepted),
            Vec::<String>::new(),
            "{accepted}"
        );
        assert_eq!(messages(&schema, &refused), [case.message], "{refused}");
        let problems = natively(accepted.clone());
        assert!(!problems.has_errors(), "{accepted}: {problems}");
        let problems = natively(refused.clone());
        assert!(
            problems.0.iter().any(|problem| problem.field == case.field),
            "{refused}: {problems}"
        );
        assert!(problems.has_errors());
    }
}

#[test]
fn the_name_fits_into_other_names() {
    let schema = schema::<RealtimeProfile>();
    let spec = json!({});
    for (name, accepted) in [
        ("e".repeat(50), true),
        ("e".repeat(51), false),
        ("a.b".to_owned(), false),
        ("worker-rt".to_owned(), true),
    ] {
        let object = profile(&name, &spec);
        assert_eq!(messages(&schema, &object).is_empty(), accepted, "{name}");
        let problems = natively(object);
        assert_eq!(!problems.has_errors(), accepted, "{name}: {problems}");
    }
}

#[test]
fn no_rule_is_without_a_case() {
    let mut rules = Vec::new();
    all_rules(&schema::<RealtimeProfile>(), &mut rules);
    let covered: Vec<&str> = cases().iter().map(|case| case.message).collect();
    let uncovered: Vec<_> = rules
        .iter()
        .filter(|rule| !covered.contains(&rule.as_str()) && !rule.starts_with("the name "))
        .collect();
    assert_eq!(uncovered, Vec::<&String>::new());
    let mut rules = Vec::new();
    all_rules(&schema::<LatencyCheck>(), &mut rules);
    assert_eq!(rules, ["exactly one of nodeName and nodeSelector"]);
}

#[test]
fn a_latency_check_names_its_nodes_in_one_way() {
    let schema = schema::<LatencyCheck>();
    for (spec, accepted) in [
        (json!({"nodeName": "n1"}), true),
        (json!({"nodeSelector": {"a": "b"}}), true),
        (json!({}), false),
        (json!({"nodeName": "n1", "nodeSelector": {"a": "b"}}), false),
    ] {
        let object = json!({"metadata": {"name": "c", "namespace": "n"}, "spec": spec});
        assert_eq!(messages(&schema, &object).is_empty(), accepted, "{object}");
    }
}
