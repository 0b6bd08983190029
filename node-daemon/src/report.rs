//! What is told: the status of this node's RealtimeNode, and the Event that goes with a change of phase. Turns values into
//! values; writing is `cluster`'s.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::{
    Drift, NodeHostStatus, NodeKernelStatus, NodePhase, NodeTopology, NodeTurn, RealtimeNodeStatus,
};
use realtime_core::conditions::{self, Decided, reason};
use realtime_core::host_facts::topology::with_what_was_known;
use realtime_core::kernel::{Next, Observed, Step, Wanted};

use crate::budget;
use crate::events::News;

/// What was looked at besides the kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// The operating system and the processor.
    pub host: NodeHostStatus,
    /// CPUs, NUMA nodes, memory.
    pub topology: NodeTopology,
    /// Where the node differs from its spec, bounded.
    pub drift: Vec<Drift>,
    /// Pods' real-time scheduling.
    pub pods: budget::Told,
}

/// The status that says what was seen and decided. Times of what stayed the same are kept.
pub fn status(
    before: &RealtimeNode,
    wanted: &Wanted,
    observed: &Observed,
    next: &Next,
    facts: &Facts,
    now: &Time,
) -> RealtimeNodeStatus {
    // Not a copy: with many pods it is large.
    let none = RealtimeNodeStatus::default();
    let old = before.status.as_ref().unwrap_or(&none);
    let generation = before.metadata.generation;
    let drifted = drifted(&facts.drift);
    let boot_id = old.kernel.as_ref().and_then(|old| old.boot_id.as_ref());
    let stays =
        matches!(facts.pods, budget::Told::NotYet { .. }) && boot_id == Some(&observed.boot.id);
    let conditions = next
        .conditions
        .iter()
        .cloned()
        .chain([drifted])
        .chain(budget_ready(&facts.pods))
        .map(|decided| decided.timed(&old.conditions, generation, now))
        .collect::<Vec<_>>();
    RealtimeNodeStatus {
        observed_generation: generation,
        phase: Some(next.phase),
        turn: turn(&next.step, old.turn),
        kernel: Some(kernel(before, wanted, observed, old.kernel.as_ref(), now)),
        host: Some(facts.host.clone()),
        topology: Some(with_what_was_known(
            facts.topology.clone(),
            old.topology.as_ref(),
        )),
        drift: since(&facts.drift, &old.drift, now),
        conditions: with_others(conditions, &old.conditions, stays),
        pod_budget: if stays {
            old.pod_budget.clone()
        } else {
            facts.pods.status().cloned()
        },
        // Not this part's word.
        latency: old.latency.clone(),
    }
}

/// The three steps that are nothing but a word in the status.
fn turn(step: &Step, before: Option<NodeTurn>) -> Option<NodeTurn> {
    match step {
        Step::WantTurn => Some(NodeTurn::Wanted),
        Step::TakeTurn => Some(NodeTurn::Taken),
        Step::ReturnTurn => None,
        _ => before,
    }
}

fn kernel(
    before: &RealtimeNode,
    wanted: &Wanted,
    observed: &Observed,
    old: Option<&NodeKernelStatus>,
    now: &Time,
) -> NodeKernelStatus {
    let boot = &observed.boot;
    let staged = observed.record.attempt.as_ref().and_then(|attempt| {
        let staged = attempt.staged.as_ref()?;
        // What was staged in an earlier boot is booted, or gone.
        (staged.boot_id == boot.id && attempt.failed.is_none())
            .then(|| staged.release.clone())
            .flatten()
    });
    let mut kernel = NodeKernelStatus {
        release: Some(boot.release.clone()),
        realtime: Some(boot.is_realtime()),
        boot_id: Some(boot.id.clone()),
        staged,
        owner: before.spec.kernel.as_ref().map(|kernel| kernel.provider),
        missing_arguments: realtime_core::kernel::arguments::missing(
            &wanted.arguments,
            &boot.command_line,
        ),
        last_transition: old.and_then(|old| old.last_transition.clone()),
    };
    if old != Some(&kernel) || kernel.last_transition.is_none() {
        kernel.last_transition = Some(now.clone());
    }
    kernel
}

/// An entry that was there keeps its time, whatever is found in its place by now.
fn since(drift: &[Drift], old: &[Drift], now: &Time) -> Vec<Drift> {
    let mut old: Vec<&Drift> = old.iter().collect();
    drift
        .iter()
        .map(|entry| {
            let position = old
                .iter()
                .position(|before| before.area == entry.area && before.wanted == entry.wanted);
            let since = position
                .map(|position| old.remove(position))
                .and_then(|before| before.since.clone());
            Drift {
                since: since.or_else(|| Some(now.clone())),
                ..entry.clone()
            }
        })
        .collect()
}

