//! What is waited for before an unpause, and above all what is not: a wait that never ends keeps a pool paused.

use serde_json::{Value, json};

use super::*;
use crate::cluster::{Dialect, Served};

const OURS: &str = "50-realtime-edge";
const GENERATED: &str = "99-edge-generated-kubelet";

#[allow(clippy::needless_pass_by_value, reason = "written where it is called")]
fn config(name: &str, role: &str, spec: Value) -> MachineConfig {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"machineconfiguration.openshift.io/role": role}},
        "spec": spec,
    }))
    .unwrap()
}

fn ours() -> MachineConfig {
    let file = json!({"path": "/etc/realtime", "mode": 420, "overwrite": true, "contents": {"source": "data:,a"}});
    config(
        OURS,
        "edge",
        json!({"kernelType": "realtime", "kernelArguments": ["a=1", "b=2"],
            "config": {"ignition": {"version": "3.2.0"}, "storage": {"files": [file]}}}),
    )
}

fn generated(name: &str, of: &str, conf: &str) -> MachineConfig {
    let mut config = config(
        name,
        "edge",
        json!({"config": {"ignition": {"version": "3.5.0"}, "storage": {"files": [
            {"path": kubelet::KUBELET_CONF, "overwrite": true, "contents": {"source": format!("data:,{conf}")}}]}}}),
    );
    let owner = json!([{"apiVersion": "v1", "kind": "KubeletConfig", "name": of, "uid": "u"}]);
    config.metadata.owner_references = serde_json::from_value(owner).unwrap();
    config
}

#[allow(clippy::needless_pass_by_value, reason = "written where it is called")]
fn kubelet_config(asked: Value) -> KubeletConfig {
    serde_json::from_value(json!({
        "metadata": {"name": "realtime-edge", "generation": 1},
        "spec": {"kubeletConfig": asked},
        "status": {"observedGeneration": 1, "conditions": [{"type": "Accepted", "status": "True"}]},
    }))
    .unwrap()
}

/// The pool with a target and the list of its sources.
fn pool(sources: &[&str]) -> MachineConfigPool {
    let sources: Vec<Value> = sources.iter().map(|name| json!({"name": name})).collect();
    serde_json::from_value(json!({
        "metadata": {"name": "edge"},
        "spec": {
            "machineConfigSelector": {"matchExpressions": [{
                "key": "machineconfiguration.openshift.io/role", "operator": "In", "values": ["worker", "edge"]}]},
            "configuration": {"name": "rendered-edge-1", "source": sources},
        },
    }))
    .unwrap()
}

/// Our config and what else is there; the target is what `target` makes of the real merge.
fn asked(
    pool: &MachineConfigPool,
    sources: &[MachineConfig],
    target: Value,
    kubelet: Option<&KubeletConfig>,
) -> Option<Wait> {
    let mut cluster = Cluster::empty(Served::openshift(Dialect::KernelType));
    cluster.machine_configs = sources.to_vec();
    cluster
        .machine_configs
        .push(config("rendered-edge-1", "none", target));
    cluster.kubelet_configs = kubelet.into_iter().cloned().collect();
    missing_of(&cluster, pool, Some(&ours()), kubelet)
}

/// A target with ours in it and these files and arguments besides.
fn target(files: &Value, arguments: &[&str]) -> Value {
    let mut all = files.as_array().unwrap().clone();
    all.push(json!({"path": "/etc/realtime", "mode": 420, "overwrite": true, "contents": {"source": "data:,a"}}));
    json!({"kernelType": "realtime", "kernelArguments": arguments,
        "config": {"ignition": {"version": "3.5.0"}, "storage": {"files": all}}})
}

#[test]
fn what_becomes_of_foreign_files_is_not_waited_for() {
    let theirs = |version: &str, files: Value| {
        let config_of =
            json!({"ignition": {"version": version}, "storage": {"files": files}, "passwd": {}});
        config("60-theirs", "edge", json!({"config": config_of}))
    };
    let url = "data:,x";
    for (foreign, landed) in [
        // Of duplicates, which version 2 allows, the last one stays.
        (
            theirs(
                "2.2.0",
                json!([
                {"filesystem": "root", "path": "/etc/x", "contents": {"source": "data:,first"}},
                {"filesystem": "root", "path": "/etc/x", "contents": {"source": url}}]),
            ),
            json!([{"path": "/etc/x", "contents": {"source": url}}]),
        ),
        // An empty source goes, an appended one moves, a path is cleaned.
        (
            theirs(
                "2.2.0",
                json!([{"filesystem": "root", "path": "/etc/x", "contents": {"source": ""}}]),
            ),
            json!([{"path": "/etc/x", "contents": {}}]),
        ),
        (
            theirs(
                "2.2.0",
                json!([{"filesystem": "root", "path": "/etc/x", "append": true, "contents": {"source": url}}]),
            ),
            json!([{"path": "/etc/x", "append": [{"source": url}]}]),
        ),
        (
            theirs(
                "2.2.0",
                json!([{"filesystem": "root", "path": "/etc//x/", "contents": {"source": url}}]),
            ),
            json!([{"path": "/etc/x", "contents": {"source": url}}]),
        ),
        // Compressed, encoded otherwise, or fetched.
        (
            theirs(
                "3.2.0",
                json!([{"path": "/etc/x", "contents": {"source": "data:;base64,H4sI", "compression": "gzip"}}]),
            ),
            json!([{"path": "/etc/x", "contents": {"source": url}}]),
        ),
        (theirs("3.2.0", json!([{"path": "/etc/x"}])), json!([])),
        // No Ignition at all.
        (config("60-theirs", "edge", json!({})), json!([])),
        (
            config(
                "60-theirs",
                "edge",
                json!({"config": null, "extensions": []}),
            ),
            json!([]),
        ),
    ] {
        let pool = pool(&[OURS, "60-theirs"]);
        let wait = asked(
            &pool,
            &[ours(), foreign.clone()],
            target(&landed, &["a=1", "b=2"]),
            None,
        );
        assert_eq!(wait, None, "{foreign:?}");
    }
}

