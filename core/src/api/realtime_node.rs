//! `RealtimeNode`: the meeting place of operator (`spec`) and daemon (`status`). Types and schema only.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::realtime_profile::{Isolation, KernelProvider, PackagesSpec, Power, Smt};

/// What one node shall be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "realtime.openshift.io",
    version = "v1alpha1",
    kind = "RealtimeNode",
    plural = "realtimenodes",
    shortname = "rtn",
    category = "realtime",
    status = "RealtimeNodeStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "RealtimeNode has the name of a node: its spec, written by the operator, says what that node shall be; its status, written by the node's daemon, what it is.",
    printcolumn(name = "Profile", type_ = "string", json_path = ".spec.profile"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Realtime",
        type_ = "boolean",
        json_path = ".status.kernel.realtime"
    ),
    printcolumn(
        name = "Kernel",
        type_ = "string",
        json_path = ".status.kernel.release"
    ),
    printcolumn(name = "Owner", type_ = "string", json_path = ".status.kernel.owner"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='KernelReady')].reason"
    ),
    printcolumn(
        name = "Budget",
        type_ = "string",
        json_path = ".status.podBudget.mode",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct RealtimeNodeSpec {
    /// The RealtimeProfile of the node's pool.
    #[schemars(length(min = 1, max = 63))]
    pub profile: String,
    /// The kernel that the node shall run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<NodeKernelSpec>,
    /// Which CPUs do what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<NodeCpuSpec>,
    /// Real-time scheduling for pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_budget: Option<NodePodBudgetSpec>,
    /// The latency that the node must prove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<NodeLatencySpec>,
    /// What is set while the node runs, whoever sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuning: Option<NodeTuningSpec>,
    /// Huge pages that must be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hugepages: Vec<NodeHugepagesSpec>,
}

/// What is set while a node runs.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeTuningSpec {
    /// The TuneD profile that must be active. Absent where no Node Tuning Operator brings one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned_profile: Option<String>,
    /// Kernel parameters and their values, as in the TuneD profile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// The CPU frequency governor. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governor: Option<String>,
}

/// Huge pages of one size that must be there.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeHugepagesSpec {
    /// Size of a page, as `1G`.
    pub size: String,
    /// Number of pages, at least.
    pub count: i64,
    /// The NUMA node. Absent: spread over all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<i64>,
}

/// The kernel that a node shall run.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeKernelSpec {
    /// The real-time kernel, or the stock kernel.
    pub realtime: bool,
    /// Who switches it: decided by the operator, never Auto.
    pub provider: KernelProvider,
    /// What the daemon installs, when it is the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<PackagesSpec>,
    /// Arguments that must stand in the running kernel's command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// Who brings the arguments onto the command line: the Machine Config Operator wherever there is one, else the
    /// node daemon. Absent: whoever switches the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_provider: Option<KernelProvider>,
}

/// A node's CPUs, as kernel lists.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeCpuSpec {
    /// Housekeeping CPUs.
    pub reserved: String,
    /// Workload CPUs.
    pub isolated: String,
    /// CPUs taken offline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offlined: Option<String>,
    /// CPUs shared by mixed-CPU containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<String>,
    /// The form of isolation.
    pub isolation: Isolation,
    /// Simultaneous multithreading.
    pub smt: Smt,
    /// Power against latency.
    pub power: Power,
    /// Whether device interrupts may run on isolated CPUs.
    pub balance_interrupts_on_isolated: bool,
}

/// Real-time scheduling for the pods of a node.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodePodBudgetSpec {
    /// Microseconds of each second, for all pods together.
    pub capacity_microseconds: i64,
    /// Microseconds of each second that one container may ask for.
    pub max_per_container_microseconds: i64,
    /// Namespaces whose pods may ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
}

/// The latency that a node must prove.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeLatencySpec {
    /// Strict upper limit, microseconds.
    pub max_microseconds: i64,
}

/// What the node is, by its own word.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RealtimeNodeStatus {
    /// The generation of the spec that this status answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How far the node is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<NodePhase>,
    /// Whether the node must be disturbed (drained and rebooted), and whether it has begun. Absent: it needn't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<NodeTurn>,
    /// The running kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<NodeKernelStatus>,
    /// The operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<NodeHostStatus>,
    /// CPUs, NUMA nodes and memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<NodeTopology>,
    /// Real-time budgets of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_budget: Option<NodePodBudgetStatus>,
    /// The last latency check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<NodeLatencyStatus>,
    /// Where the node differs from its spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<Drift>,
    /// KernelReady, BudgetReady, Drifted, LatencyVerified, Degraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::conditions_schema")]
    pub conditions: Vec<Condition>,
}

/// A node's part in the agreement about who may be disturbed when.
///
/// The daemon writes `Wanted`; the operator answers with the label `realtime.openshift.io/turn: granted` on the
/// RealtimeNode; the daemon writes `Taken` (only at the very resourceVersion at which it saw the label) before it
/// disturbs anything, and removes the field when all is over; then the operator takes the label back.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeTurn {
    /// The node must be disturbed, and waits to be allowed to.
    Wanted,
    /// It was allowed to, and is at it.
    Taken,
}

