//! Policy and priority of a thread: sched_setattr and sched_getattr, which no crate of the tree wraps. The only file
//! with unsafe code. Decides nothing. Of the calling thread it touches the length of a turn alone.

#![allow(
    unsafe_code,
    reason = "neither rustix nor nix has sched_setattr, and only it sets reset-on-fork together with a policy"
)]

use std::io;

use realtime_core::rt::request::{Policy, Scheduling};
use rustix::process::{Pid, getpriority_process};

/// What the kernel knew of it first (SCHED_ATTR_SIZE_VER0). Every kernel since 3.14 takes and gives this size, and what
/// came later (utilization clamps) stays as it is when it isn't given.
const SIZE: u32 = 48;
const _: () = assert!(size_of::<libc::sched_attr>() == SIZE as usize);
/// SCHED_FLAG_RESET_ON_FORK.
const RESET_ON_FORK: u64 = 0x01;

/// Nanoseconds: the shortest turn that the kernel grants.
const SHORTEST_TURN: u64 = 100_000;

/// A thread's policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// SCHED_OTHER.
    Other,
    /// SCHED_FIFO.
    Fifo,
    /// SCHED_RR.
    RoundRobin,
    /// SCHED_BATCH.
    Batch,
    /// SCHED_IDLE.
    Idle,
    /// SCHED_DEADLINE: outside all budgets of groups.
    Deadline,
    /// One that was not known when this was written (SCHED_EXT is 7), by the kernel's number.
    Unknown(u32),
}

/// How a thread is scheduled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Its policy.
    pub policy: Kind,
    /// 1 to 99 with SCHED_FIFO and SCHED_RR, else 0.
    pub priority: u32,
    /// Its children begin as SCHED_OTHER.
    pub reset_on_fork: bool,
}

impl Attributes {
    /// A budget counts for it: SCHED_FIFO or SCHED_RR. SCHED_DEADLINE has a pool of its own.
    pub fn is_realtime(&self) -> bool {
        matches!(self.policy, Kind::Fifo | Kind::RoundRobin)
    }

    /// It is scheduled as a container asks. The limit RTTIME is no attribute of a thread.
    pub fn are(&self, wanted: &Scheduling) -> bool {
        let (policy, priority) = kind(wanted.policy);
        *self
            == Self {
                policy,
                priority,
                reset_on_fork: wanted.reset_on_fork,
            }
    }
}

impl Kind {
    fn of(number: u32) -> Self {
        match number {
            0 => Self::Other,
            1 => Self::Fifo,
            2 => Self::RoundRobin,
            3 => Self::Batch,
            5 => Self::Idle,
            6 => Self::Deadline,
            other => Self::Unknown(other),
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Other => 0,
            Self::Fifo => 1,
            Self::RoundRobin => 2,
            Self::Batch => 3,
            Self::Idle => 5,
            Self::Deadline => 6,
            Self::Unknown(number) => number,
        }
    }
}

/// Sets policy, priority and reset-on-fork of one thread, which is what `tid` names: a process's id is its first thread.
///
/// EPERM: no CAP_SYS_NICE, or the thread's group has no budget. EINVAL is also the answer for a bad `tid`: 0 and
/// less would be the calling thread itself or nobody. The thread's nice value stays.
pub fn set(tid: i32, scheduling: &Scheduling) -> io::Result<()> {
    let thread = thread(tid)?;
    let (policy, priority) = kind(scheduling.policy);
    let nice = match policy {
        Kind::Other => getpriority_process(Some(thread))?,
        _ => 0,
    };
    let mut attributes = empty();
    attributes.sched_policy = policy.number();
    attributes.sched_priority = priority;
    attributes.sched_nice = nice;
    if scheduling.reset_on_fork {
        attributes.sched_flags = RESET_ON_FORK;
    }
    put(tid, attributes)
}

/// Asks for short turns of the calling thread, an ordinary one that stays ordinary and keeps its nice value: it gets no more
/// of a CPU, but sooner when it wakes where somebody else runs for long (`sched_runtime` of an ordinary thread is its slice
/// since Linux 6.12; before, nothing happens). Commands that it starts have turns as everybody.
pub fn take_short_turns() -> io::Result<()> {
    let thread = rustix::thread::gettid();
    let mut attributes = empty();
    attributes.sched_policy = Kind::Other.number();
    attributes.sched_nice = getpriority_process(Some(thread))?;
    attributes.sched_flags = RESET_ON_FORK;
    attributes.sched_runtime = SHORTEST_TURN;
    put(thread.as_raw_nonzero().get(), attributes)
}

