//! The one function that every way in ends in, and the one writer: read the tree, settle, plan, write, look at what came
//! of it, tell. For one container that is about to start only the part of the tree around it is read; whatever that can't
//! settle, a whole round does.

mod counting;
mod policies;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use realtime_core::api::realtime_node::{BudgetMode, ContainerBudgetState, NodePodBudgetStatus};
use realtime_core::rt::group::{self, ContainerId, Kind};
use realtime_core::rt::outcome::{self, Done, PodNews};
use realtime_core::rt::plan::{self, Finding, Plan, Tree};
use realtime_core::rt::request::Request;
use realtime_core::rt::settle::{Known, Settled, settle};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Told;
use super::cache::Cache;
use super::door::Answer;
use super::ground::{Ground, Hierarchy};
use super::settings::Settings;
use super::state::State;
use crate::cgroup::{CgroupError, Scope, writer};
use crate::host::Host;
pub use policies::Policies;

/// Between two tries of a plan that the kernel refused.
const AGAIN: Duration = Duration::from_millis(15);
/// Removed groups keep their part of the budget for some 10 to 35 ms, and as long as an unreaped zombie is in them:
/// longer than this it is something else.
const DYING: Duration = Duration::from_secs(2);
/// After a start that was served: the whole tree is looked at, and told.
const TELL: Duration = Duration::from_millis(60);
/// Until what the kernel has refused for longer is tried again.
const REFUSED: Duration = Duration::from_secs(5);
/// Until a budget that real-time threads keep is looked at again: the kernel doesn't tell of a thread's end.
const KEPT: Duration = Duration::from_secs(5);
/// A host whose tree can't be read.
const UNREADABLE: Duration = Duration::from_secs(10);

/// OCI runtimes, by the beginning of their processes' names.
const RUNTIMES: [&str; 3] = ["runc", "crun", "youki"];

/// As many groups that appear are served by themselves between two whole rounds.
const ALONE: u32 = 32;
/// After a whole round there is rest for so many times as long as it took.
const REST: u32 = 3;
/// Foreign writes are put right, but nobody is fought at full speed.
pub const FOREIGN: Duration = Duration::from_millis(300);

/// What rounds of the same settings share.
pub struct Round<'a> {
    pub host: &'a Host,
    pub settings: &'a Settings,
    pub ground: &'a Ground,
    pub told: &'a watch::Sender<Told>,
    pub news: &'a mpsc::Sender<PodNews>,
    pub policies: Policies,
    /// When the next whole round is due.
    pub due: Option<Instant>,
    /// No whole round is made for news before.
    pub not_before: Instant,
    /// How many groups were served by themselves since the last whole round.
    pub alone: u32,
    /// The kubelet's group is gone: it is to be looked for again.
    pub is_lost: bool,
}

/// What came of trying to serve one start.
enum Served {
    Answer(Answer),
    /// A whole round may do better.
    NotYet,
}

