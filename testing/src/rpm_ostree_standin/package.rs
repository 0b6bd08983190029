//! Packages: names, versions, what they provide and require. Pure; must not read files or know a repository.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A capability, with a version constraint or without: `kernel-uname-r = 5.14.0-1.el9.x86_64`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capability {
    /// The capability's name.
    pub name: String,
    /// `=` or `>=`, and the version. `None` is any version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<(String, String)>,
}

impl Capability {
    /// Any version of `name`.
    pub fn any(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            constraint: None,
        }
    }

    /// Exactly `version` of `name`.
    pub fn exactly(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            constraint: Some(("=".to_owned(), version.to_owned())),
        }
    }

    /// Whether something that provides `self` satisfies the requirement `wanted`.
    pub fn satisfies(&self, wanted: &Self) -> bool {
        self.name == wanted.name
            && match (&self.constraint, &wanted.constraint) {
                (_, None) => true,
                (Some((_, have)), Some((operator, want))) if operator == ">=" => {
                    compare_versions(have, want) != Ordering::Less
                }
                (Some((_, have)), Some((_, want))) => have == want,
                (None, Some(_)) => false,
            }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.constraint {
            None => f.write_str(&self.name),
            Some((operator, version)) => write!(f, "{} {operator} {version}", self.name),
        }
    }
}

/// What is wrong with a package, so that its installation goes wrong as the recorded ones did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quirk {
    /// It has a file that the base has too.
    FileConflict,
    /// Its `%post` script fails.
    FailingScript,
    /// dracut fails when this package is installed together with a kernel.
    FailingInitramfs,
    /// dracut takes so many milliseconds longer.
    SlowInitramfs(u64),
}

/// One package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// The bare name.
    pub name: String,
    /// 0 for none.
    #[serde(default)]
    pub epoch: u32,
    /// As in the NEVRA.
    pub version: String,
    /// As in the NEVRA.
    pub release: String,
    /// As in the NEVRA.
    pub arch: String,
    /// Beyond the package's own name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provides: Vec<Capability>,
    /// What must be installed with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<Capability>,
    /// What must not be installed with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Capability>,
    /// The kernel release (`uname -r`) whose vmlinuz the package holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// What goes wrong with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quirk: Option<Quirk>,
}

impl Package {
    /// Reads `name-[epoch:]version-release.arch` and gives kernel packages the dependencies that theirs have.
    pub fn from_nevra(nevra: &str) -> Option<Self> {
        let (rest, arch) = nevra.rsplit_once('.')?;
        let (rest, release) = rest.rsplit_once('-')?;
        let (name, version) = rest.rsplit_once('-')?;
        let (epoch, version) = match version.split_once(':') {
            Some((epoch, version)) => (epoch.parse().ok()?, version),
            None => (0, version),
        };
        if [name, version, release, arch]
            .iter()
            .any(|part| part.is_empty() || part.contains(char::is_whitespace))
        {
            return None;
        }
        let mut package = Self {
            name: name.to_owned(),
            epoch,
            version: version.to_owned(),
            release: release.to_owned(),
            arch: arch.to_owned(),
            provides: Vec::new(),
            requires: Vec::new(),
            conflicts: Vec::new(),
            kernel: None,
            quirk: None,
        };
        package.add_kernel_dependencies();
        Some(package)
    }

    /// `name-[epoch:]version-release.arch`, the epoch only when it isn't 0.
    pub fn nevra(&self) -> String {
        format!("{}-{}.{}", self.name, self.evr(), self.arch)
    }

    /// `[epoch:]version-release`.
    pub fn evr(&self) -> String {
        match self.epoch {
            0 => format!("{}-{}", self.version, self.release),
            epoch => format!("{epoch}:{}-{}", self.version, self.release),
        }
    }

    /// Whether it provides `wanted`, by its name or by a provides.
    pub fn satisfies(&self, wanted: &Capability) -> bool {
        Capability::exactly(&self.name, &self.evr()).satisfies(wanted)
            || self.provides.iter().any(|one| one.satisfies(wanted))
    }

    /// Whether a request means this package: by name, by NEVRA or by what it provides.
    pub fn matches(&self, request: &str) -> bool {
        self.name == request
            || self.nevra() == request
            || self.provides.iter().any(|one| one.name == request)
    }

