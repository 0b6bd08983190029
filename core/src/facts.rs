//! What is known about a node's hardware, from wherever it is known. Reading it out of objects, nothing else.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeStatus};
use kube::ResourceExt;

use crate::api::RealtimeNode;
use crate::api::realtime_node::RealtimeNodeStatus;
use crate::cluster::Cluster;
use crate::cpu_set::CpuSet;
use crate::openshift::MachineConfigPool;
use crate::pools::{self, Membership};
use crate::quantity::Quantity;
use crate::selector::matches_or_nothing;

/// The kubelet's label for the architecture.
const LABEL_ARCHITECTURE: &str = "kubernetes.io/arch";
/// Prefix of Node Feature Discovery's labels about the CPU model: `vendor_id`, `family`, `id`.
const LABEL_CPU_MODEL: &str = "feature.node.kubernetes.io/cpu-model.";

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
    /// Major and minor version of the kubelet.
    pub kubelet_version: Option<(u32, u32)>,
    /// The operating system by the kubelet's word, as `Red Hat Enterprise Linux CoreOS 9.6…`.
    pub os_image: Option<String>,
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

impl Architecture {
    /// From the names of Go (`kubernetes.io/arch`) and of `uname -m`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "amd64" | "x86_64" => Some(Self::Amd64),
            "arm64" | "aarch64" => Some(Self::Arm64),
            "ppc64le" => Some(Self::Ppc64le),
            "s390x" => Some(Self::S390x),
            _ => None,
        }
    }

    /// The name in `kubernetes.io/arch`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
            Self::Ppc64le => "ppc64le",
            Self::S390x => "s390x",
        }
    }
}

