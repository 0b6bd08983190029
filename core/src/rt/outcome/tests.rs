//! What is told in each case, and that nothing is told twice.

use super::super::micros::{PERIOD_US, RuntimeMicros};
use super::super::plan::{Group, Tree};
use super::super::pod::{PodSpec, PodStatus};
use super::super::request::{Refused, Request, Scheduling};
use super::*;
use crate::problem::Problem;
use serde_json::json;

fn mode(mode: BudgetMode) -> Mode {
    Mode {
        mode,
        evidence: "seen".to_owned(),
        remedy: Some("do this".to_owned()),
    }
}

fn pods(spec: serde_json::Value) -> BTreeMap<PodKey, Pod> {
    pods_with(spec, json!({}))
}

fn pods_with(spec: serde_json::Value, status: serde_json::Value) -> BTreeMap<PodKey, Pod> {
    let metadata = serde_json::from_value(
        json!({"name": "spinner", "namespace": "lab", "uid": "u", "annotations": {"realtime": "true"}}),
    )
    .unwrap();
    let spec: PodSpec = serde_json::from_value(spec).unwrap();
    let status: PodStatus = serde_json::from_value(status).unwrap();
    let pod = Pod::of(&metadata, &spec, &status).unwrap();
    BTreeMap::from([(("lab".to_owned(), "spinner".to_owned()), pod)])
}

fn id() -> ContainerId {
    ContainerId::new(&"a".repeat(64)).unwrap()
}

fn assignment(at: bool) -> Assignment {
    Assignment {
        pod: ("lab".to_owned(), "spinner".to_owned()),
        request: Request {
            container: "main".to_owned(),
            kind: ContainerKind::Regular,
            runtime: Some(RuntimeMicros::new(25_000).unwrap()),
            scheduling: Some(Scheduling {
                policy: Policy::Fifo(50),
                reset_on_fork: false,
                rttime_us: None,
            }),
        },
        at: at.then(|| (id(), "/g".to_owned())),
        leaving: false,
    }
}

struct Case {
    mode: Mode,
    settled: Settled,
    plan: Plan,
    kernel: BTreeMap<String, String>,
    besides: Besides,
    spec: serde_json::Value,
    status: serde_json::Value,
}

impl Case {
    fn granted(has: i64) -> Self {
        Self {
            mode: mode(BudgetMode::V1Budget),
            settled: Settled {
                assignments: vec![assignment(true)],
                ..Settled::default()
            },
            plan: Plan {
                granted: BTreeMap::from([("/g".to_owned(), has)]),
                ..Plan::default()
            },
            kernel: BTreeMap::new(),
            besides: Besides {
                before_start: Some(true),
                ..Besides::default()
            },
            spec: json!({"containers": [{"name": "main"}]}),
            status: json!({}),
        }
    }

    fn told(&self) -> Vec<ContainerBudget> {
        entries(&Done {
            mode: &self.mode,
            pods: &pods_with(self.spec.clone(), self.status.clone()),
            settled: &self.settled,
            plan: &self.plan,
            kernel: &self.kernel,
            containers: &BTreeMap::from([(id(), self.besides.clone())]),
        })
    }

    fn reason(&self) -> (ContainerBudgetState, Option<String>) {
        let told = self.told();
        (told[0].state, told[0].reason.clone())
    }
}

fn refused(word: &str) -> (ContainerBudgetState, Option<String>) {
    (ContainerBudgetState::Refused, Some(word.to_owned()))
}

fn but(word: &str) -> (ContainerBudgetState, Option<String>) {
    (ContainerBudgetState::Applied, Some(word.to_owned()))
}

