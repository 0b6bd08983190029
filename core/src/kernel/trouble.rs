//! A command of the switch failed and left nothing: what follows from its words. Each remedy is applied once, each try is
//! counted, and the end is a reason and a sentence.

use super::failure::{self, Kind};
use super::housekeeping::{self, BUSY_TRIES, TRIES};
use super::packages::Chosen;
use super::record::{Attempt, CommandFailure};
use super::tell::{fail, next, save_attempt};
use super::{Command, Next, Observed, Step};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

/// Tries of a command that fails because the network does.
const NETWORK_TRIES: u32 = 5;

/// What the answer depends on.
pub(super) struct Trouble<'a> {
    pub observed: &'a Observed,
    pub chosen: Option<&'a Chosen>,
    /// The packages come from files: repositories are only in the way.
    pub from_files: bool,
    /// What the command starts from.
    pub front: String,
    /// Throws the caches away.
    pub clean: Command,
    pub what: &'a str,
}

impl Trouble<'_> {
    fn staging(&self, step: Step, words: &str) -> Next {
        next(
            NodePhase::Staging,
            step,
            reason::STAGING,
            format!("{}. {words}", self.what),
        )
    }

    /// On the way to another try.
    fn pause_or_again(&self, attempt: &Attempt) -> Step {
        let mark = |made_nothing| {
            save_attempt(&self.observed.record, |attempt| {
                if let Some(intent) = attempt.intent.as_mut() {
                    intent.made_nothing = made_nothing;
                }
                if !made_nothing {
                    attempt.error = None;
                }
            })
        };
        let intent = attempt.intent.as_ref();
        if intent.is_none_or(|intent| intent.made_nothing) {
            // Written down before it runs anew: whoever is killed meanwhile would take what it stages for somebody
            // else's, since the last word about it is that it made nothing.
            housekeeping::pause(self.observed).unwrap_or_else(|| mark(false))
        } else {
            // This look is the one that sees what it left, which is nothing. What somebody stages in the pause is his.
            mark(true)
        }
    }

    /// The next step after a failure that left what the command started from.
    pub fn answer(&self, attempt: &Attempt, error: &CommandFailure) -> Next {
        let record = &self.observed.record;
        let tail = failure::tail(error);
        let kind = failure::kind(error);
        let end = |reason, words: &str| {
            fail(
                record,
                NodePhase::Staging,
                reason,
                format!("{words} {tail}"),
            )
        };
        let again = |tries: u32, reason, words: &str| {
            if attempt.failures >= tries {
                return end(reason, words);
            }
            let step = self.pause_or_again(attempt);
            self.staging(step, &format!("{words} It is tried again. {tail}"))
        };
        let with_clean_caches = |reason, words: &str| {
            if attempt.caches_cleaned {
                return end(reason, words);
            }
            let mut record = record.clone();
            housekeeping::intend(&mut record, self.observed, &self.clean, self.front.clone());
            if let Some(attempt) = record.attempt.as_mut() {
                attempt.caches_cleaned = true;
            }
            let words = format!("{words} The package caches are thrown away, once. {tail}");
            self.staging(Step::Save(Box::new(record)), &words)
        };
        let changed = |words: &str, change: &dyn Fn(&mut Attempt)| {
            let step = save_attempt(record, |attempt| {
                change(attempt);
                attempt.intent = None;
                attempt.error = None;
                attempt.failures = 0;
            });
            self.staging(step, words)
        };
        match &kind {
            Kind::Busy => again(
                BUSY_TRIES,
                reason::HOST_BUSY,
                "Another program keeps the host's package system.",
            ),
            Kind::NotFound(names) if self.optional(names) => changed(
                &format!(
                    "The source does not have {}, and it is not needed.",
                    names.join(", ")
                ),
                &|attempt| attempt.dropped.extend(names.iter().cloned()),
            ),
            Kind::NotFound(_) => with_clean_caches(
                reason::PACKAGES_NOT_FOUND,
                "The source does not have all packages that are needed.",
            ),
            Kind::Cache => with_clean_caches(
                reason::PACKAGE_DAMAGED,
                "A package is damaged, or no longer where the metadata says.",
            ),
            Kind::Network if self.from_files && !attempt.cache_only => changed(
                "A repository of the host can't be reached; the files are installed without it.",
                &|attempt| attempt.cache_only = true,
            ),
            Kind::Network => again(
                NETWORK_TRIES,
                reason::SOURCE_UNUSABLE,
                "A repository can't be reached.",
            ),
            Kind::Depsolve => end(
                reason::DEPSOLVE_FAILED,
                "The packages do not fit to this operating system, or not to each other.",
            ),
            Kind::NoSpace => end(
                reason::NO_SPACE_IN_SYSROOT,
                "The host's disk is full (rpm-ostree keeps 3 % of it free).",
            ),
            Kind::Locked => end(
                reason::LAYERING_LOCKED,
                "The host forbids layered packages (LockLayering in /etc/rpm-ostreed.conf).",
            ),
            Kind::Other => again(TRIES, reason::COMMAND_FAILED, "The command failed."),
        }
    }

    fn optional(&self, names: &[String]) -> bool {
        names.iter().all(|name| {
            self.chosen.is_some_and(|chosen| {
                chosen
                    .install
                    .iter()
                    .any(|choice| choice.name == *name && !choice.needed)
            })
        })
    }

    /// The caches are being thrown away: until that was done, or was tried often enough.
    pub fn clean_caches(&self, attempt: &Attempt) -> Option<Next> {
        let intent = attempt.intent.as_ref()?;
        if intent.command != self.clean.line() || intent.boot_id != self.observed.boot.id {
            return None;
        }
        let step = housekeeping::try_once(self.observed, self.clean.clone(), self.front.clone())?;
        Some(self.staging(step, "The package caches are thrown away."))
    }
}
