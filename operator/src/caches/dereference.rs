//! The first of the five calls: from a profile's name to everything that its decision needs, read
//! from the caches. No client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::DynamicObject;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource as _, ResourceExt as _};
use realtime_core::api::RealtimeProfile;
use realtime_core::api::realtime_profile::RealtimeProfileStatus;
use realtime_core::cluster::Cluster;
use realtime_core::input;
use realtime_core::names;
use realtime_core::openshift::{MachineConfig, MachineConfigPool};
use realtime_core::pools::{Membership, WORKER_POOL, membership};
use realtime_core::rollout::{Kind, Live};
use realtime_core::selector;
use serde_json::Value;

use super::places::{self, is_configured_by};
use super::typed::typed;
use super::{Caches, Change, good, rendered_for};

/// A profile as the API server holds it.
#[derive(Clone, Debug)]
pub enum Source {
    /// It can be read.
    Profile(Box<RealtimeProfile>),
    /// It can't: its metadata, what is known of its status, and why.
    Unreadable {
        /// The object.
        object: Box<DynamicObject>,
        /// Its status, as far as it can be read.
        status: Box<RealtimeProfileStatus>,
        /// What is wrong with it.
        problems: String,
    },
}

/// Everything that a profile's decision needs.
#[derive(Clone, Debug)]
pub struct Dereferenced {
    /// The profile.
    pub source: Source,
    /// What of the cluster concerns it.
    pub cluster: Cluster,
    /// What is there under our names.
    pub live: Live,
}

impl Caches {
    /// The names of all profiles.
    pub fn profile_names(&self) -> Vec<String> {
        let profiles = self.profiles.state();
        profiles.iter().map(|profile| profile.name_any()).collect()
    }

    /// The names of the profiles that a change concerns.
    pub fn concerned(&self, change: &Change) -> Vec<String> {
        match change {
            Change::Profile(name) => vec![name.clone()],
            Change::Everything => self.profile_names(),
            Change::Pool(pool) => self
                .profiles
                .state()
                .iter()
                .filter(|profile| {
                    let pools = self.pools_of(profile);
                    // Nodes that leave a pool change as the other pool's; what a pool that isn't there yet will
                    // be made of is unknown.
                    pools.contains(pool.as_str())
                        || pools.len() > 1
                        || pools.iter().any(|pool| !self.has_pool(pool))
                        || profile.metadata.deletion_timestamp.is_some()
                        // While a pool has no nodes, the workers tell what hardware will come.
                        || pool == WORKER_POOL && has_no_nodes(profile)
                })
                .map(|profile| profile.name_any())
                .collect(),
        }
    }

    fn has_pool(&self, name: &str) -> bool {
        let named =
            |pool: &DeserializeGuard<MachineConfigPool>| pool.meta().name.as_deref() == Some(name);
        self.pools.find(named).is_some()
    }

    /// Everything that the decision on this profile needs; `None` when the profile is gone.
    pub fn dereference(&self, name: &str) -> Option<Dereferenced> {
        let object = self.profiles.find(|profile| profile.name_any() == name)?;
        Some(Dereferenced {
            cluster: self.cluster(name, &self.pools_of(&object)),
            live: self.live(name),
            source: read(&object),
        })
    }

    /// The pools that a profile shapes or shaped: as it says now, as its status says, and as the pools say
    /// themselves, because a status forgets a former pool before its nodes have left it.
    fn pools_of(&self, profile: &DynamicObject) -> BTreeSet<String> {
        let text = |pointer: &str| Some(profile.data.pointer(pointer)?.as_str()?.to_owned());
        let name = profile.name_any();
        let now = text("/spec/pool/name").unwrap_or_else(|| name.clone());
        let before = text("/status/machineConfigPool");
        let marks = [names::ANNOTATION_CREATED_BY, names::ANNOTATION_PAUSED_FOR];
        let pools = self.pools.state();
        let marked = pools
            .iter()
            .filter(|pool| {
                marks
                    .iter()
                    .any(|mark| pool.annotations().get(*mark) == Some(&name))
            })
            .map(|pool| pool.name_any());
        std::iter::once(now).chain(before).chain(marked).collect()
    }

