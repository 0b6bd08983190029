//! `RealtimeProfile`: what a pool shall be. Types and schema only; `validate` says what of it is possible.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a pool of nodes shall be: its kernel, its CPUs, its memory and who may ask for real-time scheduling.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "realtime.openshift.io",
    version = "v1alpha1",
    kind = "RealtimeProfile",
    plural = "realtimeprofiles",
    shortname = "rtp",
    category = "realtime",
    status = "RealtimeProfileStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "RealtimeProfile says what a pool of nodes shall be; the operator makes it so and tells how far it is.",
    printcolumn(name = "Pool", type_ = "string", json_path = ".status.machineConfigPool", description = "The MachineConfigPool that the profile shapes"),
    printcolumn(name = "Kernel", type_ = "string", json_path = ".status.kernel", description = "The kernel that the profile asks for"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.nodes.ready", description = "Nodes that are what the profile says"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.total", description = "Nodes of the pool"),
    printcolumn(name = "RT-Nodes", type_ = "integer", json_path = ".status.nodes.realtimeKernel", description = "Nodes that run a real-time kernel by their own word"),
    printcolumn(name = "Max-Latency", type_ = "string", json_path = ".status.nodes.maxLatency", description = "The worst latency of the nodes' last checks"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.summary", description = "The reason of the most important condition"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 50")
        .message("the name is part of other objects' names: at most 50 characters"),
    validation = Rule::new("!self.metadata.name.contains('.')")
        .message("the name becomes a pool's and a node role's name: lower-case letters, digits and '-'")
)]
#[serde(rename_all = "camelCase")]
pub struct RealtimeProfileSpec {
    /// The MachineConfigPool that the profile shapes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolSpec>,
    /// The kernel and its command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<KernelSpec>,
    /// Which CPUs do what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuSpec>,
    /// Huge pages and the kernel's page size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemorySpec>,
    /// NUMA alignment of containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numa: Option<NumaSpec>,
    /// Where interrupts may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupts: Option<InterruptsSpec>,
    /// Network devices' queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkSpec>,
    /// The kubelet's configuration beyond what the other sections set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet: Option<KubeletSpec>,
    /// The TuneD profile beyond what the other sections set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<TunedSpec>,
    /// Real-time scheduling for pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_budget: Option<PodBudgetSpec>,
    /// The latency that a node must prove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencySpec>,
    /// How the change reaches the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutSpec>,
}

/// The MachineConfigPool that a profile shapes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.create) || self.create || (!has(self.nodeSelector) && !has(self.maxUnavailable))")
        .message("nodeSelector and maxUnavailable belong to a pool that the operator creates: set them on the existing pool, or let create be true")
)]
pub struct PoolSpec {
    /// Name of the MachineConfigPool; defaults to the profile's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: Option<String>,
    /// Make and own the pool when it does not exist (default true). An existing pool is used and never deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<bool>,
    /// Which nodes belong to the pool; only for a pool that the operator creates. Default: the role label of the pool's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// How many nodes may be down at once, a number or a percentage; only for a pool that the operator creates. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::int_or_string_schema")]
    pub max_unavailable: Option<IntOrString>,
}

/// The kernel and its command line.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KernelSpec {
    /// Run the real-time kernel (kernel-rt). Absent or false: the stock kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realtime: Option<bool>,
    /// Who switches the kernel. Auto: the Machine Config Operator where its API can, else the node daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<KernelProvider>,
    /// What the node daemon installs; unused when the Machine Config Operator switches the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackagesSpec>,
    /// Further kernel arguments, added after the computed ones. One argument an entry, without blanks outside quotes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), inner(length(min = 1, max = 1024)))]
    pub additional_arguments: Vec<String>,
}

/// Who switches the kernel. Auto (default): the Machine Config Operator where its API can, else the node daemon.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelProvider {
    /// The Machine Config Operator where its served API can, else the node daemon.
    #[default]
    Auto,
    /// The Machine Config Operator.
    MachineConfigOperator,
    /// The node daemon, through rpm-ostree or dnf.
    NodeDaemon,
}

