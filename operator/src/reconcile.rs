//! One round for one profile: dereference, validate, render, apply, update the status. Nothing is remembered from one
//! round to the next; the API server holds everything.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::runtime::events::Recorder;
use realtime_core::api::realtime_profile::RealtimeProfileStatus;
use realtime_core::api::{RealtimeNode, RealtimeProfile};
use realtime_core::cluster::Cluster;
use realtime_core::openshift::MachineConfigPool;
use realtime_core::rollout::{Live, Patience, Step, Wait};
use realtime_core::status::{self, Inputs};
use realtime_core::validate::Validated;
use serde_json::Value;

use crate::apply::{apply, resource};
use crate::caches::{Caches, Source};
use crate::metrics::Metrics;
use crate::render::{Decision, render};
use crate::update_status::update_status;
use crate::validate::validate;
use crate::writer::{WriteError, Writer};

/// What a round needs besides the profile's name.
#[derive(Clone)]
pub struct Context {
    /// The caches.
    pub caches: Arc<Caches>,
    /// The door for writes.
    pub writer: Writer,
    /// Who writes Events.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How long the first report of a node's daemon is waited for.
    pub first_report: Duration,
}

/// What one round stands on.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The profile.
    pub profile: RealtimeProfile,
    /// What of the cluster concerns it.
    pub cluster: Cluster,
    /// What is there under our names.
    pub live: Live,
    /// How long the nodes' first reports are waited for.
    pub patience: Patience,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to do until something changes.
    Settled,
    /// Something was written. Its event comes; but a write that changed nothing has none, so look again in any case.
    Wrote,
    /// The profile is gone.
    Gone,
    /// The caches lag behind our own writes: look again when they have caught up, or soon.
    Stale,
    /// A wait ends by itself after so long.
    Until(Duration),
}

/// The round.
pub async fn reconcile(context: &Context, name: &str) -> Result<Outcome, WriteError> {
    let Some(dereferenced) = context.caches.dereference(name) else {
        return Ok(Outcome::Gone);
    };
    let profile = match dereferenced.source {
        Source::Profile(profile) => *profile,
        Source::Unreadable {
            object,
            status,
            problems,
        } => return unreadable(context, &object.metadata, *status, &problems).await,
    };
    let observation = Observation {
        patience: patience(context.first_report, &dereferenced.cluster),
        profile,
        cluster: dereferenced.cluster,
        live: dereferenced.live,
    };
    if is_stale(&context.writer, &observation) {
        return Ok(Outcome::Stale);
    }
    let validated = validate(&observation);
    let decision = render(&observation, &validated);
    let applied = apply(
        &context.writer,
        &observation,
        decision.rendered.as_ref(),
        &decision.steps,
    )
    .await;
    if applied.as_ref().is_err_and(WriteError::is_race) {
        return applied.map(|()| Outcome::Settled);
    }
    if applied.is_ok() && decision.steps.contains(&Step::ReleaseFinalizer) {
        return Ok(Outcome::Gone);
    }
    let status = status_of(&observation, &validated, &decision, applied.as_ref().err());
    update_status(
        &context.writer,
        &context.recorder,
        &context.metrics,
        &observation.profile,
        &status,
    )
    .await?;
    let wrote = decision.steps.iter().any(Step::writes);
    let until = decision.steps.iter().find_map(|step| match step {
        Step::Wait(Wait::FirstReports { seconds, .. }) => Some(Duration::from_secs(*seconds)),
        Step::Wait(Wait::NodesGoingBack { .. }) => Some(OTHER_POOLS),
        _ => None,
    });
    applied.map(|()| {
        if let Some(until) = until {
            Outcome::Until(until)
        } else if wrote {
            Outcome::Wrote
        } else {
            Outcome::Settled
        }
    })
}

/// When one of the profile's daemons has reported, the others get so many times longer: they are on their way, and each
/// that is waited for in vain costs only time, where each that is not may cost a reboot of every node.
const LONGER: u64 = 6;

/// Nodes that left may be in pools that don't concern the profile otherwise, so that no change of those wakes it. Looking
/// again asks the caches only.
const OTHER_POOLS: Duration = Duration::from_secs(2);

