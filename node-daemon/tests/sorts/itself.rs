//! What the daemon is as a program of its node: where it runs, and what it serves.

use std::fs;
use std::path::Path;

use kube::Api;
use kube::api::{Patch, PatchParams};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_core::rt::policy::SCHED_OTHER;
use realtime_core::rt::request::{RUNTIME_US, SCHEDULER};
use serde_json::json;

use crate::eyes::{process_of, run, until};
use crate::on_node::{Lab, METRICS, budget, pod};
use crate::quiet::process;

/// `--metrics-address`, while one pod has what it asked for and another one doesn't.
pub async fn serves_its_metrics(lab: &Lab) {
    let annotations = json!({RUNTIME_US: "20000", SCHEDULER: "fifo:43"});
    let command = ["sleep", "7701"];
    run(lab, pod("measured", &annotations, &command), "Running").await;
    let much = pod("much", &budget("999999"), &["sleep", "7702"]);
    run(lab, much, "Running").await;
    let applied = lab
        .entry("measured", "main", |entry| {
            entry.state == ContainerBudgetState::Applied
        })
        .await;
    assert_eq!(applied.reason, None);
    let refused = lab
        .entry("much", "main", |entry| {
            entry.state == ContainerBudgetState::Refused
        })
        .await;
    let reason = refused.reason.expect("a reason");
    let thread = inside(process_of(lab, &command).await.pid);
    let answer = metrics(lab).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    let measured = r#"namespace="default",pod="measured",container="main""#;
    let much = measured.replace("measured", "much");
    for line in [
        "realtime_node_capacity_seconds 0.25".to_owned(),
        "realtime_node_allocated_seconds 0.02".to_owned(),
        r#"realtime_node_budget_mode{mode="V1Budget"} 1"#.to_owned(),
        r#"realtime_containers{state="Applied"} 1"#.to_owned(),
        r#"realtime_containers{state="Refused"} 1"#.to_owned(),
        format!("realtime_pod_budget_seconds{{{measured}}} 0.02"),
        format!("realtime_pod_budget_applied_seconds{{{measured}}} 0.02"),
        format!(r#"realtime_container_state{{{measured},state="Applied",reason=""}} 1"#),
        format!("realtime_threads{{{measured}}} 1"),
        format!(r#"realtime_threads_by_policy{{{measured},policy="fifo",priority="43"}} 1"#),
        format!(r#"realtime_thread_priority{{{measured},thread="{thread}",policy="fifo"}} 43"#),
        format!("realtime_pod_budget_seconds{{{much}}} 0.999999"),
        format!(r#"realtime_container_state{{{much},state="Refused",reason="{reason}"}} 1"#),
    ] {
        assert!(body.lines().any(|one| one == line), "{line}\n{body}");
    }
    // It has none.
    let none = format!("realtime_pod_budget_applied_seconds{{{much}}}");
    assert!(!body.contains(&none), "{body}");
    for name in ["measured", "much"] {
        lab.delete(name).await;
    }
    lab.allocated_is(0).await;
    lab.wait_for("silence of both", |told| told.containers.is_empty())
        .await;
    // What is gone is in none of the lines.
    let answer = metrics(lab).await;
    assert!(!answer.contains("pod=\""), "{answer}");
}

/// A process's id in the node's own namespace, where the daemon is (proc_pid_status(5)): one before the container's.
fn inside(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = text.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let ids: Vec<&str> = line.expect("NSpid").split_whitespace().collect();
    ids[ids.len() - 2].to_owned()
}

/// The answer of `GET /metrics`.
async fn metrics(lab: &Lab) -> String {
    let (address, port) = METRICS.split_once(':').expect("a port");
    let ask = format!(
        "exec 3<>/dev/tcp/{address}/{port} && printf 'GET /metrics HTTP/1.1\\r\\nHost: node\\r\\nConnection: close\\r\\n\\r\\n' >&3 && cat <&3"
    );
    let ask = ["-c", &ask];
    let answer = lab.node.exec_in_namespaces("bash", &ask).await;
    answer.expect("an answer")
}

/// With the profile's CPUs: every thread on the reserved ones, at normal priority. Ends with a node without CPUs.
pub async fn keeps_off_isolated_cpus(lab: &Lab) {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if cpus < 2 {
        realtime_testing::skip("one CPU can't be split into reserved and isolated ones");
        return;
    }
    let nodes: Api<RealtimeNode> = Api::all(lab.client.clone());
    let set = async |cpu| {
        let patch = Patch::Merge(json!({"spec": {"cpu": cpu}}));
        let name = &lab.node.options().node_name;
        nodes
            .patch(name, &PatchParams::default(), &patch)
            .await
            .expect("set");
    };
    let everywhere = allowed(lab);
    assert!(everywhere.iter().all(|cpus| cpus != "1"), "{everywhere:?}");
    set(json!({"reserved": "1", "isolated": "0", "isolation": "None", "smt": "Keep", "power": "Balanced",
        "balanceInterruptsOnIsolated": true}))
    .await;
    until(lab, "every thread on CPU 1", || {
        allowed(lab).iter().all(|cpus| cpus == "1").then_some(())
    })
    .await;
    // The nice value that it was started with, as this test was.
    let own = fs::read_to_string("/proc/self/stat").expect("a stat");
    for task in tasks(lab) {
        let Ok(stat) = fs::read_to_string(task.join("stat")) else {
            continue;
        };
        let normal = (nice_and_policy(&own).0, SCHED_OTHER.to_string());
        assert_eq!(nice_and_policy(&stat), normal, "{stat}");
    }
    set(json!(null)).await;
}

/// Fields 19 and 41 of proc_pid_stat(5).
fn nice_and_policy(stat: &str) -> (String, String) {
    let (_, fields) = stat.rsplit_once(") ").expect("a stat");
    let fields: Vec<&str> = fields.split(' ').collect();
    (fields[19 - 3].to_owned(), fields[41 - 3].to_owned())
}

fn tasks(lab: &Lab) -> Vec<std::path::PathBuf> {
    let folder = process(lab).expect("the daemon").join("task");
    let tasks = fs::read_dir(folder).expect("its threads").flatten();
    tasks.map(|task| task.path()).collect()
}

/// The CPUs on which each of its threads may run.
fn allowed(lab: &Lab) -> Vec<String> {
    let of = |task: &Path| {
        let text = fs::read_to_string(task.join("status")).ok()?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some(line.trim().to_owned())
    };
    tasks(lab).iter().filter_map(|task| of(task)).collect()
}
