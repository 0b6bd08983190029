//! The layer above the kernel's files, on the real kernel: what is read of the tree, and plans applied to it.

use std::fs;
use std::time::Duration;

use libc::{EBUSY, EINVAL};
use realtime_core::rt::micros::RuntimeMicros;
use realtime_core::rt::plan::{Limits, Plan, Tree, Wanted, Write, plan};
use realtime_node_daemon::cgroup::writer::apply;
use realtime_node_daemon::cgroup::{CgroupError, Mounts, Scope};
use realtime_node_daemon::host::Host;

use super::bench::Bench;
use super::task::{Task, within};

/// As the kubelet makes it: below a cgroupRoot, which is the test's group.
pub const PODS: &str = "kubepods";

pub fn limits(bench: &Bench) -> Limits {
    let number = |name: &str| {
        let path = format!("/proc/sys/kernel/sched_rt_{name}_us");
        fs::read_to_string(path)
            .unwrap()
            .trim()
            .parse::<i64>()
            .unwrap()
    };
    Limits {
        sysctl_runtime_us: number("runtime"),
        sysctl_period_us: u64::try_from(number("period")).unwrap(),
        reserve_us: 0,
        capacity_us: 100_000,
        pods_group: bench.group(PODS),
        room_to_die_us: 5_000,
    }
}

pub fn wanted(bench: &Bench, budgets: &[(&str, u64)]) -> Wanted {
    Wanted {
        budgets: budgets
            .iter()
            .map(|(group, micros)| (bench.group(group), RuntimeMicros::new(*micros).unwrap()))
            .collect(),
        leaving: std::collections::BTreeSet::default(),
        complete: true,
    }
}

pub fn tree(bench: &Bench, scope: Scope<'_>) -> Tree {
    bench.v1.read(&bench.group(PODS), scope).unwrap()
}

pub fn planned(bench: &Bench, wanted: &Wanted) -> Plan {
    plan(wanted, &tree(bench, Scope::Whole), &limits(bench))
}

/// Planned and applied as a whole. As the engine does, again for two seconds where groups that were removed a moment ago
/// (also those of other tests on this machine) still have their part.
pub fn done(bench: &Bench, wanted: &Wanted) {
    let mut last = String::new();
    let all = within(Duration::from_secs(2), || {
        let plan = planned(bench, wanted);
        let applied = apply(&bench.v1, &plan.writes);
        last = format!("{applied:?} of {plan:?}");
        let retry = applied.failed.as_ref().and_then(CgroupError::errno) == Some(EINVAL);
        assert!(
            plan.refused.is_empty() && (retry || applied.failed.is_none()),
            "{last}"
        );
        assert!(
            applied.done == plan.writes.len() || retry && applied.undo_failed.is_empty(),
            "{last}"
        );
        !retry
    });
    assert!(all, "{last}");
}

pub fn raise(group: String, to_us: i64) -> Write {
    Write {
        group,
        from_us: 0,
        to_us,
    }
}

#[test]
fn this_machines_hierarchies_are_found_by_looking() {
    let Some(bench) = Bench::with(0) else {
        return;
    };
    let mounts = Mounts::read(&Host::new("/", None)).unwrap();
    assert_eq!(mounts.v1_cpu.as_deref(), Some(bench.v1.mount()));
    for file in ["cpu.rt_runtime_us", "release_agent"] {
        assert!(fs::exists(format!("{}/{file}", bench.v1.mount())).unwrap());
    }
    if let Some(mount) = mounts.v1_cpuacct {
        assert!(fs::exists(format!("{mount}/cpuacct.usage")).unwrap());
    }
}

#[test]
fn a_plan_is_applied_and_applied_again_writes_nothing() {
    let Some(bench) = Bench::with(0) else {
        return;
    };
    for group in [
        "kubepods",
        "kubepods/pod1",
        "kubepods/pod1/a",
        "kubepods/pod1/b",
    ] {
        bench.make(group);
    }
    bench.make("kubepods/burstable");
    bench.make("kubepods/burstable/pod2");
    bench.make("kubepods/burstable/pod2/c");
    let three = wanted(
        &bench,
        &[
            ("kubepods/pod1/a", 20_000),
            ("kubepods/pod1/b", 5_000),
            ("kubepods/burstable/pod2/c", 10_000),
        ],
    );
    done(&bench, &three);
    assert!(bench.runtime("kubepods/pod1/a") == 20_000 && bench.runtime(PODS) >= 35_000);
    assert_eq!(planned(&bench, &three).writes, []);
    // One goes, another comes: what is free now goes to where it is needed.
    fs::remove_dir(bench.path("kubepods/burstable/pod2/c")).unwrap();
    let two = wanted(
        &bench,
        &[("kubepods/pod1/a", 20_000), ("kubepods/pod1/b", 15_000)],
    );
    done(&bench, &two);
    assert_eq!(planned(&bench, &two).writes, []);
    assert_eq!(bench.runtime("kubepods/burstable/pod2"), 0);
    assert_eq!(bench.runtime("kubepods/pod1/b"), 15_000);
    // And all of it back.
    done(&bench, &wanted(&bench, &[]));
    assert!(bench.runtime(PODS) == 0 && bench.runtime("kubepods/pod1/a") == 0);
}

