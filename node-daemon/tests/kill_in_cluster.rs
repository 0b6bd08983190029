//! `kill -9` of the daemon at the beginning of every step of a switch and of the way back, in a cluster with the real API
//! server and the real operator: one reboot for each switch all the same, and no cordon, turn or pin is forgotten.

#![allow(clippy::similar_names, reason = "steps stop, stops step, killers kill")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use realtime_testing::simulated_host::Machine;
use realtime_testing::simulated_host::workload::{Wanted, Workload};
use serde_json::json;
use support::cluster::{Cluster, Setup};

/// Kills the daemon as soon as its log says that it begins a step at which it was not killed yet.
struct Killer {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<String>>,
}

impl Killer {
    fn start(machine: &Arc<Machine>) -> Self {
        let machine = Arc::clone(machine);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let log = machine.host().log();
        let mut read = std::fs::metadata(&log).map_or(0, |file| file.len());
        let thread = std::thread::spawn(move || {
            let mut killed = BTreeSet::new();
            while !stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(2));
                let text = std::fs::read(&log).unwrap_or_default();
                let from = usize::try_from(read).unwrap_or_default().min(text.len());
                let new = String::from_utf8_lossy(&text[from..]).into_owned();
                // Whole lines only.
                let Some(end) = new.rfind('\n') else { continue };
                read += end as u64 + 1;
                for line in new[..end].lines() {
                    let Some((_, step)) = line.split_once("step=") else {
                        continue;
                    };
                    if step.contains("state=begin") && killed.insert(step.to_owned()) {
                        machine.kill_daemon();
                        break;
                    }
                }
            }
            killed
        });
        Self { stop, thread }
    }

    fn end(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("the killer")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_there_and_back() {
    let cluster = Cluster::start(Setup::plain().nodes(2)).await;
    let name = cluster.names[0].clone();
    let workload = Workload::start(
        cluster.client.clone(),
        Wanted {
            namespace: "default".to_owned(),
            name: "shop".to_owned(),
            replicas: 2,
            min_available: 1,
            grace: Duration::from_millis(200),
        },
    )
    .await
    .expect("a workload");
    for (round, realtime) in [true, false].into_iter().enumerate() {
        let killer = Killer::start(cluster.machine(&name));
        cluster
            .profile("worker-rt", json!({"realtime": realtime}))
            .await;
        cluster.label(std::slice::from_ref(&name)).await;
        cluster.ready(&name, realtime).await;
        cluster.tidy().await;
        let killed = killer.end();
        println!("killed at {} steps: {killed:#?}", killed.len());
        for step in [
            "WantTurn",
            "TakeTurn",
            "Run",
            "Cordon",
            "Drain",
            "Reboot",
            "Uncordon",
            "ReturnTurn",
        ] {
            assert!(
                killed.iter().any(|one| one.starts_with(step)),
                "never killed at {step}: {killed:#?}"
            );
        }
        assert_eq!(cluster.reboots(), [u32::try_from(round).unwrap() + 1, 0]);
    }
    assert_eq!(cluster.most_down(), 1);
    drop(workload);
}