/// What the node daemon installs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PackagesSpec {
    /// Package names that replace the list chosen from the host's release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 256),
            regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._+~:-]*$")
        )
    )]
    pub install: Vec<String>,
    /// Where the packages come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<PackageSource>,
    /// Packages of the base system to replace, as microcode_ctl in the first RHCOS-RT procedure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub replace: Vec<PackageUrl>,
}

/// Where packages come from: exactly one of its fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.repositories), has(self.urls), has(self.directory), has(self.image)].filter(x, x).size() == 1")
        .message("exactly one of repositories, urls, directory and image")
)]
pub struct PackageSource {
    /// Ids of rpm repositories enabled on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 16),
        inner(
            length(min = 1, max = 128),
            regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._:-]*$")
        )
    )]
    pub repositories: Option<Vec<String>>,
    /// Packages by address, each with its checksum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    pub urls: Option<Vec<PackageUrl>>,
    /// An absolute path of a directory on the host that holds RPM files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1024), regex(pattern = r"^/[^\s]*$"))]
    pub directory: Option<String>,
    /// A container image that carries RPM files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<PackageImage>,
}

/// One package by address.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PackageUrl {
    /// Address of the RPM file, http or https.
    #[schemars(length(max = 2048), regex(pattern = r"^https?://[^\s]+\.rpm$"))]
    pub url: String,
    /// SHA-256 of the file, 64 lower-case hex digits.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
}

/// A container image that carries RPM files.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PackageImage {
    /// The image, by digest.
    #[schemars(length(max = 1024), regex(pattern = r"^[^\s@]+@sha256:[0-9a-f]{64}$"))]
    pub reference: String,
    /// Where in the image the RPM files lie. Default `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^/[^\s]*$"))]
    pub path: Option<String>,
}

/// Which CPUs do what. CPU lists are the kernel's form: `0-3,8`; ids 0 to 4095.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.isolated) || has(self.reserved)")
        .message("isolated needs reserved: the kubelet, the system and interrupts must run somewhere")
)]
pub struct CpuSpec {
    /// Housekeeping CPUs: kubelet, system, interrupts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 4096),
        regex(pattern = r"^\d+(-\d+)?(,\d+(-\d+)?)*$")
    )]
    pub reserved: Option<String>,
    /// CPUs for real-time workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 4096),
        regex(pattern = r"^\d+(-\d+)?(,\d+(-\d+)?)*$")
    )]
    pub isolated: Option<String>,
    /// CPUs taken offline after boot; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = r"^(\d+(-\d+)?(,\d+(-\d+)?)*)?$"))]
    pub offlined: Option<String>,
    /// CPUs shared by containers that ask for mixed CPUs; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = r"^(\d+(-\d+)?(,\d+(-\d+)?)*)?$"))]
    pub shared: Option<String>,
    /// How far the scheduler and managed interrupts are kept off the isolated CPUs. Default ManagedIrq.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Simultaneous multithreading. Default Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smt: Option<Smt>,
    /// Power against latency. Default LowLatency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power: Option<Power>,
    /// Fixed CPU frequencies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency: Option<Frequency>,
}

/// How far the scheduler and managed interrupts are kept off the isolated CPUs: the form of `isolcpus`, or none at
/// all. Default ManagedIrq.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// No `isolcpus`: the CPU Manager alone keeps workloads apart.
    None,
    /// `isolcpus=managed_irq,…`: managed interrupts stay away, the scheduler still balances.
    #[default]
    ManagedIrq,
    /// `isolcpus=domain,managed_irq,…`: no load balancing at all on the isolated CPUs.
    Domain,
}

/// Simultaneous multithreading. Default Keep. Write "Off" in quotes: kubectl reads a bare Off as false.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Smt {
    /// As the firmware has it.
    #[default]
    Keep,
    /// `nosmt`: one thread a core.
    Off,
}

