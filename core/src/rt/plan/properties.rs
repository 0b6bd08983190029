//! What holds for every tree and every wish, against the model of the kernel.

mod accounting;
mod refused_writes;

use proptest::prelude::*;

use super::kernel_model::Kernel;
use super::*;

/// Two nesting depths for the pods' group, and a group beside it.
const PODS: [&str; 2] = ["/kubepods", "/kubelet/kubepods"];
const RUNTIMES: [i64; 8] = [-1, 0, 1, 999, 25_000, 333_333, 500_000, 949_999];

/// Some of the possible groups, each with its parents.
fn paths(pods: &'static str) -> impl Strategy<Value = Vec<String>> {
    let one = (0..3_usize, 0..3_usize, 0..3_usize, 0..3_usize).prop_map(
        move |(class, pod, container, sub)| {
            let mut path = pods.to_owned();
            for (name, which) in [
                ("burstable", class),
                ("pod", pod),
                ("c", container),
                ("sub", sub),
            ] {
                if which == 0 {
                    break;
                }
                path = format!("{path}/{name}{which}");
            }
            path
        },
    );
    proptest::collection::vec(one, 1..14).prop_map(|mut paths| {
        paths.extend(["/system.slice", "/kubelet/other"].map(str::to_owned));
        let parents: Vec<String> = paths
            .iter()
            .flat_map(|path| tree::above(path))
            .map(str::to_owned)
            .collect();
        paths.extend(parents);
        paths.sort();
        paths.dedup();
        paths
    })
}

fn runtime() -> impl Strategy<Value = i64> {
    prop_oneof![2 => Just(0), 2 => proptest::sample::select(RUNTIMES.to_vec()), 3 => 0..200_000_i64]
}

/// A tree that the kernel has let somebody write, with real-time threads anywhere, and sometimes other periods.
fn kernel(pods: &'static str) -> impl Strategy<Value = Kernel> {
    let sysctl = prop_oneof![4 => Just(950_000), 1 => Just(-1), 1 => Just(700_000), 1 => Just(0)];
    let period = prop_oneof![12 => Just(1_000_000_u64), 1 => Just(500_000), 1 => Just(333_333)];
    let group = (runtime(), period, proptest::bool::weighted(0.15));
    (
        paths(pods),
        proptest::collection::vec(group, 80),
        sysctl,
        proptest::bool::ANY,
    )
        .prop_map(|(paths, groups, sysctl, generous)| {
            let mut kernel = Kernel {
                tree: Tree::default(),
                sysctl: (sysctl, 1_000_000),
            };
            for (path, (_, period_us, _)) in paths.iter().zip(&groups) {
                let (runtime_us, period_us) = if path == "/" {
                    (sysctl, 1_000_000)
                } else {
                    (0, *period_us)
                };
                kernel.tree.groups.insert(
                    path.clone(),
                    Group {
                        runtime_us,
                        period_us,
                        realtime_tasks: false,
                    },
                );
            }
            for (path, (runtime_us, ..)) in paths.iter().zip(&groups) {
                // Parents first; half of the trees have room at the top.
                let top = generous && path.matches('/').count() < 3;
                let period = i64::try_from(kernel.tree.groups[path].period_us).unwrap();
                let _ = kernel.write(path, if top { period / 2 } else { *runtime_us });
            }
            for (group, (.., tasks)) in kernel.tree.groups.values_mut().zip(&groups) {
                group.realtime_tasks = *tasks;
            }
            kernel
        })
}

fn wanted() -> impl Strategy<Value = Vec<(proptest::sample::Index, u64, u8)>> {
    let budget = prop_oneof![3 => 1_000_u64..100_000, 1 => 1_u64..=1_000_000];
    proptest::collection::vec((any::<proptest::sample::Index>(), budget, 0_u8..8), 0..10)
}

