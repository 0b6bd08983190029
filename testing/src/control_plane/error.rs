//! Why a control plane can't be had or used. Decides nothing.

use std::io;
use std::path::{Path, PathBuf};

use super::{apply, supervisor};
use crate::programs;

/// Why a control plane can't be had or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program can't be built or found.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// A file or directory of ours can't be made or read.
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
    /// No free port.
    #[error("no free port on 127.0.0.1 between {} and {}", super::PORTS.start, super::PORTS.end)]
    NoPort,
    /// The process that starts and ends the programs doesn't do so.
    #[error(transparent)]
    Supervisor(#[from] supervisor::Error),
    /// A program ended before it was ready.
    #[error("{program} ended before it was ready; the end of its log:\n{tail}")]
    Ended {
        /// Which.
        program: &'static str,
        /// The last lines of its log.
        tail: String,
    },
    /// The API server runs and isn't ready.
    #[error("the API server was not ready after {} s: {reason}; the end of its log:\n{tail}", super::READY_TIME_LIMIT.as_secs())]
    NotReady {
        /// What was missing at last.
        reason: String,
        /// The last lines of its log.
        tail: String,
    },
    /// A kubeconfig of ours isn't accepted by the client.
    #[error("reading {}: {source}", .path.display())]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// The reason.
        source: Box<kube::config::KubeconfigError>,
    },
    /// The API server refuses, or the client fails.
    #[error("{action}: {source}")]
    Kube {
        /// What was asked.
        action: String,
        /// The reason.
        source: Box<kube::Error>,
    },
    /// The API server gave no token.
    #[error("the API server gave no token for {0}")]
    NoToken(String),
    /// Manifests can't be applied.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// The audit log isn't switched on.
    #[error("no audit log: start the control plane with Options {{ audit_log: true, .. }}")]
    NoAuditLog,
    /// An admission policy was accepted and doesn't act.
    #[error("the admission policy of pools is not enforced")]
    PolicyNotEnforced,
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

    pub(super) fn kube(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let action = action.into();
        move |source| Self::Kube {
            action,
            source: Box::new(source),
        }
    }
}
