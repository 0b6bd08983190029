//! What is under way, or why nothing is: one state out of everything that was seen. Writes no condition.

use super::progress::ProgressPhase;
use super::{LISTED, View};
use crate::conditions::reason;
use crate::names;
use crate::rollout::{Pause, Step, Wait, pause_of};
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

    fn deleting(&self) -> State {
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
        let reaches_pool = |step: &Step| {
            step.writes()
                && !matches!(
                    step,
                    Step::ApplyRealtimeNode { .. }
                        | Step::DeleteRealtimeNode { .. }
                        | Step::Unpause { .. }
                )
        };
        if self.inputs.steps.iter().any(reaches_pool) {
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
            return State::resting(
                reason::PAUSED_BY_ADMIN,
                format!(
                    "{pool} was paused by somebody else: {waiting} node(s) wait with the change rendered; unpause it with: oc \
                     patch mcp {} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'",
                    self.pool_name.as_deref().unwrap_or_default()
                ),
            );
        }
        if waiting + under_way > 0 {
            return State::moving(
                reason::ROLLING_OUT,
                format!(
                    "{ready} of {total} nodes ready; {}",
                    self.list(|phase| phase.is_under_way() || phase == ProgressPhase::Waiting)
                ),
            );
        }
        if verifying > 0 {
            let daemon = self
                .inputs
                .wanted
                .is_some_and(|(valid, _)| !valid.kernel.by_machine_config_operator);
            return if daemon {
                State::moving(
                    reason::KERNEL_BY_NODE_DAEMON,
                    format!(
                        "the kernel of these nodes is the node daemon's to switch; waiting for {}",
                        self.list(|phase| phase == ProgressPhase::Verifying)
                    ),
                )
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
            format!("{ready} of {total} nodes are what the profile says"),
        )
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
