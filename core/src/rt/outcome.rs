//! What is told of pods' real-time scheduling: an entry for each container that asks, the node's condition, and what is
//! news for a pod. Turns values into values; every sentence names what helps.

mod news;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::group::ContainerId;
use super::micros::RuntimeMicros;
use super::modes::Mode;
use super::plan::{Finding, Plan, Refusal};
use super::pod::Pod;
use super::request::{self, ContainerKind, NAMESPACE_REFUSED, Policy, Refused, Said, Scheduling};
use super::settle::{Assignment, PodKey, Settled};
use crate::api::realtime_node::{BudgetMode, ContainerBudget, ContainerBudgetState};
use crate::conditions::{self, Decided, reason};
use crate::short;
pub use news::{PodNews, news, overwritten};

/// As many containers are listed: more would make the object too large for the API server (1.5 MB).
pub const MAX_ENTRIES: usize = 1000;
/// The longest message of an entry, bytes of JSON: a pod may bear pages of wrong annotations, and with [`MAX_ENTRIES`] the object
/// must still be one that the API server takes.
const MESSAGE: usize = 700;

/// Everything that came of one round.
#[derive(Clone, Copy, Debug)]
pub struct Done<'a> {
    /// The node's mode.
    pub mode: &'a Mode,
    /// Pods that ask.
    pub pods: &'a BTreeMap<PodKey, Pod>,
    /// Who gets what where.
    pub settled: &'a Settled,
    /// Grants and refusals, by group.
    pub plan: &'a Plan,
    /// What the kernel said to a write, by group.
    pub kernel: &'a BTreeMap<String, String>,
    /// What is known of containers besides.
    pub containers: &'a BTreeMap<ContainerId, Besides>,
}

/// What is known of a container besides its budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Besides {
    /// All was in place before its first instruction. `None`: not known, as after a restart of the daemon.
    pub before_start: Option<bool>,
    /// Why policy and priority could not be set; `None`: they were, or none was asked for.
    pub policy_failed: Option<String>,
    /// The kernel's word for why RLIMIT_RTTIME could not be set where it is asked for.
    pub rttime_refused: Option<String>,
    /// So many groups of the container's own are looked into, and it has more: threads in the others lack the policy.
    pub groups_left_out: Option<usize>,
    /// What its real-time threads used of the last period beyond its budget, in words.
    pub overrun: Option<String>,
    /// Its real-time threads have lately used all of its budget, and the kernel stops them then.
    pub throttled: bool,
}

/// What became of a container that waits to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It asks for nothing.
    NotAsked,
    /// What it asks for is in place.
    Applied,
    /// It doesn't get it, and why, with the remedy.
    Refused(String),
}

/// An entry for each container that asks. Those of refused pods come last.
pub fn entries(done: &Done<'_>) -> Vec<ContainerBudget> {
    let refused = done.settled.refused.iter().flat_map(|(pod, refused)| {
        let said = done.pods.get(pod).map(said_of).unwrap_or_default();
        said.into_iter().map(move |(container, said)| {
            let namespace =
                |problem: &crate::problem::Problem| problem.message == NAMESPACE_REFUSED;
            let reason = if refused.problems.iter().any(namespace) {
                reason::NAMESPACE_NOT_ALLOWED
            } else {
                reason::INVALID_REQUEST
            };
            ContainerBudget {
                state: ContainerBudgetState::Refused,
                reason: Some(reason.to_owned()),
                message: Some(short::json(&refused.to_string(), MESSAGE)),
                ..asked(pod, container, said.runtime, said.scheduling)
            }
        })
    });
    let asked = done
        .settled
        .assignments
        .iter()
        .map(|assignment| entry(done, assignment));
    asked.chain(refused).collect()
}

/// Those that are listed in the node's status, in the order of pods and their containers: at most [`MAX_ENTRIES`].
pub fn listed(mut all: Vec<ContainerBudget>) -> Vec<ContainerBudget> {
    if all.len() > MAX_ENTRIES {
        // A pod with a thousand refused containers must not hide those that have something, or will.
        all.sort_by_key(|entry| match entry.state {
            ContainerBudgetState::Applied => 0,
            ContainerBudgetState::Pending => 1,
            ContainerBudgetState::Refused => 2,
        });
        all.truncate(MAX_ENTRIES);
    }
    all.sort_by(|left, right| {
        let key = |entry: &ContainerBudget| (entry.namespace.clone(), entry.pod.clone());
        key(left).cmp(&key(right))
    });
    all
}

/// The containers that a refused pod's entries name, and what they ask for: those that ask, else the first.
fn said_of(pod: &Pod) -> Vec<(&str, Said)> {
    let containers = || pod.contract.containers.iter().enumerate();
    let asking: Vec<(&str, Said)> = containers()
        .filter_map(|(index, container)| {
            let said = request::said_of(&pod.contract, index)?;
            Some((&*container.name, said))
        })
        .collect();
    if !asking.is_empty() {
        return asking;
    }
    let first = containers().find(|(_, container)| container.kind == ContainerKind::Regular);
    first
        .map(|(_, container)| vec![(&*container.name, Said::default())])
        .unwrap_or_default()
}