    /// Order by epoch, version and release.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| compare_versions(&self.version, &other.version))
            .then_with(|| compare_versions(&self.release, &other.release))
    }

    /// Whether rpm-ostree takes it for "the kernel", whose removal takes the kernel's files away.
    pub fn is_kernel(&self) -> bool {
        matches!(
            self.name.as_str(),
            "kernel" | "kernel-core" | "kernel-rt" | "kernel-rt-core"
        )
    }

    /// A realtime kernel's release contains `.rt` up to EL 9.2; from 9.3 on `uname -r` ends in `+rt`.
    fn kernel_release(&self) -> String {
        let release = format!("{}-{}.{}", self.version, self.release, self.arch);
        if self.name.starts_with("kernel-rt") && !self.release.contains(".rt") {
            release + "+rt"
        } else {
            release
        }
    }

    fn add_kernel_dependencies(&mut self) {
        let (family, part) = if self.name == "kernel-rt" {
            ("kernel-rt", "")
        } else if let Some(part) = self.name.strip_prefix("kernel-rt-") {
            ("kernel-rt", part)
        } else if self.name == "kernel" {
            ("kernel", "")
        } else if let Some(part) = self.name.strip_prefix("kernel-") {
            ("kernel", part)
        } else {
            return;
        };
        let release = self.kernel_release();
        let capability =
            |suffix: &str| Capability::exactly(&format!("{family}-{suffix}"), &release);
        let (provides, requires) = match part {
            "" => (
                vec![],
                vec![capability("core-uname-r"), capability("modules-uname-r")],
            ),
            "core" => (
                vec![capability("uname-r"), capability("core-uname-r")],
                vec![capability("modules-core-uname-r")],
            ),
            "modules-core" => (
                vec![capability("modules-core-uname-r")],
                vec![capability("uname-r")],
            ),
            "modules" => (
                vec![capability("modules-uname-r")],
                vec![capability("modules-core-uname-r"), capability("uname-r")],
            ),
            "modules-extra" | "kvm" => (
                vec![],
                if family == "kernel" {
                    vec![capability("uname-r")]
                } else {
                    vec![capability("modules-core-uname-r"), capability("uname-r")]
                },
            ),
            _ => return,
        };
        if part == "core" {
            self.kernel = Some(release.clone());
        }
        self.provides = provides;
        self.requires = requires;
    }
}

/// RPM's order of versions: runs of digits as numbers, runs of letters as text, a longer one is newer.
pub fn compare_versions(one: &str, other: &str) -> Ordering {
    fn parts(text: &str) -> Vec<&str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
            rest = rest.get(start..).unwrap_or_default();
            let digits = rest.starts_with(|c: char| c.is_ascii_digit());
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() || c.is_ascii_digit() != digits)
                .unwrap_or(rest.len());
            let (part, after) = rest.split_at(end);
            parts.push(part);
            rest = after;
        }
        parts
    }
    let (one, other) = (parts(one), parts(other));
    for (a, b) in one.iter().zip(&other) {
        let numeric = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
        let order = match (numeric(a), numeric(b)) {
            (true, true) => {
                let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
                a.len().cmp(&b.len()).then_with(|| a.cmp(b))
            }
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    one.len().cmp(&other.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nevra_with_an_epoch_is_read_and_written() {
        let package =
            Package::from_nevra("microcode_ctl-4:20230808-2.20231009.1.el9_2.noarch").unwrap();
        assert_eq!((package.name.as_str(), package.epoch), ("microcode_ctl", 4));
        assert_eq!(
            package.nevra(),
            "microcode_ctl-4:20230808-2.20231009.1.el9_2.noarch"
        );
        assert!(Package::from_nevra("kernel").is_none());
    }

    #[test]
    fn versions_are_ordered_as_rpm_does() {
        for (older, newer) in [
            ("284.11.1", "284.25.1"),
            ("9", "10"),
            ("1.0", "1.0.1"),
            ("1.a", "1.1"),
        ] {
            assert_eq!(
                compare_versions(older, newer),
                Ordering::Less,
                "{older} {newer}"
            );
        }
    }

    #[test]
    fn a_realtime_kernel_of_9_4_has_a_plus() {
        let package = Package::from_nevra("kernel-rt-core-5.14.0-427.24.1.el9_4.x86_64").unwrap();
        assert_eq!(
            package.kernel.as_deref(),
            Some("5.14.0-427.24.1.el9_4.x86_64+rt")
        );
        assert!(package.satisfies(&Capability::any("kernel-rt-uname-r")));
    }
}
