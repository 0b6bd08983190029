//! The model of a host with dnf and grubby.

use std::collections::VecDeque;

use super::super::record::CommandFailure;
use super::super::*;
use super::Host;
use super::host::{Fault, REALTIME, STOCK};

#[derive(Clone)]
pub(in super::super) struct RpmHost {
    pub packages: Vec<Nevra>,
    pub entries: Vec<BootEntry>,
    pub default: String,
    pub running: String,
    pub boot_id: u32,
    pub wrong_kernel: bool,
    pub faults: VecDeque<Fault>,
    pub reboot_faults: VecDeque<Fault>,
    pub not_offered: Vec<String>,
    /// dnf is at work: the packages and the entry are there, the initramfs is not.
    pub dnf_runs: bool,
}

fn entry(release: &str, arguments: &str) -> BootEntry {
    BootEntry {
        kernel: format!("/boot/vmlinuz-{release}"),
        arguments: arguments.into(),
    }
}

impl RpmHost {
    pub fn stock() -> Self {
        let nevra = |name: &str| Nevra::parse(&format!("{name}-{STOCK}")).unwrap();
        Self {
            packages: ["kernel", "kernel-core", "kernel-modules"]
                .map(nevra)
                .to_vec(),
            entries: vec![
                entry(STOCK, "root=UUID=0 ro quiet"),
                entry("0-rescue-abc", "root=UUID=0 ro"),
            ],
            default: format!("/boot/vmlinuz-{STOCK}"),
            running: format!("/boot/vmlinuz-{STOCK}"),
            boot_id: 1,
            wrong_kernel: false,
            faults: VecDeque::new(),
            reboot_faults: VecDeque::new(),
            not_offered: vec!["kernel-rt-kvm".into()],
            dnf_runs: false,
        }
    }

    /// `dnf upgrade` with a new stock kernel.
    pub fn upgraded(&mut self) {
        let release = "5.14.0-500.1.el9_5.x86_64";
        self.packages
            .push(Nevra::parse(&format!("kernel-core-{release}")).unwrap());
        self.entries
            .insert(0, entry(release, "root=UUID=0 ro quiet"));
        self.default = format!("/boot/vmlinuz-{release}");
    }

    fn dnf(&mut self, words: &[String]) -> Result<(), String> {
        let all: Vec<&str> = words.iter().map(String::as_str).collect();
        match all.as_slice() {
            ["clean", "all"] => {}
            ["-y", "install", names @ ..] => {
                match self.faults.pop_front() {
                    Some(Fault::Fails) => return Err("Error: something".into()),
                    Some(Fault::Busy) => return Err("error: waiting for transaction lock".into()),
                    Some(Fault::DoesNothing) => return Ok(()),
                    Some(Fault::NoSpace) => {
                        return Err("Error: needs more space on the / filesystem".into());
                    }
                    _ => {}
                }
                if let Some(name) = names
                    .iter()
                    .find(|name| self.not_offered.iter().any(|other| other == *name))
                {
                    return Err(format!("Error: Unable to find a match: {name}"));
                }
                for name in names {
                    let package = Nevra::parse(name)
                        .filter(|_| name.ends_with(".x86_64"))
                        .unwrap_or_else(|| Nevra::parse(&format!("{name}-{STOCK}")).unwrap());
                    // By name: what is there in any version does.
                    if !self.packages.iter().any(|there| there.answers(name)) {
                        self.packages.push(package);
                    }
                }
                if !self
                    .entries
                    .iter()
                    .any(|entry| entry.kernel.ends_with("+rt"))
                {
                    self.entries
                        .insert(0, entry(REALTIME, "root=UUID=0 ro quiet"));
                }
            }
            ["-y", "remove", names @ ..] => {
                self.packages
                    .retain(|package| !names.iter().any(|name| package.answers(name)));
                self.entries.retain(|entry| !entry.kernel.ends_with("+rt"));
            }
            other => panic!("unknown command {other:?}"),
        }
        Ok(())
    }

    fn grubby(&mut self, words: &[String]) {
        let mut kernel = None;
        for word in words {
            let (option, value) = word.split_once('=').unwrap();
            match option {
                "--set-default" => self.default = value.to_owned(),
                "--update-kernel" => kernel = Some(value.to_owned()),
                "--args" | "--remove-args" => {
                    let entry = self
                        .entries
                        .iter_mut()
                        .find(|entry| Some(&entry.kernel) == kernel.as_ref())
                        .unwrap();
                    let mut line: Vec<&str> = entry.arguments.split(' ').collect();
                    for argument in value.split(' ') {
                        line.retain(|other| *other != argument);
                        if option == "--args" {
                            line.push(argument);
                        }
                    }
                    entry.arguments = line.join(" ");
                }
                other => panic!("unknown option {other}"),
            }
        }
    }
}

impl Host for RpmHost {
    fn system(&self) -> System {
        System::Rpm(Box::new(RpmView {
            dnf_runs: self.dnf_runs,
            packages: self.packages.clone(),
            kernel_packages: self
                .packages
                .iter()
                .filter(|package| package.name.starts_with("kernel"))
                .cloned()
                .collect(),
            default_kernel: Some(self.default.clone()),
            entries: self.entries.clone(),
            enabled_repositories: vec!["rt".into()],
            boot_free: None,
            boot_needed: None,
        }))
    }

    fn boot(&self) -> Boot {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.kernel == self.running);
        let release = self.running.strip_prefix("/boot/vmlinuz-").unwrap();
        Boot {
            id: format!("boot-{}", self.boot_id),
            release: release.to_owned(),
            realtime: release.ends_with("+rt") && !self.wrong_kernel,
            command_line: entry.map_or_else(String::new, |entry| entry.arguments.clone()),
        }
    }

    fn run(&mut self, command: &Command) -> Result<(), CommandFailure> {
        assert!(!self.dnf_runs, "{command:?} while dnf is at work");
        let result = match command {
            Command::Dnf(words) => self.dnf(words),
            Command::Grubby(words) => {
                self.grubby(words);
                Ok(())
            }
            other => panic!("{other:?} on a host with dnf"),
        };
        result.map_err(|stderr| CommandFailure {
            command: command.line(),
            code: Some(1),
            stderr,
        })
    }

    fn reboot(&mut self, orderly: bool) {
        assert!(!self.dnf_runs, "a reboot while dnf is at work");
        self.boot_id += 1;
        let fault = if orderly {
            self.reboot_faults.pop_front()
        } else {
            None
        };
        self.wrong_kernel = fault == Some(Fault::NotRealtime);
        if fault != Some(Fault::FallsBack) {
            self.running = self.default.clone();
        }
    }

    fn foreign_cleanup(&mut self) {}

    fn foreign_arguments(&mut self) {}

    fn outlives(&mut self, command: &Command) {
        self.dnf_runs = matches!(command, Command::Dnf(_));
    }

    fn passes(&mut self) {
        self.dnf_runs = false;
    }
}
