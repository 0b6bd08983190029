//! What stands in one container's way. Only what the pod's own part does not say already.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::process::{self, May};
use super::{
    AFTER_START, ENDED, Finding, NOT_PERMITTED, NOT_REPORTED, SECCOMP, Seen, THROTTLING, Weight,
};
use crate::api::realtime_node::{
    BudgetMode, ContainerBudget, ContainerBudgetState, NodePodBudgetStatus,
};
use crate::conditions::reason;
use crate::rt::request::{ContainerKind, Policy, Request};

/// All of it. `told`: causes that were told of the whole pod.
pub(super) fn findings(
    seen: &Seen<'_>,
    status: Option<&NodePodBudgetStatus>,
    request: &Request,
    entry: Option<&ContainerBudget>,
    told: &[String],
) -> Vec<Finding> {
    let Some(status) = status else {
        return Vec::new();
    };
    let possible = matches!(
        status.mode,
        Some(BudgetMode::V1Budget | BudgetMode::V2Policy)
    );
    let live = live(seen.pod, &request.container);
    let mut found = match entry {
        None if possible => absent(live, told),
        None => Vec::new(),
        Some(entry) => match entry.state {
            ContainerBudgetState::Refused => refused(status, entry, told),
            ContainerBudgetState::Pending => vec![pending(seen.pod, request, entry, live)],
            ContainerBudgetState::Applied => applied(seen, status, request, entry, live),
        },
    };
    for finding in &mut found {
        finding.container = Some(request.container.clone());
    }
    found
}

fn live<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ]
    .into_iter()
    .flatten()
    .flatten()
    .find(|one| one.name == container)
}

fn is_running(live: Option<&ContainerStatus>) -> bool {
    live.and_then(|live| live.state.as_ref())
        .is_some_and(|state| state.running.is_some())
}

/// Asked for, and the node says nothing of it.
fn absent(live: Option<&ContainerStatus>, told: &[String]) -> Vec<Finding> {
    let state = live.and_then(|live| live.state.as_ref());
    if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
        let what = format!("It has ended with exit code {}.", ended.exit_code);
        return vec![Finding::new(Weight::Note, ENDED, what, "")];
    }
    if is_running(live) {
        if told
            .iter()
            .any(|cause| cause == NOT_REPORTED || cause == ENDED)
        {
            return Vec::new();
        }
        return vec![Finding::new(
            Weight::Wrong,
            NOT_REPORTED,
            "It runs, and the node's daemon has said nothing of it.",
            "See the daemon's log on that node; it looks through all groups again when it is started anew.",
        )];
    }
    if told.iter().any(|cause| cause == ENDED) {
        return Vec::new();
    }
    vec![waiting(live)]
}

fn waiting(live: Option<&ContainerStatus>) -> Finding {
    let began = live
        .and_then(|live| live.last_state.as_ref())
        .is_some_and(|last| last.terminated.is_some());
    let what = if began {
        "It has ended, and not been started again."
    } else {
        "It has not been started."
    };
    let what = match kubelets_words(live) {
        Some(words) => format!("{what} The kubelet says: {words}"),
        None => what.to_owned(),
    };
    Finding::new(Weight::Waiting, reason::WAITING_FOR_CONTAINER, what, "")
}

/// Why the kubelet has not started it.
fn kubelets_words(live: Option<&ContainerStatus>) -> Option<String> {
    let waiting = live?.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let words = match waiting.message.as_deref() {
        Some(message) => format!("{reason}: {message}"),
        None => reason.to_owned(),
    };
    (!words.is_empty()).then_some(words)
}

/// Of a container that isn't there the pod itself says more than the daemon, which keeps one word of the kubelet's.
fn pending(
    pod: &Pod,
    request: &Request,
    entry: &ContainerBudget,
    live: Option<&ContainerStatus>,
) -> Finding {
    let absent = entry
        .reason
        .as_deref()
        .is_none_or(|cause| cause == reason::WAITING_FOR_CONTAINER);
    if absent {
        let state = live.and_then(|live| live.state.as_ref());
        if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
            let weight = if comes_back(pod, request.kind, ended.exit_code) {
                Weight::Waiting
            } else {
                Weight::Note
            };
            let what = format!("It has ended with exit code {}.", ended.exit_code);
            return Finding::new(weight, ENDED, what, "");
        }
        if kubelets_words(live).is_some() {
            return waiting(live);
        }
    }
    match &entry.message {
        Some(message) => Finding::new(
            Weight::Waiting,
            entry
                .reason
                .as_deref()
                .unwrap_or(reason::WAITING_FOR_CONTAINER),
            message,
            "",
        ),
        None => waiting(live),
    }
}

