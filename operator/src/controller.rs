//! Turns changes into rounds: watches what is served, asks the caches whom a change concerns, and runs the rounds while
//! this replica leads. What a round does is `reconcile`'s.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use kube::Client;
use kube::runtime::events::{Recorder, Reporter};
use realtime_core::{causes, names};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::caches::{self, Caches, Change, Heard};
use crate::leadership::Leadership;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::reconcile::{Context, Outcome, reconcile};
use crate::server::Readiness;
use crate::writer::{WriteError, Writer};
use crate::{capacity, discovery, namespaces};

/// Rounds at the same time: writes of different profiles don't wait for each other, and the API server isn't flooded.
const AT_ONCE: usize = 8;
/// A cache that lags is looked at again so soon, should no change come.
const STALE: Duration = Duration::from_millis(100);
/// How long rounds under way may take to end after a stop.
const LAST_ROUNDS: Duration = Duration::from_secs(10);

/// The controller.
pub struct Controller {
    client: Client,
    writer: Writer,
    recorder: Recorder,
    metrics: Arc<Metrics>,
    leadership: Leadership,
    readiness: Readiness,
    first_report: Duration,
    namespace: String,
}

/// What the caches tell: of profiles, and by name.
type Changes = (mpsc::UnboundedReceiver<Change>, Heard);

impl Controller {
    /// For a client; `namespace` is the operator's, `identity` this replica's name, `first_report` how long a node's
    /// daemon is waited for.
    pub fn new(
        client: Client,
        namespace: String,
        identity: String,
        leadership: Leadership,
        metrics: Arc<Metrics>,
        readiness: Readiness,
        first_report: Duration,
    ) -> Self {
        let reporter = Reporter {
            controller: names::FIELD_MANAGER.to_owned(),
            instance: Some(identity),
        };
        Self {
            writer: Writer::new(client.clone(), leadership.clone(), Arc::clone(&metrics)),
            recorder: Recorder::new(client.clone(), reporter),
            client,
            metrics,
            leadership,
            readiness,
            first_report,
            namespace,
        }
    }

