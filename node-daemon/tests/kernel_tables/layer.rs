//! The layer above the kernel's files, on the real kernel: what is read of the tree, and plans applied to it.

use std::fs;
use std::time::{Duration, Instant};

use libc::{EBUSY, EINVAL};
use realtime_core::rt::micros::RuntimeMicros;
use realtime_core::rt::plan::{Limits, Plan, Tree, Wanted, Write, plan};
use realtime_node_daemon::cgroup::writer::apply;
use realtime_node_daemon::cgroup::{CgroupError, Mounts, Scope};
use realtime_node_daemon::host::Host;

use super::bench::Bench;
use super::task::{Task, within};

/// As the kubelet makes it: below a cgroupRoot, which is the test's group.
const PODS: &str = "kubepods";

fn limits(bench: &Bench) -> Limits {
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

fn wanted(bench: &Bench, budgets: &[(&str, u64)]) -> Wanted {
    Wanted {
        budgets: budgets
            .iter()
            .map(|(group, micros)| (bench.group(group), RuntimeMicros::new(*micros).unwrap()))
            .collect(),
        leaving: std::collections::BTreeSet::default(),
        complete: true,
    }
}

fn tree(bench: &Bench, scope: Scope<'_>) -> Tree {
    bench.v1.read(&bench.group(PODS), scope).unwrap()
}

fn planned(bench: &Bench, wanted: &Wanted) -> Plan {
    plan(wanted, &tree(bench, Scope::Whole), &limits(bench))
}

/// Planned and applied as a whole. As the engine does, again for two seconds where groups that were removed a moment ago
/// (also those of other tests on this machine) still have their part.
fn done(bench: &Bench, wanted: &Wanted) {
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

fn raise(group: String, to_us: i64) -> Write {
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
    done(&bench, &wanted(&bench, &[]));
    assert_eq!(bench.runtime(PODS), 0);
}

#[test]
fn what_is_around_a_group_is_the_way_to_it_and_what_is_beside_the_way() {
    let Some(bench) = Bench::with(30_000) else {
        return;
    };
    for group in [
        "kubepods",
        "kubepods/pod1",
        "kubepods/pod1/a",
        "kubepods/pod1/a/inner",
        "kubepods/pod1/a/inner/most",
        "kubepods/pod2",
        "kubepods/pod2/b",
        "other",
        "other/below",
    ] {
        bench.make(group);
    }
    let own = |tree: &Tree| {
        let below = tree
            .groups
            .keys()
            .filter_map(|path| path.strip_prefix(&bench.top));
        below.map(str::to_owned).collect::<Vec<_>>()
    };
    let a = bench.group("kubepods/pod1/a");
    let around = tree(&bench, Scope::Around(&a));
    let expected = [
        "",
        "/kubepods",
        "/kubepods/pod1",
        "/kubepods/pod1/a",
        "/kubepods/pod1/a/inner",
        "/kubepods/pod2",
        "/other",
    ];
    assert_eq!(own(&around), expected);
    let whole = tree(&bench, Scope::Whole);
    let mut expected: Vec<&str> = expected.to_vec();
    expected.extend(["/kubepods/pod1/a/inner/most", "/kubepods/pod2/b"]);
    expected.sort_unstable();
    assert_eq!(own(&whole), expected);
    for tree in [&around, &whole] {
        let root = &tree.groups["/"];
        assert!(root.runtime_us > 0 && root.period_us == 1_000_000);
        assert_eq!(tree.groups[&bench.top].runtime_us, 30_000);
    }
    // A period is remembered; a whole reading looks again.
    bench.write_period("kubepods/pod2", 500_000).unwrap();
    assert_eq!(
        tree(&bench, Scope::Whole).groups[&bench.group("kubepods/pod2")].period_us,
        500_000
    );
    assert_eq!(
        tree(&bench, Scope::Around(&a)).groups[&bench.group("kubepods/pod2")].period_us,
        500_000
    );
    // What isn't there isn't read, and is no error.
    let gone = bench.group("kubepods/pod9/z");
    assert!(
        !tree(&bench, Scope::Around(&gone))
            .groups
            .contains_key(&gone)
    );
}

/// The reader holds the budgets' files of groups open: that must not keep a removed one's budget.
#[test]
fn a_group_that_was_read_gives_its_budget_back_when_it_is_removed() {
    let Some(bench) = Bench::with(20_000) else {
        return;
    };
    bench.make_with(PODS, 20_000);
    bench.make_with("kubepods/old", 20_000);
    bench.make("kubepods/new");
    let (old, new) = (bench.group("kubepods/old"), bench.group("kubepods/new"));
    for _ in 0..2 {
        let around = tree(&bench, Scope::Around(&new));
        assert_eq!(around.groups[&old].runtime_us, 20_000);
    }
    bench.write("kubepods/old", "15000").unwrap();
    // What is remembered is the file, not the value.
    assert_eq!(
        tree(&bench, Scope::Around(&new)).groups[&old].runtime_us,
        15_000
    );
    fs::remove_dir(bench.path("kubepods/old")).unwrap();
    let raise = [raise(new.clone(), 20_000)];
    let free = within(Duration::from_secs(2), || {
        apply(&bench.v1, &raise).failed.is_none()
    });
    assert!(free);
    // One of the same name is another group.
    bench.make("kubepods/old");
    let around = tree(&bench, Scope::Around(&new));
    assert_eq!(
        [
            around.groups[&old].runtime_us,
            around.groups[&new].runtime_us
        ],
        [0, 20_000]
    );
}

#[test]
fn groups_that_come_and_go_while_the_tree_is_read_are_no_error() {
    let Some(bench) = Bench::with(0) else {
        return;
    };
    bench.make(PODS);
    let (pods, stop) = (bench.path(PODS), std::sync::atomic::AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::create_dir_all(pods.join("pod/a/b")).unwrap();
                for group in ["pod/a/b", "pod/a", "pod"] {
                    fs::remove_dir(pods.join(group)).unwrap();
                }
            }
        });
        let there = bench.group("kubepods/pod/a/b");
        let read: Result<Vec<_>, _> = (0..500)
            .flat_map(|_| [Scope::Whole, Scope::Around(&there)])
            .map(|scope| bench.v1.read(&bench.group(PODS), scope))
            .collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        read.unwrap();
    });
}

