//! What a pod asks for, by its annotations and its resources: a request for each container, or every reason why not.
//! Knows nothing of groups and of what is free; a pod with one mistake gets nothing at all.

mod read;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::micros::RuntimeMicros;
use crate::problem::Problem;
use crate::selector;
pub use read::{read, said_of};

/// rt-operator's switch.
pub const REALTIME: &str = "realtime";
/// rt-operator's budget, of the first container.
pub const RT_RUNTIME_US: &str = "rt_runtime_us";
/// A budget for all containers; with `.<container>` appended, for one. Also the name of the resource.
pub const RUNTIME_US: &str = "realtime.openshift.io/runtime-us";
/// Policy and priority for all containers; with `.<container>` appended, for one.
pub const SCHEDULER: &str = "realtime.openshift.io/scheduler";
/// `"true"`: a container shall rather not start than start without what it asks for.
pub const REQUIRED: &str = "realtime.openshift.io/required";
/// After a policy: threads that a real-time thread makes begin as SCHED_OTHER (SCHED_FLAG_RESET_ON_FORK).
pub const RESET_ON_FORK: &str = "reset-on-fork";
/// After a policy: `rttime-us=<microseconds>`, what a real-time thread may run without ever blocking before the kernel
/// sends SIGXCPU (RLIMIT_RTTIME).
pub const RTTIME: &str = "rttime-us";

/// As many annotations that name no container are kept: more than are told.
const MAX_STRANGERS: usize = 64;
/// As many bytes of a value are kept. The longest that means anything has 40.
const MAX_VALUE: usize = 128;

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

/// What a problem says when the pod's namespace is the problem.
pub const NAMESPACE_REFUSED: &str = "the pod's namespace may not ask for real-time scheduling";

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
    pub scheduling: Option<Scheduling>,
}

/// What is said of a container, as far as it can be read: it may break the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Microseconds of each second.
    pub runtime: Option<RuntimeMicros>,
    /// Its policy.
    pub scheduling: Option<Scheduling>,
}

/// What the daemon sets on a container's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// Policy and priority.
    pub policy: Policy,
    /// Their children begin as SCHED_OTHER.
    pub reset_on_fork: bool,
    /// RLIMIT_RTTIME, microseconds: 1,000 to 60,000,000. Absent: none is set.
    pub rttime_us: Option<u32>,
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

impl fmt::Display for Scheduling {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.policy)?;
        if self.reset_on_fork {
            write!(out, ",{RESET_ON_FORK}")?;
        }
        match self.rttime_us {
            Some(micros) => write!(out, ",{RTTIME}={micros}"),
            None => Ok(()),
        }
    }
}

/// Whether annotations alone ask for anything: a runtime's word of a container has no resources.
pub fn asks(annotations: &BTreeMap<String, String>) -> bool {
    match annotations.get(REALTIME).map(String::as_str) {
        Some("false") => false,
        Some(_) => true,
        None => annotations.keys().any(|key| read::is_ours(key)),
    }
}

/// Whether a pod's annotation is one of those that are read here.
pub fn concerns(key: &str) -> bool {
    key == REALTIME || key == REQUIRED || read::is_ours(key)
}

/// Of a pod's annotations what is kept to be read later: those that concern us, but of those that name no container only
/// so many that the pod is refused for them, and of a value no more than its beginning, when it is longer than any that
/// can be meant. A pod may bear 256 KiB of them, and a node has hundreds of pods.
pub fn kept(
    annotations: BTreeMap<String, String>,
    containers: &[Container],
) -> BTreeMap<String, String> {
    let names: BTreeSet<&str> = containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    let mut strangers = 0;
    annotations
        .into_iter()
        .filter(|(key, _)| {
            let name = [RUNTIME_US, SCHEDULER]
                .iter()
                .find_map(|prefix| key.strip_prefix(prefix)?.strip_prefix('.'));
            let stranger = name.is_some_and(|name| !names.contains(name));
            strangers += usize::from(stranger);
            concerns(key) && !(stranger && strangers > MAX_STRANGERS)
        })
        .map(|(key, mut text)| {
            text.truncate(text.floor_char_boundary(MAX_VALUE));
            text.shrink_to_fit();
            (key, text)
        })
        .collect()
}

/// Whether a container shall rather not start than start without.
pub fn required(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(REQUIRED).is_some_and(|word| word == "true")
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