fn drifted(drift: &[Drift]) -> Decided {
    let Some(first) = drift.first() else {
        return Decided::new(
            conditions::DRIFTED,
            Some(false),
            reason::AS_EXPECTED,
            "the node is what its spec says",
        );
    };
    let more = match drift.len() - 1 {
        0 => String::new(),
        1 => " (and one other place: status.drift)".to_owned(),
        more => format!(" (and {more} other places: status.drift)"),
    };
    Decided::new(
        conditions::DRIFTED,
        Some(true),
        reason::DRIFT_FOUND,
        format!("wanted {}, found {}{more}", first.wanted, first.found),
    )
}

/// Conditions that somebody else writes stay.
fn with_others(mut ours: Vec<Condition>, old: &[Condition], budgets_stay: bool) -> Vec<Condition> {
    for condition in old {
        // Where nobody gives anything there is nothing to be ready.
        let is_over = condition.type_ == conditions::BUDGET_READY && !budgets_stay;
        if !is_over && conditions::find(&ours, &condition.type_).is_none() {
            ours.push(condition.clone());
        }
    }
    ours
}

fn budget_ready(pods: &budget::Told) -> Option<Decided> {
    match pods {
        budget::Told::NotYet { .. } | budget::Told::Nothing => None,
        budget::Told::Pods { condition, .. } => Some(condition.clone()),
    }
}

/// Whether two statuses say the same, the words of conditions aside: a drain's message counts pods and seconds, and isn't
/// worth a write each second.
pub fn same_but_words(left: &RealtimeNodeStatus, right: &RealtimeNodeStatus) -> bool {
    // Each field by its name, so that none is forgotten; copies of all would be large with many pods.
    let RealtimeNodeStatus {
        observed_generation,
        phase,
        turn,
        kernel,
        host,
        topology,
        pod_budget,
        latency,
        drift,
        conditions,
    } = left;
    let wordless = |condition: &Condition| Condition {
        message: String::new(),
        ..condition.clone()
    };
    *observed_generation == right.observed_generation
        && *phase == right.phase
        && *turn == right.turn
        && *kernel == right.kernel
        && *host == right.host
        && *topology == right.topology
        && *pod_budget == right.pod_budget
        && *latency == right.latency
        && *drift == right.drift
        && conditions
            .iter()
            .map(wordless)
            .eq(right.conditions.iter().map(wordless))
}

/// What an Event says about a change of phase, when it is one.
pub fn news(old: Option<NodePhase>, status: &RealtimeNodeStatus) -> Option<News> {
    let phase = status.phase.filter(|phase| Some(*phase) != old)?;
    let words = |type_: &str| conditions::find(&status.conditions, type_);
    let degraded = phase == NodePhase::Degraded;
    let condition = if degraded {
        words(conditions::DEGRADED).or_else(|| words(conditions::KERNEL_READY))
    } else {
        words(conditions::KERNEL_READY)
    };
    Some(News {
        warning: degraded,
        reason: match condition {
            Some(condition) if degraded => condition.reason.clone(),
            _ => format!("{phase:?}"),
        },
        note: condition
            .map(|condition| condition.message.clone())
            .unwrap_or_default(),
    })
}

