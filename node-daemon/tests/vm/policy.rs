//! The part of the policy's test that runs in the machine, where there are no budgets: groups as containerd and CRI-O with
//! crun make them, programs in them, and what became of each. Judges nothing: each step is a line of JSON.

use std::fs;
use std::time::{Duration, Instant};

use realtime_core::rt::group::{ContainerId, Driver, PodUid, PodsGroup, Qos, Runtime};
use realtime_core::rt::micros::RuntimeMicros;
use realtime_core::rt::modes::{ModeSetting, mode};
use realtime_core::rt::policy::{overrun, used};
use realtime_core::rt::request::{Policy, Scheduling};
use realtime_node_daemon::budget::look;
use realtime_node_daemon::budget::policy::{Outcome, Setter, sample};
use realtime_node_daemon::cgroup::{Mounts, V2};
use realtime_node_daemon::host::Host;
use realtime_node_daemon::sched;
use realtime_testing::actor::Actor;
use serde_json::{Value, json};

use super::inside::{DAEMON, print};

/// Where the program of the containers is.
pub const ACTOR: &str = "/vm/actor";
/// What takes longer than this in the emulated machine never comes.
const PATIENCE: Duration = Duration::from_mins(1);
const MOUNT: &str = "/sys/fs/cgroup";
const UID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

struct Machine {
    host: Host,
    v2: V2,
    setter: Setter,
    pods: PodsGroup,
}

/// All steps.
pub fn all() {
    println!(); // libtest has begun a line
    let host = Host::new("/", None);
    // 1. Nobody has switched the controller on yet, and nobody finds it on afterwards.
    say_mode(&host, "before the kubelet");
    let pods = PodsGroup {
        driver: Driver::Systemd,
        root: Vec::new(),
    };
    for qos in [Qos::Burstable, Qos::BestEffort] {
        make(&pods.class(qos));
    }
    // 2. Beside the pods; what a killed daemon left goes.
    make(&format!("{}/realtime-probe-0", pods.path()));
    say_mode(&host, "beside the pods");
    let v2 = V2::open(&host, MOUNT).unwrap();
    let mut machine = Machine {
        host,
        v2,
        setter: Setter::default(),
        pods,
    };
    machine.threads();
    machine.reset_on_fork();
    machine.nobody();
    machine.runaway();
    machine.overrun();
    machine.probe_is_gone();
    // Here the daemon itself could be started against a cluster outside.
}

fn say_mode(host: &Host, step: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let facts = look::facts_with(DAEMON.as_ref(), host, true, ModeSetting::Auto, false);
    let facts = runtime.block_on(facts);
    let found = mode(&facts);
    let mounts = Mounts::read(host).unwrap();
    let pods: Vec<String> = look::pods_groups(host, &mounts)
        .iter()
        .map(PodsGroup::path)
        .collect();
    print(&json!({
        "step": step, "mode": found.mode, "evidence": found.evidence, "remedy": found.remedy, "pods": pods,
        "probe": format!("{:?}", facts.probe), "sysctl": facts.sysctl_runtime_us,
        "subtree": fs::read_to_string(format!("{MOUNT}/cgroup.subtree_control")).unwrap(),
        "rules": format!("{:?}", look::rules(host)),
    }));
}

/// A group, with the controller switched on in each one above it, as the kubelet and systemd do.
fn make(group: &str) {
    let mut path = MOUNT.to_owned();
    for part in group.split('/').skip(1) {
        fs::write(format!("{path}/cgroup.subtree_control"), "+cpu").unwrap();
        path = format!("{path}/{part}");
        fs::create_dir_all(&path).unwrap();
    }
}

fn fifo(priority: u8) -> Scheduling {
    Scheduling {
        policy: Policy::Fifo(priority),
        reset_on_fork: false,
        rttime_us: None,
    }
}

/// A thread as `Fifo 50`, with `reset` behind it where its children are reset.
fn thread(tid: i32) -> String {
    match sched::get(tid) {
        Ok(now) => {
            let reset = if now.reset_on_fork { " reset" } else { "" };
            format!("{:?} {}{reset}", now.policy, now.priority)
        }
        Err(error) => error.to_string(),
    }
}

fn outcome(outcome: &Outcome) -> Value {
    json!({
        "set": outcome.threads_set, "complete": outcome.complete,
        "failed": outcome.failed.as_ref().map(ToString::to_string),
        "rtprio": format!("{:?}", outcome.limits.rtprio), "rttime": format!("{:?}", outcome.limits.rttime),
    })
}

