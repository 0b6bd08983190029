//! Our merge against the real Machine Config Operator's, case by case as recorded. It reads the recordings
//! beside the project and says so loudly where they are absent: it never passes in silence without them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking; `json!` values read better given away"
)]

use std::collections::BTreeMap;
use std::io::Write;

use realtime_core::merge::{self, Merged, kubelet};
use realtime_core::openshift::{MachineConfig, MachineConfigPool};
use serde_json::{Map, Value, json};

/// The recordings, from this crate's folder.
const RECORDINGS: &str = "../../shared/fixtures/machine-config-controller";
/// A test that is skipped appends a line to the file of this name, so that it is counted.
const SKIP_LOG: &str = "RT_SKIP_LOG";

#[allow(clippy::disallowed_methods)] // a test may read files; core itself may not
fn recording(name: &str) -> Option<Vec<Value>> {
    let path = format!("{}/{RECORDINGS}/{name}", env!("CARGO_MANIFEST_DIR"));
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(error) => {
            skip(&format!(
                "core/tests/merge_recordings.rs: no recording {name}: {error}"
            ));
            None
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::explicit_write
)]
fn skip(reason: &str) {
    // Straight to the terminal: the test harness captures `eprintln!` of a test that passes.
    writeln!(std::io::stderr(), "SKIPPED: {reason}").unwrap();
    if let Ok(log) = std::env::var(SKIP_LOG) {
        let mut log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        writeln!(log, "SKIPPED: {reason}").unwrap();
    }
}

fn role_of(name: &str) -> Value {
    json!({"name": name, "labels": {"machineconfiguration.openshift.io/role": "worker"}})
}

/// The pool's own MachineConfigs. The recording holds their merged fields, paths and unit names; which of them
/// holds a field doesn't show but for the kernel arguments, which come with the generated kubelet configs.
fn base_configs(base: &Value) -> Vec<MachineConfig> {
    let files: Vec<Value> = list(&base["filePaths"])
        .iter()
        .map(|path| json!({"path": path}))
        .collect();
    let units: Vec<Value> = list(&base["unitNames"])
        .iter()
        .map(|name| match name.as_str() {
            Some("kubelet.service") => base_kubelet_unit(),
            _ => json!({"name": name}),
        })
        .collect();
    list(&base["sources"])
        .iter()
        .filter_map(Value::as_str)
        .map(|name| {
            let spec = match name {
                "00-worker" => json!({"osImageURL": base["rendered"]["osImageURL"], "config": {
                    "ignition": {"version": "3.5.0"}, "storage": {"files": files}, "systemd": {"units": units}}}),
                "97-worker-generated-kubelet" => json!({"kernelArguments": base["rendered"]["kernelArguments"]}),
                _ => json!({}),
            };
            serde_json::from_value(json!({"metadata": role_of(name), "spec": spec})).unwrap()
        })
        .collect()
}

/// The one base unit that a case touches; the recording shows its drop-ins.
fn base_kubelet_unit() -> Value {
    json!({"name": "kubelet.service", "enabled": true, "contents": "(the base unit, unchanged)"})
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn pool() -> MachineConfigPool {
    serde_json::from_value(json!({"metadata": {"name": "worker-rt"}, "spec": {"machineConfigSelector": {
        "matchExpressions": [{"key": "machineconfiguration.openshift.io/role", "operator": "In", "values": ["worker", "worker-rt"]}]}}}))
    .unwrap()
}

#[test]
fn every_recorded_case_merges_as_the_real_operator_does() {
    let Some(cases) = recording("merge.json") else {
        return;
    };
    let (base, cases) = cases.split_first().unwrap();
    let base_configs = base_configs(base);
    let base_merged = rendered_from(&base_configs.iter().collect::<Vec<_>>(), base).unwrap();
    let mut compared = 0;
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let mut configs = base_configs.clone();
        configs.extend(
            list(&case["machineConfigs"])
                .iter()
                .map(|c| serde_json::from_value::<MachineConfig>(c.clone()).unwrap()),
        );
        let pool = pool();
        let sources = merge::sources(&pool, &configs);
        let merged = rendered_from(&sources, base);
        if let Some(refusal) = case.get("renderDegraded") {
            let text = format!(
                "Failed to render configuration for pool worker-rt: could not generate rendered MachineConfig: {}",
                merged.expect_err(name)
            );
            assert_eq!(text, refusal["message"].as_str().unwrap(), "{name}");
        } else {
            let names: Vec<&str> = sources
                .iter()
                .filter_map(|c| c.metadata.name.as_deref())
                .collect();
            assert_eq!(
                json!(names),
                case["sources"],
                "{name}: the order of the sources"
            );
            compare(name, &merged.unwrap(), &base_merged, &case["rendered"]);
        }
        compared += 1;
    }
    assert!(compared >= 24, "only {compared} cases");
}

