//! The plan's decisions, one each.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use serde_json::json;

use super::*;
use crate::cluster::{Dialect, Served};
use crate::names;
use crate::openshift::{MachineConfig, MachineConfigPool};
use crate::render::render;
use crate::validate::validate;

fn profile() -> RealtimeProfile {
    serde_json::from_value(json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile",
        "metadata": {"name": "press"},
        "spec": {"kernel": {"realtime": true}, "cpu": {"reserved": "0-1", "isolated": "2-7"}},
    }))
    .unwrap()
}

fn pool(name: &str, target: Option<&str>) -> MachineConfigPool {
    let configuration = target.map(|target| json!({"name": target}));
    serde_json::from_value(json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool",
        "metadata": {"name": name},
        "spec": {
            "machineConfigSelector": {"matchLabels": {names::LABEL_MACHINE_CONFIG_ROLE: name}},
            "nodeSelector": {"matchLabels": {names::node_role_label(name): ""}},
            "configuration": configuration.unwrap_or_else(|| json!({})),
        },
    }))
    .unwrap()
}

#[allow(clippy::needless_pass_by_value, reason = "reads well with json!")]
fn config(name: &str, role: &str, spec: Value) -> MachineConfig {
    serde_json::from_value(json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {"name": name, "labels": {names::LABEL_MACHINE_CONFIG_ROLE: role}},
        "spec": spec,
    }))
    .unwrap()
}

fn node(name: &str, roles: &[&str], current: &str, desired: &str, state: &str) -> Node {
    let mut labels: serde_json::Map<String, Value> = roles
        .iter()
        .map(|role| (names::node_role_label(role), json!("")))
        .collect();
    let vendor = "feature.node.kubernetes.io/cpu-model.vendor_id";
    labels.insert(vendor.to_owned(), json!("AMD"));
    let prefix = names::MCO_ANNOTATION_PREFIX;
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels, "annotations": {
            format!("{prefix}currentConfig"): current,
            format!("{prefix}desiredConfig"): desired,
            format!("{prefix}state"): state,
        }},
        "status": {"capacity": {"cpu": "8", "memory": "32Gi"}},
    }))
    .unwrap()
}

/// A cluster with a worker pool at `rendered-worker-a`, and one node of ours.
fn cluster() -> Cluster {
    let mut cluster = Cluster::empty(Served::openshift(Dialect::KernelType));
    cluster
        .pools
        .push(pool("worker", Some("rendered-worker-a")));
    cluster.machine_configs = vec![
        config("00-worker", "worker", json!({"kernelArguments": ["quiet"]})),
        config(
            "rendered-worker-a",
            "none",
            json!({"kernelArguments": ["quiet"], "kernelType": "default"}),
        ),
    ];
    cluster.nodes.push(node(
        "anvil",
        &["worker", "press"],
        "rendered-worker-a",
        "rendered-worker-a",
        "Done",
    ));
    cluster
}

fn planned(given: &RealtimeProfile, cluster: &Cluster, live: &[Value]) -> Plan {
    let validated = validate(given, cluster);
    let profile = validated
        .profile
        .unwrap_or_else(|| unreachable!("{}", validated.problems));
    let rendered = render(&profile);
    plan(&Wanted {
        given,
        profile: &profile,
        rendered: &rendered,
        cluster,
        live,
        warnings: &validated.problems,
    })
    .unwrap()
}

/// What the API server would hold after an apply: our objects with what a server adds.
fn applied(given: &RealtimeProfile, cluster: &Cluster) -> Vec<Value> {
    let rendered = render(&validate(given, cluster).profile.unwrap());
    let mut objects = rendered.objects();
    objects.push(serde_json::to_value(given).unwrap());
    for object in &mut objects {
        object["metadata"]["uid"] = json!("u");
        object["metadata"]["managedFields"] = json!([{"manager": "x"}]);
        object["metadata"]["labels"]["theirs"] = json!("1");
        object["status"] = json!({"observedGeneration": 1});
        if object["kind"] == "MachineConfigPool" {
            object["spec"]["paused"] = json!(false);
            object["spec"]["configuration"] = json!({"name": "rendered-press-a"});
        }
    }
    objects
}

