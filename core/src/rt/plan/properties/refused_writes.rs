//! What holds when the kernel refuses some of a plan's writes: taken back as a whole, or left out one by one.

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::kernel_model::Errno;
use super::*;

/// A kernel, what is wanted of it, and the node's limits.
fn scene() -> impl Strategy<Value = (Kernel, Wanted, Limits)> {
    let numbers = (
        proptest::bool::weighted(0.8),
        0_u64..300_000,
        0_u64..=950_000,
    );
    let kernel =
        proptest::sample::select(PODS.to_vec()).prop_flat_map(|pods| (Just(pods), kernel(pods)));
    (kernel, wanted(), numbers).prop_map(|((pods, kernel), asked, numbers)| {
        let (complete, reserve_us, capacity_us) = numbers;
        let wanted = wish(&kernel, &asked, complete);
        let limits = limits(&kernel, pods, reserve_us, capacity_us);
        (kernel, wanted, limits)
    })
}

/// A few threads become real-time; the kernel lets none where there is no budget.
fn some_become_realtime(kernel: &mut Kernel, which: &[Index]) {
    let paths: Vec<String> = kernel.tree.groups.keys().cloned().collect();
    for index in which {
        let group = kernel.tree.groups.get_mut(index.get(&paths)).unwrap();
        group.realtime_tasks |= group.runtime_us != 0;
    }
}

