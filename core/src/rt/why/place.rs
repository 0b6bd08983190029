//! Where the pod is, and what is possible there: the node's mode and its word of all pods. Must not look at single
//! containers.

use k8s_openapi::api::core::v1::Pod;

use super::{
    ENDED, Finding, NO_REALTIME_NODE, NOT_REPORTED, NOT_SCHEDULED, Seen, Weight, node_name, profile,
};
use crate::api::RealtimeNode;
use crate::api::realtime_node::{BudgetMode, NodePodBudgetStatus};
use crate::conditions::{self, reason};
use crate::names;

/// All of it.
pub(super) fn findings(seen: &Seen<'_>, status: Option<&NodePodBudgetStatus>) -> Vec<Finding> {
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
