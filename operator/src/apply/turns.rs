//! Does the steps of turns: the look past every cache before a grant, the grant, and taking it back. Decides nothing;
//! why two leaders that overlap can't grant more than one alone would is in docs/decisions/turns.md.

use kube::ResourceExt as _;
use kube::api::DynamicObject;
use realtime_core::api::RealtimeNode;
use realtime_core::names;
use realtime_core::rollout::Step;
use serde_json::{Value, json};

use super::resource;
use crate::writer::{WriteError, Writer};

/// One of these steps.
pub(super) async fn turn(writer: &Writer, profile: &str, step: &Step) -> Result<(), WriteError> {
    match step {
        Step::ConfirmTurns { nodes } => {
            fence(writer, profile).await?;
            confirm(writer, profile, nodes).await
        }
        Step::GrantTurn {
            node,
            resource_version,
        } => label(writer, node, resource_version, &json!(names::TURN_GRANTED)).await,
        Step::TakeBackTurn {
            node,
            resource_version,
        } => label(writer, node, resource_version, &Value::Null).await,
        _ => Ok(()),
    }
}

/// Only at the version on which the decision stands.
async fn label(
    writer: &Writer,
    node: &str,
    resource_version: &str,
    value: &Value,
) -> Result<(), WriteError> {
    let patch = json!({
        "metadata": {"resourceVersion": resource_version, "labels": {names::LABEL_TURN: value}}
    });
    patch_node(writer, node, &patch).await
}

async fn patch_node(writer: &Writer, node: &str, patch: &Value) -> Result<(), WriteError> {
    let kind = resource::<RealtimeNode>();
    match writer
        .merge(&kind, None, node, patch, names::TURN_FIELD_MANAGER)
        .await
    {
        // It went away while we looked.
        Err(WriteError::Refused { source, .. }) if matches!(&*source, kube::Error::Api(answer) if answer.code == 404) => {
            Err(changed("patch", node))
        }
        written => written.map(drop),
    }
}

fn changed(verb: &'static str, name: &str) -> WriteError {
    WriteError::Changed {
        verb,
        kind: "RealtimeNode".to_owned(),
        name: name.to_owned(),
    }
}

/// The turns that are given must be those on which the decision stands.
async fn confirm(writer: &Writer, profile: &str, believed: &[String]) -> Result<(), WriteError> {
    let labels = format!(
        "{}={},{}={profile}",
        names::LABEL_TURN,
        names::TURN_GRANTED,
        names::LABEL_PROFILE
    );
    let mut given: Vec<String> = writer
        .list(&resource::<RealtimeNode>(), &labels)
        .await?
        .iter()
        .map(DynamicObject::name_any)
        .collect();
    given.sort();
    if given == believed {
        Ok(())
    } else {
        Err(changed("confirm the turns of", profile))
    }
}

/// Once in each lead, before its first grant: every RealtimeNode that could be granted a turn is written, so that a
/// grant of a former leader that is still on its way finds another resourceVersion than it names.
async fn fence(writer: &Writer, profile: &str) -> Result<(), WriteError> {
    let Some(lead) = writer.unfenced_lead(profile) else {
        return Ok(());
    };
    let labels = format!("{}={profile}", names::LABEL_PROFILE);
    let kind = resource::<RealtimeNode>();
    let mut wrote = false;
    for node in writer.list(&kind, &labels).await? {
        let wants = node.data.pointer("/status/turn").and_then(Value::as_str) == Some("Wanted");
        if !wants || node.labels().contains_key(names::LABEL_TURN) {
            continue;
        }
        let patch = json!({"metadata": {"annotations": {names::ANNOTATION_LEAD: lead}}});
        patch_node(writer, &node.name_any(), &patch).await?;
        wrote = true;
    }
    writer.fenced(profile, lead);
    if wrote {
        return Err(changed("fence the turns of", profile));
    }
    Ok(())
}