fn put(tid: i32, mut attributes: libc::sched_attr) -> io::Result<()> {
    let no_flags: libc::c_uint = 0;
    // SAFETY: the kernel reads `attributes.size` bytes from the pointer, which is what the structure has; it writes there
    // only its own `size`, when it knows less (E2BIG).
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setattr, tid, &raw mut attributes, no_flags) };
    answer(result)
}

/// How a thread is scheduled. ESRCH: there is no such thread (any more).
pub fn get(tid: i32) -> io::Result<Attributes> {
    thread(tid)?;
    let mut attributes = empty();
    let no_flags: libc::c_uint = 0;
    // SAFETY: the kernel writes at most the given size to the pointer, which is what the structure has.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            tid,
            &raw mut attributes,
            SIZE,
            no_flags,
        )
    };
    answer(result)?;
    Ok(Attributes {
        policy: Kind::of(attributes.sched_policy),
        priority: attributes.sched_priority,
        reset_on_fork: attributes.sched_flags & RESET_ON_FORK != 0,
    })
}

fn thread(tid: i32) -> io::Result<Pid> {
    Some(tid)
        .filter(|tid| *tid > 0)
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))
}

fn kind(policy: Policy) -> (Kind, u32) {
    match policy {
        Policy::Fifo(priority) => (Kind::Fifo, u32::from(priority)),
        Policy::RoundRobin(priority) => (Kind::RoundRobin, u32::from(priority)),
        Policy::Other => (Kind::Other, 0),
    }
}

fn empty() -> libc::sched_attr {
    libc::sched_attr {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    }
}

fn answer(result: libc::c_long) -> io::Result<()> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_tid() -> i32 {
        rustix::thread::gettid().as_raw_nonzero().get()
    }

    #[test]
    fn nobody_and_ourselves_are_refused() {
        let wanted = Scheduling {
            policy: Policy::Other,
            reset_on_fork: false,
            rttime_us: None,
        };
        for tid in [0, -1, i32::MIN] {
            assert_eq!(
                set(tid, &wanted).unwrap_err().raw_os_error(),
                Some(libc::EINVAL)
            );
            assert_eq!(get(tid).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        }
        // Larger than any PID_MAX_LIMIT (4,194,304).
        assert_eq!(get(i32::MAX).unwrap_err().raw_os_error(), Some(libc::ESRCH));
        assert_eq!(
            set(i32::MAX, &wanted).unwrap_err().raw_os_error(),
            Some(libc::ESRCH)
        );
    }

    #[test]
    fn reset_on_fork_is_set_and_read_and_the_nice_value_stays() {
        // On a thread of its own: the flag can't be taken back without a privilege.
        let told = std::thread::spawn(|| {
            let tid = own_tid();
            let before = get(tid).unwrap();
            rustix::process::setpriority_process(Pid::from_raw(tid), 7).unwrap();
            let wanted = Scheduling {
                policy: Policy::Other,
                reset_on_fork: true,
                rttime_us: None,
            };
            set(tid, &wanted).unwrap();
            let nice = getpriority_process(Pid::from_raw(tid)).unwrap();
            (
                before,
                get(tid).unwrap(),
                get(tid).unwrap().are(&wanted),
                nice,
            )
        });
        let (before, after, are, nice) = told.join().unwrap();
        assert_eq!(before.policy, Kind::Other);
        assert!(!before.is_realtime() && after.reset_on_fork && are);
        assert_eq!(nice, 7);
    }

    #[test]
    fn short_turns_change_nothing_else() {
        let told = std::thread::spawn(|| {
            let tid = own_tid();
            rustix::process::setpriority_process(Pid::from_raw(tid), 3).unwrap();
            take_short_turns().unwrap();
            let later = std::thread::spawn(|| get(own_tid()).unwrap().reset_on_fork);
            let nice = getpriority_process(Pid::from_raw(tid)).unwrap();
            (get(tid).unwrap().policy, nice, later.join().unwrap())
        });
        assert_eq!(told.join().unwrap(), (Kind::Other, 3, false));
    }

    #[test]
    fn numbers_are_the_kernels() {
        for number in 0..10 {
            assert_eq!(Kind::of(number).number(), number);
        }
        assert_eq!(Kind::of(7), Kind::Unknown(7));
    }
}
