//! What validation says of whole profiles: fault by fault. Profiles are written as users write them.

mod arbitrary;
mod arguments;
mod beside;
mod cluster_state;
mod files;
mod hardware;
mod kubelet;
mod whole;

use super::*;
use crate::cluster::{Dialect, Served};
use crate::input::{cluster_from_documents, parse_documents, profile};
use crate::problem::Severity;

/// Nothing is known but that it is an OpenShift.
fn nothing_known() -> Cluster {
    Cluster::empty(Served::openshift(Dialect::KernelType))
}

/// A cluster of these objects.
fn cluster(yaml: &str) -> Cluster {
    let values = parse_documents(yaml).unwrap();
    cluster_from_documents(values, Served::openshift(Dialect::KernelType)).unwrap()
}

/// `spec` in YAML, flow or block.
fn named(name: &str, spec: &str) -> RealtimeProfile {
    let head = format!(
        "apiVersion: realtime.openshift.io/v1alpha1\nkind: RealtimeProfile\nmetadata: {{name: {name}}}\n"
    );
    let text = format!("{head}spec:\n  {}\n", spec.replace('\n', "\n  "));
    profile(parse_documents(&text).expect(&text).remove(0)).expect(&text)
}

fn check(spec: &str, cluster: &Cluster) -> Validated {
    validate(&named("edge-rt", spec), cluster)
}

fn problem<'v>(validated: &'v Validated, field: &str, message: &str) -> &'v Problem {
    validated
        .problems
        .0
        .iter()
        .find(|problem| problem.field == field && problem.message.contains(message))
        .unwrap_or_else(|| {
            panic!(
                "no problem of {field} with {message:?} in:\n{}",
                validated.problems
            )
        })
}

/// It is refused, for this reason, and says what to do.
fn refuses(spec: &str, cluster: &Cluster, field: &str, message: &str) {
    let validated = check(spec, cluster);
    let problem = problem(&validated, field, message);
    assert_eq!(problem.severity, Severity::Error, "{problem}");
    assert!(!problem.remedy.is_empty(), "{problem}");
    assert!(validated.profile.is_none());
}

/// It is told, and rendered all the same.
fn warns(spec: &str, cluster: &Cluster, field: &str, message: &str) {
    let validated = check(spec, cluster);
    let problem = problem(&validated, field, message);
    assert_eq!(problem.severity, Severity::Warning, "{problem}");
    assert!(!problem.remedy.is_empty(), "{problem}");
    assert!(validated.profile.is_some(), "{}", validated.problems);
}

/// There is nothing to say.
fn passes(spec: &str, cluster: &Cluster) -> ValidProfile {
    let validated = check(spec, cluster);
    assert_eq!(
        validated.problems,
        Problems::default(),
        "{spec}\n{}",
        validated.problems
    );
    validated.profile.unwrap()
}

/// 16 CPUs as 8 cores of two threads (0 and 8, 1 and 9, …), two NUMA nodes of 32 GiB.
const HARDWARE: &str = "
kind: Node
metadata: {name: n1, labels: {node-role.kubernetes.io/worker: '', node-role.kubernetes.io/edge-rt: '', kubernetes.io/arch: amd64}}
status: {capacity: {cpu: '16', memory: 67108864Ki}}
---
kind: RealtimeNode
metadata: {name: n1}
spec: {profile: edge-rt}
status:
  host: {cpuVendor: GenuineIntel, cpuFamily: 6, cpuModel: 106}
  topology:
    cpus: 0-15
    siblings: ['0,8', '1,9', '2,10', '3,11', '4,12', '5,13', '6,14', '7,15']
    numaNodes: [{id: 0, cpus: '0-3,8-11', memoryKiB: 33554432}, {id: 1, cpus: '4-7,12-15', memoryKiB: 33554432}]
";

/// The same without a daemon: only the kubelet's numbers.
const COUNTED: &str = "
kind: Node
metadata: {name: n1, labels: {node-role.kubernetes.io/edge-rt: '', kubernetes.io/arch: amd64, feature.node.kubernetes.io/cpu-model.vendor_id: AMD}}
status: {capacity: {cpu: '16', memory: 67108864Ki}}
";
