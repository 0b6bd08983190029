//! Reads what facts and audit need from the host, in one pass each, and says when to look again. Decides nothing: what
//! the text means is `core`'s. Writes nothing, and asks no driver for anything that would disturb a CPU.
//!
//! # When to look
//!
//! | what may change | how it is noticed |
//! |---|---|
//! | the spec | the watch on the RealtimeNode (the agent's) |
//! | everything, by a boot | the daemon's start |
//! | a CPU goes or comes, SMT is switched | the kernel's own message (netlink, kobject_uevent), `triggers` |
//! | TuneD's profile, a sysctl, an interrupt's affinity, a governor, a cpuset, the clock: written by a program | inotify on the file's folder: the kernel tells of each write to procfs, sysfs and cgroupfs, too |
//! | an interrupt that the kernel moved itself (a CPU went offline, a driver started), a sysctl written through another mount of procfs (a container's own), a wake-up limit that its owner dropped | nothing tells: a slow interval |
//!
//! # What it costs
//!
//! A file is eight system calls (the host's door resolves each path anew), some 40 µs together: 80 files on a small node,
//! 8,000 on one with 256 CPUs and 1,500 interrupts. Nothing of it is kept but what the next look needs. Frequencies (`scaling_cur_freq`), `/proc/interrupts` and the like are never read: some
//! interrupt the CPU they ask about, and none is needed. `/proc/cpuinfo` belongs to the facts, which are read once.

pub mod triggers;
mod tuned;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use realtime_core::api::realtime_node::RealtimeNodeSpec;
use realtime_core::audit::{self, Audit, Verification};
use realtime_core::host_facts::files::{MAX_FILES, part_matches};
use realtime_core::host_facts::{self, Files, HostFacts};

use crate::host::{Host, HostError};

pub use triggers::{Trigger, Triggers};
pub use tuned::verify;

/// The wake-up limit of all CPUs. Four bytes, a number of microseconds in the machine's order.
const CPU_DMA_LATENCY: &str = "/dev/cpu_dma_latency";

/// Where everything is mounted, as the host's first process sees it.
const MOUNTS: &str = "/proc/1/mountinfo";

/// What a pass took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Files read.
    pub files: usize,
    /// Files that are there and could not be read.
    pub unreadable: usize,
    /// How long.
    pub took: Duration,
}

/// The facts, and what an audit needs of the files they come from.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The facts.
    pub facts: HostFacts,
    /// The mounts of cgroup hierarchies: an audit finds the cpusets with them.
    pub files: Files,
    /// What it took.
    pub cost: Cost,
}

/// An audit.
#[derive(Clone, Debug, Default)]
pub struct Audited {
    /// What was found.
    pub audit: Audit,
    /// The files it comes from: [`Triggers::watch`] watches their folders.
    pub files: Files,
    /// What it took.
    pub cost: Cost,
}

/// What others know, and an audit of files can't.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told<'a> {
    /// The active TuneD profile by the Node Tuning Operator's Profile object.
    pub tuned_profile: Option<&'a str>,
    /// The last verification by TuneD, see [`verify`].
    pub verification: Option<&'a Verification>,
}

/// The facts of a host. Blocks for milliseconds. Once at the start, and after each [`Trigger::Cpu`].
pub fn facts(host: &Host) -> Known {
    let (files, cost) = read(host, host_facts::PATTERNS.iter().copied());
    Known {
        facts: host_facts::host_facts(&files, std::env::consts::ARCH),
        files: cgroup_mounts(&files),
        cost,
    }
}

/// The rest would stay in memory for nothing: `/proc/cpuinfo` alone is 1.5 KB a CPU.
fn cgroup_mounts(files: &Files) -> Files {
    let mounts = files.text(MOUNTS).map(|text| {
        let lines = text.lines().filter(|line| line.contains(" - cgroup"));
        (MOUNTS, lines.collect::<Vec<_>>().join("\n"))
    });
    mounts.into_iter().collect()
}

