//! The real node daemon's process over a simulated host: started, read, stopped at any line of its log, killed.
//! Knows nothing of what the daemon does.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};

use super::process;

/// `write` to standard output (which is nothing here, or standard error's copy) and to standard error, as
/// `/proc/<pid>/syscall` writes them on x86-64.
#[cfg(target_arch = "x86_64")]
const WRITING: [&str; 2] = ["1 0x1 ", "1 0x2 "];
/// The same on aarch64.
#[cfg(not(target_arch = "x86_64"))]
const WRITING: [&str; 2] = ["64 0x1 ", "64 0x2 "];

/// One page: a pipe of this size holds one packet.
const ONE_PACKET: i32 = 4096;
/// Longer than a line of the log.
const LONGEST_LINE: usize = 4096;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Where a daemon's log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Log {
    /// Appended to a file; the daemon runs freely.
    File(PathBuf),
    /// To whoever reads it: the daemon is stopped before each line until [`Daemon::step`] lets that line pass.
    Stepwise,
}

/// How the daemon is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Further environment variables.
    pub environment: Vec<(String, String)>,
}

/// What one step of a stepwise daemon came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// This line was written; the daemon goes on to the next.
    Line(String),
    /// The daemon has ended, and nothing is left to read.
    Ended,
    /// Nothing was written in the time given: the daemon waits for something else.
    Quiet,
}

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    /// The reading end, when it runs stepwise.
    pipe: Option<File>,
    /// Whether the packet that was put into the pipe before the start is still to be taken out.
    primed: bool,
}

impl Daemon {
    /// Starts it.
    pub fn start(launch: &Launch, log: &Log) -> io::Result<Self> {
        let mut command = process::mortal(&launch.program);
        command
            .args(&launch.arguments)
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        let pipe = match log {
            Log::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path)?;
                command.stdout(file.try_clone()?).stderr(file);
                None
            }
            Log::Stepwise => {
                let (reader, writer) = one_packet_pipe()?;
                command.stdout(Stdio::null()).stderr(writer);
                Some(File::from(reader))
            }
        };
        let primed = pipe.is_some();
        // The command, and with it our copy of the writing end, is dropped in there.
        let child = process::spawn(command)?;
        Ok(Self {
            child,
            pipe,
            primed,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Lets the line pass before which the daemon is stopped, and gives the line before it, which has left the pipe.
    /// The first step gives an empty line.
    pub fn step(&mut self, patience: Duration) -> io::Result<Stepped> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(Stepped::Quiet);
        };
        if !readable(pipe, patience)? {
            return Ok(Stepped::Quiet);
        }
        let mut packet = [0; LONGEST_LINE];
        let length = pipe.read(&mut packet)?;
        if length == 0 {
            return Ok(Stepped::Ended);
        }
        if std::mem::take(&mut self.primed) {
            return Ok(Stepped::Line(String::new()));
        }
        let text = String::from_utf8_lossy(packet.get(..length).unwrap_or_default());
        Ok(Stepped::Line(text.trim_end().to_owned()))
    }

    /// Waits until the daemon is stopped before a line. False: it ended, or had nothing to write in that time.
    pub fn wait_stopped(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.runs() {
            if self.is_stopped() {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        false
    }

    /// Asleep in a write, with a packet still in the pipe: without one it is about to wake up.
    fn is_stopped(&self) -> bool {
        let full = self
            .pipe
            .as_ref()
            .is_some_and(|pipe| readable(pipe, Duration::ZERO).unwrap_or(false));
        if !full {
            return false;
        }
        let tasks = format!("/proc/{}/task", self.child.id());
        let Ok(tasks) = std::fs::read_dir(tasks) else {
            return false;
        };
        tasks.flatten().any(|task| {
            std::fs::read_to_string(task.path().join("syscall"))
                .is_ok_and(|call| WRITING.iter().any(|write| call.starts_with(write)))
        })
    }

    /// `kill -9`, and nothing else.
    pub fn kill(mut self) {
        self.end();
    }

    /// What an orderly shutdown does: asks it to end, and kills it when it doesn't.
    pub fn terminate(mut self, patience: Duration) {
        let Ok(pid) = i32::try_from(self.child.id()) else {
            return;
        };
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        // Whoever is stopped before a line can't end.
        drop(self.pipe.take());
        let deadline = Instant::now() + patience;
        while self.runs() && Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN);
        }
        self.end();
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

/// A pipe in packet mode with room for one packet, and one in it: whoever writes stops at once, and goes on by one write
/// for each packet that is read.
fn one_packet_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe2(OFlag::O_DIRECT | OFlag::O_CLOEXEC)?;
    fcntl(writer.as_fd(), FcntlArg::F_SETPIPE_SZ(ONE_PACKET))?;
    nix::unistd::write(&writer, b"\n")?;
    Ok((reader, writer))
}

fn readable(pipe: &File, patience: Duration) -> io::Result<bool> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    let mut descriptors = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut descriptors, timeout)? > 0)
}

/// The lines of a log file that hold this text.
pub fn lines_with(log: &Path, text: &str) -> Vec<String> {
    std::fs::read_to_string(log)
        .unwrap_or_default()
        .lines()
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn launch(script: &str) -> Launch {
        Launch {
            program: PathBuf::from("sh"),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            environment: Vec::new(),
        }
    }

    #[test]
    fn a_stepwise_daemon_does_nothing_after_the_line_that_has_not_passed() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let script = format!(
            "cd {}; for n in 1 2 3; do touch before-$n; echo line $n >&2; done",
            folder.path().display()
        );
        let there = |name: &str| folder.path().join(name).exists();
        let mut daemon = Daemon::start(&launch(&script), &Log::Stepwise).expect("started");
        assert!(daemon.wait_stopped(PATIENCE));
        assert!(there("before-1") && !there("before-2"));
        assert_eq!(
            daemon.step(PATIENCE).expect("step"),
            Stepped::Line(String::new())
        );
        assert!(daemon.wait_stopped(PATIENCE));
        assert!(there("before-2") && !there("before-3"));
        assert_eq!(
            daemon.step(PATIENCE).expect("step"),
            Stepped::Line("line 1".to_owned())
        );
        assert!(daemon.wait_stopped(PATIENCE));
        daemon.kill();
        assert!(there("before-3"));
    }

    #[test]
    fn the_end_is_seen() {
        let mut daemon = Daemon::start(&launch("echo one >&2"), &Log::Stepwise).expect("started");
        let mut seen = Vec::new();
        while let Stepped::Line(line) = daemon.step(PATIENCE).expect("step") {
            seen.push(line);
        }
        assert_eq!(seen, ["", "one"]);
    }
}
