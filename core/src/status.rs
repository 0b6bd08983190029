//! What a profile's status says: the truth at this moment, in words that name the next step. Pure: the time is an
//! argument, and what was said before only keeps the transition times. It never looks at how a step is done.

mod conclusions;
mod daemon;
pub mod findings;
pub mod members;
pub mod news;
mod nodes;
mod pool_word;
pub mod progress;
mod state;
mod why_invalid;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use serde_json::Value;

use crate::api::RealtimeProfile;
use crate::api::realtime_profile::{KernelPageSize, OwnedObject, RealtimeProfileStatus};
use crate::cluster::Cluster;
use crate::conditions::{
    AVAILABLE, DEGRADED, Decided, LATENCY_VERIFIED, PROGRESSING, UPGRADEABLE, VALID, reason,
};
use crate::names;
use crate::openshift::MachineConfigPool;
use crate::problem::Problems;
use crate::render::Rendered;
use crate::rollout::landing::target_name;
use crate::rollout::{Before, Step, Wait};
use crate::validate::ValidProfile;
use findings::Finding;
use progress::{NodeProgress, ProgressPhase};

/// Everything that a status is made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The profile, with its previous status.
    pub profile: &'a RealtimeProfile,
    /// What validation said, warnings included.
    pub problems: &'a Problems,
    /// The valid profile and what it renders to; `None` when it has errors.
    pub wanted: Option<(&'a ValidProfile, &'a Rendered)>,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The steps that were decided.
    pub steps: &'a [Step],
    /// The step that failed, in words.
    pub failure: Option<&'a str>,
}

/// How many nodes one message lists before it counts.
const LISTED: usize = 5;

/// The status.
pub fn status(inputs: &Inputs<'_>, now: &Time) -> RealtimeProfileStatus {
    let profile = inputs.profile;
    let before = profile.status.clone().unwrap_or_default();
    let generation = profile.metadata.generation;
    let view = View::of(inputs);
    let conditions = view.conditions();
    let summary = summary(&conditions);
    let conditions: Vec<Condition> = conditions
        .into_iter()
        .map(|decided| decided.timed(&before.conditions, generation, now))
        .collect();
    RealtimeProfileStatus {
        observed_generation: generation,
        conditions,
        summary: Some(summary.to_owned()),
        kernel: inputs.wanted.map(|(valid, _)| kernel(valid).to_owned()),
        machine_config_pool: view.pool_name.clone(),
        rendered_configuration: view.landed_target(),
        content_hash: inputs
            .wanted
            .map(|(_, rendered)| rendered.content_hash.clone()),
        objects: inputs
            .wanted
            .map(|(_, rendered)| objects(rendered))
            .unwrap_or_default(),
        nodes: Some(view.counts()),
    }
}

/// A status for an object that can't even be read as a profile.
pub fn unreadable(
    before: &RealtimeProfileStatus,
    generation: Option<i64>,
    problems: &str,
    now: &Time,
) -> RealtimeProfileStatus {
    let words = format!("nothing is changed until the object can be read: {problems}");
    let conditions = [
        Decided::new(VALID, Some(false), reason::UNREADABLE, words.clone()),
        Decided::new(AVAILABLE, Some(false), reason::UNREADABLE, words.clone()),
        Decided::new(PROGRESSING, Some(false), reason::UNREADABLE, words.clone()),
        Decided::new(DEGRADED, Some(true), reason::UNREADABLE, words.clone()),
        Decided::new(UPGRADEABLE, Some(false), reason::UNREADABLE, words.clone()),
        Decided::new(LATENCY_VERIFIED, None, reason::UNREADABLE, words),
    ];
    RealtimeProfileStatus {
        observed_generation: generation,
        conditions: conditions
            .into_iter()
            .map(|decided| decided.timed(&before.conditions, generation, now))
            .collect(),
        summary: Some(reason::UNREADABLE.to_owned()),
        ..before.clone()
    }
}

/// The reason of the most important condition: an error, then what is under way, then what is reached.
fn summary(conditions: &[Decided]) -> &'static str {
    let of = |type_: &str, status: bool| {
        conditions
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == Some(status))
            .map(|condition| condition.reason)
    };
    of(VALID, false)
        .or_else(|| of(DEGRADED, true))
        .or_else(|| of(AVAILABLE, true))
        .or_else(|| of(AVAILABLE, false))
        .unwrap_or(reason::WRITING_OBJECTS)
}

fn kernel(valid: &ValidProfile) -> &'static str {
    if valid.kernel.realtime {
        "realtime"
    } else if valid.kernel_page_size == KernelPageSize::Kib64 {
        "64k-pages"
    } else {
        "default"
    }
}

fn objects(rendered: &Rendered) -> Vec<OwnedObject> {
    let text = |object: &Value, pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let hash = format!(
        "/metadata/annotations/{}",
        names::ANNOTATION_CONTENT_HASH.replace('/', "~1")
    );
    rendered
        .objects()
        .iter()
        // An existing pool is not the profile's: it carries no hash of ours.
        .filter(|object| object.pointer(&hash).is_some())
        .map(|object| OwnedObject {
            kind: text(object, "/kind"),
            name: text(object, "/metadata/name"),
            hash: text(object, &hash),
        })
        .collect()
}

