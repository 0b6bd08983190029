//! Events about this node, one for each change of phase, bounded. A courtesy: that one can't be written holds nothing up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use realtime_core::names;

use crate::cluster::answer;

/// Events about cluster-scoped objects live there.
const NAMESPACE: &str = "default";
/// The longest note that an Event takes (1 kB by its API), in bytes.
const NOTE: usize = 1000;
/// A switch there and back has about fifteen; a node that flaps must not flood the cluster.
const LIMIT: usize = 40;
/// The time in which at most [`LIMIT`] are written.
const WINDOW: Duration = Duration::from_hours(1);

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Something is wrong.
    pub warning: bool,
    /// Why, in one word: the phase's name or a condition's reason.
    pub reason: String,
    /// Why, in words.
    pub note: String,
}

/// Writes Events.
#[derive(Debug, Default)]
pub struct Events {
    written: VecDeque<Instant>,
    last: Option<News>,
}

impl Events {
    /// Writes one about each of the objects, unless it was the last one or there were too many.
    pub async fn publish(
        &mut self,
        client: &Client,
        node: &str,
        regarding: &[ObjectReference],
        news: News,
    ) {
        if self.last.as_ref() == Some(&news) {
            return;
        }
        for object in regarding {
            if !self.may_write(Instant::now()) {
                return;
            }
            let event = event(node, object, &news, Timestamp::now());
            let api: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
            if let Err(error) = answer(
                "writing an Event",
                api.create(&PostParams::default(), &event),
            )
            .await
            {
                tracing::warn!(%error, "an Event could not be written");
                return;
            }
        }
        self.last = Some(news);
    }

    fn may_write(&mut self, now: Instant) -> bool {
        while self
            .written
            .front()
            .is_some_and(|first| now.duration_since(*first) > WINDOW)
        {
            self.written.pop_front();
        }
        if self.written.len() >= LIMIT {
            return false;
        }
        self.written.push_back(now);
        true
    }
}

fn event(node: &str, regarding: &ObjectReference, news: &News, now: Timestamp) -> Event {
    Event {
        action: Some("SwitchKernel".to_owned()),
        reason: Some(news.reason.clone()),
        note: Some(shortened(&news.note)),
        event_time: Some(MicroTime(now)),
        regarding: Some(regarding.clone()),
        metadata: ObjectMeta {
            namespace: Some(NAMESPACE.to_owned()),
            // Both objects have the node's name: the kind keeps their Events apart.
            name: Some(format!(
                "{node}.{}.{:x}",
                regarding.kind.as_deref().unwrap_or_default().to_lowercase(),
                now.as_nanosecond()
            )),
            ..ObjectMeta::default()
        },
        reporting_controller: Some(names::DAEMON_FIELD_MANAGER.to_owned()),
        reporting_instance: Some(node.chars().take(128).collect()),
        type_: Some(if news.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

fn shortened(note: &str) -> String {
    if note.len() <= NOTE {
        return note.to_owned();
    }
    let mut end = NOTE - '…'.len_utf8();
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", note.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flapping_node_is_bounded_and_speaks_again_later() {
        let mut events = Events::default();
        let start = Instant::now();
        assert!((0..LIMIT).all(|_| events.may_write(start)));
        assert!(!events.may_write(start));
        assert!(events.may_write(start + WINDOW + Duration::from_secs(1)));
    }

    #[test]
    fn a_note_is_cut_at_a_character() {
        assert!(shortened(&"ä".repeat(2000)).len() <= NOTE);
        assert_eq!(shortened("short"), "short");
    }
}
