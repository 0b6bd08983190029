//! What the cluster's own state says against a profile: each problem names the object that is in the way.

use super::*;

const POOLS: &str = "
kind: MachineConfigPool
metadata: {name: master}
spec: {machineConfigSelector: {matchLabels: {machineconfiguration.openshift.io/role: master}}, nodeSelector: {matchLabels: {node-role.kubernetes.io/master: ''}}}
---
kind: MachineConfigPool
metadata: {name: worker}
spec: {machineConfigSelector: {matchLabels: {machineconfiguration.openshift.io/role: worker}}, nodeSelector: {matchLabels: {node-role.kubernetes.io/worker: ''}}}
---
kind: MachineConfigPool
metadata: {name: infra}
spec:
  machineConfigSelector: {matchExpressions: [{key: machineconfiguration.openshift.io/role, operator: In, values: [worker, infra]}]}
  nodeSelector: {matchLabels: {node-role.kubernetes.io/infra: ''}}
---
";

fn with(objects: &str) -> Cluster {
    cluster(&format!("{POOLS}{objects}"))
}

#[test]
fn a_pool_named_after_the_control_plane_has_its_nodes() {
    refuses(
        "pool: {name: control-plane}",
        &nothing_known(),
        "spec.pool.name",
        "the nodes of the control plane",
    );
    passes(
        "pool: {name: control-plane, nodeSelector: {matchLabels: {a: b}}}",
        &nothing_known(),
    );
}

#[test]
fn missing_reserved_cpus_are_told_once() {
    let validated = check("cpu: {isolated: 2-7}", &nothing_known());
    assert_eq!(validated.problems.0.len(), 1, "{}", validated.problems);
}

#[test]
fn a_pool_is_ours_only_when_we_made_it() {
    let valid = passes("{}", &with(""));
    assert!(valid.pool.ours);
    let existing = "kind: MachineConfigPool\nmetadata: {name: edge-rt, annotations: {realtime.openshift.io/created-by: WHO}}\nspec: {nodeSelector: {matchLabels: {zone: edge}}, machineConfigSelector: {matchExpressions: [{key: machineconfiguration.openshift.io/role, operator: In, values: [worker, edge]}]}}\n";
    assert!(
        passes("{}", &with(&existing.replace("WHO", "edge-rt")))
            .pool
            .ours
    );
    let valid = passes("{}", &with(&existing.replace("WHO", "other")));
    assert!(!valid.pool.ours);
    assert_eq!(
        valid.pool.machine_config_labels["machineconfiguration.openshift.io/role"],
        "edge"
    );
    assert_eq!(
        valid.pool.node_selector.match_labels.unwrap()["zone"],
        "edge"
    );
    warns(
        "pool: {maxUnavailable: 2}",
        &with(&existing.replace("WHO", "other")),
        "spec.pool",
        "belongs to somebody else",
    );
    refuses(
        "pool: {create: false}",
        &with(""),
        "spec.pool.name",
        "no such pool",
    );
    warns(
        "pool: {name: worker}",
        &with(""),
        "MachineConfigPool/worker",
        "reaches other pools too, whose nodes would reboot: infra",
    );
    assert!(!passes("pool: {name: master}", &with("")).pool.ours);
}

