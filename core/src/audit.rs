//! From what a node shall be and the text of its files to the list of differences, each with what a person can do.
//!
//! Pure and total: a file that isn't there is never an error. What can't be judged is a note, not drift; nothing that
//! the node's spec doesn't want is looked at. Never asks for a change.

mod arguments;
mod bounds;
mod clock;
mod cpus;
mod cpusets;
mod hugepages;
mod interrupts;
mod kernel;
mod patterns;
mod power;
mod sysctls;
mod tuned;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub(crate) use arguments::comparable;
pub use arguments::{Missing, missing_arguments};
pub use bounds::{MAX_DRIFT, MAX_TEXT, bounded};
pub use patterns::patterns;
pub use tuned::{Verification, verification};

use crate::api::realtime_node::{Drift, DriftArea, NodeCpuSpec, RealtimeNodeSpec};
use crate::cpu_set::CpuSet;
use crate::host_facts::{Files, HostFacts, kernel_list};

/// What a pass over the host has found.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The files of [`patterns`]. Those of `host_facts::PATTERNS` needn't be among them.
    pub files: &'a Files,
    /// The facts, from their own pass.
    pub facts: &'a HostFacts,
    /// Interrupts whose `smp_affinity` nobody may write, by the file's mode: managed by the kernel, or bound by the
    /// hardware. Kernels from 6.12 on say so; with older ones the set is empty.
    pub fixed_interrupts: &'a BTreeSet<u32>,
    /// What `/dev/cpu_dma_latency` holds: the longest that a CPU may take to wake up, µs. `None`: not readable.
    pub wake_up_limit: Option<i64>,
    /// The TuneD profile that somebody else knows to be active: on OpenShift TuneD runs in a container with an `/etc`
    /// of its own, and the Node Tuning Operator's Profile object says it. `None`: what the host's file says.
    pub tuned_profile: Option<&'a str>,
    /// The last verification by TuneD itself, when one was asked for.
    pub verification: Option<&'a Verification>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audit {
    /// Differences, in a stable order: by area, and within one by what was looked at. Not bounded: see [`bounded`].
    pub drift: Vec<Drift>,
    /// What can't be judged or is deliberately not drift, for `audit` on the command line and the log.
    pub notes: Vec<Note>,
}

/// A remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// About what.
    pub area: DriftArea,
    /// A sentence.
    pub text: String,
}

/// Compares a node with its spec.
pub fn audit(spec: &RealtimeNodeSpec, observed: &Observed) -> Audit {
    let mut found = Audit::default();
    let wanted = Wanted::of(spec, &mut found);
    kernel::audit(&wanted, observed, &mut found);
    hugepages::audit(&wanted, observed, &mut found);
    tuned::audit(&wanted, observed, &mut found);
    sysctls::audit(&wanted, observed, &mut found);
    clock::audit(&wanted, observed, &mut found);
    if let Some(cpus) = &wanted.cpus {
        cpus::audit(&wanted, cpus, observed, &mut found);
        cpusets::audit(&wanted, cpus, observed, &mut found);
        interrupts::audit(cpus, observed, &mut found);
        power::audit(&wanted, cpus, observed, &mut found);
    }
    if observed.files.left_out() > 0 {
        let text = format!(
            "{} files of this host were not looked at: there is room for {} only.",
            observed.files.left_out(),
            observed.files.len()
        );
        found.note(DriftArea::Kernel, text);
    }
    // Stable: within an area the order of the checks, which is that of numbers and names.
    found.drift.sort_by_key(|drift| drift.area);
    found.notes.sort_by_key(|note| note.area);
    found
}

impl Audit {
    fn drift(&mut self, area: DriftArea, wanted: impl Into<String>, found: impl Into<String>) {
        self.drift.push(Drift {
            area,
            wanted: wanted.into(),
            found: found.into(),
            since: None,
        });
    }

    fn note(&mut self, area: DriftArea, text: impl Into<String>) {
        let text = text.into();
        self.notes.push(Note { area, text });
    }
}

/// The spec, its CPU lists parsed once.
struct Wanted<'a> {
    spec: &'a RealtimeNodeSpec,
    /// `None` when no CPUs are partitioned, or when a list can't be read.
    cpus: Option<Cpus<'a>>,
}

/// Which CPUs do what.
struct Cpus<'a> {
    spec: &'a NodeCpuSpec,
    reserved: CpuSet,
    isolated: CpuSet,
    offlined: CpuSet,
}

impl<'a> Wanted<'a> {
    fn of(spec: &'a RealtimeNodeSpec, found: &mut Audit) -> Self {
        let mut list = |name: &str, text: &str| match text.parse::<CpuSet>() {
            Ok(set) => Some(set),
            Err(error) => {
                let text = format!(
                    "spec.cpu.{name} of this RealtimeNode can't be read ({error}), so nothing about CPUs is checked: \
                     is the operator of the same version as this daemon?"
                );
                found.note(DriftArea::OfflineCpu, text);
                None
            }
        };
        let cpus = spec.cpu.as_ref().and_then(|cpu| {
            Some(Cpus {
                spec: cpu,
                reserved: list("reserved", &cpu.reserved)?,
                isolated: list("isolated", &cpu.isolated)?,
                offlined: list("offlined", cpu.offlined.as_deref().unwrap_or_default())?,
            })
        });
        Self { spec, cpus }
    }

    fn arguments(&self) -> &'a [String] {
        self.spec
            .kernel
            .as_ref()
            .map_or(&[], |kernel| kernel.arguments.as_slice())
    }

    /// The value that counts: of an argument that holds one value, the last.
    fn argument(&self, key: &str) -> Option<&'a str> {
        self.arguments().iter().rev().find_map(|argument| {
            let (name, value) = argument.split_once('=')?;
            (crate::render::kernel_arguments::key(name) == key).then_some(value)
        })
    }
}

/// A file with a CPU list.
fn list(files: &Files, path: &str) -> Option<CpuSet> {
    files.text(path).and_then(kernel_list)
}

/// `CPU 3`, `CPUs 2-3`, `no CPU`.
fn cpus_text(set: &CpuSet) -> String {
    match set.len() {
        0 => "no CPU".to_owned(),
        1 => format!("CPU {set}"),
        _ => format!("CPUs {set}"),
    }
}
