//! Text that reaches files: TuneD, network devices, the kubelet. Each fault is refused or told by its field; what is right passes without a word.

use super::*;

#[test]
#[allow(clippy::too_many_lines, reason = "a table of faults")]
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
    for key in ["a #b", "a\u{a0}#b"] {
        refuses(
            &format!("tuned: {{sections: {{vm: {{'{key}': '1'}}}}}}"),
            &none,
            &format!("spec.tuned.sections.vm.{key}").replace('\u{a0}', "\\u{a0}"),
            "no name of an option",
        );
    }
    refuses(
        "tuned: {sections: {vm: {x: '1\u{3000}# much'}}}",
        &none,
        "spec.tuned.sections.vm.x",
        "comment",
    );
    refuses(
        "tuned: {sections: {DEFAULT: {enabled: 'false'}}}",
        &none,
        "spec.tuned.sections.DEFAULT",
        "every other one",
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

/// TuneD knows a plugin by a section's `type` too, and a kernel parameter by two spellings.
#[test]
fn options_are_known_whatever_they_are_called() {
    let none = nothing_known();
    let cpus = "cpu: {reserved: 0-1, isolated: 2-7}";
    let budget = "podBudget: {enabled: true}";
    refuses(
        &format!("{cpus}\ntuned: {{sections: {{own: {{type: scheduler, isolated_cores: 2-3}}}}}}"),
        &none,
        "spec.tuned.sections.own.isolated_cores",
        "contradicts spec.cpu.isolated",
    );
    refuses(
        &format!("{budget}\ntuned: {{sysctl: {{kernel/sched_rt_runtime_us: '-1'}}}}"),
        &none,
        "spec.tuned.sysctl.kernel/sched_rt_runtime_us",
        "takes away what spec.podBudget",
    );
    refuses(
        &format!(
            "{budget}\ntuned: {{sections: {{own: {{type: sysctl, kernel.sched_rt_period_us: '1'}}}}}}"
        ),
        &none,
        "spec.tuned.sections.own.kernel.sched_rt_period_us",
        "takes away what spec.podBudget",
    );
    refuses(
        "tuned: {sysctl: {vm.swappiness: '1', vm/swappiness: '2'}}",
        &none,
        "spec.tuned.sysctl.vm/swappiness",
        "also given in spec.tuned.sysctl.vm.swappiness",
    );
    // A VLAN's name has a dot, which sysctl(8) writes so.
    warns(
        "tuned: {sysctl: {net.ipv4.conf.eth0/100.rp_filter: '1'}}",
        &none,
        "spec.tuned.sysctl.net.ipv4.conf.eth0/100.rp_filter",
        "it sets /proc/sys/net/ipv4/conf/eth0/100/rp_filter, not /proc/sys/net/ipv4/conf/eth0.100/rp_filter",
    );
    passes("tuned: {sysctl: {net/ipv4/ip_forward: '1'}}", &none);
    warns(
        &format!("{cpus}\ntuned: {{sysctl: {{vm/stat_interval: '1'}}}}"),
        &none,
        "spec.tuned.sysctl.vm/stat_interval",
        "replaces 10",
    );
    warns(
        &format!("{cpus}\ntuned: {{sections: {{sysctl: {{enabled: 'no'}}}}}}"),
        &none,
        "spec.tuned.sections.sysctl.enabled",
        "switches off",
    );
    passes(
        &format!(
            "{cpus}\ntuned: {{sections: {{scheduler: {{enabled: 'True'}}, audio: {{enabled: 'no'}}, slow: {{type: cpu, governor: powersave}}}}}}"
        ),
        &none,
    );
    let spec = format!("{cpus}\ntuned: {{sections: {{sysctl: {{enabled: 'no'}}}}}}");
    let valid = check(&spec, &none).profile.unwrap();
    let tuning = |valid: &ValidProfile| crate::render::render(valid).node_spec.tuning.unwrap();
    let off = tuning(&valid).sysctls;
    assert!(off.is_empty(), "what TuneD doesn't set is no drift");
    let spec = format!("{cpus}\ntuned: {{sysctl: {{vm/stat_interval: '1'}}}}");
    let sysctls = tuning(&check(&spec, &none).profile.unwrap()).sysctls;
    assert_eq!(sysctls["vm.stat_interval"], "1");
    assert!(
        !sysctls.contains_key("vm/stat_interval"),
        "one parameter, one value"
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
#[allow(clippy::too_many_lines, reason = "a table of faults")]
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
fn options_that_older_kubelets_do_not_take() {
    let of = |version: &str| {
        cluster(&format!(
            "kind: Node\nmetadata: {{name: n1, labels: {{node-role.kubernetes.io/edge-rt: ''}}}}\nstatus: {{nodeInfo: {{kubeletVersion: {version}, architecture: amd64, bootID: '', containerRuntimeVersion: '', kernelVersion: '', kubeProxyVersion: '', machineID: '', operatingSystem: '', osImage: '', systemUUID: ''}}}}"
        ))
    };
    let spec = "kubelet: {overrides: {cpuManagerPolicy: static, cpuManagerPolicyOptions: {strict-cpu-reservation: 'true', full-pcpus-only: 'true'}}}";
    refuses(
        spec,
        &of("v1.30.4+b1d4f9e"),
        "spec.kubelet.overrides.cpuManagerPolicyOptions.strict-cpu-reservation",
        "needs Kubernetes 1.33: the kubelet would not start on n1",
    );
    passes(spec, &of("v1.33.0+aaa"));
    passes(spec, &nothing_known());
}

#[test]
fn a_null_sets_nothing() {
    let spec = "kubelet: {overrides: {maxPods: null, podPidsLimit: 8192}}";
    warns(
        spec,
        &nothing_known(),
        "spec.kubelet.overrides.maxPods",
        "sets nothing",
    );
    let valid = check(spec, &nothing_known()).profile.unwrap();
    assert!(!valid.kubelet_overrides.contains_key("maxPods"));
}

/// OpenShift fills in 1Gi for the system behind the kubelet's configuration: the sum would then be wrong.
#[test]
fn a_memory_manager_by_override_has_its_reservations_written_out() {
    let valid = passes(
        "kubelet: {overrides: {memoryManagerPolicy: Static}}",
        &nothing_known(),
    );
    let rendered = crate::render::render(&valid).kubelet_config.unwrap();
    let fields = rendered.spec.kubelet_config.unwrap();
    assert_eq!(fields["systemReserved"]["memory"], "500Mi");
    assert_eq!(fields["reservedMemory"][0]["limits"]["memory"], "1100Mi");
}

#[test]
fn one_fault_is_told_once() {
    for (spec, field) in [
        (
            "cpu: {reserved: 0-1, isolated: 2-7}\nkubelet: {overrides: {cpuManagerPolicy: nonsense}}",
            "spec.kubelet.overrides.cpuManagerPolicy",
        ),
        (
            "tuned: {sections: {main: {include: other}}}",
            "spec.tuned.sections.main.include",
        ),
    ] {
        let validated = check(spec, &nothing_known());
        let told = validated.problems.0.iter();
        assert_eq!(
            told.filter(|problem| problem.field == field).count(),
            1,
            "{}",
            validated.problems
        );
    }
    refuses(
        "tuned: {sysctl: {vm.swappiness: ''}}",
        &nothing_known(),
        "spec.tuned.sysctl.vm.swappiness",
        "has no value",
    );
}
