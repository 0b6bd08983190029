//! A host of the model: the deployments of an ostree host by the list rules of libostree, small enough to be explored
//! exhaustively. It plays a host; how faithful the rules are is the rpm-ostree stand-in's conformance test to say.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use realtime_core::kernel::ostree::{Deployment, Status};
use realtime_core::kernel::record::CommandFailure;
use realtime_core::kernel::{Boot, Command, Nevra, Offered, OstreeView, Record, System};
use serde_json::json;

pub const STOCK: &str = "5.14.0-427.24.1.el9_4.x86_64";
pub const REALTIME: &str = "5.14.0-427.24.1.el9_4.x86_64+rt";
pub const ARGUMENT: &str = "skew_tick=1";
const BASE_PACKAGES: [&str; 5] = [
    "kernel",
    "kernel-core",
    "kernel-modules",
    "kernel-modules-core",
    "kernel-modules-extra",
];

/// A deployment.
#[allow(
    clippy::struct_excessive_bools,
    reason = "the flags of rpm-ostree's own status"
)]
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Deployed {
    pub realtime: bool,
    pub argument: bool,
    pub booted: bool,
    pub staged: bool,
    pub pinned: bool,
    /// The Machine Config Operator made it.
    pub foreign: bool,
    pub serial: i64,
    /// Requested packages by name, as they were given.
    pub packages: Arc<Vec<String>>,
    /// Requested removals.
    pub removals: Arc<Vec<String>>,
}

/// Something that is compared and hashed by what it says, once.
#[derive(Clone, Debug)]
pub struct Hashed<T> {
    hash: u64,
    value: Arc<T>,
}

impl<T> Hashed<T> {
    pub fn new(value: T, words: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        words.hash(&mut hasher);
        Self {
            hash: hasher.finish(),
            value: Arc::new(value),
        }
    }
}

impl<T> PartialEq for Hashed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl<T> Eq for Hashed<T> {}

impl<T> Hash for Hashed<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl<T> std::ops::Deref for Hashed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

pub fn kept(record: Record) -> Hashed<Record> {
    let words = serde_json::to_string(&record).expect("a record is JSON");
    Hashed::new(record, &words)
}

/// What goes wrong with the next command or boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trouble {
    #[default]
    None,
    /// The next command fails and leaves everything as it was.
    Refused,
    /// The next command says that it failed, and did everything.
    DoneAndFailed,
    /// The next override says that all went well, and is not active.
    Inactive,
    /// The next shutdown does not finalize: the message is in the journal of the next boot.
    NotFinalized,
    /// What boots next does not come up: the boot loader takes the entry behind it.
    DoesNotBoot,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    pub deployments: Vec<Deployed>,
    pub boot: u8,
    pub record: Hashed<Record>,
    pub trouble: Trouble,
    pub finalize_failed: bool,
}

impl Host {
    pub fn new(realtime: bool) -> Self {
        let mut first = Deployed {
            booted: true,
            ..Deployed::default()
        };
        if realtime {
            first.realtime = true;
            first.argument = true;
            first.packages = Arc::new(installed());
            first.removals = Arc::new(BASE_PACKAGES.iter().map(ToString::to_string).collect());
        }
        let record = Record {
            arguments: if realtime {
                vec![ARGUMENT.to_owned()]
            } else {
                Vec::new()
            },
            installed: if realtime { installed() } else { Vec::new() },
            ..Record::default()
        };
        Self {
            deployments: vec![first],
            boot: 0,
            record: kept(record),
            trouble: Trouble::None,
            finalize_failed: false,
        }
    }

    pub fn booted(&self) -> &Deployed {
        self.deployments
            .iter()
            .find(|deployed| deployed.booted)
            .expect("something is booted")
    }

    pub fn observed_boot(&self) -> Boot {
        let booted = self.booted();
        Boot {
            id: format!("boot-{}", self.boot),
            release: if booted.realtime { REALTIME } else { STOCK }.to_owned(),
            realtime: booted.realtime,
            command_line: arguments(booted),
        }
    }

    pub fn system(&self) -> System {
        System::Ostree(Box::new(OstreeView {
            status: Status {
                deployments: self.deployments.iter().map(deployment).collect(),
                transaction: None,
            },
            next_arguments: arguments(&self.deployments[0]),
            kernel_packages: if self.booted().realtime {
                self.booted()
                    .packages
                    .iter()
                    .map(|name| nevra(name))
                    .collect()
            } else {
                BASE_PACKAGES.iter().map(|name| nevra(name)).collect()
            },
            finalize_failure: self
                .finalize_failed
                .then(|| "Installing kernel: regfile copy: No space left on device".to_owned()),
            boot_free: Some(1 << 30),
            boot_needed: Some(100 << 20),
            enabled_repositories: vec!["rt".to_owned()],
        }))
    }

