//! Runs one command: logged, limited in time, ended with its children, its output bounded. Must not know any program.
//!
//! In a container the command runs chrooted into the host's root, by coreutils' `chroot`: std's `pre_exec` is `unsafe`,
//! and `nsenter` would need the host's PID namespace. A command is the leader of a process group of its own; when its
//! time is over, or nobody waits for it any more, the whole group is ended. What has made a session of its own is out of
//! reach, as it is for a shell. A daemon that is killed leaves its command running: that is wanted, since a package
//! transaction that is cut in two is worse than one that nobody waits for. (An rpm-ostree transaction runs in rpm-ostreed
//! anyway: ending its client with a signal does not end it.) The next daemon finds what it left by looking at the host.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::FusedFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout, timeout_at};

use super::HostError;
use super::tail::{Head, Tail};

/// Bytes of a command's standard output that are kept: more than `rpm-ostree status --json` of any host.
pub const STDOUT_LIMIT: usize = 16 << 20;
/// Bytes of the end of its standard error that are kept: a depsolve problem fits, and so does an Event.
pub const STDERR_LIMIT: usize = 4 << 10;
/// After a SIGTERM a command has so long to end before the SIGKILL: dnf takes its lock off in far less.
const GRACE: Duration = Duration::from_secs(10);
/// A command that has ended may have left a child that holds its output open: so long is it waited for.
const AFTERMATH: Duration = Duration::from_secs(1);
/// Where a host has its programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Names who drives rpm-ostree, in its status and journal.
const CLIENT_ID: &str = "realtime-node-daemon";
/// What tells a program in a commands folder which host is meant.
const ROOT_VARIABLE: &str = "REALTIME_HOST_ROOT";
/// Of our own environment, what a program that downloads needs.
const PASSED_ON: [&str; 7] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// How commands are run.
#[derive(Clone, Debug)]
pub struct Runner {
    root: PathBuf,
    commands: Option<PathBuf>,
    grace: Duration,
}

/// What a command that ended with 0 printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
}

