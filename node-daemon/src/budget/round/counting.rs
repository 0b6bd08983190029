//! Budgets where the kernel keeps none: they are counted, so that the node is not promised twice. After a start of the daemon
//! the node's status says who had a share, and on the host whose threads run real-time. Writes nothing.

use realtime_core::rt::plan::{self, Plan};
use realtime_core::rt::settle::Settled;

use super::Round;
use crate::budget::cache::Cache;
use crate::budget::ground::Hierarchy;
use crate::budget::state::State;
use crate::sched;

impl Round<'_> {
    /// Grants and refusals; whoever has a share keeps it.
    pub(super) fn count(&self, cache: &Cache, state: &mut State, settled: &Settled) -> Plan {
        let mut wanted = settled.wanted.clone();
        if !state.counted.is_empty() {
            let plan = plan::account(&wanted, self.settings.capacity_us, &state.counted);
            state.counted = plan::accounted(&plan);
            return plan;
        }
        let mut had = settled.had_by(self.told.borrow().entries());
        // How much it had nobody remembers, or it was refused and made its threads real-time itself: it comes before those that
        // begin, as far as there is room.
        let running = wanted
            .budgets
            .iter()
            .filter(|(group, _)| !had.contains_key(*group) && self.runs_realtime(group));
        let running: Vec<(String, i64)> = running.map(|(group, _)| (group.clone(), 0)).collect();
        had.extend(running);
        if !cache.complete() {
            // The room of those that aren't known yet is nobody else's.
            wanted.budgets.retain(|group, _| had.contains_key(group));
        }
        let plan = plan::account(&wanted, self.settings.capacity_us, &had);
        if cache.complete() {
            state.counted = plan::accounted(&plan);
        }
        plan
    }

    fn runs_realtime(&self, group: &str) -> bool {
        let threads = match &self.ground.hierarchy {
            Some(Hierarchy::V1(v1)) => v1.threads(group),
            Some(Hierarchy::V2(v2)) => v2.threads(group),
            None => return false,
        };
        // A group that can't be read has nothing that anybody could keep.
        let threads = threads.unwrap_or_default();
        threads
            .iter()
            .any(|tid| sched::get(*tid).is_ok_and(|thread| thread.is_realtime()))
    }
}