    pub fn offered() -> Offered {
        Offered::Repositories
    }

    /// Runs a command; the words of its failure.
    pub fn run(&mut self, command: &Command) -> Option<CommandFailure> {
        let trouble = std::mem::take(&mut self.trouble);
        let refused = |stderr: &str| {
            Some(CommandFailure {
                command: command.line(),
                code: Some(1),
                stderr: stderr.to_owned(),
            })
        };
        match trouble {
            Trouble::Refused => {
                return refused("error: Could not depsolve transaction; 1 problem detected");
            }
            Trouble::NotFinalized | Trouble::DoesNotBoot => self.trouble = trouble,
            Trouble::None | Trouble::DoneAndFailed | Trouble::Inactive => {}
        }
        if let Err(words) = self.does(command, trouble == Trouble::Inactive) {
            return refused(&words);
        }
        if trouble == Trouble::DoneAndFailed {
            return refused("error: Bus owner changed, aborting.");
        }
        None
    }

    fn does(&mut self, command: &Command, inactive: bool) -> Result<(), String> {
        let arguments = match command {
            Command::Pin { index, unpin } => {
                let deployed = self
                    .deployments
                    .get_mut(*index)
                    .ok_or("error: Out of range deployment index")?;
                if deployed.staged {
                    return Err("error: Cannot pin staged deployment".to_owned());
                }
                deployed.pinned = !unpin;
                return Ok(());
            }
            Command::RpmOstree(arguments) => arguments,
            other => return Err(format!("no {other:?} on this host")),
        };
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut new = self.deployments[0].clone();
        new.foreign = false;
        match words.as_slice() {
            ["cleanup", "-p"] => {
                self.drop_pending();
                return Ok(());
            }
            ["cleanup" | "refresh-md", ..] => return Ok(()),
            ["rollback"] => {
                let at = self.deployments.iter().position(|d| d.booted).unwrap_or(0);
                if at == 0 && self.deployments.len() < 2 {
                    return Err("error: No rollback deployment found".to_owned());
                }
                let other = self.deployments.remove(if at == 0 { 1 } else { at });
                self.deployments.insert(0, other);
                return Ok(());
            }
            ["kargs", changes @ ..] => {
                for change in changes {
                    if change.starts_with("--append") {
                        new.argument = true;
                    } else if change.starts_with("--delete") {
                        new.argument = false;
                    }
                }
            }
            ["override", "remove", rest @ ..] => {
                if rest.contains(&"--dry-run") || rest.contains(&"-n") {
                    return Ok(());
                }
                let mut install = false;
                for word in rest {
                    match *word {
                        "--install" => install = true,
                        package if install => {
                            if new.packages.contains(&package.to_owned()) {
                                return Err(format!(
                                    "error: Package/capability '{package}' is already requested"
                                ));
                            }
                            Arc::make_mut(&mut new.packages).push(package.to_owned());
                            install = false;
                        }
                        package => Arc::make_mut(&mut new.removals).push(package.to_owned()),
                    }
                }
                new.realtime = !inactive;
            }
            ["override", "reset", rest @ ..] => {
                let mut uninstall = false;
                for word in rest {
                    match *word {
                        "--uninstall" => uninstall = true,
                        package if uninstall => {
                            Arc::make_mut(&mut new.packages).retain(|there| there != package);
                            uninstall = false;
                        }
                        package => {
                            Arc::make_mut(&mut new.removals).retain(|there| there != package);
                        }
                    }
                }
                if !new.packages.is_empty() && new.removals.is_empty() {
                    return Err("error: Multiple kernels (vmlinuz) found in: …".to_owned());
                }
                new.realtime = !new.packages.is_empty();
            }
            other => return Err(format!("the model has no rpm-ostree {other:?}")),
        }
        self.stage(new);
        Ok(())
    }

    pub fn stage(&mut self, mut new: Deployed) {
        self.deployments.retain(|deployed| !deployed.staged);
        new.booted = false;
        new.staged = true;
        new.pinned = false;
        new.serial = self
            .deployments
            .iter()
            .filter(|other| checksum(other) == checksum(&new))
            .map(|other| other.serial + 1)
            .max()
            .unwrap_or(0);
        self.deployments.insert(0, new);
    }

