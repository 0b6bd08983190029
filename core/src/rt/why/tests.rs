//! Each cause is found, and only it.

use serde_json::{Value, json};

use super::*;

/// The objects of one case; the good one has everything in place.
struct Case {
    pod: Value,
    namespace: Value,
    node: Option<Value>,
    hidden: Vec<String>,
}

fn good() -> Case {
    Case {
        pod: json!({
            "metadata": {"namespace": "lab", "name": "spinner", "annotations": {
                "realtime.openshift.io/runtime-us": "25000",
                "realtime.openshift.io/scheduler": "fifo:50"}},
            "spec": {"nodeName": "anvil", "containers": [{"name": "main", "securityContext": {
                "capabilities": {"drop": ["ALL"], "add": ["SYS_NICE"]}}}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "main", "ready": true, "restartCount": 0, "image": "i", "imageID": "i",
                 "state": {"running": {}}}]},
        }),
        namespace: json!({"metadata": {"name": "lab", "labels": {"rt": "yes"}}}),
        node: Some(json!({
            "metadata": {"name": "anvil", "generation": 3},
            "spec": {"profile": "press", "kernel": {"realtime": true, "provider": "NodeDaemon"}, "podBudget": {
                "capacityMicroseconds": 800_000, "maxPerContainerMicroseconds": 500_000,
                "namespaceSelector": {"matchLabels": {"rt": "yes"}}}},
            "status": {"observedGeneration": 3, "podBudget": {
                "mode": "V1Budget", "capacityMicroseconds": 800_000, "allocatedMicroseconds": 790_000,
                "containers": [{"namespace": "lab", "pod": "spinner", "container": "main",
                    "requestedMicroseconds": 25_000, "appliedMicroseconds": 25_000, "policy": "fifo", "priority": 50,
                    "state": "Applied", "assignedBeforeStart": true}]}},
        })),
        hidden: Vec::new(),
    }
}

impl Case {
    fn pod(mut self, pointer: &str, value: Value) -> Self {
        put(&mut self.pod, pointer, value);
        self
    }

    fn node(mut self, pointer: &str, value: Value) -> Self {
        put(self.node.as_mut().unwrap(), pointer, value);
        self
    }

    /// A field of the node's word of the container.
    fn entry(self, field: &str, value: Value) -> Self {
        self.node(&format!("/status/podBudget/containers/0/{field}"), value)
    }

    /// Without a policy: the process asks the kernel itself.
    fn own_call(self) -> Self {
        self.pod(
            "/metadata/annotations",
            json!({"realtime.openshift.io/runtime-us": "25000"}),
        )
    }

    fn why(&self) -> Why {
        let pod: Pod = serde_json::from_value(self.pod.clone()).unwrap();
        let namespace: Namespace = serde_json::from_value(self.namespace.clone()).unwrap();
        let node: Option<RealtimeNode> = self.node.clone().map(|mut node| {
            node["apiVersion"] = "realtime.openshift.io/v1alpha1".into();
            node["kind"] = "RealtimeNode".into();
            serde_json::from_value(node).unwrap()
        });
        why(&Seen {
            pod: &pod,
            namespace: Some(&namespace),
            node: node.as_ref(),
            profile: None,
            hidden: &self.hidden,
        })
    }

    /// The verdict, and each finding but the note on throttling, which every budget has.
    fn found(&self) -> (Verdict, Vec<(Weight, String)>) {
        let why = self.why();
        let findings = why.findings.into_iter();
        let findings = findings
            .filter(|finding| finding.cause != THROTTLING)
            .map(|finding| (finding.weight, finding.cause))
            .collect();
        (why.verdict, findings)
    }
}

fn put(object: &mut Value, pointer: &str, value: Value) {
    let (above, name) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(above).unwrap()[name] = value;
}

fn one(verdict: Verdict, weight: Weight, cause: &str) -> (Verdict, Vec<(Weight, String)>) {
    (verdict, vec![(weight, cause.to_owned())])
}

fn wrong(cause: &str) -> (Verdict, Vec<(Weight, String)>) {
    one(Verdict::Refused, Weight::Wrong, cause)
}

#[test]
fn what_is_in_place_is_said_with_what_throttling_looks_like() {
    let why = good().why();
    assert_eq!(why.verdict, Verdict::Real);
    let [finding] = &why.findings[..] else {
        panic!("{why:#?}")
    };
    assert_eq!(
        (finding.cause.as_str(), finding.weight),
        (THROTTLING, Weight::Note)
    );
    assert!(finding.what.contains("25000 microseconds"), "{finding:?}");
    let [container] = &why.containers[..] else {
        panic!("{why:#?}")
    };
    assert_eq!(container.runtime_us, Some(25_000));
    assert_eq!(container.scheduling.as_deref(), Some("fifo:50"));
    assert_eq!(
        container.has.as_ref().unwrap().applied_microseconds,
        Some(25_000)
    );
}

