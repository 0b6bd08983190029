//! Reading the contract. Applies nothing.

use std::collections::BTreeSet;

use super::super::micros::{PERIOD_US, RuntimeMicros, strict_decimal};
use super::{
    Container, ContainerKind, NAMESPACE_REFUSED, Pod, Policy, REALTIME, REQUIRED, RESET_ON_FORK,
    RT_RUNTIME_US, RTTIME, RUNTIME_US, Refused, Request, Rules, SCHEDULER, Said, Scheduling,
};
use crate::problem::Problem;
use crate::quantity::Quantity;

/// As many reasons are told: a pod may bear thousands of wrong annotations.
const MAX_PROBLEMS: usize = 32;
/// As many characters of a key are told. A valid one has at most 253 + 1 + 63.
const MAX_KEY: usize = 128;

/// The requests of a pod's containers in the pod's order; none when it doesn't ask.
pub fn read(pod: &Pod, rules: &Rules) -> Result<Vec<Request>, Refused> {
    let mut problems = Vec::new();
    let switch = pod.annotations.get(REALTIME).map(String::as_str);
    let resources = pod
        .containers
        .iter()
        .any(|container| container.resource.is_some());
    let asks =
        switch == Some("true") || resources || pod.annotations.keys().any(|key| is_ours(key));
    // "false" switches everything else off, as in rt-operator.
    if switch == Some("false") || (switch.is_none() && !asks) {
        return Ok(Vec::new());
    }
    if let Some(word) = switch.filter(|word| *word != "true") {
        problems.push(wrong(
            REALTIME,
            word,
            "is neither true nor false",
            "write \"true\" or \"false\"",
        ));
    }
    if !rules.namespace_allowed {
        problems.push(wrong(
            REALTIME,
            "",
            NAMESPACE_REFUSED,
            "label the namespace as the RealtimeProfile's podBudget.namespaceSelector says",
        ));
    }
    check_keys(pod, switch, &mut problems);
    let mut requests = Vec::new();
    for (index, container) in pod.containers.iter().enumerate() {
        let runtime = budget(pod, index, rules, &mut problems);
        let scheduling = value(pod, container, SCHEDULER).and_then(|(key, text)| {
            kept(
                scheduling(text),
                &key,
                text,
                "write fifo:50, rr:10 or other; after a comma reset-on-fork and rttime-us=200000",
                &mut problems,
            )
        });
        check_resource(container, runtime, resources, &mut problems);
        if runtime.is_some() || scheduling.is_some() {
            requests.push(Request {
                container: container.name.clone(),
                kind: container.kind,
                runtime,
                scheduling,
            });
        }
    }
    if requests.is_empty() && problems.is_empty() {
        problems.push(wrong(
            REALTIME,
            "true",
            "neither a budget nor a policy is asked for",
            "add the annotation realtime.openshift.io/runtime-us",
        ));
    }
    if problems.is_empty() {
        return Ok(requests);
    }
    // The same pod-wide value is read once for each container.
    problems.sort();
    problems.dedup();
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    problems.truncate(MAX_PROBLEMS);
    Err(Refused { problems, more })
}

