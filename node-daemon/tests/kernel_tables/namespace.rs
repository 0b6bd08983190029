//! A PID namespace whose first process dies, and can't end: it waits for a child that is frozen, and a frozen process
//! doesn't die before it is thawed. Gone with its test, also after a failure; what a killed run has left is thawed by the
//! next one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use realtime_node_daemon::sched;
use realtime_testing::skip;
use rustix::process::{Pid, Signal, kill_process};

use super::bench::{Bench, TASKS, left_behind, put, remove, remove_left_behind};
use super::task::{LIMIT, Task, fifo, on_cpu, ordinary, ran, within};

const STATE: &str = "freezer.state";
/// PF_EXITING of the kernel's flags of a process.
const EXITING: u64 = 0x4;

pub struct Namespace {
    /// Its first process, and the only child of that.
    pub first: i32,
    pub child: i32,
    /// `unshare`, which waits for the first.
    _parent: Task,
    freezer: PathBuf,
}

impl Namespace {
    /// Its first process, with SCHED_FIFO, in a group that has a budget, on one CPU. `None`, and said, where nothing can be
    /// frozen.
    pub fn in_group(bench: &Bench, below: &str, cpu: usize) -> Option<Self> {
        let Some(mount) = freezer() else {
            skip::skip("this machine has no cgroup v1 hierarchy with the freezer");
            return None;
        };
        for group in left_behind(&mount) {
            let _ = put(&group.join(STATE), "THAWED");
        }
        remove_left_behind(&mount);
        let parent = Task::parent_of_a_namespace();
        let first = only_child(parent.pid());
        let namespace = Self {
            first,
            child: only_child(first),
            _parent: parent,
            freezer: mount.join(&bench.top[1..]),
        };
        fs::create_dir(&namespace.freezer).unwrap();
        put(&namespace.freezer.join(TASKS), &namespace.child.to_string()).unwrap();
        put(&namespace.freezer.join(STATE), "FROZEN").unwrap();
        let state = || fs::read_to_string(namespace.freezer.join(STATE)).unwrap();
        assert!(within(LIMIT, || state() == "FROZEN\n"));
        bench.take_in(below, first).unwrap();
        on_cpu(first, cpu);
        sched::set(first, &fifo(10)).unwrap();
        Some(namespace)
    }

    /// Ends the first process, which comes as far as to wait for its child.
    pub fn first_dies(&self) {
        let _ = kill_process(Pid::from_raw(self.first).unwrap(), Signal::KILL);
        let waits = || matches!(stat(self.first), Some(('S', flags)) if flags & EXITING != 0);
        assert!(within(LIMIT, waits), "{:?}", stat(self.first));
    }

    /// Its child dies, and the first process has only to wake up to end.
    pub fn child_dies(&self) {
        put(&self.freezer.join(STATE), "THAWED").unwrap();
        assert!(within(LIMIT, || stat(self.child)
            .is_none_or(|(state, _)| state == 'Z')));
    }

    /// The first process is ready to run, and doesn't.
    pub fn first_stands_still(&self, time: Duration) -> bool {
        let before = ran(self.first);
        std::thread::sleep(time);
        stat(self.first).is_some_and(|(state, _)| state == 'R') && ran(self.first) == before
    }

    pub fn first_is_gone(&self) -> bool {
        stat(self.first).is_none()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = put(&self.freezer.join(STATE), "THAWED");
        // Its group doesn't list it any more, and without real-time scheduling it needs no budget.
        let _ = sched::set(self.first, &ordinary());
        let _ = kill_process(Pid::from_raw(self.first).unwrap(), Signal::KILL);
        within(LIMIT, || self.first_is_gone());
        remove(&self.freezer);
    }
}

/// Where it is mounted.
fn freezer() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mounts = realtime_core::rt::mounts::cgroup_mounts(&text);
    let freezer = mounts.iter().find(|mount| mount.has_v1("freezer"))?;
    Some(Path::new(&freezer.point).to_owned())
}

fn only_child(pid: i32) -> i32 {
    let mut child = None;
    let path = format!("/proc/{pid}/task/{pid}/children");
    let there = within(LIMIT, || {
        let children = fs::read_to_string(&path).unwrap_or_default();
        child = children
            .split_whitespace()
            .next()
            .map(|one| one.parse().unwrap());
        child.is_some()
    });
    assert!(there, "{pid} has no child");
    child.unwrap()
}

/// State and the kernel's flags of a process, unless it is gone.
fn stat(pid: i32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = text.rsplit_once(") ")?.1.split(' ');
    let state = words.next()?.chars().next()?;
    Some((state, words.nth(5)?.parse().ok()?))
}
