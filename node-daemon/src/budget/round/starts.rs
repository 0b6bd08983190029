//! Whether containers had begun when what they asked for was in place. Looks at processes; what their names mean,
//! `core::rt::begun` says.

use realtime_core::rt::begun;
use realtime_core::rt::group::ContainerId;
use realtime_core::rt::plan::Plan;
use realtime_core::rt::request::Request;
use realtime_core::rt::settle::Settled;

use super::Round;
use crate::budget::ground::Ground;
use crate::budget::state::State;
use crate::host::Host;

impl Round<'_> {
    /// Whether new containers had begun when what they asked for was in place.
    pub(super) fn note_starts(&self, state: &mut State, settled: &Settled, plan: &Plan) {
        for assignment in &settled.assignments {
            let Some((id, group)) = &assignment.at else {
                continue;
            };
            let granted = assignment.request.runtime.is_none() || plan.granted.contains_key(group);
            if granted && state.waiting.iter().any(|waiting| waiting.id == *id) {
                // By the runtime's own word: it waits for us. That is all there is to say, also of a group that a round
                // has seen before its process was in it.
                state.unbegun.remove(id);
                let besides = state.besides.entry(id.clone()).or_default();
                besides.before_start = Some(true);
            } else if granted && (state.unbegun.contains(id) || !state.besides.contains_key(id)) {
                let before_start = self.before_start(state, id, group, &assignment.request);
                let besides = state.besides.entry(id.clone()).or_default();
                // A container that was there before this daemon: nobody knows.
                besides.before_start = before_start.filter(|before| *before || self.told_once());
            }
        }
    }

    /// Whether a container has not begun. A budget can be in place before any process is there; a policy can't, and it is
    /// decided when there is one.
    pub(super) fn before_start(
        &self,
        state: &mut State,
        id: &ContainerId,
        group: &str,
        request: &Request,
    ) -> Option<bool> {
        let nobody = !self.ground.has_budgets()
            && request.scheduling.is_some()
            && self.ground.processes(group).is_empty();
        if nobody {
            state.unbegun.insert(id.clone());
            return None;
        }
        state.unbegun.remove(id);
        before_start(self.host, self.ground, group)
    }

    fn told_once(&self) -> bool {
        self.told.borrow().status().is_some()
    }
}

/// As often a group's processes are listed: those of a runtime end within moments.
const LISTS: u32 = 3;
/// So many of them are looked at.
const LOOKS: usize = 4;

/// Whether a container's program has not begun: nothing is in its group, or only the runtime's own process that will
/// become it. `None`: it can't be seen.
fn before_start(host: &Host, ground: &Ground, group: &str) -> Option<bool> {
    for _ in 0..LISTS {
        let processes = ground.processes(group);
        let looks = processes.iter().take(LOOKS);
        let are_runtimes: Vec<Option<bool>> = looks.map(|pid| is_runtimes(host, *pid)).collect();
        if let Some(begun) = begun::has_begun(&are_runtimes) {
            return Some(!begun);
        }
    }
    None
}

fn is_runtimes(host: &Host, pid: i32) -> Option<bool> {
    let name = host.read(&format!("/proc/{pid}/comm")).ok()?;
    let line = host.read(&format!("/proc/{pid}/cmdline")).ok()?;
    begun::is_runtimes(&name, &line)
}
