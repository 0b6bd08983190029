//! What the pool's nodes have in common, and what they should have and haven't.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use crate::api::realtime_profile::KernelPageSize;
use crate::cluster::Cluster;
use crate::facts::{Architecture, CpuVendor, NodeFacts, facts_among};
use crate::openshift::MachineConfigPool;
use crate::pools::{Membership, WORKER_POOL, is_custom, membership};
use crate::problem::{Problem, Problems};
use crate::render::kernel_arguments::{computed, key};
use crate::selector::matches_or_nothing;
use crate::validate::valid_profile::{Hardware, ValidPool};
use crate::validate::{Known, ValidProfile, memory};

/// Nodes that two custom pools select, one of them this; and a pool that none of the known nodes belongs to.
pub(in crate::validate) fn check_membership(
    pool: &ValidPool,
    pools: &[MachineConfigPool],
    facts: &[NodeFacts],
    cluster: &Cluster,
    problems: &mut Problems,
) {
    let mut in_two: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let selector = pools
        .iter()
        .find(|other| other.metadata.name.as_deref() == Some(&pool.name))
        .and_then(|pool| pool.spec.node_selector.as_ref());
    for node in &cluster.nodes {
        if !matches_or_nothing(selector, node.labels()) {
            continue;
        }
        if let Membership::Conflict(names) = membership(node.labels(), pools)
            && names.contains(&pool.name.as_str())
        {
            in_two
                .entry(names.join(" and "))
                .or_default()
                .push(node.name_any());
        }
    }
    let none_in_two = in_two.is_empty();
    for (both, nodes) in in_two {
        problems.push(Problem::warning(
            format!("MachineConfigPool/{}", pool.name),
            "",
            format!("OpenShift manages {} no more: the pools {both} select it both, and it says so nowhere", super::super::names(&nodes)),
            "remove the label of one of the pools from these nodes",
        ));
    }
    if facts.is_empty() && none_in_two && !cluster.nodes.is_empty() {
        let labels = pool.node_selector.match_labels.iter().flatten();
        let labels: Vec<String> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        problems.push(Problem::warning(
            format!("MachineConfigPool/{}", pool.name),
            "",
            "no node belongs to the pool, so nothing was checked against the hardware",
            format!("label nodes: oc label node NAME {}", labels.join(" ")),
        ));
    }
}

/// Who may join a pool of our own that has no nodes yet: the workers that no custom pool has.
pub(in crate::validate) fn candidates(
    pool: &ValidPool,
    pools: &[MachineConfigPool],
    facts: &[NodeFacts],
    cluster: &Cluster,
) -> Vec<NodeFacts> {
    if facts.is_empty() && is_custom(&pool.name) {
        facts_among(WORKER_POOL, pools, cluster)
    } else {
        Vec::new()
    }
}

/// Whether the kernel arguments will stay the same once more is known about the processors: each change is a reboot.
/// Where no node at all is known nobody can be asked, and nothing is said but of huge pages that tell of another
/// architecture than the assumed one.
pub(in crate::validate) fn check_told(
    valid: &ValidProfile,
    known: &Known,
    problems: &mut Problems,
) {
    memory::check_assumed(valid, known, problems);
    let telling = known.telling();
    let hardware = &valid.hardware;
    if telling.is_empty() || hardware.architecture != Architecture::Amd64 {
        return;
    }
    let vendors = values(telling, |node| node.cpu_vendor.clone());
    let models = values(telling, family_model);
    // Nodes of the pool that differ are a problem of their own.
    if !known.nodes.is_empty() && (vendors.len() > 1 || models.len() > 1) {
        return;
    }
    // One of the last generation that differs, and one that isn't known.
    let intel = [Some((6, 0x55)), None];
    let possible: Vec<(Option<CpuVendor>, _)> =
        match (&hardware.cpu_vendor, hardware.cpu_family_model) {
            (None, _) => intel
                .into_iter()
                .map(|model| (Some(CpuVendor::Intel), model))
                .chain([(Some(CpuVendor::Amd), None), (None, None)])
                .collect(),
            (Some(CpuVendor::Intel), None) => intel
                .into_iter()
                .map(|model| (Some(CpuVendor::Intel), model))
                .collect(),
            (Some(_), _) => return,
        };
    let lines: Vec<Vec<String>> = possible
        .into_iter()
        .map(|(vendor, model)| {
            let mut other = valid.clone();
            other.hardware.cpu_vendor = vendor;
            other.hardware.cpu_family_model = model;
            computed(&other)
        })
        .collect();
    let open: BTreeSet<String> = lines
        .iter()
        .flatten()
        .filter(|argument| lines.iter().any(|line| !line.contains(argument)))
        .map(|argument| key(argument))
        .collect();
    if open.is_empty() {
        return;
    }
    let nodes: Vec<String> = telling.iter().map(|node| node.name.clone()).collect();
    let what = if hardware.cpu_vendor.is_some() {
        "model"
    } else {
        "vendor"
    };
    let (who, then) = if known.nodes.is_empty() {
        let nodes = super::super::names(&nodes);
        (
            format!("the workers that may join the pool, {nodes}, "),
            "a node that joins would reboot twice",
        )
    } else {
        (
            format!("{} ", super::super::names(&nodes)),
            "each node would reboot once more when it is",
        )
    };
    let (state, remedy) = if vendors.len() > 1 || models.len() > 1 {
        (
            "isn't the same",
            "put the first nodes into the pool before the profile is applied: theirs then counts",
        )
    } else {
        (
            "isn't known",
            "first let Node Feature Discovery label the nodes, or do it: oc label node NAME feature.node.kubernetes.io/cpu-model.vendor_id=Intel (or AMD), for Intel also cpu-model.family and cpu-model.id as lscpu shows them",
        )
    };
    problems.push(Problem::warning(
        format!("MachineConfigPool/{}", valid.pool.name),
        "",
        format!(
            "the processor {what} of {who}{state}, on which kernel arguments depend ({}): {then}",
            open.into_iter().collect::<Vec<_>>().join(", ")
        ),
        remedy,
    ));
}

