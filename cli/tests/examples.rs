//! Each example in docs/examples validates on the nodes that it is meant for, and renders.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at what it doesn't expect"
)]

mod common;

use common::{oc, oc_stdin, root};

type Example = (
    &'static str,
    &'static str,
    &'static str,
    (u32, u32),
    u32,
    &'static str,
    &'static str,
);

/// Example, architecture, CPU vendor, family and model, CPUs, memory, further node role.
const EXAMPLES: [Example; 7] = [
    (
        "worker-rt.yaml",
        "amd64",
        "Intel",
        (6, 106),
        8,
        "32Gi",
        "worker-rt",
    ),
    (
        "single-node.yaml",
        "amd64",
        "Intel",
        (6, 106),
        16,
        "64Gi",
        "master",
    ),
    (
        "amd.yaml",
        "amd64",
        "AMD",
        (25, 1),
        64,
        "256Gi",
        "amd-low-latency",
    ),
    (
        "arm64-64k.yaml",
        "arm64",
        "ARM",
        (8, 1),
        80,
        "256Gi",
        "arm64-64k",
    ),
    (
        "hugepages-numa.yaml",
        "amd64",
        "Intel",
        (6, 143),
        64,
        "256Gi",
        "packet-core",
    ),
    (
        "rhcos-rt-procedure.yaml",
        "amd64",
        "Intel",
        (6, 85),
        16,
        "64Gi",
        "worker-rt",
    ),
    (
        "realtime-pods.yaml",
        "amd64",
        "Intel",
        (6, 106),
        8,
        "32Gi",
        "worker-rt",
    ),
];

/// No profile, but what the documented commands read beside one.
const NOT_PROFILES: [&str; 1] = ["nodes.yaml"];

#[test]
fn each_example_is_in_the_table() {
    let mut found: Vec<String> = std::fs::read_dir(root().join("docs/examples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !NOT_PROFILES.contains(&name.as_str()))
        .collect();
    found.sort();
    let mut listed: Vec<String> = EXAMPLES
        .iter()
        .map(|example| example.0.to_owned())
        .collect();
    listed.sort();
    assert_eq!(found, listed);
}

#[test]
fn each_example_validates_without_a_warning_and_renders() {
    for (file, arch, vendor, (family, model), cpus, memory, role) in EXAMPLES {
        let example = format!("docs/examples/{file}");
        let node = format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: n, labels: {{kubernetes.io/arch: {arch}, \
             feature.node.kubernetes.io/cpu-model.vendor_id: {vendor}, \
             feature.node.kubernetes.io/cpu-model.family: \"{family}\", \
             feature.node.kubernetes.io/cpu-model.id: \"{model}\", \
             node-role.kubernetes.io/{role}: \"\"}}}}, status: {{capacity: {{cpu: \"{cpus}\", memory: {memory}}}}}}}\n"
        );
        // The single node's pool exists on every cluster.
        let master = "---\n{apiVersion: machineconfiguration.openshift.io/v1, kind: MachineConfigPool, metadata: {name: master}, \
            spec: {machineConfigSelector: {matchLabels: {machineconfiguration.openshift.io/role: master}}, \
            nodeSelector: {matchLabels: {node-role.kubernetes.io/master: \"\"}}}}\n";
        let cluster = if role == "master" {
            node + master
        } else {
            node
        };
        let run = oc_stdin(&["validate", "-f", &example, "-f", "-"], cluster.as_bytes());
        assert_eq!(run.stderr, "", "{file}");
        assert!(run.success().contains("valid"), "{file}");
        let rendered =
            oc_stdin(&["render", "-f", &example, "-f", "-"], cluster.as_bytes()).success();
        for kind in [
            "MachineConfigPool",
            "KubeletConfig",
            "MachineConfig",
            "Tuned",
            "RuntimeClass",
        ] {
            // Kernel and CPUs as they are: nothing for the kubelet and TuneD to do.
            let pods_alone = file == "realtime-pods.yaml" && kind != "MachineConfigPool";
            let wanted = !(kind == "MachineConfigPool" && role == "master" || pods_alone);
            assert!(
                !wanted || rendered.contains(&format!("kind: {kind}\n")),
                "{file}: no {kind}\n{rendered}"
            );
        }
        // Without any node too: nothing known is no error.
        oc(&["validate", "-f", &example]).success();
    }
}

#[test]
fn the_first_procedure_is_reproduced_exactly() {
    let rendered = oc(&["render", "-f", "docs/examples/rhcos-rt-procedure.yaml"]).success();
    let arguments: Vec<&str> = rendered
        .lines()
        .skip_while(|line| line.trim() != "kernelArguments:")
        .skip(1)
        .map_while(|line| line.trim().strip_prefix("- "))
        .collect();
    assert_eq!(
        arguments.join(" "),
        "default_hugepagesz=1G hugepagesz=1G hugepages=32 nohz=on nosoftlockup nmi_watchdog=0 audit=0 mce=off \
         kthread_cpus=0 irqaffinity=0 skew_tick=1 processor.max_cstate=1 idle=poll intel_pstate=disable \
         intel_idle.max_cstate=0 intel_iommu=on iommu=pt"
    );
    assert!(rendered.contains("kernelType: realtime\n"));
    assert!(!rendered.contains("isolcpus"));
}
