//! Pods, ids and groups put together, rightly and by people who would like somebody else's.

use super::super::plan::Group;
use super::super::pod::{PodSpec, PodStatus};
use super::*;
use serde_json::json;

const UID: &str = "0f1e-2d";

fn id(letter: char) -> ContainerId {
    ContainerId::new(&letter.to_string().repeat(64)).unwrap()
}

fn pod(
    name: &str,
    uid: &str,
    annotations: &serde_json::Value,
    ids: &[(&str, char)],
) -> (PodKey, Pod) {
    let statuses: Vec<_> = ids
        .iter()
        .map(|(name, letter)| json!({"name": name, "containerID": format!("containerd://{}", id(*letter))}))
        .collect();
    let spec: PodSpec =
        serde_json::from_value(json!({"containers": [{"name": "main"}, {"name": "helper"}]}))
            .unwrap();
    let status: PodStatus = serde_json::from_value(json!({"containerStatuses": statuses})).unwrap();
    let metadata = serde_json::from_value(
        json!({"name": name, "namespace": "lab", "uid": uid, "annotations": annotations}),
    )
    .unwrap();
    let pod = Pod::of(&metadata, &spec, &status).unwrap();
    (("lab".to_owned(), name.to_owned()), pod)
}

fn budget() -> serde_json::Value {
    json!({"realtime": "true", "rt_runtime_us": "25000"})
}

fn rules() -> NodeRules {
    NodeRules {
        mode: BudgetMode::V1Budget,
        smallest: RuntimeMicros::new(1_000).unwrap(),
        largest: RuntimeMicros::new(500_000).unwrap(),
        isolated_domains: false,
        namespaces: None,
    }
}

fn tree(groups: &[(&str, i64)]) -> Tree {
    let mut tree = Tree::default();
    for (path, runtime_us) in groups {
        tree.groups.insert(
            (*path).to_owned(),
            Group {
                runtime_us: *runtime_us,
                period_us: 1_000_000,
                realtime_tasks: false,
            },
        );
    }
    tree
}

fn group(uid: &str, letter: char) -> String {
    format!("/kubepods/burstable/pod{uid}/{}", id(letter))
}

fn container(name: &str, pod: &str) -> Known {
    Known::Container(Identity {
        namespace: "lab".to_owned(),
        pod: pod.to_owned(),
        uid: None,
        container: Some(name.to_owned()),
    })
}

#[test]
fn a_container_is_found_by_the_kubelets_word_or_the_runtimes() {
    let by_status = BTreeMap::from([pod("one", UID, &budget(), &[("main", 'a')])]);
    let by_runtime = BTreeMap::from([pod("one", UID, &budget(), &[])]);
    let known = BTreeMap::from([
        (id('a'), container("main", "one")),
        (id('b'), Known::Nobody),
    ]);
    let tree = tree(&[(&group(UID, 'a'), 0), (&group(UID, 'b'), 0)]);
    for (pods, known) in [(by_status, BTreeMap::new()), (by_runtime, known)] {
        let settled = settle(&pods, &known, &tree, &rules(), true);
        assert_eq!(
            settled.wanted.budgets,
            BTreeMap::from([(group(UID, 'a'), RuntimeMicros::new(25_000).unwrap())])
        );
        assert_eq!(settled.assignments[0].at, Some((id('a'), group(UID, 'a'))));
        assert!(settled.wanted.leaving.is_empty());
    }
}

#[test]
fn crun_keeps_processes_in_a_group_below() {
    let pods = BTreeMap::from([pod("one", UID, &budget(), &[("main", 'a')])]);
    let below = format!("{}/container", group(UID, 'a'));
    let tree = tree(&[
        (&group(UID, 'a'), 0),
        (&below, 0),
        (&format!("{below}/inner"), 0),
    ]);
    let settled = settle(&pods, &BTreeMap::new(), &tree, &rules(), true);
    assert_eq!(settled.assignments[0].at, Some((id('a'), below)));
}

#[test]
fn nobody_gets_a_budget_through_another_pods_directory() {
    // The thief's annotations name the victim's uid; his container's id is in his own directory.
    let (key, thief) = pod(
        "thief",
        "7a7a",
        &json!({"realtime": "true", "rt_runtime_us": "400000",
            "kubernetes.io/config.hash": UID, "kubernetes.io/config.mirror": UID}),
        &[("main", 'b')],
    );
    let pods = BTreeMap::from([(key, thief)]);
    let tree = tree(&[(&group(UID, 'a'), 0), (&group("7a7a", 'b'), 0)]);
    let known = BTreeMap::from([(id('a'), container("main", "victim"))]);
    let settled = settle(&pods, &known, &tree, &rules(), true);
    assert_eq!(settled.wanted.budgets, BTreeMap::new());
    assert_eq!(settled.assignments[0].at, None);
}

