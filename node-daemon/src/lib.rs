//! The node daemon's parts, so that tests can reach them. `main.rs` wires them.

pub mod affinity;
pub mod agent;
pub mod args;
pub mod budget;
pub mod cgroup;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod drain;
pub mod events;
pub mod host;
pub mod metrics;
pub mod nri;
pub mod observe;
pub mod oci_hook;
pub mod plain_rpm;
pub mod report;
pub mod rpm_ostree;
pub mod sched;
pub mod sources;
pub mod standalone;
pub mod system;
