//! An rpm-ostree host on which something is not as wanted: one attempt, what is to be installed, who is in the way, the turn,
//! the pin; then staging.

use super::flow_ostree::Ostree;
use super::record::Attempt;
use super::tell::{self, next, save};
use super::{Next, Step, arguments, housekeeping, obstacle, room, stage, turn, undo};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

impl Ostree<'_> {
    /// Something is not as wanted.
    pub(super) fn switch(&self, (fault, what): &(&'static str, String)) -> Next {
        let degraded = |reason, message| obstacle::degraded(self.observed, reason, message);
        // 1. One attempt for each wanted state.
        if let Some(over) = obstacle::attempted(self.observed, self.attempt(), what) {
            return over;
        }
        // 2. What is to be installed. What is complete and ours needs no source any more.
        let ours = !self.nothing_pending() && self.ours(self.front);
        if !(ours && self.front_is_complete() && self.compared(self.front)) {
            if self.wanted.realtime && self.observed.offered.is_none() {
                return next(
                    NodePhase::Observing,
                    Step::Prepare,
                    reason::PREPARING,
                    format!("{what} The package source is looked at."),
                );
            }
            if let Some(Err(problem)) = &self.chosen {
                if ours {
                    // Half of it is staged: not left lying while the source is away.
                    return tell::fail(
                        self.record,
                        NodePhase::Staging,
                        problem.reason,
                        problem.message.clone(),
                    );
                }
                return obstacle::no_packages(self.observed, problem, what);
            }
        }
        // 3. Who is in the way.
        if !self.nothing_pending() && !ours && !self.adoptable() {
            return turn::settle(
                self.observed,
                NodePhase::Pending,
                turn::LOOK_AGAIN,
                reason::FOREIGN_DEPLOYMENT,
                format!(
                    "{what} Another deployment ({}) boots next, and it was not made by this daemon: it is neither changed nor taken away. Boot it, or drop it with `rpm-ostree cleanup -p`.",
                    self.front.id
                ),
            );
        }
        // 4. What no command can bring about.
        if self.nothing_pending()
            && let Some(message) = stage::impossible(self)
        {
            // Begun before somebody else rebooted the host: what was kept for it is kept for nothing.
            return match undo::unpin(self) {
                Some(step) => next(NodePhase::Staging, step, fault, format!("{what} {message}")),
                None => degraded(fault, format!("{what} {message}")),
            };
        }
        if let Some(message) = room::lacking(self) {
            return degraded(reason::NO_SPACE_IN_BOOT, format!("{what} {message}"));
        }
        self.begin(what.trim_end_matches('.'))
    }

    /// Turn, attempt, staging, reboot.
    pub(super) fn begin(&self, what: &str) -> Next {
        if let Some(next) = turn::gate(self.observed, what) {
            return next;
        }
        let staging = |step| {
            next(
                NodePhase::Staging,
                step,
                reason::STAGING,
                format!("{what}. The next boot is being prepared."),
            )
        };
        let Some(attempt) = self.attempt() else {
            // A pin of a former attempt would be forgotten.
            if self
                .record
                .pinned
                .as_ref()
                .is_some_and(|pinned| !self.is_booted(pinned))
                && let Some(step) = undo::unpin(self)
            {
                return staging(step);
            }
            return staging(save(self.record, |record| {
                arguments::settle(record, &self.view.next_arguments);
                record.retried.clone_from(&self.wanted.retry);
                record.attempt = Some(Attempt {
                    key: self.key.clone(),
                    realtime: self.wanted.realtime,
                    boot_id: self.observed.boot.id.clone(),
                    ..Attempt::default()
                });
            }));
        };
        if !self.nothing_pending() && !self.recorded(self.front) {
            return stage::claim(self, attempt, what);
        }
        if let Some(step) = room::make(self).or_else(|| self.pin()) {
            return staging(step);
        }
        stage::decide(self, what)
    }

    fn is_booted(&self, (checksum, serial): &(String, i64)) -> bool {
        self.booted.checksum == *checksum && self.booted.serial == *serial
    }

    /// The deployment that runs is kept until the new one has proved itself.
    fn pin(&self) -> Option<Step> {
        if self.booted.pinned {
            return None;
        }
        // Somebody rebooted the host in between: the pin of what ran before would be forgotten.
        let former = self.record.pinned.as_ref();
        if former.is_some_and(|pinned| !self.is_booted(pinned)) {
            return undo::unpin(self);
        }
        if !self
            .record
            .pinned
            .as_ref()
            .is_some_and(|pinned| self.is_booted(pinned))
        {
            let step = save(self.record, |record| {
                record.pinned = Some((self.booted.checksum.clone(), self.booted.serial));
            });
            return Some(step);
        }
        let pin = super::Command::Pin {
            index: self.at,
            unpin: false,
        };
        housekeeping::try_to(self.observed, pin, self.front.key())
    }
}
