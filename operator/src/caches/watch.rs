//! One watch: a cache that is kept up to date, and a word for each change that matters. Knows no kind.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use futures::{FutureExt as _, StreamExt as _};
use kube::api::{ApiResource, DynamicObject};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use realtime_core::causes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Change, Guarded};

/// Objects that a list brings at once: a hundred nodes are 2 MB on their way here, and several times as much while
/// they are read.
const PAGE: u32 = 100;

/// Completes when a cache has been filled once.
pub type Filled = futures::future::Shared<futures::future::BoxFuture<'static, ()>>;

/// Starts watches.
pub struct Starter {
    /// For all of them.
    pub client: Client,
    /// Hears of every change.
    pub changes: mpsc::UnboundedSender<Change>,
    /// One for each watch.
    pub filled: Vec<Filled>,
    /// End when this is dropped.
    pub watches: JoinSet<()>,
}

/// What a watch does with its objects.
struct Rules<K> {
    /// Takes away what no decision needs.
    trim: Box<dyn Fn(&mut K) + Send + Sync>,
    /// A hash over the rest: a change that leaves it as it was wakes nobody.
    content: fn(&K) -> u64,
    /// Whom a change concerns.
    concerns: Box<dyn Fn(&K) -> Change + Send + Sync>,
    /// Hears the name of each object that changed or went, too.
    by_name: Option<ByName>,
}

/// Hears the names of objects that changed or went, once the cache shows it.
pub type ByName = Box<dyn Fn(String) + Send + Sync>;

impl Starter {
    /// Watches a kind that has a type of its own. One that isn't served has an empty cache.
    pub fn typed<K>(
        &mut self,
        served: bool,
        trim: fn(&mut K),
        concerns: impl Fn(&DeserializeGuard<K>) -> Change + Send + Sync + 'static,
    ) -> Guarded<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Serialize,
        K: Clone + Debug + Send + Sync + 'static,
    {
        self.typed_and(served, trim, concerns, None)
    }

    /// The same, and tells changes by name.
    pub fn typed_by_name<K>(
        &mut self,
        trim: fn(&mut K),
        concerns: impl Fn(&DeserializeGuard<K>) -> Change + Send + Sync + 'static,
        by_name: ByName,
    ) -> Guarded<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Serialize,
        K: Clone + Debug + Send + Sync + 'static,
    {
        self.typed_and(true, trim, concerns, Some(by_name))
    }

    fn typed_and<K>(
        &mut self,
        served: bool,
        trim: fn(&mut K),
        concerns: impl Fn(&DeserializeGuard<K>) -> Change + Send + Sync + 'static,
        by_name: Option<ByName>,
    ) -> Guarded<K>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned + Serialize,
        K: Clone + Debug + Send + Sync + 'static,
    {
        let rules = Rules {
            trim: Box::new(move |object: &mut DeserializeGuard<K>| {
                object.managed_fields_mut().clear();
                if let Ok(object) = &mut object.0 {
                    trim(object);
                }
                super::trim::compact(object);
            }),
            content: |object| object.0.as_ref().map_or(0, content),
            concerns: Box::new(concerns),
            by_name,
        };
        let api = Api::all(self.client.clone());
        let config = watcher::Config::default().page_size(PAGE);
        self.watch(served.then_some(api), (), config, rules)
    }

    /// Watches a kind as it is, all of it or what carries a label.
    pub fn dynamic(
        &mut self,
        served: bool,
        resource: &ApiResource,
        label: Option<&str>,
        concerns: impl Fn(&DynamicObject) -> Change + Send + Sync + 'static,
    ) -> Store<DynamicObject> {
        self.dynamic_and(served, resource, label, concerns, None)
    }

    /// All of a kind as it is, and tells changes by name.
    pub fn dynamic_by_name(
        &mut self,
        resource: &ApiResource,
        concerns: impl Fn(&DynamicObject) -> Change + Send + Sync + 'static,
        by_name: ByName,
    ) -> Store<DynamicObject> {
        self.dynamic_and(true, resource, None, concerns, Some(by_name))
    }

