//! The kernel's admission, for tests: `tg_set_rt_bandwidth` and `tg_rt_schedulable` of kernel/sched/rt.c, as measured
//! in the design's table of cgroup v1 budgets. A write is answered, never repaired.

use super::super::micros::{UNLIMITED, ratio};
use super::Write;
use super::tree::{Tree, above};

/// The kernel's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errno {
    Einval,
    Ebusy,
    Enoent,
}

/// A kernel with its tree.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    pub tree: Tree,
    pub sysctl: (i64, u64),
}

impl Kernel {
    /// A write of `cpu.rt_runtime_us`.
    pub(super) fn write(&mut self, path: &str, runtime_us: i64) -> Result<(), Errno> {
        let group = self.tree.groups.get(path).ok_or(Errno::Enoent)?.clone();
        if path == "/" && runtime_us == 0 {
            return Err(Errno::Einval);
        }
        if runtime_us != UNLIMITED && runtime_us > i64::try_from(group.period_us).unwrap() {
            return Err(Errno::Einval);
        }
        let limited = self.sysctl.0 != UNLIMITED;
        if limited && runtime_us == 0 && group.runtime_us != 0 && group.realtime_tasks {
            return Err(Errno::Ebusy);
        }
        self.tree.groups.get_mut(path).unwrap().runtime_us = runtime_us;
        if self.is_schedulable() {
            return Ok(());
        }
        self.tree.groups.get_mut(path).unwrap().runtime_us = group.runtime_us;
        Err(Errno::Einval)
    }

    /// The kernel walks the whole tree at each write.
    pub(super) fn is_schedulable(&self) -> bool {
        self.tree.groups.iter().all(|(path, group)| {
            let total = ratio(group.runtime_us, group.period_us);
            let children: u64 = self
                .tree
                .groups
                .iter()
                .filter(|(child, _)| above(child).next() == Some(path))
                .map(|(_, child)| ratio(child.runtime_us, child.period_us))
                .sum();
            total <= ratio(self.sysctl.0, self.sysctl.1) && children <= total
        })
    }

    /// All of them, with the values they start from.
    pub(super) fn apply(&mut self, writes: &[Write]) {
        for (number, write) in writes.iter().enumerate() {
            let has = self.tree.groups[&write.group].runtime_us;
            assert_eq!(has, write.from_us, "write {number} of {writes:?}");
            assert_eq!(
                self.write(&write.group, write.to_us),
                Ok(()),
                "write {number} of {writes:?} in {self:?}"
            );
        }
    }
}
