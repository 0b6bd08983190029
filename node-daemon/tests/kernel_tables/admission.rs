//! Which writes and calls the kernel takes, and with which number it refuses the others.

use std::process::Command;

use libc::{EBUSY, EINVAL, EPERM};
use realtime_core::rt::micros::{PERIOD_US, ratio, runtime_for};
use realtime_node_daemon::sched::{self, Kind};
use realtime_testing::skip;

use super::bench::{Bench, errno, put};
use super::task::Task;

#[test]
fn a_new_group_has_nothing_each_second() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make("new");
    assert_eq!(bench.read("new", "cpu.rt_runtime_us"), "0\n");
    assert_eq!(bench.read("new", "cpu.rt_period_us"), "1000000\n");
}

#[test]
fn fifo_in_a_group_without_a_budget_is_eperm_even_for_root() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make("zero");
    let task = Task::sleeper();
    bench.enter("zero", &task).unwrap();
    assert_eq!(errno(task.realtime()), Some(EPERM));
    // It is the budget, and nothing else, that was missing.
    bench.write("zero", "40000").unwrap();
    task.realtime().unwrap();
}

#[test]
fn more_than_the_parent_has_is_einval() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make("a");
    assert_eq!(errno(bench.write("a", "40001")), Some(EINVAL));
    bench.write("a", "30000").unwrap();
    bench.make("b");
    assert_eq!(errno(bench.write("b", "10002")), Some(EINVAL));
    // One more is the same in the kernel's ratio: each child's is rounded down.
    bench.write("b", "10001").unwrap();
    // More than the root group, whatever else there is.
    let root = bench.v1.runtime("/").unwrap().unwrap();
    assert_eq!(
        errno(bench.write("", &(root + 1).to_string())),
        Some(EINVAL)
    );
}

#[test]
fn a_child_before_its_parent_is_einval() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make("parent");
    bench.make("parent/child");
    assert_eq!(errno(bench.write("parent/child", "10000")), Some(EINVAL));
    bench.write("parent", "10000").unwrap();
    bench.write("parent/child", "10000").unwrap();
}

#[test]
fn a_parent_zeroed_over_its_child_is_einval() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make_with("parent", 20_000);
    bench.make_with("parent/child", 10_000);
    assert_eq!(errno(bench.write("parent", "0")), Some(EINVAL));
    assert_eq!(errno(bench.write("parent", "9999")), Some(EINVAL));
    bench.write("parent/child", "0").unwrap();
    bench.write("parent", "0").unwrap();
}

#[test]
fn zeroing_a_group_with_realtime_threads_is_ebusy() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make_with("busy", 20_000);
    let task = bench.realtime_sleeper("busy");
    assert_eq!(errno(bench.write("busy", "0")), Some(EBUSY));
    assert_eq!(bench.runtime("busy"), 20_000);
    // Less is taken, nothing is not.
    bench.write("busy", "10000").unwrap();
    task.ordinary().unwrap();
    bench.write("busy", "0").unwrap();
}

#[test]
fn only_threads_directly_in_a_group_make_it_busy() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make_with("parent", 20_000);
    bench.make_with("parent/busy", 20_000);
    let _task = bench.realtime_sleeper("parent/busy");
    assert_eq!(errno(bench.write("parent", "0")), Some(EINVAL));
    bench.write("parent", "20000").unwrap();
}

#[test]
fn moving_a_fifo_task_into_a_group_without_a_budget_is_einval() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make_with("has", 20_000);
    bench.make("zero");
    let task = bench.realtime_sleeper("has");
    assert_eq!(errno(bench.enter("zero", &task)), Some(EINVAL));
    bench.write("zero", "10000").unwrap();
    bench.enter("zero", &task).unwrap();
}

#[test]
fn deadline_in_a_group_without_a_budget_is_allowed() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make("zero");
    let task = Task::sleeper();
    bench.enter("zero", &task).unwrap();
    let pid = task.pid().to_string();
    // 100 µs of each second.
    let set = Command::new("chrt")
        .args([
            "-d",
            "--sched-runtime",
            "100000",
            "--sched-deadline",
            "1000000000",
        ])
        .args(["--sched-period", "1000000000", "-p", "0", &pid])
        .output()
        .unwrap();
    assert!(
        set.status.success(),
        "{}",
        String::from_utf8_lossy(&set.stderr)
    );
    let attributes = sched::get(task.pid()).unwrap();
    assert_eq!(attributes.policy, Kind::Deadline);
    assert!(!attributes.is_realtime());
    // Nor does it keep a group from being zeroed.
    bench.write("zero", "10000").unwrap();
    bench.write("zero", "0").unwrap();
}

