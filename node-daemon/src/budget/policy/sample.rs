//! How long a container's real-time threads have run. Reads only.

use realtime_core::rt::policy::{Found, RtUsage, ThreadUse, schedstat};
use rustix::time::{ClockId, clock_gettime};

use super::Members;
use crate::cgroup::CgroupError;
use crate::host::Host;
use crate::sched::{self, Attributes};

/// Threads that are looked at in one sample; the real-time ones take 20 µs each.
const MAX_LOOKED: usize = 2_048;
/// `/proc` counts CPU time in hundredths of a second where the kernel keeps no better account.
const TICK_NS: u64 = 10_000_000;

/// The real-time threads of a container now, in its group and those below it ([`Members::below`]).
pub fn sample(host: &Host, members: &dyn Members, group: &str) -> Result<RtUsage, CgroupError> {
    let mut tids = members.threads(group)?;
    for below in members.below(group)?.0 {
        tids.extend(members.threads(&below)?);
    }
    // The same ones in each sample.
    tids.sort_unstable();
    let mut usage = RtUsage {
        at_ns: now(),
        more: tids.len() > MAX_LOOKED,
        ..RtUsage::default()
    };
    for tid in tids.into_iter().take(MAX_LOOKED) {
        let (Ok(id), Some(thread)) = (u32::try_from(tid), realtime(host, tid)) else {
            continue;
        };
        usage.threads.insert(id, thread);
    }
    Ok(usage)
}

/// `None` for one that is gone, and for one that isn't real-time.
fn realtime(host: &Host, tid: i32) -> Option<ThreadUse> {
    // A call is cheaper than a file, and most threads are not.
    sched::get(tid).ok().filter(Attributes::is_realtime)?;
    let read = |file: &str| host.read(&format!("/proc/{tid}/{file}")).ok();
    let found = Found::parse(&read("stat")?).filter(Found::is_realtime)?;
    let counted = read("schedstat").and_then(|text| schedstat(&text));
    Some(ThreadUse {
        start: found.start,
        cpu: found.cpu,
        nanoseconds: counted.unwrap_or_else(|| found.ticks.saturating_mul(TICK_NS)),
    })
}

/// Nanoseconds since the machine's start, as a thread's own start counts.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + nanoseconds
}
