//! The third of the five calls: what the profile becomes, and the steps that lead there. No client.

use realtime_core::render::Rendered;
use realtime_core::rollout::{self, Observed, Step};
use realtime_core::validate::Validated;

use crate::reconcile::Observation;

/// What is wanted and what is to be done next.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What the profile becomes; `None` when it has errors.
    pub rendered: Option<Rendered>,
    /// The next steps.
    pub steps: Vec<Step>,
}

/// Renders the valid profile and decides.
pub fn render(observation: &Observation, validated: &Validated) -> Decision {
    let rendered = validated
        .profile
        .as_ref()
        .map(realtime_core::render::render);
    let steps = rollout::next(&Observed {
        profile: &observation.profile,
        wanted: validated.profile.as_ref().zip(rendered.as_ref()),
        cluster: &observation.cluster,
        live: &observation.live,
        patience: Some(&observation.patience),
    });
    Decision { rendered, steps }
}
