//! Budgets in the version 1 hierarchy of the `cpu` controller. Writes `cpu.rt_runtime_us` and nothing else, and never the
//! root group's.
//!
//! Made to be fast: between a group's mkdir and its budget there is less than half a millisecond. The mount is held open,
//! each value is read into a buffer on the stack, and a period is read once for each group.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use realtime_core::rt::group::Controller;
use realtime_core::rt::plan::{Group, Tree, Write};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::folder::{Folder, Open, child, number};
use super::{CgroupError, MAX_GROUPS, MAX_TASKS};
use crate::host::Host;
use crate::sched;

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
    /// By inode, of groups seen earlier.
    periods: Mutex<HashMap<u64, u64>>,
}

/// How much of the tree is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The pods' group with all below it, the groups above it, and those beside these.
    Whole,
    /// A group, the groups above it, and those directly below each of them: nothing below a group beside. Enough to
    /// raise this one group.
    Around(&'a str),
}

/// One reading of the tree.
struct Reading<'a> {
    tree: Tree,
    pods_group: &'a str,
    /// Which groups' threads are looked at: `None` for all of the pods'.
    threads_of: Option<&'a str>,
    /// Of groups seen earlier, by inode: nobody changes a period in the ordinary course, and a whole reading looks again.
    known: HashMap<u64, u64>,
    seen: HashMap<u64, u64>,
}