fn wish(kernel: &Kernel, asked: &[(proptest::sample::Index, u64, u8)], complete: bool) -> Wanted {
    let paths: Vec<&String> = kernel.tree.groups.keys().collect();
    let mut wanted = Wanted {
        complete,
        ..Wanted::default()
    };
    for (index, micros, kind) in asked {
        let path = (*index.get(&paths)).clone();
        match kind {
            0 => drop(wanted.leaving.insert(path)),
            1 => drop(
                wanted
                    .budgets
                    .insert(format!("{path}/gone"), RuntimeMicros::new(*micros).unwrap()),
            ),
            _ => drop(
                wanted
                    .budgets
                    .insert(path, RuntimeMicros::new(*micros).unwrap()),
            ),
        }
    }
    wanted
}

fn limits(kernel: &Kernel, pods: &str, reserve_us: u64, capacity_us: u64) -> Limits {
    Limits {
        sysctl_runtime_us: kernel.sysctl.0,
        sysctl_period_us: kernel.sysctl.1,
        reserve_us,
        capacity_us,
        pods_group: pods.to_owned(),
        room_to_die_us: 5_000,
    }
}

/// When a complete plan is written: a group that no container asked for has exactly what its children need, so that one
/// without children has nothing; only what real-time threads are directly in may have more. A container that got its
/// budget, and has neither threads nor children that keep more, has exactly that.
fn nothing_too_much(
    before: &Tree,
    after: &Tree,
    wanted: &Wanted,
    pods: &str,
) -> Result<(), TestCaseError> {
    let inside = |path: &str| path == pods || path.starts_with(&format!("{pods}/"));
    let asked_for = |path: &str| is_asked_for(wanted, pods, path);
    let is_inside_one = |path: &str| tree::above(path).any(asked_for);
    let ours = after
        .groups
        .iter()
        .filter(|(path, group)| wanted.complete && inside(path) && !group.realtime_tasks);
    for (path, group) in ours {
        let children = after.groups.iter();
        let children: Vec<&Group> = children
            .filter(|(child, _)| tree::above(child).next() == Some(path))
            .map(|(_, child)| child)
            .collect();
        if let Some(budget) = wanted.budgets.get(path).filter(|_| asked_for(path)) {
            let alone = children.is_empty() && !is_inside_one(path) && group.period_us == PERIOD_US;
            let budget = i64::from(budget.get());
            prop_assert!(
                !alone || group.lacks(budget) || group.runtime_us == budget,
                "{} has {:?}",
                path,
                group
            );
        } else if !is_inside_one(path) {
            let least = runtime_for(
                children.iter().map(|child| child.ratio()).sum(),
                group.period_us,
            );
            let even = children
                .iter()
                .all(|child| child.period_us == group.period_us);
            let exactly = if even { sum_us(&children) } else { least };
            // The kernel rounds down: a few microseconds less than the sum, which it has accepted, stay.
            let is_as_before = before.groups[path].runtime_us == group.runtime_us;
            let least = if is_as_before { least } else { exactly };
            prop_assert!(
                (least..=exactly).contains(&group.runtime_us),
                "{} has {:?} for {:?}",
                path,
                group,
                children
            );
        }
    }
    Ok(())
}

/// A container's budget is wanted for it; the pods' own group is no container's.
fn is_asked_for(wanted: &Wanted, pods: &str, path: &str) -> bool {
    wanted.budgets.contains_key(path) && tree::above(path).any(|above| above == pods)
}

fn sum_us(groups: &[&Group]) -> i64 {
    let micros = |group: &&Group| match group.runtime_us {
        -1 => i64_of(group.period_us),
        runtime_us => runtime_us,
    };
    groups.iter().map(micros).sum()
}

