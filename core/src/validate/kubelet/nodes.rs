//! The kubelet's configuration against the nodes' CPUs and NUMA nodes. Only what is known: absence is never an error.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::FIELD;
use super::together::has_memory_manager;
use crate::cpu_set::CpuSet;
use crate::facts::NodeFacts;
use crate::problem::{Problem, Problems};
use crate::validate::ValidProfile;

/// On how many NUMA nodes a topology policy works unless an option says more: the kubelet's number.
const MOST_NUMA_NODES: usize = 8;
/// The option that says more.
const MOST_NUMA_NODES_OPTION: &str = "max-allowable-numa-nodes";

/// With the memory manager the NUMA nodes of reservedMemory must exist.
pub(super) fn check_numa_nodes(
    whole: &Map<String, Value>,
    facts: &[NodeFacts],
    problems: &mut Problems,
) {
    let items = whole
        .get("reservedMemory")
        .and_then(Value::as_array)
        .filter(|_| has_memory_manager(whole));
    for (index, item) in items.into_iter().flatten().enumerate() {
        let Some(id) = item.get("numaNode").and_then(Value::as_u64) else {
            continue;
        };
        let missing: Vec<String> = facts
            .iter()
            .filter(|node| !node.numa_nodes.is_empty())
            .filter(|node| node.numa_nodes.iter().all(|numa| u64::from(numa.id) != id))
            .map(|node| node.name.clone())
            .collect();
        if !missing.is_empty() {
            problems.push(Problem::error(
                format!("{FIELD}.reservedMemory[{index}].numaNode"),
                id,
                format!(
                    "{} has no such NUMA node: the kubelet would not start",
                    crate::validate::names(&missing)
                ),
                "name a node that exists",
            ));
        }
    }
}

/// A topology policy weighs all combinations of NUMA nodes, and the kubelet gives up where they are many.
pub(super) fn check_numa_count(
    whole: &Map<String, Value>,
    valid: &ValidProfile,
    facts: &[NodeFacts],
    problems: &mut Problems,
) {
    let policy = whole
        .get("topologyManagerPolicy")
        .and_then(Value::as_str)
        .filter(|policy| !matches!(*policy, "" | "none"));
    let Some(policy) = policy else { return };
    let most = whole
        .get("topologyManagerPolicyOptions")
        .and_then(|options| options.get(MOST_NUMA_NODES_OPTION)?.as_str()?.parse().ok())
        .unwrap_or(MOST_NUMA_NODES);
    let beyond = |node: &&NodeFacts| node.numa_nodes.len() > most;
    let many: Vec<String> = facts
        .iter()
        .filter(beyond)
        .map(|node| node.name.clone())
        .collect();
    let Some(count) = facts
        .iter()
        .filter(beyond)
        .map(|node| node.numa_nodes.len())
        .max()
    else {
        return;
    };
    let (field, none) = if valid
        .kubelet_overrides
        .contains_key("topologyManagerPolicy")
    {
        (format!("{FIELD}.topologyManagerPolicy"), "none")
    } else {
        ("spec.numa.topologyPolicy".to_owned(), "None")
    };
    problems.push(Problem::error(
        field,
        policy,
        format!(
            "the kubelet would not start with more than {most} NUMA nodes; there are {count} (on {})",
            crate::validate::names(&many)
        ),
        format!(
            "set {none}, or from Kubernetes 1.31 on {FIELD}.topologyManagerPolicyOptions: {{{MOST_NUMA_NODES_OPTION}: \"{}\"}}",
            count.next_power_of_two()
        ),
    ));
}

/// The set that an override reserves must exist; of a partition in `spec.cpu` this is told there.
pub(super) fn check_reserved_cpus(
    valid: &ValidProfile,
    facts: &[NodeFacts],
    problems: &mut Problems,
) {
    let given = valid
        .kubelet_overrides
        .get("reservedSystemCPUs")
        .and_then(Value::as_str)
        .filter(|_| valid.cpus.is_none());
    let Some(reserved) = given.and_then(|text| text.parse::<CpuSet>().ok()) else {
        return;
    };
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for node in facts {
        let (there, known) = match (&node.cpus, node.cpu_capacity) {
            (Some(present), _) => (present.clone(), format!("there are {present}")),
            // The kubelet counts those that were online when it started: with SMT off that is half of them.
            (None, Some(online)) if online > 0 => (
                CpuSet::range(0, online.saturating_mul(2) - 1),
                format!("the kubelet counts {online} CPUs"),
            ),
            _ => continue,
        };
        let beyond = reserved.difference(&there);
        if !beyond.is_empty() {
            found
                .entry(format!("CPUs {beyond} don't exist; {known}"))
                .or_default()
                .push(node.name.clone());
        }
    }
    for (message, nodes) in found {
        problems.push(Problem::error(
            format!("{FIELD}.reservedSystemCPUs"),
            &reserved,
            format!(
                "{message} (on {}): the kubelet would not start",
                crate::validate::names(&nodes)
            ),
            "name only CPUs that the nodes have",
        ));
    }
}
