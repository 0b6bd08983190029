//! Every condition type and reason that the product writes, and how conditions are compared and carried on.
//! No sentence and no decision: those are `status`'s.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::realtime_profile::RealtimeProfileStatus;

/// The profile can be rendered; otherwise all its problems are in the message.
pub const VALID: &str = "Valid";
/// Every node is what the profile says, by the node's own word.
pub const AVAILABLE: &str = "Available";
/// Something is under way.
pub const PROGRESSING: &str = "Progressing";
/// Something is wrong that does not heal by waiting.
pub const DEGRADED: &str = "Degraded";
/// The cluster may be upgraded as far as this profile is concerned.
pub const UPGRADEABLE: &str = "Upgradeable";
/// The nodes' last latency checks stayed under the limit.
pub const LATENCY_VERIFIED: &str = "LatencyVerified";

/// On a RealtimeNode: the wanted kernel runs with the wanted arguments.
pub const KERNEL_READY: &str = "KernelReady";
/// On a RealtimeNode: pods that ask for real-time scheduling get it.
pub const BUDGET_READY: &str = "BudgetReady";
/// On a RealtimeNode: the host differs from the spec in something that the daemon watches.
pub const DRIFTED: &str = "Drifted";

/// The order in which a profile's conditions are listed.
pub const PROFILE_CONDITIONS: [&str; 6] = [
    VALID,
    AVAILABLE,
    PROGRESSING,
    DEGRADED,
    UPGRADEABLE,
    LATENCY_VERIFIED,
];

/// Reasons, one a state that a user can meet. Reasons are API: never renamed within a version.
pub mod reason {
    /// Every node is at the target and says so itself.
    pub const UPDATED: &str = "Updated";
    /// No rule is broken.
    pub const AS_EXPECTED: &str = "AsExpected";
    /// The profile has errors of its own.
    pub const INVALID: &str = "Invalid";
    /// An older profile shapes the pool already.
    pub const POOL_TAKEN: &str = "PoolTaken";
    /// The pool itself is in the way: its nodes differ, or it takes no MachineConfig of ours.
    pub const POOL_UNSUITABLE: &str = "PoolUnsuitable";
    /// The object can't be read as a profile at all.
    pub const UNREADABLE: &str = "Unreadable";
    /// The pool has no nodes yet.
    pub const NO_NODES: &str = "NoNodes";
    /// Objects are being written.
    pub const WRITING_OBJECTS: &str = "WritingObjects";
    /// The pool does not exist.
    pub const POOL_MISSING: &str = "PoolMissing";
    /// The KubeletConfig was not looked at yet.
    pub const WAITING_FOR_KUBELET_CONFIG: &str = "WaitingForKubeletConfig";
    /// The pool's target does not hold what was written yet.
    pub const WAITING_FOR_RENDER: &str = "WaitingForRender";
    /// Nodes are on their way to the target.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// Nodes run the right configuration but have not proved their kernel yet.
    pub const VERIFYING: &str = "Verifying";
    /// Every node is there by its own word, and the pool doesn't say so yet.
    pub const WAITING_FOR_POOL: &str = "WaitingForPool";
    /// The profile is being deleted.
    pub const DELETING: &str = "Deleting";
    /// Nodes are on their way back to their former pool.
    pub const NODES_LEAVING: &str = "NodesLeaving";
    /// `rollout.pause` is true: nothing is written.
    pub const ROLLOUT_PAUSED: &str = "RolloutPaused";
    /// Somebody else paused the pool.
    pub const PAUSED_BY_ADMIN: &str = "PausedByAdmin";
    /// A cordoned node, nothing else, holds the pool up.
    pub const CORDONED_NODE: &str = "CordonedNode";
    /// A KubeletConfig of the pool was refused: the pool renders nothing.
    pub const KUBELET_CONFIG_REFUSED: &str = "KubeletConfigRefused";
    /// Another KubeletConfig selects the pool and replaces ours as a whole.
    pub const FOREIGN_KUBELET_CONFIG: &str = "ForeignKubeletConfig";
    /// The pool can't be rendered.
    pub const RENDER_DEGRADED: &str = "RenderDegraded";
    /// A node failed, and holds up the others.
    pub const NODE_DEGRADED: &str = "NodeDegraded";
    /// A node is in two custom pools and so in none.
    pub const NODE_IN_TWO_POOLS: &str = "NodeInTwoPools";
    /// A PerformanceProfile shapes the same pool.
    pub const PERFORMANCE_PROFILE: &str = "PerformanceProfileOnPool";
    /// Another MachineConfig asks for the real-time kernel, and it can't be turned off.
    pub const REALTIME_INHERITED: &str = "RealtimeInherited";
    /// Another MachineConfig of the pool replaces or contradicts something of ours.
    pub const OVERRIDDEN: &str = "Overridden";
    /// The pool says Updated, and a stock kernel runs.
    pub const STOCK_KERNEL_RUNS: &str = "StockKernelRuns";
    /// No MachineConfig of this cluster can select a kernel: it is the node daemon's.
    pub const KERNEL_BY_NODE_DAEMON: &str = "KernelByNodeDaemon";
    /// The first write that reboots waits for what the nodes' daemons say of the hardware.
    pub const WAITING_FOR_FIRST_REPORTS: &str = "WaitingForFirstReports";
    /// Nodes whose kernel their daemon switched go back to the stock kernel first.
    pub const NODES_GOING_BACK: &str = "NodesGoingBack";
    /// The API server refused a write.
    pub const WRITE_FAILED: &str = "WriteFailed";
    /// A rollout is under way: an upgrade now would mean further reboots.
    pub const ROLLOUT_IN_PROGRESS: &str = "RolloutInProgress";
    /// No latency gate is set.
    pub const NO_LATENCY_GATE: &str = "NoLatencyGate";
    /// Not every node has a check yet.
    pub const LATENCY_UNKNOWN: &str = "NotMeasured";
    /// A node's last check was not under the limit.
    pub const LATENCY_EXCEEDED: &str = "LimitExceeded";
    /// Every node's last check was under the limit.
    pub const WITHIN_LIMIT: &str = "WithinLimit";

