//! Policy and priority in addition to a budget: programs that never ask for them have them, and those that never block are
//! ended where that is asked for.

use std::fs;
use std::time::Instant;

use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_core::rt::policy::{SCHED_FIFO, SCHED_OTHER, SCHED_RR};
use realtime_core::rt::request::{RUNTIME_US, SCHEDULER};
use realtime_node_daemon::sched::{self, Kind};
use serde_json::json;

use crate::eyes::{kubectl, prints, process, process_of, run, until};
use crate::on_node::{Lab, pod};

/// `kubectl exec`: what is started so belongs to the container.
const WITHIN_SECONDS: u64 = 20;
/// The signal of RLIMIT_RTTIME (signal(7)).
const SIGXCPU: i32 = 24;
/// And the one that comes after it.
const SIGKILL: i32 = 9;

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

/// What a program may run without ever blocking, microseconds: a few ticks of a kernel with 250 a second.
const RTTIME_US: u64 = 20_000;
/// So much longer may one that doesn't heed the signal.
const AFTER_SIGNAL_US: u64 = 1_000_000;

/// A limit of a process, soft and hard, as the kernel tells it (proc_pid_limits(5)).
fn limit_of(pid: i32, name: &str) -> Option<[String; 2]> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace().map(str::to_owned);
    Some([words.next()?, words.next()?])
}

/// What never blocks is ended: it has the limit, and what is started in it has it as well.
pub async fn programs_that_never_block(lab: &Lab) {
    let scheduler = format!("fifo:50,rttime-us={RTTIME_US}");
    let annotations = json!({RUNTIME_US: "20000", SCHEDULER: scheduler});
    let limited = pod("limited", &annotations, &["sleep", "7105"]);
    run(lab, limited, "Running").await;
    let main = process_of(lab, &["sleep", "7105"]).await;
    let wanted = [RTTIME_US, RTTIME_US + AFTER_SIGNAL_US].map(|micros| micros.to_string());
    until(lab, "the limits of its time", || {
        limit_of(main.pid, "Max realtime timeout").filter(|has| *has == wanted)
    })
    .await;
    let has = sched::get(main.pid).expect("attributes");
    assert_eq!((has.policy, has.priority), (Kind::Fifo, 50));
    let entry = lab
        .entry("limited", "main", |entry| {
            entry.state == ContainerBudgetState::Applied
        })
        .await;
    assert_eq!((entry.reason, entry.message), (None, None));
    lab.delete("limited").await;

    // The signal ends it at once; its shell says so in words, too.
    let ends = "exec 2>/dev/null; sh -c 'while :; do :; done'; echo $(($? - 128)); exec sleep 7106";
    let ends = pod("ends", &annotations, &["sh", "-c", ends]);
    run(lab, ends, "Running").await;
    process_of(lab, &["sleep", "7106"]).await;
    prints(lab, "ends", "main", &format!("{SIGXCPU}\n")).await;
    lab.delete("ends").await;

    // A container's first process is its init, and the kernel spares an init every signal that it doesn't heed: it is
    // killed when it has run for the second that is left to it, of which its budget gives a tenth each second.
    let annotations = json!({RUNTIME_US: "100000", SCHEDULER: scheduler});
    let init = pod("init", &annotations, &["sh", "-c", "while :; do :; done"]);
    run(lab, init, "Failed").await;
    let ended = lab.pods.get("init").await.expect("the pod").status;
    let statuses = ended.and_then(|status| status.container_statuses);
    let state = statuses.expect("containers").remove(0).state;
    let ended = state.and_then(|state| state.terminated).expect("its end");
    assert_eq!(ended.exit_code, 128 + SIGKILL);
    lab.delete("init").await;

    // Without it there is none.
    let annotations = json!({RUNTIME_US: "20000", SCHEDULER: "fifo:50"});
    let unlimited = pod("unlimited", &annotations, &["sleep", "7107"]);
    run(lab, unlimited, "Running").await;
    let main = process_of(lab, &["sleep", "7107"]).await;
    until(lab, "the policy alone", || {
        let has = sched::get(main.pid).ok()?;
        (has.policy == Kind::Fifo).then_some(())
    })
    .await;
    lab.entry("unlimited", "main", |entry| {
        entry.policy.as_deref() == Some("fifo")
    })
    .await;
    let time = limit_of(main.pid, "Max realtime timeout");
    assert_eq!(time, Some(["unlimited", "unlimited"].map(str::to_owned)));
    lab.delete("unlimited").await;
    lab.allocated_is(0).await;
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