    fn dynamic_and(
        &mut self,
        served: bool,
        resource: &ApiResource,
        label: Option<&str>,
        concerns: impl Fn(&DynamicObject) -> Change + Send + Sync + 'static,
        by_name: Option<ByName>,
    ) -> Store<DynamicObject> {
        let rules = Rules {
            trim: Box::new(|object: &mut DynamicObject| object.managed_fields_mut().clear()),
            content,
            concerns: Box::new(concerns),
            by_name,
        };
        let config = match label {
            Some(label) => watcher::Config::default().labels(label),
            None => watcher::Config::default(),
        };
        let api = Api::all_with(self.client.clone(), resource);
        self.watch(served.then_some(api), resource.clone(), config, rules)
    }

    fn watch<K>(
        &mut self,
        api: Option<Api<K>>,
        kind: K::DynamicType,
        config: watcher::Config,
        rules: Rules<K>,
    ) -> Store<K>
    where
        K: Resource + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
        K::DynamicType: Hash + Eq + Clone + Send + Sync + Unpin + Debug,
    {
        let mut writer = Writer::<K>::new(kind.clone());
        let store = writer.as_reader();
        let Some(api) = api else {
            writer.apply_watcher_event(&watcher::Event::Init);
            writer.apply_watcher_event(&watcher::Event::InitDone);
            return store;
        };
        let ready = {
            let store = store.clone();
            // An error says that the watch has ended, which it does only with the process.
            async move { store.wait_until_ready().await.unwrap_or(()) }
        };
        self.filled.push(ready.boxed().shared());
        let changes = self.changes.clone();
        self.watches.spawn(async move {
            let name = K::kind(&kind).into_owned();
            let mut follower = Follower {
                kind,
                rules,
                contents: HashMap::new(),
                relisted: HashMap::new(),
                relisted_changes: Vec::new(),
                names: Vec::new(),
                relisted_names: Vec::new(),
            };
            let events = watcher(api, config).default_backoff();
            tokio::pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(mut event) => {
                        let concerned = follower.follow(&mut event);
                        // First the cache, then the word.
                        writer.apply_watcher_event(&event);
                        for change in concerned {
                            // Nobody listens any more only when the process ends.
                            let _ = changes.send(change);
                        }
                        follower.tell_names();
                    }
                    Err(error) => {
                        tracing::warn!(
                            kind = name,
                            error = causes::told(&error),
                            "a watch failed and is started anew"
                        );
                    }
                }
            }
        });
        store
    }
}

/// Tells which events change anything that matters.
struct Follower<K: Resource>
where
    K::DynamicType: Hash + Eq,
{
    kind: K::DynamicType,
    rules: Rules<K>,
    contents: HashMap<ObjectRef<K>, u64>,
    /// What a list that is under way has brought; the cache shows it only when it is complete.
    relisted: HashMap<ObjectRef<K>, u64>,
    relisted_changes: Vec<Change>,
    /// What is to be told by name, when somebody wants to hear it.
    names: Vec<String>,
    relisted_names: Vec<String>,
}

