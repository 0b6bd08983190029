//! The loop: observe → decide → report → do ONE step → again. What the step is, `core::kernel::next` decides; here it is
//! done. Nothing that a decision needs is remembered here: the process may be killed between any two lines.
//!
//! Each step has lines in the log that begin and end it: `step=NAME state=begin|end`, and each status that is written has
//! `step=Report`. Tests kill the daemon at each of them.

mod look;
mod pause;
mod side;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use realtime_core::api::realtime_node::RealtimeNodeSpec;
use realtime_core::kernel::{
    self, Command, Drain, Next, Observed, Offered, Record, Step, System, Wanted,
};

use crate::budget;
use crate::cluster::ClusterError;
use crate::host::{Host, HostError};
use crate::{affinity, sources, system};

pub use look::{boot, load_record, load_seen, record_path, save_record, seen_path, wanted};
pub use pause::Pause;
pub use side::{Alone, InCluster, Side};

/// How long what the package system said holds while nothing is to be done. Asking it starts its service, which costs
/// more than everything else that an idle daemon does; facts and drift are looked at whenever something tells of them.
const LOOKED: Duration = Duration::from_hours(1);

/// A round did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The record can't be read as one.
    #[error(
        "{path} can't be understood: {source}. It tells what this daemon did to the host; look at the host, and \
         remove the file when the daemon may take what is there for somebody else's"
    )]
    Record {
        /// The file.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// The daemon.
pub struct Agent {
    host: Host,
    /// The record's path on the host.
    record: String,
    /// Where what the cluster said is kept, on the host.
    seen: String,
    side: Side,
    eyes: look::Eyes,
    /// The last decision and when it was made, while there is nothing to do.
    rest: Option<(Instant, Wanted, Observed, Next)>,
    /// What the source offers, and for which wish it was looked at.
    offered: Option<(Wanted, Offered)>,
    drain: Drain,
    /// Whether the host's CPUs are this process's.
    own_cpus: bool,
    /// Pods' real-time scheduling, which goes on by itself.
    budgets: Option<budget::Handle>,
    pace: pause::Pace,
}

impl Agent {
    /// For a host, with its record in that directory of the host.
    pub fn new(host: Host, state_directory: &str, own_cpus: bool, side: Side) -> Self {
        Self {
            record: look::record_path(state_directory),
            seen: look::seen_path(state_directory),
            eyes: look::Eyes::new(),
            rest: None,
            host,
            side,
            offered: None,
            drain: Drain::Unknown,
            own_cpus,
            budgets: None,
            pace: pause::Pace::default(),
        }
    }

    /// With somebody who looks after pods: he is told what is set, and tells what is to be told.
    #[must_use]
    pub fn with_budgets(self, budgets: Option<budget::Handle>) -> Self {
        Self { budgets, ..self }
    }

    /// Runs until `stop` completes. A step under way is given the time that the DaemonSet leaves it.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let pause = {
                let round = self.round();
                tokio::pin!(round);
                tokio::select! {
                    pause = &mut round => pause,
                    () = &mut stop => {
                        if tokio::time::timeout(pause::LAST_STEP, round).await.is_err() {
                            tracing::warn!("a step did not end in time; the next start goes on from what the host holds");
                        }
                        return;
                    }
                }
            };
            tokio::select! {
                () = &mut stop => return,
                () = self.wait(pause) => {}
            }
        }
    }

    /// One round, and how long to wait after it. An error is told, and the round is made again later.
    async fn round(&mut self) -> Pause {
        let pause = match self.try_round().await {
            Ok(pause) => pause,
            Err(error) => {
                let race = matches!(&error, AgentError::Cluster(error) if error.is_race());
                if race {
                    tracing::debug!(%error, "decided on something old; looking again");
                } else {
                    tracing::warn!(%error, "a round failed; it is made again");
                }
                let looked = self.side.look_again(&error).await;
                if !matches!(error, AgentError::Cluster(_)) && self.pace.keeps_failing() {
                    self.tell(&error).await;
                }
                if race && looked {
                    Pause::None
                } else {
                    Pause::Failed
                }
            }
        };
        self.pace.after(pause)
    }

    /// What fails again and again on the host is told, and tried again all the same.
    async fn tell(&mut self, error: &AgentError) {
        if let Err(error) = self.side.trouble(&error.to_string()).await {
            tracing::warn!(%error, "what fails could not be told");
        }
    }

    async fn try_round(&mut self) -> Result<Pause, AgentError> {
        let Some((spec, wanted)) = self.side.spec(&self.host)? else {
            self.offered = None;
            self.rest = None;
            self.drain = Drain::Unknown;
            if let Some(budgets) = &mut self.budgets {
                // There is nobody to tell.
                budgets.told();
                if self.side.knows() {
                    budgets.set(None);
                } else if self.side.is_hidden() {
                    budgets.set_by_file();
                }
            }
            return Ok(self.side.stand_down().await?);
        };
        if let Some(budgets) = &self.budgets {
            budgets.remember(self.side.status());
            budgets.set(Some(&spec));
        }
        if self.own_cpus {
            keep_to_reserved(&spec);
        }
        let mut facts = self.eyes.facts(&self.host, &spec);
        if let Some(budgets) = &mut self.budgets {
            facts.pods = budgets.told();
        }
        if let Some((when, of, observed, next)) = self.rest.take()
            && of == wanted
            && when.elapsed() < LOOKED
        {
            // Only facts and drift may have changed.
            self.side.report(&wanted, &observed, &next, &facts).await?;
            self.rest = Some((when, of, observed, next));
            return Ok(Pause::Change);
        }
        let observed = self.observe(&wanted).await?;
        let next = kernel::next(&wanted, &observed);
        let step = Step::clone(&next.step);
        let quiet = matches!(step, Step::Rest | Step::Wait { .. });
        if !quiet {
            tracing::info!(step = %name(&step), state = %"begin", what = %what(&step));
        }
        let told = self.side.report(&wanted, &observed, &next, &facts).await;
        match told {
            // The API server is away: what was begun with a turn in hand and stays on the host goes on.
            Err(ClusterError::Away { .. }) if self.side.has_turn() && stays_on_the_host(&step) => {}
            told => told?,
        }
        if let Some(node) = self.side.told() {
            look::save_seen(&self.host, &self.seen, node);
        }
        if step == Step::Rest {
            self.rest = Some((Instant::now(), wanted, observed, next));
            return Ok(Pause::Change);
        }
        let pause = self.execute(&wanted, observed, step).await?;
        if !quiet {
            tracing::info!(step = %name(&next.step), state = %"end");
        }
        Ok(pause)
    }

    async fn observe(&mut self, wanted: &Wanted) -> Result<Observed, AgentError> {
        if self.offered.as_ref().is_some_and(|(of, _)| of != wanted) {
            self.offered = None;
        }
        let mut node = self.side.surroundings().await?;
        if !self.side.has_turn() {
            self.drain = Drain::Unknown;
        }
        node.drain = self.drain.clone();
        Ok(Observed {
            boot: look::boot(&self.host)?,
            // Where somebody else switches the kernel, the host's tools are not even asked.
            system: if wanted.ours {
                system::observe_system(&self.host).await?
            } else {
                System::Other("the Machine Config Operator switches this node's kernel".to_owned())
            },
            record: look::load_record(&self.host, &self.record)?,
            offered: self.offered.as_ref().map(|(_, offered)| offered.clone()),
            node,
            now: seconds(),
        })
    }

    async fn execute(
        &mut self,
        wanted: &Wanted,
        observed: Observed,
        step: Step,
    ) -> Result<Pause, AgentError> {
        match step {
            Step::Rest => return Ok(Pause::Change),
            Step::Wait { seconds } => {
                // A source that could not be reached is tried again after the wait.
                let transient = matches!(
                    self.offered,
                    Some((
                        _,
                        Offered::Failed {
                            transient: true,
                            ..
                        }
                    ))
                );
                if transient {
                    self.offered = None;
                }
                return Ok(Pause::Seconds(seconds));
            }
            // Their word is in the status, and that is written.
            Step::WantTurn | Step::TakeTurn | Step::ReturnTurn => {}
            Step::Prepare => {
                let offered = sources::prepare(&self.host, wanted).await;
                self.offered = Some((wanted.clone(), offered));
            }
            Step::Save(record) => look::save_record(&self.host, &self.record, &record)?,
            Step::Run(command) => self.run_command(&command, observed.record).await?,
            Step::Cordon => {
                // Pods may have come since the last drain: whoever cordons anew drains anew.
                self.drain = Drain::Unknown;
                self.side.cordon().await?;
            }
            Step::Drain => {
                self.drain = self.side.drain().await?;
                if self.drain != Drain::Done {
                    return Ok(Pause::Drain);
                }
            }
            Step::Uncordon => {
                self.drain = Drain::Unknown;
                self.side.uncordon().await?;
            }
            Step::Reboot => {
                // Past every cache: nothing may have been taken back since the drain began.
                if !self.side.confirm_reboot().await? {
                    return Ok(Pause::None);
                }
                system::reboot(&self.host).await?;
                return Ok(Pause::Shutdown);
            }
        }
        Ok(Pause::None)
    }

    /// Whatever comes of it is in the record before anybody looks again.
    async fn run_command(&self, command: &Command, mut record: Record) -> Result<(), AgentError> {
        let failure = system::run_command(&self.host, command).await.err();
        if let Some(failure) = &failure {
            tracing::warn!(command = command.line(), words = failure.stderr, "failed");
        }
        record.note(command, failure, seconds());
        look::save_record(&self.host, &self.record, &record)
    }

    async fn wait(&mut self, pause: Pause) {
        let Self {
            side,
            eyes,
            rest,
            budgets,
            ..
        } = self;
        match pause.limit() {
            Some(limit) if limit.is_zero() => {}
            Some(limit) if pause == Pause::Shutdown => tokio::time::sleep(limit).await,
            limit => {
                tokio::select! {
                    () = side.changed() => *rest = None,
                    () = eyes.changed() => {}
                    () = told(budgets.as_mut()) => {}
                    () = pause::sleep(limit) => {}
                }
            }
        }
    }
}

