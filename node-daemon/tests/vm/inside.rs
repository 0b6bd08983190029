//! The part of the test that runs in the machine, as root: puts things wrong, audits, mends them, audits again. Judges
//! nothing: each step is a line of JSON on the standard output, and the test outside reads them.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use realtime_core::api::realtime_node::{DriftArea, RealtimeNodeSpec};
use realtime_core::api::realtime_profile::Isolation;
use realtime_core::audit::Audit;
use realtime_node_daemon::host::Host;
use realtime_node_daemon::observe::{self, Audited, Cost, Told, Triggers};
use serde_json::{Value, json};

/// An interrupt moves when it comes the next time, a CPU when its threads have left it: so long a change may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the daemon's executable is.
pub const DAEMON: &str = "/vm/daemon";

struct Machine {
    host: Host,
    spec: RealtimeNodeSpec,
}

/// Shell commands that put something wrong, and those that put it right.
const WRONG: &[(&str, &str, &str)] = &[
    (
        "an interrupt on an isolated CPU",
        "echo 2 > /proc/irq/4/smp_affinity_list",
        "echo 0-1 > /proc/irq/4/smp_affinity_list",
    ),
    (
        "new interrupts anywhere",
        "echo f > /proc/irq/default_smp_affinity",
        "echo 3 > /proc/irq/default_smp_affinity",
    ),
    (
        "a CPU offline",
        "echo 0 > /sys/devices/system/cpu/cpu3/online",
        "echo 1 > /sys/devices/system/cpu/cpu3/online",
    ),
    (
        "multithreading off",
        "echo off > /sys/devices/system/cpu/smt/control",
        "echo on > /sys/devices/system/cpu/smt/control",
    ),
    (
        "a sysctl",
        "echo 1 > /proc/sys/vm/stat_interval",
        "echo 10 > /proc/sys/vm/stat_interval",
    ),
    (
        "another sysctl",
        "echo 950000 > /proc/sys/kernel/sched_rt_runtime_us",
        "echo -1 > /proc/sys/kernel/sched_rt_runtime_us",
    ),
    (
        "fewer huge pages",
        "echo 4 > /proc/sys/vm/nr_hugepages",
        "echo 16 > /proc/sys/vm/nr_hugepages",
    ),
    (
        "another TuneD profile",
        "echo virtual-guest > /etc/tuned/active_profile",
        "echo realtime-lathe > /etc/tuned/active_profile",
    ),
    (
        "no TuneD profile",
        "echo > /etc/tuned/active_profile",
        "echo realtime-lathe > /etc/tuned/active_profile",
    ),
    (
        "a slow clock",
        "echo hpet > /sys/devices/system/clocksource/clocksource0/current_clocksource",
        "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
    ),
    (
        "a partition that takes the CPUs",
        "mkdir /sys/fs/cgroup/greedy.slice && cd /sys/fs/cgroup/greedy.slice && echo 2-3 > cpuset.cpus && \
         echo root > cpuset.cpus.partition",
        "echo member > /sys/fs/cgroup/greedy.slice/cpuset.cpus.partition; rmdir /sys/fs/cgroup/greedy.slice",
    ),
    (
        "a cpuset without an isolated CPU",
        "echo 0-2 > /sys/fs/cgroup/kubepods.slice/cpuset.cpus",
        "echo > /sys/fs/cgroup/kubepods.slice/cpuset.cpus",
    ),
    // The emulated machine has neither frequencies nor idle states: folders stand in for those of CPUs 0 and 2.
    (
        "a governor (a stand-in for cpufreq)",
        "mkdir -p /tmp/cpu2/cpufreq && echo powersave > /tmp/cpu2/cpufreq/scaling_governor && \
         mount --bind /tmp/cpu2 /sys/devices/system/cpu/cpu2",
        "umount /sys/devices/system/cpu/cpu2; rm -r /tmp/cpu2",
    ),
    (
        "a deep idle state (a stand-in for cpuidle)",
        IDLE,
        IDLE_MENDED,
    ),
];

const IDLE: &str = "mkdir -p /tmp/cpu2/cpuidle/state3 /tmp/cpu0/cpuidle/state3 && echo 0 > /tmp/cpu2/cpuidle/state3/disable && \
                    echo C6 > /tmp/cpu0/cpuidle/state3/name && echo 133 > /tmp/cpu0/cpuidle/state3/latency && \
                    mount --bind /tmp/cpu2 /sys/devices/system/cpu/cpu2 && mount --bind /tmp/cpu0 /sys/devices/system/cpu/cpu0";
const IDLE_MENDED: &str = "umount /sys/devices/system/cpu/cpu2; umount /sys/devices/system/cpu/cpu0; rm -r /tmp/cpu2 /tmp/cpu0";

/// All steps.
pub fn each_thing_put_wrong(spec: &str) {
    let mut machine = Machine::prepared(spec);
    for (name, wrong, mended) in WRONG {
        shell(wrong);
        machine.say(name, |audit| !audit.drift.is_empty());
        shell(mended);
        machine.say(&format!("{name}: mended"), |audit| audit.drift.is_empty());
    }
    machine.held_limit();
    machine.other_wishes();
    machine.triggers();
}

/// One audit of the machine as it was booted.
pub fn once(spec: &str) {
    Machine::prepared(spec).say("as booted", |_| true);
}