impl<K: Resource> Follower<K>
where
    K::DynamicType: Hash + Eq + Clone,
{
    fn follow(&mut self, event: &mut watcher::Event<K>) -> Vec<Change> {
        let by_name = self.rules.by_name.is_some();
        match event {
            watcher::Event::Apply(object) => {
                let (key, now) = self.look_at(object);
                let name = by_name.then(|| key.name.clone());
                if self.contents.insert(key, now) == Some(now) {
                    return Vec::new();
                }
                self.names.extend(name);
                vec![(self.rules.concerns)(object)]
            }
            watcher::Event::Delete(object) => {
                let (key, _) = self.look_at(object);
                self.contents.remove(&key);
                self.names.extend(by_name.then_some(key.name));
                vec![(self.rules.concerns)(object)]
            }
            watcher::Event::Init => {
                self.relisted.clear();
                self.relisted_changes.clear();
                self.relisted_names.clear();
                Vec::new()
            }
            watcher::Event::InitApply(object) => {
                let (key, now) = self.look_at(object);
                if self.contents.get(&key) != Some(&now) {
                    self.relisted_changes.push((self.rules.concerns)(object));
                    let name = by_name.then(|| key.name.clone());
                    self.relisted_names.extend(name);
                }
                self.relisted.insert(key, now);
                Vec::new()
            }
            watcher::Event::InitDone => {
                let gone = |key: &&ObjectRef<K>| !self.relisted.contains_key(*key);
                let mut gone = self.contents.keys().filter(gone).peekable();
                if gone.peek().is_some() {
                    self.relisted_changes.push(Change::Everything);
                }
                if by_name {
                    self.names.append(&mut self.relisted_names);
                    self.names.extend(gone.map(|key| key.name.clone()));
                }
                self.contents = std::mem::take(&mut self.relisted);
                std::mem::take(&mut self.relisted_changes)
            }
        }
    }

    fn tell_names(&mut self) {
        if let Some(tell) = &self.rules.by_name {
            self.names.drain(..).for_each(tell);
        }
    }

    fn look_at(&self, object: &mut K) -> (ObjectRef<K>, u64) {
        (self.rules.trim)(object);
        let key = ObjectRef::from_obj_with(object, self.kind.clone());
        // Each write has another one, whatever it changes.
        let version = object.meta_mut().resource_version.take();
        let content = (self.rules.content)(object);
        object.meta_mut().resource_version = version;
        (key, content)
    }
}

/// A hash over an object as it is written down, without writing it down.
fn content<K: Serialize>(object: &K) -> u64 {
    let mut hasher = Hashing(std::hash::DefaultHasher::new());
    // What can't be serialised has no content; the objects here always can.
    match serde_json::to_writer(&mut hasher, object) {
        Ok(()) => hasher.0.finish(),
        Err(_) => 0,
    }
}

struct Hashing(std::hash::DefaultHasher);

impl std::io::Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Of anything; for comparisons within this process only.
pub fn hash(value: &impl Hash) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;
    use kube::runtime::watcher::Event;

    use super::*;

    fn node(name: &str, label: &str) -> Node {
        serde_json::from_value(
            serde_json::json!({"metadata": {"name": name, "labels": {"a": label}}}),
        )
        .unwrap()
    }

    #[test]
    fn names_are_told_of_what_changed_and_of_what_went_also_while_nobody_looked() {
        let mut follower = Follower::<Node> {
            kind: (),
            rules: Rules {
                trim: Box::new(|_| {}),
                content,
                concerns: Box::new(|_| Change::Everything),
                by_name: Some(Box::new(|_| {})),
            },
            contents: HashMap::new(),
            relisted: HashMap::new(),
            relisted_changes: Vec::new(),
            names: Vec::new(),
            relisted_names: Vec::new(),
        };
        let mut told = |mut events: Vec<Event<Node>>| {
            for event in &mut events {
                follower.follow(event);
            }
            let mut names = std::mem::take(&mut follower.names);
            names.sort();
            names
        };
        let listed = |nodes: &[(&str, &str)]| {
            let nodes = nodes
                .iter()
                .map(|(name, label)| Event::InitApply(node(name, label)));
            let begin = std::iter::once(Event::Init);
            begin.chain(nodes).chain([Event::InitDone]).collect()
        };
        assert_eq!(
            told(listed(&[("n1", "x"), ("n2", "x"), ("n3", "x")])),
            ["n1", "n2", "n3"]
        );
        assert_eq!(
            told(vec![Event::Apply(node("n1", "x"))]),
            [""; 0],
            "a heartbeat"
        );
        assert_eq!(
            told(vec![
                Event::Apply(node("n1", "y")),
                Event::Delete(node("n3", "x"))
            ]),
            ["n1", "n3"]
        );
        assert_eq!(
            told(listed(&[("n1", "y"), ("n4", "x")])),
            ["n2", "n4"],
            "n2 went meanwhile"
        );
    }
}
