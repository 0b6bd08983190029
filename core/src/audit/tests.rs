//! A node that is what its spec says, and one thing wrong at a time.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::host_facts::host_facts;

fn spec() -> RealtimeNodeSpec {
    serde_json::from_value(json!({
        "profile": "radio",
        "kernel": {"realtime": true, "provider": "NodeDaemon", "arguments": [
            "default_hugepagesz=1G", "hugepagesz=1G", "hugepages=4", "hugepagesz=2M", "hugepages=0",
            "skew_tick=1", "nohz_full=2-3", "isolcpus=managed_irq,2-3", "intel_iommu=on",
            "systemd.cpu_affinity=0-1", "nosoftlockup"]},
        "cpu": {"reserved": "0-1", "isolated": "2-3", "offlined": "4", "isolation": "ManagedIrq", "smt": "Keep",
            "power": "LowLatency", "balanceInterruptsOnIsolated": false},
        "tuning": {"tunedProfile": "realtime-radio", "governor": "performance", "sysctls": {
            "kernel.sched_rt_runtime_us": "-1", "vm.stat_interval": "10", "net.core.rmem_max": ">1000",
            "net.ipv4.tcp_rmem": "4096 87380 1"}},
        "hugepages": [{"size": "1G", "count": 4}, {"size": "2M", "count": 8, "node": 1}]
    }))
    .unwrap()
}

const CMDLINE: &str = "BOOT_IMAGE=/vmlinuz default_hugepagesz=1G hugepagesz=1G hugepages=4 hugepagesz=2M hugepages=0 \
                       skew_tick=1 nohz-full=2,3 isolcpus=managed_irq,2-3 intel_iommu=on systemd.cpu_affinity=0-1 \
                       nosoftlockup nosoftlockup\n";

fn files() -> Files {
    let mut files = Files::from_iter([
        ("/proc/cmdline", CMDLINE),
        ("/proc/version", "Linux version 5.14 #1 SMP PREEMPT_RT\n"),
        ("/proc/sys/kernel/osrelease", "5.14.0-427.el9.x86_64+rt\n"),
        ("/proc/sys/kernel/sched_rt_runtime_us", "-1\n"),
        ("/proc/sys/vm/stat_interval", "10\n"),
        ("/proc/sys/net/core/rmem_max", "212992\n"),
        ("/proc/sys/net/ipv4/tcp_rmem", "4096\t87380\t1\n"),
        ("/proc/1/comm", "systemd\n"),
        (
            "/proc/1/status",
            "Name:\tsystemd\nCpus_allowed_list:\t0-1\n",
        ),
        ("/proc/irq/default_smp_affinity", "03\n"),
        ("/sys/devices/system/cpu/present", "0-4\n"),
        ("/sys/devices/system/cpu/online", "0-3\n"),
        ("/sys/devices/system/cpu/isolated", "\n"),
        ("/sys/devices/system/cpu/nohz_full", "2-3\n"),
        ("/sys/devices/system/cpu/smt/control", "on\n"),
        (
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
            "tsc\n",
        ),
        (
            "/sys/devices/system/clocksource/clocksource0/available_clocksource",
            "tsc hpet \n",
        ),
        (
            "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages",
            "4\n",
        ),
        (
            "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
            "8\n",
        ),
        (
            "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
            "8\n",
        ),
        (
            "/sys/fs/cgroup/kubepods.slice/cpuset.cpus.effective",
            "0-3\n",
        ),
        (
            "/sys/fs/cgroup/kubepods.slice/cpuset.cpus.partition",
            "member\n",
        ),
        ("/sys/fs/cgroup/rt.slice/cpuset.cpus.effective", "0-3\n"),
        ("/sys/fs/cgroup/rt.slice/cpuset.cpus.partition", "member\n"),
        ("/etc/tuned/active_profile", "realtime-radio\n"),
        ("/etc/tuned/realtime-radio/tuned.conf", ""),
        ("/sys/devices/system/cpu/cpu0/cpuidle/state1/name", "C1\n"),
        ("/sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "2\n"),
        ("/sys/devices/system/cpu/cpu0/cpuidle/state3/name", "C6\n"),
        (
            "/sys/devices/system/cpu/cpu0/cpuidle/state3/latency",
            "133\n",
        ),
    ]);
    for (irq, action, affinity) in [
        ("9", "acpi", "0"),
        ("24", "nvme0q0", "1"),
        ("25", "eth0", "0-1"),
    ] {
        files.insert(
            format!("/proc/irq/{irq}/smp_affinity_list"),
            format!("{affinity}\n"),
        );
        files.insert(
            format!("/proc/irq/{irq}/effective_affinity_list"),
            format!("{affinity}\n"),
        );
        files.insert(
            format!("/sys/kernel/irq/{irq}/actions"),
            format!("{action}\n"),
        );
    }
    // Nobody handles it: it can't come.
    files.insert("/proc/irq/3/smp_affinity_list", "0-4\n".to_owned());
    files.insert("/proc/irq/3/effective_affinity_list", "2\n".to_owned());
    files.insert("/sys/kernel/irq/3/actions", "\n".to_owned());
    for cpu in 0..4 {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}");
        files.insert(
            format!("{folder}/cpufreq/scaling_governor"),
            "performance\n".to_owned(),
        );
        files.insert(format!("{folder}/cpuidle/state3/disable"), "0\n".to_owned());
        files.insert(
            format!("{folder}/power/pm_qos_resume_latency_us"),
            "0\n".to_owned(),
        );
    }
    files
}