#[test]
fn each_case_has_its_reason() {
    let fine = Case::granted(25_000);
    let entry = &fine.told()[0];
    assert_eq!(
        (
            entry.applied_microseconds,
            entry.policy.as_deref(),
            entry.priority
        ),
        (Some(25_000), Some("fifo"), Some(50))
    );
    assert_eq!(fine.reason(), (ContainerBudgetState::Applied, None));
    assert_eq!(Case::granted(30_000).reason(), but("BudgetKept"));

    let mut case = Case::granted(25_000);
    case.mode = mode(BudgetMode::Blocked);
    assert_eq!(case.reason(), refused("KernelBlocks"));
    case.mode = mode(BudgetMode::Off);
    assert_eq!(case.reason(), refused("SwitchedOff"));

    let mut case = Case::granted(25_000);
    case.settled.assignments = vec![assignment(false)];
    assert_eq!(
        case.reason(),
        (
            ContainerBudgetState::Pending,
            Some("WaitingForContainer".to_owned())
        )
    );

    let mut case = Case::granted(25_000);
    case.kernel = BTreeMap::from([("/g".to_owned(), "EINVAL".to_owned())]);
    assert_eq!(case.reason(), refused("BudgetRefused"));

    let mut case = Case::granted(25_000);
    case.plan.refused.insert(
        "/g".to_owned(),
        Refusal::NoRoom {
            wanted_us: 25_000,
            free_us: 10,
            has_us: 7,
        },
    );
    assert_eq!(case.reason(), refused("NoRoom"));
    assert_eq!(case.told()[0].applied_microseconds, Some(7));

    let mut case = Case::granted(25_000);
    case.besides.throttled = true;
    assert_eq!(case.reason(), but("Throttled"));
    case.besides.rttime_refused = Some("EPERM".to_owned());
    assert_eq!(case.reason(), but("LimitRefused"));
    case.besides.groups_left_out = Some(128);
    assert_eq!(case.reason(), but("PolicyIncomplete"));
    case.besides.overrun = Some("too much".to_owned());
    assert_eq!(case.reason(), but("Overrun"));
    case.besides.policy_failed = Some("EPERM".to_owned());
    assert_eq!(case.reason(), refused("PolicyRefused"));

    let mut case = Case::granted(25_000);
    case.spec =
        json!({"containers": [{"name": "main", "livenessProbe": {"exec": {"command": ["x"]}}}]});
    assert_eq!(case.reason(), but("ExecProbe"));
}

#[test]
fn a_container_without_a_process_is_told_why() {
    let told = |state: serde_json::Value, id: Option<String>| {
        let mut case = Case::granted(25_000);
        case.settled.assignments = vec![assignment(false)];
        case.status =
            json!({"containerStatuses": [{"name": "main", "containerID": id, "state": state}]});
        let entry = case.told().remove(0);
        assert_eq!(
            (entry.state, entry.reason.as_deref()),
            (
                ContainerBudgetState::Pending,
                Some(reason::WAITING_FOR_CONTAINER)
            )
        );
        entry.message.unwrap()
    };
    let waits = |reason: &str| json!({"waiting": {"reason": reason, "message": "at 10:00"}});
    let id = || Some(format!("cri-o://{}", "a".repeat(64)));
    let fresh = "its process has not begun";
    assert_eq!(told(json!({}), None), fresh);
    assert_eq!(told(waits("ContainerCreating"), None), fresh);
    assert_eq!(
        told(waits("ErrImagePull"), None),
        "its image can't be pulled: ImagePullBackOff; the pod's status has the kubelet's words"
    );
    assert_eq!(
        told(waits("CreateContainerError"), None),
        "it is not running, the kubelet says: CreateContainerError; the pod's status has its words"
    );
    assert_eq!(
        told(json!({"terminated": {"exitCode": 0}}), id()),
        "its process has ended"
    );
    assert_eq!(
        told(waits("CrashLoopBackOff"), id()),
        "its process has ended, and the kubelet waits before it starts it again: CrashLoopBackOff"
    );
}

#[test]
fn a_refused_pod_has_an_entry_too() {
    let mut case = Case::granted(1);
    case.settled.assignments.clear();
    let wrong = |message: &str| Refused {
        problems: vec![Problem::error("realtime", "x", message, "do that")],
        more: 0,
    };
    let key = ("lab".to_owned(), "spinner".to_owned());
    case.settled.refused.insert(key.clone(), wrong("is wrong"));
    assert_eq!(case.reason(), refused("InvalidRequest"));
    case.settled.refused.insert(key, wrong(NAMESPACE_REFUSED));
    assert_eq!(case.reason(), refused("NamespaceNotAllowed"));
    assert!(case.told()[0].message.as_ref().unwrap().contains("do that"));
}