#[test]
fn numbers_are_read_loosely() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make("loose");
    for (text, has) in [
        ("010", 8),
        ("0x6400", 25_600),
        ("25000\n", 25_000),
        ("7", 7),
    ] {
        bench.write("loose", text).unwrap();
        assert_eq!(bench.runtime("loose"), has, "{text:?}");
    }
    for text in [" 100", "25k", "1.5", "0x", "1e3", ""] {
        let refused = errno(bench.write("loose", text));
        // An empty write never reaches the file.
        let expected = (!text.is_empty()).then_some(EINVAL);
        assert_eq!(refused, expected, "{text:?}");
        assert_eq!(bench.runtime("loose"), 7);
    }
}

#[test]
fn cpusets_do_not_enter_the_admission() {
    let Some(bench) = Bench::with(90_000) else {
        return;
    };
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = realtime_core::rt::mounts::cgroup_mounts(&text);
    let Some(cpuset) = mounts.iter().find(|mount| mount.has_v1("cpuset")) else {
        return skip::skip("this machine has no cgroup v1 hierarchy with cpusets");
    };
    if std::thread::available_parallelism().unwrap().get() < 2 {
        return skip::skip("this machine has one CPU");
    }
    super::bench::remove_left_behind(std::path::Path::new(&cpuset.point));
    let mut kept = Vec::new();
    for (name, cpu) in [("a", "0"), ("b", "1")] {
        let set = std::path::Path::new(&cpuset.point).join(format!("{}-{name}", &bench.top[1..]));
        std::fs::create_dir(&set).unwrap();
        let set = Removed(set);
        put(&set.0.join("cpuset.cpus"), cpu).unwrap();
        put(&set.0.join("cpuset.mems"), "0").unwrap();
        bench.make(name);
        let task = Task::sleeper();
        bench.enter(name, &task).unwrap();
        put(&set.0.join("tasks"), &task.pid().to_string()).unwrap();
        kept.push((task, set));
    }
    // 50 ms on CPU 0 and 50 ms on CPU 1 are together more than 90 ms, though they never meet.
    bench.write("a", "50000").unwrap();
    assert_eq!(errno(bench.write("b", "50000")), Some(EINVAL));
    bench.write("b", "40000").unwrap();
    // The tasks first, then the sets.
    drop(kept);
}

struct Removed(std::path::PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        super::bench::remove(&self.0);
    }
}

/// At the edge of what the parent has: the kernel takes exactly what `ratio` says, for one child and for the last of
/// several, whatever the periods.
#[test]
fn our_ratios_are_the_kernels_at_the_edges() {
    let Some(bench) = Bench::with(90_001) else {
        return;
    };
    let most = |left: u64, period: u64| runtime_for(left + 1, period) - 1;
    bench.make("parent");
    bench.make("parent/last");
    for child in 0..4 {
        bench.make(&format!("parent/{child}"));
    }
    // Any numbers do: these are the same in each run.
    let mut state = 12_345_u64;
    let mut any = |from: u64, to: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        from + (state >> 33) % (to - from)
    };
    for round in 0..60 {
        let parent = if round == 0 {
            90_001
        } else {
            any(20_000, 90_001)
        };
        bench.write("parent", &parent.to_string()).unwrap();
        let mut left = ratio(i64::try_from(parent).unwrap(), PERIOD_US);
        for child in 0..round % 5 {
            let micros = i64::try_from(any(0, 5_000)).unwrap();
            bench
                .write(&format!("parent/{child}"), &micros.to_string())
                .unwrap();
            left -= ratio(micros, PERIOD_US);
        }
        let period = [
            PERIOD_US,
            999_983,
            250_000,
            1_048_576,
            any(100_000, 3_000_000),
        ][round % 5];
        bench.write_period("parent/last", period).unwrap();
        let micros = most(left, period);
        let case = format!("round {round}: {micros} of {period} in {left} of {parent}");
        assert_eq!(
            errno(bench.write("parent/last", &(micros + 1).to_string())),
            Some(EINVAL),
            "{case}"
        );
        bench
            .write("parent/last", &micros.to_string())
            .expect(&case);
        for child in ["last", "0", "1", "2", "3"] {
            bench.write(&format!("parent/{child}"), "0").unwrap();
        }
    }
}
