//! The cases that a person would name, one a test. The rest is in `properties`.

use super::kernel_model::{Errno, Kernel};
use super::*;

fn group(runtime_us: i64) -> Group {
    Group {
        runtime_us,
        period_us: PERIOD_US,
        realtime_tasks: false,
    }
}

fn tree(groups: &[(&str, i64)]) -> Tree {
    let mut tree = Tree::default();
    tree.groups.insert("/".to_owned(), group(950_000));
    for (path, runtime_us) in groups {
        tree.groups.insert((*path).to_owned(), group(*runtime_us));
    }
    tree
}

fn limits() -> Limits {
    Limits {
        sysctl_runtime_us: 950_000,
        sysctl_period_us: PERIOD_US,
        reserve_us: 100_000,
        capacity_us: 800_000,
        pods_group: "/kubepods".to_owned(),
        room_to_die_us: 5_000,
    }
}

fn wanted(budgets: &[(&str, u64)]) -> Wanted {
    Wanted {
        budgets: budgets
            .iter()
            .map(|(path, micros)| ((*path).to_owned(), RuntimeMicros::new(*micros).unwrap()))
            .collect(),
        leaving: BTreeSet::new(),
        complete: true,
    }
}

/// Plans, applies to the kernel model, and shows the writes as `group=value`.
fn applied(wanted: &Wanted, tree: &Tree) -> (Plan, Vec<String>) {
    let plan = plan(wanted, tree, &limits());
    let mut kernel = Kernel {
        tree: tree.clone(),
        sysctl: (950_000, PERIOD_US),
    };
    kernel.apply(&plan.writes);
    let shown = plan
        .writes
        .iter()
        .map(|write| format!("{}={}", write.group, write.to_us))
        .collect();
    (plan, shown)
}

const BURSTABLE: &str = "/kubepods/burstable";
const POD: &str = "/kubepods/burstable/pod1";
const MAIN: &str = "/kubepods/burstable/pod1/main";

#[test]
fn the_model_answers_as_the_kernel_was_measured() {
    let mut kernel = Kernel {
        tree: tree(&[("/a", 0), ("/a/b", 0)]),
        sysctl: (950_000, PERIOD_US),
    };
    assert_eq!(
        kernel.write("/a/b", 1),
        Err(Errno::Einval),
        "child before parent"
    );
    assert_eq!(
        kernel.write("/a", 950_001),
        Err(Errno::Einval),
        "over the root"
    );
    assert_eq!(kernel.write("/a", 20_000), Ok(()));
    assert_eq!(
        kernel.write("/a/b", 20_001),
        Err(Errno::Einval),
        "over the parent"
    );
    assert_eq!(kernel.write("/a/b", 20_000), Ok(()));
    assert_eq!(
        kernel.write("/a", 0),
        Err(Errno::Einval),
        "parent zeroed over a child"
    );
    kernel.tree.groups.get_mut("/a/b").unwrap().realtime_tasks = true;
    assert_eq!(
        kernel.write("/a/b", 0),
        Err(Errno::Ebusy),
        "real-time tasks inside"
    );
    // 500000 on CPU 0 plus 500000 on CPU 1 under 900000: cpusets don't enter.
    let mut kernel = Kernel {
        tree: tree(&[("/a", 900_000), ("/a/b", 500_000), ("/a/c", 0)]),
        sysctl: (950_000, PERIOD_US),
    };
    assert_eq!(kernel.write("/a/c", 500_000), Err(Errno::Einval));
}

#[test]
fn a_budget_is_raised_from_the_top() {
    let tree = tree(&[("/kubepods", 0), (BURSTABLE, 0), (POD, 0), (MAIN, 0)]);
    let (plan, writes) = applied(&wanted(&[(MAIN, 25_000)]), &tree);
    assert_eq!(
        writes,
        [
            "/kubepods=25000",
            "/kubepods/burstable=25000",
            "/kubepods/burstable/pod1=25000",
            "/kubepods/burstable/pod1/main=25000"
        ]
    );
    assert_eq!(
        (plan.granted[MAIN], plan.allocated_us, plan.free_us),
        (25_000, 25_000, 775_000)
    );
}

