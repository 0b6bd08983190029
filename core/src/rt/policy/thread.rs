//! A thread by `/proc/<tid>/stat` and `/proc/<tid>/schedstat`. Whatever the text, it gives an answer or none.

use super::{SCHED_FIFO, SCHED_RR};

/// Of the kernel's flags of a thread.
const PF_EXITING: u64 = 0x4;

/// What is read of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// When it was made, in hundredths of a second since the machine's start: with its id, it is this thread and no later
    /// one with the same id.
    pub start: u64,
    /// The kernel's number of its policy.
    pub policy: u32,
    /// Its real-time priority: 1 to 99, 0 without one.
    pub priority: u32,
    /// The CPU on which it ran last.
    pub cpu: u32,
    /// CPU time, user and system, in hundredths of a second.
    pub ticks: u64,
    /// It is ending (PF_EXITING, include/linux/sched.h): no group lists it any more, and `/proc/<tid>/cgroup` may say `/`.
    pub exiting: bool,
    /// It has ended, and is only kept until somebody asks how: it never runs again.
    pub dead: bool,
}

impl Found {
    /// From `stat`. The name in it may have any characters, so what counts is behind the last parenthesis.
    pub fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        // proc_pid_stat(5) counts from 1; the first one here is its third. Each `nth` goes on behind the one before.
        let mut next = |skipped: usize| fields.nth(skipped);
        let state = next(0)?; // 3
        let flags: u64 = next(5)?.parse().ok()?; // 9
        let user: u64 = next(4)?.parse().ok()?; // 14
        let system: u64 = next(0)?.parse().ok()?; // 15
        let start = next(6)?.parse().ok()?; // 22
        let cpu = next(16)?.parse().ok()?; // 39
        let priority = next(0)?.parse().ok()?; // 40
        let policy = next(0)?.parse().ok()?; // 41
        Some(Self {
            start,
            policy,
            priority,
            cpu,
            ticks: user.saturating_add(system),
            exiting: flags & PF_EXITING != 0,
            dead: matches!(state, "Z" | "X"),
        })
    }

    /// A real-time thread that is ending, and needs its group's budget until it has.
    pub fn ends_in_real_time(&self) -> bool {
        self.is_realtime() && self.exiting && !self.dead
    }

    /// SCHED_FIFO or SCHED_RR.
    pub fn is_realtime(&self) -> bool {
        matches!(self.policy, SCHED_FIFO | SCHED_RR)
    }
}

/// Where a thread comes from, by `/proc/<tid>/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The thread.
    pub tid: u32,
    /// Its process.
    pub process: u32,
    /// The process that made that one, or that took it over from one that has ended; 0 when it is not visible.
    pub parent: u32,
}

impl Origin {
    /// From `status`.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().parse().ok()
        };
        Some(Self {
            tid: number("Pid:")?,
            process: number("Tgid:")?,
            parent: number("PPid:")?,
        })
    }

    /// Who has made it: its own process, or the parent of that when it is the first thread.
    pub fn maker(&self) -> u32 {
        if self.tid == self.process {
            self.parent
        } else {
            self.process
        }
    }
}

/// CPU time in nanoseconds, from `schedstat`. `None` also where the kernel doesn't count it (three zeros).
pub fn schedstat(text: &str) -> Option<u64> {
    let mut fields = text.split_ascii_whitespace();
    let nanoseconds = fields.next()?.parse().ok()?;
    // Without CONFIG_SCHED_INFO all three are 0; a thread that has run has at least one time slice.
    let slices: u64 = fields.nth(1)?.parse().ok()?;
    (slices > 0).then_some(nanoseconds)
}

/// The hard RLIMIT_RTTIME in `/proc/<pid>/limits`, microseconds: `Max realtime timeout  unlimited  unlimited  us`. `None`
/// when there is none.
pub fn hard_rttime(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max realtime timeout"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}
