//! Before the first instruction: many starts of a program whose first act is to ask for SCHED_FIFO, and which fails when it
//! doesn't get it, on a real node with the real daemon. As pods through containerd and NRI, as pods through CRI-O and the OCI
//! hook with NRI switched off, and by runc with the same hook: a thousand in all. And a daemon that is killed meanwhile, or
//! hangs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "starts/away.rs"]
mod away;
#[path = "starts/direct.rs"]
mod direct;
#[path = "starts/hook.rs"]
mod hook;
mod on_node;
#[path = "starts/pods.rs"]
mod pods;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use direct::Direct;
use on_node::{Lab, can, spec};
use pods::Wave;
use realtime_testing::real_node::{Options, Runtime};
use tokio::sync::Mutex;

/// On each runtime.
const PODS: usize = 100;
/// Pods whose containers runc starts, again and again.
const DIRECT_PODS: usize = 20;
/// Those by runc.
const DIRECT_STARTS: usize = 1000 - 2 * PODS;

/// These starts are timed.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// CRI-O with its hook alone, or containerd with NRI.
async fn lab(runtime: Runtime) -> Lab {
    let options = Options {
        nri: runtime == Runtime::Containerd,
        ..Options::new(runtime)
    };
    let lab = Lab::without_daemon(runtime, options, spec()).await;
    if runtime == Runtime::CriO {
        let nri = lab.node.path_inside("/run/nri/nri.sock");
        assert!(!nri.exists(), "it is the hook that is proved");
        hook::bring(&lab.node).await;
    }
    lab.start_daemon();
    lab.wait_for("the mode", |told| told.mode.is_some()).await;
    match runtime {
        Runtime::CriO => hook::is_there(&lab).await,
        Runtime::Containerd => {}
    }
    lab
}

fn every_one(runtime: Runtime, wave: &Wave) {
    println!(
        "{}: {PODS} pods in {:?}, the status told of {} of them",
        runtime.name(),
        wave.took,
        wave.told.len()
    );
    assert!(!wave.told.is_empty(), "the status told of none");
    for (pod, before_start) in &wave.told {
        assert_eq!(*before_start, Some(true), "{pod}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_containerd_with_nri_every_pod_starts_with_its_budget() {
    if !can(Runtime::Containerd) {
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let lab = lab(Runtime::Containerd).await;
    let wave = pods::wave(&lab, "wave", PODS).await;
    every_one(Runtime::Containerd, &wave);
    lab.allocated_is(0).await;
    away::story(&lab).await;
    lab.node.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_cri_o_with_the_hook_every_pod_and_every_start_by_runc_has_its_budget() {
    if !can(Runtime::CriO) {
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let lab = lab(Runtime::CriO).await;
    let wave = pods::wave(&lab, "wave", PODS).await;
    every_one(Runtime::CriO, &wave);
    lab.allocated_is(0).await;
    away::story(&lab).await;

    let direct = Direct::new(&lab, DIRECT_PODS).await;
    // These containers' bundles are where the daemon doesn't look: it is the hook that is proved.
    let without = tokio::task::block_in_place(|| direct.start_without(0, 0));
    assert_eq!(without.code, Some(1), "{without:?}");
    let (starts, began) = (DIRECT_STARTS, Instant::now());
    let next = AtomicUsize::new(0);
    let mut took = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            // Two at a time: each pod's in turn, so that no two of one pod meet.
            let workers = [(); 2].map(|()| {
                scope.spawn(|| {
                    let mut took = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= starts {
                            return took;
                        }
                        let start = direct.start(number % DIRECT_PODS, number + 1);
                        assert_eq!(start.code, Some(0), "{number}: {start:?}\n{}", lab.said());
                        assert_eq!(start.said, "SCHED_FIFO granted\n");
                        took.push(start.took);
                    }
                })
            });
            workers
                .into_iter()
                .flat_map(|worker| worker.join().expect("no failure"))
                .collect::<Vec<_>>()
        })
    });
    took.sort();
    println!(
        "runc: {starts} starts in {:?}, each {:?} (median), {:?} at most",
        began.elapsed(),
        took[starts / 2],
        took[starts - 1]
    );
    lab.node.shutdown().await.expect("shutdown");
}
