//! Staging: one command after the other, each written down before it runs, and its result judged by the deployment that
//! appears, never by an exit code or a text (rpm-ostree-measured.md, section 0).

use super::failure::{self, Kind};
use super::flow_ostree::Ostree;
use super::goal::{self, Kernel};
use super::ostree::Deployment;
use super::packages;
use super::record::{Attempt, Intent, Record, Staged};
use super::tell::{fail, next};
use super::trouble::Trouble;
use super::{Command, Next, Step, arguments, housekeeping, turn};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

/// Whether a deployment that nobody has claimed is what our own command made: of the same base, in this boot, after the
/// command was written down, and the command was not turned away because another one ran, nor seen to have made nothing.
pub(super) fn made_by_intent(host: &Ostree, deployment: &Deployment) -> bool {
    let Some(attempt) = host.record.attempt.as_ref() else {
        return false;
    };
    let Some(intent) = attempt.intent.as_ref() else {
        return false;
    };
    let turned_away = attempt
        .error
        .as_ref()
        .is_some_and(|error| error.command == intent.command && failure::kind(error) == Kind::Busy);
    stages(intent)
        && !turned_away
        && !intent.made_nothing
        && !deployment.booted
        && deployment.staged
        && intent.boot_id == host.observed.boot.id
        && intent.front != deployment.key()
        && deployment.osname == host.booted.osname
        && deployment.base() == host.booted.base()
}

/// Whether a command makes a deployment.
fn stages(intent: &Intent) -> bool {
    ["kargs", "override", "install", "uninstall"]
        .iter()
        .any(|verb| intent.command.starts_with(&format!("rpm-ostree {verb} ")))
}

/// The record after an orderly reboot by somebody that came before the look at what our `kargs` had staged: the arguments
/// that it brought and that came up are ours.
pub(super) fn brought_by_reboot(host: &Ostree) -> Option<Record> {
    let attempt = host.record.attempt.as_ref()?;
    let intent = attempt.intent.as_ref()?;
    let brought = intent.boot_id != host.observed.boot.id
        && !intent.made_nothing
        && !(intent.brings.is_empty() && intent.takes.is_empty());
    brought.then(|| {
        let mut record = host.record.clone();
        arguments::remember(&mut record, &intent.brings, &intent.takes);
        arguments::settle(&mut record, &host.observed.boot.command_line);
        if let Some(attempt) = record.attempt.as_mut() {
            attempt.intent = None;
            attempt.error = None;
        }
        record
    })
}

/// The record after the first look that sees that a failed command left what it started from, whatever else keeps the
/// daemon from going on (a cordon, say): what somebody stages from then on is his.
pub(super) fn made_nothing(host: &Ostree) -> Option<Record> {
    let attempt = host.record.attempt.as_ref()?;
    let intent = attempt.intent.as_ref()?;
    let failed = attempt
        .error
        .as_ref()
        .is_some_and(|error| error.command == intent.command);
    let nothing = stages(intent)
        && failed
        && !intent.made_nothing
        && intent.boot_id == host.observed.boot.id
        && intent.front == host.front.key();
    nothing.then(|| {
        let mut record = host.record.clone();
        if let Some(intent) = record
            .attempt
            .as_mut()
            .and_then(|attempt| attempt.intent.as_mut())
        {
            intent.made_nothing = true;
        }
        record
    })
}

/// Why no command can help, while nothing is staged.
pub(super) fn impossible(host: &Ostree) -> Option<String> {
    match host.kernel(host.booted, false) {
        Kernel::Inactive(why) => Some(format!(
            "In the deployment {why}. Look at `rpm-ostree status` and take back what has no effect with `rpm-ostree override reset` or `rpm-ostree uninstall`."
        )),
        Kernel::Differs(_) if host.wanted.realtime && host.base.stock.is_empty() => Some(
            "`rpm -qa` names no package of a stock kernel that could give way.".to_owned(),
        ),
        Kernel::Differs(_) => kernel_command(host, false)
            .is_none()
            .then(|| "There is nothing that could be asked of rpm-ostree.".to_owned()),
        Kernel::Holds => host.arguments().is_empty().then(|| {
            "The boot entry is as wanted and the running kernel is not: the entry was edited for this boot, or changed since. Reboot the node.".to_owned()
        }),
    }
}

