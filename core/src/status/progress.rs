//! How far each node of a pool is, and what it waits for: for `status` and for `oc realtime watch`. Reads only.
//!
//! A pool's own Updated/Updating conditions are not used here: for up to 5 s after a new target they still speak of the
//! old one, and a cordon by anybody looks like a rollout there. The nodes' annotations don't lie that way. Whether the
//! pool agrees is `pool_word`'s question.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::{Resource, ResourceExt};

use super::daemon;
use crate::api::RealtimeNode;
use crate::cluster::Cluster;
use crate::names;
use crate::openshift::{MachineConfigNode, MachineConfigPool};
use crate::pools::{Membership, membership};
use crate::rollout::landing::target_name;
use crate::selector::matches_or_nothing;
use crate::turns::seen::is_of_former_boot;

/// How far a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProgressPhase {
    /// Not begun.
    Waiting,
    /// Chosen; about to be cordoned.
    Preparing,
    /// Workloads are being evicted.
    Draining,
    /// Files, arguments and kernel are being changed.
    Updating,
    /// On its way through a reboot.
    Rebooting,
    /// Back, and being uncordoned.
    Finishing,
    /// At the target, but its kernel is not what the profile says, or not known.
    Verifying,
    /// What the profile says, by its own word.
    Ready,
    /// Failed.
    Degraded,
    /// In two custom pools, and so in none.
    Unmanaged,
}

impl ProgressPhase {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Preparing => "Preparing",
            Self::Draining => "Draining",
            Self::Updating => "Updating",
            Self::Rebooting => "Rebooting",
            Self::Finishing => "Finishing",
            Self::Verifying => "Verifying",
            Self::Ready => "Ready",
            Self::Degraded => "Degraded",
            Self::Unmanaged => "Unmanaged",
        }
    }

    /// Whether the node is on its way to another configuration.
    pub fn is_under_way(self) -> bool {
        matches!(
            self,
            Self::Preparing | Self::Draining | Self::Updating | Self::Rebooting | Self::Finishing
        )
    }
}

/// One node's progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeProgress {
    /// The node.
    pub node: String,
    /// How far it is.
    pub phase: ProgressPhase,
    /// What it waits for, to be read after "waits for"; of a Degraded node why it failed. Empty when Ready.
    pub waits_for: String,
    /// The configuration that it has.
    pub current: Option<String>,
    /// The pool's target.
    pub target: Option<String>,
    /// Its kernel's release, by its own word.
    pub kernel: Option<String>,
    /// Whether that is a real-time kernel; `None` when it is not known.
    pub realtime: Option<bool>,
    /// Whether it is cordoned.
    pub cordoned: bool,
    /// Whether its phase is its node daemon's word.
    pub by_daemon: bool,
}

/// The Machine Config Operator's annotations of a node.
struct Annotations<'a> {
    current: Option<&'a str>,
    desired: Option<&'a str>,
    state: &'a str,
    reason: &'a str,
    desired_drain: Option<&'a str>,
    applied_drain: Option<&'a str>,
}

impl<'a> Annotations<'a> {
    fn of(node: &'a Node) -> Self {
        let get = |key: &str| {
            node.annotations()
                .get(&format!("{}{key}", names::MCO_ANNOTATION_PREFIX))
                .map(String::as_str)
                .filter(|value| !value.is_empty())
        };
        Self {
            current: get("currentConfig"),
            desired: get("desiredConfig"),
            state: get("state").unwrap_or_default(),
            reason: get("reason").unwrap_or_default(),
            desired_drain: get("desiredDrain"),
            applied_drain: get("lastAppliedDrain"),
        }
    }
}

/// Whether a kernel release names a real-time kernel: `5.14.0-427.el9.x86_64+rt`, `4.18.0-305.rt7.72.el8.x86_64`,
/// `6.1.0-13-rt-amd64`, `5.15.0-1032-realtime`. A name is a hint; the daemon's word from the kernel itself counts more.
pub fn is_realtime_release(release: &str) -> bool {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(['-', '.', '+', '_']);
    let numbered = |rest: &str| rest.starts_with(|next: char| next.is_ascii_digit());
    release.match_indices("rt").any(|(at, _)| {
        let before = release.get(..at).and_then(|text| text.chars().last());
        let rest = release.get(at + 2..).unwrap_or_default();
        matches!(before, Some('.' | '-' | '+')) && (ends(rest) || numbered(rest))
    }) || release.contains("-realtime")
}

/// The kernel by the node's own word: its daemon's where it reports, else the kubelet's.
fn kernel_of(node: &Node, reported: Option<&RealtimeNode>) -> (Option<String>, Option<bool>) {
    let daemon = reported
        .filter(|reported| !is_of_former_boot(node, reported))
        .and_then(|reported| reported.status.as_ref())
        .and_then(|status| status.kernel.as_ref());
    if let Some(kernel) = daemon
        && let Some(realtime) = kernel.realtime
    {
        return (kernel.release.clone(), Some(realtime));
    }
    let release = node
        .status
        .as_ref()
        .and_then(|status| status.node_info.as_ref())
        .map(|info| info.kernel_version.clone())
        .filter(|release| !release.is_empty());
    let realtime = release.as_deref().map(is_realtime_release);
    (release, realtime)
}