#[test]
fn who_else_claims_the_pool() {
    let performance = "kind: PerformanceProfile\nmetadata: {name: nto}\nspec: {nodeSelector: {node-role.kubernetes.io/edge-rt: ''}}\n";
    refuses(
        "{}",
        &with(performance),
        "PerformanceProfile/nto",
        "tunes the same nodes",
    );
    passes("{}", &with(&performance.replace("edge-rt", "infra")));
    let kubelet = "kind: KubeletConfig\nmetadata: {name: theirs}\nspec: {machineConfigPoolSelector: {matchLabels: {pools.operator.machineconfiguration.openshift.io/edge-rt: ''}}}\n";
    refuses(
        "{}",
        &with(kubelet),
        "KubeletConfig/theirs",
        "uses one as a whole and drops the other",
    );
    passes("{}", &with(&kubelet.replace("theirs", "realtime-edge-rt")));
    passes("{}", &with(&kubelet.replace("io/edge-rt", "io/worker")));
    let realtime = "kind: MachineConfig\nmetadata: {name: 99-rt, labels: {machineconfiguration.openshift.io/role: worker}}\nspec: {kernelType: realtime}\n";
    refuses(
        "kernel: {realtime: false}",
        &with(realtime),
        "MachineConfig/99-rt",
        "nothing can turn off",
    );
    warns(
        "{}",
        &with(realtime),
        "MachineConfig/99-rt",
        "nothing can turn off",
    );
    passes("kernel: {realtime: true}", &with(realtime));
    passes(
        "kernel: {realtime: false}",
        &with(&realtime.replace("role: worker", "role: master")),
    );
    passes(
        "kernel: {realtime: false}",
        &with(&realtime.replace("99-rt", "50-realtime-edge-rt")),
    );
}

#[test]
fn of_two_profiles_the_older_keeps_the_pool() {
    let other = |created: &str| {
        format!(
            "apiVersion: realtime.openshift.io/v1alpha1\nkind: RealtimeProfile\nmetadata: {{name: another, creationTimestamp: '{created}'}}\nspec: {{pool: {{name: edge-rt}}}}\n"
        )
    };
    let mut profile = named("edge-rt", "{}");
    profile.metadata = serde_json::from_value(
        serde_json::json!({"name": "edge-rt", "creationTimestamp": "2026-05-01T00:00:00Z"}),
    )
    .unwrap();
    let older = validate(&profile, &with(&other("2026-04-01T00:00:00Z")));
    assert_eq!(
        problem(&older, "RealtimeProfile/another", "already").severity,
        Severity::Error
    );
    let newer = validate(&profile, &with(&other("2026-06-01T00:00:00Z")));
    assert_eq!(
        problem(&newer, "RealtimeProfile/another", "is refused").severity,
        Severity::Warning
    );
    assert!(newer.profile.is_some());
}

fn node(name: &str, roles: &str, rest: &str) -> String {
    let roles = roles.replace(' ', ": '', node-role.kubernetes.io/");
    let roles = format!("node-role.kubernetes.io/{roles}: '', ");
    format!(
        "kind: Node\nmetadata: {{name: {name}, labels: {{{roles}{rest}}}}}\nstatus: {{capacity: {{cpu: '8', memory: 32Gi}}}}\n---\n"
    )
}

#[test]
fn nodes_that_are_not_where_they_should_be() {
    let field = "MachineConfigPool/edge-rt";
    let both = node("n1", "worker edge-rt infra", "") + &node("n2", "worker edge-rt", "");
    warns(
        "{}",
        &with(&both),
        field,
        "OpenShift manages n1 no more: the pools edge-rt and infra",
    );
    warns(
        "{}",
        &with(&node("n1", "worker", "")),
        field,
        "no node belongs to the pool",
    );
    passes("{}", &with(&node("n1", "worker edge-rt", "")));
    // Offline without pools the built-in ones are there all the same.
    passes("{}", &cluster(&node("n1", "worker edge-rt", "")));
}

#[test]
fn nodes_that_differ() {
    let field = "MachineConfigPool/edge-rt";
    let labelled = |name: &str, labels: &str| node(name, "worker edge-rt", labels);
    let vendor = |name: &str, vendor: &str| {
        labelled(
            name,
            &format!(
                "kubernetes.io/arch: amd64, feature.node.kubernetes.io/cpu-model.vendor_id: {vendor}"
            ),
        )
    };
    let mixed = with(
        &(labelled("n1", "kubernetes.io/arch: amd64")
            + &labelled("n2", "kubernetes.io/arch: arm64")),
    );
    refuses(
        "{}",
        &mixed,
        field,
        "different architectures: amd64 on n1; arm64 on n2",
    );
    let mixed = with(&(vendor("n1", "Intel") + &vendor("n2", "AMD")));
    refuses(
        "cpu: {reserved: 0-1, isolated: 2-7}",
        &mixed,
        field,
        "they need different kernel arguments",
    );
    warns(
        "{}",
        &mixed,
        field,
        "different processors: AMD on n2; Intel on n1",
    );
    let unequal = labelled("n1", "") + &labelled("n2", "").replace("cpu: '8'", "cpu: '16'");
    refuses(
        "cpu: {reserved: 0-1, isolated: 2-7}",
        &with(&unequal),
        "spec.cpu",
        "8 of 16 CPUs are in none of the sets, 8-15 as it seems (on n2)",
    );
    let many: String = (1..=50)
        .map(|index| vendor(&format!("n{index}"), "AMD"))
        .collect();
    let validated = check("cpu: {reserved: 0-1, isolated: 2-9}", &with(&many));
    assert_eq!(validated.problems.0.len(), 1, "{}", validated.problems);
    assert!(
        validated.problems.to_string().contains("and 47 more"),
        "{}",
        validated.problems
    );
}

