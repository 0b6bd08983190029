//! Keeps the one ConfigMap that pods' admission reads: which namespaces each profile lets ask. What is in it is
//! `core::rt::selectors`' to say; here it is watched, and written when it differs, whoever changed it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use realtime_core::causes;
use realtime_core::names;
use realtime_core::rt::selectors;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::apply::resource;
use crate::capacity::stopped;
use crate::controller::sleep_until;
use crate::leadership::Leadership;
use crate::queue::Queue;
use crate::reconcile::Context;
use crate::writer::WriteError;

/// The watch shows a write after so long, should no change come.
const STALE: Duration = Duration::from_millis(100);
/// It is looked at again so soon after a write, to see that it stayed so.
const AGAIN: Duration = Duration::from_millis(100);

/// Runs until `stop` says true. `profiles` hears of each change of a profile.
pub async fn run(
    context: Context,
    client: Client,
    namespace: String,
    mut leadership: Leadership,
    mut profiles: watch::Receiver<()>,
    mut stop: watch::Receiver<bool>,
) {
    let name = names::CONFIG_MAP_NAMESPACES;
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let mut events = Box::pin(watcher::watch_object(api, name).default_backoff());
    let mut seen: Option<Option<ConfigMap>> = None;
    // Of one name: for its waits after failures.
    let mut queue = Queue::default();
    let mut wrote = None;
    loop {
        let leads = leadership.holds();
        if let Some(live) = seen.as_ref().filter(|_| leads)
            && queue.take(Instant::now()).is_some()
        {
            let outcome = round(&context, &namespace, live.as_ref()).await;
            queue.done(name);
            ended(&mut queue, &mut wrote, name, outcome);
        }
        let due = queue.next_due().filter(|_| leads && seen.is_some());
        tokio::select! {
            () = stopped(&mut stop) => return,
            Some(event) = events.next() => match event {
                Ok(live) => {
                    seen = Some(live);
                    look_soon(&mut queue, name);
                }
                Err(error) => tracing::warn!(kind = "ConfigMap", name, error = causes::told(&error), "a watch failed and is started anew"),
            },
            Ok(()) = profiles.changed() => queue.add(name.to_owned(), Instant::now()),
            () = sleep_until(due) => {}
            () = async { if leads { leadership.lost().await } else { leadership.acquired().await } } => {
                queue.add(name.to_owned(), Instant::now());
            }
        }
    }
}

/// Unless it waits already: another writer that undoes what is written here must not make two of them spin.
fn look_soon(queue: &mut Queue, name: &str) {
    if !queue.waits(name) {
        queue.add(name.to_owned(), Instant::now());
    }
}

enum Outcome {
    /// It is as it should be.
    Same,
    /// This was written.
    Wrote(BTreeMap<String, String>),
    /// The watch doesn't show yet what was written.
    Stale,
}

async fn round(
    context: &Context,
    namespace: &str,
    live: Option<&ConfigMap>,
) -> Result<Outcome, WriteError> {
    let name = names::CONFIG_MAP_NAMESPACES;
    let writer = &context.writer;
    let version = live.and_then(kube::ResourceExt::resource_version);
    if writer
        .written
        .is_stale("ConfigMap", name, version.as_deref())
    {
        return Ok(Outcome::Stale);
    }
    let nothing = BTreeMap::new();
    let before = live.and_then(|live| live.data.as_ref()).unwrap_or(&nothing);
    let caches = &context.caches;
    let wanted = caches.with_pod_budgets(|profiles| selectors::data(profiles, before));
    let (kind, manager) = (resource::<ConfigMap>(), names::FIELD_MANAGER);
    let namespace = Some(namespace);
    match live {
        None => {
            let object = created(namespace, &wanted);
            writer.apply(&kind, namespace, &object, manager).await?;
        }
        Some(_) if *before == wanted => return Ok(Outcome::Same),
        Some(live) => {
            let patch = change(live, before, &wanted);
            writer
                .merge(&kind, namespace, name, &patch, manager)
                .await?;
        }
    }
    Ok(Outcome::Wrote(wanted))
}

fn created(namespace: Option<&str>, wanted: &BTreeMap<String, String>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names::CONFIG_MAP_NAMESPACES, "namespace": namespace},
        "data": wanted
    })
}

/// Only at the version that was looked at: what is kept of it (see `core::rt::selectors`) must not be an older one.
fn change(
    live: &ConfigMap,
    before: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> Value {
    let gone = before.keys().filter(|key| !wanted.contains_key(*key));
    let gone = gone.map(|key| (key, Value::Null));
    let changed = wanted
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value));
    let changed = changed.map(|(key, value)| (key, Value::from(value.as_str())));
    let data: BTreeMap<&String, Value> = gone.chain(changed).collect();
    json!({"metadata": {"resourceVersion": live.resource_version()}, "data": data})
}

/// `wrote` is what was just written, until it was looked at once more.
fn ended(
    queue: &mut Queue,
    wrote: &mut Option<BTreeMap<String, String>>,
    name: &str,
    outcome: Result<Outcome, WriteError>,
) {
    let now = Instant::now();
    match outcome {
        Ok(Outcome::Same) => {
            queue.succeeded(name);
            *wrote = None;
        }
        Ok(Outcome::Stale) => queue.add_after(name.to_owned(), STALE, now),
        // Looked at again in any case, after a wait that grows as long as the same is written again and again.
        Ok(Outcome::Wrote(data)) if wrote.as_ref() == Some(&data) => {
            queue.failed(name.to_owned(), now);
        }
        Ok(Outcome::Wrote(data)) => {
            queue.succeeded(name);
            queue.add_after(name.to_owned(), AGAIN, now);
            *wrote = Some(data);
        }
        // Whoever comes to lead looks.
        Err(WriteError::NotLeading) => {}
        Err(error) => {
            if !error.is_race() {
                tracing::warn!(
                    error = causes::told(&error),
                    "the namespaces' selectors can't be written"
                );
            }
            queue.failed(name.to_owned(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_change_names_what_differs_and_removes_what_nobody_wants() {
        let mut live = ConfigMap::default();
        live.metadata.resource_version = Some("7".to_owned());
        let before = map(&[("a", "Exists x"), ("b", "In k v"), ("theirs", "x")]);
        let wanted = map(&[("a", "Exists x"), ("b", ""), ("c", "In k w")]);
        assert_eq!(
            change(&live, &before, &wanted),
            json!({
                "metadata": {"resourceVersion": "7"},
                "data": {"b": "", "c": "In k w", "theirs": null}
            })
        );
    }
}
