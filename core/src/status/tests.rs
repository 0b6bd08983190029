//! What a user reads in each situation.

use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, NodeSystemInfo};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::*;
use crate::cluster::{Dialect, Served};
use crate::conditions::find;
use crate::openshift::{KubeletConfig, MachineConfig, PerformanceProfile};
use crate::problem::Problem;
use crate::rollout::simulation::{rendered, valid};

const TARGET: &str = "rendered-rt-0123456789abcdef0123456789abcdef";
const OLD: &str = "rendered-worker-0123456789abcdef0123456789abcdef";

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn pool(name: &str, more: Value) -> MachineConfigPool {
    let mut pool = json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool",
        "metadata": {"name": name, "labels": {names::pool_label(name): ""}},
        "spec": {
            "nodeSelector": {"matchLabels": {names::node_role_label(name): ""}},
            "machineConfigSelector": {"matchLabels": {names::LABEL_MACHINE_CONFIG_ROLE: name}},
            "configuration": {"name": TARGET}
        }
    });
    merge_json(&mut pool, more);
    object(pool)
}

fn merge_json(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge_json(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

fn node(name: &str, current: &str, desired: &str, state: &str, kernel: &str) -> Node {
    let annotation = |key: &str| format!("{}{key}", names::MCO_ANNOTATION_PREFIX);
    Node {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some([(names::node_role_label("rt"), String::new())].into()),
            annotations: Some(
                [
                    (annotation("currentConfig"), current.into()),
                    (annotation("desiredConfig"), desired.into()),
                    (annotation("state"), state.into()),
                ]
                .into(),
            ),
            ..Default::default()
        },
        spec: None,
        status: Some(NodeStatus {
            node_info: Some(NodeSystemInfo {
                kernel_version: kernel.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
    }
}

const RT: &str = "5.14.0-427.el9.x86_64+rt";
const STOCK: &str = "5.14.0-427.el9.x86_64";

/// A pool's status that says: all nodes have this configuration.
fn updated(configuration: &str) -> Value {
    json!({"configuration": {"name": configuration}, "conditions": [
        {"type": "Updated", "status": "True"}, {"type": "Updating", "status": "False"}]})
}

struct Case {
    profile: RealtimeProfile,
    cluster: Cluster,
    steps: Vec<Step>,
    realtime: bool,
    invalid: bool,
    problems: Problems,
}

fn case() -> Case {
    let mut cluster = Cluster::empty(Served::openshift(Dialect::KernelType));
    cluster.pools = vec![pool("rt", json!({"status": updated(TARGET)}))];
    cluster.nodes = vec![
        node("n1", TARGET, TARGET, "Done", RT),
        node("n2", TARGET, TARGET, "Done", RT),
    ];
    Case {
        profile: RealtimeProfile::new(
            "rt-profile",
            crate::api::realtime_profile::RealtimeProfileSpec::default(),
        ),
        cluster,
        steps: Vec::new(),
        realtime: true,
        invalid: false,
        problems: Problems::default(),
    }
}

impl Case {
    fn status(&self) -> RealtimeProfileStatus {
        let mut valid = valid(true);
        valid.kernel.realtime = self.realtime;
        let rendered = rendered(&valid, 1);
        status(
            &Inputs {
                profile: &self.profile,
                problems: &self.problems,
                wanted: (!self.invalid).then_some((&valid, &rendered)),
                cluster: &self.cluster,
                steps: &self.steps,
                failure: None,
            },
            &Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH),
        )
    }

    /// Type, status, reason of a condition, and its message.
    fn condition(&self, type_: &str) -> (String, String, String) {
        let status = self.status();
        let condition = find(&status.conditions, type_).unwrap().clone();
        (condition.status, condition.reason, condition.message)
    }

    fn says(&self, type_: &str, status: &str, reason: &str) {
        let (is, why, message) = self.condition(type_);
        assert_eq!((is.as_str(), why.as_str()), (status, reason), "{message}");
        assert!(!message.is_empty());
    }
}

#[test]
fn real_time_nodes_at_the_target_are_available() {
    let case = case();
    case.says(AVAILABLE, "True", reason::UPDATED);
    case.says(PROGRESSING, "False", reason::UPDATED);
    case.says(DEGRADED, "False", reason::AS_EXPECTED);
    case.says(UPGRADEABLE, "True", reason::AS_EXPECTED);
    case.says(LATENCY_VERIFIED, "Unknown", reason::NO_LATENCY_GATE);
    let status = case.status();
    assert_eq!(status.summary.as_deref(), Some(reason::UPDATED));
    assert_eq!(status.rendered_configuration.as_deref(), Some(TARGET));
    let nodes = status.nodes.unwrap();
    assert_eq!((nodes.total, nodes.ready, nodes.realtime_kernel), (2, 2, 2));
}

#[test]
fn every_condition_is_there_in_every_situation() {
    let mut deleted = case();
    deleted.profile.metadata.deletion_timestamp =
        Some(Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
    let mut invalid = case();
    invalid.invalid = true;
    for case in [case(), deleted, invalid] {
        let types: Vec<String> = case
            .status()
            .conditions
            .into_iter()
            .map(|condition| condition.type_)
            .collect();
        assert_eq!(types, crate::conditions::PROFILE_CONDITIONS);
    }
}

#[test]
fn a_stock_kernel_on_an_updated_pool_is_told() {
    let mut case = case();
    case.cluster.nodes[1] = node("n2", TARGET, TARGET, "Done", STOCK);
    case.says(AVAILABLE, "False", reason::VERIFYING);
    case.says(DEGRADED, "True", reason::STOCK_KERNEL_RUNS);
    assert_eq!(
        case.status().summary.as_deref(),
        Some(reason::STOCK_KERNEL_RUNS)
    );
}

#[test]
fn the_old_target_is_not_believed() {
    // As recorded: for up to 5 s the pool says Updated=True about the old target, and the nodes are all Done there.
    let mut case = case();
    case.cluster.nodes = vec![node("n1", OLD, OLD, "Done", STOCK)];
    case.cluster.pools[0].status = Some(object(
        json!({"conditions": [{"type": "Updated", "status": "True"}]}),
    ));
    case.says(AVAILABLE, "False", reason::ROLLING_OUT);
    case.says(PROGRESSING, "True", reason::ROLLING_OUT);
    case.says(UPGRADEABLE, "False", reason::ROLLOUT_IN_PROGRESS);
}

#[test]
fn the_pool_has_to_say_so_too() {
    let mut about_the_past = updated(TARGET);
    about_the_past["observedGeneration"] = json!(1);
    let mut updating = updated(TARGET);
    updating["conditions"][1]["status"] = json!("True");
    let cases = [
        (updated(OLD), None),
        (about_the_past, Some(2)),
        (updating, None),
    ];
    for (status, generation) in cases {
        let mut case = case();
        case.cluster.pools[0].status = Some(object(status));
        case.cluster.pools[0].metadata.generation = generation;
        case.says(AVAILABLE, "False", reason::WAITING_FOR_POOL);
        case.says(PROGRESSING, "True", reason::WAITING_FOR_POOL);
        case.says(DEGRADED, "False", reason::AS_EXPECTED);
        // Where it was reached once, the pool can't take it back: the nodes can.
        let mut reached = self::case().status();
        reached.rendered_configuration = Some(TARGET.to_owned());
        case.profile.status = Some(reached);
        case.says(AVAILABLE, "True", reason::UPDATED);
    }
    let mut said = case();
    let mut status = updated(TARGET);
    status["observedGeneration"] = json!(2);
    said.cluster.pools[0].status = Some(object(status));
    said.cluster.pools[0].metadata.generation = Some(2);
    said.says(AVAILABLE, "True", reason::UPDATED);
}

#[test]
fn a_cordon_is_no_rollout() {
    // As recorded in 06-admin-cordon: Updating=True though all nodes are at the target.
    let mut case = case();
    case.cluster.pools[0].status = Some(object(
        json!({"conditions": [{"type": "Updating", "status": "True"}]}),
    ));
    case.cluster.nodes[0].spec = Some(NodeSpec {
        unschedulable: Some(true),
        ..Default::default()
    });
    case.says(AVAILABLE, "True", reason::UPDATED);
    let (_, _, message) = case.condition(AVAILABLE);
    assert!(message.contains("n1 cordoned by somebody"), "{message}");
}

#[test]
fn a_cordon_that_holds_up_a_rollout_is_named() {
    let mut case = case();
    case.cluster.nodes[0] = node("n1", OLD, OLD, "Done", STOCK);
    case.cluster.nodes[0].spec = Some(NodeSpec {
        unschedulable: Some(true),
        ..Default::default()
    });
    case.cluster.nodes[1] = node("n2", OLD, OLD, "Done", STOCK);
    case.says(PROGRESSING, "False", reason::CORDONED_NODE);
}

#[test]
fn a_refused_kubelet_config_is_told_whoever_made_it() {
    for name in ["realtime-rt-profile", "somebody-elses"] {
        let mut case = case();
        let config: KubeletConfig = object(json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "KubeletConfig",
            "metadata": {"name": name, "generation": 1},
            "spec": {"machineConfigPoolSelector": {"matchLabels": {names::pool_label("rt"): ""}}},
            "status": {"observedGeneration": 1, "conditions": [
                {"type": "Accepted", "status": "False", "message": "Error: KubeletConfiguration: cgroupDriver is not allowed"},
                {"type": "Failure", "status": "True", "message": "Error: KubeletConfiguration: cgroupDriver is not allowed"}]}
        }));
        case.cluster.kubelet_configs = vec![config];
        case.says(DEGRADED, "True", reason::KUBELET_CONFIG_REFUSED);
        let (_, _, message) = case.condition(DEGRADED);
        assert!(
            message.contains(name) && message.contains("cgroupDriver"),
            "{message}"
        );
    }
}

#[test]
fn a_foreign_kubelet_config_is_told() {
    let mut case = case();
    let config = |name: &str| -> KubeletConfig {
        object(json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "KubeletConfig",
            "metadata": {"name": name, "generation": 1},
            "spec": {"machineConfigPoolSelector": {"matchLabels": {names::pool_label("rt"): ""}}},
            "status": {"observedGeneration": 1, "conditions": [{"type": "Accepted", "status": "True"}]}
        }))
    };
    case.cluster.kubelet_configs = vec![config("realtime-rt-profile"), config("rt2")];
    case.says(DEGRADED, "True", reason::FOREIGN_KUBELET_CONFIG);
    let (_, _, message) = case.condition(DEGRADED);
    assert!(message.contains("rt2"), "{message}");
}

#[test]
fn a_node_in_two_pools_is_told() {
    let mut case = case();
    case.cluster.pools.push(pool("infra", json!({})));
    case.cluster.nodes[0]
        .metadata
        .labels
        .as_mut()
        .unwrap()
        .insert(names::node_role_label("infra"), String::new());
    case.says(DEGRADED, "True", reason::NODE_IN_TWO_POOLS);
}

#[test]
fn a_degraded_node_is_told_with_its_words() {
    let mut case = case();
    case.cluster.nodes[0] = node("n1", OLD, TARGET, "Degraded", STOCK);
    case.cluster.nodes[0]
        .metadata
        .annotations
        .as_mut()
        .unwrap()
        .insert(
            format!("{}reason", names::MCO_ANNOTATION_PREFIX),
            "Packages not found: kernel-rt-core".into(),
        );
    case.cluster.nodes[1] = node("n2", OLD, OLD, "Done", STOCK);
    case.says(DEGRADED, "True", reason::NODE_DEGRADED);
    let (_, _, message) = case.condition(DEGRADED);
    assert!(
        message.contains("Packages not found") && message.contains("1 other node"),
        "{message}"
    );
}

#[test]
fn an_inherited_realtime_kernel_is_told() {
    let mut case = case();
    case.realtime = false;
    let config: MachineConfig = object(json!({
        "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfig",
        "metadata": {"name": "99-all", "labels": {names::LABEL_MACHINE_CONFIG_ROLE: "rt"}},
        "spec": {"kernelType": "realtime"}
    }));
    case.cluster.machine_configs = vec![config];
    case.says(DEGRADED, "True", reason::REALTIME_INHERITED);
}

#[test]
fn a_performance_profile_on_the_pool_is_told() {
    for spec in [
        json!({"nodeSelector": {names::node_role_label("rt"): ""}}),
        json!({"machineConfigPoolSelector": {names::pool_label("rt"): ""}}),
    ] {
        let mut case = case();
        let profile: PerformanceProfile = object(json!({
            "apiVersion": "performance.openshift.io/v2", "kind": "PerformanceProfile",
            "metadata": {"name": "theirs"}, "spec": spec
        }));
        case.cluster.performance_profiles = vec![profile];
        case.says(DEGRADED, "True", reason::PERFORMANCE_PROFILE);
    }
}

#[test]
fn a_pool_that_cannot_be_rendered_is_told() {
    let mut case = case();
    case.cluster.pools[0].status = Some(object(
        json!({"conditions": [{"type": "RenderDegraded", "status": "True", "message": "kernelType=x is invalid"}]}),
    ));
    case.says(DEGRADED, "True", reason::RENDER_DEGRADED);
}

#[test]
fn an_admins_pause_is_told_with_the_command() {
    let mut case = case();
    case.cluster.pools = vec![pool("rt", json!({"spec": {"paused": true}}))];
    case.cluster.nodes = vec![node("n1", OLD, OLD, "Done", STOCK)];
    case.steps = vec![Step::Wait(Wait::AdminUnpause("rt".into()))];
    case.says(AVAILABLE, "False", reason::PAUSED_BY_ADMIN);
    let (_, _, message) = case.condition(PROGRESSING);
    assert!(message.contains("oc patch mcp rt"), "{message}");
}

#[test]
fn each_wait_has_its_own_reason() {
    for (wait, why) in [
        (
            Wait::KubeletConfig(None),
            reason::WAITING_FOR_KUBELET_CONFIG,
        ),
        (Wait::Target(vec!["x".into()]), reason::WAITING_FOR_RENDER),
        (Wait::RolloutPaused, reason::ROLLOUT_PAUSED),
        (Wait::PoolMissing("rt".into()), reason::POOL_MISSING),
    ] {
        let mut case = case();
        case.steps = vec![Step::Wait(wait)];
        let (_, is, _) = case.condition(AVAILABLE);
        assert_eq!(is, why);
        assert_eq!(case.status().rendered_configuration, None);
    }
}

#[test]
fn an_empty_pool_says_how_nodes_join() {
    let mut case = case();
    case.cluster.nodes.clear();
    case.says(AVAILABLE, "False", reason::NO_NODES);
    let (_, _, message) = case.condition(AVAILABLE);
    assert!(
        message.contains("oc label node NODE node-role.kubernetes.io/rt="),
        "{message}"
    );
}

#[test]
fn the_daemons_word_counts_more_than_the_kernels_name() {
    let mut case = case();
    case.cluster.realtime_nodes = vec![object(json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeNode", "metadata": {"name": "n1"},
        "spec": {"profile": "rt-profile"}, "status": {"kernel": {"realtime": false, "release": RT}}
    }))];
    case.says(DEGRADED, "True", reason::STOCK_KERNEL_RUNS);
}

