//! What the pod asks for, and whether it may ask: the pod as the contract reads it, the rules as far as its node publishes
//! them, and its namespace. Must not look at what the node has given it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{Finding, NOT_ASKED, Seen, Weight, profile};
use crate::api::realtime_node::BudgetMode;
use crate::api::realtime_profile::Isolation;
use crate::conditions::reason;
use crate::names;
use crate::rt::micros::{PERIOD_US, RuntimeMicros, smallest_budget};
use crate::rt::request::{self, ContainerKind, Rules};

/// What the contract reads of a pod.
pub(super) fn of(pod: &Pod) -> request::Pod {
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
        let of = |map: &Option<BTreeMap<String, Quantity>>| {
            Some(map.as_ref()?.get(names::RESOURCE_RUNTIME_US)?.0.clone())
        };
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
pub(super) fn rules(seen: &Seen<'_>) -> Rules {
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

pub(super) fn not_asked(pod: &Pod) -> Finding {
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
pub(super) fn not_allowed(seen: &Seen<'_>) -> Option<Finding> {
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
