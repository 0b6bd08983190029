//! What the daemon writes down on the host, in one file: whatever must survive a crash or a boot and can't be read from
//! the host itself. Data only.

use serde::{Deserialize, Serialize};

use super::command::Command;

/// The record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// The switch under way, or the last one.
    pub attempt: Option<Attempt>,
    /// Kernel arguments that we brought onto the command line, and may take off again.
    pub arguments: Vec<String>,
    /// The deployment that we pinned, by checksum and serial: only that one is unpinned by us.
    pub pinned: Option<(String, i64)>,
    /// Arguments of others that stood in the way of ours (another value of an argument that holds one), and come back
    /// when ours go.
    pub replaced_arguments: Vec<String>,
    /// Packages that we asked for, by name (rpm-ostree: also as `name-version-release.arch`), and may remove again.
    pub installed: Vec<String>,
    /// Names of the stock kernel's packages that our own `override remove` took away on an ostree host.
    pub removed: Vec<String>,
    /// Names of base packages that we replaced on an ostree host, and reset when going back.
    pub replaced: Vec<String>,
    /// The stock kernel that was the default on a plain rpm host before us: path below `/boot`.
    pub stock_kernel: Option<String>,
    /// The retry annotation with which the last attempt began on an ostree host: it asks for nothing more.
    pub retried: Option<String>,
}

/// One attempt to reach one wanted state. There is at most one for each key.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own that must survive a crash"
)]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attempt {
    /// What was wanted, on which base: see `attempt_key`.
    pub key: String,
    /// To the real-time kernel, or back.
    pub realtime: bool,
    /// The boot in which it began.
    pub boot_id: String,
    /// What was staged and verified.
    pub staged: Option<Staged>,
    /// What is staged was made by somebody else and is what is wanted: it is booted, and never taken away by us.
    pub adopted: bool,
    /// Reboots that we asked for.
    pub reboots: u32,
    /// The boot out of which we asked for the last one.
    pub rebooting: String,
    /// The caches of package metadata were thrown away once (traps 5 and 6 of rpm-ostree-measured.md).
    pub caches_cleaned: bool,
    /// The last command that failed in it, and its words.
    pub error: Option<CommandFailure>,
    /// How often the command in `error` failed in a row.
    pub failures: u32,
    /// When it failed last, seconds since the epoch.
    pub failed_at: u64,
    /// The command that is about to run, and what it starts from: what appears after it is ours.
    pub intent: Option<Intent>,
    /// Packages that the source does not offer and that are not needed.
    pub dropped: Vec<String>,
    /// Repositories can't be reached, and only files are installed: without looking at the repositories.
    pub cache_only: bool,
    /// Commands of housekeeping (unpinning, taking a deployment away) that do not succeed and are not tried again.
    pub given_up: Vec<String>,
    /// It came to an end: reason constant and words.
    pub failed: Option<Failure>,
    /// It came to a good end: the wanted kernel was seen running.
    pub succeeded: bool,
}

/// A command that is about to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Intent {
    /// The command line.
    pub command: String,
    /// Id and commit of the deployment that was first in the list before it.
    pub front: String,
    /// The boot in which it runs.
    pub boot_id: String,
    /// It ran, and said that it went well. That alone proves nothing.
    pub done: bool,
    /// It failed, and a look after its end found what it started from: what appears from then on is not ours.
    pub made_nothing: bool,
    /// Kernel arguments that it brings.
    pub brings: Vec<String>,
    /// Kernel arguments of others that it takes away.
    pub takes: Vec<String>,
}

/// What was staged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Staged {
    /// Id of the deployment; empty on plain rpm hosts.
    pub id: String,
    /// Its commit.
    pub checksum: String,
    /// The kernel release that shall boot, when it is known.
    pub release: Option<String>,
    /// The boot in which it was staged.
    pub boot_id: String,
    /// Its kernel was compared with what the package source offers. Without that a former real-time kernel passes for the
    /// wanted one, as with a daemon that was started anew and has not looked at the source yet.
    pub compared: bool,
}

/// A command that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CommandFailure {
    /// The command line.
    pub command: String,
    /// Exit code; `None`: killed, or never started.
    pub code: Option<i32>,
    /// The end of its stderr.
    pub stderr: String,
}

/// Why an attempt ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Failure {
    /// A reason constant of `conditions`.
    pub reason: String,
    /// In words, with the way out.
    pub message: String,
}

impl Record {
    /// What came of a command that [`super::Step::Run`] asked for. `now`: seconds since the epoch.
    pub fn note(&mut self, command: &Command, failure: Option<CommandFailure>, now: u64) {
        let line = command.line();
        let attempt = self.attempt.get_or_insert_default();
        match failure {
            None => {
                attempt.error = None;
                attempt.failures = 0;
                if let Some(intent) = attempt
                    .intent
                    .as_mut()
                    .filter(|intent| intent.command == line)
                {
                    intent.done = true;
                }
            }
            Some(failure) => {
                // An intent begins with no failures, and outlives an error that was taken back before another try.
                let error = attempt.error.as_ref().map(|error| &error.command);
                let intent = attempt.intent.as_ref().map(|intent| &intent.command);
                let again = error == Some(&line) || intent == Some(&line);
                attempt.failures = if again {
                    attempt.failures.saturating_add(1)
                } else {
                    1
                };
                attempt.failed_at = now;
                // Whatever words the runner uses for the command line, it is compared by ours.
                attempt.error = Some(CommandFailure {
                    command: line,
                    ..failure
                });
            }
        }
    }
}
