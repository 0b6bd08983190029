//! Policies on all threads of a container, each once, and the look at what the kernel allows, on the real kernel: in
//! groups of the tests' own, with small budgets.

#![allow(clippy::unwrap_used, reason = "a test ends at what it doesn't expect")]

#[path = "policy/group.rs"]
mod group;

use std::cell::Cell;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use group::{PATIENCE, machine};
use realtime_core::api::realtime_node::BudgetMode;
use realtime_core::rt::micros::RuntimeMicros;
use realtime_core::rt::modes::{ModeSetting, Probe, mode};
use realtime_core::rt::policy::{hard_rttime, overrun};
use realtime_core::rt::request::{Policy, Scheduling};
use realtime_node_daemon::budget::look;
use realtime_node_daemon::budget::policy::{
    Limit, Members, Outcome, Setter, THREADS_A_CALL, sample,
};
use realtime_node_daemon::cgroup::{CgroupError, V1};
use realtime_node_daemon::host::Host;
use realtime_node_daemon::sched::{self, Kind};

/// The probe's process: the daemon, which this test isn't.
const DAEMON: &str = env!("CARGO_BIN_EXE_realtime-node-daemon");
const EPERM: i32 = 1;
const CAP_SYS_RESOURCE: u32 = 24;

fn fifo(priority: u8) -> Scheduling {
    Scheduling {
        policy: Policy::Fifo(priority),
        reset_on_fork: false,
        rttime_us: None,
    }
}

fn is(tid: i32, kind: Kind, priority: u32) -> bool {
    let now = sched::get(tid).unwrap();
    (now.policy, now.priority) == (kind, priority)
}

fn has_capability(bit: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:\t"));
    u64::from_str_radix(line.unwrap(), 16).unwrap() >> bit & 1 == 1
}

#[tokio::test]
async fn a_look_finds_budgets_and_a_probe_without_one_is_refused() {
    let Some(machine) = machine() else { return };
    let mount = machine.v1.mount().to_owned();
    let looked = |setting| look::facts_with(Path::new(DAEMON), &machine.host, true, setting, false);
    // What a killed daemon has left.
    let stale = format!("{mount}/realtime-probe-0");
    fs::create_dir(&stale).unwrap();
    let facts = looked(ModeSetting::Auto).await;
    assert!(!Path::new(&stale).exists());
    assert_eq!(facts.probe, Probe::NotTried);
    let sysctl = fs::read_to_string("/proc/sys/kernel/sched_rt_runtime_us").unwrap();
    assert_eq!(facts.sysctl_runtime_us, sysctl.trim().parse().ok());
    let found = mode(&facts);
    assert_eq!(found.mode, BudgetMode::V1Budget);
    assert_eq!(found.evidence, format!("{mount}/cpu.rt_runtime_us"));

    let facts = looked(ModeSetting::CgroupV2).await;
    assert_eq!(facts.probe, Probe::Refused(EPERM));
    let found = mode(&facts);
    assert_eq!(found.mode, BudgetMode::Blocked);
    assert!(found.remedy.is_some(), "{found:?}");
    let own = format!("{mount}/realtime-probe-{}", std::process::id());
    assert!(!Path::new(&own).exists());
    println!("{:?}", look::rules(&machine.host));
}

