//! Texts of the kernel, samples, and the metrics' text.

use proptest::prelude::*;

use super::*;
use crate::api::realtime_node::{
    BudgetMode, ContainerBudget, ContainerBudgetState, NodePodBudgetStatus,
};

/// Of a SCHED_FIFO thread on Linux 6.18, its name replaced.
fn stat(comm: &str, policy: u32) -> String {
    format!(
        "15206 ({comm}) R 15195 15195 11015 0 -1 4194304 89 77 1 0 29 4 0 0 -51 0 1 0 2579804 2654208 405 \
         18446744073709551615 94073574916096 94073574992825 140727032564544 0 0 0 0 0 65538 1 0 0 17 3 50 {policy} 0 0 0 \
         94073575022128 94073575027264 94074264981504 140727032572525 140727032572624 140727032572624 140727032573932 0\n"
    )
}

#[test]
fn a_thread_whatever_its_name() {
    for comm in [
        "spinner",
        "a) R 1 (b",
        "x\ny",
        "",
        ")",
        "(",
        "((()))",
        "\u{fffd}",
    ] {
        let read = ThreadStat::parse(&stat(comm, 1)).unwrap();
        assert_eq!(
            read.key,
            ThreadKey {
                tid: 15_206,
                start: 2_579_804
            }
        );
        assert_eq!((read.comm.as_str(), read.cpu, read.priority), (comm, 3, 50));
        assert_eq!(read.policy, Some(Policy::Fifo));
        assert_eq!(read.used_ns, 330_000_000);
    }
    assert_eq!(
        ThreadStat::parse(&stat("x", 2)).unwrap().policy,
        Some(Policy::Rr)
    );
    assert_eq!(
        ThreadStat::parse(&stat("x", 6)).unwrap().policy,
        Some(Policy::Deadline)
    );
    assert_eq!(ThreadStat::parse(&stat("x", 0)).unwrap().policy, None);
    assert_eq!(ThreadStat::parse("1 (x) R 1"), None);
}

#[test]
fn the_exact_time_where_there_is_one() {
    assert_eq!(schedstat_ns("297428283 177103 9\n"), Some(297_428_283));
    assert_eq!(schedstat_ns("0 0 1\n"), Some(0));
    assert_eq!(schedstat_ns("0 0 0\n"), None);
    assert_eq!(schedstat_ns("x"), None);
    let thread = ThreadStat::parse(&stat("x", 1)).unwrap();
    assert_eq!(thread.clone().realtime(Some(7), 1).unwrap().used_ns, 7);
    assert_eq!(thread.realtime(None, 1).unwrap().used_ns, 330_000_000);
    assert_eq!(
        ThreadStat::parse(&stat("x", 0))
            .unwrap()
            .realtime(Some(7), 1),
        None
    );
}

proptest! {
    #[test]
    fn any_stat_gives_an_answer(text in ".{0,300}", comm in "\\PC{0,15}", cut in 0_usize..400) {
        let _ = ThreadStat::parse(&text);
        let whole = stat(&comm, 1);
        let cut: String = whole.chars().take(cut).collect();
        let _ = ThreadStat::parse(&cut);
        prop_assert_eq!(ThreadStat::parse(&whole).unwrap().comm, comm);
        let _ = schedstat_ns(&text);
        let _ = throttled(&text);
    }
}

fn thread(tid: i32, cpu: u32, used_ns: u64, at_ns: u64) -> Thread {
    Thread {
        key: ThreadKey { tid, start: 5 },
        comm: format!("t{tid}\n"),
        policy: Policy::Fifo,
        priority: 50,
        cpu,
        used_ns,
        at_ns,
    }
}

fn group(threads: Vec<Thread>) -> Group {
    Group {
        path: "/kubepods/pod1/aa".to_owned(),
        identity: Some(Identity {
            namespace: "lab".to_owned(),
            pod: "spinner".to_owned(),
            uid: None,
            container: Some("main".to_owned()),
        }),
        pod_uid: "1".to_owned(),
        id: "aa".to_owned(),
        budget_us: Some(200_000),
        threads,
    }
}

