//! What a watch shows, and when it ends.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::layout::rows;
use super::*;
use crate::api::realtime_profile::{RealtimeProfileSpec, RealtimeProfileStatus};
use crate::conditions::{Decided, PROGRESSING, reason};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn profile(about: i64, conditions: Vec<Decided>) -> RealtimeProfile {
    let mut profile = RealtimeProfile::new("press", RealtimeProfileSpec::default());
    profile.metadata.generation = Some(3);
    let summary = conditions.first().map(|first| first.reason.to_owned());
    profile.status = Some(RealtimeProfileStatus {
        summary,
        observed_generation: Some(about),
        conditions: conditions
            .into_iter()
            .map(|decided| decided.timed(&[], Some(about), &Time(Timestamp::UNIX_EPOCH)))
            .collect(),
        ..RealtimeProfileStatus::default()
    });
    profile
}

fn rolling_out() -> RealtimeProfile {
    profile(
        3,
        vec![
            Decided::new(
                AVAILABLE,
                Some(false),
                reason::ROLLING_OUT,
                "one node is being drained",
            ),
            Decided::new(
                PROGRESSING,
                Some(true),
                reason::ROLLING_OUT,
                "one node is being drained",
            ),
        ],
    )
}

fn node(name: &str, phase: ProgressPhase, waits_for: &str) -> NodeProgress {
    NodeProgress {
        by_daemon: false,
        node: name.to_owned(),
        phase,
        waits_for: waits_for.to_owned(),
        current: None,
        target: None,
        kernel: None,
        realtime: None,
        cordoned: false,
    }
}

#[test]
fn a_profile_without_status_tells_where_to_look() {
    let profile = RealtimeProfile::new("press", RealtimeProfileSpec::default());
    let view = Watch::default().view(&profile, &[], seconds(0));
    assert_eq!(view.verdict, Verdict::Going);
    assert!(view.message.contains("oc get pods"), "{}", view.message);
}

#[test]
fn available_is_believed_for_the_current_generation_only() {
    let available = |about| {
        profile(
            about,
            vec![Decided::new(AVAILABLE, Some(true), reason::UPDATED, "")],
        )
    };
    let verdict = |profile| Watch::default().view(&profile, &[], seconds(0)).verdict;
    assert_eq!(verdict(available(2)), Verdict::Going);
    assert_eq!(verdict(available(3)), Verdict::Done);
}

#[test]
fn an_invalid_profile_is_stuck_at_once() {
    let invalid = profile(
        3,
        vec![Decided::new(
            VALID,
            Some(false),
            reason::INVALID,
            "spec.cpu: no",
        )],
    );
    let view = Watch::default().view(&invalid, &[], seconds(0));
    assert_eq!(
        (view.verdict, view.reason.as_str()),
        (Verdict::Stuck, reason::INVALID)
    );
    assert_eq!(view.message, "spec.cpu: no");
}

#[test]
fn a_degraded_profile_is_stuck_when_it_stays_so() {
    let degraded = profile(
        3,
        vec![Decided::new(
            DEGRADED,
            Some(true),
            reason::NODE_DEGRADED,
            "disk full",
        )],
    );
    let mut watch = Watch::default();
    assert_eq!(
        watch.view(&degraded, &[], seconds(10)).verdict,
        Verdict::Going
    );
    assert_eq!(
        watch.view(&rolling_out(), &[], seconds(12)).verdict,
        Verdict::Going
    );
    assert_eq!(
        watch.view(&degraded, &[], seconds(14)).verdict,
        Verdict::Going
    );
    assert_eq!(
        watch.view(&degraded, &[], seconds(20)).verdict,
        Verdict::Stuck
    );
}

#[test]
fn a_nodes_time_runs_from_its_first_step_to_ready() {
    let mut watch = Watch::default();
    let mut taken = |phase, now| {
        let view = watch.view(&rolling_out(), &[node("anvil", phase, "")], seconds(now));
        view.nodes[0].taken
    };
    assert_eq!(taken(ProgressPhase::Waiting, 5), None);
    assert_eq!(taken(ProgressPhase::Draining, 10), Some(seconds(0)));
    assert_eq!(taken(ProgressPhase::Rebooting, 40), Some(seconds(30)));
    assert_eq!(taken(ProgressPhase::Ready, 70), Some(seconds(60)));
    assert_eq!(taken(ProgressPhase::Ready, 500), Some(seconds(60)));
}

#[test]
fn a_node_that_was_ready_before_has_no_time() {
    let view = Watch::default().view(
        &rolling_out(),
        &[node("anvil", ProgressPhase::Ready, "")],
        seconds(9),
    );
    assert_eq!((view.nodes[0].taken, view.ready), (None, 1));
}

#[test]
fn only_changes_are_lines() {
    let mut watch = Watch::default();
    let draining = [node("anvil", ProgressPhase::Draining, "its pods to leave")];
    let first = watch.view(&rolling_out(), &draining, seconds(1));
    assert_eq!(
        changes(None, &first),
        [
            "press: RollingOut: one node is being drained",
            "anvil: Draining, waits for its pods to leave",
            "0 of 1 nodes ready",
        ]
    );
    let same = watch.view(&rolling_out(), &draining, seconds(30));
    assert_eq!(changes(Some(&first), &same), Vec::<String>::new());
    let ready = watch.view(
        &rolling_out(),
        &[node("anvil", ProgressPhase::Ready, "")],
        seconds(62),
    );
    assert_eq!(
        changes(Some(&same), &ready),
        ["anvil: Ready, after 1m01s", "1 of 1 nodes ready",]
    );
    let gone = watch.view(&rolling_out(), &[], seconds(63));
    assert_eq!(
        changes(Some(&ready), &gone),
        ["anvil: left the pool", "0 of 0 nodes ready"]
    );
}

