//! What only tests and the sandbox use: the control plane launcher, the stand-ins, the sandbox.
//!
//! Nothing that a cluster runs may depend on this crate.

pub mod control_plane;
pub mod openshift_crds;
pub mod pool_standin;
pub mod programs;
pub mod sandbox;
pub mod skip;

pub use skip::skip;