impl Machine {
    /// A container's group, made, and an actor in it: with crun in the group below, and the container's is given.
    fn container(&self, runtime: Runtime, number: u8) -> (String, Actor) {
        let id = ContainerId::new(&format!("{number:064x}")).unwrap();
        let uid = PodUid::new(UID).unwrap();
        let [below, group] = self.pods.container(Qos::Burstable, &uid, runtime, &id);
        let place = if runtime == Runtime::Crio {
            &below
        } else {
            &group
        };
        make(place);
        let actor = Actor::start(ACTOR.as_ref()).unwrap();
        let processes = format!("{MOUNT}{place}/cgroup.procs");
        fs::write(processes, actor.pid().to_string()).unwrap();
        (group, actor)
    }

    fn set(&mut self, group: &str, scheduling: &Scheduling) -> Value {
        let set = self.setter.set(&self.host, &self.v2, group, scheduling);
        outcome(&set)
    }

    /// Threads and children of both runtimes' containers, new ones, and one that the program has lowered itself.
    fn threads(&mut self) {
        for (runtime, number) in [(Runtime::Containerd, 1), (Runtime::Crio, 2)] {
            let (group, mut actor) = self.container(runtime, number);
            let old = [
                actor.pid(),
                actor.tell("thread", 0).unwrap(),
                actor.tell("fork", 0).unwrap(),
            ];
            let first = self.set(&group, &fifo(50));
            let became = old.map(thread);
            actor.tell("other", 0).unwrap();
            let new = [
                actor.tell("thread", 0).unwrap(),
                actor.tell("fork", 0).unwrap(),
            ];
            let second = self.set(&group, &fifo(50));
            print(&json!({
                "step": format!("threads: {runtime:?}"), "group": group, "first": first, "became": became,
                "second": second, "lowered": thread(actor.pid()), "new": new.map(thread),
            }));
        }
    }

    fn reset_on_fork(&mut self) {
        let (group, mut actor) = self.container(Runtime::Containerd, 3);
        let wanted = Scheduling {
            reset_on_fork: true,
            ..fifo(50)
        };
        let first = self.set(&group, &wanted);
        let new = [
            actor.tell("thread", 0).unwrap(),
            actor.tell("fork", 0).unwrap(),
        ];
        let second = self.set(&group, &wanted);
        print(&json!({
            "step": "reset-on-fork", "first": first, "became": thread(actor.pid()), "second": second,
            "new": new.map(thread),
        }));
    }

    /// A program without privileges may set itself after RTPRIO, up to the priority.
    fn nobody(&mut self) {
        let (group, mut actor) = self.container(Runtime::Containerd, 4);
        let dropped = actor.tell("drop", 0).unwrap();
        let before = actor.tell("fifo", 40).unwrap();
        let set = self.set(&group, &fifo(50));
        let lowered = actor.tell("other", 0).unwrap();
        let [again, more] = [50, 51].map(|priority| actor.tell("fifo", priority).unwrap());
        print(&json!({
            "step": "nobody", "dropped": dropped, "before": before, "set": set, "lowered": lowered, "again": again,
            "more": more,
        }));
    }

    /// RTTIME ends a thread that never blocks.
    fn runaway(&mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        let (group, mut actor) = self.container(Runtime::Containerd, 5);
        let wanted = Scheduling {
            rttime_us: Some(200_000),
            ..fifo(50)
        };
        let set = self.set(&group, &wanted);
        let begun = Instant::now();
        actor.tell("spin", 30_000).unwrap();
        let signal = actor.ended().unwrap().signal();
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
        print(&json!({"step": "runaway", "set": set, "signal": signal, "milliseconds": took}));
    }

    /// More than the budget, which nothing enforces here; and a container that is idle.
    fn overrun(&mut self) {
        let budget = RuntimeMicros::new(100_000).unwrap();
        let (idle, _idle) = self.container(Runtime::Containerd, 6);
        let (group, mut actor) = self.container(Runtime::Crio, 7);
        self.set(&idle, &fifo(50));
        self.set(&group, &fifo(50));
        let sampled = |group: &str| sample(&self.host, &self.v2, group).unwrap();
        let before = [sampled(&idle), sampled(&group)];
        // Longer than it takes to see it: a thread that has ended is in no sample.
        actor.tell("spin", 120_000).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let (over, after) = loop {
            let after = [sampled(&idle), sampled(&group)];
            let over = overrun(&before[1], &after[1], budget);
            if over.is_some() || Instant::now() >= deadline {
                break (over, after);
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        print(&json!({
            "step": "overrun", "threads": after[1].threads.len(),
            "used": over.map(|over| over.used.used_ns), "allowed": over.map(|over| over.allowed_ns),
            "elapsed": over.map(|over| over.used.elapsed_ns),
            "idle": used(&before[0], &after[0]).map(|used| used.used_ns),
        }));
    }

    fn probe_is_gone(&self) {
        let mut left = self.v2.groups_below("/").unwrap();
        left.retain(|group| group.contains("realtime-probe"));
        print(&json!({"step": "left", "groups": left}));
    }
}
