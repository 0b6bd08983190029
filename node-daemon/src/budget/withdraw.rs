//! Takes budgets back when nobody gives any more: the profile is gone, or its podBudget. Threads that run real-time keep
//! theirs until they end; what the groups above them have goes as well, so that nothing is left on the node.

use std::time::Duration;

use realtime_core::rt::plan::{self, Wanted};

use super::ground::{Ground, Hierarchy};
use super::settings::Settings;
use crate::cgroup::{Scope, writer};
use crate::host::Host;

/// Between two tries while something is left.
pub const AGAIN: Duration = Duration::from_secs(10);

/// One pass; whether something is left.
pub fn pass(host: &Host, ground: &Ground, settings: &Settings) -> bool {
    let Some(Hierarchy::V1(v1)) = &ground.hierarchy else {
        return false;
    };
    if !ground.has_budgets() || !ground.is_firm() {
        return false;
    }
    let tree = match ground.read(Scope::Whole) {
        Ok(tree) => tree,
        Err(error) => {
            tracing::warn!(%error, "the groups can't be read");
            return true;
        }
    };
    // Nobody is wanted to have anything.
    let wanted = Wanted {
        complete: true,
        ..Wanted::default()
    };
    let plan = plan::plan(&wanted, &tree, &ground.limits(host, settings));
    let failed = writer::apply_each(v1, &plan.writes);
    for (_, error) in &failed {
        tracing::debug!(%error, "not taken back yet");
    }
    if !plan.writes.is_empty() {
        tracing::info!(left = plan.allocated_us, "pods' budgets are taken back");
    }
    plan.allocated_us > 0 || !failed.is_empty()
}
