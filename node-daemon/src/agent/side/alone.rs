//! A host without a cluster: what it shall be is in the configuration file, what it is goes into the log. No turns, no
//! drain; a reboot only where the file allows it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::RealtimeNodeSpec;
use realtime_core::kernel::{Next, Observed, Wanted};

use crate::report::{self, Facts};

/// A host by itself.
#[derive(Debug)]
pub struct Alone {
    /// Whether the daemon may reboot the host.
    pub may_reboot: bool,
    retry: Option<String>,
    /// As a cluster would hold it, for the times and for what has been told.
    node: RealtimeNode,
}

impl Alone {
    /// From a configuration file.
    pub fn new(spec: RealtimeNodeSpec, may_reboot: bool, retry: Option<String>) -> Self {
        Self {
            may_reboot,
            retry,
            node: RealtimeNode {
                spec,
                ..RealtimeNode::default()
            },
        }
    }

    pub(super) fn spec(&self) -> (RealtimeNodeSpec, Option<String>) {
        (self.node.spec.clone(), self.retry.clone())
    }

    /// One line for each change.
    pub(super) fn report(
        &mut self,
        wanted: &Wanted,
        observed: &Observed,
        next: &Next,
        facts: &Facts,
    ) {
        let now = Time(Timestamp::now());
        let status = report::status(&self.node, wanted, observed, next, facts, &now);
        let old = self.node.status.clone().unwrap_or_default();
        if old == status {
            return;
        }
        if old.phase != status.phase {
            tracing::info!(step = %"Report", phase = ?next.phase);
        }
        for condition in &status.conditions {
            let told = realtime_core::conditions::find(&old.conditions, &condition.type_)
                .is_some_and(|before| before.message == condition.message);
            if !told {
                tracing::info!(
                    condition = condition.type_,
                    status = condition.status,
                    reason = condition.reason,
                    "{}",
                    condition.message
                );
            }
        }
        for drift in &status.drift {
            if !old.drift.contains(drift) {
                tracing::warn!(area = ?drift.area, wanted = drift.wanted, found = drift.found, "drift");
            }
        }
        self.node.status = Some(status);
    }
}
