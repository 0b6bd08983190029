//! The second of the five calls: what `core` says of the profile. No client.

use realtime_core::validate::Validated;

use crate::reconcile::Observation;

/// Every problem, and the valid profile when none forbids it.
pub fn validate(observation: &Observation) -> Validated {
    realtime_core::validate::validate(&observation.profile, &observation.cluster)
}