impl Machine {
    /// Sets what TuneD and the kubelet would, tells the facts and the first audit.
    fn prepared(spec: &str) -> Self {
        println!(); // libtest has begun a line
        let spec: RealtimeNodeSpec =
            serde_json::from_str(&fs::read_to_string(spec).unwrap()).unwrap();
        let tuning = spec.tuning.as_ref().unwrap();
        for (key, value) in &tuning.sysctls {
            // The machine has no performance counters: nmi_watchdog refuses a write, and is 0.
            if let Err(error) = fs::write(format!("/proc/sys/{}", key.replace('.', "/")), value) {
                eprintln!("{key}: {error}");
            }
        }
        fs::create_dir_all("/etc/tuned").unwrap();
        fs::write(
            "/etc/tuned/active_profile",
            tuning.tuned_profile.as_ref().unwrap(),
        )
        .unwrap();
        shell(
            "echo +cpuset > /sys/fs/cgroup/cgroup.subtree_control && mkdir /sys/fs/cgroup/kubepods.slice",
        );
        let host = Host::new("/", None);
        let machine = Self { host, spec };
        let known = observe::facts(&machine.host);
        print(&json!({
            "step": "facts", "host": known.facts.host, "topology": known.facts.topology, "kernel": known.facts.kernel,
            "virtualMachine": known.facts.virtual_machine, "cost": cost(known.cost),
        }));
        machine.say("as wanted", |_| true);
        Self::ask_daemon();
        machine
    }

    /// The daemon itself, as a person on the host would ask it.
    fn ask_daemon() {
        let output = Command::new(DAEMON)
            .args(["audit", "--json"])
            .output()
            .unwrap();
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        let mut line: Value = serde_json::from_slice(&output.stdout).unwrap();
        line["step"] = json!("daemon");
        line["exit"] = json!(output.status.code());
        print(&line);
    }

    fn audit(&self) -> Audited {
        let known = observe::facts(&self.host);
        observe::audit(&self.host, &self.spec, &known, Told::default())
    }

    /// Audits until it is as it should be, or the patience ends; tells the last.
    fn say(&self, step: &str, done: impl Fn(&Audit) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let audited = loop {
            let audited = self.audit();
            if done(&audited.audit) || Instant::now() >= deadline {
                break audited;
            }
            // The console's interrupt moves when it comes.
            eprintln!("waiting: {step}");
            std::thread::sleep(Duration::from_millis(50));
        };
        let notes: Vec<Value> = audited
            .audit
            .notes
            .iter()
            .map(|note| json!({"area": note.area, "text": note.text}))
            .collect();
        print(&json!({
            "step": step, "drift": audited.audit.drift, "notes": notes, "cost": cost(audited.cost),
        }));
    }

    /// As TuneD does: the file is held open, and closing it drops the limit.
    fn held_limit(&self) {
        use std::io::Write as _;
        shell(IDLE);
        let mut limit = fs::OpenOptions::new()
            .write(true)
            .open("/dev/cpu_dma_latency")
            .unwrap();
        limit.write_all(&2_i32.to_ne_bytes()).unwrap();
        self.say("the same with a limit held", |audit| audit.drift.is_empty());
        drop(limit);
        self.say("the same with the limit dropped", |audit| {
            audit
                .drift
                .iter()
                .any(|drift| drift.area == DriftArea::CState)
        });
        shell(IDLE_MENDED);
        self.say("the same with a limit held: mended", |audit| {
            audit.drift.is_empty()
        });
    }

    fn other_wishes(&mut self) {
        let spec = self.spec.clone();
        self.spec.kernel.as_mut().unwrap().realtime = false;
        self.say("the stock kernel wanted", |_| true);
        self.spec = spec.clone();
        self.say("the stock kernel wanted: mended", |_| true);
        self.spec.cpu.as_mut().unwrap().isolation = Isolation::Domain;
        for argument in &mut self.spec.kernel.as_mut().unwrap().arguments {
            *argument = argument
                .replace("skew_tick=1", "skew_tick=2")
                .replace("isolcpus=managed_irq", "isolcpus=domain,managed_irq");
        }
        self.say("other arguments wanted", |_| true);
        self.spec = spec;
        self.say("other arguments wanted: mended", |_| true);
    }

    /// What the kernel tells by itself: writes to procfs and to a file, and a CPU that goes.
    fn triggers(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let mut triggers = Triggers::new(PATIENCE).with_gap(Duration::ZERO);
        triggers.watch(&self.host, &self.audit().files);
        for (step, change) in [
            ("trigger: sysctl", "echo 10 > /proc/sys/vm/stat_interval"),
            ("trigger: interrupt", "echo 3 > /proc/irq/4/smp_affinity"),
            (
                "trigger: TuneD",
                "echo realtime-lathe > /etc/tuned/new && mv /etc/tuned/new /etc/tuned/active_profile",
            ),
            (
                "trigger: CPU",
                "echo 0 > /sys/devices/system/cpu/cpu3/online",
            ),
        ] {
            shell(change);
            let trigger = runtime.block_on(triggers.next());
            print(&json!({"step": step, "trigger": trigger.to_string()}));
        }
    }
}

fn shell(command: &str) {
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .status()
        .unwrap();
    assert!(status.success(), "{command}");
}

fn cost(cost: Cost) -> Value {
    json!({"files": cost.files, "unreadable": cost.unreadable, "microseconds": cost.took.as_micros()})
}

/// A step's line.
pub fn print(line: &Value) {
    println!("{line}");
}