/// Whether a phase is worth an Event on the Node too: who looks at the Node asks why it is cordoned, and what it runs.
pub fn concerns_the_node(phase: Option<NodePhase>) -> bool {
    matches!(
        phase,
        Some(NodePhase::Draining | NodePhase::Rebooting | NodePhase::Ready | NodePhase::Degraded)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::jiff::Timestamp;
    use realtime_core::api::realtime_node::{DriftArea, NodePodBudgetStatus};

    fn at(seconds: i64) -> Time {
        Time(Timestamp::from_second(seconds).unwrap())
    }

    fn drift(wanted: &str, found: &str) -> Drift {
        Drift {
            area: DriftArea::Sysctl,
            wanted: wanted.to_owned(),
            found: found.to_owned(),
            since: None,
        }
    }

    fn observed() -> Observed {
        Observed {
            boot: realtime_core::kernel::Boot {
                id: "b".to_owned(),
                release: "5.14.0-1.el9.x86_64".to_owned(),
                realtime: false,
                command_line: "quiet".to_owned(),
            },
            system: realtime_core::kernel::System::Other("none".to_owned()),
            record: realtime_core::kernel::Record::default(),
            offered: None,
            node: realtime_core::kernel::Surroundings::default(),
            now: 0,
        }
    }

    fn next(step: Step) -> Next {
        Next {
            phase: NodePhase::Pending,
            step,
            conditions: vec![Decided::new(
                conditions::KERNEL_READY,
                Some(false),
                reason::VERIFYING,
                "waits",
            )],
        }
    }

    fn told(before: &RealtimeNode, step: Step, drift: Vec<Drift>, now: i64) -> RealtimeNodeStatus {
        let facts = Facts {
            drift,
            ..Facts::default()
        };
        let wanted = Wanted {
            arguments: vec!["nohz=on".to_owned()],
            ..Wanted::default()
        };
        status(before, &wanted, &observed(), &next(step), &facts, &at(now))
    }

    #[test]
    fn a_second_look_at_the_same_says_the_same() {
        let mut node = RealtimeNode::default();
        let entries = vec![drift("a=1", "0")];
        node.status = Some(told(&node, Step::Rest, entries.clone(), 10));
        let again = told(&node, Step::Rest, entries, 20);
        assert_eq!(node.status, Some(again));
    }

    #[test]
    fn drift_keeps_its_time_while_it_is_there() {
        let mut node = RealtimeNode::default();
        let first = told(&node, Step::Rest, vec![drift("a=1", "0")], 10);
        node.status = Some(first);
        let second = told(
            &node,
            Step::Rest,
            vec![drift("a=1", "2"), drift("b=1", "0")],
            20,
        );
        assert_eq!(second.drift[0].since, Some(at(10)));
        assert_eq!(second.drift[1].since, Some(at(20)));
    }

    #[test]
    fn a_turn_changes_by_its_steps_alone() {
        let mut node = RealtimeNode::default();
        assert_eq!(told(&node, Step::Rest, vec![], 1).turn, None);
        node.status = Some(told(&node, Step::WantTurn, vec![], 1));
        assert_eq!(
            told(&node, Step::Cordon, vec![], 1).turn,
            Some(NodeTurn::Wanted)
        );
        assert_eq!(
            told(&node, Step::TakeTurn, vec![], 1).turn,
            Some(NodeTurn::Taken)
        );
        assert_eq!(told(&node, Step::ReturnTurn, vec![], 1).turn, None);
    }

    #[test]
    fn what_is_missing_on_the_command_line_is_told() {
        let status = told(&RealtimeNode::default(), Step::Rest, vec![], 1);
        assert_eq!(status.kernel.unwrap().missing_arguments, ["nohz=on"]);
    }

    #[test]
    fn conditions_of_others_stay() {
        let mut node = RealtimeNode::default();
        let foreign =
            Decided::new("LatencyVerified", Some(true), "WithinLimit", "").timed(&[], None, &at(1));
        node.status = Some(RealtimeNodeStatus {
            conditions: vec![foreign.clone()],
            ..RealtimeNodeStatus::default()
        });
        let status = told(&node, Step::Rest, vec![], 2);
        assert!(status.conditions.contains(&foreign));
        assert_eq!(status.conditions.len(), 3);
    }

    #[test]
    fn pods_status_stays_until_it_is_known_better_and_goes_where_nobody_gives() {
        let ready = |words: &str| Decided::new(conditions::BUDGET_READY, Some(true), "r", words);
        let given = |micros| NodePodBudgetStatus {
            capacity_microseconds: Some(micros),
            ..NodePodBudgetStatus::default()
        };
        let old = Some(RealtimeNodeStatus {
            conditions: vec![ready("before").timed(&[], None, &at(1))],
            pod_budget: Some(given(1)),
            kernel: Some(NodeKernelStatus {
                boot_id: Some("b".to_owned()),
                ..NodeKernelStatus::default()
            }),
            ..RealtimeNodeStatus::default()
        });
        let mut node = RealtimeNode {
            status: old,
            ..RealtimeNode::default()
        };
        let tells = |node: &RealtimeNode, pods| {
            let facts = Facts {
                pods,
                ..Facts::default()
            };
            let wanted = Wanted::default();
            let next = next(Step::Rest);
            let status = status(node, &wanted, &observed(), &next, &facts, &at(2));
            let words = conditions::find(&status.conditions, conditions::BUDGET_READY)
                .map(|ready| ready.message.clone());
            (status.pod_budget, words)
        };
        let before = Some("before".to_owned());
        let not_yet = budget::Told::default();
        assert_eq!(tells(&node, not_yet.clone()), (Some(given(1)), before));
        assert_eq!(tells(&node, budget::Told::Nothing), (None, None));
        let pods = budget::Told::Pods {
            status: given(2),
            condition: ready("now"),
        };
        let now = (Some(given(2)), Some("now".to_owned()));
        assert_eq!(tells(&node, pods), now);
        // Another boot may be one of another kernel.
        let kernel = node.status.as_mut().and_then(|old| old.kernel.as_mut());
        kernel.unwrap().boot_id = Some("a".to_owned());
        assert_eq!(tells(&node, not_yet), (None, None));
    }

    #[test]
    fn a_change_of_phase_is_news_once() {
        let status = told(&RealtimeNode::default(), Step::Rest, vec![], 1);
        let said = news(None, &status).unwrap();
        assert_eq!(
            (said.reason.as_str(), said.note.as_str()),
            ("Pending", "waits")
        );
        assert_eq!(news(Some(NodePhase::Pending), &status), None);
    }
}
