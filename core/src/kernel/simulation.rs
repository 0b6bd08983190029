//! A host, a node and an operator as a pure model, for the tests of this module alone: the list of deployments by section
//! 1.1 of rpm-ostree.md, and the faults of rpm-ostree-measured.md. It decides nothing of what is tested.

mod any;
mod host;
mod rpm;
mod tests;
mod transitions;

use std::collections::BTreeSet;

use super::record::CommandFailure;
use super::*;
use crate::api::realtime_node::NodePhase;

pub(super) use host::{Fault, OstreeHost, STOCK};
pub(super) use rpm::RpmHost;

/// Most steps of a flow before it counts as a livelock: about five times the longest sound one.
const STEP_LIMIT: usize = 400;

/// What happens right after a step was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crash {
    /// The daemon is killed after the step.
    Daemon,
    /// The daemon is killed after a command's effect and before its result is noted; otherwise before the step.
    Between,
    /// The power is cut.
    Power,
    /// Somebody reboots the host in order.
    ForeignReboot,
    /// Somebody drops what is pending.
    ForeignCleanup,
    /// Somebody stages arguments of his own.
    ForeignArguments,
    /// The profile changes to the other kernel.
    Turned,
    /// The profile gets another argument.
    OtherArguments,
    /// An admin cordons the node, and lifts it ten steps later.
    AdminCordon,
}

pub(super) const CRASHES: [Crash; 9] = [
    Crash::Daemon,
    Crash::Between,
    Crash::Power,
    Crash::ForeignReboot,
    Crash::ForeignCleanup,
    Crash::ForeignArguments,
    Crash::Turned,
    Crash::OtherArguments,
    Crash::AdminCordon,
];

/// What the kind of host does.
pub(super) trait Host: Clone {
    fn system(&self) -> System;
    fn boot(&self) -> Boot;
    fn run(&mut self, command: &Command) -> Result<(), CommandFailure>;
    fn reboot(&mut self, orderly: bool);
    fn foreign_cleanup(&mut self);
    fn foreign_arguments(&mut self);
    /// The daemon is killed in the midst of a command, whose effect comes all the same.
    fn outlives(&mut self, _command: &Command) {}
    /// Time passes.
    fn passes(&mut self) {}
}

/// A node in its cluster.
#[derive(Clone)]
pub(super) struct World<H> {
    pub host: H,
    pub wanted: Wanted,
    pub record: Record,
    pub node: Surroundings,
    pub offered: Option<Offered>,
    /// What a look at the source says.
    pub source: Offered,
    pub now: u64,
    pub reboots: u32,
    pub steps: usize,
    pub admin_until: Option<usize>,
    pub pods_stay: bool,
    pub last: Option<Next>,
    pub seen: BTreeSet<(String, String)>,
    pub log: Vec<String>,
}

impl<H: Host> World<H> {
    pub fn new(host: H, wanted: Wanted) -> Self {
        Self {
            host,
            wanted,
            record: Record::default(),
            node: Surroundings {
                cluster: true,
                ..Surroundings::default()
            },
            offered: None,
            source: Offered::Repositories,
            now: 1_000_000,
            reboots: 0,
            steps: 0,
            admin_until: None,
            pods_stay: false,
            last: None,
            seen: BTreeSet::new(),
            log: Vec::new(),
        }
    }

    pub fn observed(&self) -> Observed {
        Observed {
            boot: self.host.boot(),
            system: self.host.system(),
            record: self.record.clone(),
            offered: self.offered.clone(),
            node: self.node.clone(),
            now: self.now,
        }
    }

    pub fn phase(&self) -> NodePhase {
        self.last
            .as_ref()
            .map_or(NodePhase::Pending, |next| next.phase)
    }

