//! Fields of the kubelet's configuration that must fit to each other and to the profile's own sections.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{FIELD, values};
use crate::api::realtime_profile::TopologyPolicy;
use crate::problem::{Problem, Problems};
use crate::quantity::Quantity;
use crate::validate::ValidProfile;

/// The overrides against what the profile's sections set, and the whole as the kubelet would see it.
/// `topology_given`: the policy stands in the profile and isn't our default.
pub(in crate::validate) fn check_together(
    valid: &ValidProfile,
    topology_given: bool,
    problems: &mut Problems,
) {
    if valid.kubelet_overrides.is_empty() {
        // What the sections make of themselves fits together.
        return;
    }
    let without = ValidProfile {
        kubelet_overrides: Map::new(),
        ..valid.clone()
    };
    let ours = rendered(&without);
    let whole = rendered(valid);
    for (key, value) in &valid.kubelet_overrides {
        check_against_ours(key, value, &ours, valid, topology_given, problems);
    }
    let text = |key: &str| {
        whole
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let field = |key: &str| format!("{FIELD}.{key}");
    if whole.contains_key("cpuManagerPolicyOptions") && text("cpuManagerPolicy") != Some("static") {
        problems.push(Problem::error(
            field("cpuManagerPolicyOptions"),
            "",
            "belong to the policy static",
            "set cpuManagerPolicy: static, or remove them",
        ));
    }
    for part in ["systemReservedCgroup", "kubeReservedCgroup"] {
        if text("reservedSystemCPUs").is_some() && text(part).is_some() {
            problems.push(Problem::error(
                field(part),
                text(part).unwrap_or_default(),
                "can't stand beside reservedSystemCPUs: the kubelet would not start",
                "remove it",
            ));
        }
    }
    let enforced: Vec<&str> = whole
        .get("enforceNodeAllocatable")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (part, group) in [
        ("system-reserved", "systemReservedCgroup"),
        ("kube-reserved", "kubeReservedCgroup"),
    ] {
        if enforced.iter().any(|enforced| enforced.starts_with(part)) && text(group).is_none() {
            problems.push(Problem::error(
                field("enforceNodeAllocatable"),
                part,
                format!("needs {group}: the kubelet would not start"),
                format!("remove {part}, or set {group}"),
            ));
        }
    }
    let percent = |key: &str| whole.get(key).and_then(Value::as_i64);
    if let (Some(low), Some(high)) = (
        percent("imageGCLowThresholdPercent"),
        percent("imageGCHighThresholdPercent"),
    ) && low >= high
    {
        problems.push(Problem::error(
            field("imageGCLowThresholdPercent"),
            low,
            format!("must be below imageGCHighThresholdPercent, which is {high}"),
            "lower it",
        ));
    }
    if percent("maxParallelImagePulls").is_some_and(|pulls| pulls > 1)
        && whole.get("serializeImagePulls") == Some(&Value::Bool(true))
    {
        problems.push(Problem::error(
            field("maxParallelImagePulls"),
            "",
            "needs serializeImagePulls: false",
            "set that, or remove it",
        ));
    }
    let percentage = valid
        .kubelet_overrides
        .get("evictionHard")
        .and_then(|thresholds| thresholds.get("memory.available")?.as_str())
        .filter(|threshold| threshold.ends_with('%'));
    if let Some(percentage) = percentage
        && text("memoryManagerPolicy") == Some("Static")
        && valid.hardware.memory_kib.is_none()
    {
        problems.push(Problem::warning(
            field("evictionHard.memory.available"),
            percentage,
            "the memory manager wants an amount, and of what this is a percentage isn't known: 100Mi is written",
            "write an amount, as in 500Mi",
        ));
    }
    check_soft_eviction(&whole, problems);
    check_memory_sum(&whole, problems);
}

/// What the kubelet is told, as it is rendered.
pub(super) fn rendered(valid: &ValidProfile) -> Map<String, Value> {
    let fields = crate::render::kubelet_config::kubelet_config(valid)
        .and_then(|object| object.spec.kubelet_config);
    fields
        .and_then(|fields| fields.as_object().cloned())
        .unwrap_or_default()
}

fn check_against_ours(
    key: &str,
    value: &Value,
    ours: &Map<String, Value>,
    valid: &ValidProfile,
    topology_given: bool,
    problems: &mut Problems,
) {
    let owner = match key {
        "reservedSystemCPUs" if valid.cpus.is_some() => "spec.cpu.reserved",
        "cpuManagerPolicy" if valid.cpus.is_some() => "spec.cpu",
        "topologyManagerPolicy" if topology_given => "spec.numa.topologyPolicy",
        "memoryManagerPolicy"
            if topology_given
                && matches!(
                    valid.topology_policy,
                    Some(TopologyPolicy::Restricted | TopologyPolicy::SingleNumaNode)
                ) =>
        {
            "spec.numa.topologyPolicy"
        }
        "systemReserved" | "kubeReserved" => {
            check_reservation(key, value, valid, problems);
            return;
        }
        _ => return,
    };
    let old = ours.get(key).unwrap_or(&Value::Null);
    let field = format!("{FIELD}.{key}");
    let told = problems.0.iter().any(|problem| problem.field == field);
    if old != value && !told {
        problems.push(Problem::error(
            field,
            values::shown(value),
            format!("contradicts {owner}, which makes it {}", values::shown(old)),
            format!("remove it, or change {owner}"),
        ));
    }
}

fn check_reservation(key: &str, value: &Value, valid: &ValidProfile, problems: &mut Problems) {
    let given = if key == "systemReserved" {
        &valid.system_reserved
    } else {
        &valid.kube_reserved
    };
    let given = given
        .as_ref()
        .and_then(|given| serde_json::to_value(given).ok())
        .unwrap_or_default();
    for (resource, quantity) in value.as_object().into_iter().flatten() {
        if let Some(other) = given.get(resource).filter(|other| *other != quantity) {
            problems.push(Problem::error(
                format!("{FIELD}.{key}.{resource}"),
                values::shown(quantity),
                format!(
                    "contradicts spec.kubelet.{key}.{resource}, which is {}",
                    values::shown(other)
                ),
                "keep one of the two",
            ));
        }
    }
}

fn check_soft_eviction(whole: &Map<String, Value>, problems: &mut Problems) {
    let keys = |key: &str| -> BTreeSet<&String> {
        whole
            .get(key)
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::keys)
            .collect()
    };
    for signal in keys("evictionSoft").difference(&keys("evictionSoftGracePeriod")) {
        problems.push(Problem::error(
            format!("{FIELD}.evictionSoft.{signal}"),
            "",
            "has no grace period: the kubelet would not start",
            format!("add evictionSoftGracePeriod.{signal}"),
        ));
    }
}

