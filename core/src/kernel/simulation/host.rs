//! The model of an rpm-ostree host.

use std::collections::VecDeque;

use serde_json::json;

use super::super::ostree::{Deployment, Status};
use super::super::record::CommandFailure;
use super::super::*;
use super::Host;

pub(in super::super) const STOCK: &str = "5.14.0-427.24.1.el9_4.x86_64";
pub(in super::super) const REALTIME: &str = "5.14.0-427.24.1.el9_4.x86_64+rt";
const KERNEL: [&str; 5] = [
    "kernel",
    "kernel-core",
    "kernel-modules",
    "kernel-modules-core",
    "kernel-modules-extra",
];

/// What goes wrong, once, with the next command that stages (or the next reboot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Fault {
    /// Exit code 1 and nothing happened.
    Fails,
    /// Another transaction holds the lock.
    Busy,
    /// Exit code 1 although all is staged.
    FailsButStages,
    /// Exit code 0 and nothing is staged.
    DoesNothing,
    /// Exit code 0, and the removals have no effect.
    Inactive,
    /// Exit code 0, and only a part of what was asked for is there.
    Part,
    /// The cache holds a damaged package until it is thrown away.
    Damaged,
    /// The metadata is old until it is thrown away.
    Stale,
    /// The disk is full.
    NoSpace,
    /// The packages do not fit.
    Depsolve,
    /// At the reboot: /boot is full.
    FinalizeFails,
    /// At the reboot: the boot loader falls back to the old kernel.
    FallsBack,
    /// At the reboot: the new kernel is no real-time kernel.
    NotRealtime,
    /// At the reboot: the argument is not on the command line.
    LosesArgument,
    /// `ostree admin pin` fails for ever.
    PinFails,
}

/// All of them.
pub(in super::super) const FAULTS: [Fault; 15] = [
    Fault::Fails,
    Fault::Busy,
    Fault::FailsButStages,
    Fault::DoesNothing,
    Fault::Inactive,
    Fault::Part,
    Fault::Damaged,
    Fault::Stale,
    Fault::NoSpace,
    Fault::Depsolve,
    Fault::FinalizeFails,
    Fault::FallsBack,
    Fault::NotRealtime,
    Fault::LosesArgument,
    Fault::PinFails,
];

#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is something that a host may be like, and any of them together"
)]
pub(in super::super) struct OstreeHost {
    pub list: Vec<(Deployment, String)>,
    pub finalize_failure: Option<String>,
    pub boot_id: u32,
    pub wrong_kernel: bool,
    pub lost_argument: Option<String>,
    pub faults: VecDeque<Fault>,
    /// An enabled repository is not there any more: whoever doesn't ask for the cache alone fails.
    pub repository_gone: bool,
    pub reboot_faults: VecDeque<Fault>,
    pub damaged: Option<&'static str>,
    pub pin_fails: bool,
    pub not_offered: Vec<String>,
    /// The release of the kernel in the repository.
    pub offers: &'static str,
    pub count: u32,
    pub room: Option<(u64, u64)>,
    /// Somebody else's transaction runs.
    pub transaction: bool,
}

impl OstreeHost {
    pub fn stock() -> Self {
        let booted = Deployment {
            id: "os-base.0".into(),
            checksum: "base".into(),
            osname: "os".into(),
            booted: true,
            base_commit_meta: Some(json!({"ostree.linux": STOCK})),
            ..Deployment::default()
        };
        Self {
            list: vec![(booted, "root=UUID=0 rw quiet".into())],
            finalize_failure: None,
            boot_id: 1,
            wrong_kernel: false,
            lost_argument: None,
            faults: VecDeque::new(),
            repository_gone: false,
            reboot_faults: VecDeque::new(),
            damaged: None,
            pin_fails: false,
            not_offered: vec!["kernel-rt-kvm".into()],
            offers: REALTIME,
            count: 0,
            room: None,
            transaction: false,
        }
    }

    pub fn booted(&self) -> usize {
        self.list
            .iter()
            .position(|(deployment, _)| deployment.booted)
            .unwrap()
    }

    fn release(deployment: &Deployment) -> &str {
        deployment.kernel_release().unwrap()
    }

    /// An operating system update that somebody stages; `carries`: with all requests re-applied.
    pub fn foreign_update(&mut self, base: &str, carries: bool) {
        let (mut deployment, arguments) = self.list[self.booted()].clone();
        let layered = carries && deployment.base_checksum.is_some();
        if layered {
            deployment.base_checksum = Some(base.into());
            deployment.checksum = format!("layer-{base}");
        } else {
            deployment = Deployment {
                osname: "os".into(),
                base_commit_meta: Some(json!({"ostree.linux": STOCK})),
                checksum: base.into(),
                ..Deployment::default()
            };
        }
        self.stage(deployment, arguments);
    }