fn about(share: Option<f64>, wanted: f64) -> bool {
    share.is_some_and(|share| (share - wanted).abs() < 1e-9)
}

#[test]
fn shares_are_of_a_cpu_and_the_budget_is_each_cpus() {
    let before = [group(vec![
        thread(1, 0, 0, 0),
        thread(2, 1, 0, 0),
        thread(4, 1, 0, 0),
    ])];
    let mut deadline = thread(4, 1, 90, 100);
    deadline.policy = Policy::Deadline;
    let after = [group(vec![
        thread(1, 0, 10, 100),
        thread(2, 1, 20, 100),
        thread(3, 1, 50, 100),
        deadline,
    ])];
    let [used] = &between(&before, &after, None)[..] else {
        panic!("one group");
    };
    let tids: Vec<i32> = used.threads.iter().map(|thread| thread.tid).collect();
    // The busiest first; what only the second sample has last.
    assert_eq!(tids, [4, 2, 1, 3]);
    assert!(about(used.threads[1].share, 0.2) && used.threads[3].share.is_none());
    // 20 % of CPU 1 is all of the budget, however much runs on CPU 0; SCHED_DEADLINE doesn't count.
    assert!(
        about(used.busiest_cpu_share, 0.2) && about(used.budget_share, 1.0),
        "{used:?}"
    );
    assert_eq!(used.threads[1].comm, "t2?");
    assert_eq!(used.throttled_cpus, None);
}

#[test]
fn odd_samples_give_no_odd_shares() {
    let one = |thread: Thread| [group(vec![thread])];
    let share = |before: Thread, after: Thread| {
        between(&one(before), &one(after), None)[0].threads[0].share
    };
    // No time went by; the clock went back; more used than time; less used than before.
    assert_eq!(share(thread(1, 0, 0, 5), thread(1, 0, 9, 5)), None);
    assert_eq!(share(thread(1, 0, 0, 5), thread(1, 0, 9, 4)), None);
    assert!(about(share(thread(1, 0, 0, 0), thread(1, 0, 11, 10)), 1.0));
    assert!(about(share(thread(1, 0, 9, 0), thread(1, 0, 3, 10)), 0.0));
    // Another thread with the same number.
    let mut other = thread(1, 0, 9, 10);
    other.key.start = 6;
    assert_eq!(share(thread(1, 0, 0, 0), other), None);
    let mut unlimited = group(vec![thread(1, 0, 5, 10)]);
    unlimited.budget_us = Some(-1);
    assert_eq!(
        between(&one(thread(1, 0, 0, 0)), &[unlimited], None)[0].budget_share,
        None
    );
}

#[test]
fn the_debug_file_tells_who_is_stopped() {
    let text = "cpu#0, 2000.000 MHz\n  .nr_running                    : 1\n\ncfs_rq[0]:/kubepods/pod1/aa\n  .exec_clock : 0\n\n\
        rt_rq[0]:/kubepods/pod1/aa\n  .rt_nr_running                 : 1\n  .rt_throttled                  : 1\n  \
        .rt_time                       : 200.002000\n  .rt_runtime                    : 200.000000\n\n\
        rt_rq[1]:/kubepods/pod1/aa\n  .rt_nr_running                 : 0\n  .rt_throttled                  : 0\n\n\
        rt_rq[0]:\n  .rt_throttled                  : 1\n\nrunnable tasks:\n S            task   PID\n";
    let all = throttled(text).unwrap();
    assert_eq!(all.len(), 1, "{all:?}");
    let used = between(&[], &[group(vec![])], Some(&all));
    assert_eq!(used[0].throttled_cpus, Some(vec![0]));
    // Nobody is stopped, and that is told; no group is named, and nothing is.
    let nobody = throttled("rt_rq[0]:/a\n  .rt_throttled : 0\n");
    assert_eq!(nobody, Some(Vec::new()));
    assert_eq!(throttled("rt_rq[x]:/a\n  .rt_throttled : 1\n"), None);
    assert_eq!(throttled("rt_rq[0]:\n  .rt_throttled : 1\n"), None);
}

