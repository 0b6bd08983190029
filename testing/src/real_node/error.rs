//! Why a real node can't be had or used. Decides nothing.

use std::io;
use std::path::{Path, PathBuf};

use crate::control_plane::{self, apply};
use crate::programs;

/// Why a real node can't be had or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine can't have one; see [`cannot_run`](super::cannot_run).
    #[error("no real node can run here: {0}")]
    Unsupported(String),
    /// A program can't be built or found.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// A file or directory of ours can't be made, read or written.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// No key or certificate.
    #[error("making certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// A port, a kubeconfig, a client: what the bare control plane does too.
    #[error(transparent)]
    ControlPlane(#[from] control_plane::Error),
    /// The namespaces aren't made, or have ended.
    #[error("the namespaces of the node: {0}")]
    Namespaces(String),
    /// A command on the machine or in the node failed.
    #[error("{command}: {reason}")]
    Command {
        /// What was run.
        command: String,
        /// How it ended, and the end of what it said.
        reason: String,
    },
    /// A program ended that should run.
    #[error("{program} has ended; the end of its log:\n{tail}")]
    Ended {
        /// Which.
        program: &'static str,
        /// The last lines of its log.
        tail: String,
    },
    /// Everything runs and something isn't ready.
    #[error("not ready after {} s: {reason}; the ends of the logs:\n{tails}", super::READY_TIME_LIMIT.as_secs())]
    NotReady {
        /// What was missing at last.
        reason: String,
        /// The last lines of the logs.
        tails: String,
    },
    /// Manifests can't be applied.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// A task of ours was cancelled.
    #[error("a background task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
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