    /// A package that somebody layers on what runs.
    pub fn foreign_layer(&mut self, name: &str) {
        let (mut deployment, arguments) = self.list[self.booted()].clone();
        deployment.layered_commit_meta = Some(json!({"ostree.linux": Self::release(&deployment)}));
        deployment.base_checksum = Some(deployment.base().to_owned());
        deployment.checksum = String::new();
        deployment.requested_packages.push(name.to_owned());
        deployment.packages.push(name.to_owned());
        self.stage(deployment, arguments);
    }

    fn stage(&mut self, mut deployment: Deployment, arguments: String) {
        if self.list[0].0.staged {
            self.list.remove(0);
        }
        self.count += 1;
        if deployment.base_checksum.is_some() && !deployment.checksum.starts_with("layer-") {
            deployment.checksum = format!("layer{}", self.count);
        }
        deployment.booted = false;
        deployment.staged = true;
        deployment.pinned = false;
        let same = self
            .list
            .iter()
            .filter(|(other, _)| other.checksum == deployment.checksum);
        deployment.serial = same.map(|(other, _)| other.serial + 1).max().unwrap_or(0);
        deployment.id = format!("os-{}.{}", deployment.checksum, deployment.serial);
        self.list.insert(0, (deployment, arguments));
    }

    fn cleanup(&mut self, pending: bool) {
        let at = self.booted();
        let mut index = 0;
        self.list.retain(|(deployment, _)| {
            let drop = if pending { index < at } else { index > at };
            index += 1;
            !drop || deployment.pinned
        });
    }

    fn fail<T>(stderr: &str) -> Result<T, String> {
        Err(stderr.to_owned())
    }

    fn rpm_ostree(&mut self, words: &[String]) -> Result<(), String> {
        let all: Vec<&str> = words.iter().map(String::as_str).collect();
        let stages = matches!(all[0], "kargs" | "override" | "install" | "uninstall");
        let fault = if stages {
            self.faults.pop_front()
        } else {
            None
        };
        match fault {
            Some(Fault::Fails) => return Self::fail("error: Bus owner changed, aborting."),
            Some(Fault::Busy) => {
                return Self::fail("error: Transaction in progress: upgrade\n You can cancel");
            }
            Some(Fault::DoesNothing) => return Ok(()),
            Some(Fault::NoSpace) => {
                return Self::fail("error: min-free-space-percent '3%' would be exceeded");
            }
            Some(Fault::Depsolve) => {
                return Self::fail("error: Could not depsolve transaction; 1 problem detected:");
            }
            Some(Fault::Damaged) => {
                self.damaged = Some(
                    "error: importing RPMs: creating importer: Reading rpm2cpio: Unrecognized archive format",
                );
            }
            Some(Fault::Stale) => {
                self.damaged = Some("error: Packages not found: kernel-rt-core, kernel-rt-modules");
            }
            _ => {}
        }
        match all.as_slice() {
            ["cleanup", "-p"] => self.cleanup(true),
            ["cleanup", "-r"] => self.cleanup(false),
            ["cleanup", "-b"] => {}
            ["cleanup", "-m"] => self.damaged = None,
            ["rollback"] => {
                let at = self.booted();
                let other = if at > 0 { at } else { 1 };
                if other >= self.list.len() {
                    return Self::fail("error: No rollback deployment found");
                }
                let moved = self.list.remove(other);
                self.list.insert(0, moved);
            }
            ["kargs", options @ ..] => self.kargs(options)?,
            ["override", "remove", rest @ ..] => self.layer("remove", rest, fault)?,
            ["override", "reset", rest @ ..] => self.layer("reset", rest, fault)?,
            ["uninstall", rest @ ..] => self.layer("uninstall", rest, fault)?,
            ["install", rest @ ..] => self.layer("install", rest, fault)?,
            other => panic!("unknown command {other:?}"),
        }
        if fault == Some(Fault::FailsButStages) {
            return Self::fail("error: syscore cleanup: something else");
        }
        Ok(())
    }

    fn kargs(&mut self, options: &[&str]) -> Result<(), String> {
        let (deployment, line) = self.list[0].clone();
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let original = words.clone();
        for option in options {
            let (name, value) = option.split_once('=').unwrap();
            match name {
                "--delete" => match words.iter().position(|word| word == value) {
                    Some(at) => drop(words.remove(at)),
                    None => return Self::fail("error: No karg found"),
                },
                "--append" => words.push(value.to_owned()),
                "--append-if-missing" if !original.iter().any(|word| word == value) => {
                    words.push(value.to_owned());
                }
                "--delete-if-present" if original.iter().any(|word| word == value) => {
                    let at = words.iter().position(|word| word == value).unwrap();
                    words.remove(at);
                }
                "--append-if-missing" | "--delete-if-present" => {}
                other => panic!("unknown option {other}"),
            }
        }
        if words != original {
            self.stage(deployment, words.join(" "));
        }
        Ok(())
    }

