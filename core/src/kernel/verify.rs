//! Where the daemon switches nothing: whether the kernel is the wanted one, in words. No command comes from here.

use super::{Next, Observed, Step, Wanted, arguments, turn};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

/// What is wrong with the running kernel: reason and words. `None`: it is the wanted one, with the wanted arguments.
pub(super) fn fault(wanted: &Wanted, observed: &Observed) -> Option<(&'static str, String)> {
    let boot = &observed.boot;
    if wanted.realtime && !boot.realtime {
        return Some((
            reason::STOCK_KERNEL_RUNS,
            format!("The real-time kernel is wanted, and {} runs.", boot.release),
        ));
    }
    if !wanted.realtime && boot.realtime {
        return Some((
            reason::REALTIME_KERNEL_RUNS,
            format!(
                "The stock kernel is wanted, and the real-time kernel {} runs.",
                boot.release
            ),
        ));
    }
    let missing = arguments::missing(&wanted.arguments, &boot.command_line);
    (!missing.is_empty()).then(|| {
        (
            reason::ARGUMENTS_MISSING,
            format!(
                "{} runs without these kernel arguments: {}.",
                boot.release,
                missing.join(" ")
            ),
        )
    })
}

/// The Machine Config Operator switches the kernel.
pub(super) fn only(wanted: &Wanted, observed: &Observed) -> Next {
    let leftover = leftover(observed);
    match fault(wanted, observed) {
        None => turn::settle(
            observed,
            NodePhase::Ready,
            Step::Rest,
            reason::AS_EXPECTED,
            format!(
                "{} runs, with all wanted arguments.{leftover}",
                observed.boot.release
            ),
        ),
        Some((_, message)) if observed.node.settled == Some(false) => turn::settle(
            observed,
            NodePhase::Verifying,
            Step::Rest,
            reason::WAITING_FOR_MACHINE_CONFIG,
            format!(
                "{message} The Machine Config Operator is still at work on this node.{leftover}"
            ),
        ),
        Some((fault, message)) => {
            let remedy = if fault == reason::STOCK_KERNEL_RUNS {
                "The Machine Config Operator switches the kernel of this node and says that it is done. On Fedora CoreOS and on plain RHEL it reports success and switches nothing: set kernel.provider: NodeDaemon in the profile. On RHEL CoreOS look at the kernelType of the pool's rendered MachineConfig and at the machine-config-daemon's log of this node."
            } else {
                "The Machine Config Operator brings kernel and arguments to this node and says that it is done: look at the pool's rendered MachineConfig, and whether a later MachineConfig or an edit of the boot entry takes them away."
            };
            turn::settle(
                observed,
                NodePhase::Degraded,
                Step::Rest,
                fault,
                format!("{message} {remedy}{leftover}"),
            )
        }
    }
}

/// What this daemon once did and may not undo any more, since the Machine Config Operator owns the node now.
fn leftover(observed: &Observed) -> &'static str {
    if observed.record.pinned.is_some() {
        " A deployment that this daemon pinned before stays pinned: unpin it with `ostree admin pin --unpin`."
    } else {
        ""
    }
}

/// A host whose kernel nobody here can switch.
pub(super) fn unknown(wanted: &Wanted, observed: &Observed, why: &str) -> Next {
    match fault(wanted, observed) {
        None => turn::settle(
            observed,
            NodePhase::Ready,
            Step::Rest,
            reason::AS_EXPECTED,
            format!("{} runs, with all wanted arguments.", observed.boot.release),
        ),
        Some((_, message)) => turn::settle(
            observed,
            NodePhase::Degraded,
            Step::Rest,
            reason::UNKNOWN_HOST,
            format!(
                "{message} The daemon can't switch the kernel of this host: {why}. It needs rpm-ostree, or dnf and grubby."
            ),
        ),
    }
}

/// Of a running kernel that is the right one: what lacks of arguments that somebody else brings.
pub(super) fn arguments_of_others(wanted: &Wanted, observed: &Observed) -> Option<Next> {
    if wanted.arguments_ours {
        return None;
    }
    let missing = arguments::missing(&wanted.arguments, &observed.boot.command_line);
    if missing.is_empty() {
        return None;
    }
    let message = format!(
        "{} runs without these kernel arguments, which a MachineConfig brings: {}.",
        observed.boot.release,
        missing.join(" ")
    );
    Some(if observed.node.settled == Some(false) {
        turn::settle(
            observed,
            NodePhase::Verifying,
            Step::Rest,
            reason::WAITING_FOR_MACHINE_CONFIG,
            message,
        )
    } else {
        turn::settle(
            observed,
            NodePhase::Degraded,
            Step::Rest,
            reason::ARGUMENTS_MISSING,
            format!("{message} Look at the pool's rendered MachineConfig."),
        )
    })
}
