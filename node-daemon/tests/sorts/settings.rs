//! What the profile says changes while pods run: who may ask, how much there is, whether anything is given at all.

use k8s_openapi::api::core::v1::{ContainerStatus, Namespace, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_core::rt::request::{Policy, REQUIRED, RUNTIME_US, SCHEDULER, Scheduling};
use realtime_node_daemon::sched::{self, Kind};
use serde_json::{Value, json};

use crate::eyes::{budget_of, has, prints, process_of, run, until};
use crate::on_node::{CAPACITY_US, LONG, Lab, MOST_US, budget, pod};

const GRANTED: &str = "SCHED_FIFO granted\n";

async fn label(lab: &Lab, value: Value) {
    let namespaces: Api<Namespace> = Api::all(lab.client.clone());
    let patch = json!({"metadata": {"labels": {"rt": value}}});
    namespaces
        .patch("default", &PatchParams::default(), &Patch::Merge(patch))
        .await
        .expect("labelled");
}

async fn entry_is(lab: &Lab, pod: &str, state: ContainerBudgetState, reason: Option<&str>) {
    lab.entry(pod, "main", |entry| {
        entry.state == state && entry.reason.as_deref() == reason
    })
    .await;
}

/// Namespaces that may ask.
pub async fn who_may_ask(lab: &Lab) {
    use ContainerBudgetState::{Applied, Refused};
    const NOT_ALLOWED: Option<&str> = Some("NamespaceNotAllowed");
    lab.set(json!({"namespaceSelector": {"matchLabels": {"rt": "yes"}}}))
        .await;
    let quiet = ["sleep", "7401"];
    run(lab, pod("quiet", &budget("20000"), &quiet), "Running").await;
    entry_is(lab, "quiet", Refused, NOT_ALLOWED).await;
    lab.event("quiet", "RealtimeRefused").await;
    has(lab, &quiet, 0).await;
    label(lab, json!("yes")).await;
    has(lab, &quiet, 20_000).await;
    entry_is(lab, "quiet", Applied, None).await;

    let lives = ["first-act", "7402"];
    run(lab, pod("lives", &budget("21000"), &lives), "Running").await;
    prints(lab, "lives", "main", GRANTED).await;
    label(lab, Value::Null).await;
    has(lab, &quiet, 0).await;
    entry_is(lab, "quiet", Refused, NOT_ALLOWED).await;
    entry_is(lab, "lives", Refused, NOT_ALLOWED).await;
    has(lab, &lives, 21_000).await;
    lab.set(json!({"namespaceSelector": null})).await;
    has(lab, &quiet, 20_000).await;
    entry_is(lab, "lives", Applied, None).await;
}

/// A program has changed its priority itself: that stays, whatever is decided of namespaces meanwhile.
pub async fn a_program_has_the_last_word(lab: &Lab) {
    use ContainerBudgetState::{Applied, Refused};
    let own = ["sleep", "7406"];
    let annotations = json!({RUNTIME_US: "20000", SCHEDULER: "fifo:50"});
    run(lab, pod("lowered", &annotations, &own), "Running").await;
    let pid = process_of(lab, &own).await.pid;
    let is = |priority| {
        let now = sched::get(pid).expect("a thread");
        (now.policy, now.priority) == (Kind::Fifo, priority)
    };
    until(lab, "its policy", || is(50).then_some(())).await;
    let lower = Scheduling {
        policy: Policy::Fifo(5),
        reset_on_fork: false,
        rttime_us: None,
    };
    sched::set(pid, &lower).expect("lowered");
    lab.set(json!({"namespaceSelector": {"matchLabels": {"rt": "yes"}}}))
        .await;
    entry_is(lab, "lowered", Refused, Some("NamespaceNotAllowed")).await;
    lab.set(json!({"namespaceSelector": null})).await;
    entry_is(lab, "lowered", Applied, None).await;
    assert!(is(5), "{}", lab.said());
    lab.delete("lowered").await;
}

/// Less than is given, nothing at all, and all again: the pods of [`who_may_ask`] run.
pub async fn how_much_there_is(lab: &Lab) {
    use ContainerBudgetState::{Applied, Refused};
    let (quiet, lives) = (["sleep", "7401"], ["first-act", "7402"]);
    lab.set(json!({"capacityMicroseconds": 30_000, "maxPerContainerMicroseconds": 30_000}))
        .await;
    lab.wait_for("the new capacity", |told| {
        told.capacity_microseconds == Some(30_000)
    })
    .await;
    has(lab, &quiet, 20_000).await;
    has(lab, &lives, 21_000).await;
    let next = ["sleep", "7403"];
    run(lab, pod("next", &budget("15000"), &next), "Running").await;
    let refused = lab
        .entry("next", "main", |entry| entry.state == Refused)
        .await;
    assert_eq!(refused.reason.as_deref(), Some("NoRoom"));
    let words = refused.message.expect("a message");
    assert!(
        words.contains("15000") && words.contains("0 are free"),
        "{words}"
    );
    entry_is(lab, "quiet", Applied, None).await;
    entry_is(lab, "lives", Applied, None).await;
    lab.set(json!({"capacityMicroseconds": CAPACITY_US, "maxPerContainerMicroseconds": MOST_US}))
        .await;
    has(lab, &next, 15_000).await;

    // Nothing is said of pods any more: it is taken back, but from living real-time threads.
    lab.set(Value::Null).await;
    lab.wait_for("silence", |told| {
        told.mode.is_none() && told.containers.is_empty()
    })
    .await;
    let late = ["sleep", "7404"];
    run(lab, pod("late", &budget("16000"), &late), "Running").await;
    let process = process_of(lab, &late).await;
    assert_eq!(budget_of(&process.group), Some(0));
    for (command, micros) in [(quiet, 0), (lives, 21_000), (next, 0)] {
        has(lab, &command, micros).await;
    }
    lab.delete("next").await;
    lab.set(json!({"capacityMicroseconds": CAPACITY_US, "maxPerContainerMicroseconds": MOST_US}))
        .await;
    has(lab, &late, 16_000).await;
    for name in ["quiet", "lives", "late"] {
        entry_is(lab, name, Applied, None).await;
    }
    // What went while nobody looked is given back.
    lab.allocated_is(20_000 + 21_000 + 16_000).await;
    for name in ["quiet", "lives", "late"] {
        lab.delete(name).await;
    }
    lab.allocated_is(0).await;
}

/// A daemon dies, and when the next one comes nobody gives any more: it takes back what it never gave itself.
pub async fn the_next_daemon_takes_back(lab: &Lab) {
    let owed = ["sleep", "7405"];
    run(lab, pod("owed", &budget("20000"), &owed), "Running").await;
    has(lab, &owed, 20_000).await;
    lab.kill_daemon();
    lab.set(Value::Null).await;
    assert_eq!(lab.allocated(), 20_000);
    lab.start_daemon();
    has(lab, &owed, 0).await;
    lab.allocated_is(0).await;
    lab.wait_for("silence", |told| told.mode.is_none()).await;
    lab.set(json!({"capacityMicroseconds": CAPACITY_US, "maxPerContainerMicroseconds": MOST_US}))
        .await;
    has(lab, &owed, 20_000).await;
    lab.delete("owed").await;
    lab.allocated_is(0).await;
}

/// What somebody else writes is told to the pod, and put right.
pub async fn overwritten(lab: &Lab) {
    let command = ["sleep", "7406"];
    run(lab, pod("meddled", &budget("20000"), &command), "Running").await;
    let group = has(lab, &command, 20_000).await.group;
    entry_is(lab, "meddled", ContainerBudgetState::Applied, None).await;
    std::fs::write(group.join("cpu.rt_runtime_us"), "5000").expect("a foreign write");
    has(lab, &command, 20_000).await;
    let note = lab.event("meddled", "BudgetOverwritten").await.message;
    let note = note.expect("a note");
    assert!(
        note.contains("5000") && note.contains("has 20000 again"),
        "{note}"
    );
    lab.delete("meddled").await;
    lab.allocated_is(0).await;
}

/// A program in a container beside its real-time threads.
pub async fn an_exec_probe_is_told(lab: &Lab) {
    let mut probed = pod("probed", &budget("20000"), &["first-act", "7411"]);
    probed["spec"]["containers"][0]["livenessProbe"] = json!({"exec": {"command": ["true"]}});
    run(lab, probed, "Running").await;
    entry_is(
        lab,
        "probed",
        ContainerBudgetState::Applied,
        Some("ExecProbe"),
    )
    .await;
    let event = lab.event("probed", "ExecProbe").await;
    assert!(event.message.unwrap().contains("httpGet"));
    lab.delete("probed").await;
    lab.allocated_is(0).await;
}

/// Rather not at all than without: it starts once there is room.
pub async fn required(lab: &Lab) {
    let most = json!({RUNTIME_US: MOST_US.to_string()});
    run(lab, pod("first", &most, &["sleep", "7421"]), "Running").await;
    has(lab, &["sleep", "7421"], MOST_US).await;
    let wanted = json!({RUNTIME_US: MOST_US.to_string(), REQUIRED: "true"});
    let mut second = pod("second", &wanted, &["first-act", "7422"]);
    // With NRI a container that isn't started counts as one that has failed: with Never it would be its pod's end.
    second["spec"]["restartPolicy"] = "OnFailure".into();
    lab.create(second).await;
    let begun = std::time::Instant::now();
    // Said by the runtime, where a user looks: kubectl describe.
    let events: Api<k8s_openapi::api::core::v1::Event> =
        Api::namespaced(lab.client.clone(), "default");
    loop {
        let list = events
            .list(&ListParams::default().fields("involvedObject.name=second"))
            .await
            .expect("Events");
        let said: Vec<String> = list.into_iter().filter_map(|event| event.message).collect();
        if said
            .iter()
            .any(|words| words.contains("are free on this node") && words.contains("rror"))
        {
            break;
        }
        assert!(begun.elapsed() < LONG, "{said:#?}\n{}", lab.said());
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let waits: Pod = lab.pods.get("second").await.expect("the pod");
    let statuses = waits.status.and_then(|status| status.container_statuses);
    let runs = |status: &ContainerStatus| {
        status
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some())
    };
    assert!(!statuses.iter().flatten().any(runs), "{statuses:#?}");
    lab.delete("first").await;
    has(lab, &["first-act", "7422"], MOST_US).await;
    prints(lab, "second", "main", GRANTED).await;
    lab.delete("second").await;
    lab.allocated_is(0).await;
}
