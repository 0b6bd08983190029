//! What the OCI hook reads and says: a runtime's state of a container that is about to start, the word to the daemon, and
//! the daemon's answer, one JSON object a line. Never reads or sends anything itself.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::group::{ContainerId, GroupError, PodUid};
use super::identity::Identity;
use super::request;

/// As many bytes of a state are read. A pod's annotations have at most 256 KiB together, and CRI-O says them twice: as they
/// are, and as JSON in an annotation of its own. A `<`, one byte, is `\u003c` in the one and `\\u003c` in the other: 3.25 MiB.
pub const MAX_STATE: usize = 4 << 20;
/// As many bytes of a container's OCI specification (`config.json`) are read. Real ones have 10 to 100 KiB; one with an
/// environment as large as the kernel allows has 2 MiB.
pub const MAX_SPECIFICATION: usize = 4 << 20;
/// As many bytes a word has at most, its newline included: a pod's annotations, quoted.
pub const MAX_WORD: usize = 512 << 10;
/// As many bytes an answer has at most, its newline included.
pub const MAX_ANSWER: usize = 16 << 10;
/// As many characters of a reason are told: the end of it must not be lost in an Event (1,024 bytes).
pub const MAX_REASON: usize = 900;

/// What a runtime gives a hook on its standard input (OCI runtime specification, "State"). Only what is used; nothing
/// but the id is insisted on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct State {
    /// The container's id.
    pub id: String,
    /// Its first process. 0 and none: it isn't told.
    #[serde(default)]
    pub pid: Option<u32>,
    /// The directory with the container's `config.json`.
    #[serde(default)]
    pub bundle: Option<String>,
    /// The container's annotations.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A container's OCI specification, of which only the annotations are used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Specification {
    /// Its annotations.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What the hook says to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The container's id.
    pub id: String,
    /// Its first process, as the host counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid, where the runtime says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The container's name.
    pub container: String,
    /// The annotations that concern us.
    pub annotations: BTreeMap<String, String>,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer")]
pub enum Answer {
    /// It asks for nothing.
    NotAsked,
    /// What it asks for is in place.
    Applied,
    /// It doesn't get it.
    Refused {
        /// Why, with the remedy.
        reason: String,
    },
}

/// What there is to do for a container, by its annotations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Nothing: nobody asks, or it is a pod's sandbox.
    Nothing,
    /// It asks, and the annotations don't say whose it is. No kubelet's container.
    Nobodys,
    /// Say this to the daemon.
    Say(Word),
}

/// A text is none of these.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It is not JSON, or something is missing.
    #[error("reading {what}: {source}")]
    Json {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An id that names no group.
    #[error("reading a hook's word: {0}")]
    Id(#[from] GroupError),
    /// A name that is empty.
    #[error("reading a hook's word: {0} is empty")]
    Empty(&'static str),
    /// More than is read.
    #[error(
        "a hook's word has {0} bytes, and {MAX_WORD} are read: the pod's annotations are too long"
    )]
    TooLong(usize),
}

impl State {
    /// From what came on the standard input.
    pub fn parse(bytes: &[u8]) -> Result<Self, HookError> {
        json("the container's state", bytes)
    }
}

impl Specification {
    /// From `config.json`.
    pub fn parse(bytes: &[u8]) -> Result<Self, HookError> {
        json("the container's config.json", bytes)
    }
}

impl Errand {
    /// What a container with that id, process and annotations means.
    pub fn of(id: &str, pid: Option<u32>, annotations: &BTreeMap<String, String>) -> Self {
        if !request::asks(annotations) {
            return Self::Nothing;
        }
        let Some(identity) = Identity::of(annotations) else {
            return Self::Nobodys;
        };
        let Identity {
            namespace,
            pod,
            uid,
            container,
        } = identity;
        let Some(container) = container else {
            return Self::Nothing;
        };
        let ours = annotations.iter().filter(|(key, _)| concerns_us(key));
        Self::Say(Word {
            id: id.to_owned(),
            pid: pid.filter(|pid| *pid != 0),
            namespace,
            pod,
            uid: uid.map(|uid| uid.as_str().to_owned()),
            container,
            annotations: ours.map(|(k, v)| (k.clone(), v.clone())).collect(),
        })
    }
}

impl Word {
    /// As it is sent.
    pub fn line(&self) -> Result<String, HookError> {
        let line = line("a hook's word", self)?;
        if line.len() > MAX_WORD {
            return Err(HookError::TooLong(line.len()));
        }
        Ok(line)
    }

    /// From a line, believed only as far as it names a container.
    pub fn parse(line: &[u8]) -> Result<(ContainerId, Identity, Self), HookError> {
        let word: Self = json("a hook's word", line)?;
        let id = ContainerId::new(&word.id)?;
        for (what, text) in [
            ("namespace", &word.namespace),
            ("pod", &word.pod),
            ("container", &word.container),
        ] {
            if text.is_empty() {
                return Err(HookError::Empty(what));
            }
        }
        let identity = Identity {
            namespace: word.namespace.clone(),
            pod: word.pod.clone(),
            uid: word.uid.as_deref().map(PodUid::new).transpose()?,
            container: Some(word.container.clone()),
        };
        Ok((id, identity, word))
    }
}

impl Answer {
    /// A refusal, its reason cut to [`MAX_REASON`] characters, on one line.
    pub fn refused(reason: &str) -> Self {
        Self::Refused {
            reason: one_line(reason),
        }
    }

    /// As it is sent.
    pub fn line(&self) -> Result<String, HookError> {
        line("an answer", self)
    }

    /// From a line. The reason is cut and put on one line here too: it ends in a pod's Event.
    pub fn parse(line: &[u8]) -> Result<Self, HookError> {
        Ok(match json("the daemon's answer", line)? {
            Self::Refused { reason } => Self::refused(&reason),
            other => other,
        })
    }
}

/// A text without what could begin another line, and not too long.
pub fn one_line(text: &str) -> String {
    text.chars()
        .take(MAX_REASON)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The contract's annotations, and those by which a kubelet marks a static pod.
fn concerns_us(key: &str) -> bool {
    key == request::REALTIME
        || key == request::RT_RUNTIME_US
        || key.starts_with("realtime.openshift.io/")
        || key.starts_with("kubernetes.io/config.")
}

fn json<'a, T: Deserialize<'a>>(what: &'static str, bytes: &'a [u8]) -> Result<T, HookError> {
    serde_json::from_slice(bytes).map_err(|source| HookError::Json { what, source })
}

/// JSON puts no newline into a line: it writes those of a text as `\n`.
fn line<T: Serialize>(what: &'static str, value: &T) -> Result<String, HookError> {
    let mut line =
        serde_json::to_string(value).map_err(|source| HookError::Json { what, source })?;
    line.push('\n');
    Ok(line)
}