/// Whether the kubelet starts it again.
fn comes_back(pod: &Pod, kind: ContainerKind, exit_code: i32) -> bool {
    let policy = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    match kind {
        ContainerKind::Ephemeral => false,
        ContainerKind::Sidecar => true,
        ContainerKind::Init => exit_code != 0 && policy != Some("Never"),
        ContainerKind::Regular => match policy {
            Some("Never") => false,
            Some("OnFailure") => exit_code != 0,
            _ => true,
        },
    }
}

fn refused(status: &NodePodBudgetStatus, entry: &ContainerBudget, told: &[String]) -> Vec<Finding> {
    let cause = entry.reason.as_deref().unwrap_or("Refused");
    if told.iter().any(|told| told == cause) {
        return Vec::new();
    }
    let mut what = entry
        .message
        .clone()
        .unwrap_or_else(|| "The node's daemon refused it.".to_owned());
    if cause == reason::NO_ROOM
        && let Some(capacity) = status.capacity_microseconds
    {
        let allocated = status.allocated_microseconds.unwrap_or_default();
        let free = capacity.saturating_sub(allocated).max(0);
        let asked = entry
            .requested_microseconds
            .map(|asked| format!("it asks for {asked}, "))
            .unwrap_or_default();
        what = format!(
            "{what} ({asked}{free} of the node's {capacity} microseconds are free, {allocated} are given out)"
        );
    }
    // Its group is not there: it has not begun, or is gone.
    let weight = if cause == reason::WAITING_FOR_CONTAINER {
        Weight::Waiting
    } else {
        Weight::Wrong
    };
    vec![Finding::new(
        weight,
        cause,
        what,
        remedy(cause, status.mode),
    )]
}

/// Where the message itself may have none.
fn remedy(cause: &str, mode: Option<BudgetMode>) -> &'static str {
    match cause {
        reason::NO_ROOM => {
            "Request the resource realtime.openshift.io/runtime-us in this pod and in the others that have budgets: the scheduler \
             counts what is requested, and nothing else. Or ask for less."
        }
        reason::GROUP_UNSUITABLE => {
            "Below which group a container is, the kubelet's and the runtime's cgroup driver decide: they must be the same. \
             Budgets need the kernel's own period of one second."
        }
        reason::BUDGET_REFUSED => {
            "It is tried again. See on the node who holds the rest: realtime-node-daemon top"
        }
        reason::POLICY_REFUSED if mode == Some(BudgetMode::V1Budget) => {
            "It is tried again: with EPERM, its group had no budget at that moment. If it stays so, see whether the daemon has \
             CAP_SYS_NICE."
        }
        reason::POLICY_REFUSED => {
            "It is tried again. If it stays so, see whether the daemon has CAP_SYS_NICE."
        }
        reason::INVALID_REQUEST => "Correct the pod's annotations.",
        _ => "",
    }
}

fn applied(
    seen: &Seen<'_>,
    status: &NodePodBudgetStatus,
    request: &Request,
    entry: &ContainerBudget,
    live: Option<&ContainerStatus>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    if entry.assigned_before_start == Some(false) {
        found.push(after_start(status.mode, live));
    }
    let spec = seen.pod.spec.as_ref();
    if let Some(spec) = spec {
        let may = process::may(spec, &request.container);
        let policy = request.scheduling.map(|scheduling| scheduling.policy);
        found.extend(permission(status.mode, policy, may));
        if let Some(profile) = process::own_seccomp_profile(spec, &request.container) {
            found.push(Finding::new(
                Weight::Note,
                SECCOMP,
                format!("Its seccomp profile is the administrator's own, {profile}: it may refuse the calls with EPERM."),
                "Let it allow sched_setscheduler, sched_setparam and sched_setattr; the runtimes' own profile \
                 (RuntimeDefault) does.",
            ));
        }
        let realtime = !matches!(policy, Some(Policy::Other));
        if realtime
            && process::has_exec_probe(spec, &request.container)
            && entry.reason.as_deref() != Some(reason::EXEC_PROBE)
        {
            found.push(Finding::new(
                Weight::Note,
                reason::EXEC_PROBE,
                "An exec probe, or a command of its lifecycle, runs a program beside its real-time threads as SCHED_OTHER, which \
                 may never get the CPU.",
                "Use httpGet, tcpSocket or grpc, or a longer timeoutSeconds.",
            ));
        }
    }
    if let Some(cause) = &entry.reason {
        let what = entry
            .message
            .clone()
            .unwrap_or_else(|| "The node says so.".to_owned());
        found.push(Finding::new(Weight::Note, cause, what, ""));
    }
    if let (Some(BudgetMode::V1Budget), Some(applied)) = (status.mode, entry.applied_microseconds)
        && entry.reason.as_deref() != Some(reason::THROTTLED)
    {
        found.push(Finding::new(
            Weight::Note,
            THROTTLING,
            format!(
                "When its real-time threads have used up their {applied} microseconds of a second, the kernel stops them \
                 until the next one begins: no error, and nothing of it in cpu.stat (cgroup v1)."
            ),
            "On the node: realtime-node-daemon top shows the share of the budget that each container uses.",
        ));
    }
    found
}

