//! Threads as the kernel tells them, and samples that are over a budget or not.

use super::*;
use crate::rt::micros::RuntimeMicros;
use proptest::prelude::*;

/// A FIFO thread of priority 50, as Linux 6.18 printed it, under a name that looks like more fields.
const STAT: &str = "4711 (a) R 1 (b) S 1 4711 4700 0 -1 1077936192 90 0 0 0 7 5 0 0 -51 0 1 0 123456 2523136 \
    128 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 -1 3 50 1 0 0 0 0 0 0 0 0 0 0 0\n";

fn asked(text: &str) -> Scheduling {
    let policy = match text {
        "other" => Policy::Other,
        _ => Policy::Fifo(50),
    };
    Scheduling {
        policy,
        reset_on_fork: text.contains("reset"),
        rttime_us: text.contains("rttime").then_some(200_000),
    }
}

#[test]
fn a_thread_is_read_behind_its_name() {
    let found = Found::parse(STAT).unwrap();
    let expected = Found {
        start: 123_456,
        policy: SCHED_FIFO,
        priority: 50,
        cpu: 3,
        ticks: 12,
        exiting: false,
        dead: false,
    };
    assert_eq!(found, expected);
    assert!(found.is_realtime() && !found.ends_in_real_time());
    // The flags with PF_EXITING; and then it is a zombie.
    let exiting = STAT.replace("1077936192", "1077936196");
    assert!(Found::parse(&exiting).unwrap().ends_in_real_time());
    let dead = Found::parse(&exiting.replace("(b) S", "(b) Z")).unwrap();
    assert!(dead.exiting && dead.dead && !dead.ends_in_real_time());
    assert_eq!(schedstat("91234567 1200 17\n"), Some(91_234_567));
    assert_eq!(schedstat("0 0 0\n"), None);
    assert_eq!(schedstat(""), None);
}

#[test]
fn other_takes_real_time_away_and_nothing_else() {
    let of = |policy| Found {
        policy,
        ..Found::default()
    };
    let other = asked("other");
    for (policy, expected) in [(0, None), (3, None), (5, None)] {
        assert_eq!(target(&other, &of(policy)), expected);
    }
    for policy in [SCHED_FIFO, SCHED_RR, SCHED_DEADLINE] {
        assert_eq!(target(&other, &of(policy)), Some(Policy::Other));
    }
    assert_eq!(target(&asked("fifo"), &of(3)), Some(Policy::Fifo(50)));
    assert_eq!(limits(&other).rtprio, None);
}

#[test]
fn limits_stay_below_a_hard_one_that_is_there() {
    let time = limits(&asked("fifo,rttime")).rttime.unwrap();
    assert_eq!((time.soft_us, time.hard_us), (200_000, 1_200_000));
    assert_eq!(time.within(None), time);
    let within = |hard| {
        let time = time.within(Some(hard));
        (time.soft_us, time.hard_us)
    };
    assert_eq!(within(500_000), (200_000, 500_000));
    assert_eq!(within(100_000), (100_000, 100_000));
    assert_eq!(limits(&asked("fifo")).rttime, None);
    let text = |hard: &str| {
        format!(
            "Max realtime priority     0                    0                    \nMax realtime timeout      200000               {hard:<20} us        \n"
        )
    };
    assert_eq!(hard_rttime(&text("unlimited")), None);
    assert_eq!(hard_rttime(&text("1200000")), Some(1_200_000));
    assert_eq!(hard_rttime(""), None);
}

