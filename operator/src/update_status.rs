//! Writes a profile's status when it says something new, and the Events that follow. Needs a client; what the status
//! says, and what of it is worth an Event, is `core::status`'s.

use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Resource as _, ResourceExt as _};
use realtime_core::api::RealtimeProfile;
use realtime_core::api::realtime_profile::RealtimeProfileStatus;
use realtime_core::causes;
use realtime_core::conditions;
use realtime_core::names;
use realtime_core::rollout::to_value;
use realtime_core::short;
use realtime_core::status::news::{News, news};
use serde_json::{Map, Value, json};

use crate::apply::resource;
use crate::metrics::Metrics;
use crate::writer::{WriteError, Writer};

/// The longest note that an Event takes (1 kB by its API), in bytes.
const NOTE: usize = 1000;

/// Writes the status if it differs from the one that the profile has.
pub async fn update_status(
    writer: &Writer,
    recorder: &Recorder,
    metrics: &Metrics,
    profile: &RealtimeProfile,
    status: &RealtimeProfileStatus,
) -> Result<(), WriteError> {
    let name = profile.name_any();
    metrics.status(&name, status);
    let before = profile.status.clone().unwrap_or_default();
    if conditions::same_status(&before, status) {
        return Ok(());
    }
    let patch = json!({"status": whole(status)});
    let written = writer
        .merge_status(
            &resource::<RealtimeProfile>(),
            &name,
            &patch,
            names::STATUS_FIELD_MANAGER,
        )
        .await;
    match written {
        // It went away while we looked.
        Err(WriteError::Refused { source, .. }) if matches!(&*source, kube::Error::Api(answer) if answer.code == 404) =>
        {
            return Ok(());
        }
        written => written?,
    };
    for news in news(&before, status) {
        publish(recorder, profile, news).await;
    }
    Ok(())
}

/// A merge patch that leaves nothing of the former status: what is absent is named as null.
fn whole(status: &RealtimeProfileStatus) -> Value {
    const FIELDS: [&str; 9] = [
        "observedGeneration",
        "conditions",
        "summary",
        "kernel",
        "machineConfigPool",
        "renderedConfiguration",
        "contentHash",
        "objects",
        "nodes",
    ];
    let mut value = to_value(status);
    if let Some(fields) = value.as_object_mut() {
        for field in FIELDS {
            fields.entry(field).or_insert(Value::Null);
        }
        if let Some(nodes) = fields.get_mut("nodes").and_then(Value::as_object_mut) {
            nodes.entry("maxLatency").or_insert(Value::Null);
        }
        return value;
    }
    Value::Object(Map::new())
}

/// An Event is a courtesy: that it can't be written holds nothing up.
async fn publish(recorder: &Recorder, profile: &RealtimeProfile, news: News<'_>) {
    let News { bad, condition } = news;
    let event = Event {
        type_: if bad {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: condition.reason.clone(),
        note: Some(short::bytes(&condition.message, NOTE)),
        action: condition.type_.clone(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, &profile.object_ref(&())).await {
        tracing::warn!(
            error = causes::told(&error),
            "an Event could not be written"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_names_what_it_leaves_out() {
        let patch = whole(&RealtimeProfileStatus::default());
        assert_eq!(patch.get("summary"), Some(&Value::Null));
        assert_eq!(patch.get("objects"), Some(&Value::Null));
        let known = serde_json::to_value(RealtimeProfileStatus {
            observed_generation: Some(1),
            conditions: vec![],
            summary: Some(String::new()),
            kernel: Some(String::new()),
            machine_config_pool: Some(String::new()),
            rendered_configuration: Some(String::new()),
            content_hash: Some(String::new()),
            objects: vec![],
            nodes: Some(realtime_core::api::realtime_profile::NodeCounts::default()),
        })
        .unwrap();
        for field in known.as_object().unwrap().keys() {
            assert!(patch.get(field).is_some(), "{field} would be left behind");
        }
    }
}
