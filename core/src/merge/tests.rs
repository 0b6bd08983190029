//! The merge on small cases; `core/tests/merge_recordings.rs` compares it with the real one.

#![allow(
    clippy::needless_pass_by_value,
    reason = "`json!` values read better given away"
)]

use serde_json::{Value, json};

use super::*;
use crate::openshift::{KubeletConfig, KubeletConfigSpec};

fn config(name: &str, role: &str, spec: Value) -> MachineConfig {
    serde_json::from_value(json!({
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfig",
        "metadata": {"name": name, "labels": {LABEL_MACHINE_CONFIG_ROLE: role}},
        "spec": spec,
    }))
    .unwrap()
}

fn file(path: &str, source: &str) -> Value {
    json!({"ignition": {"version": "3.2.0"}, "storage": {"files": [{"path": path, "contents": {"source": source}}]}})
}

fn edge_pool() -> MachineConfigPool {
    serde_json::from_value(json!({
        "apiVersion": "machineconfiguration.openshift.io/v1",
        "kind": "MachineConfigPool",
        "metadata": {"name": "edge"},
        "spec": {"machineConfigSelector": {"matchExpressions": [
            {"key": LABEL_MACHINE_CONFIG_ROLE, "operator": "In", "values": ["worker", "edge"]}]}},
    }))
    .unwrap()
}

fn rendered(sources: &[&MachineConfig]) -> MachineConfig {
    MachineConfig::new("rendered-edge-0", merge(sources).unwrap().into_spec())
}

#[test]
fn a_custom_pools_configs_come_after_the_workers_whatever_their_numbers() {
    let configs = [
        config("10-a", "edge", json!({})),
        config("90-b", "worker", json!({})),
        config("00-c", "infra", json!({})),
        config("00-d", "worker", json!({})),
    ];
    let pool = edge_pool();
    let names: Vec<&str> = sources(&pool, &configs)
        .iter()
        .filter_map(|c| c.metadata.name.as_deref())
        .collect();
    assert_eq!(names, ["00-d", "90-b", "10-a"]);
}

#[test]
fn default_never_resets_an_inherited_kernel() {
    let worker = config("50-w", "worker", json!({"kernelType": "realtime"}));
    let back = config("60-e", "edge", json!({"kernelType": "default"}));
    assert!(merge(&[&worker, &back]).unwrap().is_realtime());
}

#[test]
fn the_first_drafts_boolean_is_an_or() {
    let worker = config("50-w", "worker", json!({"realtime": true}));
    let back = config("60-e", "edge", json!({"realtime": false}));
    assert!(merge(&[&worker, &back]).unwrap().is_realtime());
    assert!(!merge(&[&back]).unwrap().is_realtime());
}

#[test]
fn a_running_cluster_refuses_what_no_node_can_take() {
    let current = rendered(&[&config("00-w", "worker", json!({}))]);
    for (spec, refusal) in [
        (
            json!({"fips": true}),
            "detected change to FIPS flag; refusing to modify FIPS on a running cluster",
        ),
        (
            json!({"config": {"ignition": {"version": "3.3.0"}, "kernelArguments": {"shouldExist": ["a"]}}}),
            "ignition kargs section contains changes",
        ),
        (
            json!({"config": {"ignition": {"version": "3.2.0"}, "storage": {"files": [
                {"path": "/etc/a", "append": [{"source": "data:,a"}]}]}}}),
            "ignition file /etc/a includes append",
        ),
    ] {
        let change = config("50-e", "edge", spec);
        assert_eq!(
            reconcilable(&current, &[&change]).unwrap_err().to_string(),
            format!(
                "reconciliation failed between current config \"rendered-edge-0\" and base config \"50-e\": {refusal}"
            )
        );
    }
    let harmless = config("50-e", "edge", file("/etc/a", "data:,a"));
    assert_eq!(reconcilable(&current, &[&harmless]), Ok(()));
}

#[test]
fn everything_written_is_missing_until_it_is_rendered() {
    let base = config("00-w", "worker", json!({"kernelArguments": ["quiet"]}));
    let mut ours = config(
        "50-e",
        "edge",
        json!({"kernelType": "realtime", "kernelArguments": ["a=1", "b=2"],
        "config": file("/etc/a", "data:,a")}),
    );
    let names = ["00-w".to_owned(), "50-e".to_owned()];
    assert_eq!(
        missing_from_target(&rendered(&[&base]), &ours, None, &["00-w".to_owned()]),
        [
            "MachineConfig 50-e is not among the target's sources",
            "kernelType realtime is default in the target",
            "kernel arguments (a=1 b=2) are not in the target",
            "file /etc/a is not in the target as written",
        ]
    );
    let target = rendered(&[&base, &ours]);
    assert!(missing_from_target(&target, &ours, None, &names).is_empty());
    assert!(remnants(&target, &[&base, &ours]).is_empty());

    ours.spec.config = Some(file("/etc/a", "data:;base64,YQ=="));
    assert!(
        missing_from_target(&target, &ours, None, &names).is_empty(),
        "another encoding of the same bytes"
    );
    ours.spec.config = Some(file("/etc/a", "data:,b"));
    assert_eq!(
        missing_from_target(&target, &ours, None, &names),
        ["file /etc/a is not in the target as written"]
    );
}

