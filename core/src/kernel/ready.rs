//! An rpm-ostree host on which all is as wanted: what is still held is given back, what is ours is remembered, and what a
//! person should know is told.

use super::attempt;
use super::flow_ostree::Ostree;
use super::record::Record;
use super::tell::next;
use super::{Next, Step, arguments, packages, release, turn, undo, verify};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

impl Ostree<'_> {
    /// All is as wanted: give back what is held, remember what is ours, rest.
    pub(super) fn ready(&self) -> Next {
        let release = &self.observed.boot.release;
        if let Some(next) = self.refresh() {
            return next;
        }
        if self.may_be_another_kernel() {
            return next(
                NodePhase::Observing,
                Step::Prepare,
                reason::PREPARING,
                format!("{release} runs, and a switch was begun. The package source is looked at."),
            );
        }
        if let Some(step) = undo::unpin(self) {
            return next(
                NodePhase::Verifying,
                step,
                reason::VERIFYING,
                format!(
                    "{release} runs as wanted. The deployment that was kept meanwhile is unpinned."
                ),
            );
        }
        if let Some(record) = self.settled_record() {
            return next(
                NodePhase::Verifying,
                Step::Save(Box::new(record)),
                reason::VERIFYING,
                format!("{release} runs as wanted."),
            );
        }
        // The node takes pods again before the source is looked at: that may take its time.
        let held = turn::give_back(self.observed).is_some();
        if self.wanted.realtime && self.observed.offered.is_none() && !held {
            return next(
                NodePhase::Ready,
                Step::Prepare,
                reason::AS_EXPECTED,
                format!("{release} runs as wanted. The package source is looked at."),
            );
        }
        if let Some(next) = verify::arguments_of_others(self.wanted, self.observed) {
            return next;
        }
        let (reason, words) = self.remarks();
        turn::settle(
            self.observed,
            NodePhase::Ready,
            Step::Rest,
            reason,
            format!("{release} runs with all wanted arguments.{words}"),
        )
    }

    /// The record of a host that is as wanted, when it differs from the one that is written.
    pub(super) fn settled_record(&self) -> Option<Record> {
        let mut record = self.record.clone();
        match &mut record.attempt {
            Some(attempt) if attempt::same(&attempt.key, &self.key) => {
                attempt.succeeded = attempt.succeeded || attempt.failed.is_none();
            }
            // What was given up is not tried again while nothing changes.
            Some(attempt) if !attempt.given_up.is_empty() => {}
            attempt => *attempt = None,
        }
        if self.wanted.arguments_ours {
            arguments::settle(&mut record, &self.observed.boot.command_line);
        }
        if !self.wanted.realtime {
            record.installed.clear();
            record.replaced.clear();
            record.removed.clear();
        }
        (record != *self.record).then_some(record)
    }

    /// A switch from one real-time kernel to another was begun and nothing of it was booted: without a look at the source,
    /// which a daemon that was started anew has not had, the running kernel would pass for the wanted one.
    fn may_be_another_kernel(&self) -> bool {
        let boot = &self.observed.boot.id;
        let begun = self.attempt().is_some_and(|attempt| {
            let staged = attempt.staged.as_ref();
            attempt.under_way() && staged.is_none_or(|staged| staged.boot_id == *boot)
        });
        begun && self.wanted.realtime && self.observed.offered.is_none()
    }

    /// A newer kernel by name is only asked for by a person (a new retry annotation): repositories are resolved anew at
    /// every operating system update anyway.
    fn refresh(&self) -> Option<Next> {
        let open = match self.attempt() {
            Some(attempt) => attempt.under_way(),
            None => self.wanted.retry != self.record.retried,
        };
        if !open || self.wanted.retry.is_none() || !self.refreshing() {
            return None;
        }
        if self.attempt().is_some() && self.observed.offered.is_none() {
            // The daemon was started anew in the middle of it.
            return Some(next(
                NodePhase::Observing,
                Step::Prepare,
                reason::PREPARING,
                "The package source is looked at.",
            ));
        }
        let asked = self.known().is_some();
        let free = self.nothing_pending() || self.ours(self.front);
        (asked && free).then(|| {
            self.begin(&format!("{} is of another version than the operating system's own kernel, and another try is asked for", self.observed.boot.release))
        })
    }

    /// Whether the real-time kernel comes by name and is of another version than the base's own.
    pub(super) fn refreshing(&self) -> bool {
        self.wanted.realtime
            && !packages::from_files(&self.wanted.packages)
            && self.versions_differ()
    }

    fn versions_differ(&self) -> bool {
        let release = &self.observed.boot.release;
        self.wanted.realtime
            && self
                .base
                .kernel
                .as_ref()
                .is_some_and(|stock| !release::same_source_release(stock, release))
    }

    fn remarks(&self) -> (&'static str, String) {
        if !self.nothing_pending() {
            let words = if self.front_is_complete() {
                " Another deployment boots next; it was not made by this daemon, and it has the wanted kernel and arguments too."
            } else {
                " Another deployment boots next; it was not made by this daemon, and it does NOT have the wanted kernel and arguments: after its boot the node is switched again, with another reboot."
            };
            return (reason::FOREIGN_DEPLOYMENT, words.to_owned());
        }
        if self.versions_differ() {
            let stock = self
                .base
                .kernel
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let words = format!(
                " It is of another version than the operating system's own kernel ({stock}): the package source had no other. Change the source, or the annotation realtime.openshift.io/retry once it has."
            );
            return (reason::VERSIONS_DIFFER, words);
        }
        match &self.chosen {
            Some(Err(problem)) => (
                reason::AS_EXPECTED,
                format!(
                    " The package source can't be used at the moment: {}",
                    problem.message
                ),
            ),
            _ => (reason::AS_EXPECTED, String::new()),
        }
    }
}
