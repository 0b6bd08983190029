//! Who paused a pool, and the steps that begin and end a pause of ours. An admin's pause is never touched.

use kube::ResourceExt;

use super::Step;
use crate::names;
use crate::openshift::MachineConfigPool;

/// Who paused a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Nobody.
    No,
    /// Nobody, but our annotation is still there: somebody else unpaused.
    Stale,
    /// This profile.
    Ours,
    /// Somebody else.
    Others,
}

/// Who paused the pool, from this profile's view.
pub fn pause_of(pool: &MachineConfigPool, profile: &str) -> Pause {
    let paused = pool.spec.paused == Some(true);
    let ours = pool
        .annotations()
        .get(names::ANNOTATION_PAUSED_FOR)
        .is_some_and(|by| by == profile);
    match (paused, ours) {
        (false, false) => Pause::No,
        (false, true) => Pause::Stale,
        (true, true) => Pause::Ours,
        (true, false) => Pause::Others,
    }
}

/// Makes sure that the pool is paused before a change of what it renders.
pub(super) fn hold(pool: &MachineConfigPool, pause: Pause) -> Step {
    let resource_version = pool.resource_version().unwrap_or_default();
    let pool = pool.name_any();
    match pause {
        Pause::No | Pause::Stale => Step::Pause {
            pool,
            resource_version,
        },
        Pause::Ours | Pause::Others => Step::ConfirmPaused {
            pool,
            resource_version,
        },
    }
}

pub(super) fn unpause(pool: &MachineConfigPool) -> Step {
    Step::Unpause {
        pool: pool.name_any(),
        resource_version: pool.resource_version().unwrap_or_default(),
    }
}
