//! What has been done already: each thread and each process of a container is set once, so that a program which lowers a
//! thread itself isn't fought. Bounded: what is gone is forgotten.

use std::collections::BTreeMap;

use super::super::request::Scheduling;
use super::thread::Origin;

/// Threads of one container that are remembered at most. The kubelet's default limit of processes in a pod is far lower
/// on every distribution that has one.
const MAX: usize = 32_768;

/// A container's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What was asked for when they were set.
    scheduling: Option<Scheduling>,
    /// Thread ids, and when each thread was made.
    threads: BTreeMap<u32, u64>,
    /// Process ids, and when each process was made.
    processes: BTreeMap<u32, u64>,
    /// All threads of a moment at which there were some are set.
    settled: bool,
}

impl Memory {
    /// Begins a look. Another request than the last one makes everything new; true then.
    pub fn begin(&mut self, scheduling: &Scheduling) -> bool {
        let new = self.scheduling.as_ref() != Some(scheduling);
        if new {
            *self = Self {
                scheduling: Some(*scheduling),
                ..Self::default()
            };
        }
        new
    }

    /// The listed threads that aren't known by their ids. The others may still be others by their start.
    pub fn unknown<'a>(&'a self, listed: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        let listed = listed.iter().copied();
        listed.filter(|tid| !self.threads.contains_key(tid))
    }

    /// Whether this very thread was set.
    pub fn has_thread(&self, tid: u32, start: u64) -> bool {
        self.threads.get(&tid) == Some(&start)
    }

    /// Whether this very process was given its limits.
    pub fn has_process(&self, pid: u32, start: u64) -> bool {
        self.processes.get(&pid) == Some(&start)
    }

    /// Whether a thread is left alone that isn't known: with reset-on-fork, what the container's own threads make once
    /// they are set begins as SCHED_OTHER, and stays so until the program itself says otherwise. That is what was asked
    /// for. What comes from outside is set: the runtime makes the container's first process by several others, and may
    /// do so after a first look.
    pub fn leaves(&self, new: &Origin) -> bool {
        self.leaves_what_is_made_inside() && self.threads.contains_key(&new.maker())
    }

    /// Whether it matters where a new thread comes from.
    pub fn leaves_what_is_made_inside(&self) -> bool {
        self.settled && self.scheduling.is_some_and(|asked| asked.reset_on_fork)
    }

    /// A thread was set. False when no more can be remembered.
    pub fn thread(&mut self, tid: u32, start: u64) -> bool {
        remember(&mut self.threads, tid, start)
    }

    /// A process has its limits, or can't have them. False when no more can be remembered.
    pub fn process(&mut self, pid: u32, start: u64) -> bool {
        remember(&mut self.processes, pid, start)
    }

    /// All threads that were listed are set. Of none, there was nothing to set.
    pub fn settle(&mut self) {
        self.settled |= !self.threads.is_empty();
    }

    /// Forgets the threads that aren't in a complete list of the container's threads; the list is sorted.
    pub fn keep_threads(&mut self, listed: &[u32]) {
        keep(&mut self.threads, listed);
    }

    /// Forgets the processes that aren't in a complete list; the list is sorted.
    pub fn keep_processes(&mut self, listed: &[u32]) {
        keep(&mut self.processes, listed);
    }

    /// How many threads are remembered.
    pub fn len(&self) -> usize {
        self.threads.len()
    }

    /// None is.
    pub fn is_empty(&self) -> bool {
        self.threads.is_empty()
    }
}

fn remember(all: &mut BTreeMap<u32, u64>, id: u32, start: u64) -> bool {
    if all.len() >= MAX && !all.contains_key(&id) {
        return false;
    }
    all.insert(id, start);
    true
}

fn keep(all: &mut BTreeMap<u32, u64>, listed: &[u32]) {
    all.retain(|id, _| listed.binary_search(id).is_ok());
}