#[test]
fn what_is_not_known_yet_keeps_what_it_has() {
    let pods = BTreeMap::from([pod("one", UID, &budget(), &[])]);
    let tree = tree(&[(&group(UID, 'a'), 30_000), (&group("other", 'b'), 30_000)]);
    let settled = settle(&pods, &BTreeMap::new(), &tree, &rules(), true);
    assert_eq!(
        settled.wanted.budgets,
        BTreeMap::from([(group(UID, 'a'), RuntimeMicros::new(30_000).unwrap())])
    );
    // A pod that is gone, or never asked, is on its way out.
    assert_eq!(
        settled.wanted.leaving,
        BTreeSet::from([group("other", 'b')])
    );
    // Before all pods are known nobody is.
    let early = settle(&pods, &BTreeMap::new(), &tree, &rules(), false);
    assert!(early.wanted.leaving.is_empty() && !early.wanted.complete);
}

#[test]
fn a_container_that_was_replaced_gives_its_place() {
    let pods = BTreeMap::from([pod("one", UID, &budget(), &[("main", 'a')])]);
    let known = BTreeMap::from([
        (id('a'), Known::Nobody),
        (id('c'), container("main", "one")),
    ]);
    let tree = tree(&[(&group(UID, 'a'), 25_000), (&group(UID, 'c'), 0)]);
    let settled = settle(&pods, &known, &tree, &rules(), true);
    assert_eq!(
        settled.wanted.budgets.keys().collect::<Vec<_>>(),
        [&group(UID, 'c')]
    );
}

#[test]
fn a_pod_with_a_mistake_or_in_the_wrong_namespace_gets_nothing() {
    let pods = BTreeMap::from([
        pod(
            "one",
            UID,
            &json!({"realtime": "true", "rt_runtime_us": "010"}),
            &[("main", 'a')],
        ),
        pod(
            "two",
            "b-2",
            &json!({"realtime.openshift.io/scheduler.main": "fifo:1"}),
            &[("main", 'b')],
        ),
    ]);
    let tree = tree(&[(&group(UID, 'a'), 0), (&group("b-2", 'b'), 0)]);
    let settled = settle(&pods, &BTreeMap::new(), &tree, &rules(), true);
    assert_eq!(settled.refused.len(), 2);
    assert!(settled.assignments.is_empty());
    let elsewhere = NodeRules {
        mode: BudgetMode::V2Policy,
        namespaces: Some(BTreeSet::from(["other".to_owned()])),
        ..rules()
    };
    let settled = settle(&pods, &BTreeMap::new(), &tree, &elsewhere, true);
    let words = settled.refused[&("lab".to_owned(), "two".to_owned())].to_string();
    assert!(words.contains("namespace"), "{words}");
    let allowed = NodeRules {
        namespaces: Some(BTreeSet::from(["lab".to_owned()])),
        ..elsewhere
    };
    let settled = settle(&pods, &BTreeMap::new(), &tree, &allowed, true);
    assert_eq!(settled.assignments.len(), 1);
}

