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
    let wrong = duration.and_then(|text| {
        let some = text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
        match (is_duration(text), some) {
            (false, _) => Some((text, "is no duration")),
            (true, false) => Some((text, "is no time at all")),
            (true, true) => None,
        }
    });
    if let Some((duration, message)) = wrong {
        problems.push(Problem::error(
            "spec.latency.check.duration",
            duration,
            message,
            "write it as 90s, 10m or 1h30m",
        ));
    }
    *max_microseconds
}

/// The schema's form: hours, minutes and seconds in this order, each of at most six digits; `0s` and `0h0m` have it.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    for unit in ['h', 'm', 's'] {
        let digits = rest.len()
            - rest
                .trim_start_matches(|next: char| next.is_ascii_digit())
                .len();
        let after = rest.get(digits..).and_then(|rest| rest.strip_prefix(unit));
        rest = after.filter(|_| (1..=6).contains(&digits)).unwrap_or(rest);
    }
    rest.is_empty()
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
