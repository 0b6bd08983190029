//! The loop: hears of containers, settings and pods, and has the one function (`round`) do what is to be done. Never ends,
//! and never waits for anything but news: what has to be tried again has its time.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::FutureExt as _;
use kube::Client;
use realtime_core::rt::group::{self, Kind};
use realtime_core::rt::modes::ModeSetting;
use realtime_core::rt::outcome::PodNews;
use realtime_core::rt::request;
use realtime_core::rt::retry::FOREIGN;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::Told;
use super::cache::Cache;
use super::door::{Answer, Knock};
use super::ground::{CLASSES, Ground, Hierarchy};
use super::groups::{Groups, Happened};
use super::round::{Policies, Round};
use super::settings::{Settings, Word};
use super::state::{State, Waiting};
use super::withdraw::{self, Owed};
use crate::host::Host;
use crate::sched;

/// How long a start waits at most. NRI gives up on a plugin after 2 s, the OCI hook on the daemon as well.
const PATIENCE: Duration = Duration::from_millis(1300);
/// How long one waits that doesn't insist, once for [`BLIND`] nobody could be served because the pods aren't known. NRI asks
/// for one container after the other, and all others of the node wait behind it.
const BLIND_PATIENCE: Duration = Duration::from_millis(50);
const BLIND: Duration = Duration::from_secs(4);
/// A round is this late at most for the sake of what comes in meanwhile: groups may be made without end.
const LATE: Duration = Duration::from_millis(100);
/// As many of the API's words are heard before such a round.
const WORDS: usize = 64;
/// News of pods and groups come in bursts.
const SETTLE: Duration = Duration::from_millis(60);
/// While the kubelet's group isn't there: after that, after twice that, and so on.
const LOOK: Duration = Duration::from_secs(5);
const LONGEST_LOOK: Duration = Duration::from_mins(1);

/// What a pod is told that asks where nobody gives.
const NOTHING_SET: &str = "nothing is given on this node: no RealtimeProfile of its pool has podBudget.enabled, and the daemon's \
     configuration names no cgroup_v1_capacity";

/// All that the loop has.
pub struct Engine {
    pub host: Host,
    pub client: Client,
    pub node: String,
    pub pods_group: Option<String>,
    /// Which hierarchy, by the configuration file.
    pub setting: ModeSetting,
    pub settings: watch::Receiver<Word>,
    pub told: watch::Sender<Told>,
    pub knocks: mpsc::Receiver<Knock>,
    pub news: mpsc::Sender<PodNews>,
}

impl Engine {
    /// Runs for ever.
    pub async fn run(mut self) {
        if let Err(error) = sched::take_short_turns() {
            tracing::debug!(%error, "the daemon takes turns as everybody");
        }
        let mut cache = None;
        let mut state = State::default();
        let mut policies = Policies::default();
        let mut owed = Owed::new();
        loop {
            let settings = self.settings.borrow_and_update().clone();
            let Word::Settings(settings) = settings else {
                // Nothing is set: pods aren't even watched. Before that is known, starts wait in the channel.
                let known = settings == Word::Nothing;
                cache = None;
                state = State::default();
                policies = Policies::default();
                if known {
                    self.told.send_if_modified(|told| {
                        std::mem::replace(told, Told::Nothing) != Told::Nothing
                    });
                    owed.take_back(&self.host, self.setting, self.pods_group.as_deref())
                        .await;
                }
                tokio::select! {
                    () = until(owed.next()), if known => {}
                    changed = self.settings.changed() => if changed.is_err() { return },
                    Some(knock) = self.knocks.recv(), if known => {
                        let asks = request::asks(&knock.announced.annotations);
                        let answer = if asks {
                            Answer::Refused(NOTHING_SET.to_owned())
                        } else {
                            Answer::NotAsked
                        };
                        let _ = knock.answer.send(answer);
                    }
                }
                continue;
            };
            let cache = cache.get_or_insert_with(|| {
                Cache::new(self.client.clone(), &self.node, settings.namespaces.clone())
            });
            cache.select(settings.namespaces.clone());
            policies.look_anew();
            match self
                .serve(&settings, cache, &mut state, &mut policies)
                .await
            {
                Some(ground) => {
                    // The next one holds as many files, and a process may have 1024 open.
                    if let Some(Hierarchy::V1(v1)) = &ground.hierarchy {
                        v1.rest();
                    }
                    owed = Owed::since(ground, settings);
                }
                None => return,
            }
        }
    }

