//! What a cluster has before anybody configures it: the built-in pools and their base MachineConfigs, and
//! simulated nodes. Only content; `PoolStandin` creates it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use realtime_core::merge::kubelet;
use realtime_core::openshift::{MachineConfig, MachineConfigPool};
use serde_json::{Map, Value, json};

use super::agent::STOCK_KERNEL;
use super::kubelet_config::{file, node_sizing, yaml};

/// The built-in pools.
pub const POOLS: [&str; 2] = ["master", "worker"];

/// The kubelet.conf that a pool has without any KubeletConfig: the keys that matter to a merge.
pub fn base_kubelet_conf() -> Map<String, Value> {
    let conf = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "cgroupRoot": "/",
        "clusterDNS": ["172.30.0.10"],
        "clusterDomain": "cluster.local",
        "maxPods": 250,
        "podPidsLimit": 4096,
        "protectKernelDefaults": true,
        "rotateCertificates": true,
        "serializeImagePulls": false,
        "staticPodPath": "/etc/kubernetes/manifests",
        "systemCgroups": "/system.slice",
    });
    conf.as_object().cloned().unwrap_or_default()
}

/// The base MachineConfigs of a built-in pool.
pub fn base_configs(pool: &str) -> Vec<MachineConfig> {
    let release = |image: &str, digit: &str| {
        format!(
            "registry.example.org/ocp/{image}@sha256:{}",
            digit.repeat(64)
        )
    };
    let ignition = |files: Vec<Value>, units: Vec<Value>| json!({"ignition": {"version": "3.5.0"}, "storage": {"files": files}, "systemd": {"units": units}});
    let kubelet_unit = json!({"name": "kubelet.service", "enabled": true, "contents": format!(
        "[Unit]
Description=Kubernetes Kubelet
[Service]
ExecStart=/usr/bin/kubelet --node-labels=node-role.kubernetes.io/{pool}
"
    )});
    let specs = [
        (
            format!("00-{pool}"),
            json!({
                "config": ignition(
                    vec![
                        file("/etc/sysctl.d/inotify.conf", "fs.inotify.max_user_watches = 65536\n"),
                        file(kubelet::NODE_SIZING, &node_sizing(false, &BTreeMap::new())),
                    ],
                    vec![kubelet_unit],
                ),
                "osImageURL": release("rhel-coreos", "e"),
                "baseOSExtensionsContainerImage": release("rhel-coreos-extensions", "d"),
            }),
        ),
        (
            format!("01-{pool}-container-runtime"),
            json!({"config": ignition(vec![file("/etc/crio/crio.conf.d/00-default", "[crio]\n")], vec![])}),
        ),
        (
            format!("01-{pool}-kubelet"),
            json!({"config": ignition(vec![file(kubelet::KUBELET_CONF, &yaml(&Value::Object(base_kubelet_conf())))], vec![])}),
        ),
        (
            format!("97-{pool}-generated-kubelet"),
            json!({"kernelArguments": ["systemd.unified_cgroup_hierarchy=1", "cgroup_no_v1=\"all\""]}),
        ),
        (format!("98-{pool}-generated-kubelet"), json!({})),
        (
            format!("99-{pool}-generated-registries"),
            json!({"config": ignition(vec![file("/etc/containers/registries.conf", "unqualified-search-registries = []\n")], vec![])}),
        ),
    ];
    specs
        .into_iter()
        .filter_map(|(name, spec)| {
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"machineconfiguration.openshift.io/role": pool}},
                "spec": spec,
            }))
            .ok()
        })
        .collect()
}

/// A built-in pool.
pub fn built_in_pool(name: &str) -> Option<MachineConfigPool> {
    let mut labels = json!({
        "machineconfiguration.openshift.io/mco-built-in": "",
        format!("pools.operator.machineconfiguration.openshift.io/{name}"): "",
    });
    if name == "master" {
        labels["operator.machineconfiguration.openshift.io/required-for-upgrade"] = Value::from("");
    }
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "machineConfigSelector": {"matchLabels": {"machineconfiguration.openshift.io/role": name}},
            "nodeSelector": {"matchLabels": {format!("node-role.kubernetes.io/{name}"): ""}},
            "paused": false,
        },
    }))
    .ok()
}

