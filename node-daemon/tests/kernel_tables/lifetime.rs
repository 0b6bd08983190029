//! When a removed group's budget is free again, and how others learn of groups and writes.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use libc::{EBUSY, EINVAL};
use realtime_core::rt::plan::Write;
use realtime_node_daemon::cgroup::Scope;
use realtime_node_daemon::cgroup::writer::apply_each;
use realtime_node_daemon::sched;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::bench::{Bench, TASKS, errno};
use super::layer::{PODS, done, tree, wanted};
use super::namespace::Namespace;
use super::task::{LIMIT, Task, within};

const CONTAINER: &str = "kubepods/pod1/container";

#[test]
fn a_removed_group_keeps_its_budget_for_a_moment() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    let mut kept = 0;
    for round in 0..20 {
        let (old, new) = (format!("old{round}"), format!("new{round}"));
        bench.make(&new);
        bench.make(&old);
        // The last round's groups have it for a moment, too.
        assert!(within(LIMIT, || bench.write(&old, "40000").is_ok()));
        fs::remove_dir(bench.path(&old)).unwrap();
        match errno(bench.write(&new, "40000")) {
            None => {}
            Some(error) => {
                assert_eq!(error, EINVAL);
                kept += 1;
            }
        }
        // The bound of the engine's retries.
        let free = within(Duration::from_secs(2), || {
            bench.write(&new, "40000").is_ok()
        });
        assert!(free, "round {round}");
        fs::remove_dir(bench.path(&new)).unwrap();
    }
    assert!(
        kept > 0,
        "a removed group's budget is free at once on this kernel"
    );
}

#[test]
fn a_removed_group_keeps_its_budget_as_long_as_a_zombie_is_in_it() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make_with("old", 40_000);
    bench.make("new");
    let task = Task::sleeper();
    bench.enter("old", &task).unwrap();
    task.kill();
    assert!(within(LIMIT, || task.is_dead()));
    let removed = within(LIMIT, || fs::remove_dir(bench.path("old")).is_ok());
    assert!(removed, "a zombie keeps its group from being removed");
    let free = within(Duration::from_millis(500), || {
        bench.write("new", "40000").is_ok()
    });
    assert!(
        !free,
        "a zombie's group gives back its budget on this kernel"
    );
    task.end();
    assert!(within(Duration::from_secs(2), || bench
        .write("new", "40000")
        .is_ok()));
}

/// A round writes what it can: a container whose process nobody reaps holds up no other, and takes nothing from it.
#[test]
fn a_zombie_holds_up_nobody_else() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make_with("going", 20_000);
    bench.make_with("going/old", 20_000);
    bench.make("other");
    let task = bench.realtime_sleeper("going/old");
    task.kill();
    assert!(within(LIMIT, || task.is_dead()));
    fs::remove_dir(bench.path("going/old")).unwrap();
    let write = |below: &str, from_us, to_us| Write {
        group: bench.group(below),
        from_us,
        to_us,
    };
    let writes = [write("going", 20_000, 0), write("other", 0, 10_000)];
    let failed: Vec<_> = apply_each(&bench.v1, &writes)
        .into_iter()
        .map(|(at, error)| (at, error.errno()))
        .collect();
    assert_eq!(failed, [(0, Some(EINVAL))]);
    assert_eq!(
        (bench.runtime("going"), bench.runtime("other")),
        (20_000, 10_000)
    );
    // As soon as it is reaped.
    task.end();
    let all = || apply_each(&bench.v1, &writes[..1]).is_empty();
    assert!(within(LIMIT, all));
}

/// A real-time thread uses up what a group has on a CPU, and is no more in it. Until the period ends the group is throttled.
fn use_up(bench: &Bench, below: &str, cpu: usize) {
    let spinner = bench.realtime_spinner(below, cpu);
    let begun = spinner.ran();
    let (mut ran, mut since) = (begun, Instant::now());
    // Some ticks long: how long a thread has run is known at each.
    let throttled = within(LIMIT, || {
        let now = spinner.ran();
        if now != ran {
            (ran, since) = (now, Instant::now());
        }
        ran != begun && since.elapsed() > Duration::from_millis(20)
    });
    assert!(throttled);
    spinner.end();
}

