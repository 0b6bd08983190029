//! The node's side of the cluster: its RealtimeNode by one watch, its own Node when a decision needs it. Decides nothing.
//!
//! Every write names the resourceVersion that its decision stands on: when the object changed meanwhile, nothing is
//! written, and the next round decides anew. Nothing but this node's own objects is read or written here.

mod answers;
mod connection;
mod own_node;

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::api::PostParams;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher::watcher};
use kube::{Api, Client, ResourceExt as _};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::RealtimeNodeStatus;
use realtime_core::{causes, names};

pub use answers::Answers;
pub use connection::client;
pub use own_node::NodeView;

/// Longer than any answer of an API server that is well; a connection that died silently is noticed after it.
pub const ANSWER: Duration = Duration::from_secs(30);

/// Why something of the cluster could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The object changed since it was looked at: the next round decides anew.
    #[error("{action}: it changed meanwhile")]
    Changed {
        /// What was tried.
        action: String,
    },
    /// The object is not there.
    #[error("{action}: it is not there")]
    Missing {
        /// What was tried.
        action: String,
    },
    /// The API server could not be reached, or did not answer in time.
    #[error("{action}: the API server can't be reached: {words}")]
    Away {
        /// What was tried.
        action: String,
        /// Why.
        words: String,
    },
    /// The API server refused.
    #[error("{action}: {words}")]
    Refused {
        /// What was tried.
        action: String,
        /// Its words.
        words: String,
    },
}

impl ClusterError {
    /// From a client's error.
    pub fn new(action: &str, error: kube::Error) -> Self {
        let action = action.to_owned();
        match error {
            kube::Error::Api(status) if status.code == 409 => Self::Changed { action },
            kube::Error::Api(status) if status.code == 404 => Self::Missing { action },
            // Overload and a server that is just starting are no refusals.
            kube::Error::Api(status) if status.code == 429 || status.code >= 500 => Self::Away {
                action,
                words: status.message.clone(),
            },
            kube::Error::Api(status) => Self::Refused {
                action,
                words: status.message.clone(),
            },
            other => Self::Away {
                action,
                words: causes::told(&other),
            },
        }
    }

    /// Whether nothing is wrong: the next round does better.
    pub fn is_race(&self) -> bool {
        matches!(self, Self::Changed { .. })
    }
}