/// What isn't known yet would change the arguments later, and cost a reboot: that is told where it matters.
#[test]
fn processors_that_are_not_known() {
    let cpus = "cpu: {reserved: 0-1, isolated: 2-7}";
    let field = "MachineConfigPool/edge-rt";
    let model = "feature.node.kubernetes.io/cpu-model";
    let in_pool = |labels: &str| with(&node("n1", "worker edge-rt", labels));
    warns(
        cpus,
        &in_pool("kubernetes.io/arch: amd64"),
        field,
        "the processor vendor of n1 isn't known, on which kernel arguments depend (amd_pstate, intel_iommu, intel_pstate): each node would reboot once more",
    );
    warns(
        cpus,
        &in_pool(&format!("{model}.vendor_id: Intel")),
        field,
        "the processor model of n1 isn't known, on which kernel arguments depend (intel_pstate)",
    );
    for labels in [
        "kubernetes.io/arch: arm64".to_owned(),
        format!("{model}.vendor_id: AMD"),
        format!("{model}.vendor_id: HygonGenuine"),
        format!("{model}.vendor_id: Intel, {model}.family: '6', {model}.id: '106'"),
    ] {
        passes(cpus, &in_pool(&labels));
    }
    // Nothing depends on it, or nobody is known.
    passes("{}", &in_pool("kubernetes.io/arch: amd64"));
    passes(
        "cpu: {reserved: 0-1, isolated: 2-7, power: PerPod}",
        &in_pool(&format!("{model}.vendor_id: Intel")),
    );
    passes(cpus, &nothing_known());
}

/// A node that joins is sent what is there at that moment: only when that is right already it boots once.
#[test]
fn before_a_node_joins_the_workers_tell_the_hardware() {
    let cpus = "cpu: {reserved: 0-1, isolated: 2-7}";
    let model = "feature.node.kubernetes.io/cpu-model";
    let intel = format!("{model}.vendor_id: Intel, {model}.family: '6', {model}.id: '85'");
    let amd = format!("{model}.vendor_id: AMD");
    let arguments = |nodes: &str| {
        let validated = check(cpus, &with(nodes));
        crate::render::kernel_arguments(&validated.profile.unwrap())
    };
    let workers = node("n1", "worker", &intel) + &node("m1", "master", &amd);
    let joined = node("n1", "worker edge-rt", &intel) + &node("m1", "master", &amd);
    assert_eq!(arguments(&workers), arguments(&joined));
    assert!(arguments(&workers).contains(&"intel_pstate=disable".to_owned()));
    warns(
        cpus,
        &with(&(node("n1", "worker", &intel) + &node("n2", "worker", &amd))),
        "MachineConfigPool/edge-rt",
        "the processor vendor of the workers that may join the pool, n1, n2, isn't the same",
    );
}

