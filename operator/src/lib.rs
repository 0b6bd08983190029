//! The operator: from RealtimeProfiles to the objects that OpenShift acts on.
//!
//! `discovery`, `leadership`, `server` and `metrics` (the process's own business) were written first, by the lead;
//! the reconciliation stands on them. The lead is writing `caches` (reflectors of every watched kind and the
//! `Cluster` read from them, `dereference`) right now; helper F: write controller, reconcile, apply, update_status on top.

pub mod discovery;
pub mod leadership;
pub mod metrics;
pub mod server;
