//! What `oc realtime watch` shows: from the profile and its nodes' progress to a headline, a bar, a line for each
//! node, and whether it is over. Pure: the time is an argument, the terminal is the CLI's.

pub mod layout;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::RealtimeProfile;
use crate::cluster::Served;
use crate::conditions::{self, AVAILABLE, DEGRADED, VALID, reason};
use crate::status::members::pool_name;
use crate::status::progress::{NodeProgress, ProgressPhase, in_words as in_words_of};

/// A degraded profile that heals within this time was only passing through: a node between two reports, say.
pub const GRACE: Duration = Duration::from_secs(5);

/// Shown as long as a profile has no status; no condition has it.
const NOT_SEEN_YET: &str = "NotSeenYet";

/// One moment.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The profile.
    pub profile: String,
    /// Its pool; `None` where no pools are served.
    pub pool: Option<String>,
    /// The most important condition's reason, in one word.
    pub reason: String,
    /// Its message: what happens, and what to do.
    pub message: String,
    /// Nodes that are what the profile says.
    pub ready: usize,
    /// The profile's nodes.
    pub nodes: Vec<NodeLine>,
    /// Since the watch began.
    pub elapsed: Duration,
    /// Whether it is over.
    pub verdict: Verdict,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    /// The node.
    pub node: String,
    /// How far it is.
    pub phase: ProgressPhase,
    /// What it waits for, or why it failed; empty when Ready.
    pub waits_for: String,
    /// Since it left `Waiting` and until it was Ready; `None` when the watch didn't see it begin.
    pub taken: Option<Duration>,
}

/// Whether it is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not yet.
    Going,
    /// Every node is what the profile says.
    Done,
    /// It will not heal by waiting.
    Stuck,
}

/// When a node began and ended.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    began: Option<Duration>,
    ended: Option<Duration>,
}

/// What a watch remembers between two moments.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    nodes: BTreeMap<String, Times>,
    degraded_since: Option<Duration>,
    without_pools: bool,
}

impl Watch {
    /// The beginning of a watch on a cluster that serves these.
    pub fn on(served: Served) -> Self {
        Self {
            without_pools: !served.machine_configs,
            ..Self::default()
        }
    }

    /// The next moment. `now` counts from the beginning of the watch and never goes back.
    pub fn view(
        &mut self,
        profile: &RealtimeProfile,
        progress: &[NodeProgress],
        now: Duration,
    ) -> View {
        let pool = (!self.without_pools).then(|| pool_name(profile));
        let name = profile.metadata.name.clone().unwrap_or_default();
        let nodes: Vec<NodeLine> = progress.iter().map(|node| self.line(node, now)).collect();
        let (reason, message) = headline(profile);
        View {
            pool,
            profile: name,
            reason,
            message,
            ready: nodes
                .iter()
                .filter(|node| node.phase == ProgressPhase::Ready)
                .count(),
            nodes,
            elapsed: now,
            verdict: self.verdict(profile, now),
        }
    }

    fn line(&mut self, progress: &NodeProgress, now: Duration) -> NodeLine {
        let times = self.nodes.entry(progress.node.clone()).or_default();
        if progress.phase.is_under_way() {
            times.began.get_or_insert(now);
            times.ended = None;
        } else if progress.phase == ProgressPhase::Ready && times.began.is_some() {
            times.ended.get_or_insert(now);
        }
        let taken = times
            .began
            .map(|began| times.ended.unwrap_or(now).saturating_sub(began));
        NodeLine {
            node: progress.node.clone(),
            phase: progress.phase,
            waits_for: progress.waits_for.clone(),
            taken,
        }
    }

    /// 1. A status about an older generation says nothing.
    /// 2. Available: done.
    /// 3. Invalid: stuck.
    /// 4. Degraded for longer than the grace: stuck.
    fn verdict(&mut self, profile: &RealtimeProfile, now: Duration) -> Verdict {
        let degraded = is(profile, DEGRADED, "True");
        if !degraded {
            self.degraded_since = None;
        }
        if is(profile, AVAILABLE, "True") {
            return Verdict::Done;
        }
        if is(profile, VALID, "False") {
            return Verdict::Stuck;
        }
        if degraded {
            let since = *self.degraded_since.get_or_insert(now);
            if now.saturating_sub(since) >= GRACE {
                return Verdict::Stuck;
            }
        }
        Verdict::Going
    }
}

/// Whether a condition has this status for the current generation.
fn is(profile: &RealtimeProfile, type_: &str, status: &str) -> bool {
    let Some(current) = &profile.status else {
        return false;
    };
    let generation = profile.metadata.generation;
    conditions::find(&current.conditions, type_).is_some_and(|condition| {
        let about = condition
            .observed_generation
            .or(current.observed_generation);
        condition.status == status && (about.is_none() || about == generation)
    })
}

