//! What is remembered of groups from one reading to the next: the period, and the budget's file held open. Opening a
//! file takes five times as long as reading it, and on a node with 110 pods there are as many beside each new container.
//!
//! A budget is never remembered: each is read anew. A held file keeps no budget and no group from going.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

/// No more files are held open: enough for the groups beside a container's on a full node, and well below the 1024 that
/// a process may have open by default. The kernel has a page for each.
const MAX_OPEN: usize = 512;
/// No more groups are remembered.
const MAX_KNOWN: usize = 1 << 14;

/// By inode: as long as a file of a group is held, no other group gets its number.
#[derive(Debug, Default)]
pub(super) struct Known {
    groups: HashMap<u64, Remembered>,
    /// The inodes of the groups on the way to the one that was read last, by their paths.
    way: HashMap<String, u64>,
    open: usize,
    /// Whole readings up to now.
    round: u64,
}

#[derive(Debug)]
struct Remembered {
    period_us: u64,
    file: Option<OwnedFd>,
    round: u64,
}

impl Known {
    /// A whole reading begins.
    pub(super) fn begin(&mut self) {
        self.round += 1;
    }

    /// A whole reading has ended: what it hasn't seen is gone.
    pub(super) fn forget_the_rest(&mut self) {
        let round = self.round;
        self.groups.retain(|_, group| group.round == round);
        let held = |group: &&Remembered| group.file.is_some();
        self.open = self.groups.values().filter(held).count();
    }

    /// The reading of what is around a group begins.
    pub(super) fn begin_way(&mut self) {
        self.way.clear();
    }

    /// A group on that way.
    pub(super) fn on_way(&mut self, path: &str, inode: u64) {
        self.way.insert(path.to_owned(), inode);
    }

    /// The budget's file of a group on the way that was read last. Its group may be gone, and another one of the same path
    /// be there: a write to it fails then.
    pub(super) fn file_on_way(&self, path: &str) -> Option<&OwnedFd> {
        self.file(*self.way.get(path)?)
    }

    /// The budget's file.
    pub(super) fn file(&self, inode: u64) -> Option<&OwnedFd> {
        self.groups.get(&inode)?.file.as_ref()
    }

    /// The period, microseconds.
    pub(super) fn period_us(&self, inode: u64) -> Option<u64> {
        self.groups.get(&inode).map(|group| group.period_us)
    }

    /// A group that was seen, and its file, where that shall be held.
    pub(super) fn remember(&mut self, inode: u64, period_us: u64, file: Option<OwnedFd>) {
        if self.groups.len() >= MAX_KNOWN && !self.groups.contains_key(&inode) {
            return;
        }
        let round = self.round;
        let group = self.groups.entry(inode).or_insert(Remembered {
            period_us,
            file: None,
            round,
        });
        group.period_us = period_us;
        group.round = round;
        if let (None, Some(file)) = (&group.file, file) {
            group.file = Some(file);
            self.open += 1;
        }
        if self.open > MAX_OPEN {
            // Most are of groups that are gone, or of pods that are settled: the next reading opens what it needs.
            self.groups.values_mut().for_each(|group| group.file = None);
            self.open = 0;
        }
    }

    /// A group that is gone.
    pub(super) fn forget(&mut self, inode: u64) {
        let group = self.groups.remove(&inode);
        if group.is_some_and(|group| group.file.is_some()) {
            self.open -= 1;
        }
    }

    /// How many files are held open.
    #[cfg(test)]
    pub(super) fn open(&self) -> usize {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn what_a_whole_reading_has_not_seen_is_closed() {
        let mut known = Known::default();
        known.remember(1, 1_000_000, Some(file()));
        known.remember(2, 1_000_000, Some(file()));
        known.remember(3, 1_000_000, None);
        assert_eq!(known.open(), 2);
        known.begin();
        known.remember(2, 500_000, None);
        known.remember(2, 500_000, Some(file()));
        known.forget_the_rest();
        assert_eq!(known.open(), 1);
        assert!(known.file(1).is_none() && known.period_us(3).is_none());
        assert!(known.file(2).is_some() && known.period_us(2) == Some(500_000));
        known.forget(2);
        known.forget(2);
        assert_eq!(known.open(), 0);
    }

    #[test]
    fn no_more_files_are_held_than_the_limit() {
        let mut known = Known::default();
        for inode in 0..700 {
            known.remember(inode, 1, Some(file()));
        }
        assert!(known.open() <= MAX_OPEN && known.file(699).is_some());
        assert_eq!(known.period_us(1), Some(1));
    }
}
