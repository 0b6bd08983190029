//! Faults of a profile, each refused or told by its field; and that what is right passes without a word.

use super::*;
use crate::api::realtime_profile::{Isolation, Power, Smt, TopologyPolicy};

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
metadata: {name: n1, labels: {node-role.kubernetes.io/edge-rt: '', kubernetes.io/arch: amd64}}
status: {capacity: {cpu: '16', memory: 67108864Ki}}
";

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
fn cpu_sets_among_themselves() {
    let none = nothing_known();
    refuses(
        "cpu: {reserved: 0-3, isolated: 2-7}",
        &none,
        "spec.cpu.isolated",
        "overlaps reserved in 2-3",
    );
    refuses(
        "cpu: {reserved: 0-3, isolated: 4-7, offlined: 7-9}",
        &none,
        "spec.cpu.offlined",
        "overlaps isolated in 7",
    );
    refuses(
        "cpu: {reserved: 0-3, isolated: 4-7, shared: 3-4}",
        &none,
        "spec.cpu.shared",
        "overlaps reserved in 3",
    );
    refuses(
        "cpu: {reserved: '0', isolated: 2-5000000}",
        &none,
        "spec.cpu.isolated",
        "CPU 5000000 is beyond 4095",
    );
    refuses(
        "cpu: {reserved: '0', isolated: 7-2}",
        &none,
        "spec.cpu.isolated",
        "ends before it begins",
    );
    refuses(
        "cpu: {reserved: '1', isolated: 2-3, offlined: '0'}",
        &none,
        "spec.cpu.offlined",
        "CPU 0 boots",
    );
    refuses(
        "cpu: {offlined: 2-3}",
        &none,
        "spec.cpu.reserved",
        "is missing",
    );
    refuses(
        "cpu: {frequency: {isolated: 2500000}}",
        &none,
        "spec.cpu.frequency.isolated",
        "no CPUs are isolated",
    );
    warns(
        "cpu: {reserved: 1-3, isolated: '0'}",
        &none,
        "spec.cpu.isolated",
        "CPU 0 is isolated",
    );
    warns(
        "cpu: {isolation: Domain}",
        &none,
        "spec.cpu.isolation",
        "no effect",
    );
    passes(
        "cpu: {reserved: 0-1, isolated: 2-7, offlined: '', shared: ''}",
        &none,
    );
}

#[test]
fn cpu_sets_against_the_nodes() {
    let hardware = cluster(HARDWARE);
    refuses(
        "cpu: {reserved: '0,8', isolated: '1-7,9-16'}",
        &hardware,
        "spec.cpu.isolated",
        "CPUs 16 don't exist; there are 0-15 (on n1)",
    );
    refuses(
        "cpu: {reserved: '0,8', isolated: '1-6,9-14'}",
        &hardware,
        "spec.cpu",
        "CPUs 7,15 are in none of the sets",
    );
    refuses(
        "cpu: {reserved: 0-1, isolated: 2-15}",
        &hardware,
        "spec.cpu.isolated",
        "cores are split: of the threads 0-1,8-9",
    );
    refuses(
        "cpu: {reserved: '0', isolated: '1-7,9', smt: Off}",
        &hardware,
        "spec.cpu.isolated",
        "CPUs 9 are second threads",
    );
    warns(
        "cpu: {reserved: '0,8', isolated: '1-7,10-15', offlined: '9'}",
        &hardware,
        "spec.cpu.offlined",
        "two speeds",
    );
    passes("cpu: {reserved: '0,8', isolated: '1-7,9-15'}", &hardware);
    passes(
        "cpu: {reserved: '0,8', isolated: '1-7', offlined: '9-15'}",
        &hardware,
    );
    passes(
        "cpu: {reserved: '0,8', isolated: '1-6,9-14', shared: '7,15'}",
        &hardware,
    );
    passes("cpu: {reserved: '0', isolated: '1-7', smt: Off}", &hardware);
    passes("cpu: {reserved: '0,8'}", &hardware);

    let counted = cluster(COUNTED);
    refuses(
        "cpu: {reserved: 0-1, isolated: 2-16}",
        &counted,
        "spec.cpu.isolated",
        "the kubelet counts 16 CPUs",
    );
    refuses(
        "cpu: {reserved: 0-1, isolated: 2-13}",
        &counted,
        "spec.cpu",
        "2 of 16 CPUs are in none of the sets, 14-15 as it seems",
    );
    passes("cpu: {reserved: 0-1, isolated: 2-15}", &counted);
    // After the offlining the kubelet counts fewer: the answer stays.
    passes(
        "cpu: {reserved: 0-1, isolated: 2-15, offlined: 16-19}",
        &counted,
    );
    passes(
        "cpu: {reserved: 0-1, isolated: 2-11, offlined: 12-15}",
        &counted,
    );
    passes("cpu: {reserved: 0-1, isolated: 2-15, smt: Off}", &counted);
}

