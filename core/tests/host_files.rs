//! What the golden MachineConfigs put on a host, read by the programs that will read it there: units by systemd, scripts
//! by bash, CRI-O's drop-in by a TOML parser, the kubelet's file by a JSON parser.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a test runs the real programs and ends at what it doesn't expect"
)]

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Output};

use support::{skip, stories, texts};

/// Every different file of all stories, by its text, with a story and path that has it.
fn host_files(wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for story in stories() {
        for (path, text) in texts(&story, &story) {
            if path.strip_prefix("host").is_some_and(&wanted) {
                files.insert(text, format!("{}: {path}", support::name(&story)));
            }
        }
    }
    assert!(!files.is_empty());
    files
}

fn run(program: &str, arguments: &[&str], name: &str, text: &str) -> Option<Output> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    Command::new(program)
        .args(arguments)
        .arg(&path)
        .output()
        .ok()
}

fn is_unit(path: &str) -> bool {
    path.starts_with("/etc/systemd/system/")
}

#[test]
fn units_are_what_systemd_wants() {
    for (text, origin) in host_files(is_unit) {
        // The one script that a unit starts is a file of ours, which isn't there; bash, which runs it, is.
        let Some(output) = run(
            "systemd-analyze",
            &["verify", "--man=no"],
            "tested.service",
            &text,
        ) else {
            return skip("systemd-analyze isn't installed (Debian: systemd)");
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let ours: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("tested.service"))
            .collect();
        assert!(ours.is_empty(), "{origin}: {ours:?}");
    }
}

#[test]
fn scripts_are_what_their_shell_wants() {
    for (text, origin) in host_files(|path| path.starts_with("/usr/local/bin/")) {
        // The one that its first line names: bash, or sh, which isn't bash everywhere.
        let shell = text.lines().next().and_then(|line| line.rsplit('/').next());
        let output = run(shell.unwrap(), &["-n"], "script", &text).unwrap();
        assert!(output.status.success(), "{origin}: {output:?}");
    }
}

#[test]
fn drop_ins_of_crio_are_toml() {
    const PROGRAM: &str =
        "import sys, tomllib, json; print(json.dumps(tomllib.load(open(sys.argv[1], 'rb'))))";
    for (text, origin) in host_files(|path| path.starts_with("/etc/crio/")) {
        let Some(output) = run("/usr/bin/python3", &["-c", PROGRAM], "crio.conf", &text) else {
            return skip("no Python 3.11 with tomllib");
        };
        assert!(output.status.success(), "{origin}: {output:?}");
        let parsed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let handler = &parsed["crio"]["runtime"]["runtimes"][realtime_core::render::HANDLER];
        assert_eq!(handler["inherit_default_runtime"], true, "{origin}");
        assert!(
            handler["allowed_annotations"].as_array().unwrap().len() >= 5,
            "{origin}"
        );
    }
}

#[test]
fn the_kubelets_file_and_the_runtimes_hook_are_json() {
    let json =
        |path: &str| path.starts_with("/etc/kubernetes/") || path.starts_with("/etc/containers/");
    for (text, origin) in host_files(json) {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
        assert!(parsed.is_ok(), "{origin}: {parsed:?}");
    }
}

#[test]
fn every_file_says_who_wrote_it() {
    // JSON has no comments.
    let commented =
        |path: &str| !path.starts_with("/etc/kubernetes/") && !path.starts_with("/etc/containers/");
    for (text, origin) in host_files(commented) {
        assert!(
            text.lines()
                .take(2)
                .any(|line| line.starts_with("# Written by realtime-operator")),
            "{origin}"
        );
    }
}

/// The script itself, with a folder for the kernel's.
#[test]
fn huge_pages_are_asked_for_on_the_node_that_is_named() {
    let kernel = tempfile::tempdir().unwrap();
    let pages = kernel.path().join("node1/hugepages/hugepages-2048kB");
    std::fs::create_dir_all(&pages).unwrap();
    std::fs::write(pages.join("nr_hugepages"), "0\n").unwrap();
    let scripts = host_files(|path| path == "/usr/local/bin/realtime-hugepages");
    let (script, _) = scripts.first_key_value().unwrap();
    let here = script.replace("/sys/devices/system/node", &kernel.path().to_string_lossy());
    assert_ne!(&here, script);
    let program = kernel.path().join("script");
    std::fs::write(&program, here).unwrap();
    let run = |node: &str| {
        let mut bash = Command::new("bash");
        bash.arg(&program).args([node, "2048", "16"]);
        bash.output().unwrap().status.success()
    };
    assert!(run("1"));
    assert_eq!(
        std::fs::read_to_string(pages.join("nr_hugepages")).unwrap(),
        "16\n"
    );
    assert!(!run("7"), "there is no such node");
}