/// Also those for which only the pod's own key speaks, and with what they ask for.
#[test]
fn each_container_of_a_refused_pod_that_asks_has_an_entry() {
    let mut case = Case::granted(1);
    case.settled.assignments.clear();
    let containers = json!({"containers": [{"name": "main"}, {"name": "b"}],
        "initContainers": [{"name": "first"}], "ephemeralContainers": [{"name": "look"}]});
    let (key, mut pod) = pods(containers).into_iter().next().unwrap();
    let refused = Refused {
        problems: vec![Problem::error(
            "realtime",
            "",
            NAMESPACE_REFUSED,
            "label it",
        )],
        more: 0,
    };
    case.settled.refused.insert(key.clone(), refused);
    let mut told = |annotations: &[(&str, &str)]| {
        let annotations = annotations.iter();
        pod.contract.annotations = annotations
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let pods = BTreeMap::from([(key.clone(), pod.clone())]);
        let entries = entries(&Done {
            mode: &case.mode,
            pods: &pods,
            settled: &case.settled,
            plan: &case.plan,
            kernel: &case.kernel,
            containers: &BTreeMap::new(),
        });
        let mut told: Vec<_> = entries
            .into_iter()
            .map(|entry| (entry.container, entry.requested_microseconds, entry.policy))
            .collect();
        told.sort();
        told
    };
    let entry = |name: &str, micros: Option<i64>, policy: Option<&str>| {
        (name.to_owned(), micros, policy.map(str::to_owned))
    };
    assert_eq!(
        told(&[
            ("realtime.openshift.io/runtime-us", "2000"),
            ("realtime.openshift.io/scheduler.b", "fifo:10"),
            ("realtime.openshift.io/runtime-us.main", "much"),
        ]),
        [
            entry("b", Some(2_000), Some("fifo")),
            entry("first", Some(2_000), None),
            entry("main", None, None),
        ]
    );
    assert_eq!(
        told(&[("realtime", "true"), ("rt_runtime_us", "2000")]),
        [entry("main", Some(2_000), None)]
    );
    assert_eq!(told(&[("realtime", "true")]), [entry("main", None, None)]);
}

#[test]
fn a_pod_with_pages_of_mistakes_hides_nobody_and_fits_into_the_object() {
    let mut case = Case::granted(25_000);
    let mut all = pods(json!({"containers": [{"name": "main"}]}));
    let key = ("a".repeat(63), "a".repeat(253));
    let containers: Vec<_> = (0..1500)
        .map(|number| json!({"name": format!("c{number:062}")}))
        .collect();
    let mut hostile = pods(json!({"containers": containers}))
        .into_values()
        .next()
        .unwrap();
    for container in hostile.contract.containers.clone() {
        let word = format!("realtime.openshift.io/runtime-us.{}", container.name);
        hostile.contract.annotations.insert(word, "0".to_owned());
    }
    all.insert(key.clone(), hostile);
    let problem = Problem::error(
        "field",
        "\u{1f980}".repeat(80),
        "\u{1f980}".repeat(800),
        "none",
    );
    let refused = Refused {
        problems: vec![problem],
        more: 0,
    };
    case.settled.refused.insert(key, refused);
    let told = listed(entries(&Done {
        mode: &case.mode,
        pods: &all,
        settled: &case.settled,
        plan: &case.plan,
        kernel: &case.kernel,
        containers: &BTreeMap::from([(id(), case.besides.clone())]),
    }));
    assert_eq!(told.len(), MAX_ENTRIES);
    assert!(
        told.iter()
            .any(|entry| entry.state == ContainerBudgetState::Applied)
    );
    assert!(serde_json::to_vec(&told).unwrap().len() < 1_400_000);
}