#[test]
fn what_of_the_cluster_stands_in_the_way_has_its_own_reason() {
    let nothing = |field: &'static str| (field, "");
    let cases = [
        (
            vec![nothing("KubeletConfig/theirs")],
            reason::FOREIGN_KUBELET_CONFIG,
        ),
        (
            vec![nothing("PerformanceProfile/theirs")],
            reason::PERFORMANCE_PROFILE,
        ),
        (
            vec![nothing("MachineConfigPool/rt")],
            reason::POOL_UNSUITABLE,
        ),
        (vec![nothing("RealtimeProfile/older")], reason::POOL_TAKEN),
        (
            vec![("MachineConfig/99-all", "realtime")],
            reason::REALTIME_INHERITED,
        ),
        (
            vec![("RealtimeProfile/worker", "realtime")],
            reason::REALTIME_INHERITED,
        ),
        (
            vec![("MachineConfig/99-all", "64k-pages")],
            reason::OVERRIDDEN,
        ),
        (
            vec![("RealtimeProfile/worker", "nohz_full=2-3")],
            reason::OVERRIDDEN,
        ),
        (
            vec![("PerformanceProfile/theirs", "nohz_full=2-3")],
            reason::OVERRIDDEN,
        ),
        (
            vec![
                nothing("KubeletConfig/theirs"),
                nothing("spec.cpu.isolated"),
            ],
            reason::INVALID,
        ),
    ];
    for (fields, why) in cases {
        let mut case = case();
        case.invalid = true;
        for (field, value) in &fields {
            case.problems
                .push(Problem::error(*field, value, "is in the way", "remove it"));
        }
        case.says(VALID, "False", why);
        case.says(DEGRADED, "True", why);
        case.says(AVAILABLE, "False", why);
        assert_eq!(case.status().summary.as_deref(), Some(why));
        let (_, _, message) = case.condition(DEGRADED);
        assert!(message.contains(fields[0].0), "{message}");
    }
}

