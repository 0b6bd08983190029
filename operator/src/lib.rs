//! The operator: from RealtimeProfiles to the objects that OpenShift acts on.
//!
//! `discovery`, `leadership`, `server`, `metrics` and `caches` (with `dereference`) are there; the controller,
//! `apply` and `update_status` stand on them.

pub mod caches;
pub mod discovery;
pub mod leadership;
pub mod metrics;
pub mod server;
