//! What the kernel says of a node's containers: each process is found by its command line, its group by
//! `/proc/<pid>/cgroup`, and budgets are read at each level. Asks the daemon nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{LogParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use realtime_testing::programs::Program;
use serde_json::Value;

use crate::on_node::{LONG, Lab};

/// How often is looked at what no watch tells.
const LOOK: Duration = Duration::from_millis(20);
const RUNTIME: &str = "cpu.rt_runtime_us";

/// A process of the node, as it is seen out here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub group: PathBuf,
}

/// Waits until something is there.
pub async fn until<T>(lab: &Lab, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(
            begun.elapsed() < LONG / 2,
            "{what}: it does not come\n{}",
            lab.said()
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// The node's process with that command line; of several one.
pub fn process(lab: &Lab, command: &[&str]) -> Option<Process> {
    let line = format!("{}\0", command.join("\0"));
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.find_map(|pid| {
        let same = fs::read(format!("/proc/{pid}/cmdline")).ok()? == line.as_bytes();
        let group = same.then(|| group_of(lab, pid)).flatten()?;
        Some(Process { pid, group })
    })
}

/// [`process`], once it is there.
pub async fn process_of(lab: &Lab, command: &[&str]) -> Process {
    until(lab, &command.join(" "), || process(lab, command)).await
}

/// The group of a process of this node, by the kernel's word.
fn group_of(lab: &Lab, pid: i32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?;
        controllers
            .split(',')
            .any(|name| name == "cpu")
            .then(|| fields.next())?
    })?;
    let root = lab.node.cgroup_root();
    let group = root.parent()?.join(path.trim_start_matches('/'));
    group.starts_with(&root).then_some(group)
}

/// What a group has, microseconds of each second; a group that is gone has none.
pub fn budget_of(group: &Path) -> Option<i64> {
    fs::read_to_string(group.join(RUNTIME))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Waits until the process's group has that.
pub async fn has(lab: &Lab, command: &[&str], micros: i64) -> Process {
    let what = format!("{} with {micros}", command.join(" "));
    until(lab, &what, || {
        process(lab, command).filter(|process| budget_of(&process.group) == Some(micros))
    })
    .await
}

fn below(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

/// The first group below this one that has another budget than its children together.
fn uneven(group: &Path) -> Option<String> {
    let children = below(group);
    if children.is_empty() {
        return None;
    }
    let of_children: i64 = children.iter().filter_map(|child| budget_of(child)).sum();
    let own = budget_of(group).unwrap_or_default();
    if own != of_children {
        return Some(format!(
            "{} has {own}, its children {of_children}",
            group.display()
        ));
    }
    children.iter().find_map(|child| uneven(child))
}

/// Waits until every group of pods has what its children have together.
pub async fn sums_hold(lab: &Lab) {
    let pods = lab.node.cgroup_root().join("kubepods");
    let begun = Instant::now();
    while let Some(uneven) = uneven(&pods) {
        assert!(begun.elapsed() < LONG, "{uneven}\n{}", lab.said());
        tokio::time::sleep(LOOK).await;
    }
}

/// What a container prints.
pub async fn log(lab: &Lab, pod: &str, container: &str) -> String {
    let params = LogParams {
        container: Some(container.to_owned()),
        ..LogParams::default()
    };
    lab.pods.logs(pod, &params).await.unwrap_or_default()
}

/// Waits until a container has printed that and nothing else: the kubelet may need a moment to find its log.
pub async fn prints(lab: &Lab, pod: &str, container: &str, text: &str) {
    let begun = Instant::now();
    loop {
        let log = log(lab, pod, container).await;
        if log == text {
            return;
        }
        assert!(
            (log.is_empty() || log.starts_with("unable")) && begun.elapsed() < LONG,
            "{pod}/{container} prints {log:?}\n{}",
            lab.said()
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// Runs a pod; when it doesn't, what the node says of it is told.
pub async fn run(lab: &Lab, pod: Value, phase: &'static str) {
    let name = lab.create(pod).await;
    let reached = await_condition(lab.pods.clone(), &name, |pod: Option<&Pod>| {
        let now = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
        now == Some(phase) || matches!(now, Some("Succeeded" | "Failed"))
    });
    let waited = tokio::time::timeout(LONG, reached).await;
    let object = lab.pods.get(&name).await.expect("the pod");
    let status = object.status.unwrap_or_default();
    if waited.is_ok() && status.phase.as_deref() == Some(phase) {
        return;
    }
    let told = lab.wait_for("any word", |_| true).await;
    assert_eq!(
        status.phase.as_deref(),
        Some(phase),
        "{name}: {:#?}\n{told:#?}\n{}",
        status.container_statuses,
        lab.said()
    );
}

/// Changes annotations of a pod; `null` takes one away.
pub async fn annotate(lab: &Lab, pod: &str, annotations: Value) {
    let patch = serde_json::json!({"metadata": {"annotations": annotations}});
    lab.pods
        .patch(pod, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("annotated");
}

/// kubectl, as the administrator.
pub async fn kubectl(lab: &Lab, arguments: &[&str]) -> Output {
    let program = lab.node.program(Program::Kubectl).expect("kubectl");
    tokio::process::Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", lab.node.admin_kubeconfig())
        .kill_on_drop(true)
        .output()
        .await
        .expect("kubectl")
}
