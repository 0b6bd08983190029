//! What each group has when all is done, and whether the kernel and the node's limits allow one more. The accounting is
//! the kernel's: ratios of 2⁻²⁰, a group's children together no more than the group. Writes nothing, orders nothing.

use std::collections::BTreeMap;

use super::super::micros::{PERIOD_US, RuntimeMicros, UNLIMITED, WHOLE, ratio, runtime_for};
use super::tree::Node;
use super::{Limits, Refusal};

/// The limits as ratios of 2⁻²⁰.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// No group has more (the sysctl).
    each: u64,
    /// The root's children together: the smaller one of sysctl and root group, less the host's reserve.
    root: u64,
    /// The same without the reserve.
    root_of_the_kernel: u64,
    /// The pods' group.
    pods: u64,
}

impl Bounds {
    pub(super) fn new(nodes: &[Node<'_>], limits: &Limits) -> Self {
        let each = ratio(limits.sysctl_runtime_us, limits.sysctl_period_us);
        let root = nodes.first().map_or(0, |root| root.group.ratio()).min(each);
        let of = |micros| ratio(super::i64_of(micros), PERIOD_US);
        Self {
            each,
            root: root.saturating_sub(of(limits.reserve_us)),
            root_of_the_kernel: root,
            pods: of(limits.capacity_us),
        }
    }

    /// Without the host's reserve and the profile's capacity.
    pub(super) fn of_the_kernel(self) -> Self {
        Self {
            root: self.root_of_the_kernel,
            pods: WHOLE,
            ..self
        }
    }

    /// Of the pods together, in microseconds of each second: what the ratios allow, and no more than a person would
    /// reckon, who adds microseconds.
    pub(super) fn capacity_us(self, nodes: &[Node<'_>], limits: &Limits) -> u64 {
        let others = nodes.iter().filter(|node| {
            let beside = |parent: usize| parent == 0 || nodes[parent].above_pods;
            !node.in_pods && !node.above_pods && node.parent.is_some_and(beside)
        });
        let (taken, taken_us) = others.fold((0_u64, limits.reserve_us), |(ratio, micros), node| {
            let group = node.group;
            (
                ratio.saturating_add(group.ratio()),
                micros.saturating_add(micros_of(group.runtime_us, group.period_us)),
            )
        });
        let root = nodes.first().map_or(0, |root| {
            micros_of(root.group.runtime_us, root.group.period_us)
        });
        micros_in(self.root.saturating_sub(taken).min(self.pods))
            .min(root.saturating_sub(taken_us))
            .min(limits.capacity_us)
    }
}

/// What a group's children have together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    ratio: u64,
    micros: i64,
}

impl Sum {
    fn of(node: &Node<'_>, runtime_us: i64) -> Self {
        let whole = super::i64_of(node.group.period_us);
        Self {
            ratio: ratio(runtime_us, node.group.period_us),
            micros: if runtime_us == UNLIMITED {
                whole
            } else {
                runtime_us
            },
        }
    }

    fn add(&mut self, other: Self) {
        self.ratio = self.ratio.saturating_add(other.ratio);
        self.micros = self.micros.saturating_add(other.micros);
    }

    fn take(&mut self, other: Self) {
        self.ratio = self.ratio.saturating_sub(other.ratio);
        self.micros = self.micros.saturating_sub(other.micros);
    }
}

/// What each group has when all is done.
pub(super) struct Shares<'a> {
    nodes: &'a [Node<'a>],
    /// What a group must have whatever its children have: its container's budget, or what can't be taken from it.
    own: Vec<i64>,
    children: Vec<Sum>,
    finals: Vec<i64>,
}

