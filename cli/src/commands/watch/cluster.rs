//! The part of the cluster that a watch follows, kept up to date by the API server's events. Judges nothing.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::stream::{BoxStream, SelectAll, StreamExt as _};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as follow};
use kube::{Api, Client, Resource, ResourceExt};
use realtime_core::api::{RealtimeNode, RealtimeProfile};
use realtime_core::cluster::Cluster;
use realtime_core::openshift::{MachineConfigNode, MachineConfigPool};
use serde::de::DeserializeOwned;

use crate::client::ClientError;
use crate::snapshot;

/// Something happened to an object.
pub enum Change {
    /// To the profile.
    Profile(Result<Event<RealtimeProfile>, watcher::Error>),
    /// To a pool.
    Pool(Result<Event<MachineConfigPool>, watcher::Error>),
    /// To a node.
    Node(Result<Event<Node>, watcher::Error>),
    /// To a node's RealtimeNode.
    RealtimeNode(Result<Event<RealtimeNode>, watcher::Error>),
    /// To a node's MachineConfigNode.
    MachineConfigNode(Result<Event<MachineConfigNode>, watcher::Error>),
}

/// Objects of one kind by name.
struct Store<K> {
    objects: BTreeMap<String, K>,
    /// What a new list has brought so far; it replaces the objects when it is complete.
    listing: BTreeMap<String, K>,
    complete: bool,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            listing: BTreeMap::new(),
            complete: false,
        }
    }
}

impl<K: ResourceExt> Store<K> {
    fn take(&mut self, event: Event<K>) {
        match event {
            Event::Init => self.listing = BTreeMap::new(),
            Event::InitApply(object) => drop(self.listing.insert(object.name_any(), object)),
            Event::InitDone => {
                self.objects = std::mem::take(&mut self.listing);
                self.complete = true;
            }
            Event::Apply(object) => drop(self.objects.insert(object.name_any(), object)),
            Event::Delete(object) => drop(self.objects.remove(&object.name_any())),
        }
    }
}

/// What is followed.
pub struct Followed {
    name: String,
    profiles: Store<RealtimeProfile>,
    pools: Store<MachineConfigPool>,
    nodes: Store<Node>,
    realtime_nodes: Store<RealtimeNode>,
    machine_config_nodes: Store<MachineConfigNode>,
    cluster: Cluster,
}

impl Followed {
    /// Begins to follow: what is served decides which kinds.
    pub async fn start(
        client: &Client,
        name: &str,
    ) -> Result<(Self, SelectAll<BoxStream<'static, Change>>), ClientError> {
        let served = snapshot::served(client).await?;
        let mut streams = SelectAll::new();
        let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
        streams.push(events(client, only, Change::Profile));
        streams.push(events(client, watcher::Config::default(), Change::Node));
        streams.push(events(
            client,
            watcher::Config::default(),
            Change::RealtimeNode,
        ));
        let mut followed = Self {
            name: name.to_owned(),
            profiles: Store::default(),
            pools: Store::default(),
            nodes: Store::default(),
            realtime_nodes: Store::default(),
            machine_config_nodes: Store::default(),
            cluster: Cluster::empty(served),
        };
        if served.machine_configs {
            streams.push(events(client, watcher::Config::default(), Change::Pool));
        } else {
            followed.pools.complete = true;
        }
        if served.machine_config_nodes {
            streams.push(events(
                client,
                watcher::Config::default(),
                Change::MachineConfigNode,
            ));
        } else {
            followed.machine_config_nodes.complete = true;
        }
        Ok((followed, streams))
    }

    /// Takes a change in. Returns what a person should know about the connection.
    pub fn take(&mut self, change: Change) -> Option<String> {
        let error = match change {
            Change::Profile(Ok(event)) => return take(&mut self.profiles, event, |_| {}),
            Change::Pool(Ok(event)) => {
                return take(&mut self.pools, event, |pools| self.cluster.pools = pools);
            }
            Change::Node(Ok(event)) => {
                return take(&mut self.nodes, event, |nodes| self.cluster.nodes = nodes);
            }
            Change::RealtimeNode(Ok(event)) => {
                return take(&mut self.realtime_nodes, event, |nodes| {
                    self.cluster.realtime_nodes = nodes;
                });
            }
            Change::MachineConfigNode(Ok(event)) => {
                return take(&mut self.machine_config_nodes, event, |nodes| {
                    self.cluster.machine_config_nodes = nodes;
                });
            }
            Change::Profile(Err(error))
            | Change::Pool(Err(error))
            | Change::Node(Err(error))
            | Change::RealtimeNode(Err(error))
            | Change::MachineConfigNode(Err(error)) => error,
        };
        // The API server ends a watch after some minutes, and forgets old versions: both are daily business.
        match error {
            watcher::Error::WatchError(status) if status.code == 410 => None,
            watcher::Error::InitialListFailed(source)
            | watcher::Error::WatchStartFailed(source)
            | watcher::Error::WatchFailed(source) => Some(format!(
                "{}; trying again",
                crate::client::in_words(&source)
            )),
            watcher::Error::WatchError(status) => Some(format!("{}; trying again", status.message)),
            watcher::Error::NoResourceVersion => None,
        }
    }

    /// Whether every kind was listed once.
    pub fn is_ready(&self) -> bool {
        self.profiles.complete
            && self.pools.complete
            && self.nodes.complete
            && self.realtime_nodes.complete
            && self.machine_config_nodes.complete
    }

    /// The profile; `None` when there is none of that name.
    pub fn profile(&self) -> Option<RealtimeProfile> {
        self.profiles.objects.get(&self.name).cloned()
    }

    /// Everything else.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

fn take<K: ResourceExt + Clone>(
    store: &mut Store<K>,
    event: Event<K>,
    put: impl FnOnce(Vec<K>),
) -> Option<String> {
    let listing = matches!(event, Event::Init | Event::InitApply(_));
    store.take(event);
    if !listing {
        put(store.objects.values().cloned().collect());
    }
    None
}

fn events<K>(
    client: &Client,
    config: watcher::Config,
    change: fn(Result<Event<K>, watcher::Error>) -> Change,
) -> BoxStream<'static, Change>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    follow(Api::<K>::all(client.clone()), config)
        .default_backoff()
        .map(change)
        .boxed()
}