    // Of a node's kernel (`crate::kernel`).

    /// The node must be disturbed, and it is not its turn yet.
    pub const WAITING_FOR_TURN: &str = "WaitingForTurn";
    /// The package source is being looked at.
    pub const PREPARING: &str = "Preparing";
    /// The kernel and its arguments are being put into place for the next boot.
    pub const STAGING: &str = "Staging";
    /// Pods are being evicted.
    pub const DRAINING: &str = "Draining";
    /// Pods did not go in time.
    pub const DRAIN_BLOCKED: &str = "DrainBlocked";
    /// The node is on its way through a reboot.
    pub const REBOOTING: &str = "Rebooting";
    /// All is in place, and nobody may reboot the node but its administrator.
    pub const REBOOT_NEEDED: &str = "RebootNeeded";
    /// Another rpm-ostree transaction runs.
    pub const TRANSACTION_RUNNING: &str = "TransactionRunning";
    /// Another deployment than ours boots next.
    pub const FOREIGN_DEPLOYMENT: &str = "ForeignDeployment";
    /// Somebody else cordoned the node.
    pub const CORDONED_BY_OTHERS: &str = "CordonedByOthers";
    /// No room for another kernel in /boot.
    pub const NO_SPACE_IN_BOOT: &str = "NoSpaceInBoot";
    /// No room for the packages in /sysroot (or /).
    pub const NO_SPACE_IN_SYSROOT: &str = "NoSpaceInSysroot";
    /// The source does not have the packages.
    pub const PACKAGES_NOT_FOUND: &str = "PackagesNotFound";
    /// The packages do not fit together, or not to the base.
    pub const DEPSOLVE_FAILED: &str = "DepsolveFailed";
    /// The package source can't be reached or is not enabled.
    pub const SOURCE_UNUSABLE: &str = "SourceUnusable";
    /// A downloaded file is not the one that the profile names.
    pub const CHECKSUM_WRONG: &str = "ChecksumWrong";
    /// A package is damaged, and stayed so when the cache was thrown away.
    pub const PACKAGE_DAMAGED: &str = "PackageDamaged";
    /// The host forbids layered packages.
    pub const LAYERING_LOCKED: &str = "LayeringLocked";
    /// A command failed again and again.
    pub const COMMAND_FAILED: &str = "CommandFailed";
    /// Another program kept the host's package system for too long.
    pub const HOST_BUSY: &str = "HostBusy";
    /// What was staged could not be made bootable at the shutdown.
    pub const FINALIZE_FAILED: &str = "FinalizeFailed";
    /// The old kernel came up although the new one was to.
    pub const BOOTED_OLD: &str = "BootedOld";
    /// What was staged was gone after the boot.
    pub const DEPLOYMENT_LOST: &str = "DeploymentLost";
    /// A package override is recorded and has no effect.
    pub const OVERRIDE_INACTIVE: &str = "OverrideInactive";
    /// The command went well by its own word, and its result is another.
    pub const RESULT_DIFFERS: &str = "ResultDiffers";
    /// The new kernel did not prove itself, and the old one was brought back.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// The real-time kernel runs where the stock kernel is wanted.
    pub const REALTIME_KERNEL_RUNS: &str = "RealtimeKernelRuns";
    /// Wanted kernel arguments are not in effect.
    pub const ARGUMENTS_MISSING: &str = "ArgumentsMissing";
    /// This host's kernel can't be switched by the daemon.
    pub const UNKNOWN_HOST: &str = "UnknownHost";
    /// The real-time kernel is of another version than the base's own kernel.
    pub const VERSIONS_DIFFER: &str = "VersionsDiffer";
    /// What we had brought about was undone by somebody.
    pub const UNDONE: &str = "Undone";
    /// The host differs from the spec in what `status.drift` lists.
    pub const DRIFT_FOUND: &str = "DriftFound";
    /// The host can't be looked at, again and again.
    pub const HOST_UNREADABLE: &str = "HostUnreadable";
    /// The Machine Config Operator is still at work on the node.
    pub const WAITING_FOR_MACHINE_CONFIG: &str = "WaitingForMachineConfig";

