//! What a profile's status says: the truth at this moment, in words that name the next step. Pure: the time is an
//! argument, and what was said before only keeps the transition times. It never looks at how a step is done.

pub mod findings;
pub mod progress;

#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::ResourceExt;
use serde_json::Value;

use crate::api::RealtimeProfile;
use crate::api::latency_check::Verdict;
use crate::api::realtime_profile::{
    KernelPageSize, NodeCounts, OwnedObject, RealtimeProfileStatus,
};
use crate::cluster::Cluster;
use crate::conditions::{
    AVAILABLE, DEGRADED, Decided, LATENCY_VERIFIED, PROGRESSING, UPGRADEABLE, VALID, reason,
};
use crate::names;
use crate::openshift::MachineConfigPool;
use crate::problem::Problems;
use crate::render::Rendered;
use crate::rollout::landing::target_name;
use crate::rollout::{Pause, Step, Wait, pause_of};
use crate::validate::ValidProfile;
use findings::Finding;
use progress::{NodeProgress, ProgressPhase};

/// Everything that a status is made of.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The profile, with its previous status.
    pub profile: &'a RealtimeProfile,
    /// What validation said, warnings included.
    pub problems: &'a Problems,
    /// The valid profile and what it renders to; `None` when it has errors.
    pub wanted: Option<(&'a ValidProfile, &'a Rendered)>,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The steps that were decided.
    pub steps: &'a [Step],
    /// The step that failed, in words.
    pub failure: Option<&'a str>,
}

/// How many nodes one message lists before it counts.
const LISTED: usize = 5;

/// The status.
pub fn status(inputs: &Inputs<'_>, now: &Time) -> RealtimeProfileStatus {
    let profile = inputs.profile;
    let before = profile.status.clone().unwrap_or_default();
    let generation = profile.metadata.generation;
    let view = View::of(inputs);
    let conditions = view.conditions();
    let summary = summary(&conditions);
    let conditions: Vec<Condition> = conditions
        .into_iter()
        .map(|decided| decided.timed(&before.conditions, generation, now))
        .collect();
    RealtimeProfileStatus {
        observed_generation: generation,
        conditions,
        summary: Some(summary.to_owned()),
        kernel: inputs.wanted.map(|(valid, _)| kernel(valid).to_owned()),
        machine_config_pool: view.pool_name.clone(),
        rendered_configuration: view.landed_target(),
        content_hash: inputs
            .wanted
            .map(|(_, rendered)| rendered.content_hash.clone()),
        objects: inputs
            .wanted
            .map(|(_, rendered)| objects(rendered))
            .unwrap_or_default(),
        nodes: Some(view.counts()),
    }
}

/// A status for an object that can't even be read as a profile.
pub fn unreadable(
    before: &RealtimeProfileStatus,
    generation: Option<i64>,
    problems: &str,
    now: &Time,
) -> RealtimeProfileStatus {
    let words = format!("nothing is changed until the object can be read: {problems}");
    let conditions = [
        Decided::new(VALID, Some(false), reason::UNREADABLE, words.clone()),
        Decided::new(AVAILABLE, Some(false), reason::UNREADABLE, words.clone()),
        Decided::new(PROGRESSING, Some(false), reason::UNREADABLE, words.clone()),
        Decided::new(DEGRADED, Some(true), reason::UNREADABLE, words.clone()),
        Decided::new(UPGRADEABLE, Some(false), reason::UNREADABLE, words.clone()),
        Decided::new(LATENCY_VERIFIED, None, reason::UNREADABLE, words),
    ];
    RealtimeProfileStatus {
        observed_generation: generation,
        conditions: conditions
            .into_iter()
            .map(|decided| decided.timed(&before.conditions, generation, now))
            .collect(),
        summary: Some(reason::UNREADABLE.to_owned()),
        ..before.clone()
    }
}