fn after_start(mode: Option<BudgetMode>, live: Option<&ContainerStatus>) -> Finding {
    let remedy = "See in the daemon's log on that node whether the OCI hook or NRI reaches it. With the annotation \
                  realtime.openshift.io/required: \"true\" it doesn't start without (on CRI-O only where the hook is).";
    if mode == Some(BudgetMode::V2Policy) {
        return Finding::new(
            Weight::Note,
            AFTER_START,
            "What it asks for came after its program had begun: until then its threads had the policy that they began with. \
             A call of its own at start-up was not refused for that: on this node it needs no budget.",
            remedy,
        );
    }
    // It runs, and has not ended for it yet: it tries again, or has no need to.
    let steady = is_running(live) && live.is_some_and(|live| live.restart_count == 0);
    Finding::new(
        if steady { Weight::Note } else { Weight::Wrong },
        AFTER_START,
        "What it asks for came after its program had begun: a call of sched_setscheduler at start-up got EPERM, a later one \
         doesn't.",
        remedy,
    )
}

/// Whether the process itself may ask the kernel. The policy that the daemon sets needs nothing of the process.
fn permission(mode: Option<BudgetMode>, policy: Option<Policy>, may: May) -> Option<Finding> {
    let (why, remedy) = match may {
        May::Yes => return None,
        May::NoCapability => (
            "it lacks CAP_SYS_NICE, and RLIMIT_RTPRIO is 0 in a container",
            "add SYS_NICE to securityContext.capabilities.add and run as root",
        ),
        May::UserNamespace => (
            "it has CAP_SYS_NICE only in a user namespace of its own (hostUsers: false), where the kernel doesn't count it",
            "leave out hostUsers: false",
        ),
        May::NotRoot {
            no_new_privileges: false,
        } => (
            "it does not run as root, and the SYS_NICE that the pod adds is lost when another user's program is started",
            "give the program's file the capability in the image (setcap cap_sys_nice+ep), or run as root",
        ),
        May::NotRoot {
            no_new_privileges: true,
        } => (
            "it does not run as root, and allowPrivilegeEscalation: false keeps a program from getting SYS_NICE by its file",
            "leave out allowPrivilegeEscalation: false and give the program's file the capability (setcap \
             cap_sys_nice+ep), or run as root",
        ),
    };
    let set_from_outside =
        "let the daemon set the policy: annotation realtime.openshift.io/scheduler: \"fifo:50\"";
    Some(match policy {
        Some(policy @ (Policy::Fifo(priority) | Policy::RoundRobin(priority))) => Finding::new(
            Weight::Note,
            NOT_PERMITTED,
            format!(
                "The daemon sets {policy} on its threads. A call of its own gets EPERM for a priority above {priority}, and \
                 for every one where the daemon could not raise RLIMIT_RTPRIO, which its log then says: {why}."
            ),
            format!("Where the program must call itself: {remedy}."),
        ),
        Some(Policy::Other) | None => Finding::new(
            Weight::Wrong,
            NOT_PERMITTED,
            match mode {
                Some(BudgetMode::V1Budget) => format!(
                    "It has its budget, which alone is not enough: sched_setscheduler gives its process EPERM because {why}."
                ),
                _ => format!("sched_setscheduler gives its process EPERM because {why}."),
            },
            format!("Either {set_from_outside}; or {remedy}."),
        ),
    })
}
