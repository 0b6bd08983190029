//! The same through a real kubelet and a real runtime, with some tens of pods: each gets its budget whatever moment the
//! daemon was killed at, and in the end nothing is left.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures::StreamExt as _;
use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_testing::real_node::{Options, Runtime};
use serde_json::json;

use crate::dice::Dice;
use crate::number;
use crate::on_node::{LONG, Lab, budget, can, pod, spec};

/// On each runtime.
const PODS: usize = 20;
/// So many at once: a real kubelet starts one or two a second.
const AT_ONCE: usize = 4;
/// Each tries until it may be real-time, as the daemon may be away while it starts.
const PROGRAM: [&str; 3] = [
    "sh",
    "-c",
    "until first-act 0; do sleep 0.1; done; exec sleep 3600",
];

/// Kills the daemon and starts it again, for ever.
async fn kills(lab: &Lab, seed: u64, count: &AtomicUsize) {
    let mut dice = Dice::new(seed, u64::MAX);
    loop {
        dice.pause(5_000).await;
        lab.kill_daemon();
        count.fetch_add(1, Ordering::Relaxed);
        dice.pause(500).await;
        lab.start_daemon();
    }
}

async fn live(lab: &Lab, seed: u64, number: usize) {
    let mut dice = Dice::new(seed, number as u64);
    let name = format!("pod-{number}");
    let wrong = dice.percent(15);
    let micros = 5_000 + i64::try_from(dice.below(2_000)).unwrap();
    let text = if wrong {
        "999999".to_owned()
    } else {
        micros.to_string()
    };
    let program: &[&str] = if wrong { &["sleep", "3600"] } else { &PROGRAM };
    let mut pod = pod(&name, &budget(&text), program);
    let some = json!({"cpu": "10m", "memory": "16Mi"});
    // CRI-O has to lower a guaranteed pod's oom_score_adj, which needs CAP_SYS_RESOURCE: not every test machine has that.
    let classes = if lab.runtime == Runtime::CriO { 2 } else { 3 };
    pod["spec"]["containers"][0]["resources"] = match dice.below(classes) {
        0 => json!({}),
        1 => json!({"requests": some}),
        _ => json!({"requests": some, "limits": some}),
    };
    lab.create(pod).await;
    if dice.percent(20) {
        // Its end comes while everything about it is under way.
        dice.pause(1_500).await;
    } else if wrong {
        lab.entry(&name, "main", |entry| {
            entry.state == ContainerBudgetState::Refused
        })
        .await;
    } else {
        lab.phase(&name, "Running").await;
        lab.entry(&name, "main", |entry| {
            entry.applied_microseconds == Some(micros)
        })
        .await;
        let begun = Instant::now();
        while !lab.log_of(&name).await.contains("SCHED_FIFO granted") {
            assert!(begun.elapsed() < LONG, "{name}: {}", lab.said());
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    lab.delete(&name).await;
}

/// The groups of pods that the kubelet has left, or that nobody has removed.
fn left(lab: &Lab) -> Vec<String> {
    let pods = lab.node.cgroup_root().join("kubepods");
    let places = [
        pods.clone(),
        pods.join("burstable"),
        pods.join("besteffort"),
    ];
    let entries = places.iter().flat_map(std::fs::read_dir).flatten();
    let names = entries.flatten().map(|entry| entry.file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    names.filter(|name| name.starts_with("pod")).collect()
}

pub async fn story(runtime: Runtime) {
    if !can(runtime) {
        return;
    }
    let seed = number("CHURN_SEED", u64::from(std::process::id()));
    println!("seed {seed}");
    let lab = Lab::without_daemon(runtime, Options::new(runtime), spec()).await;
    lab.start_daemon();
    let begun = Instant::now();
    let count = AtomicUsize::new(0);
    let all = futures::stream::iter(0..PODS)
        .map(|number| live(&lab, seed, number))
        .buffer_unordered(AT_ONCE)
        .collect::<()>();
    tokio::select! {
        () = all => {}
        () = kills(&lab, seed, &count) => unreachable!(),
    }
    // It may have been away at that moment.
    lab.kill_daemon();
    lab.start_daemon();
    lab.allocated_is(0).await;
    lab.wait_for("no entries", |told| {
        told.containers.is_empty() && told.allocated_microseconds == Some(0)
    })
    .await;
    let gone = Instant::now();
    while !left(&lab).is_empty() {
        assert!(gone.elapsed() < LONG, "{:?} are left", left(&lab));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    println!(
        "{PODS} pods through {runtime:?} in {:.1?}; the daemon was killed {} times",
        begun.elapsed(),
        count.load(Ordering::Relaxed)
    );
    lab.node.shutdown().await.expect("shutdown");
}
