//! `/proc/<pid>/task/<tid>/stat` and `schedstat`, proc_pid_stat(5). A thread's name may hold anything, parentheses and
//! line ends too; whatever the text, the answer is a thread or none.

use super::{Policy, Thread, ThreadKey};

/// `stat` counts CPU time in these: USER_HZ, 100 on every architecture that runs containers.
const TICK_NS: u64 = 10_000_000;
/// Longer names are cut: the kernel's have 15 bytes, which can be 3 each when they are no UTF-8.
const MAX_COMM: usize = 64;

/// A thread's stat, of any policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadStat {
    /// Which.
    pub key: ThreadKey,
    /// Its name.
    pub comm: String,
    /// Absent: it is no real-time thread.
    pub policy: Option<Policy>,
    /// 1 to 99 with SCHED_FIFO and SCHED_RR, else 0.
    pub priority: u32,
    /// Where it ran last.
    pub cpu: u32,
    /// CPU time in user and kernel mode, nanoseconds, to 10 milliseconds.
    pub used_ns: u64,
}

impl ThreadStat {
    /// From the text.
    pub fn parse(text: &str) -> Option<Self> {
        let (tid, rest) = text.split_once(" (")?;
        // The last one: a name may have some of its own, and nothing after it has.
        let (comm, rest) = rest.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc_pid_stat(5) counts from 1, and the third field is the first after the name.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let small = |number: usize| u32::try_from(field(number)?).ok();
        let policy = match small(41)? {
            1 => Some(Policy::Fifo),
            2 => Some(Policy::Rr),
            6 => Some(Policy::Deadline),
            _ => None,
        };
        Some(Self {
            key: ThreadKey {
                tid: tid.parse().ok().filter(|tid| *tid > 0)?,
                start: field(22)?,
            },
            comm: comm.chars().take(MAX_COMM).collect(),
            policy,
            priority: small(40)?,
            cpu: small(39)?,
            used_ns: field(14)?
                .saturating_add(field(15)?)
                .saturating_mul(TICK_NS),
        })
    }

    /// As a real-time thread, with the exact time where the kernel has it; none when it is not one.
    pub fn realtime(self, exact_ns: Option<u64>, at_ns: u64) -> Option<Thread> {
        Some(Thread {
            key: self.key,
            comm: self.comm,
            policy: self.policy?,
            priority: self.priority,
            cpu: self.cpu,
            used_ns: exact_ns.unwrap_or(self.used_ns),
            at_ns,
        })
    }
}

/// CPU time in nanoseconds: the first of `schedstat`'s three numbers. A kernel without the figures writes `0 0 0`.
pub fn schedstat_ns(text: &str) -> Option<u64> {
    let mut fields = text.split_ascii_whitespace();
    let (used, _waited, slices) = (fields.next()?, fields.next()?, fields.next()?);
    let used: u64 = used.parse().ok()?;
    (used > 0 || slices != "0").then_some(used)
}
