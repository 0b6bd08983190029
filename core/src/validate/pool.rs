//! Which pool the profile shapes, whether it is ours, and by which labels a MachineConfig reaches it.
//! Who else claims it is `pool::conflicts`' question, what its nodes are `pool::nodes`'.

pub(super) mod beside;
pub(super) mod conflicts;
pub(super) mod nodes;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::text::{is_dns_label, selector};
use crate::api::RealtimeProfile;
use crate::api::realtime_profile::PoolSpec;
use crate::cluster::Cluster;
use crate::names::{
    ANNOTATION_CREATED_BY, LABEL_MACHINE_CONFIG_ROLE, node_role_label, object_name,
};
use crate::openshift::{MachineConfigPool, MachineConfigPoolSpec};
use crate::pools::{ARBITER_POOL, MASTER_POOL, WORKER_POOL, is_custom};
use crate::problem::{Problem, Problems};
use crate::render::runtime_class::labels_of;
use crate::selector::{matches, matches_or_nothing};
use crate::validate::valid_profile::ValidPool;

/// Longest name of a profile: it becomes part of other names, which end at 63.
const MAX_NAME: usize = 50;

/// The other role of the nodes in the pool `master`.
const CONTROL_PLANE: &str = "control-plane";

/// The pool that a profile shapes, by name.
pub(super) fn name_of(profile: &RealtimeProfile) -> String {
    let given = profile
        .spec
        .pool
        .as_ref()
        .and_then(|pool| pool.name.clone());
    given
        .or_else(|| profile.metadata.name.clone())
        .unwrap_or_default()
}

pub(super) fn check(
    profile: &RealtimeProfile,
    cluster: &Cluster,
    problems: &mut Problems,
) -> ValidPool {
    let profile_name = profile.metadata.name.clone().unwrap_or_default();
    let empty = PoolSpec::default();
    let PoolSpec {
        name: given_name,
        create,
        node_selector,
        max_unavailable,
    } = profile.spec.pool.as_ref().unwrap_or(&empty);
    let name = name_of(profile);
    check_names(&profile_name, &name, given_name.is_some(), problems);
    let create = create.unwrap_or(true);
    let existing = cluster
        .pools
        .iter()
        .find(|pool| pool.metadata.name.as_deref() == Some(&name));
    let created_by_us = existing.is_some_and(|pool| {
        let annotations = pool.metadata.annotations.as_ref();
        annotations.and_then(|annotations| annotations.get(ANNOTATION_CREATED_BY))
            == Some(&profile_name)
    });
    // A pool that isn't there is ours to make, unless it is built in or shall not be made.
    let ours = created_by_us || (existing.is_none() && create && is_custom(&name));
    if existing.is_none() && !create && !cluster.pools.is_empty() {
        problems.push(Problem::error(
            "spec.pool.name",
            &name,
            "there is no such pool, and create is false",
            "name an existing pool (oc get mcp), or let create be true",
        ));
    }
    let given = node_selector.is_some() || max_unavailable.is_some();
    if given && !create {
        problems.push(Problem::error(
            "spec.pool",
            "create: false",
            "nodeSelector and maxUnavailable belong to a pool that the operator creates",
            "set them on the existing pool, or let create be true",
        ));
    } else if given && !ours {
        problems.push(Problem::warning(
            "spec.pool",
            &name,
            "the pool exists and belongs to somebody else: nodeSelector and maxUnavailable are not used",
            "set them on the pool itself, and remove them here",
        ));
    }
    let default_selector = || LabelSelector {
        match_labels: Some(BTreeMap::from([(node_role_label(&name), String::new())])),
        match_expressions: None,
    };
    match node_selector {
        Some(given) => check_node_selector(given, problems),
        None if ours && name == CONTROL_PLANE => problems.push(Problem::error(
            "spec.pool.name",
            &name,
            "takes by its name's role label the nodes of the control plane, which stay in their own pool whatever this one says",
            "choose another name, or shape the pool master itself: pool.name: master",
        )),
        None => {}
    }
    let node_selector = match existing.filter(|_| !ours) {
        Some(pool) => pool.spec.node_selector.clone().unwrap_or_default(),
        None => node_selector.clone().unwrap_or_else(default_selector),
    };
    check_max_unavailable(max_unavailable.as_ref(), problems);
    let machine_config_labels = match existing.filter(|_| !ours) {
        Some(pool) => labels_that_reach(pool, &name, problems),
        None => role(&name),
    };
    let pool = ValidPool {
        max_unavailable: max_unavailable.clone().filter(|_| ours),
        name,
        ours,
        node_selector,
        machine_config_labels,
    };
    warn_of_wide_reach(&pool, cluster, problems);
    let unsaid = labels_of(&pool.node_selector).is_empty();
    if unsaid && !crate::selector::is_empty(&pool.node_selector) && cluster.served.machine_configs {
        problems.push(Problem::warning(
            format!("RuntimeClass/{}", object_name(&profile_name)),
            "",
            format!("can't say which nodes the pool {} has: a pod of the class that comes to another node fails", pool.name),
            "select the pool's nodes by matchLabels, or give such pods a nodeSelector of their own",
        ));
    }
    pool
}