/// A process group that is ended when nobody waits for it any more.
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // That it is gone already is no error. Its number isn't given away while a member lives.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Runner {
    /// Commands of the host below `root`, or out of a folder.
    pub fn new(root: &Path, commands: Option<PathBuf>) -> Self {
        Self {
            root: root.to_owned(),
            commands,
            grace: GRACE,
        }
    }

    /// The same with another time between SIGTERM and SIGKILL.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// The folder that replaces the host's programs.
    pub fn commands(&self) -> Option<&Path> {
        self.commands.as_deref()
    }

    /// Runs a command, and gives its output when it ended with 0.
    pub async fn run(&self, argv: &[&str], limit: Duration) -> Result<Output, HostError> {
        let command = shown(argv);
        tracing::debug!(%command, limit_seconds = limit.as_secs(), "running");
        let began = Instant::now();
        let result = self.run_unlogged(argv, &command, limit).await;
        let seconds = format!("{:.1}", began.elapsed().as_secs_f64());
        match &result {
            Ok(_) => tracing::info!(%command, seconds, "ran"),
            Err(error) => tracing::info!(%command, seconds, %error, "ran, and failed"),
        }
        result
    }

    async fn run_unlogged(
        &self,
        argv: &[&str],
        command: &str,
        limit: Duration,
    ) -> Result<Output, HostError> {
        let deadline = Instant::now() + limit;
        let start = |source| HostError::Start {
            command: command.to_owned(),
            source,
        };
        let mut child = self.prepared(argv).map_err(start)?.spawn().map_err(start)?;
        let group = Group(
            child
                .id()
                .and_then(|id| i32::try_from(id).ok())
                .and_then(Pid::from_raw),
        );
        let mut head = Head::new(STDOUT_LIMIT);
        let mut tail = Tail::new(STDERR_LIMIT);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let status = {
            let reading = async {
                tokio::join!(
                    drain(stdout, |bytes| head.push(bytes)),
                    drain(stderr, |bytes| tail.push(bytes)),
                );
            }
            .fuse();
            tokio::pin!(reading);
            let ended = wait_while_reading(&mut child, reading.as_mut(), deadline).await;
            if ended.is_none() {
                self.end(&mut child, &group, reading.as_mut()).await;
            }
            // What it left behind ends with it, and holds its output no longer.
            drop(group);
            if !reading.is_terminated() {
                let _ = timeout(AFTERMATH, reading).await;
            }
            ended
        };
        let stderr = tail.text();
        let command = command.to_owned();
        match status {
            None => Err(HostError::TimeLimit {
                command,
                limit,
                stderr,
            }),
            Some(Err(source)) => Err(HostError::Start { command, source }),
            Some(Ok(status)) if status.success() && head.more() => {
                Err(HostError::TooMuchOutput { command })
            }
            Some(Ok(status)) if status.success() => Ok(Output {
                stdout: head.text(),
                stderr,
            }),
            Some(Ok(status)) if self.not_found(status, &stderr) => Err(HostError::Start {
                command,
                source: std::io::ErrorKind::NotFound.into(),
            }),
            Some(Ok(status)) => Err(HostError::Failed {
                command,
                code: status.code(),
                stderr,
            }),
        }
    }

    /// The command, ready to be started.
    fn prepared(&self, argv: &[&str]) -> std::io::Result<Command> {
        let [program, arguments @ ..] = argv else {
            return Err(std::io::ErrorKind::InvalidInput.into());
        };
        let mut command = match &self.commands {
            Some(commands) => {
                // Only a name: a path would lead past the folder.
                let name = Path::new(program).file_name().unwrap_or_default();
                let mut command = Command::new(commands.join(name));
                command.env_clear().env(ROOT_VARIABLE, &self.root);
                command
            }
            None if self.chrooted() => {
                let mut command = Command::new("chroot");
                command.env_clear().arg(&self.root).arg(program);
                command
            }
            None => {
                let mut command = Command::new(program);
                command.env_clear();
                command
            }
        };
        command.args(arguments);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("PATH", PATH)
            .env("HOME", "/root")
            .env("LC_ALL", "C.UTF-8")
            .env("RPMOSTREE_CLIENT_ID", CLIENT_ID)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    fn chrooted(&self) -> bool {
        self.commands.is_none() && self.root != Path::new("/")
    }

    /// coreutils' chroot says with 127 that the program isn't there.
    fn not_found(&self, status: ExitStatus, stderr: &str) -> bool {
        self.chrooted() && status.code() == Some(127) && stderr.starts_with("chroot: ")
    }

    /// Asks the whole group to end, and after the grace ends it.
    async fn end(
        &self,
        child: &mut Child,
        group: &Group,
        reading: std::pin::Pin<&mut impl FusedFuture<Output = ()>>,
    ) {
        group.signal(Signal::TERM);
        if wait_while_reading(child, reading, Instant::now() + self.grace)
            .await
            .is_none()
        {
            group.signal(Signal::KILL);
            // A process that sleeps uninterruptibly in the kernel doesn't end even so; nobody waits for it.
            let _ = timeout(self.grace, child.wait()).await;
        }
    }
}

/// The command line as it is logged.
fn shown(argv: &[&str]) -> String {
    argv.join(" ")
}

/// Waits until a child has ended, with its output read meanwhile; `None` when its time is over.
async fn wait_while_reading(
    child: &mut Child,
    mut reading: std::pin::Pin<&mut impl FusedFuture<Output = ()>>,
    deadline: Instant,
) -> Option<std::io::Result<ExitStatus>> {
    let waiting = async {
        loop {
            tokio::select! {
                status = child.wait() => return status,
                () = reading.as_mut(), if !reading.is_terminated() => {}
            }
        }
    };
    timeout_at(deadline, waiting).await.ok()
}

/// Reads a stream to its end, piece by piece.
async fn drain(stream: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut stream) = stream else { return };
    let mut piece = vec![0; 16 << 10];
    while let Ok(count) = stream.read(&mut piece).await {
        if count == 0 {
            break;
        }
        take(&piece[..count]);
    }
}
