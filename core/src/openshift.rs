//! The slices of OpenShift's kinds that are used. Only fields that are read or written; no behaviour.
//!
//! Source: the CRDs of openshift/api and the Node Tuning Operator. An object that we apply has only what
//! we set; an object that we read loses what we don't know, so none of these is ever written back whole.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a MachineConfig asks of the nodes of its pool.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "machineconfiguration.openshift.io",
    version = "v1",
    kind = "MachineConfig",
    plural = "machineconfigs",
    schema = "disabled",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase")]
pub struct MachineConfigSpec {
    /// An Ignition config as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Value>,
    /// Kernel arguments; an entry may hold several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_arguments: Option<Vec<String>>,
    /// `default`, `realtime` or `64k-pages`; empty counts as absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_type: Option<String>,
    /// The first draft's form of `kernelType: realtime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub realtime: Option<bool>,
    /// OS extensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Vec<String>>,
    /// FIPS mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fips: Option<bool>,
    /// The OS image.
    #[serde(
        default,
        rename = "osImageURL",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_image_url: Option<String>,
    /// The image with the extensions' packages.
    #[serde(
        default,
        rename = "baseOSExtensionsContainerImage",
        skip_serializing_if = "Option::is_none"
    )]
    pub base_os_extensions_container_image: Option<String>,
}

/// A pool of nodes with one configuration.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "machineconfiguration.openshift.io",
    version = "v1",
    kind = "MachineConfigPool",
    plural = "machineconfigpools",
    schema = "disabled",
    status = "MachineConfigPoolStatus",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase")]
pub struct MachineConfigPoolSpec {
    /// Which MachineConfigs belong to the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_config_selector: Option<LabelSelector>,
    /// Which nodes belong to the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Render, but roll nothing out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How many nodes may be down at once. Default 1; a percentage rounds down, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// The target: name of a rendered MachineConfig and what it was made of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<PoolConfiguration>,
}

/// A rendered configuration and its sources.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PoolConfiguration {
    /// Name of the rendered MachineConfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The MachineConfigs that were merged, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<ObjectReference>,
}

/// How far a pool is.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MachineConfigPoolStatus {
    /// The generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The last configuration that *all* nodes reached: not the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<PoolConfiguration>,
    /// Nodes of the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_count: Option<i64>,
    /// Nodes at the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_machine_count: Option<i64>,
    /// Nodes at the target and ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_machine_count: Option<i64>,
    /// Nodes that count against maxUnavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable_machine_count: Option<i64>,
    /// Nodes that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded_machine_count: Option<i64>,
    /// Updated, Updating, Degraded, NodeDegraded, RenderDegraded, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<OpenShiftCondition>,
}

/// A condition as the Machine Config Operator writes it: reason and message may be absent.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct OpenShiftCondition {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
}

/// Kubelet configuration of a pool.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "machineconfiguration.openshift.io",
    version = "v1",
    kind = "KubeletConfig",
    plural = "kubeletconfigs",
    schema = "disabled",
    status = "KubeletConfigStatus",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase")]
pub struct KubeletConfigSpec {
    /// Which pools, by their labels. An empty selector selects nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_config_pool_selector: Option<LabelSelector>,
    /// Fields of a KubeletConfiguration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet_config: Option<Value>,
    /// Let a script compute systemReserved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_sizing_reserved: Option<bool>,
    /// The kubelet's verbosity, 0 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<i32>,
}

/// Whether a KubeletConfig was accepted.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KubeletConfigStatus {
    /// The generation that the status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Accepted`; older: `Success`, `Failure`. The newest of a type counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<OpenShiftCondition>,
}

/// TuneD profiles and for which nodes.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "tuned.openshift.io",
    version = "v1",
    kind = "Tuned",
    plural = "tuneds",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase")]
pub struct TunedObjectSpec {
    /// The profiles.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<TunedProfile>,
    /// Which nodes get which profile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recommend: Vec<TunedRecommend>,
}

/// One TuneD profile.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct TunedProfile {
    /// Its name.
    pub name: String,
    /// Its tuned.conf.
    pub data: String,
}

/// Which nodes get a profile.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TunedRecommend {
    /// All nodes of the pools whose machineConfigSelector matches these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_config_labels: Option<BTreeMap<String, String>>,
    /// Nodes by label.
    #[serde(default, rename = "match", skip_serializing_if = "Option::is_none")]
    pub match_: Option<Vec<TunedMatch>>,
    /// 0 is the highest.
    pub priority: i64,
    /// The profile's name.
    pub profile: String,
}

/// Nodes by label.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TunedMatch {
    /// The label.
    pub label: String,
    /// Its value; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of these one has to match as well.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub match_: Vec<TunedMatch>,
}

/// The Node Tuning Operator's profile, only so far as a conflict needs it.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "performance.openshift.io",
    version = "v2",
    kind = "PerformanceProfile",
    plural = "performanceprofiles",
    schema = "disabled",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase")]
pub struct PerformanceProfileSpec {
    /// Nodes by label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// The pool by its labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_config_pool_selector: Option<BTreeMap<String, String>>,
    /// The labels of its MachineConfigs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_config_label: Option<BTreeMap<String, String>>,
    /// `isolated`, `reserved`, `balanceIsolated`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Value>,
    /// `defaultHugepagesSize`, and `pages` of `size`, `count` and `node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hugepages: Option<Value>,
    /// `realTime`, which is true when it isn't set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_hints: Option<Value>,
    /// `enabled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_time_kernel: Option<Value>,
    /// Further kernel arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_kernel_args: Option<Vec<String>>,
}

/// One node's way through an update (OpenShift 4.19 and later).
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "machineconfiguration.openshift.io",
    version = "v1",
    kind = "MachineConfigNode",
    plural = "machineconfignodes",
    schema = "disabled",
    status = "MachineConfigNodeStatus",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase")]
pub struct MachineConfigNodeSpec {
    /// The node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<ObjectReference>,
    /// Its pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<ObjectReference>,
}

/// A node's steps.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MachineConfigNodeStatus {
    /// UpdatePrepared, Cordoned, Drained, AppliedFiles, AppliedOSImage, RebootedNode, Resumed, Updated, NodeDegraded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<OpenShiftCondition>,
}
