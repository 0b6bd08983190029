//! What is read from which object, and which wins.

use serde_json::json;

use super::*;
use crate::cluster::{Dialect, Served};

fn node(value: serde_json::Value) -> Node {
    serde_json::from_value(value).expect("a node")
}

fn plain_node() -> Node {
    node(json!({
        "metadata": {"name": "n1", "labels": {
            "kubernetes.io/arch": "amd64",
            "node-role.kubernetes.io/worker": "",
            "feature.node.kubernetes.io/cpu-model.vendor_id": "Intel",
            "feature.node.kubernetes.io/cpu-model.family": "6",
            "feature.node.kubernetes.io/cpu-model.id": "106",
        }},
        "status": {
            "capacity": {"cpu": "16", "memory": "65536000Ki"},
            "nodeInfo": {"architecture": "amd64", "kernelVersion": "5.14.0-570.el9.x86_64",
                "bootID": "", "containerRuntimeVersion": "", "kubeProxyVersion": "", "kubeletVersion": "",
                "machineID": "", "operatingSystem": "linux", "osImage": "", "systemUUID": ""}
        }
    }))
}

fn daemon_word() -> RealtimeNode {
    serde_json::from_value(json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeNode",
        "metadata": {"name": "n1"}, "spec": {"profile": "edge"},
        "status": {
            "host": {"architecture": "x86_64", "cpuVendor": "AuthenticAMD", "cpuFamily": 25, "cpuModel": 17},
            "topology": {"cpus": "0-7", "online": "0-5", "siblings": ["0,4", "1,5", "nonsense"],
                "numaNodes": [{"id": 1, "cpus": "4-7", "memoryKiB": 2048}, {"id": 0, "cpus": "0-3", "memoryKiB": 1024},
                              {"id": -1, "cpus": "", "memoryKiB": 1}]}
        }
    }))
    .expect("a RealtimeNode")
}

#[test]
fn a_node_alone_tells_by_labels_and_kubelet() {
    let facts = NodeFacts::of(&plain_node(), None);
    assert_eq!(facts.name, "n1");
    assert_eq!(facts.architecture, Some(Architecture::Amd64));
    assert_eq!(facts.cpu_vendor, Some(CpuVendor::Intel));
    assert_eq!((facts.cpu_family, facts.cpu_model), (Some(6), Some(106)));
    assert_eq!(
        (facts.cpu_capacity, facts.memory_kib),
        (Some(16), Some(65_536_000))
    );
    assert_eq!(
        facts.kernel_release.as_deref(),
        Some("5.14.0-570.el9.x86_64")
    );
    assert_eq!((facts.cpus, facts.numa_nodes.len()), (None, 0));
}

#[test]
fn the_daemons_word_wins_fact_by_fact() {
    let facts = NodeFacts::of(&plain_node(), Some(&daemon_word()));
    assert_eq!(facts.cpu_vendor, Some(CpuVendor::Amd));
    assert_eq!((facts.cpu_family, facts.cpu_model), (Some(25), Some(17)));
    assert_eq!(facts.cpus, "0-7".parse().ok());
    assert_eq!(facts.cpu_capacity, Some(16));
    assert_eq!(facts.siblings.len(), 2);
    let numa: Vec<u32> = facts.numa_nodes.iter().map(|numa| numa.id).collect();
    assert_eq!((numa, facts.memory_kib), (vec![0, 1], Some(3072)));
}

#[test]
fn nothing_and_nonsense_are_not_known() {
    let facts = NodeFacts::of(&Node::default(), None);
    assert_eq!(facts, NodeFacts::default());
    let facts = NodeFacts::of(
        &node(json!({
            "metadata": {"labels": {"kubernetes.io/arch": "riscv64", "feature.node.kubernetes.io/cpu-model.id": "x"}},
            "status": {"capacity": {"cpu": "many", "memory": "-5"}}
        })),
        None,
    );
    assert_eq!(
        (
            facts.architecture,
            facts.cpu_model,
            facts.cpu_capacity,
            facts.memory_kib
        ),
        (None, None, None, None)
    );
}

#[test]
fn any_arm_vendor_is_arm() {
    let arm = node(json!({"metadata": {"labels": {
        "kubernetes.io/arch": "arm64", "feature.node.kubernetes.io/cpu-model.vendor_id": "Ampere"}}}));
    assert_eq!(NodeFacts::of(&arm, None).cpu_vendor, Some(CpuVendor::Arm));
}

#[test]
fn a_pools_facts_are_those_of_its_nodes() {
    let mut cluster = Cluster::empty(Served::openshift(Dialect::KernelType));
    cluster.nodes = vec![plain_node(), node(json!({"metadata": {"name": "n2"}}))];
    cluster.realtime_nodes = vec![daemon_word()];
    cluster.pools = vec![
        serde_json::from_value(json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool",
            "metadata": {"name": "worker"},
            "spec": {"nodeSelector": {"matchLabels": {"node-role.kubernetes.io/worker": ""}}}
        }))
        .expect("a pool"),
    ];
    let facts = pool_facts("worker", &cluster);
    assert_eq!(facts.len(), 1);
    assert_eq!(facts[0].cpu_vendor, Some(CpuVendor::Amd));
    assert!(pool_facts("edge", &cluster).is_empty());
}

#[test]
fn a_kubelet_of_any_build_has_a_version() {
    for (text, known) in [
        ("v1.27.6+f67aeb3", Some((1, 27))),
        ("v1.34.0-rc.1", Some((1, 34))),
        ("v1.30", Some((1, 30))),
        ("", None),
        ("v1", None),
        ("1.30.1", None),
        ("vx.y", None),
    ] {
        assert_eq!(version(text), known, "{text}");
    }
}