fn kernel_command(host: &Ostree, refresh: bool) -> Option<Command> {
    if !host.wanted.realtime {
        return goal::to_stock(host.front, host.record);
    }
    let cache_only = host
        .record
        .attempt
        .as_ref()
        .is_some_and(|attempt| attempt.cache_only);
    goal::to_realtime(host.front, &host.base, host.known()?, refresh, cache_only)
}

/// The next step of the attempt that is under way. The turn is ours.
pub(super) fn decide(host: &Ostree, what: &str) -> Next {
    let Some(attempt) = host.record.attempt.as_ref() else {
        return fail(
            host.record,
            NodePhase::Staging,
            reason::COMMAND_FAILED,
            "There is no attempt.",
        );
    };
    if let Some(next) = trouble(host, what).clean_caches(attempt) {
        return next;
    }
    let refresh = host.refreshing() && host.fault().is_none();
    // With what runs in common, something may have become needless since: by an update of the operating system.
    let fresh = !attempt.adopted && !goal::same_requests(host.front, host.booted);
    let kernel = match host.kernel(host.front, fresh) {
        Kernel::Holds if refresh && host.nothing_pending() => kernel_command(host, true),
        Kernel::Holds
            if refresh
                && host.front.kernel_release() == Some(host.observed.boot.release.as_str()) =>
        {
            return fail(
                host.record,
                NodePhase::Staging,
                reason::VERSIONS_DIFFER,
                "The package source has no other real-time kernel than the one that runs.",
            );
        }
        Kernel::Holds => None,
        Kernel::Inactive(why) => {
            return fail(
                host.record,
                NodePhase::Staging,
                reason::OVERRIDE_INACTIVE,
                format!("In the deployment {why}."),
            );
        }
        Kernel::Differs(why) => match kernel_command(host, false) {
            Some(command) => Some(command),
            None => {
                return fail(
                    host.record,
                    NodePhase::Staging,
                    reason::RESULT_DIFFERS,
                    format!("In the deployment {why}, and there is nothing more to ask for."),
                );
            }
        },
    };
    let delta = host.arguments();
    let arguments = (!delta.is_empty()).then(|| Command::RpmOstree(delta.kargs()));
    // Each kargs on a layered deployment builds the initramfs again: so before the layers come, and after they went.
    let order = if host.wanted.realtime {
        [(arguments, true), (kernel, false)]
    } else {
        [(kernel, false), (arguments, true)]
    };
    for (command, of_arguments) in order {
        if let Some(command) = command {
            return run(host, attempt, command, of_arguments.then_some(&delta), what);
        }
    }
    if host.nothing_pending() {
        return fail(
            host.record,
            NodePhase::Staging,
            reason::RESULT_DIFFERS,
            "Nothing is staged, and there is nothing more to ask for.",
        );
    }
    if host.front.finalization_locked {
        return fail(
            host.record,
            NodePhase::Staging,
            reason::RESULT_DIFFERS,
            format!(
                "Somebody locked the staged deployment {}: it would not be booted.",
                host.front.id
            ),
        );
    }
    turn::reboot(host.observed, host.record, what)
}

/// The record with the first deployment as the one that was staged: by us when it is our command's, else adopted.
pub(super) fn claimed(host: &Ostree) -> Record {
    let front = host.front;
    let mut record = host.record.clone();
    let intent = record
        .attempt
        .as_mut()
        .and_then(|attempt| attempt.intent.take());
    let intent = intent.filter(|_| made_by_intent(host, front));
    if let Some(intent) = &intent {
        arguments::remember(&mut record, &intent.brings, &intent.takes);
    }
    let attempt = record.attempt.get_or_insert_default();
    attempt.staged = Some(Staged {
        id: front.id.clone(),
        checksum: front.checksum.clone(),
        release: front.kernel_release().map(str::to_owned),
        boot_id: host.observed.boot.id.clone(),
        compared: (!host.wanted.realtime || host.known().is_some())
            && host.kernel(front, false) == Kernel::Holds,
    });
    attempt.adopted = intent.is_none();
    attempt.error = None;
    attempt.failures = 0;
    record
}

