//! The rules that the golden stories don't show one by one.

use proptest::prelude::*;

use super::*;
use crate::validate::valid_profile::Hardware;

fn complete(value: Value, numa: &[(u32, u64)]) -> Value {
    let Value::Object(mut fields) = value else {
        unreachable!("the tests give objects")
    };
    let hardware = Hardware {
        architecture: crate::facts::Architecture::Amd64,
        cpu_vendor: None,
        cpu_family_model: None,
        numa_memory_kib: numa.iter().copied().collect(),
        memory_kib: numa.iter().map(|(_, kib)| *kib).reduce(u64::saturating_add),
    };
    reserved_memory::complete(&mut fields, &hardware);
    Value::Object(fields)
}

fn sum(fields: &Value) -> i64 {
    fields["reservedMemory"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let text = entry["limits"]["memory"].as_str().unwrap();
            text.parse::<crate::quantity::Quantity>().unwrap().value()
        })
        .sum()
}

#[test]
fn memory_is_spread_over_the_numa_nodes() {
    let fields = complete(
        json!({"memoryManagerPolicy": "Static", "systemReserved": {"memory": "500Mi"}, "kubeReserved": {"memory": "500Mi"},
               "evictionHard": {"memory.available": "100Mi"}}),
        &[(0, 64 << 20), (1, 64 << 20), (2, 0)],
    );
    assert_eq!(
        fields["reservedMemory"],
        json!([{"numaNode": 0, "limits": {"memory": "550Mi"}}, {"numaNode": 1, "limits": {"memory": "550Mi"}}])
    );
}

/// Another kernel, or another machine of the same kind, reports some Mi more or less: that must not be a reboot.
#[test]
fn a_little_more_or_less_memory_changes_nothing() {
    let fields = |numa: &[(u32, u64)]| {
        complete(
            json!({"memoryManagerPolicy": "Static", "kubeReserved": {"memory": "500Mi"}, "evictionHard": {"memory.available": "5%"}}),
            numa,
        )
    };
    let one = fields(&[(0, 33_000_000), (1, 33_500_000), (2, 1_000_000)]);
    assert_eq!(
        one,
        fields(&[(0, 33_100_000), (1, 33_400_000), (2, 900_000)])
    );
    let nodes: Vec<&Value> = one["reservedMemory"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["numaNode"])
        .collect();
    assert_eq!(nodes, [0, 1], "a node with little memory keeps it");
}

#[test]
fn without_facts_all_is_on_node_0() {
    let fields = complete(
        json!({"memoryManagerPolicy": "Static", "systemReserved": {"memory": "1G"}}),
        &[],
    );
    assert_eq!(
        fields,
        json!({"memoryManagerPolicy": "Static", "systemReserved": {"memory": "1G"},
               "evictionHard": {"memory.available": "100Mi"},
               "reservedMemory": [{"numaNode": 0, "limits": {"memory": "1104857600"}}]})
    );
}

#[test]
fn a_percentage_becomes_an_amount() {
    let fields = complete(
        json!({"memoryManagerPolicy": "Static", "evictionHard": {"memory.available": "7.5%", "nodefs.available": "10%"}}),
        &[(0, 64 << 20)],
    );
    // 7.5 % of 64 GiB, rounded down to whole Mi.
    assert_eq!(fields["evictionHard"]["memory.available"], "4915Mi");
    assert_eq!(fields["evictionHard"]["nodefs.available"], "10%");
    assert_eq!(sum(&fields), 4915 << 20);
}

#[test]
fn no_threshold_becomes_zero() {
    for (given, expected) in [
        ("0%", "0%"),
        ("100%", "100%"),
        ("00.0%", "00.0%"),
        ("0.001%", "1Mi"),
    ] {
        let fields = complete(
            json!({"memoryManagerPolicy": "Static", "kubeReserved": {"memory": "500Mi"}, "evictionHard": {"memory.available": given}}),
            &[(0, 32 << 20)],
        );
        assert_eq!(
            fields["evictionHard"]["memory.available"], expected,
            "{given}"
        );
        let kept = if expected == "1Mi" { 501 } else { 500 };
        assert_eq!(sum(&fields), kept << 20, "{given}");
    }
}

#[test]
fn what_the_user_gave_stays() {
    let given = json!({"memoryManagerPolicy": "Static", "reservedMemory": []});
    assert_eq!(complete(given.clone(), &[]), given);
    let none = json!({"memoryManagerPolicy": "None"});
    assert_eq!(complete(none.clone(), &[(0, 1)]), none);
}

proptest! {
    /// The kubelet's rule: not a byte more or less than the reservations and the threshold together.
    #[test]
    fn the_sum_is_exact(
        system in 1u64..(1 << 42), kube in 1u64..(1 << 42), eviction in 1u64..(1 << 42),
        numa in proptest::collection::btree_map(0u32..8, 0u64..(1 << 34), 0..5),
    ) {
        let numa: Vec<_> = numa.into_iter().collect();
        let fields = complete(
            json!({"memoryManagerPolicy": "Static", "systemReserved": {"memory": system.to_string()},
                   "kubeReserved": {"memory": kube.to_string()}, "evictionHard": {"memory.available": eviction.to_string()}}),
            &numa,
        );
        prop_assert_eq!(u64::try_from(sum(&fields)).unwrap(), system + kube + eviction);
        for entry in fields["reservedMemory"].as_array().unwrap() {
            let node = u32::try_from(entry["numaNode"].as_u64().unwrap()).unwrap();
            let total: u64 = numa.iter().map(|(_, kib)| kib).sum();
            prop_assert!(total == 0 && node == 0 || numa.iter().any(|(id, kib)| *id == node && *kib > 0));
        }
    }
}