#[test]
fn a_plan_that_fails_is_taken_back() {
    let Some(bench) = Bench::with(50_000) else {
        return;
    };
    bench.make_with("low", 10_000);
    bench.make("pod");
    bench.make("pod/container");
    let writes = [
        Write {
            group: bench.group("low"),
            from_us: 10_000,
            to_us: 3_000,
        },
        raise(bench.group("pod"), 20_000),
        raise(bench.group("pod/container"), 20_001),
    ];
    let applied = apply(&bench.v1, &writes);
    assert_eq!(applied.done, 2);
    let error = applied.failed.unwrap();
    assert_eq!(error.errno(), Some(EINVAL));
    let path = format!(
        "{}{}/cpu.rt_runtime_us",
        bench.v1.mount(),
        bench.group("pod/container")
    );
    assert!(
        matches!(&error, CgroupError::Write { path: told, value: 20_001, .. } if *told == path),
        "{error}"
    );
    assert!(applied.undo_failed.is_empty());
    assert_eq!([bench.runtime("low"), bench.runtime("pod")], [10_000, 0]);
}

#[test]
fn a_group_that_is_gone_needs_no_lowering_and_can_not_be_raised() {
    let Some(bench) = Bench::with(50_000) else {
        return;
    };
    bench.make("pod");
    let lower = Write {
        group: bench.group("gone"),
        from_us: 10_000,
        to_us: 0,
    };
    let applied = apply(&bench.v1, &[lower, raise(bench.group("pod"), 10_000)]);
    assert!(applied.failed.is_none() && applied.done == 2);
    assert_eq!(bench.runtime("pod"), 10_000);
    let applied = apply(&bench.v1, &[raise(bench.group("gone"), 10_000)]);
    assert!(applied.failed.unwrap().is_gone());
    assert!(!bench.path("gone").exists());
    // Never the root group, and nothing outside.
    for group in ["/", "", "kubepods", "/../cpuset", "/a//b", "/."] {
        let applied = apply(&bench.v1, &[raise(group.to_owned(), 10_000)]);
        assert!(
            applied
                .failed
                .is_some_and(|error| error.errno() != Some(libc::ENOENT)),
            "{group:?}"
        );
    }
}

#[test]
fn realtime_threads_are_seen_and_keep_their_budget() {
    let Some(bench) = Bench::with(0) else {
        return;
    };
    for group in [
        "kubepods",
        "kubepods/pod1",
        "kubepods/pod1/a",
        "kubepods/pod1/b",
    ] {
        bench.make(group);
    }
    let both = [("kubepods/pod1/a", 10_000), ("kubepods/pod1/b", 10_000)];
    done(&bench, &wanted(&bench, &both));
    let task = bench.realtime_sleeper("kubepods/pod1/a");
    let idle = Task::sleeper();
    bench.enter("kubepods/pod1/b", &idle).unwrap();
    let seen = |scope| {
        let tree = tree(&bench, scope);
        let groups = tree.groups.iter().filter(|(_, group)| group.realtime_tasks);
        groups.map(|(path, _)| path.clone()).collect::<Vec<_>>()
    };
    let (a, b) = (
        bench.group("kubepods/pod1/a"),
        bench.group("kubepods/pod1/b"),
    );
    assert_eq!(seen(Scope::Whole), [a.as_str()]);
    assert_eq!(seen(Scope::Around(&a)), [a.as_str()]);
    assert_eq!(seen(Scope::Around(&b)), Vec::<String>::new());
    assert_eq!(bench.v1.threads(&a).unwrap(), [task.pid()]);
    assert_eq!(bench.v1.processes(&a).unwrap(), [task.pid()]);
    assert_eq!(bench.v1.group_of(task.pid()).unwrap(), Some(a.clone()));
    assert_eq!(bench.v1.group_of(0).unwrap(), None);
    // Nobody wants them any more: the one with the thread keeps what it has.
    done(&bench, &wanted(&bench, &[]));
    assert_eq!(
        [
            bench.runtime("kubepods/pod1/a"),
            bench.runtime("kubepods/pod1/b")
        ],
        [10_000, 0]
    );
    // A write all the same is refused, and what came before it taken back.
    let zero = |group: &str, from_us| Write {
        group: bench.group(group),
        from_us,
        to_us: 0,
    };
    bench.write("kubepods/pod1/a", "9000").unwrap();
    let raised = raise(bench.group("kubepods/pod1/b"), 1_000);
    let applied = apply(&bench.v1, &[raised, zero("kubepods/pod1/a", 9_000)]);
    assert_eq!(applied.failed.and_then(|error| error.errno()), Some(EBUSY));
    assert_eq!(bench.runtime("kubepods/pod1/b"), 0);
    task.end();
    assert!(bench.v1.threads(&a).unwrap().is_empty());
    // It may be on its way out, and is not when there are others.
    done(&bench, &wanted(&bench, &[]));
    assert_eq!(bench.runtime("kubepods/pod1/a"), 9_000);
    bench.enter("kubepods/pod1/a", &idle).unwrap();
    done(&bench, &wanted(&bench, &[]));
    assert_eq!(bench.runtime(PODS), 0);
}
