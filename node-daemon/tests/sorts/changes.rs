//! Annotations that change while the container runs, and budgets that somebody else changes.

use std::fs;

use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_core::rt::request::{REALTIME, RT_RUNTIME_US, RUNTIME_US};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::eyes::{annotate, budget_of, has, prints, process_of, run, sums_hold};
use crate::on_node::{Lab, budget, pod};

/// All of it.
pub async fn annotations_and_others(lab: &Lab) {
    // No thread of it is real-time.
    let quiet = ["sleep", "7201"];
    run(lab, pod("quiet", &budget("20000"), &quiet), "Running").await;
    for micros in ["30000", "15000"] {
        annotate(lab, "quiet", json!({RT_RUNTIME_US: micros})).await;
        let wanted = micros.parse().expect("a number");
        has(lab, &quiet, wanted).await;
        lab.entry("quiet", "main", |entry| {
            entry.applied_microseconds == Some(wanted) && entry.reason.is_none()
        })
        .await;
    }
    annotate(lab, "quiet", json!({REALTIME: "false"})).await;
    has(lab, &quiet, 0).await;
    no_entry(lab, "quiet").await;
    annotate(lab, "quiet", json!({REALTIME: "true"})).await;
    has(lab, &quiet, 15_000).await;
    annotate(
        lab,
        "quiet",
        json!({REALTIME: Value::Null, RT_RUNTIME_US: Value::Null}),
    )
    .await;
    has(lab, &quiet, 0).await;
    no_entry(lab, "quiet").await;
    annotate(lab, "quiet", budget("20000")).await;
    let process = has(lab, &quiet, 20_000).await;

    // Somebody else's hand.
    for micros in ["5000", "0"] {
        fs::write(process.group.join("cpu.rt_runtime_us"), micros).expect("written");
        has(lab, &quiet, 20_000).await;
    }
    let class = lab.node.cgroup_root().join("kubepods/besteffort");
    fs::write(class.join("cpu.rt_runtime_us"), "90000").expect_err("its parent has less");
    let pods = lab.node.cgroup_root().join("kubepods");
    fs::write(pods.join("cpu.rt_runtime_us"), "90000").expect("written");
    lab.allocated_is(20_000).await;
    sums_hold(lab).await;
    lab.delete("quiet").await;

    living(lab).await;
    lab.allocated_is(0).await;
}

/// A budget isn't lowered under living real-time threads; when they have ended, it is.
async fn living(lab: &Lab) {
    let command = ["sh", "-c", "first-act 7203; exec sleep 7204"];
    let annotations = json!({RUNTIME_US: "40000"});
    run(lab, pod("lives", &annotations, &command), "Running").await;
    prints(lab, "lives", "main", "SCHED_FIFO granted\n").await;
    let act = ["first-act", "7203"];
    annotate(lab, "lives", json!({RUNTIME_US: "25000"})).await;
    let kept = lab
        .entry("lives", "main", |entry| {
            entry.reason.as_deref() == Some("BudgetKept")
        })
        .await;
    assert_eq!(
        (
            kept.state,
            kept.requested_microseconds,
            kept.applied_microseconds
        ),
        (ContainerBudgetState::Applied, Some(25_000), Some(40_000))
    );
    lab.event("lives", "BudgetKept").await;
    has(lab, &act, 40_000).await;
    annotate(lab, "lives", json!({RUNTIME_US: "50000"})).await;
    let process = has(lab, &act, 50_000).await;
    // Taken away: it stays as long as it is needed.
    annotate(lab, "lives", json!({RUNTIME_US: Value::Null})).await;
    no_entry(lab, "lives").await;
    assert_eq!(budget_of(&process.group), Some(50_000));
    let pid = Pid::from_raw(process.pid).expect("a pid");
    kill_process(pid, Signal::KILL).expect("killed");
    process_of(lab, &["sleep", "7204"]).await;
    has(lab, &["sleep", "7204"], 0).await;
    lab.delete("lives").await;
}

async fn no_entry(lab: &Lab, pod: &str) {
    lab.wait_for("an entry's end", |told| {
        told.containers.iter().all(|entry| entry.pod != pod)
    })
    .await;
}
