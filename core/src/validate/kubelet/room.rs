//! Whether what is kept from the pods, all together, leaves them anything: each part alone may fit. And whether the
//! nodes have what it names.

use serde_json::{Map, Value};

use super::nodes::{check_numa_count, check_numa_nodes, check_reserved_cpus};
use super::together::rendered;
use crate::facts::NodeFacts;
use crate::problem::{Problem, Problems};
use crate::quantity::Quantity;
use crate::validate::ValidProfile;

/// What OpenShift keeps for the system when a KubeletConfig says nothing.
const SYSTEM_MEMORY: &str = "1Gi";
/// The kubelet's own threshold.
const EVICTION: &str = "100Mi";

pub(in crate::validate) fn check_room(
    valid: &ValidProfile,
    facts: &[NodeFacts],
    problems: &mut Problems,
) {
    let fields = rendered(valid);
    check_memory(valid, &fields, facts, problems);
    check_numa_nodes(&fields, facts, problems);
    check_numa_count(&fields, valid, facts, problems);
    check_reserved_cpus(valid, facts, problems);
    // With a set of reserved CPUs the kubelet counts that and no quantities.
    if !fields.contains_key("reservedSystemCPUs") {
        check_cpu(&fields, facts, problems);
    }
}

fn quantity(fields: &Map<String, Value>, part: &str, resource: &str) -> Option<Quantity> {
    fields.get(part)?.get(resource)?.as_str()?.parse().ok()
}

fn check_memory(
    valid: &ValidProfile,
    fields: &Map<String, Value>,
    facts: &[NodeFacts],
    problems: &mut Problems,
) {
    let Some((node, memory)) = facts
        .iter()
        .filter_map(|node| Some((node, u128::from(node.memory_kib?) * 1024)))
        .min_by_key(|(_, memory)| *memory)
    else {
        return;
    };
    let pages = &valid.hugepages;
    let spread = pages.spread.iter().copied();
    let on_node = pages.on_node.iter().map(|(_, size, count)| (*size, *count));
    let hugepages: u128 = spread
        .chain(on_node)
        .map(|(size, count)| u128::from(size) * u128::from(count) * 1024)
        .sum();
    let bytes = |quantity: Quantity| u128::try_from(quantity.value()).unwrap_or_default();
    let or = |given: Option<Quantity>, default: &str| {
        given.or_else(|| default.parse().ok()).map_or(0, bytes)
    };
    let system = or(quantity(fields, "systemReserved", "memory"), SYSTEM_MEMORY);
    let kube = quantity(fields, "kubeReserved", "memory").map_or(0, bytes);
    // A percentage is never the part that is too much.
    let eviction = or(
        quantity(fields, "evictionHard", "memory.available"),
        EVICTION,
    );
    let kept = system + kube + eviction;
    // One part that takes all alone has been told, and what nobody asked for is not this profile's.
    let alone = [hugepages, system, kube].iter().any(|part| *part >= memory);
    if alone || (hugepages == 0 && fields.is_empty()) || hugepages + kept < memory {
        return;
    }
    let reserved = "what is reserved for the system, the kubelet and eviction";
    let (field, what) = if hugepages == 0 {
        ("spec.kubelet", reserved.to_owned())
    } else {
        let pages = format!("huge pages ({} MiB) and {reserved}", hugepages >> 20);
        ("spec.memory.hugepages.pages", pages)
    };
    problems.push(Problem::error(
        field,
        format!("{} MiB", (hugepages + kept) >> 20),
        format!(
            "{what} ({} MiB) take as much as {} has ({} MiB): nothing would be left for pods",
            kept >> 20,
            node.name,
            memory >> 20
        ),
        "lower the counts or the reservations",
    ));
}

fn check_cpu(fields: &Map<String, Value>, facts: &[NodeFacts], problems: &mut Problems) {
    let Some((node, cpus)) = facts
        .iter()
        .filter_map(|node| Some((node, node.cpu_capacity?)))
        .min_by_key(|(_, cpus)| *cpus)
    else {
        return;
    };
    let capacity = i64::from(cpus) * 1000;
    let parts = ["systemReserved", "kubeReserved"]
        .map(|part| quantity(fields, part, "cpu").map_or(0, Quantity::milli_value));
    let kept = parts
        .iter()
        .fold(0_i64, |sum, part| sum.saturating_add(*part));
    if parts.iter().any(|part| *part >= capacity) || kept < capacity {
        return;
    }
    problems.push(Problem::error(
        "spec.kubelet",
        format!("{kept}m"),
        format!("systemReserved and kubeReserved together are as much CPU as {} has ({capacity}m): nothing would be left for pods", node.name),
        "lower one of them",
    ));
}
