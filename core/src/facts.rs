//! What is known about a node's hardware, from wherever it is known. Reading it out of objects, nothing else.

use std::collections::BTreeMap;

use crate::cpu_set::CpuSet;

/// What is known about one node. Absent means not known, never "none".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node's name.
    pub name: String,
    /// The node's labels.
    pub labels: BTreeMap<String, String>,
    /// Its architecture.
    pub architecture: Option<Architecture>,
    /// Who made its CPUs.
    pub cpu_vendor: Option<CpuVendor>,
    /// `cpu family` as in /proc/cpuinfo.
    pub cpu_family: Option<u32>,
    /// `model` as in /proc/cpuinfo.
    pub cpu_model: Option<u32>,
    /// All present CPUs, offline ones included.
    pub cpus: Option<CpuSet>,
    /// Number of CPUs by the kubelet's word: online at its start, so fewer than present when some are offlined.
    pub cpu_capacity: Option<u32>,
    /// Threads that share a core.
    pub siblings: Vec<CpuSet>,
    /// NUMA nodes.
    pub numa_nodes: Vec<NumaFacts>,
    /// Memory in KiB.
    pub memory_kib: Option<u64>,
    /// The running kernel's release by the kubelet's word.
    pub kernel_release: Option<String>,
}

/// A NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumaFacts {
    /// Its number.
    pub id: u32,
    /// Its CPUs.
    pub cpus: CpuSet,
    /// Its memory in KiB.
    pub memory_kib: u64,
}

/// Processor architecture, by the names of `kubernetes.io/arch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// x86_64.
    Amd64,
    /// aarch64.
    Arm64,
    /// ppc64le.
    Ppc64le,
    /// s390x.
    S390x,
}

/// Who made the CPUs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CpuVendor {
    /// GenuineIntel.
    Intel,
    /// AuthenticAMD.
    Amd,
    /// Any ARM vendor.
    Arm,
    /// Another one, by its own name: gets the arguments that every vendor gets.
    Other(String),
}
