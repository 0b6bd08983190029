//! The numbers of a node's real-time pods as Prometheus reads them (text format 0.0.4). Names follow its rules: base
//! units (seconds, so a budget of 25000 microseconds is 0.025), counters end with `_total`. The number of lines is bounded.

mod scheduling;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Group, Thread, Throttled};
use crate::api::realtime_node::{
    BudgetMode, ContainerBudget, ContainerBudgetState, NodePodBudgetStatus,
};

/// More containers are counted, and not listed.
pub const MAX_CONTAINERS: usize = 1_000;
/// More threads are counted, and not listed.
pub const MAX_THREADS: usize = 1_000;
/// Of one container, so that none takes the others' lines.
pub const MAX_THREADS_OF_CONTAINER: usize = 32;
/// The content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text.
///
/// `after_start`: how many containers got their budget after they had begun, since the daemon's start. `threads`: absent
/// where they could not be read. `throttled`: absent where the kernel doesn't tell.
pub fn text(
    status: &NodePodBudgetStatus,
    after_start: u64,
    threads: Option<&[Group]>,
    throttled: Option<&[Throttled]>,
) -> String {
    let mut text = String::new();
    node(&mut text, status);
    containers(&mut text, status);
    family(
        &mut text,
        "realtime_containers_started_before_budget_total",
        "counter",
        "Containers whose program began before its budget was in place, since the start of the daemon.",
        [(vec![], after_start.to_string())],
    );
    if let Some(groups) = threads {
        of_threads(&mut text, groups);
        scheduling::add(&mut text, groups, throttled);
    }
    text
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// One family: its help, its type, its lines. None without lines.
fn family<'a>(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    lines: impl IntoIterator<Item = (Labels<'a>, String)>,
) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_none() {
        return;
    }
    // Writing into a String never fails.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in lines {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let _ = if labels.is_empty() {
            writeln!(text, "{name} {value}")
        } else {
            writeln!(text, "{name}{{{}}} {value}", labels.join(","))
        };
    }
}

/// A label's value, as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn node(text: &mut String, status: &NodePodBudgetStatus) {
    let seconds = |micros: Option<i64>| micros.map(|micros| (vec![], seconds(micros)));
    family(
        text,
        "realtime_node_capacity_seconds",
        "gauge",
        "Real-time budget for all pods of the node, seconds of each second on each CPU.",
        seconds(status.capacity_microseconds),
    );
    family(
        text,
        "realtime_node_allocated_seconds",
        "gauge",
        "Real-time budget given out to pods, seconds of each second on each CPU.",
        seconds(status.allocated_microseconds),
    );
    let modes = [
        BudgetMode::V1Budget,
        BudgetMode::V2Policy,
        BudgetMode::Blocked,
        BudgetMode::Off,
    ];
    let mode = status.mode.iter().flat_map(|current| {
        modes.map(|mode| {
            let name = match mode {
                BudgetMode::V1Budget => "V1Budget",
                BudgetMode::V2Policy => "V2Policy",
                BudgetMode::Blocked => "Blocked",
                BudgetMode::Off => "Off",
            };
            (
                vec![("mode", name)],
                i32::from(mode == *current).to_string(),
            )
        })
    });
    family(
        text,
        "realtime_node_budget_mode",
        "gauge",
        "1 for the mode that was found, 0 for the others.",
        mode,
    );
}

fn state_name(state: ContainerBudgetState) -> &'static str {
    match state {
        ContainerBudgetState::Applied => "Applied",
        ContainerBudgetState::Refused => "Refused",
        ContainerBudgetState::Pending => "Pending",
    }
}

