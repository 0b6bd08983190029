//! What the API server says of this node's pods and of the namespaces that may ask: two watches, and of each the little
//! that is kept. Decides nothing, and asks for nothing else.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Pod as KubernetesPod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{ApiResource, PartialObjectMeta};
use kube::core::{Object, Selector};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt as _};
use realtime_core::rt::group::PodUid;
use realtime_core::rt::pod::{Pod, PodSpec, PodStatus};
use realtime_core::rt::settle::PodKey;

use crate::cluster::Answers;

type SlimPod = Object<PodSpec, PodStatus>;
type PodWatch = Pin<Box<dyn Stream<Item = Result<Event<SlimPod>, watcher::Error>> + Send>>;
type NamespaceWatch =
    Pin<Box<dyn Stream<Item = Result<Event<PartialObjectMeta<Namespace>>, watcher::Error>> + Send>>;

/// A list is read in pages, so that a node with hundreds of pods doesn't need memory for all of them at once.
const PAGE: u32 = 50;
/// So many pods are remembered that are gone: their containers may still begin for some seconds.
const MAX_GONE: usize = 256;

/// Pods and namespaces, as far as they are known.
pub struct Cache {
    client: Client,
    pods: PodWatch,
    namespaces: Option<NamespaceWatch>,
    selector: Option<LabelSelector>,
    /// Pods of this node that ask.
    pub asking: BTreeMap<PodKey, Pod>,
    /// Pods of this node that don't ask, or don't any more, by the uid under which they run.
    silent: BTreeMap<PodKey, PodUid>,
    /// Pods of this node that asked and are gone.
    gone: Gone,
    /// All pods have been listed once.
    pub pods_known: bool,
    /// Namespaces whose pods may ask; `None`: all.
    pub allowed: Option<BTreeSet<String>>,
    /// All namespaces have been listed once, or none needs to be.
    pub namespaces_known: bool,
    listed_pods: BTreeSet<PodKey>,
    listed_namespaces: BTreeSet<String>,
    pods_answered: Answers,
    namespaces_answered: Answers,
}

impl Cache {
    /// Begins to watch.
    pub fn new(client: Client, node: &str, selector: Option<LabelSelector>) -> Self {
        let pods: Api<SlimPod> =
            Api::all_with(client.clone(), &ApiResource::erase::<KubernetesPod>(&()));
        let config = watcher::Config::default()
            .fields(&format!("spec.nodeName={node}"))
            .page_size(PAGE);
        let mut cache = Self {
            pods: watcher(pods, config).default_backoff().boxed(),
            client,
            namespaces: None,
            selector: None,
            asking: BTreeMap::new(),
            silent: BTreeMap::new(),
            gone: Gone::default(),
            pods_known: false,
            allowed: None,
            namespaces_known: true,
            listed_pods: BTreeSet::new(),
            listed_namespaces: BTreeSet::new(),
            pods_answered: Answers::of("this node's pods"),
            namespaces_answered: Answers::of("the namespaces whose pods may ask"),
        };
        cache.select(selector);
        cache
    }

    /// Which namespaces may ask: another watch when it is another selector.
    pub fn select(&mut self, selector: Option<LabelSelector>) {
        if self.selector == selector {
            return;
        }
        self.allowed = selector.is_some().then(BTreeSet::new);
        self.namespaces_known = selector.is_none();
        // A selector that can't be one matches nothing: no namespace may ask.
        let labels = selector
            .clone()
            .map(|selector| Selector::try_from(selector).map(|selector| selector.to_string()));
        self.namespaces = match labels {
            None => None,
            Some(Err(error)) => {
                tracing::warn!(%error, "the namespaceSelector can't be used: no namespace may ask");
                self.namespaces_known = true;
                None
            }
            Some(Ok(labels)) => {
                let api: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
                let config = watcher::Config::default().labels(&labels).page_size(PAGE);
                Some(watcher(api, config).default_backoff().boxed())
            }
        };
        self.selector = selector;
    }

    /// Whether the API knows that pod, and it asks for nothing (any more), whatever its runtime has been told.
    pub fn is_silent(&self, pod: &PodKey, uid: Option<&PodUid>) -> bool {
        uid.is_some() && self.silent.get(pod) == uid
    }

    /// Whether the pod with that uid has been deleted.
    pub fn is_gone(&self, uid: Option<&PodUid>) -> bool {
        uid.is_some_and(|uid| self.gone.0.contains(uid))
    }

    /// Whether the API knows that pod and not an earlier one of its name, and it asks. A runtime that doesn't name the uid
    /// is taken at its word.
    pub fn asks(&self, pod: &PodKey, uid: Option<&PodUid>) -> bool {
        self.asking
            .get(pod)
            .is_some_and(|asking| uid.is_none() || asking.directory.as_ref() == uid)
    }

    /// Whether everything has been listed once.
    pub fn complete(&self) -> bool {
        self.pods_known && self.namespaces_known
    }

