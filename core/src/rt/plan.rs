//! From the budgets that are wanted and a snapshot of the kernel's tree to the writes that bring the one to the other,
//! in an order of which the kernel accepts every step (cgroup v1, `cpu.rt_runtime_us`).
//!
//! Writes neither the sysctl nor a period nor the root group, touches nothing beside the pods' own part of the tree, and
//! lowers no group that has real-time threads directly in it: such a thread would wedge.
//!
//! What holds afterwards: a container's group has its budget; a group above has what its children need together, and
//! nothing more; a group that nobody asked for has nothing.

mod order;
mod shares;
mod told;
mod tree;

#[cfg(test)]
mod kernel_model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::micros::{PERIOD_US, RuntimeMicros, ratio, runtime_for};
pub use order::{Write, undo};
use shares::{Bounds, Shares};
pub use told::{Finding, Refusal};
use tree::Node;
pub use tree::{Group, Tree};

/// What is wanted of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The group in which a container's processes are (with crun its `container` sub-group), and its budget.
    pub budgets: BTreeMap<String, RuntimeMicros>,
    /// Groups of containers that are being deleted: a wedged thread at or below them gets room to die.
    pub leaving: BTreeSet<String>,
    /// `budgets` has every container of the node. When false (a start before the pods are known) nothing is lowered.
    pub complete: bool,
}

/// What the node allows. Microseconds of each second unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `/proc/sys/kernel/sched_rt_runtime_us`; −1 is no limit.
    pub sysctl_runtime_us: i64,
    /// `/proc/sys/kernel/sched_rt_period_us`.
    pub sysctl_period_us: u64,
    /// Kept free below the root group for the host (default 100,000).
    pub reserve_us: u64,
    /// The profile's `podBudget.capacityMicroseconds`.
    pub capacity_us: u64,
    /// The kubelet's group of all pods, as `/kubepods` or `/kubepods.slice`.
    pub pods_group: String,
    /// What a thread that can't die is given at most (see `micros::smallest_budget`).
    pub room_to_die_us: u64,
}

/// The writes, and who got what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order. The kernel accepts each of them, as long as nobody else writes in between.
    pub writes: Vec<Write>,
    /// Containers' groups that have their budget when all is written, and what they have: more than wanted where
    /// living real-time threads forbid lowering.
    pub granted: BTreeMap<String, i64>,
    /// Containers' groups that don't get it. Nothing is written for them.
    pub refused: BTreeMap<String, Refusal>,
    /// What else is worth telling.
    pub findings: Vec<Finding>,
    /// What the pods' group has when all is written.
    pub allocated_us: i64,
    /// What one more container could get after that.
    pub free_us: u64,
}

/// Decides. The answer depends on the values alone, never on the order in which they came; applied and asked again, it
/// has no writes.
///
/// Who already has a budget keeps it, whatever the limits have become; the others get theirs in the order of their
/// groups' names, as long as there is room.
pub fn plan(wanted: &Wanted, tree: &Tree, limits: &Limits) -> Plan {
    let nodes = tree.nodes(&limits.pods_group);
    let mut plan = Plan::default();
    let targets = targets(wanted, &nodes, &limits.pods_group, &mut plan.refused);
    let bounds = Bounds::new(&nodes, limits);
    let mut shares = Shares::new(&nodes, &targets, &plan.refused, wanted.complete);

    // 1. Threads that must die come first: they give back what they hold. The host's reserve is there for it.
    for index in stuck(wanted, &nodes) {
        let period = nodes[index].group.period_us;
        let room = runtime_for(ratio(i64_of(limits.room_to_die_us), PERIOD_US), period);
        if nodes[index].group.lacks(room) && !shares.grant(index, room, bounds.of_the_kernel()) {
            plan.findings.push(Finding::NoRoomToDie {
                group: nodes[index].path.to_owned(),
            });
        }
    }
    // 2. Who asks for more than there is.
    for (&index, &budget) in &targets {
        let micros = i64::from(budget.get());
        let node = &nodes[index];
        if shares.lacks(index, micros) && !shares.grant(index, micros, bounds) {
            plan.refused.insert(
                node.path.to_owned(),
                Refusal::NoRoom {
                    wanted_us: micros,
                    free_us: shares.free(bounds),
                    has_us: node.group.runtime_us,
                },
            );
        } else {
            plan.granted.insert(node.path.to_owned(), shares.at(index));
        }
    }
    plan.writes = order::writes(&nodes, shares.all());
    plan.findings
        .extend(told::findings(&nodes, &targets, shares.all()));
    plan.allocated_us = nodes
        .iter()
        .position(|node| node.path == limits.pods_group)
        .map_or(0, |index| shares.at(index));
    plan.free_us = shares.free(bounds);
    plan
}

