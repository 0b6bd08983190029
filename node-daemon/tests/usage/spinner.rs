//! A container's groups as a kubelet with containerd and cgroupfs makes them, in a test group of its own, and in the
//! container's one SCHED_FIFO thread that never blocks: on a budget of 2 %, so that the machine stays usable.
//!
//! All of it goes with the value, also when the test fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The budget of the container, microseconds of each second. Enough at 250 ticks for a thread to die by SIGKILL.
pub const BUDGET: i64 = 20_000;
/// As the test's thread.
pub const PRIORITY: u32 = 7;
/// For a machine that is starved, and for budgets that other tests have and give back.
const LONG: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(50);

pub struct Spinner {
    /// From the outermost to the container's.
    groups: Vec<PathBuf>,
    child: Option<Child>,
    pub uid: String,
    pub id: String,
}

/// Why it can't be had here.
pub fn cannot_run() -> Option<String> {
    let root = Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us");
    if !root.exists() {
        return Some("no cgroup v1 with real-time budgets at /sys/fs/cgroup/cpu".to_owned());
    }
    for program in ["chrt", "unshare"] {
        if Command::new(program).arg("--version").output().is_err() {
            return Some(format!("util-linux's {program} is not here"));
        }
    }
    (!rustix::process::geteuid().is_root()).then(|| "not root".to_owned())
}

impl Spinner {
    /// `name`: of the test, so that two of them don't meet.
    pub fn start(name: &str) -> Self {
        let number = std::process::id();
        let mut spinner = Self {
            groups: Vec::new(),
            child: None,
            uid: format!("{number:08}-0000-4000-8000-{:012x}", name.len()),
            id: format!("{number:032}{:032x}", name.len()),
        };
        let parts = [
            format!("rt-{name}-{number}"),
            "kubepods".to_owned(),
            format!("pod{}", spinner.uid),
            spinner.id.clone(),
        ];
        let mut path = PathBuf::from("/sys/fs/cgroup/cpu");
        for part in parts {
            path.push(part);
            fs::create_dir(&path).unwrap();
            spinner.groups.push(path.clone());
        }
        for group in &spinner.groups {
            eventually(|| fs::write(group.join("cpu.rt_runtime_us"), BUDGET.to_string()).is_ok());
        }
        let tasks = spinner.groups[3].join("tasks");
        let script = format!(
            "echo $$ > '{}' && exec chrt -f {PRIORITY} sh -c 'while :; do :; done'",
            tasks.display()
        );
        let child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        spinner.child = Some(child);
        // The 41st field: SCHED_FIFO.
        eventually(|| {
            fs::read_to_string(&stat).is_ok_and(|stat| stat.split_whitespace().nth(40) == Some("1"))
        });
        spinner
    }

    pub fn tid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        end(self.child.as_mut(), &self.groups);
    }
}

/// The same groups in version 2, with a SCHED_RR thread that only sleeps.
pub struct Sleeper {
    groups: Vec<PathBuf>,
    child: Option<Child>,
    pub id: String,
}

impl Sleeper {
    pub fn start(mount: &Path) -> Self {
        let number = std::process::id();
        let mut sleeper = Self {
            groups: Vec::new(),
            child: None,
            id: format!("{number:064}"),
        };
        let mut path = mount.to_owned();
        let pod = format!("kubepods-burstable-pod{number:08}_0000_4000_8000_000000000000.slice");
        for part in [
            format!("rt-v2-{number}"),
            "kubepods.slice".to_owned(),
            "kubepods-burstable.slice".to_owned(),
            pod,
            format!("cri-containerd-{}.scope", sleeper.id),
        ] {
            path.push(part);
            fs::create_dir(&path).unwrap();
            sleeper.groups.push(path.clone());
        }
        let script = format!(
            "echo $$ > '{}/cgroup.procs' && exec chrt -r 3 sleep 600",
            path.display()
        );
        let child = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        sleeper.child = Some(child);
        // SCHED_RR.
        eventually(|| {
            fs::read_to_string(&stat).is_ok_and(|stat| stat.split_whitespace().nth(40) == Some("2"))
        });
        sleeper
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        end(self.child.as_mut(), &self.groups);
    }
}

/// Ends the process and takes its groups away.
fn end(child: Option<&mut Child>, groups: &[PathBuf]) {
    if let Some(child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
    for group in groups.iter().rev() {
        let end = Instant::now() + LONG;
        while fs::remove_dir(group).is_err() && group.exists() && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
    }
}

/// Waits for what nothing tells.
pub fn eventually(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "never came");
        std::thread::sleep(LOOK);
    }
}
