//! One reading of the tree.

use realtime_core::rt::group;
use realtime_core::rt::micros::PERIOD_US;
use realtime_core::rt::plan::{Group, Tree};
use realtime_core::rt::policy::Found;

use rustix::fs::OFlags;

use super::super::folder::{Folder, Open, child, number_in};
use super::super::{CgroupError, MAX_GROUPS, MAX_TASKS};
use super::known::{Held, Known};
use super::{PERIOD, RUNTIME, Scope, TASKS};
use crate::host::Host;
use crate::sched;

/// What the root group is remembered by: no file has this inode.
const ROOT: u64 = 0;

/// A reading.
pub(super) struct Reading<'a> {
    host: &'a Host,
    folder: &'a Folder,
    known: &'a mut Known,
    pods_group: &'a str,
    scope: Scope<'a>,
    tree: Tree,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        host: &'a Host,
        folder: &'a Folder,
        known: &'a mut Known,
        pods_group: &'a str,
        scope: Scope<'a>,
    ) -> Self {
        Self {
            host,
            folder,
            known,
            pods_group,
            scope,
            tree: Tree::default(),
        }
    }

    pub(super) fn read(mut self) -> Result<Tree, CgroupError> {
        match self.scope {
            Scope::Around(group) => {
                for above in way(group) {
                    self.below(above)?;
                }
            }
            Scope::Way(group) => {
                let pods_group = self.pods_group;
                for above in way(pods_group).filter(|above| *above != pods_group) {
                    if !self.as_listed(above)? {
                        self.below(above)?;
                    }
                }
                for path in way(group).filter(|path| is_at_or_below(path, pods_group)) {
                    self.alone(path)?;
                }
                if self.folder.has_children(group) {
                    self.below(group)?;
                }
            }
            Scope::Whole | Scope::Pods(_) => {
                self.known.begin(self.scope == Scope::Whole);
                let mut next = Vec::new();
                for above in way(self.pods_group) {
                    next = self.below(above)?;
                }
                while let Some(group) = next.pop() {
                    if self.goes_below(&group) {
                        next.extend(self.below(&group)?);
                    }
                }
                // A container that has its budget is written to no more.
                let seen = &self.tree.groups;
                let is_settled = |path: &str, group: &Group| {
                    let is_container = |located: group::Located| located.container.is_some();
                    group.runtime_us != 0 && group::locate(path).is_some_and(is_container)
                };
                let may_be_written =
                    |path: &str| seen.get(path).is_some_and(|group| !is_settled(path, group));
                self.known.forget_the_rest(may_be_written);
            }
        }
        Ok(self.tree)
    }

    /// Whether there is something to see below a group.
    fn goes_below(&self, path: &str) -> bool {
        let Scope::Pods(pods) = self.scope else {
            return true;
        };
        let has = |group: &Group| group.runtime_us != 0;
        if self.tree.groups.get(path).is_some_and(has) {
            return true;
        }
        match group::locate(path) {
            None => true,
            Some(located) => pods.contains(&located.pod) && self.folder.has_children(path),
        }
    }

    /// Reads the groups directly below one, and of the root group its own values. Gives the groups that were found.
    fn below(&mut self, group: &str) -> Result<Vec<String>, CgroupError> {
        let Some(open) = self.folder.group(group)? else {
            return Ok(Vec::new());
        };
        if group == "/" {
            self.one(&open, "", ROOT)?;
        }
        let mut children = Vec::new();
        open.each_child(|name, inode| children.push((name.to_owned(), inode)))?;
        if group != self.pods_group && is_at_or_below(self.pods_group, group) {
            let root = (group == "/").then(|| (group.to_owned(), ROOT));
            let below = children
                .iter()
                .map(|(name, inode)| (child(group, name), *inode));
            self.known
                .saw_beside(group, root.into_iter().chain(below).collect());
        }
        let mut found = Vec::with_capacity(children.len());
        for (name, inode) in children {
            if self.tree.groups.len() >= MAX_GROUPS {
                return Err(self.folder.too_many());
            }
            found.extend(self.one(&open, &name, inode)?);
        }
        Ok(found)
    }

    /// The same for a group above the pods' group, by the list that was made last and the files that are held; says no when
    /// it doesn't have the groups that are there. To list them takes longer than to read them.
    fn as_listed(&mut self, above: &str) -> Result<bool, CgroupError> {
        let Some(listed) = self.known.beside(above) else {
            return Ok(false);
        };
        for (path, inode) in listed {
            let (Some(file), Some(period_us)) =
                (self.known.file(*inode), self.known.period_us(*inode))
            else {
                return Ok(false);
            };
            let Some(runtime_us) = number_in(file, || self.folder.path(path, RUNTIME))? else {
                return Ok(false);
            };
            let group = Group {
                runtime_us,
                period_us,
                realtime_tasks: false,
            };
            self.tree.groups.insert(path.clone(), group);
        }
        // All of these are there, so that there are others if there are more.
        let children = listed.len() - usize::from(above == "/");
        Ok(self.folder.links(above) == u64::try_from(children + 2).ok())
    }

    /// Reads one group, and gives its path if it is there. The file of a pod that asks is held for its containers.
    fn one(
        &mut self,
        open: &Open<'_>,
        name: &str,
        inode: u64,
    ) -> Result<Option<String>, CgroupError> {
        let path = child(&open.group, name);
        let Some((runtime_us, period_us)) = self.values(open, name, inode)? else {
            self.known.forget(inode);
            return Ok(None);
        };
        self.known.saw_period(&path, period_us);
        let realtime_tasks =
            runtime_us != 0 && self.threads_count(&path) && self.realtime(open, name, inode)?;
        let group = Group {
            runtime_us,
            period_us,
            realtime_tasks,
        };
        if runtime_us == 0
            && self.known.has_room_for_ways()
            && self.known.on_way(&path).is_none()
            && self.is_asking_pods(&path)
            && let Ok(Some(file)) = self.folder.open_both(&path, RUNTIME)
        {
            // Its containers come soon, and nothing shall have to be opened then but theirs.
            self.known.hold(&path, Held { file, period_us });
        }
        self.tree.groups.insert(path.clone(), group);
        Ok(Some(path))
    }

    /// A pod's own group, of a pod that asks.
    fn is_asking_pods(&self, path: &str) -> bool {
        let Scope::Pods(pods) = self.scope else {
            return false;
        };
        group::locate(path)
            .is_some_and(|located| located.container.is_none() && pods.contains(&located.pod))
    }

    /// Runtime and period; `None` when the group is gone. The period is remembered for a while: nobody changes one in the
    /// ordinary course.
    fn values(
        &mut self,
        open: &Open<'_>,
        name: &str,
        inode: u64,
    ) -> Result<Option<(i64, u64)>, CgroupError> {
        let (runtime, file) = match self.known.file(inode) {
            Some(file) => (open.number_in(file, name, RUNTIME)?, None),
            None => match open.open(name, RUNTIME)? {
                Some(file) => (open.number_in(&file, name, RUNTIME)?, Some(file)),
                None => (None, None),
            },
        };
        let period = match self.known.period_us(inode) {
            Some(period) => Some(period),
            None => open
                .number(name, PERIOD)?
                .map(|period| u64::try_from(period).unwrap_or(0)),
        };
        let (Some(runtime), Some(period)) = (runtime, period) else {
            return Ok(None);
        };
        self.known.remember(inode, period, file);
        Ok(Some((runtime, period)))
    }

    /// Reads one group on the way, and nothing beside it. Its file is held: it will be written to.
    fn alone(&mut self, path: &str) -> Result<(), CgroupError> {
        let say = || self.folder.path(path, RUNTIME);
        let mut values = match self.known.on_way(path) {
            Some(held) => number_in(&held.file, say)?.map(|runtime| (runtime, held.period_us)),
            None => None,
        };
        if values.is_none() {
            self.known.let_go(path);
            let Some(file) = self.folder.open_both(path, RUNTIME)? else {
                return Ok(());
            };
            // That of a group that was made a moment ago is what it always is; the next whole reading looks.
            let new = matches!(self.scope, Scope::Way(group) if path == group);
            let period_us = if new {
                PERIOD_US
            } else {
                match self.folder.file(path, PERIOD, OFlags::RDONLY) {
                    Ok(file) => number_in(&file, say)?
                        .map_or(0, |period| u64::try_from(period).unwrap_or(0)),
                    Err(_) => return Ok(()),
                }
            };
            values = number_in(&file, say)?.map(|runtime| (runtime, period_us));
            self.known.hold(path, Held { file, period_us });
        }
        let Some((runtime_us, period_us)) = values else {
            return Ok(());
        };
        let mut realtime_tasks = false;
        if runtime_us != 0
            && self.threads_count(path)
            && let Some(open) = self.folder.group(path)?
        {
            realtime_tasks = matches!(threads(&open, "")?, Threads::Realtime { .. });
        }
        let group = Group {
            runtime_us,
            period_us,
            realtime_tasks,
        };
        self.tree.groups.insert(path.to_owned(), group);
        Ok(())
    }

    /// A real-time thread is directly in the group. A process that ends is not listed any more while it waits for those
    /// that it was the first of (the first one of a PID namespace, `zap_pid_ns_processes`), and is in the group all the
    /// same: zero is not refused over it, and if the budget is used up at that moment, it never ends, nor does its container.
    fn realtime(&mut self, open: &Open<'_>, name: &str, inode: u64) -> Result<bool, CgroupError> {
        let host = self.host;
        let ending = |tid| {
            let stat = host.read(&format!("/proc/{tid}/stat")).ok();
            let found = stat.and_then(|stat| Found::parse(&stat));
            found.is_some_and(|found| found.ends_in_real_time())
        };
        Ok(match threads(open, name)? {
            Threads::Realtime { some, more } => {
                self.known.saw_realtime(inode, some, more, ending);
                true
            }
            Threads::Ordinary => self.known.may_have_realtime(inode, false, ending),
            Threads::None => self.known.may_have_realtime(inode, true, ending),
        })
    }

    fn threads_count(&self, path: &str) -> bool {
        let counts = match self.scope {
            Scope::Whole | Scope::Pods(_) => true,
            Scope::Around(group) | Scope::Way(group) => path == group,
        };
        counts && is_at_or_below(path, self.pods_group)
    }
}

/// So many real-time threads of a group are looked for, and so many others behind the first one.
const MAX_REALTIME: usize = 4;
const MAX_BEHIND: usize = 64;

/// Which threads are directly in a group.
enum Threads {
    None,
    Ordinary,
    /// With SCHED_FIFO or SCHED_RR: some of them, and whether there may be more.
    Realtime {
        some: Vec<i32>,
        more: bool,
    },
}

fn threads(open: &Open<'_>, name: &str) -> Result<Threads, CgroupError> {
    let mut some = Vec::new();
    let (mut count, mut behind) = (0, 0);
    let mut more = false;
    open.each_number(name, TASKS, |tid| {
        count += 1;
        behind += usize::from(!some.is_empty());
        more = count > MAX_TASKS || some.len() >= MAX_REALTIME || behind > MAX_BEHIND;
        // One that is gone is none.
        if !more && sched::get(tid).is_ok_and(|thread| thread.is_realtime()) {
            some.push(tid);
        }
        !more
    })?;
    Ok(if more || !some.is_empty() {
        Threads::Realtime { some, more }
    } else if count == 0 {
        Threads::None
    } else {
        Threads::Ordinary
    })
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
