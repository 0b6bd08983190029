//! What is asked of the caches one object at a time: a node and its RealtimeNode, which profiles live, and what these
//! say of pods' budgets. And the words by which whoever looks at single objects hears which one changed.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt as _;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use realtime_core::api::RealtimeNode;
use realtime_core::rt::selectors::Profile;
use tokio::sync::{mpsc, watch};

use super::watch::ByName;
use super::{Caches, Guarded};

/// Where changes are told by name, once the caches show them.
#[derive(Clone, Debug)]
pub struct Tell {
    /// The name of each Node and of each RealtimeNode that changed.
    pub nodes: mpsc::UnboundedSender<String>,
    /// That a profile changed, whichever.
    pub profiles: watch::Sender<()>,
}

/// Where they are heard.
#[derive(Debug)]
pub struct Heard {
    /// The names of nodes.
    pub nodes: mpsc::UnboundedReceiver<String>,
    /// Profiles.
    pub profiles: watch::Receiver<()>,
}

/// Both ends.
pub fn tell() -> (Tell, Heard) {
    let (nodes, heard_nodes) = mpsc::unbounded_channel();
    let (profiles, heard_profiles) = watch::channel(());
    (
        Tell { nodes, profiles },
        Heard {
            nodes: heard_nodes,
            profiles: heard_profiles,
        },
    )
}

impl Tell {
    /// A hearer of nodes' names. That nobody listens any more doesn't matter.
    pub(super) fn node(&self) -> ByName {
        let nodes = self.nodes.clone();
        Box::new(move |name| drop(nodes.send(name)))
    }

    /// A hearer of profiles.
    pub(super) fn profile(&self) -> ByName {
        let profiles = self.profiles.clone();
        Box::new(move |_| profiles.send_replace(()))
    }
}

/// An object that can't be read: nothing may be concluded from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl Caches {
    /// The names of all Nodes.
    pub fn node_names(&self) -> Vec<String> {
        let nodes = self.nodes.state();
        nodes.iter().map(|node| node.name_any()).collect()
    }

    /// The Node of that name.
    pub fn node(&self, name: &str) -> Result<Option<Arc<DeserializeGuard<Node>>>, Unreadable> {
        readable(self.nodes.get(&ObjectRef::new(name)))
    }

    /// The RealtimeNode of that name.
    pub fn realtime_node(
        &self,
        name: &str,
    ) -> Result<Option<Arc<DeserializeGuard<RealtimeNode>>>, Unreadable> {
        readable(self.realtime_nodes.get(&ObjectRef::new(name)))
    }

    /// The names of the RealtimeNodes that are of one of these profiles.
    pub fn realtime_nodes_of(&self, profiles: &BTreeSet<String>) -> Vec<String> {
        let store: &Guarded<RealtimeNode> = &self.realtime_nodes;
        let nodes = store.state();
        let nodes = nodes.iter().filter_map(|node| node.0.as_ref().ok());
        nodes
            .filter(|node| profiles.contains(&node.spec.profile))
            .map(kube::ResourceExt::name_any)
            .collect()
    }

    /// The names of the profiles that are there to stay.
    pub fn living_profiles(&self) -> BTreeSet<String> {
        let profiles = self.profiles.state();
        let living = profiles
            .iter()
            .filter(|profile| profile.metadata.deletion_timestamp.is_none());
        living.map(|profile| profile.name_any()).collect()
    }

    /// Calls `with` with what each profile says of pods' budgets, readable or not.
    pub fn with_pod_budgets<T>(&self, with: impl FnOnce(Vec<Profile<'_>>) -> T) -> T {
        let profiles = self.profiles.state();
        let budgets = profiles.iter().filter_map(|profile| {
            Some(Profile {
                name: profile.metadata.name.as_deref()?,
                pod_budget: profile.data.pointer("/spec/podBudget"),
            })
        });
        with(budgets.collect())
    }
}

type Found<K> = Option<Arc<DeserializeGuard<K>>>;

fn readable<K>(found: Found<K>) -> Result<Found<K>, Unreadable> {
    match &found {
        Some(object) if object.0.is_err() => Err(Unreadable),
        _ => Ok(found),
    }
}
