//! A group of a test's own below the mount of the `cpu` controller, with a part of the root group's budget. It is removed
//! with everything in it, also after a failure; what a killed run has left is removed by the next one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use realtime_node_daemon::cgroup::{Mounts, V1, v1};
use realtime_node_daemon::host::Host;
use realtime_node_daemon::sched;
use realtime_testing::skip;
use rustix::process::{Pid, Signal, kill_process};

use super::task::{LIMIT, Task, fifo, within};

/// The groups here are of tests.
const PREFIX: &str = "realtime-kernel-tables-";
pub const TASKS: &str = "tasks";

/// The tests share the root group's budget, and with SCHED_FIFO two CPUs.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub struct Bench {
    pub v1: V1,
    /// From the mount.
    pub top: String,
    mount: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    /// With this budget; `None`, and said, where there are no budgets.
    pub fn with(runtime_us: u32) -> Option<Self> {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let host = Host::new("/", None);
        let mounts = Mounts::read(&host).unwrap();
        let Some(mount) = mounts.v1_cpu else {
            skip::skip("this machine has no cgroup v1 hierarchy with the cpu controller");
            return None;
        };
        if !rustix::process::geteuid().is_root() {
            skip::skip("groups are made by root only");
            return None;
        }
        let v1 = V1::open(&host, &mount).unwrap();
        if !v1.has_budgets() {
            skip::skip("this kernel has no budgets for groups (CONFIG_RT_GROUP_SCHED)");
            return None;
        }
        let mount = PathBuf::from(mount);
        remove_left_behind(&mount);
        let bench = Self {
            v1,
            top: format!("/{PREFIX}{}", std::process::id()),
            mount,
            _turn: turn,
        };
        fs::create_dir(bench.path("")).unwrap();
        if runtime_us > 0 {
            // Other tests on this machine have parts of the root group, too.
            let got = within(LIMIT * 3, || {
                bench.write("", &runtime_us.to_string()).is_ok()
            });
            assert!(
                got,
                "the root group has no {runtime_us} µs left for this test"
            );
        }
        Some(bench)
    }

    /// A group of the test by its path below the test's own, from the mount.
    pub fn group(&self, below: &str) -> String {
        if below.is_empty() {
            self.top.clone()
        } else {
            format!("{}/{below}", self.top)
        }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        let group = self.group(below);
        self.mount.join(&group[1..])
    }

    pub fn make(&self, below: &str) {
        fs::create_dir(self.path(below)).unwrap();
    }

    pub fn make_with(&self, below: &str, runtime_us: u32) {
        self.make(below);
        self.write(below, &runtime_us.to_string()).unwrap();
    }

    /// The text as it is, in one call.
    pub fn write(&self, below: &str, text: &str) -> io::Result<()> {
        put(&self.path(below).join(v1::RUNTIME), text)
    }

    pub fn write_period(&self, below: &str, period_us: u64) -> io::Result<()> {
        put(&self.path(below).join(v1::PERIOD), &period_us.to_string())
    }

    pub fn runtime(&self, below: &str) -> i64 {
        self.v1.runtime(&self.group(below)).unwrap().unwrap()
    }

    pub fn read(&self, below: &str, file: &str) -> String {
        fs::read_to_string(self.path(below).join(file)).unwrap()
    }

    pub fn enter(&self, below: &str, task: &Task) -> io::Result<()> {
        self.take_in(below, task.pid())
    }

    pub fn take_in(&self, below: &str, tid: i32) -> io::Result<()> {
        put(&self.path(below).join(TASKS), &tid.to_string())
    }

    /// A sleeping SCHED_FIFO process in a group that has a budget.
    pub fn realtime_sleeper(&self, below: &str) -> Task {
        let task = Task::sleeper();
        self.enter(below, &task).unwrap();
        task.realtime().unwrap();
        task
    }

    /// A SCHED_FIFO process that never blocks, in a group that has a small budget, on one CPU.
    pub fn realtime_spinner(&self, below: &str, cpu: usize) -> Task {
        assert!(
            (1..=200_000).contains(&self.runtime(below)),
            "it would hang the CPU"
        );
        let task = Task::spinner();
        self.enter(below, &task).unwrap();
        task.on_cpu(cpu);
        sched::set(task.pid(), &fifo(10)).unwrap();
        task
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        remove(&self.path(""));
    }
}

/// What the kernel answered.
pub fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

pub fn put(path: &Path, text: &str) -> io::Result<()> {
    // No O_CREAT and no second call: what `fs::write` adds has no place here.
    let file = fs::OpenOptions::new().write(true).open(path)?;
    rustix::io::write(&file, text.as_bytes())?;
    Ok(())
}

/// Ends what is in a group and below, and removes it. A thread that is wedged can't die, not even by SIGKILL, until it
/// gets room: as SCHED_OTHER it needs none.
pub fn remove(group: &Path) {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(&entry.path());
    }
    let gone = within(LIMIT, || {
        let tasks = fs::read_to_string(group.join(TASKS)).unwrap_or_default();
        for task in tasks.lines().filter_map(|line| line.parse().ok()) {
            let _ = sched::set(task, &super::task::ordinary());
            if let Some(pid) = Pid::from_raw(task) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        fs::remove_dir(group).is_ok() || !group.exists()
    });
    if !gone {
        eprintln!("{} could not be removed", group.display());
    }
}

/// Ends and removes the groups of runs that are no more.
pub fn remove_left_behind(mount: &Path) {
    for group in left_behind(mount) {
        // A process that none of them lists any more may stand still there without a budget (`Namespace`).
        for below in fs::read_dir(&group).into_iter().flatten().flatten() {
            let _ = put(&below.path().join(v1::RUNTIME), "10000");
        }
        remove(&group);
    }
}

/// The groups of runs that are no more.
pub fn left_behind(mount: &Path) -> Vec<PathBuf> {
    let is = |name: &str| {
        let pid = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
    };
    let groups = fs::read_dir(mount).unwrap().flatten();
    groups
        .filter(|group| is(&group.file_name().to_string_lossy()))
        .map(|group| group.path())
        .collect()
}
