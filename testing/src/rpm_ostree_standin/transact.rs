//! What a transaction does to the state. Nothing but the state is changed, so a transaction is all or nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::boot;
use super::client::Output;
use super::command::{Command, Flags};
use super::fault::{Fault, Step};
use super::local::Opened;
use super::repositories::Repository;
use super::state::{Base, Commit, State, Transaction, Version};

mod cleanup;
mod deploy;
mod edit;
mod rebase;

/// What the client hands to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// The command line with a space behind each argument.
    pub title: String,
    /// `RPMOSTREE_CLIENT_ID`.
    pub client: String,
    /// Files that the client opened, by argument.
    pub files: BTreeMap<String, Opened>,
    /// What the client printed about them.
    pub progress: Vec<String>,
    /// The enabled repositories.
    pub repositories: Vec<Repository>,
    /// Seconds since 1970.
    pub now: i64,
}

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What the client prints and returns.
    pub output: Output,
    /// It assembled a tree, so it takes the time that this takes, plus so many milliseconds.
    pub work: Option<u64>,
    /// The host reboots now.
    pub reboots: bool,
}

/// The lines of a transaction, and what it has to know.
pub struct Context<'a> {
    /// What is asked.
    pub request: &'a Request,
    /// The simulated root, for repositories in directories.
    pub root: &'a Path,
    /// Standard output so far.
    pub out: Vec<String>,
    /// Standard error that is no error.
    pub notes: Vec<String>,
    /// See [`Done::work`].
    pub work: Option<u64>,
}

/// How a transaction ends when it doesn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Exit code 0.
    Changed,
    /// Exit code 0, or 77 with `--unchanged-exit-77`.
    Unchanged,
    /// `upgrade --check` found nothing: 77 in any case.
    Nothing,
    /// The host reboots, and the client is killed by that.
    Reboot,
}

/// The `GDBus.Error:` prefix of errors that a method call returns, for G_IO_ERROR_BUSY.
const CODE_26: &str =
    "GDBus.Error:org.gtk.GDBus.UnmappedGError.Quark._g_2dio_2derror_2dquark.Code26: ";

/// A transaction that can't begin because of `message`: as the client prints it.
pub fn refused(version: Version, command: &Command, message: &str) -> Output {
    let prefix = match command {
        Command::Cleanup(_) => format!("cleanup: Invoking cleanup: {CODE_26}"),
        _ if version == Version::V2024_7 && command.method() == Some("UpdateDeployment") => {
            format!("Updating deployment: {CODE_26}")
        }
        _ => String::new(),
    };
    Output::failure(&format!("error: {prefix}{message}"))
}

/// The text for a command that comes while `transaction` runs.
pub fn busy(transaction: &Transaction) -> String {
    format!(
        "Transaction in progress: {}\n You can cancel the current transaction with `rpm-ostree cancel`",
        transaction.title
    )
}

/// Begins a transaction that nobody here carries out.
pub fn begin_foreign(state: &mut State, title: &str, duration: Duration) {
    let ends = super::client::now_milliseconds()
        + i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 2);
    state.transactions += 1;
    state.clients += 1;
    state.transaction = Some(Transaction {
        id: state.transactions,
        method: "UpdateDeployment".to_owned(),
        title: format!("{title} "),
        sender: 100 + state.clients,
        client: "foreign".to_owned(),
        cancelled: false,
        until: Some(ends),
        worker: None,
    });
}

/// A new base becomes known.
pub fn publish_base(state: &mut State, reference: &str, base: Base) {
    if reference.contains(':') {
        let digest = format!(
            "sha256:{}",
            boot::hex(&[b"image", base.checksum.as_bytes()])
        );
        state.images.insert(reference.to_owned(), (base, digest));
    } else {
        state
            .refs
            .insert(reference.to_owned(), base.checksum.clone());
        let commit = Commit { base, digest: None };
        state.commits.insert(commit.base.checksum.clone(), commit);
    }
}

/// Carries out a request. `state` is as it was when this returns an error inside [`Done`], but for caches, or for a
/// failure after staging.
pub fn perform(state: &mut State, root: &Path, request: &Request) -> Done {
    state.transactions += 1;
    let mut context = Context {
        request,
        root,
        out: request.progress.clone(),
        notes: Vec::new(),
        work: None,
    };
    let result = carry_out(state, &mut context);
    let flags = flags(&request.command);
    let mut stderr = context.notes.join("\n");
    let (code, reboots) = match &result {
        Ok(End::Changed) => (0, false),
        Ok(End::Unchanged) => (if flags.unchanged_77 { 77 } else { 0 }, false),
        Ok(End::Nothing) => (77, false),
        Ok(End::Reboot) => (-15, true),
        Err(message) => {
            let prefix = if matches!(request.command, Command::Cleanup(_)) {
                "cleanup: "
            } else {
                ""
            };
            if !stderr.is_empty() {
                stderr.push('\n');
            }
            stderr.push_str("error: ");
            stderr.push_str(prefix);
            stderr.push_str(message);
            (1, false)
        }
    };
    Done {
        output: Output {
            code,
            stdout: context.out.join("\n"),
            stderr,
        },
        work: context.work,
        reboots,
    }
}

