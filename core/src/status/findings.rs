//! What is wrong or in the way and that nobody else shows: each with a fixed reason, and words that name the next
//! step. Ordered by importance. Decides nothing about conditions' statuses: that is `status`.

use kube::ResourceExt;

use super::progress::{NodeProgress, ProgressPhase};
use crate::cluster::Cluster;
use crate::conditions::reason;
use crate::merge;
use crate::names;
use crate::openshift::{KubeletConfig, MachineConfigPool, PerformanceProfile};
use crate::rollout::acceptance::{Acceptance, acceptance};
use crate::rollout::landing::target_name;
use crate::selector;
use crate::validate::ValidProfile;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, and what to do.
    pub message: String,
}

impl Finding {
    fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}

/// Everything that makes the profile Degraded, the most important first.
pub fn findings(
    profile: &str,
    valid: Option<&ValidProfile>,
    pool: Option<&MachineConfigPool>,
    cluster: &Cluster,
    nodes: &[NodeProgress],
) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(pool) = pool {
        kubelet_configs(profile, pool, cluster, &mut found);
        render(pool, &mut found);
    }
    two_pools(nodes, &mut found);
    if let Some(pool) = pool {
        performance_profiles(pool, cluster, &mut found);
    }
    let stock: Vec<String> = valid
        .map(|valid| on_stock_kernel(valid, nodes))
        .unwrap_or_default()
        .iter()
        .map(|node| node.node.clone())
        .collect();
    degraded_nodes(nodes, &stock, &mut found);
    if let (Some(pool), Some(valid)) = (pool, valid) {
        inherited_realtime(profile, valid, pool, cluster, &mut found);
        overridden(profile, pool, cluster, &mut found);
    }
    if let Some(valid) = valid {
        stock_kernel(valid, nodes, &mut found);
    }
    found
}

fn selects(config: &KubeletConfig, pool: &MachineConfigPool) -> bool {
    selector::matches_or_nothing(
        config.spec.machine_config_pool_selector.as_ref(),
        pool.labels(),
    )
}

fn kubelet_configs(
    profile: &str,
    pool: &MachineConfigPool,
    cluster: &Cluster,
    found: &mut Vec<Finding>,
) {
    let ours = names::object_name(profile);
    let of_pool = || {
        cluster
            .kubelet_configs
            .iter()
            .filter(|config| config.metadata.deletion_timestamp.is_none() && selects(config, pool))
    };
    for config in of_pool() {
        let Acceptance::Refused(words) = acceptance(config) else {
            continue;
        };
        let name = config.name_any();
        let whose = if name == ours {
            "it is made from spec.kubelet of this profile: correct that"
        } else {
            "correct or delete it"
        };
        found.push(Finding::new(
            reason::KUBELET_CONFIG_REFUSED,
            format!(
                "KubeletConfig {name} was refused, and blocks every change of pool {} meanwhile, though the pool shows \
                 nothing: {words}; {whose}",
                pool.name_any()
            ),
        ));
    }
    let writes_one = of_pool().any(|config| config.name_any() == ours);
    for config in of_pool().filter(|config| writes_one && config.name_any() != ours) {
        found.push(Finding::new(
            reason::FOREIGN_KUBELET_CONFIG,
            format!(
                "KubeletConfig {} selects pool {} too; OpenShift doesn't merge two, one replaces the other as a whole: \
                 move its fields to spec.kubelet.overrides of this profile and delete it",
                config.name_any(),
                pool.name_any()
            ),
        ));
    }
}

fn render(pool: &MachineConfigPool, found: &mut Vec<Finding>) {
    let degraded = pool
        .status
        .iter()
        .flat_map(|status| &status.conditions)
        .find(|condition| condition.type_ == "RenderDegraded" && condition.status == "True");
    if let Some(condition) = degraded {
        found.push(Finding::new(
            reason::RENDER_DEGRADED,
            format!(
                "pool {} can't be rendered: {}; correct the MachineConfig that it names",
                pool.name_any(),
                condition.message.as_deref().unwrap_or("no reason given")
            ),
        ));
    }
}

fn two_pools(nodes: &[NodeProgress], found: &mut Vec<Finding>) {
    for node in nodes {
        if node.phase == ProgressPhase::Unmanaged {
            found.push(Finding::new(
                reason::NODE_IN_TWO_POOLS,
                format!(
                    "node {} gets no configuration any more; it waits for {}",
                    node.node, node.waits_for
                ),
            ));
        }
    }
}

/// Whether a PerformanceProfile shapes this pool: by the pool's labels, or by the nodes that it selects.
fn shapes(profile: &PerformanceProfile, pool: &MachineConfigPool) -> bool {
    let subset = |wanted: &std::collections::BTreeMap<String, String>,
                  of: &std::collections::BTreeMap<String, String>| {
        !wanted.is_empty() && wanted.iter().all(|(key, value)| of.get(key) == Some(value))
    };
    let spec = &profile.spec;
    if let Some(labels) = &spec.machine_config_pool_selector {
        return subset(labels, pool.labels());
    }
    let of_pool = pool
        .spec
        .node_selector
        .as_ref()
        .and_then(|selector| selector.match_labels.as_ref());
    match (&spec.node_selector, of_pool) {
        (Some(wanted), Some(of)) => !wanted.is_empty() && wanted == of,
        _ => false,
    }
}

fn performance_profiles(pool: &MachineConfigPool, cluster: &Cluster, found: &mut Vec<Finding>) {
    for profile in &cluster.performance_profiles {
        if shapes(profile, pool) {
            found.push(Finding::new(
                reason::PERFORMANCE_PROFILE,
                format!(
                    "PerformanceProfile {} shapes pool {} too, and the two would fight over kernel and kubelet: delete one \
                     of them",
                    profile.name_any(),
                    pool.name_any()
                ),
            ));
        }
    }
}