#[test]
fn a_removal_that_isnt_rendered_shows_as_a_remnant() {
    let base = config("00-w", "worker", json!({"kernelArguments": ["a=1"]}));
    let ours = config(
        "50-e",
        "edge",
        json!({"kernelType": "realtime", "kernelArguments": ["a=1", "b=2"],
        "config": file("/etc/realtime-a", "data:,a")}),
    );
    let target = rendered(&[&base, &ours]);
    let edited = config("50-e", "edge", json!({"kernelArguments": ["b=2"]}));
    let names = ["00-w".to_owned(), "50-e".to_owned()];
    assert!(missing_from_target(&target, &edited, None, &names).is_empty());
    assert_eq!(
        remnants(&target, &[&base, &edited]),
        [
            "kernelType realtime is still in the target",
            "kernel arguments (a=1) are still in the target",
            "file /etc/realtime-a is still in the target",
        ]
    );
}

#[test]
fn kubelet_fields_land_in_kubelet_conf_and_reservations_beside_it() {
    let ours = config("50-e", "edge", json!({}));
    let kubelet = KubeletConfig::new(
        "ours",
        KubeletConfigSpec {
            kubelet_config: Some(
                json!({"cpuManagerPolicy": "static", "systemReserved": {"cpu": "1"}}),
            ),
            ..KubeletConfigSpec::default()
        },
    );
    let names = ["50-e".to_owned()];
    assert_eq!(
        missing_from_target(&rendered(&[&ours]), &ours, Some(&kubelet), &names),
        [
            "kubelet field cpuManagerPolicy is not in the target as written",
            "kubelet reservation SYSTEM_RESERVED_CPU=1 is not in the target",
        ]
    );
    let generated = config(
        "99-edge-generated-kubelet",
        "edge",
        json!({"config": {
        "ignition": {"version": "3.5.0"},
        "storage": {"files": [
            {"path": kubelet::KUBELET_CONF, "contents": {"source": "data:,cpuManagerPolicy%3A%20static%0A"}},
            {"path": kubelet::NODE_SIZING, "contents": {"source": "data:,SYSTEM_RESERVED_CPU%3D1%0A"}}]}}}),
    );
    assert!(
        missing_from_target(
            &rendered(&[&ours, &generated]),
            &ours,
            Some(&kubelet),
            &names
        )
        .is_empty()
    );
}

#[test]
fn a_later_source_that_replaces_ours_is_named_and_not_waited_for() {
    let ours = config(
        "50-e",
        "edge",
        json!({"kernelType": "realtime", "config": {
        "ignition": {"version": "3.2.0"},
        "storage": {"files": [{"path": "/etc/a", "contents": {"source": "data:,a"}}, {"path": "/etc/same", "contents": {"source": "data:,s"}}]},
        "systemd": {"units": [{"name": "a.service", "enabled": true}, {"name": "b.service", "enabled": true}]}}}),
    );
    let theirs = config(
        "60-x",
        "edge",
        json!({"kernelType": "64k-pages", "config": {
        "ignition": {"version": "3.2.0"},
        "storage": {"files": [{"path": "/etc/a", "contents": {"source": "data:,x"}}, {"path": "/etc/same", "contents": {"source": "data:;base64,cw=="}}]},
        "systemd": {"units": [{"name": "a.service", "enabled": false}, {"name": "b.service", "dropins": [{"name": "1.conf"}]}]}}}),
    );
    let all = [&ours, &theirs];
    let found = overridden(&all, "50-e");
    let what: Vec<(&str, &str)> = found
        .iter()
        .map(|o| (o.what.as_str(), o.by.as_str()))
        .collect();
    assert_eq!(
        what,
        [
            ("file /etc/a", "60-x"),
            ("kernelType", "60-x"),
            ("unit a.service", "60-x")
        ]
    );
    assert!(overridden(&all, "60-x").is_empty());
    let names = ["50-e".to_owned(), "60-x".to_owned()];
    assert_eq!(
        missing_from_target(&rendered(&all), &ours, None, &names).len(),
        3
    );
    assert!(not_landed(&rendered(&all), &ours, None, &names, &found).is_empty());
}

