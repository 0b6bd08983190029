//! From what is wanted and what is there to the next steps, so that each node reboots once. Pure: no memory, no
//! client. The operator may die between any two steps; the next call starts from what the API server holds.
//!
//! The rules, in the order in which they are applied:
//! 1. A deleted profile is taken down (`removal`), whatever else it says.
//! 2. A profile that is invalid, or whose `rollout.pause` is true, changes nothing.
//! 3. The pool is paused by us, and known to be, before KubeletConfig or MachineConfig change. A pool that we
//!    create is created so. A pool that an admin paused stays as it is: what is written there rolls nothing out.
//! 4. KubeletConfig before MachineConfig.
//! 5. What acts without a reboot (Tuned) waits until the configuration that it belongs to has landed.
//! 6. We unpause only what we paused, and only when the pool's target holds everything that was written, and no node
//!    has a turn to be disturbed by its daemon.
//! 7. The first write that reboots waits, for a bounded time, for what the nodes' daemons say of the hardware.
//! 8. Nodes whose kernel their daemon switched go back before the Machine Config Operator may switch it, and before the
//!    profile is gone.

pub mod acceptance;
mod change;
mod converge;
pub mod difference;
mod first_reports;
pub mod landing;
mod nodes;
mod pause;
mod removal;
mod step;
mod turning;

pub use first_reports::Patience;
pub use pause::{Pause, pause_of};
pub use removal::no_node;
pub use step::{Before, Kind, Step, Wait};

#[cfg(test)]
pub(crate) mod simulation;
#[cfg(test)]
mod tests;

use kube::ResourceExt;
use serde_json::Value;

use crate::api::RealtimeProfile;
use crate::cluster::Cluster;
use crate::names;
use crate::openshift::MachineConfigPool;
use crate::render::Rendered;
use crate::validate::ValidProfile;
use converge::converge;
use nodes::Nodes;
use pause::unpause;
use turning::{Turning, turning};

/// What is there under our names, whole, as the API server holds it. `None`: it isn't there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// KubeletConfig `realtime-<profile>`.
    pub kubelet_config: Option<Value>,
    /// MachineConfig `50-realtime-<profile>`.
    pub machine_config: Option<Value>,
    /// Tuned `realtime-<profile>`.
    pub tuned: Option<Value>,
    /// RuntimeClass `realtime-<profile>`.
    pub runtime_class: Option<Value>,
    /// What carries our owner label under any other name: pruned. Pools are not among them.
    pub others: Vec<(Kind, String)>,
}

/// Everything that a decision needs.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The profile as it stands.
    pub profile: &'a RealtimeProfile,
    /// The valid profile and what it renders to; `None` when it has errors.
    pub wanted: Option<(&'a ValidProfile, &'a Rendered)>,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// What is there under our names.
    pub live: &'a Live,
    /// How long the nodes' first reports are waited for; `None`: not at all.
    pub patience: Option<&'a Patience>,
}

/// The pool as it is applied: what a render says, but never `spec.paused`, which the pause owns.
pub fn applied_pool(rendered: &MachineConfigPool) -> Value {
    let mut pool = to_value(rendered);
    if let Some(spec) = pool.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("paused");
        spec.remove("configuration");
    }
    if let Some(pool) = pool.as_object_mut() {
        pool.remove("status");
    }
    pool
}

/// An object as JSON. The kinds of this crate always serialise; should one not, it counts as empty and is applied.
pub fn to_value<T: serde::Serialize>(object: &T) -> Value {
    serde_json::to_value(object).unwrap_or(Value::Null)
}

/// The next steps: empty when nothing is to be done or waited for.
pub fn next(observed: &Observed<'_>) -> Vec<Step> {
    if observed.profile.metadata.deletion_timestamp.is_some() {
        return removal::steps(observed);
    }
    let Some((valid, rendered)) = observed.wanted else {
        return while_invalid(observed);
    };
    if valid.paused {
        let hold = "spec.rollout.pause to be false";
        let mut steps = turns_without_change(observed, hold).into_steps();
        steps.retain(|step| !matches!(step, Step::Wait(_)));
        steps.push(Step::Wait(Wait::RolloutPaused));
        return steps;
    }
    let mut steps = Vec::new();
    if !has_finalizer(observed.profile) {
        steps.push(Step::EnsureFinalizer);
    }
    steps.extend(converge(observed, valid, rendered));
    steps
}

pub(crate) fn has_finalizer(profile: &RealtimeProfile) -> bool {
    profile
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == names::FINALIZER)
}

/// Turns while nothing of the profile is changed: none is given, and those that are over are taken back.
fn turns_without_change(observed: &Observed<'_>, hold: &str) -> Turning {
    let pool = removal::named_pool(observed);
    turning(observed, &pool, &Nodes::default(), Some(hold))
}

/// Nothing is changed for an invalid profile, except that a pause of ours ends when what was last written has landed.
fn while_invalid(observed: &Observed<'_>) -> Vec<Step> {
    let turns = turns_without_change(observed, "the profile's errors to be corrected");
    let mut steps = Vec::new();
    for pool in ours_paused(observed) {
        if landing::live_has_landed(observed, pool) && !turns.keeps_paused(&pool.name_any()) {
            steps.extend(unpause(observed, pool));
        }
    }
    steps.extend(turns.into_steps());
    steps.push(Step::Wait(Wait::Invalid));
    steps
}

fn ours_paused<'a>(observed: &Observed<'a>) -> impl Iterator<Item = &'a MachineConfigPool> {
    let name = observed.profile.name_any();
    observed
        .cluster
        .pools
        .iter()
        .filter(move |pool| matches!(pause_of(pool, &name), Pause::Ours | Pause::Stale))
}