/// `stock`: nodes that are told as running the stock kernel.
fn degraded_nodes(nodes: &[NodeProgress], stock: &[String], found: &mut Vec<Finding>) {
    let waiting = nodes
        .iter()
        .filter(|node| node.phase == ProgressPhase::Waiting)
        .count();
    for node in nodes.iter().filter(|node| node.by_daemon) {
        if node.phase == ProgressPhase::Degraded && !stock.contains(&node.node) {
            found.push(Finding::new(
                reason::NODE_DEGRADED,
                format!(
                    "node {} failed by its node daemon's word, and no other node gets a turn meanwhile: {}",
                    node.node, node.waits_for
                ),
            ));
        }
    }
    for node in nodes.iter().filter(|node| !node.by_daemon) {
        if node.phase == ProgressPhase::Degraded {
            let stalls = if waiting == 0 {
                String::new()
            } else {
                format!(
                    " It counts as unavailable, so that {waiting} other node(s) may wait for it."
                )
            };
            found.push(Finding::new(
                reason::NODE_DEGRADED,
                format!(
                    "node {} failed: {}.{stalls} See the log of machine-config-daemon on that node; it tries again when the \
                     cause is gone",
                    node.node,
                    node.waits_for.trim_end_matches('.')
                ),
            ));
        }
    }
}

fn inherited_realtime(
    profile: &str,
    valid: &ValidProfile,
    pool: &MachineConfigPool,
    cluster: &Cluster,
    found: &mut Vec<Finding>,
) {
    if valid.kernel.realtime {
        return;
    }
    let ours = names::machine_config_name(profile);
    let from: Vec<String> = merge::sources(pool, &cluster.machine_configs)
        .into_iter()
        .filter(|source| source.name_any() != ours)
        .filter(|source| {
            source.spec.kernel_type.as_deref() == Some("realtime")
                || source.spec.realtime == Some(true)
        })
        .map(ResourceExt::name_any)
        .collect();
    if !from.is_empty() {
        found.push(Finding::new(
            reason::REALTIME_INHERITED,
            format!(
                "pool {} gets the real-time kernel from MachineConfig {}, and no other MachineConfig can turn it off: remove \
                 it there, or set spec.kernel.realtime to true",
                pool.name_any(),
                from.join(", ")
            ),
        ));
    }
}

fn overridden(
    profile: &str,
    pool: &MachineConfigPool,
    cluster: &Cluster,
    found: &mut Vec<Finding>,
) {
    let sources = merge::sources(pool, &cluster.machine_configs);
    for replaced in merge::overridden(&sources, &names::machine_config_name(profile)) {
        found.push(Finding::new(
            reason::OVERRIDDEN,
            format!(
                "MachineConfig {} replaces the {} of this profile on pool {}: take it out there",
                replaced.by,
                replaced.what,
                pool.name_any()
            ),
        ));
    }
}

/// Nodes that are at the target and run the stock kernel, though the Machine Config Operator was to switch it.
fn on_stock_kernel<'a>(valid: &ValidProfile, nodes: &'a [NodeProgress]) -> Vec<&'a NodeProgress> {
    let switched = valid.kernel.realtime && valid.kernel.by_machine_config_operator;
    nodes
        .iter()
        .filter(|node| switched && node.realtime == Some(false))
        .filter(|node| {
            node.phase == ProgressPhase::Verifying && !node.by_daemon
                || node.phase == ProgressPhase::Degraded && node.by_daemon
        })
        .collect()
}

/// The node's agent reports success on hosts whose kernel it can't switch, and never looks at the running one.
fn stock_kernel(valid: &ValidProfile, nodes: &[NodeProgress], found: &mut Vec<Finding>) {
    let stock: Vec<String> = on_stock_kernel(valid, nodes)
        .into_iter()
        .map(|node| {
            format!(
                "{} ({})",
                node.node,
                node.kernel.as_deref().unwrap_or("unknown")
            )
        })
        .collect();
    if !stock.is_empty() {
        found.push(Finding::new(
            reason::STOCK_KERNEL_RUNS,
            format!(
                "the Machine Config Operator calls these nodes updated, and no real-time kernel runs there: {}; it switches \
                 kernels on RHEL CoreOS only: elsewhere set spec.kernel.provider to NodeDaemon",
                stock.join(", ")
            ),
        ));
    }
}

/// A cordon that looks like a rollout, or holds one up: no fault, but worth a sentence.
pub fn cordons(pool: Option<&MachineConfigPool>, nodes: &[NodeProgress]) -> Option<Finding> {
    let pool = pool?;
    let cordoned: Vec<&str> = nodes
        .iter()
        .filter(|node| node.cordoned && !node.phase.is_under_way())
        .map(|node| node.node.as_str())
        .collect();
    if cordoned.is_empty() {
        return None;
    }
    let names = cordoned.join(", ");
    let target = target_name(pool);
    let waiting = nodes
        .iter()
        .filter(|node| node.phase == ProgressPhase::Waiting && node.current.as_deref() != target)
        .count();
    let message = if waiting == 0 {
        format!(
            "{names} cordoned by somebody: pool {} shows Updating though nothing rolls out; uncordon when it may take pods \
             again",
            pool.name_any()
        )
    } else {
        format!(
            "{names} cordoned by somebody and counted against maxUnavailable of pool {}: {waiting} node(s) wait; uncordon, or \
             raise {}",
            pool.name_any(),
            if pool
                .annotations()
                .contains_key(names::ANNOTATION_CREATED_BY)
            {
                "spec.pool.maxUnavailable of the profile"
            } else {
                "its spec.maxUnavailable"
            }
        )
    };
    Some(Finding::new(reason::CORDONED_NODE, message))
}