fn status(containers: usize) -> NodePodBudgetStatus {
    NodePodBudgetStatus {
        mode: Some(BudgetMode::V1Budget),
        capacity_microseconds: Some(800_000),
        allocated_microseconds: Some(25_000),
        containers: (0..containers)
            .map(|number| ContainerBudget {
                namespace: "lab".to_owned(),
                pod: format!("spinner-{number}"),
                container: "main".to_owned(),
                requested_microseconds: Some(25_000),
                applied_microseconds: Some(1),
                policy: None,
                priority: None,
                state: ContainerBudgetState::Applied,
                reason: Some("a\"b\\c\nd".to_owned()),
                message: None,
                assigned_before_start: Some(true),
            })
            .collect(),
        ..NodePodBudgetStatus::default()
    }
}

#[test]
fn metrics_are_exact_and_escaped() {
    let groups = [group(vec![thread(7, 0, 1_500_000_001, 0)])];
    let text = metrics::text(&status(1), 3, Some(&groups), None);
    for line in [
        "realtime_node_capacity_seconds 0.8",
        "realtime_node_allocated_seconds 0.025",
        "realtime_node_budget_mode{mode=\"V1Budget\"} 1",
        "realtime_node_budget_mode{mode=\"Off\"} 0",
        "realtime_containers{state=\"Applied\"} 1",
        "realtime_containers{state=\"Refused\"} 0",
        "realtime_pod_budget_seconds{namespace=\"lab\",pod=\"spinner-0\",container=\"main\"} 0.025",
        "realtime_pod_budget_applied_seconds{namespace=\"lab\",pod=\"spinner-0\",container=\"main\"} 0.000001",
        "realtime_container_state{namespace=\"lab\",pod=\"spinner-0\",container=\"main\",state=\"Applied\",reason=\"a\\\"b\\\\c\\nd\"} 1",
        "realtime_containers_started_before_budget_total 3",
        "realtime_threads{namespace=\"lab\",pod=\"spinner\",container=\"main\"} 1",
        "realtime_threads_omitted 0",
        "realtime_thread_cpu_seconds_total{namespace=\"lab\",pod=\"spinner\",container=\"main\",thread=\"7\"} 1.500000001",
    ] {
        assert!(
            text.lines().any(|one| one == line),
            "{line}\nis not in\n{text}"
        );
    }
    let empty = metrics::text(&NodePodBudgetStatus::default(), 0, None, None);
    assert!(
        !empty.contains("capacity") && empty.contains("realtime_containers{state=\"Pending\"} 0\n")
    );
    assert!(empty.contains("realtime_containers_started_before_budget_total 0\n"));
}

#[test]
fn metrics_are_bounded() {
    let many = (1..3_000).map(|tid| thread(tid, 0, 0, 0)).collect();
    let text = metrics::text(&status(5_000), 0, Some(&[group(many)]), None);
    let count = |name: &str| {
        text.lines()
            .filter(|line| line.starts_with(&format!("{name}{{")))
            .count()
    };
    assert_eq!(count("realtime_container_state"), metrics::MAX_CONTAINERS);
    assert_eq!(
        count("realtime_thread_cpu_seconds_total"),
        metrics::MAX_THREADS_OF_CONTAINER
    );
    assert!(text.contains("realtime_containers{state=\"Applied\"} 5000\n"));
    assert!(
        text.contains("container=\"main\"} 2999\n")
            && text.contains("realtime_threads_omitted 2967\n")
    );
}