impl Round<'_> {
    /// A whole round no later than that.
    pub fn within(&mut self, time: Duration) {
        // What takes long isn't done all the time.
        let at = (Instant::now() + time).max(self.not_before);
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Whether one is due by then.
    pub fn is_due_within(&self, time: Duration) -> bool {
        self.due.is_some_and(|due| due <= Instant::now() + time)
    }

    /// A container whose start waits: served at once where its pod is known.
    pub fn start(&mut self, cache: &Cache, state: &mut State, id: &ContainerId) {
        let Some(waiting) = state.waiting.iter().find(|waiting| waiting.id == *id) else {
            return;
        };
        let uid = match state.known.get(id) {
            Some(Known::Container(identity)) => identity.uid.as_ref(),
            _ => None,
        };
        if cache.is_silent(&waiting.pod, uid) {
            // It asked once: nobody shall wait for that.
            state.answer(Instant::now(), |waiting| {
                (waiting.id == *id).then_some(Answer::NotAsked)
            });
            return;
        }
        if !cache.asking.contains_key(&waiting.pod) || !cache.namespaces_known {
            return;
        }
        let group = waiting.pid.and_then(|pid| self.ground.group_of(pid));
        // CRI-O names no process to its plugins, and a process of another namespace isn't the container's.
        let group = group.filter(|group| is_containers(group, id)).or_else(|| {
            let pod = cache.asking.get(&waiting.pod)?;
            self.ground.group_of_container(pod, id)
        });
        let served = match group {
            Some(group) if self.ground.is_firm() => {
                let served = self.around(cache, state, id, &group);
                // By the runtime's own word: it waits for us.
                if let Served::Answer(Answer::Applied) = &served
                    && let Some(besides) = state.besides.get_mut(id)
                {
                    besides.before_start = Some(true);
                }
                served
            }
            _ => Served::NotYet,
        };
        match served {
            Served::Answer(answer) => {
                let mut answer = Some(answer);
                state.answer(Instant::now(), |waiting| {
                    (waiting.id == *id).then(|| answer.take()).flatten()
                });
                self.within(TELL);
            }
            // One for all that begin at this moment.
            Served::NotYet => self.within(Duration::ZERO),
        }
    }

    /// A group has appeared, and its container is known by its bundle or not at all.
    pub fn appeared(&mut self, cache: &Cache, state: &mut State, id: &ContainerId, group: &str) {
        let ours = matches!(state.known.get(id), Some(Known::Container(_)));
        // Many at once are cheaper together.
        if ours && cache.namespaces_known && self.alone < ALONE {
            self.alone += 1;
            self.around(cache, state, id, group);
        }
        self.within(TELL);
    }

    /// Whether a group has another value than we gave it.
    pub fn is_foreign(&self, state: &State, group: &str) -> bool {
        let Some(Hierarchy::V1(v1)) = &self.ground.hierarchy else {
            return false;
        };
        match v1.runtime(group) {
            Ok(Some(has)) => state.expected.get(group) != Some(&has),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// One container, with what is around its group.
    fn around(
        &mut self,
        cache: &Cache,
        state: &mut State,
        id: &ContainerId,
        group: &str,
    ) -> Served {
        let rules = self.ground.rules(self.settings, cache);
        let tree = match self.ground.read(Scope::Around(group)) {
            Ok(tree) => tree,
            Err(error) => {
                tracing::debug!(%error, group, "the groups around it can't be read");
                return Served::NotYet;
            }
        };
        let Some(Known::Container(whose)) = state.known.get(id) else {
            return Served::NotYet;
        };
        let key = (whose.namespace.clone(), whose.pod.clone());
        // The other pods' annotations, however many they are, are not this start's matter.
        let pod = cache.asking.get(&key);
        let pods = pod
            .map(|pod| (key.clone(), pod.clone()))
            .into_iter()
            .collect();
        let settled = settle(&pods, &state.known, &tree, &rules, false);
        if let Some(refused) = settled.refused.get(&key) {
            return Served::Answer(Answer::Refused(refused.to_string()));
        }
        let assignment = settled
            .assignments
            .iter()
            .find(|assignment| assignment.at.as_ref().is_some_and(|(at, _)| at == id));
        let Some((assignment, group)) = assignment.and_then(|assignment| {
            let (_, group) = assignment.at.as_ref()?;
            // Where the processes are: with crun that may be below the group that was named.
            Some((assignment, group.as_str()))
        }) else {
            // Another container of a pod that asks, or one whose directory isn't its pod's.
            return Served::Answer(Answer::NotAsked);
        };
        let mut wanted = settled.wanted.clone();
        wanted.budgets.retain(|path, _| path == group);
        wanted.leaving.clear();
        if let Some(Hierarchy::V1(v1)) = &self.ground.hierarchy
            && self.ground.has_budgets()
            && !wanted.budgets.is_empty()
        {
            let limits = self.ground.last_limits(self.host, self.settings);
            let plan = plan::plan(&wanted, &tree, &limits);
            if !plan.refused.is_empty() {
                return Served::NotYet;
            }
            let applied = writer::apply(v1, &plan.writes);
            if let Some(error) = applied.failed {
                tracing::debug!(%error, group, "not yet");
                return Served::NotYet;
            }
            for write in &plan.writes {
                state.expected.insert(write.group.clone(), write.to_us);
            }
        } else if !self.ground.has_budgets() && !wanted.budgets.is_empty() {
            // What is left is counted over all containers.
            return Served::NotYet;
        }
        let before_start = self.before_start(state, id, group, &assignment.request);
        let besides = state.besides.entry(id.clone()).or_default();
        besides.before_start = besides.before_start.or(before_start);
        if let Some(scheduling) = &assignment.request.scheduling {
            self.policies
                .set(self.host, self.ground, id, group, scheduling, besides);
            if let Some(words) = &besides.policy_failed {
                return Served::Answer(Answer::Refused(words.clone()));
            }
        }
        Served::Answer(Answer::Applied)
    }

    /// All pods and all groups.
    pub fn whole(&mut self, cache: &Cache, state: &mut State) {
        let begun = Instant::now();
        self.not_before = begun;
        self.alone = 0;
        self.round(cache, state);
        let now = Instant::now();
        self.not_before = now + now.duration_since(begun) * REST;
        self.due = self.due.map(|due| due.max(self.not_before));
        tracing::trace!(cost = ?now.duration_since(begun), next = ?self.due.map(|due| due.saturating_duration_since(now)), "a whole round");
    }

    fn round(&mut self, cache: &Cache, state: &mut State) {
        self.due = None;
        let tree = match self.ground.read(Scope::Whole) {
            Ok(tree) => tree,
            Err(error) => {
                tracing::warn!(%error, "the groups can't be read");
                // Those whose time is over: else it would be looked at again and again for them.
                state.answer(Instant::now(), |_| None);
                self.within(UNREADABLE);
                return;
            }
        };
        let pods_group = self.ground.pods_group.as_deref();
        self.is_lost = self.ground.has_budgets()
            && pods_group.is_some_and(|group| !tree.groups.contains_key(group));
        self.identify(cache, state, &tree);
        let rules = self.ground.rules(self.settings, cache);
        let mut settled = settle(&cache.asking, &state.known, &tree, &rules, cache.complete());
        if !cache.namespaces_known {
            // Nobody is refused, and nothing taken back, before it is known who may ask.
            settled.refused.clear();
        }
        let limits = self.ground.limits(self.host, self.settings);
        let plan = match &self.ground.hierarchy {
            Some(Hierarchy::V1(v1)) if self.ground.has_budgets() => {
                let mut plan = plan::plan(&settled.wanted, &tree, &limits);
                let failed = writer::apply_each(v1, &plan.writes);
                self.look_after(state, &tree, &mut plan, failed);
                if plan.findings.iter().any(Finding::keeps) {
                    self.within(KEPT);
                }
                plan
            }
            _ => self.count(cache, state, &settled),
        };
        let there = containers(&tree);
        state.forget(&there);
        state.served = settled
            .assignments
            .iter()
            .filter_map(|assignment| Some(assignment.at.as_ref()?.1.clone()))
            .collect();
        self.note_starts(state, &settled, &plan);
        self.policies
            .all(self.host, self.ground, state, &settled, &plan);
        if let Some(time) = self.policies.again() {
            self.within(time);
        }
        self.tell(cache, state, &tree, &settled, &plan, &limits);
    }

    /// Containers of asking pods that nobody has told of: after a start of the daemon, or when inotify missed them.
    fn identify(&mut self, cache: &Cache, state: &mut State, tree: &Tree) {
        let asking: BTreeSet<_> = cache
            .asking
            .values()
            .filter_map(|pod| pod.directory.as_ref())
            .collect();
        let told: BTreeSet<&ContainerId> = cache
            .asking
            .values()
            .flat_map(|pod| pod.ids.keys())
            .collect();
        let mut later = false;
        for path in tree.groups.keys() {
            let Some(located) = group::locate(path).filter(|located| located.own == path.len())
            else {
                continue;
            };
            let Some((Kind::Container, id)) = located.container else {
                continue;
            };
            if !asking.contains(&located.pod) || told.contains(&id) {
                continue;
            }
            later |= state.recognise(self.host, &id);
        }
        if later {
            self.within(Duration::from_secs(1));
        }
    }

    /// What the kernel has after a plan, and when to try again what it refused. What isn't there is granted to nobody.
    fn look_after(
        &mut self,
        state: &mut State,
        tree: &Tree,
        plan: &mut Plan,
        failed: Vec<(usize, CgroupError)>,
    ) {
        let has = |(group, has): (&String, &plan::Group)| (group.clone(), has.runtime_us);
        state.expected = tree.groups.iter().map(has).collect();
        for finding in &plan.findings {
            tracing::debug!(%finding, "found");
        }
        let now = Instant::now();
        let before = std::mem::take(&mut state.failing);
        let refused = std::mem::take(&mut state.refused);
        let mut failed = failed.into_iter().peekable();
        for (at, write) in plan.writes.iter().enumerate() {
            let group = &write.group;
            let Some((_, error)) = failed.next_if(|(failed, _)| *failed == at) else {
                state.expected.insert(group.clone(), write.to_us);
                tracing::debug!(group, from = write.from_us, to = write.to_us, "written");
                continue;
            };
            let since = before.get(group).copied().unwrap_or(now);
            state.failing.insert(group.clone(), since);
            let dying = now.duration_since(since) < DYING;
            if dying {
                tracing::debug!(%error, "the kernel refused; trying again");
            } else if !refused.contains_key(group) {
                tracing::warn!(%error, "the kernel keeps refusing");
            }
            self.within(match error {
                // Taken, and another value there right after: somebody else writes, and isn't fought at full speed.
                CgroupError::Changed { .. } => FOREIGN,
                _ if dying => AGAIN,
                _ => REFUSED,
            });
            // Whose group keeps more than it is to have, has what it asks for.
            if !writer::lowers(write) && plan.granted.remove(group).is_some() && !dying {
                state.refused.insert(group.clone(), error.to_string());
            }
        }
        if let Some(has) = state
            .expected
            .get(&self.ground.pods_group.clone().unwrap_or_default())
        {
            plan.allocated_us = *has;
        }
    }

    /// Whether new containers had begun when what they asked for was in place.
    fn note_starts(&self, state: &mut State, settled: &Settled, plan: &Plan) {
        for assignment in &settled.assignments {
            let Some((id, group)) = &assignment.at else {
                continue;
            };
            let granted = assignment.request.runtime.is_none() || plan.granted.contains_key(group);
            if granted && state.waiting.iter().any(|waiting| waiting.id == *id) {
                // By the runtime's own word: it waits for us.
                let besides = state.besides.entry(id.clone()).or_default();
                besides.before_start = Some(true);
            } else if granted && (state.unbegun.contains(id) || !state.besides.contains_key(id)) {
                let before_start = self.before_start(state, id, group, &assignment.request);
                let besides = state.besides.entry(id.clone()).or_default();
                // A container that was there before this daemon: nobody knows.
                besides.before_start = before_start.filter(|before| *before || self.told_once());
            }
        }
    }

    /// Whether a container has not begun. A budget can be in place before any process is there; a policy can't, and it is
    /// decided when there is one.
    fn before_start(
        &self,
        state: &mut State,
        id: &ContainerId,
        group: &str,
        request: &Request,
    ) -> Option<bool> {
        let nobody = !self.ground.has_budgets()
            && request.scheduling.is_some()
            && self.ground.processes(group).is_empty();
        if nobody {
            state.unbegun.insert(id.clone());
            return None;
        }
        state.unbegun.remove(id);
        before_start(self.host, self.ground, group)
    }

    fn told_once(&self) -> bool {
        self.told.borrow().condition.is_some()
    }

    /// Entries, the condition, news; and those who wait are answered.
    fn tell(
        &mut self,
        cache: &Cache,
        state: &mut State,
        tree: &Tree,
        settled: &Settled,
        plan: &Plan,
        limits: &plan::Limits,
    ) {
        let done = Done {
            mode: &self.ground.mode,
            pods: &cache.asking,
            settled,
            plan,
            kernel: &state.refused,
            containers: &state.besides,
        };
        let entries = outcome::entries(&done);
        state.answer(Instant::now(), |waiting| {
            if !cache.complete() {
                return None;
            }
            let entry = entries.iter().find(|entry| {
                (&entry.namespace, &entry.pod) == (&waiting.pod.0, &waiting.pod.1)
                    && entry.container == waiting.container
            });
            match entry {
                None => cache
                    .asking
                    .contains_key(&waiting.pod)
                    .then_some(Answer::NotAsked),
                Some(entry) => match entry.state {
                    ContainerBudgetState::Applied => Some(Answer::Applied),
                    ContainerBudgetState::Refused => {
                        Some(Answer::Refused(entry.message.clone().unwrap_or_default()))
                    }
                    ContainerBudgetState::Pending => None,
                },
            }
        });
        if !cache.complete() {
            return;
        }
        let capacity = match self.ground.mode.mode {
            BudgetMode::V1Budget => plan::capacity_us(tree, limits),
            BudgetMode::V2Policy => self.settings.capacity_us,
            BudgetMode::Blocked | BudgetMode::Off => 0,
        };
        let condition = outcome::condition(&self.ground.mode, &entries, &plan.findings);
        let now = Told {
            status: NodePodBudgetStatus {
                mode: Some(self.ground.mode.mode),
                evidence: Some(self.ground.mode.evidence.clone()),
                remedy: self.ground.mode.remedy.clone(),
                capacity_microseconds: i64::try_from(capacity).ok(),
                allocated_microseconds: Some(plan.allocated_us.max(0)),
                containers: entries,
            },
            condition: Some(condition),
        };
        let news = {
            let before = self.told.borrow();
            outcome::news(
                &before.status.containers,
                &now.status.containers,
                &cache.asking,
            )
        };
        for news in news {
            // Full: Events are a courtesy.
            let _ = self.news.try_send(news);
        }
        self.told.send_if_modified(|told| {
            let changed = *told != now;
            *told = now;
            changed
        });
    }
}

/// The group is that container's, or crun's below it.
fn is_containers(group: &str, id: &ContainerId) -> bool {
    group::locate(group).is_some_and(
        |located| matches!(&located.container, Some((Kind::Container, found)) if found == id),
    )
}

/// The containers of a tree.
fn containers(tree: &Tree) -> BTreeSet<ContainerId> {
    tree.groups
        .keys()
        .filter_map(|path| group::locate(path)?.container)
        .map(|(_, id)| id)
        .collect()
}

/// Whether a container's program has not begun: nothing is in its group, or only the runtime's own process that will
/// become it. `None`: it can't be seen.
fn before_start(host: &Host, ground: &Ground, group: &str) -> Option<bool> {
    let processes = ground.processes(group);
    let mut begun = false;
    for pid in processes.iter().take(4) {
        begun |= !is_runtimes(host, *pid)?;
    }
    Some(!begun)
}

/// Whether a process is the runtime's own: `runc init` under its many names (`runc:[2:INIT]`, or that of a copy in memory),
/// or crun, which becomes the container without a program of its own in between.
fn is_runtimes(host: &Host, pid: i32) -> Option<bool> {
    let name = host.read(&format!("/proc/{pid}/comm")).ok()?;
    if RUNTIMES.iter().any(|runtime| name.starts_with(runtime)) {
        return Some(true);
    }
    let line = host.read(&format!("/proc/{pid}/cmdline")).ok()?;
    let mut words = line.split('\0');
    let program = words.next().unwrap_or_default();
    let known =
        program == "/proc/self/exe" || RUNTIMES.iter().any(|runtime| program.ends_with(runtime));
    Some(known && words.next() == Some("init"))
}

/// For the status's readers: which containers have what, by their ids.
pub fn by_group(settled: &Settled) -> BTreeMap<&str, &ContainerId> {
    settled
        .assignments
        .iter()
        .filter_map(|assignment| assignment.at.as_ref())
        .map(|(id, group)| (group.as_str(), id))
        .collect()
}