#[test]
fn a_list_of_nodes_is_told_by_the_nodes_lines_alone() {
    let about = |message: &str| {
        let decided = Decided::new(AVAILABLE, Some(false), reason::ROLLING_OUT, message);
        profile(3, vec![decided])
    };
    let nodes = |first: ProgressPhase, waits_for: &str| {
        let turn = "its turn in pool press";
        [
            node("anvil", first, waits_for),
            node("bellows", ProgressPhase::Waiting, turn),
        ]
    };
    let mut watch = Watch::default();
    let first = watch.view(
        &about("0 of 2 nodes ready; anvil (Draining, waits for its pods to leave), bellows (Waiting for its turn)"),
        &nodes(ProgressPhase::Draining, "its pods to leave"),
        seconds(1),
    );
    assert_eq!(
        changes(None, &first),
        [
            "press: RollingOut",
            "anvil: Draining, waits for its pods to leave",
            "bellows: Waiting for its turn in pool press",
            "0 of 2 nodes ready",
        ]
    );
    let second = watch.view(
        &about("0 of 2 nodes ready; anvil (Rebooting, waits for the reboot), bellows (Waiting for its turn)"),
        &nodes(ProgressPhase::Rebooting, "the reboot"),
        seconds(2),
    );
    assert_eq!(
        changes(Some(&first), &second),
        ["anvil: Rebooting, waits for the reboot"]
    );
    let cordoned = watch.view(
        &about("0 of 2 nodes ready; bellows (Waiting for its turn); smith cordoned by somebody: uncordon"),
        &nodes(ProgressPhase::Rebooting, "the reboot"),
        seconds(3),
    );
    assert_eq!(
        changes(Some(&second), &cordoned),
        ["press: RollingOut: smith cordoned by somebody: uncordon"]
    );
}

#[test]
fn durations_in_words() {
    let words: Vec<String> = [0, 59, 60, 187, 3720].map(seconds).map(in_words).to_vec();
    assert_eq!(words, ["0s", "59s", "1m00s", "3m07s", "1h02m"]);
}

#[test]
fn a_bar_is_full_only_when_all_is_done() {
    let mut watch = Watch::default();
    let nodes: Vec<NodeProgress> = (0..100)
        .map(|index| {
            let phase = if index == 0 {
                ProgressPhase::Waiting
            } else {
                ProgressPhase::Ready
            };
            node(&format!("anvil-{index}"), phase, "")
        })
        .collect();
    let view = watch.view(&rolling_out(), &nodes, seconds(1));
    assert!(rows(&view, 80, 200)[1].text.contains("-]"));
}

#[test]
fn a_short_terminal_shows_what_needs_an_eye_and_counts_the_rest() {
    let mut nodes: Vec<NodeProgress> = (0..40)
        .map(|index| node(&format!("anvil-{index:02}"), ProgressPhase::Ready, ""))
        .collect();
    nodes[33] = node("anvil-33", ProgressPhase::Degraded, "disk full");
    let view = Watch::default().view(&rolling_out(), &nodes, seconds(1));
    let text: Vec<String> = rows(&view, 80, 12)
        .into_iter()
        .map(|row| row.text)
        .collect();
    assert!(text.len() < 12, "{text:#?}");
    assert!(
        text.iter().any(|row| row.contains("disk full")),
        "{text:#?}"
    );
    assert!(text.last().unwrap().contains("Ready"), "{text:#?}");
}

proptest! {
    /// Nothing is cut: every character that isn't a blank arrives, at any width, and no row is wider.
    #[test]
    fn a_narrow_terminal_hides_nothing(width in 20_usize..200, waits_for in "[a-z✓ ]{0,200}", names in 1_usize..60) {
        let name = "n".repeat(names);
        let view = Watch::default().view(
            &rolling_out(),
            &[node(&name, ProgressPhase::Draining, &waits_for)],
            seconds(1),
        );
        let rows = rows(&view, width, 1000);
        for row in &rows {
            prop_assert!(row.text.chars().count() <= width, "{:?}", row.text);
        }
        let all: String = rows.iter().flat_map(|row| row.text.chars()).filter(|c| *c != ' ').collect();
        let wanted: String = format!("{name}Draining0s{waits_for}").chars().filter(|c| *c != ' ').collect();
        prop_assert!(all.ends_with(&wanted), "{all} / {wanted}");
    }

    #[test]
    fn control_characters_never_reach_the_terminal(reason in "\\PC{0,40}\u{1b}\\[2J\n.{0,20}") {
        let view = Watch::default().view(
            &rolling_out(),
            &[node("anvil", ProgressPhase::Degraded, &reason)],
            seconds(1),
        );
        for row in rows(&view, 80, 24) {
            prop_assert!(!row.text.contains(char::is_control));
        }
    }
}
