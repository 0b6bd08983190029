//! What a step leaves behind, as far as that is known before. Must not guess: what a command of the package system brings
//! about is foreseen only where its words say it.

use realtime_core::api::realtime_node::NodeTurn;
use realtime_core::kernel::{Cordon, Drain, Observed, Offered, Record, Step, System, Wanted};

/// Whether another step can be foreseen.
pub(super) enum Foreseen {
    /// What was observed is as it would be after the step.
    Goes,
    /// No; why, when there is something to say.
    Ends(Option<String>),
}

/// Changes what was observed as the step would.
pub(super) fn foresee(wanted: &Wanted, observed: &mut Observed, step: &Step) -> Foreseen {
    let node = &mut observed.node;
    match step {
        Step::Rest | Step::Wait { .. } => return Foreseen::Ends(None),
        Step::WantTurn => {
            node.turn = Some(NodeTurn::Wanted);
            node.granted = true;
        }
        Step::TakeTurn => node.turn = Some(NodeTurn::Taken),
        Step::ReturnTurn => {
            node.turn = None;
            node.granted = false;
        }
        Step::Cordon => node.cordon = Cordon::Ours,
        Step::Uncordon => node.cordon = Cordon::No,
        Step::Drain => node.drain = Drain::Done,
        Step::Save(record) => observed.record = Record::clone(record),
        Step::Prepare => {
            let packages = &wanted.packages;
            let by_name = packages.replace.is_empty()
                && packages.source.as_ref().is_none_or(|source| {
                    source.urls.is_none() && source.directory.is_none() && source.image.is_none()
                });
            if !by_name {
                return Foreseen::Ends(Some(
                    "What follows depends on the packages that the source holds: pin, kernel arguments, the kernel's \
                     packages in one transaction, drain, one reboot."
                        .to_owned(),
                ));
            }
            observed.offered = Some(Offered::Repositories);
        }
        Step::Run(command) => {
            let argv = command.argv();
            if !host_after(&mut observed.system, &argv) {
                return Foreseen::Ends(Some(
                    "What follows depends on what that brings about: it is verified, then the node is drained and \
                     rebooted once, and verified again."
                        .to_owned(),
                ));
            }
            observed.record.note(command, None, observed.now);
        }
        Step::Reboot => {
            return Foreseen::Ends(Some(
                "After the boot the kernel is verified, the old deployment unpinned, the node uncordoned and the turn \
                 given back."
                    .to_owned(),
            ));
        }
    }
    Foreseen::Goes
}

/// The few commands whose result is known.
fn host_after(system: &mut System, argv: &[String]) -> bool {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let System::Ostree(view) = system else {
        return false;
    };
    let (unpin, index) = match words.as_slice() {
        ["ostree", "admin", "pin", "--unpin", index] => (true, index),
        ["ostree", "admin", "pin", index] => (false, index),
        _ => return false,
    };
    let deployment = index
        .parse::<usize>()
        .ok()
        .and_then(|index| view.status.deployments.get_mut(index));
    if let Some(deployment) = deployment {
        deployment.pinned = !unpin;
        return true;
    }
    false
}