impl<'a> Shares<'a> {
    /// With nothing but what is there already and may stay: no group has more than before.
    pub(super) fn new(
        nodes: &'a [Node<'a>],
        targets: &BTreeMap<usize, RuntimeMicros>,
        refused: &BTreeMap<String, Refusal>,
        complete: bool,
    ) -> Self {
        let mut shares = Self {
            nodes,
            own: owns(nodes, targets, refused, complete),
            children: vec![Sum::default(); nodes.len()],
            finals: vec![0; nodes.len()],
        };
        for index in (0..nodes.len()).rev() {
            let share = shares.share(index, shares.own[index], shares.children[index]);
            shares.finals[index] = share;
            if let Some(parent) = nodes[index].parent {
                shares.children[parent].add(Sum::of(&nodes[index], share));
            }
        }
        shares
    }

    /// Gives a group `runtime_us` and those above what they need for it, or changes nothing.
    pub(super) fn grant(&mut self, index: usize, runtime_us: i64, bounds: Bounds) -> bool {
        let mut changes = Vec::new();
        let (mut at, mut own, mut children) = (
            index,
            larger(self.own[index], runtime_us),
            self.children[index],
        );
        loop {
            let share = self.share(at, own, children);
            let Some(parent) = self.nodes[at].parent else {
                if children.ratio > bounds.root {
                    return false;
                }
                changes.push((at, own, children, share));
                break;
            };
            changes.push((at, own, children, share));
            if share == self.finals[at] {
                // Those above have room left, as that of a container that has just ended: it is nobody's to give when the
                // pods have more than the node's capacity, which has become smaller.
                if self.is_over(bounds) {
                    return false;
                }
                break;
            }
            if !self.fits(at, share, bounds) {
                return false;
            }
            children = self.children[parent];
            children.take(Sum::of(&self.nodes[at], self.finals[at]));
            children.add(Sum::of(&self.nodes[at], share));
            at = parent;
            own = self.own[parent];
        }
        for (at, own, children, share) in changes {
            self.own[at] = own;
            self.children[at] = children;
            self.finals[at] = share;
        }
        true
    }

    /// What a group has when all is done: microseconds of its period, −1 without limit.
    pub(super) fn at(&self, index: usize) -> i64 {
        self.finals[index]
    }

    /// It has less than that when all is done.
    pub(super) fn lacks(&self, index: usize, runtime_us: i64) -> bool {
        self.finals[index] != UNLIMITED && self.finals[index] < runtime_us
    }

    /// Of all groups.
    pub(super) fn all(&self) -> &[i64] {
        &self.finals
    }

    /// What one more container could get, in microseconds of each second.
    pub(super) fn free(&self, bounds: Bounds) -> u64 {
        let spare = |limit: u64, index: usize| limit.saturating_sub(self.children[index].ratio);
        let ratio_at = |index: usize| Sum::of(&self.nodes[index], self.finals[index]).ratio;
        let mut free = if self.nodes.is_empty() {
            0
        } else {
            spare(bounds.root, 0)
        };
        for (index, node) in self.nodes.iter().enumerate() {
            if node.above_pods {
                free += spare(ratio_at(index), index);
            } else if node.is_pods_group {
                let most = bounds.pods.min(bounds.each);
                free = free.min(most.saturating_sub(ratio_at(index)));
            }
        }
        micros_in(free.min(bounds.pods))
    }

    /// The pods together have more than they may.
    fn is_over(&self, bounds: Bounds) -> bool {
        let mut nodes = self.nodes.iter().zip(&self.finals);
        nodes.any(|(node, share)| {
            node.is_pods_group && ratio(*share, node.group.period_us) > bounds.pods
        })
    }

    fn fits(&self, index: usize, share: i64, bounds: Bounds) -> bool {
        let node = &self.nodes[index];
        let ratio = ratio(share, node.group.period_us);
        let of_its_period = share == UNLIMITED || share <= super::i64_of(node.group.period_us);
        of_its_period && ratio <= bounds.each && (!node.is_pods_group || ratio <= bounds.pods)
    }

    /// A group's share from its own need and its children's.
    fn share(&self, index: usize, own: i64, children: Sum) -> i64 {
        let node = &self.nodes[index];
        let has = node.group.runtime_us;
        if node.parent.is_none() {
            return has;
        }
        let least = runtime_for(children.ratio, node.group.period_us);
        let need = if !node.even {
            least
        } else if (least..children.micros).contains(&has) {
            // The kernel rounds down, and has accepted a few microseconds less than the sum.
            has
        } else {
            // More than the period is never accepted, and the kernel rounds down.
            let whole = super::i64_of(node.group.period_us);
            children.micros.min(whole.max(least))
        };
        larger(own, need)
    }
}

/// What each group must have whatever its children have.
fn owns(
    nodes: &[Node<'_>],
    targets: &BTreeMap<usize, RuntimeMicros>,
    refused: &BTreeMap<String, Refusal>,
    complete: bool,
) -> Vec<i64> {
    let overfull = overfull(nodes, targets);
    // Below a container's group its own runtime or its own programs divide what it has: that is left alone.
    let mut left_alone = vec![false; nodes.len()];
    let mut own = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let has = node.group.runtime_us;
        let target = targets.get(&index).map(|budget| i64::from(budget.get()));
        let foreign = matches!(refused.get(node.path), Some(Refusal::ForeignPeriod { .. }));
        let below = node.parent.is_some_and(|parent| left_alone[parent]);
        left_alone[index] = foreign || below || (target.is_some() && !overfull.contains(&index));
        let keeps = !node.in_pods || !complete || node.group.realtime_tasks || foreign || below;
        own.push(match target {
            _ if keeps => has,
            // Less than wanted is kept until there is room for all of it.
            Some(target) if node.group.lacks(target) => has,
            Some(target) => target,
            None => 0,
        });
    }
    own
}

/// Containers' groups below which more has been given out than they are to have.
fn overfull(nodes: &[Node<'_>], targets: &BTreeMap<usize, RuntimeMicros>) -> Vec<usize> {
    let mut below: BTreeMap<usize, u64> = BTreeMap::new();
    for node in nodes {
        if let Some(parent) = node.parent.filter(|parent| targets.contains_key(parent)) {
            *below.entry(parent).or_default() += node.group.ratio();
        }
    }
    let more = |index: &usize, sum: u64| {
        let wanted = targets
            .get(index)
            .map_or(0, |budget| i64::from(budget.get()));
        sum > ratio(wanted, nodes[*index].group.period_us).max(
            // Not yet raised: they fit into what it has.
            if nodes[*index].group.lacks(wanted) {
                nodes[*index].group.ratio()
            } else {
                0
            },
        )
    };
    below
        .into_iter()
        .filter(|(index, sum)| more(index, *sum))
        .map(|(index, _)| index)
        .collect()
}

fn larger(one: i64, other: i64) -> i64 {
    if one == UNLIMITED || other == UNLIMITED {
        UNLIMITED
    } else {
        one.max(other)
    }
}

/// Microseconds of each second, rounded; a whole second without limit.
fn micros_of(runtime_us: i64, period_us: u64) -> u64 {
    let Ok(runtime) = u64::try_from(runtime_us) else {
        return PERIOD_US;
    };
    let micros = u128::from(runtime) * u128::from(PERIOD_US) / u128::from(period_us.max(1));
    u64::try_from(micros).unwrap_or(u64::MAX)
}

/// The most microseconds of each second whose ratio is not above that one.
fn micros_in(ratio: u64) -> u64 {
    let above = (u128::from(ratio) + 1) * u128::from(PERIOD_US);
    u64::try_from((above - 1) / u128::from(WHOLE)).unwrap_or(u64::MAX)
}
