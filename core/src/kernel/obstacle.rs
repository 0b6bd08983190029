//! What keeps a host of either sort from beginning: a former attempt, a package source that has not what is needed. Must not
//! decide what is begun.

use super::packages::Problem;
use super::record::Attempt;
use super::tell::{self, RETRY};
use super::turn::{LOOK_AGAIN, settle};
use super::{Next, Observed, Step};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

/// It needs a person.
pub(super) fn degraded(
    observed: &Observed,
    reason: &'static str,
    message: impl Into<String>,
) -> Next {
    settle(observed, NodePhase::Degraded, Step::Rest, reason, message)
}

/// There is one attempt for each wanted state, and this one is over.
pub(super) fn attempted(
    observed: &Observed,
    attempt: Option<&Attempt>,
    what: &str,
) -> Option<Next> {
    let attempt = attempt?;
    if let Some(failure) = &attempt.failed {
        let message = format!("{} {what} {RETRY}", failure.message);
        return Some(degraded(observed, tell::constant(&failure.reason), message));
    }
    attempt.succeeded.then(|| {
        let message =
            format!("What is wanted was brought about once, and somebody undid it. {what} {RETRY}");
        degraded(observed, reason::UNDONE, message)
    })
}

/// There are no packages to choose: looked at again when that may help.
pub(super) fn no_packages(observed: &Observed, problem: &Problem, what: &str) -> Next {
    if !problem.transient {
        let message = format!("{what} {}", problem.message);
        return degraded(observed, problem.reason, message);
    }
    settle(
        observed,
        NodePhase::Observing,
        LOOK_AGAIN,
        problem.reason,
        format!("{what} {} It is tried again.", problem.message),
    )
}
