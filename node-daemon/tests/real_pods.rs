//! Annotated pods on a real node, started by a real kubelet through containerd and CRI-O, with the daemon under the rights
//! that it ships with: what they ask for is there before their first instruction, is told, and goes with them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod on_node;

use std::time::{Duration, Instant};

use on_node::{CAPACITY_US, Lab, budget, can, container, pod, spec};
use realtime_core::api::realtime_node::{BudgetMode, ContainerBudgetState};
use realtime_testing::real_node::Runtime;
use serde_json::json;

async fn the_main_job(runtime: Runtime) {
    if !can(runtime) {
        return;
    }
    let lab = Lab::start(runtime, spec()).await;
    let told = lab
        .wait_for("the capacity", |told| {
            told.capacity_microseconds == Some(CAPACITY_US)
        })
        .await;
    assert_eq!(told.mode, Some(BudgetMode::V1Budget));

    // Its first act is to ask for SCHED_FIFO, and it doesn't try twice.
    lab.run(
        pod("stays", &budget("25000"), &["first-act", "3600"]),
        "Running",
    )
    .await;
    let entry = lab
        .entry("stays", "main", |entry| {
            entry.state == ContainerBudgetState::Applied
        })
        .await;
    assert_eq!(entry.applied_microseconds, Some(25_000));
    assert_eq!(entry.assigned_before_start, Some(true), "{}", lab.said());
    assert_eq!(lab.words_of("stays").await, "SCHED_FIFO granted\n");
    let event = lab.event("stays", "RealtimeApplied").await;
    assert!(event.message.unwrap().contains("25000 µs"));

    // Two containers with budgets of their own, and one that never asked.
    let mut two = pod(
        "two",
        &json!({
            "realtime.openshift.io/runtime-us.main": "10000",
            "realtime.openshift.io/runtime-us.second": "20000",
        }),
        &["first-act", "3600"],
    );
    two["spec"]["containers"] = json!([
        container("main", &["first-act", "3600"]),
        container("second", &["first-act", "3600"]),
        container("third", &["sleep", "3600"]),
    ]);
    lab.run(two, "Running").await;
    lab.entry("two", "second", |entry| {
        entry.applied_microseconds == Some(20_000)
    })
    .await;
    lab.allocated_is(55_000).await;

    // One mistake: nothing, and a reason.
    lab.run(
        pod("wrong", &budget("999999"), &["sleep", "3600"]),
        "Running",
    )
    .await;
    let entry = lab
        .entry("wrong", "main", |entry| {
            entry.state == ContainerBudgetState::Refused
        })
        .await;
    assert_eq!(entry.reason.as_deref(), Some("InvalidRequest"));
    let event = lab.event("wrong", "RealtimeRefused").await;
    assert!(event.message.unwrap().contains("150000"));

    // What goes gives back what it had.
    lab.delete("two").await;
    lab.allocated_is(25_000).await;
    lab.delete("stays").await;
    lab.delete("wrong").await;
    lab.allocated_is(0).await;
    lab.wait_for("no entries", |told| {
        told.containers.is_empty() && told.allocated_microseconds == Some(0)
    })
    .await;
    lab.node.shutdown().await.expect("shutdown");
}

/// A container that failed once keeps its group beside that of the one that came after it, on CRI-O until it is removed. A
/// daemon that is started anew knows neither by its own memory.
async fn a_container_that_was_started_again_keeps_its_budget(runtime: Runtime) {
    if !can(runtime) {
        return;
    }
    let lab = Lab::start(runtime, spec()).await;
    let script = "[ -e /scratch/once ] && exec sleep 3600; touch /scratch/once; exit 1";
    let mut again = pod("again", &budget("20000"), &["sh", "-c", script]);
    again["spec"]["restartPolicy"] = json!("Always");
    again["spec"]["volumes"] = json!([{"name": "scratch", "emptyDir": {}}]);
    again["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "scratch", "mountPath": "/scratch"}]);
    lab.create(again).await;
    let begun = Instant::now();
    loop {
        let pod = lab.pods.get("again").await.expect("pod");
        let statuses = pod.status.and_then(|status| status.container_statuses);
        let status = statuses.and_then(|all| all.into_iter().next());
        if status.is_some_and(|one| one.restart_count == 1 && one.ready) {
            break;
        }
        assert!(begun.elapsed() < on_node::LONG, "{}", lab.said());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (pod, running) = lab.groups_of("again").await;
    let has = || {
        let text = std::fs::read_to_string(running.join("cpu.rt_runtime_us")).expect("its budget");
        text.trim().parse::<i64>().expect("a number")
    };
    let groups = std::fs::read_dir(&pod).expect("the pod's group");
    let groups = groups.filter(|entry| entry.as_ref().expect("an entry").path().is_dir());
    println!("{runtime:?}: {} groups in the pod's", groups.count());
    for _ in 0..3 {
        lab.kill_daemon();
        lab.start_daemon();
        // Long enough for its first rounds.
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert_eq!(has(), 20_000, "{}", lab.said());
    }
    lab.delete("again").await;
    lab.allocated_is(0).await;
    lab.node.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_started_again_keeps_its_budget_on_containerd() {
    a_container_that_was_started_again_keeps_its_budget(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_started_again_keeps_its_budget_on_cri_o() {
    a_container_that_was_started_again_keeps_its_budget(Runtime::CriO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_job_on_containerd() {
    the_main_job(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_job_on_cri_o() {
    the_main_job(Runtime::CriO).await;
}