    #[allow(
        clippy::too_many_lines,
        reason = "one command after the other, as the program does"
    )]
    fn layer(&mut self, verb: &str, words: &[&str], fault: Option<Fault>) -> Result<(), String> {
        let (mut deployment, line) = self.list[0].clone();
        let (mut names, mut install, mut uninstall) = (Vec::new(), Vec::new(), Vec::new());
        let mut cache_only = false;
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--cache-only" if verb == "uninstall" => {
                    return Self::fail("error: Unknown option --cache-only");
                }
                "--install" => install.push((*words.next().unwrap()).to_owned()),
                "--uninstall" => uninstall.push((*words.next().unwrap()).to_owned()),
                "--cache-only" => cache_only = true,
                word => names.push(word.to_owned()),
            }
        }
        match verb {
            "install" => install.append(&mut names),
            "uninstall" => uninstall.append(&mut names),
            _ => {}
        }
        if self.repository_gone && !install.is_empty() && !cache_only {
            return Self::fail(
                "error: Updating rpm-md repo 'r': cannot update repo 'r': Cannot download repomd.xml: Cannot download repodata/repomd.xml: All mirrors were tried; Last error: Status code: 404 for http://r/repodata/repomd.xml (IP: 127.0.0.1)",
            );
        }
        for name in &uninstall {
            if !deployment.requested_packages.contains(name)
                && !deployment.requested_local_packages.contains(name)
            {
                return Err(format!(
                    "error: Package/capability '{name}' is not currently requested"
                ));
            }
        }
        deployment
            .requested_packages
            .retain(|name| !uninstall.contains(name));
        deployment
            .requested_local_packages
            .retain(|name| !uninstall.contains(name));
        if !install.is_empty()
            && let Some(words) = self.damaged
        {
            return Self::fail(words);
        }
        for word in install {
            match word
                .strip_prefix("/cache/")
                .and_then(|name| name.strip_suffix(".rpm"))
            {
                Some(nevra) => deployment.requested_local_packages.push(nevra.to_owned()),
                None if self.not_offered.contains(&word) => {
                    return Err(format!("error: Packages not found: {word}"));
                }
                None if deployment.requested_packages.contains(&word) => {
                    return Err(format!(
                        "error: Package/capability '{word}' is already requested"
                    ));
                }
                None => deployment.requested_packages.push(word),
            }
        }
        for name in names {
            let there = deployment.requested_base_removals.contains(&name);
            match verb {
                "remove" if there => {
                    return Err(format!(
                        "error: Override already exists for package '{name}'"
                    ));
                }
                "remove" => deployment.requested_base_removals.push(name),
                _ if !there => return Err(format!("error: No overrides for package '{name}'")),
                _ => deployment
                    .requested_base_removals
                    .retain(|other| *other != name),
            }
        }
        if fault == Some(Fault::Part) {
            // An incomplete reset is accepted; so is a kernel without its modules.
            if verb == "reset" {
                deployment
                    .requested_base_removals
                    .push("kernel-modules-extra".into());
            } else {
                deployment
                    .requested_packages
                    .retain(|name| name != "kernel-rt-modules");
                deployment
                    .requested_local_packages
                    .retain(|name| !name.starts_with("kernel-rt-modules-5"));
            }
        }
        let inactive = fault == Some(Fault::Inactive);
        deployment.base_removals = deployment
            .requested_base_removals
            .iter()
            .filter(|_| !inactive)
            .map(|name| {
                vec![
                    json!(format!("{name}-{STOCK}")),
                    json!(name),
                    json!(0),
                    json!("5.14.0"),
                    json!("427.24.1.el9_4"),
                    json!("x86_64"),
                ]
            })
            .collect();
        deployment
            .packages
            .clone_from(&deployment.requested_packages);
        let local = deployment
            .requested_local_packages
            .iter()
            .find_map(|name| name.strip_prefix("kernel-rt-core-"));
        let by_name = deployment
            .requested_packages
            .iter()
            .any(|name| name == "kernel-rt-core");
        let realtime = local
            .map(|version| format!("{version}+rt"))
            .or(by_name.then(|| self.offers.to_owned()));
        let layered = !deployment.requested_base_removals.is_empty() || realtime.is_some();
        let base = deployment.base().to_owned();
        if layered {
            let kernel = realtime
                .filter(|_| !inactive)
                .unwrap_or_else(|| STOCK.to_owned());
            deployment.base_checksum = Some(base);
            deployment.layered_commit_meta = Some(json!({"ostree.linux": kernel}));
            deployment.checksum = String::new();
        } else {
            deployment.checksum = base;
            deployment.base_checksum = None;
            deployment.layered_commit_meta = None;
        }
        self.stage(deployment, line);
        Ok(())
    }

    fn pin(&mut self, index: usize, unpin: bool) -> Result<(), String> {
        if self.pin_fails {
            return Self::fail("error: Invalid index");
        }
        match self.list.get_mut(index) {
            None => Self::fail("error: Out of range deployment index"),
            Some((deployment, _)) if deployment.staged => {
                Self::fail("error: Cannot pin staged deployment")
            }
            Some((deployment, _)) => {
                deployment.pinned = !unpin;
                Ok(())
            }
        }
    }
}

