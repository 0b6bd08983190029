//! The one door to the machine: files below a root, commands through a runner. Decides nothing.
//!
//! Every path is absolute on the host and is joined below `root`: `/` as a service, `/host` in a container, a folder in
//! a test. Symbolic links are resolved within the root. Every command is logged, limited in time, ended with all its
//! children, and the end of its stderr is in the error.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

mod files;
mod resolve;
pub mod run;
pub(crate) mod tail;

pub use files::FileFacts;
pub use run::{Output, Runner};

/// More bytes than any file that is read here has. A bigger one is an error, not memory.
pub const READ_LIMIT: u64 = 16 << 20;

/// The host.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    runner: Runner,
}

/// Something on the host could not be read, written or run.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried: `reading`, `listing`, `writing`.
        action: &'static str,
        /// The path on the host; on a write with the value.
        path: String,
        /// The kernel's word.
        source: std::io::Error,
    },
    /// A file that is too big to be what it should be.
    #[error("reading {path}: it has more than {READ_LIMIT} bytes")]
    TooBig {
        /// The path.
        path: String,
    },
    /// A command could not be started.
    #[error("starting `{command}`: {source}")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// A command did not end in time and was ended.
    #[error("`{command}` did not end within {} s and was ended; it said: {stderr}", limit.as_secs())]
    TimeLimit {
        /// The command line.
        command: String,
        /// The limit.
        limit: Duration,
        /// The end of its stderr.
        stderr: String,
    },
    /// A command's output is more than anything that is read here.
    #[error(
        "`{command}` ended well, but it printed more than {} bytes",
        run::STDOUT_LIMIT
    )]
    TooMuchOutput {
        /// The command line.
        command: String,
    },
    /// A command's output, or a file, is not what it should be.
    #[error("what `{command}` printed can't be used: {why}")]
    Unreadable {
        /// The command line.
        command: String,
        /// What is wrong with it.
        why: String,
    },
    /// A command ended with an error.
    #[error("`{command}` ended with {}: {stderr}", code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}")))]
    Failed {
        /// The command line.
        command: String,
        /// Its exit code; `None` when a signal ended it.
        code: Option<i32>,
        /// The end of its stderr.
        stderr: String,
    },
}

impl HostError {
    /// Whether a file isn't there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::File { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}

impl Host {
    /// A host below a root. `commands`: take programs from this folder instead of the host's own (tests, the sandbox).
    pub fn new(root: impl Into<PathBuf>, commands: Option<PathBuf>) -> Self {
        let root = root.into();
        Self {
            runner: Runner::new(&root, commands),
            root,
        }
    }

    /// Where the host's `/` is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// How commands are run.
    pub fn runner(&self) -> &Runner {
        &self.runner
    }

    /// A path of the host below the root, as text: `..` never leaves it, but symbolic links are not looked at. To open
    /// something, use the functions that resolve them within the root.
    pub fn path(&self, path: &str) -> PathBuf {
        let mut joined = self.root.clone();
        let mut depth = 0;
        for component in Path::new(path).components() {
            match component {
                Component::Normal(name) => {
                    joined.push(name);
                    depth += 1;
                }
                Component::ParentDir if depth > 0 => {
                    joined.pop();
                    depth -= 1;
                }
                _ => {}
            }
        }
        joined
    }

    /// Whether a program is there: in the folder that replaces the host's programs, else where a host has them.
    pub fn has_program(&self, name: &str) -> bool {
        match self.runner.commands() {
            Some(commands) => commands.join(name).exists(),
            None => ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
                .iter()
                .any(|folder| self.exists(&format!("{folder}/{name}"))),
        }
    }

    /// Runs a command on the host, and gives its output when it ended with 0.
    pub async fn run(&self, argv: &[&str], limit: Duration) -> Result<Output, HostError> {
        self.runner.run(argv, limit).await
    }
}