async fn told(budgets: Option<&mut budget::Handle>) {
    match budgets {
        Some(budgets) => budgets.changed().await,
        None => std::future::pending().await,
    }
}

/// The name of a step in the log.
pub fn name(step: &Step) -> &'static str {
    match step {
        Step::Rest => "Rest",
        Step::Wait { .. } => "Wait",
        Step::WantTurn => "WantTurn",
        Step::TakeTurn => "TakeTurn",
        Step::ReturnTurn => "ReturnTurn",
        Step::Prepare => "Prepare",
        Step::Save(_) => "Save",
        Step::Run(_) => "Run",
        Step::Cordon => "Cordon",
        Step::Drain => "Drain",
        Step::Uncordon => "Uncordon",
        Step::Reboot => "Reboot",
    }
}

fn what(step: &Step) -> String {
    match step {
        Step::Run(command) => command.line(),
        _ => String::new(),
    }
}

/// Steps that need nobody's word anew once a turn is taken: they change nothing that runs.
fn stays_on_the_host(step: &Step) -> bool {
    matches!(step, Step::Prepare | Step::Save(_) | Step::Run(_))
}

fn keep_to_reserved(spec: &RealtimeNodeSpec) {
    if let Some(cpu) = &spec.cpu
        && let Ok(reserved) = cpu.reserved.parse()
    {
        affinity::keep_to(&reserved);
    }
}

/// Seconds since the epoch.
pub fn seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drained node that an admin uncordoned takes pods: the next cordon needs a drain of its own.
    #[tokio::test]
    async fn a_drain_holds_for_its_cordon_only() {
        let folder = tempfile::tempdir().unwrap();
        let alone = Alone::new(RealtimeNodeSpec::default(), false, None);
        let host = Host::new(folder.path(), None);
        let mut agent = Agent::new(host, "/state", false, Side::Alone(Box::new(alone)));
        for step in [Step::Cordon, Step::Uncordon] {
            agent.drain = Drain::Done;
            let observed = Observed {
                boot: kernel::Boot::default(),
                system: System::Other(String::new()),
                record: Record::default(),
                offered: None,
                node: kernel::Surroundings::default(),
                now: 0,
            };
            agent
                .execute(&Wanted::default(), observed, step)
                .await
                .unwrap();
            assert_eq!(agent.drain, Drain::Unknown);
        }
    }
}
