//! What the API server holds, kept up to date by watches, and which profiles a change concerns.
//! Reads only; what follows from it is `core`'s to decide.

mod by_name;
mod dereference;
mod places;
mod trim;
mod typed;
mod watch;

pub use by_name::{Heard, Tell, Unreadable, tell};
pub use dereference::{Dereferenced, Source};

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{ApiResource, DynamicObject};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::{Client, Resource, ResourceExt as _};
use realtime_core::api::{RealtimeNode, RealtimeProfile};
use realtime_core::cluster::Served;
use realtime_core::names;
use realtime_core::openshift::{
    KubeletConfig, MachineConfig, MachineConfigNode, MachineConfigPool, PerformanceProfile, Tuned,
};
use realtime_core::pools::{Membership, membership_among};
use realtime_core::selector;
use serde::Deserialize as _;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use places::Places;
use typed::Typed;
use watch::{Filled, Starter, hash};

/// Which profiles a change concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// This one.
    Profile(String),
    /// Those of this pool.
    Pool(String),
    /// All.
    Everything,
}

/// Objects of which one may be broken: then only its metadata is known.
type Guarded<K> = Store<DeserializeGuard<K>>;

/// All caches of a process. Their watches end when this is dropped.
#[derive(Debug)]
pub struct Caches {
    /// Which foreign APIs are served: those that aren't have empty caches.
    pub served: Served,
    profiles: Store<DynamicObject>,
    typed_profiles: Typed<RealtimeProfile>,
    nodes: Guarded<Node>,
    places: Arc<Places>,
    realtime_nodes: Guarded<RealtimeNode>,
    pools: Guarded<MachineConfigPool>,
    machine_configs: Store<DynamicObject>,
    kubelet_configs: Store<DynamicObject>,
    typed_kubelet_configs: Typed<KubeletConfig>,
    machine_config_nodes: Guarded<MachineConfigNode>,
    performance_profiles: Guarded<PerformanceProfile>,
    tuneds: Store<DynamicObject>,
    runtime_classes: Store<DynamicObject>,
    machine_os_configs: Store<DynamicObject>,
    filled: Vec<Filled>,
    _watches: JoinSet<()>,
}

impl Caches {
    /// Starts to watch everything that can change an answer. `image_mode` is the served version of
    /// MachineOSConfig, if there is one. `changes` hears which profiles a change concerns, `tell` the names of some.
    pub fn start(
        client: &Client,
        served: Served,
        image_mode: Option<&str>,
        changes: mpsc::UnboundedSender<Change>,
        tell: &Tell,
    ) -> Self {
        let mut start = Starter {
            client: client.clone(),
            changes,
            filled: Vec::new(),
            watches: JoinSet::new(),
        };
        let ours = Some(names::LABEL_PROFILE);
        let mco = served.machine_configs;
        let pools = start.typed(mco, |_| {}, pool_concerns());
        let places = Arc::<Places>::default();
        Self {
            nodes: start.typed_by_name(
                trim::node,
                node_concerns(pools.clone(), Arc::clone(&places)),
                tell.node(),
            ),
            places,
            profiles: start.dynamic_by_name(
                &kind::<RealtimeProfile>(),
                |profile| Change::Profile(profile.name_any()),
                tell.profile(),
            ),
            realtime_nodes: start.typed_by_name(|_| {}, realtime_node_concerns, tell.node()),
            machine_configs: start.dynamic(mco, &kind::<MachineConfig>(), None, {
                let of_source = config_concerns(pools.clone(), is_source);
                move |config| {
                    rendered_for(config)
                        .map_or_else(|| of_source(config), |pool| Change::Pool(pool.to_owned()))
                }
            }),
            kubelet_configs: start.dynamic(
                mco,
                &kind::<KubeletConfig>(),
                None,
                config_concerns(pools.clone(), is_kubelet_config_of),
            ),
            pools,
            machine_config_nodes: start.typed(
                served.machine_config_nodes,
                |_| {},
                machine_config_node_concerns,
            ),
            performance_profiles: start.typed(
                served.performance_profiles,
                |_: &mut PerformanceProfile| {},
                |_| Change::Everything,
            ),
            tuneds: start.dynamic(served.tuned, &kind::<Tuned>(), ours, of_profile),
            runtime_classes: start.dynamic(true, &kind::<RuntimeClass>(), ours, of_profile),
            machine_os_configs: start.dynamic(
                image_mode.is_some(),
                &machine_os_config(image_mode.unwrap_or("v1")),
                None,
                |_| Change::Everything,
            ),
            typed_profiles: Typed::default(),
            typed_kubelet_configs: Typed::default(),
            served,
            filled: start.filled,
            _watches: start.watches,
        }
    }