#[test]
fn a_node_that_was_uncordoned_is_finishing_and_not_beginning() {
    let drained = |drain: String| {
        let mut case = case();
        case.cluster.nodes[0] = node("n1", OLD, TARGET, "Working", RT);
        let annotations = case.cluster.nodes[0].metadata.annotations.as_mut().unwrap();
        for key in ["desiredDrain", "lastAppliedDrain"] {
            annotations.insert(
                format!("{}{key}", names::MCO_ANNOTATION_PREFIX),
                drain.clone(),
            );
        }
        progress::node_progress("rt", &case.cluster, true)[0].phase
    };
    assert_eq!(drained(format!("uncordon-{OLD}")), ProgressPhase::Preparing);
    assert_eq!(drained(format!("drain-{TARGET}")), ProgressPhase::Updating);
    assert_eq!(
        drained(format!("uncordon-{TARGET}")),
        ProgressPhase::Finishing
    );
}

/// A RealtimeNode of a node whose kernel its daemon switches.
#[allow(
    clippy::needless_pass_by_value,
    reason = "each is written where it is used"
)]
fn by_daemon(name: &str, generation: i64, status: Value) -> crate::api::RealtimeNode {
    object(json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeNode",
        "metadata": {"name": name, "generation": generation},
        "spec": {"profile": "rt-profile", "kernel": {"realtime": true, "provider": "NodeDaemon"}},
        "status": status
    }))
}

