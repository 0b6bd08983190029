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
    // `Accepted` is one condition that changes; the others are a history of up to three, the newest last.
    let of = |types: &[&str]| {
        let found = status.conditions.iter();
        found
            .filter(|condition| types.contains(&condition.type_.as_str()))
            .max_by(|left, right| left.last_transition_time.cmp(&right.last_transition_time))
    };
    let newest = of(&["Accepted"]).or_else(|| of(&["Success", "Failure"]));
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
        // Written only when something failed: with status True or, by most releases, False.
        "Failure" => true,
        "Accepted" | "Success" => condition.status == "False",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[allow(clippy::needless_pass_by_value, reason = "written where it is called")]
    fn said(conditions: serde_json::Value) -> Acceptance {
        let config: KubeletConfig = serde_json::from_value(json!({
            "metadata": {"name": "k", "generation": 2}, "spec": {},
            "status": {"observedGeneration": 2, "conditions": conditions},
        }))
        .unwrap();
        acceptance(&config)
    }

    #[test]
    fn every_release_s_words_are_understood() {
        let refused = Acceptance::Refused("no".into());
        let now = |kind: &str, status: &str, time: u8| {
            json!({"type": kind, "status": status, "message": "no",
                "lastTransitionTime": format!("2026-01-01T00:00:0{time}Z")})
        };
        // Before `Accepted`, a failure has status False.
        assert_eq!(said(json!([now("Failure", "False", 1)])), refused);
        assert_eq!(said(json!([now("Failure", "True", 1)])), refused);
        // Within one second the last one counts.
        assert_eq!(
            said(json!([
                now("Failure", "False", 1),
                now("Success", "True", 1)
            ])),
            Acceptance::Accepted
        );
        assert_eq!(
            said(json!([
                now("Success", "True", 1),
                now("Failure", "False", 1)
            ])),
            refused
        );
        // What stands there from before does not outweigh `Accepted`.
        assert_eq!(
            said(json!([
                now("Accepted", "True", 1),
                now("Success", "True", 1),
                now("Failure", "True", 1)
            ])),
            Acceptance::Accepted
        );
        assert_eq!(said(json!([])), Acceptance::Pending);
    }
}
