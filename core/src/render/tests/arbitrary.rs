//! Any `ValidProfile` at all, also such as `validate` would refuse: rendering is total.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::api::realtime_profile::{
    Isolation, KernelPageSize, NetworkDevice, Power, Reservation, Smt, TopologyPolicy,
};
use crate::cluster::{Dialect, Served};
use crate::cpu_set::CpuSet;
use crate::facts::{Architecture, CpuVendor};
use crate::validate::ValidProfile;
use crate::validate::valid_profile::{
    Hardware, ValidCpus, ValidHugepages, ValidKernel, ValidPodBudget, ValidPool,
};

/// Texts as an attacker would write them.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9=,._ -]{0,20}",
        Just("a\n[bootloader]\ncmdline=+evil".to_owned()),
        Just("x\r\ny\u{0}\u{85}".to_owned()),
        any::<String>(),
    ]
}

fn arguments() -> impl Strategy<Value = Vec<String>> {
    let known = select(vec![
        "skew_tick=1",
        "skew_tick=0",
        "nohz=on",
        "idle=poll",
        "intel_iommu=on",
        "iommu=pt",
        "mce=off",
        "hugepagesz=1G",
        "hugepages=4",
        "default_hugepagesz=2M",
        "isolcpus=1",
        "nohz-full=3",
        "console=tty0",
    ])
    .prop_map(str::to_owned);
    vec(prop_oneof![known, text()], 0..8)
}

fn cpus() -> impl Strategy<Value = CpuSet> {
    prop_oneof![
        btree_set(0u32..64, 0..12),
        btree_set(0u32..=CpuSet::MAX, 0..12)
    ]
    .prop_map(|set| set.into_iter().collect())
}

fn partition() -> impl Strategy<Value = Option<ValidCpus>> {
    let isolation = select(vec![
        Isolation::None,
        Isolation::ManagedIrq,
        Isolation::Domain,
    ]);
    option::of((cpus(), cpus(), cpus(), cpus(), isolation).prop_map(
        |(reserved, isolated, offlined, shared, isolation)| ValidCpus {
            reserved,
            isolated,
            offlined,
            shared,
            isolation,
        },
    ))
}

fn served() -> impl Strategy<Value = Served> {
    let dialect = select(vec![Dialect::KernelType, Dialect::Realtime, Dialect::None]);
    (dialect, any::<bool>(), any::<bool>()).prop_map(|(dialect, machine_configs, tuned)| Served {
        machine_configs,
        tuned,
        ..Served::openshift(dialect)
    })
}

fn hardware() -> impl Strategy<Value = Hardware> {
    let architecture = select(vec![
        Architecture::Amd64,
        Architecture::Arm64,
        Architecture::Ppc64le,
        Architecture::S390x,
    ]);
    let vendor = option::of(select(vec![
        CpuVendor::Intel,
        CpuVendor::Amd,
        CpuVendor::Arm,
        CpuVendor::Other("HygonGenuine".to_owned()),
    ]));
    let model = option::of((0u32..30, 0u32..256));
    let memory = btree_map(any::<u32>(), any::<u64>(), 0..4);
    (architecture, vendor, model, memory).prop_map(
        |(architecture, cpu_vendor, cpu_family_model, numa_memory_kib)| Hardware {
            architecture,
            cpu_vendor,
            cpu_family_model,
            memory_kib: numa_memory_kib
                .values()
                .copied()
                .reduce(u64::saturating_add),
            numa_memory_kib,
        },
    )
}

fn hugepages() -> impl Strategy<Value = ValidHugepages> {
    let size = || {
        prop_oneof![
            select(vec![64u64, 2048, 524_288, 1 << 20, 16 << 20]),
            any::<u64>()
        ]
    };
    (
        option::of(size()),
        vec((size(), any::<u64>()), 0..4),
        vec((0u32..4, size(), any::<u64>()), 0..4),
    )
        .prop_map(|(default_kib, spread, on_node)| ValidHugepages {
            default_kib,
            spread,
            on_node,
        })
}

fn devices() -> impl Strategy<Value = Option<Vec<NetworkDevice>>> {
    let name = prop_oneof!["!?[a-z0-9*?.:_-]{1,10}", text()];
    let device = (option::of(name), option::of(text()), option::of(text())).prop_map(
        |(interface_name, vendor_id, device_id)| NetworkDevice {
            interface_name,
            vendor_id,
            device_id,
        },
    );
    option::of(vec(device, 0..4))
}

