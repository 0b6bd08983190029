//! How each live object differs from what was rendered, and the step that follows. Knows nothing of pauses but when
//! what it prunes needs one.

use kube::ResourceExt;
use serde_json::Value;

use super::acceptance::{Acceptance, acceptance};
use super::pause::hold;
use super::{Kind, Live, Pause, Step, Wait, difference, to_value};
use crate::names;
use crate::openshift::{KubeletConfig, MachineConfigPool};
use crate::validate::ValidProfile;

/// How a live object differs from what was rendered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Apply,
    /// To be applied when the Machine Config Operator is done with what is there.
    Later,
    /// It is there, and not wanted; or it must go before its successor comes.
    Delete,
    /// It is being deleted; nothing can be written.
    Going,
}

pub(super) fn change(live: Option<&Value>, wanted: Option<&Value>) -> Change {
    match (live, wanted) {
        (None, None) => Change::None,
        (Some(live), _) if is_going(live) => Change::Going,
        (Some(_), None) => Change::Delete,
        (Some(live), Some(wanted)) if difference::is_as_rendered(live, wanted) => Change::None,
        (_, Some(_)) => Change::Apply,
    }
}

pub(super) fn is_going(live: &Value) -> bool {
    live.pointer("/metadata/deletionTimestamp")
        .is_some_and(|when| !when.is_null())
}

pub(super) fn simple(change: Change, apply: Step, kind: Kind, profile: &str) -> Option<Step> {
    let name = object_of(kind, profile);
    match change {
        Change::None => None,
        Change::Apply => Some(apply),
        Change::Later => Some(Step::Wait(Wait::KubeletConfig(None))),
        Change::Delete => Some(Step::Delete { kind, name }),
        Change::Going => Some(Step::Wait(Wait::Gone(kind, name))),
    }
}

/// The name of a profile's object.
pub(super) fn object_of(kind: Kind, profile: &str) -> String {
    match kind {
        Kind::MachineConfig => names::machine_config_name(profile),
        _ => names::object_name(profile),
    }
}

pub(super) fn runtime_class_step(
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
pub(super) fn kubelet_change(live: &Live, wanted: Option<&Value>) -> Change {
    let selector = "/spec/machineConfigPoolSelector";
    match (&live.kubelet_config, wanted) {
        (Some(there), Some(wanted))
            if !is_going(there) && there.pointer(selector) != wanted.pointer(selector) =>
        {
            Change::Delete
        }
        (Some(there), Some(wanted))
            if is_being_looked_at(there) && there.get("spec") != wanted.get("spec") =>
        {
            match change(Some(there), Some(wanted)) {
                Change::Apply => Change::Later,
                other => other,
            }
        }
        (there, wanted) => change(there.as_ref(), wanted),
    }
}

/// Whether the Machine Config Operator has begun with this generation and not ended. It notes the generation that is
/// there when it ends as the one that it has seen: an edit in between would never be looked at.
fn is_being_looked_at(live: &Value) -> bool {
    let Ok(config) = serde_json::from_value::<KubeletConfig>(live.clone()) else {
        return false;
    };
    // Where nobody ever looked, there may be nobody.
    let begun = config.status.is_some() || config.annotations().contains_key(NAME_SUFFIX);
    begun && acceptance(&config) == Acceptance::Pending
}

/// The first thing that the Machine Config Operator writes on a KubeletConfig.
const NAME_SUFFIX: &str = "machineconfiguration.openshift.io/mc-name-suffix";

/// KubeletConfig, then MachineConfig.
pub(super) fn write(kubelet: Change, machine: Change, valid: &ValidProfile) -> Vec<Step> {
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

/// What carries our label under an old name. A MachineConfig or KubeletConfig among it changes a pool: only while
/// that is held.
pub(super) fn prune(live: &Live, pool: Option<&MachineConfigPool>, pause: Pause) -> Vec<Step> {
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

pub(super) fn changes_pool(step: &Step) -> bool {
    matches!(
        step,
        Step::Delete {
            kind: Kind::KubeletConfig | Kind::MachineConfig,
            ..
        }
    )
}