impl CpuVendor {
    /// From `vendor_id` of /proc/cpuinfo or Node Feature Discovery's short form of it.
    pub fn from_name(name: &str) -> Self {
        match name {
            "GenuineIntel" | "Intel" => Self::Intel,
            "AuthenticAMD" | "AMD" => Self::Amd,
            "ARM" | "Arm" | "0x41" => Self::Arm,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The vendor as a person writes it.
    pub fn name(&self) -> &str {
        match self {
            Self::Intel => "Intel",
            Self::Amd => "AMD",
            Self::Arm => "ARM",
            Self::Other(name) => name,
        }
    }
}

impl NodeFacts {
    /// Whether the Machine Config Operator's agent switches kernels on this node's operating system; `None` when that
    /// isn't known. It does on RHEL CoreOS and CentOS Stream CoreOS; on Fedora CoreOS, and on hosts that aren't CoreOS,
    /// it reports success and leaves the stock kernel.
    pub fn kernel_type_works(&self) -> Option<bool> {
        let image = self.os_image.as_deref()?;
        let plain = ["Red Hat Enterprise Linux", "CentOS", "Fedora"];
        if image.contains("CoreOS") {
            Some(!image.contains("Fedora"))
        } else if plain.iter().any(|name| image.starts_with(name)) {
            Some(false)
        } else {
            None
        }
    }

    /// What the node's own objects say. Precedence, for each fact alone:
    ///
    /// 1. the RealtimeNode's status: the daemon has read the hardware;
    /// 2. the node's labels: the kubelet's and Node Feature Discovery's;
    /// 3. the node's status: the kubelet's.
    ///
    /// A value that can't be read counts as not known.
    pub fn of(node: &Node, realtime_node: Option<&RealtimeNode>) -> Self {
        let mut facts = Self {
            name: node.name_any(),
            labels: node.labels().clone(),
            ..Self::default()
        };
        if let Some(status) = &node.status {
            facts.read_kubelet(status);
        }
        facts.read_labels();
        if let Some(status) = realtime_node.and_then(|node| node.status.as_ref()) {
            facts.read_daemon(status);
        }
        if facts.architecture == Some(Architecture::Arm64) {
            facts.cpu_vendor = Some(CpuVendor::Arm);
        }
        facts
    }

    fn read_kubelet(&mut self, status: &NodeStatus) {
        let capacity = |resource: &str| -> Option<i64> {
            let quantity = status.capacity.as_ref()?.get(resource)?;
            let value = quantity.0.parse::<Quantity>().ok()?.value();
            Some(value).filter(|value| *value > 0)
        };
        self.cpu_capacity = capacity("cpu").and_then(|cpus| u32::try_from(cpus).ok());
        self.memory_kib = capacity("memory").and_then(|bytes| u64::try_from(bytes / 1024).ok());
        if let Some(info) = &status.node_info {
            self.architecture = Architecture::from_name(&info.architecture);
            self.kernel_release =
                Some(info.kernel_version.clone()).filter(|release| !release.is_empty());
            self.kubelet_version = version(&info.kubelet_version);
            self.os_image = Some(info.os_image.clone()).filter(|image| !image.is_empty());
        }
    }

    fn read_labels(&mut self) {
        let cpu_model = |key: &str| self.labels.get(&format!("{LABEL_CPU_MODEL}{key}"));
        let number = |key: &str| cpu_model(key)?.parse::<u32>().ok();
        let architecture = self.labels.get(LABEL_ARCHITECTURE);
        let architecture = architecture.and_then(|name| Architecture::from_name(name));
        let vendor = cpu_model("vendor_id").map(|name| CpuVendor::from_name(name));
        let (family, model) = (number("family"), number("id"));
        self.architecture = architecture.or(self.architecture);
        self.cpu_vendor = vendor;
        self.cpu_family = family;
        self.cpu_model = model;
    }

    fn read_daemon(&mut self, status: &RealtimeNodeStatus) {
        if let Some(host) = &status.host {
            let architecture = host.architecture.as_deref();
            let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
            self.architecture = architecture
                .and_then(Architecture::from_name)
                .or(self.architecture);
            if let Some(vendor) = &host.cpu_vendor {
                self.cpu_vendor = Some(CpuVendor::from_name(vendor));
            }
            self.cpu_family = number(host.cpu_family).or(self.cpu_family);
            self.cpu_model = number(host.cpu_model).or(self.cpu_model);
        }
        let Some(topology) = &status.topology else {
            return;
        };
        let present = |list: &String| list.parse::<CpuSet>().ok().filter(|cpus| !cpus.is_empty());
        self.cpus = topology.cpus.as_ref().and_then(present);
        self.siblings = topology.siblings.iter().filter_map(present).collect();
        self.numa_nodes = topology
            .numa_nodes
            .iter()
            .filter_map(|numa| {
                Some(NumaFacts {
                    id: u32::try_from(numa.id).ok()?,
                    cpus: numa.cpus.parse().ok()?,
                    memory_kib: u64::try_from(numa.memory_kib).ok()?,
                })
            })
            .collect();
        self.numa_nodes.sort_by_key(|numa| numa.id);
        let memory = self
            .numa_nodes
            .iter()
            .fold(0_u64, |sum, numa| sum.saturating_add(numa.memory_kib));
        if memory > 0 {
            self.memory_kib = Some(memory);
        }
    }
}

/// Major and minor of `v1.33.4+a1b2c3d`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix('v')?.split(['.', '+', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What is known about the nodes of a pool that the cluster has.
pub fn pool_facts(pool_name: &str, cluster: &Cluster) -> Vec<NodeFacts> {
    facts_among(pool_name, &cluster.pools, cluster)
}

/// As [`pool_facts`], among these pools instead of the cluster's: a pool that isn't there yet can be among them.
pub fn facts_among(
    pool_name: &str,
    among: &[MachineConfigPool],
    cluster: &Cluster,
) -> Vec<NodeFacts> {
    let realtime_nodes: BTreeMap<&str, &RealtimeNode> = cluster
        .realtime_nodes
        .iter()
        .filter_map(|node| Some((node.metadata.name.as_deref()?, node)))
        .collect();
    let selector = among
        .iter()
        .find(|pool| pool.metadata.name.as_deref() == Some(pool_name))
        .and_then(|pool| pool.spec.node_selector.as_ref());
    let belongs = |node: &Node| match pools::membership(node.labels(), among) {
        Membership::One(pool) => pool.metadata.name.as_deref() == Some(pool_name),
        Membership::None | Membership::Conflict(_) => false,
    };
    cluster
        .nodes
        .iter()
        // Whom the pool doesn't select can't belong to it: few of thousands are asked about all pools.
        .filter(|node| matches_or_nothing(selector, node.labels()) && belongs(node))
        .map(|node| {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            NodeFacts::of(node, realtime_nodes.get(name).copied())
        })
        .collect()
}

#[cfg(test)]
#[path = "facts/tests.rs"]
mod tests;