    // Of pods' real-time scheduling (`crate::rt`).

    /// The kernel keeps each container to its budget.
    pub const BUDGETS_ENFORCED: &str = "BudgetsEnforced";
    /// Policy and priority are set; budgets are counted, and the kernel doesn't know of them.
    pub const POLICY_ONLY: &str = "PolicyOnly";
    /// The kernel refuses real-time threads in pods' groups.
    pub const KERNEL_BLOCKS: &str = "KernelBlocks";
    /// Nobody asked for it, or it is switched off by a setting.
    pub const SWITCHED_OFF: &str = "SwitchedOff";
    /// A container asks, and its process hasn't begun.
    pub const WAITING_FOR_CONTAINER: &str = "WaitingForContainer";
    /// The pod's annotations or resources ask for something that can't be.
    pub const INVALID_REQUEST: &str = "InvalidRequest";
    /// The pod's namespace may not ask.
    pub const NAMESPACE_NOT_ALLOWED: &str = "NamespaceNotAllowed";
    /// Less is free on the node than a container asks for.
    pub const NO_ROOM: &str = "NoRoom";
    /// The container's cgroup isn't one that can have a budget.
    pub const GROUP_UNSUITABLE: &str = "GroupUnsuitable";
    /// The kernel refused a budget that should have fitted.
    pub const BUDGET_REFUSED: &str = "BudgetRefused";
    /// The kernel refused policy or priority to a thread.
    pub const POLICY_REFUSED: &str = "PolicyRefused";
    /// A container's own groups are too many to set the policy in all of them.
    pub const POLICY_INCOMPLETE: &str = "PolicyIncomplete";
    /// The kernel refused a resource limit that belongs to a policy.
    pub const LIMIT_REFUSED: &str = "LimitRefused";
    /// Less is wanted than before, and real-time threads keep the old budget.
    pub const BUDGET_KEPT: &str = "BudgetKept";
    /// Event on a pod: somebody else wrote to a container's budget, and it was put right.
    pub const BUDGET_OVERWRITTEN: &str = "BudgetOverwritten";
    /// Real-time threads use more than the container's budget, which the kernel doesn't enforce on this node.
    pub const OVERRUN: &str = "Overrun";
    /// Real-time threads use all of the container's budget, and the kernel stops them until the next second.
    pub const THROTTLED: &str = "Throttled";
    /// An exec probe's process runs beside real-time threads as SCHED_OTHER, and may never get the CPU.
    pub const EXEC_PROBE: &str = "ExecProbe";
    /// Event on a pod: what it asked for is in place.
    pub const REALTIME_APPLIED: &str = "RealtimeApplied";
    /// Event on a pod: what it asked for can't be had.
    pub const REALTIME_REFUSED: &str = "RealtimeRefused";
}

