//! Whether a container's real-time threads have run for longer than its budget, where the kernel doesn't enforce it, and
//! whether they use all of it, where the kernel stops them then. From two samples.

use std::collections::BTreeMap;

use super::super::micros::{PERIOD_US, RuntimeMicros};

/// `/proc` counts a thread's start in hundredths of a second (USER_HZ on every architecture but Alpha).
const TICK_NS: u64 = 10_000_000;
const PERIOD_NS: u64 = PERIOD_US * 1_000;

/// The real-time threads of a container at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtUsage {
    /// When, in nanoseconds since the machine's start (CLOCK_BOOTTIME).
    pub at_ns: u64,
    /// By thread id: those that are SCHED_FIFO or SCHED_RR.
    pub threads: BTreeMap<u32, ThreadUse>,
    /// There are more than were looked at.
    pub more: bool,
}

/// A thread's use of CPU time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadUse {
    /// When it was made, in hundredths of a second since the machine's start.
    pub start: u64,
    /// The CPU on which it ran last.
    pub cpu: u32,
    /// CPU time since it was made, in nanoseconds.
    pub nanoseconds: u64,
}

/// What the busiest CPU gave to the container's real-time threads between two samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Which.
    pub cpu: u32,
    /// Nanoseconds of CPU time.
    pub used_ns: u64,
    /// Nanoseconds between the samples.
    pub elapsed_ns: u64,
}

/// More than the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// Where and how much.
    pub used: Used,
    /// What the kernel's own budget would have let through at most in that time, nanoseconds.
    pub allowed_ns: u64,
}

/// The busiest CPU. `None` when no thread ran, or no time went by.
///
/// A thread's time counts on the CPU on which it ran last. Threads that ended in between aren't seen, and of a thread
/// that was made real-time in between it isn't known since when: neither counts.
pub fn used(before: &RtUsage, after: &RtUsage) -> Option<Used> {
    let elapsed_ns = after.at_ns.checked_sub(before.at_ns)?;
    let mut cpus: BTreeMap<u32, u64> = BTreeMap::new();
    for (tid, now) in &after.threads {
        let then = before
            .threads
            .get(tid)
            .filter(|then| then.start == now.start);
        let ran = match then {
            Some(then) => now.nanoseconds.saturating_sub(then.nanoseconds),
            // Its start is rounded down.
            None if now.start.saturating_add(1).saturating_mul(TICK_NS) > before.at_ns => {
                now.nanoseconds
            }
            None => 0,
        };
        let sum = cpus.entry(now.cpu).or_default();
        *sum = sum.saturating_add(ran);
    }
    let (cpu, used_ns) = cpus.into_iter().max_by_key(|(_, sum)| *sum)?;
    (used_ns > 0 && elapsed_ns > 0).then_some(Used {
        cpu,
        // A thread that came from another CPU has brought its time along.
        used_ns: used_ns.min(elapsed_ns),
        elapsed_ns,
    })
}

/// Whether that is more than a budget that the kernel enforces would have let through.
///
/// Between the samples lie parts of up to ⌈elapsed / 1 s⌉ + 1 periods, and in each of them the whole budget may be used.
/// So samples must be several seconds apart: with 10 s an overrun of a tenth is seen, with 1 s one of the double. It errs on the
/// container's side.
pub fn overrun(before: &RtUsage, after: &RtUsage, budget: RuntimeMicros) -> Option<Overrun> {
    let used = used(before, after)?;
    let periods = used.elapsed_ns.div_ceil(PERIOD_NS) + 1;
    let allowed_ns = periods.saturating_mul(u64::from(budget.get()) * 1_000);
    (used.used_ns > allowed_ns).then_some(Overrun { used, allowed_ns })
}

/// Whether they use all of their budget, so that the kernel stops them second after second. No file of the container tells
/// it, and the scheduler's debug file is not read for it again and again: before 5.13 the kernel writes it down with interrupts off.
///
/// A group that always wants to run gets the whole budget as soon as each period begins. In the part of a period with which
/// the time between the samples begins it may have nothing left, and that is shorter than a period: the least that it gets is
/// (elapsed / 1 s − 1) budgets. So with 10 s nine tenths of the budget are taken for all of it, with more a little more. More
/// than [`overrun`]'s bound is no sign of it: threads have come from other CPUs, or the kernel lends a group what others leave
/// (RT_RUNTIME_SHARE, before 5.10). Threads that change their CPUs may be taken for it wrongly all the same. Samples must be
/// ten seconds apart or more.
pub fn throttled(before: &RtUsage, after: &RtUsage, budget: RuntimeMicros) -> bool {
    let Some(used) = used(before, after) else {
        return false;
    };
    let sure_ns = used.elapsed_ns.saturating_sub(PERIOD_NS);
    let (budget_us, used_ns) = (u64::from(budget.get()), u128::from(used.used_ns));
    budget_us < PERIOD_US
        && sure_ns > 0
        && used_ns * u128::from(PERIOD_US) >= u128::from(sure_ns) * u128::from(budget_us)
        && overrun(before, after, budget).is_none()
}