/// The first process of a PID namespace leaves its group's list before it waits for the others' ends, and is in the
/// group's budget until its own.
#[test]
fn the_first_process_of_a_namespace_waits_in_a_budget_whose_group_lists_it_no_more() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make_with("a", 20_000);
    let Some(namespace) = Namespace::in_group(&bench, "a", 0) else {
        return;
    };
    assert_eq!(errno(bench.write("a", "0")), Some(EBUSY));
    namespace.first_dies();
    assert_eq!(bench.read("a", TASKS), "");
    // Neither does it say itself any more where it is.
    assert_eq!(
        bench.v1.group_of(namespace.first).unwrap().as_deref(),
        Some("/")
    );
    assert!(sched::get(namespace.first).unwrap().is_realtime());
    use_up(&bench, "a", 0);
    bench.write("a", "0").unwrap();
    namespace.child_dies();
    assert!(
        namespace.first_stands_still(Duration::from_secs(2)),
        "without a budget it ends on this kernel"
    );
    bench.write("a", "20000").unwrap();
    assert!(within(LIMIT, || namespace.first_is_gone()));
}

/// A group without a budget doesn't throttle: it is one that was throttled before which stands still for ever.
#[test]
fn unless_its_budget_was_used_up_it_ends_without_one() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    bench.make_with("a", 20_000);
    let Some(namespace) = Namespace::in_group(&bench, "a", 0) else {
        return;
    };
    namespace.first_dies();
    bench.write("a", "0").unwrap();
    namespace.child_dies();
    assert!(within(LIMIT, || namespace.first_is_gone()));
}

/// `beside`: an ordinary process is listed in the group all the time.
fn the_daemon_keeps_its_budget(beside: bool) {
    let Some(bench) = Bench::with(0) else {
        return;
    };
    for group in [PODS, "kubepods/pod1", CONTAINER] {
        bench.make(group);
    }
    done(&bench, &wanted(&bench, &[(CONTAINER, 20_000)]));
    let Some(namespace) = Namespace::in_group(&bench, CONTAINER, 0) else {
        return;
    };
    if beside {
        bench.take_in(CONTAINER, namespace.child).unwrap();
    }
    let has_realtime = || tree(&bench, Scope::Whole).groups[&bench.group(CONTAINER)].realtime_tasks;
    assert!(has_realtime());
    namespace.first_dies();
    let listed = bench.read(CONTAINER, TASKS);
    assert_eq!(listed.lines().count(), usize::from(beside), "{listed}");
    use_up(&bench, CONTAINER, 0);
    // Nobody wants a budget any more.
    assert!(has_realtime());
    done(&bench, &wanted(&bench, &[]));
    assert_eq!(bench.runtime(CONTAINER), 20_000);
    namespace.child_dies();
    assert!(within(LIMIT, || namespace.first_is_gone()));
    if beside {
        // Nobody is left on the way out: it is taken back at once.
        let idle = Task::sleeper();
        bench.enter(CONTAINER, &idle).unwrap();
        done(&bench, &wanted(&bench, &[]));
        assert_eq!(bench.runtime(CONTAINER), 0);
    }
}

#[test]
fn the_daemon_keeps_the_budget_of_a_group_that_lists_its_real_time_process_no_more() {
    the_daemon_keeps_its_budget(false);
}

#[test]
fn the_daemon_keeps_it_also_while_others_are_listed() {
    the_daemon_keeps_its_budget(true);
}

fn watch(path: &Path, flags: WatchFlags) -> OwnedFd {
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, path, flags).unwrap();
    watch
}

/// The next event's flags and name.
fn event(watch: &OwnedFd) -> (ReadFlags, String) {
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut reader = Reader::new(watch, &mut buffer);
    let mut told = None;
    within(LIMIT, || match reader.next() {
        Ok(event) => {
            let name = event
                .file_name()
                .map(|name| name.to_string_lossy().into_owned());
            told = Some((event.events(), name.unwrap_or_default()));
            true
        }
        Err(error) => {
            assert_eq!(error, Errno::AGAIN);
            false
        }
    });
    told.expect("no event")
}

#[test]
fn inotify_tells_of_groups_and_of_writes() {
    let Some(bench) = Bench::with(40_000) else {
        return;
    };
    let groups = watch(&bench.path(""), WatchFlags::CREATE | WatchFlags::DELETE);
    bench.make("pod");
    assert_eq!(
        event(&groups),
        (ReadFlags::CREATE | ReadFlags::ISDIR, "pod".to_owned())
    );
    let budgets = watch(&bench.path("pod"), WatchFlags::MODIFY);
    bench.write("pod", "10000").unwrap();
    assert_eq!(
        event(&budgets),
        (ReadFlags::MODIFY, "cpu.rt_runtime_us".to_owned())
    );
    let file = watch(
        &bench.path("pod").join("cpu.rt_runtime_us"),
        WatchFlags::MODIFY,
    );
    bench.write("pod", "20000").unwrap();
    assert_eq!(event(&file).0, ReadFlags::MODIFY);
    fs::remove_dir(bench.path("pod")).unwrap();
    assert_eq!(
        event(&groups),
        (ReadFlags::DELETE | ReadFlags::ISDIR, "pod".to_owned())
    );
}