/// The reason of the most important condition: an error, then what is under way, then what is reached.
fn summary(conditions: &[Decided]) -> &'static str {
    let of = |type_: &str, status: bool| {
        conditions
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == Some(status))
            .map(|condition| condition.reason)
    };
    of(VALID, false)
        .or_else(|| of(DEGRADED, true))
        .or_else(|| of(AVAILABLE, true))
        .or_else(|| of(AVAILABLE, false))
        .unwrap_or(reason::WRITING_OBJECTS)
}

fn kernel(valid: &ValidProfile) -> &'static str {
    if valid.kernel.realtime {
        "realtime"
    } else if valid.kernel_page_size == KernelPageSize::Kib64 {
        "64k-pages"
    } else {
        "default"
    }
}

fn objects(rendered: &Rendered) -> Vec<OwnedObject> {
    let text = |object: &Value, pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let hash = format!(
        "/metadata/annotations/{}",
        names::ANNOTATION_CONTENT_HASH.replace('/', "~1")
    );
    rendered
        .objects()
        .iter()
        // An existing pool is not the profile's: it carries no hash of ours.
        .filter(|object| object.pointer(&hash).is_some())
        .map(|object| OwnedObject {
            kind: text(object, "/kind"),
            name: text(object, "/metadata/name"),
            hash: text(object, &hash),
        })
        .collect()
}

/// What is under way, or why nothing is.
struct State {
    /// Whether something moves.
    moving: bool,
    reason: &'static str,
    message: String,
}

impl State {
    fn moving(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            moving: true,
            reason,
            message: message.into(),
        }
    }

    fn resting(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            moving: false,
            reason,
            message: message.into(),
        }
    }
}

/// The inputs, looked at once.
struct View<'a> {
    inputs: &'a Inputs<'a>,
    pool_name: Option<String>,
    pool: Option<&'a MachineConfigPool>,
    nodes: Vec<NodeProgress>,
    findings: Vec<Finding>,
}

impl<'a> View<'a> {
    fn of(inputs: &'a Inputs<'a>) -> Self {
        let profile = inputs.profile;
        let named = || {
            let pool = profile.spec.pool.as_ref();
            pool.and_then(|pool| pool.name.clone())
                .unwrap_or_else(|| profile.name_any())
        };
        let cluster = inputs.cluster;
        let pool_name = cluster.served.machine_configs.then(|| {
            inputs
                .wanted
                .map_or_else(named, |(valid, _)| valid.pool.name.clone())
        });
        let pool = pool_name
            .as_ref()
            .and_then(|name| cluster.pools.iter().find(|pool| pool.name_any() == *name));
        let wants_realtime = inputs
            .wanted
            .is_some_and(|(valid, _)| valid.kernel.realtime);
        let nodes = match &pool_name {
            Some(name) => progress::node_progress(name, cluster, wants_realtime),
            None => without_pools(inputs, wants_realtime),
        };
        let valid = inputs.wanted.map(|(valid, _)| valid);
        let findings = findings::findings(&profile.name_any(), valid, pool, cluster, &nodes);
        Self {
            inputs,
            pool_name,
            pool,
            nodes,
            findings,
        }
    }

    fn wait(&self, found: impl Fn(&Wait) -> bool) -> Option<&Wait> {
        self.inputs.steps.iter().find_map(|step| match step {
            Step::Wait(wait) if found(wait) => Some(wait),
            _ => None,
        })
    }

    /// Whether everything that was written stands in the pool's target.
    fn landed(&self) -> bool {
        self.inputs.wanted.is_some()
            && self.inputs.failure.is_none()
            && !self.inputs.steps.iter().any(|step| {
                step.writes()
                    && !matches!(
                        step,
                        Step::ApplyRealtimeNode { .. }
                            | Step::DeleteRealtimeNode { .. }
                            | Step::Unpause { .. }
                            | Step::ApplyTuned
                            | Step::ApplyRuntimeClass
                            | Step::EnsureFinalizer
                    )
            })
            && self
                .wait(|wait| !matches!(wait, Wait::AdminUnpause(_)))
                .is_none()
    }