#[test]
fn everything_is_new_on_a_fresh_cluster() {
    let plan = planned(&profile(), &cluster(), &[]);
    assert!(
        plan.changes
            .iter()
            .all(|change| change.action == Action::Create)
    );
    assert_eq!(plan.changes.len(), 6);
    let outcome = plan.outcome.unwrap();
    assert_eq!(outcome.kernel, "realtime");
    assert_eq!(outcome.sources, ["00-worker", "50-realtime-press"]);
    assert_eq!(outcome.kernel_arguments[0], "quiet");
    let [node] = &plan.nodes[..] else {
        unreachable!("{:?}", plan.nodes)
    };
    assert_eq!((node.node.as_str(), node.reboots), ("anvil", 1));
    assert!(
        node.reasons.contains(&"comes from pool worker".to_owned()),
        "{:?}",
        node.reasons
    );
    assert!(
        node.reasons
            .contains(&"kernel default → realtime".to_owned()),
        "{:?}",
        node.reasons
    );
    assert_eq!(plan.conflicts, []);
}

#[test]
fn what_was_applied_changes_nothing() {
    let (given, cluster) = (profile(), cluster());
    let plan = planned(&given, &cluster, &applied(&given, &cluster));
    assert_eq!(plan.changes, [], "{:#?}", plan.changes);
    assert_eq!(plan.unchanged.len(), 6);
}

#[test]
fn a_field_that_somebody_added_to_ours_goes_and_one_that_was_changed_comes_back() {
    let (given, cluster) = (profile(), cluster());
    let mut live = applied(&given, &cluster);
    let find =
        |kind: &str, live: &[Value]| live.iter().position(|one| one["kind"] == kind).unwrap();
    let at = find("KubeletConfig", &live);
    live[at]["spec"]["kubeletConfig"]["maxPods"] = json!(17);
    let at = find("MachineConfig", &live);
    live[at]["spec"]["kernelType"] = json!("default");
    let plan = planned(&given, &cluster, &live);
    let diffs: Vec<&str> = plan
        .changes
        .iter()
        .map(|change| change.diff.as_str())
        .collect();
    assert_eq!(diffs.len(), 2, "{diffs:?}");
    assert!(
        diffs.iter().any(|diff| diff.contains("-    maxPods: 17")),
        "{diffs:?}"
    );
    assert!(
        diffs
            .iter()
            .any(|diff| diff.contains("-  kernelType: default\n+  kernelType: realtime")),
        "{diffs:?}"
    );
}

#[test]
fn what_is_ours_and_not_wanted_any_more_is_deleted() {
    let (given, cluster) = (profile(), cluster());
    let mut live = applied(&given, &cluster);
    let labels = json!({names::LABEL_PROFILE: "press"});
    live.push(
        json!({"kind": "Tuned", "metadata": {"name": "old", "namespace": "n", "labels": labels}}),
    );
    // Neither somebody else's, nor a pool that was there before us.
    live.push(json!({"kind": "Tuned", "metadata": {"name": "theirs", "namespace": "n"}}));
    live.push(
        json!({"kind": "MachineConfigPool", "metadata": {"name": "before", "labels": labels}}),
    );
    let plan = planned(&given, &cluster, &live);
    let [change] = &plan.changes[..] else {
        unreachable!("{:?}", plan.changes)
    };
    assert_eq!(
        (change.action, change.object.to_string().as_str()),
        (Action::Delete, "Tuned n/old")
    );
}

#[test]
fn an_object_of_our_name_that_is_not_ours_is_a_conflict() {
    let live =
        [json!({"kind": "RuntimeClass", "metadata": {"name": "realtime-press"}, "handler": "x"})];
    let plan = planned(&profile(), &cluster(), &live);
    assert!(
        plan.conflicts
            .iter()
            .any(|conflict| conflict.about == "RuntimeClass/realtime-press"),
        "{:?}",
        plan.conflicts
    );
}

