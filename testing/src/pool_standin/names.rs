//! The Machine Config Operator's own names, so far as the stand-in writes them. Only constants.

/// Prefix of its annotations.
pub const PREFIX: &str = "machineconfiguration.openshift.io/";
/// The configuration that a node has.
pub const CURRENT: &str = "machineconfiguration.openshift.io/currentConfig";
/// The configuration that a node shall have.
pub const DESIRED: &str = "machineconfiguration.openshift.io/desiredConfig";
/// What a node's agent does.
pub const STATE: &str = "machineconfiguration.openshift.io/state";
/// Why it failed.
pub const REASON: &str = "machineconfiguration.openshift.io/reason";
/// What a node's agent asks of the drain controller: `drain-<config>` or `uncordon-<config>`.
pub const DESIRED_DRAIN: &str = "machineconfiguration.openshift.io/desiredDrain";
/// What the drain controller did last.
pub const LAST_APPLIED_DRAIN: &str = "machineconfiguration.openshift.io/lastAppliedDrain";
/// The topology of the control plane, on every managed node.
pub const TOPOLOGY: &str = "machineconfiguration.openshift.io/controlPlaneTopology";
/// On a KubeletConfig: the suffix of the MachineConfig that it became.
pub const NAME_SUFFIX: &str = "machineconfiguration.openshift.io/mc-name-suffix";
/// On MachineConfigs that a controller made.
pub const GENERATED_BY: &str = "machineconfiguration.openshift.io/generated-by-controller-version";
/// The taint on a node whose configuration isn't its pool's target.
pub const IN_PROGRESS_TAINT: &str = "UpdateInProgress";

/// What the stand-in counts on a node: how often it has played a reboot.
pub const REBOOTS: &str = "testing.realtime.openshift.io/reboots";
/// On a node: refuse every new configuration with this reason, for as long as it is there.
pub const DEGRADE: &str = "testing.realtime.openshift.io/degrade";
/// On a node or a pool: do nothing for as long as it is there.
pub const HANG: &str = "testing.realtime.openshift.io/hang";
/// On a KubeletConfig: refuse it with this text.
pub const REFUSE: &str = "testing.realtime.openshift.io/refuse";

/// The states of a node's agent.
pub mod state {
    /// Nothing to do.
    pub const DONE: &str = "Done";
    /// An update is under way.
    pub const WORKING: &str = "Working";
    /// An update failed, or the node drifted.
    pub const DEGRADED: &str = "Degraded";
    /// The configuration can't be reached from where the node is.
    pub const UNRECONCILABLE: &str = "Unreconcilable";
}

/// The version by which the stand-in signs what it makes.
pub const VERSION: &str = "pool-stand-in";