    fn landed_target(&self) -> Option<String> {
        self.pool
            .filter(|_| self.landed())
            .and_then(target_name)
            .map(str::to_owned)
    }

    fn count(&self, phase: impl Fn(ProgressPhase) -> bool) -> usize {
        self.nodes.iter().filter(|node| phase(node.phase)).count()
    }

    fn list(&self, phase: impl Fn(ProgressPhase) -> bool) -> String {
        let names: Vec<String> = self
            .nodes
            .iter()
            .filter(|node| phase(node.phase))
            .map(|node| {
                format!(
                    "{} ({}: {})",
                    node.node,
                    node.phase.as_str(),
                    node.waits_for
                )
            })
            .collect();
        let more = names.len().saturating_sub(LISTED);
        let mut text = names
            .into_iter()
            .take(LISTED)
            .collect::<Vec<_>>()
            .join(", ");
        if more > 0 {
            text.push_str(" and ");
            text.push_str(&more.to_string());
            text.push_str(" more");
        }
        text
    }

    fn pool_words(&self) -> String {
        self.pool_name.as_ref().map_or_else(
            || "the selected nodes".to_owned(),
            |name| format!("pool {name}"),
        )
    }

    /// The first rule that applies.
    fn state(&self) -> State {
        let profile = self.inputs.profile;
        if profile.metadata.deletion_timestamp.is_some() {
            return self.deleting();
        }
        if self.inputs.wanted.is_none() {
            return State::resting(
                reason::INVALID,
                "nothing is changed until the profile is valid: see the condition Valid",
            );
        }
        if self.wait(|wait| *wait == Wait::RolloutPaused).is_some() {
            let held = self
                .pool
                .is_some_and(|pool| pause_of(pool, &profile.name_any()) == Pause::Ours);
            let note = if held {
                "; the pool stays paused by us meanwhile"
            } else {
                ""
            };
            return State::resting(
                reason::ROLLOUT_PAUSED,
                format!(
                    "spec.rollout.pause is true: nothing is written{note}; set it to false to go on"
                ),
            );
        }
        if let Some(failure) = self.inputs.failure {
            return State::moving(reason::WRITE_FAILED, format!("tried again soon: {failure}"));
        }
        if let Some(state) = self.writing_or_waiting() {
            return state;
        }
        self.rolling()
    }

    fn deleting(&self) -> State {
        if let Some(Wait::NodesLeaving { pool, nodes }) =
            self.wait(|wait| matches!(wait, Wait::NodesLeaving { .. }))
        {
            let shown = nodes
                .iter()
                .take(LISTED)
                .cloned()
                .collect::<Vec<_>>()
                .join(", ");
            return State::moving(
                reason::NODES_LEAVING,
                format!(
                    "{} node(s) still have a configuration of pool {pool} and are on their way to the pool that they fall \
                     back to ({shown}); if nothing moves, look whether that pool is paused or has a degraded node",
                    nodes.len()
                ),
            );
        }
        if let Some(Wait::Gone(kind, name)) = self.wait(|wait| matches!(wait, Wait::Gone(..))) {
            return State::moving(
                reason::DELETING,
                format!("waits for {} {name} to be gone", kind.name()),
            );
        }
        if let Some(Wait::Target(missing)) = self.wait(|wait| matches!(wait, Wait::Target(_))) {
            return State::moving(
                reason::DELETING,
                format!(
                    "{} is paused by us until its target no longer holds what was ours: {}",
                    self.pool_words(),
                    missing.join("; ")
                ),
            );
        }
        State::moving(reason::DELETING, "what the profile made is being deleted")
    }