    /// Runs until `stop` completes, then lets the rounds under way end.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        let mut definitions = Box::pin(discovery::changes(&self.client));
        loop {
            let (context, changes) = tokio::select! {
                () = &mut stop => return,
                started = self.start() => started,
            };
            tokio::select! {
                () = &mut stop => return,
                () = context.caches.filled() => {}
            }
            self.readiness.set(true);
            tracing::info!(served = ?context.caches.served, "the caches are filled");
            if self
                .work(&context, changes, &mut definitions, &mut stop)
                .await
            {
                return;
            }
            self.readiness.set(false);
        }
    }

    /// Reads what is served, until that can be read, and starts the watches.
    async fn start(&self) -> (Context, Changes) {
        let mut wait = Duration::from_millis(200);
        loop {
            match discovery::served(&self.client).await {
                Ok(served) => {
                    let (sender, changes) = mpsc::unbounded_channel();
                    let image_mode = discovery::image_mode(&self.client).await.unwrap_or(None);
                    let (tell, heard) = caches::tell();
                    let image_mode = image_mode.as_deref();
                    let caches = Caches::start(&self.client, served, image_mode, sender, &tell);
                    let context = Context {
                        caches: Arc::new(caches),
                        writer: self.writer.clone(),
                        recorder: self.recorder.clone(),
                        metrics: Arc::clone(&self.metrics),
                        first_report: self.first_report,
                    };
                    return (context, (changes, heard));
                }
                Err(error) => {
                    tracing::warn!(
                        error = causes::told(&error),
                        "what the cluster serves can't be read"
                    );
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(15));
                }
            }
        }
    }

    /// Rounds until the stop (true) or until something else is served (false).
    async fn work(
        &mut self,
        context: &Context,
        (mut changes, heard): Changes,
        definitions: &mut (impl futures::Stream<Item = ()> + Unpin),
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> bool {
        let mut queue = Queue::default();
        let mut rounds: JoinSet<(String, Duration, Result<Outcome, WriteError>)> = JoinSet::new();
        for name in context.caches.profile_names() {
            queue.add(name, Instant::now());
        }
        let (end, ended) = watch::channel(false);
        let mut others = self.others(context, heard, &ended);
        let mut leads = self.leadership.holds();
        self.metrics.leads(leads);
        let stopped = loop {
            let holds = self.leadership.holds();
            if holds != leads {
                leads = holds;
                self.metrics.leads(leads);
                // Whatever was seen before this replica led was not acted upon.
                if leads {
                    for name in context.caches.profile_names() {
                        queue.add(name, Instant::now());
                    }
                }
            }
            while leads && rounds.len() < AT_ONCE {
                let Some(name) = queue.take(Instant::now()) else {
                    break;
                };
                let context = context.clone();
                rounds.spawn(async move {
                    let begin = Instant::now();
                    let outcome = reconcile(&context, &name).await;
                    (name, begin.elapsed(), outcome)
                });
            }
            let due = queue.next_due().filter(|_| leads && rounds.len() < AT_ONCE);
            let mut election = self.leadership.clone();
            tokio::select! {
                () = &mut *stop => break true,
                Some(change) = changes.recv() => {
                    // Changes come in swarms: those that are there already are taken together, each once.
                    let mut swarm = BTreeSet::from([change]);
                    while let Ok(change) = changes.try_recv() {
                        swarm.insert(change);
                    }
                    for change in &swarm {
                        for name in context.caches.concerned(change) {
                            queue.add(name, Instant::now());
                        }
                    }
                }
                Some(ended) = rounds.join_next() => {
                    if let Ok((name, took, outcome)) = ended {
                        self.ended(&mut queue, name, took, outcome);
                    }
                }
                () = sleep_until(due) => {}
                Some(()) = definitions.next() => {
                    match discovery::served(&self.client).await {
                        Ok(served) if served != context.caches.served => {
                            tracing::info!(?served, "other APIs are served now: the watches start anew");
                            break false;
                        }
                        Ok(_) => {}
                        Err(error) => tracing::warn!(error = causes::told(&error), "what the cluster serves can't be read"),
                    }
                }
                () = async { if leads { election.lost().await } else { election.acquired().await } } => {}
            }
        };
        end.send_replace(true);
        let last = async {
            while rounds.join_next().await.is_some() {}
            while others.join_next().await.is_some() {}
        };
        if tokio::time::timeout(LAST_ROUNDS, last).await.is_err() {
            tracing::warn!(
                "a round did not end in time; the next start goes on from what the API server holds"
            );
        }
        stopped
    }

    /// What is done beside the profiles' rounds, until `end` says true.
    fn others(&self, context: &Context, heard: Heard, end: &watch::Receiver<bool>) -> JoinSet<()> {
        let mut others = JoinSet::new();
        others.spawn(namespaces::run(
            context.clone(),
            self.client.clone(),
            self.namespace.clone(),
            self.leadership.clone(),
            heard.profiles.clone(),
            end.clone(),
        ));
        others.spawn(capacity::run(
            context.clone(),
            self.leadership.clone(),
            heard,
            end.clone(),
        ));
        others
    }

    fn ended(
        &self,
        queue: &mut Queue,
        name: String,
        took: Duration,
        outcome: Result<Outcome, WriteError>,
    ) {
        queue.done(&name);
        let failed = outcome.as_ref().is_err_and(|error| !error.is_race());
        self.metrics.reconciled(&name, took.as_secs_f64(), failed);
        match outcome {
            Ok(Outcome::Settled) => queue.succeeded(&name),
            // With a wait that grows: two writers that undo each other must not spin.
            Ok(Outcome::Wrote) => queue.failed(name, Instant::now()),
            Ok(Outcome::Gone) => {
                queue.succeeded(&name);
                let conditions = realtime_core::conditions::PROFILE_CONDITIONS
                    .map(str::to_owned)
                    .to_vec();
                self.metrics.forget(&name, &conditions);
            }
            Ok(Outcome::Until(wait)) => {
                queue.succeeded(&name);
                queue.add_after(name, wait.max(STALE), Instant::now());
            }
            Ok(Outcome::Stale) => queue.add_after(name, STALE, Instant::now()),
            Err(WriteError::NotLeading) => queue.add(name, Instant::now()),
            Err(error) => {
                if failed {
                    tracing::warn!(
                        profile = name,
                        error = causes::told(&error),
                        "a round failed and is tried again"
                    );
                } else {
                    tracing::debug!(
                        profile = name,
                        error = causes::told(&error),
                        "something changed meanwhile"
                    );
                }
                queue.failed(name, Instant::now());
            }
        }
    }
}

/// Completes at that time; never without one.
pub(crate) async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}
