//! After a plan was written: what the kernel refused, for how long by now, and when that is tried again. Decides only; times
//! are given as what has gone by since any one moment, since there is no clock here.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::Plan;

/// Removed groups keep their part of the budget for some 10 to 35 ms, and as long as an unreaped zombie is in them:
/// longer than this it is something else.
pub const DYING: Duration = Duration::from_secs(2);
/// A group that was removed counts for so long for who comes in its place.
pub const GOING: Duration = Duration::from_millis(50);
/// Between two tries while it may be a dying group.
pub const AGAIN: Duration = Duration::from_millis(15);
/// Until what the kernel has refused for longer is tried again.
pub const REFUSED: Duration = Duration::from_secs(5);
/// Who writes the same file in a loop is put right, and not fought at full speed.
pub const FOREIGN: Duration = Duration::from_millis(300);

/// What became of a write that wasn't done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The kernel refused it, in these words.
    Refused(String),
    /// It was done, and another value was there right after.
    Changed(String),
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// Groups whose write the kernel refuses, and since when.
    pub failing: BTreeMap<String, Duration>,
    /// Containers' groups that get nothing for that, and the kernel's words: it isn't a dying group any more.
    pub refused: BTreeMap<String, String>,
    /// When to try again; `None`: all was done.
    pub again: Option<Duration>,
}

/// What the kernel may still count of groups that are gone: the groups, what they had, and until when it may. `had` and
/// `has`: what each group had and has, by the last look and this one.
pub fn going(
    mut before: BTreeMap<String, (i64, Duration)>,
    had: &BTreeMap<String, i64>,
    has: &BTreeMap<String, i64>,
    now: Duration,
) -> BTreeMap<String, (i64, Duration)> {
    for (group, &micros) in had {
        if micros > 0 && !has.contains_key(group) {
            before.insert(group.clone(), (micros, now + GOING));
        }
    }
    before.retain(|group, (_, until)| *until > now && !has.contains_key(group));
    before
}

/// Decides. `failed`: by the write's place in the plan. `before`: [`After::failing`] of the last time. What isn't there is
/// granted to nobody: it is taken out of the plan's grants. Whose group keeps more than it is to have, has what it asks for.
pub fn after(
    plan: &mut Plan,
    failed: &BTreeMap<usize, Failure>,
    before: &BTreeMap<String, Duration>,
    now: Duration,
) -> After {
    let mut after = After::default();
    for (&at, failure) in failed {
        let Some(write) = plan.writes.get(at) else {
            continue;
        };
        let group = &write.group;
        let since = before.get(group).copied().unwrap_or(now);
        let dying = now.saturating_sub(since) < DYING;
        let (words, time) = match failure {
            Failure::Changed(words) => (words, FOREIGN),
            Failure::Refused(words) if dying => (words, AGAIN),
            Failure::Refused(words) => (words, REFUSED),
        };
        after.failing.insert(group.clone(), since);
        after.again = Some(after.again.map_or(time, |again| again.min(time)));
        if !write.lowers() && plan.granted.remove(group).is_some() && !dying {
            after.refused.insert(group.clone(), words.clone());
        }
    }
    after
}