#[test]
fn ours_is_waited_for() {
    let landed = json!([]);
    let wait = |listed: &[&str], target| asked(&pool(listed), &[ours()], target, None);
    assert_eq!(wait(&[OURS], target(&landed, &["a=1", "b=2"])), None);
    assert!(wait(&[], target(&landed, &["a=1", "b=2"])).is_some());
    assert!(wait(&[OURS, "gone"], target(&landed, &["a=1", "b=2"])).is_some());
    assert!(wait(&[OURS], target(&landed, &["a=1"])).is_some());
    assert!(
        wait(&[OURS], target(&landed, &["a=1", "b=2", "c=3"])).is_some(),
        "an argument that was taken away"
    );
    let old = json!([{"path": "/etc/realtime-old", "contents": {"source": "data:,"}}]);
    assert!(
        wait(&[OURS], target(&old, &["a=1", "b=2"])).is_some(),
        "a file that was taken away"
    );
}

#[test]
fn older_releases_render_each_argument_once_and_sort_by_name_alone() {
    let base = config("00-base", "worker", json!({"kernelArguments": ["b=2"]}));
    let late = config(
        "60-late",
        "worker",
        json!({"config": {"ignition": {"version": "3.2.0"}, "storage": {"files": [
            {"path": "/etc/realtime", "contents": {"source": "data:,late"}}]}}}),
    );
    let pool = pool(&["00-base", OURS, "60-late"]);
    let mut target = target(&json!([]), &["b=2", "a=1"]);
    target["config"]["storage"]["files"][0]["contents"]["source"] = json!("data:,late");
    assert_eq!(asked(&pool, &[base, late, ours()], target, None), None);
}

#[test]
fn a_kubelet_config_lands_by_what_was_generated_from_it() {
    let listed = pool(&[OURS, GENERATED]);
    let kubelet = kubelet_config(json!({"maxPods": 20}));
    let mine = |conf: &str| generated(GENERATED, "realtime-edge", conf);
    let with = |conf: &str| {
        target(
            &json!([{"path": kubelet::KUBELET_CONF, "contents": {"source": format!("data:,{conf}")}}]),
            &["a=1", "b=2"],
        )
    };
    let (old, new) = (
        "maxPods%3A%2020%0AserializeImagePulls%3A%20true%0A",
        "maxPods%3A%2020%0A",
    );
    let wait = |sources: &[MachineConfig], target| asked(&listed, sources, target, Some(&kubelet));
    assert_eq!(wait(&[ours(), mine(new)], with(new)), None);
    assert!(
        wait(&[ours(), mine(new)], with(old)).is_some(),
        "a field that was taken away is still in the target"
    );
    assert!(
        wait(
            &[ours(), mine("maxPods%3A%2010%0A")],
            with("maxPods%3A%2010%0A")
        )
        .is_some(),
        "it was not generated anew"
    );
    assert!(
        asked(&pool(&[OURS]), &[ours()], with(new), Some(&kubelet)).is_some(),
        "nothing was generated"
    );
}

#[test]
fn a_second_kubelet_config_that_replaces_ours_is_no_reason_to_wait() {
    let second = "99-edge-generated-kubelet-1";
    let pool = pool(&[OURS, GENERATED, second]);
    let sources = [
        ours(),
        generated(GENERATED, "realtime-edge", "maxPods%3A%2020%0A"),
        generated(second, "theirs", "maxPods%3A%2099%0A"),
    ];
    let landed = json!([{"path": kubelet::KUBELET_CONF, "contents": {"source": "data:,maxPods%3A%2099%0A"}}]);
    let kubelet = kubelet_config(json!({"maxPods": 20}));
    let wait = asked(
        &pool,
        &sources,
        target(&landed, &["a=1", "b=2"]),
        Some(&kubelet),
    );
    assert_eq!(wait, None);
}

#[test]
fn a_foreign_config_that_can_not_be_rendered_holds_nothing_of_ours() {
    let mut pool = pool(&[OURS]);
    let broken = config("70-broken", "edge", json!({"kernelType": "odd"}));
    let landed = target(&json!([]), &["a=1", "b=2"]);
    let sources = [ours(), broken];
    assert!(
        asked(&pool, &sources, landed.clone(), None).is_some(),
        "it may be rendered yet"
    );
    pool.status = serde_json::from_value(
        json!({"conditions": [{"type": "RenderDegraded", "status": "True"}]}),
    )
    .unwrap();
    assert_eq!(asked(&pool, &sources, landed, None), None);
    let stale = target(&json!([]), &["a=1"]);
    assert!(
        asked(&pool, &sources, stale, None).is_some(),
        "ours is not in"
    );
}
