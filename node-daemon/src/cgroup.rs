//! The kernel's cgroup files: where they are, reading and writing them. Decides nothing, makes and removes no group, and
//! writes one file only, `cpu.rt_runtime_us` of a group that is not the root.
//!
//! A group is named by its path from the mount of its hierarchy, as `/kubepods/pod1`; `/` is the root group. Groups
//! whose names are not UTF-8 are not seen: no runtime makes such.

mod folder;
pub mod mounts;
pub mod v1;
pub mod v2;
pub mod writer;

use std::io;

use realtime_core::rt::group::{Controller, path_of_process};

use crate::host::{Host, HostError};
pub use mounts::Mounts;
pub use v1::{Scope, V1};
pub use v2::V2;

/// More groups than any node has; with more, something makes them without end.
pub const MAX_GROUPS: usize = 100_000;
/// Deeper groups below a mount are not looked at: no runtime nests so deep, and a path has at most 4096 bytes.
const MAX_DEPTH: usize = 64;
/// More threads of one group are not looked at.
pub const MAX_TASKS: usize = 1 << 16;

/// A cgroup file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Reading a file, or listing a group.
    #[error("reading {path}: {source}")]
    Read {
        /// The path on the host.
        path: String,
        /// The kernel's word.
        source: io::Error,
    },
    /// Writing a budget.
    #[error("writing {value} to {path}: {source}")]
    Write {
        /// The path on the host.
        path: String,
        /// Microseconds of the group's period, −1 without limit.
        value: i64,
        /// The kernel's word.
        source: io::Error,
    },
    /// The kernel took a budget and has another one: somebody else wrote at the same time.
    #[error("{path} has {has} right after {value} was written to it: somebody else writes it, too")]
    Changed {
        /// The path on the host.
        path: String,
        /// What was written, microseconds of the group's period.
        value: i64,
        /// What was read, the same.
        has: i64,
    },
    /// A file doesn't have what it should.
    #[error("{path} has {text:?}, which is no number that was expected")]
    Unreadable {
        /// The path on the host.
        path: String,
        /// The beginning of what it has.
        text: String,
    },
    /// Not a group's path.
    #[error(
        "{group:?} is no group that can be read or written: not a path from the mount, or the root group"
    )]
    NotAGroup {
        /// What was given.
        group: String,
    },
    /// More groups than [`MAX_GROUPS`].
    #[error("below {path} are more than {MAX_GROUPS} groups: something makes groups without end")]
    TooMany {
        /// The mount.
        path: String,
    },
    /// A file outside the hierarchy.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl CgroupError {
    /// The kernel's number for what went wrong, where it said one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Read { source, .. }
            | Self::Write { source, .. }
            | Self::Host(HostError::File { source, .. }) => source.raw_os_error(),
            _ => None,
        }
    }

    /// The group, or the process, is not there (any more).
    pub fn is_gone(&self) -> bool {
        self.errno().is_some_and(is_gone)
    }
}

/// ENODEV is a file that was opened before its group was removed, ESRCH a process's.
fn is_gone(errno: i32) -> bool {
    matches!(errno, libc::ENOENT | libc::ENODEV | libc::ESRCH)
}

/// The group of a process in a hierarchy; `None` when it is gone, or its group is, or it is not below the daemon's own
/// cgroup namespace.
fn group_of(host: &Host, pid: i32, controller: Controller) -> Result<Option<String>, CgroupError> {
    if pid <= 0 {
        return Ok(None);
    }
    match host.read(&format!("/proc/{pid}/cgroup")) {
        Ok(text) => Ok(path_of_process(&text, controller).map(str::to_owned)),
        Err(error) => {
            let error = CgroupError::from(error);
            if error.is_gone() {
                Ok(None)
            } else {
                Err(error)
            }
        }
    }
}
