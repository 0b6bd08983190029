//! What only tests and the sandbox use: the launchers of a control plane and of a real node, the
//! stand-ins, the sandbox.
//!
//! Nothing that a cluster runs may depend on this crate.

pub mod actor;
pub mod control_plane;
pub mod grubby_standin;
pub mod kubelet_standin;
pub mod openshift_crds;
pub mod pool_standin;
pub mod programs;
pub mod real_node;
pub mod rpm_ostree_standin;
pub mod sandbox;
pub mod simulated_host;
pub mod skip;
pub mod stop;
pub mod vm;

pub use skip::skip;