fn patience(first: Duration, cluster: &Cluster) -> Patience {
    let now = Timestamp::now();
    let age = |node: &RealtimeNode| {
        let made = node.metadata.creation_timestamp.as_ref()?.0;
        let seconds = now.as_second().saturating_sub(made.as_second());
        Some((node.name_any(), u64::try_from(seconds).unwrap_or(0)))
    };
    Patience {
        ages: cluster.realtime_nodes.iter().filter_map(age).collect(),
        for_the_first: first.as_secs(),
        for_the_others: first.as_secs().saturating_mul(LONGER),
    }
}

fn status_of(
    observation: &Observation,
    validated: &Validated,
    decision: &Decision,
    failure: Option<&WriteError>,
) -> RealtimeProfileStatus {
    let failure = failure.map(WriteError::to_string);
    status::status(
        &Inputs {
            profile: &observation.profile,
            problems: &validated.problems,
            wanted: validated.profile.as_ref().zip(decision.rendered.as_ref()),
            cluster: &observation.cluster,
            steps: &decision.steps,
            failure: failure.as_deref(),
        },
        &now(),
    )
}

/// A profile that can't even be read gets a condition; nothing else is touched.
async fn unreadable(
    context: &Context,
    metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    before: RealtimeProfileStatus,
    problems: &str,
) -> Result<Outcome, WriteError> {
    let status = status::unreadable(&before, metadata.generation, problems, &now());
    let profile = RealtimeProfile {
        metadata: metadata.clone(),
        spec: realtime_core::api::realtime_profile::RealtimeProfileSpec::default(),
        status: Some(before),
    };
    update_status(
        &context.writer,
        &context.recorder,
        &context.metrics,
        &profile,
        &status,
    )
    .await?;
    Ok(Outcome::Settled)
}

/// Whether a cache doesn't show yet what we wrote ourselves.
fn is_stale(writer: &Writer, observation: &Observation) -> bool {
    let written = &writer.written;
    let profile = &observation.profile;
    let name = profile.name_any();
    let objects = [
        ("KubeletConfig", &observation.live.kubelet_config),
        ("Tuned", &observation.live.tuned),
        ("RuntimeClass", &observation.live.runtime_class),
    ];
    let object = realtime_core::names::object_name(&name);
    let machine = realtime_core::names::machine_config_name(&name);
    let pools = resource::<MachineConfigPool>().kind;
    written.is_stale(
        "RealtimeProfile",
        &name,
        profile.resource_version().as_deref(),
    ) || written.is_stale(
        "MachineConfig",
        &machine,
        version(observation.live.machine_config.as_ref()),
    ) || objects
        .iter()
        .any(|(kind, live)| written.is_stale(kind, &object, version(live.as_ref())))
        || observation.cluster.pools.iter().any(|pool| {
            written.is_stale(&pools, &pool.name_any(), pool.resource_version().as_deref())
        })
        || created_pool_is_unseen(writer, observation)
        || a_realtime_node_is_unseen(writer, observation)
}

/// A RealtimeNode that we just wrote, of which there may be thousands.
fn a_realtime_node_is_unseen(writer: &Writer, observation: &Observation) -> bool {
    let cluster = &observation.cluster;
    let seen: BTreeMap<&str, Option<&str>> = cluster
        .realtime_nodes
        .iter()
        .filter_map(|seen| {
            let metadata = &seen.metadata;
            Some((
                metadata.name.as_deref()?,
                metadata.resource_version.as_deref(),
            ))
        })
        .collect();
    let mut nodes = cluster
        .nodes
        .iter()
        .filter_map(|node| node.metadata.name.as_deref());
    nodes.any(|name| {
        let seen = seen.get(name).copied().flatten();
        writer.written.is_stale("RealtimeNode", name, seen)
    })
}

/// A pool that we just created and that no cache shows yet.
fn created_pool_is_unseen(writer: &Writer, observation: &Observation) -> bool {
    let profile = &observation.profile;
    let name = profile
        .spec
        .pool
        .as_ref()
        .and_then(|pool| pool.name.clone())
        .unwrap_or_else(|| profile.name_any());
    let seen = observation
        .cluster
        .pools
        .iter()
        .any(|pool| pool.name_any() == name);
    !seen && writer.written.is_stale("MachineConfigPool", &name, None)
}

fn version(live: Option<&Value>) -> Option<&str> {
    live?.pointer("/metadata/resourceVersion")?.as_str()
}

fn now() -> Time {
    // Conditions have whole seconds.
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
