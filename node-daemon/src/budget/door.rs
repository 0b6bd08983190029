//! How a runtime's word of a container that is about to start reaches the loop, and what it is answered. Types only.

use std::collections::BTreeMap;

use realtime_core::rt::group::ContainerId;
use realtime_core::rt::identity::Identity;
pub use realtime_core::rt::outcome::Verdict as Answer;
use tokio::sync::{mpsc, oneshot};

/// As many words as wait at most; a sender waits for room, within its own bound.
pub const WAITING: usize = 1024;

/// A container whose process exists and has not begun the container's program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Its id.
    pub id: ContainerId,
    /// Whose it is. Never a sandbox.
    pub identity: Identity,
    /// The pod's annotations, as far as the runtime passes them on.
    pub annotations: BTreeMap<String, String>,
    /// Its first process, as the host counts.
    pub pid: Option<u32>,
}

/// A word, and where its answer goes. A sender that has stopped waiting drops its end.
#[derive(Debug)]
pub struct Knock {
    /// Who.
    pub announced: Announced,
    /// The answer.
    pub answer: oneshot::Sender<Answer>,
}

/// Where words are brought.
pub type Door = mpsc::Sender<Knock>;