    /// What of the cluster concerns a profile with these pools: of nodes and MachineConfigs, of which
    /// there are many and large ones, only its own.
    fn cluster(&self, profile: &str, pool_names: &BTreeSet<String>) -> Cluster {
        let pools = good(&self.pools);
        let profiles = self.typed_profiles.all(&self.profiles);
        let realtime_nodes = self.realtime_nodes.state();
        let realtime_nodes = || {
            realtime_nodes
                .iter()
                .filter_map(|node| node.0.as_ref().ok())
        };
        let ours: BTreeSet<&str> = realtime_nodes()
            .filter(|node| node.spec.profile == profile)
            .filter_map(|node| node.metadata.name.as_deref())
            .collect();
        let selector = profiles
            .iter()
            .find(|candidate| candidate.metadata.name.as_deref() == Some(profile))
            .and_then(|profile| profile.spec.pool.as_ref()?.node_selector.clone());
        let nodes = self.nodes_of(&ours, selector.as_ref(), &pools, pool_names);
        let known: BTreeSet<&str> = nodes
            .iter()
            .filter_map(|node| node.metadata.name.as_deref())
            .collect();
        let is_known =
            |name: &Option<String>| name.as_deref().is_some_and(|name| known.contains(name));
        let realtime_nodes = realtime_nodes()
            .filter(|node| node.spec.profile == profile || is_known(&node.metadata.name))
            .cloned()
            .collect();
        let machine_config_nodes = self.machine_config_nodes.state();
        let machine_os_configs = self.machine_os_configs.state();
        Cluster {
            served: self.served,
            profiles,
            machine_configs: self.machine_configs_of(profile, &pools, pool_names),
            kubelet_configs: self.typed_kubelet_configs.all(&self.kubelet_configs),
            performance_profiles: good(&self.performance_profiles),
            machine_config_nodes: machine_config_nodes
                .iter()
                .filter_map(|steps| steps.0.as_ref().ok())
                .filter(|steps| is_known(&steps.metadata.name))
                .cloned()
                .collect(),
            image_mode_pools: machine_os_configs
                .iter()
                .filter_map(|config| {
                    config
                        .data
                        .pointer("/spec/machineConfigPool/name")?
                        .as_str()
                })
                .map(str::to_owned)
                .collect(),
            realtime_nodes,
            nodes,
            pools,
        }
    }

    /// The nodes of these pools, those that have one of their configurations, and those that this
    /// profile has a RealtimeNode of. While there is none: the workers, of which the first will come.
    fn nodes_of(
        &self,
        ours: &BTreeSet<&str>,
        selector: Option<&LabelSelector>,
        pools: &[MachineConfigPool],
        pool_names: &BTreeSet<String>,
    ) -> Vec<Node> {
        let role_labels: BTreeSet<String> = pool_names
            .iter()
            .map(|pool| names::node_role_label(pool))
            .collect();
        // The pools that matter first: of thousands of nodes few are asked about all pools.
        let concerned: Vec<&MachineConfigPool> = pools
            .iter()
            .filter(|pool| pool_names.contains(&pool.name_any()))
            .collect();
        let selected = |labels: &BTreeMap<String, String>| {
            concerned
                .iter()
                .any(|pool| selector::matches_or_nothing(pool.spec.node_selector.as_ref(), labels))
        };
        let concerns = |node: &Node| {
            let labels = node.labels();
            node.metadata
                .name
                .as_deref()
                .is_some_and(|name| ours.contains(name))
                || role_labels.iter().any(|label| labels.contains_key(label))
                || selector::matches_or_nothing(selector, labels)
                || is_configured_by(node, pool_names)
                || selected(labels)
                    && match membership(labels, pools) {
                        Membership::None => false,
                        Membership::One(pool) => pool_names.contains(&pool.name_any()),
                        Membership::Conflict(several) => {
                            several.iter().any(|pool| pool_names.contains(*pool))
                        }
                    }
        };
        // Selectors that ask for a role, as nearly all do, take nodes of that role only.
        let by_selectors: Option<BTreeSet<&str>> = concerned
            .iter()
            .filter_map(|pool| pool.spec.node_selector.as_ref())
            .chain(selector)
            .map(places::role_of)
            .collect();
        let candidates = match by_selectors {
            Some(roles) => {
                let mut wanted = role_labels.clone();
                wanted.extend(roles.into_iter().map(str::to_owned));
                let mut names = self.places.find(&wanted, pool_names);
                names.extend(ours.iter().map(|name| (*name).to_owned()));
                self.nodes_named(&names)
            }
            None => self.nodes.state(),
        };
        let good = |nodes: &[Arc<DeserializeGuard<Node>>], wanted: &dyn Fn(&Node) -> bool| {
            let nodes = nodes.iter().filter_map(|node| node.0.as_ref().ok());
            nodes.filter(|node| wanted(node)).cloned().collect()
        };
        let nodes: Vec<Node> = good(&candidates, &concerns);
        if !nodes.is_empty() {
            return nodes;
        }
        let worker = names::node_role_label(WORKER_POOL);
        let workers = self
            .places
            .find(&BTreeSet::from([worker.clone()]), &BTreeSet::new());
        good(&self.nodes_named(&workers), &|node| {
            node.labels().contains_key(&worker)
        })
    }

