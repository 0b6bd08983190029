//! The one function that every way in ends in, and the one writer: read the tree, settle, plan, write, look at what came
//! of it, tell. For one container that is about to start only the part of the tree around it is read; whatever that can't
//! settle, a whole round does.

mod counting;
mod policies;
mod starts;
mod telling;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use realtime_core::rt::group::{self, ContainerId, Kind, PodUid};
use realtime_core::rt::outcome::{self, PodNews};
use realtime_core::rt::plan::{self, Finding, Plan, Tree};
use realtime_core::rt::retry::{self, AGAIN, Failure};
use realtime_core::rt::settle::{Known, settle};
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

/// After a start that was served: the whole tree is looked at, and told.
const TELL: Duration = Duration::from_millis(60);
/// Until a budget that real-time threads keep is looked at again: the kernel doesn't tell of a thread's end.
const KEPT: Duration = Duration::from_secs(5);
/// The kernel's limits and the budgets of what isn't pods are looked at no later than that: no file tells of their changes, and
/// the capacity that the node's status tells depends on them.
const OTHERS: Duration = Duration::from_mins(1);
/// A host whose tree can't be read.
const UNREADABLE: Duration = Duration::from_secs(10);

/// As many groups that appear are served by themselves between two whole rounds.
const ALONE: u32 = 32;
/// After a whole round there is rest for so many times as long as it took.
const REST: u32 = 3;