/// What the nodes have in common: what all that know it agree on.
pub(in crate::validate) fn hardware(facts: &[NodeFacts], page_size: KernelPageSize) -> Hardware {
    // A kernel with 64k pages exists on ARM only: without nodes the profile itself says what they will be.
    let assumed = match page_size {
        KernelPageSize::Kib4 => Architecture::Amd64,
        KernelPageSize::Kib64 => Architecture::Arm64,
    };
    Hardware {
        architecture: values(facts, |node| node.architecture)
            .into_iter()
            .next()
            .unwrap_or(assumed),
        cpu_vendor: agreed(facts, |node| node.cpu_vendor.clone()),
        cpu_family_model: agreed(facts, family_model),
        numa_memory_kib: numa_memory(facts),
        memory_kib: facts.iter().filter_map(|node| node.memory_kib).min(),
    }
}

fn family_model(node: &NodeFacts) -> Option<(u32, u32)> {
    Some((node.cpu_family?, node.cpu_model?))
}

fn values<T: Ord>(facts: &[NodeFacts], of: impl Fn(&NodeFacts) -> Option<T>) -> BTreeSet<T> {
    facts.iter().filter_map(of).collect()
}

fn agreed<T: Ord>(facts: &[NodeFacts], of: impl Fn(&NodeFacts) -> Option<T>) -> Option<T> {
    let mut values = values(facts, of);
    if values.len() == 1 {
        values.pop_first()
    } else {
        None
    }
}

/// The least memory of each NUMA node that all known nodes have.
fn numa_memory(facts: &[NodeFacts]) -> BTreeMap<u32, u64> {
    let mut least: Option<BTreeMap<u32, u64>> = None;
    for node in facts.iter().filter(|node| !node.numa_nodes.is_empty()) {
        let memory: BTreeMap<u32, u64> = node
            .numa_nodes
            .iter()
            .map(|numa| (numa.id, numa.memory_kib))
            .collect();
        least = Some(match least {
            None => memory,
            Some(least) => least
                .into_iter()
                .filter_map(|(id, kib)| Some((id, kib.min(*memory.get(&id)?))))
                .collect(),
        });
    }
    least.unwrap_or_default()
}

/// Nodes that differ: an error where the same arguments would be wrong on some, else only told.
pub(in crate::validate) fn check_alike(
    valid: &ValidProfile,
    facts: &[NodeFacts],
    problems: &mut Problems,
) {
    let field = format!("MachineConfigPool/{}", valid.pool.name);
    let remedy = "give each sort of node a pool and a profile of its own";
    let architectures = groups(facts, |node| {
        node.architecture.map(|found| found.name().to_owned())
    });
    if architectures.len() > 1 {
        let message = format!(
            "its nodes have different architectures: {}",
            described(&architectures)
        );
        problems.push(Problem::error(&field, "", message, remedy));
        return;
    }
    let processors = groups(facts, |node| {
        let vendor = node.cpu_vendor.as_ref()?.name().to_owned();
        Some(match family_model(node) {
            Some((family, model)) => format!("{vendor} family {family} model {model}"),
            None => vendor,
        })
    });
    if processors.len() > 1 {
        let arguments: BTreeSet<Vec<String>> = facts
            .iter()
            .filter(|node| node.cpu_vendor.is_some())
            .map(|node| (node.cpu_vendor.clone(), family_model(node)))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .map(|(vendor, model)| {
                let mut alone = valid.clone();
                alone.hardware.cpu_vendor = vendor;
                alone.hardware.cpu_family_model = model;
                computed(&alone)
            })
            .collect();
        let message = format!(
            "its nodes have different processors: {}",
            described(&processors)
        );
        if arguments.len() > 1 {
            let message = format!("{message}; they need different kernel arguments");
            problems.push(Problem::error(&field, "", message, remedy));
        } else {
            problems.push(Problem::warning(
                &field,
                "",
                message,
                "the same arguments suit them all; compare their latencies",
            ));
        }
    }
    let layouts = groups(facts, |node| {
        let cpus = match (&node.cpus, node.cpu_capacity) {
            (Some(cpus), _) => format!("CPUs {cpus}"),
            (None, Some(count)) => format!("{count} CPUs"),
            (None, None) => return None,
        };
        let numa: Vec<String> = node
            .numa_nodes
            .iter()
            .map(|numa| format!("NUMA {}: {}", numa.id, numa.cpus))
            .collect();
        Some(if numa.is_empty() {
            cpus
        } else {
            format!("{cpus} ({})", numa.join(", "))
        })
    });
    // Sets that are wrong on one of them are an error of its own: here is only told that they differ.
    if layouts.len() > 1 && valid.cpus.is_some() {
        let message = format!("its nodes have different CPUs: {}", described(&layouts));
        problems.push(Problem::warning(&field, "", message, remedy));
    }
}

fn groups(
    facts: &[NodeFacts],
    of: impl Fn(&NodeFacts) -> Option<String>,
) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in facts {
        if let Some(value) = of(node) {
            groups.entry(value).or_default().push(node.name.clone());
        }
    }
    groups
}

fn described(groups: &BTreeMap<String, Vec<String>>) -> String {
    let shown: Vec<String> = groups
        .iter()
        .take(6)
        .map(|(value, nodes)| format!("{value} on {}", super::super::names(nodes)))
        .collect();
    shown.join("; ")
}
