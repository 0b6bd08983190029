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
//! 6. We unpause only what we paused, and only when the pool's target holds everything that was written.

pub mod acceptance;
pub mod difference;
pub mod landing;
mod nodes;
mod removal;
pub use removal::no_node;

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

/// The kinds that are deleted by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// KubeletConfig.
    KubeletConfig,
    /// MachineConfig.
    MachineConfig,
    /// Tuned.
    Tuned,
    /// RuntimeClass.
    RuntimeClass,
    /// MachineConfigPool.
    MachineConfigPool,
}

impl Kind {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::KubeletConfig => "KubeletConfig",
            Self::MachineConfig => "MachineConfig",
            Self::Tuned => "Tuned",
            Self::RuntimeClass => "RuntimeClass",
            Self::MachineConfigPool => "MachineConfigPool",
        }
    }
}

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
}

/// One step. Steps are done in order; the first that fails ends the round, and the next round starts anew.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Put our finalizer on the profile.
    EnsureFinalizer,
    /// Create the rendered pool, paused, with our annotation, in one write.
    CreatePoolPaused,
    /// In one write: `spec.paused` true and our annotation; only if the pool is still at this resourceVersion.
    Pause {
        /// The pool.
        pool: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// Read the pool past every cache, and go on only if it is still at this resourceVersion: it is paused there.
    ConfirmPaused {
        /// The pool.
        pool: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// Server-side apply of the rendered pool: whole when ours, our label on an existing one. Never `spec.paused`.
    ApplyPool,
    /// Server-side apply.
    ApplyKubeletConfig,
    /// Server-side apply.
    ApplyMachineConfig,
    /// Server-side apply.
    ApplyTuned,
    /// Server-side apply.
    ApplyRuntimeClass,
    /// Nothing to do until something else has happened.
    Wait(Wait),
    /// In one write: `spec.paused` false and our annotation gone; only if the pool is still at this resourceVersion.
    Unpause {
        /// The pool.
        pool: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// Create or update the RealtimeNode of this node.
    ApplyRealtimeNode {
        /// The node.
        node: String,
    },
    /// The node is not ours any more.
    DeleteRealtimeNode {
        /// The node.
        node: String,
    },
    /// Delete an object of ours.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// Let a pool of ours select no node, so that its nodes go back while its rendered configurations still exist:
    /// a node whose current configuration is gone degrades.
    EmptyPool {
        /// The pool.
        pool: String,
        /// Its resourceVersion.
        resource_version: String,
    },
    /// Annotate the pool to which nodes go back: the Machine Config Operator looks at a pool when the pool or one
    /// of its nodes changes, not when another pool lets nodes go.
    Nudge {
        /// The pool to which the nodes go.
        pool: String,
        /// The pool that they leave.
        leaving: String,
    },
    /// Take that annotation off again.
    ClearNudge {
        /// The pool.
        pool: String,
    },
    /// Take our labels off a pool that stays.
    ReleasePool {
        /// The pool.
        pool: String,
    },
    /// Everything is gone.
    ReleaseFinalizer,
}

impl Step {
    /// Whether it writes to the API server.
    pub fn writes(&self) -> bool {
        !matches!(self, Self::Wait(_) | Self::ConfirmPaused { .. })
    }
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The profile has errors: nothing is changed.
    Invalid,
    /// `rollout.pause` is true: nothing is changed.
    RolloutPaused,
    /// The pool does not exist, and is not ours to make.
    PoolMissing(String),
    /// Our KubeletConfig was not looked at yet, or was refused (then with the words).
    KubeletConfig(Option<String>),
    /// The target does not hold what was written: what is missing, in words.
    Target(Vec<String>),
    /// An object is being deleted.
    Gone(Kind, String),
    /// The admin's pause: changes are written and rendered, and wait there.
    AdminUnpause(String),
    /// Nodes are on their way out of a pool that will be deleted.
    NodesLeaving {
        /// The pool.
        pool: String,
        /// The nodes that still have one of its configurations.
        nodes: Vec<String>,
    },
}

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

/// How a live object differs from what was rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    None,
    Apply,
    /// It is there, and not wanted; or it must go before its successor comes.
    Delete,
    /// It is being deleted; nothing can be written.
    Going,
}

fn change(live: Option<&Value>, wanted: Option<&Value>) -> Change {
    match (live, wanted) {
        (None, None) => Change::None,
        (Some(live), _) if is_going(live) => Change::Going,
        (Some(_), None) => Change::Delete,
        (Some(live), Some(wanted)) if difference::is_as_rendered(live, wanted) => Change::None,
        (_, Some(_)) => Change::Apply,
    }
}

fn is_going(live: &Value) -> bool {
    live.pointer("/metadata/deletionTimestamp")
        .is_some_and(|when| !when.is_null())
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
        return vec![Step::Wait(Wait::RolloutPaused)];
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

/// Nothing is changed for an invalid profile, except that a pause of ours ends when what was last written has landed.
fn while_invalid(observed: &Observed<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for pool in ours_paused(observed) {
        if landing::live_has_landed(observed, pool) {
            steps.push(unpause(pool));
        }
    }
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

    let kubelet = kubelet_change(live, kubelet_config.as_ref().map(to_value).as_ref());
    let machine = change(
        live.machine_config.as_ref(),
        machine_config.as_ref().map(to_value).as_ref(),
    );
    let reboots = kubelet != Change::None || machine != Change::None;

    // The pool: paused before anything that reboots is written.
    let pool = observed
        .cluster
        .pools
        .iter()
        .find(|pool| pool.name_any() == valid.pool.name);
    let mut landed = true;
    let mut pause = Pause::No;
    if let Some(wanted_pool) = wanted_pool {
        let Some(pool) = pool else {
            if !valid.pool.ours {
                steps.push(Step::Wait(Wait::PoolMissing(valid.pool.name.clone())));
                return steps;
            }
            // Former pools first: their nodes must not be caught between two changes.
            steps.extend(removal::former_pools(observed, &valid.pool.name, reboots));
            steps.push(Step::CreatePoolPaused);
            steps.extend(write(kubelet, machine, valid));
            steps.extend(runtime_class_step(
                live,
                runtime_class.as_ref(),
                &valid.name,
            ));
            steps.extend(nodes::steps(observed, Some((&valid.pool.name, node_spec))));
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
        steps.extend(removal::former_pools(observed, &valid.pool.name, reboots));
        if reboots {
            steps.push(hold(pool, pause));
        }
        if !difference::holds(&to_value(pool), &applied_pool(wanted_pool)) {
            steps.push(Step::ApplyPool);
            landed = false;
        }
        steps.extend(write(kubelet, machine, valid));
        if reboots {
            landed = false;
        } else {
            match landing::missing(observed.cluster, pool, rendered) {
                None => {}
                Some(wait) => {
                    landed = false;
                    steps.push(Step::Wait(wait));
                }
            }
        }
    }

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
    steps.extend(nodes::steps(observed, Some((&valid.pool.name, node_spec))));
    steps.extend(prune(live, pool, pause));

    // The end of our pause, or the admin's that we wait for.
    if let Some(pool) = pool.filter(|_| wanted_pool.is_some()) {
        match pause {
            Pause::Ours | Pause::Stale if landed && !steps.iter().any(changes_pool) => {
                steps.push(unpause(pool));
            }
            Pause::Others => steps.push(Step::Wait(Wait::AdminUnpause(pool.name_any()))),
            Pause::No | Pause::Ours | Pause::Stale => {}
        }
    }
    steps
}

/// What carries our label under an old name. A MachineConfig or KubeletConfig among it changes a pool: only while
/// that is held.
fn prune(live: &Live, pool: Option<&MachineConfigPool>, pause: Pause) -> Vec<Step> {
    let mut steps = Vec::new();
    for (kind, name) in &live.others {
        let changes_pool = matches!(kind, Kind::KubeletConfig | Kind::MachineConfig);
        if changes_pool && !matches!(pause, Pause::Ours | Pause::Others) {
            let Some(pool) = pool else { continue };
            if !steps.iter().any(|step| matches!(step, Step::Pause { .. })) {
                steps.push(hold(pool, pause));
            }
        }
        steps.push(Step::Delete {
            kind: *kind,
            name: name.clone(),
        });
    }
    // The hold comes before everything that needs it.
    steps.sort_by_key(|step| matches!(step, Step::Delete { .. }));
    steps
}

fn changes_pool(step: &Step) -> bool {
    matches!(
        step,
        Step::Delete {
            kind: Kind::KubeletConfig | Kind::MachineConfig,
            ..
        }
    )
}

/// KubeletConfig, then MachineConfig.
fn write(kubelet: Change, machine: Change, valid: &ValidProfile) -> Vec<Step> {
    let kubelet = simple(
        kubelet,
        Step::ApplyKubeletConfig,
        Kind::KubeletConfig,
        &valid.name,
    );
    let machine = simple(
        machine,
        Step::ApplyMachineConfig,
        Kind::MachineConfig,
        &valid.name,
    );
    kubelet.into_iter().chain(machine).collect()
}

/// The name of a profile's object.
fn object_of(kind: Kind, profile: &str) -> String {
    match kind {
        Kind::MachineConfig => names::machine_config_name(profile),
        _ => names::object_name(profile),
    }
}

fn simple(change: Change, apply: Step, kind: Kind, profile: &str) -> Option<Step> {
    let name = object_of(kind, profile);
    match change {
        Change::None => None,
        Change::Apply => Some(apply),
        Change::Delete => Some(Step::Delete { kind, name }),
        Change::Going => Some(Step::Wait(Wait::Gone(kind, name))),
    }
}

fn runtime_class_step(
    live: &Live,
    wanted: Option<&k8s_openapi::api::node::v1::RuntimeClass>,
    profile: &str,
) -> Option<Step> {
    let wanted = wanted.map(to_value);
    // A RuntimeClass' handler is immutable: another one is another object.
    let replaced = match (&live.runtime_class, &wanted) {
        (Some(live), Some(wanted)) => live.get("handler") != wanted.get("handler"),
        _ => false,
    };
    let change = if replaced && !live.runtime_class.as_ref().is_some_and(is_going) {
        Change::Delete
    } else {
        change(live.runtime_class.as_ref(), wanted.as_ref())
    };
    simple(change, Step::ApplyRuntimeClass, Kind::RuntimeClass, profile)
}

/// A KubeletConfig that moves to another pool is deleted first: only its deletion takes the MachineConfig away
/// that was generated from it for the former pool.
fn kubelet_change(live: &Live, wanted: Option<&Value>) -> Change {
    let selector = "/spec/machineConfigPoolSelector";
    match (&live.kubelet_config, wanted) {
        (Some(there), Some(wanted))
            if !is_going(there) && there.pointer(selector) != wanted.pointer(selector) =>
        {
            Change::Delete
        }
        (there, wanted) => change(there.as_ref(), wanted),
    }
}

/// Makes sure that the pool is paused before a change of what it renders.
fn hold(pool: &MachineConfigPool, pause: Pause) -> Step {
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

fn unpause(pool: &MachineConfigPool) -> Step {
    Step::Unpause {
        pool: pool.name_any(),
        resource_version: pool.resource_version().unwrap_or_default(),
    }
}
