//! The partition of the CPUs against what the nodes have. Only what is known: absence is never an error.

use std::collections::BTreeMap;

use super::cpu::named;
use crate::api::realtime_profile::Smt;
use crate::cpu_set::CpuSet;
use crate::facts::NodeFacts;
use crate::problem::{Problem, Problems};
use crate::validate::valid_profile::ValidCpus;

/// One problem for all nodes that have it, not one a node: a pool can have thousands.
#[derive(Default)]
struct Found(BTreeMap<(String, String, String, String), Vec<String>>);

impl Found {
    fn add(
        &mut self,
        node: &NodeFacts,
        field: &str,
        value: &CpuSet,
        message: String,
        remedy: &str,
    ) {
        let key = (
            field.to_owned(),
            value.to_string(),
            message,
            remedy.to_owned(),
        );
        self.0.entry(key).or_default().push(node.name.clone());
    }

    fn report(self, problems: &mut Problems) {
        for ((field, value, message, remedy), nodes) in self.0 {
            let on = super::names(&nodes);
            problems.push(Problem::error(
                field,
                value,
                format!("{message} (on {on})"),
                remedy,
            ));
        }
    }
}

pub(super) fn check(cpus: &ValidCpus, smt: Smt, facts: &[NodeFacts], problems: &mut Problems) {
    let mut found = Found::default();
    for node in facts {
        match &node.cpus {
            Some(present) => check_present(cpus, smt, node, present, &mut found),
            None => check_count(cpus, smt, node, &mut found),
        }
        check_left(cpus, smt, node, &mut found);
        check_siblings(cpus, smt, node, &mut found);
    }
    found.report(problems);
    check_uneven(cpus, facts, problems);
}

fn all(cpus: &ValidCpus) -> CpuSet {
    named(cpus)
        .iter()
        .fold(CpuSet::default(), |all, (_, set)| all.union(set))
}

/// The CPUs that run when simultaneous multithreading is off: the first of each core.
fn running(present: &CpuSet, smt: Smt, node: &NodeFacts) -> CpuSet {
    if smt == Smt::Keep {
        return present.clone();
    }
    node.siblings.iter().fold(present.clone(), |running, core| {
        let first: CpuSet = core.first().into_iter().collect();
        running.difference(&core.difference(&first))
    })
}

const BEYOND: &str = "name only CPUs that the nodes have";
const GAP: &str =
    "put them into isolated, reserved or offlined: pods would run on them without isolation";

fn check_present(
    cpus: &ValidCpus,
    smt: Smt,
    node: &NodeFacts,
    present: &CpuSet,
    found: &mut Found,
) {
    for (name, set) in named(cpus) {
        let beyond = set.difference(present);
        if !beyond.is_empty() {
            found.add(
                node,
                &format!("spec.cpu.{name}"),
                set,
                format!("CPUs {beyond} don't exist; there are {present}"),
                BEYOND,
            );
        }
    }
    let running = running(present, smt, node);
    let gap = running.difference(&all(cpus));
    // Without isolated CPUs nothing is promised to the rest.
    if !gap.is_empty() && !cpus.isolated.is_empty() {
        found.add(
            node,
            "spec.cpu",
            &gap,
            format!("CPUs {gap} are in none of the sets"),
            GAP,
        );
    }
    if smt == Smt::Off {
        for (name, set) in named(cpus)
            .into_iter()
            .filter(|(name, _)| *name != "offlined")
        {
            let stopped = set.intersection(present).difference(&running);
            if !stopped.is_empty() {
                found.add(
                    node,
                    &format!("spec.cpu.{name}"),
                    set,
                    format!("CPUs {stopped} are second threads, which smt Off stops"),
                    "name only the first thread of each core",
                );
            }
        }
    }
}