fn facts() -> HostFacts {
    host_facts(&Files::new(), "x86_64")
}

fn audited(spec: &RealtimeNodeSpec, files: &Files) -> Audit {
    let facts = facts();
    let observed = Observed {
        files,
        facts: &facts,
        fixed_interrupts: &BTreeSet::new(),
        wake_up_limit: Some(2),
        tuned_profile: None,
        verification: None,
    };
    audit(spec, &observed)
}

/// The drift as `area: wanted / found`.
fn lines(audit: &Audit) -> Vec<String> {
    let line = |drift: &Drift| {
        let area = serde_json::to_value(drift.area).unwrap();
        format!(
            "{}: {} / {}",
            area.as_str().unwrap(),
            drift.wanted,
            drift.found
        )
    };
    audit.drift.iter().map(line).collect()
}

#[test]
fn no_drift_where_there_is_none() {
    let audit = audited(&spec(), &files());
    assert_eq!(lines(&audit), Vec::<String>::new());
    assert_eq!(audit.notes, []);
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_thing_put_wrong_is_named() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "/proc/version",
            "#1 SMP PREEMPT_DYNAMIC\n",
            &["kernel: a real-time kernel / 5.14.0-427.el9.x86_64+rt is none"],
        ),
        (
            "/sys/devices/system/cpu/nohz_full",
            "(null)\n",
            &["nohzFull: CPUs 2-3 without a timer tick (nohz_full) / no CPU in"],
        ),
        (
            "/sys/devices/system/cpu/online",
            "0-2\n",
            &["offlineCpu: CPU 3 online / offline; `echo 1 > /sys/devices/system/cpu/cpu3/online`"],
        ),
        (
            "/sys/devices/system/cpu/online",
            "0-4\n",
            &["offlineCpu: CPU 4 offline / online"],
        ),
        (
            "/sys/devices/system/cpu/present",
            "0-2\n",
            &[
                "nohzFull: CPU 2 without",
                "offlineCpu: CPU 3 of the profile / this machine has CPUs 0-2 only",
            ],
        ),
        (
            "/sys/devices/system/cpu/smt/control",
            "off\n",
            &["smt: simultaneous multithreading as the firmware has set it up / "],
        ),
        (
            "/sys/devices/system/cpu/smt/control",
            "forceoff\n",
            &["smt: "],
        ),
        (
            "/sys/devices/system/cpu/isolated",
            "2-3\n",
            &["cpuSet: load balancing on all CPUs"],
        ),
        (
            "/sys/fs/cgroup/kubepods.slice/cpuset.cpus.effective",
            "0-2\n",
            &[
                "cpuSet: pods may use CPUs 2-3 / the cpuset of kubepods.slice lacks CPU 3: it has CPUs 0-2",
            ],
        ),
        (
            "/sys/fs/cgroup/rt.slice/cpuset.cpus.partition",
            "isolated\n",
            &["cpuSet: CPUs 2-3 left to pods / rt.slice has them for itself"],
        ),
        (
            "/proc/1/status",
            "Cpus_allowed_list:\t0-3\n",
            &["cpuSet: systemd and its services on CPUs 0-1 / process 1 may run on CPUs 0-3"],
        ),
        (
            "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages",
            "3\n",
            &["hugepages: 4 huge pages of 1G / 3; "],
        ),
        (
            "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
            "7\n",
            &["hugepages: 8 huge pages of 2M on NUMA node 1 / 7; "],
        ),
        (
            "/etc/tuned/active_profile",
            "virtual-guest\n",
            &[
                "tuned: TuneD profile realtime-radio / virtual-guest; `tuned-adm profile realtime-radio`",
            ],
        ),
        (
            "/etc/tuned/active_profile",
            "\n",
            &["tuned: TuneD profile realtime-radio / no active profile"],
        ),
        (
            "/proc/sys/vm/stat_interval",
            "1\n",
            &["sysctl: vm.stat_interval = 10 / 1; `sysctl -w vm.stat_interval='10'`"],
        ),
        (
            "/proc/sys/net/core/rmem_max",
            "999\n",
            &["sysctl: net.core.rmem_max = >1000 / 999"],
        ),
        (
            "/sys/devices/system/cpu/cpu3/cpufreq/scaling_governor",
            "powersave\n",
            &["governor: governor performance on CPU 3 / powersave"],
        ),
        (
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
            "hpet\n",
            &["clocksource: clocksource tsc / hpet"],
        ),
        (
            "/proc/irq/default_smp_affinity",
            "f\n",
            &[
                "irqAffinity: new interrupts on CPUs 0-1 only / /proc/irq/default_smp_affinity allows CPUs 2-3; `echo 00000003",
            ],
        ),
        (
            "/proc/irq/25/effective_affinity_list",
            "3\n",
            &[
                "irqAffinity: IRQ 25 (eth0) on CPUs 0-1 only / on CPU 3 (allowed: 0-1); `echo 0-1 > /proc/irq/25/smp_affinity_list`",
            ],
        ),
        (
            "/proc/cmdline",
            "",
            &[
                "kernelArgument: default_hugepagesz=1G / not on",
                "kernelArgument: skew_tick=1 /",
                "kernelArgument: nohz_full=2-3 /",
                "kernelArgument: isolcpus=managed_irq,2-3 /",
                "kernelArgument: intel_iommu=on /",
                "kernelArgument: systemd.cpu_affinity=0-1 /",
                "kernelArgument: nosoftlockup /",
                "kernelArgument: hugepagesz=2M hugepages=0 /",
                "kernelArgument: hugepagesz=1G hugepages=4 /",
            ],
        ),
    ];
    for (path, text, expected) in cases {
        let mut files = files();
        files.insert(*path, (*text).to_owned());
        let found = lines(&audited(&spec(), &files));
        let fits = found.len() == expected.len()
            && found
                .iter()
                .zip(*expected)
                .all(|(found, expected)| found.starts_with(expected));
        assert!(fits, "{path}: {found:#?}");
    }
}