    /// Serves until the settings change, or the kubelet's group is another; `None`: nobody is left to serve.
    async fn serve(
        &mut self,
        settings: &Settings,
        cache: &mut Cache,
        state: &mut State,
        policies: &mut Policies,
    ) -> Option<Ground> {
        let ground = Ground::look(&self.host, settings, self.pods_group.as_deref()).await;
        let found = (ground.mode.clone(), ground.pods_group.clone());
        if state.found.as_ref() != Some(&found) {
            tracing::info!(
                mode = ?ground.mode.mode,
                evidence = ground.mode.evidence,
                pods = ground.pods_group,
                "pods' real-time scheduling"
            );
            state.found = Some(found);
            state.looks = 0;
        }
        if ground.has_budgets() && ground.is_firm() {
            withdraw::mark(&self.host);
        }
        // Longer each time: a kubelet that doesn't come is not looked for all the time.
        state.looks = state.looks.saturating_add(1);
        let look_again = Instant::now() + (LOOK * state.looks).min(LONGEST_LOOK);
        let mut groups = Groups::new(ground.mount().unwrap_or_default());
        let mut round = Round {
            host: &self.host,
            settings,
            ground: &ground,
            told: &self.told,
            news: &self.news,
            policies,
            due: Some(Instant::now()),
            not_before: Instant::now(),
            alone: 0,
            is_lost: false,
        };
        let mut blind_since = None;
        let end = loop {
            // What waits for an answer is looked at in time, too.
            let waiting = state.waiting.iter().map(|waiting| waiting.deadline).min();
            let due = [round.due, waiting].into_iter().flatten().min();
            let late = due.is_some_and(|due| due + LATE <= Instant::now());
            tokio::select! {
                biased;
                changed = self.settings.changed() => break changed.ok(),
                () = std::future::ready(()), if late => {
                    for _ in 0..WORDS {
                        if cache.changed().now_or_never().is_none() {
                            break;
                        }
                    }
                    watch_pods(&self.host, &ground, cache, &mut groups);
                    round.whole(cache, state);
                    watch_served(&self.host, &mut round, state, &mut groups);
                }
                knock = self.knocks.recv() => {
                    let blind = !cache.complete() || (ground.hierarchy.is_some() && !ground.is_firm());
                    let now = Instant::now();
                    blind_since = blind.then(|| blind_since.unwrap_or(now));
                    let long = blind_since.is_some_and(|since| now.duration_since(since) >= BLIND);
                    let Some(knock) = knock else { break None };
                    if let Some(id) = take(state, knock, long) {
                        round.start(cache, state, &id);
                    }
                }
                happened = groups.next() => {
                    on_group(&self.host, &mut round, cache, state, &mut groups, happened);
                }
                () = cache.changed() => {
                    watch_pods(&self.host, &ground, cache, &mut groups);
                    // Those that came before their pod was known.
                    for id in state.waiting.iter().map(|waiting| waiting.id.clone()).collect::<Vec<_>>() {
                        round.start(cache, state, &id);
                    }
                    round.within(SETTLE);
                }
                () = until(due) => {
                    watch_pods(&self.host, &ground, cache, &mut groups);
                    round.whole(cache, state);
                    watch_served(&self.host, &mut round, state, &mut groups);
                }
                () = sleep_until(look_again), if ground.wants_more() || round.is_lost => break Some(()),
            }
        };
        end.map(|()| ground)
    }
}

