//! Pods come and go by the thousand while the daemon is killed again and again: each that asks properly gets its budget,
//! and in the end every microsecond is given back and no group is left. API server, daemon with its shipped rights, and
//! kernel are real; kubelet and containerd are played (`kubelet_standin`), as a real one starts a pod or two a second. Some
//! tens of pods come and go through real ones.
//!
//! `CHURN_PODS`: how many pods; `CHURN_SEED`: the chance, which a failed run prints; `CHURN_DAEMON`: another build of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "churn/dice.rs"]
mod dice;
#[path = "churn/life.rs"]
mod life;
mod on_cluster;
mod on_node;
#[path = "churn/real.rs"]
mod real;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dice::Dice;
use futures::StreamExt as _;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use life::{CAPACITY_US, MOST_US, World};
use on_cluster::{Cluster, WORK, until};
use realtime_core::api::realtime_node::{BudgetMode, ContainerBudgetState, NodePodBudgetStatus};
use realtime_testing::kubelet_standin::Kubelet;
use realtime_testing::kubelet_standin::groups::{Own, cannot_run};
use realtime_testing::kubelet_standin::program::Program;
use realtime_testing::real_node::Runtime;
use serde_json::json;

const NODE: &str = "churned";
const CONTRACT: &str = "realtime-pod-contract";
/// The part of the root group that the node has, microseconds of each second.
const NODE_US: u32 = 230_000;
/// So many pods live at once, each with at most 12,000 µs: the node has room for all of them.
const AT_ONCE: usize = 16;
/// Pods that stay to the end.
const SURVIVORS: usize = 12;
/// In a moment of quiet everything is given back within that time, though the daemon is killed meanwhile.
const QUIET: Duration = Duration::from_mins(1);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Kills the daemon and starts it again, for ever.
async fn kills(world: &World, count: &AtomicUsize) {
    let mut dice = Dice::new(world.seed, u64::MAX);
    loop {
        let process = world.program.start().expect("daemon");
        // Some don't even get their first list.
        let life = if dice.percent(20) { 300 } else { 4_000 };
        dice.pause(life).await;
        drop(process);
        count.fetch_add(1, Ordering::Relaxed);
        if dice.percent(30) {
            dice.pause(1_000).await;
        }
    }
}

