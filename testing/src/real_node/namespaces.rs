//! The namespaces of a real node, the programs in them, and their end.
//!
//! Two scripts do it, because they have to outlive this process and every test binary has to have them
//! at hand: `outer.sh` and `inner.sh`, which say how. Knows nothing of Kubernetes.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::Error;
use super::cgroups::Hierarchies;

/// Answers take milliseconds; this is for a machine that is starved, or that sweeps up a large rest.
const ANSWER_TIME_LIMIT: Duration = Duration::from_mins(1);

/// Running namespaces; dropping them ends everything in them and waits until nothing is left.
#[derive(Debug)]
pub struct Namespaces {
    directory: PathBuf,
    /// What programs find each other by.
    path: String,
    outer: u32,
    init: u32,
    process: Mutex<Option<Process>>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Namespaces {
    /// Makes them over a directory whose name starts with `realtime-node-` and which they remove at
    /// their end. `group` is the name of the node's control groups, `path` the programs' `PATH`.
    pub fn start(
        directory: &Path,
        group: &str,
        node: &str,
        path: String,
        hierarchies: &Hierarchies,
    ) -> Result<Self, Error> {
        let failed = |reason: &str| Error::Namespaces(reason.to_owned());
        // A session of its own: no signal of the terminal or for the launcher's group reaches it.
        let mut child = Command::new("setsid")
            .args(["unshare", "--mount", "--propagation", "private", "sh", "-c"])
            .args([include_str!("outer.sh"), "realtime-node"])
            .arg(directory)
            .args([group, include_str!("inner.sh"), node])
            .arg(if hierarchies.lack_hugetlb() {
                "hugetlb"
            } else {
                ""
            })
            .args(hierarchies.0.iter().map(|hierarchy| &hierarchy.path))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| failed(&format!("starting setsid: {error}")))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("no pipes"));
        };
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut namespaces = Self {
            directory: directory.to_owned(),
            path,
            outer: child.id(),
            init: 0,
            process: Mutex::new(Some(Process {
                child,
                stdin,
                lines,
            })),
        };
        namespaces.expect(None, "ready")?;
        // The script's only child is `unshare`, whose only child is the first process in there.
        namespaces.init = only_child(namespaces.outer)
            .and_then(only_child)
            .ok_or_else(|| failed("their first process is not to be found"))?;
        Ok(namespaces)
    }

    /// The process id, out here, of the first process in there.
    pub fn init(&self) -> u32 {
        self.init
    }

    /// The process id of the script that cleans up.
    pub fn outer(&self) -> u32 {
        self.outer
    }

    /// Starts a program in there; what it prints goes to `NAME.log` in the directory. The name is one
    /// word.
    pub fn start_program(
        &self,
        name: &str,
        executable: &Path,
        arguments: &[String],
    ) -> Result<(), Error> {
        let mut script = format!(
            "cd {} || exit 1\nexport PATH={}\nexec {}",
            quote(&self.directory),
            quote(Path::new(&self.path)),
            quote(executable)
        );
        for argument in arguments {
            // Writing to a String can't fail.
            let _ = write!(script, " \\\n  {}", quote(Path::new(argument)));
        }
        script.push('\n');
        let path = self.directory.join(format!("{name}.run"));
        fs::write(&path, script).map_err(Error::io("writing", &path))?;
        self.expect(Some(&format!("start {name}")), "started")?;
        Ok(())
    }

    /// Kills a program with SIGKILL and waits for its end; nothing happens if it doesn't run.
    pub fn stop_program(&self, name: &str) -> Result<(), Error> {
        self.expect(Some(&format!("stop {name}")), "stopped")?;
        Ok(())
    }

    /// Sends a program a signal, named as `kill` does: `TERM`.
    pub fn signal_program(&self, name: &str, signal: &str) -> Result<(), Error> {
        self.expect(Some(&format!("signal {name} {signal}")), "signalled")?;
        Ok(())
    }

    /// Whether a program was started and hasn't ended since.
    pub fn is_alive(&self, name: &str) -> Result<bool, Error> {
        let answer = self.ask(Some(&format!("alive {name}")))?;
        Ok(answer.starts_with("alive"))
    }

    /// A command that will run in there, with `PATH` set. It isn't ended with this process, but with
    /// the namespaces.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init))
            .args(["--mount", "--net", "--pid", "--uts", "--wd", "--"])
            .arg(program)
            .env("PATH", &self.path)
            .stdin(Stdio::null());
        command
    }

    /// A path in there as one out here. An absolute symbolic link on the way leads astray.
    pub fn path_inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    fn expect(&self, command: Option<&str>, word: &str) -> Result<String, Error> {
        let answer = self.ask(command)?;
        if answer.starts_with(word) {
            return Ok(answer);
        }
        let reason = answer.strip_prefix("failed ").unwrap_or(&answer);
        Err(Error::Namespaces(reason.to_owned()))
    }

    /// Each command has exactly one line as its answer.
    fn ask(&self, command: Option<&str>) -> Result<String, Error> {
        let ended = || Error::Namespaces("they have ended".to_owned());
        let mut process = lock(&self.process);
        let process = process.as_mut().ok_or_else(ended)?;
        if let Some(command) = command {
            writeln!(process.stdin, "{command}").map_err(|_| ended())?;
        }
        process
            .lines
            .recv_timeout(ANSWER_TIME_LIMIT)
            .map_err(|error| match error {
                mpsc::RecvTimeoutError::Disconnected => ended(),
                mpsc::RecvTimeoutError::Timeout => {
                    Error::Namespaces(format!("no answer to {:?}", command.unwrap_or("the start")))
                }
            })
    }

    /// Ends everything in there, and waits until groups and directory are gone.
    pub fn end(&self) {
        if let Some(process) = lock(&self.process).take() {
            let Process {
                mut child, stdin, ..
            } = process;
            drop(stdin);
            // An error can only say that it is gone already.
            let _ = child.wait();
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.end();
    }
}

fn only_child(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}

/// A panic elsewhere doesn't make this state wrong: each change of it is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As one word of a shell.
fn quote(text: &Path) -> String {
    format!("'{}'", text.to_string_lossy().replace('\'', r"'\''"))
}
