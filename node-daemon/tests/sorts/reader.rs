//! What a user reads: `oc realtime why` and `realtime-node-daemon top`, as the programs that are installed.

use std::fs;
use std::path::{Path, PathBuf};

use realtime_core::api::realtime_node::{BudgetMode, ContainerBudgetState};
use realtime_core::conditions::reason;
use realtime_core::rt::request::{RUNTIME_US, SCHEDULER};
use serde_json::{Value, json};

use crate::eyes::run;
use crate::on_node::{Lab, budget, pod};

/// Where cargo puts the programs of the whole workspace.
fn program(name: &str) -> PathBuf {
    let own = Path::new(env!("CARGO_BIN_EXE_realtime-node-daemon"));
    own.with_file_name(name)
}

/// What it prints, and how it ends.
async fn why(lab: &Lab, pod: &str) -> (String, Option<i32>) {
    let output = tokio::process::Command::new(program("oc-realtime"))
        .args(["why", &format!("default/{pod}")])
        .env("KUBECONFIG", lab.node.admin_kubeconfig())
        .kill_on_drop(true)
        .output()
        .await
        .expect("oc realtime");
    let printed = [output.stdout, output.stderr].concat();
    (
        String::from_utf8_lossy(&printed).into_owned(),
        output.status.code(),
    )
}

/// One that never blocks: the kernel stops it, which is seen by what it has run.
async fn throttled_is_told(lab: &Lab, annotations: &Value, cli: bool) {
    let spins = pod("spins", annotations, &["sh", "-c", "while :; do :; done"]);
    run(lab, spins, "Running").await;
    lab.entry("spins", "main", |entry| {
        entry.reason.as_deref() == Some(reason::THROTTLED)
    })
    .await;
    if cli {
        let (text, code) = why(lab, "spins").await;
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("used all of their budget"), "{text}");
    }
    lab.delete("spins").await;
}

/// All of it.
pub async fn the_programs_say_the_same(lab: &Lab) {
    let own = Path::new(env!("CARGO_BIN_EXE_realtime-node-daemon"));
    let annotations = json!({RUNTIME_US: "20000", SCHEDULER: "fifo:42"});
    run(
        lab,
        pod("granted", &annotations, &["sleep", "7601"]),
        "Running",
    )
    .await;
    run(
        lab,
        pod("refused", &budget("999999"), &["sleep", "7602"]),
        "Running",
    )
    .await;
    lab.entry("granted", "main", |entry| {
        entry.state == ContainerBudgetState::Applied
    })
    .await;
    lab.entry("refused", "main", |entry| {
        entry.state == ContainerBudgetState::Refused
    })
    .await;

    let cli = program("oc-realtime").is_file();
    throttled_is_told(lab, &annotations, cli).await;
    let sleeps = lab.entry("granted", "main", |_| true).await;
    assert_eq!(sleeps.reason, None);
    if cli {
        let (text, code) = why(lab, "granted").await;
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("20000") && text.contains("fifo:42"), "{text}");
        let (text, code) = why(lab, "refused").await;
        assert_ne!(code, Some(0), "{text}");
        assert!(text.contains("999999"), "{text}");
    } else {
        realtime_testing::skip("oc-realtime is not built: cargo build --workspace --bins");
    }

    let own = own.to_str().expect("a path");
    let config = lab.node.directory().join("daemon.yaml");
    let config = config.to_str().expect("a path");
    let table = lab
        .node
        .exec_in_namespaces(
            own,
            &["--config", config, "top", "--once", "--interval", "100ms"],
        )
        .await
        .expect("top");
    let line = table.lines().find(|line| line.contains("granted"));
    let line = line.unwrap_or_else(|| unreachable!("no line of it: {table}"));
    for word in ["main", "fifo", "42", "20000"] {
        assert!(line.contains(word), "{word}: {table}");
    }

    // A hierarchy that this machine's kernel gives nothing by.
    let text = fs::read_to_string(config).expect("the file");
    fs::write(config, format!("{text}cgroup_handler: cgroup_v2\n")).expect("written");
    lab.kill_daemon();
    lab.start_daemon();
    let told = lab
        .wait_for("another mode", |told| {
            told.mode.is_some_and(|mode| mode != BudgetMode::V1Budget)
        })
        .await;
    let entry = lab
        .entry("granted", "main", |entry| {
            entry.state == ContainerBudgetState::Refused
        })
        .await;
    if cli {
        let (text, code) = why(lab, "granted").await;
        assert_ne!(code, Some(0), "{text}");
        let remedy = told.remedy.expect("a remedy");
        assert!(text.contains(&remedy), "{remedy}\n{text}");
    }
    assert_eq!(entry.reason.as_deref(), Some("KernelBlocks"));
    // What the remedy says.
    fs::write(config, format!("{text}cgroup_handler: auto\n")).expect("written");
    lab.kill_daemon();
    lab.start_daemon();
    lab.entry("granted", "main", |entry| {
        entry.state == ContainerBudgetState::Applied
    })
    .await;
    fs::write(config, text).expect("written");
    lab.delete("granted").await;
    lab.delete("refused").await;
    lab.allocated_is(0).await;
}
