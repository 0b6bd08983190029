//! What the stand-in remembers: everything that survives a command is here and in one file. Data only.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::fault::{ActiveFault, Step};
use super::origin::Origin;
use super::package::Package;

/// The program whose behaviour is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Version {
    /// rpm-ostree 2023.2 with libostree 2022.7, the generation of OpenShift 4.13.
    #[serde(rename = "2023.2")]
    V2023_2,
    /// rpm-ostree 2024.7 with libostree 2024.5, the generation of OpenShift 4.16 and 4.17.
    #[serde(rename = "2024.7")]
    V2024_7,
}

impl Version {
    /// As `rpm-ostree --version` writes it.
    pub fn text(self) -> &'static str {
        match self {
            Self::V2023_2 => "2023.2",
            Self::V2024_7 => "2024.7",
        }
    }
}

/// A base image: the packages of its package database and what identifies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The commit's checksum. For a container image: of the image's content; each import makes a commit of its own.
    pub checksum: String,
    /// The `version` of the commit or the image label; real images may have none.
    pub version: Option<String>,
    /// Seconds since 1970.
    pub timestamp: i64,
    /// The packages of the base.
    pub packages: Vec<Package>,
}

/// A base commit in the local repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// What it holds.
    pub base: Base,
    /// The manifest digest, when it was imported from a container image.
    pub digest: Option<String>,
}

/// What a client layer put on a base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Seconds since 1970, of the local build.
    pub timestamp: i64,
    /// The by-name requests that are active.
    pub active_requests: BTreeSet<String>,
    /// Packages of the base that were removed.
    pub removed: Vec<Package>,
    /// Packages added, dependencies too.
    pub added: Vec<Package>,
    /// Local replacements: the new one, the old one.
    pub replaced_local: Vec<(Package, Package)>,
    /// Replacements from repositories: `repo=id`, then the new and the old one.
    pub replaced_remote: BTreeMap<String, Vec<(Package, Package)>>,
    /// The repositories that were read: id, seconds since 1970 of their metadata.
    pub repositories: Vec<(String, i64)>,
}

/// One deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Of the deployed commit.
    pub checksum: String,
    /// Distinguishes deployments of the same commit.
    pub serial: u32,
    /// The base commit's checksum, the same as `checksum` when nothing is layered.
    pub base: String,
    /// `None` when nothing is layered.
    pub layer: Option<Layer>,
    /// The requests that go with it to the next deployment.
    pub origin: Origin,
    /// The kernel arguments, `ostree=` among them.
    pub kargs: Vec<String>,
    /// All packages.
    pub packages: Vec<Package>,
    /// The release of its kernel.
    pub kernel: String,
    /// Waits for an orderly shutdown.
    pub staged: bool,
    /// Staged, but not to be made real.
    pub locked: bool,
    /// Not to be cleaned up.
    pub pinned: bool,
}

impl Deployment {
    /// `<checksum>.<serial>`: the name of its directory.
    pub fn directory(&self) -> String {
        format!("{}.{}", self.checksum, self.serial)
    }

    /// `<osname>-<checksum>.<serial>`: the `id` of `status --json`.
    pub fn id(&self, osname: &str) -> String {
        format!("{osname}-{}", self.directory())
    }
}

/// What a repository's address serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The packages.
    pub packages: Vec<Package>,
    /// Seconds since 1970.
    pub generated: i64,
}

/// A repository's metadata as they were fetched; changed contents aren't noticed until they expire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachedMetadata {
    /// The packages at that time.
    pub contents: Contents,
    /// Seconds since 1970 of the download.
    pub fetched: i64,
}

/// A transaction that runs. At most one does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Counts up; the name of the result's file.
    pub id: u64,
    /// `UpdateDeployment`, `PkgChange`, `KernelArgs`, `Cleanup`, …
    pub method: String,
    /// The command line with a space behind each argument.
    pub title: String,
    /// The bus name's number: `:1.<sender>`.
    pub sender: u32,
    /// `RPMOSTREE_CLIENT_ID`, `cli` without one.
    pub client: String,
    /// Somebody cancelled it.
    pub cancelled: bool,
    /// A foreign one ends at this time, milliseconds since 1970; our own have a process that ends them.
    pub until: Option<i64>,
    /// The process that carries it out; when it is gone without a result, the daemon has died.
    pub worker: Option<u32>,
}

