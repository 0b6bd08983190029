//! A decision with its phase, its conditions and their words. Decides nothing.

use super::record::{Attempt, Failure, Record};
use super::{Next, Step};
use crate::api::realtime_node::NodePhase;
use crate::conditions::{DEGRADED, Decided, KERNEL_READY, reason};

/// What helps when an attempt has come to a bad end: put behind every such sentence.
pub(super) const RETRY: &str = "There is no further attempt until the profile, the operating system or the annotation realtime.openshift.io/retry of this RealtimeNode changes.";

/// A decision.
pub(super) fn next(
    phase: NodePhase,
    step: Step,
    reason: &'static str,
    message: impl Into<String>,
) -> Next {
    let message = message.into();
    let (ready, degraded) = (phase == NodePhase::Ready, phase == NodePhase::Degraded);
    let fault = if degraded {
        Decided::new(DEGRADED, Some(true), reason, message.clone())
    } else {
        Decided::new(DEGRADED, Some(false), reason::AS_EXPECTED, "")
    };
    Next {
        phase,
        step,
        conditions: vec![
            Decided::new(KERNEL_READY, Some(ready), reason, message),
            fault,
        ],
    }
}

/// Writes the record changed.
pub(super) fn save(record: &Record, change: impl FnOnce(&mut Record)) -> Step {
    let mut record = record.clone();
    change(&mut record);
    Step::Save(Box::new(record))
}

/// Writes the record with its attempt changed.
pub(super) fn save_attempt(record: &Record, change: impl FnOnce(&mut Attempt)) -> Step {
    save(record, |record| {
        change(record.attempt.get_or_insert_default());
    })
}

/// Ends the attempt badly.
pub(super) fn fail(
    record: &Record,
    phase: NodePhase,
    reason: &'static str,
    message: impl Into<String>,
) -> Next {
    let message = message.into();
    let step = save_attempt(record, |attempt| {
        attempt.failed = Some(Failure {
            reason: reason.to_owned(),
            message: message.clone(),
        });
        // Nothing runs any more: what appears from now on is not ours.
        attempt.intent = None;
        attempt.error = None;
    });
    next(phase, step, reason, message)
}

/// The constant of a reason that was read back from the record.
pub(super) fn constant(word: &str) -> &'static str {
    const ALL: [&str; 24] = [
        reason::DRAIN_BLOCKED,
        reason::NO_SPACE_IN_BOOT,
        reason::NO_SPACE_IN_SYSROOT,
        reason::PACKAGES_NOT_FOUND,
        reason::DEPSOLVE_FAILED,
        reason::SOURCE_UNUSABLE,
        reason::CHECKSUM_WRONG,
        reason::PACKAGE_DAMAGED,
        reason::LAYERING_LOCKED,
        reason::COMMAND_FAILED,
        reason::HOST_BUSY,
        reason::FINALIZE_FAILED,
        reason::BOOTED_OLD,
        reason::DEPLOYMENT_LOST,
        reason::OVERRIDE_INACTIVE,
        reason::RESULT_DIFFERS,
        reason::ROLLED_BACK,
        reason::REALTIME_KERNEL_RUNS,
        reason::ARGUMENTS_MISSING,
        reason::UNKNOWN_HOST,
        reason::VERSIONS_DIFFER,
        reason::UNDONE,
        reason::FOREIGN_DEPLOYMENT,
        reason::STOCK_KERNEL_RUNS,
    ];
    ALL.into_iter()
        .find(|reason| *reason == word)
        .unwrap_or(reason::COMMAND_FAILED)
}