/// A deployment has appeared: it is judged and written down, as ours or as somebody else's that is just as good.
pub(super) fn claim(host: &Ostree, attempt: &Attempt, what: &str) -> Next {
    let front = host.front;
    let intent = attempt
        .intent
        .as_ref()
        .filter(|_| made_by_intent(host, front));
    let record = claimed(host);
    if let Some(intent) = intent {
        let of_arguments = intent.command.starts_with("rpm-ostree kargs ");
        let wrong = if of_arguments {
            let delta = host.arguments();
            (!delta.is_empty()).then(|| {
                (
                    reason::RESULT_DIFFERS,
                    format!(
                        "After `{}` the arguments for the next boot are not the wanted ones: {}",
                        intent.command, host.view.next_arguments
                    ),
                )
            })
        } else {
            match host.kernel(front, true) {
                Kernel::Holds => None,
                Kernel::Inactive(why) => Some((
                    reason::OVERRIDE_INACTIVE,
                    format!("After `{}` {why}.", intent.command),
                )),
                Kernel::Differs(why) => Some((
                    reason::RESULT_DIFFERS,
                    format!(
                        "After `{}` the staged deployment is not the wanted one: {why}.",
                        intent.command
                    ),
                )),
            }
        };
        if let Some((fault, message)) = wrong {
            return fail(&record, NodePhase::Staging, fault, message);
        }
    }
    staging(Step::Save(Box::new(record)), what)
}

/// One command: written down, run, and its end looked at.
fn run(
    host: &Ostree,
    attempt: &Attempt,
    command: Command,
    delta: Option<&arguments::Delta>,
    what: &str,
) -> Next {
    let line = command.line();
    let front = host.front.key();
    let intent = attempt.intent.as_ref().filter(|intent| {
        intent.command == line && intent.front == front && intent.boot_id == host.observed.boot.id
    });
    let Some(intent) = intent else {
        let mut record = host.record.clone();
        housekeeping::intend(&mut record, host.observed, &command, front);
        match delta {
            Some(delta) => {
                if let Some(intent) = record
                    .attempt
                    .as_mut()
                    .and_then(|attempt| attempt.intent.as_mut())
                {
                    intent.brings = arguments::brings(delta, host.record);
                    intent.takes.clone_from(&delta.replaced);
                }
            }
            None => note_packages(host, &mut record),
        }
        return staging(Step::Save(Box::new(record)), what);
    };
    if intent.done {
        return fail(
            host.record,
            NodePhase::Staging,
            reason::RESULT_DIFFERS,
            format!("`{line}` went well by its own word, and nothing is staged."),
        );
    }
    match attempt.error.as_ref().filter(|error| error.command == line) {
        Some(error) => trouble(host, what).answer(attempt, error),
        None => staging(Step::Run(command), what),
    }
}

/// What is asked for in addition to the kernel's own packages, and was not there before us.
fn note_packages(host: &Ostree, record: &mut Record) {
    if host.wanted.realtime {
        for name in &host.base.stock {
            let others = host.front.requested_base_removals.contains(name);
            if !others && !record.removed.contains(name) {
                record.removed.push(name.clone());
            }
        }
    }
    let Some(chosen) = host.known() else { return };
    for choice in &chosen.install {
        let request = choice
            .package
            .as_ref()
            .map_or_else(|| choice.name.clone(), ToString::to_string);
        let known = packages::is_realtime(&choice.name)
            || record.installed.contains(&request)
            || host.booted.requests().any(|other| *other == request);
        if !known {
            record.installed.push(request);
        }
    }
    for (package, _) in &chosen.replace {
        let others = host
            .booted
            .requested_base_local_replacements
            .contains(&package.to_string());
        if !others && !record.replaced.contains(&package.name) {
            record.replaced.push(package.name.clone());
        }
    }
}

fn trouble<'a>(host: &'a Ostree, what: &'a str) -> Trouble<'a> {
    Trouble {
        observed: host.observed,
        chosen: host.known(),
        from_files: host.wanted.realtime && packages::from_files(&host.wanted.packages),
        front: host.front.key(),
        clean: Command::RpmOstree(vec!["cleanup".to_owned(), "-m".to_owned()]),
        what,
    }
}

fn staging(step: Step, what: &str) -> Next {
    next(NodePhase::Staging, step, reason::STAGING, what)
}
