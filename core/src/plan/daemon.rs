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

/// The nodes where no pools are served: kernel and arguments are the daemon's, in one reboot. Those that leave, too.
pub(super) fn without_pools(wanted: &Wanted<'_>) -> Vec<NodePlan> {
    let selector = Some(&wanted.profile.pool.node_selector);
    let mut plans: Vec<NodePlan> = wanted
        .cluster
        .nodes
        .iter()
        .filter_map(|node| {
            let reported = realtime_node(wanted, node);
            let ours = reported.is_some_and(|there| there.spec.profile == wanted.profile.name);
            let kept = !ours && reported.is_some_and(|there| is_there(wanted, &there.spec.profile));
            let selected = selector::matches_or_nothing(selector, node.labels());
            match (selected && !kept, ours) {
                (true, _) => Some(taken_in(wanted, node, reported)),
                (false, true) => Some(let_go(wanted, node, reported)),
                (false, false) => None,
            }
        })
        .collect();
    plans.sort_by(|left, right| left.node.cmp(&right.node));
    plans
}

/// Whether there is such a profile, to stay: it keeps its nodes, whatever another one's selector says.
fn is_there(wanted: &Wanted<'_>, profile: &str) -> bool {
    wanted.cluster.profiles.iter().any(|other| {
        other.metadata.name.as_deref() == Some(profile)
            && other.metadata.deletion_timestamp.is_none()
    })
}

fn taken_in(wanted: &Wanted<'_>, node: &Node, reported: Option<&RealtimeNode>) -> NodePlan {
    let settled = reported.filter(|reported| {
        let phase = reported.status.as_ref().and_then(|status| status.phase);
        is_current(reported) && phase == Some(NodePhase::Ready)
    });
    let same =
        settled.is_some_and(|settled| settled.spec.kernel == wanted.rendered.node_spec.kernel);
    let mut reasons = if same {
        Vec::new()
    } else {
        changed(wanted, settled.or(reported), running(node, reported))
    };
    let reboots = u32::from(!reasons.is_empty());
    if reasons.is_empty() {
        reasons.push("runs this already".to_owned());
    } else {
        reasons.push("by its node daemon when it has its turn, in one reboot".to_owned());
    }
    if reported.is_none_or(|reported| reported.status.is_none()) {
        reasons.push("no node daemon has reported from it yet".to_owned());
    }
    NodePlan {
        node: node.name_any(),
        reboots,
        reasons,
    }
}

/// What of kernel and arguments the daemon would change.
fn changed(
    wanted: &Wanted<'_>,
    reported: Option<&RealtimeNode>,
    running: Option<bool>,
) -> Vec<String> {
    let kernel = &wanted.rendered.node_spec.kernel;
    let (realtime, arguments, packages) = kernel.as_ref().map_or((false, &[][..], None), |to| {
        (to.realtime, &to.arguments[..], to.packages.as_ref())
    });
    let before = reported.and_then(|reported| reported.spec.kernel.as_ref());
    let mut reasons = Vec::new();
    let mut because = |reason: &str| reasons.push(reason.to_owned());
    match (realtime, running) {
        (true, Some(false) | None) => because("the real-time kernel is installed"),
        (false, Some(true)) => because("the stock kernel comes back"),
        (true, Some(true)) if before.is_some_and(|before| before.packages.as_ref() != packages) => {
            because("other packages are named for the kernel");
        }
        _ => {}
    }
    let sorted = |arguments: &[String]| {
        let mut sorted = arguments.to_vec();
        sorted.sort();
        sorted
    };
    // What a former spec asked for may stand there, whether its daemon came to it or not.
    let stands = before.map_or(&[][..], |before| &before.arguments[..]);
    let missing = reported
        .and_then(|reported| reported.status.as_ref()?.kernel.as_ref())
        .is_some_and(|kernel| !kernel.missing_arguments.is_empty());
    if sorted(stands) != sorted(arguments) || missing {
        because("the kernel's arguments change");
    }
    reasons
}

/// A node that leaves: what its daemon brought goes back.
fn let_go(wanted: &Wanted<'_>, node: &Node, reported: Option<&RealtimeNode>) -> NodePlan {
    let (mut reboots, mut reasons) = reboots_on_leaving(wanted, node);
    let arguments = reported
        .filter(|reported| is_daemons(reported))
        .and_then(|reported| reported.spec.kernel.as_ref())
        .is_some_and(|kernel| !kernel.arguments.is_empty());
    if reboots == 0 && arguments {
        reboots = 1;
        reasons.push("its node daemon takes the kernel's arguments back, with a reboot".to_owned());
    }
    reasons.push("leaves the profile".to_owned());
    NodePlan {
        node: node.name_any(),
        reboots,
        reasons,
    }
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
