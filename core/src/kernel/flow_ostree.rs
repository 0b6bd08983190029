//! The decision on a host with rpm-ostree, in the order of its sentence: wait for whoever works → prove what was booted →
//! undo what failed → look whether all is as wanted → else choose, wait for the turn, stage, drain, reboot.
//!
//! Every command works on the first deployment of the list, so nothing is built on one that is not ours.

use super::attempt;
use super::goal::{self, Base, Kernel};
use super::ostree::Deployment;
use super::packages::{self, Chosen, Problem};
use super::record::{Attempt, Record};
use super::tell::next;
use super::{
    Next, Observed, OstreeView, Step, Wanted, arguments, boot_check, obstacle, stage, turn, undo,
    verify,
};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

/// Pause while another transaction runs, seconds: rpm-ostreed's unit counts its starts, so not faster.
const TRANSACTION_PAUSE: u32 = 10;

/// What a decision is made from.
pub(super) struct Ostree<'a> {
    pub wanted: &'a Wanted,
    pub observed: &'a Observed,
    pub view: &'a OstreeView,
    pub record: &'a Record,
    /// The deployment that runs.
    pub booted: &'a Deployment,
    /// Its place in the list.
    pub at: usize,
    /// The deployment that boots next.
    pub front: &'a Deployment,
    pub base: Base,
    /// What would be installed. `None`: not wanted, or the source was not looked at yet.
    pub chosen: Option<Result<Chosen, Problem>>,
    pub key: String,
}

pub(super) fn decide(wanted: &Wanted, observed: &Observed, view: &OstreeView) -> Next {
    match Ostree::new(wanted, observed, view) {
        Some(host) => host.decide(),
        None => verify::unknown(
            wanted,
            observed,
            "rpm-ostree names no deployment that is booted",
        ),
    }
}

impl<'a> Ostree<'a> {
    fn new(wanted: &'a Wanted, observed: &'a Observed, view: &'a OstreeView) -> Option<Self> {
        let (at, booted) = view.status.booted()?;
        let front = view.status.deployments.first()?;
        let base = Base::of(view, booted);
        let chosen = match &observed.offered {
            Some(offered) if wanted.realtime => Some(packages::choose(
                wanted,
                offered,
                &view.enabled_repositories,
                base.kernel.as_ref(),
            )),
            _ => None,
        };
        let known = chosen.as_ref().and_then(|chosen| chosen.as_ref().ok());
        let key = attempt::key(wanted, booted.base(), known);
        let dropped = observed
            .record
            .attempt
            .as_ref()
            .map(|attempt| attempt.dropped.as_slice());
        let chosen =
            chosen.map(|chosen| chosen.map(|chosen| chosen.without(dropped.unwrap_or_default())));
        Some(Self {
            wanted,
            observed,
            view,
            record: &observed.record,
            booted,
            at,
            front,
            base,
            chosen,
            key,
        })
    }

    fn decide(&self) -> Next {
        if self.view.status.transaction.is_some() {
            return self.transaction_runs();
        }
        if let Some(record) = stage::brought_by_reboot(self) {
            return next(
                NodePhase::Verifying,
                Step::Save(Box::new(record)),
                reason::VERIFYING,
                "Somebody rebooted the host before the daemon saw what its command had staged.",
            );
        }
        if let Some(record) = stage::made_nothing(self) {
            return next(
                NodePhase::Staging,
                Step::Save(Box::new(record)),
                reason::STAGING,
                "A command failed, and left what it started from.",
            );
        }
        if let Some(next) = boot_check::decide(self).or_else(|| undo::decide(self)) {
            return next;
        }
        match self.fault() {
            None => self.ready(),
            Some(fault) => self.switch(&fault),
        }
    }

    /// The attempt for what is wanted now, on this base.
    pub fn attempt(&self) -> Option<&Attempt> {
        let attempt = self.record.attempt.as_ref();
        attempt.filter(|attempt| attempt::same(&attempt.key, &self.key))
    }

    /// What is known of the packages.
    pub fn known(&self) -> Option<&Chosen> {
        self.chosen.as_ref()?.as_ref().ok()
    }

    /// Whether the first deployment is the booted one.
    pub fn nothing_pending(&self) -> bool {
        self.at == 0
    }

