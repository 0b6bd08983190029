//! Budgets, gates and roll-out: numbers that must fit to each other.

use super::text::selector;
use crate::api::realtime_profile::{LatencySpec, PodBudgetSpec, RolloutSpec};
use crate::facts::NodeFacts;
use crate::problem::{Problem, Problems};
use crate::validate::valid_profile::ValidPodBudget;

/// Of each second: the rest stays with the host.
const DEFAULT_CAPACITY: i64 = 800_000;

/// `Some` when budgets are enabled.
pub(super) fn check(
    spec: Option<&PodBudgetSpec>,
    problems: &mut Problems,
) -> Option<ValidPodBudget> {
    let PodBudgetSpec {
        enabled,
        capacity_microseconds,
        max_per_container_microseconds,
        namespace_selector,
    } = spec?;
    let capacity = capacity_microseconds.unwrap_or(DEFAULT_CAPACITY);
    let most = max_per_container_microseconds.unwrap_or(capacity);
    if most > capacity {
        problems.push(Problem::error(
            "spec.podBudget.maxPerContainerMicroseconds",
            most,
            format!("exceeds capacityMicroseconds, which is {capacity}"),
            "lower it, or raise the capacity",
        ));
    }
    if let Some(namespaces) = namespace_selector {
        selector("spec.podBudget.namespaceSelector", namespaces, problems);
    }
    enabled.unwrap_or_default().then(|| ValidPodBudget {
        capacity_microseconds: capacity,
        max_per_container_microseconds: most,
        namespace_selector: namespace_selector.clone(),
    })
}

/// The gate, in microseconds.
pub(super) fn check_latency(spec: Option<&LatencySpec>, problems: &mut Problems) -> Option<i64> {
    let LatencySpec {
        max_microseconds,
        check,
    } = spec?;
    let duration = check.as_ref().and_then(|check| check.duration.as_deref());
    // The form is the schema's; `0s` and `0h0m` have it.
    if let Some(duration) =
        duration.filter(|text| !text.bytes().any(|byte| (b'1'..=b'9').contains(&byte)))
    {
        problems.push(Problem::error(
            "spec.latency.check.duration",
            duration,
            "is no time at all",
            "write it as 10m",
        ));
    }
    *max_microseconds
}

/// Canaries, and whether the profile only plans.
pub(super) fn check_rollout(
    spec: Option<&RolloutSpec>,
    facts: &[NodeFacts],
    problems: &mut Problems,
) -> (u32, bool) {
    let Some(RolloutSpec { canaries, pause }) = spec else {
        return (0, false);
    };
    let wanted = canaries
        .and_then(|canaries| u32::try_from(canaries).ok())
        .unwrap_or(0);
    let nodes = u32::try_from(facts.len()).unwrap_or(u32::MAX);
    if !facts.is_empty() && wanted > nodes {
        problems.push(Problem::warning(
            "spec.rollout.canaries",
            wanted,
            format!("the pool has {nodes} nodes only: all of them would be canaries"),
            "choose fewer",
        ));
    }
    (wanted, pause.unwrap_or_default())
}