#[test]
fn a_node_in_the_middle_of_another_update_reboots_twice() {
    let (given, mut cluster) = (profile(), cluster());
    let mut ours = pool("press", Some("rendered-press-a"));
    ours.metadata.annotations =
        Some([(names::ANNOTATION_CREATED_BY.to_owned(), "press".to_owned())].into());
    cluster.pools.push(ours);
    cluster
        .machine_configs
        .push(config("rendered-press-a", "none", json!({})));
    cluster.nodes = vec![node(
        "anvil",
        &["worker", "press"],
        "rendered-worker-a",
        "rendered-press-a",
        "Working",
    )];
    let plan = planned(&given, &cluster, &[]);
    assert_eq!(plan.nodes[0].reboots, 2, "{:?}", plan.nodes);
}

#[test]
fn a_node_that_runs_it_already_does_not_reboot() {
    let (given, mut cluster) = (profile(), cluster());
    let mut ours = pool("press", Some("rendered-press-a"));
    ours.metadata.annotations =
        Some([(names::ANNOTATION_CREATED_BY.to_owned(), "press".to_owned())].into());
    let rendered = render(&validate(&given, &cluster).profile.unwrap());
    let mine = rendered.machine_config.clone().unwrap();
    let worker = cluster.machine_configs[0].clone();
    let merged = crate::merge::merge(&[&worker, &mine]).unwrap().into_spec();
    cluster
        .machine_configs
        .push(MachineConfig::new("rendered-press-a", merged));
    cluster.pools.push(ours);
    cluster.nodes = vec![node(
        "anvil",
        &["worker", "press"],
        "rendered-press-a",
        "rendered-press-a",
        "Done",
    )];
    let live = applied(&given, &cluster);
    let plan = planned(&given, &cluster, &live);
    assert_eq!(plan.changes, []);
    assert_eq!(plan.nodes[0].reboots, 0, "{:?}", plan.nodes);
}

#[test]
fn a_node_in_another_custom_pool_is_told() {
    let mut cluster = cluster();
    cluster.pools.push(pool("lathe", None));
    cluster.nodes = vec![node(
        "anvil",
        &["worker", "press", "lathe"],
        "rendered-worker-a",
        "rendered-worker-a",
        "Done",
    )];
    let plan = planned(&profile(), &cluster, &[]);
    assert!(
        plan.conflicts
            .iter()
            .any(|conflict| conflict.message.contains("anvil")),
        "{:?}",
        plan.conflicts
    );
}

#[test]
fn a_merge_that_openshift_refuses_is_an_error() {
    let (given, mut cluster) = (profile(), cluster());
    cluster
        .machine_configs
        .push(config("99-odd", "worker", json!({"kernelType": "odd"})));
    let validated = validate(&given, &cluster);
    let valid = validated.profile.unwrap();
    let rendered = render(&valid);
    let wanted = Wanted {
        given: &given,
        profile: &valid,
        rendered: &rendered,
        cluster: &cluster,
        live: &[],
        warnings: &validated.problems,
    };
    assert!(plan(&wanted).is_err());
}

#[test]
fn file_contents_are_shown_in_plain_text() {
    let plan = planned(&profile(), &cluster(), &[]);
    let config = plan
        .changes
        .iter()
        .find(|change| change.object.kind == "MachineConfig")
        .unwrap();
    assert!(!config.diff.contains("%0A"), "{}", config.diff);
    assert!(config.diff.contains("decoded:"), "{}", config.diff);
}

#[test]
fn arguments_are_compared_as_multisets() {
    let list = |text: &str| -> Vec<String> { text.split('|').map(str::to_owned).collect() };
    let changes = pool::changes(&list("a b|c"), &list("b|c|c|d"));
    assert_eq!((changes.added, changes.removed), (list("c|d"), list("a")));
}

