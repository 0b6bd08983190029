//! Facts, audit and triggers on a real PREEMPT_RT kernel, booted with the arguments that we render for the machine: two
//! sockets, two NUMA nodes, two threads a core. Nothing differs where nothing is wrong, and each of a list of things
//! put wrong is found and named. And policies of pods' threads, in cgroup version 2 and without budgets.
//!
//! This test binary is itself what runs in the machine: there, with [`INSIDE`] set, a test does its part of `vm/inside.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test ends at what it doesn't expect, and its expectations are a table"
)]

#[path = "vm/inside.rs"]
mod inside;
#[path = "vm/policy.rs"]
mod policy;

use std::path::PathBuf;

use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::RealtimeNodeSpec;
use realtime_core::cluster::{Dialect, Served};
use realtime_core::input;
use realtime_core::render::render;
use realtime_core::validate::validate;
use realtime_testing::vm::{Error, Machine, Program, kernel, run};
use serde_json::{Value, json};

/// Set in the machine.
const INSIDE: &str = "REALTIME_TEST_INSIDE_VM";
/// The spec of the machine's RealtimeNode.
const SPEC: &str = "/vm/spec.json";
/// Where the daemon keeps what the cluster said last.
const SEEN: &str = "/var/lib/realtime-node-daemon/seen.json";

const PROFILE: &str = r#"
apiVersion: realtime.openshift.io/v1alpha1
kind: RealtimeProfile
metadata: {name: lathe}
spec:
  kernel: {realtime: true}
  cpu: {reserved: "0-1", isolated: "2-3", isolation: ManagedIrq, power: LowLatency}
  memory: {hugepages: {defaultSize: 2M, pages: [{size: 2M, count: 16}]}}
  interrupts: {balanceOnIsolated: false}
  kubelet:
    systemReserved: {cpu: 500m, memory: 100Mi}
    kubeReserved: {cpu: 500m, memory: 100Mi}
"#;

/// As Node Feature Discovery and the kubelet would describe the machine.
const NODE: &str = r#"
apiVersion: v1
kind: Node
metadata:
  name: vm
  labels:
    node-role.kubernetes.io/lathe: ""
    node-role.kubernetes.io/worker: ""
    kubernetes.io/arch: amd64
    feature.node.kubernetes.io/cpu-model.vendor_id: Intel
    feature.node.kubernetes.io/cpu-model.family: "6"
    feature.node.kubernetes.io/cpu-model.id: "42"
status:
  capacity: {cpu: "4", memory: 1048576Ki}
"#;

/// What the operator renders for the machine.
fn spec() -> RealtimeNodeSpec {
    let profile = input::parse_documents(PROFILE).unwrap().remove(0);
    let profile = input::profile(profile).unwrap();
    let nodes = input::parse_documents(NODE).unwrap();
    let cluster =
        input::cluster_from_documents(nodes, Served::openshift(Dialect::KernelType)).unwrap();
    let validated = validate(&profile, &cluster);
    let profile = validated
        .profile
        .unwrap_or_else(|| panic!("{}", validated.problems));
    render(&profile).node_spec
}

/// Runs the part of a test that is in the machine. `None`, loudly, where the machine can't be had.
fn in_the_machine(
    test: &str,
    arguments: Vec<String>,
    spec: &RealtimeNodeSpec,
    programs: &[(PathBuf, &str)],
) -> Option<Vec<Value>> {
    let programs = programs.iter();
    let programs = programs.map(|(path, inside)| (path.clone(), (*inside).to_owned()));
    let daemon = env!("CARGO_BIN_EXE_realtime-node-daemon").into();
    let seen = RealtimeNode::new("vm", spec.clone());
    let seen = json!(seen);
    let program = Program {
        arguments: ["--exact", test, "--nocapture", "--test-threads=1"]
            .map(str::to_owned)
            .to_vec(),
        environment: vec![(INSIDE.to_owned(), "1".to_owned())],
        files: vec![
            (SPEC.to_owned(), json!(spec).to_string().into_bytes(), 0o644),
            (SEEN.to_owned(), seen.to_string().into_bytes(), 0o600),
            (
                "/etc/os-release".to_owned(),
                b"ID=\"test\"\nVERSION_ID=7.5\n".to_vec(),
                0o644,
            ),
        ],
        programs: programs
            .chain([(daemon, inside::DAEMON.to_owned())])
            .collect(),
        ..Program::new(std::env::current_exe().unwrap())
    };
    let machine = Machine {
        kernel_arguments: arguments,
        // Alone it takes 20 s.
        limit: std::time::Duration::from_mins(5),
        ..Machine::default()
    };
    let outcome = match run(&machine, &program) {
        Err(Error::Unavailable(reason)) => {
            realtime_testing::skip(&reason);
            return None;
        }
        other => other.unwrap(),
    };
    println!("in the machine: {:?}", outcome.took);
    assert_eq!(
        outcome.exit_code,
        Some(0),
        "{}\n{}",
        outcome.lines.join("\n"),
        outcome.console
    );
    let lines = outcome.lines.iter().filter(|line| line.starts_with('{'));
    Some(
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// The line of a step.
fn step<'a>(lines: &'a [Value], name: &str) -> &'a Value {
    let found = lines.iter().find(|line| line["step"] == name);
    found.unwrap_or_else(|| panic!("no step `{name}` in {lines:#?}"))
}

