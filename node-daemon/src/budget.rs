//! Real-time budget and policy of pods: the loop that hears of containers (OCI hook, NRI, inotify, API watch) and brings
//! each what it asks for by one function and one writer. What is to be done, `core::rt` decides.
//!
//! It runs beside the agent, which a reboot or a package system may hold up for minutes: [`Handle`] is all that the two
//! know of each other. Nothing here survives the process but a mark that budgets were given: the record of which are the
//! kernel's files and, where the kernel keeps none, the node's status.

pub(crate) mod bundle;
mod cache;
pub mod door;
mod engine;
mod ground;
mod groups;
pub mod install;
pub mod look;
pub mod policy;
mod round;
mod settings;
pub mod socket;
mod state;
mod tell;
mod withdraw;

use std::time::Duration;

use kube::Client;
use realtime_core::api::realtime_node::{
    ContainerBudget, NodePodBudgetStatus, RealtimeNodeSpec, RealtimeNodeStatus,
};
use realtime_core::conditions::Decided;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::config::Cgroup;
use crate::host::Host;
use door::Door;
use settings::Word;

/// Between two statuses that only budgets have changed: a hundred pods that come at once are one write, not a hundred.
const GAP: Duration = Duration::from_secs(2);

/// What is told to the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Nothing since the daemon began: what the status says holds until it is known better. Taken back for that moment,
    /// the node's capacity would be gone for the scheduler, at each start of a daemon. It holds for a boot: the next kernel
    /// may be another one.
    NotYet {
        /// Its entries, once they are known: what they say is no news for their pods. Entries are known by names, so that
        /// a pod that was replaced by one of the same name while no daemon ran is not told either.
        before: Vec<ContainerBudget>,
    },
    /// Nobody gives anything.
    Nothing,
    /// This.
    Pods {
        /// `status.podBudget`.
        status: NodePodBudgetStatus,
        /// `BudgetReady`.
        condition: Decided,
    },
}

impl Default for Told {
    fn default() -> Self {
        Self::NotYet { before: Vec::new() }
    }
}

impl Told {
    /// `status.podBudget` since the daemon began.
    pub fn status(&self) -> Option<&NodePodBudgetStatus> {
        match self {
            Self::NotYet { .. } | Self::Nothing => None,
            Self::Pods { status, .. } => Some(status),
        }
    }

    /// The entries that were told last, by this daemon or one before.
    pub fn entries(&self) -> &[ContainerBudget] {
        match self {
            Self::NotYet { before } => before,
            Self::Nothing => &[],
            Self::Pods { status, .. } => &status.containers,
        }
    }
}

/// The agent's end.
#[derive(Debug)]
pub struct Handle {
    config: Cgroup,
    settings: watch::Sender<Word>,
    from_engine: watch::Sender<Told>,
    told: watch::Receiver<Told>,
    last: Instant,
}

/// Begins the loop for a node of a cluster. Inside of a tokio runtime only. The door is for those who hear of containers.
pub fn start(host: &Host, client: Client, node: &str, config: &Cgroup) -> (Handle, Door) {
    let (settings, to_engine) = watch::channel(Word::Unknown);
    let (from_engine, told) = watch::channel(Told::default());
    let (door, knocks) = mpsc::channel(door::WAITING);
    let news = tell::start(client.clone(), node);
    let engine = engine::Engine {
        host: host.clone(),
        client,
        node: node.to_owned(),
        pods_group: config.pods_group.clone(),
        setting: config.handler,
        settings: to_engine,
        told: from_engine.clone(),
        knocks,
        news,
    };
    tokio::spawn(Box::pin(engine.run()));
    let handle = Handle {
        config: config.clone(),
        settings,
        from_engine,
        told,
        last: Instant::now(),
    };
    (handle, door)
}

impl Handle {
    /// What the node shall be now; `None`: no RealtimeNode says so.
    pub fn set(&self, spec: Option<&RealtimeNodeSpec>) {
        let settings = Word::of(spec, &self.config);
        self.settings.send_if_modified(|known| {
            let changed = *known != settings;
            *known = settings;
            changed
        });
    }

    /// What the node's status says, as long as this daemon has not said anything itself.
    pub fn remember(&self, status: Option<&RealtimeNodeStatus>) {
        let entries = status
            .and_then(|status| status.pod_budget.as_ref())
            .map(|told| &told.containers);
        self.from_engine.send_if_modified(|told| {
            if let (Told::NotYet { before }, Some(entries)) = (told, entries)
                && before.is_empty()
            {
                before.clone_from(entries);
            }
            // Nothing that is to be told.
            false
        });
    }

    /// Nobody lets us see what the node shall be: what the file says holds, and when it says nothing, that isn't taken for
    /// the cluster's word.
    pub fn set_by_file(&self) {
        if self.config.given {
            self.set(None);
        }
    }

    /// What is to be told, for the status.
    pub fn told(&mut self) -> Told {
        self.last = Instant::now();
        self.told.borrow_and_update().clone()
    }

    /// The same, for whoever shows it besides.
    pub fn subscribe(&self) -> watch::Receiver<Told> {
        self.told.clone()
    }

    /// Returns when there is something new to tell. May be dropped at any time.
    ///
    /// At most once in [`GAP`], also where nobody asks what is new.
    pub async fn changed(&mut self) {
        // A clone's mark: ours stays until `told` is asked, so that nothing is lost when this is dropped.
        let mut watched = self.told.clone();
        if !watched.has_changed().unwrap_or(false) && watched.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        sleep_until(self.last + GAP).await;
        self.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_wakes_nobody_all_the_time() {
        let (settings, _to_engine) = watch::channel(Word::Unknown);
        let (from_engine, told) = watch::channel(Told::default());
        let mut handle = Handle {
            config: Cgroup {
                handler: realtime_core::rt::modes::ModeSetting::Auto,
                v1_capacity: 0,
                given: false,
                pods_group: None,
                hcbs_gate: false,
            },
            settings,
            from_engine: from_engine.clone(),
            told,
            last: Instant::now(),
        };
        from_engine.send_replace(Told::Nothing);
        let begun = Instant::now();
        for _ in 0..3 {
            handle.changed().await;
        }
        assert_eq!(begun.elapsed(), GAP * 3);
        assert_eq!(handle.told(), Told::Nothing);
        let waits = tokio::time::timeout(GAP * 3, handle.changed());
        assert!(waits.await.is_err(), "there is nothing new");
    }
}