/// The inputs, looked at once.
struct View<'a> {
    inputs: &'a Inputs<'a>,
    pool_name: Option<String>,
    pool: Option<&'a MachineConfigPool>,
    nodes: Vec<NodeProgress>,
    findings: Vec<Finding>,
}

impl<'a> View<'a> {
    fn of(inputs: &'a Inputs<'a>) -> Self {
        let profile = inputs.profile;
        let cluster = inputs.cluster;
        let pool_name = cluster.served.machine_configs.then(|| {
            inputs.wanted.map_or_else(
                || members::pool_name(profile),
                |(valid, _)| valid.pool.name.clone(),
            )
        });
        let pool = pool_name
            .as_ref()
            .and_then(|name| cluster.pools.iter().find(|pool| pool.name_any() == *name));
        let wants_realtime = inputs
            .wanted
            .is_some_and(|(valid, _)| valid.kernel.realtime);
        let nodes = match &pool_name {
            Some(name) => progress::node_progress(name, cluster, wants_realtime),
            None => members::without_pools(profile, cluster, wants_realtime),
        };
        let nodes = with_reasons(nodes, inputs.steps);
        let valid = inputs.wanted.map(|(valid, _)| valid);
        let findings = findings::findings(&profile.name_any(), valid, pool, cluster, &nodes);
        Self {
            inputs,
            pool_name,
            pool,
            nodes,
            findings,
        }
    }

    fn wait(&self, found: impl Fn(&Wait) -> bool) -> Option<&Wait> {
        self.inputs.steps.iter().find_map(|step| match step {
            Step::Wait(wait) if found(wait) => Some(wait),
            _ => None,
        })
    }

    /// Whether everything that was written stands in the pool's target.
    fn landed(&self) -> bool {
        self.inputs.wanted.is_some()
            && self.inputs.failure.is_none()
            && !self.inputs.steps.iter().any(|step| {
                writes_objects(step)
                    && !matches!(
                        step,
                        Step::ApplyTuned | Step::ApplyRuntimeClass | Step::EnsureFinalizer
                    )
            })
            && self
                .wait(|wait| {
                    !matches!(
                        wait,
                        Wait::AdminUnpause(_)
                            | Wait::Turns(_)
                            | Wait::NodesGoingBack {
                                before: Before::Nothing,
                                ..
                            }
                    )
                })
                .is_none()
    }

    fn landed_target(&self) -> Option<String> {
        self.pool
            .filter(|_| self.landed())
            .and_then(target_name)
            .map(str::to_owned)
    }

    fn count(&self, phase: impl Fn(ProgressPhase) -> bool) -> usize {
        self.nodes.iter().filter(|node| phase(node.phase)).count()
    }

    fn list(&self, phase: impl Fn(ProgressPhase) -> bool) -> String {
        let names: Vec<String> = self
            .nodes
            .iter()
            .filter(|node| phase(node.phase))
            .map(|node| {
                format!(
                    "{} ({})",
                    node.node,
                    progress::in_words(node.phase, &node.waits_for)
                )
            })
            .collect();
        let more = names.len().saturating_sub(LISTED);
        let mut text = names
            .into_iter()
            .take(LISTED)
            .collect::<Vec<_>>()
            .join(", ");
        if more > 0 {
            text.push_str(" and ");
            text.push_str(&more.to_string());
            text.push_str(" more");
        }
        text
    }

    fn pool_words(&self) -> String {
        self.pool_name.as_ref().map_or_else(
            || "the selected nodes".to_owned(),
            |name| format!("pool {name}"),
        )
    }
}

/// Whether a step writes what the profile renders, and not only a node's turn, its RealtimeNode or the pool's pause.
fn writes_objects(step: &Step) -> bool {
    step.writes()
        && !matches!(
            step,
            Step::ApplyRealtimeNode { .. }
                | Step::DeleteRealtimeNode { .. }
                | Step::GrantTurn { .. }
                | Step::TakeBackTurn { .. }
                | Step::Pause { .. }
                | Step::Unpause { .. }
        )
}

/// Nodes that asked for a turn say what that waits for.
fn with_reasons(mut nodes: Vec<NodeProgress>, steps: &[Step]) -> Vec<NodeProgress> {
    let waits: BTreeMap<&str, &str> = steps
        .iter()
        .filter_map(|step| match step {
            Step::Wait(Wait::Turns(waits)) => Some(waits),
            _ => None,
        })
        .flatten()
        .map(|wait| (wait.node.as_str(), wait.what.as_str()))
        .collect();
    for node in &mut nodes {
        if node.by_daemon
            && node.phase == ProgressPhase::Waiting
            && let Some(what) = waits.get(node.node.as_str())
        {
            (*what).clone_into(&mut node.waits_for);
        }
    }
    nodes
}
