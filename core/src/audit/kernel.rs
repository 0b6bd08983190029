//! The running kernel, its command line, and what of it is in effect.

use super::{Audit, Observed, Wanted, cpus_text, list, missing_arguments};
use crate::api::realtime_node::DriftArea;
use crate::cpu_set::CpuSet;
use crate::host_facts::is_realtime;

const COMMAND_LINE: &str = "/proc/cmdline";
const NOHZ_FULL: &str = "/sys/devices/system/cpu/nohz_full";
const PRESENT: &str = "/sys/devices/system/cpu/present";

pub(super) fn audit(wanted: &Wanted, observed: &Observed, found: &mut Audit) {
    realtime(wanted, observed, found);
    if let Some(text) = observed.files.text(COMMAND_LINE) {
        for missing in missing_arguments(wanted.arguments(), text) {
            let text = format!("{}; it takes a reboot", missing.found);
            found.drift(DriftArea::KernelArgument, missing.wanted, text);
        }
    } else if !wanted.arguments().is_empty() {
        found.note(
            DriftArea::KernelArgument,
            format!("{COMMAND_LINE} can't be read, so no kernel argument is checked."),
        );
    }
    nohz_full(wanted, observed, found);
}

fn realtime(wanted: &Wanted, observed: &Observed, found: &mut Audit) {
    let Some(kernel) = &wanted.spec.kernel else {
        return;
    };
    let release = observed
        .files
        .value("/proc/sys/kernel/osrelease")
        .unwrap_or("the running kernel");
    match is_realtime(observed.files) {
        None => found.note(
            DriftArea::Kernel,
            "/proc/version can't be read: whether the kernel is real-time is not known.",
        ),
        Some(running) if running == kernel.realtime => {}
        Some(true) => found.drift(
            DriftArea::Kernel,
            "the stock kernel",
            format!("{release} is a real-time kernel"),
        ),
        Some(false) => found.drift(
            DriftArea::Kernel,
            "a real-time kernel",
            format!(
                "{release} is none: neither does /sys/kernel/realtime say 1 nor /proc/version PREEMPT_RT"
            ),
        ),
    }
}

/// The kernel drops `nohz_full=` when it was built without it, or when the list has a mistake: only its own file tells.
fn nohz_full(wanted: &Wanted, observed: &Observed, found: &mut Audit) {
    let Some(set) = wanted
        .argument("nohz_full")
        .and_then(|list| list.parse::<CpuSet>().ok())
    else {
        return;
    };
    let set = match list(observed.files, PRESENT) {
        Some(present) => set.intersection(&present),
        None => set,
    };
    let wanted = format!("{} without a timer tick (nohz_full)", cpus_text(&set));
    match list(observed.files, NOHZ_FULL) {
        // No sysfs at all: nothing is known.
        None if !observed.files.has(PRESENT) => {}
        None => found.drift(
            DriftArea::NohzFull,
            wanted,
            "this kernel has no nohz_full: it was built without CONFIG_NO_HZ_FULL",
        ),
        Some(effective) if effective == set => {}
        Some(effective) => found.drift(
            DriftArea::NohzFull,
            wanted,
            format!(
                "{} in {NOHZ_FULL}; only a reboot with the right argument changes it",
                cpus_text(&effective)
            ),
        ),
    }
}
