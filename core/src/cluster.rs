//! What the cluster holds that can change an answer: the input of every decision besides the profile itself.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

use crate::api::{RealtimeNode, RealtimeProfile};
use crate::openshift::{
    KubeletConfig, MachineConfig, MachineConfigNode, MachineConfigPool, PerformanceProfile,
};

/// How a MachineConfig of this cluster selects the kernel: read from the served schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// `kernelType: realtime` (OpenShift 4.4 to today).
    #[default]
    KernelType,
    /// `realtime: true` (the first draft of the feature).
    Realtime,
    /// Neither: the kernel is the node daemon's.
    None,
}

/// Which foreign APIs the cluster serves.
// Each API is served or not, in any combination: flags, not a state machine.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// How a MachineConfig selects the kernel. `None` also when there are no MachineConfigs.
    pub dialect: Dialect,
    /// MachineConfig, MachineConfigPool and KubeletConfig.
    pub machine_configs: bool,
    /// Tuned, and the namespace in which it is read.
    pub tuned: bool,
    /// PerformanceProfile.
    pub performance_profiles: bool,
    /// MachineConfigNode.
    pub machine_config_nodes: bool,
}

/// The definitions from which [`Served::of`] reads what is served.
pub const FOREIGN_CRDS: [&str; 6] = [
    MACHINE_CONFIGS,
    MACHINE_CONFIG_POOLS,
    KUBELET_CONFIGS,
    MACHINE_CONFIG_NODES,
    PERFORMANCE_PROFILES,
    TUNEDS,
];
const MACHINE_CONFIGS: &str = "machineconfigs.machineconfiguration.openshift.io";
const MACHINE_CONFIG_POOLS: &str = "machineconfigpools.machineconfiguration.openshift.io";
const KUBELET_CONFIGS: &str = "kubeletconfigs.machineconfiguration.openshift.io";
const MACHINE_CONFIG_NODES: &str = "machineconfignodes.machineconfiguration.openshift.io";
const PERFORMANCE_PROFILES: &str = "performanceprofiles.performance.openshift.io";
const TUNEDS: &str = "tuneds.tuned.openshift.io";

impl Dialect {
    /// What a MachineConfig definition's served `v1` offers. A field that the schema lacks would be
    /// pruned without a word, so only the schema can say.
    pub fn of(machine_configs: &CustomResourceDefinition) -> Self {
        let has = |field: &str| {
            machine_configs
                .spec
                .versions
                .iter()
                .filter(|version| version.served && version.name == "v1")
                .filter_map(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref())
                .filter_map(|schema| schema.properties.as_ref()?.get("spec"))
                .filter_map(|spec| spec.properties.as_ref())
                .any(|properties| properties.contains_key(field))
        };
        if has("kernelType") {
            Self::KernelType
        } else if has("realtime") {
            Self::Realtime
        } else {
            Self::None
        }
    }
}

impl Served {
    /// What these definitions serve; others among them don't matter.
    pub fn of(definitions: &[CustomResourceDefinition]) -> Self {
        let find = |name: &str, version: &str| {
            definitions.iter().find(|definition| {
                definition.metadata.name.as_deref() == Some(name)
                    && definition
                        .spec
                        .versions
                        .iter()
                        .any(|candidate| candidate.served && candidate.name == version)
            })
        };
        let machine_configs = find(MACHINE_CONFIGS, "v1").filter(|_| {
            find(MACHINE_CONFIG_POOLS, "v1").is_some() && find(KUBELET_CONFIGS, "v1").is_some()
        });
        Self {
            dialect: machine_configs.map_or(Dialect::None, Dialect::of),
            machine_configs: machine_configs.is_some(),
            tuned: find(TUNEDS, "v1").is_some(),
            performance_profiles: find(PERFORMANCE_PROFILES, "v2").is_some(),
            machine_config_nodes: find(MACHINE_CONFIG_NODES, "v1").is_some(),
        }
    }

    /// A whole OpenShift with this dialect: what offline rendering assumes.
    pub fn openshift(dialect: Dialect) -> Self {
        Self {
            dialect,
            machine_configs: true,
            tuned: true,
            performance_profiles: true,
            machine_config_nodes: true,
        }
    }
}

/// Everything beside the profile that can change the answer. Offline only what was given: an empty
/// list means "nothing known", and no rule may call its absence an error.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Which foreign APIs are served.
    pub served: Served,
    /// All profiles, the one in question included or not.
    pub profiles: Vec<RealtimeProfile>,
    /// All pools.
    pub pools: Vec<MachineConfigPool>,
    /// All MachineConfigs, rendered ones included.
    pub machine_configs: Vec<MachineConfig>,
    /// All KubeletConfigs.
    pub kubelet_configs: Vec<KubeletConfig>,
    /// All PerformanceProfiles.
    pub performance_profiles: Vec<PerformanceProfile>,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All RealtimeNodes.
    pub realtime_nodes: Vec<RealtimeNode>,
    /// All MachineConfigNodes.
    pub machine_config_nodes: Vec<MachineConfigNode>,
    /// Names of pools in image mode (those with a MachineOSConfig).
    pub image_mode_pools: Vec<String>,
}

impl Cluster {
    /// Nothing known but what is served.
    pub fn empty(served: Served) -> Self {
        Self {
            served,
            profiles: Vec::new(),
            pools: Vec::new(),
            machine_configs: Vec::new(),
            kubelet_configs: Vec::new(),
            performance_profiles: Vec::new(),
            nodes: Vec::new(),
            realtime_nodes: Vec::new(),
            machine_config_nodes: Vec::new(),
            image_mode_pools: Vec::new(),
        }
    }
}
