//! How far a node is by its daemon's word, once its configuration is right. A word about a former spec is no word about
//! this one.

use k8s_openapi::api::core::v1::Node;

use super::progress::{ProgressPhase, is_verified};
use crate::api::RealtimeNode;
use crate::api::realtime_node::{NodePhase, NodeTurn, RealtimeNodeStatus};
use crate::api::realtime_profile::KernelProvider;
use crate::conditions::{self, KERNEL_READY};
use crate::turns::seen::{failure, is_current, is_of_former_boot};

/// The phase, and what the node waits for; `None` when its daemon says nothing of phases.
pub(super) fn word(
    object: &Node,
    node: &RealtimeNode,
    wants_realtime: bool,
    realtime: Option<bool>,
    kernel: Option<&str>,
) -> Option<(ProgressPhase, String)> {
    use ProgressPhase::{Degraded, Draining, Rebooting, Updating, Verifying, Waiting};
    let status = node.status.as_ref()?;
    let phase = status.phase?;
    if !is_current(node) && !is_at_it(status) {
        return Some((
            Verifying,
            "its node daemon to look at what is wanted now".to_owned(),
        ));
    }
    let is_proof = !matches!(
        phase,
        NodePhase::Staging | NodePhase::Draining | NodePhase::Rebooting
    );
    if is_proof && is_of_former_boot(object, node) {
        let what = "its node daemon's word after the reboot";
        return Some((Verifying, what.to_owned()));
    }
    let waits = |what: &str| with_words(what, status);
    Some(match phase {
        NodePhase::Ready if wants_realtime && is_asked_for_stock(node) => (
            Verifying,
            "the operator: the stock kernel runs again".to_owned(),
        ),
        NodePhase::Ready => is_verified(wants_realtime, realtime, kernel),
        NodePhase::Degraded => (Degraded, failure(status)),
        NodePhase::Pending if status.turn == Some(NodeTurn::Wanted) => {
            (Waiting, "its turn to be rebooted".to_owned())
        }
        NodePhase::Pending | NodePhase::Observing => {
            (Verifying, "its node daemon to look at the host".to_owned())
        }
        NodePhase::Staging => (Updating, waits("the kernel to be staged")),
        NodePhase::Draining => (Draining, waits("its pods to leave")),
        NodePhase::Rebooting => (Rebooting, "the node to come back".to_owned()),
        NodePhase::Verifying => (Verifying, waits("the proof of its kernel")),
    })
}

/// A node that goes back: as long as its profile wants the real-time kernel its spec says otherwise.
fn is_asked_for_stock(node: &RealtimeNode) -> bool {
    node.spec
        .kernel
        .as_ref()
        .is_some_and(|kernel| kernel.provider == KernelProvider::NodeDaemon && !kernel.realtime)
}

/// A node with a turn is on its way, whatever became wanted meanwhile.
fn is_at_it(status: &RealtimeNodeStatus) -> bool {
    status.turn == Some(NodeTurn::Taken)
}

fn with_words(what: &str, status: &RealtimeNodeStatus) -> String {
    let words = conditions::find(&status.conditions, KERNEL_READY)
        .map(|condition| condition.message.trim_end_matches('.'))
        .filter(|words| !words.is_empty());
    match words {
        Some(words) => format!("{what} ({words})"),
        None => what.to_owned(),
    }
}