/// A start. Gives the id when there is something to do for it.
fn take(state: &mut State, knock: Knock, blind: bool) -> Option<group::ContainerId> {
    let Knock { announced, answer } = knock;
    let Some(container) = announced.identity.container.clone() else {
        let _ = answer.send(Answer::NotAsked);
        return None;
    };
    if !request::asks(&announced.annotations) {
        let _ = answer.send(Answer::NotAsked);
        return None;
    }
    let patience = if blind && !request::required(&announced.annotations) {
        BLIND_PATIENCE
    } else {
        PATIENCE
    };
    state.learn(&announced.id, &announced.identity);
    state.waiting.push(Waiting {
        id: announced.id.clone(),
        pod: (announced.identity.namespace, announced.identity.pod),
        uid: announced.identity.uid,
        container,
        pid: announced.pid,
        deadline: Instant::now() + patience,
        answer: Some(answer),
    });
    Some(announced.id)
}

fn on_group(
    host: &Host,
    round: &mut Round<'_>,
    cache: &Cache,
    state: &mut State,
    groups: &mut Groups,
    happened: Happened,
) {
    match happened {
        Happened::Made(path) => {
            let Some(located) = group::locate(&path) else {
                return;
            };
            let asking = cache.asking.values().any(|pod| pod.has(&located));
            if !asking {
                return;
            }
            match located.container {
                // The pod's own: what is in it already is looked at in the round.
                None => {
                    if groups.watch(host, &path) {
                        round.within(Duration::ZERO);
                    }
                }
                Some((Kind::Container, id)) => {
                    if !round.ground.has_budgets() {
                        groups.watch(host, &path);
                    }
                    if state.recognise(host, &id) {
                        round.within(Duration::from_secs(1));
                    }
                    round.appeared(cache, state, &id, &path);
                }
                Some(_) => {}
            }
        }
        // The kernel keeps a removed group's part for some 10 to 35 ms.
        Happened::Gone(path) => {
            // Pods that never had anything come and go all the time.
            if !round.ground.has_budgets() || state.expected.get(&path).is_some_and(|had| *had != 0)
            {
                round.within(SETTLE);
            }
        }
        Happened::Written(group) => {
            // Whatever it is, a round that is due anyhow finds it.
            if !round.is_due_within(FOREIGN) && round.is_foreign(state, &group) {
                round.within(FOREIGN);
            }
        }
        Happened::Populated(group) => {
            if let Some((_, id)) = group::locate(&group).and_then(|located| located.container) {
                round.policies.begins(&id);
            }
            round.within(Duration::from_millis(5));
        }
        Happened::Lost => round.within(Duration::ZERO),
    }
}

/// Watches the groups in which something may happen, and no others.
fn watch_pods(host: &Host, ground: &Ground, cache: &Cache, groups: &mut Groups) {
    let (Some(pods), true) = (&ground.pods, ground.is_firm()) else {
        return;
    };
    let tops: BTreeSet<String> = CLASSES.map(|qos| pods.class(qos)).into();
    for top in &tops {
        groups.watch(host, top);
    }
    let mut own = BTreeSet::new();
    for pod in cache.asking.values() {
        let Some(uid) = &pod.directory else { continue };
        // Where the class isn't told, the group that is there.
        let mut classes = CLASSES
            .iter()
            .filter(|qos| pod.qos.is_none_or(|own| own == **qos))
            .map(|qos| pods.pod(*qos, uid));
        own.extend(classes.find(|group| groups.watch(host, group)));
    }
    groups.retain(|group| {
        tops.contains(group)
            || own.contains(group)
            || group::locate(group).is_some_and(|located| {
                let above = group
                    .get(..located.own)
                    .and_then(|group| group.rsplit_once('/'));
                located.container.is_some() && above.is_some_and(|(pod, _)| own.contains(pod))
            })
    });
}

/// Watches the groups of containers that have something: what their own programs write to them is put right, too. Not
/// before they have it, since then every microsecond counts.
fn watch_served(host: &Host, round: &mut Round<'_>, state: &State, groups: &mut Groups) {
    if !round.ground.has_budgets() {
        return;
    }
    for group in &state.served {
        if !groups.watches(group) && groups.watch(host, group) && round.is_foreign(state, group) {
            round.within(FOREIGN);
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
