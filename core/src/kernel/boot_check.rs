//! After a boot: did what was staged come up, and is it what was meant? By the table of rpm-ostree.md, section 5.1.

use super::attempt;
use super::flow_ostree::Ostree;
use super::record::{Attempt, Staged};
use super::tell::{fail, next, save_attempt};
use super::{Command, Next, Step, housekeeping};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

/// `None`: nothing was staged before this boot.
pub(super) fn decide(host: &Ostree) -> Option<Next> {
    let attempt = host.record.under_way()?;
    let staged = attempt.staged.as_ref()?;
    if staged.boot_id == host.observed.boot.id {
        return None;
    }
    let fault = host.fault();
    let succeeded = || {
        let step = save_attempt(host.record, |attempt| {
            attempt.succeeded = true;
            attempt.intent = None;
            attempt.error = None;
        });
        let message = format!("{} came up as wanted.", host.observed.boot.release);
        Some(next(NodePhase::Verifying, step, reason::VERIFYING, message))
    };
    // 0. Not what was staged and compared, and from one real-time kernel to another only the source says which one is
    //    wanted: looked at before the former kernel passes for it.
    if fault.is_none()
        && !host.compared(host.booted)
        && host.wanted.realtime
        && host.observed.offered.is_none()
    {
        return Some(next(
            NodePhase::Verifying,
            Step::Prepare,
            reason::VERIFYING,
            format!(
                "{} came up. The package source is looked at.",
                host.observed.boot.release
            ),
        ));
    }
    // 1. All is as wanted, whoever brought it about.
    if fault.is_none() {
        return succeeded();
    }
    // 2. What was staged runs.
    if host.recorded(host.booted) {
        if !attempt::same(&attempt.key, &host.key) {
            // Something else is wanted by now: that is another attempt.
            return succeeded();
        }
        if attempt.reboots == 0 {
            return Some(go_on(host));
        }
        let (fault, what) = fault.unwrap_or((reason::RESULT_DIFFERS, String::new()));
        return Some(if host.wanted.realtime && !host.observed.boot.realtime {
            let message = format!(
                "The deployment that was staged was booted, and its kernel is no real-time kernel ({what}). The former deployment is brought back."
            );
            fail(
                host.record,
                NodePhase::Verifying,
                reason::ROLLED_BACK,
                message,
            )
        } else {
            fail(
                host.record,
                NodePhase::Verifying,
                fault,
                format!(
                    "The deployment that was staged was booted, and it is not as wanted: {what}"
                ),
            )
        });
    }
    // 3. It could not be made bootable.
    if let Some(words) = &host.view.finalize_failure {
        return Some(finalize_failed(host, words));
    }
    // 4. It is there, and another one was booted.
    if host
        .view
        .status
        .deployments
        .iter()
        .any(|deployment| host.recorded(deployment))
    {
        return Some(fail(
            host.record,
            NodePhase::Verifying,
            reason::BOOTED_OLD,
            format!(
                "The new deployment {} was the default, and {} came up: its kernel did not boot, or somebody chose the older entry. It is taken out of the boot menu's default.",
                staged.id, host.booted.id
            ),
        ));
    }
    // 5. It is gone: power was cut before the shutdown ended, or somebody took it away.
    Some(lost(host, attempt, staged))
}

/// Nobody rebooted the node for this: the attempt goes on from what is there.
fn go_on(host: &Ostree) -> Next {
    let step = save_attempt(host.record, |attempt| {
        attempt.staged = None;
        attempt.adopted = false;
        attempt.intent = None;
        attempt.error = None;
    });
    next(
        NodePhase::Verifying,
        step,
        reason::VERIFYING,
        "The host was booted by somebody else while the switch was being prepared; it goes on from what is there.",
    )
}

fn lost(host: &Ostree, attempt: &Attempt, staged: &Staged) -> Next {
    if attempt.reboots == 0 {
        return go_on(host);
    }
    fail(
        host.record,
        NodePhase::Verifying,
        reason::DEPLOYMENT_LOST,
        format!(
            "The deployment {} that was staged for this boot is gone, without an error of its own: the power was cut before the shutdown ended, or somebody dropped it or staged another one over it.",
            staged.id
        ),
    )
}

fn finalize_failed(host: &Ostree, words: &str) -> Next {
    // What it copied to /boot before it failed stays there until this.
    let clean = Command::RpmOstree(vec!["cleanup".to_owned(), "-b".to_owned()]);
    if let Some(step) = housekeeping::try_once(host.observed, clean, host.front.key()) {
        return next(
            NodePhase::Verifying,
            step,
            reason::FINALIZE_FAILED,
            "What was staged could not be made bootable; its half-copied files are removed.",
        );
    }
    let full = ["No space left on device", "requires additional space"]
        .iter()
        .any(|part| words.contains(part));
    let (fault, remedy) = if full {
        (
            reason::NO_SPACE_IN_BOOT,
            " Make room in /boot: drop deployments that are not needed.",
        )
    } else {
        (reason::FINALIZE_FAILED, "")
    };
    fail(
        host.record,
        NodePhase::Verifying,
        fault,
        format!(
            "What was staged could not be made bootable at the shutdown: {}.{remedy}",
            words.trim().trim_end_matches('.')
        ),
    )
}
