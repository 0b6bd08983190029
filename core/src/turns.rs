//! Who may be disturbed next: grants of turns, grants taken back, and why everybody else waits. Pure and plain: what is
//! looked at is [`Inputs`], built from the cluster's objects by [`seen`]. It pauses no pool and writes nothing; how its
//! answer becomes steps is `rollout`'s.
//!
//! The rules, all of which hold at every grant:
//! 1. A node gets a turn only when it asked for one, about the spec that it has now.
//! 2. Nodes that are out of service for whatever reason, those with a turn among them, never become more than
//!    maxUnavailable by a grant. Each counts once.
//! 3. No turn while a node of the pool is on its way to another configuration, or failed on it; none in a pool that an
//!    admin paused, or that isn't paused by us where it can be.
//! 4. No turn for a node that an admin cordoned, or that is not Ready.
//! 5. Canaries first, the others when all of them are proved. None after a failure, until somebody has seen to it.
//! 6. A turn that was given and not begun is taken back as soon as it wouldn't be given again. One that was begun is
//!    the node's until it gives it back.

mod max_unavailable;
pub mod seen;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::api::realtime_node::NodeTurn;
use crate::kernel::Cordon;

pub use max_unavailable::max_unavailable;

/// Everything that a decision about one pool needs; where there are no pools, about the nodes of one profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Inputs<'a> {
    /// All nodes of the pool, and those that go back to the stock kernel. In any order.
    pub nodes: &'a [Node],
    /// How many nodes may be out of service at once, at least 1: see [`max_unavailable`].
    pub max_unavailable: usize,
    /// How many nodes go first.
    pub canaries: usize,
    /// Whether a canary is proved only by a latency check that passed.
    pub latency_gate: bool,
    /// Who paused the pool.
    pub pool: Pool,
    /// Why no turn may be given at all, to be read after "waits for".
    pub hold: Option<String>,
}

/// The pool's pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Pool {
    /// There are no pools.
    #[default]
    None,
    /// It is not paused: it must be before a turn is given.
    Free,
    /// Paused by us.
    Ours,
    /// Paused by somebody else: no turn is given.
    Others,
}

/// One node.
// Each says one thing of a node on its own, in any combination: flags, not a state machine.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The resourceVersion of its RealtimeNode: a grant holds only for that.
    pub resource_version: String,
    /// Whether the label is on its RealtimeNode.
    pub granted: bool,
    /// What its daemon says of turns.
    pub turn: Option<NodeTurn>,
    /// Whether its daemon's word is about the spec that it has now.
    pub current: bool,
    /// Its daemon's word.
    pub word: Word,
    /// Whether its last latency check passed; `None`: there was none.
    pub latency_passed: Option<bool>,
    /// Who cordoned it.
    pub cordon: Cordon,
    /// Whether its kubelet says Ready.
    pub ready: bool,
    /// What the Machine Config Operator does with it.
    pub machine_config: MachineConfigState,
    /// Whether it goes back to the stock kernel for good: such a node is no canary, and waits for none.
    pub going_back: bool,
}

/// A daemon's word about its node, as far as turns go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Word {
    /// On its way, or silent.
    #[default]
    Other,
    /// What its spec says.
    Ready,
    /// Failed: its words.
    Degraded(String),
}

/// What the Machine Config Operator does with a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MachineConfigState {
    /// It is done with it, and the node has the pool's target; or there is no Machine Config Operator.
    #[default]
    Done,
    /// It isn't at the pool's target yet, or not settled.
    Busy,
    /// It failed.
    Degraded,
}

/// A node's turn, bound to the resourceVersion of its RealtimeNode.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn {
    /// The node.
    pub node: String,
    /// Only if its RealtimeNode is still at this one.
    pub resource_version: String,
}

