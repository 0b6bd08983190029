//! Fields of the kubelet's configuration that must fit to each other and to the profile's own sections.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{FIELD, values};
use crate::api::realtime_profile::TopologyPolicy;
use crate::problem::{Problem, Problems};
use crate::quantity::Quantity;
use crate::render::kubelet_config::switched_off;
use crate::validate::ValidProfile;

/// The kubelet's own limits, where only the other half of a pair is given.
const IMAGE_GC_HIGH_PERCENT: i64 = 85;
const IMAGE_GC_LOW_PERCENT: i64 = 80;
const IMAGE_MINIMUM_GC_AGE: &str = "2m";
const SHUTDOWN_GRACE_PERIOD: &str = "0s";

/// What the kubelet keeps of a node's memory, all together: the part and its key.
const KEPT_MEMORY: [(&str, &str); 3] = [
    ("kubeReserved", "memory"),
    ("systemReserved", "memory"),
    ("evictionHard", "memory.available"),
];

/// The overrides against what the profile's sections set, and the whole as the kubelet would see it.
/// `topology_given`: the policy stands in the profile and isn't our default.
pub(in crate::validate) fn check_together(
    valid: &ValidProfile,
    topology_given: bool,
    problems: &mut Problems,
) {
    let whole = rendered(valid);
    check_whole_bytes(&whole, valid, problems);
    check_some_memory(&whole, valid, problems);
    if valid.kubelet_overrides.is_empty() {
        // What the sections make of themselves fits together.
        return;
    }
    let without = ValidProfile {
        kubelet_overrides: Map::new(),
        ..valid.clone()
    };
    let ours = rendered(&without);
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
    check_image_collection(&whole, problems);
    check_shutdown(&whole, problems);
    check_static_cpus(&whole, problems);
    let number = |key: &str| whole.get(key).and_then(Value::as_i64);
    if number("maxParallelImagePulls").is_some_and(|pulls| pulls > 1)
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
        .filter(|threshold| threshold.ends_with('%') && !switched_off(threshold));
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
    check_reserved_pages(&whole, problems);
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

/// An override's length of time in nanoseconds; the default where it is absent or zero, which the kubelet and OpenShift
/// take for absent. `None` when it is no time.
fn nanoseconds(whole: &Map<String, Value>, key: &str, default: &str) -> Option<f64> {
    let seconds = match whole.get(key).and_then(Value::as_str) {
        None => 0.0,
        Some(given) => values::parse_duration(given)?,
    };
    let seconds = if seconds == 0.0 {
        values::parse_duration(default)?
    } else {
        seconds
    };
    Some((seconds * 1e9).round())
}

/// When the kubelet removes images: each limit against its pair, given or the kubelet's own.
fn check_image_collection(whole: &Map<String, Value>, problems: &mut Problems) {
    let field = |key: &str| format!("{FIELD}.{key}");
    let percent = |key: &str| whole.get(key).and_then(Value::as_i64);
    let (low_key, high_key) = ("imageGCLowThresholdPercent", "imageGCHighThresholdPercent");
    match (percent(low_key), percent(high_key)) {
        (Some(low), high) => {
            let high = high.unwrap_or(IMAGE_GC_HIGH_PERCENT);
            if low >= high {
                problems.push(Problem::error(
                    field(low_key),
                    low,
                    format!("must be below {high_key}, which is {high}"),
                    "lower it",
                ));
            }
        }
        // A zero is dropped, and told.
        (None, Some(high)) if high != 0 && high <= IMAGE_GC_LOW_PERCENT => {
            problems.push(Problem::error(
                field(high_key),
                high,
                format!("must be above {low_key}, which is {IMAGE_GC_LOW_PERCENT} when nothing is said: the kubelet would not start"),
                format!("raise it, or set {low_key} below it"),
            ));
        }
        (None, _) => {}
    }
    let (least_key, most_key) = ("imageMinimumGCAge", "imageMaximumGCAge");
    if let (Some(least), Some(most)) = (
        nanoseconds(whole, least_key, IMAGE_MINIMUM_GC_AGE),
        nanoseconds(whole, most_key, "0s"),
    ) && most > 0.0
        && most <= least
    {
        problems.push(Problem::error(
            field(most_key),
            whole.get(most_key).map(values::shown).unwrap_or_default(),
            format!("must be more than {least_key}, which is {IMAGE_MINIMUM_GC_AGE} when nothing is said: the kubelet would not start"),
            format!("raise it, or lower {least_key}"),
        ));
    }
}

fn check_shutdown(whole: &Map<String, Value>, problems: &mut Problems) {
    let (all_key, critical_key, priority_key) = (
        "shutdownGracePeriod",
        "shutdownGracePeriodCriticalPods",
        "shutdownGracePeriodByPodPriority",
    );
    let (Some(all), Some(critical)) = (
        nanoseconds(whole, all_key, SHUTDOWN_GRACE_PERIOD),
        nanoseconds(whole, critical_key, SHUTDOWN_GRACE_PERIOD),
    ) else {
        return;
    };
    if critical > all {
        problems.push(Problem::error(
            format!("{FIELD}.{critical_key}"),
            whole.get(critical_key).map(values::shown).unwrap_or_default(),
            format!("is a part of {all_key} and must not be longer, and that is {SHUTDOWN_GRACE_PERIOD} when nothing is said: the kubelet would not start"),
            format!("set {all_key} to this much or more"),
        ));
    }
    let by_priority = whole
        .get(priority_key)
        .is_some_and(|value| !values::is_zero(value));
    if by_priority && (all > 0.0 || critical > 0.0) {
        problems.push(Problem::error(
            format!("{FIELD}.{priority_key}"),
            "",
            format!("can't stand beside {all_key} and {critical_key}: the kubelet would not start"),
            "keep one of them",
        ));
    }
}

/// The static CPU policy without a set of CPUs takes its share from the reservations. What isn't said of the system's CPU
/// is OpenShift's to fill in, so that only a zero that is written leaves none.
fn check_static_cpus(whole: &Map<String, Value>, problems: &mut Problems) {
    let is = |key: &str, text: &str| whole.get(key).and_then(Value::as_str) == Some(text);
    let cpus_given = whole
        .get("reservedSystemCPUs")
        .is_some_and(|cpus| !values::is_zero(cpus));
    let zero = |part: &str, absent: bool| match whole.get(part).and_then(|part| part.get("cpu")) {
        None => absent,
        Some(cpu) => cpu
            .as_str()
            .and_then(|cpu| cpu.parse().ok())
            .is_some_and(Quantity::is_zero),
    };
    if is("cpuManagerPolicy", "static")
        && !cpus_given
        && zero("systemReserved", false)
        && zero("kubeReserved", true)
    {
        problems.push(Problem::error(
            format!("{FIELD}.cpuManagerPolicy"),
            "static",
            "needs reserved CPUs, and systemReserved and kubeReserved keep none: the kubelet would not start",
            "set spec.cpu.reserved, or more than 0 in spec.kubelet.systemReserved.cpu; or remove it",
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
                    "use memory",
                ));
            }
            let text = quantity.as_str().unwrap_or_default();
            values::positive(&field, text, "use more than 0, or remove it", problems);
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

pub(super) fn has_memory_manager(whole: &Map<String, Value>) -> bool {
    whole.get("memoryManagerPolicy").and_then(Value::as_str) == Some("Static")
}

/// The memory manager compares the sum of reservedMemory to the last part of a byte, and reservedMemory itself holds whole
/// bytes only.
fn check_whole_bytes(whole: &Map<String, Value>, valid: &ValidProfile, problems: &mut Problems) {
    if !has_memory_manager(whole) {
        return;
    }
    for (part, key) in KEPT_MEMORY {
        let Some(text) = whole
            .get(part)
            .and_then(|kept| kept.get(key))
            .and_then(Value::as_str)
        else {
            continue;
        };
        let Ok(quantity) = text.parse::<Quantity>() else {
            continue;
        };
        if quantity.to_string() == quantity.value().to_string() {
            continue;
        }
        let section = section_of(part, key, valid);
        problems.push(Problem::error(
            format!("{section}.{part}.{key}"),
            text,
            "is no whole number of bytes: reservedMemory can't add up to it, and the kubelet would not start",
            format!("write whole bytes, as in {}Mi", (quantity.value() >> 20).max(1)),
        ));
    }
}

/// The memory manager wants some memory kept, or the kubelet says "you should specify the system reserved memory".
/// Rendering leaves reservedMemory out where the parts come to nothing.
fn check_some_memory(whole: &Map<String, Value>, valid: &ValidProfile, problems: &mut Problems) {
    if !has_memory_manager(whole) {
        return;
    }
    let text = |part: &str, key: &str| whole.get(part).and_then(|kept| kept.get(key)?.as_str());
    let nothing = |part: &str, key: &str| {
        text(part, key)
            .is_some_and(|text| switched_off(text) || text.parse().is_ok_and(Quantity::is_zero))
    };
    match whole.get("reservedMemory") {
        None if KEPT_MEMORY.iter().all(|(part, key)| nothing(part, key)) => {
            problems.push(Problem::error(
                format!("{}.systemReserved.memory", section_of("systemReserved", "memory", valid)),
                text("systemReserved", "memory").unwrap_or_default(),
                "the memory manager needs some memory kept, and systemReserved, kubeReserved and evictionHard keep none: the kubelet would not start",
                "set more than 0, as in 500Mi, there or in one of the others",
            ));
        }
        Some(given) if values::is_zero(given) => problems.push(Problem::error(
            format!("{FIELD}.reservedMemory"),
            values::shown(given),
            "is empty: with the memory manager the kubelet would not start",
            "remove it: it is then computed",
        )),
        _ => {}
    }
}

/// Who says it: the overrides, or the profile's own fields.
fn section_of(part: &str, key: &str, valid: &ValidProfile) -> &'static str {
    let overridden = valid
        .kubelet_overrides
        .get(part)
        .is_some_and(|kept| kept.get(key).is_some());
    if overridden { FIELD } else { "spec.kubelet" }
}

/// Nothing else reserves huge pages, and the memory manager wants both sides alike.
fn check_reserved_pages(whole: &Map<String, Value>, problems: &mut Problems) {
    let items = whole
        .get("reservedMemory")
        .and_then(Value::as_array)
        .filter(|_| has_memory_manager(whole));
    for (index, item) in items.into_iter().flatten().enumerate() {
        let limits = item.get("limits").and_then(Value::as_object);
        for (resource, quantity) in limits.into_iter().flatten() {
            if resource.starts_with("hugepages-") {
                problems.push(Problem::error(
                    format!("{FIELD}.reservedMemory[{index}].limits.{}", resource.escape_debug()),
                    values::shown(quantity),
                    "is more than the 0 huge pages that the kubelet keeps: with the memory manager it would not start",
                    "remove it",
                ));
            }
        }
    }
}

/// The memory manager wants that reservedMemory of all NUMA nodes is exactly what the node keeps: kubeReserved,
/// systemReserved and the hard eviction threshold. Checked only when all three are in our hands.
fn check_memory_sum(whole: &Map<String, Value>, problems: &mut Problems) {
    let memory = |map: Option<&Value>, key: &str| -> Option<i128> {
        let text = map?.get(key)?.as_str()?;
        if switched_off(text) {
            return Some(0);
        }
        let quantity: Quantity = text.parse().ok()?;
        Some(i128::from(quantity.value()))
    };
    let Some(Value::Array(reserved)) = whole.get("reservedMemory") else {
        return;
    };
    let kept = KEPT_MEMORY.map(|(part, key)| memory(whole.get(part), key));
    let [Some(kube), Some(system), Some(eviction)] = kept else {
        return;
    };
    let wanted = kube + system + eviction;
    let given: i128 = reserved
        .iter()
        .filter_map(|item| memory(item.get("limits"), "memory"))
        .sum();
    if has_memory_manager(whole) && given != wanted {
        problems.push(Problem::error(
            format!("{FIELD}.reservedMemory"),
            format!("{} MiB", given / (1 << 20)),
            format!("must add up to kubeReserved, systemReserved and evictionHard together, {} MiB: the kubelet would not start", wanted / (1 << 20)),
            "remove it: it is then computed; or correct the numbers",
        ));
    }
}
