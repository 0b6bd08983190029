//! A host with dnf and grubby: after a boot, after a failure, and when all is as wanted. Nothing here disturbs, but the
//! one reboot that brings the stock kernel back.

use super::attempt;
use super::flow_rpm::{Rpm, release_of};
use super::rpm_stage::{set_default, update};
use super::tell::{fail, next, save, save_attempt};
use super::{Command, Next, Step, arguments, housekeeping, packages, release, turn, verify};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

/// Did what was made the default come up, and is it what was meant?
pub(super) fn after_boot(host: &Rpm) -> Option<Next> {
    let attempt = host.record.under_way()?;
    let staged = attempt.staged.as_ref()?;
    let boot = &host.observed.boot;
    if staged.boot_id == boot.id {
        return None;
    }
    let fault = host.fault();
    let came_up = staged.release.as_deref() == Some(boot.release.as_str());
    let other_wanted = !attempt::same(&attempt.key, &host.key);
    let Some((fault, what)) = fault.filter(|_| !(came_up && other_wanted)) else {
        let step = save_attempt(host.record, |attempt| {
            attempt.succeeded = true;
            attempt.intent = None;
            attempt.error = None;
        });
        return Some(next(
            NodePhase::Verifying,
            step,
            reason::VERIFYING,
            format!("{} came up as wanted.", boot.release),
        ));
    };
    if attempt.reboots == 0 {
        let step = save_attempt(host.record, |attempt| {
            attempt.staged = None;
            attempt.intent = None;
            attempt.error = None;
        });
        let message = "The host was booted by somebody else while the switch was being prepared; it goes on from what is there.";
        return Some(next(NodePhase::Verifying, step, reason::VERIFYING, message));
    }
    let (fault, message) = if !came_up {
        (
            reason::BOOTED_OLD,
            format!(
                "{} was the default, and {} came up: it did not boot, or somebody chose another entry. The former kernel is made the default again.",
                staged.checksum, boot.release
            ),
        )
    } else if host.wanted.realtime && !boot.realtime {
        (
            reason::ROLLED_BACK,
            format!(
                "{} came up and is no real-time kernel. The former kernel is brought back.",
                boot.release
            ),
        )
    } else {
        (
            fault,
            format!("What was made the default came up, and it is not as wanted: {what}"),
        )
    };
    Some(fail(host.record, NodePhase::Verifying, fault, message))
}

/// After a failure the kernel that runs (or, once, the former one) is the default again.
pub(super) fn undo(host: &Rpm) -> Option<Next> {
    let attempt = host.record.attempt.as_ref()?;
    let current = attempt::same(&attempt.key, &host.key);
    if attempt.under_way() && current {
        return None;
    }
    let failure = attempt.failed.as_ref();
    let message = failure.map_or_else(
        || "Something else is wanted now: what was prepared is taken back.".to_owned(),
        |failure| format!("{} What was prepared is taken back.", failure.message),
    );
    if !attempt.under_way() && failure.is_none() {
        return None;
    }
    let boot = &host.observed.boot;
    let wrong = attempt
        .staged
        .as_ref()
        .is_some_and(|staged| staged.release.as_deref() == Some(boot.release.as_str()));
    let rolling_back =
        current && wrong && failure.is_some_and(|failure| failure.reason == reason::ROLLED_BACK);
    let back = if rolling_back {
        host.target(false)
    } else {
        host.running()
    };
    let back = back.map(|entry| entry.kernel.as_str());
    if let Some(kernel) = back.filter(|kernel| host.view.default_kernel.as_deref() != Some(kernel))
        && let Some(step) = housekeeping::try_to(host.observed, set_default(kernel), String::new())
    {
        return Some(next(NodePhase::Staging, step, reason::STAGING, message));
    }
    let asked_here = attempt.rebooting == boot.id;
    if rolling_back
        && back.is_some()
        && back == host.view.default_kernel.as_deref()
        && (attempt.reboots < 2 || asked_here)
    {
        if let Some(next) = turn::gate(host.observed, message.trim_end_matches('.')) {
            return Some(next);
        }
        return Some(turn::reboot(host.observed, host.record, &message));
    }
    failure?;
    if host.wanted.arguments_ours {
        let mut record = host.record.clone();
        arguments::settle(&mut record, &boot.command_line);
        if record != *host.record {
            return Some(next(
                NodePhase::Staging,
                Step::Save(Box::new(record)),
                reason::STAGING,
                message,
            ));
        }
    }
    None
}

