//! The node's turn, its cordon and its drain: what comes before and after anything that disturbs. Nothing here looks at
//! kernels.

use super::record::Record;
use super::tell::{fail, next};
use super::{Command, Cordon, DRAIN_LIMIT, Drain, Next, Observed, Step};
use crate::api::realtime_node::{NodePhase, NodeTurn};
use crate::conditions::reason;

/// How long to wait for things of which the daemon may not be told.
pub(super) const LOOK_AGAIN: Step = Step::Wait { seconds: 60 };
/// Most pods that a message names.
const PODS_SHOWN: usize = 10;

/// Before anything disturbs: `None` when it may begin.
pub(super) fn gate(observed: &Observed, what: &str) -> Option<Next> {
    let node = &observed.node;
    if !node.cluster {
        return None;
    }
    if node.cordon == Cordon::Others {
        return Some(next(
            NodePhase::Pending,
            LOOK_AGAIN,
            reason::CORDONED_BY_OTHERS,
            format!(
                "{what}, and somebody else cordoned this node. Nothing is done until the node is uncordoned."
            ),
        ));
    }
    let pending = |step, message: String| {
        Some(next(
            NodePhase::Pending,
            step,
            reason::WAITING_FOR_TURN,
            message,
        ))
    };
    match node.turn {
        Some(NodeTurn::Taken) => None,
        None => pending(
            Step::WantTurn,
            format!("{what}. The node asks for its turn."),
        ),
        Some(NodeTurn::Wanted) if node.granted => {
            pending(Step::TakeTurn, format!("{what}. It is this node's turn."))
        }
        Some(NodeTurn::Wanted) => pending(
            Step::Rest,
            format!(
                "{what}. The node waits for its turn: the operator lets no more nodes begin than the pool's maxUnavailable allows."
            ),
        ),
    }
}

/// The last look at a decision: what changes the host waits for the node's turn, whoever decided it. Taking a pin off
/// touches nothing that anybody else drives.
pub(super) fn guarded(observed: &Observed, next: Next) -> Next {
    let changes = match &next.step {
        Step::Run(Command::Pin { unpin, .. }) => !unpin,
        Step::Run(_) | Step::Cordon | Step::Drain | Step::Reboot => true,
        _ => false,
    };
    if !changes {
        return next;
    }
    let told = next.conditions.first();
    let what = told.map_or("", |condition| condition.message.as_str());
    gate(observed, what.trim_end_matches('.')).unwrap_or(next)
}

/// When nothing disturbs any more: the cordon and the turn that are still ours. The conditions are the caller's.
pub(super) fn give_back(observed: &Observed) -> Option<Step> {
    let node = &observed.node;
    if !node.cluster {
        return None;
    }
    if node.cordon == Cordon::Ours {
        return Some(Step::Uncordon);
    }
    node.turn.is_some().then_some(Step::ReturnTurn)
}

/// A state in which the daemon rests: first gives back what it holds.
pub(super) fn settle(
    observed: &Observed,
    phase: NodePhase,
    rest: Step,
    reason: &'static str,
    message: impl Into<String>,
) -> Next {
    next(phase, give_back(observed).unwrap_or(rest), reason, message)
}

/// All is in place for the next boot: cordon, drain, reboot. `record` is the one whose attempt is under way.
pub(super) fn reboot(observed: &Observed, record: &Record, what: &str) -> Next {
    let node = &observed.node;
    if node.cluster {
        match node.cordon {
            Cordon::No => {
                return next(
                    NodePhase::Draining,
                    Step::Cordon,
                    reason::DRAINING,
                    format!("{what}. The node is cordoned for its reboot."),
                );
            }
            Cordon::Others => {
                return next(
                    NodePhase::Draining,
                    LOOK_AGAIN,
                    reason::CORDONED_BY_OTHERS,
                    format!(
                        "{what}, and somebody else cordoned this node. It is not drained and not rebooted until it is uncordoned."
                    ),
                );
            }
            Cordon::Ours => {}
        }
        match &node.drain {
            Drain::Unknown => {
                return next(
                    NodePhase::Draining,
                    Step::Drain,
                    reason::DRAINING,
                    format!("{what}. Pods are evicted from the node."),
                );
            }
            Drain::Remaining { pods, seconds } if *seconds > DRAIN_LIMIT => {
                return fail(
                    record,
                    NodePhase::Draining,
                    reason::DRAIN_BLOCKED,
                    format!(
                        "After {} minutes these pods were still on the node: {}. The node keeps its kernel and takes pods again. Look at their PodDisruptionBudgets and finalizers.",
                        DRAIN_LIMIT / 60,
                        listed(pods)
                    ),
                );
            }
            Drain::Remaining { pods, seconds } => {
                return next(
                    NodePhase::Draining,
                    Step::Drain,
                    reason::DRAINING,
                    format!(
                        "{what}. Pods are evicted from the node; after {} of {} minutes these are left: {}.",
                        seconds / 60,
                        DRAIN_LIMIT / 60,
                        listed(pods)
                    ),
                );
            }
            Drain::Done => {}
        }
    } else if !node.may_reboot {
        return next(
            NodePhase::Staging,
            Step::Rest,
            reason::REBOOT_NEEDED,
            format!(
                "{what}. Reboot the host when it suits: the configuration does not let the daemon do it."
            ),
        );
    }
    let asked = record
        .attempt
        .as_ref()
        .is_some_and(|attempt| attempt.rebooting == observed.boot.id);
    let message = format!("{what}. The node reboots.");
    if asked {
        return next(
            NodePhase::Rebooting,
            Step::Reboot,
            reason::REBOOTING,
            message,
        );
    }
    let step = super::tell::save_attempt(record, |attempt| {
        attempt.reboots = attempt.reboots.saturating_add(1);
        attempt.rebooting.clone_from(&observed.boot.id);
    });
    next(NodePhase::Rebooting, step, reason::REBOOTING, message)
}

fn listed(pods: &[String]) -> String {
    if pods.is_empty() {
        return "none by name".to_owned();
    }
    let mut names: Vec<String> = pods.iter().take(PODS_SHOWN).cloned().collect();
    if pods.len() > PODS_SHOWN {
        names.push(format!("and {} more", pods.len() - PODS_SHOWN));
    }
    names.join(", ")
}
