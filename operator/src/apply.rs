//! Does the steps that `core::rollout` decided, in their order. Needs a client; decides nothing.

mod turns;

use futures::TryStreamExt as _;
use kube::ResourceExt as _;
use kube::api::{ApiResource, DynamicObject, Preconditions};
use kube::core::Resource;
use realtime_core::api::{RealtimeNode, RealtimeProfile};
use realtime_core::names;
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool, Tuned};
use realtime_core::render::Rendered;
use realtime_core::rollout::{Kind, Step, applied_pool, difference, no_node, to_value};
use serde_json::{Value, json};

use crate::reconcile::Observation;
use crate::writer::{WriteError, Writer};

/// A kind as the client names it.
pub fn resource<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

fn kind_of(kind: Kind) -> (ApiResource, Option<&'static str>) {
    match kind {
        Kind::KubeletConfig => (resource::<KubeletConfig>(), None),
        Kind::MachineConfig => (resource::<MachineConfig>(), None),
        Kind::Tuned => (resource::<Tuned>(), Some(names::TUNED_NAMESPACE)),
        Kind::RuntimeClass => (resource::<k8s_openapi::api::node::v1::RuntimeClass>(), None),
        Kind::MachineConfigPool => (resource::<MachineConfigPool>(), None),
    }
}

/// Each rendered object by the step that applies it. A new field of `Rendered` fails to compile here.
struct Objects {
    pool: Value,
    kubelet_config: Value,
    machine_config: Value,
    tuned: Value,
    runtime_class: Value,
}

impl Objects {
    fn of(rendered: Option<&Rendered>) -> Self {
        let Some(rendered) = rendered else {
            return Self {
                pool: Value::Null,
                kubelet_config: Value::Null,
                machine_config: Value::Null,
                tuned: Value::Null,
                runtime_class: Value::Null,
            };
        };
        let Rendered {
            pool,
            kubelet_config,
            machine_config,
            tuned,
            runtime_class,
            // Each node's is in its step: not all of a profile's nodes have the same at any time.
            node_spec: _,
            // Stands on the objects and in the status already.
            content_hash: _,
        } = rendered;
        Self {
            pool: pool.as_ref().map_or(Value::Null, applied_pool),
            kubelet_config: to_value(kubelet_config),
            machine_config: to_value(machine_config),
            tuned: to_value(tuned),
            runtime_class: to_value(runtime_class),
        }
    }
}

/// RealtimeNodes of a profile that are written at the same time: enough that the API server and not the way to it
/// says how long thousands take.
const NODES_AT_ONCE: usize = 8;

fn is_of_a_node(step: &Step) -> bool {
    matches!(
        step,
        Step::ApplyRealtimeNode { .. } | Step::DeleteRealtimeNode { .. }
    )
}

/// Does all steps, or those before the first that fails.
pub async fn apply(
    writer: &Writer,
    observation: &Observation,
    rendered: Option<&Rendered>,
    steps: &[Step],
) -> Result<(), WriteError> {
    let objects = Objects::of(rendered);
    // RealtimeNodes don't depend on each other, and there may be thousands. Everything else is done one by one.
    for together in steps.chunk_by(|one, next| is_of_a_node(one) && is_of_a_node(next)) {
        futures::stream::iter(together.iter().map(Ok))
            .try_for_each_concurrent(NODES_AT_ONCE, |step| {
                one(writer, observation, &objects, step)
            })
            .await?;
    }
    Ok(())
}

async fn one(
    writer: &Writer,
    observation: &Observation,
    objects: &Objects,
    step: &Step,
) -> Result<(), WriteError> {
    match step {
        Step::Wait(_) => Ok(()),
        Step::ConfirmUnchanged {
            machine_config,
            resource_version,
        } => {
            let kind = resource::<MachineConfig>();
            unchanged(writer, &kind, machine_config, resource_version).await
        }
        Step::EnsureFinalizer => finalizer(writer, &observation.profile, true).await,
        Step::ReleaseFinalizer => finalizer(writer, &observation.profile, false).await,
        Step::CreatePoolPaused
        | Step::Pause { .. }
        | Step::Unpause { .. }
        | Step::ConfirmPaused { .. }
        | Step::EmptyPool { .. }
        | Step::Nudge { .. }
        | Step::ClearNudge { .. }
        | Step::ReleasePool { .. }
        | Step::ApplyPool => pool(writer, &observation.profile.name_any(), objects, step).await,
        Step::ApplyKubeletConfig => {
            exactly(writer, Kind::KubeletConfig, &objects.kubelet_config).await
        }
        Step::ApplyMachineConfig => {
            exactly(writer, Kind::MachineConfig, &objects.machine_config).await
        }
        Step::ApplyTuned => exactly(writer, Kind::Tuned, &objects.tuned).await,
        Step::ApplyRuntimeClass => {
            exactly(writer, Kind::RuntimeClass, &objects.runtime_class).await
        }
        Step::ApplyRealtimeNode { .. } | Step::DeleteRealtimeNode { .. } => {
            realtime_node(writer, observation, step).await
        }
        Step::RenewLease => writer.renew_lead().await,
        Step::ConfirmTurns { .. } | Step::GrantTurn { .. } | Step::TakeBackTurn { .. } => {
            turns::turn(writer, &observation.profile.name_any(), step).await
        }
        Step::Delete { kind, name } => {
            let (resource, namespace) = kind_of(*kind);
            writer.delete(&resource, namespace, name, None).await
        }
    }
}

