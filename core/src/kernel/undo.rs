//! What is left of an attempt that ended badly, or that is not wanted any more: taken back, as far as it is ours.

use super::attempt;
use super::flow_ostree::Ostree;
use super::tell::{next, save};
use super::{Command, Next, Step, arguments, housekeeping, stage, turn};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

/// `None`: nothing is left to take back.
pub(super) fn decide(host: &Ostree) -> Option<Next> {
    let attempt = host.record.attempt.as_ref()?;
    let current = attempt::same(&attempt.key, &host.key);
    if attempt.under_way() && current {
        return None;
    }
    let failed = attempt.failed.as_ref();
    let message = failed.map_or_else(
        || "Something else is wanted now: what was prepared is taken back.".to_owned(),
        |failure| format!("{} What was prepared is taken back.", failure.message),
    );
    if failed.is_some_and(|failure| failure.reason == reason::ROLLED_BACK) {
        let next = if current && !host.observed.boot.realtime {
            roll_back(host, &message)
        } else {
            roll_forth(host, &message)
        };
        if next.is_some() {
            return next;
        }
    }
    let undoing = |step| next(NodePhase::Staging, step, reason::STAGING, message.clone());
    if let Some(step) = drop_ours(host) {
        return Some(undoing(step));
    }
    failed?;
    if let Some(step) = unpin(host) {
        return Some(undoing(step));
    }
    if host.nothing_pending() && host.wanted.arguments_ours {
        let mut record = host.record.clone();
        arguments::settle(&mut record, &host.observed.boot.command_line);
        if record != *host.record {
            return Some(undoing(Step::Save(Box::new(record))));
        }
    }
    None
}

/// The right deployment runs with the wrong kernel: the former one is made the default, and booted. Once.
fn roll_back(host: &Ostree, message: &str) -> Option<Next> {
    let attempt = host.record.attempt.as_ref()?;
    let wrong = host.recorded(host.booted) && !host.observed.boot.realtime;
    let asked_here = attempt.rebooting == host.observed.boot.id;
    if !wrong || (attempt.reboots > 1 && !asked_here) {
        return None;
    }
    let message = message.trim_end_matches('.');
    // What can't be done is no reason to ask for a turn.
    let back = if host.nothing_pending() {
        let former = host.view.status.deployments.get(host.at + 1)?;
        if former.osname != host.booted.osname {
            return None;
        }
        let back = Command::RpmOstree(vec!["rollback".to_owned()]);
        Some(housekeeping::try_to(host.observed, back, host.front.key())?)
    } else if host.front.staged {
        return None;
    } else {
        None
    };
    if let Some(next) = turn::gate(host.observed, message) {
        return Some(next);
    }
    Some(match back {
        Some(step) => next(NodePhase::Verifying, step, reason::ROLLED_BACK, message),
        None => turn::reboot(host.observed, host.record, message),
    })
}

/// The former deployment was made the default by us, and is not needed any more: the kernel came up well after all, or
/// something else is wanted.
fn roll_forth(host: &Ostree, message: &str) -> Option<Next> {
    if !host.recorded(host.booted) || host.nothing_pending() || host.front.staged {
        return None;
    }
    let forth = Command::RpmOstree(vec!["rollback".to_owned()]);
    let step = housekeeping::try_to(host.observed, forth, host.front.key())?;
    Some(next(
        NodePhase::Verifying,
        step,
        reason::ROLLED_BACK,
        message,
    ))
}

/// Takes the first deployment out of the list when it is ours and not booted.
pub(super) fn drop_ours(host: &Ostree) -> Option<Step> {
    if host.nothing_pending() || !host.ours(host.front) {
        return None;
    }
    if !host.recorded(host.front) {
        // What tells that it is ours is the command that is written down; the next one takes its place.
        return Some(Step::Save(Box::new(stage::claimed(host))));
    }
    // `cleanup -p` takes everything before the booted one that isn't pinned: only when that is ours alone.
    let others = host
        .view
        .status
        .deployments
        .iter()
        .take(host.at)
        .skip(1)
        .any(|deployment| !deployment.pinned);
    let command = if !others && !host.front.pinned {
        ["cleanup", "-p"].as_slice()
    } else if !host.front.staged {
        // Makes the booted one the default again.
        ["rollback"].as_slice()
    } else {
        return None;
    };
    let command = Command::RpmOstree(command.iter().map(|word| (*word).to_owned()).collect());
    housekeeping::try_to(host.observed, command, host.front.key())
}

/// Unpins what we pinned, and only that.
pub(super) fn unpin(host: &Ostree) -> Option<Step> {
    let (checksum, serial) = host.record.pinned.as_ref()?;
    let at = host.view.status.deployments.iter().position(|deployment| {
        deployment.pinned && deployment.checksum == *checksum && deployment.serial == *serial
    });
    let Some(index) = at else {
        return Some(save(host.record, |record| record.pinned = None));
    };
    let unpin = Command::Pin { index, unpin: true };
    housekeeping::try_to(host.observed, unpin, host.front.key())
}