    /// Completes once every cache has been filled at least once.
    pub async fn filled(&self) {
        futures::future::join_all(self.filled.iter().cloned()).await;
    }
}

fn kind<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}

/// The kind is needed for one field only, so that it has no type.
fn machine_os_config(version: &str) -> ApiResource {
    let group = "machineconfiguration.openshift.io";
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version: format!("{group}/{version}"),
        kind: "MachineOSConfig".to_owned(),
        plural: "machineosconfigs".to_owned(),
    }
}

/// A pool's own profile; all when the pool may select other nodes than before.
fn pool_concerns() -> impl Fn(&DeserializeGuard<MachineConfigPool>) -> Change + Send + Sync {
    let known: Mutex<HashMap<String, u64>> = Mutex::default();
    move |pool| {
        let name = pool.name_any();
        let selection = pool.0.as_ref().map_or(0, |pool| {
            hash(&(format!("{:?}", pool.spec.node_selector), pool.labels()))
        });
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.insert(name.clone(), selection) == Some(selection) {
            Change::Pool(name)
        } else {
            Change::Everything
        }
    }
}

/// The profile of a node's pool; all when the node came, left or moved.
fn node_concerns(
    pools: Guarded<MachineConfigPool>,
    places: Arc<Places>,
) -> impl Fn(&DeserializeGuard<Node>) -> Change + Send + Sync {
    let known: Mutex<HashMap<String, Option<String>>> = Mutex::default();
    move |node| {
        if let Ok(node) = &node.0 {
            places.update(node);
        }
        let pools = pools.state();
        let pools = pools.iter().filter_map(|pool| pool.0.as_ref().ok());
        let now = match membership_among(node.labels(), pools) {
            Membership::One(pool) => Some(pool.name_any()),
            Membership::None | Membership::Conflict(_) => None,
        };
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.insert(node.name_any(), now.clone()).flatten(), now) {
            (Some(before), Some(now)) if before == now => Change::Pool(now),
            _ => Change::Everything,
        }
    }
}

/// The one pool that a configuration belongs to and belonged to; all when these are several, or none that is known.
fn config_concerns(
    pools: Guarded<MachineConfigPool>,
    belongs: fn(&DynamicObject, &MachineConfigPool) -> bool,
) -> impl Fn(&DynamicObject) -> Change + Send + Sync {
    let known: Mutex<HashMap<String, BTreeSet<String>>> = Mutex::default();
    move |config| {
        let mut concerned: BTreeSet<String> = pools
            .state()
            .iter()
            .filter_map(|pool| pool.0.as_ref().ok())
            .filter(|pool| belongs(config, pool))
            .map(kube::ResourceExt::name_any)
            .collect();
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(config.name_any(), concerned.clone());
        concerned.extend(before.unwrap_or_default());
        match concerned.pop_first() {
            Some(pool) if concerned.is_empty() => Change::Pool(pool),
            _ => Change::Everything,
        }
    }
}

fn is_source(config: &DynamicObject, pool: &MachineConfigPool) -> bool {
    selector::matches_or_nothing(pool.spec.machine_config_selector.as_ref(), config.labels())
}

fn is_kubelet_config_of(config: &DynamicObject, pool: &MachineConfigPool) -> bool {
    let selector = config.data.pointer("/spec/machineConfigPoolSelector");
    let selector = selector.and_then(|selector| LabelSelector::deserialize(selector).ok());
    selector::matches_or_nothing(selector.as_ref(), pool.labels())
}

fn realtime_node_concerns(node: &DeserializeGuard<RealtimeNode>) -> Change {
    match &node.0 {
        Ok(node) => Change::Profile(node.spec.profile.clone()),
        Err(_) => Change::Everything,
    }
}

fn machine_config_node_concerns(steps: &DeserializeGuard<MachineConfigNode>) -> Change {
    let steps = steps.0.as_ref().ok();
    steps
        .and_then(|steps| steps.spec.pool.as_ref()?.name.clone())
        .map_or(Change::Everything, Change::Pool)
}

fn of_profile(object: &DynamicObject) -> Change {
    let profile = object.labels().get(names::LABEL_PROFILE);
    profile.map_or(Change::Everything, |profile| {
        Change::Profile(profile.clone())
    })
}

/// The pool for which a configuration was rendered.
fn rendered_for(config: &DynamicObject) -> Option<&str> {
    let mut owners = config.owner_references().iter();
    owners
        .find(|owner| owner.kind == "MachineConfigPool")
        .map(|owner| owner.name.as_str())
}

/// The objects that could be read.
fn good<K>(store: &Guarded<K>) -> Vec<K>
where
    K: Resource + Clone,
    K::DynamicType: Hash + Eq + Clone + Default,
{
    store
        .state()
        .iter()
        .filter_map(|object| object.0.as_ref().ok().cloned())
        .collect()
}