/// The steps on a pool.
async fn pool(
    writer: &Writer,
    profile: &str,
    objects: &Objects,
    step: &Step,
) -> Result<(), WriteError> {
    let pools = resource::<MachineConfigPool>();
    match step {
        Step::CreatePoolPaused => {
            let mut pool = objects.pool.clone();
            merge(
                &mut pool,
                &json!({
                    "metadata": {"annotations": {names::ANNOTATION_PAUSED_FOR: profile}},
                    "spec": {"paused": true}
                }),
            );
            // Not a server-side apply: a later apply without `paused` would then unpause.
            writer
                .create(&pools, &pool, names::PAUSE_FIELD_MANAGER)
                .await?;
        }
        Step::Pause {
            pool,
            resource_version,
        } => {
            let patch = json!({
                "metadata": {
                    "resourceVersion": resource_version,
                    "annotations": {names::ANNOTATION_PAUSED_FOR: profile}
                },
                "spec": {"paused": true}
            });
            pause(writer, &pools, pool, &patch).await?;
        }
        Step::Unpause {
            pool,
            resource_version,
        } => {
            let patch = json!({
                "metadata": {
                    "resourceVersion": resource_version,
                    "annotations": {names::ANNOTATION_PAUSED_FOR: null}
                },
                "spec": {"paused": false}
            });
            pause(writer, &pools, pool, &patch).await?;
        }
        Step::ConfirmPaused {
            pool,
            resource_version,
        } => {
            unchanged(writer, &pools, pool, resource_version).await?;
        }
        Step::EmptyPool {
            pool,
            resource_version,
        } => {
            let mut selector = to_value(&no_node());
            // A merge keeps what isn't named.
            merge(&mut selector, &json!({"matchLabels": null}));
            let patch = json!({
                "metadata": {"resourceVersion": resource_version},
                "spec": {"nodeSelector": selector}
            });
            writer
                .merge(&pools, None, pool, &patch, names::FIELD_MANAGER)
                .await?;
        }
        Step::Nudge { pool, leaving: _ } => {
            let patch =
                json!({"metadata": {"annotations": {names::ANNOTATION_NODES_FROM: profile}}});
            writer
                .merge(&pools, None, pool, &patch, names::FIELD_MANAGER)
                .await?;
        }
        Step::ClearNudge { pool } => {
            let patch = json!({"metadata": {"annotations": {names::ANNOTATION_NODES_FROM: null}}});
            writer
                .merge(&pools, None, pool, &patch, names::FIELD_MANAGER)
                .await?;
        }
        Step::ReleasePool { pool } => release(writer, &pools, pool).await?,
        Step::ApplyPool => apply_pool(writer, &pools, &objects.pool).await?,
        _ => {}
    }
    Ok(())
}

/// Applies a pool. One of ours was created under another field manager, so that an apply alone would leave behind what
/// the profile names no more.
async fn apply_pool(
    writer: &Writer,
    pools: &ApiResource,
    wanted: &Value,
) -> Result<(), WriteError> {
    let live = writer
        .apply(pools, None, wanted, names::FIELD_MANAGER)
        .await?;
    let field = "/spec/maxUnavailable";
    let ours = names::ANNOTATION_CREATED_BY.replace('/', "~1");
    let ours = format!("/metadata/annotations/{ours}");
    let left_behind = live
        .data
        .pointer(field)
        .is_some_and(|value| !value.is_null())
        && wanted.pointer(field).is_none();
    if wanted.pointer(&ours).is_none() || !left_behind {
        return Ok(());
    }
    let patch = json!({
        "metadata": {"resourceVersion": live.resource_version()},
        "spec": {"maxUnavailable": null}
    });
    writer
        .merge(pools, None, &live.name_any(), &patch, names::FIELD_MANAGER)
        .await
        .map(drop)
}

/// Whether an object is still at the version on which the decision stands: asked past every cache.
async fn unchanged(
    writer: &Writer,
    kind: &ApiResource,
    name: &str,
    resource_version: &str,
) -> Result<(), WriteError> {
    let now = writer.read(kind, name).await?;
    if now.and_then(|object| object.resource_version()).as_deref() == Some(resource_version) {
        return Ok(());
    }
    Err(WriteError::Changed {
        verb: "confirm",
        kind: kind.kind.clone(),
        name: name.to_owned(),
    })
}

