//! Staging on a host with dnf and grubby: install, arguments on the new entry alone, the default. Each command is written
//! down before it runs, and its effect is what the next look sees.

use super::flow_rpm::{Rpm, release_of};
use super::nevra::Nevra;
use super::packages;
use super::record::{Attempt, Record, Staged};
use super::tell::{fail, next, save, save_attempt};
use super::trouble::Trouble;
use super::{BootEntry, Command, Next, Step, arguments, housekeeping, release, turn};
use crate::api::realtime_node::NodePhase;
use crate::conditions::reason;
use crate::render::kernel_arguments::{Repeat, repeat};

impl Rpm<'_> {
    pub(super) fn stage(&self, what: &str) -> Next {
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
                compared: true,
            };
            return staging(save_attempt(self.record, |attempt| {
                attempt.staged = Some(staged);
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
                None => other.answers(name),
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
            Some(error) => trouble.answer(attempt, error),
            None => staging(Step::Run(command)),
        }
    }

    /// What dnf is about to bring, and was not there before us.
    fn note_packages(&self, record: &mut Record) {
        let Some(chosen) = self.known() else { return };
        for choice in &chosen.install {
            let there = self
                .view
                .packages
                .iter()
                .any(|package| package.answers(&choice.name));
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
        let kept = kept_beside(&added, &gone, &entry.arguments);
        let all: Vec<&str> = kept.iter().map(String::as_str).chain(added).collect();
        words.push(format!("--args={}", all.join(" ")));
    }
    Command::Grubby(words)
}

/// grubby takes all values of an argument off the entry before it adds any of that name: what else stands there of an
/// argument that may repeat (`console=`) has to be given along, or it would be lost.
fn kept_beside(added: &[&str], gone: &[&str], line: &str) -> Vec<String> {
    let name = |argument: &str| argument.split('=').next().unwrap_or_default().to_owned();
    let names: Vec<String> = added.iter().map(|argument| name(argument)).collect();
    let mut kept = arguments::split(line);
    kept.retain(|there| {
        repeat(there) != Repeat::Once
            && names.contains(&name(there))
            && !gone.contains(&there.as_str())
            && !added.contains(&there.as_str())
    });
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_values_of_an_argument_that_repeats_are_given_along() {
        let kept = |added: &[&str], gone: &[&str], line: &str| kept_beside(added, gone, line);
        let line = "root=UUID=0 console=tty0 isolcpus=1 console=ttyS1 quiet";
        assert_eq!(
            kept(&["console=ttyS0"], &["console=ttyS1"], line),
            ["console=tty0"]
        );
        assert!(kept(&["isolcpus=2-3"], &[], line).is_empty());
        assert!(kept(&["skew_tick=1"], &[], line).is_empty());
        assert!(kept(&["console=tty0"], &["console=ttyS1"], line).is_empty());
    }
}
