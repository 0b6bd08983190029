//! CPUs, siblings, NUMA nodes and their memory, from sysfs.

use std::collections::{BTreeMap, BTreeSet};

use super::files::Files;
use super::{hugepages, kernel_list};
use crate::api::realtime_node::{HugepagesStatus, NodeTopology, NumaNodeStatus};
use crate::cpu_set::CpuSet;

/// The kernel's limit is 1,024 nodes (CONFIG_NODES_SHIFT=10).
const MAX_NODES: u32 = 1024;

/// What sysfs says. A CPU that is offline belongs to its NUMA node and to no group of siblings: the kernel doesn't say.
pub fn topology(files: &Files) -> NodeTopology {
    let list = |path: &str| files.text(path).and_then(kernel_list);
    let present = list("/sys/devices/system/cpu/present");
    let online = list("/sys/devices/system/cpu/online");
    let text = |set: &Option<CpuSet>| set.as_ref().map(ToString::to_string);
    NodeTopology {
        cpus: text(&present),
        online: text(&online),
        numa_nodes: numa_nodes(files, present.or(online)),
        smt: files
            .number("/sys/devices/system/cpu/smt/active")
            .map(|active| active == 1),
        siblings: siblings(files),
    }
}

/// Of CPUs that have gone offline, what was known before: the profile is validated by the hardware, not by what is
/// switched on. Without it, offlining a CPU would make its sibling look like a core of its own.
#[must_use]
pub fn with_what_was_known(mut now: NodeTopology, before: Option<&NodeTopology>) -> NodeTopology {
    let parsed = |list: &Option<String>| list.as_deref().and_then(kernel_list).unwrap_or_default();
    let (cpus, online) = (parsed(&now.cpus), parsed(&now.online));
    let Some(before) = before.filter(|before| parsed(&before.cpus) == cpus) else {
        return now;
    };
    let offline = cpus.difference(&online);
    let groups = |lists: &[String]| -> Vec<CpuSet> {
        lists.iter().filter_map(|list| kernel_list(list)).collect()
    };
    let known: Vec<CpuSet> = groups(&before.siblings)
        .into_iter()
        .filter(|group| !group.is_disjoint(&offline))
        .collect();
    if known.is_empty() {
        return now;
    }
    let mut all: Vec<CpuSet> = groups(&now.siblings)
        .into_iter()
        .filter(|group| known.iter().all(|known| known.is_disjoint(group)))
        .chain(known.iter().cloned())
        .collect();
    all.sort_by_key(CpuSet::first);
    now.siblings = all.iter().map(ToString::to_string).collect();
    now
}

/// Groups of at least one thread, by their first; each group once.
fn siblings(files: &Files) -> Vec<String> {
    let groups: BTreeSet<(Option<u32>, String)> = files
        .matching("/sys/devices/system/cpu/cpu#/topology/thread_siblings_list")
        .filter_map(|(_, text)| kernel_list(text))
        .map(|group| (group.first(), group.to_string()))
        .collect();
    groups.into_iter().map(|(_, list)| list).collect()
}

fn numa_nodes(files: &Files, all: Option<CpuSet>) -> Vec<NumaNodeStatus> {
    let mut cpus: BTreeMap<u32, CpuSet> = BTreeMap::new();
    for (captures, text) in files.matching("/sys/devices/system/node/node#/cpulist") {
        if let Some(id) = node_id(&captures) {
            cpus.insert(id, kernel_list(text).unwrap_or_default());
        }
    }
    // The list holds CPUs that are online; the links are there for all.
    for (captures, _) in files.matching("/sys/devices/system/node/node#/cpu#/") {
        let cpu = captures.get(1).and_then(|cpu| cpu.parse::<u32>().ok());
        if let (Some(id), Some(cpu)) = (node_id(&captures), cpu) {
            let set = cpus.entry(id).or_default();
            *set = set.union(&CpuSet::from_iter([cpu]));
        }
    }
    if cpus.is_empty() {
        return without_numa(files, all).into_iter().collect();
    }
    cpus.into_iter()
        .map(|(id, cpus)| NumaNodeStatus {
            id: i64::from(id),
            cpus: cpus.to_string(),
            memory_kib: files
                .text(&format!("/sys/devices/system/node/node{id}/meminfo"))
                .and_then(mem_total)
                .unwrap_or(0),
            hugepages: pages(
                files,
                &format!("/sys/devices/system/node/node{id}/hugepages"),
            ),
        })
        .collect()
}

/// A kernel built without NUMA is one node.
fn without_numa(files: &Files, all: Option<CpuSet>) -> Option<NumaNodeStatus> {
    Some(NumaNodeStatus {
        id: 0,
        cpus: all?.to_string(),
        memory_kib: files.text("/proc/meminfo").and_then(mem_total)?,
        hugepages: pages(files, "/sys/kernel/mm/hugepages"),
    })
}

fn node_id(captures: &[&str]) -> Option<u32> {
    let id = captures.first()?.parse().ok()?;
    (id < MAX_NODES).then_some(id)
}

/// `MemTotal:` of /proc/meminfo, or `Node 0 MemTotal:` of a node's, KiB.
pub fn mem_total(text: &str) -> Option<i64> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        if key.split_whitespace().last() != Some("MemTotal") {
            return None;
        }
        value.trim().strip_suffix("kB")?.trim_end().parse().ok()
    })
}

/// The huge pages below a folder, largest first.
pub(crate) fn pages(files: &Files, folder: &str) -> Vec<HugepagesStatus> {
    let pattern = format!("{folder}/hugepages-#kB/nr_hugepages");
    let mut pages: Vec<(u64, HugepagesStatus)> = files
        .matching(&pattern)
        .filter_map(|(captures, text)| {
            let kib: u64 = captures.last()?.parse().ok()?;
            let free = files.number(&format!("{folder}/hugepages-{kib}kB/free_hugepages"));
            let count = text.trim().parse().ok()?;
            let size = hugepages::size_of(kib);
            Some((kib, HugepagesStatus { size, count, free }))
        })
        .collect();
    pages.sort_by_key(|(kib, _)| std::cmp::Reverse(*kib));
    pages.into_iter().map(|(_, pages)| pages).collect()
}
