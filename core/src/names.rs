//! Every name that crosses a boundary: labels, annotations, object names, field managers. Nothing else.

/// The API group of our kinds.
pub const GROUP: &str = "realtime.openshift.io";
/// The served version of our kinds.
pub const VERSION: &str = "v1alpha1";

/// The field manager of every object that the operator applies.
pub const FIELD_MANAGER: &str = "realtime-operator";
/// The field manager of the pause alone, so that releasing it never touches what the render owns.
pub const PAUSE_FIELD_MANAGER: &str = "realtime-operator-pause";
/// The field manager of `status` and of finalizers.
pub const STATUS_FIELD_MANAGER: &str = "realtime-operator-status";

/// On every object that we make: the profile that it belongs to. Pruning looks for it.
pub const LABEL_PROFILE: &str = "realtime.openshift.io/profile";
/// On every object that we make: the hash of what we rendered (16 hex digits).
pub const ANNOTATION_CONTENT_HASH: &str = "realtime.openshift.io/content-hash";
/// On a pool that we paused: the profile for which we did. An admin's pause has no such annotation.
pub const ANNOTATION_PAUSED_FOR: &str = "realtime.openshift.io/paused-for";
/// On a pool that we created (and only then may delete): the profile that created it.
pub const ANNOTATION_CREATED_BY: &str = "realtime.openshift.io/created-by";
/// On a pool to which nodes go back because their profile is deleted: that profile. It is there to make the Machine
/// Config Operator look at the pool, and goes when the nodes have come.
pub const ANNOTATION_NODES_FROM: &str = "realtime.openshift.io/nodes-coming-from";
/// On a RealtimeNode, with the value [`TURN_GRANTED`]: its node may be disturbed now. The operator alone writes it.
pub const LABEL_TURN: &str = "realtime.openshift.io/turn";
/// The value of [`LABEL_TURN`].
pub const TURN_GRANTED: &str = "granted";
/// On a RealtimeNode that asked for a turn: the lead of the operator's replica that looked at it first. Its only use is
/// that writing it gives the object another resourceVersion, by which grants of a former leader fail.
pub const ANNOTATION_LEAD: &str = "realtime.openshift.io/turn-lead";
/// The field manager of [`LABEL_TURN`].
pub const TURN_FIELD_MANAGER: &str = "realtime-operator-turn";
/// On a RealtimeNode, by a person: any new value allows another attempt after a switch that failed.
pub const ANNOTATION_RETRY: &str = "realtime.openshift.io/retry";
/// On a Node that the daemon cordoned (and only then may uncordon): when, RFC 3339. An admin's cordon has none.
pub const ANNOTATION_CORDONED_AT: &str = "realtime.openshift.io/cordoned-at";
/// The field manager of everything that a node's daemon writes.
pub const DAEMON_FIELD_MANAGER: &str = "realtime-node-daemon";
/// The finalizer on a `RealtimeProfile`.
pub const FINALIZER: &str = "realtime.openshift.io/cleanup";

/// The label of a MachineConfig that says for which pool's selector it is meant.
pub const LABEL_MACHINE_CONFIG_ROLE: &str = "machineconfiguration.openshift.io/role";
/// Prefix of the Machine Config Operator's node annotations.
pub const MCO_ANNOTATION_PREFIX: &str = "machineconfiguration.openshift.io/";
/// Prefix of the pool label that the MCO puts on its own pools, and we on custom ones: KubeletConfigs select by it.
pub const LABEL_POOL_PREFIX: &str = "pools.operator.machineconfiguration.openshift.io/";
/// Prefix of a node's role labels.
pub const LABEL_NODE_ROLE_PREFIX: &str = "node-role.kubernetes.io/";
/// The namespace in which the Node Tuning Operator reads Tuned objects.
pub const TUNED_NAMESPACE: &str = "openshift-cluster-node-tuning-operator";
/// The namespace of the operator as shipped.
pub const OPERATOR_NAMESPACE: &str = "realtime-operator";

/// The extended resource by which the scheduler counts microseconds of real-time budget.
pub const RESOURCE_RUNTIME_US: &str = "realtime.openshift.io/runtime-us";
/// In the operator's namespace: the ConfigMap with the namespaces' selectors of all profiles, which pods' admission reads.
pub const CONFIG_MAP_NAMESPACES: &str = "realtime-pod-namespaces";
/// Where, on the host, the daemon listens for what the OCI hook says.
pub const HOOK_SOCKET: &str = "/run/realtime-node-daemon/hook.sock";
/// On the host while pods' groups may have budgets of the daemon's: a daemon that finds it, and nobody who gives any more,
/// takes them back. Goes with a reboot, as they do.
pub const BUDGETS_GIVEN: &str = "/run/realtime-node-daemon/budgets-given";
/// Where the daemon puts its own program on the host, for the OCI hook to run.
pub const HOOK_PROGRAM: &str = "/var/lib/realtime-node-daemon/bin/realtime-node-daemon";

/// `50-realtime-<profile>`.
pub fn machine_config_name(profile: &str) -> String {
    format!("50-realtime-{profile}")
}

/// `realtime-<profile>`: KubeletConfig, Tuned and RuntimeClass.
pub fn object_name(profile: &str) -> String {
    format!("realtime-{profile}")
}

/// The pool's own label, by which a KubeletConfig selects it.
pub fn pool_label(pool: &str) -> String {
    format!("{LABEL_POOL_PREFIX}{pool}")
}

/// The node label of a role.
pub fn node_role_label(role: &str) -> String {
    format!("{LABEL_NODE_ROLE_PREFIX}{role}")
}
