//! Which nodes would reboot, how often and why. It reads nodes and judges no object.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use serde::Serialize;

use super::objects::{Action, ObjectChange};
use super::pool::{self, ArgumentChanges, Pool};
use super::{Wanted, daemon};
use crate::names::MCO_ANNOTATION_PREFIX;
use crate::openshift::{MachineConfig, MachineConfigPool};
use crate::pools::{Membership, membership};
use crate::selector;

/// What happens to one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodePlan {
    /// The node.
    pub node: String,
    /// How often it reboots until it is what the profile says.
    pub reboots: u32,
    /// Why, or why not.
    pub reasons: Vec<String>,
}

/// The nodes of the pool as it would be, and those that a deleted or changed selector lets go.
pub fn plan(wanted: &Wanted<'_>, pool: &Pool, changes: &[ObjectChange]) -> Vec<NodePlan> {
    let name = pool.after.name_any();
    let pools_after: Vec<MachineConfigPool> = wanted
        .cluster
        .pools
        .iter()
        .filter(|other| other.name_any() != name)
        .chain([&pool.after])
        .cloned()
        .collect();
    let mut nodes: Vec<NodePlan> = wanted
        .cluster
        .nodes
        .iter()
        .filter_map(|node| {
            let before = pool_of(node, &wanted.cluster.pools);
            let after = pool_of(node, &pools_after);
            let entering = after.as_deref() == Some(&name);
            let leaving = before.as_deref() == Some(&name) && !entering;
            if entering {
                Some(entering_node(
                    wanted,
                    pool,
                    changes,
                    node,
                    before.as_deref(),
                ))
            } else if leaving {
                Some(leaving_node(wanted, node, after.as_deref()))
            } else {
                let theirs = after.and_then(|after| pool::find(&pools_after, &after));
                theirs.and_then(|theirs| inheriting_node(wanted, theirs, changes, node))
            }
        })
        .collect();
    nodes.sort_by(|left, right| left.node.cmp(&right.node));
    nodes
}

fn pool_of(node: &Node, pools: &[MachineConfigPool]) -> Option<String> {
    match membership(node.labels(), pools) {
        Membership::One(pool) => Some(pool.name_any()),
        Membership::None | Membership::Conflict(_) => None,
    }
}

fn leaving_node(wanted: &Wanted<'_>, node: &Node, to: Option<&str>) -> NodePlan {
    let (by_daemon, mut reasons) = daemon::reboots_on_leaving(wanted, node);
    reasons.push(match to {
        Some(to) => format!("goes back to pool {to}"),
        None => "leaves the pool, and no other pool takes it".to_owned(),
    });
    NodePlan {
        node: node.name_any(),
        reboots: u32::from(to.is_some()) + by_daemon,
        reasons,
    }
}

/// A node of another pool that takes in our MachineConfigs too, as every custom pool does with those of `worker`. That
/// pool isn't ours to pause: what comes by a KubeletConfig may come later than the rest.
fn inheriting_node(
    wanted: &Wanted<'_>,
    pool: &MachineConfigPool,
    changes: &[ObjectChange],
    node: &Node,
) -> Option<NodePlan> {
    let ours = wanted.rendered.machine_config.as_ref()?;
    let selector = pool.spec.machine_config_selector.as_ref();
    if !selector::matches_or_nothing(selector, ours.labels()) {
        return None;
    }
    let mut reasons = changed_configuration(changes);
    let reboots = u32::try_from(reasons.len()).unwrap_or(u32::MAX);
    reasons.insert(
        0,
        format!(
            "its pool {} takes in what is written for {}, and is not paused meanwhile",
            pool.name_any(),
            wanted.profile.pool.name
        ),
    );
    (reboots > 0).then(|| NodePlan {
        node: node.name_any(),
        reboots,
        reasons,
    })
}

