//! Keeps the daemon off the isolated CPUs: all its threads, and with them the commands that it runs. Best effort: a
//! reserved set that this machine doesn't have changes nothing.

use realtime_core::cpu_set::CpuSet;
use rustix::thread::{CpuSet as Mask, Pid, sched_getaffinity, sched_setaffinity};

/// The threads of this process.
const TASKS: &str = "/proc/self/task";

/// Moves all threads of this process to these CPUs, as far as they are online and allowed.
pub fn keep_to(cpus: &CpuSet) {
    let mut mask = Mask::new();
    for cpu in cpus.iter() {
        let cpu = usize::try_from(cpu).unwrap_or(usize::MAX);
        if cpu < Mask::MAX_CPU {
            mask.set(cpu);
        }
    }
    if mask.count() == 0 || sched_getaffinity(None).is_ok_and(|now| now == mask) {
        return;
    }
    let Ok(threads) = std::fs::read_dir(TASKS) else {
        return;
    };
    for thread in threads.flatten() {
        let id = thread
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(pid) = id.and_then(Pid::from_raw) else {
            continue;
        };
        // The kernel leaves out CPUs that are offline; none of them left is EINVAL, and a thread may have ended.
        if let Err(error) = sched_setaffinity(Some(pid), &mask) {
            tracing::debug!(%error, %cpus, "the daemon can't be kept to the reserved CPUs");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_goes_where_it_is_told() {
        let all = sched_getaffinity(None).unwrap();
        let first = (0..Mask::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap();
        let first = u32::try_from(first).unwrap();
        keep_to(&CpuSet::range(first, first));
        let now = sched_getaffinity(None).unwrap();
        assert_eq!(now.count(), 1);
        // Threads that begin later inherit it.
        let later = std::thread::spawn(|| sched_getaffinity(None).unwrap().count());
        assert_eq!(later.join().unwrap(), 1);
        // What this machine doesn't have changes nothing.
        keep_to(&CpuSet::default());
        keep_to(&CpuSet::range(1000, 1001));
        assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        let all: Vec<String> = (0..Mask::MAX_CPU)
            .filter(|cpu| all.is_set(*cpu))
            .map(|cpu| cpu.to_string())
            .collect();
        keep_to(&all.join(",").parse().unwrap());
    }
}
