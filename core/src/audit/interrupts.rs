//! Every interrupt's CPUs against the isolated ones, where interrupts are to be kept off these.
//!
//! An interrupt goes to its effective affinity. What can be known about one that is on an isolated CPU: from Linux 6.12
//! on `smp_affinity` can't be written by anybody (mode 0444) when the kernel manages the interrupt, or the hardware
//! can't route it; before, only trying tells (an input/output error), and this never tries.

use super::{Audit, Cpus, Observed, cpus_text};
use crate::api::realtime_node::DriftArea;
use crate::cpu_set::CpuSet;
use crate::host_facts::files::Files;
use crate::host_facts::kernel_list;

const DEFAULT: &str = "/proc/irq/default_smp_affinity";

pub(super) fn audit(cpus: &Cpus, observed: &Observed, found: &mut Audit) {
    if cpus.spec.balance_interrupts_on_isolated || cpus.isolated.is_empty() {
        return;
    }
    let files = observed.files;
    default(cpus, files, found);
    let mut interrupts: Vec<Interrupt> = files
        .matching("/proc/irq/#/smp_affinity_list")
        .filter_map(|(captures, text)| Interrupt::read(captures.first()?, text, files))
        .collect();
    interrupts.sort_by_key(|interrupt| interrupt.number);
    let mut fixed = Vec::new();
    for interrupt in interrupts {
        let on_isolated = interrupt.goes_to().intersection(&cpus.isolated);
        if on_isolated.is_empty() {
            continue;
        }
        if observed.fixed_interrupts.contains(&interrupt.number) {
            fixed.push(format!(
                "{} on {}",
                interrupt.name(),
                cpus_text(&on_isolated)
            ));
        } else {
            interrupt.drift(cpus, &on_isolated, kernel_tells(files), found);
        }
    }
    if !fixed.is_empty() {
        found.note(
            DriftArea::IrqAffinity,
            format!(
                "The kernel lets nobody move {} interrupts that are on isolated CPUs: {}. A managed one comes only when \
                 a thread on that CPU uses the device.",
                fixed.len(),
                fixed.join("; ")
            ),
        );
    }
}

fn default(cpus: &Cpus, files: &Files, found: &mut Audit) {
    let Some(mask) = files
        .value(DEFAULT)
        .and_then(|mask| CpuSet::from_hex_mask(mask).ok())
    else {
        return;
    };
    let isolated = mask.intersection(&cpus.isolated);
    if !isolated.is_empty() {
        found.drift(
            DriftArea::IrqAffinity,
            format!("new interrupts on {} only", cpus_text(&cpus.reserved)),
            format!(
                "{DEFAULT} allows {}; `echo {} > {DEFAULT}` corrects it",
                cpus_text(&isolated),
                cpus.reserved.to_hex_mask_words()
            ),
        );
    }
}

struct Interrupt {
    number: u32,
    /// The drivers that handle it; empty: nobody, and it can't come.
    actions: String,
    /// Where somebody allowed it to go.
    allowed: CpuSet,
    /// Where it goes; `None` where the architecture doesn't tell.
    effective: Option<CpuSet>,
}

impl Interrupt {
    fn read(number: &str, allowed: &str, files: &Files) -> Option<Self> {
        let actions = files.value(&format!("/sys/kernel/irq/{number}/actions"));
        let has_actions_file = files.has(&format!("/sys/kernel/irq/{number}/actions"));
        if actions.is_none() && has_actions_file {
            return None;
        }
        Some(Self {
            number: number.parse().ok()?,
            actions: actions.unwrap_or_default().to_owned(),
            allowed: kernel_list(allowed)?,
            effective: files
                .value(&format!("/proc/irq/{number}/effective_affinity_list"))
                .and_then(kernel_list),
        })
    }

    fn goes_to(&self) -> &CpuSet {
        self.effective.as_ref().unwrap_or(&self.allowed)
    }

    fn name(&self) -> String {
        if self.actions.is_empty() {
            format!("IRQ {}", self.number)
        } else {
            let actions: String = self.actions.chars().take(60).collect();
            format!("IRQ {} ({actions})", self.number)
        }
    }

    fn drift(&self, cpus: &Cpus, on: &CpuSet, kernel_tells: bool, found: &mut Audit) {
        let Self {
            number, allowed, ..
        } = self;
        let refused = if kernel_tells {
            ""
        } else {
            "; an input/output error then means that the kernel manages it"
        };
        found.drift(
            DriftArea::IrqAffinity,
            format!("{} on {} only", self.name(), cpus_text(&cpus.reserved)),
            format!(
                "on {} (allowed: {allowed}); `echo {} > /proc/irq/{number}/smp_affinity_list` moves it{refused}",
                cpus_text(on),
                cpus.reserved
            ),
        );
    }
}

/// Whether the mode of `smp_affinity` says who can be moved: since Linux 6.12.
fn kernel_tells(files: &Files) -> bool {
    let mut numbers = files
        .value("/proc/sys/kernel/osrelease")
        .unwrap_or_default()
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(12))
}
