//! What is silent, what is right, and everything at once. Each fault is refused or told by its field; what is right passes without a word.

use super::*;
use crate::api::realtime_profile::{Isolation, Power, Smt, TopologyPolicy};

#[test]
fn what_is_silent_has_its_default() {
    let valid = passes("cpu: {reserved: 0-1, isolated: 2-15}", &nothing_known());
    assert_eq!((valid.power, valid.smt), (Power::LowLatency, Smt::Keep));
    assert_eq!(valid.topology_policy, Some(TopologyPolicy::BestEffort));
    let cpus = valid.cpus.unwrap();
    assert_eq!(cpus.isolation, Isolation::ManagedIrq);
    assert_eq!(
        (cpus.reserved.to_string(), cpus.isolated.to_string()),
        ("0-1".into(), "2-15".into())
    );
    assert_eq!(valid.tuned_include, ["openshift-node"]);
    assert!(valid.balance_interrupts_on_isolated);
    assert_eq!(
        (valid.pod_budget, valid.canaries, valid.paused),
        (None, 0, false)
    );
    assert!(valid.pool.ours && valid.pool.name == "edge-rt");

    let valid = passes("podBudget: {enabled: true}", &nothing_known());
    let budget = valid.pod_budget.unwrap();
    assert_eq!(
        (
            budget.capacity_microseconds,
            budget.max_per_container_microseconds
        ),
        (800_000, 800_000)
    );
    assert_eq!((valid.cpus, valid.topology_policy), (None, None));
}

#[test]
fn the_first_rhcos_rt_procedure_has_no_cpu_section_and_keeps_its_arguments() {
    let arguments = "nohz=on nosoftlockup nmi_watchdog=0 audit=0 mce=off kthread_cpus=0 irqaffinity=0 skew_tick=1 processor.max_cstate=1 idle=poll intel_pstate=disable intel_idle.max_cstate=0 intel_iommu=on iommu=pt";
    let list = arguments.replace(' ', ", ");
    let spec = format!(
        "kernel: {{realtime: true, additionalArguments: [{list}]}}\nmemory: {{hugepages: {{defaultSize: 1G, pages: [{{size: 1G, count: 32}}]}}}}\nkubelet: {{systemReserved: {{cpu: 1000m, memory: 500Mi}}, kubeReserved: {{cpu: 1000m, memory: 500Mi}}}}"
    );
    let valid = passes(&spec, &cluster(HARDWARE));
    assert_eq!(
        crate::render::kernel_arguments(&valid).join(" "),
        format!("default_hugepagesz=1G hugepagesz=1G hugepages=32 {arguments}")
    );
    // The same with the pages as arguments.
    let spec = format!(
        "kernel: {{realtime: true, additionalArguments: [default_hugepagesz=1G, hugepagesz=1G, hugepages=32, {list}]}}"
    );
    let valid = passes(&spec, &cluster(HARDWARE));
    assert_eq!(crate::render::kernel_arguments(&valid).len(), 17);
}

#[test]
fn pool_and_selectors() {
    let none = nothing_known();
    refuses(
        "pool: {nodeSelector: {}}",
        &none,
        "spec.pool.nodeSelector",
        "selects no node",
    );
    refuses(
        "pool: {nodeSelector: {matchLabels: {node-role.kubernetes.io/master: ''}}}",
        &none,
        "spec.pool.nodeSelector",
        "control plane",
    );
    warns(
        "pool: {nodeSelector: {matchLabels: {node-role.kubernetes.io/worker: ''}}}",
        &none,
        "spec.pool.nodeSelector",
        "every worker node",
    );
    refuses(
        "pool: {nodeSelector: {matchLabels: {\"a\\nb\": x}}}",
        &none,
        "spec.pool.nodeSelector.matchLabels",
        "no label key",
    );
    refuses(
        "pool: {nodeSelector: {matchExpressions: [{key: a, operator: Like}]}}",
        &none,
        "spec.pool.nodeSelector.matchExpressions[0].operator",
        "no operator",
    );
    refuses(
        "pool: {maxUnavailable: 0}",
        &none,
        "spec.pool.maxUnavailable",
        "neither a number",
    );
    refuses(
        "pool: {maxUnavailable: half}",
        &none,
        "spec.pool.maxUnavailable",
        "neither a number",
    );
    refuses(
        "podBudget: {maxPerContainerMicroseconds: 900000}",
        &none,
        "spec.podBudget.maxPerContainerMicroseconds",
        "exceeds capacityMicroseconds, which is 800000",
    );
    refuses(
        "latency: {maxMicroseconds: 50, check: {duration: 0s}}",
        &none,
        "spec.latency.check.duration",
        "no time at all",
    );
    warns(
        "rollout: {canaries: 3}",
        &cluster(HARDWARE),
        "spec.rollout.canaries",
        "the pool has 1 nodes",
    );
    passes("pool: {maxUnavailable: 30%}", &none);
    let valid = passes("pool: {name: master}", &none);
    assert!(!valid.pool.ours);
}

#[test]
fn everything_is_told_at_once_and_errors_come_first() {
    let validated = check(
        "cpu: {reserved: 0-3, isolated: 3-7, offlined: '0'}\nkernel: {additionalArguments: ['a b', 'memmap=1$2']}\nmemory: {hugepages: {pages: [{size: 5M, count: 1}]}}\nkubelet: {overrides: {cgroupDriver: cgroupfs, nonsense: 1}}\ntuned: {sections: {bootloader: {}}}",
        &nothing_known(),
    );
    assert!(validated.problems.0.len() >= 9, "{}", validated.problems);
    let severities: Vec<Severity> = validated
        .problems
        .0
        .iter()
        .map(|problem| problem.severity)
        .collect();
    assert!(severities.is_sorted());
    assert!(
        validated
            .problems
            .0
            .iter()
            .all(|problem| !problem.message.contains('\n'))
    );
}

#[test]
fn the_runtime_class_goes_to_the_nodes_of_the_pool() {
    let selecting = |expression: &str| {
        format!("pool: {{nodeSelector: {{matchExpressions: [{{key: rt, {expression}}}]}}}}")
    };
    let valid = passes(
        &selecting("operator: In, values: ['yes']"),
        &nothing_known(),
    );
    let class = crate::render::render(&valid).runtime_class.unwrap();
    assert_eq!(
        class.scheduling.unwrap().node_selector.unwrap()["rt"],
        "yes"
    );
    for expression in ["operator: Exists", "operator: In, values: [a, b]"] {
        warns(
            &selecting(expression),
            &nothing_known(),
            "RuntimeClass/realtime-edge-rt",
            "a pod of the class that comes to another node fails",
        );
    }
}
