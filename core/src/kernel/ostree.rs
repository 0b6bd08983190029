//! `rpm-ostree status --json`: only the fields that are used, lenient about all others. Nothing here decides.

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::nevra::Nevra;

/// Longest status that is read: the largest real one is 27 kB for each deployment.
const TEXT_LIMIT: usize = 16 << 20;
/// Most deployments that are read.
const DEPLOYMENT_LIMIT: usize = 256;

/// Why a status can't be read.
#[derive(Debug, Error)]
pub enum StatusError {
    /// Longer than any real one.
    #[error("the status of rpm-ostree is {0} bytes long, more than {TEXT_LIMIT}")]
    TooLong(usize),
    /// More deployments than a host can have.
    #[error("the status of rpm-ostree names {0} deployments, more than {DEPLOYMENT_LIMIT}")]
    TooMany(usize),
    /// Not JSON, or without a field that every version writes.
    #[error("reading the status of rpm-ostree: {0}")]
    Json(#[from] serde_json::Error),
}

/// Reads `rpm-ostree status --json`. Only what a command that succeeded wrote: otherwise its stdout is no JSON
/// (rpm-ostree-measured.md, section 2).
pub fn parse(text: &str) -> Result<Status, StatusError> {
    if text.len() > TEXT_LIMIT {
        return Err(StatusError::TooLong(text.len()));
    }
    // By way of a value: a list would otherwise be taken for the fields in their order.
    let object: serde_json::Map<String, Value> = serde_json::from_str(text)?;
    let status = Status::deserialize(Value::Object(object))?;
    if status.deployments.len() > DEPLOYMENT_LIMIT {
        return Err(StatusError::TooMany(status.deployments.len()));
    }
    Ok(status)
}

/// The status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Status {
    /// In the order of the boot loader: the first boots next.
    pub deployments: Vec<Deployment>,
    /// `null`, or method, bus name and object path of what is running.
    #[serde(default)]
    pub transaction: Option<Value>,
}

/// A deployment.
#[allow(
    clippy::struct_excessive_bools,
    reason = "the flags of rpm-ostree's own status"
)]
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deployment {
    /// `<osname>-<checksum>.<serial>`: used again over time, never a key of its own.
    #[serde(default)]
    pub id: String,
    /// The deployed commit.
    pub checksum: String,
    /// Counts deployments of one commit.
    #[serde(default)]
    pub serial: i64,
    /// The operating system's name.
    pub osname: String,
    /// Runs now.
    #[serde(default)]
    pub booted: bool,
    /// Becomes real at an orderly shutdown; absent means false.
    #[serde(default)]
    pub staged: bool,
    /// Would not become real.
    #[serde(default)]
    pub finalization_locked: bool,
    /// Kept.
    #[serde(default)]
    pub pinned: bool,
    /// Commit of the base, when packages are layered.
    #[serde(default)]
    pub base_checksum: Option<String>,
    /// The version.
    #[serde(default)]
    pub version: Option<String>,
    /// Present when layered: `ostree.linux` is the kernel's release.
    #[serde(default)]
    pub layered_commit_meta: Option<Value>,
    /// Of the base: `ostree.linux` with an ostree origin.
    #[serde(default)]
    pub base_commit_meta: Option<Value>,
    /// By name.
    #[serde(default)]
    pub requested_packages: Vec<String>,
    /// NEVRAs from files and URLs.
    #[serde(default)]
    pub requested_local_packages: Vec<String>,
    /// Names.
    #[serde(default)]
    pub requested_base_removals: Vec<String>,
    /// NEVRAs.
    #[serde(default)]
    pub requested_base_local_replacements: Vec<String>,
    /// Active requests by name.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Active removals: `[nevra, name, epoch, version, release, arch]`.
    #[serde(default)]
    pub base_removals: Vec<Vec<Value>>,
    /// Active replacements: `[new, old]`, each as above.
    #[serde(default)]
    pub base_local_replacements: Vec<Vec<Vec<Value>>>,
}

impl Status {
    /// The deployment that runs, and its place in the list.
    pub fn booted(&self) -> Option<(usize, &Deployment)> {
        self.deployments
            .iter()
            .enumerate()
            .find(|(_, deployment)| deployment.booted)
    }
}

impl Deployment {
    /// What tells it from others as long as the host does not boot: id and commit.
    pub fn key(&self) -> String {
        format!("{} {}", self.id, self.checksum)
    }

    /// The commit of the operating system below all layers.
    pub fn base(&self) -> &str {
        self.base_checksum.as_deref().unwrap_or(&self.checksum)
    }

    /// The release of its kernel, where the commit says so.
    pub fn kernel_release(&self) -> Option<&str> {
        // 1. A layer has a kernel of its own; 2. else the base's, unless a layer hides it.
        let meta = match (&self.layered_commit_meta, &self.base_checksum) {
            (Some(meta), _) => Some(meta),
            (None, None) => self.base_commit_meta.as_ref(),
            (None, Some(_)) => None,
        };
        meta?.get("ostree.linux")?.as_str()
    }

    /// Packages of the base that are really gone.
    pub fn removed(&self) -> impl Iterator<Item = Nevra> {
        self.base_removals.iter().filter_map(|six| package(six))
    }

    /// Packages that really stand in the place of one of the base.
    pub fn replacing(&self) -> impl Iterator<Item = Nevra> {
        self.base_local_replacements
            .iter()
            .filter_map(|pair| package(pair.first()?))
    }

    /// All that was asked to be installed, by name or from files.
    pub fn requests(&self) -> impl Iterator<Item = &String> {
        self.requested_packages
            .iter()
            .chain(&self.requested_local_packages)
    }
}

fn package(six: &[Value]) -> Option<Nevra> {
    let text = |at: usize| six.get(at)?.as_str();
    match (text(1), text(3), text(4), text(5)) {
        (Some(name), Some(version), Some(release), Some(architecture)) => Some(Nevra {
            name: name.to_owned(),
            epoch: six
                .get(2)
                .and_then(Value::as_u64)
                .and_then(|epoch| u32::try_from(epoch).ok())
                .unwrap_or(0),
            version: version.to_owned(),
            release: release.to_owned(),
            architecture: architecture.to_owned(),
        }),
        _ => Nevra::parse(text(0)?),
    }
}
