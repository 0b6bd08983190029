//! What a pod asks for, by its annotations and its resources: a request for each container, or every reason why not.
//! Knows nothing of groups and of what is free; a pod with one mistake gets nothing at all.

mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::micros::RuntimeMicros;
use crate::problem::Problem;
use crate::selector;
pub use read::read;

/// rt-operator's switch.
pub const REALTIME: &str = "realtime";
/// rt-operator's budget, of the first container.
pub const RT_RUNTIME_US: &str = "rt_runtime_us";
/// A budget for all containers; with `.<container>` appended, for one. Also the name of the resource.
pub const RUNTIME_US: &str = "realtime.openshift.io/runtime-us";
/// Policy and priority for all containers; with `.<container>` appended, for one.
pub const SCHEDULER: &str = "realtime.openshift.io/scheduler";

/// What is read of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Of the spec, in its order.
    pub containers: Vec<Container>,
}

/// A container of the spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// What sort it is.
    pub kind: ContainerKind,
    /// `resources.requests`, else `limits`, of [`RUNTIME_US`]: a Kubernetes quantity.
    pub resource: Option<String>,
}

/// What sort of container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    /// Runs to its end before the others.
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    /// `spec.containers`.
    Regular,
    /// Added later. It can't ask for resources, so the scheduler can't count it: only a key of its own gives it anything.
    Ephemeral,
}

/// What a node and its profile allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Smaller budgets wedge threads (`micros::smallest_budget`).
    pub smallest: RuntimeMicros,
    /// The profile's `maxPerContainerMicroseconds`.
    pub largest: RuntimeMicros,
    /// Whether the pod's namespace may ask at all, see [`namespace_allowed`].
    pub namespace_allowed: bool,
    /// Some CPUs are outside every load-balanced domain (isolcpus=domain, sched_load_balance=0): a throttled group may
    /// never run again there.
    pub isolated_domains: bool,
}

/// SCHED_FIFO and its kin, priorities 1 to 99.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// SCHED_FIFO.
    Fifo(u8),
    /// SCHED_RR.
    RoundRobin(u8),
    /// SCHED_OTHER.
    Other,
}

/// What a container asks for: a budget, a policy, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The container's name.
    pub container: String,
    /// What sort it is.
    pub kind: ContainerKind,
    /// Microseconds of each second.
    pub runtime: Option<RuntimeMicros>,
    /// What the daemon sets on its threads.
    pub policy: Option<Policy>,
}

/// Why a pod gets nothing: all reasons, at most 32.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Refused {
    /// Each with the field, what is wrong and what helps.
    pub problems: Vec<Problem>,
    /// There are more.
    pub more: usize,
}

impl fmt::Display for Policy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fifo(priority) => write!(out, "fifo:{priority}"),
            Self::RoundRobin(priority) => write!(out, "rr:{priority}"),
            Self::Other => out.write_str("other"),
        }
    }
}

/// Whether a namespace's pods may ask: without a selector all, else those whose labels match. Labels that aren't known
/// match nothing but an empty selector.
pub fn namespace_allowed(
    selector: Option<&LabelSelector>,
    labels: Option<&BTreeMap<String, String>>,
) -> bool {
    selector.is_none_or(|selector| {
        selector::is_empty(selector)
            || labels.is_some_and(|labels| selector::matches(selector, labels))
    })
}