/// What the API server answered instead of a list: 404 without our kinds, 403 where we may not look.
fn code_of(error: &watcher::Error) -> Option<u16> {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// Waits for an answer, but not for ever.
pub async fn answer<T>(
    action: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ClusterError> {
    match tokio::time::timeout(ANSWER, request).await {
        Ok(result) => result.map_err(|error| ClusterError::new(action, error)),
        Err(_) => Err(ClusterError::Away {
            action: action.to_owned(),
            words: format!("no answer within {} s", ANSWER.as_secs()),
        }),
    }
}

type Watch = Pin<Box<dyn Stream<Item = Result<Event<RealtimeNode>, watcher::Error>> + Send>>;

/// The cluster, as far as it is this node's.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Cluster {
    client: Client,
    name: String,
    realtime_nodes: Api<RealtimeNode>,
    watch: Watch,
    /// The newest version that is known. `None`: there is none.
    seen: Option<RealtimeNode>,
    /// Whether the API server has said once what there is.
    known: bool,
    /// Whether the list that is being read has named it.
    listed: bool,
    /// Whether the last word of the watch was an error; it is told once.
    answers: Answers,
    /// Whether the last word of the watch was that we may not look.
    hidden: bool,
}

impl Cluster {
    /// Begins the one watch; it is read in [`Self::changed`].
    pub fn new(client: Client, name: String) -> Self {
        let realtime_nodes: Api<RealtimeNode> = Api::all(client.clone());
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        Self {
            watch: watcher(realtime_nodes.clone(), config)
                .default_backoff()
                .boxed(),
            client,
            name,
            realtime_nodes,
            seen: None,
            known: false,
            listed: false,
            answers: Answers::of("the RealtimeNode"),
            hidden: false,
        }
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client of the same connection.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The RealtimeNode as it was seen last.
    pub fn seen(&self) -> Option<&RealtimeNode> {
        self.seen.as_ref()
    }

    /// Whether the API server has said once whether there is one.
    pub fn known(&self) -> bool {
        self.known
    }

    /// Whether we may not look: the rights may still come, or be those of a cluster without our kinds, where rt-operator
    /// may look at pods and nothing else.
    pub fn hidden(&self) -> bool {
        self.hidden
    }

    /// Returns when the RealtimeNode is another than [`Self::seen`] was. May be dropped at any time.
    pub async fn changed(&mut self) {
        while let Some(event) = self.watch.next().await {
            if self.answers.hear(&event) {
                self.hidden = false;
            }
            match event {
                Ok(event) => {
                    if self.take(event) {
                        return;
                    }
                }
                Err(error) => {
                    // A cluster without our kinds: nothing is wanted, and that is known.
                    let code = code_of(&error);
                    if code == Some(404) && !std::mem::replace(&mut self.known, true) {
                        return;
                    }
                    let hidden = code == Some(403) && !self.known;
                    if !std::mem::replace(&mut self.hidden, hidden) && hidden {
                        return;
                    }
                }
            }
        }
        // kube's watch never ends.
        std::future::pending::<()>().await;
    }

    /// Takes what the watch tells; says whether it is news.
    fn take(&mut self, event: Event<RealtimeNode>) -> bool {
        match event {
            Event::Init => {
                self.listed = false;
                false
            }
            Event::InitApply(object) => {
                self.listed = true;
                self.accept(object)
            }
            Event::Apply(object) => self.accept(object),
            Event::Delete(object) => {
                // The end of an earlier object of that name is no news.
                let current = self.seen.as_ref().is_some_and(|seen| {
                    seen.metadata.uid == object.metadata.uid || object.metadata.uid.is_none()
                });
                if current {
                    self.seen = None;
                }
                current
            }
            Event::InitDone => {
                let first = !std::mem::replace(&mut self.known, true);
                let gone = !self.listed && self.seen.take().is_some();
                first || gone
            }
        }
    }

    /// Takes an object unless a newer one is known: a watch lags behind our own writes.
    fn accept(&mut self, mut object: RealtimeNode) -> bool {
        // Who wrote which field: nobody asks, and it is larger than the rest.
        object.metadata.managed_fields = None;
        let version = |object: &RealtimeNode| object.resource_version()?.parse::<u64>().ok();
        if let Some(seen) = &self.seen {
            if object.resource_version() == seen.resource_version() {
                return false;
            }
            if let (Some(new), Some(known)) = (version(&object), version(seen))
                && new < known
            {
                return false;
            }
        }
        self.seen = Some(object);
        self.known
    }

    /// Reads it past every cache. What is decided after that stands on what the API server holds.
    pub async fn refresh(&mut self) -> Result<(), ClusterError> {
        let action = format!("reading RealtimeNode {}", self.name);
        let object = answer(&action, self.realtime_nodes.get_opt(&self.name)).await?;
        // Whatever its version: after a restore of the cluster's database they begin lower again.
        self.seen = object;
        self.known = true;
        Ok(())
    }

    /// Writes the whole status, at the resourceVersion at which the object was seen.
    pub async fn write_status(&mut self, status: RealtimeNodeStatus) -> Result<(), ClusterError> {
        let action = format!("writing the status of RealtimeNode {}", self.name);
        let Some(seen) = &self.seen else {
            return Err(ClusterError::Missing { action });
        };
        // The old status is not copied: with many pods it is large.
        let mut metadata = seen.metadata.clone();
        metadata.managed_fields = None;
        let object = RealtimeNode {
            metadata,
            spec: seen.spec.clone(),
            status: Some(status),
        };
        let params = PostParams {
            field_manager: Some(names::DAEMON_FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let written = answer(
            &action,
            self.realtime_nodes
                .replace_status(&self.name, &params, &object),
        )
        .await?;
        self.accept(written);
        Ok(())
    }
}