#[test]
fn a_daemons_word_about_a_former_spec_or_boot_is_no_word() {
    let ready = json!({"observedGeneration": 1, "phase": "Ready", "kernel": {"realtime": true, "bootId": "a"}});
    let phase = |generation, boot: &str| {
        let mut case = case();
        let info = case.cluster.nodes[0].status.as_mut().unwrap();
        info.node_info.as_mut().unwrap().boot_id = boot.into();
        case.cluster.realtime_nodes = vec![by_daemon("n1", generation, ready.clone())];
        progress::node_progress("rt", &case.cluster, true)[0].phase
    };
    assert_eq!(phase(1, "a"), ProgressPhase::Ready);
    assert_eq!(phase(1, ""), ProgressPhase::Ready);
    assert_eq!(phase(2, "a"), ProgressPhase::Verifying);
    assert_eq!(phase(1, "b"), ProgressPhase::Verifying);
}

#[test]
fn nodes_say_what_their_turn_waits_for() {
    let mut case = case();
    case.cluster.nodes[0] = node("n1", TARGET, TARGET, "Done", STOCK);
    case.cluster.realtime_nodes = vec![by_daemon(
        "n1",
        1,
        json!({"observedGeneration": 1, "phase": "Pending", "turn": "Wanted", "kernel": {"realtime": false}}),
    )];
    case.steps = vec![Step::Wait(Wait::Turns(vec![crate::turns::Waits {
        node: "n1".into(),
        what: "canary n2 to be Ready".into(),
    }]))];
    case.says(PROGRESSING, "True", reason::KERNEL_BY_NODE_DAEMON);
    let (_, _, message) = case.condition(PROGRESSING);
    assert!(
        message.contains("n1 (Waiting for canary n2 to be Ready)"),
        "{message}"
    );
}

