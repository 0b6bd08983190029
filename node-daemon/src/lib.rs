//! The node daemon's parts, so that tests can reach them. `main.rs` wires them.

pub mod host;
pub mod sources;
pub mod system;
