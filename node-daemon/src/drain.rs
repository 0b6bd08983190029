//! Empties the node of what must not be killed by a reboot: one pass lists its pods and asks for the eviction of each
//! that must go. PodDisruptionBudgets hold; nothing is deleted past them. What must go is `select`'s.

mod select;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{ListParams, PartialObjectMeta, PostParams};
use kube::core::Status;
use kube::{Api, Client, ResourceExt as _};
use realtime_core::kernel::Drain;
use realtime_core::{names, short};
use serde_json::{Value, json};

use crate::cluster::{ANSWER, ClusterError, answer};
pub use select::must_go;

/// Evictions that are asked for at the same time.
const AT_ONCE: usize = 8;
/// Pods that are told by name; of the others the number.
const TOLD: usize = 20;
/// The longest reason of a pod, in characters: an admission webhook may say anything.
const REASON: usize = 200;

/// Who comes later than this after the cordon tolerates it, or names the node itself, and would come again: it is not chased.
/// (As with kubectl's drain, which looks once.) Clocks of node and API server may differ by less.
const LATE: SignedDuration = SignedDuration::from_secs(60);

/// One pass: what must go is asked to go, once. Pods that are on their way out are awaited and not asked again. `since`: when
/// the node was cordoned.
pub async fn pass(
    client: &Client,
    node: &str,
    since: Timestamp,
    now: Timestamp,
) -> Result<Drain, ClusterError> {
    let pods = pods(client, node, since).await?;
    if pods.is_empty() {
        return Ok(Drain::Done);
    }
    let count = pods.len();
    let mut told: Vec<String> = stream::iter(pods)
        .map(|pod| async move {
            let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
            match stays(client, &pod, now).await {
                Ok(None) => Ok(None),
                Ok(Some(reason)) => Ok(Some(format!("{name}: {}", bounded(&reason)))),
                Err(error) => Err(error),
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    if told.is_empty() {
        return Ok(Drain::Done);
    }
    told.sort();
    if told.len() > TOLD {
        told.truncate(TOLD);
        told.push(format!("and {} more", count.saturating_sub(TOLD)));
    }
    let seconds = now.as_second().saturating_sub(since.as_second());
    Ok(Drain::Remaining {
        pods: told,
        seconds: u64::try_from(seconds).unwrap_or(0),
    })
}

/// The pods of the node that must go. Only their metadata is read.
async fn pods(
    client: &Client,
    node: &str,
    since: Timestamp,
) -> Result<Vec<PartialObjectMeta<Pod>>, ClusterError> {
    let action = format!("listing the pods of Node {node}");
    let api: Api<Pod> = Api::all(client.clone());
    let fields = format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed");
    let list = answer(
        &action,
        api.list_metadata(&ListParams::default().fields(&fields)),
    )
    .await?;
    let came_late = |pod: &PartialObjectMeta<Pod>| {
        let created = pod.metadata.creation_timestamp.as_ref();
        created.is_some_and(|created| created.0.duration_since(since) > LATE)
    };
    let pods = list.items.into_iter().filter(must_go);
    Ok(pods.filter(|pod| !came_late(pod)).collect())
}

/// Asks a pod to go. `None`: it is gone; otherwise why it is still there.
async fn stays(
    client: &Client,
    pod: &PartialObjectMeta<Pod>,
    now: Timestamp,
) -> Result<Option<String>, ClusterError> {
    if let Some(deadline) = &pod.metadata.deletion_timestamp {
        // The deletionTimestamp is when its grace period ends.
        let late = now.as_second().saturating_sub(deadline.0.as_second());
        return Ok(Some(if late > 60 {
            format!(
                "was told to end and is {late} s late; look at its finalizers and at this node's kubelet"
            )
        } else {
            "is ending".to_owned()
        }));
    }
    let name = pod.name_any();
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    // The uid, so that a pod of the same name that has just come elsewhere is left alone.
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": pod.namespace()},
        "deleteOptions": {"preconditions": {"uid": pod.uid()}},
    });
    let params = PostParams {
        field_manager: Some(names::DAEMON_FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let request = api.create_subresource::<Value, Status>("eviction", &name, &params, &eviction);
    let action = format!("evicting {}/{name}", pod.namespace().unwrap_or_default());
    let Ok(answered) = tokio::time::timeout(ANSWER, request).await else {
        // A webhook that hangs is the pod's matter, and holds no other pod up.
        return Ok(Some("its eviction was not answered".to_owned()));
    };
    match answered {
        Ok(_) => {
            tracing::info!(pod = action, "asked to end");
            Ok(Some("is ending".to_owned()))
        }
        Err(kube::Error::Api(status)) => Ok(match status.code {
            // Gone, or another pod by now: the next pass sees.
            404 => None,
            409 => Some("was replaced".to_owned()),
            429 => Some(blocked(&status)),
            // More than one budget, a webhook that refuses, a namespace that is being deleted: told, and tried again.
            _ => Some(format!("can't be evicted: {}", status.message)),
        }),
        Err(error) => Err(ClusterError::new(&action, error)),
    }
}

/// A PodDisruptionBudget's words: its message says nothing, its causes do.
fn blocked(status: &Status) -> String {
    let causes = status.details.as_ref().map(|details| &details.causes);
    let words: Vec<&str> = causes
        .into_iter()
        .flatten()
        .map(|cause| cause.message.as_str())
        .filter(|words| !words.is_empty())
        .collect();
    if words.is_empty() {
        format!("a PodDisruptionBudget holds it: {}", status.message)
    } else {
        format!("a PodDisruptionBudget holds it: {}", words.join("; "))
    }
}

/// An admission webhook's words, or a budget's.
fn bounded(reason: &str) -> String {
    short::characters(&short::one_line(reason), REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_bounded_line() {
        assert_eq!(bounded("a\nb"), "a b");
        assert_eq!(bounded(&"ä".repeat(500)).chars().count(), REASON);
    }

    #[test]
    fn a_budget_is_told_in_its_own_words() {
        let status: Status = serde_json::from_value(json!({
            "status": "Failure", "message": "Cannot evict pod as it would violate the pod's disruption budget.",
            "reason": "TooManyRequests", "code": 429,
            "details": {"causes": [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 1 healthy pods and has 1 currently"}]}
        }))
        .unwrap();
        assert_eq!(
            blocked(&status),
            "a PodDisruptionBudget holds it: The disruption budget web needs 1 healthy pods and has 1 currently"
        );
    }
}