#[test]
fn siblings_that_are_off_are_no_drift_where_that_is_wanted() {
    let mut spec = spec();
    spec.cpu.as_mut().unwrap().smt = crate::api::realtime_profile::Smt::Off;
    let mut files = files();
    assert!(
        lines(&audited(&spec, &files))[0]
            .starts_with("smt: simultaneous multithreading off: one thread a core / ")
    );
    files.insert("/sys/devices/system/cpu/smt/control", "off".to_owned());
    files.insert("/sys/devices/system/cpu/online", "0,2".to_owned());
    let audit = audited(&spec, &files);
    assert_eq!(lines(&audit), Vec::<String>::new());
    assert!(
        audit.notes[0]
            .text
            .starts_with("CPUs 1,3 offline while multithreading"),
        "{:?}",
        audit.notes
    );
}

#[test]
fn an_idle_state_that_is_too_deep() {
    let (spec, mut files, facts) = (spec(), files(), facts());
    let audited = |files: &Files, wake_up_limit| {
        let observed = Observed {
            files,
            facts: &facts,
            fixed_interrupts: &BTreeSet::new(),
            wake_up_limit,
            tuned_profile: None,
            verification: None,
        };
        audit(&spec, &observed)
    };
    assert_eq!(
        lines(&audited(&files, Some(2_000_000_000))),
        [
            "cState: no idle state that takes more than 2 µs to leave, on CPUs 2-3 / C6 takes 133 µs and is allowed \
          (/dev/cpu_dma_latency allows 2000000000 µs): does TuneD run?"
        ]
    );
    assert_eq!(audited(&files, None).notes[0].area, DriftArea::CState);
    files.insert(
        "/sys/devices/system/cpu/cpu2/cpuidle/state3/disable",
        "1".to_owned(),
    );
    files.insert(
        "/sys/devices/system/cpu/cpu3/power/pm_qos_resume_latency_us",
        "n/a".to_owned(),
    );
    assert_eq!(audited(&files, None), Audit::default());
}