#[test]
fn a_failed_switch_is_told_in_the_daemons_words() {
    let degraded = |name: &str| {
        by_daemon(
            name,
            1,
            json!({"observedGeneration": 1, "phase": "Degraded", "kernel": {"realtime": false},
            "conditions": [{"type": "Degraded", "status": "True", "reason": "NoSpaceInBoot", "message": "no room in /boot.",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]}),
        )
    };
    let mut case = case();
    case.realtime = false;
    case.cluster.realtime_nodes = vec![degraded("n1")];
    case.says(DEGRADED, "True", reason::NODE_DEGRADED);
    let (_, _, message) = case.condition(DEGRADED);
    assert!(message.contains("no room in /boot"), "{message}");
    // Where the Machine Config Operator says that it is done, its word is the fault.
    let mut case = self::case();
    case.cluster.realtime_nodes = vec![degraded("n1")];
    case.says(DEGRADED, "True", reason::STOCK_KERNEL_RUNS);
}

#[test]
fn what_waits_for_the_stock_kernel_names_the_nodes() {
    use crate::rollout::Before;
    let waits = |before| {
        Step::Wait(Wait::NodesGoingBack {
            nodes: vec!["n1".into()],
            before,
        })
    };
    let mut case = case();
    case.steps = vec![waits(Before::MachineConfig)];
    case.says(PROGRESSING, "True", reason::NODES_GOING_BACK);
    case.profile.metadata.deletion_timestamp = Some(Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
    case.steps = vec![waits(Before::Deletion)];
    case.says(PROGRESSING, "True", reason::NODES_GOING_BACK);
    let (_, _, message) = case.condition(PROGRESSING);
    assert!(message.contains("n1"), "{message}");
    let mut stays = self::case();
    stays.steps = vec![waits(Before::Nothing)];
    stays.says(AVAILABLE, "True", reason::UPDATED);
    let mut first = self::case();
    first.steps = vec![Step::Wait(Wait::FirstReports {
        nodes: vec!["n1".into()],
        seconds: 3,
    })];
    first.says(PROGRESSING, "True", reason::WAITING_FOR_FIRST_REPORTS);
}