/// Nothing of any pod is left. Gives the time that it took.
async fn given_back(world: &World) -> Duration {
    let groups = &world.kubelet.groups;
    let begun = Instant::now();
    loop {
        let has = groups.runtime(&groups.pods());
        let left = groups.left();
        if has == Some(0) && left.is_empty() {
            return begun.elapsed();
        }
        assert!(
            begun.elapsed() < QUIET,
            "the pods' group has {has:?}, and {left:?} are left; seed {}\n{}",
            world.seed,
            world.program.said(60)
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn told(
    cluster: &Cluster,
    what: &str,
    is: impl Fn(&NodePodBudgetStatus) -> bool,
) -> NodePodBudgetStatus {
    until(what, || async {
        let node = cluster.realtime_nodes().get(NODE).await.unwrap();
        let told = node.status.and_then(|status| status.pod_budget);
        let told = told.unwrap_or_default();
        if is(&told) {
            Ok(told)
        } else {
            Err(format!("{told:#?}"))
        }
    })
    .await
}

/// Pods that were made before the operator came: with it, the API server refuses most mistakes. It goes by a policy, and by
/// its end, a moment later.
async fn no_admission(cluster: &Cluster) {
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), WORK);
    let rehearsal = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let wrong: Pod = serde_json::from_value(json!({
        "metadata": {"name": "wrong", "annotations": {"realtime": "true", "rt_runtime_us": "1e4"}},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }))
    .unwrap();
    until("mistakes are refused", || async {
        match pods.create(&rehearsal, &wrong).await {
            Err(error) if error.to_string().contains(CONTRACT) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(cluster.client.clone());
    bindings
        .delete(CONTRACT, &DeleteParams::default())
        .await
        .unwrap();
    until("mistakes are not refused", || async {
        let created = pods.create(&rehearsal, &wrong).await;
        created.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

async fn world(cluster: &Cluster, folder: &Path) -> World {
    no_admission(cluster).await;
    cluster.node(NODE).await;
    cluster
        .wish(
            NODE,
            json!({"profile": "churn", "podBudget": {
                "capacityMicroseconds": CAPACITY_US, "maxPerContainerMicroseconds": MOST_US,
            }}),
        )
        .await;
    let groups = Own::make_with("churn", NODE_US).await.unwrap();
    let kubelet = Kubelet::new(cluster.client.clone(), NODE, WORK, folder, groups).unwrap();
    let program = std::env::var("CHURN_DAEMON");
    let program = Program::new(
        Path::new(
            program
                .as_deref()
                .unwrap_or(env!("CARGO_BIN_EXE_realtime-node-daemon")),
        ),
        &kubelet,
        folder,
        &cluster.daemon_kubeconfig(NODE).await,
        "realtime_node_daemon=debug,info",
    )
    .unwrap();
    World {
        kubelet,
        program,
        seed: number("CHURN_SEED", u64::from(std::process::id())),
        waits: Arc::default(),
        restarts: AtomicUsize::new(0),
        realtime: AtomicUsize::new(0),
        meddled: AtomicUsize::new(0),
        zombies: AtomicUsize::new(0),
    }
}

/// All of a number of pods, in ten parts with a moment of quiet after each.
async fn churn(world: &World, pods: usize) -> Vec<Duration> {
    let mut quiet = Vec::new();
    for part in 0..10 {
        let numbers = part * pods / 10..(part + 1) * pods / 10;
        futures::stream::iter(numbers)
            .map(|number| life::live(world, number))
            .buffer_unordered(AT_ONCE)
            .collect::<()>()
            .await;
        quiet.push(given_back(world).await);
    }
    quiet
}

/// Living pods have exactly what they asked for, and the daemon that has just been started says so.
async fn survivors(world: &World, cluster: &Cluster) {
    let mut staying = Vec::new();
    let groups = &world.kubelet.groups;
    let mut sum = 0;
    {
        let process = world.program.start().expect("daemon");
        for number in 0..SURVIVORS {
            let (pod, containers) = life::stay(world, usize::MAX - 1 - number).await;
            sum += containers.iter().map(|(_, micros)| micros).sum::<i64>();
            staying.push(pod);
        }
        drop(process);
    }
    let _process = world.program.start().expect("daemon");
    let budgets = told(cluster, "the survivors", |told| {
        told.allocated_microseconds == Some(sum)
            && told
                .containers
                .iter()
                .all(|entry| entry.state == ContainerBudgetState::Applied)
    })
    .await;
    assert_eq!(budgets.mode, Some(BudgetMode::V1Budget));
    assert_eq!(groups.runtime(&groups.pods()), Some(sum));
    let mut dice = Dice::new(world.seed, u64::MAX - 1);
    for pod in staying {
        life::leave(world, pod, &mut dice).await;
    }
    given_back(world).await;
    told(cluster, "no entries", |told| {
        told.containers.is_empty() && told.allocated_microseconds == Some(0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_come_and_go_and_nothing_is_left() {
    if let Some(reason) = cannot_run() {
        return realtime_testing::skip(&reason);
    }
    let pods = usize::try_from(number("CHURN_PODS", 600)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start().await;
    let world = world(&cluster, folder.path()).await;
    println!("seed {}", world.seed);
    let begun = Instant::now();
    let count = AtomicUsize::new(0);
    let quiet = tokio::select! {
        quiet = churn(&world, pods) => quiet,
        () = kills(&world, &count) => unreachable!(),
    };
    let time = begun.elapsed();
    survivors(&world, &cluster).await;

    // The kernel has everything back: the node's whole part can be given to the pods' group, and be taken again.
    let groups = &world.kubelet.groups;
    assert_eq!(groups.runtime(groups.name()), Some(i64::from(NODE_US)));
    groups.meddle(&groups.pods(), i64::from(NODE_US)).unwrap();
    groups.meddle(&groups.pods(), 0).unwrap();
    let mut waits = std::mem::take(&mut *world.waits.lock().unwrap());
    waits.sort();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!(
        "{pods} pods in {time:.1?}; the daemon was killed {} times; {} budgets came, {} for restarted containers, {} were \
         used by SCHED_FIFO, {} were put right after somebody else's write; {} zombies; a budget was there after {:?} \
         (median), {:?} (99 of 100), {:?} (all); everything was given back {:?} after the last pod at the latest",
        count.load(Ordering::Relaxed),
        waits.len(),
        world.restarts.load(Ordering::Relaxed),
        world.realtime.load(Ordering::Relaxed),
        world.meddled.load(Ordering::Relaxed),
        world.zombies.load(Ordering::Relaxed),
        at(50),
        at(99),
        at(100),
        quiet.iter().max(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_come_and_go_through_containerd() {
    real::story(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_come_and_go_through_cri_o() {
    real::story(Runtime::CriO).await;
}
