//! What the stand-in has seen of the cluster. Only a cache: it asks and writes nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool};

/// Objects by name.
#[derive(Debug)]
pub struct Store<K> {
    objects: BTreeMap<String, K>,
    /// Names that a new listing has brought so far; `None` outside of one.
    listing: Option<Vec<String>>,
    /// Whether a first listing is complete.
    pub complete: bool,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            listing: None,
            complete: false,
        }
    }
}

impl<K: Resource + Clone> Store<K> {
    /// The object of that name.
    pub fn get(&self, name: &str) -> Option<&K> {
        self.objects.get(name)
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<K> {
        self.objects.values().cloned().collect()
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        self.objects.keys().cloned().collect()
    }

    /// Takes an object in unless a newer one is there (an answer to a write comes before its event).
    /// Returns the one before it; `None` too when the object is no news.
    pub fn apply(&mut self, object: K) -> Option<K> {
        if self.is_news(&object) {
            self.objects.insert(object.name_any(), object)
        } else {
            None
        }
    }

    fn is_news(&self, object: &K) -> bool {
        let known = self.objects.get(&object.name_any());
        known.is_none_or(|known| version(known) < version(object))
    }

    /// Takes an event in; returns the objects that it changes, as they were and as they are; none when it is no news.
    pub fn event(&mut self, event: watcher::Event<K>) -> Vec<K> {
        match event {
            watcher::Event::Init => {
                self.listing = Some(Vec::new());
                Vec::new()
            }
            watcher::Event::InitApply(object) => {
                if let Some(listing) = &mut self.listing {
                    listing.push(object.name_any());
                }
                self.applied(object)
            }
            watcher::Event::InitDone => {
                self.complete = true;
                let listed = self.listing.take().unwrap_or_default();
                let gone: Vec<String> = self
                    .objects
                    .keys()
                    .filter(|name| !listed.contains(name))
                    .cloned()
                    .collect();
                gone.iter()
                    .filter_map(|name| self.objects.remove(name))
                    .collect()
            }
            watcher::Event::Apply(object) => self.applied(object),
            watcher::Event::Delete(object) => {
                let name = object.name_any();
                // Deleted and made again before the event came.
                if self
                    .objects
                    .get(&name)
                    .is_some_and(|known| known.uid() == object.uid())
                {
                    self.objects.remove(&name);
                }
                vec![object]
            }
        }
    }

    fn applied(&mut self, object: K) -> Vec<K> {
        if !self.is_news(&object) {
            return Vec::new();
        }
        let before = self.apply(object.clone());
        before.into_iter().chain([object]).collect()
    }
}

fn version<K: Resource>(object: &K) -> u64 {
    object
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

/// Everything that the stand-in watches.
#[derive(Debug, Default)]
pub struct World {
    /// Pools.
    pub pools: Store<MachineConfigPool>,
    /// MachineConfigs, rendered ones included.
    pub configs: Store<MachineConfig>,
    /// KubeletConfigs.
    pub kubelet_configs: Store<KubeletConfig>,
    /// Nodes.
    pub nodes: Store<Node>,
}

impl World {
    /// Whether every kind was listed once: before, an absent object may be there.
    pub fn is_complete(&self) -> bool {
        let Self {
            pools,
            configs,
            kubelet_configs,
            nodes,
        } = self;
        pools.complete && configs.complete && kubelet_configs.complete && nodes.complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, version: &str) -> Node {
        serde_json::from_value(
            json!({"metadata": {"name": name, "resourceVersion": version, "uid": name}}),
        )
        .unwrap()
    }

    #[test]
    fn an_older_event_never_replaces_a_newer_answer() {
        let mut store = Store::default();
        store.apply(node("a", "9"));
        store.event(watcher::Event::Apply(node("a", "8")));
        assert_eq!(store.get("a").unwrap().resource_version().unwrap(), "9");
    }

    #[test]
    fn a_new_listing_removes_what_is_gone() {
        let mut store = Store::default();
        store.apply(node("a", "1"));
        store.event(watcher::Event::Init);
        store.event(watcher::Event::InitApply(node("b", "2")));
        assert_eq!(store.event(watcher::Event::InitDone).len(), 1);
        assert_eq!(store.names(), ["b"]);
        assert!(store.complete);
    }
}
