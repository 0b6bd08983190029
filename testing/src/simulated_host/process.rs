//! Starts programs so that they end with this process, whatever ends it, and reads what they log.
//!
//! The parent-death signal comes when the *thread* that started a program ends; so one thread, which lives as long as
//! this process, starts them all. Knows nothing of hosts or daemons.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

type Job = (Command, Sender<io::Result<Child>>);

/// A command that is killed when this process ends: to be completed with the program's arguments and started by
/// [`spawn`]. It is in a process group of its own, so that a terminal's Ctrl-C is this process's alone to handle.
pub fn mortal(program: &std::path::Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .process_group(0);
    command
}

/// Starts a command from the thread that lives as long as this process.
pub fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, receiver) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in receiver {
                // Whoever asked may have gone: then the program ends with the handle that is dropped unused.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, result) = mpsc::channel();
    let sent = spawner
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, answer));
    let gone = || io::Error::other("the thread that starts programs has ended");
    sent.map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}

/// Every process whose environment holds this assignment: the commands that run on one simulated host.
pub fn with_environment(name: &str, value: &str) -> Vec<i32> {
    let wanted = format!("{name}={value}");
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|one| one == wanted.as_bytes())
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_program_is_started_and_found_by_its_environment() {
        let mut command = mortal(Path::new("sleep"));
        command
            .arg("1000")
            .env("SIMULATED_MARK", "a-mark-of-this-test");
        let mut child = spawn(command).expect("sleep");
        let pid = i32::try_from(child.id()).expect("an id");
        // Between fork and exec the environment is still this process's.
        let found = (0..500).any(|_| {
            thread::sleep(std::time::Duration::from_millis(10));
            with_environment("SIMULATED_MARK", "a-mark-of-this-test").contains(&pid)
        });
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(found);
    }
}
