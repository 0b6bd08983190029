//! Whether the Machine Config Operator took a KubeletConfig. Reads conditions, nothing else.

use crate::openshift::KubeletConfig;

/// What the Machine Config Operator says of a KubeletConfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Nothing yet about this generation.
    Pending,
    /// Taken.
    Accepted,
    /// Refused, with its words. Every change of the pool is blocked meanwhile.
    Refused(String),
}

/// Reads both generations of conditions: `Accepted`, and the older `Success` and `Failure`. The newest counts.
pub fn acceptance(config: &KubeletConfig) -> Acceptance {
    let Some(status) = &config.status else {
        return Acceptance::Pending;
    };
    // Conditions of an older generation say nothing about this one. An old release sets no observedGeneration.
    if let (Some(observed), Some(generation)) =
        (status.observed_generation, config.metadata.generation)
        && observed < generation
    {
        return Acceptance::Pending;
    }
    let newest = status
        .conditions
        .iter()
        .filter(|condition| matches!(condition.type_.as_str(), "Accepted" | "Success" | "Failure"))
        .max_by(|left, right| left.last_transition_time.cmp(&right.last_transition_time));
    match newest {
        Some(condition) if is_refusal(condition) => {
            Acceptance::Refused(condition.message.clone().unwrap_or_default())
        }
        Some(condition) if condition.status == "True" => Acceptance::Accepted,
        Some(_) | None => Acceptance::Pending,
    }
}

fn is_refusal(condition: &crate::openshift::OpenShiftCondition) -> bool {
    match condition.type_.as_str() {
        "Failure" => condition.status == "True",
        "Accepted" | "Success" => condition.status == "False",
        _ => false,
    }
}