/// What pods can have together, in microseconds of each second:
/// min(sysctl, root group) − the root's other groups − the host's reserve, and never more than the profile's capacity.
pub fn capacity_us(tree: &Tree, limits: &Limits) -> u64 {
    let nodes = tree.nodes(&limits.pods_group);
    Bounds::new(&nodes, limits).capacity_us(&nodes, limits)
}

/// The containers' groups that can get a budget at all; the others are refused.
fn targets(
    wanted: &Wanted,
    nodes: &[Node<'_>],
    pods_group: &str,
    refused: &mut BTreeMap<String, Refusal>,
) -> BTreeMap<usize, RuntimeMicros> {
    let mut targets = BTreeMap::new();
    for (path, &budget) in &wanted.budgets {
        let found = nodes.binary_search_by(|node| node.path.cmp(path));
        let refusal = match found.map(|index| (index, &nodes[index])) {
            Err(_) => Refusal::NoGroup,
            Ok((_, node)) if !node.in_pods || node.is_pods_group => Refusal::NotAPods,
            Ok((_, node)) if node.group.period_us != PERIOD_US => Refusal::ForeignPeriod {
                period_us: node.group.period_us,
            },
            Ok(_) if inside_another(path, pods_group, wanted) => Refusal::InsideAnother,
            Ok((index, _)) => {
                targets.insert(index, budget);
                continue;
            }
        };
        refused.insert(path.clone(), refusal);
    }
    targets
}

/// A group above it is a container's, too: then this one was made inside that container, and is no container of ours.
fn inside_another(path: &str, pods_group: &str, wanted: &Wanted) -> bool {
    tree::above(path)
        .take_while(|above| *above != pods_group)
        .any(|above| wanted.budgets.contains_key(above))
}

/// Groups with real-time threads that are on their way out.
fn stuck<'a>(wanted: &'a Wanted, nodes: &'a [Node<'_>]) -> impl Iterator<Item = usize> + 'a {
    (0..nodes.len()).filter(move |index| {
        let node = &nodes[*index];
        node.in_pods
            && !node.is_pods_group
            && node.group.realtime_tasks
            && (wanted.leaving.contains(node.path)
                || tree::above(node.path).any(|above| wanted.leaving.contains(above)))
    })
}

fn i64_of(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

/// Where the kernel keeps no budgets they are counted all the same, so that a node is not promised twice: grants and
/// refusals by group, and nothing to write. Those that had something `before` (microseconds, by group) keep as much of it as they
/// ask for, whatever the capacity has become; then come those of them that ask for more, then the others, each in the order of
/// the groups' names: who comes later takes nothing from those that run.
pub fn account(wanted: &Wanted, capacity_us: u64, before: &BTreeMap<String, i64>) -> Plan {
    let mut plan = Plan::default();
    let asks = |group: &str| wanted.budgets.get(group).map(|it| i64::from(it.get()));
    let kept = |group: &str| {
        let had = before.get(group).copied().unwrap_or(0);
        asks(group).unwrap_or(0).min(had)
    };
    let mut allocated: i64 = wanted.budgets.keys().map(|group| kept(group)).sum();
    let free = |allocated: i64| capacity_us.saturating_sub(u64::try_from(allocated).unwrap_or(0));
    let (old, new): (Vec<_>, Vec<_>) = wanted
        .budgets
        .iter()
        .partition(|(group, _)| before.contains_key(*group));
    for (group, budget) in old.into_iter().chain(new) {
        let (asks, has) = (i64::from(budget.get()), kept(group));
        if asks == has || u64::try_from(asks - has).is_ok_and(|more| more <= free(allocated)) {
            allocated += asks - has;
            plan.granted.insert(group.clone(), asks);
        } else {
            let no_room = Refusal::NoRoom {
                wanted_us: asks,
                free_us: free(allocated),
                has_us: has,
            };
            plan.refused.insert(group.clone(), no_room);
        }
    }
    plan.allocated_us = allocated;
    plan.free_us = free(allocated);
    plan
}

/// What each group has by an [`account`], for the next one.
pub fn accounted(plan: &Plan) -> BTreeMap<String, i64> {
    let kept = plan
        .refused
        .iter()
        .filter_map(|(group, refusal)| match refusal {
            Refusal::NoRoom { has_us, .. } if *has_us > 0 => Some((group.clone(), *has_us)),
            _ => None,
        });
    plan.granted.clone().into_iter().chain(kept).collect()
}
