//! What is remembered of groups from one reading to the next: the period, the budget's file held open, and which groups are
//! beside the pods' group. Opening a file takes five times as long as reading it, and there are as many groups as a node has
//! containers.
//!
//! A budget is never remembered: each is read anew. A held file keeps no budget and no group from going.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// No more files are held open: enough for the groups of a full node, and well below the 1024 that a process may have open
/// by default. The kernel has a page for each.
const MAX_OPEN: usize = 512;
/// No more of them on ways: the pods' group, the classes', and those of the pods whose containers came last or will come.
const MAX_WAYS: usize = 128;
/// Until periods are looked at again.
const PERIODS: Duration = Duration::from_secs(10);
/// A thread on its way out is listed no more, and is in the group's budget until its end. Of a group that lists none that is
/// so long taken for granted, as not all real-time threads are remembered. What is left to one are milliseconds, which a
/// budget of 1 % gives in a second.
const ON_ITS_WAY_OUT: Duration = Duration::from_secs(10);
/// No more of a group's real-time threads are remembered.
const MAX_THREADS: usize = 8;
/// No more groups are remembered.
const MAX_KNOWN: usize = 1 << 14;
/// Of no more groups beside the pods' group, and beside one above it, the names are remembered.
const MAX_BESIDE: usize = 64;

/// By inode: as long as a file of a group is held, no other group gets its number.
#[derive(Debug, Default)]
pub(super) struct Known {
    groups: HashMap<u64, Remembered>,
    ways: HashMap<String, Held>,
    /// By a group above the pods' group: the paths and inodes of those directly below it, and of the root group its own.
    beside: HashMap<String, Vec<(String, u64)>>,
    open: usize,
    /// Whole readings up to now.
    round: u64,
    /// The one that looked at the periods last, and when.
    since: u64,
    looked: Option<Instant>,
}

/// Of a group on the way to a container's. Its group may be gone, and another one of the same path be there: reading and
/// writing fail then, and say that it is gone.
#[derive(Debug)]
pub(super) struct Held {
    /// The budget's file, to read and to write.
    pub file: OwnedFd,
    /// The period, microseconds.
    pub period_us: u64,
}

#[derive(Debug)]
struct Remembered {
    period_us: u64,
    file: Option<OwnedFd>,
    round: u64,
    realtime: Option<Realtime>,
}

/// The real-time threads of a group.
#[derive(Debug)]
struct Realtime {
    /// When they were listed last.
    seen: Instant,
    /// Some of them, the lowest numbers: the first process of a PID namespace, which ends last, is most often the first.
    threads: Vec<i32>,
    /// There were others.
    more: bool,
}

impl Known {
    /// A whole reading begins, which looks at the periods if it is `anew`, or if they were looked at long ago.
    pub(super) fn begin(&mut self, anew: bool) {
        self.round += 1;
        let now = Instant::now();
        let long_ago = |looked: Instant| now.duration_since(looked) >= PERIODS;
        if anew || self.looked.is_none_or(long_ago) {
            self.looked = Some(now);
            self.since = self.round;
        }
    }

    /// A whole reading has ended: what it hasn't seen is gone. Of ways those are kept that `may_be_written`.
    pub(super) fn forget_the_rest(&mut self, may_be_written: impl Fn(&str) -> bool) {
        let round = self.round;
        self.ways.retain(|path, _| may_be_written(path));
        self.groups.retain(|_, group| group.round == round);
        let held = |group: &&Remembered| group.file.is_some();
        self.open = self.groups.values().filter(held).count();
    }

    /// Closes all files, and keeps what was seen of real-time threads.
    pub(super) fn close_all(&mut self) {
        self.ways.clear();
        self.beside.clear();
        self.groups.values_mut().for_each(|group| group.file = None);
        self.open = 0;
    }

    /// A group on the way to one that was read.
    pub(super) fn on_way(&self, path: &str) -> Option<&Held> {
        self.ways.get(path)
    }

    /// Holds a group on a way.
    pub(super) fn hold(&mut self, path: &str, held: Held) {
        if self.ways.len() >= MAX_WAYS && !self.ways.contains_key(path) {
            // Most are of pods that are settled: the next reading opens what it needs.
            self.ways.clear();
        }
        self.ways.insert(path.to_owned(), held);
    }

    /// Whether there is room for groups on ways that will only perhaps be needed.
    pub(super) fn has_room_for_ways(&self) -> bool {
        self.ways.len() < MAX_WAYS / 2
    }

    /// What is directly below a group above the pods' group.
    pub(super) fn saw_beside(&mut self, above: &str, groups: Vec<(String, u64)>) {
        if groups.len() <= MAX_BESIDE {
            self.beside.insert(above.to_owned(), groups);
        } else {
            self.beside.remove(above);
        }
    }

    /// What was directly below it when it was listed last.
    pub(super) fn beside(&self, above: &str) -> Option<&[(String, u64)]> {
        self.beside.get(above).map(Vec::as_slice)
    }

    /// What was seen of a group's period: one on a way has it, too.
    pub(super) fn saw_period(&mut self, path: &str, period_us: u64) {
        if let Some(held) = self.ways.get_mut(path) {
            held.period_us = period_us;
        }
    }

    /// A group on a way that is gone.
    pub(super) fn let_go(&mut self, path: &str) {
        self.ways.remove(path);
    }