/// The steps on a node's RealtimeNode.
async fn realtime_node(
    writer: &Writer,
    observation: &Observation,
    step: &Step,
) -> Result<(), WriteError> {
    let profile = observation.profile.name_any();
    match step {
        Step::ApplyRealtimeNode { node, spec } => {
            let object = json!({
                "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
                "kind": "RealtimeNode",
                "metadata": {"name": node, "labels": {names::LABEL_PROFILE: profile}},
                "spec": to_value(&**spec)
            });
            writer
                .apply(
                    &resource::<RealtimeNode>(),
                    None,
                    &object,
                    names::FIELD_MANAGER,
                )
                .await?;
        }
        Step::DeleteRealtimeNode { node } => {
            // Only the object that was looked at: another profile may have taken it over.
            let seen = observation
                .cluster
                .realtime_nodes
                .iter()
                .find(|live| live.name_any() == *node);
            let preconditions = Preconditions {
                resource_version: seen.and_then(kube::ResourceExt::resource_version),
                uid: seen.and_then(kube::ResourceExt::uid),
            };
            writer
                .delete(&resource::<RealtimeNode>(), None, node, Some(preconditions))
                .await?;
        }
        _ => {}
    }
    Ok(())
}

async fn pause(
    writer: &Writer,
    pools: &ApiResource,
    pool: &str,
    patch: &Value,
) -> Result<(), WriteError> {
    writer
        .merge(pools, None, pool, patch, names::PAUSE_FIELD_MANAGER)
        .await
        .map(drop)
}

/// Applies an object that is ours alone, and takes out of it what others put in.
async fn exactly(writer: &Writer, kind: Kind, wanted: &Value) -> Result<(), WriteError> {
    let (resource, namespace) = kind_of(kind);
    let live = writer
        .apply(&resource, namespace, wanted, names::FIELD_MANAGER)
        .await?;
    let extra = difference::extra_fields(&to_value(&live), wanted);
    if extra.is_empty() {
        return Ok(());
    }
    let mut patch = json!({"metadata": {"resourceVersion": live.resource_version()}});
    for pointer in extra {
        merge(&mut patch, &removal(&pointer));
    }
    writer
        .merge(
            &resource,
            namespace,
            &live.name_any(),
            &patch,
            names::FIELD_MANAGER,
        )
        .await
        .map(drop)
}

/// A merge patch that removes what a JSON pointer names. Lists are atomic under server-side apply: nothing of ours
/// has anything foreign inside one.
fn removal(pointer: &str) -> Value {
    let path = pointer.trim_start_matches('/');
    path.rsplit('/')
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .fold(Value::Null, |inner, key| {
            Value::Object([(key, inner)].into_iter().collect())
        })
}

/// Gives up what we applied on a pool that stays. Bound to the version that was read: an apply would create what isn't there.
async fn release(writer: &Writer, pools: &ApiResource, pool: &str) -> Result<(), WriteError> {
    let Some(live) = writer.read(pools, pool).await? else {
        return Ok(());
    };
    let ours = live.metadata.managed_fields.iter().flatten().any(|entry| {
        entry.manager.as_deref() == Some(names::FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
    });
    if !ours {
        return Ok(());
    }
    let nothing = json!({
        "apiVersion": pools.api_version,
        "kind": pools.kind,
        "metadata": {"name": pool, "resourceVersion": live.resource_version()}
    });
    writer
        .apply(pools, None, &nothing, names::FIELD_MANAGER)
        .await
        .map(drop)
}

async fn finalizer(
    writer: &Writer,
    profile: &RealtimeProfile,
    wanted: bool,
) -> Result<(), WriteError> {
    let mut finalizers: Vec<String> = profile
        .finalizers()
        .iter()
        .filter(|finalizer| *finalizer != names::FINALIZER)
        .cloned()
        .collect();
    if wanted {
        finalizers.push(names::FINALIZER.to_owned());
    }
    let patch = json!({
        "metadata": {"resourceVersion": profile.resource_version(), "finalizers": finalizers}
    });
    writer
        .merge(
            &resource::<RealtimeProfile>(),
            None,
            &profile.name_any(),
            &patch,
            names::STATUS_FIELD_MANAGER,
        )
        .await
        .map(|_: DynamicObject| ())
}

/// Lays one object over another.
fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_becomes_a_removing_merge_patch() {
        assert_eq!(
            removal("/spec/a~1b/c"),
            json!({"spec": {"a/b": {"c": null}}})
        );
    }

    #[test]
    fn removals_are_laid_over_each_other() {
        let mut patch = json!({});
        merge(&mut patch, &removal("/spec/a"));
        merge(&mut patch, &removal("/spec/b/c"));
        assert_eq!(patch, json!({"spec": {"a": null, "b": {"c": null}}}));
    }
}