/// One of the contract's keys, whatever container it names. `realtime` itself is none: it is the switch; neither is the
/// word that starting without is no good.
pub(super) fn is_ours(key: &str) -> bool {
    key == RT_RUNTIME_US
        || [RUNTIME_US, SCHEDULER].iter().any(|prefix| {
            key.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
}

/// Keys that name no container, and rt-operator's budget without its switch.
fn check_keys(pod: &Pod, switch: Option<&str>, problems: &mut Vec<Problem>) {
    if let Some(word) = pod.annotations.get(REQUIRED)
        && word != "true"
        && word != "false"
    {
        problems.push(wrong(
            REQUIRED,
            word,
            "is neither true nor false",
            "write \"true\" or \"false\"",
        ));
    }
    let names: BTreeSet<&str> = pod
        .containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    for (key, text) in &pod.annotations {
        let container = [RUNTIME_US, SCHEDULER]
            .iter()
            .find_map(|prefix| key.strip_prefix(prefix)?.strip_prefix('.'));
        if container.is_some_and(|name| !names.contains(name)) {
            problems.push(wrong(
                key,
                text,
                "the pod has no container of that name",
                "correct the name after the last dot",
            ));
        }
        if key == RT_RUNTIME_US && switch.is_none() {
            problems.push(wrong(
                key,
                text,
                "has no effect without the annotation realtime",
                "add realtime: \"true\"",
            ));
        }
    }
}

/// The container's own value, else the pod's. An ephemeral container has only its own.
fn value<'a>(pod: &'a Pod, container: &Container, prefix: &str) -> Option<(String, &'a str)> {
    let own = format!("{prefix}.{}", container.name);
    if let Some(text) = pod.annotations.get(&own) {
        return Some((own, text));
    }
    let text = pod
        .annotations
        .get(prefix)
        .filter(|_| container.kind != ContainerKind::Ephemeral)?;
    Some((prefix.to_owned(), text))
}

/// Precedence: 1. the container's own key; 2. rt-operator's, for the first regular container; 3. the pod's. And
/// rt-operator's, where the container's own is another.
fn budget_text(pod: &Pod, index: usize) -> Option<(String, &str, Option<&str>)> {
    let container = &pod.containers[index];
    let first = pod
        .containers
        .iter()
        .position(|container| container.kind == ContainerKind::Regular);
    let old = pod
        .annotations
        .get(RT_RUNTIME_US)
        .map(String::as_str)
        .filter(|_| first == Some(index));
    match (old, value(pod, container, RUNTIME_US)) {
        (Some(old), Some((key, text))) if key != RUNTIME_US => {
            Some((key, text, Some(old).filter(|old| *old != text)))
        }
        (Some(old), _) => Some((RT_RUNTIME_US.to_owned(), old, None)),
        (None, new) => new.map(|(key, text)| (key, text, None)),
    }
}

/// What the container at that place asks for, whether or not it may; `None` when nothing is said of it.
pub fn said_of(pod: &Pod, index: usize) -> Option<Said> {
    let container = pod.containers.get(index)?;
    let budget = budget_text(pod, index).map(|(_, text, _)| RuntimeMicros::parse(text).ok());
    let policy = value(pod, container, SCHEDULER).map(|(_, text)| scheduling(text).ok());
    (budget.is_some() || policy.is_some() || container.resource.is_some()).then(|| Said {
        runtime: budget.flatten(),
        scheduling: policy.flatten(),
    })
}

fn budget(
    pod: &Pod,
    index: usize,
    rules: &Rules,
    problems: &mut Vec<Problem>,
) -> Option<RuntimeMicros> {
    let (key, text, contradicts) = budget_text(pod, index)?;
    if contradicts.is_some() {
        problems.push(wrong(
            &key,
            text,
            &format!("contradicts {RT_RUNTIME_US}, which is for the same container"),
            "keep one of the two",
        ));
    }
    let range = format!(
        "write a number from {} to {}",
        rules.smallest, rules.largest
    );
    let read = RuntimeMicros::parse(text).map_err(|error| error.to_string());
    let budget = kept(
        read.and_then(|budget| bounded(budget, rules)),
        &key,
        text,
        &range,
        problems,
    )?;
    if rules.isolated_domains && u64::from(budget.get()) != PERIOD_US {
        problems.push(wrong(&key, text, "the node has CPUs outside every scheduling domain, where a throttled container may never run again",
            "isolate CPUs without isolcpus=domain, or use another node"));
    }
    Some(budget)
}

fn bounded(budget: RuntimeMicros, rules: &Rules) -> Result<RuntimeMicros, String> {
    if budget < rules.smallest {
        Err(format!(
            "is below {} microseconds, with which a thread can hang on this node",
            rules.smallest
        ))
    } else if budget > rules.largest {
        Err(format!(
            "is above the {} microseconds that the RealtimeProfile allows a container",
            rules.largest
        ))
    } else {
        Ok(budget)
    }
}

/// `<policy>[,reset-on-fork][,rttime-us=<microseconds>]`, in this order.
fn scheduling(text: &str) -> Result<Scheduling, String> {
    let (first, mut rest) = match text.split_once(',') {
        Some((first, rest)) => (first, Some(rest)),
        None => (text, None),
    };
    let policy = policy(first)?;
    let mut reset_on_fork = false;
    if let Some(options) = rest
        && let Some(after) = options.strip_prefix(RESET_ON_FORK)
    {
        reset_on_fork = true;
        rest = match after.strip_prefix(',') {
            Some(more) => Some(more),
            None if after.is_empty() => None,
            None => Some(options),
        };
    }
    let rttime_us = match rest {
        None => None,
        Some(option) => {
            let micros = option
                .strip_prefix(RTTIME)
                .and_then(|rest| rest.strip_prefix('='))
                .ok_or("is followed by something else than reset-on-fork and rttime-us=")?;
            Some(rttime(micros)?)
        }
    };
    if policy == Policy::Other && (reset_on_fork || rttime_us.is_some()) {
        return Err("has options that mean nothing without a real-time policy".to_owned());
    }
    Ok(Scheduling {
        policy,
        reset_on_fork,
        rttime_us,
    })
}

/// Below a millisecond the kernel's tick is too coarse to tell; a minute is more than anybody wants to wait for a
/// thread that never blocks.
fn rttime(text: &str) -> Result<u32, String> {
    let digits = (1..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|micros| digits && !text.starts_with('0') && (1_000..=60_000_000).contains(micros))
        .ok_or_else(|| {
            "has an rttime-us that is not a plain number from 1000 to 60000000".to_owned()
        })
}

fn policy(text: &str) -> Result<Policy, String> {
    let priority = |text: &str| {
        let number = strict_decimal(text)
            .ok()
            .and_then(|number| u8::try_from(number).ok());
        number
            .filter(|number| (1..=99).contains(number))
            .ok_or("has a priority that is not a plain number from 1 to 99")
    };
    match text.split_once(':') {
        None if text == "other" => Ok(Policy::Other),
        Some(("fifo", text)) => Ok(Policy::Fifo(priority(text)?)),
        Some(("rr", text)) => Ok(Policy::RoundRobin(priority(text)?)),
        _ => Err("is none of fifo:<priority>, rr:<priority> and other".to_owned()),
    }
}

/// What the scheduler counts must be what is given out. A pod without any such resource is not counted by it (as with
/// rt-operator); then the node alone decides.
fn check_resource(
    container: &Container,
    runtime: Option<RuntimeMicros>,
    resources: bool,
    problems: &mut Vec<Problem>,
) {
    let key = format!("{RUNTIME_US} of container {}", container.name);
    match (&container.resource, runtime) {
        (Some(text), runtime) => {
            let read = text.parse::<Quantity>().ok();
            let exact = read
                .filter(|quantity| quantity.milli_value() == quantity.value().saturating_mul(1000));
            let counted = exact.map(Quantity::value);
            let given = runtime.map_or(0, |runtime| i64::from(runtime.get()));
            if counted != Some(given) {
                problems.push(resource(
                    &key,
                    text,
                    &format!("differs from the budget, which is {given}"),
                    &format!("request {given}"),
                ));
            }
        }
        (None, Some(runtime)) if resources && container.kind != ContainerKind::Ephemeral => {
            problems.push(resource(
                &key,
                "",
                "another container requests the resource, this one has a budget and doesn't",
                &format!("request {runtime}"),
            ));
        }
        (None, _) => {}
    }
}

fn kept<T>(
    read: Result<T, String>,
    key: &str,
    text: &str,
    remedy: &str,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    read.map_err(|message| problems.push(wrong(key, text, &message, remedy)))
        .ok()
}

fn wrong(key: &str, text: &str, message: &str, remedy: &str) -> Problem {
    Problem::error(
        format!("metadata.annotations[{}]", short(key)),
        text,
        message,
        remedy,
    )
}

fn resource(key: &str, text: &str, message: &str, remedy: &str) -> Problem {
    Problem::error(short(key), text, message, remedy)
}

fn short(key: &str) -> String {
    key.chars().take(MAX_KEY).collect()
}
