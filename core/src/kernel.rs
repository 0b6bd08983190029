//! From the kernel that is wanted and what host and cluster hold to the ONE next step, with its argv. Pure: no memory,
//! no clock, no host. The daemon may die between any two steps; the next call starts from what is there.
//!
//! Two owners never drive one node: where the Machine Config Operator switches the kernel, this only verifies.

pub mod arguments;
mod attempt;
mod boot_check;
pub mod command;
mod failure;
mod flow_ostree;
mod flow_rpm;
mod goal;
mod housekeeping;
pub mod nevra;
mod obstacle;
pub mod ostree;
mod packages;
mod ready;
pub mod record;
pub mod release;
mod room;
mod rpm_boot;
mod rpm_stage;
mod stage;
mod switch;
mod tell;
mod trouble;
mod turn;
mod undo;
mod verify;

use crate::api::realtime_node::{NodePhase, NodeTurn};
use crate::api::realtime_profile::PackagesSpec;
use crate::conditions::Decided;

pub use command::Command;
pub use nevra::Nevra;
pub use record::Record;

/// How long pods may take to leave a node, seconds: an hour, as long as most disruption budgets and graceful ends take.
/// Then the node takes pods again with its old kernel, and says which pods stayed.
pub const DRAIN_LIMIT: u64 = 3600;

/// The next step from what is wanted and what was observed. Total and pure: the same input gives the same answer, and
/// none makes it fail.
///
/// 1. Where somebody else switches the kernel, it is only verified.
/// 2. Else by the host's own way: rpm-ostree, or dnf and grubby, or none.
/// 3. Whatever that says: in a cluster nothing that changes the host is done outside the node's turn.
pub fn next(wanted: &Wanted, observed: &Observed) -> Next {
    if !wanted.ours {
        return verify::only(wanted, observed);
    }
    let next = match &observed.system {
        System::Ostree(view) => flow_ostree::decide(wanted, observed, view),
        System::Rpm(view) => flow_rpm::decide(wanted, observed, view),
        System::Other(why) => verify::unknown(wanted, observed, why),
    };
    turn::guarded(observed, next)
}

/// What the node's kernel shall be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// The real-time kernel; false: the stock kernel.
    pub realtime: bool,
    /// Whether this daemon switches the kernel. False: the Machine Config Operator does, and the daemon verifies.
    pub ours: bool,
    /// Whether this daemon brings the arguments onto the command line. False: a MachineConfig does.
    pub arguments_ours: bool,
    /// The kernel arguments, one an entry, in their order.
    pub arguments: Vec<String>,
    /// Packages and where they come from.
    pub packages: PackagesSpec,
    /// The value of the retry annotation: another value allows another attempt.
    pub retry: Option<String>,
}

/// Everything that a decision needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The running kernel.
    pub boot: Boot,
    /// How this host gets its kernel.
    pub system: System,
    /// What was written down on the host.
    pub record: Record,
    /// What the package source offers. `None`: not looked at since the daemon's start ([`Step::Prepare`] does).
    pub offered: Option<Offered>,
    /// The node's side of the cluster.
    pub node: Surroundings,
    /// Seconds since the epoch. Only differences to [`record::Attempt::failed_at`] count: how long to wait before
    /// something that failed is tried again.
    pub now: u64,
}

/// The running kernel, read from files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Boot {
    /// `/proc/sys/kernel/random/boot_id`.
    pub id: String,
    /// `/proc/sys/kernel/osrelease`.
    pub release: String,
    /// `/sys/kernel/realtime` is 1, or `/proc/version` says PREEMPT_RT (or PREEMPT RT).
    pub realtime: bool,
    /// `/proc/cmdline`, as it stands.
    pub command_line: String,
}

/// How a host gets its kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum System {
    /// rpm-ostree.
    Ostree(Box<OstreeView>),
    /// dnf and grubby.
    Rpm(Box<RpmView>),
    /// Neither: the kernel can only be verified. Why, in words.
    Other(String),
}

/// An rpm-ostree host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OstreeView {
    /// `rpm-ostree status --json`.
    pub status: ostree::Status,
    /// What `rpm-ostree kargs` prints: the arguments of the deployment that boots next.
    pub next_arguments: String,
    /// `rpm -qa` of the kernel's packages, of the booted deployment.
    pub kernel_packages: Vec<Nevra>,
    /// The words of a finalization that failed at the last shutdown.
    pub finalize_failure: Option<String>,
    /// Free bytes on the file system of `/boot`.
    pub boot_free: Option<u64>,
    /// Bytes that one more kernel with its initramfs takes there: the largest one that is there.
    pub boot_needed: Option<u64>,
    /// Ids of the rpm repositories that the host has enabled.
    pub enabled_repositories: Vec<String>,
}

