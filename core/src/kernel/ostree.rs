//! `rpm-ostree status --json`: only the fields that are used, lenient about all others. Nothing here decides.

use serde::Deserialize;
use serde_json::Value;

/// The status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Status {
    /// In the order of the boot loader: the first boots next.
    #[serde(default)]
    pub deployments: Vec<Deployment>,
    /// `null`, or method, bus name and object path of what is running.
    #[serde(default)]
    pub transaction: Option<Value>,
}

/// A deployment.
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