#[test]
fn a_container_that_begins_again_is_not_its_forerunner() {
    let spec: PodSpec = serde_json::from_value(
        json!({"initContainers": [{"name": "first"}], "containers": [{"name": "main"}]}),
    )
    .unwrap();
    let status: PodStatus = serde_json::from_value(json!({
        "initContainerStatuses": [{"name": "first", "containerID": format!("containerd://{}", id('a')),
            "state": {"terminated": {"exitCode": 0}}}],
        "containerStatuses": [{"name": "main", "containerID": format!("containerd://{}", id('f'))}],
    }))
    .unwrap();
    let metadata =
        serde_json::from_value(json!({"name": "spinner", "namespace": "lab", "uid": UID,
        "annotations": {"realtime.openshift.io/runtime-us": "25000"}}))
        .unwrap();
    let key = ("lab".to_owned(), "spinner".to_owned());
    let pods = BTreeMap::from([(key, Pod::of(&metadata, &spec, &status).unwrap())]);
    let path = |letter| format!("/kubepods/pod{UID}/{}", id(letter));
    let all = ['a', 'b', 'c', 'f'].map(path);
    let groups: Vec<(&str, i64)> = all.iter().map(|path| (path.as_str(), 0)).collect();
    let known = |letter, name: &str| {
        let identity = Identity {
            namespace: "lab".to_owned(),
            pod: "spinner".to_owned(),
            uid: None,
            container: Some(name.to_owned()),
        };
        (id(letter), Known::Container(identity))
    };
    // The API's words are of `a` and `f`; the runtime's of those that came after them.
    let known = BTreeMap::from([known('b', "first"), known('c', "main")]);
    let settled = settle(&pods, &known, &tree(&groups), &rules(), false);
    let at: Vec<_> = settled.assignments.iter().map(|it| it.at.clone()).collect();
    assert_eq!(
        at,
        ['b', 'c'].map(|letter| Some((id(letter), path(letter))))
    );
    let settled = settle(
        &pods,
        &BTreeMap::new(),
        &tree(&groups[..1]),
        &rules(),
        false,
    );
    let names: Vec<_> = settled
        .assignments
        .iter()
        .map(|it| &it.request.container)
        .collect();
    assert_eq!(names, ["main"], "the init container has ended");
}

#[test]
fn a_group_of_the_same_names_in_another_class_is_somebody_elses() {
    let (key, mut own) = pod("spinner", UID, &budget(), &[("main", 'a')]);
    let real = format!("/kubepods/burstable/pod{UID}/{}", id('a'));
    let copies = [
        format!("/kubepods/besteffort/pod{UID}/{}", id('a')),
        format!("/kubepods/pod{UID}/{}", id('a')),
    ];
    let tree = tree(&[(&real, 0), (&copies[0], 0), (&copies[1], 0)]);
    own.qos = super::super::group::Qos::parse("Burstable");
    let pods = BTreeMap::from([(key, own)]);
    let settled = settle(&pods, &BTreeMap::new(), &tree, &rules(), true);
    assert_eq!(settled.assignments[0].at, Some((id('a'), real.clone())));
    assert!(settled.wanted.budgets.keys().eq([&real]));
}

#[test]
fn a_group_of_the_same_id_as_another_runtime_names_it_is_somebody_elses() {
    let pods = BTreeMap::from([pod("spinner", UID, &budget(), &[("main", 'a')])]);
    let real = group(UID, 'a');
    let copy = format!("/kubepods/burstable/pod{UID}/crio-{}", id('a'));
    let tree = tree(&[(&real, 0), (&copy, 25_000)]);
    for known in [
        BTreeMap::new(),
        BTreeMap::from([(id('a'), container("main", "spinner"))]),
    ] {
        let settled = settle(&pods, &known, &tree, &rules(), true);
        assert_eq!(settled.assignments[0].at, Some((id('a'), real.clone())));
        assert!(settled.wanted.budgets.keys().eq([&real]));
    }
}

#[test]
fn who_had_it_is_known_by_what_was_told() {
    let pods = BTreeMap::from([
        pod("one", UID, &budget(), &[("main", 'a')]),
        pod("two", "9-9", &budget(), &[("main", 'b')]),
    ]);
    let groups = tree(&[(&group(UID, 'a'), 0), (&group("9-9", 'b'), 0)]);
    let settled = settle(&pods, &BTreeMap::new(), &groups, &rules(), true);
    let entry = |pod: &str, container: &str, micros: Option<i64>| -> ContainerBudget {
        serde_json::from_value(json!({
            "namespace": "lab", "pod": pod, "container": container, "state": "Refused",
            "appliedMicroseconds": micros,
        }))
        .unwrap()
    };
    // Also one whose policy the kernel refused.
    let told = [
        entry("one", "main", Some(25_000)),
        entry("two", "main", None),
        entry("two", "helper", Some(25_000)),
        entry("gone", "main", Some(25_000)),
    ];
    let had = |micros: i64| BTreeMap::from([(group(UID, 'a'), micros)]);
    assert_eq!(settled.had_by(&told), had(25_000));
    // It asks for more by now.
    let told = [entry("one", "main", Some(24_999))];
    assert_eq!(settled.had_by(&told), had(24_999));
    let told = [entry("one", "main", Some(0))];
    assert_eq!(settled.had_by(&told), BTreeMap::new());
}