impl Host for OstreeHost {
    fn system(&self) -> System {
        let booted = &self.list[self.booted()].0;
        let removed: Vec<String> = booted.removed().map(|package| package.name).collect();
        let kernel_packages = KERNEL
            .iter()
            .filter(|name| !removed.iter().any(|other| other == *name))
            .map(|name| Nevra::parse(&format!("{name}-{STOCK}")).unwrap())
            .collect();
        System::Ostree(Box::new(OstreeView {
            status: Status {
                deployments: self
                    .list
                    .iter()
                    .map(|(deployment, _)| deployment.clone())
                    .collect(),
                transaction: self
                    .transaction
                    .then(|| json!(["upgrade", ":1.5", "/org/projectatomic/rpmostree1/fedora"])),
            },
            next_arguments: format!("{} ostree=/ostree/boot.1/os/0", self.list[0].1),
            kernel_packages,
            finalize_failure: self.finalize_failure.clone(),
            boot_free: self.room.map(|(free, _)| free),
            boot_needed: self.room.map(|(_, needed)| needed),
            enabled_repositories: vec!["rt".into()],
        }))
    }

    fn boot(&self) -> Boot {
        let (deployment, line) = &self.list[self.booted()];
        let lost = self.lost_argument.as_deref();
        let line: Vec<&str> = line.split(' ').filter(|word| Some(*word) != lost).collect();
        let release = Self::release(deployment);
        Boot {
            id: format!("boot-{}", self.boot_id),
            release: release.to_owned(),
            realtime: release::is_realtime(release) && !self.wrong_kernel,
            command_line: format!("BOOT_IMAGE=x {}", line.join(" ")),
        }
    }

    fn run(&mut self, command: &Command) -> Result<(), CommandFailure> {
        assert!(!self.transaction, "{command:?} in a transaction");
        let result = match command {
            Command::RpmOstree(words) => self.rpm_ostree(words),
            Command::Pin { index, unpin } => self.pin(*index, *unpin),
            other => panic!("{other:?} on an rpm-ostree host"),
        };
        result.map_err(|stderr| CommandFailure {
            command: command.line(),
            code: Some(1),
            stderr,
        })
    }

    fn reboot(&mut self, orderly: bool) {
        self.boot_id += 1;
        self.finalize_failure = None;
        self.wrong_kernel = false;
        self.lost_argument = None;
        let old = self.booted();
        let fault = if orderly {
            self.reboot_faults.pop_front()
        } else {
            None
        };
        if self.list[0].0.staged {
            if orderly && fault != Some(Fault::FinalizeFails) {
                let booted = old;
                let mut index = 0;
                // The new one, the booted one and what is pinned.
                self.list.retain(|(deployment, _)| {
                    let keep = index == 0 || index == booted || deployment.pinned;
                    index += 1;
                    keep
                });
                self.list[0].0.staged = false;
            } else {
                self.list.remove(0);
                if orderly {
                    self.finalize_failure =
                        Some("Installing kernel: regfile copy: No space left on device".into());
                }
            }
        }
        let old = self.booted();
        if fault != Some(Fault::FallsBack) {
            self.list[old].0.booted = false;
            self.list[0].0.booted = true;
        }
        if fault == Some(Fault::NotRealtime) {
            self.wrong_kernel = true;
        }
        if fault == Some(Fault::LosesArgument) {
            self.lost_argument = Some("isolcpus=2-3".into());
        }
    }

    fn foreign_cleanup(&mut self) {
        self.cleanup(true);
    }

    fn foreign_arguments(&mut self) {
        let (deployment, line) = self.list[0].clone();
        self.stage(deployment, format!("{line} debug"));
    }
}
