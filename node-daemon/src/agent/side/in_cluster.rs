//! A node of a cluster. What was read last is kept only to spare requests: every write names the version that it stands on.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::{
    NodePhase, NodeTurn, RealtimeNodeSpec, RealtimeNodeStatus,
};
use realtime_core::conditions::{self, Decided, reason};
use realtime_core::kernel::{Cordon, Drain, Next, Observed, Step, Surroundings, Wanted};
use realtime_core::names;

use crate::cluster::{Cluster, ClusterError, NodeView};
use crate::drain;
use crate::events::Events;
use crate::report::{self, Facts};

/// How often words alone are written anew, as in a drain that counts pods.
const WORDS: Duration = Duration::from_secs(15);

/// A node of a cluster.
pub struct InCluster {
    cluster: Cluster,
    events: Events,
    /// The Node as it was read last.
    node: Option<NodeView>,
    /// When a drain began under somebody else's cordon, which has no time of ours.
    drain_began: Option<Timestamp>,
    written: Option<Instant>,
    /// Whether the status was written and [`Self::told`] not asked since.
    fresh: bool,
    stood_down: bool,
}

impl InCluster {
    /// For a cluster whose watch has begun.
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            events: Events::default(),
            node: None,
            drain_began: None,
            written: None,
            fresh: false,
            stood_down: false,
        }
    }

    pub(super) fn status(&self) -> Option<&RealtimeNodeStatus> {
        self.cluster.seen()?.status.as_ref()
    }

    pub(super) fn spec(&self) -> Option<(RealtimeNodeSpec, Option<String>)> {
        let seen = self.cluster.seen().filter(|_| self.cluster.known())?;
        // Going: nothing is begun any more.
        if seen.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let retry = seen.annotations().get(names::ANNOTATION_RETRY).cloned();
        Some((seen.spec.clone(), retry))
    }

    pub(super) fn knows(&self) -> bool {
        self.cluster.known()
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.cluster.hidden()
    }

    pub(super) fn has_turn(&self) -> bool {
        self.status()
            .is_some_and(|status| status.turn == Some(NodeTurn::Taken))
    }

    /// Nobody wants anything: what we cordoned is uncordoned, once, and nothing else is touched or told.
    pub(super) async fn stand_down(&mut self) -> Result<(), ClusterError> {
        if self.stood_down || !self.cluster.known() {
            return Ok(());
        }
        self.drain_began = None;
        match self.cluster.node().await {
            Ok(node) if node.cordon == Cordon::Ours => {
                tracing::info!(
                    step = %"Uncordon",
                    state = %"begin",
                    what = %"nothing is wanted"
                );
                self.cluster.uncordon(&node).await?;
                tracing::info!(step = %"Uncordon", state = %"end");
            }
            Ok(_) | Err(ClusterError::Missing { .. }) => {}
            Err(error) => return Err(error),
        }
        self.node = None;
        self.stood_down = true;
        Ok(())
    }

    pub(super) async fn surroundings(&mut self) -> Result<Surroundings, ClusterError> {
        self.stood_down = false;
        if !self.has_turn() {
            self.drain_began = None;
        }
        let status = self.status();
        let turn = status.and_then(|status| status.turn);
        let settled = status.is_some_and(|status| status.phase == Some(NodePhase::Ready))
            && turn.is_none()
            && self
                .node
                .as_ref()
                .is_some_and(|node| node.cordon != Cordon::Ours);
        if !settled {
            match self.cluster.node().await {
                Ok(node) => self.node = Some(node),
                // What stays on the host goes on; whatever would be written names the version that was seen.
                Err(ClusterError::Away { .. }) if self.has_turn() && self.node.is_some() => {}
                Err(error) => return Err(error),
            }
        }
        let node = self.node.clone().unwrap_or_default();
        let granted = self.cluster.seen().is_some_and(|seen| {
            seen.labels()
                .get(names::LABEL_TURN)
                .is_some_and(|value| value == names::TURN_GRANTED)
        });
        Ok(Surroundings {
            cluster: true,
            granted,
            turn,
            cordon: node.cordon,
            settled: node.settled,
            ..Surroundings::default()
        })
    }

    pub(super) async fn report(
        &mut self,
        wanted: &Wanted,
        observed: &Observed,
        next: &Next,
        facts: &Facts,
    ) -> Result<(), ClusterError> {
        let Some(seen) = self.cluster.seen() else {
            return Ok(());
        };
        let now = Time(Timestamp::now());
        let status = report::status(seen, wanted, observed, next, facts, &now);
        let none = RealtimeNodeStatus::default();
        let old = seen.status.as_ref().unwrap_or(&none);
        if status == *old {
            return Ok(());
        }
        let lately = self.written.is_some_and(|when| when.elapsed() < WORDS);
        if lately && next.step == Step::Drain && report::same_but_words(&status, old) {
            return Ok(());
        }
        let before = old.phase;
        self.write(status, before).await
    }

    async fn write(
        &mut self,
        status: RealtimeNodeStatus,
        old: Option<NodePhase>,
    ) -> Result<(), ClusterError> {
        let news = report::news(old, &status);
        let (phase, turn) = (status.phase, status.turn);
        self.cluster.write_status(status).await?;
        self.written = Some(Instant::now());
        self.fresh = true;
        tracing::info!(
            step = %"Report",
            phase = phase.map(tracing::field::debug),
            turn = turn.map(tracing::field::debug)
        );
        if let Some(news) = news {
            let regarding = self.regarding(phase);
            let client = self.cluster.client().clone();
            let name = self.cluster.name().to_owned();
            self.events.publish(&client, &name, &regarding, news).await;
        }
        Ok(())
    }

    pub(super) fn told(&mut self) -> Option<&RealtimeNode> {
        std::mem::take(&mut self.fresh)
            .then(|| self.cluster.seen())
            .flatten()
    }

    /// The objects that a phase's Event is about.
    fn regarding(&self, phase: Option<NodePhase>) -> Vec<ObjectReference> {
        let mut regarding: Vec<ObjectReference> = self
            .cluster
            .seen()
            .map(|seen| seen.object_ref(&()))
            .into_iter()
            .collect();
        if report::concerns_the_node(phase) {
            let uid = self.node.as_ref().and_then(|node| node.uid());
            regarding.push(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(self.cluster.name().to_owned()),
                uid: uid.map(str::to_owned),
                ..ObjectReference::default()
            });
        }
        regarding
    }

    /// The host can't be looked at: Degraded until it can. The turn, and what was begun, stay as they are.
    pub(super) async fn trouble(&mut self, words: &str) -> Result<(), ClusterError> {
        let Some(seen) = self.cluster.seen() else {
            return Ok(());
        };
        let old = seen.status.clone().unwrap_or_default();
        let decided = Decided::new(
            conditions::DEGRADED,
            Some(true),
            reason::HOST_UNREADABLE,
            words,
        );
        let condition = decided.timed(
            &old.conditions,
            seen.metadata.generation,
            &Time(Timestamp::now()),
        );
        let mut status = RealtimeNodeStatus {
            phase: Some(NodePhase::Degraded),
            ..old.clone()
        };
        status
            .conditions
            .retain(|condition| condition.type_ != conditions::DEGRADED);
        status.conditions.push(condition);
        if report::same_but_words(&status, &old) {
            return Ok(());
        }
        self.write(status, old.phase).await
    }

    pub(super) async fn cordon(&mut self) -> Result<(), ClusterError> {
        if let Some(node) = &self.node {
            self.node = Some(self.cluster.cordon(node, Timestamp::now()).await?);
        }
        Ok(())
    }

    pub(super) async fn uncordon(&mut self) -> Result<(), ClusterError> {
        if let Some(node) = &self.node {
            self.node = Some(self.cluster.uncordon(node).await?);
        }
        Ok(())
    }

    pub(super) async fn drain(&mut self) -> Result<Drain, ClusterError> {
        let now = Timestamp::now();
        let since = self.node.as_ref().and_then(|node| node.since);
        let since = since.unwrap_or_else(|| *self.drain_began.get_or_insert(now));
        drain::pass(self.cluster.client(), self.cluster.name(), since, now).await
    }

    /// The turn is still taken, the phase that was written is what the API server holds, and nothing else is wanted
    /// by now.
    pub(super) async fn confirm_reboot(&mut self) -> Result<bool, ClusterError> {
        self.cluster.refresh().await?;
        Ok(self.cluster.seen().is_some_and(|seen| {
            let status = seen.status.as_ref();
            seen.metadata.deletion_timestamp.is_none()
                && status.is_some_and(|status| {
                    status.turn == Some(NodeTurn::Taken)
                        && status.phase == Some(NodePhase::Rebooting)
                        && status.observed_generation == seen.metadata.generation
                })
        }))
    }

    pub(super) async fn look_again(&mut self, error: &ClusterError) -> bool {
        match error {
            ClusterError::Changed { .. } | ClusterError::Missing { .. } => {
                self.node = None;
                self.cluster.refresh().await.is_ok()
            }
            ClusterError::Away { .. } | ClusterError::Refused { .. } => false,
        }
    }

    pub(super) async fn changed(&mut self) {
        self.cluster.changed().await;
    }
}
