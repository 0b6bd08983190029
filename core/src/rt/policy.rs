//! Policy on a container's threads: which of them are new, what each is to become, and whether they have used more than
//! the container's budget where the kernel doesn't enforce it, or all of it where it does. Decides only: the daemon lists, sets and measures.

mod memory;
mod thread;
mod usage;

#[cfg(test)]
mod tests;

use super::request::{Policy, Scheduling};
pub use memory::Memory;
pub use thread::{Found, Origin, hard_rttime, schedstat};
pub use usage::{Overrun, RtUsage, ThreadUse, Used, overrun, throttled, used};

/// `SCHED_OTHER` (include/uapi/linux/sched.h).
pub const SCHED_OTHER: u32 = 0;
/// `SCHED_FIFO`.
pub const SCHED_FIFO: u32 = 1;
/// `SCHED_RR`.
pub const SCHED_RR: u32 = 2;
/// `SCHED_DEADLINE`.
pub const SCHED_DEADLINE: u32 = 6;

/// How much longer than its RLIMIT_RTTIME a thread may run that doesn't heed the signal, in microseconds. The kernel
/// itself repeats SIGXCPU after one second (kernel/time/posix-cpu-timers.c).
const AFTER_SIGNAL_US: u64 = 1_000_000;

/// Resource limits of a container's processes, as `prlimit` takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// RLIMIT_RTPRIO, soft and hard: the highest priority that a thread without CAP_SYS_NICE may give itself, 1 to 99.
    pub rtprio: Option<u8>,
    /// RLIMIT_RTTIME, microseconds.
    pub rttime: Option<RtTime>,
}

/// RLIMIT_RTTIME: for how long a real-time thread may run without blocking, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtTime {
    /// SIGXCPU comes then, and after each further second.
    pub soft_us: u64,
    /// SIGKILL comes then.
    pub hard_us: u64,
}

/// What a thread is to become; `None`: it stays as it is.
///
/// `other` takes real-time scheduling away and nothing else: a thread that is SCHED_BATCH or SCHED_IDLE remains so.
pub fn target(scheduling: &Scheduling, found: &Found) -> Option<Policy> {
    match scheduling.policy {
        Policy::Other if !found.is_realtime() && found.policy != SCHED_DEADLINE => None,
        policy => Some(policy),
    }
}

/// The limits that belong to a policy. `other` changes none.
pub fn limits(scheduling: &Scheduling) -> Limits {
    let rtprio = match scheduling.policy {
        Policy::Fifo(priority) | Policy::RoundRobin(priority) => Some(priority),
        Policy::Other => None,
    };
    let rttime = scheduling.rttime_us.map(u64::from);
    Limits {
        rtprio,
        rttime: rttime.filter(|_| rtprio.is_some()).map(|soft_us| RtTime {
            soft_us,
            hard_us: soft_us + AFTER_SIGNAL_US,
        }),
    }
}

impl RtTime {
    /// Below a hard limit that is there already: nobody needs a privilege to lower one.
    #[must_use]
    pub fn within(self, hard_us: Option<u64>) -> Self {
        let hard_us = hard_us.map_or(self.hard_us, |there| there.min(self.hard_us));
        Self {
            soft_us: self.soft_us.min(hard_us),
            hard_us,
        }
    }
}
