//! What a plan tells beside its writes: why a container gets nothing, and what was found that nobody asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::super::micros::{PERIOD_US, RuntimeMicros};
use super::tree::Node;

/// Why a container's group doesn't get its budget. Nothing is written for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The snapshot doesn't have the group.
    #[error("the container has no cgroup (any more)")]
    NoGroup,
    /// The group isn't below the pods' group.
    #[error("the container's cgroup is not below the kubelet's cgroup of pods")]
    NotAPods,
    /// Somebody changed the group's period.
    #[error(
        "somebody set cpu.rt_period_us of the container's cgroup to {period_us}; write {PERIOD_US} to it"
    )]
    ForeignPeriod {
        /// Microseconds.
        period_us: u64,
    },
    /// A group above is a container's, too.
    #[error("the cgroup is inside another container's")]
    InsideAnother,
    /// There isn't as much left.
    #[error(
        "{wanted_us} µs of each second are asked for, {free_us} are free on this node; ask for less, or put the pod on another node"
    )]
    NoRoom {
        /// Microseconds of each second.
        wanted_us: i64,
        /// Microseconds of each second.
        free_us: u64,
        /// What the group has had, and keeps: microseconds of each second.
        has_us: i64,
    },
}

/// What is worth telling beside grants and refusals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A group had a value that isn't the wanted one; it is put right.
    #[error("{group} had {found_us} µs and gets {wanted_us}")]
    Drift {
        /// From the mount.
        group: String,
        /// Microseconds of its period, −1 without limit.
        found_us: i64,
        /// Microseconds of its period.
        wanted_us: i64,
    },
    /// A group has more than it should, and keeps it: real-time threads live in it.
    #[error("{group} keeps its {keeps_us} µs: real-time threads are in it")]
    Kept {
        /// From the mount.
        group: String,
        /// Microseconds of its period, −1 without limit.
        keeps_us: i64,
    },
    /// Real-time threads in a group without a budget: not running at all, or without a limit.
    #[error("{group} has real-time threads and no budget: they are stuck, or run without a limit")]
    Unbudgeted {
        /// From the mount.
        group: String,
    },
    /// A thread of a container that is being deleted can't die, and there is nothing to give it.
    #[error(
        "{group} is being deleted, its real-time threads can't run, and nothing is left to let them die"
    )]
    NoRoomToDie {
        /// From the mount.
        group: String,
    },
    /// Somebody changed the period of a group of pods. It is never written; ratios are used.
    #[error("somebody set cpu.rt_period_us of {group} to {period_us}")]
    ForeignPeriod {
        /// From the mount.
        group: String,
        /// Microseconds.
        period_us: u64,
    },
}

impl Finding {
    /// Whether a group has more than it should only until its real-time threads have ended.
    pub fn keeps(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }
}

/// Compares what the pods' groups have with what they get. A group between the pods' group and a container is ours to
/// size: its values are told only where threads keep them.
pub(super) fn findings(
    nodes: &[Node<'_>],
    targets: &BTreeMap<usize, RuntimeMicros>,
    finals: &[i64],
) -> Vec<Finding> {
    let mut found = Vec::new();
    let parents: BTreeSet<usize> = nodes.iter().filter_map(|node| node.parent).collect();
    for (index, node) in nodes.iter().enumerate().filter(|(_, node)| node.in_pods) {
        let (group, has, gets) = (node.path.to_owned(), node.group.runtime_us, finals[index]);
        if node.group.period_us != PERIOD_US {
            found.push(Finding::ForeignPeriod {
                group: group.clone(),
                period_us: node.group.period_us,
            });
        }
        let target = targets.get(&index).map(|budget| i64::from(budget.get()));
        let threads = node.group.realtime_tasks;
        if threads && gets == 0 {
            found.push(Finding::Unbudgeted { group });
        } else if threads
            && has != 0
            && has == gets
            && target.is_none_or(|target| gets != target && !node.group.lacks(target))
        {
            found.push(Finding::Kept {
                group,
                keeps_us: gets,
            });
        } else if has != 0 && has != gets && (target.is_some() || !parents.contains(&index)) {
            found.push(Finding::Drift {
                group,
                found_us: has,
                wanted_us: gets,
            });
        }
    }
    found
}
