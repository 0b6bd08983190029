//! Who paused a pool, and the steps that begin and end a pause of ours. An admin's pause is never touched.

use kube::ResourceExt;

use super::{Observed, Step, landing};
use crate::openshift::MachineConfigPool;
use crate::{merge, names};

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

/// The end of our pause, after a last look at what was generated from our KubeletConfig.
pub(super) fn unpause(observed: &Observed<'_>, pool: &MachineConfigPool) -> Vec<Step> {
    let kubelet_config = names::object_name(&observed.profile.name_any());
    let mut steps: Vec<Step> = merge::sources(pool, &observed.cluster.machine_configs)
        .into_iter()
        .filter(|source| landing::owner_of(source) == Some(&kubelet_config))
        .filter_map(|source| {
            Some(Step::ConfirmUnchanged {
                machine_config: source.name_any(),
                resource_version: source.resource_version()?,
            })
        })
        .collect();
    steps.push(Step::Unpause {
        pool: pool.name_any(),
        resource_version: pool.resource_version().unwrap_or_default(),
    });
    steps
}