fn flags(command: &Command) -> Flags {
    match command {
        Command::OverrideRemove(_, flags)
        | Command::OverrideReset(_, flags)
        | Command::OverrideReplace(_, flags, _)
        | Command::Install(_, flags)
        | Command::Uninstall(_, flags)
        | Command::Kargs(_, flags)
        | Command::Rollback(flags)
        | Command::Rebase(_, _, flags)
        | Command::Deploy(_, flags)
        | Command::Upgrade(flags) => flags.clone(),
        _ => Flags::default(),
    }
}

fn carry_out(state: &mut State, context: &mut Context) -> Result<End, String> {
    let request = context.request;
    let layers = matches!(
        request.command,
        Command::OverrideRemove(..)
            | Command::OverrideReplace(..)
            | Command::Install(..)
            | Command::Uninstall(..)
    );
    if layers
        && state
            .take_fault(|fault| matches!(fault, Fault::LockLayering).then_some(()))
            .is_some()
    {
        return Err("Cannot operate; `LockLayering=true` in configuration.".to_owned());
    }
    match &request.command {
        Command::OverrideRemove(packages, flags) => {
            edit::override_remove(state, context, packages, flags)
        }
        Command::OverrideReset(packages, flags) => {
            edit::override_reset(state, context, packages, flags)
        }
        Command::OverrideReplace(packages, flags, from) => {
            edit::override_replace(state, context, packages, flags, from.as_deref())
        }
        Command::Install(packages, flags) | Command::Uninstall(packages, flags) => {
            edit::install(state, context, packages, flags)
        }
        Command::Kargs(changes, flags) => edit::kargs(state, context, changes, flags),
        Command::Initramfs(enable, arguments) => {
            edit::initramfs(state, context, *enable, arguments)
        }
        Command::Cleanup(what) => Ok(cleanup::cleanup(state, context, *what)),
        Command::Rollback(flags) => cleanup::rollback(state, context, flags),
        Command::Finalize {
            checksum,
            any,
            unlocked,
        } => cleanup::finalize(state, checksum.as_deref(), *any, *unlocked),
        Command::Rebase(target, custom, flags) => {
            rebase::rebase(state, context, target, custom.as_ref(), flags)
        }
        Command::Deploy(target, flags) => rebase::deploy_revision(state, context, target, flags),
        Command::Upgrade(flags) => rebase::upgrade(state, context, flags),
        Command::RefreshMetadata(_) => {
            let mut out = Vec::new();
            let result = super::repositories::refresh(
                state,
                context.root,
                &request.repositories,
                request.now,
                &mut out,
            );
            context.out.append(&mut out);
            result.map(|()| End::Changed)
        }
        _ => Ok(End::Unchanged),
    }
}

/// `--reboot`: an inhibitor refuses, with the deployment staged.
fn reboot_if(state: &mut State, flags: &Flags) -> Result<End, String> {
    if !flags.reboot {
        return Ok(End::Changed);
    }
    let held = state.take_fault(|fault| match fault {
        Fault::Inhibitor(who, why) => Some((who.clone(), why.clone())),
        _ => None,
    });
    match held {
        Some((who, why)) => Err(format!(
            "Reboot blocked by a systemd inhibitor lock in `block` mode\nHeld by: {who}\nReason: {why}"
        )),
        None => Ok(End::Reboot),
    }
}

/// A fault that is set for this step.
fn step(state: &mut State, at: Step) -> Result<(), String> {
    let dies = state
        .take_fault(|fault| matches!(fault, Fault::DaemonDies(step) if *step == at).then_some(()));
    if dies.is_some() {
        return Err(
            "Bus owner changed, aborting. This likely means the daemon crashed; check logs with `journalctl -xe`."
                .to_owned(),
        );
    }
    let fails = state.take_fault(|fault| match fault {
        Fault::Fails { at: step, message } if *step == at => Some(message.clone()),
        _ => None,
    });
    fails.map_or(Ok(()), Err)
}