/// One entry a NUMA node and resource, memory or huge pages, none of them zero.
pub(super) fn check_reserved_memory(field: &str, items: &[Value], problems: &mut Problems) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let node = item
            .get("numaNode")
            .and_then(Value::as_i64)
            .filter(|node| (0..=1023).contains(node));
        let limits = item.get("limits").and_then(Value::as_object);
        let (Some(node), Some(limits)) = (node, limits) else {
            problems.push(Problem::error(
                field,
                values::shown(item),
                "is no reservation",
                "write numaNode and limits, as in {numaNode: 0, limits: {memory: 1100Mi}}",
            ));
            continue;
        };
        for (resource, quantity) in limits {
            let field = format!("{field}.limits.{}", resource.escape_debug());
            if resource != "memory" && !resource.starts_with("hugepages-") {
                problems.push(Problem::error(
                    field.clone(),
                    "",
                    "is neither memory nor huge pages: the kubelet would not start",
                    "use memory or hugepages-<size>",
                ));
            }
            values::positive(&field, quantity.as_str().unwrap_or_default(), problems);
            if !seen.insert((node, resource)) {
                problems.push(Problem::error(
                    field,
                    "",
                    format!("appears twice for NUMA node {node}"),
                    "keep one",
                ));
            }
        }
    }
}

/// The memory manager wants that reservedMemory of all NUMA nodes is exactly what the node keeps: kubeReserved,
/// systemReserved and the hard eviction threshold. Checked only when all three are in our hands.
fn check_memory_sum(whole: &Map<String, Value>, problems: &mut Problems) {
    let memory = |map: Option<&Value>, key: &str| -> Option<i128> {
        let quantity: Quantity = map?.get(key)?.as_str()?.parse().ok()?;
        Some(i128::from(quantity.value()))
    };
    let Some(Value::Array(reserved)) = whole.get("reservedMemory") else {
        return;
    };
    let kept = [
        ("kubeReserved", "memory"),
        ("systemReserved", "memory"),
        ("evictionHard", "memory.available"),
    ]
    .map(|(part, key)| memory(whole.get(part), key));
    let [Some(kube), Some(system), Some(eviction)] = kept else {
        return;
    };
    let wanted = kube + system + eviction;
    let given: i128 = reserved
        .iter()
        .filter_map(|item| memory(item.get("limits"), "memory"))
        .sum();
    if whole.get("memoryManagerPolicy").and_then(Value::as_str) == Some("Static") && given != wanted
    {
        problems.push(Problem::error(
            format!("{FIELD}.reservedMemory"),
            format!("{} MiB", given / (1 << 20)),
            format!("must add up to kubeReserved, systemReserved and evictionHard together, {} MiB: the kubelet would not start", wanted / (1 << 20)),
            "remove it: it is then computed; or correct the numbers",
        ));
    }
}