impl V1 {
    /// Opens the hierarchy at its mount point on the host.
    pub fn open(host: &Host, mount: &str) -> Result<Self, CgroupError> {
        Ok(Self {
            host: host.clone(),
            folder: Folder::open(host, mount)?,
            periods: Mutex::default(),
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
    /// `realtime_tasks` is looked for in the pods' groups that have a budget, and of [`Scope::Around`] only in the group
    /// and those above it; elsewhere it is false. A group with more than [`MAX_TASKS`] threads counts as having some.
    pub fn read(&self, pods_group: &str, scope: Scope<'_>) -> Result<Tree, CgroupError> {
        let mut periods = self.periods.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reading = Reading {
            tree: Tree::default(),
            pods_group,
            threads_of: None,
            known: HashMap::new(),
            seen: HashMap::new(),
        };
        match scope {
            Scope::Whole => {
                self.read_whole(&mut reading)?;
                *periods = reading.seen;
            }
            Scope::Around(group) => {
                reading.threads_of = Some(group);
                reading.known = std::mem::take(&mut *periods);
                let read = self.read_around(&mut reading, group);
                *periods = reading.known;
                periods.extend(reading.seen);
                if periods.len() > MAX_GROUPS {
                    periods.clear();
                }
                read?;
            }
        }
        Ok(reading.tree)
    }

    fn read_whole(&self, reading: &mut Reading<'_>) -> Result<(), CgroupError> {
        let pods_group = reading.pods_group;
        for group in way(pods_group) {
            reading.below(&self.folder, group)?;
        }
        let mut next: Vec<String> = reading.children_of(pods_group);
        while let Some(group) = next.pop() {
            next.extend(reading.below(&self.folder, &group)?);
        }
        Ok(())
    }

    fn read_around(&self, reading: &mut Reading<'_>, group: &str) -> Result<(), CgroupError> {
        for above in way(group) {
            reading.below(&self.folder, above)?;
        }
        Ok(())
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
        let file = self
            .folder
            .file(group, RUNTIME, OFlags::RDWR)
            .map_err(failed)?;
        rustix::io::write(&file, to_us.to_string().as_bytes()).map_err(failed)?;
        let mut buffer = [0; 32];
        let count = rustix::io::pread(&file, &mut buffer[..], 0)
            .map_err(|error| self.folder.failed(group, RUNTIME, error))?;
        let has = number(&buffer[..count], path)?;
        if has == *to_us {
            Ok(())
        } else {
            Err(CgroupError::Changed {
                path: path(),
                value: *to_us,
                has,
            })
        }
    }

    /// What a group has now: microseconds of its period, −1 without limit; `None` when it isn't there.
    pub fn runtime(&self, group: &str) -> Result<Option<i64>, CgroupError> {
        match self.folder.group(group)? {
            Some(open) => open.number("", RUNTIME),
            None => Ok(None),
        }
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
        self.folder.all_below(group)
    }

    /// The group of a process; `None` when it is gone, or its group is.
    pub fn group_of(&self, pid: i32) -> Result<Option<String>, CgroupError> {
        super::group_of(&self.host, pid, Controller::V1Cpu)
    }
}

impl Reading<'_> {
    /// Reads what is directly below a group, and of the root group its own values. Gives the groups that were found.
    fn below(&mut self, folder: &Folder, group: &str) -> Result<Vec<String>, CgroupError> {
        let Some(open) = folder.group(group)? else {
            return Ok(Vec::new());
        };
        if group == "/" {
            self.one(&open, "", None)?;
        }
        let mut children = Vec::new();
        open.each_child(|name, inode| children.push((name.to_owned(), inode)))?;
        let mut found = Vec::with_capacity(children.len());
        for (name, inode) in children {
            if self.tree.groups.len() >= MAX_GROUPS {
                return Err(folder.too_many());
            }
            found.extend(self.one(&open, &name, Some(inode))?);
        }
        Ok(found)
    }

    /// Reads one group, and gives its path if it is there.
    fn one(
        &mut self,
        open: &Open<'_>,
        name: &str,
        inode: Option<u64>,
    ) -> Result<Option<String>, CgroupError> {
        let Some(runtime_us) = open.number(name, RUNTIME)? else {
            return Ok(None);
        };
        let known = inode.and_then(|inode| self.known.get(&inode).copied());
        let period_us = match known {
            Some(period) => period,
            None => match open.number(name, PERIOD)? {
                Some(period) => u64::try_from(period).unwrap_or(0),
                None => return Ok(None),
            },
        };
        if let Some(inode) = inode.filter(|_| known.is_none()) {
            self.seen.insert(inode, period_us);
        }
        let path = child(&open.group, name);
        let realtime_tasks =
            runtime_us != 0 && self.threads_count(&path) && has_realtime(open, name)?;
        let group = Group {
            runtime_us,
            period_us,
            realtime_tasks,
        };
        self.tree.groups.insert(path.clone(), group);
        Ok(Some(path))
    }

    fn threads_count(&self, path: &str) -> bool {
        is_at_or_below(path, self.pods_group)
            && self
                .threads_of
                .is_none_or(|group| is_at_or_below(group, path))
    }

    fn children_of(&self, group: &str) -> Vec<String> {
        let below = self.tree.groups.keys();
        below
            .filter(|path| *path != group && is_at_or_below(path, group))
            .cloned()
            .collect()
    }
}

/// A thread with SCHED_FIFO or SCHED_RR is directly in the group.
fn has_realtime(open: &Open<'_>, name: &str) -> Result<bool, CgroupError> {
    let mut found = false;
    let mut count = 0;
    open.each_number(name, TASKS, |tid| {
        count += 1;
        // One that is gone is none.
        found = count > MAX_TASKS || sched::get(tid).is_ok_and(|thread| thread.is_realtime());
        !found
    })?;
    Ok(found)
}

/// The root, and each group on the way to this one, itself the last.
fn way(group: &str) -> impl Iterator<Item = &str> {
    let ends = group.match_indices('/').skip(1).map(|(at, _)| at);
    let last = (group != "/").then_some(group.len());
    std::iter::once("/").chain(ends.chain(last).map(|end| &group[..end]))
}

fn is_at_or_below(path: &str, group: &str) -> bool {
    group == "/"
        || path
            .strip_prefix(group)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_group() {
        let way = |group| super::way(group).collect::<Vec<_>>();
        assert_eq!(way("/"), ["/"]);
        assert_eq!(way("/a"), ["/", "/a"]);
        assert_eq!(way("/a/bc/d"), ["/", "/a", "/a/bc", "/a/bc/d"]);
    }

    #[test]
    fn a_name_that_begins_alike_is_not_below() {
        assert!(is_at_or_below("/kubepods/pod1", "/kubepods"));
        assert!(is_at_or_below("/kubepods", "/kubepods") && is_at_or_below("/a", "/"));
        assert!(!is_at_or_below("/kubepods-old", "/kubepods"));
    }
}