#[test]
fn a_file_that_goes_is_a_reboot_too() {
    let (given, mut cluster) = (profile(), cluster());
    let rendered = render(&validate(&given, &cluster).profile.unwrap());
    let mine = rendered.machine_config.clone().unwrap();
    let worker = cluster.machine_configs[0].clone();
    let mut merged = crate::merge::merge(&[&worker, &mine]).unwrap().into_spec();
    let units = merged.config.as_mut().unwrap();
    units["systemd"]["units"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "realtime-offline-cpus.service", "enabled": true, "contents": "x"}));
    cluster
        .machine_configs
        .push(MachineConfig::new("rendered-press-a", merged));
    let mut ours = pool("press", Some("rendered-press-a"));
    ours.metadata.annotations =
        Some([(names::ANNOTATION_CREATED_BY.to_owned(), "press".to_owned())].into());
    cluster.pools.push(ours);
    cluster.nodes = vec![node(
        "anvil",
        &["worker", "press"],
        "rendered-press-a",
        "rendered-press-a",
        "Done",
    )];
    let live = applied(&given, &cluster);
    let plan = planned(&given, &cluster, &live);
    assert_eq!(
        (plan.nodes[0].reboots, &plan.nodes[0].reasons[..]),
        (1, &["1 files or units go".to_owned()][..])
    );
}

#[test]
fn nodes_of_pools_that_build_on_ours_are_told() {
    let mut given = profile();
    given.spec.pool = serde_json::from_value(json!({"name": "worker"})).unwrap();
    let mut cluster = cluster();
    let mut custom = pool("press", None);
    custom.spec.machine_config_selector = serde_json::from_value(json!({"matchExpressions": [
        {"key": names::LABEL_MACHINE_CONFIG_ROLE, "operator": "In", "values": ["worker", "press"]}]}))
    .unwrap();
    cluster.pools.push(custom);
    let mut master = pool("master", None);
    master.metadata.name = Some("master".to_owned());
    cluster.pools.push(master);
    let worker = |name: &str, roles: &[&str]| {
        node(
            name,
            roles,
            "rendered-worker-a",
            "rendered-worker-a",
            "Done",
        )
    };
    cluster.nodes = vec![
        worker("anvil", &["worker", "press"]),
        worker("bench", &["worker"]),
        worker("clamp", &["master"]),
    ];
    let plan = planned(&given, &cluster, &[]);
    let told: Vec<(&str, u32)> = plan
        .nodes
        .iter()
        .map(|node| (node.node.as_str(), node.reboots))
        .collect();
    assert_eq!(told, [("anvil", 2), ("bench", 1)]);
}

#[test]
fn what_acts_without_a_reboot_is_no_reboot() {
    let (given, cluster) = (profile(), cluster());
    let live = applied(&given, &cluster);
    let rendered = render(&validate(&given, &cluster).profile.unwrap());
    let mut running = cluster.clone();
    let worker = cluster.machine_configs[0].clone();
    let mine = rendered.machine_config.unwrap();
    running.machine_configs.push(MachineConfig::new(
        "rendered-press-a",
        crate::merge::merge(&[&worker, &mine]).unwrap().into_spec(),
    ));
    running.nodes[0]
        .annotations_mut()
        .extend(["currentConfig", "desiredConfig"].map(|name| {
            (
                format!("{}{name}", names::MCO_ANNOTATION_PREFIX),
                "rendered-press-a".to_owned(),
            )
        }));
    let mut ours = pool("press", Some("rendered-press-a"));
    ours.metadata.annotations =
        Some([(names::ANNOTATION_CREATED_BY.to_owned(), "press".to_owned())].into());
    running.pools.push(ours);
    let mut edited = live;
    for object in &mut edited {
        if object["kind"] == "Tuned" {
            object["spec"]["profile"][0]["data"] = json!("edited by hand");
        }
    }
    let plan = planned(&given, &running, &edited);
    assert_eq!(plan.changes.len(), 1, "{:?}", plan.changes);
    assert_eq!(plan.nodes[0].reboots, 0, "{:?}", plan.nodes);
}

