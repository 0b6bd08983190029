//! A group of the test's own below the v1 hierarchy of the `cpu` controller, with a part of the root group's budget, and in
//! it the kubelet's groups. Goes with everything in it, also after a failure; a killed run's goes with the next one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use realtime_core::rt::mounts::cgroup_mounts;

/// The groups of this stand-in; the launcher's process id follows.
const PREFIX: &str = "realtime-standin-";
const RUNTIME: &str = "cpu.rt_runtime_us";
const PROCESSES: &str = "cgroup.procs";
/// Other tests on the machine give their parts of the root group back within that time.
const PATIENCE: Duration = Duration::from_mins(5);
/// A group is busy for a moment after its last process has died.
const BUSY: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(2);

/// The classes below the kubelet's group; guaranteed pods have none of their own.
pub const CLASSES: [&str; 2] = ["burstable", "besteffort"];

/// The group.
#[derive(Debug)]
pub struct Own {
    mount: PathBuf,
    /// From the mount.
    name: String,
}

fn mount() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = cgroup_mounts(&text);
    let mut cpu = mounts.into_iter().filter(|mount| mount.has_v1("cpu"));
    cpu.next().map(|mount| PathBuf::from(mount.point))
}

/// Why no budget can be given here; `None`: it can.
pub fn cannot_run() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("groups are made by root only".to_owned());
    }
    let Some(mount) = mount() else {
        return Some("this machine has no cgroup v1 hierarchy with the cpu controller".to_owned());
    };
    let file = mount.join(RUNTIME);
    (!file.exists()).then(|| format!("{} is not there (RT_GROUP_SCHED)", file.display()))
}

impl Own {
    /// Makes it, with a budget and the kubelet's groups. Several at once have different `marks`.
    pub async fn make_with(mark: &str, runtime_us: u32) -> io::Result<Self> {
        let mount = mount().ok_or_else(|| io::Error::other("no v1 cpu hierarchy"))?;
        sweep(&mount);
        let own = Self {
            name: format!("/{PREFIX}{}-{mark}", std::process::id()),
            mount,
        };
        fs::create_dir(own.path(&own.name))?;
        let file = own.path(&own.name).join(RUNTIME);
        let begun = Instant::now();
        while let Err(error) = put(&file, &runtime_us.to_string()) {
            if begun.elapsed() > PATIENCE {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        own.make(&own.pods())?;
        for class in CLASSES {
            own.make(&format!("{}/{class}", own.pods()))?;
        }
        Ok(own)
    }

    /// From the mount.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kubelet's group, from the mount.
    pub fn pods(&self) -> String {
        format!("{}/kubepods", self.name)
    }

    /// On the machine.
    pub fn path(&self, group: &str) -> PathBuf {
        self.mount.join(group.trim_start_matches('/'))
    }

    /// Makes a group.
    pub fn make(&self, group: &str) -> io::Result<()> {
        fs::create_dir(self.path(group))
    }

    /// Puts a process into one.
    pub fn enter(&self, group: &str, pid: i32) -> io::Result<()> {
        put(&self.path(group).join(PROCESSES), &pid.to_string())
    }

    /// Writes a budget as somebody who shouldn't.
    pub fn meddle(&self, group: &str, runtime_us: i64) -> io::Result<()> {
        put(&self.path(group).join(RUNTIME), &runtime_us.to_string())
    }

    /// What a group has, microseconds of each second; `None`: it isn't there.
    pub fn runtime(&self, group: &str) -> Option<i64> {
        let text = fs::read_to_string(self.path(group).join(RUNTIME)).ok()?;
        text.trim().parse().ok()
    }

    /// Removes a group whose processes have ended.
    pub async fn remove(&self, group: &str) -> io::Result<()> {
        let path = self.path(group);
        let begun = Instant::now();
        loop {
            match fs::remove_dir(&path) {
                Err(error) if error.raw_os_error() == Some(nix::libc::EBUSY) => {
                    if begun.elapsed() > BUSY {
                        return Err(error);
                    }
                }
                other => return other,
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The groups below the kubelet's, but for its classes.
    pub fn left(&self) -> Vec<PathBuf> {
        let pods = self.path(&self.pods());
        let classes = CLASSES.map(|class| pods.join(class));
        let places = [pods.clone(), classes[0].clone(), classes[1].clone()];
        let mut found: Vec<PathBuf> = places.iter().flat_map(|place| folders(place)).collect();
        found.retain(|group| !classes.contains(group));
        found
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        clear(&self.path(&self.name));
    }
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    use io::Write as _;
    fs::OpenOptions::new()
        .write(true)
        .open(path)?
        .write_all(text.as_bytes())
}

fn folders(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Groups of runs that are no more.
fn sweep(mount: &Path) {
    for group in folders(mount) {
        let name = group.file_name().and_then(|name| name.to_str());
        let pid = name
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            clear(&group);
        }
    }
}

/// Ends what is in a group and below, and removes it. A wedged thread can't die before it is an ordinary one.
fn clear(group: &Path) {
    for below in folders(group) {
        clear(&below);
    }
    let begun = Instant::now();
    while fs::remove_dir(group).is_err() && group.exists() && begun.elapsed() < BUSY {
        let text = fs::read_to_string(group.join(PROCESSES)).unwrap_or_default();
        for pid in text.lines().filter_map(|line| line.parse().ok()) {
            let _ = Command::new("chrt")
                .args(["--all-tasks", "--other", "--pid", "0", &format!("{pid}")])
                .output();
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(LOOK);
    }
}
