//! Keeps what Nodes advertise of the extended resource as `core::rt::capacity` says, one node at a time. Decides
//! nothing, and asks nobody while nothing changes: a Node, its RealtimeNode and its profile come from the caches.
//!
//! A kubelet that registers anew may set every extended resource of its Node to zero; that is a change of the Node like
//! any other, and put right at once. Nothing is remembered: whoever takes the lead looks at all Nodes once.
//!
//! A capacity below what pods on the node ask for already is written all the same: they stay, the scheduler brings
//! no further ones until enough of them are gone. A kubelet that refuses a pod for want of it says
//! `OutOfrealtime.openshift.io/runtime-us`.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use realtime_core::causes;
use realtime_core::names;
use realtime_core::rt::capacity;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::apply::resource;
use crate::caches::{Heard, Unreadable};
use crate::controller::sleep_until;
use crate::leadership::Leadership;
use crate::queue::Queue;
use crate::reconcile::Context;
use crate::writer::WriteError;

/// Writes at the same time: as many as RealtimeNodes are written at once.
const AT_ONCE: usize = 8;
/// A cache that lags is looked at again so soon, should no change come.
const STALE: Duration = Duration::from_millis(100);
/// A node that was written is looked at again so soon, to see that it stayed so.
const AGAIN: Duration = Duration::from_millis(100);

/// Runs until `stop` says true, then lets the writes under way end.
pub async fn run(
    context: Context,
    mut leadership: Leadership,
    heard: Heard,
    mut stop: watch::Receiver<bool>,
) {
    let Heard {
        mut nodes,
        mut profiles,
    } = heard;
    let mut advertiser = Advertiser {
        context,
        queue: Queue::default(),
        living: BTreeSet::new(),
        wrote: HashMap::new(),
    };
    let mut writes: JoinSet<(String, Value, Result<(), WriteError>)> = JoinSet::new();
    let mut leads = false;
    loop {
        let holds = leadership.holds();
        if holds && !leads {
            advertiser.look_at_all();
        }
        leads = holds;
        while leads && writes.len() < AT_ONCE {
            let Some((name, patch)) = advertiser.take() else {
                break;
            };
            let door = advertiser.context.writer.clone();
            writes.spawn(async move {
                let kind = resource::<Node>();
                let manager = names::STATUS_FIELD_MANAGER;
                let written = door.merge_status(&kind, &name, &patch, manager).await;
                (name, patch, written.map(drop))
            });
        }
        let due = advertiser
            .queue
            .next_due()
            .filter(|_| leads && writes.len() < AT_ONCE);
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(name) = nodes.recv() => {
                let mut swarm = BTreeSet::from([name]);
                while let Ok(name) = nodes.try_recv() {
                    swarm.insert(name);
                }
                // Whoever doesn't lead looks at all of them when it does.
                for name in swarm.into_iter().filter(|_| leads) {
                    advertiser.look_at(name);
                }
            }
            Ok(()) = profiles.changed() => if leads { advertiser.look_at_profiles(); },
            Some(ended) = writes.join_next() => if let Ok((name, patch, written)) = ended {
                advertiser.ended(name, patch, written);
            },
            () = sleep_until(due) => {}
            () = async { if leads { leadership.lost().await } else { leadership.acquired().await } } => {}
        }
    }
    while writes.join_next().await.is_some() {}
}

/// Completes when the stop is said, or nobody can say it any more.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Advertiser {
    context: Context,
    /// Nodes that are to be written, and those that were just written or couldn't be.
    queue: Queue,
    /// The profiles that lived at the last look.
    living: BTreeSet<String>,
    /// What was just written, until the node was looked at once more.
    wrote: HashMap<String, Value>,
}

impl Advertiser {
    fn look_at_all(&mut self) {
        self.living = self.context.caches.living_profiles();
        for name in self.context.caches.node_names() {
            self.look_at(name);
        }
    }

    /// The nodes of the profiles that came or went.
    fn look_at_profiles(&mut self) {
        let living = self.context.caches.living_profiles();
        let changed: BTreeSet<String> =
            living.symmetric_difference(&self.living).cloned().collect();
        self.living = living;
        if changed.is_empty() {
            return;
        }
        for name in self.context.caches.realtime_nodes_of(&changed) {
            self.look_at(name);
        }
    }

    /// Queues a node that differs. One that was just written waits when it would be written the same again: another
    /// writer that undoes what is written here must not make two of them spin.
    fn look_at(&mut self, name: String) {
        let Ok(Some(patch)) = self.patch(&name) else {
            return;
        };
        if !(self.queue.waits(&name) && self.wrote.get(&name) == Some(&patch)) {
            self.queue.add(name, Instant::now());
        }
    }

    /// What must be written, as far as the caches know.
    fn patch(&self, name: &str) -> Result<Option<Value>, Unreadable> {
        let caches = &self.context.caches;
        let Some(node) = caches.node(name)? else {
            return Ok(None);
        };
        let node = node.0.as_ref().map_err(|_| Unreadable)?;
        let realtime_node = caches.realtime_node(name)?;
        let realtime_node = realtime_node.as_ref().and_then(|node| node.0.as_ref().ok());
        let lives = realtime_node.is_some_and(|node| self.living.contains(&node.spec.profile));
        Ok(capacity::patch(
            node,
            capacity::wanted(realtime_node, lives),
        ))
    }

    /// The next write that is due.
    fn take(&mut self) -> Option<(String, Value)> {
        loop {
            let name = self.queue.take(Instant::now())?;
            if self.is_stale(&name) {
                self.queue.done(&name);
                self.queue.add_after(name, STALE, Instant::now());
                continue;
            }
            if let Ok(Some(patch)) = self.patch(&name) {
                return Some((name, patch));
            }
            self.queue.done(&name);
            self.queue.succeeded(&name);
            self.wrote.remove(&name);
        }
    }

    /// Whether the cache doesn't show yet what was written here.
    fn is_stale(&self, name: &str) -> bool {
        let Ok(Some(node)) = self.context.caches.node(name) else {
            return false;
        };
        let version = node.resource_version();
        let written = &self.context.writer.written;
        written.is_stale("Node", name, version.as_deref())
    }

    fn ended(&mut self, name: String, patch: Value, written: Result<(), WriteError>) {
        self.queue.done(&name);
        let now = Instant::now();
        match written {
            // Looked at again in any case, after a wait that grows as long as the same is written again and again.
            Ok(()) if self.wrote.get(&name) == Some(&patch) => self.queue.failed(name, now),
            Ok(()) => {
                self.queue.succeeded(&name);
                self.queue.add_after(name.clone(), AGAIN, now);
                self.wrote.insert(name, patch);
            }
            Err(WriteError::NotLeading) => {}
            Err(WriteError::Refused { source, .. }) if is_gone(&source) => {
                self.queue.succeeded(&name);
            }
            Err(error) => {
                if !error.is_race() {
                    tracing::warn!(
                        node = name,
                        error = causes::told(&error),
                        "what the node advertises can't be written"
                    );
                }
                self.queue.failed(name, now);
            }
        }
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(answer) if answer.code == 404)
}