/// What a container asks for; what came of it is to be said.
fn asked(
    pod: &PodKey,
    container: &str,
    runtime: Option<RuntimeMicros>,
    scheduling: Option<Scheduling>,
) -> ContainerBudget {
    let (policy, priority) = match scheduling.map(|scheduling| scheduling.policy) {
        None => (None, None),
        Some(Policy::Fifo(priority)) => (Some("fifo"), Some(i64::from(priority))),
        Some(Policy::RoundRobin(priority)) => (Some("rr"), Some(i64::from(priority))),
        Some(Policy::Other) => (Some("other"), None),
    };
    ContainerBudget {
        namespace: pod.0.clone(),
        pod: pod.1.clone(),
        container: container.to_owned(),
        requested_microseconds: runtime.map(|runtime| i64::from(runtime.get())),
        applied_microseconds: None,
        policy: policy.map(str::to_owned),
        priority,
        state: ContainerBudgetState::Pending,
        reason: None,
        message: None,
        assigned_before_start: None,
    }
}

fn entry(done: &Done<'_>, assignment: &Assignment) -> ContainerBudget {
    let request = &assignment.request;
    let entry = asked(
        &assignment.pod,
        &request.container,
        request.runtime,
        request.scheduling,
    );
    let said = |state, reason: &str, message: String| ContainerBudget {
        state,
        reason: Some(reason.to_owned()),
        message: Some(short::json(&message, MESSAGE)),
        ..entry.clone()
    };
    // 1. What holds for the node.
    if let Some(reason) = match done.mode.mode {
        BudgetMode::Blocked => Some(reason::KERNEL_BLOCKS),
        BudgetMode::Off => Some(reason::SWITCHED_OFF),
        BudgetMode::V1Budget | BudgetMode::V2Policy => None,
    } {
        let remedy = done.mode.remedy.as_deref().unwrap_or("use another node");
        let message = format!("{}; {remedy}", done.mode.evidence);
        return said(ContainerBudgetState::Refused, reason, message);
    }
    // 2. What isn't there yet.
    let Some((id, group)) = &assignment.at else {
        return said(
            ContainerBudgetState::Pending,
            reason::WAITING_FOR_CONTAINER,
            not_there(done.pods.get(&assignment.pod), &request.container),
        );
    };
    // 3. What the plan or the kernel refused.
    if let Some(refusal) = done.plan.refused.get(group) {
        let applied = match refusal {
            Refusal::NoRoom { has_us, .. } if *has_us > 0 => Some(*has_us),
            _ => None,
        };
        return ContainerBudget {
            applied_microseconds: applied,
            ..said(
                ContainerBudgetState::Refused,
                reason_of(refusal),
                refusal.to_string(),
            )
        };
    }
    if let Some(words) = done.kernel.get(group) {
        return said(
            ContainerBudgetState::Refused,
            reason::BUDGET_REFUSED,
            format!("{words}; it is tried again every few seconds"),
        );
    }
    // 4. What is still tried.
    if request.runtime.is_some() && !done.plan.granted.contains_key(group) {
        return said(
            ContainerBudgetState::Pending,
            reason::BUDGET_REFUSED,
            "the kernel still counts the budgets of containers that have just ended; it is tried again".to_owned(),
        );
    }
    applied(done, assignment, entry, id, group)
}

/// Why a container's process isn't there, by the kubelet's word. What the kubelet says besides changes with each try, and
/// stays in the pod's status.
fn not_there(pod: Option<&Pod>, container: &str) -> String {
    match pod
        .and_then(|pod| pod.held_up.get(container))
        .map(|it| &**it)
    {
        Some(again @ "CrashLoopBackOff") => {
            format!(
                "its process has ended, and the kubelet waits before it starts it again: {again}"
            )
        }
        Some(pull @ "ImagePullBackOff") => {
            format!("its image can't be pulled: {pull}; the pod's status has the kubelet's words")
        }
        Some(reason) => {
            format!("it is not running, the kubelet says: {reason}; the pod's status has its words")
        }
        None if pod.is_some_and(|pod| pod.has_no_process(container)) => {
            "its process has ended".to_owned()
        }
        None => "its process has not begun".to_owned(),
    }
}

