//! What realtime-scheduling.md says of the kernel's budgets for cgroup v1, each row tried on the real kernel, so that one
//! that behaves differently is noticed; and the layer above the kernel's files on the same kernel.
//!
//! Each test has a group of its own below the mount, which goes away with it. Three facts are not tried, because trying
//! them changes the whole machine: what a sysctl of −1 and back leaves behind, what an isolated cpuset domain does to
//! throttling, and a change of the root group.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at what it doesn't expect"
)]

#[path = "kernel_tables/admission.rs"]
mod admission;
#[path = "kernel_tables/bench.rs"]
mod bench;
#[path = "kernel_tables/layer.rs"]
mod layer;
#[path = "kernel_tables/lifetime.rs"]
mod lifetime;
#[path = "kernel_tables/namespace.rs"]
mod namespace;
#[path = "kernel_tables/running.rs"]
mod running;
#[path = "kernel_tables/task.rs"]
mod task;
#[path = "kernel_tables/tree.rs"]
mod tree;
#[path = "kernel_tables/unified.rs"]
mod unified;