#[test]
fn what_a_gone_pod_held_is_given_back_from_the_bottom_and_goes_to_the_other_class() {
    let tree = tree(&[
        ("/kubepods", 800_000),
        (BURSTABLE, 800_000),
        (POD, 300_000),
        ("/kubepods/besteffort", 0),
        ("/kubepods/besteffort/pod2", 0),
        ("/kubepods/besteffort/pod2/c", 0),
    ]);
    let (_, writes) = applied(&wanted(&[("/kubepods/besteffort/pod2/c", 800_000)]), &tree);
    assert_eq!(
        writes,
        [
            "/kubepods/burstable/pod1=0",
            "/kubepods/burstable=0",
            "/kubepods/besteffort=800000",
            "/kubepods/besteffort/pod2=800000",
            "/kubepods/besteffort/pod2/c=800000"
        ]
    );
}

#[test]
fn who_has_a_budget_keeps_it_and_the_next_one_is_refused_with_what_is_free() {
    let tree = tree(&[
        ("/kubepods", 500_000),
        ("/kubepods/pod0", 0),
        ("/kubepods/pod0/c", 0),
        ("/kubepods/pod1", 500_000),
        ("/kubepods/pod1/c", 500_000),
    ]);
    let wanted = wanted(&[("/kubepods/pod0/c", 400_000), ("/kubepods/pod1/c", 500_000)]);
    let (plan, writes) = applied(&wanted, &tree);
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(
        plan.granted.keys().collect::<Vec<_>>(),
        ["/kubepods/pod1/c"]
    );
    assert_eq!(
        plan.refused["/kubepods/pod0/c"].to_string(),
        "400000 µs of each second are asked for, 300000 are free on this node; ask for less, or put the pod on another node"
    );
}

#[test]
fn living_real_time_threads_keep_their_budget() {
    let mut tree = tree(&[
        ("/kubepods", 50_000),
        (POD, 50_000),
        (BURSTABLE, 50_000),
        (MAIN, 50_000),
    ]);
    tree.groups.get_mut(MAIN).unwrap().realtime_tasks = true;
    for wanted in [wanted(&[]), wanted(&[(MAIN, 20_000)])] {
        let (plan, writes) = applied(&wanted, &tree);
        assert!(writes.is_empty(), "{writes:?}");
        assert_eq!(plan.findings.len(), 1, "{plan:?}");
        assert!(matches!(
            plan.findings[0],
            Finding::Kept {
                keeps_us: 50_000,
                ..
            }
        ));
    }
}

#[test]
fn a_wedged_thread_of_a_leaving_container_gets_room_even_from_the_reserve() {
    let mut tree = tree(&[
        ("/kubepods", 800_000),
        ("/kubepods/big", 800_000),
        ("/kubepods/pod", 0),
        ("/kubepods/pod/c", 0),
    ]);
    tree.groups
        .get_mut("/kubepods/pod/c")
        .unwrap()
        .realtime_tasks = true;
    tree.groups.get_mut("/kubepods/big").unwrap().realtime_tasks = true;
    let mut wanted = wanted(&[]);
    wanted.leaving.insert("/kubepods/pod".to_owned());
    let (_, writes) = applied(&wanted, &tree);
    assert_eq!(
        writes,
        [
            "/kubepods=805000",
            "/kubepods/pod=5000",
            "/kubepods/pod/c=5000"
        ]
    );
}