    fn writing_or_waiting(&self) -> Option<State> {
        let pool = self.pool_words();
        if let Some(Wait::PoolMissing(name)) =
            self.wait(|wait| matches!(wait, Wait::PoolMissing(_)))
        {
            return Some(State::resting(
                reason::POOL_MISSING,
                format!(
                    "pool {name} does not exist and spec.pool.create is false: create it, or let create be true"
                ),
            ));
        }
        if let Some(Wait::Gone(kind, name)) = self.wait(|wait| matches!(wait, Wait::Gone(..))) {
            return Some(State::moving(
                reason::WRITING_OBJECTS,
                format!("waits for the former {} {name} to be gone", kind.name()),
            ));
        }
        let reaches_pool = |step: &Step| {
            step.writes()
                && !matches!(
                    step,
                    Step::ApplyRealtimeNode { .. }
                        | Step::DeleteRealtimeNode { .. }
                        | Step::Unpause { .. }
                )
        };
        if self.inputs.steps.iter().any(reaches_pool) {
            return Some(State::moving(
                reason::WRITING_OBJECTS,
                format!("the objects of {pool} are being written"),
            ));
        }
        match self.wait(|wait| matches!(wait, Wait::KubeletConfig(_) | Wait::Target(_)))? {
            Wait::KubeletConfig(None) => Some(State::moving(
                reason::WAITING_FOR_KUBELET_CONFIG,
                format!(
                    "{pool} stays paused until the Machine Config Operator has looked at KubeletConfig {}",
                    names::object_name(&self.inputs.profile.name_any())
                ),
            )),
            Wait::KubeletConfig(Some(words)) => Some(State::resting(
                reason::KUBELET_CONFIG_REFUSED,
                format!(
                    "{pool} stays paused by us, because our KubeletConfig was refused: {words}"
                ),
            )),
            Wait::Target(missing) => Some(State::moving(
                reason::WAITING_FOR_RENDER,
                format!(
                    "{pool} stays paused until its target holds everything that was written, so that each node reboots once; \
                     missing: {}",
                    missing.join("; ")
                ),
            )),
            _ => None,
        }
    }

    /// Everything is written and rendered: what remains is the nodes'.
    fn rolling(&self) -> State {
        let pool = self.pool_words();
        let total = self.nodes.len();
        let ready = self.count(|phase| phase == ProgressPhase::Ready);
        let verifying = self.count(|phase| phase == ProgressPhase::Verifying);
        let waiting = self.count(|phase| phase == ProgressPhase::Waiting);
        let under_way = self.count(ProgressPhase::is_under_way);
        if total == 0 {
            return State::resting(
                reason::NO_NODES,
                format!(
                    "everything is in place, and no node is in {pool} yet: {}",
                    self.how_to_join()
                ),
            );
        }
        if waiting > 0
            && under_way == 0
            && self
                .wait(|wait| matches!(wait, Wait::AdminUnpause(_)))
                .is_some()
        {
            return State::resting(
                reason::PAUSED_BY_ADMIN,
                format!(
                    "{pool} was paused by somebody else: {waiting} node(s) wait with the change rendered; unpause it with: oc \
                     patch mcp {} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'",
                    self.pool_name.as_deref().unwrap_or_default()
                ),
            );
        }
        if waiting + under_way > 0 {
            return State::moving(
                reason::ROLLING_OUT,
                format!(
                    "{ready} of {total} nodes ready; {}",
                    self.list(|phase| phase.is_under_way() || phase == ProgressPhase::Waiting)
                ),
            );
        }
        if verifying > 0 {
            let daemon = self
                .inputs
                .wanted
                .is_some_and(|(valid, _)| !valid.kernel.by_machine_config_operator);
            return if daemon {
                State::moving(
                    reason::KERNEL_BY_NODE_DAEMON,
                    format!(
                        "the kernel of these nodes is the node daemon's to switch: {}",
                        self.list(|phase| phase == ProgressPhase::Verifying)
                    ),
                )
            } else {
                State::moving(
                    reason::VERIFYING,
                    format!(
                        "{ready} of {total} nodes proved their kernel; waiting for {}",
                        self.list(|phase| phase == ProgressPhase::Verifying)
                    ),
                )
            };
        }
        State::resting(
            reason::UPDATED,
            format!("{ready} of {total} nodes are what the profile says"),
        )
    }

