//! Whether `/boot` has room for another kernel. It is filled at the shutdown only, when nobody can say anything any more
//! (rpm-ostree-measured.md, 0.7), so it is looked at before.

use super::flow_ostree::Ostree;
use super::goal::Kernel;
use super::{Command, Step, housekeeping};

/// What `/boot` must keep beyond the kernel itself: the boot loader's entries and the file system's own blocks.
const RESERVE: u64 = 4 << 20;

/// Bytes that lack for one more kernel; `None`: there is room, or nothing new comes there.
fn lack(host: &Ostree) -> Option<u64> {
    let (free, needed) = (host.view.boot_free?, host.view.boot_needed?);
    if !host.nothing_pending() {
        return None;
    }
    // A base that is installed already costs nothing, and neither do arguments alone.
    let kernel_stays = host.kernel(host.booted, false) == Kernel::Holds;
    let installed = !host.wanted.realtime
        && host
            .view
            .status
            .deployments
            .iter()
            .any(|deployment| deployment.checksum == host.booted.base());
    if kernel_stays || installed {
        return None;
    }
    needed
        .saturating_add(RESERVE)
        .checked_sub(free)
        .filter(|lack| *lack > 0)
}

/// Whether a deployment behind the booted one may go: the next shutdown drops it in any case.
fn droppable(host: &Ostree) -> bool {
    host.view
        .status
        .deployments
        .iter()
        .skip(host.at + 1)
        .any(|deployment| !deployment.pinned && deployment.osname == host.booted.osname)
}

/// Said before anything is begun. The pin of the booted deployment takes no room of its own: its kernel is there.
pub(super) fn lacking(host: &Ostree) -> Option<String> {
    let lack = lack(host).filter(|_| !droppable(host))?;
    Some(format!(
        "/boot has no room for another kernel: {} MiB are missing. Drop deployments that are not needed (`ostree admin status`, `ostree admin pin --unpin`, `rpm-ostree cleanup -r`) or make /boot larger.",
        lack.div_ceil(1 << 20)
    ))
}

/// Before staging: the older deployment, which the next shutdown drops anyhow, goes at once when its room is needed.
pub(super) fn make(host: &Ostree) -> Option<Step> {
    lack(host).filter(|_| droppable(host))?;
    let clean = Command::RpmOstree(vec!["cleanup".to_owned(), "-r".to_owned()]);
    housekeeping::try_to(host.observed, clean, host.front.key())
}
