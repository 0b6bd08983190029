//! The commands of `rpm-ostree`. Data; the command line is read in `command/parse.rs`.

use serde::{Deserialize, Serialize};

use super::kargs::Changes;
use super::local;

mod parse;

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// Positional arguments, as given.
    pub arguments: Vec<String>,
    /// `--install`.
    pub install: Vec<String>,
    /// `--uninstall`.
    pub uninstall: Vec<String>,
    /// `--replace` of `override remove`, positional of `override replace`.
    pub replace: Vec<String>,
    /// `--remove` of `override replace`.
    pub remove: Vec<String>,
}

/// Flags that several commands share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // They are flags of a command line, each on its own.
pub struct Flags {
    /// `-n`.
    pub dry_run: bool,
    /// `-r`.
    pub reboot: bool,
    /// `-C`.
    pub cache_only: bool,
    /// `--lock-finalization`.
    pub lock: bool,
    /// `--idempotent`.
    pub idempotent: bool,
    /// `--allow-inactive`.
    pub allow_inactive: bool,
    /// `--unchanged-exit-77`.
    pub unchanged_77: bool,
    /// `--all`.
    pub all: bool,
    /// `--check` or `--preview`.
    pub check: bool,
    /// `--download-only`.
    pub download_only: bool,
}

/// What `cleanup` cleans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // They are flags of a command line, each on its own.
pub struct Cleanup {
    /// `-p`.
    pub pending: bool,
    /// `-r`.
    pub rollback: bool,
    /// `-b`.
    pub base: bool,
    /// `-m`.
    pub metadata: bool,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// `status`.
    Status {
        /// `--json`.
        json: bool,
        /// `-b`.
        booted: bool,
        /// `--pending-exit-77`.
        pending_77: bool,
    },
    /// `override remove`.
    OverrideRemove(Packages, Flags),
    /// `override reset`.
    OverrideReset(Packages, Flags),
    /// `override replace`, with `--from`.
    OverrideReplace(Packages, Flags, Option<String>),
    /// `install`.
    Install(Packages, Flags),
    /// `uninstall`.
    Uninstall(Packages, Flags),
    /// `kargs` with modifiers.
    Kargs(Changes, Flags),
    /// `kargs` without: index, or the running kernel's.
    ShowKargs {
        /// `--deploy-index`.
        index: Option<i64>,
        /// `--import-proc-cmdline`.
        running: bool,
    },
    /// `cleanup`.
    Cleanup(Cleanup),
    /// `rollback`.
    Rollback(Flags),
    /// `rebase` to a reference, with a custom origin.
    Rebase(String, Option<(String, String)>, Flags),
    /// `deploy` of a checksum or version.
    Deploy(String, Flags),
    /// `upgrade`.
    Upgrade(Flags),
    /// `refresh-md`, `-f`.
    RefreshMetadata(bool),
    /// `cancel`.
    Cancel,
    /// `reload`.
    Reload,
    /// `finalize-deployment`.
    Finalize {
        /// The expected base checksum.
        checksum: Option<String>,
        /// `--allow-missing-checksum`.
        any: bool,
        /// `--allow-unlocked`.
        unlocked: bool,
    },
    /// `initramfs`: enable, disable, or show; arguments.
    Initramfs(Option<bool>, Vec<String>),
    /// `db list REVISION [NAME…]`.
    DbList(String, Vec<String>),
    /// `--version`.
    Version,
}

impl Command {
    /// The D-Bus method, as `status` and the journal name it. `None`: no transaction.
    pub fn method(&self) -> Option<&'static str> {
        Some(match self {
            Self::OverrideRemove(..) | Self::OverrideReset(..) | Self::OverrideReplace(..) => {
                "UpdateDeployment"
            }
            Self::Install(packages, _) | Self::Uninstall(packages, _) => {
                if packages.install.iter().any(|one| local::is_file(one)) {
                    "UpdateDeployment"
                } else {
                    "PkgChange"
                }
            }
            Self::Kargs(..) => "KernelArgs",
            Self::Cleanup(_) => "Cleanup",
            Self::Rollback(_) => "Rollback",
            Self::Rebase(..) => "Rebase",
            Self::Deploy(..) => "Deploy",
            Self::Upgrade(_) => "Upgrade",
            Self::RefreshMetadata(_) => "RefreshMd",
            Self::Finalize { .. } => "FinalizeDeployment",
            Self::Initramfs(Some(_), _) => "SetInitramfsState",
            _ => return None,
        })
    }

    /// The arguments that name files.
    pub fn files(&self) -> Vec<&str> {
        match self {
            Self::OverrideRemove(packages, _)
            | Self::OverrideReset(packages, _)
            | Self::OverrideReplace(packages, _, _)
            | Self::Install(packages, _)
            | Self::Uninstall(packages, _) => packages
                .install
                .iter()
                .chain(&packages.replace)
                .map(String::as_str)
                .filter(|one| local::is_file(one))
                .collect(),
            _ => Vec::new(),
        }
    }
}