fn entering_node(
    wanted: &Wanted<'_>,
    pool: &Pool,
    changes: &[ObjectChange],
    node: &Node,
    from: Option<&str>,
) -> NodePlan {
    let running = annotation(node, "currentConfig").and_then(|name| {
        let configs = &wanted.cluster.machine_configs;
        configs.iter().find(|config| config.name_any() == name)
    });
    let mut reasons = Vec::new();
    if from != Some(&pool.after.name_any()) {
        reasons.push(match from {
            Some(from) => format!("comes from pool {from}"),
            None => "comes into the pool".to_owned(),
        });
    }
    match running {
        Some(running) => reasons.extend(differences(wanted, running, pool, changes)),
        // Without the node's word only our own changes are known.
        None => reasons.extend(changed_configuration(changes)),
    }
    let unfinished = from == Some(&pool.after.name_any())
        && annotation(node, "state") == Some("Working")
        && annotation(node, "currentConfig") != annotation(node, "desiredConfig");
    let changes_now = !reasons.is_empty();
    if unfinished {
        reasons.insert(
            0,
            "is in the middle of another update and finishes that first".to_owned(),
        );
    }
    let (by_daemon, of_daemon) = daemon::reboots(wanted, node);
    reasons.extend(of_daemon);
    if reasons.is_empty() {
        reasons.push("runs this configuration already".to_owned());
    }
    NodePlan {
        node: node.name_any(),
        reboots: u32::from(changes_now) + u32::from(unfinished) + by_daemon,
        reasons,
    }
}

/// What of the node's running configuration the new one changes: any of it means a reboot.
fn differences(
    wanted: &Wanted<'_>,
    running: &MachineConfig,
    pool: &Pool,
    changes: &[ObjectChange],
) -> Vec<String> {
    let mut found = Vec::new();
    let (before, after) = (
        pool::kernel_of(running),
        pool::kernel_of_merged(&pool.merged),
    );
    if before != after {
        found.push(format!("kernel {before} → {after}"));
    }
    let arguments = running.spec.kernel_arguments.clone().unwrap_or_default();
    found.extend(in_words(&pool::changes(
        &arguments,
        &pool.merged.kernel_arguments,
    )));
    if changes
        .iter()
        .any(|change| change.object.kind == "KubeletConfig")
    {
        found.push("kubelet configuration".to_owned());
    }
    if let Some(ours) = &wanted.rendered.machine_config {
        let missing = crate::merge::missing_from_target(running, ours, None, &[ours.name_any()]);
        let files = missing
            .iter()
            .filter(|what| what.starts_with("file ") || what.starts_with("unit "))
            .count();
        if files > 0 {
            found.push(format!("{files} files or units"));
        }
        let configs = pool::configs_after(wanted);
        let gone = crate::merge::remnants(running, &crate::merge::sources(&pool.after, &configs))
            .iter()
            .filter(|what| what.starts_with("file ") || what.starts_with("unit "))
            .count();
        if gone > 0 {
            found.push(format!("{gone} files or units go"));
        }
    }
    found
}

fn in_words(changes: &ArgumentChanges) -> Option<String> {
    let part = |sign: char, arguments: &[String]| {
        arguments
            .iter()
            .map(|argument| format!("{sign}{argument}"))
            .collect::<Vec<_>>()
    };
    let all: Vec<String> = [part('+', &changes.added), part('-', &changes.removed)].concat();
    (!all.is_empty()).then(|| format!("kernel arguments {}", all.join(" ")))
}

fn changed_configuration(changes: &[ObjectChange]) -> Vec<String> {
    changes
        .iter()
        .filter(|change| {
            matches!(
                change.object.kind.as_str(),
                "MachineConfig" | "KubeletConfig"
            )
        })
        .map(|change| {
            let verb = match change.action {
                Action::Create => "is new",
                Action::Change => "changes",
                Action::Delete => "goes",
            };
            format!("{} {verb}", change.object)
        })
        .collect()
}

fn annotation<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    node.annotations()
        .get(&format!("{MCO_ANNOTATION_PREFIX}{name}"))
        .map(String::as_str)
}