/// A host with dnf and grubby.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RpmView {
    /// A dnf of ours is at work, in a unit of its own that outlives the daemon: whatever else is seen here may be half of
    /// what it does (the boot entry comes before the initramfs).
    pub dnf_runs: bool,
    /// `rpm -qa`: what is there before our dnf is somebody else's.
    pub packages: Vec<Nevra>,
    /// Of these the kernel's packages.
    pub kernel_packages: Vec<Nevra>,
    /// `grubby --default-kernel`: a path below `/boot`.
    pub default_kernel: Option<String>,
    /// `grubby --info=ALL`.
    pub entries: Vec<BootEntry>,
    /// Ids of the rpm repositories that the host has enabled.
    pub enabled_repositories: Vec<String>,
    /// Free bytes on the file system of `/boot`.
    pub boot_free: Option<u64>,
    /// Bytes that one more kernel with its initramfs takes there.
    pub boot_needed: Option<u64>,
}

/// A boot loader entry of grubby.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BootEntry {
    /// Path of the kernel, such as `/boot/vmlinuz-5.14.0-427.el9.x86_64+rt`.
    pub kernel: String,
    /// Its arguments.
    pub arguments: String,
}

/// What a package source offers.
#[derive(Clone, Debug, PartialEq)]
pub enum Offered {
    /// RPM files on the host, verified: the package and its path on the host. The replacements of base packages
    /// (`packages.replace`) are among them: [`Offered::replaces`] tells which. When the source is repositories (or none
    /// is named), these are the only files, and the kernel's packages come by name.
    Files(Vec<(Nevra, String)>),
    /// Repositories, by name: what the program that resolves them says is asked by a dry run.
    Repositories,
    /// The source can't be used: reason constant and words (disk full, gone, sha256 wrong, not enabled …).
    Failed {
        /// The reason.
        reason: &'static str,
        /// The words, with the remedy.
        message: String,
        /// Whether another try may succeed without a change (network). [`next`] then says [`Step::Wait`]; whoever has
        /// waited forgets this answer (`offered: None`), so that the source is looked at again.
        transient: bool,
    },
}

/// The node's side of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// False: no operator and no cluster (a systemd service alone): no turns, no cordon, no drain.
    pub cluster: bool,
    /// Without a cluster: whether the configuration allows a reboot. In a cluster the turn does.
    pub may_reboot: bool,
    /// The label is there.
    pub granted: bool,
    /// What our own status says.
    pub turn: Option<NodeTurn>,
    /// Who cordoned the node.
    pub cordon: Cordon,
    /// How far the drain is; `Unknown` before the first look in this phase.
    pub drain: Drain,
    /// Whether the Machine Config Operator has nothing to do on this node: its state is Done and currentConfig is
    /// desiredConfig. `None`: there is none, or it isn't known. Only asked where that operator switches the kernel, so
    /// that a node on its way is not told to be degraded.
    pub settled: Option<bool>,
}

/// Who cordoned the node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cordon {
    /// Nobody.
    #[default]
    No,
    /// We did: our annotation is on it.
    Ours,
    /// Somebody else: never undone.
    Others,
}

/// How far a drain is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// Nobody has looked.
    #[default]
    Unknown,
    /// These pods (`namespace/name`, and why one stays) are still there.
    Remaining {
        /// The pods and the reason of each.
        pods: Vec<String>,
        /// Seconds since the cordon.
        seconds: u64,
    },
    /// Nothing that must go is left.
    Done,
}

/// The next step, and what is to be told meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    /// Where the node is on its way.
    pub phase: NodePhase,
    /// What to do.
    pub step: Step,
    /// Conditions KernelReady and Degraded.
    pub conditions: Vec<Decided>,
}

/// One step. Each is done whole or not at all, or leaves something that the next look sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing to do until something changes.
    Rest,
    /// Look again after so many seconds, or when something changes.
    Wait {
        /// Seconds.
        seconds: u32,
    },
    /// `status.turn: Wanted`, and wait for the grant.
    WantTurn,
    /// `status.turn: Taken`, at the resourceVersion at which the grant was seen.
    TakeTurn,
    /// Remove `status.turn`.
    ReturnTurn,
    /// Make the package source ready: download and verify, look into the directory, unpack the image.
    Prepare,
    /// Write the record.
    Save(Box<Record>),
    /// Run a command that changes the host. Whatever comes of it is noted with [`Record::note`] and the record written;
    /// then look again. (A daemon that dies in between loses nothing but one back-off: the host is looked at.)
    Run(Command),
    /// Cordon the node, with our annotation.
    Cordon,
    /// Evict what has to go; look again when something has gone.
    Drain,
    /// Uncordon, and take our annotation off.
    Uncordon,
    /// Reboot through systemd.
    Reboot,
}

impl Offered {
    /// Whether the file at this path of the host replaces a base package. The daemon names what it downloads
    /// `<sha256>.rpm`.
    pub fn replaces(packages: &PackagesSpec, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path);
        packages
            .replace
            .iter()
            .any(|package| name.strip_suffix(".rpm") == Some(package.sha256.as_str()))
    }
}

impl Boot {
    /// Whether the running kernel is a real-time one by its own word.
    pub fn is_realtime(&self) -> bool {
        self.realtime
    }
}

#[cfg(test)]
mod simulation;