#[test]
fn each_thread_is_new_once() {
    let mut memory = Memory::default();
    assert!(memory.begin(&asked("fifo")));
    assert_eq!(memory.unknown(&[1, 2, 3]).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(memory.thread(1, 10) && memory.thread(2, 20));
    assert!(memory.has_thread(1, 10) && !memory.has_thread(1, 11));
    assert_eq!(memory.unknown(&[1, 2, 3]).collect::<Vec<_>>(), [3]);
    memory.keep_threads(&[2, 3]);
    assert_eq!(memory.len(), 1);
    // The same request changes nothing, another one everything.
    assert!(!memory.begin(&asked("fifo")));
    assert_eq!(memory.len(), 1);
    assert!(memory.begin(&asked("other")));
    assert!(memory.is_empty());
}

#[test]
fn with_reset_on_fork_what_set_threads_make_is_left_alone() {
    let origin = |tid, process, parent| Origin {
        tid,
        process,
        parent,
    };
    let (thread, child) = (origin(12, 10, 1), origin(13, 13, 10));
    // The runtime's doing: another process of its own, and a thread of that one.
    let (other, its) = (origin(14, 14, 1), origin(15, 14, 1));
    for (text, expected) in [("fifo", false), ("fifo,reset", true)] {
        let mut memory = Memory::default();
        memory.begin(&asked(text));
        memory.settle();
        assert!(!memory.leaves_what_is_made_inside(), "nothing was there");
        assert!(memory.thread(10, 100));
        assert!(!memory.leaves(&thread), "not all are set");
        memory.settle();
        assert_eq!(memory.leaves(&thread), expected, "{text}");
        assert_eq!(memory.leaves(&child), expected, "{text}");
        assert!(!memory.leaves(&other) && !memory.leaves(&its));
    }
}

#[test]
fn where_a_thread_comes_from_is_read() {
    let text = "Name:\tPid:\t7\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nNgid:\t0\nPid:\t4712\nPPid:\t4700\n\
                TracerPid:\t0\n";
    let origin = Origin::parse(text).unwrap();
    let expected = Origin {
        tid: 4712,
        process: 4711,
        parent: 4700,
    };
    assert_eq!(origin, expected);
    assert_eq!(origin.maker(), origin.process);
    assert_eq!(Origin::parse("Tgid:\t1\n"), None);
}

/// Threads as (tid, start, cpu, milliseconds).
fn usage(at_ms: u64, threads: &[(u32, u64, u32, u64)]) -> RtUsage {
    RtUsage {
        at_ns: at_ms * 1_000_000,
        threads: threads
            .iter()
            .map(|&(tid, start, cpu, ms)| {
                let nanoseconds = ms * 1_000_000;
                let thread = ThreadUse {
                    start,
                    cpu,
                    nanoseconds,
                };
                (tid, thread)
            })
            .collect(),
        more: false,
    }
}

#[test]
fn a_thread_made_right_after_a_sample_is_new() {
    // Its start is told in hundredths of a second, rounded down to before the sample.
    let before = usage(100_009, &[]);
    let of = |start| used(&before, &usage(101_000, &[(1, start, 0, 400)]));
    assert_eq!(of(10_000).unwrap().used_ns, 400_000_000);
    // One that was there before and became real-time since.
    assert_eq!(of(9_999), None);
}

#[test]
fn the_busiest_cpu_counts_and_threads_of_a_cpu_together() {
    let before = usage(
        100_000,
        &[(1, 1, 0, 1_000), (2, 1, 1, 0), (3, 1, 1, 0), (4, 7, 1, 0)],
    );
    let after = usage(
        110_000,
        // 4 is another thread, made before the first sample; 5 is new.
        &[
            (1, 1, 0, 2_500),
            (2, 1, 1, 1_000),
            (3, 1, 1, 1_000),
            (4, 8, 1, 9_000),
            (5, 10_500, 1, 300),
        ],
    );
    let busiest = used(&before, &after).unwrap();
    assert_eq!((busiest.cpu, busiest.used_ns), (1, 2_300_000_000));
    let over = |micros| overrun(&before, &after, RuntimeMicros::new(micros).unwrap());
    // 11 periods at most.
    assert_eq!(over(200_000).unwrap().allowed_ns, 2_200_000_000);
    assert_eq!(over(210_000), None);
    assert_eq!(used(&after, &before), None);
    assert_eq!(used(&before, &before), None);
}

proptest! {
    #[test]
    fn any_text_is_a_thread_or_none(text in ".{0,300}", tail in "[ 0-9a-z-]{0,300}") {
        let _ = Found::parse(&text);
        let _ = Found::parse(&format!("1 (x) {tail}"));
        let _ = (schedstat(&text), Origin::parse(&text), hard_rttime(&text));
    }

    #[test]
    fn a_name_changes_nothing(name in "[^\u{0}]{0,15}") {
        let stat = STAT.replace("a) R 1 (b", &name);
        prop_assert_eq!(Found::parse(&stat), Found::parse(STAT));
    }

    /// What an enforced budget can let through is never called an overrun: in each period at most the budget.
    #[test]
    fn a_program_within_its_budget_never_overruns(
        budget in 1_u64..=1_000_000,
        from_us in 0_u64..3_000_000,
        elapsed_us in 1_u64..20_000_000,
    ) {
        let micros = RuntimeMicros::new(budget).unwrap();
        // The worst case: it runs as soon as it may, wherever that is in the period.
        let to_us = from_us + elapsed_us;
        let mut ran = 0;
        for period in 0..=to_us / 1_000_000 {
            let (begin, end) = (period * 1_000_000, (period + 1) * 1_000_000);
            let inside = to_us.min(end).saturating_sub(from_us.max(begin));
            ran += inside.min(budget);
        }
        let at = |us: u64, ran: u64| RtUsage {
            at_ns: us * 1_000,
            threads: [(1, ThreadUse { start: 0, cpu: 0, nanoseconds: ran * 1_000 })].into(),
            more: false,
        };
        prop_assert_eq!(overrun(&at(from_us, 0), &at(to_us, ran), micros), None);
    }

    /// One that always wants to run is always found to be stopped, wherever the periods begin, and one that uses half of
    /// its budget never.
    #[test]
    fn who_always_wants_to_run_is_stopped(
        budget in 1_u64..1_000_000,
        from_us in 0_u64..3_000_000,
        elapsed_us in 10_000_000_u64..40_000_000,
    ) {
        let micros = RuntimeMicros::new(budget).unwrap();
        let at = |us: u64, ran: u64| RtUsage {
            at_ns: us * 1_000,
            threads: [(1, ThreadUse { start: 0, cpu: 0, nanoseconds: ran * 1_000 })].into(),
            more: false,
        };
        let to_us = from_us + elapsed_us;
        // It runs as soon as it may: it has used up all of the first period's when the time begins.
        let whole = (to_us / 1_000_000).saturating_sub(from_us.div_ceil(1_000_000));
        let after = at(to_us, whole * budget + budget.min(to_us % 1_000_000));
        prop_assert!(throttled(&at(from_us, 0), &after, micros));
        let half = at(to_us, (to_us.div_ceil(1_000_000) - from_us / 1_000_000) * (budget / 2));
        prop_assert!(!throttled(&at(from_us, 0), &half, micros));
        let steady = at(to_us, elapsed_us * (budget * 89 / 100) / 1_000_000);
        prop_assert!(!throttled(&at(from_us, 0), &steady, micros));
    }
}

#[test]
fn nine_tenths_are_all_of_it_and_more_than_all_is_something_else() {
    let stopped = |budget: u64, seconds: u64, used_ms: u64| {
        let before = usage(100_000, &[(1, 1, 0, 0)]);
        let after = usage(100_000 + seconds * 1_000, &[(1, 1, 0, used_ms)]);
        throttled(&before, &after, RuntimeMicros::new(budget).unwrap())
    };
    assert!(stopped(100_000, 10, 900) && stopped(100_000, 10, 1_100));
    assert!(!stopped(100_000, 10, 890) && !stopped(100_000, 10, 1_101));
    // Too short to tell, nothing used, and a budget that is never used up.
    assert!(!stopped(100_000, 1, 100) && !stopped(100_000, 10, 0));
    assert!(!stopped(1_000_000, 10, 10_000));
}