#[test]
fn before_the_pods_are_known_nothing_is_lowered() {
    let tree = tree(&[
        ("/kubepods", 50_000),
        ("/kubepods/pod", 50_000),
        ("/kubepods/pod/c", 50_000),
        ("/kubepods/pod/d", 0),
    ]);
    let mut wanted = wanted(&[("/kubepods/pod/d", 10_000)]);
    wanted.complete = false;
    let (_, writes) = applied(&wanted, &tree);
    assert_eq!(
        writes,
        [
            "/kubepods=60000",
            "/kubepods/pod=60000",
            "/kubepods/pod/d=10000"
        ]
    );
}

#[test]
fn a_foreign_value_is_drift_and_put_right() {
    let tree = tree(&[
        ("/kubepods", 50_000),
        ("/kubepods/pod", 50_000),
        ("/kubepods/pod/c", 40_000),
    ]);
    let (plan, writes) = applied(&wanted(&[("/kubepods/pod/c", 30_000)]), &tree);
    assert_eq!(
        writes,
        [
            "/kubepods/pod/c=30000",
            "/kubepods/pod=30000",
            "/kubepods=30000"
        ]
    );
    assert_eq!(
        plan.findings,
        [Finding::Drift {
            group: "/kubepods/pod/c".to_owned(),
            found_us: 40_000,
            wanted_us: 30_000
        }]
    );
}

#[test]
fn groups_that_can_have_no_budget_are_refused_each_with_its_reason() {
    let mut tree = tree(&[
        ("/kubepods", 0),
        ("/kubepods/p", 0),
        ("/kubepods/p/c", 0),
        ("/kubepods/p/c/d", 0),
        ("/kubepods/q", 0),
        ("/other", 0),
    ]);
    tree.groups.get_mut("/kubepods/q").unwrap().period_us = 500_000;
    let asked = [
        "/kubepods",
        "/kubepods/gone",
        "/kubepods/p/c",
        "/kubepods/p/c/d",
        "/kubepods/q",
        "/other",
        "/",
        "",
        "x",
        "/kubepods/",
    ];
    let wanted = wanted(&asked.map(|path| (path, 10_000)));
    let (plan, _) = applied(&wanted, &tree);
    assert_eq!(plan.granted.keys().collect::<Vec<_>>(), ["/kubepods/p/c"]);
    assert_eq!(plan.refused["/kubepods"], Refusal::NotAPods);
    assert_eq!(plan.refused["/"], Refusal::NotAPods);
    assert_eq!(plan.refused["/other"], Refusal::NotAPods);
    assert_eq!(plan.refused["/kubepods/gone"], Refusal::NoGroup);
    assert_eq!(plan.refused["/kubepods/p/c/d"], Refusal::InsideAnother);
    assert_eq!(
        plan.refused["/kubepods/q"],
        Refusal::ForeignPeriod { period_us: 500_000 }
    );
    assert_eq!(plan.refused.len(), asked.len() - 1);
}

#[test]
fn capacity_is_what_root_sysctl_others_and_reserve_leave() {
    let tree = tree(&[("/kubepods", 300_000), ("/system.slice", 200_000)]);
    assert_eq!(capacity_us(&tree, &limits()), 650_000);
    let unlimited = Limits {
        sysctl_runtime_us: -1,
        reserve_us: 0,
        ..limits()
    };
    assert_eq!(capacity_us(&tree, &unlimited), 750_000);
    assert_eq!(capacity_us(&Tree::default(), &limits()), 0);
}

