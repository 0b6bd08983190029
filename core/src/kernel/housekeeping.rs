//! Commands of which nothing depends on their success: unpinning, taking our own deployment away. Each is tried a few
//! times, its end is looked at, and one that does not help is given up, never repeated for ever.

use super::failure::{self, Kind};
use super::record::{Intent, Record};
use super::tell::save_attempt;
use super::{Command, Observed, Step};

/// Seconds before a command that failed is tried again, times the failures so far.
pub(super) const BACK_OFF: u64 = 30;
/// Longest pause between two tries, seconds.
const LONGEST_BACK_OFF: u64 = 300;
/// Tries of a command that fails.
pub(super) const TRIES: u32 = 3;
/// Tries of a command that finds the host busy: about an hour.
pub(super) const BUSY_TRIES: u32 = 20;

/// The pause that is left before the command in the record's error may run again.
pub(super) fn pause(observed: &Observed) -> Option<Step> {
    let attempt = observed.record.attempt.as_ref()?;
    let pause = BACK_OFF
        .saturating_mul(u64::from(attempt.failures))
        .min(LONGEST_BACK_OFF);
    // A clock that went back must not make this wait for ever.
    let passed = observed.now.checked_sub(attempt.failed_at)?;
    let left = pause.checked_sub(passed).filter(|left| *left > 0)?;
    Some(Step::Wait {
        seconds: u32::try_from(left).unwrap_or(u32::MAX),
    })
}

/// What is written down before a command runs.
pub(super) fn intend(record: &mut Record, observed: &Observed, command: &Command, front: String) {
    let attempt = record.attempt.get_or_insert_default();
    attempt.intent = Some(Intent {
        command: command.line(),
        front,
        boot_id: observed.boot.id.clone(),
        ..Intent::default()
    });
    attempt.error = None;
    attempt.failures = 0;
}

/// The next step of a command that is wanted because its effect is not there. `None`: it was given up.
pub(super) fn try_to(observed: &Observed, command: Command, front: String) -> Option<Step> {
    let record = &observed.record;
    let line = command.line();
    let attempt = record.attempt.as_ref();
    if attempt.is_some_and(|attempt| attempt.given_up.contains(&line)) {
        return None;
    }
    let give_up = || {
        Some(save_attempt(record, |attempt| {
            attempt.given_up.push(line.clone());
            attempt.intent = None;
            attempt.error = None;
        }))
    };
    let intent = attempt.and_then(|attempt| attempt.intent.as_ref());
    let Some(intent) = intent.filter(|intent| {
        intent.command == line && intent.boot_id == observed.boot.id && intent.front == front
    }) else {
        let mut record = record.clone();
        intend(&mut record, observed, &command, front);
        return Some(Step::Save(Box::new(record)));
    };
    if intent.done {
        return give_up();
    }
    let error = attempt
        .and_then(|attempt| attempt.error.as_ref())
        .filter(|error| error.command == line);
    if let Some(error) = error {
        let tries = if failure::kind(error) == Kind::Busy {
            BUSY_TRIES
        } else {
            TRIES
        };
        if attempt.is_some_and(|attempt| attempt.failures >= tries) {
            return give_up();
        }
        if let Some(pause) = pause(observed) {
            return Some(pause);
        }
    }
    Some(Step::Run(command))
}

/// As [`try_to`], for a command whose effect can't be seen: it is not wanted any more when it went well.
pub(super) fn try_once(observed: &Observed, command: Command, front: String) -> Option<Step> {
    let line = command.line();
    let done = observed
        .record
        .attempt
        .as_ref()
        .and_then(|attempt| attempt.intent.as_ref())
        .is_some_and(|intent| {
            intent.command == line && intent.boot_id == observed.boot.id && intent.done
        });
    if done {
        return None;
    }
    try_to(observed, command, front)
}
