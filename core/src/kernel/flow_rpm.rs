//! The decision on a host with dnf and grubby: wait for a dnf that is at work → install beside the stock kernel, arguments on
//! that entry alone, make it the default, drain, reboot, prove; and back. What is the default is put right without a reboot whenever the right kernel
//! runs (an update of the operating system makes its own new kernel the default).

use super::attempt;
use super::packages::{self, Chosen, Problem};
use super::record::{Attempt, Record};
use super::tell::next;
use super::{
    BootEntry, Next, Observed, RpmView, Step, Wanted, arguments, obstacle, release, rpm_boot, turn,
    verify,
};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

/// Pause while dnf runs, seconds.
const DNF_PAUSE: u32 = 10;

/// What a decision is made from.
pub(super) struct Rpm<'a> {
    pub wanted: &'a Wanted,
    pub observed: &'a Observed,
    pub view: &'a RpmView,
    pub record: &'a Record,
    /// What would be installed. `None`: not wanted, or the source was not looked at yet.
    pub chosen: Option<Result<Chosen, Problem>>,
    pub key: String,
}

/// The release of the kernel in a boot entry; none for what is no kernel of a package.
pub(super) fn release_of(kernel: &str) -> Option<&str> {
    let name = kernel.rsplit('/').next()?;
    let release = name
        .strip_prefix("vmlinuz-")
        .or_else(|| name.strip_prefix("vmlinux-"))?;
    (!release.contains("rescue")).then_some(release)
}

pub(super) fn decide(wanted: &Wanted, observed: &Observed, view: &RpmView) -> Next {
    let host = Rpm::new(wanted, observed, view);
    if view.dnf_runs {
        return host.dnf_runs();
    }
    if let Some(next) = rpm_boot::after_boot(&host).or_else(|| rpm_boot::undo(&host)) {
        return next;
    }
    match host.fault() {
        None => rpm_boot::ready(&host),
        Some(fault) => host.switch(&fault),
    }
}

impl<'a> Rpm<'a> {
    fn new(wanted: &'a Wanted, observed: &'a Observed, view: &'a RpmView) -> Self {
        let stock = view
            .kernel_packages
            .iter()
            .filter(|package| package.name == "kernel-core")
            .max_by(|left, right| left.compare_evr(right));
        let chosen = match &observed.offered {
            Some(offered) if wanted.realtime => Some(packages::choose(
                wanted,
                offered,
                &view.enabled_repositories,
                stock,
            )),
            _ => None,
        };
        let known = chosen.as_ref().and_then(|chosen| chosen.as_ref().ok());
        let base = stock.map(ToString::to_string).unwrap_or_default();
        let key = attempt::key(wanted, &base, known);
        let record = &observed.record;
        let dropped = record
            .attempt
            .as_ref()
            .map(|attempt| attempt.dropped.as_slice());
        let chosen =
            chosen.map(|chosen| chosen.map(|chosen| chosen.without(dropped.unwrap_or_default())));
        Self {
            wanted,
            observed,
            view,
            record,
            chosen,
            key,
        }
    }

    pub fn attempt(&self) -> Option<&Attempt> {
        let attempt = self.record.attempt.as_ref();
        attempt.filter(|attempt| attempt::same(&attempt.key, &self.key))
    }

    pub fn known(&self) -> Option<&Chosen> {
        self.chosen.as_ref()?.as_ref().ok()
    }

    /// The entries of one kind, with their releases.
    fn entries(&self, realtime: bool) -> impl Iterator<Item = (&BootEntry, &str)> {
        self.view
            .entries
            .iter()
            .filter_map(|entry| Some((entry, release_of(&entry.kernel)?)))
            .filter(move |(_, release)| release::is_realtime(release) == realtime)
    }

    /// The entry of the kernel that runs.
    pub fn running(&self) -> Option<&BootEntry> {
        let running = self.observed.boot.release.as_str();
        self.view
            .entries
            .iter()
            .find(|entry| release_of(&entry.kernel) == Some(running))
    }

    pub fn default_entry(&self) -> Option<&BootEntry> {
        let path = self.view.default_kernel.as_deref()?;
        self.view.entries.iter().find(|entry| entry.kernel == path)
    }