/// What the kernel accepts of the writes that aren't left out: those, and the others.
fn apply_each<'a>(
    kernel: &mut Kernel,
    writes: &'a [Write],
    left_out: impl Fn(usize) -> bool,
) -> (Vec<&'a Write>, Vec<&'a Write>) {
    let one = |(at, write): &(usize, &Write)| {
        let done = !left_out(*at) && kernel.write(&write.group, write.to_us).is_ok();
        // The sums hold at each level, whatever was refused.
        assert!(kernel.is_schedulable(), "{write:?} of {writes:?}");
        done
    };
    let (done, refused): (Vec<_>, Vec<_>) = writes.iter().enumerate().partition(one);
    let plain = |list: Vec<(usize, &'a Write)>| list.into_iter().map(|(_, write)| write).collect();
    (plain(done), plain(refused))
}

/// A container that has its budget, or a part of it, keeps that: what it has now is not less than both of what it had and
/// what it wants.
fn nobody_lost(
    before: &Tree,
    after: &Tree,
    wanted: &Wanted,
    pods: &str,
) -> Result<(), TestCaseError> {
    let asked_for = |path: &str| is_asked_for(wanted, pods, path);
    let containers = wanted
        .budgets
        .iter()
        .filter(|(path, _)| asked_for(path) && !tree::above(path).any(asked_for));
    for (path, budget) in containers {
        if let (Some(had), Some(has)) = (before.groups.get(path), after.groups.get(path)) {
            let wants = i64::from(budget.get());
            let kept = if had.lacks(wants) {
                had.runtime_us
            } else {
                wants
            };
            prop_assert!(!has.lacks(kept), "{} had {:?} and has {:?}", path, had, has);
        }
    }
    Ok(())
}

/// The next round writes all that it wants to, and the one after it nothing.
fn one_round_ends_it(
    kernel: &mut Kernel,
    wanted: &Wanted,
    limits: &Limits,
) -> Result<(), TestCaseError> {
    let before = kernel.clone();
    let last = plan(wanted, &kernel.tree, limits);
    kernel.apply(&last.writes);
    nobody_lost(&before.tree, &kernel.tree, wanted, &limits.pods_group)?;
    let after = plan(wanted, &kernel.tree, limits);
    prop_assert_eq!(&after.writes, &[]);
    for (path, has) in &last.granted {
        prop_assert_eq!(*has, kernel.tree.groups[path].runtime_us);
    }
    nothing_too_much(&before.tree, &kernel.tree, wanted, &limits.pods_group)
}

proptest! {
    /// EBUSY comes first, where threads live in a group that had nothing before. What it keeps then can be missing to its
    /// neighbours: to those above that can't be lowered below it, to those beside that can't be raised again.
    #[test]
    fn what_is_taken_back_is_refused_only_for_living_threads_and_beside_them(
        (kernel, wanted, limits) in scene(),
        done in any::<Index>(),
        become_realtime in proptest::collection::vec(any::<Index>(), 0..4),
    ) {
        let plan = plan(&wanted, &kernel.tree, &limits);
        let done = done.index(plan.writes.len() + 1);
        let mut part = kernel.clone();
        part.apply(&plan.writes[..done]);
        some_become_realtime(&mut part, &become_realtime);
        let mut refused: Vec<String> = Vec::new();
        for write in undo(&plan.writes, done) {
            let group = part.tree.groups[&write.group].clone();
            prop_assert_eq!(group.runtime_us, write.from_us);
            let parent = tree::above(&write.group).next();
            let is_above = |other: &String| tree::above(other).next() == Some(write.group.as_str());
            let is_beside = |other: &String| parent == Some(other) || tree::above(other).next() == parent;
            match part.write(&write.group, write.to_us) {
                Ok(()) => {}
                Err(Errno::Ebusy) => {
                    prop_assert!(group.realtime_tasks && write.to_us == 0, "{:?}", write);
                    refused.push(write.group);
                }
                Err(Errno::Einval) if write.lowers() => {
                    prop_assert!(refused.iter().any(is_above), "{:?} after {:?}", write, refused);
                    refused.push(write.group);
                }
                Err(Errno::Einval) => {
                    prop_assert!(refused.iter().any(is_beside), "{:?} after {:?}", write, refused);
                    refused.push(write.group);
                }
                Err(Errno::Enoent) => return Err(TestCaseError::fail(format!("{write:?}"))),
            }
            prop_assert!(part.is_schedulable(), "after {:?}", refused);
        }
        // All the others are as they were, and these as the plan left them.
        for (path, group) in &part.tree.groups {
            let planned = plan.writes[..done].iter().find(|write| write.group == *path);
            let expected = match planned.filter(|_| refused.contains(path)) {
                Some(write) => write.to_us,
                None => kernel.tree.groups[path].runtime_us,
            };
            prop_assert_eq!(group.runtime_us, expected, "{}", path);
        }
        one_round_ends_it(&mut part, &wanted, &limits)?;
    }

    /// As the rounds write: each write by itself.
    #[test]
    fn after_refused_writes_one_round_ends_what_they_began(
        (mut kernel, wanted, limits) in scene(),
        rounds in proptest::collection::vec((
            proptest::collection::vec(proptest::bool::weighted(0.35), 16),
            proptest::collection::vec(any::<Index>(), 0..3),
        ), 1..4),
    ) {
        for (left_out, become_realtime) in rounds {
            let before = kernel.tree.clone();
            let plan = plan(&wanted, &before, &limits);
            // After the tree was read.
            some_become_realtime(&mut kernel, &become_realtime);
            apply_each(&mut kernel, &plan.writes, |at| left_out[at % left_out.len()]);
            nobody_lost(&before, &kernel.tree, &wanted, &limits.pods_group)?;
            for (path, had) in before.groups.iter().filter(|(_, group)| group.realtime_tasks) {
                prop_assert!(!kernel.tree.groups[path].lacks(had.runtime_us), "{}", path);
            }
        }
        one_round_ends_it(&mut kernel, &wanted, &limits)?;
    }

    /// Removed groups keep their part as long as somebody is in them that is dead and not reaped; nobody can list them.
    #[test]
    fn parts_that_groups_keep_which_nobody_sees_are_waited_for_in_peace(
        (mut kernel, mut wanted, limits) in scene(),
        gone in proptest::collection::vec(any::<Index>(), 1..4),
    ) {
        let below: Vec<String> = kernel.tree.groups.keys()
            .filter(|path| path.starts_with(&format!("{}/", limits.pods_group)))
            .cloned()
            .collect();
        prop_assume!(!below.is_empty());
        let gone: BTreeSet<&String> = gone.iter().map(|index| index.get(&below)).collect();
        let is_gone = |path: &str| gone.iter().any(|gone| {
            path.strip_prefix(gone.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        wanted.budgets.retain(|path, _| !is_gone(path));
        let seen = |kernel: &Kernel| {
            let mut tree = kernel.tree.clone();
            tree.groups.retain(|path, _| !is_gone(path));
            tree
        };
        // Soon nothing is written any more, whatever is tried: no group is raised and lowered again and again.
        let mut rounds = 0;
        loop {
            let before = seen(&kernel);
            let plan = plan(&wanted, &before, &limits);
            let (done, refused) = apply_each(&mut kernel, &plan.writes, |_| false);
            nobody_lost(&before, &seen(&kernel), &wanted, &limits.pods_group)?;
            if done.is_empty() {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 4, "done {:?} refused {:?}", done, refused);
        }
        kernel.tree = seen(&kernel);
        one_round_ends_it(&mut kernel, &wanted, &limits)?;
    }
}