/// Why a node waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The node.
    pub node: String,
    /// For what, to be read after "waits for".
    pub what: String,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Turns to be given now, in this order.
    pub grants: Vec<Turn>,
    /// Turns to be taken back.
    pub take_back: Vec<Turn>,
    /// A turn could be given if the pool were paused by us.
    pub pause: bool,
    /// Somebody has a turn or gets one now: a pause of ours must go on.
    pub busy: bool,
    /// The nodes with the label, sorted: what a look past every cache must find before a grant.
    pub out: Vec<String>,
    /// Everybody who asked and gets none now.
    pub waits: Vec<Waits>,
}

impl Node {
    /// Whether it has a turn: given, or begun. A label that somebody took off doesn't end what was begun.
    pub fn has_turn(&self) -> bool {
        self.granted || self.turn == Some(NodeTurn::Taken)
    }

    /// Why it counts as out of service; `None`: it is in service.
    fn out_of_service(&self) -> Option<&'static str> {
        if self.has_turn() {
            Some("has its turn")
        } else if matches!(self.word, Word::Degraded(_)) {
            Some("failed")
        } else if self.cordon != Cordon::No {
            Some("is cordoned")
        } else if !self.ready {
            Some("is not Ready")
        } else {
            match self.machine_config {
                MachineConfigState::Done => None,
                MachineConfigState::Busy => Some("is being updated"),
                MachineConfigState::Degraded => Some("failed its update"),
            }
        }
    }

    fn is_proved(&self, latency_gate: bool) -> bool {
        self.current
            && self.word == Word::Ready
            && (!latency_gate || self.latency_passed == Some(true))
    }
}

/// The answer. The same inputs give the same answer; it never depends on the nodes' order.
pub fn decide(inputs: &Inputs<'_>) -> Decision {
    let mut nodes: Vec<&Node> = inputs.nodes.iter().collect();
    nodes.sort_by(|left, right| left.name.cmp(&right.name));
    let look = Look::of(inputs, &nodes);
    let mut decision = Decision {
        out: nodes
            .iter()
            .filter(|node| node.granted)
            .map(|node| node.name.clone())
            .collect(),
        ..Decision::default()
    };
    look.take_back(&mut decision);
    look.give(&mut decision);
    decision.busy = !decision.grants.is_empty() || nodes.iter().any(|node| node.has_turn());
    decision
}

/// The inputs, looked at once.
struct Look<'a> {
    inputs: &'a Inputs<'a>,
    /// Sorted by name.
    nodes: &'a [&'a Node],
    canaries: BTreeSet<&'a str>,
    /// Who is out of service, and why. A pool may have thousands of nodes: looked at once and not for each that waits.
    down: Vec<(&'a str, &'static str)>,
    /// Why nobody gets a turn, whatever the node.
    others: Option<String>,
    /// Why nobody but a canary gets one.
    canary: Option<String>,
}

