//! What each node of the pool shall be: the spec of its RealtimeNode. The same for all nodes of a profile.

use crate::api::realtime_node::{
    NodeCpuSpec, NodeHugepagesSpec, NodeKernelSpec, NodeLatencySpec, NodePodBudgetSpec,
    NodeTuningSpec, RealtimeNodeSpec,
};
use crate::api::realtime_profile::KernelProvider;
use crate::cpu_set::CpuSet;
use crate::host_facts::hugepages::size_of;
use crate::names;
use crate::validate::ValidProfile;
use crate::validate::valid_profile::ValidHugepages;

pub(super) fn node_spec(profile: &ValidProfile, arguments: &[String]) -> RealtimeNodeSpec {
    let by_machine_config_operator = profile.kernel.by_machine_config_operator;
    RealtimeNodeSpec {
        profile: profile.name.clone(),
        kernel: Some(NodeKernelSpec {
            realtime: profile.kernel.realtime,
            provider: if by_machine_config_operator {
                KernelProvider::MachineConfigOperator
            } else {
                KernelProvider::NodeDaemon
            },
            packages: profile
                .kernel
                .packages
                .clone()
                .filter(|_| !by_machine_config_operator),
            arguments: arguments.to_vec(),
            // Where there is a MachineConfig, the arguments are in it, whoever switches the kernel.
            arguments_provider: Some(if profile.served.machine_configs {
                KernelProvider::MachineConfigOperator
            } else {
                KernelProvider::NodeDaemon
            }),
        }),
        cpu: profile.cpus.as_ref().map(|cpus| NodeCpuSpec {
            reserved: cpus.reserved.to_string(),
            isolated: cpus.isolated.to_string(),
            offlined: list(&cpus.offlined),
            shared: list(&cpus.shared),
            isolation: cpus.isolation,
            smt: profile.smt,
            power: profile.power,
            balance_interrupts_on_isolated: profile.balance_interrupts_on_isolated,
        }),
        pod_budget: profile.pod_budget.as_ref().map(|budget| NodePodBudgetSpec {
            capacity_microseconds: budget.capacity_microseconds,
            max_per_container_microseconds: budget.max_per_container_microseconds,
            namespace_selector: budget.namespace_selector.clone(),
        }),
        latency: profile
            .max_latency_microseconds
            .map(|max_microseconds| NodeLatencySpec { max_microseconds }),
        tuning: tuning(profile),
        hugepages: hugepages(profile),
    }
}

/// What the audit compares a running node with. The values are wanted where no Node Tuning Operator sets them, too.
fn tuning(profile: &ValidProfile) -> Option<NodeTuningSpec> {
    let (sysctls, governor) = super::tuned::settings(profile);
    let tuning = NodeTuningSpec {
        tuned_profile: profile
            .served
            .tuned
            .then(|| names::object_name(&profile.name)),
        sysctls,
        governor,
    };
    (tuning != NodeTuningSpec::default()).then_some(tuning)
}

fn hugepages(profile: &ValidProfile) -> Vec<NodeHugepagesSpec> {
    let pages = |kib: u64, count: u64, node: Option<u32>| NodeHugepagesSpec {
        size: size_of(kib),
        count: i64::try_from(count).unwrap_or(i64::MAX),
        node: node.map(i64::from),
    };
    let ValidHugepages {
        default_kib: _,
        spread,
        on_node,
    } = &profile.hugepages;
    let spread = spread.iter().map(|(kib, count)| pages(*kib, *count, None));
    let on_node = on_node
        .iter()
        .map(|(node, kib, count)| pages(*kib, *count, Some(*node)));
    spread.chain(on_node).collect()
}

fn list(cpus: &CpuSet) -> Option<String> {
    (!cpus.is_empty()).then(|| cpus.to_string())
}
