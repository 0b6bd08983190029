//! From what `turns` decides to steps: the pool's pause around them, the last looks before a grant, and whose pause must
//! go on. Decides about no node itself.
//!
//! A node that left its pool may be in another one, which isn't the profile's: there a turn is given only while that
//! pool is Updated as a whole, and one at a time.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::landing::target_name;
use super::nodes::{Nodes, is_daemons};
use super::pause::hold;
use super::{Observed, Pause, Step, Wait, nodes, pause_of};
use crate::api::RealtimeNode;
use crate::openshift::MachineConfigPool;
use crate::pools::{Membership, membership};
use crate::turns::{self, Decision, Inputs, Pool, Turn, max_unavailable, seen};

/// What was decided about the turns of all nodes of a profile.
#[derive(Debug, Default)]
pub(super) struct Turning {
    /// By pool; the empty name where there are none.
    by_pool: BTreeMap<String, Decision>,
    steps: Vec<Step>,
}

impl Turning {
    /// Whether a pause of ours on this pool must go on.
    pub(super) fn keeps_paused(&self, pool: &str) -> bool {
        self.by_pool
            .get(pool)
            .is_some_and(|decision| decision.busy || decision.pause)
    }

    /// The steps: pauses, then grants after their last looks, then what is taken back, then why the others wait.
    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

/// The turns. `main`: the pool that the profile shapes (or shaped); where there are no pools, any name. `hold`: why none
/// may be given there now.
pub(super) fn turning(
    observed: &Observed<'_>,
    main: &str,
    plan: &Nodes,
    hold: Option<&str>,
) -> Turning {
    let profile = observed.profile.name_any();
    let ours: BTreeMap<&str, &RealtimeNode> = observed
        .cluster
        .realtime_nodes
        .iter()
        .filter(|live| live.spec.profile == profile)
        .filter_map(|live| Some((live.metadata.name.as_deref()?, live)))
        .collect();
    // Nearly always: nobody asks, and nobody has one.
    let asks = |live: &&RealtimeNode| {
        seen::is_granted(live)
            || live
                .status
                .as_ref()
                .is_some_and(|status| status.turn.is_some())
    };
    if !ours.values().any(asks) {
        return Turning::default();
    }
    let round = Round {
        observed,
        plan,
        ours: &ours,
        profile: &profile,
    };
    let mut turning = Turning::default();
    for (pool, nodes) in round.groups(main) {
        let decision = if pool == main || pool.is_empty() {
            round.in_main(&pool, &nodes, hold)
        } else {
            round.in_foreign(&pool, &nodes)
        };
        turning.by_pool.insert(pool, decision);
    }
    turning.steps = round.steps(&turning.by_pool);
    turning
}

struct Round<'a> {
    observed: &'a Observed<'a>,
    plan: &'a Nodes,
    ours: &'a BTreeMap<&'a str, &'a RealtimeNode>,
    profile: &'a str,
}

