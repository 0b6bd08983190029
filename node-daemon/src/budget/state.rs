//! What the engine knows of containers, for as long as their groups are there. Holds no decision about budgets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use realtime_core::rt::group::{ContainerId, PodUid};
use realtime_core::rt::identity::Identity;
use realtime_core::rt::modes::Mode;
use realtime_core::rt::outcome::Besides;
use realtime_core::rt::settle::{Known, PodKey};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::bundle;
use super::door::Answer;
use crate::host::Host;

/// Until a runtime is asked again about a container that it has not named.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Runtimes are asked so often at most; the others are asked about in the next whole rounds.
const ASKS_A_SECOND: u32 = 300;

/// Containers, and who waits for them.
#[derive(Debug, Default)]
pub struct State {
    /// What was found of mode and pods' group last, and how often nothing else since.
    pub found: Option<(Mode, Option<String>)>,
    pub looks: u32,
    /// Whose container an id is, by the runtime's word.
    pub known: BTreeMap<ContainerId, Known>,
    /// Of whom nobody could say, and when they were asked about last.
    pub nameless: BTreeMap<ContainerId, Instant>,
    /// When this second of asking began, and how often was asked in it.
    asked: Option<(Instant, u32)>,
    /// What else is known of them.
    pub besides: BTreeMap<ContainerId, Besides>,
    /// Containers that ask for a policy, of whose processes none was there yet: whether one had begun is not decided.
    pub unbegun: BTreeSet<ContainerId>,
    /// Starts that wait for an answer.
    pub waiting: Vec<Waiting>,
    /// The groups of containers that ask, as of the last whole round: a foreign write to one of them matters.
    pub served: BTreeSet<String>,
    /// What each group has by our own last look or write: another value was written by somebody else.
    pub expected: BTreeMap<String, i64>,
    /// Containers' groups that somebody else wrote to, and whose pods were told: once is enough.
    pub overwritten: BTreeSet<String>,
    /// Groups that are gone, what they had, and until when the kernel may count it, by [`Self::now`].
    pub going: BTreeMap<String, (i64, Duration)>,
    /// Containers' groups whose budget the kernel has refused for longer than dying groups take, and its words.
    pub refused: BTreeMap<String, String>,
    /// Groups whose budget is counted, where the kernel keeps none, and how much it is: microseconds.
    pub counted: BTreeMap<String, i64>,
    /// Groups whose write the kernel refuses, and since when by [`Self::now`].
    pub failing: BTreeMap<String, Duration>,
    /// When [`Self::now`] was asked first.
    epoch: Option<Instant>,
}

/// A start that waits.
#[derive(Debug)]
pub struct Waiting {
    /// The container.
    pub id: ContainerId,
    /// Its pod.
    pub pod: PodKey,
    /// The pod's uid, where the runtime says it.
    pub uid: Option<PodUid>,
    /// Its name.
    pub container: String,
    /// Its first process.
    pub pid: Option<u32>,
    /// Until when.
    pub deadline: Instant,
    /// Where the answer goes; `None` when nobody waits for one.
    pub answer: Option<oneshot::Sender<Answer>>,
}

impl State {
    /// The time that has gone by, for decisions that have no clock.
    pub fn now(&mut self) -> Duration {
        self.epoch.get_or_insert_with(Instant::now).elapsed()
    }

    /// Takes a runtime's word. A container that had the same name is replaced: it never gets anything again.
    pub fn learn(&mut self, id: &ContainerId, identity: &Identity) {
        let same = |known: &Identity| {
            known.namespace == identity.namespace
                && known.pod == identity.pod
                && known.container == identity.container
        };
        for (other, known) in &mut self.known {
            if other != id && matches!(known, Known::Container(known) if same(known)) {
                *known = Known::Nobody;
            }
        }
        self.known
            .insert(id.clone(), Known::Container(identity.clone()));
    }

    /// Forgets containers whose groups are gone.
    pub fn forget(&mut self, there: &BTreeSet<ContainerId>) {
        let waited: BTreeSet<ContainerId> = self
            .waiting
            .iter()
            .map(|waiting| waiting.id.clone())
            .collect();
        let stays = |id: &ContainerId| there.contains(id) || waited.contains(id);
        self.known.retain(|id, _| stays(id));
        self.besides.retain(|id, _| stays(id));
        self.unbegun.retain(stays);
        self.nameless.retain(|id, _| stays(id));
    }

    /// Whether nothing is known of a container, and nobody was asked a moment ago.
    pub fn is_to_ask(&self, id: &ContainerId) -> bool {
        let asked = self.nameless.get(id);
        !self.known.contains_key(id) && asked.is_none_or(|when| when.elapsed() >= ASK_AGAIN)
    }

    /// Asks a container's own runtime whose it is, unless it is known, or nobody could say a moment ago: a pod may make any
    /// number of groups that look like containers. Says whether it is to be asked later, because too many were asked about.
    pub fn recognise(&mut self, host: &Host, id: &ContainerId) -> bool {
        let now = Instant::now();
        if !self.is_to_ask(id) {
            return false;
        }
        let (since, asked) = self
            .asked
            .filter(|(since, _)| now.duration_since(*since) < Duration::from_secs(1))
            .unwrap_or((now, 0));
        if asked >= ASKS_A_SECOND {
            return true;
        }
        self.asked = Some((since, asked + 1));
        match bundle::known(host, id) {
            Some(Known::Container(identity)) => self.learn(id, &identity),
            Some(Known::Nobody) => {
                self.known.insert(id.clone(), Known::Nobody);
            }
            None => {
                self.nameless.insert(id.clone(), now);
                return false;
            }
        }
        self.nameless.remove(id);
        false
    }

    /// Answers those that the function has an answer for, and those whose time is over.
    pub fn answer(&mut self, now: Instant, mut answer: impl FnMut(&Waiting) -> Option<Answer>) {
        self.waiting.retain_mut(|waiting| {
            // Who has stopped to wait is forgotten.
            if waiting.answer.as_ref().is_some_and(oneshot::Sender::is_closed) {
                return false;
            }
            let decided = answer(waiting).or_else(|| {
                (waiting.deadline <= now).then(|| {
                    Answer::Refused(
                        "the pod or the room for its budget was not there in time; it is tried again while the container runs"
                            .to_owned(),
                    )
                })
            });
            let Some(decided) = decided else { return true };
            tracing::debug!(
                pod = waiting.pod.1,
                container = waiting.container,
                answer = ?decided,
                left = ?waiting.deadline.saturating_duration_since(now),
                "a start that waited"
            );
            if let Some(sender) = waiting.answer.take() {
                let _ = sender.send(decided);
            }
            false
        });
    }
}
