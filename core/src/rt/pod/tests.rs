//! What is kept of a pod as the API server sends it.

use serde_json::json;

use super::super::micros::RuntimeMicros;
use super::*;

fn view(pod: &serde_json::Value) -> Option<Pod> {
    let part = |name: &str| pod.get(name).cloned().unwrap_or_else(|| json!({}));
    Pod::of(
        &serde_json::from_value(part("metadata")).unwrap(),
        &serde_json::from_value(part("spec")).unwrap(),
        &serde_json::from_value(part("status")).unwrap(),
    )
}

#[test]
fn everything_that_matters_is_read() {
    let id = "a".repeat(64);
    let pod = view(&json!({
        "metadata": {
            "name": "spinner", "namespace": "lab", "uid": "0f1e-2d",
            "annotations": {"realtime": "true", "rt_runtime_us": "25000", "another": "word"},
            "deletionTimestamp": "2026-11-21T10:00:00Z"
        },
        "spec": {
            "nodeName": "machine-7",
            "initContainers": [
                {"name": "prepare"},
                {"name": "beside", "restartPolicy": "Always"}
            ],
            "containers": [{
                "name": "main", "image": "x",
                "resources": {"limits": {"cpu": "1", RUNTIME: "25000"}},
                "livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 5}
            }],
            "ephemeralContainers": [{"name": "debug"}]
        },
        "status": {
            "phase": "Running",
            "initContainerStatuses": [{"name": "prepare", "containerID": format!("cri-o://{id}"),
                "state": {"terminated": {"exitCode": 0}}}],
            "containerStatuses": [{"name": "main", "containerID": format!("cri-o://b{}", &id[1..]),
                "state": {"running": {}}}, {"name": "other", "containerID": ""}]
        }
    }))
    .unwrap();
    assert_eq!(
        (pod.name.as_str(), pod.namespace.as_str()),
        ("spinner", "lab")
    );
    assert_eq!(pod.contract.annotations.len(), 2);
    let kinds: Vec<_> = pod.contract.containers.iter().map(|one| one.kind).collect();
    assert_eq!(
        kinds,
        [
            ContainerKind::Init,
            ContainerKind::Sidecar,
            ContainerKind::Regular,
            ContainerKind::Ephemeral
        ]
    );
    assert_eq!(
        pod.container("main").unwrap().resource.as_deref(),
        Some("25000")
    );
    assert_eq!(pod.ids.len(), 2);
    assert!(pod.has_ended("prepare") && !pod.has_ended("main") && !pod.has_ended("beside"));
    assert_eq!(pod.exec_probes, ["main"]);
    assert!(pod.leaving && !pod.over);
    assert_eq!(pod.directory.unwrap().as_str(), "0f1e-2d");
}

fn with_status(statuses: &serde_json::Value) -> Pod {
    view(&json!({
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "annotations": {"realtime": "true"}},
        "spec": {"containers": [{"name": "main"}], "ephemeralContainers": [{"name": "debug"}]},
        "status": statuses
    }))
    .unwrap()
}

#[test]
fn why_a_container_waits_is_kept_as_one_word_that_lasts() {
    let waits = |waiting: serde_json::Value, restarts: u32| {
        with_status(&json!({"containerStatuses": [
            {"name": "main", "restartCount": restarts, "state": {"waiting": waiting}}]}))
    };
    let pulling = waits(
        json!({"reason": "ErrImagePull", "message": "10.0.0.7: no such host"}),
        0,
    );
    assert_eq!(
        pulling.held_up.get("main").map(|it| &**it),
        Some("ImagePullBackOff")
    );
    // The other word of the two, other words, another count: the same pod, which wakes nobody.
    let again = json!({"reason": "ImagePullBackOff", "message": "Back-off 40s"});
    assert_eq!(waits(again, 3), pulling);
    for reason in ["RegistryUnavailable", "SignatureValidationFailed"] {
        assert_eq!(waits(json!({"reason": reason}), 1), pulling);
    }
    let failed = waits(json!({"reason": "CreateContainerConfigError"}), 0);
    assert_eq!(
        failed.held_up.get("main").map(|it| &**it),
        Some("CreateContainerConfigError")
    );
    // What each start passes through, and what is no word.
    let none = with_status(&json!({}));
    for reason in [
        "ContainerCreating",
        "PodInitializing",
        "",
        "two words",
        &"X".repeat(41),
    ] {
        assert_eq!(waits(json!({"reason": reason}), 0), none, "{reason}");
    }
    for waiting in [json!({}), json!({"reason": null}), json!(null)] {
        assert_eq!(waits(waiting, 0), none);
    }
}