#[test]
fn an_interrupt_that_nobody_can_move_is_a_note() {
    let (spec, mut files, facts) = (spec(), files(), facts());
    files.insert("/proc/irq/24/effective_affinity_list", "2".to_owned());
    let fixed = BTreeSet::from([24]);
    let observed = Observed {
        files: &files,
        facts: &facts,
        fixed_interrupts: &fixed,
        wake_up_limit: Some(0),
        tuned_profile: None,
        verification: None,
    };
    let found = audit(&spec, &observed);
    assert_eq!(lines(&found), Vec::<String>::new());
    assert!(
        found.notes[0].text.contains("IRQ 24 (nvme0q0) on CPU 2"),
        "{:?}",
        found.notes
    );
    // Without that word of the kernel it is drift, with the doubt told.
    let found = audited(&spec, &files);
    assert!(
        lines(&found)[0].ends_with("an input/output error then means that the kernel manages it")
    );
    files.insert("/proc/sys/kernel/osrelease", "6.12.0-100.el10".to_owned());
    assert!(lines(&audited(&spec, &files))[0].ends_with("smp_affinity_list` moves it"));
    // An architecture that doesn't tell where an interrupt goes: anywhere it may.
    let mut without: Files = files
        .iter()
        .filter(|(path, _)| !path.contains("effective_affinity"))
        .collect();
    without.insert("/proc/irq/24/smp_affinity_list", "1-2".to_owned());
    assert!(lines(&audited(&spec, &without))[0].contains("on CPU 2 (allowed: 1-2)"));
}

#[test]
fn interrupts_may_go_anywhere_unless_the_profile_says_no() {
    let mut spec = spec();
    spec.cpu.as_mut().unwrap().balance_interrupts_on_isolated = true;
    let mut files = files();
    files.insert("/proc/irq/24/effective_affinity_list", "2".to_owned());
    assert_eq!(audited(&spec, &files), Audit::default());
}

#[test]
fn tuned_by_the_word_of_others_and_by_its_own() {
    let (spec, files, facts) = (spec(), files(), facts());
    let failed = verification(
        false,
        "2026 INFO     tuned: verify: passed: 'x' = '1'\n2026 ERROR    tuned.plugins.base: verify: failed: \
         'vm.swappiness' = '60', expected '10'\n2026 ERROR verify: failed: 'vm.swappiness' = '60', expected '10'\n",
    );
    assert_eq!(failed.failures, ["'vm.swappiness' = '60', expected '10'"]);
    let observed = Observed {
        files: &files,
        facts: &facts,
        fixed_interrupts: &BTreeSet::new(),
        wake_up_limit: Some(0),
        tuned_profile: Some("openshift-node"),
        verification: Some(&failed),
    };
    assert_eq!(
        lines(&audit(&spec, &observed)),
        [
            "tuned: TuneD profile realtime-radio / openshift-node; `tuned-adm profile realtime-radio` activates the right one",
            "tuned: what the active TuneD profile sets / not so, by `tuned-adm verify`: 'vm.swappiness' = '60', expected '10'"
        ]
    );
}