    /// The entry of the package that was chosen, or else the newest of the wanted kind. For the stock kernel: the one that
    /// was the default before us, else the newest.
    pub fn target(&self, realtime: bool) -> Option<&BootEntry> {
        if realtime && let Some(core) = self.known().and_then(Chosen::core) {
            return self
                .entries(true)
                .find(|(_, release)| release::belongs_to(release, core))
                .map(|(entry, _)| entry);
        }
        let before = self.record.stock_kernel.as_deref();
        if !realtime
            && let Some((entry, _)) = self
                .entries(false)
                .find(|(entry, _)| Some(entry.kernel.as_str()) == before)
        {
            return Some(entry);
        }
        self.entries(realtime)
            .max_by(|(_, left), (_, right)| super::nevra::compare_versions(left, right))
            .map(|(entry, _)| entry)
    }

    pub fn delta(&self, line: &str) -> arguments::Delta {
        if self.wanted.arguments_ours {
            arguments::delta(&self.wanted.arguments, line, self.record)
        } else {
            arguments::Delta::default()
        }
    }

    /// What is not as wanted in what runs: reason and words.
    pub fn fault(&self) -> Option<(&'static str, String)> {
        let boot = &self.observed.boot;
        if self.wanted.realtime != boot.realtime {
            return verify::fault(self.wanted, self.observed);
        }
        if self.wanted.realtime
            && let Some(core) = self.known().and_then(Chosen::core)
            && !release::belongs_to(&boot.release, core)
        {
            return Some((
                reason::STOCK_KERNEL_RUNS,
                format!("{} runs, and {core} is wanted.", boot.release),
            ));
        }
        let missing = if self.wanted.arguments_ours {
            arguments::missing(&self.wanted.arguments, &boot.command_line)
        } else {
            Vec::new()
        };
        let delta = self.delta(&boot.command_line);
        (!delta.is_empty()).then(|| {
            (
                reason::ARGUMENTS_MISSING,
                format!(
                    "{} runs, and its kernel arguments differ: missing {}, in the way {}.",
                    boot.release,
                    missing.join(" "),
                    delta.delete.join(" ")
                ),
            )
        })
    }

    /// The daemon was started anew while its dnf goes on. That has a limit of its own, so this has an end.
    fn dnf_runs(&self) -> Next {
        let phase = if self.record.under_way().is_some() {
            NodePhase::Staging
        } else if self.fault().is_none() {
            NodePhase::Ready
        } else {
            NodePhase::Pending
        };
        next(
            phase,
            Step::Wait { seconds: DNF_PAUSE },
            reason::TRANSACTION_RUNNING,
            "A dnf that this daemon began runs on the host: nothing is begun before its end.",
        )
    }

    fn switch(&self, (fault, what): &(&'static str, String)) -> Next {
        let degraded = |reason, message| obstacle::degraded(self.observed, reason, message);
        if let Some(over) = obstacle::attempted(self.observed, self.attempt(), what) {
            return over;
        }
        if self.wanted.realtime && self.observed.offered.is_none() {
            return next(
                NodePhase::Observing,
                Step::Prepare,
                reason::PREPARING,
                format!("{what} The package source is looked at."),
            );
        }
        let ready_to_boot = self
            .attempt()
            .is_some_and(|attempt| attempt.staged.is_some());
        if let Some(Err(problem)) = self.chosen.as_ref().filter(|_| !ready_to_boot) {
            return obstacle::no_packages(self.observed, problem, what);
        }
        if !self.wanted.realtime && self.target(false).is_none() {
            return degraded(
                fault,
                format!("{what} grubby names no entry of a stock kernel."),
            );
        }
        if let Some(message) = self.no_room() {
            return degraded(reason::NO_SPACE_IN_BOOT, format!("{what} {message}"));
        }
        let what = what.trim_end_matches('.');
        turn::gate(self.observed, what).unwrap_or_else(|| self.stage(what))
    }

    fn no_room(&self) -> Option<String> {
        let (free, needed) = (self.view.boot_free?, self.view.boot_needed?);
        let new = self.wanted.realtime && self.target(true).is_none();
        (new && free < needed).then(|| {
            format!("/boot has no room for another kernel: {} MiB are missing. Remove old kernels (`dnf remove`), or make /boot larger.", (needed - free).div_ceil(1 << 20))
        })
    }
}