    /// Returns when something that matters is another than it was. May be dropped at any time.
    pub async fn changed(&mut self) {
        loop {
            let news = tokio::select! {
                event = self.pods.next() => match event {
                    Some(event) => {
                        self.pods_answered.hear(&event);
                        event.is_ok_and(|event| self.pod(event))
                    }
                    // kube's watches never end.
                    None => std::future::pending().await,
                },
                event = next(&mut self.namespaces) => match event {
                    Some(event) => {
                        self.namespaces_answered.hear(&event);
                        event.is_ok_and(|event| self.namespace(event))
                    }
                    None => std::future::pending().await,
                },
            };
            if news {
                return;
            }
        }
    }

    fn pod(&mut self, event: Event<SlimPod>) -> bool {
        match event {
            Event::Init => {
                self.listed_pods.clear();
                false
            }
            Event::InitApply(pod) => {
                let key = key(&pod);
                self.listed_pods.insert(key.clone());
                self.keep(key, &pod)
            }
            Event::Apply(pod) => self.keep(key(&pod), &pod),
            Event::Delete(pod) => {
                self.silent.remove(&key(&pod));
                let asked = self.asking.remove(&key(&pod));
                asked.is_some_and(|pod| {
                    self.gone.add(&pod);
                    true
                })
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed_pods);
                let before = self.asking.len();
                for (_, pod) in self.asking.extract_if(.., |key, _| !listed.contains(key)) {
                    self.gone.add(&pod);
                }
                let fewer = self.asking.len() != before;
                self.silent.retain(|key, _| listed.contains(key));
                let first = !std::mem::replace(&mut self.pods_known, true);
                first || fewer
            }
        }
    }

    fn keep(&mut self, key: PodKey, pod: &SlimPod) -> bool {
        let none = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&none);
        match Pod::of(&pod.metadata, &pod.spec, status) {
            None => {
                let asked = self.asking.remove(&key).is_some();
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                let none = BTreeMap::new();
                let annotations = pod.metadata.annotations.as_ref().unwrap_or(&none);
                if let Ok(uid) = PodUid::of_directory(uid, annotations) {
                    self.silent.insert(key, uid);
                }
                asked
            }
            Some(view) if self.asking.get(&key) == Some(&view) => false,
            Some(view) => {
                self.silent.remove(&key);
                let uid = view.uid.clone();
                if let Some(before) = self.asking.insert(key, view)
                    && before.uid != uid
                {
                    self.gone.add(&before);
                }
                true
            }
        }
    }

    fn namespace(&mut self, event: Event<PartialObjectMeta<Namespace>>) -> bool {
        let allowed = self.allowed.get_or_insert_with(BTreeSet::new);
        match event {
            Event::Init => {
                self.listed_namespaces.clear();
                false
            }
            Event::InitApply(namespace) => {
                self.listed_namespaces.insert(namespace.name_any());
                false
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed_namespaces);
                let first = !std::mem::replace(&mut self.namespaces_known, true);
                let changed = *allowed != listed;
                *allowed = listed;
                first || changed
            }
            Event::Apply(namespace) => allowed.insert(namespace.name_any()),
            Event::Delete(namespace) => allowed.remove(&namespace.name_any()),
        }
    }
}

/// Pods that asked and have been deleted, by uid, the last ones last.
#[derive(Debug, Default)]
struct Gone(VecDeque<PodUid>);

impl Gone {
    /// Not the mirror of a static pod: that pod runs on, and anybody may call a pod of his own the mirror of somebody else's.
    fn add(&mut self, pod: &Pod) {
        let Some(uid) = &pod.directory else { return };
        if uid.as_str() != pod.uid {
            return;
        }
        if self.0.len() >= MAX_GONE {
            self.0.pop_front();
        }
        self.0.push_back(uid.clone());
    }
}

fn key(pod: &SlimPod) -> PodKey {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}

async fn next(
    watch: &mut Option<NamespaceWatch>,
) -> Option<Result<Event<PartialObjectMeta<Namespace>>, watcher::Error>> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, annotations: serde_json::Value) -> Pod {
        let mut pod: SlimPod = serde_json::from_value(json!({
            "metadata": {"name": "a", "namespace": "lab", "uid": uid, "annotations": {
                "realtime.openshift.io/runtime-us": "5000"}},
            "spec": {"containers": [{"name": "main"}]},
        }))
        .unwrap();
        let annotations: BTreeMap<String, String> = serde_json::from_value(annotations).unwrap();
        pod.annotations_mut().extend(annotations);
        Pod::of(&pod.metadata, &pod.spec, &PodStatus::default()).unwrap()
    }

    #[test]
    fn deleted_pods_are_remembered_up_to_a_limit_and_mirrors_are_not() {
        let mut gone = Gone::default();
        let uid = |uid: &str| PodUid::new(uid).unwrap();
        gone.add(&pod("a-1", json!({})));
        // What anybody may write.
        let mirror =
            json!({"kubernetes.io/config.mirror": "x", "kubernetes.io/config.hash": "b-2"});
        gone.add(&pod("c-3", mirror));
        assert!(gone.0.contains(&uid("a-1")) && gone.0.len() == 1);
        for number in 0..MAX_GONE {
            gone.add(&pod(&format!("n-{number}"), json!({})));
        }
        assert!(!gone.0.contains(&uid("a-1")) && gone.0.len() == MAX_GONE);
    }
}