impl<'a> Round<'a> {
    /// The nodes by pool: all of the main one, and of others those that left for them.
    fn groups(&self, main: &str) -> BTreeMap<String, Vec<&'a Node>> {
        let cluster = self.observed.cluster;
        let served = cluster.served.machine_configs;
        let mut groups: BTreeMap<String, Vec<&Node>> = BTreeMap::new();
        let name = if served { main } else { "" };
        let members = nodes::of_profile(self.observed, main);
        let of_main: BTreeSet<&str> = members
            .iter()
            .filter_map(|node| node.metadata.name.as_deref())
            .collect();
        groups.insert(name.to_owned(), members);
        for node in &cluster.nodes {
            let known = node.metadata.name.as_deref();
            if !known.is_some_and(|name| self.ours.contains_key(name) && !of_main.contains(name)) {
                continue;
            }
            let pool = match membership(node.labels(), &cluster.pools) {
                Membership::One(pool) if served => pool.name_any(),
                _ => String::new(),
            };
            groups.entry(pool).or_default().push(node);
        }
        groups
    }

    fn pool(&self, name: &str) -> Option<&'a MachineConfigPool> {
        let named = |pool: &&MachineConfigPool| pool.metadata.name.as_deref() == Some(name);
        self.observed.cluster.pools.iter().find(named)
    }

    fn seen(&self, nodes: &[&Node], target: Option<&str>) -> Vec<turns::Node> {
        let back: BTreeSet<&str> = [&self.plan.leaving, &self.plan.handing_over]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let see = |node: &&Node| {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let live = self.ours.get(name).copied();
            let going_back = back.contains(name);
            let mut seen = seen::node(node, live, target, going_back);
            // What the Machine Config Operator didn't do well is no failed switch of a daemon's.
            if !live.is_some_and(|live| is_daemons(&live.spec)) {
                seen.word = turns::Word::Other;
            }
            // A turn for what is about to be something else would be a second reboot.
            seen.current &= live.is_some_and(|live| {
                is_daemons(&live.spec)
                    && self
                        .plan
                        .specs
                        .get(name)
                        .is_some_and(|wanted| **wanted == live.spec)
            });
            seen
        };
        nodes.iter().map(see).collect()
    }

    fn in_main(&self, name: &str, nodes: &[&Node], hold: Option<&str>) -> Decision {
        let pool = self.pool(name);
        let valid = self.observed.wanted.map(|(valid, _)| valid);
        let nodes = self.seen(
            nodes,
            pool.map(|pool| target_name(pool).unwrap_or_default()),
        );
        let spec = self.observed.profile.spec.pool.as_ref();
        let setting: Option<&IntOrString> = match pool {
            Some(pool) => pool.spec.max_unavailable.as_ref(),
            None => spec.and_then(|spec| spec.max_unavailable.as_ref()),
        };
        turns::decide(&Inputs {
            max_unavailable: max_unavailable(setting, nodes.len()),
            canaries: valid.map_or(0, |valid| usize::try_from(valid.canaries).unwrap_or(0)),
            latency_gate: valid.is_some_and(|valid| valid.max_latency_microseconds.is_some()),
            pool: self.pause(pool),
            hold: hold
                .map(str::to_owned)
                .or_else(|| pool.and_then(|pool| self.never(pool)))
                .or_else(|| pool.and_then(degraded)),
            nodes: &nodes,
        })
    }

    /// A pool of which only these nodes are known: its own status speaks for the others.
    fn in_foreign(&self, name: &str, nodes: &[&Node]) -> Decision {
        let pool = self.pool(name);
        let nodes = self.seen(
            nodes,
            pool.map(|pool| target_name(pool).unwrap_or_default()),
        );
        let begun = nodes.iter().any(turns::Node::has_turn);
        let paused = self.pause(pool) == Pool::Ours;
        turns::decide(&Inputs {
            max_unavailable: 1,
            canaries: 0,
            latency_gate: false,
            pool: self.pause(pool),
            hold: pool
                .and_then(|pool| self.never(pool).or_else(|| degraded(pool)))
                .or_else(|| {
                    pool.filter(|pool| !begun && !is_updated(pool, paused))
                        .map(|pool| format!("pool {} to be Updated", pool.name_any()))
                }),
            nodes: &nodes,
        })
    }

    fn pause(&self, pool: Option<&MachineConfigPool>) -> Pool {
        match pool.map(|pool| pause_of(pool, self.profile)) {
            None => Pool::None,
            Some(Pause::No | Pause::Stale) => Pool::Free,
            Some(Pause::Ours) => Pool::Ours,
            Some(Pause::Others) => Pool::Others,
        }
    }

    fn never(&self, pool: &MachineConfigPool) -> Option<String> {
        let name = pool.name_any();
        self.observed.cluster.image_mode_pools.contains(&name).then(|| {
            format!(
                "pool {name} to leave image mode: its nodes boot an image that the cluster builds, and a kernel of the \
                 node daemon's would be lost"
            )
        })
    }

    fn steps(&self, by_pool: &BTreeMap<String, Decision>) -> Vec<Step> {
        let mut steps = Vec::new();
        let pools = || {
            by_pool
                .iter()
                .filter_map(|(name, decision)| Some((self.pool(name)?, decision)))
        };
        for (pool, _) in pools().filter(|(_, decision)| decision.pause) {
            steps.push(hold(pool, pause_of(pool, self.profile)));
        }
        let grants = || by_pool.values().flat_map(|decision| &decision.grants);
        if grants().next().is_some() {
            for (pool, _) in pools().filter(|(_, decision)| !decision.grants.is_empty()) {
                steps.push(hold(pool, pause_of(pool, self.profile)));
            }
            steps.push(Step::RenewLease);
            let mut out: Vec<String> = by_pool
                .values()
                .flat_map(|decision| decision.out.iter().cloned())
                .collect();
            out.sort();
            steps.push(Step::ConfirmTurns { nodes: out });
            let grant = |turn: &Turn| Step::GrantTurn {
                node: turn.node.clone(),
                resource_version: turn.resource_version.clone(),
            };
            steps.extend(grants().map(grant));
        }
        let take_back = |turn: &Turn| Step::TakeBackTurn {
            node: turn.node.clone(),
            resource_version: turn.resource_version.clone(),
        };
        let back = by_pool.values().flat_map(|decision| &decision.take_back);
        steps.extend(back.map(take_back));
        let waits: Vec<turns::Waits> = by_pool
            .values()
            .flat_map(|decision| decision.waits.iter().cloned())
            .collect();
        if !waits.is_empty() {
            steps.push(Step::Wait(Wait::Turns(waits)));
        }
        steps
    }
}

fn is(pool: &MachineConfigPool, type_: &str) -> bool {
    pool.status
        .iter()
        .flat_map(|status| &status.conditions)
        .any(|condition| condition.type_ == type_ && condition.status == "True")
}

fn degraded(pool: &MachineConfigPool) -> Option<String> {
    let degraded = ["Degraded", "RenderDegraded", "NodeDegraded"];
    degraded
        .iter()
        .any(|type_| is(pool, type_))
        .then(|| format!("pool {}, which is degraded, to be mended", pool.name_any()))
}

/// Whether the pool says that all its nodes are at its present target and in service.
fn is_updated(pool: &MachineConfigPool, paused_by_us: bool) -> bool {
    let Some(status) = &pool.status else {
        return false;
    };
    let reached = status
        .configuration
        .as_ref()
        .and_then(|reached| reached.name.as_deref());
    is(pool, "Updated")
        && !is(pool, "Updating")
        && reached.is_some()
        && reached == target_name(pool)
        // Our own pause is a new generation of which the status says nothing for a while, and a paused pool begins nothing.
        && (paused_by_us || status.observed_generation >= pool.metadata.generation)
}