#[test]
fn news_is_told_once() {
    let spec = json!({"containers": [{"name": "main"}]});
    let fine = Case::granted(25_000).told();
    let first = news(&[], &fine, &pods(spec.clone()));
    assert_eq!(first.len(), 1);
    assert_eq!(
        (first[0].reason, first[0].warning),
        ("RealtimeApplied", false)
    );
    assert!(first[0].note.contains("25000") && first[0].note.contains("before its process"));
    assert_eq!(news(&fine, &fine, &pods(spec.clone())), []);
    // It uses all of it, or more, and then less.
    let mut case = Case::granted(25_000);
    case.besides.throttled = true;
    let stopped = case.told();
    assert_eq!(news(&fine, &stopped, &pods(spec.clone())), []);
    assert_eq!(news(&stopped, &fine, &pods(spec.clone())), []);
    case.besides.overrun = Some("too much".to_owned());
    let over = case.told();
    assert_eq!(news(&fine, &over, &pods(spec.clone()))[0].reason, "Overrun");
    assert_eq!(news(&over, &fine, &pods(spec.clone())), []);

    let mut case = Case::granted(25_000);
    case.kernel = BTreeMap::from([("/g".to_owned(), "EINVAL".to_owned())]);
    let bad = case.told();
    let second = news(&fine, &bad, &pods(spec));
    assert_eq!(
        (second[0].reason, second[0].warning),
        ("RealtimeRefused", true)
    );
    let words = condition(&mode(BudgetMode::V1Budget), &bad, &[]);
    assert!(
        words.message.contains("1 container is refused"),
        "{}",
        words.message
    );
    assert_eq!(words.status, Some(true));
    assert_eq!(
        condition(&mode(BudgetMode::Off), &[], &[]).status,
        Some(false)
    );
}

#[test]
fn what_somebody_else_wrote_is_told_and_what_we_changed_is_not() {
    let case = Case::granted(25_000);
    let all = pods(json!({"containers": [{"name": "main"}]}));
    let told = |known: i64, found: i64| {
        let known = BTreeMap::from([("/g".to_owned(), known)]);
        let mut tree = Tree::default();
        let group = Group {
            runtime_us: found,
            period_us: PERIOD_US,
            realtime_tasks: false,
        };
        tree.groups.insert("/g".to_owned(), group);
        overwritten(&known, &tree, &case.plan, &case.settled, &all)
            .into_iter()
            .map(|(group, news)| (group.to_owned(), news))
            .collect::<Vec<_>>()
    };
    let news = told(25_000, 7_000);
    assert_eq!((news.len(), news[0].0.as_str()), (1, "/g"));
    let news = &news[0].1;
    assert_eq!((news.reason, news.warning), ("BudgetOverwritten", true));
    assert!(news.note.contains("7000") && news.note.contains("25000 again"));
    // As it is to be; given another one by the pod; new to us.
    for (known, found) in [(25_000, 25_000), (20_000, 20_000), (20_000, 7_000)] {
        assert_eq!(told(known, found), []);
    }
}

#[test]
fn a_start_is_told_what_its_entry_says() {
    let fine = Case::granted(25_000).told();
    assert_eq!(verdict(fine.first(), None), Some(Verdict::Applied));
    let mut case = Case::granted(25_000);
    case.kernel = BTreeMap::from([("/g".to_owned(), "EINVAL".to_owned())]);
    let Some(Verdict::Refused(words)) = verdict(case.told().first(), None) else {
        panic!("not refused");
    };
    assert!(words.contains("EINVAL"), "{words}");
    // Not there yet: undecided.
    case.settled.assignments = vec![assignment(false)];
    assert_eq!(verdict(case.told().first(), None), None);
    // Of a pod that isn't known nothing can be said; another container of one that is asks for nothing.
    assert_eq!(verdict(None, None), Some(Verdict::NotAsked));
    // Unless its pod gets nothing at all.
    let wrong = Refused {
        problems: vec![Problem::error("realtime", "x", "is wrong", "do that")],
        more: 0,
    };
    let told = verdict(None, Some(&wrong));
    assert!(matches!(told, Some(Verdict::Refused(words)) if words.contains("do that")));
}