#[test]
fn a_pod_that_does_not_ask() {
    assert_eq!(
        good()
            .pod("/metadata/annotations", json!({"app": "x"}))
            .found(),
        wrong(NOT_ASKED)
    );
    let off = good().pod("/metadata/annotations/realtime", json!("false"));
    assert_eq!(off.found(), wrong(NOT_ASKED));
    assert!(off.why().findings[0].what.contains("\"false\""));
}

#[test]
fn every_mistake_is_told() {
    let annotations = json!({"realtime.openshift.io/runtime-us": "010", "realtime.openshift.io/scheduler": "fifo:100",
        "realtime.openshift.io/runtime-us.nobody": "1000"});
    let why = good().pod("/metadata/annotations", annotations).why();
    let causes: Vec<&str> = why
        .findings
        .iter()
        .map(|finding| finding.cause.as_str())
        .collect();
    assert_eq!(causes, [reason::INVALID_REQUEST; 3], "{why:#?}");
    // More than a container may have on this node.
    let much = json!({"realtime.openshift.io/runtime-us": "600000"});
    assert_eq!(
        good().pod("/metadata/annotations", much).found(),
        wrong(reason::INVALID_REQUEST)
    );
}

#[test]
fn a_namespace_that_may_not_ask_gets_the_command() {
    let mut case = good().entry("state", json!("Refused"));
    case = case.entry("reason", json!(reason::NAMESPACE_NOT_ALLOWED));
    put(&mut case.namespace, "/metadata/labels", json!({}));
    assert_eq!(case.found(), wrong(reason::NAMESPACE_NOT_ALLOWED));
    let remedy = case.why().findings[0].remedy.clone();
    assert_eq!(remedy.as_deref(), Some("oc label namespace lab rt=yes"));
    let expressions = json!({"matchExpressions": [{"key": "rt", "operator": "Exists"}]});
    let remedy = case
        .node("/spec/podBudget/namespaceSelector", expressions)
        .why()
        .findings[0]
        .remedy
        .clone();
    assert!(remedy.unwrap().contains("Exists"));
}

#[test]
fn a_pod_on_no_node() {
    let unplaced = || good().pod("/spec/nodeName", json!(null));
    let case = unplaced();
    assert_eq!(
        case.found(),
        (
            Verdict::Waiting,
            vec![(Weight::Waiting, NOT_SCHEDULED.to_owned())]
        )
            .clone(),
        "{:#?}",
        case.why()
    );
    let message = "0/3 nodes are available: 3 Insufficient realtime.openshift.io/runtime-us.";
    let conditions = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]);
    let why = unplaced().pod("/status/conditions", conditions).why();
    assert_eq!(why.verdict, Verdict::Refused);
    assert!(why.findings[0].what.contains(message));
    assert!(
        why.findings[0]
            .remedy
            .as_ref()
            .unwrap()
            .contains("capacityMicroseconds")
    );
    let other = json!([{"type": "PodScheduled", "status": "False", "message": "0/3 nodes: untolerated taint"}]);
    assert_eq!(
        unplaced().pod("/status/conditions", other).why().findings[0].remedy,
        None
    );
}

#[test]
fn a_node_that_gives_nothing() {
    let mut nobody = good();
    nobody.node = None;
    assert_eq!(nobody.found(), wrong(NO_REALTIME_NODE));
    nobody.hidden = vec!["RealtimeNode anvil: forbidden".to_owned()];
    assert_eq!(
        nobody.found(),
        one(Verdict::Unknown, Weight::Unknown, HIDDEN)
    );
    assert_eq!(
        good().node("/spec/podBudget", json!(null)).found(),
        wrong(reason::SWITCHED_OFF)
    );
    assert_eq!(
        good().node("/status", json!(null)).found(),
        wrong(NOT_REPORTED)
    );
    for (mode, cause) in [
        ("Blocked", reason::KERNEL_BLOCKS),
        ("Off", reason::SWITCHED_OFF),
    ] {
        let case = good()
            .node("/status/podBudget/mode", json!(mode))
            .node("/status/podBudget/evidence", json!("seen"))
            .node(
                "/status/podBudget/remedy",
                json!("boot with rt_group_sched=0"),
            )
            .entry("state", json!("Refused"))
            .entry("reason", json!(cause));
        assert_eq!(case.found(), wrong(cause));
        let finding = &case.why().findings[0];
        assert!(finding.what.contains("(seen)"));
        assert_eq!(
            finding.remedy.as_deref(),
            Some("boot with rt_group_sched=0")
        );
    }
    let unknown = good().node("/status/podBudget", json!({}));
    assert_eq!(
        unknown.found(),
        one(Verdict::Waiting, Weight::Waiting, NOT_REPORTED)
    );
    let old = good().node("/metadata/generation", json!(4));
    assert_eq!(old.found(), one(Verdict::Real, Weight::Note, NOT_REPORTED));
}