/// Longest message that a condition may have by the API conventions.
const MESSAGE_LIMIT: usize = 32_768;

/// A condition without its time: what is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Its type.
    pub type_: &'static str,
    /// True, False or, as `None`, Unknown.
    pub status: Option<bool>,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, and what to do, in words.
    pub message: String,
}

impl Decided {
    /// A condition.
    pub fn new(
        type_: &'static str,
        status: Option<bool>,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_,
            status,
            reason,
            message: message.into(),
        }
    }

    /// With its times: the transition's is the previous one's as long as the status stays.
    pub fn timed(self, previous: &[Condition], generation: Option<i64>, now: &Time) -> Condition {
        let status = match self.status {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let since = previous
            .iter()
            .find(|before| before.type_ == self.type_ && before.status == status)
            .map_or_else(|| now.clone(), |before| before.last_transition_time.clone());
        Condition {
            type_: self.type_.to_owned(),
            status: status.to_owned(),
            reason: self.reason.to_owned(),
            message: bounded(self.message),
            observed_generation: generation,
            last_transition_time: since,
        }
    }
}

fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_LIMIT {
        let mut end = MESSAGE_LIMIT - '…'.len_utf8();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message.push('…');
    }
    message
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether two statuses say the same, times aside. Only a difference is worth a write.
pub fn same_status(left: &RealtimeProfileStatus, right: &RealtimeProfileStatus) -> bool {
    without_times(left) == without_times(right)
}

fn without_times(status: &RealtimeProfileStatus) -> RealtimeProfileStatus {
    let mut status = status.clone();
    let epoch = Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
    for condition in &mut status.conditions {
        condition.last_transition_time = epoch.clone();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap())
    }

    #[test]
    fn a_transition_time_moves_only_with_the_status() {
        let first = Decided::new(AVAILABLE, Some(false), reason::ROLLING_OUT, "one").timed(
            &[],
            Some(1),
            &at(10),
        );
        let same = Decided::new(AVAILABLE, Some(false), reason::VERIFYING, "two").timed(
            std::slice::from_ref(&first),
            Some(1),
            &at(20),
        );
        assert_eq!(same.last_transition_time, at(10));
        let other = Decided::new(AVAILABLE, Some(true), reason::UPDATED, "three").timed(
            &[same],
            Some(1),
            &at(30),
        );
        assert_eq!(other.last_transition_time, at(30));
    }

    #[test]
    fn statuses_are_compared_without_their_times() {
        let status = |seconds, message: &str| RealtimeProfileStatus {
            conditions: vec![
                Decided::new(AVAILABLE, Some(true), reason::UPDATED, message).timed(
                    &[],
                    None,
                    &at(seconds),
                ),
            ],
            ..Default::default()
        };
        assert!(same_status(&status(1, "a"), &status(2, "a")));
        assert!(!same_status(&status(1, "a"), &status(1, "b")));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let condition = Decided::new(
            VALID,
            Some(false),
            reason::INVALID,
            "ä".repeat(MESSAGE_LIMIT),
        )
        .timed(&[], None, &at(1));
        assert!(condition.message.len() <= MESSAGE_LIMIT);
        assert!(condition.message.ends_with('…'));
    }
}