/// Compares a host with its spec. Blocks for milliseconds.
pub fn audit(host: &Host, spec: &RealtimeNodeSpec, known: &Known, told: Told) -> Audited {
    let patterns = audit::patterns(spec, &known.files);
    let (files, cost) = read(host, patterns.iter().map(String::as_str));
    let audit = audit::audit(
        spec,
        &audit::Observed {
            files: &files,
            facts: &known.facts,
            fixed_interrupts: &fixed_interrupts(host, &files),
            wake_up_limit: wake_up_limit(host),
            tuned_profile: told.tuned_profile,
            verification: told.verification,
        },
    );
    Audited { audit, files, cost }
}

/// Interrupts that the kernel lets nobody move: from Linux 6.12 on, nobody may write their `smp_affinity`.
fn fixed_interrupts(host: &Host, files: &Files) -> BTreeSet<u32> {
    let nobody_may_write = |path: &str| {
        let metadata = host.open(path).ok().and_then(|file| file.metadata().ok());
        metadata.is_some_and(|metadata| metadata.permissions().mode() & 0o222 == 0)
    };
    files
        .matching("/proc/irq/#/smp_affinity_list")
        .filter_map(|(captures, _)| captures.first()?.parse::<u32>().ok())
        .filter(|number| nobody_may_write(&format!("/proc/irq/{number}/smp_affinity")))
        .collect()
}

/// Opening this file asks for no limit of one's own until a number is written.
fn wake_up_limit(host: &Host) -> Option<i64> {
    let bytes = host.read_bytes(CPU_DMA_LATENCY).ok()?;
    let value = i32::from_ne_bytes(bytes.try_into().ok()?);
    Some(i64::from(value))
}

/// One pass: each folder is listed once, each file read once.
fn read<'a>(host: &Host, patterns: impl Iterator<Item = &'a str>) -> (Files, Cost) {
    let started = Instant::now();
    let mut files = Files::new();
    let mut folders = Folders {
        host,
        listed: BTreeMap::new(),
    };
    let mut unreadable = 0;
    for pattern in patterns {
        let wanted = pattern.trim_end_matches('/');
        for path in folders.expand(wanted) {
            if wanted.len() < pattern.len() {
                if host.exists(&path) {
                    files.insert(path, String::new());
                }
            } else if !files.has(&path) {
                match host.read_optional(&path) {
                    Ok(Some(text)) => files.insert(path, text),
                    Ok(None) => {}
                    // A wildcard that met a file where it meant a folder.
                    Err(HostError::File { source, .. })
                        if source.kind() == ErrorKind::NotADirectory => {}
                    // Interrupts and processes come and go, some sysfs files refuse: a fact less.
                    Err(error) => {
                        tracing::debug!(%error, "left out");
                        unreadable += 1;
                    }
                }
            }
        }
    }
    let cost = Cost {
        files: files.len(),
        unreadable,
        took: started.elapsed(),
    };
    (files, cost)
}

/// Folders that were listed in this pass.
struct Folders<'a> {
    host: &'a Host,
    listed: BTreeMap<String, Vec<String>>,
}

impl Folders<'_> {
    /// The paths that a pattern stands for. Without wildcards: itself, there or not.
    fn expand(&mut self, pattern: &str) -> Vec<String> {
        let mut paths = vec![String::new()];
        for part in pattern.split('/').skip(1) {
            if !part.contains(['#', '*']) {
                for path in &mut paths {
                    path.push('/');
                    path.push_str(part);
                }
                continue;
            }
            let mut next = Vec::new();
            for folder in &paths {
                let names = self.list(folder).iter();
                let fitting = names.filter(|name| part_matches(part, name).is_some());
                next.extend(fitting.map(|name| format!("{folder}/{name}")));
                if next.len() > MAX_FILES {
                    break;
                }
            }
            paths = next;
        }
        paths
    }

    fn list(&mut self, folder: &str) -> &[String] {
        let host = self.host;
        self.listed
            .entry(folder.to_owned())
            .or_insert_with(|| host.list(folder).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
