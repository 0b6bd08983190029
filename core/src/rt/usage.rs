//! How much of a CPU real-time threads use: the kernel's texts about threads, two samples of them, and what follows.
//! Reads no file and has no clock: texts and times come as arguments.

pub mod metrics;
mod parse;
#[cfg(test)]
mod tests;
mod throttle;

use std::collections::BTreeMap;

use serde::Serialize;

use super::identity::Identity;
use super::micros::PERIOD_US;
pub use parse::{ThreadStat, schedstat_ns};
pub use throttle::{Throttled, throttled};

/// A real-time policy, as proc_pid_stat(5) numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// SCHED_FIFO.
    Fifo,
    /// SCHED_RR.
    Rr,
    /// SCHED_DEADLINE: outside of every group's budget.
    Deadline,
}

impl Policy {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Rr => "rr",
            Self::Deadline => "deadline",
        }
    }
}

/// A thread, so that its number given to another one is noticed: the number and when it was made, clock ticks since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadKey {
    /// The thread's number.
    pub tid: i32,
    /// Field 22 of its stat.
    pub start: u64,
}

/// A thread at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// Which.
    pub key: ThreadKey,
    /// Its name, at most 15 bytes in the kernel, whatever they are.
    pub comm: String,
    /// Its policy.
    pub policy: Policy,
    /// 1 to 99; 0 for SCHED_DEADLINE.
    pub priority: u32,
    /// Where it ran last.
    pub cpu: u32,
    /// CPU time that it has used, nanoseconds.
    pub used_ns: u64,
    /// When this was read, nanoseconds of any clock that only goes forward.
    pub at_ns: u64,
}

/// The real-time threads of one group at one moment, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group's path from its hierarchy's mount.
    pub path: String,
    /// Whose it is, where the runtime says it.
    pub identity: Option<Identity>,
    /// The pod, as its directory bears it.
    pub pod_uid: String,
    /// The container's id; empty where the group is no container's.
    pub id: String,
    /// `cpu.rt_runtime_us`; −1 without limit, absent where the kernel has no budgets.
    pub budget_us: Option<i64>,
    /// Its real-time threads.
    pub threads: Vec<Thread>,
}

/// What a thread uses.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreadUse {
    /// Its number.
    pub tid: i32,
    /// Its name, without what a terminal would act on.
    pub comm: String,
    /// Its policy.
    pub policy: Policy,
    /// 1 to 99; 0 for SCHED_DEADLINE.
    pub priority: u32,
    /// Where it ran last.
    pub cpu: u32,
    /// Of one CPU, 0 to 1; absent for a thread that the first sample doesn't have.
    pub share: Option<f64>,
}

/// What a group uses.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupUse {
    /// The pod's namespace, where the runtime says it.
    pub namespace: Option<String>,
    /// The pod, likewise.
    pub pod: Option<String>,
    /// The container, likewise.
    pub container: Option<String>,
    /// The pod, as its directory bears it.
    pub pod_uid: String,
    /// The container's id; empty where the group is no container's.
    pub container_id: String,
    /// The group's path.
    pub group: String,
    /// Microseconds of each second on each CPU; −1 without limit; absent where the kernel has no budgets.
    pub budget_microseconds: Option<i64>,
    /// Of the CPU on which its FIFO and RR threads use most, 0 to 1.
    pub busiest_cpu_share: Option<f64>,
    /// That share in relation to the budget: 1 is all of it.
    pub budget_share: Option<f64>,
    /// The CPUs on which the kernel has stopped it at this moment; absent where the kernel doesn't tell.
    pub throttled_cpus: Option<Vec<u32>>,
    /// Its real-time threads, the busiest first.
    pub threads: Vec<ThreadUse>,
}

/// What was used between two samples. Groups by namespace, pod and container; those that nobody knows last.
pub fn between(
    before: &[Group],
    after: &[Group],
    throttled: Option<&[Throttled]>,
) -> Vec<GroupUse> {
    let earlier: BTreeMap<ThreadKey, &Thread> = before
        .iter()
        .flat_map(|group| &group.threads)
        .map(|thread| (thread.key, thread))
        .collect();
    let mut groups: Vec<GroupUse> = after
        .iter()
        .map(|group| group_use(group, &earlier, throttled))
        .collect();
    groups.sort_by(|a, b| {
        let key = |group: &GroupUse| {
            (
                group.pod.is_none(),
                group.namespace.clone(),
                group.pod.clone(),
                group.container.clone(),
                group.group.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    groups
}

fn group_use(
    group: &Group,
    earlier: &BTreeMap<ThreadKey, &Thread>,
    throttled: Option<&[Throttled]>,
) -> GroupUse {
    let mut by_cpu: BTreeMap<u32, f64> = BTreeMap::new();
    let mut threads: Vec<ThreadUse> = group
        .threads
        .iter()
        .map(|thread| {
            let share = earlier
                .get(&thread.key)
                .and_then(|before| share(before, thread));
            if let Some(share) = share.filter(|_| thread.policy != Policy::Deadline) {
                *by_cpu.entry(thread.cpu).or_default() += share;
            }
            ThreadUse {
                tid: thread.key.tid,
                comm: shown(&thread.comm),
                policy: thread.policy,
                priority: thread.priority,
                cpu: thread.cpu,
                share,
            }
        })
        .collect();
    threads.sort_by(|a, b| {
        let share = |thread: &ThreadUse| thread.share.unwrap_or(-1.0);
        share(b).total_cmp(&share(a)).then(a.tid.cmp(&b.tid))
    });
    // Threads that went from one CPU to another between the samples count where they ran last.
    let busiest = by_cpu
        .into_values()
        .reduce(f64::max)
        .map(|share| share.min(1.0));
    let budget = group.budget_us.filter(|budget| *budget > 0).map(of_second);
    let names = group.identity.as_ref();
    GroupUse {
        namespace: names.map(|names| shown(&names.namespace)),
        pod: names.map(|names| shown(&names.pod)),
        container: names.and_then(|names| names.container.as_deref().map(shown)),
        pod_uid: group.pod_uid.clone(),
        container_id: group.id.clone(),
        group: shown(&group.path),
        budget_microseconds: group.budget_us,
        busiest_cpu_share: busiest,
        budget_share: busiest.zip(budget).map(|(used, budget)| used / budget),
        throttled_cpus: throttled.map(|all| {
            let own = all.iter().filter(|one| one.group == group.path);
            own.map(|one| one.cpu).collect()
        }),
        threads,
    }
}

/// Of one CPU, 0 to 1; none when no time has gone by. The kernel's clock and ours differ a little: never more than all.
fn share(before: &Thread, after: &Thread) -> Option<f64> {
    let time = after
        .at_ns
        .checked_sub(before.at_ns)
        .filter(|time| *time > 0)?;
    let used = after.used_ns.saturating_sub(before.used_ns);
    Some((as_f64(used) / as_f64(time)).min(1.0))
}

/// Microseconds of each second as a part of a CPU.
fn of_second(micros: i64) -> f64 {
    as_f64(u64::try_from(micros).unwrap_or(0)) / as_f64(PERIOD_US)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a share with 15 digits is enough"
)]
fn as_f64(number: u64) -> f64 {
    number as f64
}

/// One line, without what a terminal would act on: a program gives its threads any name.
fn shown(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { '?' } else { one })
        .collect()
}