fn check_names(profile_name: &str, name: &str, given_name: bool, problems: &mut Problems) {
    if !is_dns_label(profile_name) || profile_name.len() > MAX_NAME {
        problems.push(Problem::error(
            "metadata.name",
            profile_name.escape_debug(),
            "is part of other objects' names and a pool's name",
            format!(
                "use lower-case letters and digits, '-' between them, at most {MAX_NAME} characters"
            ),
        ));
    }
    // The profile's own name is told above.
    if given_name && !is_dns_label(name) {
        problems.push(Problem::error(
            "spec.pool.name",
            name.escape_debug(),
            "is no name of a pool",
            "use lower-case letters and digits, '-' between them, at most 63 characters",
        ));
    }
}

fn role(name: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(LABEL_MACHINE_CONFIG_ROLE.to_owned(), name.to_owned())])
}

fn check_node_selector(given: &LabelSelector, problems: &mut Problems) {
    let field = "spec.pool.nodeSelector";
    selector(field, given, problems);
    if crate::selector::is_empty(given) {
        problems.push(Problem::error(
            field,
            "",
            "is empty and selects no node",
            "name a label of the nodes",
        ));
        return;
    }
    let selects = |role: &str| {
        matches(
            given,
            &BTreeMap::from([(node_role_label(role), String::new())]),
        )
    };
    if let Some(role) = [MASTER_POOL, CONTROL_PLANE, ARBITER_POOL]
        .into_iter()
        .find(|role| selects(role))
    {
        problems.push(Problem::error(
            field,
            role,
            "selects the control plane, whose nodes stay in their own pool whatever this one says",
            "choose another label, or shape the pool master itself: pool.name: master",
        ));
    }
    if selects(WORKER_POOL) {
        problems.push(Problem::warning(
            field,
            WORKER_POOL,
            "takes every worker node out of the pool worker",
            "choose a label that only the real-time nodes have",
        ));
    }
}

fn check_max_unavailable(given: Option<&IntOrString>, problems: &mut Problems) {
    let mut message = "is neither a number of nodes nor a percentage";
    let mut remedy = "use 1 or more, or 1% to 100%";
    let shown = match given {
        None => return,
        Some(IntOrString::Int(number)) if *number >= 1 => return,
        Some(IntOrString::Int(number)) => number.to_string(),
        Some(IntOrString::String(text)) => {
            if text.parse::<u32>().is_ok() {
                message = "is text, which OpenShift takes for a percentage";
                remedy = "write the number without quotes, or add %";
            }
            let digits = text.strip_suffix('%').filter(|digits| {
                (1..=3).contains(&digits.len())
                    && digits.bytes().all(|digit| digit.is_ascii_digit())
            });
            if digits
                .and_then(|digits| digits.parse::<u32>().ok())
                .is_some_and(|percent| (1..=100).contains(&percent))
            {
                return;
            }
            text.escape_debug().to_string()
        }
    };
    problems.push(Problem::error(
        "spec.pool.maxUnavailable",
        shown,
        message,
        remedy,
    ));
}