/// Power against latency. Default LowLatency.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Power {
    /// The kernel's defaults for idle states and frequency.
    Balanced,
    /// The performance governor; idle states kept shallow by the PM QoS request of TuneD.
    #[default]
    LowLatency,
    /// Polling idle loop, no C-states: the least latency and the most power.
    UltraLowLatency,
    /// Each pod chooses by annotation (`cpu-c-states.crio.io`, `cpu-freq-governor.crio.io`).
    PerPod,
}

/// Fixed CPU frequencies in kHz.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Frequency {
    /// Maximum frequency of the reserved CPUs, kHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100_000, max = 10_000_000))]
    pub reserved: Option<i64>,
    /// Maximum frequency of the isolated CPUs, kHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 100_000, max = 10_000_000))]
    pub isolated: Option<i64>,
}

/// Huge pages and the kernel's page size.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MemorySpec {
    /// Huge pages reserved at boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hugepages: Option<HugepagesSpec>,
    /// The kernel's own page size: 4k, or 64k (aarch64 without the real-time kernel). Default 4k.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_page_size: Option<KernelPageSize>,
}

/// The kernel's own page size: 4k, or 64k (aarch64 without the real-time kernel). Default 4k.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KernelPageSize {
    /// 4 KiB.
    #[default]
    #[serde(rename = "4k")]
    Kib4,
    /// 64 KiB: aarch64 only, and not with the real-time kernel.
    #[serde(rename = "64k")]
    Kib64,
}

/// Huge pages.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HugepagesSpec {
    /// The size that is used when an application names none: 2M or 1G on x86; 64k, 2M, 32M, 512M, 1G or 16G on ARM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub default_size: Option<String>,
    /// How many of which size, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub pages: Vec<HugepagesCount>,
}

/// A number of huge pages of one size.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HugepagesCount {
    /// Size of a page, as in `defaultSize`.
    #[schemars(length(max = 8))]
    pub size: String,
    /// Number of pages.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub count: i64,
    /// NUMA node on which they are reserved; spread over all nodes when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1023))]
    pub node: Option<i64>,
}

/// NUMA alignment of containers.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NumaSpec {
    /// The kubelet's topology manager policy. Default BestEffort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology_policy: Option<TopologyPolicy>,
}

/// The kubelet's topology manager policy. Default BestEffort.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopologyPolicy {
    /// `none`.
    None,
    /// `best-effort`.
    #[default]
    BestEffort,
    /// `restricted`.
    Restricted,
    /// `single-numa-node`.
    SingleNumaNode,
}

/// Where interrupts may run.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct InterruptsSpec {
    /// True (default): device interrupts are balanced over all CPUs, and a pod may ban them from its own by annotation.
    /// False: interrupts are kept off the isolated CPUs globally.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_on_isolated: Option<bool>,
}

/// Network devices' queues.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NetworkSpec {
    /// As many queues as reserved CPUs, so that a device's interrupts fit on them. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_queues_to_reserved: Option<bool>,
    /// To which devices this applies; all physical devices when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub devices: Vec<NetworkDevice>,
}

/// A set of network devices: those that match every field that is set.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.interfaceName) || has(self.vendorID)")
        .message("name the device by interfaceName or by vendorID"),
    validation = Rule::new("!has(self.deviceID) || has(self.vendorID)")
        .message("deviceID needs vendorID")
)]
pub struct NetworkDevice {
    /// Interface name: exact, or with the shell wildcards `*` and `?`; a leading `!` excludes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^!?[A-Za-z0-9._:*?-]+$"))]
    pub interface_name: Option<String>,
    /// PCI vendor id, `0x` and four hex digits.
    #[serde(default, rename = "vendorID", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^0x[0-9a-fA-F]{4}$"))]
    pub vendor_id: Option<String>,
    /// PCI device id, `0x` and four hex digits.
    #[serde(default, rename = "deviceID", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^0x[0-9a-fA-F]{4}$"))]
    pub device_id: Option<String>,
}

