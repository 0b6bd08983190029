//! Takes budgets back when nobody gives any more: the profile is gone, or its podBudget. Threads that run real-time keep
//! theirs until they end; what the groups above them have goes as well, so that nothing is left on the node.
//!
//! That budgets are ours to take back is the one thing that the kernel's files don't tell: a mark on the host does, for the
//! daemon that comes after this one. Another's budgets, where no daemon of ours ever gave any, are left alone.

use std::time::Duration;

use realtime_core::names::BUDGETS_GIVEN;
use realtime_core::rt::plan::{self, Wanted};

use super::ground::{Ground, Hierarchy};
use super::settings::Settings;
use crate::cgroup::{Scope, writer};
use crate::host::Host;

/// Between two tries while something is left.
pub const AGAIN: Duration = Duration::from_secs(10);

/// Marks that budgets are about to be given here.
pub fn mark(host: &Host) {
    if is_marked(host) {
        return;
    }
    if let Err(error) = host.write_atomically(BUDGETS_GIVEN, b"") {
        tracing::warn!(%error, "should this daemon die before it takes pods' budgets back, the next one won't do it either");
    }
}

/// Whether a daemon has given budgets here that none has taken back.
pub fn is_marked(host: &Host) -> bool {
    host.exists(BUDGETS_GIVEN)
}

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
    let left = plan.allocated_us > 0 || !failed.is_empty();
    if !left && let Err(error) = host.remove(BUDGETS_GIVEN) {
        tracing::warn!(%error, "pods' budgets are taken back, and will be looked for once more");
    }
    left
}