proptest! {
    #[test]
    fn every_prefix_is_accepted_and_every_rule_is_kept(
        (pods, kernel) in proptest::sample::select(PODS.to_vec()).prop_flat_map(|pods| (Just(pods), kernel(pods))),
        asked in wanted(),
        (complete, reserve_us, capacity_us) in (proptest::bool::weighted(0.8), 0_u64..300_000, 0_u64..=950_000),
    ) {
        prop_assert!(kernel.is_schedulable());
        let wanted = wish(&kernel, &asked, complete);
        let limits = limits(&kernel, pods, reserve_us, capacity_us);
        let plan = plan(&wanted, &kernel.tree, &limits);

        // Every prefix is a state that the kernel accepts, and so is every way back.
        let mut after = kernel.clone();
        after.apply(&plan.writes);
        for done in 0..=plan.writes.len() {
            let mut part = kernel.clone();
            part.apply(&plan.writes[..done]);
            // With real-time threads that live on: `refused_writes`.
            for group in part.tree.groups.values_mut() { group.realtime_tasks = false; }
            part.apply(&undo(&plan.writes, done));
        }

        // What is not ours is not touched; what has real-time threads is not lowered; each group is written once.
        let mut seen = BTreeSet::new();
        for write in &plan.writes {
            prop_assert!(seen.insert(&write.group));
            let ours = write.group == pods || write.group.starts_with(&format!("{pods}/"));
            let above = pods.starts_with(&format!("{}/", write.group));
            prop_assert!(ours || above, "{:?}", write);
            let lowers = write.to_us != -1 && (write.from_us == -1 || write.to_us < write.from_us);
            prop_assert!(!(lowers && (above || !complete)), "{:?}", write);
            prop_assert!(!(lowers && kernel.tree.groups[&write.group].realtime_tasks), "{:?}", write);
        }

        // Each wish has one answer; who is granted has at least it; nothing is raised for who is refused.
        prop_assert_eq!(plan.granted.len() + plan.refused.len(), wanted.budgets.len());
        for (path, has) in &plan.granted {
            let group = &after.tree.groups[path];
            prop_assert_eq!(*has, group.runtime_us);
            prop_assert!(!group.lacks(i64::from(wanted.budgets[path].get())));
        }
        for (path, refusal) in &plan.refused {
            // A thread in it or below it that must die may get room there all the same.
            let kept = matches!(refusal, Refusal::NoRoom { .. } | Refusal::ForeignPeriod { .. });
            if kept && wanted.leaving.is_empty() {
                prop_assert_eq!(&after.tree.groups[path], &kernel.tree.groups[path]);
            }
        }

        // What nobody needs is given back.
        nothing_too_much(&kernel.tree, &after.tree, &wanted, pods)?;

        // The profile's capacity holds wherever it held before and no thread needed room to die.
        let had = kernel.tree.groups.get(pods).map_or(0, Group::ratio);
        let has = after.tree.groups.get(pods).map_or(0, Group::ratio);
        if wanted.leaving.is_empty() {
            prop_assert!(has <= had.max(ratio(i64_of(capacity_us), PERIOD_US)));
        }

        // Applied twice writes nothing, and answers the same.
        let again = super::plan(&wanted, &after.tree, &limits);
        prop_assert_eq!(&again.writes, &[]);
        prop_assert_eq!(&again.granted, &plan.granted);
        prop_assert_eq!(again.refused.keys().collect::<Vec<_>>(), plan.refused.keys().collect::<Vec<_>>());
        prop_assert_eq!((again.allocated_us, again.free_us), (plan.allocated_us, plan.free_us));
    }

    #[test]
    fn the_order_of_arrival_is_without_effect(
        kernel in kernel("/kubepods"), asked in wanted(), turn in 0_usize..10,
    ) {
        let limits = limits(&kernel, "/kubepods", 0, 900_000);
        let wanted = wish(&kernel, &asked, true);
        let mut turned: Vec<_> = wanted.budgets.clone().into_iter().collect();
        let by = turn % turned.len().max(1);
        turned.rotate_left(by);
        let again = Wanted { budgets: turned.into_iter().collect(), ..wanted.clone() };
        let groups: Vec<_> = kernel.tree.groups.clone().into_iter().rev().collect();
        let tree = Tree { groups: groups.into_iter().collect() };
        prop_assert_eq!(plan(&wanted, &kernel.tree, &limits), plan(&again, &tree, &limits));
    }
}
