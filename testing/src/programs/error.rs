//! Why an upstream program can't be had. Decides nothing.

use std::io;
use std::path::{Path, PathBuf};

use super::ASSETS_VARIABLE;

/// Why a program can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The assets directory lacks a program.
    #[error("{ASSETS_VARIABLE} is set, but {} is no file: put it there or unset the variable", .0.display())]
    NotInAssets(PathBuf),
    /// Nowhere to build into.
    #[error("no cache directory: neither XDG_CACHE_HOME nor HOME is set to an absolute path")]
    NoCache,
    /// A file or directory of ours can't be read or written.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The module's go.mod doesn't require what it is there for.
    #[error("{} requires no version of {upstream}", .path.display())]
    NoVersion {
        /// The go.mod.
        path: PathBuf,
        /// The module that it should require.
        upstream: &'static str,
    },
    /// `go` can't be started.
    #[error(
        "starting `go`: {0}. Install Go 1.26 or later (https://go.dev/dl), or, for etcd, kube-apiserver and kubectl, set \
         {ASSETS_VARIABLE} to a directory with them"
    )]
    NoGo(io::Error),
    /// `go` failed.
    #[error("`go {command}` failed in {}:\n{tail}", .directory.display())]
    Go {
        /// Its arguments.
        command: String,
        /// Where it ran.
        directory: PathBuf,
        /// The end of what it said.
        tail: String,
    },
    /// A C program can't be compiled.
    #[error(
        "compiling {program} with `cc`: {reason}. Install a C compiler and libc6-dev (hack/setup.sh)"
    )]
    C {
        /// Which.
        program: &'static str,
        /// What was wrong.
        reason: String,
    },
}

impl Error {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
