//! What a budget does to threads that spin.

use std::time::{Duration, Instant};

use realtime_core::rt::micros::smallest_budget;
use realtime_core::rt::plan::Finding;
use realtime_node_daemon::cgroup::Scope;
use realtime_testing::skip;

use super::bench::Bench;
use super::layer::{PODS, done, limits, planned, tree, wanted};
use super::task::{LIMIT, Task, within};

/// Whole periods, so that it doesn't matter where in one the measuring begins.
const PERIODS: u32 = 3;

/// The share of one CPU that each of them ran.
fn shares(tasks: &[&Task]) -> Vec<f64> {
    let before: Vec<Duration> = tasks.iter().map(|task| task.ran()).collect();
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(1) * PERIODS);
    let after: Vec<Duration> = tasks.iter().map(|task| task.ran()).collect();
    let time = start.elapsed();
    before
        .iter()
        .zip(after)
        .map(|(before, after)| after.saturating_sub(*before).as_secs_f64() / time.as_secs_f64())
        .collect()
}

/// It is throttled: it doesn't run, and it never blocks.
fn stands_still(task: &Task) -> bool {
    let before = task.ran();
    std::thread::sleep(Duration::from_millis(100));
    task.ran() == before
}

#[test]
fn a_budget_holds_on_each_cpu_separately_and_throttling_is_not_told() {
    let Some(bench) = Bench::with(200_000) else {
        return;
    };
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return skip::skip("this machine has one CPU");
    }
    bench.make_with("both", 200_000);
    let (first, second) = (
        bench.realtime_spinner("both", 0),
        bench.realtime_spinner("both", 1),
    );
    // Shared between both it would be a tenth, multiplied by them two fifths; a busy machine measures late.
    let shares = shares(&[&first, &second]);
    assert!(
        shares.iter().all(|share| (0.13..0.30).contains(share)),
        "200 ms of each second are about a fifth, on each of two CPUs: {shares:?}"
    );
    // Both were throttled most of the time.
    let told = bench.read("both", "cpu.stat");
    let throttled = told.lines().filter(|line| line.contains("throttled"));
    let numbers: Vec<_> = throttled.map(|line| line.rsplit(' ').next()).collect();
    assert!(
        !numbers.is_empty() && numbers.iter().all(|number| *number == Some("0")),
        "{told}"
    );
}

#[test]
fn with_a_tiny_budget_a_spinner_survives_sigkill_until_it_has_room() {
    let Some(bench) = Bench::with(100_000) else {
        return;
    };
    bench.make_with("tiny", 1);
    let task = bench.realtime_spinner("tiny", 0);
    // By the first tick it has used its budget of many periods.
    assert!(within(LIMIT, || stands_still(&task)));
    task.kill();
    let died = within(Duration::from_millis(1_500), || task.is_dead());
    assert!(!died, "1 µs of each second is enough to die on this kernel");
    bench.write("tiny", "100000").unwrap();
    assert!(
        within(LIMIT, || task.is_dead()),
        "100 ms of each second are not enough to die"
    );
}

#[test]
fn with_the_smallest_budget_that_is_granted_a_spinner_dies() {
    let Some(bench) = Bench::with(20_000) else {
        return;
    };
    // The tick of this kernel is not asked for: unknown is the careful answer.
    bench.make_with("small", smallest_budget(None).get());
    let task = bench.realtime_spinner("small", 0);
    assert!(within(LIMIT, || stands_still(&task)));
    task.kill();
    assert!(within(LIMIT, || task.is_dead()));
}

/// Its pod is deleted while a neighbour has all that pods may have: the host's part is there for it.
#[test]
fn a_wedged_thread_of_a_leaving_pod_gets_room_and_dies() {
    const WEDGED: &str = "kubepods/pod1/wedged";
    const NEIGHBOUR: &str = "kubepods/pod2/neighbour";
    let Some(bench) = Bench::with(0) else {
        return;
    };
    for group in [PODS, "kubepods/pod1", WEDGED, "kubepods/pod2", NEIGHBOUR] {
        bench.make(group);
    }
    let neighbour = (NEIGHBOUR, limits(&bench).capacity_us - 1);
    done(&bench, &wanted(&bench, &[(WEDGED, 1), neighbour]));
    let _neighbour = bench.realtime_sleeper(NEIGHBOUR);
    let task = bench.realtime_spinner(WEDGED, 0);
    assert!(within(LIMIT, || stands_still(&task)));
    task.kill();
    let mut leaving = wanted(&bench, &[neighbour]);
    // As long as its pod stays, it keeps what it has, and that is not enough.
    done(&bench, &leaving);
    let died = within(Duration::from_millis(1_500), || task.is_dead());
    assert!(!died, "1 µs of each second is enough to die on this kernel");
    assert_eq!(bench.runtime(WEDGED), 1);
    leaving.leaving.insert(bench.group("kubepods/pod1"));
    let no_room = |finding: &Finding| matches!(finding, Finding::NoRoomToDie { .. });
    let plan = planned(&bench, &leaving);
    assert!(!plan.findings.iter().any(no_room), "{plan:?}");
    done(&bench, &leaving);
    let room = i64::try_from(limits(&bench).room_to_die_us).unwrap();
    assert_eq!(bench.runtime(WEDGED), room);
    assert!(bench.runtime("kubepods/pod1") == room && bench.runtime(NEIGHBOUR) == 99_999);
    assert_eq!(planned(&bench, &leaving).writes, []);
    assert!(
        within(LIMIT * 2, || task.is_dead()),
        "{room} µs of each second are not enough to die"
    );
    // Reaped and its group removed, it gives back all of it; the neighbour has lost nothing.
    task.end();
    let removed = within(LIMIT, || std::fs::remove_dir(bench.path(WEDGED)).is_ok());
    assert!(removed);
    done(&bench, &leaving);
    assert_eq!(
        tree(&bench, Scope::Whole).groups[&bench.group("kubepods/pod1")].runtime_us,
        0
    );
    assert_eq!(
        [bench.runtime(NEIGHBOUR), bench.runtime(PODS)],
        [99_999, 99_999]
    );
}
