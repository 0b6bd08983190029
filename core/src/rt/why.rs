//! Why a pod may not, or may, call `sched_setscheduler`: what it asks for, what its node says that it has, and what stands
//! in its way, each with what helps. Reads nothing from a cluster and writes nothing: the objects come as arguments.

mod asking;
mod container;
mod place;
mod process;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use serde::Serialize;

use super::request::{self, Request};
use crate::api::realtime_node::{BudgetMode, ContainerBudget, NodePodBudgetStatus};
use crate::api::{RealtimeNode, RealtimeProfile};
use crate::conditions::reason;

/// What was read. The pod's node, its profile and the namespace are absent where there are none, or where the reader may
/// not see them.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its namespace.
    pub namespace: Option<&'a Namespace>,
    /// The RealtimeNode of the node that it was placed on.
    pub node: Option<&'a RealtimeNode>,
    /// That RealtimeNode's profile.
    pub profile: Option<&'a RealtimeProfile>,
    /// What the API server refused to show, each with its words: `RealtimeNode anvil: … is forbidden: …`.
    pub hidden: &'a [String],
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// Where it was placed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What the node's kernel allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<BudgetMode>,
    /// What follows from the findings.
    pub verdict: Verdict,
    /// Each container in the pod's order.
    pub containers: Vec<ContainerView>,
    /// What concerns the whole pod first, then container by container.
    pub findings: Vec<Finding>,
}

/// Whether the pod has what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// All that it asks for is in place, and nothing is known that would refuse `sched_setscheduler`.
    Real,
    /// Not yet.
    Waiting,
    /// Nothing wrong was found, and not all could be read.
    Unknown,
    /// Something is wrong.
    Refused,
}

/// One container: what it asks for and what it has.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerView {
    /// Its name.
    pub name: String,
    /// Asked for, microseconds of each second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_us: Option<u32>,
    /// Asked for, as `fifo:50`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<String>,
    /// The node's word of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has: Option<ContainerBudget>,
}

/// How much a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Weight {
    /// It keeps the pod from real-time scheduling.
    Wrong,
    /// It passes by itself.
    Waiting,
    /// It could not be looked at.
    Unknown,
    /// It is worth knowing.
    Note,
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How much it counts.
    pub weight: Weight,
    /// Whom it concerns; absent: the whole pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// One word: a reason of `conditions::reason` where the node has said it, else one of this module.
    pub cause: String,
    /// What was found.
    pub what: String,
    /// What helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    fn new(
        weight: Weight,
        cause: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let remedy = remedy.into();
        Self {
            weight,
            container: None,
            cause: cause.to_owned(),
            what: what.into(),
            remedy: (!remedy.is_empty()).then_some(remedy),
        }
    }
}

/// The pod asks for nothing.
pub const NOT_ASKED: &str = "NotAsked";
/// The scheduler found no node, or has not looked yet.
pub const NOT_SCHEDULED: &str = "NotScheduled";
/// The pod's node belongs to no profile.
pub const NO_REALTIME_NODE: &str = "NoRealtimeNode";
/// The node's daemon has not said anything about it.
pub const NOT_REPORTED: &str = "NotReported";
/// The kernel refuses the call to the process itself.
pub const NOT_PERMITTED: &str = "NotPermitted";
/// What was asked for came after the program's first instruction.
pub const AFTER_START: &str = "AfterStart";
/// A seccomp profile of the cluster's own.
pub const SECCOMP: &str = "SeccompProfile";
/// What the kernel tells of a budget that is used up.
pub const THROTTLING: &str = "Throttling";
/// The API server refused to show something.
pub const HIDDEN: &str = "Hidden";
/// The pod, or a container, has ended.
pub const ENDED: &str = "Ended";

/// Decides.
pub fn why(seen: &Seen<'_>) -> Why {
    let pod = seen.pod;
    let status = seen
        .node
        .and_then(|node| node.status.as_ref()?.pod_budget.as_ref());
    let read = request::read(&asking::of(pod), &asking::rules(seen));
    let requests = read.as_deref().unwrap_or_default();
    let mut findings = Vec::new();
    // 1. What the pod says itself. A refusal is all: the daemon gives it nothing.
    match &read {
        Ok(requests) if requests.is_empty() => findings.push(asking::not_asked(pod)),
        Ok(_) => {}
        Err(refused) => findings.extend(refused.problems.iter().map(|problem| {
            let what = if problem.value.is_empty() {
                format!("{}: {}", problem.field, problem.message)
            } else {
                format!("{} {:?}: {}", problem.field, problem.value, problem.message)
            };
            Finding::new(
                Weight::Wrong,
                reason::INVALID_REQUEST,
                what,
                &*problem.remedy,
            )
        })),
    }
    let asks = !matches!(&read, Ok(requests) if requests.is_empty());
    if asks {
        findings.extend(seen.hidden.iter().map(|text| {
            let what = format!("What could not be read: {text}");
            Finding::new(
                Weight::Unknown,
                HIDDEN,
                what,
                "Ask somebody who may read RealtimeNodes, RealtimeProfiles and namespaces.",
            )
        }));
        // 2. Whether its namespace may ask.
        findings.extend(asking::not_allowed(seen));
        // 3. Where it is, and what is possible there.
        findings.extend(place::findings(seen, status));
    }
    // 4. Each container that asks.
    for request in requests {
        let told = findings
            .iter()
            .map(|finding| finding.cause.clone())
            .collect::<Vec<_>>();
        let entry = entry(pod, status, &request.container);
        findings.extend(container::findings(seen, status, request, entry, &told));
    }
    let any = |weight| findings.iter().any(|finding| finding.weight == weight);
    let verdict = if any(Weight::Wrong) {
        Verdict::Refused
    } else if any(Weight::Unknown) {
        Verdict::Unknown
    } else if any(Weight::Waiting) {
        Verdict::Waiting
    } else {
        Verdict::Real
    };
    let metadata = &pod.metadata;
    Why {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        pod: metadata.name.clone().unwrap_or_default(),
        node: node_name(pod).map(str::to_owned),
        mode: status.and_then(|status| status.mode),
        verdict,
        containers: views(pod, status, requests),
        findings,
    }
}

fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec
        .as_ref()?
        .node_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

/// The node's word of a container.
fn entry<'a>(
    pod: &Pod,
    status: Option<&'a NodePodBudgetStatus>,
    container: &str,
) -> Option<&'a ContainerBudget> {
    status?.containers.iter().find(|entry| {
        pod.metadata.namespace.as_deref() == Some(entry.namespace.as_str())
            && pod.metadata.name.as_deref() == Some(entry.pod.as_str())
            && entry.container == container
    })
}

fn views(
    pod: &Pod,
    status: Option<&NodePodBudgetStatus>,
    requests: &[Request],
) -> Vec<ContainerView> {
    asking::of(pod)
        .containers
        .into_iter()
        .map(|container| {
            let request = requests
                .iter()
                .find(|request| request.container == container.name);
            ContainerView {
                runtime_us: request.and_then(|request| Some(request.runtime?.get())),
                scheduling: request.and_then(|request| Some(request.scheduling?.to_string())),
                has: entry(pod, status, &container.name).cloned(),
                name: container.name,
            }
        })
        .collect()
}

fn profile(seen: &Seen<'_>) -> String {
    match seen.node {
        Some(node) => format!("RealtimeProfile {}", node.spec.profile),
        None => "the RealtimeProfile".to_owned(),
    }
}
