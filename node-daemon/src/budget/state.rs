//! What the engine knows of containers, for as long as their groups are there. Holds no decision about budgets.

use std::collections::{BTreeMap, BTreeSet};

use realtime_core::rt::group::ContainerId;
use realtime_core::rt::identity::Identity;
use realtime_core::rt::modes::Mode;
use realtime_core::rt::outcome::Besides;
use realtime_core::rt::settle::{Known, PodKey};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::door::Answer;

/// Containers, and who waits for them.
#[derive(Debug, Default)]
pub struct State {
    /// What was found of mode and pods' group last, and how often nothing else since.
    pub found: Option<(Mode, Option<String>)>,
    pub looks: u32,
    /// Whose container an id is, by the runtime's word.
    pub known: BTreeMap<ContainerId, Known>,
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
    /// Containers' groups whose budget the kernel has refused for longer than dying groups take, and its words.
    pub refused: BTreeMap<String, String>,
    /// Groups whose budget is counted, where the kernel keeps none.
    pub counted: BTreeSet<String>,
    /// Groups whose write the kernel refuses, and since when.
    pub failing: BTreeMap<String, Instant>,
}

/// A start that waits.
#[derive(Debug)]
pub struct Waiting {
    /// The container.
    pub id: ContainerId,
    /// Its pod.
    pub pod: PodKey,
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
            if let Some(sender) = waiting.answer.take() {
                let _ = sender.send(decided);
            }
            false
        });
    }
}