/// The merge, and the check against what the pool has: the base, under the name that the recording has for it.
fn rendered_from(sources: &[&MachineConfig], base: &Value) -> Result<Merged, merge::MergeError> {
    let merged = merge::merge(sources)?;
    let mut current = MachineConfig::new(
        "rendered-worker-rt-2f54ad7cb2925c67b8a31e90728c5247",
        realtime_core::openshift::MachineConfigSpec::default(),
    );
    current.spec.fips = base["rendered"]["fips"].as_bool();
    merge::reconcilable(&current, sources)?;
    Ok(merged)
}

fn compare(name: &str, merged: &Merged, base: &Merged, expected: &Value) {
    let ours = json!({
        "kernelType": merged.kernel_type,
        "kernelArguments": merged.kernel_arguments,
        "fips": merged.fips,
        "osImageURL": merged.os_image_url,
        "ignition": merged.ignition["ignition"]["version"],
    });
    for (field, value) in ours.as_object().unwrap() {
        assert_eq!(value, &expected[field], "{name}: {field}");
    }
    assert_eq!(
        json!(merged.extensions),
        *expected.get("extensions").unwrap_or(&json!([])),
        "{name}: extensions"
    );
    for (field, pointer, key) in [
        ("files", "/storage/files", "path"),
        ("units", "/systemd/units", "name"),
        ("users", "/passwd/users", "name"),
    ] {
        let changed = by_key(merged, pointer, key)
            .into_iter()
            .filter(|(name, value)| by_key(base, pointer, key).get(name) != Some(value));
        let mut changed: BTreeMap<String, Value> = changed.collect();
        let mut expected: BTreeMap<String, Value> = list(&expected[field])
            .iter()
            .map(|entry| (entry[key].as_str().unwrap().to_owned(), entry.clone()))
            .collect();
        // The base unit's own drop-ins aren't in the recording of the base, only in this result.
        for unit in changed.values_mut().chain(expected.values_mut()) {
            if let Some(dropins) = unit["dropins"].as_array_mut() {
                dropins.retain(|dropin| dropin["name"].as_str().unwrap() >= "30-");
            }
            if let Some(unit) = unit.as_object_mut() {
                unit.retain(|_, value| !value.is_null());
            }
        }
        assert_eq!(changed, expected, "{name}: {field}");
    }
}

fn by_key(merged: &Merged, pointer: &str, key: &str) -> BTreeMap<String, Value> {
    let entries = merged
        .ignition
        .pointer(pointer)
        .map(list)
        .unwrap_or_default();
    entries
        .iter()
        .map(|entry| (entry[key].as_str().unwrap().to_owned(), entry.clone()))
        .collect()
}

#[test]
fn every_accepted_kubelet_config_lands_as_recorded() {
    let Some(cases) = recording("kubeletconfig.json") else {
        return;
    };
    // What the recordings show of the pool's own kubelet.conf.
    let base =
        json!({"staticPodPath": "/etc/kubernetes/manifests", "systemCgroups": "/system.slice"});
    let mut compared = 0;
    for case in &cases {
        let Some(expected) = case.get("reachesKubelet") else {
            continue;
        };
        let landing = kubelet::landing(&case["kubeletConfig"]);
        let conf: Map<String, Value> =
            kubelet::apply(base.as_object().unwrap(), &landing.kubelet_conf);
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(
                conf.get(field).unwrap_or(&Value::Null),
                value,
                "{}: {field}",
                case["case"]
            );
        }
        compared += 1;
    }
    assert!(compared >= 20, "only {compared} cases");
}