fn containers(text: &mut String, status: &NodePodBudgetStatus) {
    let all = [
        ContainerBudgetState::Applied,
        ContainerBudgetState::Refused,
        ContainerBudgetState::Pending,
    ];
    family(
        text,
        "realtime_containers",
        "gauge",
        "Containers that ask for real-time scheduling, by state.",
        all.map(|state| {
            let count = status
                .containers
                .iter()
                .filter(|one| one.state == state)
                .count();
            (vec![("state", state_name(state))], count.to_string())
        }),
    );
    let listed: Vec<&ContainerBudget> = status.containers.iter().take(MAX_CONTAINERS).collect();
    family(
        text,
        "realtime_pod_budget_seconds",
        "gauge",
        "Real-time budget that a container asks for, seconds of each second on each CPU.",
        listed
            .iter()
            .filter_map(|one| Some((labels(one), seconds(one.requested_microseconds?)))),
    );
    family(
        text,
        "realtime_pod_budget_applied_seconds",
        "gauge",
        "Real-time budget that a container has in the kernel, seconds of each second on each CPU.",
        listed
            .iter()
            .filter_map(|one| Some((labels(one), seconds(one.applied_microseconds?)))),
    );
    family(
        text,
        "realtime_container_state",
        "gauge",
        "1 for the state of a container that asks for real-time scheduling, with its reason.",
        listed.iter().map(|one| {
            let mut labels = labels(one);
            labels.push(("state", state_name(one.state)));
            labels.push(("reason", one.reason.as_deref().unwrap_or_default()));
            (labels, "1".to_owned())
        }),
    );
}

fn labels(one: &ContainerBudget) -> Labels<'_> {
    vec![
        ("namespace", one.namespace.as_str()),
        ("pod", one.pod.as_str()),
        ("container", one.container.as_str()),
    ]
}

/// Namespace, pod and container; of groups that nobody knows, the pod's uid and the container's id.
fn key(group: &Group) -> [&str; 3] {
    match &group.identity {
        Some(names) => [
            names.namespace.as_str(),
            names.pod.as_str(),
            names.container.as_deref().unwrap_or_default(),
        ],
        None => ["", group.pod_uid.as_str(), group.id.as_str()],
    }
}

/// Threads by container.
fn of_threads(text: &mut String, groups: &[Group]) {
    let mut known: BTreeMap<[&str; 3], Vec<&Thread>> = BTreeMap::new();
    for group in groups {
        known.entry(key(group)).or_default().extend(&group.threads);
    }
    let total: usize = known.values().map(Vec::len).sum();
    let of = |key: &[&'_ str; 3]| {
        [
            ("namespace", key[0].to_owned()),
            ("pod", key[1].to_owned()),
            ("container", key[2].to_owned()),
        ]
    };
    let mut counts = Vec::new();
    let mut lines = Vec::new();
    for (key, threads) in &mut known {
        threads.sort_by_key(|thread| thread.key);
        if counts.len() < MAX_CONTAINERS {
            counts.push((of(key), threads.len().to_string()));
        }
        for thread in threads.iter().take(MAX_THREADS_OF_CONTAINER) {
            if lines.len() < MAX_THREADS {
                lines.push((
                    of(key),
                    thread.key.tid.to_string(),
                    nanoseconds(thread.used_ns),
                ));
            }
        }
    }
    let omitted = total - lines.len();
    family(
        text,
        "realtime_threads",
        "gauge",
        "Threads with SCHED_FIFO, SCHED_RR or SCHED_DEADLINE.",
        counts
            .iter()
            .map(|(labels, value)| (borrowed(labels), value.clone())),
    );
    family(
        text,
        "realtime_threads_omitted",
        "gauge",
        "Real-time threads that are counted, and not listed by realtime_thread_cpu_seconds_total: there are too many.",
        [(vec![], omitted.to_string())],
    );
    family(
        text,
        "realtime_thread_cpu_seconds_total",
        "counter",
        "CPU time that a real-time thread has used since it was made.",
        lines.iter().map(|(labels, tid, value)| {
            let mut labels = borrowed(labels);
            labels.push(("thread", tid));
            (labels, value.clone())
        }),
    );
}

fn borrowed<'a>(labels: &'a [(&'static str, String); 3]) -> Labels<'a> {
    labels
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}

/// Microseconds as seconds, exactly.
fn seconds(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    trimmed(&format!(
        "{sign}{}.{:06}",
        micros / 1_000_000,
        micros % 1_000_000
    ))
}

/// Nanoseconds as seconds, exactly.
fn nanoseconds(nanos: u64) -> String {
    trimmed(&format!(
        "{}.{:09}",
        nanos / 1_000_000_000,
        nanos % 1_000_000_000
    ))
}

fn trimmed(number: &str) -> String {
    number
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}
