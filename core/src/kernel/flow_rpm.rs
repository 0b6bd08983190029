//! The decision on a host with dnf and grubby: install beside the stock kernel, arguments on that entry alone, make it the
//! default, drain, reboot, prove; and back. What is the default is put right without a reboot whenever the right kernel
//! runs (an update of the operating system makes its own new kernel the default).

use super::attempt;
use super::nevra::Nevra;
use super::packages::{self, Chosen, Problem};
use super::record::{Attempt, Record, Staged};
use super::tell::{self, RETRY, fail, next, save, save_attempt};
use super::trouble::Trouble;
use super::{
    BootEntry, Command, Next, Observed, RpmView, Step, Wanted, arguments, housekeeping, release,
    rpm_boot, turn, verify,
};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;

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

    fn switch(&self, (fault, what): &(&'static str, String)) -> Next {
        let degraded = |reason, message: String| {
            turn::settle(
                self.observed,
                NodePhase::Degraded,
                Step::Rest,
                reason,
                message,
            )
        };
        if let Some(attempt) = self.attempt() {
            if let Some(failure) = &attempt.failed {
                return degraded(
                    tell::constant(&failure.reason),
                    format!("{} {what} {RETRY}", failure.message),
                );
            }
            if attempt.succeeded {
                return degraded(
                    reason::UNDONE,
                    format!(
                        "What is wanted was brought about once, and somebody undid it. {what} {RETRY}"
                    ),
                );
            }
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
            if problem.transient {
                let wait = Step::Wait {
                    seconds: super::flow_ostree::LOOK_AGAIN,
                };
                return turn::settle(
                    self.observed,
                    NodePhase::Observing,
                    wait,
                    problem.reason,
                    format!("{what} {} It is tried again.", problem.message),
                );
            }
            return degraded(problem.reason, format!("{what} {}", problem.message));
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

    fn stage(&self, what: &str) -> Next {
        let staging = |step| {
            next(
                NodePhase::Staging,
                step,
                reason::STAGING,
                format!("{what}. The next boot is being prepared."),
            )
        };
        let Some(attempt) = self.attempt() else {
            return staging(save(self.record, |record| {
                arguments::settle(record, &self.observed.boot.command_line);
                record.attempt = Some(Attempt {
                    key: self.key.clone(),
                    realtime: self.wanted.realtime,
                    boot_id: self.observed.boot.id.clone(),
                    ..Attempt::default()
                });
                self.remember_stock(record);
            }));
        };
        let trouble = Trouble {
            observed: self.observed,
            chosen: self.known(),
            from_files: self.wanted.realtime && packages::from_files(&self.wanted.packages),
            front: String::new(),
            clean: Command::Dnf(vec!["clean".to_owned(), "all".to_owned()]),
            what,
        };
        if let Some(next) = trouble.clean_caches(attempt) {
            return next;
        }
        if let Some(command) = self.install(attempt) {
            return self.run(attempt, command, None, &trouble);
        }
        let Some(target) = self.target(self.wanted.realtime) else {
            return fail(
                self.record,
                NodePhase::Staging,
                reason::RESULT_DIFFERS,
                "The packages are installed, and grubby names no entry of their kernel.",
            );
        };
        let delta = self.delta(&target.arguments);
        if !delta.is_empty() {
            return self.run(attempt, update(target, &delta), Some(&delta), &trouble);
        }
        if self.view.default_kernel.as_deref() != Some(target.kernel.as_str()) {
            return self.run(attempt, set_default(&target.kernel), None, &trouble);
        }
        let boot = &self.observed.boot;
        let release = release_of(&target.kernel).unwrap_or_default();
        if release == boot.release
            && self.wanted.realtime == boot.realtime
            && self.delta(&boot.command_line) == arguments::Delta::default()
        {
            return fail(
                self.record,
                NodePhase::Staging,
                reason::RESULT_DIFFERS,
                "There is nothing more to ask for, and it is not as wanted.",
            );
        }
        let here = attempt
            .staged
            .as_ref()
            .is_some_and(|staged| staged.checksum == target.kernel && staged.boot_id == boot.id);
        if !here {
            let staged = Staged {
                id: String::new(),
                checksum: target.kernel.clone(),
                release: Some(release.to_owned()),
                boot_id: boot.id.clone(),
            };
            return staging(save_attempt(self.record, |attempt| {
                attempt.staged = Some(staged)
            }));
        }
        turn::reboot(self.observed, self.record, what)
    }

    /// The kernel that was the default before us.
    fn remember_stock(&self, record: &mut Record) {
        let is_stock =
            |path: &&str| release_of(path).is_some_and(|release| !release::is_realtime(release));
        let known = |path: &str| self.view.entries.iter().any(|entry| entry.kernel == path);
        if self.wanted.realtime && !record.stock_kernel.as_deref().is_some_and(known) {
            let now = self.view.default_kernel.as_deref().filter(is_stock);
            let running = self
                .running()
                .map(|entry| entry.kernel.as_str())
                .filter(is_stock);
            record.stock_kernel = now.or(running).map(str::to_owned);
        }
    }

    /// What is to be installed still.
    fn install(&self, attempt: &Attempt) -> Option<Command> {
        let chosen = self.known().filter(|_| self.wanted.realtime)?;
        let installed = |package: &Option<Nevra>, name: &str| {
            self.view.kernel_packages.iter().any(|other| match package {
                Some(package) => other == package,
                None => other.name == name,
            })
        };
        let is_kernel = |name: &str| packages::is_realtime(name);
        let lacks = self.target(true).is_none()
            || chosen.install.iter().any(|choice| {
                choice.needed
                    && is_kernel(&choice.name)
                    && !installed(&choice.package, &choice.name)
            });
        if !lacks {
            return None;
        }
        let mut words: Vec<String> = ["-y", "install"].map(str::to_owned).to_vec();
        if attempt.cache_only {
            words.push("--disablerepo=*".to_owned());
        }
        let files = chosen.replace.iter().map(|(_, path)| path);
        words.extend(
            chosen
                .install
                .iter()
                .map(|choice| &choice.word)
                .chain(files)
                .cloned(),
        );
        Some(Command::Dnf(words))
    }

    /// One command: written down, run, and its end looked at. Its effect is what the next look sees.
    fn run(
        &self,
        attempt: &Attempt,
        command: Command,
        delta: Option<&arguments::Delta>,
        trouble: &Trouble,
    ) -> Next {
        let line = command.line();
        let staging = |step| {
            next(
                NodePhase::Staging,
                step,
                reason::STAGING,
                format!("{}. The next boot is being prepared.", trouble.what),
            )
        };
        let intent = attempt
            .intent
            .as_ref()
            .filter(|intent| intent.command == line && intent.boot_id == self.observed.boot.id);
        let Some(intent) = intent else {
            let mut record = self.record.clone();
            housekeeping::intend(&mut record, self.observed, &command, String::new());
            if let Some(delta) = delta {
                // A boot entry of our own: what is taken off it was never in anybody's use.
                arguments::remember(&mut record, &arguments::brings(delta, self.record), &[]);
            }
            if matches!(command, Command::Dnf(_)) {
                self.note_packages(&mut record);
            }
            return staging(Step::Save(Box::new(record)));
        };
        if intent.done {
            return fail(
                self.record,
                NodePhase::Staging,
                reason::RESULT_DIFFERS,
                format!(
                    "`{line}` went well by its own word, and changed nothing that can be seen."
                ),
            );
        }
        match attempt.error.as_ref().filter(|error| error.command == line) {
            Some(error) => trouble.answer(attempt, error, command),
            None => staging(Step::Run(command)),
        }
    }

    fn note_packages(&self, record: &mut Record) {
        let Some(chosen) = self.known() else { return };
        for choice in &chosen.install {
            let there = self
                .view
                .kernel_packages
                .iter()
                .any(|package| package.name == choice.name);
            if !there && !record.installed.contains(&choice.name) {
                record.installed.push(choice.name.clone());
            }
        }
    }
}

/// Makes a kernel the default.
pub(super) fn set_default(kernel: &str) -> Command {
    Command::Grubby(vec![format!("--set-default={kernel}")])
}

/// Changes the arguments of one entry, in one call.
pub(super) fn update(entry: &BootEntry, delta: &arguments::Delta) -> Command {
    let mut words = vec![format!("--update-kernel={}", entry.kernel)];
    let gone: Vec<&str> = delta
        .delete
        .iter()
        .chain(&delta.delete_one)
        .map(String::as_str)
        .collect();
    let added: Vec<&str> = delta.added().map(String::as_str).collect();
    if !gone.is_empty() {
        words.push(format!("--remove-args={}", gone.join(" ")));
    }
    if !added.is_empty() {
        words.push(format!("--args={}", added.join(" ")));
    }
    Command::Grubby(words)
}
