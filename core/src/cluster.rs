//! What the cluster holds that can change an answer: the input of every decision besides the profile itself.

use k8s_openapi::api::core::v1::Node;

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

impl Served {
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
