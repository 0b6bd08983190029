//! The operator: from RealtimeProfiles to the objects that OpenShift acts on.
//!
//! The flow is `reconcile`: dereference (in `caches`), `validate`, `render`, `apply`, `update_status`.
//! Beside it, for pods' real-time scheduling: `capacity`, what Nodes advertise, and `namespaces`, who may ask.
//! Around it: `controller` runs the rounds, `queue` says when, `writer` is the only door for writes, `leadership`
//! says who may, `discovery` what is served; `args`, `server` and `metrics` are the process's own business.

pub mod apply;
pub mod args;
pub mod caches;
pub mod capacity;
pub mod controller;
pub mod discovery;
pub mod leadership;
pub mod metrics;
pub mod namespaces;
pub mod queue;
pub mod reconcile;
pub mod render;
pub mod server;
pub mod update_status;
pub mod validate;
pub mod writer;
