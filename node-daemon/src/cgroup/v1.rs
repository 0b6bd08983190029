//! Budgets in the version 1 hierarchy of the `cpu` controller. Writes `cpu.rt_runtime_us` and nothing else, and never the
//! root group's.
//!
//! Made to be fast: between a group's mkdir and its budget there is less than half a millisecond. The mount is held open,
//! and so are the budgets' files of the groups that are read each time (`v1/known.rs`).

mod known;
mod reading;

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use realtime_core::rt::group::{Controller, PodUid};
use realtime_core::rt::plan::{Tree, Write};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::folder::{Folder, number_in};
use super::{CgroupError, MAX_TASKS};
use crate::host::Host;
use known::Known;
use reading::Reading;

/// The budget: microseconds of each period, −1 without limit.
pub const RUNTIME: &str = "cpu.rt_runtime_us";
/// Its period, microseconds.
pub const PERIOD: &str = "cpu.rt_period_us";
/// The threads directly in a group.
const TASKS: &str = "tasks";
/// The processes directly in a group.
const PROCESSES: &str = "cgroup.procs";

/// The hierarchy.
#[derive(Debug)]
pub struct V1 {
    host: Host,
    folder: Folder,
    known: Mutex<Known>,
}

/// How much of the tree is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The pods' group with all below it, the groups above it, and those beside these.
    Whole,
    /// The same, but what is below a pod's group that has no budget only of these pods: no group has more than the one above
    /// it, so that there is nothing to see. Periods are looked at again every 10 s.
    Pods(&'a BTreeSet<PodUid>),
    /// A group, the groups above it, and those directly below each of them: nothing below a group beside. Enough to
    /// raise this one group.
    Around(&'a str),
    /// A group that is new (its period isn't looked at), what is directly below it, the groups above it, and those beside
    /// the pods' group and above. Enough for who remembers what the other pods have.
    Way(&'a str),
}

impl V1 {
    /// Opens the hierarchy at its mount point on the host.
    pub fn open(host: &Host, mount: &str) -> Result<Self, CgroupError> {
        Ok(Self {
            host: host.clone(),
            folder: Folder::open(host, mount)?,
            known: Mutex::default(),
        })
    }

    /// Where it is mounted, on the host.
    pub fn mount(&self) -> &str {
        self.folder.mount()
    }

    /// The kernel has budgets for groups, and they are not switched off.
    pub fn has_budgets(&self) -> bool {
        self.folder.file("/", RUNTIME, OFlags::RDONLY).is_ok()
    }

    /// Reads the tree. Groups that are gone while it is read are not in it.
    ///
    /// `realtime_tasks` is looked for in the pods' groups that have a budget, and of [`Scope::Around`] and [`Scope::Way`]
    /// only in the group itself (to list a group's threads takes the kernel ten times as long as to tell its budget);
    /// elsewhere it is false. A group with more than [`MAX_TASKS`] threads counts as having some.
    pub fn read(&self, pods_group: &str, scope: Scope<'_>) -> Result<Tree, CgroupError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Reading::new(&self.host, &self.folder, &mut known, pods_group, scope).read()
    }

    /// Closes the files that are held open from one reading to the next: this is not read for now.
    pub fn rest(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.close_all();
    }

    /// Writes a budget and reads it back. EINVAL: the groups' sums don't allow it (or a removed group still has its
    /// part); EBUSY: it is 0, and real-time threads are in the group.
    pub fn write(&self, write: &Write) -> Result<(), CgroupError> {
        let Write { group, to_us, .. } = write;
        if group == "/" {
            return Err(CgroupError::NotAGroup {
                group: group.clone(),
            });
        }
        let path = || self.folder.path(group, RUNTIME);
        let failed = |error: Errno| CgroupError::Write {
            path: path(),
            value: *to_us,
            source: error.into(),
        };
        // These files know no place to write at: what is written is the whole of it.
        let put = |file: &OwnedFd| rustix::io::write(file, to_us.to_string().as_bytes());
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let held = known.on_way(group).map(|held| &held.file);
        let opened;
        let file = match held.map(|file| (file, put(file))) {
            Some((file, Ok(_))) => file,
            // Of a group that is gone: there may be another one.
            None | Some((_, Err(Errno::NODEV))) => {
                let file = self.folder.file(group, RUNTIME, OFlags::RDWR);
                opened = file.map_err(failed)?;
                put(&opened).map_err(failed)?;
                &opened
            }
            Some((_, Err(error))) => return Err(failed(error)),
        };
        match number_in(file, path)? {
            // Gone since then: it has nothing more to get.
            None => Ok(()),
            Some(has) if has == *to_us => Ok(()),
            Some(has) => Err(CgroupError::Changed {
                path: path(),
                value: *to_us,
                has,
            }),
        }
    }

    /// What a group has now: microseconds of its period, −1 without limit; `None` when it isn't there.
    pub fn runtime(&self, group: &str) -> Result<Option<i64>, CgroupError> {
        match self.folder.group(group)? {
            Some(open) => open.number("", RUNTIME),
            None => Ok(None),
        }
    }

    /// The number of a group's folder, greater than those of the groups that were made before it. Zero: it isn't there.
    pub fn made(&self, group: &str) -> u64 {
        self.folder.made(group)
    }

    /// The processes directly in a group, at most [`MAX_TASKS`]; none when it isn't there.
    pub fn processes(&self, group: &str) -> Result<Vec<i32>, CgroupError> {
        self.folder.numbers(group, PROCESSES, MAX_TASKS)
    }

    /// The threads directly in a group, at most [`MAX_TASKS`]; none when it isn't there.
    pub fn threads(&self, group: &str) -> Result<Vec<i32>, CgroupError> {
        self.folder.numbers(group, TASKS, MAX_TASKS)
    }

    /// The groups below one, itself not among them, parents before children.
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

    /// The group of a process; `None` when it is gone, or its group is.
    pub fn group_of(&self, pid: i32) -> Result<Option<String>, CgroupError> {
        super::group_of(&self.host, pid, Controller::V1Cpu)
    }
}
