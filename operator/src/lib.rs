//! The operator: from RealtimeProfiles to the objects that OpenShift acts on.
//!
//! `discovery`, `leadership`, `server` and `metrics` (the process's own business) were written first, by the lead;
//! the reconciliation stands on them.

pub mod discovery;
pub mod leadership;
pub mod metrics;
pub mod server;
