//! What of a new status a person wants to hear as an Event: one for each real transition. Writes none.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::realtime_profile::RealtimeProfileStatus;
use crate::conditions::{AVAILABLE, DEGRADED, PROGRESSING, VALID, find, reason};

/// States that last a moment: what comes next is told.
const PASSING: [&str; 4] = [
    reason::WRITING_OBJECTS,
    reason::WAITING_FOR_FIRST_REPORTS,
    reason::WAITING_FOR_KUBELET_CONFIG,
    reason::WAITING_FOR_POOL,
];

/// One thing to tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct News<'a> {
    /// Whether it needs somebody.
    pub bad: bool,
    /// The condition that says it.
    pub condition: &'a Condition,
}

/// What to tell, in this order:
/// 1. the profile can't be rendered, or not for other problems than before;
/// 2. something is wrong, or something else than before, unless that is the same word;
/// 3. the summary changed, and nothing of the above said so.
pub fn news<'a>(before: &RealtimeProfileStatus, after: &'a RealtimeProfileStatus) -> Vec<News<'a>> {
    let now = |type_: &str, status: &str| {
        find(&after.conditions, type_).filter(|condition| condition.status == status)
    };
    let then = |condition: &Condition| {
        find(&before.conditions, &condition.type_)
            .filter(|then| then.status == condition.status)
            .cloned()
    };
    let bad = |condition| News {
        bad: true,
        condition,
    };
    let mut told = Vec::new();
    let invalid = now(VALID, "False");
    if let Some(invalid) = invalid
        && then(invalid).is_none_or(|then| then.message != invalid.message)
    {
        told.push(bad(invalid));
    }
    if let Some(degraded) = now(DEGRADED, "True")
        && invalid.is_none_or(|invalid| invalid.reason != degraded.reason)
        && then(degraded).is_none_or(|then| then.reason != degraded.reason)
    {
        told.push(bad(degraded));
    }
    let summary = after.summary.as_deref().unwrap_or_default();
    if told.is_empty()
        && before.summary.as_deref() != Some(summary)
        && !PASSING.contains(&summary)
        && let Some(condition) = [AVAILABLE, PROGRESSING]
            .iter()
            .filter_map(|type_| find(&after.conditions, type_))
            .find(|condition| condition.reason == summary)
    {
        told.push(News {
            bad: false,
            condition,
        });
    }
    told
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::conditions::{Decided, LATENCY_VERIFIED};

    fn status(summary: &str, conditions: Vec<Decided>) -> RealtimeProfileStatus {
        let now = Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
        RealtimeProfileStatus {
            summary: Some(summary.to_owned()),
            conditions: conditions
                .into_iter()
                .map(|decided| decided.timed(&[], None, &now))
                .collect(),
            ..RealtimeProfileStatus::default()
        }
    }

    fn going(why: &'static str) -> RealtimeProfileStatus {
        let reached = why == reason::UPDATED;
        status(
            why,
            vec![
                Decided::new(VALID, Some(true), reason::AS_EXPECTED, "a"),
                Decided::new(AVAILABLE, Some(reached), why, "b"),
                Decided::new(PROGRESSING, Some(!reached), why, "b"),
                Decided::new(DEGRADED, Some(false), reason::AS_EXPECTED, "c"),
                Decided::new(LATENCY_VERIFIED, None, reason::NO_LATENCY_GATE, "d"),
            ],
        )
    }

    fn wrong(type_: &'static str, why: &'static str, words: &str) -> RealtimeProfileStatus {
        status(
            why,
            vec![
                Decided::new(type_, Some(type_ == DEGRADED), why, words),
                Decided::new(AVAILABLE, Some(false), why, words),
            ],
        )
    }

    fn told(before: &RealtimeProfileStatus, after: &RealtimeProfileStatus) -> Vec<(bool, String)> {
        news(before, after)
            .into_iter()
            .map(|news| (news.bad, news.condition.reason.clone()))
            .collect()
    }

    #[test]
    fn a_rollout_is_told_in_few_words() {
        let states = [
            RealtimeProfileStatus::default(),
            going(reason::WRITING_OBJECTS),
            going(reason::WAITING_FOR_KUBELET_CONFIG),
            going(reason::WAITING_FOR_RENDER),
            going(reason::ROLLING_OUT),
            going(reason::ROLLING_OUT),
            going(reason::WAITING_FOR_POOL),
            going(reason::UPDATED),
            going(reason::UPDATED),
        ];
        let all: Vec<_> = states
            .windows(2)
            .flat_map(|pair| told(&pair[0], &pair[1]))
            .collect();
        let good = |why: &str| (false, why.to_owned());
        assert_eq!(
            all,
            [
                good(reason::WAITING_FOR_RENDER),
                good(reason::ROLLING_OUT),
                good(reason::UPDATED)
            ]
        );
    }

    #[test]
    fn other_problems_are_told_again_and_the_same_are_not() {
        let one = wrong(VALID, reason::INVALID, "one");
        let other = wrong(VALID, reason::INVALID, "other");
        let invalid = vec![(true, reason::INVALID.to_owned())];
        assert_eq!(told(&going(reason::UPDATED), &one), invalid);
        assert_eq!(told(&one, &one), []);
        assert_eq!(told(&one, &other), invalid);
        assert_eq!(
            told(&other, &going(reason::UPDATED)),
            [(false, reason::UPDATED.to_owned())]
        );
    }

    #[test]
    fn what_is_wrong_is_told_once_a_reason() {
        let node = |words| wrong(DEGRADED, reason::NODE_DEGRADED, words);
        let before = going(reason::ROLLING_OUT);
        assert_eq!(
            told(&before, &node("one")),
            [(true, reason::NODE_DEGRADED.to_owned())]
        );
        assert_eq!(told(&node("one"), &node("two")), []);
        assert_eq!(
            told(&node("one"), &wrong(DEGRADED, reason::RENDER_DEGRADED, "x")),
            [(true, reason::RENDER_DEGRADED.to_owned())]
        );
    }
}