fn is_ready(node: &Node) -> bool {
    node.status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|condition| condition.type_ == "Ready")
        .is_none_or(|condition| condition.status == "True")
}

/// Every node of the pool, and every node that would be if it weren't in another one too. Sorted by name.
pub fn node_progress(
    pool_name: &str,
    cluster: &Cluster,
    wants_realtime: bool,
) -> Vec<NodeProgress> {
    let pool = cluster
        .pools
        .iter()
        .find(|pool| pool.name_any() == pool_name);
    let selector = pool.and_then(|pool| pool.spec.node_selector.as_ref());
    let reports = Reports::of(cluster);
    let mut progress: Vec<NodeProgress> = cluster
        .nodes
        .iter()
        // Whom the pool doesn't select is not in it, and in no conflict about it.
        .filter(|node| matches_or_nothing(selector, node.labels()))
        .filter_map(|node| match membership(node.labels(), &cluster.pools) {
            Membership::One(of) if of.metadata.name.as_deref() == Some(pool_name) => {
                Some(progress_of(node, pool, &reports, wants_realtime))
            }
            Membership::Conflict(pools) if pools.contains(&pool_name) => {
                let mut progress = progress_of(node, pool, &reports, wants_realtime);
                progress.phase = ProgressPhase::Unmanaged;
                progress.waits_for = format!(
                    "the labels of all but one of the pools {} to be removed: a node in two custom pools is in none",
                    pools.join(" and ")
                );
                Some(progress)
            }
            _ => None,
        })
        .collect();
    progress.sort_by(|left, right| left.node.cmp(&right.node));
    progress
}

/// What nodes report besides their Node object, by name: a pool may have thousands, and each is looked up once.
pub(super) struct Reports<'a> {
    realtime_nodes: BTreeMap<&'a str, &'a RealtimeNode>,
    steps: BTreeMap<&'a str, &'a MachineConfigNode>,
}

impl<'a> Reports<'a> {
    pub(super) fn of(cluster: &'a Cluster) -> Self {
        Self {
            realtime_nodes: by_name(&cluster.realtime_nodes),
            steps: by_name(&cluster.machine_config_nodes),
        }
    }

    pub(super) fn realtime_node(&self, node: &Node) -> Option<&'a RealtimeNode> {
        let name = node.metadata.name.as_deref()?;
        self.realtime_nodes.get(name).copied()
    }

    fn steps(&self, node: &Node) -> Option<&'a MachineConfigNode> {
        let name = node.metadata.name.as_deref()?;
        self.steps.get(name).copied()
    }
}

fn by_name<K: Resource>(objects: &[K]) -> BTreeMap<&str, &K> {
    objects
        .iter()
        .filter_map(|object| Some((object.meta().name.as_deref()?, object)))
        .collect()
}

/// One node's progress towards the pool's target; without a pool, towards its kernel alone.
pub(super) fn progress_of(
    node: &Node,
    pool: Option<&MachineConfigPool>,
    reports: &Reports<'_>,
    wants_realtime: bool,
) -> NodeProgress {
    let name = node.name_any();
    let reported = reports.realtime_node(node);
    let (kernel, realtime) = kernel_of(node, reported);
    let annotations = Annotations::of(node);
    let target = pool.and_then(target_name);
    let steps = reports.steps(node);
    let on_the_way = match (pool, target) {
        (None, _) => None,
        (Some(_), None) => Some((
            ProgressPhase::Waiting,
            "the pool's first rendered configuration".to_owned(),
        )),
        (Some(pool), Some(target)) => towards(node, &annotations, pool, target, steps),
    };
    let word = || {
        let reported = reported.filter(|_| on_the_way.is_none())?;
        daemon::word(node, reported, wants_realtime, realtime, kernel.as_deref())
    };
    let word = word();
    let by_daemon = word.is_some();
    let (phase, waits_for) = on_the_way
        .or(word)
        .unwrap_or_else(|| is_verified(wants_realtime, realtime, kernel.as_deref()));
    NodeProgress {
        node: name,
        phase,
        waits_for,
        current: annotations.current.map(str::to_owned),
        target: target.map(str::to_owned),
        kernel,
        realtime,
        cordoned: node
            .spec
            .as_ref()
            .is_some_and(|spec| spec.unschedulable == Some(true)),
        by_daemon,
    }
}

/// A node with the right configuration: what remains is its kernel.
pub(super) fn is_verified(
    wants: bool,
    realtime: Option<bool>,
    kernel: Option<&str>,
) -> (ProgressPhase, String) {
    match (wants, realtime) {
        (false, _) | (true, Some(true)) => (ProgressPhase::Ready, String::new()),
        (true, None) => (
            ProgressPhase::Verifying,
            "the node's word about its kernel".to_owned(),
        ),
        (true, Some(false)) => (
            ProgressPhase::Verifying,
            format!(
                "a real-time kernel ({} runs)",
                kernel.unwrap_or("another one")
            ),
        ),
    }
}

