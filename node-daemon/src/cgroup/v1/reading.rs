//! One reading of the tree.

use realtime_core::rt::plan::{Group, Tree};

use super::super::folder::{Folder, Open, child};
use super::super::{CgroupError, MAX_GROUPS, MAX_TASKS};
use super::known::Known;
use super::{PERIOD, RUNTIME, Scope, TASKS};
use crate::sched;

/// What the root group is remembered by: no file has this inode.
const ROOT: u64 = 0;

/// A reading.
pub(super) struct Reading<'a> {
    folder: &'a Folder,
    known: &'a mut Known,
    pods_group: &'a str,
    scope: Scope<'a>,
    tree: Tree,
}

impl<'a> Reading<'a> {
    pub(super) fn new(
        folder: &'a Folder,
        known: &'a mut Known,
        pods_group: &'a str,
        scope: Scope<'a>,
    ) -> Self {
        Self {
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
                self.known.begin_way();
                for above in way(group) {
                    self.below(above)?;
                }
            }
            Scope::Whole => {
                self.known.begin();
                let mut next = Vec::new();
                for above in way(self.pods_group) {
                    next = self.below(above)?;
                }
                while let Some(group) = next.pop() {
                    next.extend(self.below(&group)?);
                }
                self.known.forget_the_rest();
            }
        }
        Ok(self.tree)
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
        let mut found = Vec::with_capacity(children.len());
        for (name, inode) in children {
            if self.tree.groups.len() >= MAX_GROUPS {
                return Err(self.folder.too_many());
            }
            found.extend(self.one(&open, &name, inode)?);
        }
        Ok(found)
    }

    /// Reads one group, and gives its path if it is there.
    fn one(
        &mut self,
        open: &Open<'_>,
        name: &str,
        inode: u64,
    ) -> Result<Option<String>, CgroupError> {
        let path = child(&open.group, name);
        let Some((runtime_us, period_us)) = self.values(open, name, inode, &path)? else {
            self.known.forget(inode);
            return Ok(None);
        };
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

    /// Runtime and period; `None` when the group is gone. The period is remembered, but a whole reading looks again:
    /// nobody changes one in the ordinary course.
    fn values(
        &mut self,
        open: &Open<'_>,
        name: &str,
        inode: u64,
        path: &str,
    ) -> Result<Option<(i64, u64)>, CgroupError> {
        let around = matches!(self.scope, Scope::Around(_));
        // What is on the way will be written to.
        let on_way = match self.scope {
            Scope::Around(group) => path != "/" && is_at_or_below(group, path),
            Scope::Whole => false,
        };
        let (runtime, file) = match self.known.file(inode) {
            Some(file) => (open.number_in(file, name, RUNTIME)?, None),
            None => match open.open(name, RUNTIME, on_way)? {
                Some(file) => (open.number_in(&file, name, RUNTIME)?, Some(file)),
                None => (None, None),
            },
        };
        let period = match self.known.period_us(inode).filter(|_| around) {
            Some(period) => Some(period),
            None => open
                .number(name, PERIOD)?
                .map(|period| u64::try_from(period).unwrap_or(0)),
        };
        let (Some(runtime), Some(period)) = (runtime, period) else {
            return Ok(None);
        };
        // What only whole readings see is read rarely, and its files need not be held.
        let file = file.filter(|_| around);
        self.known.remember(inode, period, file);
        if on_way {
            self.known.on_way(path, inode);
        }
        Ok(Some((runtime, period)))
    }

    fn threads_count(&self, path: &str) -> bool {
        let counts = match self.scope {
            Scope::Whole => true,
            Scope::Around(group) => path == group,
        };
        counts && is_at_or_below(path, self.pods_group)
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