/// Drift as `area: wanted / found`.
fn drift(line: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    line["drift"]
        .as_array()
        .unwrap()
        .iter()
        .map(|drift| {
            let (area, wanted) = (text(&drift["area"]), text(&drift["wanted"]));
            format!("{area}: {wanted} / {}", text(&drift["found"]))
        })
        .collect()
}

#[test]
fn each_thing_put_wrong_is_found_and_nothing_else() {
    if is_inside() {
        return inside::each_thing_put_wrong(SPEC);
    }
    let spec = spec();
    let arguments = spec.kernel.as_ref().unwrap().arguments.clone();
    // The point of it all: these are ours.
    for argument in [
        "isolcpus=managed_irq,2-3",
        "nohz_full=2-3",
        "rcu_nocbs=2-3",
        "hugepages=16",
    ] {
        assert!(
            arguments.iter().any(|ours| ours == argument),
            "{arguments:?}"
        );
    }
    let Some(lines) = in_the_machine(
        "each_thing_put_wrong_is_found_and_nothing_else",
        arguments,
        &spec,
        &[],
    ) else {
        return;
    };

    let facts = step(&lines, "facts");
    println!(
        "facts: {}; audit: {}",
        facts["cost"],
        step(&lines, "as wanted")["cost"]
    );
    println!("notes: {:#}", step(&lines, "as wanted")["notes"]);
    let release = kernel().unwrap().release;
    assert_eq!(facts["kernel"]["release"], json!(release));
    assert_eq!(facts["kernel"]["realtime"], json!(true));
    assert_eq!(facts["kernel"]["bootId"].as_str().unwrap().len(), 36);
    assert_eq!(
        facts["host"],
        json!({"os": "test", "osVersion": "7.5", "ostree": false, "architecture": "x86_64", "cpuVendor": "GenuineIntel",
               "cpuFamily": 6, "cpuModel": 42, "cgroupVersion": 2})
    );
    assert_eq!(facts["virtualMachine"], json!(true));
    let topology = &facts["topology"];
    assert_eq!(topology["cpus"], "0-3");
    assert_eq!(topology["online"], "0-3");
    assert_eq!(topology["smt"], json!(true));
    assert_eq!(topology["siblings"], json!(["0-1", "2-3"]));
    for (id, cpus) in [(0, "0-1"), (1, "2-3")] {
        let node = &topology["numaNodes"][id];
        assert_eq!((&node["id"], &node["cpus"]), (&json!(id), &json!(cpus)));
        let memory = node["memoryKiB"].as_i64().unwrap();
        assert!((350_000..=524_288).contains(&memory), "{memory}");
        assert_eq!(
            node["hugepages"],
            json!([{"size": "2M", "count": 8, "free": 8}])
        );
    }

    assert_eq!(drift(step(&lines, "as wanted")), Vec::<String>::new());
    // The real daemon says the same.
    let daemon = step(&lines, "daemon");
    assert_eq!(
        (&daemon["exit"], &daemon["drift"]),
        (&json!(0), &json!([])),
        "{daemon}"
    );
    let pinned = "echo 0-1 > /proc/irq/4/smp_affinity_list";
    let expected: &[(&str, &[&str])] = &[
        (
            "an interrupt on an isolated CPU",
            &["irqAffinity: IRQ 4 (ttyS0) on CPUs 0-1 only / on CPU 2 (allowed: 2); `"],
        ),
        (
            "new interrupts anywhere",
            &["irqAffinity: new interrupts on CPUs 0-1 only / "],
        ),
        (
            "a CPU offline",
            &["offlineCpu: CPU 3 online / offline; `echo 1 > /sys/devices/system/cpu/cpu3/online`"],
        ),
        (
            "multithreading off",
            &["smt: simultaneous multithreading as the firmware has set it up / "],
        ),
        ("a sysctl", &["sysctl: vm.stat_interval = 10 / 1; `"]),
        (
            "another sysctl",
            &["sysctl: kernel.sched_rt_runtime_us = -1 / 950000; `"],
        ),
        (
            "fewer huge pages",
            &["hugepages: 16 huge pages of 2M / 4; "],
        ),
        (
            "another TuneD profile",
            &["tuned: TuneD profile realtime-lathe / virtual-guest, and "],
        ),
        (
            "no TuneD profile",
            &["tuned: TuneD profile realtime-lathe / no active profile"],
        ),
        ("a slow clock", &["clocksource: clocksource tsc / hpet; `"]),
        (
            "a partition that takes the CPUs",
            &[
                "cpuSet: pods may use CPUs 2-3 / the cpuset of kubepods.slice lacks CPUs 2-3: it has CPUs 0-1",
                "cpuSet: CPUs 2-3 left to pods / greedy.slice has them for itself",
            ],
        ),
        (
            "a cpuset without an isolated CPU",
            &["cpuSet: pods may use CPUs 2-3 / the cpuset of kubepods.slice lacks CPU 3"],
        ),
        (
            "a governor (a stand-in for cpufreq)",
            &["governor: governor performance on CPU 2 / powersave; "],
        ),
        (
            "a deep idle state (a stand-in for cpuidle)",
            &[
                "cState: no idle state that takes more than 3 µs to leave, on CPU 2 / C6 takes 133 µs and is allowed \
             (/dev/cpu_dma_latency allows 2000000000 µs)",
            ],
        ),
        ("the same with a limit held", &[]),
        ("the stock kernel wanted", &["kernel: the stock kernel / "]),
        (
            "other arguments wanted",
            &[
                "kernelArgument: skew_tick=2 / `skew_tick=1` on the kernel's command line",
                "kernelArgument: isolcpus=domain,managed_irq,2-3 / `isolcpus=managed_irq,2-3`",
                "cpuSet: CPUs 2-3 without load balancing / no CPU in",
            ],
        ),
    ];
    for (name, expected) in expected {
        let found = drift(step(&lines, name));
        println!("{name}:\n  {}", found.join("\n  "));
        let fits = found.len() == expected.len()
            && found
                .iter()
                .zip(*expected)
                .all(|(found, start)| found.starts_with(start));
        assert!(fits, "{name}: {found:#?}");
        let after = drift(step(&lines, &format!("{name}: mended")));
        assert_eq!(after, Vec::<String>::new(), "{name}");
    }
    assert!(drift(step(&lines, "an interrupt on an isolated CPU"))[0].contains(pinned));

    for (name, trigger) in [
        ("trigger: sysctl", "/proc/sys/vm/stat_interval was written"),
        ("trigger: interrupt", "/proc/irq/4/smp_affinity was written"),
        ("trigger: TuneD", "/etc/tuned/active_profile was written"),
        ("trigger: CPU", "a CPU came or went"),
    ] {
        assert_eq!(step(&lines, name)["trigger"], trigger);
    }
}

