//! Policy and priority in addition to a budget: programs that never ask for them have them.

use std::time::Instant;

use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_core::rt::policy::{SCHED_FIFO, SCHED_OTHER, SCHED_RR};
use realtime_core::rt::request::{RUNTIME_US, SCHEDULER};
use realtime_node_daemon::sched::{self, Kind};
use serde_json::json;

use crate::eyes::{kubectl, process, process_of, run, until};
use crate::on_node::{Lab, pod};

/// `kubectl exec`: what is started so belongs to the container.
const WITHIN_SECONDS: u64 = 20;

/// Policy and priority of a program as it sees itself: fields 41 and 40 of its stat (proc_pid_stat(5)).
fn seen_by_itself(stat: &str) -> (u32, u32) {
    let after_name: Vec<&str> = stat
        .rsplit_once(") ")
        .expect("a stat")
        .1
        .split_whitespace()
        .collect();
    let field = |number: usize| after_name[number - 3].parse().expect("a number");
    (field(41), field(40))
}

/// All of it.
pub async fn programs_that_never_ask(lab: &Lab) {
    for (name, scheduler, wanted) in [
        ("looks-fifo", "fifo:50", (SCHED_FIFO, 50)),
        ("looks-rr", "rr:7", (SCHED_RR, 7)),
        ("looks-other", "other", (SCHED_OTHER, 0)),
    ] {
        let annotations = json!({RUNTIME_US: "20000", SCHEDULER: scheduler});
        run(
            lab,
            pod(name, &annotations, &["cat", "/proc/self/stat"]),
            "Succeeded",
        )
        .await;
        let stat = lab.log_of(name).await;
        assert_eq!(
            seen_by_itself(&stat),
            wanted,
            "{name}: {stat}\n{}",
            lab.said()
        );
        lab.delete(name).await;
    }

    let annotations = json!({RUNTIME_US: "20000", SCHEDULER: "fifo:50"});
    run(
        lab,
        pod("fifo", &annotations, &["sleep", "7101"]),
        "Running",
    )
    .await;
    let entry = lab
        .entry("fifo", "main", |entry| {
            entry.state == ContainerBudgetState::Applied
        })
        .await;
    assert_eq!(
        (
            entry.policy.as_deref(),
            entry.priority,
            entry.applied_microseconds
        ),
        (Some("fifo"), Some(50), Some(20_000))
    );
    let main = process_of(lab, &["sleep", "7101"]).await;
    let has = sched::get(main.pid).expect("attributes");
    assert_eq!((has.policy, has.priority), (Kind::Fifo, 50));

    // What is started in it later.
    let begun = Instant::now();
    let exec = "sleep 7102 >/dev/null 2>&1 &";
    let exec = kubectl(lab, &["exec", "fifo", "--", "sh", "-c", exec]).await;
    assert!(exec.status.success(), "{exec:?}");
    until(lab, "the policy of what kubectl exec started", || {
        let process = process(lab, &["sleep", "7102"])?;
        sched::get(process.pid)
            .ok()
            .filter(|has| (has.policy, has.priority) == (Kind::Fifo, 50))
    })
    .await;
    assert!(
        begun.elapsed().as_secs() < WITHIN_SECONDS,
        "{:?}",
        begun.elapsed()
    );
    lab.delete("fifo").await;

    // Children of its threads begin as SCHED_OTHER.
    let annotations = json!({RUNTIME_US: "20000", SCHEDULER: "fifo:30,reset-on-fork"});
    let reset = ["sh", "-c", "cat /proc/self/stat; exec sleep 7103"];
    run(lab, pod("resets", &annotations, &reset), "Running").await;
    let main = process_of(lab, &["sleep", "7103"]).await;
    let has = sched::get(main.pid).expect("attributes");
    assert_eq!(
        (has.policy, has.priority, has.reset_on_fork),
        (Kind::Fifo, 30, true)
    );
    let stat = lab.log_of("resets").await;
    assert_eq!(seen_by_itself(&stat), (SCHED_OTHER, 0), "{stat}");
    lab.delete("resets").await;

    // The kernel would refuse each of its threads.
    let annotations = json!({SCHEDULER: "fifo:50"});
    run(
        lab,
        pod("poor", &annotations, &["sleep", "7104"]),
        "Running",
    )
    .await;
    let entry = lab
        .entry("poor", "main", |entry| {
            entry.state == ContainerBudgetState::Refused
        })
        .await;
    assert_eq!(entry.reason.as_deref(), Some("InvalidRequest"));
    let words = entry.message.expect("a message");
    assert!(
        words.contains("needs a budget") && words.contains(RUNTIME_US),
        "{words}"
    );
    lab.delete("poor").await;
    lab.allocated_is(0).await;
}