/// The wanted kernel runs: the default and its arguments are put right, what is not needed is removed, then rest.
#[allow(
    clippy::too_many_lines,
    reason = "a list of what is put right, in its order"
)]
pub(super) fn ready(host: &Rpm) -> Next {
    let boot = &host.observed.boot;
    let tidy = |step, words: &str| {
        next(
            NodePhase::Verifying,
            step,
            reason::VERIFYING,
            format!("{} runs as wanted. {words}", boot.release),
        )
    };
    // 1. An update of the operating system made its own kernel the default.
    let of_kind = |kernel: &str| {
        release_of(kernel)
            .is_some_and(|release| release::is_realtime(release) == host.wanted.realtime)
    };
    if let Some(default) = host
        .view
        .default_kernel
        .as_deref()
        .filter(|kernel| !of_kind(kernel))
        && let Some(running) = host.running()
        && let Some(step) =
            housekeeping::try_to(host.observed, set_default(&running.kernel), String::new())
    {
        return tidy(
            step,
            &format!(
                "{default} had become the default; the running kernel is made the default again."
            ),
        );
    }
    // 2. A newer kernel of the right kind boots next: with the same arguments.
    if let Some(entry) = host.default_entry().filter(|entry| of_kind(&entry.kernel)) {
        let delta = host.delta(&entry.arguments);
        if !delta.is_empty()
            && let Some(step) =
                housekeeping::try_to(host.observed, update(entry, &delta), String::new())
        {
            return tidy(step, "The kernel that boots next gets the same arguments.");
        }
    }
    // 3. Back on the stock kernel, what we installed goes.
    if !host.wanted.realtime && !host.record.installed.is_empty() {
        let there: Vec<String> = host
            .record
            .installed
            .iter()
            .filter(|name| {
                !packages::is_realtime(name)
                    || host
                        .view
                        .kernel_packages
                        .iter()
                        .any(|package| package.answers(name))
            })
            .cloned()
            .collect();
        if there.iter().any(|name| packages::is_realtime(name)) {
            let words = ["-y", "remove"].into_iter().map(str::to_owned).chain(there);
            if let Some(step) =
                housekeeping::try_to(host.observed, Command::Dnf(words.collect()), String::new())
            {
                return tidy(
                    step,
                    "The packages that were installed for the real-time kernel are removed.",
                );
            }
        } else {
            return tidy(save(host.record, |record| record.installed.clear()), "");
        }
    }
    if host.wanted.realtime && host.observed.offered.is_none() {
        return next(
            NodePhase::Ready,
            Step::Prepare,
            reason::AS_EXPECTED,
            format!(
                "{} runs as wanted. The package source is looked at.",
                boot.release
            ),
        );
    }
    let mut record = host.record.clone();
    match &mut record.attempt {
        Some(attempt) if attempt::same(&attempt.key, &host.key) => {
            attempt.succeeded = attempt.succeeded || attempt.failed.is_none();
        }
        // What was given up is not tried again while nothing changes.
        Some(attempt) if !attempt.given_up.is_empty() => {}
        attempt => *attempt = None,
    }
    if host.wanted.arguments_ours {
        arguments::settle(&mut record, &boot.command_line);
    }
    if record != *host.record {
        return tidy(Step::Save(Box::new(record)), "");
    }
    if let Some(next) = verify::arguments_of_others(host.wanted, host.observed) {
        return next;
    }
    turn::settle(
        host.observed,
        NodePhase::Ready,
        Step::Rest,
        reason::AS_EXPECTED,
        format!("{} runs with all wanted arguments.", boot.release),
    )
}