/// It has what it asks for; what is wrong all the same is told.
fn applied(
    done: &Done<'_>,
    assignment: &Assignment,
    entry: ContainerBudget,
    id: &ContainerId,
    group: &str,
) -> ContainerBudget {
    let besides = done.containers.get(id).cloned().unwrap_or_default();
    let has = done.plan.granted.get(group).copied();
    let wanted = entry.requested_microseconds;
    let entry = ContainerBudget {
        applied_microseconds: wanted.and(has),
        assigned_before_start: besides.before_start,
        state: ContainerBudgetState::Applied,
        ..entry
    };
    let with = |entry: ContainerBudget, reason: &str, message: String| ContainerBudget {
        reason: Some(reason.to_owned()),
        message: Some(short::json(&message, MESSAGE)),
        ..entry
    };
    if let Some(words) = besides.policy_failed {
        let refused = ContainerBudget {
            state: ContainerBudgetState::Refused,
            ..entry
        };
        return with(refused, reason::POLICY_REFUSED, words);
    }
    if let Some(words) = besides.overrun {
        return with(entry, reason::OVERRUN, words);
    }
    if let Some(most) = besides.groups_left_out {
        let message = format!(
            "it has made more than {most} groups below its own: threads in those behind the first {most} don't have its \
             policy; make fewer, or let the program set it there"
        );
        return with(entry, reason::POLICY_INCOMPLETE, message);
    }
    if let Some(words) = besides.rttime_refused {
        let message = format!(
            "a thread that never blocks is not ended: rttime-us could not be set ({words}); give the daemon CAP_SYS_RESOURCE"
        );
        return with(entry, reason::LIMIT_REFUSED, message);
    }
    if let (Some(wanted), Some(has)) = (wanted, has)
        && has > wanted
    {
        let message = format!(
            "{has} µs are kept while real-time threads run in it; restart the container to bring it to {wanted}"
        );
        return with(entry, reason::BUDGET_KEPT, message);
    }
    if besides.throttled {
        let message = "its real-time threads have used all of their budget in the last minutes: the kernel stops them then until the \
             next second begins, and they get no error; ask for more, or let the program block more often";
        return with(entry, reason::THROTTLED, message.to_owned());
    }
    let realtime = assignment.request.runtime.is_some() || assignment.request.scheduling.is_some();
    let pod = done.pods.get(&assignment.pod);
    if realtime && pod.is_some_and(|pod| pod.exec_probes.contains(&entry.container)) {
        let message = "its exec probe (or lifecycle command) runs as SCHED_OTHER beside real-time threads, and may not get the \
             CPU while they run; use an httpGet, tcpSocket or grpc probe";
        return with(entry, reason::EXEC_PROBE, message.to_owned());
    }
    entry
}

fn reason_of(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoRoom { .. } => reason::NO_ROOM,
        Refusal::NoGroup => reason::WAITING_FOR_CONTAINER,
        Refusal::NotAPods | Refusal::ForeignPeriod { .. } | Refusal::InsideAnother => {
            reason::GROUP_UNSUITABLE
        }
    }
}

/// What the start of a container of a pod that asks can be told, by the entry that the container has; `None`: not decided
/// yet. Of a pod that is `refused` no container is told anything else.
pub fn verdict(entry: Option<&ContainerBudget>, refused: Option<&Refused>) -> Option<Verdict> {
    if let Some(refused) = refused {
        return Some(Verdict::Refused(refused.to_string()));
    }
    let Some(entry) = entry else {
        // The pod asks, and not for this one.
        return Some(Verdict::NotAsked);
    };
    match entry.state {
        ContainerBudgetState::Applied => Some(Verdict::Applied),
        ContainerBudgetState::Refused => {
            Some(Verdict::Refused(entry.message.clone().unwrap_or_default()))
        }
        ContainerBudgetState::Pending => None,
    }
}

/// `BudgetReady` of the node.
pub fn condition(mode: &Mode, entries: &[ContainerBudget], findings: &[Finding]) -> Decided {
    let remedy = mode.remedy.as_deref().map(|remedy| format!("; {remedy}"));
    let evidence = format!("{}{}", mode.evidence, remedy.unwrap_or_default());
    let (status, reason) = match mode.mode {
        BudgetMode::Off => (false, reason::SWITCHED_OFF),
        BudgetMode::Blocked => (false, reason::KERNEL_BLOCKS),
        BudgetMode::V1Budget => (true, reason::BUDGETS_ENFORCED),
        BudgetMode::V2Policy => (true, reason::POLICY_ONLY),
    };
    if !status {
        return Decided::new(conditions::BUDGET_READY, Some(false), reason, evidence);
    }
    let refused = entries
        .iter()
        .filter(|entry| entry.state == ContainerBudgetState::Refused)
        .count();
    let mut message = match refused {
        0 => evidence,
        1 => format!("{evidence}; 1 container is refused: status.podBudget.containers"),
        many => format!("{evidence}; {many} containers are refused: status.podBudget.containers"),
    };
    for finding in findings
        .iter()
        .filter(|finding| is_lasting(finding))
        .take(8)
    {
        message.push_str("; ");
        message.push_str(&finding.to_string());
    }
    Decided::new(conditions::BUDGET_READY, Some(true), reason, message)
}

/// Drift is put right in the same round, and kept budgets are their container's matter.
fn is_lasting(finding: &Finding) -> bool {
    match finding {
        Finding::Unbudgeted { .. }
        | Finding::NoRoomToDie { .. }
        | Finding::ForeignPeriod { .. } => true,
        Finding::Drift { .. } | Finding::Kept { .. } => false,
    }
}
