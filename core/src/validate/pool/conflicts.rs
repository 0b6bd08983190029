//! Who else claims the pool: other profiles, PerformanceProfiles, foreign KubeletConfigs, inherited kernels.
//! Each problem names the object that is in the way.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::name_of;
use crate::api::RealtimeProfile;
use crate::cluster::Cluster;
use crate::merge::sources;
use crate::names::{
    LABEL_NODE_ROLE_PREFIX, LABEL_PROFILE, machine_config_name, object_name, pool_label,
};
use crate::openshift::{KubeletConfig, MachineConfig, MachineConfigPool, PerformanceProfile};
use crate::problem::{Problem, Problems};
use crate::selector::matches_or_nothing;
use crate::validate::ValidProfile;
use crate::validate::valid_profile::ValidPool;

/// Two profiles on one pool: the one that was there first keeps it.
pub(in crate::validate) fn check_profiles(
    profile: &RealtimeProfile,
    pool: &ValidPool,
    cluster: &Cluster,
    problems: &mut Problems,
) {
    let age = |profile: &RealtimeProfile| {
        let created = profile
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0.to_string());
        (created.is_none(), created, profile.name_any())
    };
    for other in &cluster.profiles {
        let gone = other.metadata.deletion_timestamp.is_some();
        if other.metadata.name == profile.metadata.name || gone || name_of(other) != pool.name {
            continue;
        }
        let field = format!("RealtimeProfile/{}", other.name_any());
        let remedy = "keep one of the two, or give each a pool of its own in spec.pool.name";
        if age(other) < age(profile) {
            let message = format!("shapes the pool {} already", pool.name);
            problems.push(Problem::error(field, "", message, remedy));
        } else {
            let message = format!("wants the pool {} too, and is refused", pool.name);
            problems.push(Problem::warning(field, "", message, remedy));
        }
    }
}

/// What else of the cluster stands in the way.
pub(in crate::validate) fn check(
    valid: &ValidProfile,
    explicit_realtime: Option<bool>,
    cluster: &Cluster,
    problems: &mut Problems,
) {
    let pool = cluster
        .pools
        .iter()
        .find(|pool| pool.metadata.name.as_deref() == Some(&valid.pool.name));
    let mut labels = pool.map(|pool| pool.labels().clone()).unwrap_or_default();
    labels.insert(pool_label(&valid.pool.name), String::new());
    for other in &cluster.performance_profiles {
        check_performance_profile(other, valid, &labels, problems);
    }
    for other in &cluster.kubelet_configs {
        check_kubelet_config(other, valid, &labels, problems);
    }
    for other in beside(&valid.name, &valid.pool, cluster) {
        check_inherited_kernel(other, valid, explicit_realtime, problems);
    }
}

/// The MachineConfigs that the pool merges beside ours, in OpenShift's order.
pub(in crate::validate) fn beside<'a>(
    profile_name: &str,
    pool: &ValidPool,
    cluster: &'a Cluster,
) -> Vec<&'a MachineConfig> {
    let ours = machine_config_name(profile_name);
    let existing = cluster
        .pools
        .iter()
        .find(|other| other.metadata.name.as_deref() == Some(&pool.name));
    let whole;
    let merged = match existing {
        Some(existing) if existing.spec.machine_config_selector.is_some() => existing,
        _ => {
            whole = selecting_role(&pool.name);
            &whole
        }
    };
    let mut sources = sources(merged, &cluster.machine_configs);
    sources.retain(|source| source.metadata.name.as_deref() != Some(&ours));
    sources
}

/// A pool with the selector that we would give it.
fn selecting_role(name: &str) -> MachineConfigPool {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
    let mut pool = MachineConfigPool::default();
    let roles = if crate::pools::is_custom(name) {
        vec![crate::pools::WORKER_POOL.to_owned(), name.to_owned()]
    } else {
        vec![name.to_owned()]
    };
    pool.spec.machine_config_selector = Some(LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: crate::names::LABEL_MACHINE_CONFIG_ROLE.to_owned(),
            operator: "In".to_owned(),
            values: Some(roles),
        }]),
        match_labels: None,
    });
    pool
}

fn check_performance_profile(
    other: &PerformanceProfile,
    valid: &ValidProfile,
    pool_labels: &BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let all_in = |wanted: Option<&BTreeMap<String, String>>, labels: &BTreeMap<String, String>| {
        wanted.is_some_and(|wanted| {
            !wanted.is_empty()
                && wanted
                    .iter()
                    .all(|(key, value)| labels.get(key) == Some(value))
        })
    };
    let node_selector = other.spec.node_selector.as_ref();
    let by_role = node_selector.is_some_and(|labels| {
        let mut roles = labels
            .keys()
            .filter_map(|key| key.strip_prefix(LABEL_NODE_ROLE_PREFIX));
        roles.any(|role| role == valid.pool.name)
    });
    let by_nodes = node_selector.is_some_and(|labels| {
        !labels.is_empty() && matches_or_nothing(Some(&valid.pool.node_selector), labels)
    });
    let by_pool = all_in(
        other.spec.machine_config_pool_selector.as_ref(),
        pool_labels,
    );
    let by_config = all_in(
        other.spec.machine_config_label.as_ref(),
        &valid.pool.machine_config_labels,
    );
    if by_role || by_nodes || by_pool || by_config {
        problems.push(Problem::error(
            format!("PerformanceProfile/{}", other.name_any()),
            "",
            format!("tunes the same nodes as the pool {}: both would write kernel, arguments and kubelet", valid.pool.name),
            "delete it, or take its nodes out of this pool; this profile then covers what it did",
        ));
    }
}

fn check_kubelet_config(
    other: &KubeletConfig,
    valid: &ValidProfile,
    pool_labels: &BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let name = other.name_any();
    let ours =
        name == object_name(&valid.name) || other.labels().get(LABEL_PROFILE) == Some(&valid.name);
    if ours
        || !matches_or_nothing(
            other.spec.machine_config_pool_selector.as_ref(),
            pool_labels,
        )
    {
        return;
    }
    problems.push(Problem::error(
        format!("KubeletConfig/{name}"),
        "",
        format!("selects the pool {} too; of two KubeletConfigs OpenShift uses one as a whole and drops the other", valid.pool.name),
        "move its fields into spec.kubelet.overrides and delete it, or let its selector leave this pool out",
    ));
}

fn check_inherited_kernel(
    other: &MachineConfig,
    valid: &ValidProfile,
    explicit: Option<bool>,
    problems: &mut Problems,
) {
    let inherited =
        other.spec.realtime == Some(true) || other.spec.kernel_type.as_deref() == Some("realtime");
    if !inherited || valid.kernel.realtime {
        return;
    }
    let field = format!("MachineConfig/{}", other.name_any());
    let message = format!(
        "gives the pool {} the real-time kernel, which nothing can turn off for one pool",
        valid.pool.name
    );
    let remedy = "take kernelType out of that MachineConfig, or set spec.kernel.realtime: true";
    problems.push(if explicit == Some(false) {
        Problem::error(field, "realtime", message, remedy)
    } else {
        Problem::warning(field, "realtime", message, remedy)
    });
}