/// Sizes in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Size of /boot.
    pub boot: u64,
    /// What something else takes of /boot.
    pub boot_other: u64,
    /// One kernel with its initramfs in /boot.
    pub kernel: u64,
    /// Size of the file system of /sysroot.
    pub sysroot: u64,
    /// Free there.
    pub sysroot_free: u64,
    /// What a new layer takes there.
    pub layer: u64,
}

/// The machine as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// `/proc/sys/kernel/random/boot_id`.
    pub id: String,
    /// Counts boots since `init`, 1 is the first.
    pub count: u32,
    /// `<checksum>.<serial>` of the booted deployment.
    pub deployment: String,
    /// False: the chosen kernel did not come up and the machine hangs until the next reboot.
    pub up: bool,
    /// Why `ostree-boot-complete.service` failed in this boot.
    pub boot_complete_failure: Option<String>,
    /// The journal of `ostree-finalize-staged.service` at the end of the boot before.
    pub finalize_journal: Vec<String>,
}

/// The whole state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// What is imitated.
    pub version: Version,
    /// The stateroot.
    pub osname: String,
    /// In boot order, a staged one first.
    pub deployments: Vec<Deployment>,
    /// The running system.
    pub boot: Boot,
    /// 0 or 1: the `boot.N` that the boot loader's entries name.
    pub bootversion: u8,
    /// Directories of /boot/ostree: the kernel's checksum and its size in KiB.
    pub boot_directories: BTreeMap<String, u64>,
    /// Trees left behind by a power cut: checksum, serial.
    pub orphans: Vec<(String, u32)>,
    /// Base commits of the local repository, by checksum.
    pub commits: BTreeMap<String, Commit>,
    /// Local references, by refspec.
    pub refs: BTreeMap<String, String>,
    /// What a container registry serves, by image reference: the base and its digest.
    pub images: BTreeMap<String, (Base, String)>,
    /// What repositories serve, by base address.
    pub web: BTreeMap<String, Contents>,
    /// Directories that are served for downloads of single files, by address.
    pub files: BTreeMap<String, std::path::PathBuf>,
    /// The rpm-md cache, by repository id.
    pub metadata: BTreeMap<String, CachedMetadata>,
    /// Downloaded packages that are damaged, by NEVRA.
    pub damaged: BTreeSet<String>,
    /// Packages imported from repositories or files, by NEVRA.
    pub pkgcache: BTreeMap<String, Package>,
    /// What runs.
    pub transaction: Option<Transaction>,
    /// Counts commands that talked to the daemon.
    pub clients: u32,
    /// Counts transactions; part of a layered commit's checksum.
    pub transactions: u64,
    /// The update that `upgrade` found, as `status --json` shows it.
    pub cached_update: Option<serde_json::Value>,
    /// How long each transaction that assembles a tree takes, in milliseconds.
    pub slow: u64,
    /// At which step it takes that time; a cancelled one says so.
    pub slow_at: Step,
    /// Free and used space.
    pub space: Space,
    /// Whether a kernel that does not come up is followed by a boot of the older entry.
    pub falls_back: bool,
    /// What shall go wrong.
    pub faults: Vec<ActiveFault>,
}

impl State {
    /// The booted deployment's index.
    pub fn booted(&self) -> Option<usize> {
        self.deployments
            .iter()
            .position(|one| !one.staged && one.directory() == self.boot.deployment)
    }

    /// The serial that the next deployment of this commit gets.
    pub fn next_serial(&self, checksum: &str) -> u32 {
        let listed = self
            .deployments
            .iter()
            .map(|one| (&one.checksum, one.serial));
        let orphaned = self
            .orphans
            .iter()
            .map(|(checksum, serial)| (checksum, *serial));
        listed
            .chain(orphaned)
            .filter(|(one, _)| *one == checksum)
            .map(|(_, serial)| serial + 1)
            .max()
            .unwrap_or(0)
    }
}
