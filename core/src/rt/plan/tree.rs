//! The snapshot of the kernel's tree. Holds no decision.

use std::collections::BTreeMap;

use super::super::micros::{PERIOD_US, UNLIMITED, ratio};

/// What the kernel says of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `cpu.rt_runtime_us`: microseconds of each period, −1 without limit.
    pub runtime_us: i64,
    /// `cpu.rt_period_us`.
    pub period_us: u64,
    /// A thread with SCHED_FIFO or SCHED_RR is directly in it (not in a group below), or may be on its way out.
    pub realtime_tasks: bool,
}

impl Group {
    /// In the kernel's ratio.
    pub(super) fn ratio(&self) -> u64 {
        ratio(self.runtime_us, self.period_us)
    }

    /// Has less than that.
    pub(super) fn lacks(&self, runtime_us: i64) -> bool {
        self.runtime_us != UNLIMITED && self.runtime_us < runtime_us
    }
}

/// The groups below the mount of the `cpu` controller, by path: `/` is the root group, `/kubepods` one below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// Groups by path. One whose parent is missing (gone while the tree was read) counts as gone.
    pub groups: BTreeMap<String, Group>,
}

/// A group at its place.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Node<'a> {
    /// From the mount, as in [`Tree`].
    pub path: &'a str,
    /// What the kernel says of it.
    pub group: &'a Group,
    /// The place of its parent in the list, which is before its own. `None` for the root group.
    pub parent: Option<usize>,
    /// All children have its period.
    pub even: bool,
    /// It is the pods' group or below it.
    pub in_pods: bool,
    /// It is the pods' group.
    pub is_pods_group: bool,
    /// It is above the pods' group, and not the root.
    pub above_pods: bool,
}

impl Tree {
    /// Adds groups of which nothing but the budget is remembered: those directly below the groups on the way from the pods'
    /// group to `group`, and not on it; of those that have none nothing is to be known. Enough for a plan that raises `group`
    /// and nothing else; the kernel judges whether they are as they were.
    pub fn remember_beside<'a>(
        &mut self,
        pods_group: &str,
        group: &str,
        remembered: impl IntoIterator<Item = (&'a String, &'a i64)>,
    ) {
        for (path, &runtime_us) in remembered.into_iter().filter(|(_, has)| **has != 0) {
            let on_way = |parent: &str| {
                group
                    .strip_prefix(parent)
                    .is_some_and(|rest| rest.starts_with('/'))
                    && (parent == pods_group || above(parent).any(|above| above == pods_group))
            };
            if above(path).next().is_some_and(on_way) && !self.groups.contains_key(path) {
                let beside = Group {
                    runtime_us,
                    period_us: PERIOD_US,
                    realtime_tasks: false,
                };
                self.groups.insert(path.clone(), beside);
            }
        }
    }

    /// The groups that hang together with the root, each after its parent, sorted by path.
    pub(super) fn nodes(&self, pods_group: &str) -> Vec<Node<'_>> {
        let mut nodes: Vec<Node<'_>> = Vec::with_capacity(self.groups.len());
        for (path, group) in &self.groups {
            let parent = match above(path).next() {
                None if path == "/" => None,
                None => continue,
                Some(above) => match nodes.binary_search_by(|node| node.path.cmp(above)) {
                    Ok(parent) => Some(parent),
                    Err(_) => continue,
                },
            };
            if let Some(parent) = parent
                && nodes[parent].group.period_us != group.period_us
            {
                nodes[parent].even = false;
            }
            let is_pods_group = path == pods_group;
            nodes.push(Node {
                path,
                group,
                parent,
                even: true,
                in_pods: is_pods_group || parent.is_some_and(|parent| nodes[parent].in_pods),
                is_pods_group,
                above_pods: path != "/" && above(pods_group).any(|above| above == path),
            });
        }
        nodes
    }
}

/// The paths above a path, the nearest first, the root last; none for the root and for what is no path.
pub(super) fn above(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        if rest == "/" || !rest.starts_with('/') {
            return None;
        }
        rest = match rest.rfind('/') {
            Some(0) | None => "/",
            Some(slash) => &rest[..slash],
        };
        Some(rest)
    })
}
