//! Policies on containers' threads, again and again while there are containers that ask for them, and whether they use more
//! than their budget where the kernel doesn't keep them to it, or all of it where it does.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use realtime_core::api::realtime_node::BudgetMode;
use realtime_core::rt::group::ContainerId;
use realtime_core::rt::micros::RuntimeMicros;
use realtime_core::rt::outcome::Besides;
use realtime_core::rt::plan::{Plan, Tree};
use realtime_core::rt::policy::{Overrun, RtUsage, overrun, throttled};
use realtime_core::rt::request::Scheduling;
use realtime_core::rt::settle::Settled;

use crate::budget::ground::{Ground, Hierarchy};
use crate::budget::policy::{GROUPS_BELOW, Limit, Members, Setter, sample};
use crate::budget::state::State;
use crate::host::Host;

/// While a container begins, its program makes its threads.
const BEGINNING: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];
/// Later: threads that were made by programs that were started in the container, as by `kubectl exec`.
const LATER: Duration = Duration::from_secs(10);
/// A container with more threads than one look takes in. It may make them without end, and must not keep the daemon busy.
const MORE: Duration = Duration::from_millis(200);
/// Between two samples of use, at the least.
const SAMPLE: Duration = Duration::from_secs(10);
/// So much later a round comes for it: one round serves all that are due by then.
const TOGETHER: Duration = Duration::from_secs(3);
/// A container that uses all of its budget, or more, now and then is told as one that does: else the node's status changed each
/// time.
const LATELY: Duration = Duration::from_mins(5);

/// What is remembered of containers that ask for a policy, or whose use is watched.
#[derive(Debug, Default)]
pub struct Policies {
    setter: Setter,
    /// How often each has been looked at, and when it is to be looked at again.
    looks: BTreeMap<ContainerId, Look>,
    samples: BTreeMap<ContainerId, Sample>,
    /// When each was found last to use all of that budget.
    stopped: BTreeMap<ContainerId, Lately>,
    /// When each was found last to use more than that budget, and what was said of it first.
    overran: BTreeMap<ContainerId, (Lately, String)>,
    again: Option<Duration>,
    /// That RLIMIT_RTPRIO can't be raised has been logged: it is so for every container, and was asked for by none.
    rtprio_told: bool,
}

/// What a whole round has found.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The groups.
    pub tree: &'a Tree,
    /// Who asks for what.
    pub settled: &'a Settled,
    /// Who gets it.
    pub plan: &'a Plan,
}

/// The looks at one container.
#[derive(Debug)]
struct Look {
    /// For what: another wish is looked at at once.
    scheduling: Scheduling,
    count: usize,
    next: Instant,
}

/// When something was found of a container, and with which budget: with another one it tells nothing.
#[derive(Clone, Copy, Debug)]
struct Lately {
    when: Instant,
    budget: RuntimeMicros,
}

impl Lately {
    fn now(budget: RuntimeMicros) -> Self {
        Self {
            when: Instant::now(),
            budget,
        }
    }

    fn is(&self, budget: RuntimeMicros) -> bool {
        self.budget == budget && self.when.elapsed() < LATELY
    }
}

/// What a container had used at one moment.
#[derive(Debug)]
struct Sample {
    when: Instant,
    /// With another one, what was used since tells nothing.
    budget: RuntimeMicros,
    usage: RtUsage,
}

impl Policies {
    /// When to look again; `None`: nobody asks.
    pub fn again(&self) -> Option<Duration> {
        self.again
    }

    /// One container's threads.
    pub fn set(
        &mut self,
        host: &Host,
        ground: &Ground,
        id: &ContainerId,
        group: &str,
        scheduling: &Scheduling,
        besides: &mut Besides,
    ) {
        let Some(members) = members(ground) else {
            return;
        };
        let outcome = self.setter.set(host, members, group, scheduling);
        besides.policy_failed = outcome.failed.as_ref().map(|failed| {
            let budget = if ground.has_budgets() {
                "the container has a budget, and "
            } else {
                ""
            };
            format!("{failed}; see whether {budget}the daemon has CAP_SYS_NICE")
        });
        besides.groups_left_out = outcome.groups_left_out.then_some(GROUPS_BELOW);
        besides.rttime_refused = match outcome.limits.rttime {
            Limit::Refused(errno) => Some(std::io::Error::from_raw_os_error(errno).to_string()),
            Limit::NotSet | Limit::Set => None,
        };
        if let Limit::Refused(errno) = outcome.limits.rtprio
            && !self.rtprio_told
        {
            self.rtprio_told = true;
            tracing::warn!(
                "RLIMIT_RTPRIO can't be raised in containers: {}. The policies that pods ask for are set; programs without \
                 CAP_SYS_NICE that set one themselves get EPERM. The daemon needs CAP_SYS_RESOURCE for it",
                std::io::Error::from_raw_os_error(errno)
            );
        }
        let before = self
            .looks
            .get(id)
            .filter(|look| look.scheduling == *scheduling);
        let count = before.map_or(0, |look| look.count);
        let pause = BEGINNING.get(count).copied().unwrap_or(LATER);
        // What failed comes at its ordinary time: most often it fails again.
        let more = !outcome.complete && outcome.failed.is_none();
        let look = Look {
            scheduling: *scheduling,
            count: count.saturating_add(1),
            next: Instant::now() + if more { pause.min(MORE) } else { pause },
        };
        self.looks.insert(id.clone(), look);
    }

    /// Other settings: each container is looked at at once. Which threads have been set is still known.
    pub fn look_anew(&mut self) {
        self.looks.clear();
        self.samples.clear();
        self.again = None;
    }

