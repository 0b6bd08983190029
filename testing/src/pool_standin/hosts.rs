//! The machines behind the nodes, where there are any: what a node's agent does to its operating system. Only the
//! interface; without machines the agent plays a reboot in the Node object alone.

use std::fmt::Debug;

use futures::future::BoxFuture;
use realtime_core::openshift::MachineConfig;

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The machine has the configuration, was rebooted, and its kubelet has told the cluster.
    Done,
    /// No machine stands behind this node.
    NoMachine,
}

/// Machines by the names of their nodes.
pub trait Hosts: Debug + Send + Sync {
    /// Brings a machine from one configuration to another and reboots it. The error is the reason by which the node is
    /// Degraded then.
    fn update<'a>(
        &'a self,
        node: &'a str,
        from: Option<&'a MachineConfig>,
        to: &'a MachineConfig,
    ) -> BoxFuture<'a, Result<Outcome, String>>;
}
