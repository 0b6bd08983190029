//! What the daemon is as a program of its node: where it runs, and what it serves.

use std::fs;
use std::path::Path;

use kube::Api;
use kube::api::{Patch, PatchParams};
use realtime_core::api::RealtimeNode;
use realtime_core::rt::policy::SCHED_OTHER;
use serde_json::json;

use crate::eyes::until;
use crate::on_node::{Lab, METRICS};
use crate::quiet::process;

/// `--metrics-address`.
pub async fn serves_its_metrics(lab: &Lab) {
    let (address, port) = METRICS.split_once(':').expect("a port");
    let ask = format!(
        "exec 3<>/dev/tcp/{address}/{port} && printf 'GET /metrics HTTP/1.1\\r\\nHost: node\\r\\nConnection: close\\r\\n\\r\\n' >&3 && cat <&3"
    );
    let answer = lab
        .node
        .exec_in_namespaces("bash", &["-c", &ask])
        .await
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(
        answer.contains("realtime_node_capacity_seconds "),
        "{answer}"
    );
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
