//! `LatencyCheck`: prove it. Types and schema only.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A latency measurement on one or more nodes.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "realtime.openshift.io",
    version = "v1alpha1",
    kind = "LatencyCheck",
    plural = "latencychecks",
    shortname = "rtlat",
    category = "realtime",
    namespaced,
    status = "LatencyCheckStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "LatencyCheck measures the scheduling latency of nodes and keeps the result.",
    printcolumn(name = "Tool", type_ = "string", json_path = ".spec.tool"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Max",
        type_ = "integer",
        json_path = ".status.maxMicroseconds",
        description = "Worst latency of all nodes, microseconds"
    ),
    printcolumn(
        name = "Limit",
        type_ = "integer",
        json_path = ".spec.maxLatencyMicroseconds",
        description = "Strict upper limit, microseconds"
    ),
    printcolumn(name = "Verdict", type_ = "string", json_path = ".status.verdict"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.nodeName) != has(self.nodeSelector)")
        .message("exactly one of nodeName and nodeSelector")
)]
pub struct LatencyCheckSpec {
    /// Labels of the nodes to measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// The one node to measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub node_name: Option<String>,
    /// The tool. Default Cyclictest.
    #[serde(default)]
    pub tool: LatencyTool,
    /// How long it measures, as `10m`, `1h` or `30s`. Default 10m.
    #[serde(default = "default_duration")]
    #[schemars(
        regex(pattern = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"),
        length(min = 2, max = 24)
    )]
    pub duration: String,
    /// Number of CPUs to measure on; default all isolated ones but one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub cpus: Option<i64>,
    /// SCHED_FIFO priority of the measuring threads, 1 to 99. Default 95.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub priority: Option<i64>,
    /// Interval of the measuring threads, microseconds. Default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 1_000_000))]
    pub interval_microseconds: Option<i64>,
    /// Width of the histogram, microseconds. Default 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub histogram_microseconds: Option<i64>,
    /// Load beside the measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadSpec>,
    /// The check passes when every latency is strictly below this, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_latency_microseconds: Option<i64>,
    /// The image with the tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// The check is deleted so many seconds after its end; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,
}

fn default_duration() -> String {
    "10m".to_owned()
}

/// The tool that measures. Default Cyclictest.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LatencyTool {
    /// rt-tests' cyclictest: wake-up latency of timers.
    #[default]
    Cyclictest,
    /// rt-tests' oslat: interruptions of a busy loop.
    Oslat,
    /// The kernel's rtla timerlat.
    Rtla,
    /// rt-tests' hwlatdetect: interruptions by firmware.
    Hwlatdetect,
}

/// Load beside the measurement.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LoadSpec {
    /// Number of stress-ng workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4096))]
    pub stress_ng_workers: Option<i64>,
    /// The image with stress-ng.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
}

/// What was measured.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LatencyCheckStatus {
    /// The generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// How far the check is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<LatencyPhase>,
    /// Worst latency of all nodes, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_microseconds: Option<i64>,
    /// Over all nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// For each node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeLatencyResult>,
    /// Conditions of the check.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "super::conditions_schema")]
    pub conditions: Vec<Condition>,
}

/// How far a check is.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatencyPhase {
    /// Not started.
    Pending,
    /// Measuring.
    Running,
    /// Done; the verdict says how well.
    Succeeded,
    /// The measurement itself failed.
    Failed,
}

/// Whether a check passed: every latency strictly below the limit.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Strictly below the limit.
    Pass,
    /// At or above the limit.
    Fail,
    /// No limit was given, or nothing was measured.
    Unknown,
}

/// One node's result.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NodeLatencyResult {
    /// The node.
    pub node: String,
    /// Minimum, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<i64>,
    /// Mean, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg: Option<i64>,
    /// Maximum, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<i64>,
    /// 99th percentile, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<i64>,
    /// 99.9th percentile, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p999: Option<i64>,
    /// 99.99th percentile, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p9999: Option<i64>,
    /// Compact histogram: `<µs>:<count>` pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub histogram: Option<String>,
    /// Samples beyond the histogram.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflows: Option<i64>,
    /// Whether this node passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
}
