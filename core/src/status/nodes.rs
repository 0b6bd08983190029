//! What the nodes say of themselves, counted: how many are how far, and their last latency checks.

use kube::ResourceExt;

use super::View;
use super::progress::{NodeProgress, ProgressPhase};
use crate::api::latency_check::Verdict;
use crate::api::realtime_profile::NodeCounts;
use crate::conditions::{Decided, LATENCY_VERIFIED, reason};

impl View<'_> {
    /// The limit, and what the nodes' last checks say of it.
    pub(super) fn latency(&self) -> (Option<i64>, Decided) {
        let Some(limit) = self
            .inputs
            .wanted
            .and_then(|(valid, _)| valid.max_latency_microseconds)
        else {
            return (
                None,
                Decided::new(
                    LATENCY_VERIFIED,
                    None,
                    reason::NO_LATENCY_GATE,
                    "spec.latency.maxMicroseconds is not set: nothing is to be proved",
                ),
            );
        };
        let verdicts: Vec<(&str, Option<Verdict>)> = self
            .nodes
            .iter()
            .map(|node| (node.node.as_str(), self.verdict(&node.node)))
            .collect();
        let of = |wanted: Option<Verdict>| {
            verdicts
                .iter()
                .filter(|(_, verdict)| *verdict == wanted)
                .map(|(node, _)| *node)
                .collect::<Vec<_>>()
        };
        let failed = of(Some(Verdict::Fail));
        let passed = of(Some(Verdict::Pass)).len();
        let decided = if !failed.is_empty() {
            Decided::new(
                LATENCY_VERIFIED,
                Some(false),
                reason::LATENCY_EXCEEDED,
                format!(
                    "not under {limit} µs: {}; look at the node's LatencyCheck for its histogram",
                    failed.join(", ")
                ),
            )
        } else if passed == verdicts.len() && passed > 0 {
            Decided::new(
                LATENCY_VERIFIED,
                Some(true),
                reason::WITHIN_LIMIT,
                format!("{passed} nodes stayed under {limit} µs"),
            )
        } else {
            Decided::new(
                LATENCY_VERIFIED,
                None,
                reason::LATENCY_UNKNOWN,
                format!(
                    "{passed} of {} nodes have a check under {limit} µs",
                    verdicts.len()
                ),
            )
        };
        (Some(limit), decided)
    }

    fn verdict(&self, node: &str) -> Option<Verdict> {
        self.inputs
            .cluster
            .realtime_nodes
            .iter()
            .find(|reported| reported.name_any() == node)?
            .status
            .as_ref()?
            .latency
            .as_ref()?
            .verdict
    }

    pub(super) fn counts(&self) -> NodeCounts {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let gate = self
            .inputs
            .wanted
            .is_some_and(|(valid, _)| valid.max_latency_microseconds.is_some());
        let within = |node: &&NodeProgress| self.verdict(&node.node) == Some(Verdict::Pass);
        let ready = self
            .nodes
            .iter()
            .filter(|node| node.phase == ProgressPhase::Ready && (!gate || within(node)))
            .count();
        let worst = self
            .inputs
            .cluster
            .realtime_nodes
            .iter()
            .filter(|reported| {
                self.nodes
                    .iter()
                    .any(|node| node.node == reported.name_any())
            })
            .filter_map(|reported| reported.status.as_ref()?.latency.as_ref()?.max_microseconds)
            .max();
        NodeCounts {
            total: number(self.nodes.len()),
            ready: if self.landed() { number(ready) } else { 0 },
            updating: number(self.count(ProgressPhase::is_under_way)),
            degraded: number(self.count(|phase| phase == ProgressPhase::Degraded)),
            realtime_kernel: number(
                self.nodes
                    .iter()
                    .filter(|node| node.realtime == Some(true))
                    .count(),
            ),
            within_latency: number(self.nodes.iter().filter(within).count()),
            max_latency: worst.map(|worst| format!("{worst}µs")),
        }
    }
}