    /// Whether a deployment is the one that the record says we staged.
    pub fn recorded(&self, deployment: &Deployment) -> bool {
        self.record
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.staged.as_ref())
            .is_some_and(|staged| {
                // Ids are given again (rpm-ostree-measured.md, 0.8), and what is staged was made in this boot.
                let at_its_time = !deployment.staged || staged.boot_id == self.observed.boot.id;
                at_its_time && staged.id == deployment.id && staged.checksum == deployment.checksum
            })
    }

    /// Whether a deployment is the one that was staged, and was compared with what the source offers.
    pub fn compared(&self, deployment: &Deployment) -> bool {
        let staged = self
            .record
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.staged.as_ref());
        self.recorded(deployment) && staged.is_some_and(|staged| staged.compared)
    }

    /// Whether a deployment is ours to take away.
    pub fn ours(&self, deployment: &Deployment) -> bool {
        let adopted = self
            .record
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.adopted);
        (self.recorded(deployment) && !adopted) || stage::made_by_intent(self, deployment)
    }

    /// The kernel of a deployment, compared with what is wanted.
    pub fn kernel(&self, deployment: &Deployment, fresh: bool) -> Kernel {
        if self.wanted.realtime {
            let boot = &self.observed.boot;
            let running = deployment
                .booted
                .then_some((boot.release.as_str(), boot.realtime));
            goal::realtime(deployment, &self.base, self.known(), fresh, running)
        } else {
            goal::stock(deployment, self.record)
        }
    }

    /// What has to change on the command line of the first deployment.
    pub fn arguments(&self) -> arguments::Delta {
        if self.wanted.arguments_ours {
            arguments::delta(
                &self.wanted.arguments,
                &self.view.next_arguments,
                self.record,
            )
        } else {
            arguments::Delta::default()
        }
    }

    /// Whether the first deployment, once booted, is all that is wanted.
    pub fn front_is_complete(&self) -> bool {
        !self.front.finalization_locked
            && self.kernel(self.front, false) == Kernel::Holds
            && self.arguments().is_empty()
    }

    /// Whether somebody else's deployment may be booted in the place of ours. Of an operating system update that is not
    /// sure even when it has all that is wanted: newer versions of rpm-ostree do not say in their status that it is locked
    /// (seen with v2024.7), and a locked one is lost at the shutdown.
    pub fn adoptable(&self) -> bool {
        self.front.base() == self.booted.base() && self.front_is_complete()
    }

    /// What is not as wanted in what runs: reason and words.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let boot = &self.observed.boot;
        match self.kernel(self.booted, false) {
            Kernel::Holds => {}
            Kernel::Inactive(why) => {
                return Some((
                    reason::OVERRIDE_INACTIVE,
                    format!("{} runs; {why}.", boot.release),
                ));
            }
            Kernel::Differs(why) => {
                let fault = if self.wanted.realtime {
                    reason::STOCK_KERNEL_RUNS
                } else {
                    reason::REALTIME_KERNEL_RUNS
                };
                return Some((fault, format!("{} runs; {why}.", boot.release)));
            }
        }
        if self.wanted.realtime != boot.realtime {
            return verify::fault(self.wanted, self.observed);
        }
        if !self.wanted.arguments_ours {
            return None;
        }
        let delta = arguments::delta(&self.wanted.arguments, &boot.command_line, self.record);
        (!delta.is_empty()).then(|| {
            let changes = delta.added().map(|argument| format!("+{argument}"));
            let gone = delta.delete.iter().chain(&delta.delete_one);
            let changes: Vec<String> = changes
                .chain(gone.map(|argument| format!("-{argument}")))
                .collect();
            (
                reason::ARGUMENTS_MISSING,
                format!(
                    "{} runs, and its kernel arguments differ: {}.",
                    boot.release,
                    changes.join(" ")
                ),
            )
        })
    }

    /// Nothing is begun. But what is given back needs no rpm-ostree: somebody else's transaction may hang, and a node that
    /// came up as wanted would stay cordoned, and keep the turn of another one.
    fn transaction_runs(&self) -> Next {
        let wait = Step::Wait {
            seconds: TRANSACTION_PAUSE,
        };
        let told = "An rpm-ostree transaction runs on the host: nothing is begun before its end.";
        if let Some((_, what)) = self.fault()
            && undo::decide(self).is_none()
            && let Some(over) = obstacle::attempted(self.observed, self.attempt(), &what)
        {
            return over;
        }
        if self.fault().is_none() && !self.begun_here() {
            // Once a node that goes back is Ready, its RealtimeNode goes, and nobody would take back what is left.
            let left = !self.wanted.realtime
                && (self.record.pinned.is_some() || self.settled_record().is_some());
            return turn::settle(
                self.observed,
                if left {
                    NodePhase::Verifying
                } else {
                    NodePhase::Ready
                },
                wait,
                reason::TRANSACTION_RUNNING,
                told,
            );
        }
        let phase = if self.record.under_way().is_some() {
            NodePhase::Staging
        } else if self.fault().is_none() {
            NodePhase::Ready
        } else {
            NodePhase::Pending
        };
        next(phase, wait, reason::TRANSACTION_RUNNING, told)
    }

    /// Whether something of ours may wait for the end of this boot: an attempt that began in it, a command that was written
    /// down in it, what is staged. Nor is it known that the wanted kernel runs while the source, which could say otherwise,
    /// was not looked at.
    fn begun_here(&self) -> bool {
        let here = |boot_id: &str| boot_id == self.observed.boot.id;
        let unseen =
            self.wanted.realtime && self.observed.offered.is_none() && !self.compared(self.booted);
        let begun = self.record.under_way().is_some_and(|attempt| {
            let intent = attempt.intent.as_ref();
            let staged = attempt.staged.as_ref();
            here(&attempt.boot_id)
                || intent.is_some_and(|intent| here(&intent.boot_id))
                || staged.is_some_and(|staged| here(&staged.boot_id))
                || unseen
        });
        begun || (!self.nothing_pending() && self.ours(self.front))
    }
}