/// From a container's group to its budget on a node with 110 pods. The aim is half a millisecond in what is shipped;
/// here, unoptimized and on a busy machine, it is told, and only much more is a failure.
#[test]
fn a_new_containers_budget_is_quickly_in_place() {
    let Some(bench) = Bench::with(0) else {
        return;
    };
    bench.make(PODS);
    bench.make("kubepods/burstable");
    let mut budgets = Vec::new();
    for pod in 0..110 {
        let class = if pod % 2 == 0 {
            "kubepods"
        } else {
            "kubepods/burstable"
        };
        bench.make(&format!("{class}/pod{pod}"));
        bench.make(&format!("{class}/pod{pod}/sandbox"));
        bench.make(&format!("{class}/pod{pod}/container"));
        budgets.push((format!("{class}/pod{pod}/container"), 100));
    }
    let before: Vec<(&str, u64)> = budgets
        .iter()
        .map(|(group, us)| (group.as_str(), *us))
        .collect();
    done(&bench, &wanted(&bench, &before));
    let mut times = Vec::new();
    let mut read = Vec::new();
    for new in 0..100 {
        let group = format!("kubepods/burstable/pod1/new{new}");
        let mut one = wanted(&bench, &[(&group, 100)]);
        one.complete = false;
        let (limits, path, group) = (limits(&bench), bench.path(&group), bench.group(&group));
        let start = Instant::now();
        fs::create_dir(path).unwrap();
        let tree = tree(&bench, Scope::Around(&group));
        read.push(start.elapsed());
        let plan = plan(&one, &tree, &limits);
        let applied = apply(&bench.v1, &plan.writes);
        times.push(start.elapsed());
        assert!(
            applied.failed.is_none() && plan.granted.contains_key(&group),
            "{plan:?}"
        );
    }
    times.sort_unstable();
    read.sort_unstable();
    eprintln!(
        "mkdir to budget: median {:?}, p99 {:?}; of it up to the tree read: median {:?}; with 110 pods",
        times[50], times[98], read[50]
    );
    assert!(times[50] < Duration::from_millis(20), "{:?}", times[50]);
}
