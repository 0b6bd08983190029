//! Resource limits of a container's processes: RTPRIO lets a program without CAP_SYS_NICE set its own threads, RTTIME ends
//! one that runs away. What the kernel doesn't let the daemon do is returned and is no failure: the policy is set anyway.

use realtime_core::rt::policy::{self, RtTime, hard_rttime};
use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::{Call, Container, THREADS_A_CALL, found};

/// What became of one limit, over all processes of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Limit {
    /// It wasn't asked for, or there is no process yet.
    #[default]
    NotSet,
    /// All processes have it.
    Set,
    /// A process couldn't be given it: the errno. EPERM (1): the daemon lacks CAP_SYS_RESOURCE.
    Refused(i32),
}

/// What became of the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsSet {
    /// RLIMIT_RTPRIO.
    pub rtprio: Limit,
    /// RLIMIT_RTTIME.
    pub rttime: Limit,
}

impl Limit {
    fn add(&mut self, result: Result<(), Errno>) {
        *self = match (*self, result) {
            // It ended meanwhile.
            (now, Err(Errno::SRCH)) => now,
            (Self::Refused(errno), _) => Self::Refused(errno),
            (_, Ok(())) => Self::Set,
            (_, Err(error)) => Self::Refused(error.raw_os_error()),
        };
    }
}

/// On each process once.
pub(super) fn set(call: &mut Call<'_>, container: &mut Container) {
    let limits = policy::limits(call.scheduling);
    if limits.rtprio.is_none() && limits.rttime.is_none() {
        return;
    }
    let Some(listed) = call.listed("the processes", |members, group| members.processes(group))
    else {
        call.outcome.complete = false;
        return;
    };
    container.memory.keep_processes(&listed);
    let mut left = THREADS_A_CALL;
    for pid in listed {
        let Some(process) = found(call.host, pid) else {
            continue;
        };
        if container.memory.has_process(pid, process.start) {
            continue;
        }
        if left == 0 {
            call.outcome.complete = false;
            return;
        }
        left -= 1;
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let Some(id) = id.filter(|_| call.is_member(pid)) else {
            continue;
        };
        if let Some(priority) = limits.rtprio {
            let priority = u64::from(priority);
            let result = limit(id, Resource::Rtprio, priority, priority);
            container.limits.rtprio.add(result);
        }
        if let Some(time) = limits.rttime {
            let time = time.within(there(call, pid));
            let RtTime { soft_us, hard_us } = time;
            let result = limit(id, Resource::Rttime, soft_us, hard_us);
            container.limits.rttime.add(result);
        }
        if !container.memory.process(pid, process.start) {
            call.outcome.complete = false;
        }
    }
}

fn limit(pid: Pid, resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = Rlimit {
        current: Some(soft),
        maximum: Some(hard),
    };
    prlimit(Some(pid), resource, limit).map(drop)
}

/// The hard RLIMIT_RTTIME that a process has, microseconds.
fn there(call: &Call<'_>, pid: u32) -> Option<u64> {
    let text = call.host.read(&format!("/proc/{pid}/limits")).ok()?;
    hard_rttime(&text)
}