/// How far a node is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodePhase {
    /// Not looked at yet.
    Pending,
    /// The host is being read.
    Observing,
    /// The kernel is being staged.
    Staging,
    /// Workloads are being evicted.
    Draining,
    /// On its way through a reboot.
    Rebooting,
    /// Booted; being proved.
    Verifying,
    /// What the spec says.
    Ready,
    /// Failed; a condition says why and what helps.
    Degraded,
}

/// The running kernel.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeKernelStatus {
    /// `uname -r`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Whether `/sys/kernel/realtime` says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realtime: Option<bool>,
    /// `/proc/sys/kernel/random/boot_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// The kernel that the next boot brings, when another one is staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<String>,
    /// Who switches the kernel of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<KernelProvider>,
    /// Wanted arguments that `/proc/cmdline` lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_arguments: Vec<String>,
    /// When this last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition: Option<Time>,
}

/// The operating system.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeHostStatus {
    /// `ID` of os-release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// `VERSION_ID` of os-release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Whether the host boots ostree deployments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ostree: Option<bool>,
    /// `uname -m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// `vendor_id` of /proc/cpuinfo, as `GenuineIntel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_vendor: Option<String>,
    /// `cpu family` of /proc/cpuinfo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_family: Option<i64>,
    /// `model` of /proc/cpuinfo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_model: Option<i64>,
    /// The container runtime and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_runtime: Option<String>,
    /// 1 or 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup_version: Option<i64>,
}

/// CPUs, NUMA nodes and memory.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeTopology {
    /// All present CPUs, offline ones included, as a kernel list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// CPUs that are online, as a kernel list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub online: Option<String>,
    /// NUMA nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub numa_nodes: Vec<NumaNodeStatus>,
    /// Whether simultaneous multithreading is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smt: Option<bool>,
    /// Threads that share a core, each group as a kernel list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<String>,
}

/// A NUMA node.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NumaNodeStatus {
    /// Its number.
    pub id: i64,
    /// Its CPUs as a kernel list.
    pub cpus: String,
    /// Its memory in KiB.
    #[serde(rename = "memoryKiB")]
    pub memory_kib: i64,
    /// Its huge pages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hugepages: Vec<HugepagesStatus>,
}

/// Huge pages of one size.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HugepagesStatus {
    /// Size of a page, as `1G`.
    pub size: String,
    /// Number of pages.
    pub count: i64,
    /// Number of pages not in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<i64>,
}

/// Real-time budgets of pods.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodePodBudgetStatus {
    /// What the kernel and the cgroup hierarchy allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<BudgetMode>,
    /// What the mode was concluded from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// What helps where pods get nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Microseconds of each second for all pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_microseconds: Option<i64>,
    /// Microseconds of each second given out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocated_microseconds: Option<i64>,
    /// Containers that asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerBudget>,
}

/// What the kernel and the cgroup hierarchy allow.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum BudgetMode {
    /// cgroup v1 with a budget for each group.
    V1Budget,
    /// cgroup v2: policy without a budget for each group.
    V2Policy,
    /// The kernel refuses real-time threads in pods' groups.
    Blocked,
    /// Switched off.
    Off,
}

/// A container that asked for real-time scheduling.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerBudget {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// Asked for, microseconds of each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_microseconds: Option<i64>,
    /// In the kernel, microseconds of each second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_microseconds: Option<i64>,
    /// `fifo`, `rr` or `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// 1 to 99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// How far it is.
    pub state: ContainerBudgetState,
    /// Why, in one word, when it is not applied, or when something is wrong all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason in words, with the remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether the budget was there before the container's first instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned_before_start: Option<bool>,
}

/// How far a container's request is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerBudgetState {
    /// In the kernel.
    Applied,
    /// Refused; the reason says why.
    Refused,
    /// On its way.
    Pending,
}

/// The last latency check of a node.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeLatencyStatus {
    /// The tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<super::latency_check::LatencyTool>,
    /// The maximum, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_microseconds: Option<i64>,
    /// 99th percentile, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<i64>,
    /// 99.99th percentile, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p9999: Option<i64>,
    /// Pass is strictly below the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<super::latency_check::Verdict>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Time>,
    /// Namespace and name of the LatencyCheck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

/// A place where the node differs from its spec.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// Where.
    pub area: DriftArea,
    /// What the spec wants.
    pub wanted: String,
    /// What was found.
    pub found: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// Where a node can differ from its spec.
///
/// In the order in which drift is listed: what explains other entries comes first.
#[derive(
    JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord,
)]
#[serde(rename_all = "camelCase")]
pub enum DriftArea {
    /// The running kernel.
    Kernel,
    /// The kernel's command line.
    KernelArgument,
    /// CPUs without a timer tick.
    NohzFull,
    /// Simultaneous multithreading.
    Smt,
    /// CPUs that are online, or offline.
    OfflineCpu,
    /// A cpuset, or a process's CPUs.
    CpuSet,
    /// Huge pages.
    Hugepages,
    /// The active TuneD profile.
    Tuned,
    /// A kernel parameter.
    Sysctl,
    /// A CPU frequency governor.
    Governor,
    /// An idle state of a CPU.
    CState,
    /// The kernel's clock.
    Clocksource,
    /// An interrupt's CPUs.
    IrqAffinity,
}
