//! The user's kernel arguments. Each fault is refused or told by its field; what is right passes without a word.

use super::*;

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
        ("'\"root=/dev/sda\"'", "belongs to the boot process"),
        ("'\"\"'", "has no name"),
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
    // Which console comes last decides which one is /dev/console.
    refuses(
        "kernel: {additionalArguments: [console=tty0, console=ttyS0, console=tty0]}",
        &none,
        "spec.kernel.additionalArguments[2]",
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
        "\"isolcpus=2-3\"",
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
    for argument in ["nosmt", "nosmt=force"] {
        refuses(
            &with(argument, cpus),
            &none,
            first,
            "contradicts spec.cpu.smt, which keeps all threads",
        );
        passes(&with(argument, ""), &none);
    }
    let off = "cpu: {reserved: 0-1, isolated: 2-7, smt: 'Off'}";
    passes(&with("nosmt=force", off), &none);
    warns(
        &with("nosmt", off),
        &none,
        first,
        "follows from the profile already",
    );
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
    let many: Vec<String> = (0..120)
        .map(|index| format!("some.option{index}=1"))
        .collect();
    refuses(
        &format!(
            "kernel: {{realtime: true, additionalArguments: [{}]}}\ncpu: {{reserved: 0-1, isolated: 2-7}}",
            many.join(", ")
        ),
        &nothing_known(),
        "spec.kernel.additionalArguments",
        "amd64 takes 2047",
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

/// The mode follows from the processor: a profile must not become invalid when that is known one day.
#[test]
fn an_own_choice_of_the_frequency_driver_stands() {
    let spec = |power: &str| {
        format!(
            "kernel: {{additionalArguments: [intel_pstate=passive]}}\ncpu: {{reserved: '0-1,8-9', isolated: '2-7,10-15', power: {power}}}"
        )
    };
    let field = "spec.kernel.additionalArguments[0]";
    let known = cluster(HARDWARE);
    passes(&spec("LowLatency"), &nothing_known());
    warns(
        &spec("LowLatency"),
        &known,
        field,
        "replaces intel_pstate=active",
    );
    let valid = check(&spec("LowLatency"), &known).profile.unwrap();
    let arguments = crate::render::kernel_arguments(&valid);
    assert!(arguments.contains(&"intel_pstate=passive".to_owned()));
    assert!(!arguments.contains(&"intel_pstate=active".to_owned()));
    let active = spec("PerPod").replace("passive", "active");
    refuses(&active, &known, field, "contradicts spec.cpu.power");
}
