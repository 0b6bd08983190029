//! The kernel's clock. Only x86 has a choice that matters: the time stamp counter is read in nanoseconds and without
//! leaving the program, the others are devices.
//!
//! How it is decided: with `tsc` among what is available, a device in its place is drift. Without, it depends on where
//! the kernel runs: on bare hardware it has found the counter unreliable, which is drift; in a virtual machine the host
//! decides what there is, and a paravirtual clock (`kvm-clock`, `hyperv_clocksource_tsc_page`, `xen`) is as good.

use super::{Audit, Observed, Wanted};
use crate::api::realtime_node::DriftArea;

const CURRENT: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const AVAILABLE: &str = "/sys/devices/system/clocksource/clocksource0/available_clocksource";
/// Devices, and the timer tick: a microsecond or more for each look at the clock.
const SLOW: [&str; 4] = ["hpet", "acpi_pm", "jiffies", "refined-jiffies"];

pub(super) fn audit(wanted: &Wanted, observed: &Observed, found: &mut Audit) {
    let architecture = observed.facts.host.architecture.as_deref();
    let real_time = wanted.cpus.is_some()
        || wanted
            .spec
            .kernel
            .as_ref()
            .is_some_and(|kernel| kernel.realtime);
    if architecture != Some("x86_64") || !real_time {
        return;
    }
    let Some(current) = observed.files.value(CURRENT) else {
        return;
    };
    let offered = observed
        .files
        .value(AVAILABLE)
        .unwrap_or_default()
        .split_whitespace()
        .any(|name| name == "tsc");
    let slow = SLOW.contains(&current);
    let virtual_machine = observed.facts.virtual_machine == Some(true);
    match (offered, virtual_machine) {
        (true, _) if slow => found.drift(
            DriftArea::Clocksource,
            "clocksource tsc",
            format!("{current}; `echo tsc > {CURRENT}` switches back, or the command line has clocksource="),
        ),
        (false, false) if current != "tsc" => found.drift(
            DriftArea::Clocksource,
            "clocksource tsc",
            format!(
                "{current}, and tsc isn't offered: the kernel has found the time stamp counter unreliable; `journalctl \
                 -k -g tsc` says why"
            ),
        ),
        (false, true) if slow => found.note(
            DriftArea::Clocksource,
            format!("This virtual machine is offered no tsc and runs on {current}: its host decides that."),
        ),
        _ => {}
    }
}
