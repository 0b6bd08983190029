//! Which CPUs are online, and simultaneous multithreading.

use super::{Audit, Cpus, Observed, Wanted, cpus_text, list};
use crate::api::realtime_node::DriftArea;
use crate::api::realtime_profile::Smt;

const SMT_CONTROL: &str = "/sys/devices/system/cpu/smt/control";
const ONLINE: &str = "/sys/devices/system/cpu/online";
const PRESENT: &str = "/sys/devices/system/cpu/present";

pub(super) fn audit(wanted: &Wanted, cpus: &Cpus, observed: &Observed, found: &mut Audit) {
    let siblings_off = smt(wanted, cpus, observed, found);
    online(cpus, siblings_off, observed, found);
}

/// Whether siblings are offline because multithreading is switched off.
///
/// The kernel's words: on, off, forceoff (until the next boot), notsupported (the processor has none, or the firmware
/// has switched it off), notimplemented. The last two hold one thread a core: what Off wants, and nothing that Keep minds.
fn smt(wanted: &Wanted, cpus: &Cpus, observed: &Observed, found: &mut Audit) -> bool {
    let control = observed.files.value(SMT_CONTROL).unwrap_or_default();
    let off = matches!(control, "off" | "forceoff");
    let asked_for = wanted
        .arguments()
        .iter()
        .any(|argument| argument == "nosmt" || argument.starts_with("nosmt="));
    match cpus.spec.smt {
        Smt::Off if control == "on" => found.drift(
            DriftArea::Smt,
            "simultaneous multithreading off: one thread a core",
            format!(
                "{SMT_CONTROL} says on; `echo off > {SMT_CONTROL}` switches it off until the next boot, the argument \
                 nosmt from then on"
            ),
        ),
        Smt::Keep if off && !asked_for => found.drift(
            DriftArea::Smt,
            "simultaneous multithreading as the firmware has set it up",
            if control == "forceoff" {
                format!("{SMT_CONTROL} says forceoff: siblings stay offline until a boot without nosmt=force")
            } else {
                format!(
                    "{SMT_CONTROL} says off: siblings are offline; `echo on > {SMT_CONTROL}` brings them back, unless \
                     the command line has nosmt"
                )
            },
        ),
        Smt::Off | Smt::Keep => {}
    }
    off
}

fn online(cpus: &Cpus, siblings_off: bool, observed: &Observed, found: &mut Audit) {
    let Some(online) = list(observed.files, ONLINE) else {
        return;
    };
    let present = list(observed.files, PRESENT).unwrap_or_else(|| online.clone());
    let used = cpus
        .reserved
        .union(&cpus.isolated)
        .difference(&cpus.offlined);
    let absent = used.difference(&present);
    if !absent.is_empty() {
        found.drift(
            DriftArea::OfflineCpu,
            format!("{} of the profile", cpus_text(&absent)),
            format!("this machine has {} only", cpus_text(&present)),
        );
    }
    let offline = used.intersection(&present).difference(&online);
    if siblings_off && !offline.is_empty() {
        found.note(
            DriftArea::OfflineCpu,
            format!(
                "{} offline while multithreading is switched off: taken for siblings, since the kernel doesn't tell \
                 these from other offline CPUs.",
                cpus_text(&offline)
            ),
        );
    } else {
        for cpu in offline.iter() {
            found.drift(
                DriftArea::OfflineCpu,
                format!("CPU {cpu} online"),
                format!(
                    "offline; `echo 1 > /sys/devices/system/cpu/cpu{cpu}/online` brings it back"
                ),
            );
        }
    }
    for cpu in cpus.offlined.intersection(&online).iter() {
        found.drift(
            DriftArea::OfflineCpu,
            format!("CPU {cpu} offline"),
            format!("online; `echo 0 > /sys/devices/system/cpu/cpu{cpu}/online` takes it offline, as its unit does at boot"),
        );
    }
}
