//! Groups that die, groups that never give in, and somebody who writes the same files.

use super::super::plan::Write;
use super::*;

fn plan() -> Plan {
    let write = |group: &str, from_us, to_us| Write {
        group: group.to_owned(),
        from_us,
        to_us,
    };
    Plan {
        writes: vec![
            write("/old", 50_000, 0),
            write("/pods", 10_000, 35_000),
            write("/pods/a", 0, 25_000),
            write("/pods/b", 20_000, 10_000),
        ],
        granted: BTreeMap::from([
            ("/pods/a".to_owned(), 25_000),
            ("/pods/b".to_owned(), 10_000),
        ]),
        ..Plan::default()
    }
}

fn refused(places: &[usize]) -> BTreeMap<usize, Failure> {
    places
        .iter()
        .map(|at| (*at, Failure::Refused("EINVAL".to_owned())))
        .collect()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn without_a_failure_there_is_nothing_to_do() {
    let mut plan = plan();
    let before = BTreeMap::from([("/pods/a".to_owned(), seconds(1))]);
    assert_eq!(
        after(&mut plan, &BTreeMap::new(), &before, seconds(9)),
        After::default()
    );
    assert_eq!(plan.granted.len(), 2);
}

#[test]
fn what_isnt_there_is_granted_to_nobody_and_refused_only_later() {
    let mut first = plan();
    let soon = after(&mut first, &refused(&[2]), &BTreeMap::new(), seconds(10));
    assert_eq!(soon.again, Some(AGAIN));
    assert_eq!(soon.refused, BTreeMap::new());
    assert!(!first.granted.contains_key("/pods/a") && first.granted.contains_key("/pods/b"));
    // The same group, all the time: not a dying one's part any more.
    let mut second = plan();
    let late = after(&mut second, &refused(&[2]), &soon.failing, seconds(12));
    assert_eq!(late.again, Some(REFUSED));
    assert_eq!(late.failing, soon.failing);
    assert_eq!(late.refused["/pods/a"], "EINVAL");
    // Another one has its own time.
    let mut third = plan();
    let other = after(&mut third, &refused(&[1, 2]), &late.failing, seconds(13));
    assert_eq!(
        (other.again, other.failing["/pods"]),
        (Some(AGAIN), seconds(13))
    );
    assert_eq!(other.refused.keys().collect::<Vec<_>>(), ["/pods/a"]);
}

#[test]
fn who_keeps_more_than_wanted_has_what_he_asks_for() {
    let mut plan = plan();
    let kept = after(&mut plan, &refused(&[0, 3]), &BTreeMap::new(), seconds(1));
    assert!(plan.granted.contains_key("/pods/b") && kept.refused.is_empty());
    assert_eq!(kept.failing.len(), 2);
}

#[test]
fn somebody_who_writes_all_the_time_is_not_fought_at_full_speed() {
    let mut plan = plan();
    let failed = BTreeMap::from([(2, Failure::Changed("has 2000".to_owned()))]);
    assert_eq!(
        after(&mut plan, &failed, &BTreeMap::new(), seconds(1)).again,
        Some(FOREIGN)
    );
}

#[test]
fn a_place_that_the_plan_doesnt_have_is_nothing() {
    assert_eq!(
        after(
            &mut Plan::default(),
            &refused(&[7]),
            &BTreeMap::new(),
            seconds(1)
        ),
        After::default()
    );
}

#[test]
fn what_is_gone_counts_for_a_moment() {
    let at = Duration::from_secs(9);
    let groups = |list: &[(&str, i64)]| -> BTreeMap<String, i64> {
        list.iter()
            .map(|(group, has)| ((*group).to_owned(), *has))
            .collect()
    };
    let had = groups(&[("/a", 5), ("/b", 0), ("/c", 7)]);
    let has = groups(&[("/a", 5)]);
    let gone = going(BTreeMap::new(), &had, &has, at);
    assert_eq!(gone, BTreeMap::from([("/c".to_owned(), (7, at + GOING))]));
    let later = at + Duration::from_millis(20);
    assert_eq!(going(gone.clone(), &has, &has, later), gone);
    // One of the same name is another group.
    let again = groups(&[("/a", 5), ("/c", 0)]);
    assert!(going(gone.clone(), &has, &again, later).is_empty());
    assert!(going(gone, &has, &has, at + GOING).is_empty());
}
