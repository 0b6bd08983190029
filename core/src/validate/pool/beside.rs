//! What the pool merges beside our MachineConfig, and whose it is: MachineConfigs, and those that other profiles will
//! become. It judges nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::ResourceExt;
use serde_json::Value;

use super::{name_of, role};
use crate::api::RealtimeProfile;
use crate::cluster::Cluster;
use crate::host_facts::cmdline;
use crate::merge::{place, sources};
use crate::names::{
    LABEL_MACHINE_CONFIG_ROLE, LABEL_PROFILE, machine_config_name, node_role_label, pool_label,
};
use crate::openshift::{MachineConfig, MachineConfigPool, PerformanceProfile};
use crate::pools::{WORKER_POOL, is_custom};
use crate::render::KERNEL_TYPE_REALTIME;
use crate::render::machine_config::without_files;
use crate::validate::ValidProfile;

/// A MachineConfig that the pool merges, or will merge, beside ours.
pub(in crate::validate) struct Source<'a> {
    /// Whose it is, as a problem names it: `MachineConfig/name`, or the profile behind it.
    pub object: String,
    /// What it says.
    pub config: Cow<'a, MachineConfig>,
}

impl Source<'_> {
    /// Its kernel arguments, one by one: an entry may hold several.
    pub fn arguments(&self) -> impl Iterator<Item = String> + '_ {
        let entries = self.config.spec.kernel_arguments.iter().flatten();
        entries.flat_map(|entry| cmdline::arguments(entry))
    }

    /// What to do with it, in words.
    pub fn without(&self, what: &str) -> String {
        if self.object.starts_with("MachineConfig/") {
            format!("take {what} out of that MachineConfig")
        } else {
            "change that profile, or give it a pool of its own".to_owned()
        }
    }
}

/// All of them, in OpenShift's order.
pub(in crate::validate) struct Beside<'a> {
    /// Those that stand before ours.
    pub before: Vec<Source<'a>>,
    /// Those that stand behind it.
    pub behind: Vec<Source<'a>>,
}

impl<'a> Beside<'a> {
    /// What the cluster has, and what the other profiles of the role `worker` will add to a custom pool.
    pub fn of(valid: &ValidProfile, cluster: &'a Cluster) -> Self {
        let ours = without_files(valid).unwrap_or_default();
        let our_name = machine_config_name(&valid.name);
        let pool = merging(&valid.pool.name, cluster);
        let mut all: Vec<Source<'a>> = sources(&pool, &cluster.machine_configs)
            .into_iter()
            .filter(|config| config.metadata.name.as_deref() != Some(&our_name))
            .filter(|config| config.labels().get(LABEL_PROFILE) != Some(&valid.name))
            .map(|config| Source {
                object: owner(config, cluster),
                config: Cow::Borrowed(config),
            })
            .collect();
        if is_custom(&valid.pool.name) {
            for coming in coming(cluster) {
                if sources(&pool, std::slice::from_ref(&*coming.config)).is_empty() {
                    continue;
                }
                // As it will be, in place of what is there.
                let name = coming.config.metadata.name.clone();
                all.retain(|other| other.config.metadata.name != name);
                all.push(coming);
            }
            all.sort_by(|one, other| place(&one.config).cmp(&place(&other.config)));
        }
        let behind = all
            .iter()
            .position(|source| place(&source.config) > place(&ours))
            .map(|first| all.split_off(first))
            .unwrap_or_default();
        Self {
            before: all,
            behind,
        }
    }

    /// All of them.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Source<'a>> {
        self.before.iter().chain(&self.behind)
    }
}

/// The pool as it merges: the existing one, or one with the selector that we would give it.
fn merging<'a>(name: &str, cluster: &'a Cluster) -> Cow<'a, MachineConfigPool> {
    let existing = cluster.pools.iter().find(|pool| {
        pool.metadata.name.as_deref() == Some(name) && pool.spec.machine_config_selector.is_some()
    });
    existing.map_or_else(|| Cow::Owned(selecting_role(name)), Cow::Borrowed)
}

/// A pool with the selector that we would give it.
fn selecting_role(name: &str) -> MachineConfigPool {
    let mut pool = MachineConfigPool::default();
    let roles = if is_custom(name) {
        vec![WORKER_POOL.to_owned(), name.to_owned()]
    } else {
        vec![name.to_owned()]
    };
    pool.spec.machine_config_selector = Some(LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: LABEL_MACHINE_CONFIG_ROLE.to_owned(),
            operator: "In".to_owned(),
            values: Some(roles),
        }]),
        match_labels: None,
    });
    pool
}

fn owner(config: &MachineConfig, cluster: &Cluster) -> String {
    let known = |name: &&String| {
        cluster
            .profiles
            .iter()
            .any(|profile| profile.metadata.name.as_ref() == Some(*name))
    };
    match config.labels().get(LABEL_PROFILE).filter(known) {
        Some(profile) => format!("RealtimeProfile/{profile}"),
        None => format!("MachineConfig/{}", config.name_any()),
    }
}