#[test]
fn huge_pages_and_page_size() {
    let none = nothing_known();
    let field = "spec.memory.hugepages.pages[0].size";
    refuses(
        "memory: {hugepages: {pages: [{size: 3M, count: 1}]}}",
        &none,
        field,
        "no size of huge pages",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 32M, count: 1}]}}",
        &none,
        field,
        "no size of huge pages",
    );
    refuses(
        "memory: {hugepages: {defaultSize: 4G, pages: []}}",
        &none,
        "spec.memory.hugepages.defaultSize",
        "no size",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 1G, count: 1}, {size: 1G, count: 2}]}}",
        &none,
        "spec.memory.hugepages.pages[1]",
        "appears twice",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 1G, count: 1}, {size: 1G, count: 2, node: 0}]}}",
        &none,
        "spec.memory.hugepages.pages[1]",
        "with and without a NUMA node",
    );
    refuses(
        "memory: {kernelPageSize: 64k}\nkernel: {realtime: true}",
        &none,
        "spec.memory.kernelPageSize",
        "no real-time kernel with 64k",
    );
    let hardware = cluster(HARDWARE);
    refuses(
        "memory: {kernelPageSize: 64k}",
        &hardware,
        "spec.memory.kernelPageSize",
        "only ARM",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 1G, count: 64}]}}",
        &hardware,
        "spec.memory.hugepages.pages",
        "it wouldn't boot",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 1G, count: 32, node: 1}]}}",
        &hardware,
        "spec.memory.hugepages.pages",
        "more than NUMA node 1",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 1G, count: 1, node: 2}]}}",
        &hardware,
        "spec.memory.hugepages.pages",
        "no such NUMA node",
    );
    let valid = passes(
        "memory: {hugepages: {defaultSize: 1G, pages: [{size: 1G, count: 16, node: 1}, {size: 2M, count: 100}]}}",
        &hardware,
    );
    assert_eq!(valid.hugepages.on_node, [(1, 1 << 20, 16)]);
    assert_eq!(valid.hugepages.spread, [(2048, 100)]);
    passes(
        "memory: {kernelPageSize: 64k, hugepages: {defaultSize: 512M, pages: [{size: 512M, count: 1}]}}",
        &none,
    );
    passes(
        "memory: {hugepages: {pages: [{size: 2M, count: 0}]}}",
        &none,
    );
}

#[test]
fn kernel_arguments_by_their_form() {
    for (argument, message) in [
        ("'a b'", "several arguments in one entry"),
        ("'quiet '", "several arguments"),
        ("'dyndbg=\"file x +p'", "not closed"),
        ("\"quiet\\nselinux=0\"", "would end or hide a line"),
        ("'   '", "is empty"),
        ("'--'", "ends the kernel's arguments"),
        ("'=x'", "has no name"),
        ("'ostree=/x'", "belongs to the boot process"),
        ("'Größe=1'", "beyond ASCII"),
    ] {
        let spec = format!("kernel: {{additionalArguments: [{argument}]}}");
        refuses(
            &spec,
            &nothing_known(),
            "spec.kernel.additionalArguments[0]",
            message,
        );
    }
    warns(
        "kernel: {additionalArguments: ['memmap=4G$12G']}",
        &nothing_known(),
        "spec.kernel.additionalArguments[0]",
        "bootloader",
    );
    passes(
        "kernel: {additionalArguments: ['dyndbg=\"file x.c +p\"', 'console=tty0', 'console=ttyS0', 'quiet']}",
        &nothing_known(),
    );
}