#[test]
fn a_full_node_tells_its_numbers() {
    let case = good()
        .entry("state", json!("Refused"))
        .entry("reason", json!(reason::NO_ROOM))
        .entry("message", json!("too much"));
    assert_eq!(case.found(), wrong(reason::NO_ROOM));
    let what = case.why().findings[0].what.clone();
    assert_eq!(
        what,
        "too much (it asks for 25000, 10000 of the node's 800000 microseconds are free, 790000 are given out)"
    );
}

#[test]
fn the_nodes_own_reason_is_passed_on() {
    for cause in [
        reason::GROUP_UNSUITABLE,
        reason::BUDGET_REFUSED,
        reason::POLICY_REFUSED,
        reason::INVALID_REQUEST,
    ] {
        let case = good()
            .entry("state", json!("Refused"))
            .entry("reason", json!(cause))
            .entry("message", json!("words"));
        assert_eq!(case.found(), wrong(cause));
        assert_eq!(case.why().findings[0].what, "words");
        assert_eq!(case.why().findings[0].container.as_deref(), Some("main"));
    }
    for cause in [
        reason::OVERRUN,
        reason::THROTTLED,
        reason::BUDGET_KEPT,
        reason::EXEC_PROBE,
    ] {
        let case = good().entry("reason", json!(cause));
        assert_eq!(case.found(), one(Verdict::Real, Weight::Note, cause));
    }
    // What it would look like needn't be said of one that it happens to.
    let throttled = good().entry("reason", json!(reason::THROTTLED));
    assert_eq!(throttled.why().findings.len(), 1);
}

#[test]
fn a_container_that_has_not_begun_or_has_ended() {
    let none = || good().node("/status/podBudget/containers", json!([]));
    assert_eq!(none().found(), wrong(NOT_REPORTED));
    let state = "/status/containerStatuses/0/state";
    let pulling = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
    let case = none().pod(state, pulling);
    assert_eq!(
        case.found(),
        one(
            Verdict::Waiting,
            Weight::Waiting,
            reason::WAITING_FOR_CONTAINER
        )
    );
    assert!(
        case.why().findings[0]
            .what
            .contains("ImagePullBackOff: no such image")
    );
    let ended = json!({"terminated": {"exitCode": 3}});
    assert_eq!(
        none().pod(state, ended).found(),
        one(Verdict::Real, Weight::Note, ENDED)
    );
    assert_eq!(
        none().pod("/status/phase", json!("Failed")).found(),
        one(Verdict::Real, Weight::Note, ENDED)
    );
    let pending = good().entry("state", json!("Pending"));
    assert_eq!(pending.found().0, Verdict::Waiting);
}

#[test]
fn what_the_kubelet_says_is_not_hidden_by_the_daemons_word() {
    let state = "/status/containerStatuses/0/state";
    let pending = |word: &str, live: Value| {
        good()
            .entry("state", json!("Pending"))
            .entry("reason", json!(word))
            .entry("message", json!("its process has not begun"))
            .pod(state, live)
    };
    let absent = |live: Value| pending(reason::WAITING_FOR_CONTAINER, live);
    let what = |case: &Case| case.why().findings[0].what.clone();
    let pulling = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}});
    let case = absent(pulling.clone());
    assert_eq!(
        case.found(),
        one(
            Verdict::Waiting,
            Weight::Waiting,
            reason::WAITING_FOR_CONTAINER
        )
    );
    assert_eq!(
        what(&case),
        "It has not been started. The kubelet says: ImagePullBackOff: no such image"
    );
    let again = absent(json!({"waiting": {"reason": "CrashLoopBackOff"}})).pod(
        "/status/containerStatuses/0/lastState",
        json!({"terminated": {"exitCode": 1}}),
    );
    assert_eq!(
        what(&again),
        "It has ended, and not been started again. The kubelet says: CrashLoopBackOff"
    );
    // The kubelet says nothing, or the daemon says something else.
    assert_eq!(what(&absent(json!({}))), "its process has not begun");
    let tried = pending(reason::BUDGET_REFUSED, pulling);
    assert_eq!(what(&tried), "its process has not begun");
    // It has ended, and what becomes of it.
    let ended = |code: i32, policy: &str| {
        absent(json!({"terminated": {"exitCode": code}}))
            .pod("/spec/restartPolicy", json!(policy))
            .found()
    };
    let comes_back = one(Verdict::Waiting, Weight::Waiting, ENDED);
    let stays = one(Verdict::Real, Weight::Note, ENDED);
    assert_eq!(ended(0, "Always"), comes_back);
    assert_eq!(ended(3, "OnFailure"), comes_back);
    assert_eq!(ended(0, "OnFailure"), stays);
    assert_eq!(ended(3, "Never"), stays);
}

