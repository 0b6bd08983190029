//! What a step leaves behind, as far as that is known before. An idealised host: every command does what it was asked for.
//! Must not be used for anything but showing: the daemon itself believes only what it sees.

mod ostree;

use realtime_core::api::realtime_node::NodeTurn;
use realtime_core::kernel::{
    Command, Cordon, Drain, Nevra, Observed, Offered, Record, Step, System, Wanted,
};

/// Whether another step can be foreseen.
pub(super) enum Foreseen {
    /// What was observed is as it would be after the step.
    Goes,
    /// No; why, when there is something to say.
    Ends(Option<&'static str>),
}

/// Where packages would be; only their names count.
const FOLDER: &str = "/packages";

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
        Step::Prepare => match offered(wanted) {
            Some(offered) => observed.offered = Some(offered),
            None => {
                return Foreseen::Ends(Some(
                    "What follows depends on the packages that the source holds: pin, kernel arguments, the kernel's \
                     packages in one transaction, drain, one reboot.",
                ));
            }
        },
        Step::Run(command) => {
            let known = match (&mut observed.system, command) {
                (System::Ostree(view), Command::RpmOstree(words)) => ostree::run(view, words),
                (System::Ostree(view), Command::Pin { index, unpin }) => {
                    ostree::pin(view, *index, *unpin)
                }
                _ => false,
            };
            if !known {
                return Foreseen::Ends(Some(
                    "What follows depends on what that brings about. It is looked at, then comes one reboot, and what \
                     was booted is looked at again.",
                ));
            }
            observed.record.note(command, None, observed.now);
        }
        Step::Reboot => {
            let booted = match &mut observed.system {
                System::Ostree(view) => ostree::boot(view),
                _ => None,
            };
            let Some((release, command_line)) = booted else {
                return Foreseen::Ends(Some(
                    "After the boot the kernel is looked at; then the node takes pods again and gives its turn back.",
                ));
            };
            observed.boot.realtime = ostree::is_realtime(&release);
            observed.boot.release = release;
            observed.boot.command_line = command_line;
            "the boot after this one".clone_into(&mut observed.boot.id);
            // The daemon of that boot looks anew.
            observed.offered = None;
        }
    }
    Foreseen::Goes
}

/// What the source offers, where its names alone say it.
fn offered(wanted: &Wanted) -> Option<Offered> {
    let packages = &wanted.packages;
    let source = packages.source.clone().unwrap_or_default();
    if source.directory.is_some() || source.image.is_some() {
        return None;
    }
    let file = |url: &str, name: &str| {
        let nevra = Nevra::parse(url.rsplit('/').next()?.strip_suffix(".rpm")?)?;
        Some((nevra, format!("{FOLDER}/{name}.rpm")))
    };
    let mut files = Vec::new();
    for package in source.urls.iter().flatten().chain(&packages.replace) {
        files.push(file(&package.url, &package.sha256)?);
    }
    Some(if files.is_empty() {
        Offered::Repositories
    } else {
        Offered::Files(files)
    })
}