#[test]
fn kernel_arguments_against_each_other_and_the_profile() {
    let none = nothing_known();
    let second = "spec.kernel.additionalArguments[1]";
    refuses(
        "kernel: {additionalArguments: [idle=poll, idle=poll]}",
        &none,
        second,
        "appears twice",
    );
    refuses(
        "kernel: {additionalArguments: [nohz=on, nohz=off]}",
        &none,
        second,
        "contradicts nohz=on",
    );
    let first = "spec.kernel.additionalArguments[0]";
    let with = |argument: &str, rest: &str| {
        format!("kernel: {{realtime: true, additionalArguments: ['{argument}']}}\n{rest}")
    };
    let cpus = "cpu: {reserved: 0-1, isolated: 2-7}";
    for argument in [
        "isolcpus=2-3",
        "nohz=off",
        "nohz_full=2",
        "rcu_nocbs=3",
        "systemd.cpu_affinity=0",
        "nohz-full=2",
    ] {
        refuses(&with(argument, cpus), &none, first, "contradicts spec.cpu");
    }
    refuses(
        &with(
            "isolcpus=2-7",
            "cpu: {reserved: 0-1, isolated: 2-7, isolation: None}",
        ),
        &none,
        first,
        "contradicts spec.cpu.isolation",
    );
    let ultra = "cpu: {reserved: 0-1, isolated: 2-7, power: UltraLowLatency}";
    refuses(
        &with("processor.max_cstate=9", ultra),
        &none,
        first,
        "which makes it processor.max_cstate=1",
    );
    warns(
        &with("idle=poll", ultra),
        &none,
        first,
        "follows from the profile already",
    );
    warns(
        &with("nmi_watchdog=1", cpus),
        &none,
        first,
        "replaces nmi_watchdog=0",
    );
    let pages = "memory: {hugepages: {pages: [{size: 1G, count: 1}]}}";
    refuses(
        &with("hugepages=4", pages),
        &none,
        first,
        "contradicts spec.memory.hugepages",
    );
    refuses(
        &with("default_hugepagesz=1G", pages),
        &none,
        first,
        "contradicts spec.memory.hugepages",
    );
    passes(&with("processor.max_cstate=1", cpus), &none);
    passes(&with("intel_iommu=off", cpus), &none);
}