#[test]
fn what_a_conversion_does_to_foreign_configs_is_no_remnant() {
    let old = config(
        "60-old",
        "worker",
        json!({"config": {"ignition": {"version": "2.2.0", "config": {}},
            "storage": {"files": [{"filesystem": "root", "path": "/etc//realtime.d/", "contents": {"source": ""}}]}}}),
    );
    let arguments = config(
        "61-arguments",
        "worker",
        json!({"config": {"ignition": {"version": "3.4.0"}, "kernelArguments": {"shouldExist": ["x=1"]}}}),
    );
    let target: MachineConfig = config(
        "rendered",
        "none",
        json!({"kernelArguments": ["x=1"], "config": {"ignition": {"version": "3.5.0"}, "storage": {"files": [
            {"path": "/etc/realtime.d", "overwrite": true, "contents": {}},
            {"path": "/etc/made-by-the-render", "contents": {"source": "data:,"}}]},
            "systemd": {"units": [{"name": "theirs.service"}]}}}),
    );
    assert_eq!(remnants(&target, &[&old, &arguments]), Vec::<String>::new());
}

#[test]
fn a_directory_or_a_link_in_place_of_our_file_is_not_waited_for() {
    let ours = config("50-e", "edge", json!({"config": file("/etc/a", "data:,a")}));
    for list in ["links", "directories"] {
        let theirs = config(
            "60-x",
            "edge",
            json!({"config": {"ignition": {"version": "3.2.0"}, "storage": {list: [{"path": "/etc/a", "target": "/b"}]}}}),
        );
        let all = [&ours, &theirs];
        let found = overridden(&all, "50-e");
        assert_eq!(found.len(), 1, "{list}");
        let names = ["50-e".to_owned(), "60-x".to_owned()];
        assert!(not_landed(&rendered(&all), &ours, None, &names, &found).is_empty());
    }
}

#[test]
fn what_releases_do_differently_with_a_kubelet_config_is_not_waited_for() {
    let asked = |kubelet: Value| {
        KubeletConfig::new(
            "ours",
            KubeletConfigSpec {
                kubelet_config: Some(kubelet),
                ..KubeletConfigSpec::default()
            },
        )
    };
    let generated = |conf: &str| {
        let url = format!("data:,{}", conf.replace('%', "%25").replace('\n', "%0A"));
        config(
            "99-edge-generated-kubelet",
            "edge",
            json!({"config": file(kubelet::KUBELET_CONF, &url)}),
        )
    };
    for (wanted, conf) in [
        // Older releases leave enforceNodeAllocatable alone.
        (
            json!({"reservedSystemCPUs": "0-1"}),
            "reservedSystemCPUs: 0-1\n",
        ),
        // Zero values replace nothing, a duration's neither.
        (
            json!({"streamingConnectionIdleTimeout": "0s", "maxPods": 0, "cpuCFSQuota": false}),
            "streamingConnectionIdleTimeout: 5m0s\nmaxPods: 250\n",
        ),
        // Nested structures lose zero values and unknown keys.
        (
            json!({"authentication": {"anonymous": {"enabled": false}, "odd": 1}}),
            "authentication: {anonymous: {enabled: true}}\n",
        ),
        // Before there was a file for it, systemReserved stayed with the rest.
        (
            json!({"systemReserved": {"cpu": "1000m"}}),
            "systemReserved: {cpu: '1'}\n",
        ),
    ] {
        let missing = missing_from_generated(&generated(conf), &asked(wanted.clone()));
        assert!(missing.is_empty(), "{wanted}: {missing:?}");
    }
    let missing =
        missing_from_generated(&generated("maxPods: 250\n"), &asked(json!({"maxPods": 20})));
    assert_eq!(missing.len(), 1, "{missing:?}");
}

/// Files and units by whose names remnants are looked for: all that any golden story writes.
#[test]
#[allow(clippy::disallowed_methods, reason = "a test reads the golden stories")]
fn every_file_and_unit_of_the_golden_stories_is_known_as_ours() {
    let stories = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/render");
    let mut seen = 0;
    for story in std::fs::read_dir(stories).unwrap() {
        let expected = story.unwrap().path().join("expected");
        let objects = std::fs::read_dir(expected).into_iter().flatten();
        for path in objects.map(|object| object.unwrap().path()) {
            let name = path.file_name().unwrap().to_string_lossy();
            if name != "machineconfig.yaml" {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let object: Value = serde_yaml::from_str(&text).unwrap();
            let config = &object["spec"]["config"];
            let names = ignition::entries(config, "files")
                .map(|file| &file["path"])
                .chain(ignition::units(config).map(|unit| &unit["name"]));
            for name in names {
                seen += 1;
                assert!(landed::may_be_ours(name.as_str().unwrap()), "{name}");
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn kernel_devel_goes_with_the_default_kernel_only() {
    let devel = config("60-x", "worker", json!({"extensions": ["kernel-devel"]}));
    let realtime = config("50-e", "edge", json!({"kernelType": "realtime"}));
    assert!(merge(&[&devel]).is_ok());
    assert_eq!(
        merge(&[&devel, &realtime]).unwrap_err().to_string(),
        "installing kernel-devel extension is not supported with kernelType: realtime"
    );
}
