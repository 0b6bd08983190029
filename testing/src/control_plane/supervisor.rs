//! The process that starts a control plane's programs and ends them whatever happens.
//!
//! It is a shell script (`supervisor.sh`, which says how), because it has to outlive this process
//! and every test binary has to have it at hand. Knows nothing of etcd or Kubernetes. Uses threads
//! and not tasks: a control plane may be shared by tests that each have a runtime of their own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Starting and killing take milliseconds; this is for a machine that is starved.
const ANSWER_TIME_LIMIT: Duration = Duration::from_secs(20);

/// The programs that run, by name, and their process ids.
type Running = BTreeMap<String, u32>;

/// Why the supervisor can't do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It doesn't start.
    #[error("starting the supervisor (needs setsid and setpriv of util-linux, and sh): {0}")]
    Spawn(#[source] io::Error),
    /// The file with a program's command line can't be written.
    #[error("writing {}: {source}", .path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// It ended: somebody killed it.
    #[error("the supervisor of the control plane has ended, and its programs with it")]
    Ended,
    /// It doesn't answer.
    #[error("the supervisor of the control plane did not answer {0:?} in time")]
    Silent(String),
}

/// A running supervisor; dropping it ends everything and waits for the end.
#[derive(Debug)]
pub struct Supervisor {
    directory: PathBuf,
    process: Mutex<Option<(Child, ChildStdin)>>,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    running: Running,
    ended: bool,
}

impl Supervisor {
    /// Starts it over a directory whose name starts with `realtime-control-plane-` and that it
    /// removes at its end.
    pub fn start(directory: &Path) -> Result<Self, Error> {
        // A session of its own: no signal of the terminal or for the launcher's group reaches it.
        let mut process = Command::new("setsid")
            .args([
                "sh",
                "-c",
                include_str!("supervisor.sh"),
                "realtime-supervisor",
            ])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::Spawn)?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(Error::Ended);
        };
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let words: Vec<&str> = line.split_whitespace().collect();
                let mut state = lock(&shared.0);
                match words[..] {
                    ["started", name, pid] => {
                        state
                            .running
                            .insert(name.to_owned(), pid.parse().unwrap_or(0));
                    }
                    ["stopped", name] => {
                        state.running.remove(name);
                    }
                    _ => {}
                }
                shared.1.notify_all();
            }
            lock(&shared.0).ended = true;
            shared.1.notify_all();
        });
        Ok(Self {
            directory: directory.to_owned(),
            process: Mutex::new(Some((process, stdin))),
            state,
        })
    }

    /// The supervisor's own process id.
    pub fn pid(&self) -> Option<u32> {
        lock(&self.process)
            .as_ref()
            .map(|(process, _)| process.id())
    }

    /// Starts a program in the directory; what it prints goes to `NAME.log` there. The name is a
    /// shell variable's: lower-case letters and `_`.
    pub fn start_program(
        &self,
        name: &str,
        executable: &Path,
        arguments: &[String],
    ) -> Result<(), Error> {
        let mut script = format!(
            "cd {} || exit 1\nexec {}",
            quote(&self.directory),
            quote(executable)
        );
        for argument in arguments {
            // Writing to a String can't fail.
            let _ = write!(script, " \\\n  {}", quote(Path::new(argument)));
        }
        script.push('\n');
        let path = self.directory.join(format!("{name}.run"));
        fs::write(&path, script).map_err(|source| Error::Write { path, source })?;
        self.command(&format!("start {name}"), |running| {
            running.contains_key(name)
        })
    }

    /// Kills a program and waits for its end; nothing happens if it doesn't run.
    pub fn stop_program(&self, name: &str) -> Result<(), Error> {
        self.command(&format!("stop {name}"), |running| {
            !running.contains_key(name)
        })
    }

    /// The process id of a program that was started and not stopped.
    pub fn program_pid(&self, name: &str) -> Option<u32> {
        lock(&self.state.0).running.get(name).copied()
    }

    /// Whether a program was started and hasn't ended since.
    pub fn is_alive(&self, name: &str) -> bool {
        // An ended program stays a zombie until the supervisor waits for it, so that the id is its.
        self.program_pid(name).is_some_and(|pid| {
            fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
                stat.rsplit_once(") ")
                    .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
            })
        })
    }

    fn command(&self, command: &str, done: impl Fn(&Running) -> bool) -> Result<(), Error> {
        let mut process = lock(&self.process);
        let Some((_, stdin)) = process.as_mut() else {
            return Err(Error::Ended);
        };
        writeln!(stdin, "{command}").map_err(|_| Error::Ended)?;
        drop(process);
        let (state, changed) = &*self.state;
        let (state, waited) = changed
            .wait_timeout_while(lock(state), ANSWER_TIME_LIMIT, |state| {
                !state.ended && !done(&state.running)
            })
            .unwrap_or_else(PoisonError::into_inner);
        match (state.ended, waited.timed_out()) {
            (true, _) => Err(Error::Ended),
            (false, true) => Err(Error::Silent(command.to_owned())),
            (false, false) => Ok(()),
        }
    }

    /// Ends all programs, removes the directory, and waits until that is done.
    pub fn end(&self) {
        if let Some((mut process, stdin)) = lock(&self.process).take() {
            drop(stdin);
            // An error can only say that it is gone already.
            let _ = process.wait();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.end();
    }
}

/// A panic elsewhere doesn't make this state wrong: each change of it is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As one word of a shell.
fn quote(text: &Path) -> String {
    format!("'{}'", text.to_string_lossy().replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_stays_one_word() {
        assert_eq!(quote(Path::new("it's $HOME")), r"'it'\''s $HOME'");
    }

    #[test]
    fn programs_and_directory_are_gone_at_the_end() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let directory = parent.path().join("realtime-control-plane-test");
        fs::create_dir(&directory).expect("directory");
        let supervisor = Supervisor::start(&directory).expect("supervisor");
        let sleep = |name| supervisor.start_program(name, Path::new("sleep"), &["1000".to_owned()]);
        sleep("one").expect("one");
        sleep("two").expect("two");
        let pids = ["one", "two"].map(|name| supervisor.program_pid(name).expect("pid"));
        assert!(supervisor.is_alive("one") && supervisor.is_alive("two"));

        supervisor.stop_program("one").expect("stop");
        assert!(!supervisor.is_alive("one") && supervisor.is_alive("two"));
        supervisor
            .stop_program("one")
            .expect("stopping twice is fine");

        drop(supervisor);
        assert!(!directory.exists());
        for pid in pids {
            assert!(
                !Path::new(&format!("/proc/{pid}")).exists(),
                "{pid} still runs"
            );
        }
    }

    #[test]
    fn a_program_that_ends_is_seen() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let directory = parent.path().join("realtime-control-plane-test");
        fs::create_dir(&directory).expect("directory");
        let supervisor = Supervisor::start(&directory).expect("supervisor");
        supervisor
            .start_program("short", Path::new("false"), &[])
            .expect("start");
        for _ in 0..500 {
            if !supervisor.is_alive("short") {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!supervisor.is_alive("short"), "false still runs after 5 s");
    }
}