#[test]
fn who_comes_later_takes_nothing_from_those_that_are_counted() {
    let budget = RuntimeMicros::new(400_000).unwrap();
    let budgets = ["/kubepods/poda/1", "/kubepods/podb/2", "/kubepods/podc/3"];
    let wanted = Wanted {
        budgets: budgets.map(|group| (group.to_owned(), budget)).into(),
        ..Wanted::default()
    };
    let granted = |before: &[&str]| {
        let before = before.iter().map(|group| ((*group).to_owned(), 400_000));
        let plan = account(&wanted, 800_000, &before.collect());
        assert_eq!((plan.refused.len(), plan.free_us), (1, 0));
        plan.granted.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(granted(&[]), budgets[..2]);
    assert_eq!(
        granted(&["/kubepods/podc/3", "/gone"]),
        [budgets[0], budgets[2]]
    );
}

#[test]
fn who_asks_for_more_while_it_runs_takes_nothing_from_the_others_and_keeps_what_it_had() {
    let (a, b) = ("/kubepods/poda/1", "/kubepods/podb/2");
    let asks = |a_us: u64, b_us: u64| Wanted {
        budgets: [(a, a_us), (b, b_us)]
            .map(|(group, micros)| (group.to_owned(), RuntimeMicros::new(micros).unwrap()))
            .into(),
        ..Wanted::default()
    };
    let first = account(&asks(100_000, 200_000), 800_000, &BTreeMap::new());
    assert_eq!((first.allocated_us, first.free_us), (300_000, 500_000));
    let before = accounted(&first);
    // The first by name wants more than is left beside the second.
    let raised = account(&asks(700_000, 200_000), 800_000, &before);
    let no_room = Refusal::NoRoom {
        wanted_us: 700_000,
        free_us: 500_000,
        has_us: 100_000,
    };
    assert_eq!(raised.refused, BTreeMap::from([(a.to_owned(), no_room)]));
    assert_eq!(raised.granted, BTreeMap::from([(b.to_owned(), 200_000)]));
    assert_eq!((raised.allocated_us, raised.free_us), (300_000, 500_000));
    assert_eq!(accounted(&raised), before);
    // A raise that fits, and one that lowers.
    let fits = account(&asks(600_000, 200_000), 800_000, &before);
    assert_eq!((fits.granted.len(), fits.free_us), (2, 0));
    let lower = account(&asks(50_000, 200_000), 800_000, &before);
    assert_eq!((lower.granted[a], lower.free_us), (50_000, 550_000));
    // Nobody remembers what the first had: it comes before who begins, and takes nothing from who is known.
    let unknown = |had_us: i64| BTreeMap::from([(a.to_owned(), 0), (b.to_owned(), had_us)]);
    let both = account(&asks(700_000, 700_000), 800_000, &unknown(700_000));
    assert_eq!((both.granted.len(), both.free_us), (1, 100_000));
    assert_eq!(both.granted[b], 700_000);
    // The capacity becomes smaller: who runs keeps what it has, as where the kernel counts.
    let smaller = account(&asks(100_000, 200_000), 150_000, &before);
    assert_eq!((smaller.granted.len(), smaller.refused.len()), (2, 0));
    assert_eq!((smaller.allocated_us, smaller.free_us), (300_000, 0));
}

#[test]
fn what_is_beside_a_way_may_be_remembered() {
    let whole = [
        ("/kubepods", 30_000),
        ("/kubepods/besteffort", 20_000),
        ("/kubepods/besteffort/pod1", 20_000),
        ("/kubepods/besteffort/pod1/a", 20_000),
        ("/kubepods/besteffort/pod2", 0),
        ("/kubepods/besteffort/pod2/b", 0),
        ("/kubepods/pod3", 10_000),
        ("/system", 50_000),
    ];
    let remembered: BTreeMap<String, i64> = whole
        .iter()
        .map(|(path, has)| ((*path).to_owned(), *has))
        .collect();
    let new = "/kubepods/besteffort/pod2/b";
    let mut way = tree(
        &whole
            .into_iter()
            .filter(|(path, _)| new.starts_with(path) || *path == "/system")
            .collect::<Vec<_>>(),
    );
    way.remember_beside("/kubepods", new, &remembered);
    let beside: Vec<&str> = way.groups.keys().map(String::as_str).collect();
    assert_eq!(
        beside,
        [
            "/",
            "/kubepods",
            "/kubepods/besteffort",
            "/kubepods/besteffort/pod1",
            "/kubepods/besteffort/pod2",
            "/kubepods/besteffort/pod2/b",
            "/kubepods/pod3",
            "/system",
        ]
    );
    // The same writes as by the whole tree.
    let mut one = wanted(&[(new, 5_000)]);
    one.complete = false;
    let by_whole = plan(&one, &tree(&whole), &limits());
    let by_way = plan(&one, &way, &limits());
    assert_eq!(by_way.writes, by_whole.writes);
    assert_eq!(by_way.writes.len(), 4);
    // What was read is not overwritten by what is remembered.
    way.remember_beside("/kubepods", "/kubepods/pod3/c", &remembered);
    assert_eq!(way.groups["/kubepods/besteffort/pod2"].runtime_us, 0);
    // Who has nothing is nobody's matter.
    let before = way.clone();
    way.remember_beside(
        "/kubepods",
        new,
        &BTreeMap::from([("/kubepods/pod9".to_owned(), 0)]),
    );
    assert_eq!(way, before);
}

/// The capacity has become smaller, and those above still have what a container had that is gone.
#[test]
fn room_that_is_left_above_is_nobodys_when_the_pods_have_more_than_the_capacity() {
    let new = format!("{BURSTABLE}/pod2/new");
    let tree = tree(&[
        ("/kubepods", 61_000),
        (BURSTABLE, 61_000),
        (POD, 41_000),
        (MAIN, 41_000),
        (&format!("{BURSTABLE}/pod2"), 0),
        (&new, 0),
    ]);
    let free = |capacity_us, complete| {
        let limits = Limits {
            capacity_us,
            ..limits()
        };
        let wanted = Wanted {
            complete,
            ..wanted(&[(MAIN, 41_000), (&new, 15_000)])
        };
        let plan = plan(&wanted, &tree, &limits);
        assert_eq!(plan.granted.get(MAIN), Some(&41_000), "it has it");
        plan.granted.contains_key(&new)
    };
    for complete in [false, true] {
        assert!(!free(30_000, complete));
        assert!(free(61_000, complete));
    }
}

/// Its container is asked for until its pod is over.
#[test]
fn who_has_its_budget_by_the_room_to_die_is_granted_it_at_once() {
    let mut tree = tree(&[
        ("/kubepods", 1),
        ("/kubepods/pod", 1),
        ("/kubepods/pod/c", 1),
    ]);
    let container = tree.groups.get_mut("/kubepods/pod/c").unwrap();
    container.realtime_tasks = true;
    let mut wanted = wanted(&[("/kubepods/pod/c", 5_000)]);
    wanted.leaving.insert("/kubepods/pod".to_owned());
    let limits = Limits {
        capacity_us: 0,
        ..limits()
    };
    let first = plan(&wanted, &tree, &limits);
    let mut kernel = Kernel {
        tree,
        sysctl: (950_000, PERIOD_US),
    };
    kernel.apply(&first.writes);
    let again = plan(&wanted, &kernel.tree, &limits);
    assert_eq!(first.granted, again.granted);
}

/// The kernel rounds down each of the children, and takes no more than the period.
#[test]
fn a_parent_without_limit_gets_no_more_than_its_period() {
    let containers = [
        ("/kubepods/p/a", 333_333),
        ("/kubepods/p/b", 333_333),
        ("/kubepods/p/c", 333_335),
    ];
    let mut tree = tree(&[("/kubepods", -1), ("/kubepods/p", -1)]);
    tree.groups.get_mut("/").unwrap().runtime_us = -1;
    for (path, micros) in containers {
        tree.groups.insert(path.to_owned(), group(micros));
    }
    let limits = Limits {
        sysctl_runtime_us: -1,
        reserve_us: 0,
        capacity_us: PERIOD_US,
        ..limits()
    };
    let wanted = wanted(&containers.map(|(path, micros)| (path, u64::try_from(micros).unwrap())));
    let plan = plan(&wanted, &tree, &limits);
    let mut kernel = Kernel {
        tree,
        sysctl: (-1, PERIOD_US),
    };
    kernel.apply(&plan.writes);
}