/// The kubelet's configuration.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KubeletSpec {
    /// Resources kept for system daemons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_reserved: Option<Reservation>,
    /// Resources kept for the kubelet and the container runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kube_reserved: Option<Reservation>,
    /// Further KubeletConfiguration fields; each is checked by name and type.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "super::free_object_schema")]
    pub overrides: Map<String, Value>,
}

/// Resources kept for the host, as Kubernetes quantities.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Reservation {
    /// CPU, for example `1000m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub cpu: Option<String>,
    /// Memory, for example `500Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub memory: Option<String>,
    /// Ephemeral storage, for example `1Gi`.
    #[serde(
        default,
        rename = "ephemeral-storage",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(max = 32))]
    pub ephemeral_storage: Option<String>,
    /// Process ids, for example `1000`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub pid: Option<String>,
}

/// The TuneD profile.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TunedSpec {
    /// TuneD profiles to include. Default `openshift-node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 8),
        inner(
            length(min = 1, max = 128),
            regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
        )
    )]
    pub include: Option<Vec<String>>,
    /// Kernel parameters set by sysctl.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctl: BTreeMap<String, String>,
    /// Further TuneD sections: section, then option and value. `bootloader` is refused: the operator alone sets arguments.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sections: BTreeMap<String, BTreeMap<String, String>>,
}

/// Real-time scheduling for pods.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.maxPerContainerMicroseconds) || !has(self.capacityMicroseconds) || self.maxPerContainerMicroseconds <= self.capacityMicroseconds")
        .message("maxPerContainerMicroseconds can't exceed capacityMicroseconds")
)]
pub struct PodBudgetSpec {
    /// Give annotated pods their budget or policy. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Microseconds of each second, for all pods of a node together; the rest stays with the host. Default 800000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 950_000))]
    pub capacity_microseconds: Option<i64>,
    /// Microseconds of each second that one container may ask for. Default: the capacity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 950_000))]
    pub max_per_container_microseconds: Option<i64>,
    /// Namespaces whose pods may ask; every namespace when absent or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// The latency that a node must prove.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LatencySpec {
    /// A node is ready only when its last check stayed under this many microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_microseconds: Option<i64>,
    /// The check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<LatencyCheckTemplate>,
}

/// The check behind a latency gate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LatencyCheckTemplate {
    /// The tool. Default Cyclictest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<super::latency_check::LatencyTool>,
    /// How long it measures, as `10m`, `1h` or `30s`. Default 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"),
        length(min = 2, max = 24)
    )]
    pub duration: Option<String>,
}

/// How the change reaches the nodes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSpec {
    /// Convert this many nodes first, and stop when they fail the gate. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub canaries: Option<i64>,
    /// Render and plan, change nothing. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<bool>,
}

/// What is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RealtimeProfileStatus {
    /// The generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Valid, Available, Progressing, Degraded, Upgradeable, LatencyVerified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::conditions_schema")]
    pub conditions: Vec<Condition>,
    /// The reason of the most important condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The kernel that the profile asks for: `realtime`, `default` or `64k-pages`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The pool that the profile shapes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_config_pool: Option<String>,
    /// The pool's rendered configuration that holds what was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered_configuration: Option<String>,
    /// Hash over everything that was rendered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// The objects that the profile owns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<OwnedObject>,
    /// The pool's nodes, counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<NodeCounts>,
}

/// An object that the profile owns.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OwnedObject {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Hash of what was rendered.
    pub hash: String,
}

/// The pool's nodes, counted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeCounts {
    /// Nodes of the pool.
    pub total: i64,
    /// Nodes that are what the profile says, and say so themselves.
    pub ready: i64,
    /// Nodes on their way to another configuration.
    pub updating: i64,
    /// Nodes that failed.
    pub degraded: i64,
    /// Nodes that run a real-time kernel by their own word.
    pub realtime_kernel: i64,
    /// Nodes whose last latency check stayed under the limit.
    pub within_latency: i64,
    /// The worst latency of the nodes' last checks, with its unit, as `37µs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_latency: Option<String>,
}
