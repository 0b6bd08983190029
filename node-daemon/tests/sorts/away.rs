//! The daemon, the API server, the kubelet and the container runtime go away and come again while pods run and start.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::{
    ContainerBudget, ContainerBudgetState, NodePodBudgetStatus,
};
use realtime_testing::programs::Program;
use realtime_testing::real_node::Runtime;

use crate::eyes::{Process, budget_of, has, prints, process, process_of, run};
use crate::on_node::{Lab, budget, pod};

/// Looks at a group all the time, and tells each value that it has had.
struct Guard {
    stop: Arc<AtomicBool>,
    looking: JoinHandle<Vec<i64>>,
}

impl Guard {
    fn of(process: &Process) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (group, asked) = (process.group.clone(), Arc::clone(&stop));
        let looking = std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !asked.load(Ordering::Relaxed) {
                let now = budget_of(&group).unwrap_or(-1);
                if seen.last() != Some(&now) {
                    seen.push(now);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            seen
        });
        Self { stop, looking }
    }

    fn has_seen(self) -> Vec<i64> {
        self.stop.store(true, Ordering::Relaxed);
        self.looking.join().expect("looked")
    }
}

fn entry_of(told: &NodePodBudgetStatus, pod: &str) -> Option<ContainerBudget> {
    told.containers
        .iter()
        .find(|entry| entry.pod == pod)
        .cloned()
}

/// A pod that starts now has its budget before its first instruction, once all is well again.
async fn starts(lab: &Lab, name: &str, word: &str) {
    run(
        lab,
        pod(name, &budget("21000"), &["first-act", word]),
        "Running",
    )
    .await;
    prints(lab, name, "main", "SCHED_FIFO granted\n").await;
    has(lab, &["first-act", word], 21_000).await;
    let entry = lab
        .entry(name, "main", |entry| {
            entry.state == ContainerBudgetState::Applied
        })
        .await;
    assert_eq!(entry.assigned_before_start, Some(true), "{}", lab.said());
}

/// All of it.
pub async fn everybody_in_turn(lab: &Lab) {
    starts(lab, "stays", "7301").await;
    let stays = process_of(lab, &["first-act", "7301"]).await;
    let guard = Guard::of(&stays);

    // The daemon.
    let before = lab
        .wait_for("the sum", |told| {
            told.allocated_microseconds == Some(21_000)
        })
        .await;
    lab.event("stays", "RealtimeApplied").await;
    let told = Reader::of(lab);
    told.has_seen(1).await;
    lab.kill_daemon();
    let meanwhile = ["sleep", "7302"];
    run(
        lab,
        pod("while-away", &budget("22000"), &meanwhile),
        "Running",
    )
    .await;
    let without = process_of(lab, &meanwhile).await;
    assert_eq!(budget_of(&without.group), Some(0));
    lab.start_daemon();
    has(lab, &meanwhile, 22_000).await;
    let after = lab
        .wait_for("both", |told| {
            entry_of(told, "while-away")
                .is_some_and(|entry| entry.applied_microseconds == Some(22_000))
        })
        .await;
    // Whether it was there before the start, the former daemon alone has known.
    let before = entry_of(&before, "stays").map(|entry| ContainerBudget {
        assigned_before_start: None,
        ..entry
    });
    assert_eq!(entry_of(&after, "stays"), before);
    // The next daemon's start is no news: neither for the scheduler, which counts by the capacity, nor for the pod, which
    // would be told before the new one.
    told.has_seen(2).await;
    told.has_always_seen_a_capacity();
    lab.event("while-away", "RealtimeApplied").await;
    assert_eq!(applied(lab, "stays").await, 1);
    lab.delete("while-away").await;
    lab.allocated_is(21_000).await;

    // The API server, while pods start.
    for number in 0..3 {
        let name = format!("during-{number}");
        let mut begins = pod(
            &name,
            &budget("23000"),
            &["first-act", &format!("731{number}")],
        );
        begins["spec"]["restartPolicy"] = "OnFailure".into();
        lab.create(begins).await;
    }
    lab.node
        .restart_program(Program::KubeApiserver)
        .expect("the API server");
    for number in 0..3 {
        has(lab, &["first-act", &format!("731{number}")], 23_000).await;
    }
    answers(lab).await;
    for number in 0..3 {
        let name = format!("during-{number}");
        lab.entry(&name, "main", |entry| {
            entry.applied_microseconds == Some(23_000)
        })
        .await;
        lab.delete(&name).await;
    }
    lab.allocated_is(21_000).await;

    // The kubelet.
    lab.node
        .restart_program(Program::Kubelet)
        .expect("the kubelet");
    starts(lab, "after-kubelet", "7321").await;
    lab.delete("after-kubelet").await;

    // The runtime.
    let program = match lab.runtime {
        Runtime::Containerd => Program::Containerd,
        Runtime::CriO => Program::Crio,
    };
    lab.node.restart_program(program).expect("the runtime");
    starts(lab, "after-runtime", "7331").await;
    lab.delete("after-runtime").await;
    lab.allocated_is(21_000).await;

    assert_eq!(guard.has_seen(), [21_000], "{}", lab.said());
    assert_eq!(process(lab, &["first-act", "7301"]), Some(stays));
    lab.delete("stays").await;
    lab.allocated_is(0).await;
}

/// Sees each version of the node's status.
struct Reader {
    watching: tokio::task::JoinHandle<()>,
    seen: Arc<Mutex<Vec<Option<i64>>>>,
}

impl Reader {
    fn of(lab: &Lab) -> Self {
        let nodes: Api<RealtimeNode> = Api::all(lab.client.clone());
        let own = format!("metadata.name={}", lab.node.options().node_name);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            let config = watcher::Config::default().fields(&own);
            let mut nodes = std::pin::pin!(watcher(nodes, config).applied_objects());
            while let Some(node) = nodes.next().await {
                let status = node.ok().and_then(|node| node.status).unwrap_or_default();
                let told = status.pod_budget.unwrap_or_default();
                all.lock().unwrap().push(told.capacity_microseconds);
            }
        });
        Self { watching, seen }
    }

    /// So many versions. They come by a watch, a moment after what is asked for directly.
    async fn has_seen(&self, versions: usize) {
        let seen = || self.seen.lock().unwrap().len();
        while seen() < versions {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn has_always_seen_a_capacity(self) {
        self.watching.abort();
        let seen = self.seen.lock().unwrap();
        assert!(seen.iter().all(Option::is_some), "{seen:?}");
    }
}

/// How many Events say that a pod has what it asked for.
async fn applied(lab: &Lab, pod: &str) -> usize {
    let events: Api<Event> = Api::namespaced(lab.client.clone(), "default");
    let of_pod = ListParams::default().fields(&format!("involvedObject.name={pod}"));
    let list = events.list(&of_pod).await.expect("Events");
    list.iter()
        .filter(|event| event.reason.as_deref() == Some("RealtimeApplied"))
        .count()
}

/// Until the API server answers.
async fn answers(lab: &Lab) {
    let begun = std::time::Instant::now();
    while lab.pods.get("stays").await.is_err() {
        assert!(begun.elapsed() < crate::on_node::LONG, "no answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
