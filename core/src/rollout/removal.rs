//! Taking down what a profile made: when it is deleted, and when it moves to another pool. Before anything else, nodes
//! whose kernel their daemon switched get the stock kernel back. Never touches a pool's
//! pause that is an admin's, and never deletes a pool that we did not create.
//!
//! A pool of ours: first it lets its nodes go (they get the configuration of the pool they fall back to, one reboot,
//! as when their label is removed), while its rendered configurations still exist, because a node whose current
//! configuration is gone degrades. Only then its objects and the pool itself are deleted.
//! A pool that stays: paused by us, objects deleted, unpaused when the target no longer holds them: one reboot.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::ResourceExt;
use serde_json::Value;

use super::change::{is_going, object_of};
use super::nodes::Nodes;
use super::pause::{hold, unpause};
use super::turning::{Turning, turning};
use super::{Before, Kind, Live, Observed, Pause, Step, Wait, landing, nodes, pause_of};
use crate::names;
use crate::openshift::MachineConfigPool;
use crate::pools::{Membership, membership};
use crate::selector;

/// A selector that takes no node: nothing carries our owner label as a node. (An empty selector would not do: some
/// readers take it for "all".)
pub fn no_node() -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: names::LABEL_PROFILE.to_owned(),
            operator: "In".to_owned(),
            values: Some(vec!["no-node".to_owned()]),
        }]),
        match_labels: None,
    }
}

/// Whether the pool lets no node in any more.
fn is_emptied(pool: &MachineConfigPool) -> bool {
    pool.spec.node_selector.as_ref() == Some(&no_node())
}

fn created_by_us(pool: &MachineConfigPool, profile: &str) -> bool {
    pool.annotations()
        .get(names::ANNOTATION_CREATED_BY)
        .is_some_and(|by| by == profile)
}

/// Whether a pool that isn't ours still has something of ours: our pause, or an object that reaches it.
fn reached(observed: &Observed<'_>, pool: &MachineConfigPool) -> bool {
    let profile = observed.profile.name_any();
    let paused = pool
        .annotations()
        .get(names::ANNOTATION_PAUSED_FOR)
        .is_some_and(|by| by == &profile);
    let machine = observed.live.machine_config.as_ref().is_some_and(|live| {
        let labels = strings(live.pointer("/metadata/labels"));
        selector::matches_or_nothing(pool.spec.machine_config_selector.as_ref(), &labels)
    });
    let kubelet = observed.live.kubelet_config.as_ref().is_some_and(|live| {
        let selector = live
            .pointer("/spec/machineConfigPoolSelector")
            .and_then(|selector| serde_json::from_value(selector.clone()).ok());
        selector::matches_or_nothing(selector.as_ref(), pool.labels())
    });
    paused || machine || kubelet
}

fn strings(map: Option<&Value>) -> BTreeMap<String, String> {
    map.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The pool that the profile names.
pub(super) fn named_pool(observed: &Observed<'_>) -> String {
    let spec = &observed.profile.spec;
    spec.pool
        .as_ref()
        .and_then(|pool| pool.name.clone())
        .unwrap_or_else(|| observed.profile.name_any())
}

/// Nodes whose current or desired configuration is one of the pool's.
fn nodes_with_configuration_of<'a>(observed: &Observed<'a>, pool: &str) -> Vec<&'a Node> {
    let uses = |node: &&Node, which: &str| {
        node.annotations()
            .get(&format!("{}{which}", names::MCO_ANNOTATION_PREFIX))
            .is_some_and(|name| is_rendered_for(name, pool))
    };
    observed
        .cluster
        .nodes
        .iter()
        .filter(|node| uses(node, "currentConfig") || uses(node, "desiredConfig"))
        .collect()
}

