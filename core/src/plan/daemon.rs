//! What the node daemon would do on a node, and how often that reboots it. Reads what nodes report; judges no object.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::Wanted;
use super::nodes::NodePlan;
use crate::api::RealtimeNode;
use crate::api::realtime_node::NodePhase;
use crate::api::realtime_profile::KernelProvider;
use crate::selector;
use crate::status::progress::is_realtime_release;
use crate::turns::seen::is_current;

/// The reboots by a node's daemon, and why; beside those that its configuration costs.
pub(super) fn reboots(wanted: &Wanted<'_>, node: &Node) -> (u32, Vec<String>) {
    let reported = realtime_node(wanted, node);
    let running = running(node, reported);
    let kernel = &wanted.profile.kernel;
    if kernel.by_machine_config_operator {
        let switched = reported.is_some_and(is_daemons) && running == Some(true);
        return if switched {
            (
                1,
                vec![
                    "first its node daemon brings the stock kernel back, with a reboot: two never drive one kernel"
                        .to_owned(),
                ],
            )
        } else {
            (0, Vec::new())
        };
    }
    let mut reasons = Vec::new();
    let reboots = match (kernel.realtime, running) {
        (true, Some(true)) | (false, Some(false) | None) => 0,
        (true, Some(false) | None) => {
            reasons.push(
                "its node daemon installs the real-time kernel when it has its turn, with a reboot"
                    .to_owned(),
            );
            1
        }
        (false, Some(true)) => {
            reasons.push(
                "its node daemon brings the stock kernel back when it has its turn, with a reboot"
                    .to_owned(),
            );
            1
        }
    };
    if reboots > 0 && reported.is_none_or(|reported| reported.status.is_none()) {
        reasons.push("no node daemon has reported from it yet".to_owned());
    }
    (reboots, reasons)
}

/// A node that leaves: the kernel that its daemon switched goes back.
pub(super) fn reboots_on_leaving(wanted: &Wanted<'_>, node: &Node) -> (u32, Vec<String>) {
    let reported = realtime_node(wanted, node);
    let switched = reported.is_some_and(is_daemons) && running(node, reported) == Some(true);
    if !switched {
        return (0, Vec::new());
    }
    let reason = "its node daemon brings the stock kernel back, with a reboot";
    (1, vec![reason.to_owned()])
}

/// The nodes where no pools are served: kernel and arguments are the daemon's, in one reboot.
pub(super) fn without_pools(wanted: &Wanted<'_>) -> Vec<NodePlan> {
    let selector = Some(&wanted.profile.pool.node_selector);
    let nodes = wanted.cluster.nodes.iter();
    let mut plans: Vec<NodePlan> = nodes
        .filter(|node| selector::matches_or_nothing(selector, node.labels()))
        .map(|node| {
            let reported = realtime_node(wanted, node);
            let same = reported.is_some_and(|reported| {
                reported.spec.kernel == wanted.rendered.node_spec.kernel
                    && is_current(reported)
                    && reported.status.as_ref().and_then(|status| status.phase)
                        == Some(NodePhase::Ready)
            });
            let (reboots, mut reasons) = if same {
                (0, vec!["runs this already".to_owned()])
            } else {
                let what = "its node daemon brings kernel and arguments when it has its turn, with one reboot if anything of \
                            them changes";
                (1, vec![what.to_owned()])
            };
            if reported.is_none_or(|reported| reported.status.is_none()) {
                reasons.push("no node daemon has reported from it yet".to_owned());
            }
            NodePlan {
                node: node.name_any(),
                reboots,
                reasons,
            }
        })
        .collect();
    plans.sort_by(|left, right| left.node.cmp(&right.node));
    plans
}

fn realtime_node<'a>(wanted: &Wanted<'a>, node: &Node) -> Option<&'a RealtimeNode> {
    let mut all = wanted.cluster.realtime_nodes.iter();
    all.find(|reported| reported.metadata.name == node.metadata.name)
}

fn is_daemons(node: &RealtimeNode) -> bool {
    let kernel = node.spec.kernel.as_ref();
    node.status.is_some()
        && kernel.is_some_and(|kernel| kernel.provider == KernelProvider::NodeDaemon)
}

/// Whether a real-time kernel runs, by the daemon's word or the kubelet's.
fn running(node: &Node, reported: Option<&RealtimeNode>) -> Option<bool> {
    let by_daemon = reported
        .and_then(|reported| reported.status.as_ref()?.kernel.as_ref())
        .and_then(|kernel| kernel.realtime);
    by_daemon.or_else(|| {
        let info = node.status.as_ref()?.node_info.as_ref()?;
        (!info.kernel_version.is_empty()).then(|| is_realtime_release(&info.kernel_version))
    })
}
