//! The steps that can be decided, and what can be waited for. Data only.

use std::sync::Arc;

use crate::api::realtime_node::RealtimeNodeSpec;
use crate::turns::Waits;

/// The kinds that are deleted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// KubeletConfig.
    KubeletConfig,
    /// MachineConfig.
    MachineConfig,
    /// Tuned.
    Tuned,
    /// RuntimeClass.
    RuntimeClass,
    /// MachineConfigPool.
    MachineConfigPool,
}

impl Kind {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::KubeletConfig => "KubeletConfig",
            Self::MachineConfig => "MachineConfig",
            Self::Tuned => "Tuned",
            Self::RuntimeClass => "RuntimeClass",
            Self::MachineConfigPool => "MachineConfigPool",
        }
    }
}

/// One step. Steps are done in order; the first that fails ends the round, and the next round starts anew.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Put our finalizer on the profile.
    EnsureFinalizer,
    /// Create the rendered pool, paused, with our annotation, in one write.
    CreatePoolPaused,
    /// In one write: `spec.paused` true and our annotation; only if the pool is still at this resourceVersion.
    Pause {
        /// The pool.
        pool: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// Read the pool past every cache, and go on only if it is still at this resourceVersion: it is paused there.
    ConfirmPaused {
        /// The pool.
        pool: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// Read a MachineConfig past every cache, and go on only if it is still at this resourceVersion. What is watched
    /// comes in no common order: a KubeletConfig may be seen accepted before what was generated from it is seen.
    ConfirmUnchanged {
        /// The MachineConfig.
        machine_config: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// Server-side apply of the rendered pool: whole when ours, our label on an existing one. Never `spec.paused`.
    ApplyPool,
    /// Server-side apply.
    ApplyKubeletConfig,
    /// Server-side apply.
    ApplyMachineConfig,
    /// Server-side apply.
    ApplyTuned,
    /// Server-side apply.
    ApplyRuntimeClass,
    /// Nothing to do until something else has happened.
    Wait(Wait),
    /// In one write: `spec.paused` false and our annotation gone; only if the pool is still at this resourceVersion.
    Unpause {
        /// The pool.
        pool: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// Create or update the RealtimeNode of this node.
    ApplyRealtimeNode {
        /// The node.
        node: String,
        /// What it shall be.
        spec: Arc<RealtimeNodeSpec>,
    },
    /// The node is not ours any more.
    DeleteRealtimeNode {
        /// The node.
        node: String,
    },
    /// Renew the Lease now, and go on only if this replica still leads: whoever takes over later reads after this.
    RenewLease,
    /// Read the turns that are given past every cache, and go on only if they are these.
    ConfirmTurns {
        /// The nodes with the label, sorted.
        nodes: Vec<String>,
    },
    /// Put the turn's label on a RealtimeNode; only if it is still at this resourceVersion.
    GrantTurn {
        /// The node.
        node: String,
        /// The resourceVersion of its RealtimeNode.
        resource_version: String,
    },
    /// Take that label off; only if the RealtimeNode is still at this resourceVersion.
    TakeBackTurn {
        /// The node.
        node: String,
        /// The resourceVersion of its RealtimeNode.
        resource_version: String,
    },
    /// Delete an object of ours.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Let a pool of ours select no node, so that its nodes go back while its rendered configurations still exist:
    /// a node whose current configuration is gone degrades.
    EmptyPool {
        /// The pool.
        pool: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// Annotate the pool to which nodes go back: the Machine Config Operator looks at a pool when the pool or one
    /// of its nodes changes, not when another pool lets nodes go.
    Nudge {
        /// The pool to which the nodes go.
        pool: String,
        /// The pool that they leave.
        leaving: String,
    },
    /// Take that annotation off again.
    ClearNudge {
        /// The pool.
        pool: String,
    },
    /// Take our labels off a pool that stays.
    ReleasePool {
        /// The pool.
        pool: String,
    },
    /// Everything is gone.
    ReleaseFinalizer,
}

impl Step {
    /// Whether it writes to the API server.
    pub fn writes(&self) -> bool {
        !matches!(
            self,
            Self::Wait(_)
                | Self::ConfirmPaused { .. }
                | Self::ConfirmUnchanged { .. }
                | Self::RenewLease
                | Self::ConfirmTurns { .. }
        )
    }
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The profile has errors: nothing is changed.
    Invalid,
    /// `rollout.pause` is true: nothing is changed.
    RolloutPaused,
    /// The pool does not exist, and is not ours to make.
    PoolMissing(String),
    /// Our KubeletConfig was not looked at yet, or was refused (then with the words).
    KubeletConfig(Option<String>),
    /// The target does not hold what was written: what is missing, in words.
    Target(Vec<String>),
    /// An object is being deleted.
    Gone(Kind, String),
    /// The admin's pause: changes are written and rendered, and wait there.
    AdminUnpause(String),
    /// Nodes are on their way out of a pool that will be deleted.
    NodesLeaving {
        /// The pool.
        pool: String,
        /// The nodes that still have one of its configurations.
        nodes: Vec<String>,
    },
    /// Nodes whose daemon brings the stock kernel back.
    NodesGoingBack {
        /// The nodes.
        nodes: Vec<String>,
        /// What can't be done before they are back.
        before: Before,
    },
    /// Nodes that asked to be disturbed, and why each waits.
    Turns(Vec<Waits>),
    /// Nodes whose daemons have said nothing of the hardware yet.
    FirstReports {
        /// The nodes.
        nodes: Vec<String>,
        /// The wait ends after so many seconds in any case.
        seconds: u64,
    },
}

/// What waits for nodes that go back to the stock kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// The deletion of the profile.
    Deletion,
    /// The MachineConfig that asks for the kernel.
    MachineConfig,
    /// Nothing: they left, and the profile goes on.
    Nothing,
}
