//! Every decision of realtime-operator as a pure function.
//!
//! No client, no file, no process, no environment, no clock: what is needed comes as an argument,
//! what shall happen is returned. `clippy.toml` beside this crate makes that a wall.

pub mod api;
pub mod audit;
pub mod causes;
pub mod cluster;
pub mod conditions;
pub mod cpu_set;
pub mod facts;
pub mod fips;
pub mod host_facts;
pub mod input;
pub mod kernel;
pub mod merge;
pub mod names;
pub mod openshift;
pub mod plan;
pub mod pools;
pub mod problem;
pub mod quantity;
pub mod render;
pub mod rollout;
pub mod rt;
pub mod selector;
pub mod short;
pub mod status;
pub mod turns;
pub mod validate;
pub mod watch_view;
pub mod yaml;