#[test]
fn arguments_that_the_command_line_lacks_are_named() {
    if is_inside() {
        return inside::once(SPEC);
    }
    let spec = spec();
    let arguments = spec.kernel.as_ref().unwrap().arguments.iter();
    let arguments = arguments
        .filter(|argument| !argument.starts_with("nohz_full=") && *argument != "nosoftlockup")
        .map(|argument| argument.replace("hugepages=16", "hugepages=6"))
        .collect();
    let Some(lines) = in_the_machine(
        "arguments_that_the_command_line_lacks_are_named",
        arguments,
        &spec,
        &[],
    ) else {
        return;
    };
    let found = drift(step(&lines, "as booted"));
    let expected = [
        "kernelArgument: nohz_full=2-3 / not on the kernel's command line; it takes a reboot",
        "kernelArgument: nosoftlockup / not on the kernel's command line; it takes a reboot",
        "kernelArgument: hugepagesz=2M hugepages=16 / `hugepagesz=2M hugepages=6` on the kernel's command line; it takes a reboot",
        "nohzFull: CPUs 2-3 without a timer tick (nohz_full) / no CPU in /sys/devices/system/cpu/nohz_full",
        "hugepages: 16 huge pages of 2M / 6; ",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
    // The real daemon says the same.
    let daemon = step(&lines, "daemon");
    assert_eq!(daemon["exit"], json!(2));
    assert_eq!(drift(daemon), found);
}

#[test]
fn policies_are_set_where_the_kernel_has_no_budgets() {
    if is_inside() {
        return policy::all();
    }
    let folder = tempfile::tempdir().unwrap();
    let actor = realtime_testing::actor::build(folder.path()).unwrap();
    let Some(lines) = in_the_machine(
        "policies_are_set_where_the_kernel_has_no_budgets",
        Vec::new(),
        &spec(),
        &[(actor, policy::ACTOR)],
    ) else {
        return;
    };
    for line in &lines {
        println!("{line}");
    }
    for (name, pods) in [
        ("before the kubelet", json!([])),
        ("beside the pods", json!(["/kubepods.slice"])),
    ] {
        let found = step(&lines, name);
        assert_eq!(found["mode"], "V2Policy", "{found}");
        assert_eq!(
            found["evidence"],
            "a thread in a group of its own became SCHED_FIFO"
        );
        assert_eq!(found["probe"], "BecameFifo");
        assert_eq!(found["remedy"], Value::Null);
        assert_eq!(found["pods"], pods);
    }
    assert_eq!(step(&lines, "before the kubelet")["subtree"], "");
    assert_eq!(step(&lines, "left")["groups"], json!([]));

    let all_set = |set: &Value, threads: u32| {
        let (count, complete, failed) = (&set["set"], &set["complete"], &set["failed"]);
        assert_eq!((count, complete), (&json!(threads), &json!(true)), "{set}");
        assert_eq!(failed, &Value::Null);
    };
    for (runtime, scope) in [("Containerd", "/cri-containerd-"), ("Crio", "/crio-")] {
        let found = step(&lines, &format!("threads: {runtime}"));
        assert!(found["group"].as_str().unwrap().contains(scope), "{found}");
        all_set(&found["first"], 3);
        // Here, unlike on the machine that tests usually run on, root has every capability.
        assert_eq!(found["first"]["rtprio"], "Set");
        assert_eq!(found["became"], json!(["Fifo 50", "Fifo 50", "Fifo 50"]));
        all_set(&found["second"], 2);
        assert_eq!(found["lowered"], "Other 0");
        assert_eq!(found["new"], json!(["Fifo 50", "Fifo 50"]));
    }

    let reset = step(&lines, "reset-on-fork");
    all_set(&reset["first"], 1);
    assert_eq!(reset["became"], "Fifo 50 reset");
    all_set(&reset["second"], 0);
    assert_eq!(reset["new"], json!(["Other 0", "Other 0"]));

    let nobody = step(&lines, "nobody");
    let answers = ["dropped", "before", "lowered", "again", "more"].map(|key| &nobody[key]);
    assert_eq!(answers.map(Value::as_i64), [0, 1, 0, 0, 1].map(Some));
    all_set(&nobody["set"], 1);
    assert_eq!(nobody["set"]["rtprio"], "Set");

    let runaway = step(&lines, "runaway");
    all_set(&runaway["set"], 1);
    assert_eq!(runaway["set"]["rttime"], "Set");
    // SIGXCPU.
    assert_eq!(runaway["signal"], 24);

    let over = step(&lines, "overrun");
    let number = |key: &str| over[key].as_u64().unwrap();
    assert!(number("used") > number("allowed"), "{over}");
    assert_eq!(number("allowed") % 100_000_000, 0);
    assert_eq!(over["threads"], 2);
    assert_eq!(over["idle"], Value::Null);
}