    /// Something begins in it: it is looked at in the next round, as if it were new.
    pub fn begins(&mut self, id: &ContainerId) {
        self.looks.remove(id);
    }

    /// How long until it is to be looked at for that; zero: now.
    fn time_until(&self, id: &ContainerId, scheduling: &Scheduling) -> Duration {
        self.looks
            .get(id)
            .filter(|look| look.scheduling == *scheduling)
            .map_or(Duration::ZERO, |look| {
                look.next.saturating_duration_since(Instant::now())
            })
    }

    /// All containers that ask for one, and the use of those that the kernel doesn't keep to their budget.
    pub fn all(&mut self, host: &Host, ground: &Ground, state: &mut State, seen: &Seen<'_>) {
        let Seen {
            tree,
            settled,
            plan,
        } = *seen;
        self.again = None;
        // Also of those that may not ask at the moment.
        self.setter.keep(|group| tree.groups.contains_key(group));
        self.looks.retain(|id, _| state.besides.contains_key(id));
        self.samples.retain(|id, _| state.besides.contains_key(id));
        self.stopped.retain(|id, _| state.besides.contains_key(id));
        self.overran.retain(|id, _| state.besides.contains_key(id));
        for assignment in &settled.assignments {
            let Some((id, group)) = &assignment.at else {
                continue;
            };
            if assignment.request.runtime.is_some() && !plan.granted.contains_key(group) {
                continue;
            }
            let mut besides = state.besides.get(id).cloned().unwrap_or_default();
            if assignment.request.scheduling.is_none() {
                (besides.policy_failed, besides.rttime_refused) = (None, None);
                besides.groups_left_out = None;
            }
            if let Some(scheduling) = &assignment.request.scheduling {
                // Rounds come for other containers' sake, too, and there may be hundreds.
                if self.time_until(id, scheduling).is_zero() {
                    self.set(host, ground, id, group, scheduling, &mut besides);
                }
                self.sooner(self.time_until(id, scheduling));
            }
            if let Some(asked) = assignment.request.runtime {
                // What was kept for threads that run counts: the kernel stops them by that.
                let has = plan.granted.get(group).copied();
                let has = has.and_then(|has| RuntimeMicros::new(u64::try_from(has).ok()?).ok());
                self.watch(
                    host,
                    ground,
                    (id, group),
                    has.unwrap_or(asked),
                    &mut besides,
                );
            } else {
                (besides.overrun, besides.throttled) = (None, false);
            }
            state.besides.insert(id.clone(), besides);
        }
    }

    /// How much of its budget a container uses, when it's time to look.
    fn watch(
        &mut self,
        host: &Host,
        ground: &Ground,
        (id, group): (&ContainerId, &str),
        budget: RuntimeMicros,
        besides: &mut Besides,
    ) {
        let enforced = match ground.mode.mode {
            BudgetMode::V1Budget => true,
            BudgetMode::V2Policy => false,
            BudgetMode::Blocked | BudgetMode::Off => return,
        };
        let Some(members) = members(ground) else {
            return;
        };
        if self.time_to_sample(id).is_zero()
            && let Ok(now) = sample(host, members, group)
        {
            let before = self.samples.get(id);
            let before = before.filter(|before| before.budget == budget);
            let before = before.map(|before| &before.usage);
            if let Some(over) = before.and_then(|before| overrun(before, &now, budget))
                && !enforced
            {
                let said = self
                    .overran
                    .remove(id)
                    .filter(|(lately, _)| lately.is(budget));
                let words = said.map_or_else(|| words_of(&over, budget), |(_, words)| words);
                self.overran
                    .insert(id.clone(), (Lately::now(budget), words));
            }
            if enforced && before.is_some_and(|before| throttled(before, &now, budget)) {
                self.stopped.insert(id.clone(), Lately::now(budget));
            }
            let over = self.overran.get(id).filter(|(lately, _)| lately.is(budget));
            besides.overrun = over.filter(|_| !enforced).map(|(_, words)| words.clone());
            let stopped = self.stopped.get(id).filter(|_| enforced);
            besides.throttled = stopped.is_some_and(|lately| lately.is(budget));
            let sample = Sample {
                when: Instant::now(),
                budget,
                usage: now,
            };
            self.samples.insert(id.clone(), sample);
        }
        // Rounds for other containers' sake come in between, and must not put it off. What can't be sampled is tried at its
        // ordinary time.
        let left = Some(self.time_to_sample(id)).filter(|left| !left.is_zero());
        self.sooner(left.unwrap_or(SAMPLE) + TOGETHER);
    }

    /// How long until its use is to be sampled; zero: now.
    fn time_to_sample(&self, id: &ContainerId) -> Duration {
        self.samples.get(id).map_or(Duration::ZERO, |sample| {
            SAMPLE.saturating_sub(sample.when.elapsed())
        })
    }

    fn sooner(&mut self, time: Duration) {
        self.again = Some(self.again.map_or(time, |again| again.min(time)));
    }
}

fn words_of(over: &Overrun, budget: RuntimeMicros) -> String {
    format!(
        "its real-time threads used some {} % of CPU {}, more than the {budget} µs of each second that it asked for; the \
         kernel doesn't hold it back on this node: ask for more, or let the program use less",
        tens(over.used.used_ns, over.used.elapsed_ns),
        over.used.cpu,
    )
}

/// In hundredths, to the next ten: a status isn't written anew for each of them.
fn tens(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100)
        .checked_div(whole)
        .map_or(0, |hundredths| hundredths.div_ceil(10) * 10)
}

fn members(ground: &Ground) -> Option<&dyn Members> {
    match ground.hierarchy.as_ref()? {
        Hierarchy::V1(v1) => Some(v1),
        Hierarchy::V2(v2) => Some(v2),
    }
}
