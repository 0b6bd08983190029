//! Whether the pool itself says that its nodes are at the target. The nodes know first: for up to 5 s a pool still
//! speaks of what was before. Decides nothing about the nodes.

use super::View;
use crate::conditions::{AVAILABLE, find};
use crate::openshift::MachineConfigPool;
use crate::rollout::landing::target_name;

/// What the pool doesn't say yet; `None` when it says all of it.
pub(super) fn unsaid(pool: &MachineConfigPool) -> Option<String> {
    let Some(status) = &pool.status else {
        return Some("it has no status yet".to_owned());
    };
    let target = target_name(pool);
    let reached = status
        .configuration
        .as_ref()
        .and_then(|reached| reached.name.as_deref());
    let is = |type_: &str| {
        status
            .conditions
            .iter()
            .any(|condition| condition.type_ == type_ && condition.status == "True")
    };
    // An older generation's word is no word.
    if pool.metadata.generation.is_some() && status.observed_generation < pool.metadata.generation {
        return Some("its status is about what it was before".to_owned());
    }
    if !is("Updated") || is("Updating") {
        return Some("UPDATED is not True, or UPDATING is not False".to_owned());
    }
    (reached != target).then(|| {
        format!(
            "its status names {}, not {}",
            reached.unwrap_or("no configuration"),
            target.unwrap_or("a target")
        )
    })
}

impl View<'_> {
    /// What is still to be heard from the pool before its nodes' word is believed.
    ///
    /// 1. Where no pools are served, nothing.
    /// 2. With a node that somebody cordoned, nothing: such a pool never says UPDATED.
    /// 3. When the target was reached before, nothing: what the pool shows since then is no rollout of ours.
    /// 4. Otherwise the pool's word.
    pub(super) fn unsaid(&self) -> Option<String> {
        let pool = self.pool?;
        if self
            .nodes
            .iter()
            .any(|node| node.cordoned && !node.phase.is_under_way())
        {
            return None;
        }
        let was_reached = self.inputs.profile.status.as_ref().is_some_and(|before| {
            before.rendered_configuration.as_deref() == target_name(pool)
                && find(&before.conditions, AVAILABLE)
                    .is_some_and(|condition| condition.status == "True")
        });
        if was_reached { None } else { unsaid(pool) }
    }
}