/// `None`: the node is at the target and at rest.
fn towards(
    node: &Node,
    annotations: &Annotations<'_>,
    pool: &MachineConfigPool,
    target: &str,
    steps: Option<&MachineConfigNode>,
) -> Option<(ProgressPhase, String)> {
    use ProgressPhase::{Degraded, Draining, Finishing, Preparing, Rebooting, Updating, Waiting};
    let because = |reason: &str| {
        if reason.is_empty() {
            "its configuration failed, without a reason".to_owned()
        } else {
            reason.to_owned()
        }
    };
    if matches!(annotations.state, "Degraded" | "Unreconcilable") {
        return Some((Degraded, because(annotations.reason)));
    }
    let (Some(current), Some(desired)) = (annotations.current, annotations.desired) else {
        return Some((
            Waiting,
            "the Machine Config Operator's agent on the node".to_owned(),
        ));
    };
    let at_rest = current == desired
        && matches!(annotations.state, "Done" | "")
        && annotations.desired_drain == annotations.applied_drain;
    if at_rest && current == target {
        return None;
    }
    if at_rest {
        let waits_for = if pool.spec.paused == Some(true) {
            whose_unpause(pool)
        } else {
            format!("its turn in pool {}", pool.name_any())
        };
        return Some((Waiting, waits_for));
    }
    let older = if desired == target || current == desired {
        ""
    } else {
        " (to an older target first)"
    };
    if !is_ready(node) {
        return Some((Rebooting, format!("the node to come back{older}")));
    }
    if let Some(step) = steps.and_then(step_of) {
        return Some((step.0, format!("{}{older}", step.1)));
    }
    let drain = annotations.desired_drain.unwrap_or_default();
    let drained = annotations.desired_drain == annotations.applied_drain;
    Some(if current == desired {
        (Finishing, format!("the node to settle{older}"))
    } else if annotations.state != "Working" {
        (Preparing, format!("the agent on the node to begin{older}"))
    } else if drain.starts_with("drain-") && drained {
        (
            Updating,
            format!("files, arguments and kernel, then the reboot{older}"),
        )
    } else if drain.starts_with("drain-") {
        (Draining, format!("its pods to leave{older}"))
    } else if drained && drain.strip_prefix("uncordon-") == Some(desired) {
        // An uncordon is named after the configuration that the node has just reached.
        (Finishing, format!("the node to settle{older}"))
    } else if drained {
        (Preparing, format!("the agent on the node{older}"))
    } else {
        (Finishing, format!("the uncordon{older}"))
    })
}

/// Whom a paused pool waits for.
fn whose_unpause(pool: &MachineConfigPool) -> String {
    match pool.annotations().get(names::ANNOTATION_PAUSED_FOR) {
        Some(profile) => format!("the pool to be unpaused by the operator, for profile {profile}"),
        None => "the pool to be unpaused by whoever paused it".to_owned(),
    }
}

/// The phase of a node, and what it waits for or why it failed, in words.
pub fn in_words(phase: ProgressPhase, waits_for: &str) -> String {
    let name = phase.as_str();
    match (phase, waits_for) {
        (_, "") => name.to_owned(),
        (ProgressPhase::Degraded, why) => format!("{name}: {why}"),
        (ProgressPhase::Waiting, what) => format!("{name} for {what}"),
        (_, what) => format!("{name}, waits for {what}"),
    }
}

/// The step by the node's MachineConfigNode, latest first. A step under way is `Unknown` there, a done one `True`.
fn step_of(steps: &MachineConfigNode) -> Option<(ProgressPhase, &'static str)> {
    use ProgressPhase::{Draining, Finishing, Preparing, Rebooting, Updating};
    const STEPS: [(&str, ProgressPhase, &str); 7] = [
        ("Resumed", Finishing, "the node to settle"),
        ("RebootedNode", Rebooting, "the reboot"),
        ("AppliedOSImage", Updating, "the kernel and OS image"),
        ("AppliedFiles", Updating, "files and kernel arguments"),
        ("Drained", Draining, "its pods to leave"),
        ("Cordoned", Draining, "the cordon"),
        ("UpdatePrepared", Preparing, "the agent on the node"),
    ];
    let conditions = &steps.status.as_ref()?.conditions;
    STEPS.into_iter().find_map(|(type_, phase, words)| {
        conditions
            .iter()
            .any(|condition| condition.type_ == type_ && condition.status != "False")
            .then_some((phase, words))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_kernels_are_known_by_their_release() {
        for release in [
            "5.14.0-427.el9.x86_64+rt",
            "4.18.0-305.rt7.72.el8.x86_64",
            "6.1.0-13-rt-amd64",
            "5.15.0-1032-realtime",
            "6.6.0-rt15",
        ] {
            assert!(is_realtime_release(release), "{release}");
        }
        for release in [
            "5.14.0-427.el9.x86_64",
            "6.1.0-virt",
            "6.1.0-art7",
            "5.10.0-port",
            "",
            "6.1.0-rtx",
        ] {
            assert!(!is_realtime_release(release), "{release}");
        }
    }
}