/// The reason and the message of the most important condition.
fn headline(profile: &RealtimeProfile) -> (String, String) {
    const ORDER: [&str; 4] = [VALID, DEGRADED, AVAILABLE, conditions::PROGRESSING];
    let Some(status) = profile
        .status
        .as_ref()
        .filter(|status| !status.conditions.is_empty())
    else {
        return (
            NOT_SEEN_YET.to_owned(),
            "the operator has not looked at the profile yet; if this stays, is it running? \
             `oc get pods -n realtime-operator`"
                .to_owned(),
        );
    };
    // The summary is the reason of the most important condition; several may share it, the worst is told.
    let summary = status.summary.clone().unwrap_or_default();
    let told = ORDER
        .iter()
        .filter_map(|type_| conditions::find(&status.conditions, type_))
        .find(|condition| condition.reason == summary)
        .or_else(|| conditions::find(&status.conditions, AVAILABLE));
    match told {
        Some(condition) => (condition.reason.clone(), condition.message.clone()),
        None => (summary, String::new()),
    }
}

/// What changed between two moments, one line each: what is printed where nothing can be redrawn.
pub fn changes(before: Option<&View>, after: &View) -> Vec<String> {
    let mut lines = Vec::new();
    let headline = |view: &View| (view.reason.clone(), gist(view));
    if before.map(headline) != Some(headline(after)) {
        let (profile, reason, gist) = (&after.profile, &after.reason, gist(after));
        lines.push(if gist.is_empty() {
            format!("{profile}: {reason}")
        } else {
            format!("{profile}: {reason}: {gist}")
        });
    }
    for node in &after.nodes {
        let known = before.and_then(|view| view.nodes.iter().find(|one| one.node == node.node));
        if known
            .is_none_or(|known| (known.phase, &known.waits_for) != (node.phase, &node.waits_for))
        {
            lines.push(node_in_words(node));
        }
    }
    for gone in before.iter().flat_map(|view| &view.nodes) {
        if after.nodes.iter().all(|node| node.node != gone.node) {
            let left = match after.pool {
                Some(_) => "the pool",
                None => "the profile's nodes",
            };
            lines.push(format!("{}: left {left}", gone.node));
        }
    }
    let count = |view: &View| (view.ready, view.nodes.len());
    if before.map(count) != Some(count(after)) {
        lines.push(format!(
            "{} of {} nodes ready",
            after.ready,
            after.nodes.len()
        ));
    }
    lines
}

/// The message without what the lines of the nodes say themselves.
fn gist(view: &View) -> String {
    const OF_NODES: [&str; 4] = [
        reason::ROLLING_OUT,
        reason::VERIFYING,
        reason::KERNEL_BY_NODE_DAEMON,
        reason::NODES_GOING_BACK,
    ];
    if !OF_NODES.contains(&view.reason.as_str()) {
        return view.message.clone();
    }
    let kept: Vec<&str> = parts(&view.message)
        .into_iter()
        .filter(|part| !names_a_node(part, view) && !counts_nodes(part))
        .collect();
    kept.join("; ")
}

/// Split at `; `, but not within parentheses: what a node waits for may have one, too.
fn parts(message: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut depth = 0_usize;
    let mut begin = 0;
    for (at, character) in message.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ';' if depth == 0 && message[at..].starts_with("; ") => {
                parts.push(&message[begin..at]);
                begin = at + 2;
            }
            _ => {}
        }
    }
    parts.push(&message[begin..]);
    parts
}

/// Whether this is `1 of 3 nodes …`, or `2 node(s) …`.
fn counts_nodes(part: &str) -> bool {
    part.starts_with(|first: char| first.is_ascii_digit())
        && (part.contains(" nodes ") || part.contains(" node(s) "))
}

/// Whether this is a list of nodes with their phases.
fn names_a_node(part: &str, view: &View) -> bool {
    view.nodes
        .iter()
        .any(|node| part.contains(&format!("{} (", node.node)))
}

fn node_in_words(node: &NodeLine) -> String {
    let mut line = format!(
        "{}: {}",
        node.node,
        in_words_of(node.phase, &node.waits_for)
    );
    if let Some(taken) = node.taken.filter(|_| node.phase == ProgressPhase::Ready) {
        line.push_str(", after ");
        line.push_str(&in_words(taken));
    }
    line
}

/// As `7s`, `3m07s`, `1h02m`.
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}