/// Only the kubelet's number is known: CPUs that were online when it started, so those offlined by the profile may
/// or may not be among them, and with smt Off half of all may be missing.
fn check_count(cpus: &ValidCpus, smt: Smt, node: &NodeFacts, found: &mut Found) {
    let Some(online) = node.cpu_capacity.filter(|online| *online > 0) else {
        return;
    };
    let threads = if smt == Smt::Off { 2 } else { 1 };
    let offlined = u32::try_from(cpus.offlined.len()).unwrap_or(u32::MAX);
    let most = online.saturating_mul(threads).saturating_add(offlined);
    for (name, set) in named(cpus) {
        let beyond = set.difference(&CpuSet::range(0, most - 1));
        if !beyond.is_empty() {
            let message = format!("CPUs {beyond} don't exist: the kubelet counts {online} CPUs");
            found.add(node, &format!("spec.cpu.{name}"), set, message, BEYOND);
        }
    }
    let named = u32::try_from(all(cpus).len()).unwrap_or(u32::MAX);
    if smt == Smt::Keep && named < online && !cpus.isolated.is_empty() {
        let gap = CpuSet::range(0, online - 1).difference(&all(cpus));
        let missing = online - named;
        found.add(
            node,
            "spec.cpu",
            &gap,
            format!("{missing} of {online} CPUs are in none of the sets, {gap} as it seems"),
            GAP,
        );
    }
}

/// Without isolated CPUs pods run on what isn't reserved: that must be something.
fn check_left(cpus: &ValidCpus, smt: Smt, node: &NodeFacts, found: &mut Found) {
    let kept = cpus.reserved.union(&cpus.shared);
    let nothing_left = match (&node.cpus, node.cpu_capacity) {
        (Some(present), _) => running(present, smt, node)
            .difference(&cpus.offlined)
            .is_subset(&kept),
        (None, Some(online)) => {
            smt == Smt::Keep && kept.len() >= usize::try_from(online).unwrap_or(usize::MAX)
        }
        (None, None) => false,
    };
    if cpus.isolated.is_empty() && !kept.is_empty() && nothing_left {
        found.add(
            node,
            "spec.cpu.reserved",
            &cpus.reserved,
            "takes every CPU: nothing would be left for pods".to_owned(),
            "leave CPUs for workloads, best as isolated",
        );
    }
}

fn check_siblings(cpus: &ValidCpus, smt: Smt, node: &NodeFacts, found: &mut Found) {
    if smt == Smt::Off {
        return;
    }
    let split: CpuSet = node
        .siblings
        .iter()
        .filter(|core| !core.is_disjoint(&cpus.reserved) && !core.is_disjoint(&cpus.isolated))
        .flat_map(CpuSet::iter)
        .collect();
    if !split.is_empty() {
        found.add(
            node,
            "spec.cpu.isolated",
            &cpus.isolated,
            format!("cores are split: of the threads {split} one is reserved and its sibling isolated, and they disturb each other"),
            "put all threads of a core into the same set, or set smt: \"Off\"",
        );
    }
}

/// One thread of a core offline is a way to give the other the whole core; when only some isolated cores are so,
/// workloads run at two speeds.
fn check_uneven(cpus: &ValidCpus, facts: &[NodeFacts], problems: &mut Problems) {
    let uneven: Vec<String> = facts
        .iter()
        .filter(|node| {
            let mut isolated = node
                .siblings
                .iter()
                .filter(|core| !core.is_disjoint(&cpus.isolated));
            let alone = |core: &&CpuSet| !core.is_disjoint(&cpus.offlined);
            isolated.clone().any(|core| alone(&core)) && !isolated.all(|core| alone(&core))
        })
        .map(|node| node.name.clone())
        .collect();
    if !uneven.is_empty() {
        problems.push(Problem::warning(
            "spec.cpu.offlined",
            &cpus.offlined,
            format!("some isolated cores keep both threads and others one (on {}): workloads run at two speeds", super::names(&uneven)),
            "take the sibling of every isolated CPU offline, or of none",
        ));
    }
}
