//! What is an Event for a pod: what it asked for has come, or not, or somebody else took it away. Turns values into values.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::realtime_node::{ContainerBudget, ContainerBudgetState};
use crate::conditions::reason;
use crate::rt::plan::{Plan, Tree};
use crate::rt::pod::Pod;
use crate::rt::settle::{PodKey, Settled};

/// News for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNews {
    /// Which.
    pub pod: PodKey,
    /// The API's uid.
    pub uid: String,
    /// Something is wrong.
    pub warning: bool,
    /// `RealtimeApplied`, `RealtimeRefused`, or what is wrong although it was applied.
    pub reason: &'static str,
    /// In words.
    pub note: String,
}

/// What changed for pods from one list of entries to the next: one word a pod and reason.
pub fn news(
    before: &[ContainerBudget],
    after: &[ContainerBudget],
    pods: &BTreeMap<PodKey, Pod>,
) -> Vec<PodNews> {
    let old: BTreeMap<_, _> = before
        .iter()
        .map(|entry| (key(entry), (entry.state, entry.reason.as_deref())))
        .collect();
    let mut told: BTreeMap<(PodKey, &'static str), (Sentences, bool)> = BTreeMap::new();
    for entry in after {
        let now = (entry.state, entry.reason.as_deref());
        let then = old.get(&key(entry)).copied();
        // How much it uses, and that it uses less again, has nothing to do with what it was given. A container that is stopped
        // now and then must not have an Event each time.
        let stopped = now.1 == Some(reason::THROTTLED);
        let uses_less = matches!(now.1, None | Some(reason::EXEC_PROBE))
            && matches!(
                then,
                Some((
                    ContainerBudgetState::Applied,
                    Some(reason::OVERRUN | reason::THROTTLED)
                ))
            );
        if entry.state == ContainerBudgetState::Pending || then == Some(now) || stopped || uses_less
        {
            continue;
        }
        let pod = (entry.namespace.clone(), entry.pod.clone());
        let warning = entry.reason.is_some();
        let reason = match (entry.state, entry.reason.as_deref()) {
            (ContainerBudgetState::Refused, _) => reason::REALTIME_REFUSED,
            (_, Some(reason::OVERRUN)) => reason::OVERRUN,
            (_, Some(reason::EXEC_PROBE)) => reason::EXEC_PROBE,
            (_, Some(reason::BUDGET_KEPT)) => reason::BUDGET_KEPT,
            _ => reason::REALTIME_APPLIED,
        };
        let (words, wrong) = told.entry((pod, reason)).or_default();
        let of_those = words.entry(Words::of(entry)).or_default();
        of_those.insert(entry.container.clone());
        *wrong |= warning;
    }
    told.into_iter()
        .filter_map(|((pod, reason), (words, warning))| {
            let uid = pods.get(&pod)?.uid.clone();
            let sentences = words.into_iter().map(|(words, of)| words.sentence(&of));
            let note = sentences.collect::<Vec<_>>().join("; ");
            Some(PodNews {
                pod,
                uid,
                warning,
                reason,
                note,
            })
        })
        .collect()
}

fn key(entry: &ContainerBudget) -> (&str, &str, &str) {
    (&entry.namespace, &entry.pod, &entry.container)
}

/// Words, and of which containers.
type Sentences = BTreeMap<Words, BTreeSet<String>>;

/// What is told of a container, without its name: the same words for several containers are one sentence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Words {
    /// A reason and what is said of it.
    Message(String),
    /// What it has.
    Has(String),
}

impl Words {
    fn of(entry: &ContainerBudget) -> Self {
        if let Some(message) = &entry.message {
            let reason = entry.reason.as_deref().unwrap_or_default();
            return Self::Message(format!("{reason}: {message}"));
        }
        let budget = entry
            .applied_microseconds
            .map(|micros| format!("{micros} µs of each second on each CPU"));
        let policy = entry.policy.as_ref().map(|policy| match entry.priority {
            Some(priority) => format!("{policy}:{priority}"),
            None => policy.clone(),
        });
        let what: Vec<String> = budget.into_iter().chain(policy).collect();
        let when = match entry.assigned_before_start {
            Some(true) => ", before its process started",
            Some(false) => ", after its process had started",
            None => "",
        };
        Self::Has(format!("{}{when}", what.join(" and ")))
    }

    fn sentence(&self, containers: &BTreeSet<String>) -> String {
        let names: Vec<&str> = containers.iter().map(String::as_str).collect();
        let (noun, verb) = match names.len() {
            1 => ("container", "has"),
            _ => ("containers", "each have"),
        };
        let names = names.join(", ");
        match self {
            Self::Message(words) => format!("{noun} {names}: {words}"),
            Self::Has(what) => format!("{noun} {names} {verb} {what}"),
        }
    }
}

/// Containers whose budget somebody else wrote over, by their groups, as news for their pods. `known` is what each group had
/// by our own last look or write, in `tree` is what it has; true once the plan is written.
pub fn overwritten<'a>(
    known: &BTreeMap<String, i64>,
    tree: &Tree,
    plan: &Plan,
    settled: &'a Settled,
    pods: &BTreeMap<PodKey, Pod>,
) -> Vec<(&'a str, PodNews)> {
    let news = settled.assignments.iter().filter_map(|assignment| {
        let (_, group) = assignment.at.as_ref()?;
        let (had, gets) = (known.get(group)?, plan.granted.get(group)?);
        let found = tree.groups.get(group)?.runtime_us;
        // Where more or less is wanted than before, it is not told apart.
        if *had != i64::from(assignment.request.runtime?.get()) || found == *had {
            return None;
        }
        let now = if gets == had {
            format!("it has {had} again")
        } else {
            format!("it keeps {gets} as long as its real-time threads run")
        };
        let note = format!(
            "container {}: somebody else wrote {found} to cpu.rt_runtime_us of its cgroup, which had {had}; {now}. \
             Only one program may manage real-time budgets on a node",
            assignment.request.container
        );
        let news = PodNews {
            pod: assignment.pod.clone(),
            uid: pods.get(&assignment.pod)?.uid.clone(),
            warning: true,
            reason: reason::BUDGET_OVERWRITTEN,
            note,
        };
        Some((group.as_str(), news))
    });
    news.collect()
}