fn reservation() -> impl Strategy<Value = Option<Reservation>> {
    let quantity = || option::of(prop_oneof!["[0-9]{1,4}(m|Mi|Gi|%)?", text()]);
    option::of((quantity(), quantity(), quantity(), quantity()).prop_map(
        |(cpu, memory, ephemeral_storage, pid)| Reservation {
            cpu,
            memory,
            ephemeral_storage,
            pid,
        },
    ))
}

fn overrides() -> impl Strategy<Value = Map<String, Value>> {
    select(vec![
        json!({}),
        json!({"memoryManagerPolicy": "Static"}),
        json!({"evictionHard": {"memory.available": "7%"}, "memoryManagerPolicy": "Static"}),
        json!({"evictionHard": "nonsense", "systemReserved": 3}),
        json!({"evictionHard": {"memory.available": "99999999999999%"}}),
        json!({"reservedMemory": null}),
    ])
    .prop_map(|value| value.as_object().cloned().unwrap_or_default())
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..3)
}

pub(in crate::render) fn profile() -> impl Strategy<Value = ValidProfile> {
    let name = "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?";
    let pool = (name, any::<bool>(), labels(), labels(), option::of(0i32..9)).prop_map(
        |(name, ours, selector, machine_config_labels, max)| ValidPool {
            name,
            ours,
            node_selector: LabelSelector {
                match_labels: Some(selector),
                match_expressions: None,
            },
            max_unavailable: max.map(IntOrString::Int),
            machine_config_labels,
        },
    );
    let kernel = (any::<bool>(), any::<bool>(), arguments()).prop_map(
        |(realtime, by_machine_config_operator, additional_arguments)| ValidKernel {
            realtime,
            by_machine_config_operator,
            packages: None,
            additional_arguments,
        },
    );
    let power = select(vec![
        Power::Balanced,
        Power::LowLatency,
        Power::UltraLowLatency,
        Power::PerPod,
    ]);
    let topology = option::of(select(vec![
        TopologyPolicy::None,
        TopologyPolicy::BestEffort,
        TopologyPolicy::Restricted,
        TopologyPolicy::SingleNumaNode,
    ]));
    let budget = option::of((1i64..950_000).prop_map(|capacity| ValidPodBudget {
        capacity_microseconds: capacity,
        max_per_container_microseconds: capacity,
        namespace_selector: None,
    }));
    let switches = (
        any::<[bool; 3]>(),
        option::of(any::<u32>()),
        option::of(any::<u32>()),
    );
    let tuned = (
        vec(text(), 0..3),
        labels(),
        btree_map(
            prop_oneof![
                Just("bootloader".to_owned()),
                Just("main".to_owned()),
                text()
            ],
            labels(),
            0..3,
        ),
    );
    (
        (name, served(), pool, hardware(), kernel, partition()),
        (power, hugepages(), topology, devices()),
        (reservation(), reservation(), overrides(), tuned),
        (budget, switches, option::of(1i64..1000)),
    )
        .prop_map(
            |(
                (name, served, pool, hardware, kernel, cpus),
                (power, hugepages, topology_policy, limit_queues),
                (system_reserved, kube_reserved, kubelet_overrides, tuned),
                (pod_budget, ([smt_off, pages_64k, balance], reserved, isolated), latency),
            )| ValidProfile {
                name,
                uid: None,
                served,
                pool,
                hardware,
                kernel,
                cpus,
                power,
                smt: if smt_off { Smt::Off } else { Smt::Keep },
                frequency: (reserved, isolated),
                hugepages,
                kernel_page_size: if pages_64k {
                    KernelPageSize::Kib64
                } else {
                    KernelPageSize::Kib4
                },
                topology_policy,
                balance_interrupts_on_isolated: balance,
                limit_queues,
                system_reserved,
                kube_reserved,
                kubelet_overrides,
                tuned_include: tuned.0,
                sysctl: tuned.1,
                tuned_sections: tuned.2,
                pod_budget,
                max_latency_microseconds: latency,
                canaries: 0,
                paused: false,
            },
        )
}
