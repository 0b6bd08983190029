//! Every change of a cluster as lines of the recordings' form. It decides nothing and changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Prefix that the recordings leave out.
const PREFIX: &str = "machineconfiguration.openshift.io/";

#[derive(Default)]
struct Seen {
    lines: Vec<Value>,
    latest: BTreeMap<(&'static str, String), Value>,
}

/// A growing log.
#[derive(Clone, Default)]
pub struct Log {
    seen: Arc<Mutex<Seen>>,
    news: Arc<Notify>,
    /// Ends the watches with the log.
    watches: Arc<Mutex<JoinSet<()>>>,
}

impl Log {
    /// Starts to watch.
    pub fn start(client: &Client) -> Self {
        let log = Self::default();
        log.watch::<MachineConfigPool>("machineconfigpool", client, pool);
        log.watch::<MachineConfig>("machineconfig", client, machine_config);
        log.watch::<KubeletConfig>("kubeletconfig", client, kubelet_config);
        log.watch::<Node>("node", client, node);
        log.watch::<Event>("event", client, event);
        log
    }

    fn watch<K>(&self, kind: &'static str, client: &Client, trim: fn(&Value) -> Value)
    where
        K: Resource + Clone + DeserializeOwned + Serialize + std::fmt::Debug + Send + 'static,
        K::DynamicType: Default,
    {
        // Not the watches themselves: they would keep each other.
        let log = Self {
            watches: Arc::default(),
            ..self.clone()
        };
        let api: Api<K> = Api::all(client.clone());
        self.watches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .spawn(async move {
                let mut events = watcher(api, watcher::Config::default())
                    .default_backoff()
                    .boxed();
                while let Some(event) = events.next().await {
                    match event {
                        Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                            log.changed(kind, trim(&serde_json::to_value(&object).unwrap()));
                        }
                        Ok(watcher::Event::Delete(object)) => log.deleted(kind, &object.name_any()),
                        _ => {}
                    }
                }
            });
    }

    fn changed(&self, kind: &'static str, object: Value) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind, object["name"].as_str().unwrap_or_default().to_owned());
        let before = seen.latest.insert(key, object.clone());
        if before.as_ref() == Some(&object) {
            return;
        }
        let event = if before.is_none() {
            "ADDED"
        } else {
            "MODIFIED"
        };
        seen.lines
            .push(json!({"event": event, "kind": kind, "object": object}));
        self.news.notify_waiters();
    }

    fn deleted(&self, kind: &'static str, name: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.latest.remove(&(kind, name.to_owned()));
        seen.lines
            .push(json!({"event": "DELETED", "kind": kind, "object": {"name": name}}));
        self.news.notify_waiters();
    }

    /// Forgets the past and begins with what is there.
    pub fn begin(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let objects: Vec<Value> = seen
            .latest
            .iter()
            .filter(|((kind, _), _)| ["machineconfigpool", "kubeletconfig", "node"].contains(kind))
            .map(|((kind, _), object)| {
                let mut object = object.clone();
                object["kind"] = json!(kind);
                object
            })
            .collect();
        seen.lines = vec![json!({"begin": "", "objects": objects})];
    }

    /// The lines since the beginning.
    pub fn lines(&self) -> Vec<Value> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .lines
            .clone()
    }

    /// The object as it is.
    pub fn latest(&self, kind: &'static str, name: &str) -> Value {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.latest
            .get(&(kind, name.to_owned()))
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until the lines, or the latest objects, are as asked.
    pub async fn until(&self, reached: impl Fn(&Self) -> bool) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if reached(self) {
                return;
            }
            news.await;
        }
    }
}

fn named(object: &Value) -> Value {
    json!({"name": object["metadata"]["name"], "labels": object["metadata"]["labels"]})
}

fn owners(object: &Value) -> Value {
    let owners = object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten();
    owners
        .map(|o| {
            json!(format!(
                "{}/{}",
                o["kind"].as_str().unwrap(),
                o["name"].as_str().unwrap()
            ))
        })
        .collect()
}

fn pool(object: &Value) -> Value {
    let (spec, status) = (&object["spec"], &object["status"]);
    let sources = spec["configuration"]["source"]
        .as_array()
        .into_iter()
        .flatten();
    let mut trimmed = named(object);
    trimmed["paused"] = spec["paused"].clone();
    trimmed["maxUnavailable"] = spec["maxUnavailable"].clone();
    trimmed["target"] = spec["configuration"]["name"].clone();
    trimmed["sources"] = sources.map(|source| source["name"].clone()).collect();
    trimmed["current"] = status["configuration"]["name"].clone();
    trimmed["machines"] = json!({
        "total": status["machineCount"],
        "updated": status["updatedMachineCount"],
        "ready": status["readyMachineCount"],
        "unavailable": status["unavailableMachineCount"],
        "degraded": status["degradedMachineCount"],
    });
    trimmed["conditions"] = status["conditions"].clone();
    trimmed
}

fn machine_config(object: &Value) -> Value {
    let mut trimmed = named(object);
    let config = &object["spec"]["config"];
    let files = config["storage"]["files"].as_array().into_iter().flatten();
    trimmed["owners"] = owners(object);
    trimmed["ignition"] = config["ignition"]["version"].clone();
    trimmed["files"] = files.map(|file| file["path"].clone()).collect();
    let mut spec = object["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("config");
    }
    trimmed["spec"] = spec;
    trimmed
}

fn kubelet_config(object: &Value) -> Value {
    let mut trimmed = named(object);
    let metadata = &object["metadata"];
    trimmed["finalizers"] = metadata["finalizers"].clone();
    let suffix = format!("{PREFIX}mc-name-suffix");
    if let Some(value) = metadata["annotations"].get(&suffix) {
        trimmed["annotations"] = json!({suffix: value});
    }
    trimmed["deleting"] = json!(metadata["deletionTimestamp"].is_string());
    trimmed["conditions"] = object["status"]["conditions"].clone();
    trimmed
}

fn node(object: &Value) -> Value {
    let mut trimmed = named(object);
    let annotations = object["metadata"]["annotations"]
        .as_object()
        .into_iter()
        .flatten();
    let annotations: serde_json::Map<String, Value> = annotations
        .filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?.to_owned(), value.clone())))
        .collect();
    trimmed["annotations"] = Value::Object(annotations);
    trimmed["unschedulable"] = object["spec"]["unschedulable"].clone();
    let taints = object["spec"]["taints"].as_array().into_iter().flatten();
    trimmed["taints"] = taints
        .map(|taint| {
            json!(format!(
                "{}:{}",
                taint["key"].as_str().unwrap(),
                taint["effect"].as_str().unwrap()
            ))
        })
        .collect();
    trimmed
}

fn event(object: &Value) -> Value {
    let on = &object["involvedObject"];
    json!({
        "name": object["metadata"]["name"],
        "reason": object["reason"],
        "message": object["message"],
        "on": format!("{}/{}", on["kind"].as_str().unwrap_or_default(), on["name"].as_str().unwrap_or_default()),
        "type": object["type"],
    })
}
