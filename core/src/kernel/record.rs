//! What the daemon writes down on the host, in one file: whatever must survive a crash or a boot and can't be read from
//! the host itself. Data only.

use serde::{Deserialize, Serialize};

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
    /// Packages that we installed on a plain rpm host, and may remove again.
    pub installed: Vec<String>,
    /// The stock kernel that was the default on a plain rpm host before us: path below `/boot`.
    pub stock_kernel: Option<String>,
}

/// One attempt to reach one wanted state. There is at most one for each key.
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
    /// Reboots that we asked for.
    pub reboots: u32,
    /// The caches of package metadata were thrown away once (traps 5 and 6 of rpm-ostree-measured.md).
    pub caches_cleaned: bool,
    /// The last command that failed in it, and its words.
    pub error: Option<CommandFailure>,
    /// How often a command failed.
    pub failures: u32,
    /// It came to an end: reason constant and words.
    pub failed: Option<Failure>,
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