/// What the profiles of the pool `worker` will become: offline nothing else tells of them. One that is refused, or that
/// waits, changes nothing. Of one in a cluster its MachineConfig tells, which is there as soon as it counts.
fn coming(cluster: &Cluster) -> Vec<Source<'static>> {
    let known_otherwise = |profile: &RealtimeProfile| {
        profile.metadata.uid.is_some() && !cluster.machine_configs.is_empty()
    };
    let profiles = cluster
        .profiles
        .iter()
        .filter(|profile| profile.metadata.deletion_timestamp.is_none())
        .filter(|profile| name_of(profile) == WORKER_POOL && !known_otherwise(profile))
        // Only a custom pool asks here, and `worker` is none: this ends.
        .filter_map(|profile| crate::validate::validate(profile, cluster).profile)
        .filter(|valid| !valid.paused)
        .filter_map(|valid| {
            Some(Source {
                object: format!("RealtimeProfile/{}", valid.name),
                config: Cow::Owned(without_files(&valid)?),
            })
        });
    let name = nto_name();
    let there = |config: &MachineConfig| config.metadata.name.as_ref() == Some(&name);
    let performance = cluster
        .performance_profiles
        .iter()
        // What the Node Tuning Operator has made of it counts.
        .filter(|_| !cluster.machine_configs.iter().any(there))
        .filter(|profile| is_for_workers(profile, cluster))
        .map(|profile| Source {
            object: format!("PerformanceProfile/{}", profile.name_any()),
            config: Cow::Owned(of_performance_profile(profile)),
        });
    profiles.chain(performance).collect()
}

/// Where the Node Tuning Operator writes the arguments for the pool `worker`.
fn nto_name() -> String {
    format!("50-nto-{WORKER_POOL}")
}

/// By the first that it says: the labels of its MachineConfigs, its pool's labels, its nodes' role.
fn is_for_workers(profile: &PerformanceProfile, cluster: &Cluster) -> bool {
    let spec = &profile.spec;
    if let Some(labels) = &spec.machine_config_label {
        return *labels == role(WORKER_POOL);
    }
    if let Some(wanted) = &spec.machine_config_pool_selector {
        let worker = cluster
            .pools
            .iter()
            .find(|pool| pool.name_any() == WORKER_POOL);
        let mut labels = worker.map(|pool| pool.labels().clone()).unwrap_or_default();
        labels.insert(pool_label(WORKER_POOL), String::new());
        return !wanted.is_empty()
            && wanted
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value));
    }
    let worker = BTreeMap::from([(node_role_label(WORKER_POOL), String::new())]);
    spec.node_selector.as_ref() == Some(&worker)
}

/// What of its MachineConfigs can contradict a profile: the kernel, the isolated CPUs, huge pages, and its additional
/// arguments (Node Tuning Operator, `assets/performanceprofile/tuned/openshift-node-performance`).
fn of_performance_profile(profile: &PerformanceProfile) -> MachineConfig {
    let spec = &profile.spec;
    let cpu = spec.cpu.as_ref().unwrap_or(&Value::Null);
    let mut arguments = Vec::new();
    if let Some(isolated) = cpu["isolated"].as_str() {
        let domain = if cpu["balanceIsolated"] == false {
            "domain,"
        } else {
            ""
        };
        arguments.push(format!("isolcpus={domain}managed_irq,{isolated}"));
        let hints = spec.workload_hints.as_ref().unwrap_or(&Value::Null);
        if hints["realTime"] != false {
            arguments.push(format!("nohz_full={isolated}"));
        }
    }
    let hugepages = spec.hugepages.as_ref().unwrap_or(&Value::Null);
    if let Some(size) = hugepages["defaultHugepagesSize"].as_str() {
        arguments.push(format!("default_hugepagesz={size}"));
    }
    for page in hugepages["pages"].as_array().into_iter().flatten() {
        if let (Some(size), Some(count), true) = (
            page["size"].as_str(),
            page["count"].as_i64(),
            page["node"].is_null(),
        ) {
            arguments.push(format!("hugepagesz={size}"));
            arguments.push(format!("hugepages={count}"));
        }
    }
    arguments.extend(spec.additional_kernel_args.iter().flatten().cloned());
    let mut config = MachineConfig::default();
    config.metadata.name = Some(nto_name());
    config.metadata.labels = Some(role(WORKER_POOL));
    config.spec.kernel_arguments = Some(arguments);
    let kernel = spec.real_time_kernel.as_ref().unwrap_or(&Value::Null);
    config.spec.kernel_type = (kernel["enabled"] == true).then(|| KERNEL_TYPE_REALTIME.to_owned());
    config
}