#[test]
fn a_clock_is_judged_by_where_the_kernel_runs() {
    let spec = spec();
    let mut files = files();
    let clock = |current: &str, available: &str, files: &mut Files, virtual_machine| {
        let folder = "/sys/devices/system/clocksource/clocksource0";
        files.insert(format!("{folder}/current_clocksource"), current.to_owned());
        files.insert(
            format!("{folder}/available_clocksource"),
            available.to_owned(),
        );
        let facts = HostFacts {
            virtual_machine: Some(virtual_machine),
            ..facts()
        };
        let observed = Observed {
            files,
            facts: &facts,
            fixed_interrupts: &BTreeSet::new(),
            wake_up_limit: Some(0),
            tuned_profile: None,
            verification: None,
        };
        let found = audit(&spec, &observed);
        (found.drift.len(), found.notes.len())
    };
    assert_eq!(clock("hpet", "hpet acpi_pm", &mut files, false), (1, 0));
    assert_eq!(clock("hpet", "hpet acpi_pm", &mut files, true), (0, 1));
    assert_eq!(
        clock("kvm-clock", "kvm-clock tsc hpet", &mut files, true),
        (0, 0)
    );
    assert_eq!(clock("hpet", "tsc hpet", &mut files, true), (1, 0));
}

#[test]
fn arguments_are_compared_as_the_kernel_does() {
    let missing = |wanted: &[&str], line: &str| -> Vec<String> {
        let wanted: Vec<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
        missing_arguments(&wanted, line)
            .into_iter()
            .map(|missing| format!("{}: {}", missing.wanted, missing.found))
            .collect()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(
        missing(&["rcutree.kthread_prio=11"], "rcutree.kthread-prio=11"),
        none
    );
    assert_eq!(missing(&["foo=\"a b\""], "\"foo=a b\""), none);
    assert_eq!(
        missing(&["console=ttyS0"], "console=ttyS0 console=tty0"),
        none
    );
    assert_eq!(
        missing(
            &["isolcpus=domain,managed_irq,2-5"],
            "isolcpus=managed_irq,domain,2,3,4-5"
        ),
        none
    );
    assert_eq!(missing(&["isolcpus=domain,2"], "isolcpus=2"), none);
    assert_eq!(
        missing(
            &["hugepagesz=1G", "hugepages=4"],
            "default_hugepagesz=1G hugepages=4"
        ),
        none
    );
    assert_eq!(
        missing(&["default_hugepagesz=1024M"], "default_hugepagesz=1G"),
        none
    );
    assert_eq!(
        missing(&["quiet"], "-- quiet"),
        ["quiet: not on the kernel's command line"]
    );
    assert_eq!(
        missing(&["nohz_full=2-3"], "nohz_full=2-3 nohz_full=3"),
        ["nohz_full=2-3: `nohz_full=3` stands behind it, and the last one counts"]
    );
    assert_eq!(
        missing(&["skew_tick=1"], "skew_tick=0"),
        ["skew_tick=1: `skew_tick=0` on the kernel's command line"]
    );
    assert_eq!(
        missing(
            &["hugepagesz=1G", "hugepages=4"],
            "hugepagesz=1G hugepages=2 hugepagesz=2M hugepages=4"
        ),
        ["hugepagesz=1G hugepages=4: `hugepagesz=1G hugepages=2` on the kernel's command line"]
    );
}

#[test]
fn a_status_stays_small() {
    let one = Drift {
        area: DriftArea::IrqAffinity,
        wanted: "w".repeat(MAX_TEXT + 1),
        found: "ü".repeat(MAX_TEXT),
        since: None,
    };
    let many = bounded(vec![one; 100], MAX_DRIFT);
    assert_eq!(many.len(), MAX_DRIFT);
    assert!(
        many[MAX_DRIFT - 1].found.starts_with("and 69 more"),
        "{}",
        many[MAX_DRIFT - 1].found
    );
    assert_eq!(many[0].wanted.chars().count(), MAX_TEXT);
    assert!(many[0].wanted.ends_with('…'));
    assert_eq!(many[0].found, "ü".repeat(MAX_TEXT));
    assert_eq!(bounded(Vec::new(), 0), []);
}

#[test]
fn only_what_is_wanted_is_looked_at() {
    let least = patterns(&RealtimeNodeSpec::default(), &Files::new());
    assert!(
        !least
            .iter()
            .any(|path| path.contains("irq") || path.contains("cpuidle"))
    );
    let v1 = Files::from_iter([(
        "/proc/1/mountinfo",
        "31 29 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n",
    )]);
    let all = patterns(&spec(), &v1);
    for path in [
        "/sys/fs/cgroup/cpuset/kubepods/cpuset.effective_cpus",
        "/proc/sys/net/ipv4/tcp_rmem",
        "/proc/irq/#/smp_affinity_list",
        "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
    ] {
        assert!(all.iter().any(|pattern| pattern == path), "{path}");
    }
    // Nothing of a spec leads out of the folders.
    let mut odd = spec();
    let tuning = odd.tuning.as_mut().unwrap();
    tuning.tuned_profile = Some("../../x".to_owned());
    tuning.sysctls = [
        ("..kernel".to_owned(), "1".to_owned()),
        ("a.*".to_owned(), "1".to_owned()),
    ]
    .into();
    assert!(
        !patterns(&odd, &v1)
            .iter()
            .any(|path| path.contains("..") || path.starts_with("/proc/sys/a"))
    );
}

proptest! {
    /// Whatever the files hold and the spec wants: an answer, in a stable order, that fits into a status.
    #[test]
    fn any_file_is_audited(text in "\\PC{0,40}|[-0-9,a-z \n>]{0,40}", which in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let mut files = files();
        let paths: Vec<String> = files.iter().map(|(path, _)| path.to_owned()).collect();
        for index in which {
            files.insert(index.get(&paths).clone(), text.clone());
        }
        let audit = audited(&spec(), &files);
        prop_assert!(audit.drift.is_sorted_by_key(|drift| drift.area));
        prop_assert!(audit.drift.iter().all(|drift| !drift.wanted.is_empty() && !drift.found.is_empty()));
        prop_assert!(bounded(audit.drift, MAX_DRIFT).len() <= MAX_DRIFT);
    }

    #[test]
    fn any_spec_is_audited(list in "[0-9,-]{0,12}|\\PC{0,8}", argument in "\\PC{0,30}|(nohz_full|isolcpus|hugepagesz|hugepages)=[-0-9,A-Za-z_]{0,12}", key in "\\PC{0,20}") {
        let mut spec = spec();
        let cpu = spec.cpu.as_mut().unwrap();
        cpu.isolated = list.clone();
        cpu.offlined = Some(list);
        spec.kernel.as_mut().unwrap().arguments.push(argument.clone());
        let tuning = spec.tuning.as_mut().unwrap();
        tuning.sysctls.insert(key.clone(), argument.clone());
        tuning.tuned_profile = Some(key);
        spec.hugepages[0].size = argument.clone();
        let _ = patterns(&spec, &files());
        let _ = audited(&spec, &files());
        let _ = missing_arguments(std::slice::from_ref(&argument), &argument);
    }

    /// What stands on the command line is not missing.
    #[test]
    fn a_command_line_lacks_nothing_of_itself(words in prop::collection::btree_map("[a-z_.]{1,10}", "[a-z0-9_.,-]{0,10}", 0..12)) {
        let words: Vec<String> = words.iter().filter(|(key, _)| !key.starts_with("hugepages")).map(|(key, value)| format!("{key}={value}")).collect();
        prop_assert_eq!(missing_arguments(&words, &words.join(" ")), []);
    }
}

#[test]
fn every_area_is_in_the_documents() {
    use DriftArea::{
        CState, Clocksource, CpuSet, Governor, Hugepages, IrqAffinity, Kernel, KernelArgument,
        NohzFull, OfflineCpu, Smt, Sysctl, Tuned,
    };
    let document = include_str!("../../../docs/drift.md");
    let mut at = 0;
    for area in [
        Kernel,
        KernelArgument,
        NohzFull,
        Smt,
        OfflineCpu,
        CpuSet,
        Hugepages,
        Tuned,
        Sysctl,
        Governor,
        CState,
        Clocksource,
        IrqAffinity,
    ] {
        let row = format!(
            "| `{}` |",
            serde_json::to_value(area).unwrap().as_str().unwrap()
        );
        // In the order in which they are listed.
        at += document[at..]
            .find(&row)
            .unwrap_or_else(|| panic!("{row} is not in docs/drift.md"));
    }
}
