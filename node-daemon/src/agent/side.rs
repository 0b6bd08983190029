//! Who says what the node shall be, and whom it is told: the cluster, or a configuration file alone. The loop is the same.

mod alone;
mod in_cluster;

use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::{RealtimeNodeSpec, RealtimeNodeStatus};
use realtime_core::kernel::{Drain, Next, Observed, Surroundings, Wanted};

use super::{AgentError, Pause};
use crate::cluster::ClusterError;
use crate::host::Host;
use crate::report::Facts;

pub use alone::Alone;
pub use in_cluster::InCluster;

/// One of the two.
pub enum Side {
    /// A node of a cluster: turns, cordon, drain, status, Events.
    Cluster(Box<InCluster>),
    /// A host by itself: a configuration file, and a log.
    Alone(Box<Alone>),
}

impl Side {
    /// What is wanted now; `None`: nothing, or it isn't known yet.
    pub(super) fn spec(
        &mut self,
        host: &Host,
    ) -> Result<Option<(RealtimeNodeSpec, Wanted)>, AgentError> {
        let (spec, retry) = match self {
            Self::Cluster(side) => match side.spec() {
                Some(wish) => wish,
                None => return Ok(None),
            },
            Self::Alone(side) => side.spec(),
        };
        let wanted = super::wanted(&spec, retry.as_deref(), &super::boot(host)?);
        Ok(Some((spec, wanted)))
    }

    /// Whether it is known whether something is wanted.
    pub(super) fn knows(&self) -> bool {
        match self {
            Self::Cluster(side) => side.knows(),
            Self::Alone(_) => true,
        }
    }

    /// Whether the API server doesn't let us see whether something is wanted.
    pub(super) fn is_hidden(&self) -> bool {
        match self {
            Self::Cluster(side) => side.is_hidden(),
            Self::Alone(_) => false,
        }
    }

    /// What was told last, by this daemon or one before.
    pub(super) fn status(&self) -> Option<&RealtimeNodeStatus> {
        match self {
            Self::Cluster(side) => side.status(),
            Self::Alone(_) => None,
        }
    }

    /// Nothing is wanted: what was begun for the cluster is ended, and nothing said.
    pub(super) async fn stand_down(&mut self) -> Result<Pause, ClusterError> {
        match self {
            Self::Cluster(side) => side.stand_down().await?,
            Self::Alone(_) => {}
        }
        Ok(Pause::Change)
    }

    /// The node's side of the cluster. How far the drain is, the loop knows.
    pub(super) async fn surroundings(&mut self) -> Result<Surroundings, ClusterError> {
        match self {
            Self::Cluster(side) => side.surroundings().await,
            Self::Alone(side) => Ok(Surroundings {
                cluster: false,
                may_reboot: side.may_reboot,
                ..Surroundings::default()
            }),
        }
    }

    /// Whether the node may be disturbed by its own last written word.
    pub(super) fn has_turn(&self) -> bool {
        match self {
            Self::Cluster(side) => side.has_turn(),
            Self::Alone(_) => false,
        }
    }

    /// Tells what was seen and decided, when it is something new.
    pub(super) async fn report(
        &mut self,
        wanted: &Wanted,
        observed: &Observed,
        next: &Next,
        facts: &Facts,
    ) -> Result<(), ClusterError> {
        match self {
            Self::Cluster(side) => side.report(wanted, observed, next, facts).await,
            Self::Alone(side) => {
                side.report(wanted, observed, next, facts);
                Ok(())
            }
        }
    }

    /// The RealtimeNode, when its status was written since the last call.
    pub(super) fn told(&mut self) -> Option<&RealtimeNode> {
        match self {
            Self::Cluster(side) => side.told(),
            Self::Alone(_) => None,
        }
    }

    /// Tells that rounds fail again and again on the host.
    pub(super) async fn trouble(&mut self, words: &str) -> Result<(), ClusterError> {
        match self {
            Self::Cluster(side) => side.trouble(words).await,
            Self::Alone(_) => Ok(()),
        }
    }

    pub(super) async fn cordon(&mut self) -> Result<(), ClusterError> {
        match self {
            Self::Cluster(side) => side.cordon().await,
            Self::Alone(_) => Ok(()),
        }
    }

    pub(super) async fn uncordon(&mut self) -> Result<(), ClusterError> {
        match self {
            Self::Cluster(side) => side.uncordon().await,
            Self::Alone(_) => Ok(()),
        }
    }

    /// One pass.
    pub(super) async fn drain(&mut self) -> Result<Drain, ClusterError> {
        match self {
            Self::Cluster(side) => side.drain().await,
            // Without a cluster there are no pods.
            Self::Alone(_) => Ok(Drain::Done),
        }
    }

    /// Whether a reboot may begin by what the API server holds now.
    pub(super) async fn confirm_reboot(&mut self) -> Result<bool, ClusterError> {
        match self {
            Self::Cluster(side) => side.confirm_reboot().await,
            Self::Alone(side) => Ok(side.may_reboot),
        }
    }

    /// After an error: what is known of the cluster is read anew where it was old. Whether that went well.
    pub(super) async fn look_again(&mut self, error: &AgentError) -> bool {
        match (self, error) {
            (Self::Cluster(side), AgentError::Cluster(error)) => side.look_again(error).await,
            _ => false,
        }
    }

    /// Returns when something else is wanted, or granted.
    pub(super) async fn changed(&mut self) {
        match self {
            Self::Cluster(side) => side.changed().await,
            Self::Alone(_) => std::future::pending().await,
        }
    }
}
