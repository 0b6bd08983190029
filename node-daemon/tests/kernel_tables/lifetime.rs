//! When a removed group's budget is free again, and how others learn of groups and writes.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use libc::EINVAL;
use realtime_core::rt::plan::Write;
use realtime_node_daemon::cgroup::writer::apply_each;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::bench::{Bench, errno};
use super::task::{LIMIT, Task, within};

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