    /// The budget's file.
    pub(super) fn file(&self, inode: u64) -> Option<&OwnedFd> {
        self.groups.get(&inode)?.file.as_ref()
    }

    /// The period, microseconds, unless it is to be looked at.
    pub(super) fn period_us(&self, inode: u64) -> Option<u64> {
        let group = self.groups.get(&inode)?;
        (group.round >= self.since).then_some(group.period_us)
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
            realtime: None,
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

    /// Real-time threads are listed in a group, and perhaps `more` than these. Who was listed before and is `ending` counts on.
    pub(super) fn saw_realtime(
        &mut self,
        inode: u64,
        mut threads: Vec<i32>,
        more: bool,
        mut ending: impl FnMut(i32) -> bool,
    ) {
        let Some(group) = self.groups.get_mut(&inode) else {
            return;
        };
        for tid in group.realtime.iter().flat_map(|before| &before.threads) {
            if !threads.contains(tid) && ending(*tid) {
                threads.push(*tid);
            }
        }
        threads.truncate(MAX_THREADS);
        group.realtime = Some(Realtime {
            seen: Instant::now(),
            threads,
            more,
        });
    }

    /// Whether a group that lists no real-time thread may have one that is on its way out: one of those that it listed
    /// last is `ending`, or it has only just listed some and lists nobody (`empty`), or listed more than are remembered.
    pub(super) fn may_have_realtime(
        &mut self,
        inode: u64,
        empty: bool,
        ending: impl FnMut(i32) -> bool,
    ) -> bool {
        let Some(group) = self.groups.get_mut(&inode) else {
            return false;
        };
        let may = group.realtime.as_ref().is_some_and(|realtime| {
            let lately = (empty || realtime.more) && realtime.seen.elapsed() < ON_ITS_WAY_OUT;
            lately || realtime.threads.iter().copied().any(ending)
        });
        if !may {
            group.realtime = None;
        }
        may
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
        known.begin(true);
        assert_eq!(known.period_us(2), None);
        known.remember(2, 500_000, None);
        known.remember(2, 500_000, Some(file()));
        known.forget_the_rest(|_| true);
        assert_eq!(known.open(), 1);
        assert!(known.file(1).is_none() && known.period_us(3).is_none());
        assert!(known.file(2).is_some() && known.period_us(2) == Some(500_000));
        known.begin(false);
        assert_eq!(known.period_us(2), Some(500_000));
        known.forget(2);
        known.forget(2);
        assert_eq!(known.open(), 0);
    }

    #[test]
    fn no_file_is_held_by_what_is_not_read_for_now() {
        let mut known = Known::default();
        known.remember(1, 1_000_000, Some(file()));
        let held = Held {
            file: file(),
            period_us: 1_000_000,
        };
        known.hold("/kubepods", held);
        known.saw_beside("/", vec![("/system".to_owned(), 2)]);
        known.saw_realtime(1, vec![7], false, |_| false);
        known.close_all();
        assert_eq!(known.open(), 0);
        assert!(known.file(1).is_none() && known.on_way("/kubepods").is_none());
        assert!(known.beside("/").is_none());
        assert!(known.may_have_realtime(1, false, |tid| tid == 7));
    }

    #[test]
    fn real_time_threads_are_remembered_until_they_have_ended() {
        let mut known = Known::default();
        let is_7 = |tid| tid == 7;
        known.saw_realtime(1, vec![7], false, is_7);
        assert!(!known.may_have_realtime(1, true, is_7), "not known");
        known.remember(1, 1_000_000, None);
        assert!(!known.may_have_realtime(1, true, is_7));
        known.saw_realtime(1, vec![6, 7], false, is_7);
        known.remember(1, 1_000_000, None);
        // Others are listed, and one that was is on its way out.
        assert!(known.may_have_realtime(1, false, is_7));
        assert!(known.may_have_realtime(1, true, |_| false));
        assert!(!known.may_have_realtime(1, false, |_| false));
        assert!(!known.may_have_realtime(1, true, is_7), "forgotten");
        // One that ends is remembered beside those that are listed after it.
        known.saw_realtime(1, vec![7], false, is_7);
        known.saw_realtime(1, vec![8], false, is_7);
        assert!(known.may_have_realtime(1, false, is_7));
        known.saw_realtime(1, vec![8], false, |_| false);
        assert!(!known.may_have_realtime(1, false, is_7));
        // Not all are remembered.
        known.saw_realtime(1, vec![8], true, is_7);
        assert!(known.may_have_realtime(1, false, |_| false));
    }

    #[test]
    fn ways_are_held_up_to_a_limit() {
        let mut known = Known::default();
        for pod in 0..200 {
            let held = Held {
                file: file(),
                period_us: 1,
            };
            known.hold(&format!("/pods/{pod}"), held);
        }
        assert!(known.ways.len() <= MAX_WAYS && known.on_way("/pods/199").is_some());
        known.saw_period("/pods/199", 7);
        known.saw_period("/pods/1000", 7);
        assert_eq!(
            known.on_way("/pods/199").map(|held| held.period_us),
            Some(7)
        );
        known.let_go("/pods/199");
        assert!(known.on_way("/pods/199").is_none());
        known.forget_the_rest(|path| path == "/pods/198");
        assert!(known.on_way("/pods/198").is_some() && known.on_way("/pods/197").is_none());
        assert!(known.has_room_for_ways());
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
