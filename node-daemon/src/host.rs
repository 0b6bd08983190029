//! The one door to the machine: files below a root, commands through a runner. Decides nothing.
//!
//! Every path is absolute on the host and is joined below `root`: `/` as a service, `/host` in a container, a folder in
//! a test. Symbolic links are resolved within the root. Every command is logged, limited in time, ended with all its
//! children, and the end of its stderr is in the error.

use std::io::{Read as _, Write as _};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

pub mod run;

pub use run::{Output, Runner};

/// More than any file that is read here has. A bigger one is an error, not memory.
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

    /// A path of the host below the root. `..` never leaves it.
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

    /// The text of a file, bytes that are no UTF-8 replaced.
    pub fn read(&self, path: &str) -> Result<String, HostError> {
        let failed = |source| HostError::File {
            action: "reading",
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(self.path(path)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(READ_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > READ_LIMIT {
            return Err(HostError::TooBig {
                path: path.to_owned(),
            });
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The text of a file, `None` when it isn't there.
    pub fn read_optional(&self, path: &str) -> Result<Option<String>, HostError> {
        match self.read(path) {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// The names in a folder, sorted.
    pub fn list(&self, path: &str) -> Result<Vec<String>, HostError> {
        let failed = |source| HostError::File {
            action: "listing",
            path: path.to_owned(),
            source,
        };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.path(path)).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            names.push(name.to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Whether something is there.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Writes a file of ours whole or not at all: a crash leaves the old or the new one. Makes its folder.
    pub fn write_atomically(&self, path: &str, contents: &[u8]) -> Result<(), HostError> {
        let failed = |source| HostError::File {
            action: "writing",
            path: path.to_owned(),
            source,
        };
        let target = self.path(path);
        let folder = target.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut name = target.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let temporary = folder.join(name);
        let mut file = std::fs::File::create(&temporary).map_err(failed)?;
        file.write_all(contents)
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        std::fs::rename(&temporary, &target).map_err(failed)?;
        // The name too must survive a power cut.
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)
    }

    /// Free bytes, for everybody, on the file system of a path.
    pub fn free_bytes(&self, path: &str) -> Result<u64, HostError> {
        let space = rustix::fs::statvfs(self.path(path)).map_err(|error| HostError::File {
            action: "asking for the free space of",
            path: path.to_owned(),
            source: error.into(),
        })?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Runs a command on the host, and gives its output when it ended with 0.
    pub async fn run(&self, argv: &[&str], limit: Duration) -> Result<Output, HostError> {
        self.runner.run(argv, limit).await
    }
}
