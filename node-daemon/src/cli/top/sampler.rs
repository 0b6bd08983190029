//! The real-time threads in pods' groups, read off the host once. Changes nothing, and computes nothing: `core::rt::usage`
//! does.

use std::collections::HashMap;
use std::time::Instant;

use realtime_core::rt::group::{ContainerId, Kind, locate};
use realtime_core::rt::identity::Identity;
use realtime_core::rt::settle::Known;
use realtime_core::rt::usage::{self, Group, Thread, ThreadStat, Throttled};

use crate::budget::bundle;
use crate::cgroup::{CgroupError, Mounts, V1, V2};
use crate::host::{Host, HostError};

/// Where the scheduler tells which groups it has stopped: with debugfs mounted, and before Linux 5.13, where it holds
/// interrupts off while it writes down a CPU. That is for a person who asks, and not to be done every few seconds.
pub(crate) const SCHED_DEBUG: [&str; 2] = ["/sys/kernel/debug/sched/debug", "/proc/sched_debug"];
/// As many real-time threads are kept: more are a program that makes them without end.
pub(crate) const MAX_THREADS: usize = 10_000;

/// The threads can't be read.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// No hierarchy.
    #[error(
        "{root} shows no cgroup hierarchy with pods' groups: neither a version 1 mount with the cpu controller nor version 2; \
         in a container give --root and the host's processes (hostPID)"
    )]
    NoHierarchy {
        /// The host's root, as given.
        root: String,
    },
    /// The mounts.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A group.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

/// Where pods' groups are. Version 1 first: where both are mounted, the cpu controller is there.
#[derive(Debug)]
enum Hierarchy {
    V1 { files: V1, budgets: bool },
    V2(V2),
}

/// Reads samples.
#[derive(Debug)]
pub(crate) struct Sampler {
    host: Host,
    hierarchy: Hierarchy,
    /// Whose a container is, of those seen last.
    names: HashMap<ContainerId, Option<Identity>>,
    began: Instant,
}

/// One sample.
#[derive(Debug)]
pub(crate) struct Sample {
    /// Groups that have real-time threads.
    pub(crate) groups: Vec<Group>,
    /// There are more than [`MAX_THREADS`].
    pub(crate) more: bool,
}

impl Sampler {
    /// Finds the hierarchy.
    pub(crate) fn open(host: &Host) -> Result<Self, SampleError> {
        let none = || SampleError::NoHierarchy {
            root: host.root().display().to_string(),
        };
        let mounts = match Mounts::read(host) {
            Err(error) if error.is_not_found() => return Err(none()),
            other => other?,
        };
        let hierarchy = if let Some(mount) = &mounts.v1_cpu {
            let files = V1::open(host, mount)?;
            Hierarchy::V1 {
                budgets: files.has_budgets(),
                files,
            }
        } else {
            Hierarchy::V2(V2::open(host, mounts.v2.as_deref().ok_or_else(none)?)?)
        };
        Ok(Self {
            host: host.clone(),
            hierarchy,
            names: HashMap::new(),
            began: Instant::now(),
        })
    }

    /// Whether groups have budgets that the kernel keeps.
    pub(crate) fn has_budgets(&self) -> bool {
        matches!(self.hierarchy, Hierarchy::V1 { budgets: true, .. })
    }

    /// 1 or 2.
    pub(crate) fn version(&self) -> u32 {
        match self.hierarchy {
            Hierarchy::V1 { .. } => 1,
            Hierarchy::V2(_) => 2,
        }
    }

    /// Reads all. What is gone while it is read is left out.
    pub(crate) fn sample(&mut self) -> Result<Sample, SampleError> {
        let mut groups = Vec::new();
        let mut names = HashMap::new();
        let mut room = MAX_THREADS;
        let mut more = false;
        for path in self.groups_below("/")? {
            let Some(located) = locate(&path) else {
                continue;
            };
            let id = match located.container {
                Some((Kind::Conmon, _)) => continue,
                Some((Kind::Container | Kind::Sandbox, id)) => Some(id),
                None => None,
            };
            let mut threads = self.threads(&path)?;
            if threads.is_empty() {
                continue;
            }
            more |= threads.len() > room;
            threads.truncate(room);
            room -= threads.len();
            let identity = id.as_ref().and_then(|id| {
                let known = names.entry(id.clone()).or_insert_with(|| self.identity(id));
                known.clone()
            });
            groups.push(Group {
                budget_us: self.budget(&path)?,
                path,
                identity,
                pod_uid: located.pod.to_string(),
                id: id.map(|id| id.to_string()).unwrap_or_default(),
                threads,
            });
        }
        self.names = names;
        Ok(Sample { groups, more })
    }

    /// Which groups the kernel has stopped at this moment, by the first of these files; `None` where it doesn't tell.
    pub(crate) fn throttled(&self, files: &[&str]) -> Option<Vec<Throttled>> {
        if !self.has_budgets() {
            return None;
        }
        let text = files.iter().find_map(|path| self.host.read(path).ok())?;
        usage::throttled(&text)
    }

    fn identity(&self, id: &ContainerId) -> Option<Identity> {
        if let Some(known) = self.names.get(id).filter(|known| known.is_some()) {
            return known.clone();
        }
        match bundle::known(&self.host, id)? {
            Known::Container(identity) => Some(identity),
            Known::Nobody => None,
        }
    }

    fn groups_below(&self, group: &str) -> Result<Vec<String>, CgroupError> {
        match &self.hierarchy {
            Hierarchy::V1 { files, .. } => files.groups_below(group),
            Hierarchy::V2(files) => files.groups_below(group),
        }
    }

    fn budget(&self, group: &str) -> Result<Option<i64>, CgroupError> {
        match &self.hierarchy {
            Hierarchy::V1 {
                files,
                budgets: true,
            } => files.runtime(group),
            _ => Ok(None),
        }
    }

    /// The real-time threads directly in a group.
    fn threads(&self, group: &str) -> Result<Vec<Thread>, CgroupError> {
        let tids = match &self.hierarchy {
            Hierarchy::V1 { files, .. } => files.threads(group)?,
            Hierarchy::V2(files) => files.threads(group)?,
        };
        Ok(tids
            .into_iter()
            .filter_map(|tid| self.thread(tid))
            .collect())
    }

    /// A thread that is gone, or that may not be looked at, is none.
    fn thread(&self, tid: i32) -> Option<Thread> {
        // Below `task`: directly below /proc the times are those of the whole process.
        let file = |name: &str| {
            self.host
                .read(&format!("/proc/{tid}/task/{tid}/{name}"))
                .ok()
        };
        let stat = ThreadStat::parse(&file("stat")?)?;
        stat.policy?;
        let exact = file("schedstat").as_deref().and_then(usage::schedstat_ns);
        let at = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        stat.realtime(exact, at)
    }
}