    fn how_to_join(&self) -> String {
        let labels = self
            .pool
            .and_then(|pool| pool.spec.node_selector.as_ref())
            .and_then(|selector| selector.match_labels.clone())
            .unwrap_or_default();
        if labels.is_empty() {
            return "let its node selector match nodes".to_owned();
        }
        let labels: Vec<String> = labels
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        format!("oc label node NODE {}", labels.join(" "))
    }

    fn conditions(&self) -> Vec<Decided> {
        let state = self.state();
        let reached = state.reason == reason::UPDATED;
        let (limit, latency) = self.latency();
        let gate_open = limit.is_none() || latency.status == Some(true);
        let valid = self.valid();
        let degraded = self.degraded(&state);
        let note = findings::cordons(self.pool, &self.nodes)
            .map(|finding| format!("; {}", finding.message))
            .unwrap_or_default();
        let available = if reached && degraded.status == Some(false) && gate_open {
            Decided::new(
                AVAILABLE,
                Some(true),
                reason::UPDATED,
                format!("{}{note}", state.message),
            )
        } else if reached && degraded.status == Some(true) {
            Decided::new(
                AVAILABLE,
                Some(false),
                degraded.reason,
                degraded.message.clone(),
            )
        } else if reached {
            Decided::new(
                AVAILABLE,
                Some(false),
                latency.reason,
                latency.message.clone(),
            )
        } else {
            Decided::new(
                AVAILABLE,
                Some(false),
                state.reason,
                format!("{}{note}", state.message),
            )
        };
        let stalled_by_cordon = state.reason == reason::ROLLING_OUT
            && !note.is_empty()
            && self.count(ProgressPhase::is_under_way) == 0;
        let progressing = if stalled_by_cordon {
            Decided::new(
                PROGRESSING,
                Some(false),
                reason::CORDONED_NODE,
                note.trim_start_matches("; ").to_owned(),
            )
        } else {
            Decided::new(
                PROGRESSING,
                Some(state.moving),
                state.reason,
                format!("{}{note}", state.message),
            )
        };
        let upgradeable = Self::upgradeable(&state, &degraded);
        vec![
            valid,
            available,
            progressing,
            degraded,
            upgradeable,
            latency,
        ]
    }

    fn valid(&self) -> Decided {
        let problems = self.inputs.problems;
        if self.inputs.wanted.is_none() {
            return Decided::new(VALID, Some(false), reason::INVALID, problems.to_string());
        }
        let message = if problems.0.is_empty() {
            "no problem found".to_owned()
        } else {
            problems.to_string()
        };
        Decided::new(VALID, Some(true), reason::AS_EXPECTED, message)
    }

    fn degraded(&self, state: &State) -> Decided {
        if let Some(first) = self.findings.first() {
            let all: Vec<&str> = self
                .findings
                .iter()
                .map(|finding| finding.message.as_str())
                .collect();
            return Decided::new(DEGRADED, Some(true), first.reason, all.join("\n"));
        }
        if matches!(
            state.reason,
            reason::POOL_MISSING | reason::INVALID | reason::WRITE_FAILED
        ) {
            return Decided::new(DEGRADED, Some(true), state.reason, state.message.clone());
        }
        Decided::new(
            DEGRADED,
            Some(false),
            reason::AS_EXPECTED,
            "nothing stands in the way",
        )
    }

    fn upgradeable(state: &State, degraded: &Decided) -> Decided {
        if degraded.status == Some(true) {
            return Decided::new(
                UPGRADEABLE,
                Some(false),
                degraded.reason,
                format!("correct this before an upgrade: {}", degraded.message),
            );
        }
        if state.moving {
            return Decided::new(
                UPGRADEABLE,
                Some(false),
                reason::ROLLOUT_IN_PROGRESS,
                format!(
                    "an upgrade now would mean further reboots: {}",
                    state.message
                ),
            );
        }
        Decided::new(
            UPGRADEABLE,
            Some(true),
            reason::AS_EXPECTED,
            "nothing of this profile stands against an upgrade",
        )
    }

