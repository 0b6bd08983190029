//! What a watch shows, and when it ends.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::layout::rows;
use super::*;
use crate::api::realtime_profile::{RealtimeProfileSpec, RealtimeProfileStatus};
use crate::cluster::Cluster;
use crate::conditions::{Decided, PROGRESSING, reason};
use crate::status::members::of_profile;

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

/// A cluster without pools: two nodes with the profile's role, one without, and what their daemons say.
fn without_pools(realtime_nodes: serde_json::Value) -> Cluster {
    let mut cluster = Cluster::empty(Served::of(&[]));
    cluster.nodes = serde_json::from_value(json!([
        {"metadata": {"name": "bellows", "labels": {"node-role.kubernetes.io/press": ""}}},
        {"metadata": {"name": "anvil", "labels": {"node-role.kubernetes.io/press": ""}}},
        {"metadata": {"name": "smith"}},
    ]))
    .unwrap();
    cluster.realtime_nodes = serde_json::from_value(realtime_nodes).unwrap();
    cluster
}

#[allow(clippy::needless_pass_by_value, reason = "reads well with json!")]
fn daemons(name: &str, of: &str, realtime: bool, status: serde_json::Value) -> serde_json::Value {
    json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeNode",
        "metadata": {"name": name, "generation": 1},
        "spec": {"profile": of, "kernel": {"realtime": realtime, "provider": "NodeDaemon"}},
        "status": status,
    })
}

fn said(phase: &str, realtime: bool) -> serde_json::Value {
    json!({"observedGeneration": 1, "phase": phase, "kernel": {"realtime": realtime}})
}

fn by_node_daemon(why: &'static str, message: &str) -> RealtimeProfile {
    profile(3, vec![Decided::new(AVAILABLE, Some(false), why, message)])
}

#[test]
fn without_pools_the_selected_nodes_have_lines_and_the_headline_stays_short() {
    let message = "the kernel of these nodes is the node daemon's to switch; waiting for anvil (Updating, waits for the \
                   kernel to be staged (5.14.0 runs; the stock kernel's package kernel is still in place)), bellows \
                   (Waiting for its turn: maxUnavailable is 1, and anvil has its turn)";
    let profile = by_node_daemon(reason::KERNEL_BY_NODE_DAEMON, message);
    let mut watch = Watch::on(Served::of(&[]));
    let mut at = |cluster: &Cluster, now| {
        watch.view(&profile, &of_profile(&profile, cluster, true), seconds(now))
    };
    let begin = at(&without_pools(json!([])), 1);
    assert_eq!(begin.pool, None);
    let staging = without_pools(json!([
        daemons("anvil", "press", true, said("Staging", false)),
        daemons(
            "bellows",
            "press",
            true,
            json!({
                "observedGeneration": 1, "phase": "Pending", "turn": "Wanted", "kernel": {"realtime": false}
            })
        ),
    ]));
    let staging = at(&staging, 2);
    assert_eq!(
        changes(None, &staging),
        [
            "press: KernelByNodeDaemon: the kernel of these nodes is the node daemon's to switch",
            "anvil: Updating, waits for the kernel to be staged",
            "bellows: Waiting for its turn to be rebooted",
            "0 of 2 nodes ready",
        ]
    );
    let done = without_pools(json!([
        daemons("anvil", "press", true, said("Ready", true)),
        daemons("bellows", "press", true, said("Draining", false)),
    ]));
    assert_eq!(
        changes(Some(&staging), &at(&done, 9)),
        [
            "anvil: Ready, after 7s",
            "bellows: Draining, waits for its pods to leave",
            "1 of 2 nodes ready",
        ]
    );
}

#[test]
fn without_pools_a_kernel_alone_makes_no_node_ready() {
    let mut cluster = without_pools(json!([daemons("anvil", "press", true, json!(null))]));
    for node in &mut cluster.nodes {
        node.status = serde_json::from_value(json!({"nodeInfo": {
            "kernelVersion": "5.14.0-427.el9.x86_64+rt", "architecture": "", "bootID": "", "containerRuntimeVersion": "",
            "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "", "osImage": "",
            "systemUUID": ""
        }}))
        .unwrap();
    }
    let profile = rolling_out();
    let said: Vec<(String, ProgressPhase)> = of_profile(&profile, &cluster, true)
        .into_iter()
        .map(|node| (node.node, node.phase))
        .collect();
    assert_eq!(
        said,
        [
            ("anvil".to_owned(), ProgressPhase::Verifying),
            ("bellows".to_owned(), ProgressPhase::Verifying),
        ]
    );
}

#[test]
fn without_pools_who_left_and_who_is_anothers_is_none_of_the_profiles_nodes() {
    let cluster = without_pools(json!([
        daemons("anvil", "mill", true, said("Ready", true)),
        daemons("bellows", "press", true, said("Ready", true)),
        daemons("smith", "press", false, said("Draining", true)),
    ]));
    let profile = rolling_out();
    let mut watch = Watch::on(Served::of(&[]));
    let before = of_profile(&profile, &without_pools(json!([])), true);
    let before = watch.view(&profile, &before, seconds(1));
    let after = watch.view(&profile, &of_profile(&profile, &cluster, true), seconds(2));
    assert_eq!(
        changes(Some(&before), &after),
        [
            "bellows: Ready",
            "anvil: left the profile's nodes",
            "1 of 1 nodes ready"
        ]
    );
}

#[test]
fn nodes_of_a_deleted_profile_go_back_line_by_line() {
    let mut profile = by_node_daemon(
        reason::NODES_GOING_BACK,
        "2 node(s) go back to the stock kernel, by their node daemons: anvil, smith (Draining, waits for its pods to \
         leave); the profile is deleted when the stock kernel runs on its nodes",
    );
    profile.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
    let cluster = without_pools(json!([
        daemons("anvil", "press", false, said("Ready", false)),
        daemons("smith", "press", false, said("Draining", true)),
    ]));
    let nodes = of_profile(&profile, &cluster, true);
    let view = Watch::on(Served::of(&[])).view(&profile, &nodes, seconds(1));
    assert_eq!(
        changes(None, &view),
        [
            "press: NodesGoingBack: the profile is deleted when the stock kernel runs on its nodes",
            "anvil: Verifying, waits for the operator: the stock kernel runs again",
            "smith: Draining, waits for its pods to leave",
            "0 of 2 nodes ready",
        ]
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