    pub fn drop_pending(&mut self) {
        let at = self.deployments.iter().position(|d| d.booted).unwrap_or(0);
        let mut index = 0;
        self.deployments.retain(|deployed| {
            index += 1;
            index > at || deployed.pinned
        });
    }

    /// Another boot id than any that is remembered. Those are numbered anew, so that hosts that differ only in how often
    /// they booted are the same.
    fn new_boot_id(&mut self) {
        let mut words = serde_json::to_string(&*self.record).expect("a record is JSON");
        let mut next = 0;
        for boot in 0..=self.boot {
            let (old, new) = (format!("\"boot-{boot}\""), format!("\"boot-{next}\""));
            if words.contains(&old) {
                words = words.replace(&old, &new);
                next += 1;
            }
        }
        self.boot = next;
        self.record = kept(serde_json::from_str(&words).expect("a record again"));
    }

    /// Whatever runs next. `orderly`: the shutdown finalizes what is staged.
    pub fn reboot(&mut self, orderly: bool) {
        self.new_boot_id();
        self.finalize_failed = false;
        let staged = self.deployments[0].staged;
        let fails = orderly && staged && self.trouble == Trouble::NotFinalized;
        if staged && orderly && !fails {
            let mut new = self.deployments.remove(0);
            new.staged = false;
            self.deployments
                .retain(|deployed| deployed.booted || deployed.pinned);
            self.deployments.insert(0, new);
        } else if staged {
            self.deployments.remove(0);
            self.finalize_failed = fails;
        }
        let mut next = 0;
        if self.trouble == Trouble::DoesNotBoot && self.deployments.len() > 1 {
            next = 1;
        }
        if matches!(self.trouble, Trouble::DoesNotBoot) || fails {
            self.trouble = Trouble::None;
        }
        for (index, deployed) in self.deployments.iter_mut().enumerate() {
            deployed.booted = index == next;
        }
    }
}

fn installed() -> Vec<String> {
    [
        "kernel-rt-core",
        "kernel-rt-modules",
        "kernel-rt-modules-extra",
    ]
    .iter()
    .map(ToString::to_string)
    .collect()
}

fn arguments(deployed: &Deployed) -> String {
    if deployed.argument {
        format!("root=UUID=0 {ARGUMENT}")
    } else {
        "root=UUID=0".to_owned()
    }
}

fn nevra(name: &str) -> Nevra {
    Nevra {
        name: name.to_owned(),
        epoch: 0,
        version: "5.14.0".to_owned(),
        release: "427.24.1.el9_4".to_owned(),
        architecture: "x86_64".to_owned(),
    }
}

fn is_layered(deployed: &Deployed) -> bool {
    !deployed.packages.is_empty() || !deployed.removals.is_empty()
}

/// Without layers it is the base's, whatever the arguments; with layers the whole layer is made anew.
fn checksum(deployed: &Deployed) -> String {
    let layered = is_layered(deployed);
    let number = 1
        + u8::from(deployed.realtime) * 2
        + u8::from(layered) * 4
        + u8::from(layered && deployed.argument) * 8;
    format!("{number:064x}")
}

fn deployment(deployed: &Deployed) -> Deployment {
    let layered = is_layered(deployed);
    let checksum = checksum(deployed);
    let base = format!("{:064x}", 1);
    let active = deployed.realtime;
    let removal = |name: &String| {
        let nevra = nevra(name);
        vec![
            json!(nevra.to_string()),
            json!(name),
            json!(0),
            json!(nevra.version),
            json!(nevra.release),
            json!(nevra.architecture),
        ]
    };
    Deployment {
        id: format!("rhcos-{checksum}.{}", deployed.serial),
        checksum,
        serial: deployed.serial,
        osname: "rhcos".to_owned(),
        booted: deployed.booted,
        staged: deployed.staged,
        finalization_locked: false,
        pinned: deployed.pinned,
        base_checksum: layered.then(|| base.clone()),
        version: Some("416".to_owned()),
        layered_commit_meta: layered
            .then(|| json!({"ostree.linux": if deployed.realtime { REALTIME } else { STOCK }})),
        base_commit_meta: Some(json!({"ostree.linux": STOCK})),
        requested_packages: deployed.packages.to_vec(),
        packages: if active {
            deployed.packages.to_vec()
        } else {
            Vec::new()
        },
        requested_base_removals: deployed.removals.to_vec(),
        base_removals: if active {
            deployed.removals.iter().map(removal).collect()
        } else {
            Vec::new()
        },
        ..Deployment::default()
    }
}
