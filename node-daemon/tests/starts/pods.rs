//! Starts as pods: some at a time, each with a program whose first act is to ask for SCHED_FIFO, and what the node's status
//! says of them meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::ContainerBudgetState;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::on_node::{LONG, Lab, budget, pod};

/// The smallest budget that this kernel's tick allows, µs.
pub const BUDGET: &str = "5000";
/// As many run at once: half of the node's capacity.
const AT_ONCE: usize = 40;
/// Long enough that the status, which is written every 2 s at most, tells of many of them.
const SECONDS: &str = "3";

/// By the pod's name.
type Told = Arc<Mutex<BTreeMap<String, Option<bool>>>>;

/// What became of them.
#[derive(Debug)]
pub struct Wave {
    pub took: Duration,
    /// Those of which the status told, and whether they had their budget before their start.
    pub told: BTreeMap<String, Option<bool>>,
}

/// Runs so many pods to their end: every one has to get SCHED_FIFO at once.
pub async fn wave(lab: &Lab, prefix: &str, count: usize) -> Wave {
    let began = Instant::now();
    let (told, listening) = listen(lab);
    let config = watcher::Config::default().labels(&format!("wave={prefix}"));
    let mut changes = watcher(lab.pods.clone(), config).applied_objects().boxed();
    let mut made = 0;
    let mut ended = BTreeSet::new();
    while ended.len() < count {
        while made < count && made - ended.len() < AT_ONCE {
            let name = format!("{prefix}-{made}");
            let mut one = pod(&name, &budget(BUDGET), &["first-act", SECONDS]);
            one["metadata"]["labels"]["wave"] = Value::from(prefix);
            lab.create(one).await;
            made += 1;
        }
        let next = tokio::time::timeout(LONG, changes.try_next()).await;
        let Ok(Ok(Some(news))) = next else {
            panic!(
                "{} of {count} have ended: {next:?}\n{}",
                ended.len(),
                lab.said()
            );
        };
        let phase = phase(&news);
        let name = news.name_any();
        assert_ne!(
            phase,
            Some("Failed"),
            "{name}: {}\n{}",
            lab.log_of(&name).await,
            lab.said()
        );
        if phase == Some("Succeeded") {
            ended.insert(name);
        }
    }
    let took = began.elapsed();
    listening.abort();
    let told = told.lock().expect("lock").clone();
    Wave { took, told }
}

/// What the node's status says of containers that have what they ask for, until it is aborted.
fn listen(lab: &Lab) -> (Told, JoinHandle<()>) {
    let told = Told::default();
    let nodes: Api<RealtimeNode> = Api::all(lab.client.clone());
    let heard = Arc::clone(&told);
    let listening = tokio::spawn(async move {
        let mut changes = watcher(nodes, watcher::Config::default())
            .applied_objects()
            .boxed();
        while let Some(changed) = changes.next().await {
            let Some(status) = changed.ok().and_then(|node| node.status) else {
                continue;
            };
            let entries = status.pod_budget.unwrap_or_default().containers;
            let mut heard = heard.lock().expect("lock");
            for entry in entries {
                if entry.state == ContainerBudgetState::Applied {
                    heard.insert(entry.pod, entry.assigned_before_start);
                }
            }
        }
    });
    (told, listening)
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}