/// A simulated node's hardware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// CPUs.
    pub cpus: u32,
    /// As a quantity.
    pub memory: String,
    /// As in `kubernetes.io/arch`.
    pub architecture: String,
    /// As in Node Feature Discovery's `cpu-model.vendor_id`.
    pub cpu_vendor: String,
    /// As in `cpu-model.family` and `cpu-model.id`.
    pub cpu_family_model: (u32, u32),
}

impl Default for Capacity {
    /// A small Intel machine (Ice Lake).
    fn default() -> Self {
        Self {
            cpus: 8,
            memory: "32Gi".to_owned(),
            architecture: "amd64".to_owned(),
            cpu_vendor: "Intel".to_owned(),
            cpu_family_model: (6, 106),
        }
    }
}

/// A node with the role `worker` and these labels; and its status, which is set after its creation.
pub fn node(
    name: &str,
    labels: &BTreeMap<String, String>,
    capacity: &Capacity,
) -> Option<(Node, Value)> {
    let (family, model) = capacity.cpu_family_model;
    let mut all = BTreeMap::from([
        ("node-role.kubernetes.io/worker".to_owned(), String::new()),
        ("kubernetes.io/hostname".to_owned(), name.to_owned()),
        ("kubernetes.io/os".to_owned(), "linux".to_owned()),
        (
            "kubernetes.io/arch".to_owned(),
            capacity.architecture.clone(),
        ),
        (
            "feature.node.kubernetes.io/cpu-model.vendor_id".to_owned(),
            capacity.cpu_vendor.clone(),
        ),
        (
            "feature.node.kubernetes.io/cpu-model.family".to_owned(),
            family.to_string(),
        ),
        (
            "feature.node.kubernetes.io/cpu-model.id".to_owned(),
            model.to_string(),
        ),
    ]);
    all.extend(labels.clone());
    let node =
        serde_json::from_value(json!({"metadata": {"name": name, "labels": all}, "spec": {}}))
            .ok()?;
    let resources =
        json!({"cpu": capacity.cpus.to_string(), "memory": capacity.memory, "pods": "250"});
    let status = json!({"status": {
        "capacity": resources,
        "allocatable": resources,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "simulated by the pool stand-in"}],
        "nodeInfo": {
            "architecture": capacity.architecture,
            "bootID": boot_id(name, 0),
            "containerRuntimeVersion": "cri-o://1.34.0",
            "kernelVersion": STOCK_KERNEL,
            "kubeProxyVersion": "",
            "kubeletVersion": "v1.34.0",
            "machineID": boot_id(name, u64::MAX).replace('-', ""),
            "operatingSystem": "linux",
            "osImage": "simulated by the pool stand-in",
            "systemUUID": boot_id(name, u64::MAX),
        },
    }});
    Some((node, status))
}

/// A boot id that differs with each boot and is the same in each run.
pub fn boot_id(node: &str, boot: u64) -> String {
    use sha2::{Digest, Sha256};
    let digest = super::render::hex(&Sha256::digest(format!("{node} {boot}")), 16);
    let parts: Vec<&str> = [0..8, 8..12, 12..16, 16..20, 20..32]
        .into_iter()
        .filter_map(|range| digest.get(range))
        .collect();
    parts.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_merges_and_its_kubelet_conf_is_read_back() {
        let configs = base_configs("worker");
        let pool = built_in_pool("worker").unwrap();
        let sources = realtime_core::merge::sources(&pool, &configs);
        assert_eq!(sources.len(), 6);
        let merged = realtime_core::merge::merge(&sources).unwrap();
        assert_eq!(merged.kernel_arguments.len(), 2);
        assert_eq!(
            kubelet::conf_of(&merged.ignition).unwrap(),
            base_kubelet_conf()
        );
    }

    #[test]
    fn a_boot_id_looks_like_one() {
        assert_eq!(boot_id("a", 0).len(), 36);
        assert_ne!(boot_id("a", 0), boot_id("a", 1));
        assert!(node("a", &BTreeMap::new(), &Capacity::default()).is_some());
    }
}