#[test]
fn what_the_cluster_can_not_do() {
    let dialect = |dialect| Cluster::empty(Served::openshift(dialect));
    let operator = "kernel: {realtime: true, provider: MachineConfigOperator}";
    refuses(
        operator,
        &dialect(Dialect::None),
        "spec.kernel.provider",
        "has no field for the kernel",
    );
    let mut plain = dialect(Dialect::None);
    plain.served.machine_configs = false;
    refuses(
        operator,
        &plain,
        "spec.kernel.provider",
        "has no MachineConfigs",
    );
    assert!(
        !passes("kernel: {realtime: true}", &plain)
            .kernel
            .by_machine_config_operator
    );
    assert!(
        !passes("kernel: {realtime: true}", &dialect(Dialect::None))
            .kernel
            .by_machine_config_operator
    );
    assert!(
        passes(operator, &dialect(Dialect::Realtime))
            .kernel
            .by_machine_config_operator
    );
    refuses(
        "memory: {kernelPageSize: 64k}",
        &dialect(Dialect::Realtime),
        "spec.memory.kernelPageSize",
        "only the Machine Config Operator",
    );
    let image = with(
        "kind: MachineOSConfig\nmetadata: {name: m}\nspec: {machineConfigPool: {name: edge-rt}}\n",
    );
    refuses(
        "kernel: {realtime: true, provider: NodeDaemon}",
        &image,
        "spec.kernel.provider",
        "image mode",
    );
    passes("kernel: {realtime: true}", &image);
    let s390x = with(&node("n1", "worker edge-rt", "kubernetes.io/arch: s390x"));
    refuses(
        "kernel: {realtime: true}",
        &s390x,
        "spec.kernel.realtime",
        "no real-time kernel for s390x",
    );
    warns(
        "kernel: {packages: {install: [kernel-rt-core]}}",
        &nothing_known(),
        "spec.kernel.packages",
        "is not used",
    );
}

fn runs(name: &str, image: &str) -> String {
    format!(
        "kind: Node\nmetadata: {{name: {name}, labels: {{node-role.kubernetes.io/worker: '', node-role.kubernetes.io/edge-rt: ''}}}}\n\
         status: {{nodeInfo: {{osImage: {image}, architecture: amd64, bootID: '', containerRuntimeVersion: '', kernelVersion: '', \
         kubeProxyVersion: '', kubeletVersion: '', machineID: '', operatingSystem: '', systemUUID: ''}}}}\n---\n"
    )
}

#[test]
fn the_daemon_switches_the_kernel_where_the_machine_config_operator_only_says_so() {
    let spec = "kernel: {realtime: true}";
    let by_operator = |nodes: &str| {
        let validated = check(spec, &with(nodes));
        validated
            .profile
            .map(|valid| valid.kernel.by_machine_config_operator)
    };
    for image in [
        "Red Hat Enterprise Linux CoreOS 9.6.20250701-0",
        "CentOS Stream CoreOS 9.0.20250101-0",
        "simulated",
    ] {
        assert_eq!(by_operator(&runs("n1", image)), Some(true), "{image}");
    }
    for image in [
        "Fedora CoreOS 42.20250410.3.1",
        "Red Hat Enterprise Linux 8.10 (Ootpa)",
        "CentOS Stream 9",
        "Fedora Linux 42",
    ] {
        let nodes = runs("n1", image);
        assert_eq!(by_operator(&nodes), Some(false), "{image}");
        let field = "spec.kernel.provider";
        warns(
            spec,
            &with(&nodes),
            field,
            "the node daemon switches the kernel",
        );
        let forced = "kernel: {realtime: true, provider: MachineConfigOperator}";
        warns(forced, &with(&nodes), field, "leaves the stock kernel");
        let daemon = "kernel: {realtime: true, provider: NodeDaemon}";
        let validated = check(daemon, &with(&nodes));
        let about = |problem: &Problem| problem.field == field;
        assert!(!validated.problems.0.iter().any(about));
    }
    let mixed = [
        runs("n1", "Fedora CoreOS 42.20250410.3.1"),
        runs("n2", "Red Hat Enterprise Linux CoreOS 9.6"),
    ]
    .concat();
    refuses(
        spec,
        &with(&mixed),
        "spec.kernel.provider",
        "the pool has both n2",
    );
    // Without the real-time kernel there is nothing to switch.
    assert!(check("{}", &with(&mixed)).profile.is_some());
}
