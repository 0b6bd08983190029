//! Processes to put into groups: one that sleeps, one that spins. None outlives its test.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use realtime_core::rt::request::{Policy, Scheduling};
use realtime_node_daemon::sched;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Far more than anything here takes on a loaded machine.
pub const LIMIT: Duration = Duration::from_secs(10);

pub struct Task {
    child: Child,
}

impl Task {
    pub fn sleeper() -> Self {
        Self::start("exec sleep 120")
    }

    /// Spins as SCHED_OTHER at first.
    pub fn spinner() -> Self {
        Self::start("while :; do :; done")
    }

    /// Its only child is the first process of a PID namespace and has one child itself. The first one goes with it.
    pub fn parent_of_a_namespace() -> Self {
        Self::start("exec unshare --pid --fork --kill-child sh -c 'sleep 120 & wait' 2>/dev/null")
    }

    fn start(script: &str) -> Self {
        // It goes with the thread that made it, also when that is ended with SIGKILL.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "sh", "-c", script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub fn realtime(&self) -> io::Result<()> {
        sched::set(self.pid(), &fifo(10))
    }

    pub fn ordinary(&self) -> io::Result<()> {
        sched::set(self.pid(), &ordinary())
    }

    pub fn on_cpu(&self, cpu: usize) {
        on_cpu(self.pid(), cpu);
    }

    /// How long it has run.
    pub fn ran(&self) -> Duration {
        ran(self.pid())
    }

    pub fn kill(&self) {
        let _ = kill_process(Pid::from_raw(self.pid()).unwrap(), Signal::KILL);
    }

    /// It is a zombie, or gone.
    pub fn is_dead(&self) -> bool {
        let path = format!("/proc/{}/stat", self.pid());
        std::fs::read_to_string(path).is_ok_and(|text| text.contains(") Z ")) || !self.exists()
    }

    fn exists(&self) -> bool {
        std::fs::exists(format!("/proc/{}", self.pid())).unwrap_or(false)
    }

    pub fn end(mut self) {
        self.ended();
    }

    /// Not real-time any more it needs no budget to die.
    fn ended(&mut self) {
        let _ = self.ordinary();
        self.kill();
        let child = &mut self.child;
        within(LIMIT, || child.try_wait().is_ok_and(|code| code.is_some()));
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.ended();
    }
}

pub fn on_cpu(pid: i32, cpu: usize) {
    let mut mask = CpuSet::new();
    mask.set(cpu);
    sched_setaffinity(Pid::from_raw(pid), &mask).unwrap();
}

/// How long a process has run; nothing when it is gone.
pub fn ran(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

pub fn fifo(priority: u8) -> Scheduling {
    with(Policy::Fifo(priority))
}

pub fn ordinary() -> Scheduling {
    with(Policy::Other)
}

fn with(policy: Policy) -> Scheduling {
    Scheduling {
        policy,
        reset_on_fork: false,
        rttime_us: None,
    }
}

/// Whether it came to be in time.
pub fn within(limit: Duration, mut what: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !what() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}
