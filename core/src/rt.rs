//! Real-time scheduling of pods: what a pod asks for, where its groups are, what the kernel allows, and which writes
//! bring it there. Decides only: the daemon reads the tree and writes to it.

pub mod group;
pub mod identity;
pub mod micros;
pub mod modes;
pub mod plan;
pub mod pod;
pub mod request;
