//! Groups of a test's own in the version 1 hierarchy of the `cpu` controller, with small budgets, and gone afterwards.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use realtime_node_daemon::cgroup::{Mounts, V1, V2};
use realtime_node_daemon::host::Host;
use realtime_testing::actor::{self, Actor};

/// What takes longer than this on a loaded machine never comes.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The machine's hierarchy, and the actor's program.
pub struct Machine {
    pub host: Host,
    pub v1: V1,
    actor: PathBuf,
    _folder: tempfile::TempDir,
}

/// `None`, loudly, where there are no budgets.
pub fn machine() -> Option<Machine> {
    let host = Host::new("/", None);
    if !rustix::process::geteuid().is_root() {
        realtime_testing::skip("it makes groups and sets policies: it needs root");
        return None;
    }
    let mounts = Mounts::read(&host).unwrap();
    let v1 = mounts.v1_cpu.map(|mount| V1::open(&host, &mount).unwrap());
    let Some(v1) = v1.filter(V1::has_budgets) else {
        realtime_testing::skip("no cgroup v1 hierarchy has cpu.rt_runtime_us (RT_GROUP_SCHED)");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let actor = actor::build(folder.path()).unwrap();
    Some(Machine {
        host,
        v1,
        actor,
        _folder: folder,
    })
}

impl Machine {
    /// A group directly below the root, without a budget.
    pub fn group(&self) -> Group {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = format!("/realtime-policy-{}-{number}", std::process::id());
        Group::made(self.v1.mount(), &path)
    }

    /// The hierarchy of version 2 that is mounted beside version 1, and a group in it; `None`, loudly, where none is.
    pub fn unified(&self) -> Option<(V2, Group)> {
        let Some(mount) = Mounts::read(&self.host).unwrap().v2 else {
            realtime_testing::skip("no cgroup v2 hierarchy is mounted beside version 1");
            return None;
        };
        let path = format!("/realtime-policy-{}", std::process::id());
        let group = Group::made(&mount, &path);
        Some((V2::open(&self.host, &mount).unwrap(), group))
    }

    /// An actor in a group.
    pub fn actor(&self, group: &Group) -> Actor {
        let actor = Actor::start(&self.actor).unwrap();
        group.take(actor.pid());
        actor
    }

    /// An actor where this test is.
    pub fn outsider(&self) -> Actor {
        Actor::start(&self.actor).unwrap()
    }
}

/// A group. Declare it before the actors in it: they go first.
pub struct Group {
    mount: String,
    /// From the mount.
    pub path: String,
}

impl Group {
    fn made(mount: &str, path: &str) -> Self {
        fs::create_dir(format!("{mount}{path}")).unwrap();
        Self {
            mount: mount.to_owned(),
            path: path.to_owned(),
        }
    }

    /// One below, as crun makes it.
    pub fn below(&self, name: &str) -> Self {
        Self::made(&self.mount, &format!("{}/{name}", self.path))
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new(&format!("{}{}", self.mount, self.path)).join(name)
    }

    /// Other tests have budgets at the same time: it may take a moment until there is room.
    pub fn budget(&self, micros: u32) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = fs::write(self.file("cpu.rt_runtime_us"), micros.to_string()) {
            assert!(Instant::now() < deadline, "{}: {error}", self.path);
            sleep(Duration::from_millis(20));
        }
    }

    pub fn take(&self, pid: i32) {
        fs::write(self.file("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let folder = self.file("");
        // A child that its actor has left behind; the group is this test's own, and so is all in it.
        let left = fs::read_to_string(self.file("cgroup.procs")).unwrap_or_default();
        for pid in left.lines().filter_map(|line| line.parse().ok()) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        // The last of a thousand threads takes its time.
        while fs::remove_dir(&folder).is_err() && folder.exists() && Instant::now() < deadline {
            sleep(Duration::from_millis(10));
        }
    }
}
