//! Real-time scheduling of pods: what a pod asks for, where its groups are, what the kernel allows, and which writes
//! bring it there. Decides only: the daemon reads the tree and writes to it.

pub mod begun;
pub mod capacity;
pub mod few;
pub mod group;
pub mod hook;
pub mod identity;
pub mod micros;
pub mod modes;
pub mod mounts;
pub mod outcome;
pub mod plan;
pub mod pod;
pub mod policy;
pub mod request;
pub mod retry;
pub mod selectors;
pub mod settle;
pub mod usage;
pub mod why;