/// What rounds of the same settings share.
pub struct Round<'a> {
    pub host: &'a Host,
    pub settings: &'a Settings,
    pub ground: &'a Ground,
    pub told: &'a watch::Sender<Told>,
    pub news: &'a mpsc::Sender<PodNews>,
    /// What is remembered of threads outlives the settings.
    pub policies: &'a mut Policies,
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
        let uid = waiting.uid.as_ref();
        // It asked once: nobody shall wait for that, least of all those behind it.
        let mut nothing = if cache.is_silent(&waiting.pod, uid) {
            Some(Answer::NotAsked)
        } else if !cache.asks(&waiting.pod, uid) && cache.is_gone(uid) {
            Some(Answer::Refused("its pod has been deleted".to_owned()))
        } else {
            None
        };
        if nothing.is_some() {
            state.answer(Instant::now(), |waiting| {
                (waiting.id == *id).then(|| nothing.take()).flatten()
            });
            return;
        }
        if !cache.asks(&waiting.pod, uid) || !cache.namespaces_known {
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
                let served = self.one(cache, state, id, &group);
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
            // One for all that begin at this moment. A look at its threads that came before this one was at the runtime's.
            Served::NotYet => {
                self.policies.begins(id);
                self.within(Duration::ZERO);
            }
        }
    }

    /// A group has appeared, and its container is known by its bundle or not at all.
    pub fn appeared(&mut self, cache: &Cache, state: &mut State, id: &ContainerId, group: &str) {
        let ours = matches!(state.known.get(id), Some(Known::Container(_)));
        // Many at once are cheaper together.
        if ours && cache.namespaces_known && self.alone < ALONE {
            self.alone += 1;
            if let Served::NotYet = self.one(cache, state, id, group) {
                self.within(AGAIN);
            }
        }
        self.within(TELL);
    }

    /// Whether a group has another value than we gave it.
    pub fn is_foreign(&self, state: &State, group: &str) -> bool {
        let Some(Hierarchy::V1(v1)) = &self.ground.hierarchy else {
            return false;
        };
        match v1.runtime(group) {
            // Of what has nothing not all is read.
            Ok(Some(has)) => state.expected.get(group).copied().unwrap_or(0) != has,
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// One container, by what is remembered of the others or, where that is not enough, by what is around its group.
    fn one(&mut self, cache: &Cache, state: &mut State, id: &ContainerId, group: &str) -> Served {
        if self.ground.has_budgets() && !state.expected.is_empty() {
            let served = self.around(cache, state, id, Scope::Way(group));
            if matches!(served, Served::Answer(_)) {
                return served;
            }
        }
        self.around(cache, state, id, Scope::Around(group))
    }

    /// What [`Scope::Way`] leaves out. Groups that are gone count as long as the kernel may count them: room for them is
    /// given back in the next whole round.
    fn remember(&self, state: &mut State, tree: &mut Tree, group: &str) {
        let Some(pods_group) = self.ground.pods_group.as_deref() else {
            return;
        };
        tree.remember_beside(pods_group, group, &state.expected);
        let now = state.now();
        let going = state.going.iter().filter(|(_, (_, until))| *until > now);
        tree.remember_beside(pods_group, group, going.map(|(path, (has, _))| (path, has)));
    }

    /// One container, with so much of the tree.
    fn around(
        &mut self,
        cache: &Cache,
        state: &mut State,
        id: &ContainerId,
        scope: Scope<'_>,
    ) -> Served {
        let (Scope::Around(group) | Scope::Way(group)) = scope else {
            return Served::NotYet;
        };
        let mut tree = match self.ground.read(scope) {
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
        // The other pods' annotations and namespaces, however many they are, are not this start's matter.
        let rules = self.ground.rules_in(&key.0, self.settings, cache);
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
            if matches!(scope, Scope::Way(_)) {
                self.remember(state, &mut tree, group);
            }
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
        if self.ground.has_budgets() {
            self.within(OTHERS);
        }
        let now = Instant::now();
        self.not_before = now + now.duration_since(begun) * REST;
        self.due = self.due.map(|due| due.max(self.not_before));
        tracing::trace!(cost = ?now.duration_since(begun), next = ?self.due.map(|due| due.saturating_duration_since(now)), "a whole round");
    }

    fn round(&mut self, cache: &Cache, state: &mut State) {
        self.due = None;
        let asking: BTreeSet<_> = cache
            .asking
            .values()
            .filter_map(|pod| pod.directory.clone())
            .collect();
        let tree = match self.ground.read(Scope::Pods(&asking)) {
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
        self.identify(cache, state, &tree, &asking);
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
                let overwritten =
                    outcome::overwritten(&state.expected, &tree, &plan, &settled, &cache.asking);
                let failed = writer::apply_each(v1, &plan.writes);
                self.look_after(state, &tree, &mut plan, failed);
                self.note_foreign(state, &tree, overwritten);
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
        let seen = policies::Seen {
            tree: &tree,
            settled: &settled,
            plan: &plan,
        };
        self.policies.all(self.host, self.ground, state, &seen);
        if let Some(time) = self.policies.again() {
            self.within(time);
        }
        self.tell(cache, state, &tree, &settled, &plan, &limits);
    }

    /// Containers of asking pods that nobody has told of: after a start of the daemon, or when inotify missed them.
    ///
    /// The group of one that has ended may still be there, with all that its runtime kept of it, beside that of the one that
    /// came after it: the containers of its pod are learned in the order in which their groups were made.
    fn identify(
        &mut self,
        cache: &Cache,
        state: &mut State,
        tree: &Tree,
        asking: &BTreeSet<PodUid>,
    ) {
        let told: BTreeSet<&ContainerId> = cache
            .asking
            .values()
            .flat_map(|pod| pod.ids.keys())
            .collect();
        let containers = || {
            tree.groups.keys().filter_map(|path| {
                let located = group::locate(path).filter(|located| located.own == path.len())?;
                match located.container {
                    Some((Kind::Container, id)) => Some((path, located.pod, id)),
                    _ => None,
                }
            })
        };
        let strangers: BTreeSet<PodUid> = containers()
            .filter(|(_, pod, id)| asking.contains(pod) && !told.contains(id))
            .filter(|(_, _, id)| state.is_to_ask(id))
            .map(|(_, pod, _)| pod)
            .collect();
        if strangers.is_empty() {
            return;
        }
        let mut theirs: Vec<_> = containers()
            .filter(|(_, pod, _)| strangers.contains(pod))
            .map(|(path, _, id)| (self.ground.made(path), id))
            .collect();
        theirs.sort();
        let mut later = false;
        for (_, id) in &theirs {
            later |= state.recognise(self.host, id);
        }
        // Those that were known before, in their order; and at last those that have no group yet.
        let begin = state.waiting.iter().map(|waiting| waiting.id.clone());
        let known: Vec<_> = theirs.into_iter().map(|(_, id)| id).chain(begin).collect();
        for id in known {
            if let Some(Known::Container(identity)) = state.known.get(&id).cloned() {
                state.learn(&id, &identity);
            }
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
        let now = state.now();
        let has = |(group, has): (&String, &plan::Group)| (group.clone(), has.runtime_us);
        let had = std::mem::replace(&mut state.expected, tree.groups.iter().map(has).collect());
        let going = std::mem::take(&mut state.going);
        state.going = retry::going(going, &had, &state.expected, now);
        for finding in &plan.findings {
            tracing::debug!(%finding, "found");
        }
        let failed: BTreeMap<usize, Failure> = failed
            .into_iter()
            .map(|(at, error)| {
                let words = error.to_string();
                let failure = match error {
                    CgroupError::Changed { .. } => Failure::Changed(words),
                    _ => Failure::Refused(words),
                };
                (at, failure)
            })
            .collect();
        let after = retry::after(plan, &failed, &state.failing, now);
        for (at, write) in plan.writes.iter().enumerate() {
            let group = &write.group;
            match failed.get(&at) {
                None => {
                    state.expected.insert(group.clone(), write.to_us);
                    tracing::debug!(group, from = write.from_us, to = write.to_us, "written");
                }
                Some(failure) => tracing::debug!(?failure, "not written; it is tried again"),
            }
        }
        for (group, words) in &after.refused {
            if !state.refused.contains_key(group) {
                tracing::warn!(group, words, "the kernel keeps refusing");
            }
        }
        state.failing = after.failing;
        state.refused = after.refused;
        if let Some(time) = after.again {
            self.within(time);
        }
        if let Some(has) = state
            .expected
            .get(&self.ground.pods_group.clone().unwrap_or_default())
        {
            plan.allocated_us = *has;
        }
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