impl<'a> Look<'a> {
    fn of(inputs: &'a Inputs<'a>, nodes: &'a [&'a Node]) -> Self {
        let canaries: BTreeSet<&str> = nodes
            .iter()
            .filter(|node| !node.going_back)
            .take(inputs.canaries)
            .map(|node| node.name.as_str())
            .collect();
        Self {
            inputs,
            nodes,
            down: nodes
                .iter()
                .filter_map(|node| Some((node.name.as_str(), node.out_of_service()?)))
                .collect(),
            others: refusal_by_others(nodes),
            canary: refusal_by_canary(nodes, &canaries, inputs.latency_gate),
            canaries,
        }
    }

    /// Labels that are no longer needed, and turns that were not begun and wouldn't be given any more.
    fn take_back(&self, decision: &mut Decision) {
        let mut excess = self.down.len().saturating_sub(self.inputs.max_unavailable);
        for node in self.nodes.iter().rev().filter(|node| node.granted) {
            let back = match node.turn {
                None => true,
                Some(NodeTurn::Taken) => false,
                Some(NodeTurn::Wanted) => {
                    let refused = self.refusal(node).is_some() || self.inputs.pool == Pool::Free;
                    let over = excess > 0;
                    excess = excess.saturating_sub(usize::from(!refused));
                    refused || over
                }
            };
            if back {
                decision.take_back.push(Turn {
                    node: node.name.clone(),
                    resource_version: node.resource_version.clone(),
                });
            }
        }
    }

    /// Turns for those who asked, as many as may be out of service.
    fn give(&self, decision: &mut Decision) {
        let mut down = self.down.len();
        for node in self.nodes {
            if node.turn != Some(NodeTurn::Wanted) || node.granted {
                continue;
            }
            let more = usize::from(node.out_of_service().is_none());
            let what = if let Some(refusal) = self.refusal(node) {
                refusal
            } else if down + more > self.inputs.max_unavailable {
                self.full()
            } else if self.inputs.pool == Pool::Free {
                decision.pause = true;
                down += more;
                "its pool to be paused by us".to_owned()
            } else {
                down += more;
                decision.grants.push(Turn {
                    node: node.name.clone(),
                    resource_version: node.resource_version.clone(),
                });
                continue;
            };
            decision.waits.push(Waits {
                node: node.name.clone(),
                what,
            });
        }
    }

    /// Why a node gets no turn, whatever number may be out of service. The first rule that applies.
    fn refusal(&self, node: &Node) -> Option<String> {
        if let Some(hold) = &self.inputs.hold {
            return Some(hold.clone());
        }
        if self.inputs.pool == Pool::Others {
            return Some(
                "the pool to be unpaused by whoever paused it: no node is rebooted in it meanwhile"
                    .to_owned(),
            );
        }
        if !node.current {
            return Some("its node daemon to look at what is wanted now".to_owned());
        }
        if node.cordon == Cordon::Others {
            return Some("the cordon to be lifted by whoever set it".to_owned());
        }
        if !node.ready {
            return Some("the node to be Ready".to_owned());
        }
        if self.others.is_some() {
            return self.others.clone();
        }
        let waits_for_canaries = !node.going_back && !self.canaries.contains(node.name.as_str());
        self.canary.clone().filter(|_| waits_for_canaries)
    }

    /// Who takes up the places.
    fn full(&self) -> String {
        const LISTED: usize = 3;
        let more = match self.down.len().saturating_sub(LISTED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let listed: Vec<String> = self
            .down
            .iter()
            .take(LISTED)
            .map(|(name, why)| format!("{name} {why}"))
            .collect();
        format!(
            "its turn: maxUnavailable is {}, and {}{more}",
            self.inputs.max_unavailable,
            if listed.is_empty() {
                "others come first".to_owned()
            } else {
                listed.join(", ")
            }
        )
    }
}

/// A failure, and the Machine Config Operator: nobody gets a turn meanwhile.
fn refusal_by_others(nodes: &[&Node]) -> Option<String> {
    let failed = nodes.iter().find_map(|other| match &other.word {
        Word::Degraded(words) => Some((&other.name, words)),
        Word::Other | Word::Ready => None,
    });
    if let Some((name, words)) = failed {
        return Some(format!(
            "node {name}, which failed, to be seen to: {}",
            words.trim_end_matches('.')
        ));
    }
    let with = |state: MachineConfigState| nodes.iter().find(|node| node.machine_config == state);
    if let Some(other) = with(MachineConfigState::Degraded) {
        return Some(format!(
            "node {}, which failed on its configuration, to be seen to",
            other.name
        ));
    }
    with(MachineConfigState::Busy).map(|other| {
        format!(
            "the Machine Config Operator to be done with node {}",
            other.name
        )
    })
}

/// The first canary that isn't proved yet.
fn refusal_by_canary(nodes: &[&Node], canaries: &BTreeSet<&str>, gate: bool) -> Option<String> {
    let canary = nodes
        .iter()
        .find(|node| canaries.contains(node.name.as_str()) && !node.is_proved(gate))?;
    let what = if canary.is_proved(false) {
        "to pass its latency check"
    } else {
        "to be Ready"
    };
    Some(format!("canary {} {what}", canary.name))
}