    /// The limit, and what the nodes' last checks say of it.
    fn latency(&self) -> (Option<i64>, Decided) {
        let Some(limit) = self
            .inputs
            .wanted
            .and_then(|(valid, _)| valid.max_latency_microseconds)
        else {
            return (
                None,
                Decided::new(
                    LATENCY_VERIFIED,
                    None,
                    reason::NO_LATENCY_GATE,
                    "spec.latency.maxMicroseconds is not set: nothing is to be proved",
                ),
            );
        };
        let verdicts: Vec<(&str, Option<Verdict>)> = self
            .nodes
            .iter()
            .map(|node| (node.node.as_str(), self.verdict(&node.node)))
            .collect();
        let of = |wanted: Option<Verdict>| {
            verdicts
                .iter()
                .filter(|(_, verdict)| *verdict == wanted)
                .map(|(node, _)| *node)
                .collect::<Vec<_>>()
        };
        let failed = of(Some(Verdict::Fail));
        let passed = of(Some(Verdict::Pass)).len();
        let decided = if !failed.is_empty() {
            Decided::new(
                LATENCY_VERIFIED,
                Some(false),
                reason::LATENCY_EXCEEDED,
                format!(
                    "not under {limit} µs: {}; look at the node's LatencyCheck for its histogram",
                    failed.join(", ")
                ),
            )
        } else if passed == verdicts.len() && passed > 0 {
            Decided::new(
                LATENCY_VERIFIED,
                Some(true),
                reason::WITHIN_LIMIT,
                format!("{passed} nodes stayed under {limit} µs"),
            )
        } else {
            Decided::new(
                LATENCY_VERIFIED,
                None,
                reason::LATENCY_UNKNOWN,
                format!(
                    "{passed} of {} nodes have a check under {limit} µs",
                    verdicts.len()
                ),
            )
        };
        (Some(limit), decided)
    }

    fn verdict(&self, node: &str) -> Option<Verdict> {
        self.inputs
            .cluster
            .realtime_nodes
            .iter()
            .find(|reported| reported.name_any() == node)?
            .status
            .as_ref()?
            .latency
            .as_ref()?
            .verdict
    }

    fn counts(&self) -> NodeCounts {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let gate = self
            .inputs
            .wanted
            .is_some_and(|(valid, _)| valid.max_latency_microseconds.is_some());
        let within = |node: &&NodeProgress| self.verdict(&node.node) == Some(Verdict::Pass);
        let ready = self
            .nodes
            .iter()
            .filter(|node| node.phase == ProgressPhase::Ready && (!gate || within(node)))
            .count();
        let worst = self
            .inputs
            .cluster
            .realtime_nodes
            .iter()
            .filter(|reported| {
                self.nodes
                    .iter()
                    .any(|node| node.node == reported.name_any())
            })
            .filter_map(|reported| reported.status.as_ref()?.latency.as_ref()?.max_microseconds)
            .max();
        NodeCounts {
            total: number(self.nodes.len()),
            ready: if self.landed() { number(ready) } else { 0 },
            updating: number(self.count(ProgressPhase::is_under_way)),
            degraded: number(self.count(|phase| phase == ProgressPhase::Degraded)),
            realtime_kernel: number(
                self.nodes
                    .iter()
                    .filter(|node| node.realtime == Some(true))
                    .count(),
            ),
            within_latency: number(self.nodes.iter().filter(within).count()),
            max_latency: worst.map(|worst| format!("{worst}µs")),
        }
    }
}

/// Where no pools are served: the nodes that already have a RealtimeNode of this profile, by their kernel alone.
fn without_pools(inputs: &Inputs<'_>, wants_realtime: bool) -> Vec<NodeProgress> {
    let profile = inputs.profile.name_any();
    let cluster: &Cluster = inputs.cluster;
    cluster
        .nodes
        .iter()
        .filter(|node| {
            cluster.realtime_nodes.iter().any(|reported| {
                reported.spec.profile == profile && reported.name_any() == node.name_any()
            })
        })
        .map(|node| progress::progress_of(node, None, cluster, wants_realtime))
        .collect()
}
