//! What is under way, or why nothing is: one state out of everything that was seen. Writes no condition.

use super::progress::{NodeProgress, ProgressPhase};
use super::{LISTED, View, daemon, progress, writes_objects};
use crate::cluster::Dialect;
use crate::conditions::reason;
use crate::names;
use crate::rollout::{Before, Pause, Step, Wait, pause_of};
use kube::ResourceExt;

/// What is under way, or why nothing is.
pub(super) struct State {
    /// Whether something moves.
    pub(super) moving: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl State {
    fn moving(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            moving: true,
            reason,
            message: message.into(),
        }
    }

    fn resting(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            moving: false,
            reason,
            message: message.into(),
        }
    }
}

impl View<'_> {
    /// The first rule that applies.
    pub(super) fn state(&self) -> State {
        let profile = self.inputs.profile;
        if profile.metadata.deletion_timestamp.is_some() {
            return self.deleting();
        }
        if self.inputs.wanted.is_none() {
            return State::resting(
                self.why_invalid(),
                "nothing is changed until nothing stands against it any more: see the condition Valid",
            );
        }
        if self.wait(|wait| *wait == Wait::RolloutPaused).is_some() {
            let held = self
                .pool
                .is_some_and(|pool| pause_of(pool, &profile.name_any()) == Pause::Ours);
            let note = if held {
                "; the pool stays paused by us meanwhile"
            } else {
                ""
            };
            return State::resting(
                reason::ROLLOUT_PAUSED,
                format!(
                    "spec.rollout.pause is true: nothing is written{note}; set it to false to go on"
                ),
            );
        }
        if let Some(failure) = self.inputs.failure {
            return State::moving(reason::WRITE_FAILED, format!("tried again soon: {failure}"));
        }
        if let Some(state) = self.writing_or_waiting() {
            return state;
        }
        self.rolling()
    }

    /// Nodes that go back to the stock kernel before something else can be done.
    fn going_back(&self) -> Option<State> {
        let wait = self.wait(|wait| matches!(wait, Wait::NodesGoingBack { .. }))?;
        let Wait::NodesGoingBack { nodes, before } = wait else {
            return None;
        };
        let then = match before {
            Before::Deletion => "the profile is deleted when the stock kernel runs on its nodes",
            Before::MachineConfig => {
                "the Machine Config Operator gets the kernel when the stock kernel runs on all of them, so that two never \
                 drive one"
            }
            Before::Nothing => return None,
        };
        if nodes.is_empty() {
            return Some(State::moving(
                reason::NODES_GOING_BACK,
                "the last node's turn is being taken back",
            ));
        }
        Some(State::moving(
            reason::NODES_GOING_BACK,
            format!(
                "{} node(s) go back to the stock kernel, by their node daemons: {}; {then}. If a node's daemon is gone for \
                 good, delete its RealtimeNode: oc delete rtn NODE",
                nodes.len(),
                self.each(nodes)
            ),
        ))
    }

    /// Nodes, with what each waits for where that is known.
    fn each(&self, nodes: &[String]) -> String {
        let asked = |node: &String| {
            self.inputs.steps.iter().find_map(|step| match step {
                Step::Wait(Wait::Turns(waits)) => {
                    let mut waits = waits.iter();
                    waits.find(|wait| wait.node == *node)
                }
                _ => None,
            })
        };
        let mut told: Vec<String> = nodes
            .iter()
            .take(LISTED)
            .map(|node| match asked(node) {
                Some(wait) => format!("{node} (waits for {})", wait.what),
                None => self.said_by(node),
            })
            .collect();
        if nodes.len() > LISTED {
            told.push(format!("{} more", nodes.len() - LISTED));
        }
        told.join(", ")
    }

    fn said_by(&self, node: &str) -> String {
        let realtime_nodes = &self.inputs.cluster.realtime_nodes;
        let reported = realtime_nodes
            .iter()
            .find(|reported| reported.metadata.name.as_deref() == Some(node));
        let nodes = &self.inputs.cluster.nodes;
        let object = nodes
            .iter()
            .find(|object| object.metadata.name.as_deref() == Some(node));
        let word = object
            .zip(reported)
            .and_then(|(object, reported)| daemon::word(object, reported, false, None, None));
        match word {
            Some((phase, what)) if phase != ProgressPhase::Ready => {
                format!("{node} ({})", progress::in_words(phase, &what))
            }
            _ => node.to_owned(),
        }
    }

    fn deleting(&self) -> State {
        if let Some(state) = self.going_back() {
            return state;
        }
        if let Some(Wait::NodesLeaving { pool, nodes }) =
            self.wait(|wait| matches!(wait, Wait::NodesLeaving { .. }))
        {
            let shown = nodes
                .iter()
                .take(LISTED)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            return State::moving(
                reason::NODES_LEAVING,
                format!(
                    "{} node(s) still have a configuration of pool {pool} and are on their way to the pool that they fall \
                     back to ({shown}); if nothing moves, look whether that pool is paused or has a degraded node",
                    nodes.len()
                ),
            );
        }
        if let Some(Wait::Gone(kind, name)) = self.wait(|wait| matches!(wait, Wait::Gone(..))) {
            return State::moving(
                reason::DELETING,
                format!("waits for {} {name} to be gone", kind.name()),
            );
        }
        if let Some(Wait::Target(missing)) = self.wait(|wait| matches!(wait, Wait::Target(_))) {
            return State::moving(
                reason::DELETING,
                format!(
                    "{} is paused by us until its target no longer holds what was ours: {}",
                    self.pool_words(),
                    missing.join("; ")
                ),
            );
        }
        State::moving(reason::DELETING, "what the profile made is being deleted")
    }

    fn writing_or_waiting(&self) -> Option<State> {
        let pool = self.pool_words();
        if let Some(Wait::PoolMissing(name)) =
            self.wait(|wait| matches!(wait, Wait::PoolMissing(_)))
        {
            return Some(State::resting(
                reason::POOL_MISSING,
                format!(
                    "pool {name} does not exist and spec.pool.create is false: create it, or let create be true"
                ),
            ));
        }
        if let Some(Wait::Gone(kind, name)) = self.wait(|wait| matches!(wait, Wait::Gone(..))) {
            return Some(State::moving(
                reason::WRITING_OBJECTS,
                format!("waits for the former {} {name} to be gone", kind.name()),
            ));
        }
        if let Some(Wait::FirstReports { nodes, .. }) =
            self.wait(|wait| matches!(wait, Wait::FirstReports { .. }))
        {
            let shown: Vec<&str> = nodes.iter().take(LISTED).map(String::as_str).collect();
            let more = match nodes.len().saturating_sub(LISTED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            return Some(State::moving(
                reason::WAITING_FOR_FIRST_REPORTS,
                format!(
                    "{pool}: what hardware {}{more} have decides about kernel arguments or kubelet configuration, and is not \
                     known yet; their node daemons, where there are any, have some seconds to tell, then what is known is written",
                    shown.join(", ")
                ),
            ));
        }
        if let Some(state) = self.going_back() {
            return Some(state);
        }
        if self.inputs.steps.iter().any(writes_objects) {
            return Some(State::moving(
                reason::WRITING_OBJECTS,
                format!("the objects of {pool} are being written"),
            ));
        }
        match self.wait(|wait| matches!(wait, Wait::KubeletConfig(_) | Wait::Target(_)))? {
            Wait::KubeletConfig(None) => Some(State::moving(
                reason::WAITING_FOR_KUBELET_CONFIG,
                format!(
                    "{pool} stays paused until the Machine Config Operator has looked at KubeletConfig {}",
                    names::object_name(&self.inputs.profile.name_any())
                ),
            )),
            Wait::KubeletConfig(Some(words)) => Some(State::resting(
                reason::KUBELET_CONFIG_REFUSED,
                format!(
                    "{pool} stays paused by us, because our KubeletConfig was refused: {words}"
                ),
            )),
            Wait::Target(missing) => Some(State::moving(
                reason::WAITING_FOR_RENDER,
                format!(
                    "{pool} stays paused until its target holds everything that was written, so that each node reboots once; \
                     missing: {}",
                    missing.join("; ")
                ),
            )),
            _ => None,
        }
    }

    /// Everything is written and rendered: what remains is the nodes'.
    fn rolling(&self) -> State {
        let pool = self.pool_words();
        let total = self.nodes.len();
        let ready = self.count(|phase| phase == ProgressPhase::Ready);
        let verifying = self.count(|phase| phase == ProgressPhase::Verifying);
        let waiting = self.count(|phase| phase == ProgressPhase::Waiting);
        let under_way = self.count(ProgressPhase::is_under_way);
        if total == 0 {
            return State::resting(
                reason::NO_NODES,
                format!(
                    "everything is in place, and no node is in {pool} yet: {}",
                    self.how_to_join()
                ),
            );
        }
        if waiting > 0
            && under_way == 0
            && self
                .wait(|wait| matches!(wait, Wait::AdminUnpause(_)))
                .is_some()
        {
            let turns = self
                .nodes
                .iter()
                .all(|node| node.by_daemon || node.phase != ProgressPhase::Waiting);
            let for_what = if turns {
                "for their node daemon's turn"
            } else {
                "with the change rendered"
            };
            return State::resting(
                reason::PAUSED_BY_ADMIN,
                format!(
                    "{pool} was paused by somebody else: {waiting} node(s) wait {for_what}; unpause it with: oc \
                     patch mcp {} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'",
                    self.pool_name.as_deref().unwrap_or_default()
                ),
            );
        }
        let on_the_way =
            |phase: ProgressPhase| phase.is_under_way() || phase == ProgressPhase::Waiting;
        let by_daemons = |node: &NodeProgress| node.by_daemon || !on_the_way(node.phase);
        if waiting + under_way > 0 && self.nodes.iter().all(by_daemons) {
            return self.by_node_daemons();
        }
        if waiting + under_way > 0 {
            return State::moving(
                reason::ROLLING_OUT,
                format!("{ready} of {total} nodes ready; {}", self.list(on_the_way)),
            );
        }
        if verifying > 0 {
            let daemon = self
                .inputs
                .wanted
                .is_some_and(|(valid, _)| !valid.kernel.by_machine_config_operator);
            return if daemon {
                self.by_node_daemons()
            } else {
                State::moving(
                    reason::VERIFYING,
                    format!(
                        "{ready} of {total} nodes proved their kernel; waiting for {}",
                        self.list(|phase| phase == ProgressPhase::Verifying)
                    ),
                )
            };
        }
        if let Some(unsaid) = self.unsaid() {
            return State::moving(
                reason::WAITING_FOR_POOL,
                format!(
                    "{ready} of {total} nodes are what the profile says; waiting for {pool} to say so too: {unsaid}"
                ),
            );
        }
        State::resting(
            reason::UPDATED,
            format!(
                "{ready} of {total} nodes are what the profile says{}",
                self.leavers()
            ),
        )
    }

    /// The kernel is the node daemons' to switch: who is how far, why it is theirs, and what would help.
    fn by_node_daemons(&self) -> State {
        let open = |phase: ProgressPhase| {
            phase.is_under_way()
                || matches!(phase, ProgressPhase::Waiting | ProgressPhase::Verifying)
        };
        let served = self.inputs.cluster.served;
        let why = if served.machine_configs && served.dialect == Dialect::None {
            "; this cluster's MachineConfig has no field for the kernel, so nothing is written there that would be ignored: \
             after an upgrade to a release that serves spec.kernelType the Machine Config Operator switches it"
        } else {
            ""
        };
        let none_by_daemon = self.nodes.iter().all(|node| !node.by_daemon);
        let deployed = if none_by_daemon {
            "; no node daemon has reported yet: does it run on these nodes? oc get pods -A -o wide | grep realtime-node-daemon"
        } else {
            ""
        };
        State::moving(
            reason::KERNEL_BY_NODE_DAEMON,
            format!(
                "the kernel of these nodes is the node daemon's to switch; waiting for {}{why}{deployed}",
                self.list(open)
            ),
        )
    }

    /// Nodes that left and are on their way back, as an addition to a sentence.
    fn leavers(&self) -> String {
        match self.wait(|wait| matches!(wait, Wait::NodesGoingBack { .. })) {
            Some(Wait::NodesGoingBack { nodes, .. }) if !nodes.is_empty() => format!(
                "; nodes that left go back to the stock kernel: {}",
                self.each(nodes)
            ),
            _ => String::new(),
        }
    }

    fn how_to_join(&self) -> String {
        let labels = self
            .pool
            .and_then(|pool| pool.spec.node_selector.as_ref())
            .and_then(|selector| selector.match_labels.clone())
            .unwrap_or_default();
        if labels.is_empty() {
            return "let its node selector match nodes".to_owned();
        }
        let labels: Vec<String> = labels
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        format!("oc label node NODE {}", labels.join(" "))
    }
}
