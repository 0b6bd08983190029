//! Any profile in any cluster: validation never panics, never lets an error through, and what it lets through renders.
//! `PROPTEST_CASES` sets how many.

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;
use crate::render::{kernel_arguments, render};

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9=,._ -]{0,20}",
        select(vec![
            "a\n[bootloader]\ncmdline=+evil",
            "\u{202e}",
            "0-3",
            "4-7",
            "2-5000000",
            "7-2",
            "1G",
            "2M",
            "64k",
            "500Mi",
            "-1",
            "10%",
            "static",
            "\"",
            "$x",
            "eth*",
            "!",
            "0x8086"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

fn cpus() -> impl Strategy<Value = Value> {
    option::weighted(
        0.7,
        select(vec![
            "0", "0-1", "1-3", "2-7", "4-7", "0-4095", "5000", "", ",", "7-2", "8-9,12",
        ]),
    )
    .prop_map(|text| text.map_or(Value::Null, Value::from))
}

/// Also what no schema would let through.
fn cpu_section() -> impl Strategy<Value = Value> {
    let choice =
        |names: &'static [&'static str]| option::of(select(names)).prop_map(|name| json!(name));
    (
        cpus(), cpus(), cpus(), cpus(),
        choice(&["None", "ManagedIrq", "Domain"]), choice(&["Keep", "Off"]),
        choice(&["Balanced", "LowLatency", "UltraLowLatency", "PerPod"]), option::of(any::<i64>()),
    )
        .prop_map(|(reserved, isolated, offlined, shared, isolation, smt, power, kilohertz)| {
            json!({"reserved": reserved, "isolated": isolated, "offlined": offlined, "shared": shared,
                "isolation": isolation, "smt": smt, "power": power, "frequency": {"isolated": kilohertz}})
        })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(text(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn overrides() -> impl Strategy<Value = Value> {
    let names: Vec<String> = crate::merge::kubelet::FIELDS
        .iter()
        .flat_map(|(_, names)| names.split_ascii_whitespace().map(str::to_owned))
        .collect();
    btree_map(prop_oneof![select(names), text()], any_value(), 0..6)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn spec() -> impl Strategy<Value = Value> {
    let texts = || btree_map(text(), text(), 0..4);
    let arguments = prop_oneof![
        text(),
        select(vec![
            "idle=poll",
            "nohz=off",
            "isolcpus=2",
            "hugepages=1",
            "hugepagesz=1G",
            "--",
            "a b",
            "quiet"
        ])
        .prop_map(str::to_owned),
    ];
    let page = (text(), any::<i64>(), option::of(any::<i64>()))
        .prop_map(|(size, count, node)| json!({"size": size, "count": count, "node": node}));
    let device = (option::of(text()), option::of(text()), option::of(text()))
        .prop_map(|(name, vendor, device)| json!({"interfaceName": name, "vendorID": vendor, "deviceID": device}));
    let kernel = (option::of(any::<bool>()), option::of(select(vec!["Auto", "MachineConfigOperator", "NodeDaemon"])), vec(arguments, 0..5))
        .prop_map(|(realtime, provider, arguments)| json!({"realtime": realtime, "provider": provider, "additionalArguments": arguments}));
    let memory = (vec(page, 0..4), option::of(text()), option::of(select(vec!["4k", "64k"])))
        .prop_map(|(pages, size, page_size)| json!({"hugepages": {"pages": pages, "defaultSize": size}, "kernelPageSize": page_size}));
    let pool = (
        option::of(text()),
        option::of(any::<bool>()),
        option::of(texts()),
        option::of(prop_oneof![
            text().prop_map(Value::from),
            any::<i32>().prop_map(Value::from)
        ]),
    )
        .prop_map(|(name, create, labels, max)| {
            json!({"name": name, "create": create, "maxUnavailable": max,
            "nodeSelector": labels.map(|labels| json!({"matchLabels": labels}))})
        });
    let kubelet = (overrides(), texts())
        .prop_map(|(overrides, _)| json!({"overrides": overrides, "systemReserved": {"cpu": "1"}}));
    let tuned = (texts(), btree_map(text(), texts(), 0..3), vec(text(), 0..3))
        .prop_map(|(sysctl, sections, include)| json!({"sysctl": sysctl, "sections": sections, "include": include}));
    let numbers = (
        option::of(any::<i64>()),
        option::of(any::<i64>()),
        option::of(any::<i64>()),
        any::<bool>(),
    );
    (pool, kernel, cpu_section(), memory, kubelet, tuned, vec(device, 0..3), numbers).prop_map(
        |(pool, kernel, cpu, memory, kubelet, tuned, devices, (capacity, most, latency, flag))| {
            json!({"pool": pool, "kernel": kernel, "cpu": cpu, "memory": memory, "kubelet": kubelet, "tuned": tuned,
                "network": {"limitQueuesToReserved": flag, "devices": devices},
                "interrupts": {"balanceOnIsolated": !flag}, "numa": {"topologyPolicy": if flag { "Restricted" } else { "None" }},
                "podBudget": {"enabled": flag, "capacityMicroseconds": capacity, "maxPerContainerMicroseconds": most},
                "latency": {"maxMicroseconds": latency}, "rollout": {"canaries": capacity}})
        },
    )
}

fn profile_of(spec: &Value, sections: &[bool]) -> Option<RealtimeProfile> {
    let spec: serde_json::Map<String, Value> = spec
        .as_object()?
        .iter()
        .zip(sections)
        .filter(|(_, keep)| **keep)
        .map(|((key, value), _)| (key.clone(), value.clone()))
        .collect();
    serde_json::from_value(
        json!({"apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile",
        "metadata": {"name": "edge-rt"}, "spec": spec}),
    )
    .ok()
}

fn some_cluster() -> impl Strategy<Value = Cluster> {
    let objects = select(vec![
        "",
        "kind: Node\nmetadata: {name: n1, labels: {node-role.kubernetes.io/edge-rt: '', kubernetes.io/arch: arm64}}\nstatus: {capacity: {cpu: '8', memory: 8Gi}}",
        "kind: Node\nmetadata: {name: n1, labels: {node-role.kubernetes.io/edge-rt: ''}}\n---\nkind: RealtimeNode\nmetadata: {name: n1}\nspec: {profile: x}\nstatus: {topology: {cpus: 0-7, siblings: ['0,4', '1,5', '2,6', '3,7'], numaNodes: [{id: 0, cpus: 0-7, memoryKiB: 100}]}}",
        "kind: MachineConfigPool\nmetadata: {name: edge-rt}\nspec: {machineConfigSelector: {matchExpressions: [{key: x, operator: DoesNotExist}]}}",
    ]);
    let dialects = select(vec![Dialect::KernelType, Dialect::Realtime, Dialect::None]);
    (objects, dialects, any::<bool>()).prop_map(|(objects, dialect, machine_configs)| {
        let mut cluster = cluster(objects);
        cluster.served = Served {
            machine_configs,
            ..Served::openshift(dialect)
        };
        cluster
    })
}

fn assert_sound(profile: &RealtimeProfile, cluster: &Cluster) -> Result<(), TestCaseError> {
    let Validated {
        profile: valid,
        problems,
    } = validate(profile, cluster);
    prop_assert_eq!(valid.is_some(), !problems.has_errors());
    for problem in &problems.0 {
        prop_assert!(!problem.field.is_empty() && !problem.message.is_empty());
        prop_assert!(!problem.to_string().contains('\n'), "{:?}", problem);
    }
    let Some(valid) = valid else { return Ok(()) };
    let rendered = render(&valid);
    for argument in kernel_arguments(&valid) {
        prop_assert!(!argument.chars().any(char::is_control), "{:?}", argument);
    }
    for profile in rendered.tuned.iter().flat_map(|tuned| &tuned.spec.profile) {
        prop_assert!(!profile.data.contains("cmdline"), "{}", profile.data);
    }
    // What was valid once is so again, and says the same.
    prop_assert_eq!(validate(profile, cluster).profile, Some(valid));
    Ok(())
}

proptest! {
    #[test]
    fn any_profile_is_judged_without_panic(spec in spec(), sections in vec(any::<bool>(), 11), cluster in some_cluster()) {
        if let Some(profile) = profile_of(&spec, &sections) {
            assert_sound(&profile, &cluster)?;
        }
    }

    /// Only right sections: most of these are valid, so that what comes after validation is reached too.
    #[test]
    fn plausible_profiles_are_judged_without_panic(
        split in 1_u32..16, power in select(vec!["Balanced", "LowLatency", "UltraLowLatency", "PerPod"]),
        arguments in vec("[a-z]{3,8}=[a-z0-9]{1,4}", 0..4), swappiness in "[0-9]{1,2}", realtime in any::<bool>(),
        cluster in some_cluster(),
    ) {
        let spec = json!({
            "cpu": {"reserved": format!("0-{}", split - 1), "isolated": format!("{split}-31"), "power": power},
            "kernel": {"realtime": realtime, "additionalArguments": arguments},
            "tuned": {"sysctl": {"vm.swappiness": swappiness}},
        });
        if let Some(profile) = profile_of(&spec, &[true; 3]) {
            assert_sound(&profile, &cluster)?;
        }
    }
}
