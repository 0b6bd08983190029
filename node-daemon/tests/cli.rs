//! `status`, `plan` and `audit` on a simulated host: what they say, what they end with, and that they change nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test ends at what it doesn't expect, and `json!` values read better given away"
)]

mod support;

use std::process::{Command, Output};

use realtime_testing::rpm_ostree_standin::{OriginKind, Profile, Version};
use serde_json::{Value, json};
use support::standalone::Standalone;

fn host() -> Standalone {
    Standalone::new(&Profile::measured(Version::V2024_7, OriginKind::Container))
}

fn daemon() -> Command {
    let mut command = Command::new(support::programs().daemon);
    command.env_remove("RUST_LOG").env_remove("NODE_NAME");
    command
}

/// Asks about a host; with its configuration, when it has one.
fn ask(host: &Standalone, arguments: &[&str]) -> Output {
    let mut command = daemon();
    command.args(arguments);
    for argument in host.host.arguments() {
        if !argument.starts_with("--node-name") {
            command.arg(argument);
        }
    }
    let config = host
        .host
        .tree()
        .root()
        .with_file_name("realtime-node-daemon.yaml");
    if config.is_file() {
        command.arg("--config").arg(config);
    }
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json_of(host: &Standalone, command: &str) -> (i32, Value) {
    let output = ask(host, &[command, "--json"]);
    let value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{command}: {error}: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (output.status.code().unwrap(), value)
}

fn argvs(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap();
    steps
        .iter()
        .map(|step| match step["argv"].as_array() {
            Some(argv) => argv
                .iter()
                .map(|word| word.as_str().unwrap())
                .collect::<Vec<_>>()
                .join(" "),
            None => step["step"].as_str().unwrap().to_owned(),
        })
        .collect()
}

#[test]
fn a_plan_is_what_is_done_then() {
    let host = host();
    host.want(json!({"realtime": true, "arguments": ["skew_tick=1"]}));
    let before = host.state();
    let (code, plan) = json_of(&host, "plan");
    assert_eq!(code, 2);
    let planned = argvs(&plan);
    // Nothing was changed by asking.
    assert_eq!(
        format!("{:?}", host.state().deployments),
        format!("{:?}", before.deployments)
    );
    assert_eq!(host.record(), realtime_core::kernel::Record::default());

    let end = host.settle();
    assert_eq!(end.phase, "Ready");
    let log = host.log();
    let mut done: Vec<String> = log
        .lines()
        .filter(|line| line.contains("state=begin") && !line.contains("step=Save"))
        .map(|line| {
            let what = line.split("what=").nth(1).unwrap_or_default().trim();
            if what.is_empty() {
                line.split("step=")
                    .nth(1)
                    .unwrap()
                    .split(' ')
                    .next()
                    .unwrap()
                    .to_owned()
            } else {
                what.to_owned()
            }
        })
        .collect();
    // The daemon looks once more whether the source has something newer; that changes nothing.
    assert_eq!(done.pop().as_deref(), Some("Prepare"));
    assert_eq!(planned, done, "{}", text(&ask(&host, &["plan"])));

    let (code, plan) = json_of(&host, "plan");
    assert_eq!((code, plan["steps"].as_array().unwrap().len()), (0, 0));
    assert_eq!(plan["phase"], "Ready");
}

#[test]
fn a_status_tells_the_kernel_the_deployments_and_the_record() {
    let host = host();
    let said = text(&ask(&host, &["status"]));
    assert!(
        said.contains("(stock)") && said.contains("booted"),
        "{said}"
    );
    assert!(said.contains("has not changed this host"), "{said}");
    assert!(
        said.contains("nothing says what this host shall be"),
        "{said}"
    );

    host.want(json!({"realtime": true}));
    host.settle();
    let output = ask(&host, &["status"]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output);
    for wanted in ["(real-time)", "1 reboots, succeeded", "phase       Ready"] {
        assert!(said.contains(wanted), "{wanted} is not in\n{said}");
    }
    let (code, status) = json_of(&host, "status");
    assert_eq!(code, 0);
    assert_eq!(status["kernel"]["realtime"], true);
    assert_eq!(status["phase"], "Ready");
    assert_eq!(status["deployments"][0]["booted"], true);
}

#[test]
fn an_audit_ends_with_what_it_found() {
    let host = host();
    host.want(json!({"realtime": true, "arguments": ["skew_tick=1"]}));
    let output = ask(&host, &["audit"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output);
    assert!(said.contains("skew_tick=1"), "{said}");
    assert!(
        said.contains("differences from what the configuration file says"),
        "{said}"
    );
    host.settle();
    let (code, audit) = json_of(&host, "audit");
    assert_eq!(
        (code, audit["drift"].as_array().unwrap().len()),
        (0, 0),
        "{audit}"
    );
}

#[test]
fn what_can_not_be_answered_is_said_with_a_remedy() {
    let host = host();
    let fails = |arguments: &[&str], code: i32, words: &str| {
        let output = ask(&host, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(output.stdout.is_empty());
    };
    // Nothing says what it shall be.
    fails(&["plan"], 1, "give --config with `node:`");
    fails(&["audit"], 1, "give --config with `node:`");
    // No host at all.
    let empty = tempfile::tempdir().unwrap();
    let output = daemon()
        .args(["status", "--root"])
        .arg(empty.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("is no host's root directory"), "{said}");
    // A configuration that is none.
    let broken = empty.path().join("broken.yaml");
    std::fs::write(&broken, "rebot: true\nlog_level: LOUD\n").unwrap();
    let output = daemon()
        .args(["status", "--config"])
        .arg(&broken)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("did you mean `reboot`?") && said.contains("log_level"),
        "{said}"
    );
}