    fn nodes_named(&self, names: &BTreeSet<String>) -> Vec<Arc<DeserializeGuard<Node>>> {
        names
            .iter()
            .filter_map(|name| self.nodes.get(&ObjectRef::new(name)))
            .collect()
    }

    /// The sources of these pools, and their rendered configurations that are in use.
    fn machine_configs_of(
        &self,
        profile: &str,
        pools: &[MachineConfigPool],
        pool_names: &BTreeSet<String>,
    ) -> Vec<MachineConfig> {
        let concerned: Vec<&MachineConfigPool> = pools
            .iter()
            .filter(|pool| pool_names.contains(&pool.name_any()))
            .collect();
        let in_use: BTreeSet<&str> = concerned
            .iter()
            .flat_map(|pool| {
                let status = pool.status.as_ref();
                [
                    pool.spec.configuration.as_ref(),
                    status.and_then(|status| status.configuration.as_ref()),
                ]
            })
            .flatten()
            .filter_map(|configuration| configuration.name.as_deref())
            .collect();
        let concerns = |config: &DynamicObject| {
            if rendered_for(config).is_some() {
                return in_use.contains(config.name_any().as_str());
            }
            // Before the pool is there, its sources will be the worker's and its own.
            concerned.len() < pool_names.len()
                || config
                    .labels()
                    .get(names::LABEL_PROFILE)
                    .is_some_and(|of| of == profile)
                || concerned.iter().any(|pool| {
                    let selector = pool.spec.machine_config_selector.as_ref();
                    selector::matches_or_nothing(selector, config.labels())
                })
        };
        self.machine_configs
            .state()
            .iter()
            .filter(|config| concerns(config))
            .filter_map(|config| typed(config))
            .collect()
    }

    /// What is there under our names, and what else carries our label.
    fn live(&self, profile: &str) -> Live {
        let object = names::object_name(profile);
        let mut others = Vec::new();
        let mut sort = |store: &Store<DynamicObject>, kind: Kind, name: &str| {
            let mut found = None;
            for candidate in store.state() {
                if candidate.metadata.name.as_deref() == Some(name) {
                    found = serde_json::to_value(&*candidate).ok();
                } else if candidate
                    .labels()
                    .get(names::LABEL_PROFILE)
                    .is_some_and(|of| of == profile)
                {
                    others.push((kind, candidate.name_any()));
                }
            }
            found
        };
        let kubelet_config = sort(&self.kubelet_configs, Kind::KubeletConfig, &object);
        let machine_config = sort(
            &self.machine_configs,
            Kind::MachineConfig,
            &names::machine_config_name(profile),
        );
        let tuned = sort(&self.tuneds, Kind::Tuned, &object);
        let runtime_class = sort(&self.runtime_classes, Kind::RuntimeClass, &object);
        Live {
            kubelet_config,
            machine_config,
            tuned,
            runtime_class,
            others,
        }
    }
}

/// By the profile's own status.
fn has_no_nodes(profile: &DynamicObject) -> bool {
    let total = profile.data.pointer("/status/nodes/total");
    total.and_then(Value::as_i64).unwrap_or_default() == 0
}

fn read(object: &DynamicObject) -> Source {
    let value = serde_json::to_value(object).unwrap_or(Value::Null);
    match serde_json::from_value(value.clone()) {
        // Whatever can be read is validated, and every problem told in one place.
        Ok(profile) => Source::Profile(Box::new(profile)),
        Err(error) => Source::Unreadable {
            status: Box::new(
                value
                    .get("status")
                    .and_then(|status| serde_json::from_value(status.clone()).ok())
                    .unwrap_or_default(),
            ),
            problems: match input::profile(value) {
                Ok(_) => error.to_string(),
                Err(problems) => problems.to_string(),
            },
            object: Box::new(object.clone()),
        },
    }
}