#[test]
fn a_probe_whose_daemon_was_killed_ends() {
    let mut probe = Command::new(DAEMON)
        .arg("probe-fifo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(probe.stdin.take());
    let mut said = String::new();
    let mut stdout = probe.stdout.take().unwrap();
    stdout.read_to_string(&mut said).unwrap();
    assert!(!probe.wait().unwrap().success());
    assert_eq!(said, "");
}

#[test]
fn each_thread_is_set_once_and_new_ones_too() {
    let Some(machine) = machine() else { return };
    let group = machine.group();
    group.budget(20_000);
    let mut actor = machine.actor(&group);
    let threads = [
        actor.pid(),
        actor.tell("thread", 0).unwrap(),
        actor.tell("fork", 0).unwrap(),
    ];
    let mut setter = Setter::default();
    let mut set = |scheduling| setter.set(&machine.host, &machine.v1, &group.path, &scheduling);
    let outcome = set(fifo(7));
    assert_eq!((outcome.threads_set, &outcome.failed), (3, &None));
    assert!(outcome.complete);
    assert!(threads.iter().all(|tid| is(*tid, Kind::Fifo, 7)));
    // A program that lowers a thread itself isn't fought; what that thread makes is new.
    assert_eq!(actor.tell("other", 0).unwrap(), 0);
    let new = [
        actor.tell("thread", 0).unwrap(),
        actor.tell("fork", 0).unwrap(),
    ];
    assert!(new.iter().all(|tid| is(*tid, Kind::Other, 0)));
    let outcome = set(fifo(7));
    assert_eq!((outcome.threads_set, outcome.complete), (2, true));
    assert!(new.iter().all(|tid| is(*tid, Kind::Fifo, 7)));
    assert!(is(actor.pid(), Kind::Other, 0));
    assert_eq!(set(fifo(7)).threads_set, 0);
    // Another wish is for all.
    assert_eq!(set(fifo(8)).threads_set, 5);
    assert!(
        threads
            .iter()
            .chain(&new)
            .all(|tid| is(*tid, Kind::Fifo, 8))
    );
    let other = Scheduling {
        policy: Policy::Other,
        ..fifo(1)
    };
    assert_eq!(set(other).threads_set, 5);
    assert!(
        threads
            .iter()
            .chain(&new)
            .all(|tid| is(*tid, Kind::Other, 0))
    );
}

#[test]
fn with_reset_on_fork_children_begin_as_ordinary_threads_and_stay_so() {
    let Some(machine) = machine() else { return };
    let group = machine.group();
    group.budget(20_000);
    let mut setter = Setter::default();
    let wanted = Scheduling {
        reset_on_fork: true,
        ..fifo(7)
    };
    let mut set = || setter.set(&machine.host, &machine.v1, &group.path, &wanted);
    // The group is there before its first process.
    assert_eq!(set().threads_set, 0);
    let mut actor = machine.actor(&group);
    assert_eq!(set().threads_set, 1);
    assert!(sched::get(actor.pid()).unwrap().are(&wanted));
    let new = [
        actor.tell("thread", 0).unwrap(),
        actor.tell("fork", 0).unwrap(),
    ];
    let outcome = set();
    assert_eq!((outcome.threads_set, outcome.complete), (0, true));
    assert!(new.iter().all(|tid| is(*tid, Kind::Other, 0)));
    // The runtime puts another process in: its first one by way of several, or one of `kubectl exec`.
    let another = machine.actor(&group);
    let outcome = set();
    assert_eq!((outcome.threads_set, outcome.complete), (1, true));
    assert!(sched::get(another.pid()).unwrap().are(&wanted));
    assert!(new.iter().all(|tid| is(*tid, Kind::Other, 0)));
    // The daemon is started anew, and remembers nothing; a process came meanwhile.
    let late = machine.actor(&group);
    let mut setter = Setter::default();
    let outcome = setter.set(&machine.host, &machine.v1, &group.path, &wanted);
    assert_eq!((outcome.threads_set, outcome.complete), (1, true));
    assert!(sched::get(late.pid()).unwrap().are(&wanted));
    assert!(new.iter().all(|tid| is(*tid, Kind::Other, 0)));
    // Programs that have changed their own priority, and another daemon yet; then another request.
    for (pid, priority) in [(actor.pid(), 5), (another.pid(), 4), (late.pid(), 3)] {
        let own = Scheduling {
            reset_on_fork: true,
            ..fifo(priority)
        };
        sched::set(pid, &own).unwrap();
    }
    let mut setter = Setter::default();
    let other = Scheduling {
        reset_on_fork: true,
        ..fifo(8)
    };
    for wanted in [wanted, other] {
        let outcome = setter.set(&machine.host, &machine.v1, &group.path, &wanted);
        assert_eq!((outcome.threads_set, outcome.complete), (3, true));
        for pid in [actor.pid(), another.pid(), late.pid()] {
            assert!(sched::get(pid).unwrap().are(&wanted));
        }
        assert!(new.iter().all(|tid| is(*tid, Kind::Other, 0)));
    }
}

/// Another priority is for all threads that have the one before, whoever has made them, and for no other.
#[test]
fn with_reset_on_fork_another_priority_reaches_who_has_the_one_before() {
    let Some(machine) = machine() else { return };
    let group = machine.group();
    group.budget(20_000);
    let mut actor = machine.actor(&group);
    let worker = actor.tell("thread", 0).unwrap();
    let asked = |priority| Scheduling {
        reset_on_fork: true,
        ..fifo(priority)
    };
    let mut setter = Setter::default();
    let mut set = |wanted: &Scheduling| setter.set(&machine.host, &machine.v1, &group.path, wanted);
    assert_eq!(set(&asked(7)).threads_set, 2);
    let ordinary = actor.tell("thread", 0).unwrap();
    assert_eq!(set(&asked(7)).threads_set, 0);
    let outcome = set(&asked(8));
    assert_eq!((outcome.threads_set, outcome.complete), (2, true));
    for tid in [actor.pid(), worker] {
        assert!(sched::get(tid).unwrap().are(&asked(8)));
    }
    assert!(is(ordinary, Kind::Other, 0));
    // Without the flag all are as asked for; with it again, those keep it all.
    assert_eq!(set(&fifo(8)).threads_set, 3);
    sched::set(worker, &asked(3)).unwrap();
    let outcome = set(&asked(8));
    assert_eq!((outcome.threads_set, outcome.complete), (3, true));
    for tid in [actor.pid(), worker, ordinary] {
        assert!(sched::get(tid).unwrap().are(&asked(8)));
    }
}

/// As systemd in a container makes them. Who is where is version 2's word here; that threads may be real-time at all is by
/// a budget of version 1.
#[test]
fn on_version_2_the_groups_of_the_containers_own_belong_to_it() {
    let Some(machine) = machine() else { return };
    let Some((v2, group)) = machine.unified() else {
        return;
    };
    let scope = group.below("system.slice");
    let service = scope.below("a.service");
    let budget = machine.group();
    budget.budget(20_000);
    let actors = [&group, &service].map(|group| {
        let actor = machine.actor(&budget);
        group.take(actor.pid());
        actor
    });
    let mut setter = Setter::default();
    let outcome = setter.set(&machine.host, &v2, &group.path, &fifo(7));
    assert_eq!((outcome.threads_set, outcome.complete), (2, true));
    assert!(actors.iter().all(|actor| is(actor.pid(), Kind::Fifo, 7)));
    let used = sample(&machine.host, &v2, &group.path).unwrap();
    assert_eq!(used.threads.len(), 2);
    // Groups without end: those that are looked into are served, and it is told that there are more.
    let _many: Vec<_> = (0..200)
        .map(|number| group.below(&format!("{number}")))
        .collect();
    let outcome = setter.set(&machine.host, &v2, &group.path, &fifo(8));
    assert!(is(actors[0].pid(), Kind::Fifo, 8));
    assert!(outcome.groups_left_out && outcome.complete, "{outcome:?}");
}

/// Version 1 on a kernel without budgets, as of RHEL 8: a folder stands for its mount.
#[test]
fn on_version_1_without_budgets_the_groups_of_the_containers_own_belong_to_it() {
    let root = tempfile::tempdir().unwrap();
    let groups = ["pod/a", "pod/a/system.slice", "pod/a/system.slice/b"];
    for group in groups {
        fs::create_dir_all(root.path().join("cpu").join(group)).unwrap();
    }
    let v1 = V1::open(&Host::new(root.path(), None), "/cpu").unwrap();
    let (below, more) = v1.below("/pod/a").unwrap();
    assert_eq!(
        (below, more),
        (
            vec![
                "/pod/a/system.slice".to_owned(),
                "/pod/a/system.slice/b".to_owned()
            ],
            false
        )
    );
    fs::write(root.path().join("cpu/cpu.rt_runtime_us"), "950000\n").unwrap();
    let v1 = V1::open(&Host::new(root.path(), None), "/cpu").unwrap();
    assert_eq!(
        v1.below("/pod/a").unwrap(),
        (vec!["/pod/a/container".to_owned()], false)
    );
}

#[test]
fn without_a_budget_the_kernel_refuses_and_with_one_the_next_call_sets() {
    let Some(machine) = machine() else { return };
    let group = machine.group();
    let actor = machine.actor(&group);
    let mut setter = Setter::default();
    let mut set = || setter.set(&machine.host, &machine.v1, &group.path, &fifo(7));
    let outcome = set();
    let failed = outcome.failed.unwrap();
    assert_eq!(failed.errno, Some(EPERM));
    assert_eq!(
        failed.to_string(),
        "setting fifo:7 on a thread: Operation not permitted (os error 1)"
    );
    assert_eq!((outcome.threads_set, outcome.complete), (0, false));
    group.budget(20_000);
    let outcome = set();
    assert_eq!((outcome.threads_set, outcome.complete), (1, true));
    assert!(is(actor.pid(), Kind::Fifo, 7));
}

#[test]
fn the_group_that_crun_makes_belongs_to_the_container() {
    let Some(machine) = machine() else { return };
    let group = machine.group();
    group.budget(20_000);
    let (inside, elsewhere) = (group.below("container"), group.below("else"));
    inside.budget(10_000);
    let (actor, other) = (machine.actor(&inside), machine.actor(&elsewhere));
    let mut setter = Setter::default();
    let outcome = setter.set(&machine.host, &machine.v1, &group.path, &fifo(7));
    assert_eq!((outcome.threads_set, outcome.complete), (1, true));
    assert!(is(actor.pid(), Kind::Fifo, 7));
    assert!(is(other.pid(), Kind::Other, 0));
}

#[test]
fn threads_without_end_hold_nobody_up() {
    let Some(machine) = machine() else { return };
    let group = machine.group();
    group.budget(50_000);
    let mut actor = machine.actor(&group);
    let mut setter = Setter::default();
    // New ones come as ordinary threads, so that each is work.
    let wanted = fifo(7);
    actor.tell("storm", 1_000).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let (mut set, mut longest, mut calls) = (0, Duration::ZERO, 0);
    loop {
        let begun = Instant::now();
        let outcome: Outcome = setter.set(&machine.host, &machine.v1, &group.path, &wanted);
        longest = longest.max(begun.elapsed());
        calls += 1;
        assert!(outcome.threads_set <= THREADS_A_CALL);
        assert_eq!(outcome.failed, None);
        set += outcome.threads_set;
        let threads = machine.v1.threads(&group.path).unwrap();
        if outcome.complete && threads.len() >= 1_002 {
            assert!(threads.iter().all(|tid| is(*tid, Kind::Fifo, 7)));
            break;
        }
        assert!(Instant::now() < deadline, "{outcome:?}");
    }
    println!("{set} threads set in {calls} calls, the longest of {longest:?}");
    assert!(longest < Duration::from_secs(5), "{longest:?}");
}

#[test]
fn limits_are_set_where_the_host_lets_them_and_noted_where_not() {
    let Some(machine) = machine() else { return };
    let group = machine.group();
    group.budget(20_000);
    let actor = machine.actor(&group);
    let wanted = Scheduling {
        rttime_us: Some(200_000),
        ..fifo(7)
    };
    let mut setter = Setter::default();
    let outcome = setter.set(&machine.host, &machine.v1, &group.path, &wanted);
    assert_eq!((outcome.threads_set, &outcome.failed), (1, &None));
    assert_eq!(outcome.limits.rttime, Limit::Set);
    let limits = fs::read_to_string(format!("/proc/{}/limits", actor.pid())).unwrap();
    assert_eq!(hard_rttime(&limits), Some(1_200_000), "{limits}");
    let privileged = has_capability(CAP_SYS_RESOURCE);
    let expected = if privileged {
        Limit::Set
    } else {
        Limit::Refused(EPERM)
    };
    assert_eq!(outcome.limits.rtprio, expected);
    // Somebody else's process needs the privilege even for a lower limit; the policy is set all the same.
    let mut nobody = machine.actor(&group);
    assert_eq!(nobody.tell("drop", 0).unwrap(), 0);
    let outcome = setter.set(&machine.host, &machine.v1, &group.path, &wanted);
    assert_eq!((outcome.threads_set, outcome.complete), (1, true));
    assert_eq!(outcome.limits.rttime, expected);
}

#[test]
fn an_overrun_is_seen_and_what_the_kernel_lets_through_is_none() {
    let Some(machine) = machine() else { return };
    let group = machine.group();
    group.budget(50_000);
    let mut actor = machine.actor(&group);
    actor.tell("spin", 60_000).unwrap();
    let mut setter = Setter::default();
    let outcome = setter.set(&machine.host, &machine.v1, &group.path, &fifo(7));
    assert_eq!(outcome.threads_set, 2);
    let sampled = || sample(&machine.host, &machine.v1, &group.path).unwrap();
    let before = sampled();
    assert_eq!(before.threads.len(), 2);
    let budget = |micros| RuntimeMicros::new(micros).unwrap();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let after = sampled();
        // The kernel enforces this one here.
        assert_eq!(overrun(&before, &after, budget(50_000)), None);
        if let Some(overrun) = overrun(&before, &after, budget(5_000)) {
            println!("{overrun:?}");
            break;
        }
        assert!(Instant::now() < deadline, "{before:?} {after:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Says of one thread that it is in the group, as often as it is told, and the truth afterwards.
struct Liar<'a> {
    v1: &'a V1,
    group: &'a str,
    tid: i32,
    lies: Cell<u32>,
}

impl Members for Liar<'_> {
    fn threads(&self, group: &str) -> Result<Vec<i32>, CgroupError> {
        let in_group = group == self.group;
        Ok(if in_group { vec![self.tid] } else { Vec::new() })
    }

    fn processes(&self, _group: &str) -> Result<Vec<i32>, CgroupError> {
        Ok(Vec::new())
    }

    fn group_of(&self, tid: i32) -> Result<Option<String>, CgroupError> {
        let lies = self.lies.get();
        if lies == 0 {
            return self.v1.group_of(tid);
        }
        self.lies.set(lies - 1);
        Ok(Some(self.group.to_owned()))
    }
}

#[test]
fn a_thread_outside_of_the_group_keeps_what_it_has() {
    let Some(machine) = machine() else { return };
    let group = machine.group();
    let outsider = machine.outsider();
    let had = sched::get(outsider.pid()).unwrap();
    // Found out before anything is set, and after it.
    for lies in [0, 1] {
        let liar = Liar {
            v1: &machine.v1,
            group: &group.path,
            tid: outsider.pid(),
            lies: Cell::new(lies),
        };
        let mut setter = Setter::default();
        let outcome = setter.set(&machine.host, &liar, &group.path, &fifo(7));
        assert_eq!((outcome.threads_set, &outcome.failed), (0, &None));
        assert_eq!(liar.lies.get(), 0);
        assert_eq!(sched::get(outsider.pid()).unwrap(), had);
    }
}

#[test]
fn a_group_that_is_gone_has_nothing_to_set() {
    let Some(machine) = machine() else { return };
    let mut setter = Setter::default();
    let outcome = setter.set(
        &machine.host,
        &machine.v1,
        "/realtime-policy-gone",
        &fifo(7),
    );
    assert_eq!((outcome.threads_set, &outcome.failed), (0, &None));
    setter.keep(|_| false);
}
