//! Events about this node, one for each change of phase, and about pods, bounded. A courtesy: that one can't be written
//! holds nothing up.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use realtime_core::names;
use realtime_core::rt::outcome::PodNews;
use realtime_core::short;

use crate::cluster::{ClusterError, answer};

/// Events about cluster-scoped objects live there.
const NAMESPACE: &str = "default";
/// The longest note that an Event takes (1 kB by its API), in bytes.
const NOTE: usize = 1000;
/// A switch there and back has about fifteen; a node that flaps must not flood the cluster.
const LIMIT: usize = 40;
/// The time in which at most [`LIMIT`] are written.
const WINDOW: Duration = Duration::from_hours(1);

/// Events on pods that may come at once: a node has 250 pods at most.
const BURST: u32 = 300;
/// After a burst, one in each such time.
const EACH: Duration = Duration::from_secs(1);

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

/// Keeps a node whose pods come and go without end from flooding the cluster.
#[derive(Debug)]
pub struct Budgeted {
    left: u32,
    since: Instant,
}

impl Default for Budgeted {
    fn default() -> Self {
        Self {
            left: BURST,
            since: Instant::now(),
        }
    }
}

impl Budgeted {
    /// Returns when another one may be written.
    pub async fn room(&mut self) {
        let earned = self.since.elapsed().as_secs() / EACH.as_secs().max(1);
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(BURST);
            self.left = self.left.saturating_add(earned).min(BURST);
            self.since = Instant::now();
        }
        if self.left == 0 {
            tokio::time::sleep(EACH).await;
            self.since = Instant::now();
        } else {
            self.left -= 1;
        }
    }
}

/// Writes one about a pod, in its namespace.
pub async fn on_pod(client: &Client, node: &str, news: &PodNews) -> Result<(), ClusterError> {
    let (namespace, name) = &news.pod;
    let regarding = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(namespace.clone()),
        name: Some(name.clone()),
        uid: Some(news.uid.clone()),
        ..ObjectReference::default()
    };
    let said = News {
        warning: news.warning,
        reason: news.reason.to_owned(),
        note: news.note.clone(),
    };
    let now = Timestamp::now();
    let mut event = event(node, &regarding, &said, now);
    event.action = Some("ScheduleRealtime".to_owned());
    // A pod's name may be as long as an object's may be at all (253): the time keeps names apart.
    let short: String = name.chars().take(200).collect();
    // Cut in the middle of a name, it may end in what no part of a name ends in.
    let short = short.trim_end_matches(['.', '-']);
    event.metadata.name = Some(format!("{short}.{:x}", now.as_nanosecond()));
    event.metadata.namespace = Some(namespace.clone());
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    let written = answer(
        "writing an Event",
        api.create(&PostParams::default(), &event),
    )
    .await;
    match written {
        // Its namespace is going: nobody will read it.
        Err(ClusterError::Missing { .. }) => Ok(()),
        written => written.map(drop),
    }
}

fn event(node: &str, regarding: &ObjectReference, news: &News, now: Timestamp) -> Event {
    Event {
        action: Some("SwitchKernel".to_owned()),
        reason: Some(news.reason.clone()),
        note: Some(short::bytes(&news.note, NOTE)),
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
}