#[test]
fn what_the_node_daemon_does_is_told_with_its_reboot() {
    let cluster = cluster();
    let mut by_daemon = profile();
    let kernel = by_daemon.spec.kernel.as_mut().unwrap();
    kernel.provider = Some(crate::api::realtime_profile::KernelProvider::NodeDaemon);
    let by_operator = &planned(&profile(), &cluster, &[]).nodes[0];
    let plan = planned(&by_daemon, &cluster, &[]);
    let node = &plan.nodes[0];
    assert_eq!(node.reboots, by_operator.reboots + 1, "{node:?}");
    let told = node.reasons.join("; ");
    assert!(told.contains("installs the real-time kernel"), "{told}");
    assert!(told.contains("no node daemon has reported"), "{told}");
    // It runs already, by the daemon's own word.
    let mut there = cluster.clone();
    there.realtime_nodes = vec![
        serde_json::from_value(json!({
            "metadata": {"name": node.node, "generation": 1},
            "spec": {"profile": "press", "kernel": {"realtime": true, "provider": "NodeDaemon"}},
            "status": {"observedGeneration": 1, "phase": "Ready", "kernel": {"realtime": true}}
        }))
        .unwrap(),
    ];
    assert_eq!(
        planned(&by_daemon, &there, &[]).nodes[0].reboots,
        by_operator.reboots
    );
    // Given to the Machine Config Operator, the daemon takes it back first.
    let back = &planned(&profile(), &there, &[]).nodes[0];
    assert_eq!(back.reboots, by_operator.reboots + 1);
    assert!(
        back.reasons
            .iter()
            .any(|reason| reason.contains("two never drive one kernel"))
    );
}

#[test]
fn without_pools_each_node_says_what_its_daemon_would_change() {
    let mut cluster = Cluster::empty(Served::of(&[]));
    let labelled = |name: &str, roles: &[&str]| node(name, roles, "", "", "");
    cluster.nodes = vec![
        labelled("fresh", &["press"]),
        labelled("done", &["press"]),
        labelled("other", &["press"]),
        labelled("left", &[]),
        labelled("foreign", &[]),
    ];
    let mill = serde_json::from_value(json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile", "metadata": {"name": "mill"},
        "spec": {"kernel": {"realtime": true}},
    }));
    cluster.profiles = vec![mill.unwrap()];
    let spec = render(&validate(&profile(), &cluster).profile.unwrap()).node_spec;
    let mut done = crate::api::RealtimeNode::new("done", spec);
    done.status = serde_json::from_value(json!({
        "observedGeneration": 1, "phase": "Ready", "kernel": {"realtime": true}
    }))
    .unwrap();
    let named = |name: &str, profile: &str| {
        let mut there = done.clone();
        there.metadata.name = Some(name.to_owned());
        profile.clone_into(&mut there.spec.profile);
        there
    };
    cluster.realtime_nodes = vec![done.clone(), named("other", "mill"), named("left", "press")];
    let plan = planned(&profile(), &cluster, &[]);
    let reboots: Vec<(&str, u32)> = plan
        .nodes
        .iter()
        .map(|node| (node.node.as_str(), node.reboots))
        .collect();
    assert_eq!(reboots, [("done", 0), ("fresh", 1), ("left", 1)]);
    let mut stock = profile();
    stock.spec.kernel.as_mut().unwrap().realtime = Some(false);
    let plan = planned(&stock, &cluster, &[]);
    let done = plan.nodes.iter().find(|node| node.node == "done").unwrap();
    assert_eq!(done.reboots, 1, "{:?}", done.reasons);
    assert!(
        done.reasons[0].contains("stock kernel"),
        "{:?}",
        done.reasons
    );
}
