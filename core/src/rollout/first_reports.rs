//! Whether the first write that reboots waits for what the nodes' daemons will say of the hardware: written before, it
//! would be written again after, and each node would reboot twice. Has no clock: ages are given.
//!
//! The wait always ends. It is for nodes that are Ready, whose daemon has said nothing yet, and only so long after the
//! RealtimeNode was made; and only when an answer could change what is written.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;

use super::{Live, Wait};
use crate::api::RealtimeNode;
use crate::cluster::Cluster;
use crate::facts::CpuVendor;
use crate::render::{Rendered, render};
use crate::turns::seen;
use crate::validate::ValidProfile;

/// How long first reports are waited for, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patience {
    /// How long ago each RealtimeNode was made. One without an entry counts as made now.
    pub ages: BTreeMap<String, u64>,
    /// While no daemon of the profile's nodes has said anything: it may be that there is none.
    pub for_the_first: u64,
    /// When one has: the others are on their way.
    pub for_the_others: u64,
}

/// Whether nothing of ours that reboots was ever written.
pub(super) fn is_first_write(live: &Live) -> bool {
    live.machine_config.is_none() && live.kubelet_config.is_none()
}

/// What is waited for; `None`: nothing.
pub(super) fn first_reports(
    cluster: &Cluster,
    nodes: &[&Node],
    valid: &ValidProfile,
    patience: &Patience,
) -> Option<Wait> {
    let live: BTreeMap<&str, &RealtimeNode> = cluster
        .realtime_nodes
        .iter()
        .filter_map(|live| Some((live.metadata.name.as_deref()?, live)))
        .collect();
    let reported = |name: &str| {
        let status = live.get(name).and_then(|live| live.status.as_ref());
        status.is_some_and(|status| status.topology.is_some())
    };
    let names: BTreeSet<&str> = nodes
        .iter()
        .filter_map(|node| node.metadata.name.as_deref())
        .collect();
    let limit = if names.iter().any(|name| reported(name)) {
        patience.for_the_others
    } else {
        patience.for_the_first
    };
    let mut seconds = 0;
    let waited_for: Vec<String> = nodes
        .iter()
        .filter(|node| seen::is_ready(node))
        .filter_map(|node| node.metadata.name.as_deref())
        .filter(|name| !reported(name))
        .filter_map(|name| {
            let age = patience.ages.get(name).copied().unwrap_or(0);
            let left = limit.checked_sub(age).filter(|left| *left > 0)?;
            seconds = seconds.max(left);
            Some(name.to_owned())
        })
        .collect();
    (!waited_for.is_empty() && would_change(valid)).then_some(Wait::FirstReports {
        nodes: waited_for,
        seconds,
    })
}

/// Whether what isn't known of the hardware decides about something that reboots.
fn would_change(valid: &ValidProfile) -> bool {
    let hardware = &valid.hardware;
    let intel = [None, Some((6, 0x55)), Some((6, 0x8f))];
    let with = |vendor: CpuVendor, model| {
        let mut other = valid.clone();
        other.hardware.cpu_vendor = Some(vendor);
        other.hardware.cpu_family_model = model;
        other
    };
    let mut possible = Vec::new();
    let vendor = hardware.cpu_vendor.as_ref();
    let model_counts = vendor == Some(&CpuVendor::Intel) && hardware.cpu_family_model.is_none();
    if vendor.is_none() || model_counts {
        possible.extend(intel.map(|model| with(CpuVendor::Intel, model)));
    }
    if vendor.is_none() {
        possible.push(with(CpuVendor::Amd, None));
    }
    if hardware.numa_memory_kib.is_empty() {
        let mut other = valid.clone();
        let half = hardware.memory_kib.unwrap_or(1 << 24) / 2;
        other.hardware.numa_memory_kib = BTreeMap::from([(0, half), (1, half)]);
        possible.push(other);
    }
    let written = |valid: &ValidProfile| {
        let Rendered {
            machine_config,
            kubelet_config,
            ..
        } = render(valid);
        (
            machine_config.map(|config| config.spec),
            kubelet_config.map(|config| config.spec),
        )
    };
    let now = written(valid);
    possible.iter().any(|other| written(other) != now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::realtime_node::RealtimeNodeSpec;
    use crate::cluster::{Dialect, Served};
    use crate::rollout::simulation;
    use serde_json::json;

    fn node(name: &str, ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}
        }))
        .unwrap()
    }

    fn patience(ages: &[(&str, u64)]) -> Patience {
        Patience {
            ages: ages
                .iter()
                .map(|(name, age)| ((*name).to_owned(), *age))
                .collect(),
            for_the_first: 10,
            for_the_others: 60,
        }
    }

    /// A profile for whose arguments the processor's vendor counts.
    fn valid() -> ValidProfile {
        let mut valid = simulation::valid(true);
        valid.cpus = Some(crate::validate::valid_profile::ValidCpus {
            reserved: "0".parse().unwrap(),
            isolated: "1-3".parse().unwrap(),
            offlined: crate::cpu_set::CpuSet::default(),
            shared: crate::cpu_set::CpuSet::default(),
            isolation: crate::api::realtime_profile::Isolation::default(),
        });
        valid
    }

    fn waits(nodes: &[Node], reported: &[&str], patience: &Patience) -> Option<(Vec<String>, u64)> {
        let mut cluster = Cluster::empty(Served::openshift(Dialect::KernelType));
        for name in reported {
            let mut node = RealtimeNode::new(name, RealtimeNodeSpec::default());
            node.status = serde_json::from_value(json!({"topology": {"cpus": "0-3"}})).unwrap();
            cluster.realtime_nodes.push(node);
        }
        let nodes: Vec<&Node> = nodes.iter().collect();
        match first_reports(&cluster, &nodes, &valid(), patience) {
            Some(Wait::FirstReports { nodes, seconds }) => Some((nodes, seconds)),
            _ => None,
        }
    }

    #[test]
    fn a_wait_for_reports_always_ends() {
        let both = [node("n1", "True"), node("n2", "True")];
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            waits(&both, &[], &patience(&[])),
            Some((names(&["n1", "n2"]), 10))
        );
        assert_eq!(
            waits(&both, &[], &patience(&[("n1", 10), ("n2", 4)])),
            Some((names(&["n2"]), 6))
        );
        assert_eq!(
            waits(&both, &[], &patience(&[("n1", 10), ("n2", 11)])),
            None
        );
        // One daemon runs: the other is on its way, for a while.
        let later = patience(&[("n1", 20), ("n2", 20)]);
        assert_eq!(waits(&both, &["n1"], &later), Some((names(&["n2"]), 40)));
        let long = patience(&[("n1", 99), ("n2", 99)]);
        assert_eq!(waits(&both, &["n1"], &long), None);
        assert_eq!(waits(&both, &["n1", "n2"], &patience(&[])), None);
        // A dead node is never waited for.
        let dead = [node("n1", "True"), node("n2", "Unknown")];
        assert_eq!(waits(&dead, &["n1"], &patience(&[])), None);
    }

    #[test]
    fn what_changes_nothing_is_not_waited_for() {
        assert!(would_change(&valid()));
        let mut known = valid();
        known.hardware.cpu_vendor = Some(CpuVendor::Amd);
        known.hardware.numa_memory_kib = BTreeMap::from([(0, 1 << 24)]);
        assert!(!would_change(&known));
    }
}