/// `rendered-<pool>-<32 hex digits>`, and no other pool's whose name begins the same.
pub fn is_rendered_for(name: &str, pool: &str) -> bool {
    name.strip_prefix("rendered-")
        .and_then(|rest| rest.strip_prefix(pool))
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|hash| !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Empties a pool of ours and waits for its nodes. True: no node has a configuration of it any more.
fn empty(observed: &Observed<'_>, pool: &MachineConfigPool, steps: &mut Vec<Step>) -> bool {
    let name = pool.name_any();
    if !is_emptied(pool) {
        steps.push(Step::EmptyPool {
            pool: name.clone(),
            resource_version: pool.resource_version().unwrap_or_default(),
        });
    }
    let leaving = nodes_with_configuration_of(observed, &name);
    if leaving.is_empty() {
        return is_emptied(pool);
    }
    if is_emptied(pool) {
        nudge(observed, &name, &leaving, steps);
    }
    steps.push(Step::Wait(Wait::NodesLeaving {
        pool: name,
        nodes: leaving.iter().map(|node| node.name_any()).collect(),
    }));
    false
}

fn nudge(observed: &Observed<'_>, leaving: &str, nodes: &[&Node], steps: &mut Vec<Step>) {
    let profile = observed.profile.name_any();
    let mut to: Vec<String> = nodes
        .iter()
        .filter(|node| {
            node.annotations()
                .get(&format!("{}desiredConfig", names::MCO_ANNOTATION_PREFIX))
                .is_some_and(|name| is_rendered_for(name, leaving))
        })
        .filter_map(
            |node| match membership(node.labels(), &observed.cluster.pools) {
                Membership::One(pool)
                    if pool.annotations().get(names::ANNOTATION_NODES_FROM) != Some(&profile) =>
                {
                    Some(pool.name_any())
                }
                _ => None,
            },
        )
        .collect();
    to.sort();
    to.dedup();
    steps.extend(to.into_iter().map(|pool| Step::Nudge {
        pool,
        leaving: leaving.to_owned(),
    }));
}

fn clear_nudges(observed: &Observed<'_>, steps: &mut Vec<Step>) {
    let profile = observed.profile.name_any();
    for pool in &observed.cluster.pools {
        if pool.annotations().get(names::ANNOTATION_NODES_FROM) == Some(&profile) {
            steps.push(Step::ClearNudge {
                pool: pool.name_any(),
            });
        }
    }
}

/// Pools that the profile shaped before it named another one. `moving`: its objects are about to change. `plan`, `turns`:
/// what its RealtimeNodes shall be, and who has a turn.
pub(super) fn former_pools(
    observed: &Observed<'_>,
    wanted: &str,
    moving: bool,
    plan: &Nodes,
    turns: &Turning,
) -> Vec<Step> {
    let profile = observed.profile.name_any();
    let mut steps = Vec::new();
    let mut leaving = false;
    for pool in &observed.cluster.pools {
        let name = pool.name_any();
        if name == wanted || pool.metadata.deletion_timestamp.is_some() {
            continue;
        }
        if created_by_us(pool, &profile) {
            // While a daemon brings the stock kernel back, the node must not be sent to another configuration.
            if turns.keeps_paused(&name) || has_one_of(observed, pool, &plan.leaving) {
                leaving = true;
            } else if empty(observed, pool, &mut steps) {
                steps.push(Step::Delete {
                    kind: Kind::MachineConfigPool,
                    name,
                });
            } else {
                leaving = true;
            }
        } else if reached(observed, pool) && (moving || !turns.keeps_paused(&name)) {
            former_kept(observed, pool, moving, &mut steps);
        }
    }
    if !leaving {
        clear_nudges(observed, &mut steps);
    }
    steps
}

/// Whether one of these nodes belongs to the pool.
fn has_one_of(observed: &Observed<'_>, pool: &MachineConfigPool, nodes: &[String]) -> bool {
    observed.cluster.nodes.iter().any(|node| {
        node.metadata
            .name
            .as_ref()
            .is_some_and(|name| nodes.contains(name))
            && matches!(
                membership(node.labels(), &observed.cluster.pools),
                Membership::One(of) if of.metadata.name == pool.metadata.name
            )
    })
}

/// A pool that isn't ours and that the objects leave.
fn former_kept(
    observed: &Observed<'_>,
    pool: &MachineConfigPool,
    moving: bool,
    steps: &mut Vec<Step>,
) {
    let pause = pause_of(pool, &observed.profile.name_any());
    let release = Step::ReleasePool {
        pool: pool.name_any(),
    };
    match (pause, moving) {
        // Nothing rolls out there, whatever leaves; and nothing tells us later that we were there.
        (Pause::Others, true) => steps.extend([hold(pool, pause), release]),
        (_, true) => steps.push(hold(pool, pause)),
        (Pause::Ours | Pause::Stale, false) => {
            match landing::without_ours(observed.cluster, pool) {
                // The release comes first: after the unpause nothing would remember it. It changes the
                // resourceVersion when there was a label, and then the unpause comes in the next round.
                None => {
                    steps.push(release);
                    steps.extend(unpause(observed, pool));
                }
                Some(wait) => steps.push(Step::Wait(wait)),
            }
        }
        (Pause::No | Pause::Others, false) => {}
    }
}

/// The first part of the way down. True: no daemon has anything left to do.
fn bring_back(observed: &Observed<'_>) -> (Vec<Step>, bool) {
    let mut plan = nodes::plan(observed, None);
    let mut steps = std::mem::take(&mut plan.steps);
    let turns = turning(observed, &named_pool(observed), &plan, None);
    let kept_paused =
        |pool: &MachineConfigPool| turns.keeps_paused(pool.metadata.name.as_deref().unwrap_or(""));
    if plan.leaving.is_empty() && !observed.cluster.pools.iter().any(kept_paused) {
        steps.extend(turns.into_steps());
        return (steps, true);
    }
    for pool in super::ours_paused(observed).filter(|pool| !kept_paused(pool)) {
        if landing::live_has_landed(observed, pool) {
            steps.extend(unpause(observed, pool));
        }
    }
    steps.extend(turns.into_steps());
    steps.push(Step::Wait(Wait::NodesGoingBack {
        nodes: plan.leaving,
        before: Before::Deletion,
    }));
    (steps, false)
}

/// The way down of a deleted profile, ending with the finalizer.
pub(super) fn steps(observed: &Observed<'_>) -> Vec<Step> {
    if !super::has_finalizer(observed.profile) {
        return Vec::new();
    }
    let profile = observed.profile.name_any();
    let live = observed.live;
    let (created, kept): (Vec<&MachineConfigPool>, Vec<&MachineConfigPool>) = observed
        .cluster
        .pools
        .iter()
        .filter(|pool| {
            created_by_us(pool, &profile)
                || reached(observed, pool)
                || pool.name_any() == named_pool(observed)
        })
        .partition(|pool| created_by_us(pool, &profile));
    // 1. Nodes whose kernel their daemon switched get the stock kernel back, while everything else stands.
    let (mut steps, back) = bring_back(observed);
    if !back {
        return steps;
    }

    // 2. Pools of ours let their nodes go.
    let mut left = true;
    for pool in &created {
        if pool.metadata.deletion_timestamp.is_none() {
            left &= empty(observed, pool, &mut steps);
        }
    }
    if !left {
        return steps;
    }
    clear_nudges(observed, &mut steps);

    // 3. What the pools render, while the pools that stay are paused.
    let renders = [
        (Kind::KubeletConfig, &live.kubelet_config),
        (Kind::MachineConfig, &live.machine_config),
    ];
    let mut rendered: Vec<Step> = renders
        .into_iter()
        .filter_map(|(kind, live)| removal_of(kind, live.as_ref(), &profile))
        .collect();
    rendered.extend(others(live, |kind| {
        matches!(kind, Kind::KubeletConfig | Kind::MachineConfig)
    }));
    if rendered.iter().any(Step::writes) {
        for pool in &kept {
            steps.push(hold(pool, pause_of(pool, &profile)));
        }
    }
    let mut done = rendered.is_empty();
    steps.extend(rendered);

    // 4. Pools that stay: unpaused when the target no longer holds what was ours.
    if done {
        for pool in &kept {
            if matches!(pause_of(pool, &profile), Pause::Ours | Pause::Stale) {
                former_kept(observed, pool, false, &mut steps);
            }
        }
    }

    // 5. What acts at once goes with the configuration that it belonged to.
    let holding = steps
        .iter()
        .any(|step| matches!(step, Step::Wait(Wait::Target(_))));
    if !holding {
        steps.extend(removal_of(Kind::Tuned, live.tuned.as_ref(), &profile));
    }
    steps.extend(removal_of(
        Kind::RuntimeClass,
        live.runtime_class.as_ref(),
        &profile,
    ));
    steps.extend(others(live, |kind| {
        matches!(kind, Kind::Tuned | Kind::RuntimeClass)
    }));

    // 6. Our pools, and the end.
    for pool in &created {
        done = false;
        let name = pool.name_any();
        if pool.metadata.deletion_timestamp.is_some() {
            steps.push(Step::Wait(Wait::Gone(Kind::MachineConfigPool, name)));
        } else if live.kubelet_config.is_none() && live.machine_config.is_none() {
            steps.push(Step::Delete {
                kind: Kind::MachineConfigPool,
                name,
            });
        }
    }
    if done && steps.is_empty() {
        steps.extend(kept.iter().map(|pool| Step::ReleasePool {
            pool: pool.name_any(),
        }));
        steps.push(Step::ReleaseFinalizer);
    }
    steps
}

fn removal_of(kind: Kind, live: Option<&serde_json::Value>, profile: &str) -> Option<Step> {
    let name = object_of(kind, profile);
    live.map(|live| {
        if is_going(live) {
            Step::Wait(Wait::Gone(kind, name))
        } else {
            Step::Delete { kind, name }
        }
    })
}

/// What carries our label under an old name, of some kinds.
fn others(live: &Live, of: impl Fn(Kind) -> bool) -> impl Iterator<Item = Step> {
    live.others
        .iter()
        .filter(move |(kind, _)| of(*kind))
        .map(|(kind, name)| Step::Delete {
            kind: *kind,
            name: name.clone(),
        })
}
