//! Every golden Tuned profile, with its includes, in TuneD's own loader (Debian's package `tuned`): it loads, what we
//! say stands in the merged result, no command line comes out, and the merged result is the committed one.
//!
//! Assumed, since no cluster is here: the included profiles `openshift-node` and `openshift` as TuneD itself ships them.
//! The Node Tuning Operator replaces `openshift` by one that includes a cloud provider's profile before it; on bare
//! metal that profile is empty.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test runs TuneD's loader and ends at what it doesn't expect"
)]

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{compare, name, rendered, root, skip, stories};

/// The version whose included profiles the committed results show.
const VERSION: &str = "2.20";

/// Python with TuneD's packages, as TuneD's own programs start it.
const PYTHON: &str = "/usr/bin/python3";

#[test]
fn every_profile_loads_with_its_includes() {
    if !installed() {
        return;
    }
    let mut other_version = None;
    for story in stories() {
        let (loaded, profile) = load(&story, &[]);
        let story_name = name(&story);
        let units = &loaded["units"];
        ours_stands(&story_name, &loaded["own"], units);
        no_command_line(&story_name, &loaded["own"], units);
        if loaded["version"] == VERSION {
            let text = format!("{:#}\n", json!({"profile": profile, "units": units}));
            compare(&story.join("tuned-merged.json"), &text);
        } else {
            other_version = Some(loaded["version"].to_string());
        }
    }
    if let Some(version) = other_version {
        skip(&format!(
            "the merged results are of TuneD {VERSION}, installed is {version}: only loading was tested"
        ));
    }
}

#[test]
fn device_patterns_find_exactly_the_named_devices() {
    if !installed() {
        return;
    }
    let device = |interface: &str, vendor: &str, model: &str| {
        json!({"DEVPATH": format!("/devices/pci0000:00/net/{interface}"), "ID_BUS": "pci", "ID_MODEL_ID": model,
               "ID_VENDOR_ID": vendor, "INTERFACE": interface, "SUBSYSTEM": "net"})
    };
    let devices = [
        device("eth1", "0x8086", "0x1521"),
        device("eth10", "0x8086", "0x1521"),
        device("eth2", "0x8086", "0x15212"),
        device("ens1", "0x8086", "0x1572"),
        device("ens1f0", "0x8086", "0x1572"),
        device("ens2f0", "0x15b3", "0x1017"),
        device("ens2f1", "0x15b3", "0x1017"),
        json!({"DEVPATH": "/devices/virtual/net/xens9", "INTERFACE": "xens9"}),
    ];
    for (story, expected) in [
        (
            "queues-by-name",
            json!(["ens1f0", "ens2f0", "ens2f1", "eth1"]),
        ),
        ("queues-by-vendor", json!(["ens2f1", "eth1", "eth10"])),
    ] {
        let (loaded, _) = load(&root().join(story), &devices);
        assert_eq!(
            loaded["matched"],
            json!({"net_realtime": expected}),
            "{story}"
        );
    }
}

/// Option by option: an include may add, never take away.
fn ours_stands(story: &str, own: &Value, units: &Value) {
    for (section, options) in own.as_object().unwrap() {
        if section == "main" {
            continue;
        }
        for (key, value) in options.as_object().unwrap() {
            let merged = match key.as_str() {
                "drop" | "priority" | "enabled" => continue,
                "type" | "devices_udev_regex" => &units[section][key],
                _ => &units[section]["options"][key],
            };
            assert_eq!(merged, value, "{story}: [{section}] {key}");
        }
        let enabled = options.get("enabled").is_none_or(|value| value != "false");
        assert_eq!(units[section]["enabled"], enabled, "{story}: [{section}]");
    }
}

/// Neither do we set one, nor does TuneD act on one that an include brings.
fn no_command_line(story: &str, own: &Value, units: &Value) {
    for (section, options) in own.as_object().unwrap() {
        for key in options.as_object().unwrap().keys() {
            assert!(!key.starts_with("cmdline"), "{story}: [{section}] {key}");
        }
    }
    for (unit, described) in units.as_object().unwrap() {
        if unit == "bootloader" || described.get("type").is_some_and(|of| of == "bootloader") {
            assert_eq!(described["enabled"], false, "{story}: [{unit}]");
        }
    }
}

fn load(story: &Path, devices: &[Value]) -> (Value, String) {
    let tuned = rendered(story, story).0.tuned.unwrap();
    let [profile] = <[_; 1]>::try_from(tuned.spec.profile).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join(&profile.name);
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("tuned.conf"), &profile.data).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tuned/load.py");
    let mut loader = Command::new(PYTHON)
        .arg("-B")
        .arg(script)
        .arg(folder.path())
        .arg(&profile.name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = loader.stdin.take().unwrap();
    input
        .write_all(json!(devices).to_string().as_bytes())
        .unwrap();
    drop(input);
    let output = loader.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", name(story));
    (
        serde_json::from_slice(&output.stdout).unwrap(),
        profile.name,
    )
}

fn installed() -> bool {
    let found = Command::new(PYTHON)
        .args(["-B", "-c", "import tuned.profiles.loader"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        skip("TuneD's Python packages aren't installed (Debian: tuned)");
    }
    found
}