    pub fn reason(&self) -> &'static str {
        self.last
            .as_ref()
            .map_or("", |next| next.conditions[0].reason)
    }

    fn forget(&mut self) {
        self.offered = None;
        self.node.drain = Drain::Unknown;
    }

    /// One step. `false`: at rest.
    #[allow(clippy::too_many_lines, reason = "each kind of step once")]
    pub fn step(&mut self, crash: Option<Crash>) -> bool {
        let observed = self.observed();
        let decided = next(&self.wanted, &observed);
        assert_eq!(
            decided,
            next(&self.wanted, &observed),
            "the same input, another answer"
        );
        let from = format!("{:?}", self.phase());
        let to = format!("{:?}", decided.phase);
        if from != to && self.last.is_some() {
            self.seen.insert((from, to));
        }
        let step = match &decided.step {
            Step::Save(record) => {
                let attempt = record.attempt.as_ref();
                format!(
                    "Save intent {:?} staged {:?} failed {:?}",
                    attempt.and_then(|a| a.intent.as_ref().map(|i| &i.command)),
                    attempt.and_then(|a| a.staged.as_ref().map(|s| &s.id)),
                    attempt.and_then(|a| a.failed.as_ref().map(|f| &f.reason))
                )
            }
            other => format!("{other:?}"),
        };
        self.log.push(format!(
            "{} {:?} {step} | {}",
            self.steps, decided.phase, decided.conditions[0].message
        ));
        self.last = Some(decided.clone());
        self.steps += 1;
        // The operator, and the admin who lifts a cordon.
        if self.node.turn.is_some() {
            self.node.granted = true;
        }
        if self.admin_until.is_some_and(|until| self.steps > until) {
            self.admin_until = None;
            self.node.cordon = Cordon::No;
        }
        self.now += 1;
        let mut goes_on = true;
        let step = if crash == Some(Crash::Between) && !matches!(decided.step, Step::Run(_)) {
            Step::Wait { seconds: 0 }
        } else {
            decided.step
        };
        match step {
            Step::Rest => {
                let waits = self.node.turn == Some(crate::api::realtime_node::NodeTurn::Wanted);
                goes_on = waits || self.admin_until.is_some();
            }
            Step::Wait { seconds } => {
                self.now += u64::from(seconds);
                if seconds > 0 {
                    self.host.passes();
                }
                if matches!(
                    self.offered,
                    Some(Offered::Failed {
                        transient: true,
                        ..
                    })
                ) {
                    self.offered = None;
                }
            }
            Step::WantTurn => self.node.turn = Some(crate::api::realtime_node::NodeTurn::Wanted),
            Step::TakeTurn => {
                assert!(self.node.granted);
                self.node.turn = Some(crate::api::realtime_node::NodeTurn::Taken);
            }
            Step::ReturnTurn => {
                self.node.turn = None;
                self.node.granted = false;
            }
            Step::Prepare => self.offered = Some(self.source.clone()),
            Step::Save(record) => {
                let text = serde_json::to_string(&record).unwrap();
                self.record = serde_json::from_str(&text).unwrap();
            }
            Step::Run(command) => {
                self.may_disturb(&command);
                let failure = self.host.run(&command).err();
                if let Some(failure) = &failure {
                    self.log.push(format!("   failed: {}", failure.stderr));
                }
                if crash == Some(Crash::Between) {
                    self.host.outlives(&command);
                } else {
                    self.record.note(&command, failure, self.now);
                }
            }
            Step::Cordon => {
                assert_eq!(self.node.cordon, Cordon::No);
                self.node.cordon = Cordon::Ours;
                self.node.drain = Drain::Unknown;
            }
            Step::Drain => {
                let seconds = match self.node.drain {
                    Drain::Remaining { seconds, .. } => seconds + 600,
                    _ => 0,
                };
                self.node.drain = if self.pods_stay {
                    Drain::Remaining {
                        pods: vec!["shop/till-0 (disruption budget)".into()],
                        seconds,
                    }
                } else {
                    Drain::Done
                };
            }
            Step::Uncordon => {
                assert_eq!(self.node.cordon, Cordon::Ours);
                self.node.cordon = Cordon::No;
            }
            Step::Reboot => {
                assert!(
                    !self.node.cluster
                        || self.node.turn == Some(crate::api::realtime_node::NodeTurn::Taken)
                );
                assert!(!self.node.cluster || self.node.cordon == Cordon::Ours);
                self.reboots += 1;
                self.host.reboot(true);
                self.forget();
            }
        }
        match crash {
            Some(Crash::Daemon | Crash::Between) => self.forget(),
            Some(Crash::Power) => {
                self.host.reboot(false);
                self.forget();
            }
            Some(Crash::ForeignReboot) => {
                self.host.reboot(true);
                self.forget();
            }
            Some(Crash::ForeignCleanup) => self.host.foreign_cleanup(),
            Some(Crash::ForeignArguments) => self.host.foreign_arguments(),
            Some(Crash::Turned) => {
                self.wanted = tests::wanted(!self.wanted.realtime);
                if !self.wanted.realtime {
                    self.wanted.arguments.clear();
                }
            }
            Some(Crash::OtherArguments) => self.wanted.arguments.push("skew_tick=1".into()),
            Some(Crash::AdminCordon) if self.node.cordon == Cordon::No => {
                self.node.cordon = Cordon::Others;
                self.admin_until = Some(self.steps + 10);
            }
            Some(Crash::AdminCordon) | None => {}
        }
        goes_on || crash.is_some()
    }

    /// Before the turn was taken nothing may change what boots next, but for putting back what already runs.
    fn may_disturb(&self, command: &Command) {
        let line = command.line();
        let stages = ["kargs", "override", "rollback"]
            .iter()
            .any(|verb| line.starts_with(&format!("rpm-ostree {verb}")))
            || line.starts_with("dnf -y install");
        assert!(
            !stages
                || !self.node.cluster
                || self.node.turn == Some(crate::api::realtime_node::NodeTurn::Taken),
            "{line} without the turn"
        );
    }

    /// Runs to rest, with something happening after step `at`.
    pub fn run(&mut self, at: usize, crash: Option<Crash>) {
        let mut waits = 0;
        for step in 0..STEP_LIMIT {
            let now = crash.filter(|_| step == at);
            if !self.step(now) {
                return;
            }
            // Waits for as long as somebody else's deployment is there.
            waits = if self.reason() == crate::conditions::reason::FOREIGN_DEPLOYMENT {
                waits + 1
            } else {
                0
            };
            if waits > 20 {
                return;
            }
        }
        panic!(
            "no rest after {STEP_LIMIT} steps:\n{}",
            self.log[self.log.len() - 40..].join("\n")
        );
    }

    pub fn story(&self) -> String {
        self.log.join("\n")
    }
}
