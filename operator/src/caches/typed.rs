//! What cached objects are as a type: read once for each version and not once for each round. Remembers nothing that
//! the cache doesn't hold.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use kube::api::DynamicObject;
use kube::runtime::reflector::Store;
use kube::{Resource as _, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// The typed objects of a cache, by resourceVersion; `None` for one that can't be read.
#[derive(Debug)]
pub struct Typed<K>(Mutex<HashMap<String, Option<K>>>);

impl<K> Default for Typed<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + DeserializeOwned> Typed<K> {
    /// All objects of the cache that can be read.
    pub fn all(&self, store: &Store<DynamicObject>) -> Vec<K> {
        let objects = store.state();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let typed = objects
            .iter()
            .filter_map(|object| match object.resource_version() {
                // No two versions of any two objects of a kind have the same.
                Some(version) => known
                    .entry(version)
                    .or_insert_with(|| typed(object))
                    .clone(),
                None => typed(object),
            })
            .collect();
        if known.len() > 2 * objects.len() {
            let current: HashSet<&str> = objects
                .iter()
                .filter_map(|object| object.meta().resource_version.as_deref())
                .collect();
            known.retain(|version, _| current.contains(version.as_str()));
        }
        typed
    }
}

/// An object as its type, if it can be read so.
pub fn typed<K: DeserializeOwned>(object: &DynamicObject) -> Option<K> {
    let mut value = serde_json::to_value(object).ok()?;
    // A MachineConfig may be stored without a spec, and is a source of its pool all the same.
    value
        .as_object_mut()?
        .entry("spec")
        .or_insert_with(|| Value::Object(Map::new()));
    serde_json::from_value(value).ok()
}

#[cfg(test)]
mod tests {
    use kube::api::ApiResource;
    use kube::runtime::reflector::store::Writer;
    use kube::runtime::watcher;
    use realtime_core::openshift::{KubeletConfig, MachineConfig};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_machine_config_without_a_spec_is_seen() {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
            "metadata": {"name": "bare"}
        }))
        .expect("an object");
        assert!(typed::<MachineConfig>(&object).is_some());
    }

    #[test]
    fn the_newest_version_is_read_and_the_unreadable_left_out() {
        let kind = ApiResource::erase::<KubeletConfig>(&());
        let mut writer = Writer::<DynamicObject>::new(kind.clone());
        let store = writer.as_reader();
        let typed = Typed::<KubeletConfig>::default();
        for version in 1..10 {
            let mut object = DynamicObject::new("a", &kind);
            object.metadata.resource_version = Some(version.to_string());
            object.data = json!({"spec": {"logLevel": version}});
            writer.apply_watcher_event(&watcher::Event::Apply(object.clone()));
            let levels: Vec<_> = typed
                .all(&store)
                .into_iter()
                .map(|all| all.spec.log_level)
                .collect();
            assert_eq!(levels, [Some(version)]);
            assert!(typed.0.lock().unwrap().len() <= 2);
            object.metadata.resource_version = Some(format!("1{version}"));
            object.data = json!({"spec": {"logLevel": "no number"}});
            writer.apply_watcher_event(&watcher::Event::Apply(object));
            assert_eq!(typed.all(&store).len(), 0);
        }
    }
}
