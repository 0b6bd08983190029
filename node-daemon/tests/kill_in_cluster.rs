//! `kill -9` of the daemon, and a power cut of its machine, at the beginning of every step of a switch and of the way back,
//! in a cluster with the real API server and the real operator: one reboot for each switch all the same, and no cordon,
//! turn or pin is forgotten. (What a power cut does once the reboot was asked for is `kill.rs`'s.)

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

/// What happens at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    /// `kill -9` of the daemon.
    Daemon,
    /// The mains.
    Power,
}

/// Strikes as soon as the daemon's log says that it begins a step at which that has not happened yet.
struct Killer {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<String>>,
}

impl Killer {
    fn start(machine: &Arc<Machine>, blow: Blow) -> Self {
        let machine = Arc::clone(machine);
        let runtime = tokio::runtime::Handle::current();
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
                    // Staged, and asked to reboot: the mains take it away, and the node says so and stops.
                    let spared = blow == Blow::Power && step.starts_with("Reboot");
                    if !step.contains("state=begin") || spared || !killed.insert(step.to_owned()) {
                        continue;
                    }
                    match blow {
                        Blow::Daemon => machine.kill_daemon(),
                        Blow::Power => {
                            runtime.block_on(machine.power_cut()).expect("a boot");
                        }
                    }
                    break;
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
    there_and_back(Blow::Daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cut_at_every_step_there_and_back() {
    there_and_back(Blow::Power).await;
}

async fn there_and_back(blow: Blow) {
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
        let killer = Killer::start(cluster.machine(&name), blow);
        cluster
            .profile("worker-rt", json!({"realtime": realtime}))
            .await;
        cluster.label(std::slice::from_ref(&name)).await;
        cluster.ready(&name, realtime).await;
        cluster.tidy().await;
        let killed = killer.end();
        println!("{blow:?}: at {} steps: {killed:#?}", killed.len());
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
            let spared = blow == Blow::Power && step == "Reboot";
            assert!(
                spared || killed.iter().any(|one| one.starts_with(step)),
                "never killed at {step}: {killed:#?}"
            );
        }
        assert_eq!(cluster.reboots(), [u32::try_from(round).unwrap() + 1, 0]);
    }
    assert_eq!(cluster.most_down(), 1);
    drop(workload);
}
