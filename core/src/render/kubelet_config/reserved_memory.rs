//! The memory manager's `reservedMemory`. The kubelet refuses to start unless its sum is exactly what kubeReserved,
//! systemReserved and the hard eviction threshold keep together. Computes that sum and spreads it over the NUMA nodes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::EVICTION_HARD;
use crate::quantity::Quantity;

const MI: u64 = 1024 * 1024;
const KI: u64 = 1024;

/// Adds `reservedMemory` where the memory manager's policy needs it and the user gave none.
///
/// A threshold in percent is written as an amount: the kubelet takes the percentage of each node's own memory, and no
/// sum could be exact on all nodes of a pool.
pub(super) fn complete(fields: &mut Map<String, Value>, numa_memory_kib: &BTreeMap<u32, u64>) {
    if fields.get("memoryManagerPolicy") != Some(&json!("Static"))
        || fields.contains_key("reservedMemory")
    {
        return;
    }
    let eviction = eviction(fields, numa_memory_kib);
    let total = ["systemReserved", "kubeReserved"]
        .into_iter()
        .map(|field| reserved(fields, field))
        .fold(eviction, u64::saturating_add);
    let shares: Vec<Value> = spread(total, numa_memory_kib)
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
fn eviction(fields: &mut Map<String, Value>, numa_memory_kib: &BTreeMap<u32, u64>) -> u64 {
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
    let amount = match given.strip_suffix('%') {
        None => bytes(&given),
        Some(percent) => share_of(percent, numa_memory_kib),
    };
    // A percentage of nobody knows what: the kubelet's default, which at least lets it start.
    let amount = amount.or_else(|| bytes(default)).unwrap_or_default();
    if given.ends_with('%') || !thresholds.contains_key(signal) {
        thresholds.insert(signal.into(), json!(text(amount)));
    }
    amount
}

fn bytes(quantity: &str) -> Option<u64> {
    let quantity: Quantity = quantity.parse().ok()?;
    u64::try_from(quantity.value()).ok()
}

/// That many percent of the nodes' memory, in whole Mi.
fn share_of(percent: &str, numa_memory_kib: &BTreeMap<u32, u64>) -> Option<u64> {
    let capacity: u128 = numa_memory_kib.values().map(|kib| u128::from(*kib)).sum();
    let percent: Quantity = percent.parse().ok()?;
    let thousandths = u128::try_from(percent.milli_value()).ok()?;
    if capacity == 0 {
        return None;
    }
    let bytes = capacity
        .saturating_mul(u128::from(KI))
        .saturating_mul(thousandths)
        / 100_000;
    let bytes = u64::try_from(bytes).ok()?;
    Some(bytes / MI * MI)
}

/// In proportion to the NUMA nodes' memory, in whole Mi, the rest on the first: so that each node can still hold as
/// much as its neighbours. Where nothing is known all is on node 0, which every machine has.
fn spread(total: u64, numa_memory_kib: &BTreeMap<u32, u64>) -> BTreeMap<u32, u64> {
    let capacity: u128 = numa_memory_kib.values().map(|kib| u128::from(*kib)).sum();
    let mut shares: BTreeMap<u32, u64> = BTreeMap::new();
    let mut rest = total;
    for (node, kib) in numa_memory_kib {
        let share = (u128::from(total / MI) * u128::from(*kib))
            .checked_div(capacity)
            .and_then(|share| u64::try_from(share).ok())
            .unwrap_or_default()
            * MI;
        if share > 0 {
            shares.insert(*node, share);
        }
        rest -= share;
    }
    if rest > 0 {
        let first = numa_memory_kib
            .iter()
            .find(|(_, kib)| **kib > 0)
            .map_or(0, |(node, _)| *node);
        *shares.entry(first).or_default() += rest;
    }
    shares
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
