//! What holds of the accounting where the kernel keeps no budgets, whoever asks for how much and had how much.

use proptest::prelude::*;

use super::super::*;

/// What a container asks for, if it is there, and what it had by the last accounting, if it was counted.
type Container = (Option<u64>, Option<i64>);

/// By names, so that those that run and those that begin come in any order.
fn containers() -> impl Strategy<Value = BTreeMap<String, Container>> {
    let micros = || prop_oneof![2 => 1_u64..=5, 4 => 1_000_u64..400_000, 1 => 1_u64..=PERIOD_US];
    let had = prop_oneof![1 => Just(0), 4 => micros().prop_map(i64_of)];
    let container = (
        proptest::option::weighted(0.85, micros()),
        proptest::option::weighted(0.5, had),
    );
    proptest::collection::btree_map("/kubepods/pod[a-f]/[0-9]", container, 0..10)
}

fn capacity() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => 0_u64..10, 6 => 0_u64..=1_500_000]
}

/// What those ask for that are kept.
fn asking(containers: &BTreeMap<String, Container>, keep: impl Fn(&str) -> bool) -> Wanted {
    let asks = |(group, (asks, _)): (&String, &Container)| {
        let budget = RuntimeMicros::new(asks.as_ref().copied()?).unwrap();
        keep(group).then(|| (group.clone(), budget))
    };
    Wanted {
        budgets: containers.iter().filter_map(asks).collect(),
        ..Wanted::default()
    }
}

fn counted(containers: &BTreeMap<String, Container>) -> BTreeMap<String, i64> {
    let had = |(group, (_, had)): (&String, &Container)| Some((group.clone(), (*had)?));
    containers.iter().filter_map(had).collect()
}

proptest! {
    #[test]
    fn no_more_is_granted_than_there_is_but_for_what_those_that_run_had(
        containers in containers(), capacity_us in capacity(),
    ) {
        let (wanted, before) = (asking(&containers, |_| true), counted(&containers));
        let plan = account(&wanted, capacity_us, &before);
        let memory = accounted(&plan);
        // Each has one answer, and who is granted has all that it asks for.
        prop_assert!(plan.writes.is_empty());
        prop_assert_eq!(plan.granted.len() + plan.refused.len(), wanted.budgets.len());
        for (group, budget) in &wanted.budgets {
            let granted = plan.granted.get(group);
            prop_assert!(granted.is_none_or(|has| *has == i64::from(budget.get())), "{}", group);
            prop_assert_ne!(granted.is_some(), plan.refused.contains_key(group), "{}", group);
        }
        // The sum, and what is said of it.
        let running = |group: &&String| wanted.budgets.contains_key(*group);
        let had: i64 = before.keys().filter(running).map(|group| before[group]).sum();
        let sum: i64 = memory.values().sum();
        prop_assert!(sum <= i64_of(capacity_us).max(had), "{} of {} and {}", sum, capacity_us, had);
        prop_assert_eq!(plan.allocated_us, sum);
        prop_assert_eq!(i64_of(plan.free_us), (i64_of(capacity_us) - sum).max(0));
        // Nobody is refused while there is room for it.
        for (group, refusal) in &plan.refused {
            let Refusal::NoRoom { wanted_us, free_us, has_us } = refusal else {
                return Err(TestCaseError::fail(format!("{refusal:?}")));
            };
            prop_assert_eq!(*wanted_us, i64::from(wanted.budgets[group].get()));
            prop_assert_eq!(*has_us, before.get(group).copied().unwrap_or(0));
            prop_assert!(wanted_us - has_us > i64_of(*free_us), "{} is free at its turn: {:?}", group, refusal);
            prop_assert!(*free_us >= plan.free_us, "{} could have been granted at the end: {:?}", group, refusal);
        }
    }

    #[test]
    fn who_runs_loses_nothing_of_what_it_had_and_still_asks_for(
        containers in containers(), capacity_us in capacity(),
    ) {
        let (wanted, before) = (asking(&containers, |_| true), counted(&containers));
        let plan = account(&wanted, capacity_us, &before);
        let memory = accounted(&plan);
        for (group, had) in &before {
            let asks = wanted.budgets.get(group).map_or(0, |asks| i64::from(asks.get()));
            let has = memory.get(group).copied().unwrap_or(0);
            prop_assert!(has >= asks.min(*had), "{} had {} asks for {} and has {}", group, had, asks, has);
            prop_assert!(asks == 0 || asks > *had || plan.granted.contains_key(group), "{}", group);
        }
        prop_assert!(memory.keys().all(|group| wanted.budgets.contains_key(group)));
    }

    #[test]
    fn asked_again_with_its_own_memory_it_answers_the_same(
        containers in containers(), capacity_us in capacity(),
    ) {
        let wanted = asking(&containers, |_| true);
        let first = account(&wanted, capacity_us, &counted(&containers));
        let again = account(&wanted, capacity_us, &accounted(&first));
        prop_assert_eq!(&again.granted, &first.granted);
        prop_assert_eq!(again.refused.keys().collect::<Vec<_>>(), first.refused.keys().collect::<Vec<_>>());
        prop_assert_eq!((again.allocated_us, again.free_us), (first.allocated_us, first.free_us));
        prop_assert_eq!(accounted(&again), accounted(&first));
        // From then on it says the same of each, too.
        prop_assert_eq!(account(&wanted, capacity_us, &accounted(&again)), again);
    }

    /// Whatever their names are: without them each of those that run has the very same answer.
    #[test]
    fn those_that_begin_change_nothing_for_those_that_run(
        containers in containers(), capacity_us in capacity(),
    ) {
        let before = counted(&containers);
        let all = account(&asking(&containers, |_| true), capacity_us, &before);
        let runs = |group: &str| before.contains_key(group);
        let alone = account(&asking(&containers, runs), capacity_us, &before);
        let mut of_those = all.clone();
        of_those.granted.retain(|group, _| runs(group));
        of_those.refused.retain(|group, _| runs(group));
        prop_assert_eq!(&of_those.granted, &alone.granted);
        prop_assert_eq!(&of_those.refused, &alone.refused);
        // Those that begin get of what these leave, and no more.
        prop_assert!(all.allocated_us - alone.allocated_us <= i64_of(alone.free_us));
    }
}