/// Labels for our MachineConfig that an existing pool's selector takes:
/// 1. the role of the pool's name; 2. what the selector asks for, the pool's own value first and `worker` last.
fn labels_that_reach(
    pool: &MachineConfigPool,
    name: &str,
    problems: &mut Problems,
) -> BTreeMap<String, String> {
    let wanted = pool.spec.machine_config_selector.as_ref();
    let by_name = role(name);
    if wanted.is_none() || matches_or_nothing(wanted, &by_name) {
        return by_name;
    }
    let mut labels = BTreeMap::new();
    for requirement in wanted
        .and_then(|wanted| wanted.match_expressions.as_ref())
        .into_iter()
        .flatten()
    {
        let values = requirement.values.as_deref().unwrap_or_default();
        let value = values
            .iter()
            .find(|value| *value == name)
            .or_else(|| values.iter().find(|value| *value != WORKER_POOL))
            .or(values.first());
        match requirement.operator.as_str() {
            "In" => labels.extend(value.map(|value| (requirement.key.clone(), value.clone()))),
            "Exists" => {
                labels
                    .entry(requirement.key.clone())
                    .or_insert_with(String::new);
            }
            _ => {}
        }
    }
    labels.extend(
        wanted
            .and_then(|wanted| wanted.match_labels.clone())
            .unwrap_or_default(),
    );
    // Without any label a selector that only excludes takes it, and so would every other one.
    if labels.is_empty() || !matches_or_nothing(wanted, &labels) {
        problems.push(Problem::error(
            format!("MachineConfigPool/{name}"),
            "",
            "its machineConfigSelector names no label by which our MachineConfig could reach it and no other pool",
            format!("let it take the label {LABEL_MACHINE_CONFIG_ROLE}: {name}"),
        ));
        return by_name;
    }
    labels
}

/// Our MachineConfig goes wherever its labels are selected: with `worker` that is every pool of workers.
fn warn_of_wide_reach(pool: &ValidPool, cluster: &Cluster, problems: &mut Problems) {
    let others: Vec<String> = cluster
        .pools
        .iter()
        .filter(|other| {
            matches_or_nothing(
                other.spec.machine_config_selector.as_ref(),
                &pool.machine_config_labels,
            )
        })
        .filter_map(|other| other.metadata.name.clone())
        .filter(|other| *other != pool.name)
        .collect();
    if !others.is_empty() {
        problems.push(Problem::warning(
            format!("MachineConfigPool/{}", pool.name),
            "",
            format!("the MachineConfig reaches other pools too, whose nodes would reboot: {}", super::names(&others)),
            "choose a pool of its own for the real-time nodes: leave spec.pool.name to the operator",
        ));
    }
}

/// The pools as they will be: those of the cluster, and ours when it isn't there yet.
pub(super) fn with_ours(pool: &ValidPool, cluster: &Cluster) -> Vec<MachineConfigPool> {
    let mut pools: Vec<MachineConfigPool> = cluster.pools.clone();
    if pools
        .iter()
        .any(|other| other.metadata.name.as_deref() == Some(&pool.name))
    {
        return pools;
    }
    let selector_of = |name: &str| LabelSelector {
        match_labels: Some(BTreeMap::from([(node_role_label(name), String::new())])),
        match_expressions: None,
    };
    let mut add = |name: &str, node_selector: LabelSelector| {
        let spec = MachineConfigPoolSpec {
            node_selector: Some(node_selector),
            ..MachineConfigPoolSpec::default()
        };
        pools.push(MachineConfigPool::new(name, spec));
    };
    if cluster.pools.is_empty() && is_custom(&pool.name) {
        // Offline without pools: what every cluster has decides as well.
        add(MASTER_POOL, selector_of(MASTER_POOL));
        add(WORKER_POOL, selector_of(WORKER_POOL));
    }
    add(&pool.name, pool.node_selector.clone());
    pools
}
