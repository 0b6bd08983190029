//! A profile after validation: every default filled in, every text parsed. Only `validate` makes one.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value};

use crate::api::realtime_profile::{
    Isolation, KernelPageSize, NetworkDevice, PackagesSpec, Power, Reservation, Smt, TopologyPolicy,
};
use crate::cluster::{Dialect, Served};
use crate::cpu_set::CpuSet;
use crate::facts::{Architecture, CpuVendor};

/// A profile that can be rendered.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidProfile {
    /// The profile's name.
    pub name: String,
    /// Its uid, when it comes from a cluster.
    pub uid: Option<String>,
    /// Which foreign APIs are served: decides what is rendered at all.
    pub served: Served,
    /// The pool.
    pub pool: ValidPool,
    /// What the pool's nodes have in common.
    pub hardware: Hardware,
    /// The kernel.
    pub kernel: ValidKernel,
    /// CPUs; `None` when the profile partitions none (then no CPU-related argument or reservation is rendered).
    pub cpus: Option<ValidCpus>,
    /// Power against latency; independent of the partition.
    pub power: Power,
    /// Simultaneous multithreading.
    pub smt: Smt,
    /// Maximum frequencies (reserved, isolated), kHz.
    pub frequency: (Option<u32>, Option<u32>),
    /// Huge pages.
    pub hugepages: ValidHugepages,
    /// The kernel's page size.
    pub kernel_page_size: KernelPageSize,
    /// The kubelet's topology manager policy; `None` when the profile says nothing and partitions no CPUs.
    pub topology_policy: Option<TopologyPolicy>,
    /// Whether device interrupts may run on isolated CPUs.
    pub balance_interrupts_on_isolated: bool,
    /// `Some` when queues are limited: the devices, empty for all.
    pub limit_queues: Option<Vec<NetworkDevice>>,
    /// Kept for system daemons.
    pub system_reserved: Option<Reservation>,
    /// Kept for the kubelet.
    pub kube_reserved: Option<Reservation>,
    /// Further KubeletConfiguration fields, checked.
    pub kubelet_overrides: Map<String, Value>,
    /// TuneD profiles to include.
    pub tuned_include: Vec<String>,
    /// Kernel parameters.
    pub sysctl: BTreeMap<String, String>,
    /// Further TuneD sections.
    pub tuned_sections: BTreeMap<String, BTreeMap<String, String>>,
    /// Real-time scheduling for pods.
    pub pod_budget: Option<ValidPodBudget>,
    /// Strict upper latency limit, microseconds.
    pub max_latency_microseconds: Option<i64>,
    /// Canaries.
    pub canaries: u32,
    /// Render and plan, change nothing.
    pub paused: bool,
}

/// The pool.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidPool {
    /// Its name.
    pub name: String,
    /// Whether we make and own it. False: it exists and belongs to somebody else.
    pub ours: bool,
    /// Which nodes belong to a pool that we make.
    pub node_selector: LabelSelector,
    /// How many may be down, for a pool that we make.
    pub max_unavailable: Option<IntOrString>,
    /// The labels by which our MachineConfig reaches the pool (the role label, or what an existing pool's selector wants).
    pub machine_config_labels: BTreeMap<String, String>,
}

/// What the pool's nodes have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Hardware {
    /// Their architecture. Amd64 when nothing is known.
    pub architecture: Architecture,
    /// Their CPU vendor; `None` when nothing is known.
    pub cpu_vendor: Option<CpuVendor>,
    /// Their CPU family and model.
    pub cpu_family_model: Option<(u32, u32)>,
    /// NUMA nodes' memory in KiB by id; empty when nothing is known.
    pub numa_memory_kib: BTreeMap<u32, u64>,
    /// The least memory that one of them has, KiB.
    pub memory_kib: Option<u64>,
}

/// The kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidKernel {
    /// The real-time kernel.
    pub realtime: bool,
    /// True: the Machine Config Operator switches it. False: the node daemon.
    pub by_machine_config_operator: bool,
    /// What the node daemon installs.
    pub packages: Option<PackagesSpec>,
    /// Further arguments, one an entry.
    pub additional_arguments: Vec<String>,
}

impl ValidProfile {
    /// How a MachineConfig selects the kernel here.
    pub fn dialect(&self) -> Dialect {
        self.served.dialect
    }
}

/// The partition of the CPUs.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidCpus {
    /// Housekeeping.
    pub reserved: CpuSet,
    /// Workloads.
    pub isolated: CpuSet,
    /// Taken offline; may be empty.
    pub offlined: CpuSet,
    /// Shared by mixed-CPU containers; may be empty.
    pub shared: CpuSet,
    /// The form of `isolcpus`.
    pub isolation: Isolation,
}

/// Huge pages, sizes in KiB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValidHugepages {
    /// Size that is used when an application names none, KiB.
    pub default_kib: Option<u64>,
    /// Spread over all nodes: (size in KiB, count), each size once.
    pub spread: Vec<(u64, u64)>,
    /// On one NUMA node: (node, size in KiB, count).
    pub on_node: Vec<(u32, u64, u64)>,
}

/// Real-time scheduling for pods.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidPodBudget {
    /// Microseconds of each second, for all pods of a node.
    pub capacity_microseconds: i64,
    /// Microseconds of each second that one container may ask for.
    pub max_per_container_microseconds: i64,
    /// Namespaces whose pods may ask.
    pub namespace_selector: Option<LabelSelector>,
}
