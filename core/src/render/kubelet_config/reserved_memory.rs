//! The memory manager's `reservedMemory`. The kubelet refuses to start unless its sum is exactly what kubeReserved,
//! systemReserved and the hard eviction threshold keep together. Computes that sum and spreads it over the NUMA nodes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::EVICTION_HARD;
use crate::quantity::Quantity;
use crate::validate::valid_profile::Hardware;

const KI: u64 = 1024;
const MI: u64 = 1024 * KI;
const GI: u64 = 1024 * MI;

/// Adds `reservedMemory` where the memory manager's policy needs it and the user gave none.
///
/// A threshold in percent is written as an amount: the kubelet takes the percentage of each node's own memory, and no
/// sum could be exact on all nodes of a pool.
pub(super) fn complete(fields: &mut Map<String, Value>, hardware: &Hardware) {
    if fields.get("memoryManagerPolicy") != Some(&json!("Static"))
        || fields.contains_key("reservedMemory")
    {
        return;
    }
    let eviction = eviction(fields, hardware.memory_kib);
    let total = ["systemReserved", "kubeReserved"]
        .into_iter()
        .map(|field| reserved(fields, field))
        .fold(eviction, u64::saturating_add);
    let shares: Vec<Value> = spread(total, &hardware.numa_memory_kib)
        .into_iter()
        .map(|(node, bytes)| json!({"numaNode": node, "limits": {"memory": text(bytes)}}))
        .collect();
    if !shares.is_empty() {
        fields.insert("reservedMemory".into(), Value::Array(shares));
    }
}

fn reserved(fields: &Map<String, Value>, field: &str) -> u64 {
    fields
        .get(field)
        .and_then(|map| map.get("memory"))
        .and_then(Value::as_str)
        .and_then(bytes)
        .unwrap_or_default()
}

/// The threshold in bytes; as an amount also in the fields from now on.
fn eviction(fields: &mut Map<String, Value>, memory_kib: Option<u64>) -> u64 {
    let (signal, default) = EVICTION_HARD[0];
    let thresholds = fields
        .entry("evictionHard")
        .or_insert_with(|| Value::Object(Map::new()));
    let Some(thresholds) = thresholds.as_object_mut() else {
        return 0;
    };
    let given = thresholds
        .get(signal)
        .and_then(Value::as_str)
        .unwrap_or(default)
        .to_owned();
    if switched_off(&given) {
        return 0;
    }
    let amount = match given.strip_suffix('%') {
        None => bytes(&given),
        Some(percent) => memory_kib.and_then(|kib| share_of(percent, kib)),
    };
    // A percentage of nobody knows what: the kubelet's default, which at least lets it start.
    let amount = amount.or_else(|| bytes(default)).unwrap_or_default();
    if given.ends_with('%') || !thresholds.contains_key(signal) {
        thresholds.insert(signal.into(), json!(text(amount)));
    }
    amount
}

/// Whether the kubelet keeps nothing for a threshold: it ignores 0% and 100% and takes no amount of zero, so that these
/// must stay as they are written.
pub(crate) fn switched_off(threshold: &str) -> bool {
    threshold == "100%"
        || threshold
            .strip_suffix('%')
            .and_then(|percent| percent.parse().ok())
            .is_some_and(Quantity::is_zero)
}

fn bytes(quantity: &str) -> Option<u64> {
    let quantity: Quantity = quantity.parse().ok()?;
    u64::try_from(quantity.value()).ok()
}

/// That many percent of a node's memory, in whole Mi and at least one, as the kubelet takes no amount of zero. The memory counts in whole Gi: what a node reports differs by
/// some Mi from machine to machine and from kernel to kernel, and a new amount would cost the pool a reboot.
fn share_of(percent: &str, memory_kib: u64) -> Option<u64> {
    let percent: Quantity = percent.parse().ok()?;
    let thousandths = u128::try_from(percent.milli_value()).ok()?;
    let bytes = u128::from(memory_kib) * u128::from(KI);
    let whole = (bytes + u128::from(GI / 2)) / u128::from(GI) * u128::from(GI);
    let counted = if whole == 0 { bytes } else { whole };
    let share = u64::try_from(counted.checked_mul(thousandths)? / 100_000).ok()?;
    Some((share / MI).max(1) * MI)
}

/// Equal shares in whole Mi, the rest on the first, among the NUMA nodes that have at least half as much as the largest:
/// not in proportion, since some Mi more or less, after an update of the kernel, would then be another configuration
/// and a reboot. Where nothing is known all is on node 0, which every machine has.
fn spread(total: u64, numa_memory_kib: &BTreeMap<u32, u64>) -> BTreeMap<u32, u64> {
    let largest = numa_memory_kib.values().copied().max().unwrap_or_default();
    let mut nodes: Vec<u32> = numa_memory_kib
        .iter()
        .filter(|(_, kib)| **kib > 0 && **kib >= largest / 2)
        .map(|(node, _)| *node)
        .collect();
    if nodes.is_empty() {
        nodes.push(0);
    }
    let count = u64::try_from(nodes.len()).unwrap_or(u64::MAX);
    let share = total / MI / count * MI;
    let first = total - share * (count - 1);
    nodes
        .into_iter()
        .enumerate()
        .map(|(index, node)| (node, if index == 0 { first } else { share }))
        .filter(|(_, bytes)| *bytes > 0)
        .collect()
}

/// In the largest unit that is exact.
fn text(bytes: u64) -> String {
    if bytes.is_multiple_of(MI) {
        format!("{}Mi", bytes / MI)
    } else if bytes.is_multiple_of(KI) {
        format!("{}Ki", bytes / KI)
    } else {
        bytes.to_string()
    }
}
