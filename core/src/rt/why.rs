//! Why a pod may not, or may, call `sched_setscheduler`: what it asks for, what its node says that it has, and what stands
//! in its way, each with what helps. Reads nothing from a cluster and writes nothing: the objects come as arguments.

mod container;
mod process;
#[cfg(test)]
mod tests;

use k8s_openapi::api::core::v1::{Container, Namespace, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;

use super::micros::{PERIOD_US, RuntimeMicros, smallest_budget};
use super::request::{self, ContainerKind, Request, Rules};
use crate::api::realtime_node::{BudgetMode, ContainerBudget, NodePodBudgetStatus};
use crate::api::realtime_profile::Isolation;
use crate::api::{RealtimeNode, RealtimeProfile};
use crate::conditions::{self, reason};
use crate::names;

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
    let read = request::read(&of(pod), &rules(seen));
    let requests = read.as_deref().unwrap_or_default();
    let mut findings = Vec::new();
    // 1. What the pod says itself. A refusal is all: the daemon gives it nothing.
    match &read {
        Ok(requests) if requests.is_empty() => findings.push(not_asked(pod)),
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
        findings.extend(not_allowed(seen));
        // 3. Where it is, and what is possible there.
        findings.extend(place(seen, status));
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
    of(pod)
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

/// What the contract reads of a pod.
fn of(pod: &Pod) -> request::Pod {
    let mut containers = Vec::new();
    if let Some(spec) = &pod.spec {
        for container in spec.init_containers.iter().flatten() {
            let kind = match container.restart_policy.as_deref() {
                Some("Always") => ContainerKind::Sidecar,
                _ => ContainerKind::Init,
            };
            containers.push(slim(container, kind));
        }
        containers.extend(
            spec.containers
                .iter()
                .map(|one| slim(one, ContainerKind::Regular)),
        );
        containers.extend(spec.ephemeral_containers.iter().flatten().map(|one| {
            request::Container {
                name: one.name.clone(),
                kind: ContainerKind::Ephemeral,
                resource: None,
            }
        }));
    }
    request::Pod {
        annotations: pod.metadata.annotations.clone().unwrap_or_default(),
        containers,
    }
}

fn slim(container: &Container, kind: ContainerKind) -> request::Container {
    let resource = container.resources.as_ref().and_then(|resources| {
        let of = |map: &Option<
            std::collections::BTreeMap<_, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
        >| { Some(map.as_ref()?.get(names::RESOURCE_RUNTIME_US)?.0.clone()) };
        of(&resources.requests).or_else(|| of(&resources.limits))
    });
    request::Container {
        name: container.name.clone(),
        kind,
        resource,
    }
}

/// What the node allows, as far as it is published. The smallest budget depends on the kernel's ticks, which it doesn't
/// say: the smallest of all is taken, and what the node refuses all the same, it says itself.
fn rules(seen: &Seen<'_>) -> Rules {
    let spec = seen.node.map(|node| &node.spec);
    let largest = spec
        .and_then(|spec| {
            u64::try_from(spec.pod_budget.as_ref()?.max_per_container_microseconds).ok()
        })
        .unwrap_or(PERIOD_US);
    let budgets = seen
        .node
        .and_then(|node| node.status.as_ref()?.pod_budget.as_ref()?.mode)
        == Some(BudgetMode::V1Budget);
    Rules {
        smallest: smallest_budget(Some(1000)),
        largest: RuntimeMicros::new(largest).unwrap_or_else(|_| smallest_budget(Some(1000))),
        // Told on its own, with the labels.
        namespace_allowed: true,
        isolated_domains: budgets
            && spec
                .and_then(|spec| spec.cpu.as_ref())
                .is_some_and(|cpu| cpu.isolation == Isolation::Domain),
    }
}

fn not_asked(pod: &Pod) -> Finding {
    let switch = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(request::REALTIME));
    if switch.is_some_and(|word| word == "false") {
        return Finding::new(
            Weight::Wrong,
            NOT_ASKED,
            "The annotation realtime is \"false\", which switches every other key off.",
            "Set it to \"true\", or take it out.",
        );
    }
    Finding::new(
        Weight::Wrong,
        NOT_ASKED,
        "The pod asks for no real-time scheduling: it has none of the annotations.",
        "Add to the pod (in a Deployment: to spec.template.metadata.annotations) \
         realtime.openshift.io/runtime-us: \"25000\" for a budget, realtime.openshift.io/scheduler: \"fifo:50\" for a \
         policy that is set from outside, or both; and request the resource realtime.openshift.io/runtime-us of the same \
         number, so that it is placed where that much is free.",
    )
}

/// That the namespace may not ask, when that is known.
fn not_allowed(seen: &Seen<'_>) -> Option<Finding> {
    let selector = seen
        .node?
        .spec
        .pod_budget
        .as_ref()?
        .namespace_selector
        .as_ref();
    let namespace = seen.namespace?;
    if request::namespace_allowed(selector, namespace.metadata.labels.as_ref()) {
        return None;
    }
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    Some(Finding::new(
        Weight::Wrong,
        reason::NAMESPACE_NOT_ALLOWED,
        format!(
            "The namespace {name} may not ask for real-time scheduling: its labels don't match the namespaceSelector of \
             {}.",
            profile(seen)
        ),
        selector.map_or_else(String::new, |selector| label_command(name, selector)),
    ))
}

fn label_command(namespace: &str, selector: &LabelSelector) -> String {
    let labels: Vec<String> = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if labels.is_empty()
        || selector
            .match_expressions
            .as_ref()
            .is_some_and(|list| !list.is_empty())
    {
        let selector = serde_json::to_string(selector).unwrap_or_default();
        return format!("Label the namespace so that this selector matches: {selector}");
    }
    format!("oc label namespace {namespace} {}", labels.join(" "))
}

fn profile(seen: &Seen<'_>) -> String {
    match seen.node {
        Some(node) => format!("RealtimeProfile {}", node.spec.profile),
        None => "the RealtimeProfile".to_owned(),
    }
}

/// Where the pod is, and what is possible there.
fn place(seen: &Seen<'_>, status: Option<&NodePodBudgetStatus>) -> Vec<Finding> {
    let Some(name) = node_name(seen.pod) else {
        return vec![not_scheduled(seen.pod)];
    };
    let phase = seen
        .pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if let Some(phase @ ("Succeeded" | "Failed")) = phase {
        return vec![Finding::new(
            Weight::Note,
            ENDED,
            format!("The pod has ended: {phase}."),
            "",
        )];
    }
    let Some(node) = seen.node else {
        if !seen.hidden.is_empty() {
            return Vec::new();
        }
        return vec![Finding::new(
            Weight::Wrong,
            NO_REALTIME_NODE,
            format!(
                "The node {name} has no RealtimeNode: no RealtimeProfile selects it, so nobody gives its pods anything."
            ),
            "Place the pod on a node of a RealtimeProfile with podBudget (`oc get rtn` lists them), or select that node by \
             one.",
        )];
    };
    if node.spec.pod_budget.is_none() {
        let known = if seen.profile.is_none() && seen.hidden.is_empty() {
            ", which is not there any more,"
        } else {
            ""
        };
        return vec![Finding::new(
            Weight::Wrong,
            reason::SWITCHED_OFF,
            format!("{}{known} gives pods nothing.", profile(seen)),
            "Set spec.podBudget.enabled: true in it.",
        )];
    }
    let Some(status) = status else {
        return vec![Finding::new(
            Weight::Wrong,
            NOT_REPORTED,
            format!("The daemon of the node {name} has not said anything about pods' budgets."),
            format!(
                "See whether it runs: oc -n realtime-node-daemon get pods -o wide --field-selector spec.nodeName={name}"
            ),
        )];
    };
    let mut findings = Vec::new();
    if let Some(stale) = stale(node, name) {
        findings.push(stale);
    }
    let (cause, what) = match status.mode {
        Some(BudgetMode::Blocked) => (
            reason::KERNEL_BLOCKS,
            "refuses real-time threads in pods' groups",
        ),
        Some(BudgetMode::Off) => (
            reason::SWITCHED_OFF,
            "has real-time scheduling of pods switched off",
        ),
        Some(BudgetMode::V1Budget | BudgetMode::V2Policy) => return with_condition(findings, node),
        None => (NOT_REPORTED, "has not found out yet what its kernel allows"),
    };
    let evidence = status
        .evidence
        .as_ref()
        .map(|text| format!(" ({text})"))
        .unwrap_or_default();
    findings.push(Finding::new(
        if status.mode.is_some() {
            Weight::Wrong
        } else {
            Weight::Waiting
        },
        cause,
        format!("The node {name} {what}{evidence}."),
        status.remedy.clone().unwrap_or_default(),
    ));
    findings
}

/// The node's own word that something is wrong with all its pods.
fn with_condition(mut findings: Vec<Finding>, node: &RealtimeNode) -> Vec<Finding> {
    let conditions = node.status.iter().flat_map(|status| &status.conditions);
    for condition in conditions {
        if condition.type_ == conditions::BUDGET_READY && condition.status == "False" {
            findings.push(Finding::new(
                Weight::Note,
                &condition.reason,
                format!("The node says of all its pods: {}", condition.message),
                "",
            ));
        }
    }
    findings
}

/// The daemon has not answered the operator's last word.
fn stale(node: &RealtimeNode, name: &str) -> Option<Finding> {
    let generation = node.metadata.generation?;
    let observed = node.status.as_ref()?.observed_generation?;
    (observed < generation).then(|| {
        Finding::new(
            Weight::Note,
            NOT_REPORTED,
            format!(
                "The daemon of the node {name} has not taken up what its RealtimeNode says now (generation {generation}, \
                 it speaks of {observed}): what follows may be old."
            ),
            format!(
                "When that stays: oc -n realtime-node-daemon get pods -o wide --field-selector spec.nodeName={name}"
            ),
        )
    })
}

fn not_scheduled(pod: &Pod) -> Finding {
    let condition = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|condition| condition.type_ == "PodScheduled");
    let message = condition
        .and_then(|condition| condition.message.as_deref())
        .unwrap_or_default();
    if message.is_empty() {
        return Finding::new(
            Weight::Waiting,
            NOT_SCHEDULED,
            "The pod is on no node: the scheduler has not looked at it yet.",
            "",
        );
    }
    let what = format!("The pod is on no node. The scheduler says: {message}");
    if message.contains(names::RESOURCE_RUNTIME_US) {
        return Finding::new(
            Weight::Wrong,
            NOT_SCHEDULED,
            what,
            "Ask for less, end another real-time pod, or raise spec.podBudget.capacityMicroseconds of the profile. What \
             each node has: oc get nodes -o custom-columns='NAME:.metadata.name,MICROSECONDS:.status.allocatable.\
             realtime\\.openshift\\.io/runtime-us'",
        );
    }
    Finding::new(Weight::Wrong, NOT_SCHEDULED, what, "")
}