#[test]
fn an_ephemeral_container_ends_for_good_and_a_regular_one_may_come_back() {
    let status = |name: &str, letter: &str| {
        json!([{"name": name, "containerID": format!("cri-o://{}", letter.repeat(64)),
            "state": {"terminated": {"exitCode": 0}}}])
    };
    let pod = with_status(&json!({
        "containerStatuses": status("main", "a"), "ephemeralContainerStatuses": status("debug", "b")}));
    assert!(pod.has_no_process("main") && !pod.has_ended("main"));
    assert!(pod.has_no_process("debug") && pod.has_ended("debug"));
    // Of one that has no id yet nothing is known.
    assert!(!with_status(&json!({})).has_no_process("main"));
}

const RUNTIME: &str = crate::names::RESOURCE_RUNTIME_US;

#[test]
fn a_pod_that_asks_for_nothing_is_not_kept() {
    let pod = |annotations: serde_json::Value, resources: serde_json::Value| {
        view(&json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "annotations": annotations},
            "spec": {"containers": [{"name": "main", "resources": resources}]}
        }))
    };
    let none = json!({});
    let resource = json!({"requests": {RUNTIME: "1"}});
    assert_eq!(pod(none.clone(), none.clone()), None);
    assert_eq!(pod(json!({"realtime": "false"}), resource.clone()), None);
    assert!(pod(none.clone(), resource).is_some());
    assert!(pod(json!({"realtime.openshift.io/scheduler": "fifo:1"}), none).is_some());
}

#[test]
fn a_static_pod_runs_under_another_uid() {
    let pod = view(&json!({"metadata": {"name": "p", "namespace": "n", "uid": "api", "annotations": {
        "realtime": "true", "kubernetes.io/config.hash": "0123abcd", "kubernetes.io/config.mirror": "0123abcd"
    }}}))
    .unwrap();
    assert_eq!(pod.directory.unwrap().as_str(), "0123abcd");
    assert_eq!(pod.uid, "api");
}

#[test]
fn pages_of_annotations_are_not_kept_and_are_refused_all_the_same() {
    let pages = (0..5_000).map(|number| {
        let key = format!("realtime.openshift.io/runtime-us.nobody-{number:04}");
        (key, json!("1".repeat(40)))
    });
    let mut annotations: serde_json::Map<_, _> = pages.collect();
    annotations.insert(
        "realtime.openshift.io/runtime-us.main".to_owned(),
        json!("25000"),
    );
    annotations.insert("realtime".to_owned(), json!("é".repeat(100_000)));
    let pod = view(
        &json!({"metadata": {"name": "p", "namespace": "n", "uid": "u", "annotations": annotations},
        "spec": {"containers": [{"name": "main"}]}}),
    )
    .unwrap();
    let kept = &pod.contract.annotations;
    let bytes: usize = kept.iter().map(|(key, text)| key.len() + text.len()).sum();
    assert!(kept.len() == 66 && bytes < 10_000, "{} {bytes}", kept.len());
    assert_eq!(kept["realtime.openshift.io/runtime-us.main"], "25000");
    let rules = request::Rules {
        smallest: RuntimeMicros::new(1_000).unwrap(),
        largest: RuntimeMicros::WHOLE,
        namespace_allowed: true,
        isolated_domains: false,
    };
    let refused = request::read(&pod.contract, &rules).unwrap_err();
    assert_eq!((refused.problems.len(), refused.more), (32, 33));
}