#[test]
fn what_came_too_late() {
    let late = || good().entry("assignedBeforeStart", json!(false));
    assert_eq!(
        late().found(),
        one(Verdict::Real, Weight::Note, AFTER_START)
    );
    assert_eq!(
        late()
            .pod("/status/containerStatuses/0/restartCount", json!(2))
            .found(),
        wrong(AFTER_START)
    );
    assert!(late().why().findings[0].what.contains("EPERM"));
    // Where no budget is needed nothing was refused, and nothing ended for it.
    let policy_only = late()
        .node("/status/podBudget/mode", json!("V2Policy"))
        .pod("/status/containerStatuses/0/restartCount", json!(2));
    assert_eq!(
        policy_only.found(),
        one(Verdict::Real, Weight::Note, AFTER_START)
    );
    let what = policy_only.why().findings[0].what.clone();
    assert!(
        !what.contains("EPERM") && what.contains("needs no budget"),
        "{what}"
    );
}

#[test]
fn a_process_without_the_capability_is_refused_by_the_kernel() {
    let context = "/spec/containers/0/securityContext";
    assert_eq!(good().own_call().found(), (Verdict::Real, vec![]));
    for (value, word) in [
        (json!({}), "RLIMIT_RTPRIO is 0"),
        (
            json!({"capabilities": {"add": ["ALL"], "drop": ["SYS_NICE"]}}),
            "RLIMIT_RTPRIO is 0",
        ),
        (
            json!({"capabilities": {"add": ["SYS_NICE"]}, "runAsUser": 1000}),
            "does not run as root",
        ),
        (
            json!({"capabilities": {"add": ["CAP_SYS_NICE"]}, "runAsNonRoot": true, "allowPrivilegeEscalation": false}),
            "allowPrivilegeEscalation: false",
        ),
    ] {
        let case = good().own_call().pod(context, value);
        assert_eq!(case.found(), wrong(NOT_PERMITTED));
        let why = case.why();
        assert!(why.findings[0].what.contains(word), "{why:#?}");
        // V1Budget: the budget is there, and it is not enough.
        assert!(
            why.findings[0].what.contains("alone is not enough"),
            "{why:#?}"
        );
        assert!(
            why.findings[0]
                .remedy
                .as_ref()
                .unwrap()
                .contains("realtime.openshift.io/scheduler")
        );
    }
    assert_eq!(
        good()
            .own_call()
            .pod("/spec/hostUsers", json!(false))
            .found(),
        wrong(NOT_PERMITTED)
    );
    assert_eq!(
        good()
            .own_call()
            .pod(context, json!({"privileged": true}))
            .found(),
        (Verdict::Real, vec![])
    );
    // By the policy mode: no word of a budget.
    let case = good()
        .own_call()
        .pod(context, json!({}))
        .node("/status/podBudget/mode", json!("V2Policy"));
    assert_eq!(case.found(), wrong(NOT_PERMITTED));
    assert!(!case.why().findings[0].what.contains("budget"));
    // The daemon sets the policy: only a call of its own for more is refused.
    let case = good().pod(context, json!({}));
    assert_eq!(
        case.found(),
        one(Verdict::Real, Weight::Note, NOT_PERMITTED)
    );
    assert!(case.why().findings[0].what.contains("above 50"));
}

#[test]
fn filters_and_probes_are_noted() {
    let own = json!({"type": "Localhost", "localhostProfile": "strict.json"});
    let case = good().pod("/spec/securityContext", json!({"seccompProfile": own}));
    assert_eq!(case.found(), one(Verdict::Real, Weight::Note, SECCOMP));
    assert!(case.why().findings[0].what.contains("strict.json"));
    let usual = json!({"seccompProfile": {"type": "RuntimeDefault"}});
    assert_eq!(
        good().pod("/spec/securityContext", usual).found(),
        (Verdict::Real, vec![])
    );
    let probe = json!({"exec": {"command": ["true"]}});
    let case = good().pod("/spec/containers/0/livenessProbe", probe);
    assert_eq!(
        case.found(),
        one(Verdict::Real, Weight::Note, reason::EXEC_PROBE)
    );
}

#[test]
fn the_nodes_condition_is_passed_on() {
    let condition = json!([{"type": "BudgetReady", "status": "False", "reason": "BudgetRefused", "message": "somebody wrote",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let case = good().node("/status/conditions", condition);
    assert_eq!(
        case.found(),
        one(Verdict::Real, Weight::Note, "BudgetRefused")
    );
}

#[test]
fn an_empty_pod_is_answered() {
    let why = why(&Seen {
        pod: &Pod::default(),
        namespace: None,
        node: None,
        profile: None,
        hidden: &[],
    });
    assert_eq!(why.verdict, Verdict::Refused);
}
