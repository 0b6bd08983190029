//! The unified hierarchy: whose threads are whose. Writes nothing: it has no budgets that could be written.

use realtime_core::rt::group::Controller;

use super::folder::Folder;
use super::{CgroupError, MAX_TASKS, Scope};
use crate::host::Host;

/// The threads directly in a group.
const THREADS: &str = "cgroup.threads";
/// The processes directly in a group.
const PROCESSES: &str = "cgroup.procs";
/// `populated 1` when a process is in the group or below.
const EVENTS: &str = "cgroup.events";

/// The hierarchy.
#[derive(Debug)]
pub struct V2 {
    host: Host,
    folder: Folder,
}

impl V2 {
    /// Opens the hierarchy at its mount point on the host.
    pub fn open(host: &Host, mount: &str) -> Result<Self, CgroupError> {
        Ok(Self {
            host: host.clone(),
            folder: Folder::open(host, mount)?,
        })
    }

    /// Where it is mounted, on the host.
    pub fn mount(&self) -> &str {
        self.folder.mount()
    }

    /// The threads directly in a group, at most [`MAX_TASKS`]; none when it isn't there.
    pub fn threads(&self, group: &str) -> Result<Vec<i32>, CgroupError> {
        self.folder.numbers(group, THREADS, MAX_TASKS)
    }

    /// The number of a group's folder, greater than those of the groups that were made before it. Zero: it isn't there.
    pub fn made(&self, group: &str) -> u64 {
        self.folder.made(group)
    }

    /// The processes directly in a group, at most [`MAX_TASKS`]; none when it isn't there. Of a threaded group the kernel
    /// doesn't tell (EOPNOTSUPP).
    pub fn processes(&self, group: &str) -> Result<Vec<i32>, CgroupError> {
        self.folder.numbers(group, PROCESSES, MAX_TASKS)
    }

    /// The groups below one, itself not among them, parents before children; none when it isn't there.
    pub fn groups_below(&self, group: &str) -> Result<Vec<String>, CgroupError> {
        self.folder.all_below(group, |_| true)
    }

    /// So many of them at most, and whether there are more.
    pub fn first_below(
        &self,
        group: &str,
        most: usize,
    ) -> Result<(Vec<String>, bool), CgroupError> {
        self.folder.first_below(group, most, |_| true)
    }

    /// The groups of a scope, parents before children, without what they have.
    pub fn groups(&self, pods_group: &str, scope: Scope<'_>) -> Result<Vec<String>, CgroupError> {
        self.folder.groups(pods_group, scope)
    }

    /// A process is in the group or below; false when the group isn't there. The root always has some.
    pub fn populated(&self, group: &str) -> Result<bool, CgroupError> {
        if group == "/" {
            return Ok(true);
        }
        let Some(open) = self.folder.group(group)? else {
            return Ok(false);
        };
        let text = open.text(EVENTS)?.unwrap_or_default();
        Ok(text.lines().any(|line| line == "populated 1"))
    }

    /// The group of a process; `None` when it is gone, or its group is.
    pub fn group_of(&self, pid: i32) -> Result<Option<String>, CgroupError> {
        super::group_of(&self.host, pid, Controller::V2)
    }
}
