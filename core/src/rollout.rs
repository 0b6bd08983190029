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
use change::{
    Change, change, changes_pool, kubelet_change, prune, runtime_class_step, simple, write,
};
use first_reports::{first_reports, is_first_write};
use nodes::Nodes;
use pause::{hold, unpause};
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

fn converge(observed: &Observed<'_>, valid: &ValidProfile, rendered: &Rendered) -> Vec<Step> {
    let Rendered {
        pool: wanted_pool,
        kubelet_config,
        machine_config,
        tuned,
        runtime_class,
        node_spec,
        content_hash: _,
    } = rendered;
    let live = observed.live;
    let mut steps = Vec::new();

    let plan = nodes::plan(observed, Some((&valid.pool.name, node_spec)));
    let mut kubelet = kubelet_change(live, kubelet_config.as_ref().map(to_value).as_ref());
    let mut machine = change(
        live.machine_config.as_ref(),
        machine_config.as_ref().map(to_value).as_ref(),
    );
    // What must come before anything that reboots is written.
    let before = before_writing(observed, valid, rendered, &plan);
    if before.is_some() {
        (kubelet, machine) = (Change::None, Change::None);
    }
    let reboots = kubelet != Change::None || machine != Change::None;

    // The pool: paused before anything that reboots is written.
    let pool = observed
        .cluster
        .pools
        .iter()
        .find(|pool| pool.name_any() == valid.pool.name);
    let mut landed = true;
    // What was written last stands, while nodes go back to the stock kernel before the next is.
    let mut stands = false;
    let mut pause = Pause::No;
    let turns;
    if let Some(wanted_pool) = wanted_pool {
        let Some(pool) = pool else {
            if !valid.pool.ours {
                steps.push(Step::Wait(Wait::PoolMissing(valid.pool.name.clone())));
                return steps;
            }
            turns = turning(observed, &valid.pool.name, &plan, Some(LANDING));
            // Former pools first: their nodes must not be caught between two changes.
            steps.extend(removal::former_pools(
                observed,
                &valid.pool.name,
                reboots,
                &plan,
                &turns,
            ));
            steps.push(Step::CreatePoolPaused);
            steps.extend(before.map(Step::Wait));
            steps.extend(write(kubelet, machine, valid));
            steps.extend(runtime_class_step(
                live,
                runtime_class.as_ref(),
                &valid.name,
            ));
            steps.extend(plan.steps);
            steps.extend(turns.into_steps());
            steps.push(Step::Wait(Wait::Target(vec![format!(
                "pool {} has no rendered configuration yet",
                valid.pool.name
            )])));
            return steps;
        };
        if pool.metadata.deletion_timestamp.is_some() {
            steps.push(Step::Wait(Wait::Gone(
                Kind::MachineConfigPool,
                pool.name_any(),
            )));
            return steps;
        }
        pause = pause_of(pool, &valid.name);
        let mut own = Vec::new();
        if reboots {
            own.push(hold(pool, pause));
        }
        // What isn't wanted any more, an apply alone doesn't take away from a pool that was created in another way.
        let more = valid.pool.ours
            && wanted_pool.spec.max_unavailable.is_none()
            && pool.spec.max_unavailable.is_some();
        if more || !difference::holds(&to_value(pool), &applied_pool(wanted_pool)) {
            own.push(Step::ApplyPool);
            landed = false;
        }
        own.extend(write(kubelet, machine, valid));
        let handing_over = !plan.handing_over.is_empty();
        let missing = if reboots {
            landed = false;
            None
        } else if before.is_none() {
            landing::missing(observed.cluster, pool, rendered)
        } else {
            None
        };
        if missing.is_some() {
            landed = false;
        }
        own.extend(missing.map(Step::Wait));
        stands = landed
            && (before.is_none() || handing_over && landing::live_has_landed(observed, pool));
        let pruning = live
            .others
            .iter()
            .any(|(kind, _)| matches!(kind, Kind::KubeletConfig | Kind::MachineConfig));
        let hold_turns = (!stands || pruning).then_some(LANDING);
        turns = turning(observed, &valid.pool.name, &plan, hold_turns);
        steps.extend(removal::former_pools(
            observed,
            &valid.pool.name,
            reboots,
            &plan,
            &turns,
        ));
        steps.extend(own);
    } else {
        let hold = before.as_ref().map(|_| LANDING);
        turns = turning(observed, &valid.pool.name, &plan, hold);
    }
    if before.is_some() {
        landed = false;
    }
    steps.extend(before.map(Step::Wait));

    // What acts at once, without a reboot.
    steps.extend(runtime_class_step(
        live,
        runtime_class.as_ref(),
        &valid.name,
    ));
    let tuned_change = change(live.tuned.as_ref(), tuned.as_ref().map(to_value).as_ref());
    if landed && pause != Pause::Others {
        steps.extend(simple(
            tuned_change,
            Step::ApplyTuned,
            Kind::Tuned,
            &valid.name,
        ));
    }
    if !plan.leaving.is_empty() {
        steps.push(Step::Wait(Wait::NodesGoingBack {
            nodes: plan.leaving.clone(),
            before: Before::Nothing,
        }));
    }
    steps.extend(plan.steps);
    steps.extend(prune(live, pool, pause));

    if let Some(pool) = pool.filter(|_| wanted_pool.is_some()) {
        let keeps = turns.keeps_paused(&pool.name_any());
        let done = stands && !keeps && !steps.iter().any(changes_pool);
        steps.extend(end_of_pause(observed, pool, pause, done));
    }
    steps.extend(turns.into_steps());
    steps
}

/// Why a turn waits while what is written isn't in the pool's target.
const LANDING: &str =
    "what is being written to be in the target of its pool: both at once would be two reboots";

/// What must come before anything that reboots is written; `None`: nothing.
fn before_writing(
    observed: &Observed<'_>,
    valid: &ValidProfile,
    rendered: &Rendered,
    plan: &Nodes,
) -> Option<Wait> {
    if !plan.handing_over.is_empty() {
        return Some(Wait::NodesGoingBack {
            nodes: plan.handing_over.clone(),
            before: Before::MachineConfig,
        });
    }
    let patience = observed.patience?;
    let writes = rendered.machine_config.is_some() || rendered.kubelet_config.is_some();
    if !writes || !is_first_write(observed.live) {
        return None;
    }
    let mut pools = observed.cluster.pools.clone();
    let known = |pool: &MachineConfigPool| pool.name_any() == valid.pool.name;
    if !pools.iter().any(known) {
        pools.extend(rendered.pool.clone());
    }
    let nodes = crate::pools::nodes_of(&valid.pool.name, &observed.cluster.nodes, &pools);
    first_reports(observed.cluster, &nodes, valid, patience)
}

/// The end of our pause when all has landed, or the admin's that we wait for.
fn end_of_pause(
    observed: &Observed<'_>,
    pool: &MachineConfigPool,
    pause: Pause,
    done: bool,
) -> Vec<Step> {
    match pause {
        Pause::Ours | Pause::Stale if done => unpause(observed, pool),
        Pause::Others => vec![Step::Wait(Wait::AdminUnpause(pool.name_any()))],
        Pause::No | Pause::Ours | Pause::Stale => Vec::new(),
    }
}