#[test]
fn the_command_line_has_an_end() {
    let every_second = |first: u32| {
        (0..256)
            .map(|index| (index * 2 + first).to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let spec = format!(
        "kernel: {{realtime: true}}\ncpu: {{reserved: '{}', isolated: '{}'}}",
        every_second(0),
        every_second(1)
    );
    refuses(&spec, &nothing_known(), "spec.cpu", "amd64 takes 2047");
    let long = format!(
        "kernel: {{additionalArguments: ['a={}', 'b={}']}}",
        "x".repeat(800),
        "y".repeat(800)
    );
    refuses(
        &long,
        &nothing_known(),
        "spec.kernel.additionalArguments",
        "1606 from this profile, 0 from other",
    );
    let medium = format!("kernel: {{additionalArguments: ['a={}']}}", "x".repeat(900));
    passes(&medium, &nothing_known());
    let beside = cluster(&format!(
        "kind: MachineConfig\nmetadata: {{name: 99-x, labels: {{machineconfiguration.openshift.io/role: worker}}}}\nspec: {{kernelArguments: ['z={}']}}",
        "z".repeat(700)
    ));
    refuses(
        &medium,
        &beside,
        "spec.kernel.additionalArguments",
        "703 from other MachineConfigs",
    );
}

#[test]
fn text_stays_in_its_line_and_section() {
    let none = nothing_known();
    let evil = "\"x\\n[bootloader]\\ncmdline=+evil\"";
    refuses(
        &format!("tuned: {{sysctl: {{vm.swappiness: {evil}}}}}"),
        &none,
        "spec.tuned.sysctl.vm.swappiness",
        "end or hide a line",
    );
    refuses(
        &format!("tuned: {{sysctl: {{{evil}: '1'}}}}"),
        &none,
        "spec.tuned.sysctl.x\\n[bootloader]\\ncmdline=+evil",
        "no name of a kernel parameter",
    );
    refuses(
        "tuned: {sysctl: {net.ipv4.conf.*.rp_filter: '1'}}",
        &none,
        "spec.tuned.sysctl.net.ipv4.conf.*.rp_filter",
        "no name",
    );
    refuses(
        "tuned: {sysctl: {vm.swappiness: '10 # much'}}",
        &none,
        "spec.tuned.sysctl.vm.swappiness",
        "comment",
    );
    refuses(
        "tuned: {sysctl: {vm.swappiness: '${f:exec:id}'}}",
        &none,
        "spec.tuned.sysctl.vm.swappiness",
        "TuneD replaces",
    );
    refuses(
        "tuned: {sections: {bootloader: {cmdline: x}}}",
        &none,
        "spec.tuned.sections.bootloader",
        "second reboot",
    );
    refuses(
        "tuned: {sections: {extra: {type: bootloader, cmdline_x: y}}}",
        &none,
        "spec.tuned.sections.extra",
        "second reboot",
    );
    refuses(
        "tuned: {sections: {extra: {cmdline_x: y}}}",
        &none,
        "spec.tuned.sections.extra.cmdline_x",
        "sets kernel arguments",
    );
    refuses(
        "tuned: {sections: {main: {include: x}}}",
        &none,
        "spec.tuned.sections.main.include",
        "given elsewhere",
    );
    refuses(
        &format!("tuned: {{sections: {{vm: {{dirty_ratio: {evil}}}}}}}"),
        &none,
        "spec.tuned.sections.vm.dirty_ratio",
        "end or hide",
    );
    refuses(
        "tuned: {sections: {'a]b': {c: d}}}",
        &none,
        "spec.tuned.sections.a]b",
        "no name of a TuneD section",
    );
    refuses(
        "tuned: {sections: {vm: {'a=b': d}}}",
        &none,
        "spec.tuned.sections.vm.a=b",
        "no name of an option",
    );
    let cpus = "cpu: {reserved: 0-1, isolated: 2-7}";
    refuses(
        &format!("{cpus}\ntuned: {{sections: {{scheduler: {{isolated_cores: 2-3}}}}}}"),
        &none,
        "spec.tuned.sections.scheduler.isolated_cores",
        "contradicts spec.cpu.isolated",
    );
    warns(
        &format!("{cpus}\ntuned: {{sysctl: {{vm.stat_interval: '1'}}}}"),
        &none,
        "spec.tuned.sysctl.vm.stat_interval",
        "replaces 10",
    );
    refuses(
        "podBudget: {enabled: true}\ntuned: {sysctl: {kernel.sched_rt_runtime_us: '-1'}}",
        &none,
        "spec.tuned.sysctl.kernel.sched_rt_runtime_us",
        "takes away what spec.podBudget",
    );
    refuses(
        "tuned: {sysctl: {vm.swappiness: '1'}, sections: {sysctl: {vm.swappiness: '2'}}}",
        &none,
        "spec.tuned.sections.sysctl.vm.swappiness",
        "also given",
    );
    passes(
        "tuned: {include: [openshift-node, my-tuning], sysctl: {vm.swappiness: '10'}, sections: {net: {channels: combined 2}}}",
        &none,
    );
}

#[test]
fn network_devices() {
    let none = nothing_known();
    let with = |device: &str| {
        format!(
            "cpu: {{reserved: 0-1, isolated: 2-7}}\nnetwork: {{limitQueuesToReserved: true, devices: [{device}]}}"
        )
    };
    let field = "spec.network.devices[0].interfaceName";
    refuses(
        &with("{interfaceName: averyveryverylongname}"),
        &none,
        field,
        "at most 15",
    );
    refuses(
        "network: {limitQueuesToReserved: true}",
        &none,
        "spec.network.limitQueuesToReserved",
        "no CPUs are reserved",
    );
    warns(
        "network: {devices: [{interfaceName: eth0}]}",
        &none,
        "spec.network.devices",
        "no effect",
    );
    passes(
        &with(
            "{interfaceName: 'ens*'}, {interfaceName: '!eth?'}, {vendorID: '0x8086', deviceID: '0x1521'}",
        ),
        &none,
    );
    // Past the schema, as an object could come that was stored before it.
    let mut profile = named("edge-rt", &with("{interfaceName: eth0}"));
    if let Some(network) = &mut profile.spec.network {
        network.devices[0].interface_name = Some("eth0\n[bootloader]".to_owned());
    }
    let validated = validate(&profile, &none);
    problem(&validated, field, "would end or hide a line");
    assert!(validated.profile.is_none());
}

#[test]
fn kubelet_reservations_and_overrides() {
    let none = nothing_known();
    refuses(
        "kubelet: {systemReserved: {cpu: lots}}",
        &none,
        "spec.kubelet.systemReserved.cpu",
        "begins with a decimal number",
    );
    refuses(
        "kubelet: {kubeReserved: {memory: -5Mi}}",
        &none,
        "spec.kubelet.kubeReserved.memory",
        "is negative",
    );
    refuses(
        "kubelet: {kubeReserved: {memory: 64Gi}}",
        &cluster(HARDWARE),
        "spec.kubelet.kubeReserved.memory",
        "nothing would be left",
    );
    let with =
        |overrides: &str, rest: &str| format!("kubelet: {{overrides: {{{overrides}}}}}\n{rest}");
    let at = |key: &str| format!("spec.kubelet.overrides.{key}");
    let cpus = "cpu: {reserved: 0-1, isolated: 2-7}";
    refuses(
        &with("reservedSystemCPUs: 0-3", cpus),
        &none,
        &at("reservedSystemCPUs"),
        "contradicts spec.cpu.reserved, which makes it 0-1",
    );
    refuses(
        &with("cpuManagerPolicy: none", cpus),
        &none,
        &at("cpuManagerPolicy"),
        "contradicts spec.cpu",
    );
    refuses(
        &with(
            "topologyManagerPolicy: none",
            "numa: {topologyPolicy: Restricted}",
        ),
        &none,
        &at("topologyManagerPolicy"),
        "contradicts spec.numa",
    );
    refuses(
        &with("kubeReserved: {cpu: 2000m}", "")
            .replace("kubelet: {", "kubelet: {kubeReserved: {cpu: 1000m}, "),
        &none,
        &at("kubeReserved.cpu"),
        "contradicts spec.kubelet.kubeReserved.cpu",
    );
    refuses(
        &with("cpuManagerPolic: static", ""),
        &none,
        &at("cpuManagerPolic"),
        "no field of a KubeletConfiguration",
    );
    refuses(
        &with("maxPods: 2.5", ""),
        &none,
        &at("maxPods"),
        "wrong type",
    );
    refuses(
        &with("nodeStatusUpdateFrequency: 10", ""),
        &none,
        &at("nodeStatusUpdateFrequency"),
        "wrong type",
    );
    refuses(
        &with("nodeStatusUpdateFrequency: ten", ""),
        &none,
        &at("nodeStatusUpdateFrequency"),
        "is no time",
    );
    refuses(
        &with(
            "cpuManagerPolicyOptions: {align-by-socket: 'true'}, cpuManagerPolicy: static",
            "",
        ),
        &none,
        &at("cpuManagerPolicyOptions.align-by-socket"),
        "feature gate",
    );
    refuses(
        &with("cpuManagerPolicyOptions: {full-pcpus-only: 'true'}", ""),
        &none,
        &at("cpuManagerPolicyOptions"),
        "belong to the policy static",
    );
    refuses(
        &with("evictionHard: {memory.available: 120%}", ""),
        &none,
        &at("evictionHard.memory.available"),
        "no percentage",
    );
    refuses(
        &with("evictionSoft: {memory.available: 1Gi}", ""),
        &none,
        &at("evictionSoft.memory.available"),
        "no grace period",
    );
    refuses(
        &with(
            "imageGCLowThresholdPercent: 90, imageGCHighThresholdPercent: 80",
            "",
        ),
        &none,
        &at("imageGCLowThresholdPercent"),
        "must be below",
    );
    refuses(
        &with("logging: {verbositi: 3}", ""),
        &none,
        &at("logging.verbositi"),
        "no name that the kubelet knows",
    );
    refuses(
        &with(
            "reservedMemory: [{numaNode: 0, limits: {memory: 1Gi}}]",
            &format!("{cpus}\nnuma: {{topologyPolicy: Restricted}}"),
        ),
        &none,
        &at("reservedMemory"),
        "must add up to",
    );
    warns(
        &with("maxPods: 250, protectKernelDefaults: false", ""),
        &none,
        &at("protectKernelDefaults"),
        "OpenShift drops it",
    );
    passes(
        &with(
            "maxPods: 250, cpuManagerPolicyOptions: {full-pcpus-only: 'true'}",
            cpus,
        ),
        &none,
    );
    passes(
        &with(
            "reservedMemory: [{numaNode: 0, limits: {memory: 1100Mi}}]",
            &format!("{cpus}\nnuma: {{topologyPolicy: Restricted}}"),
        ),
        &none,
    );
    passes(&with("evictionHard: {memory.available: 7%}", cpus), &none);
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
