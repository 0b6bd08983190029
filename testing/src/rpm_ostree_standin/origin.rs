//! A deployment's origin: the requests that are carried from deployment to deployment. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Where the base comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An ostree reference.
    Refspec(String),
    /// A bare commit.
    Commit(String),
    /// A container image reference with its transport.
    Container(String),
}

impl Source {
    /// As `status` writes it.
    pub fn text(&self) -> &str {
        match self {
            Self::Refspec(text) | Self::Commit(text) | Self::Container(text) => text,
        }
    }
}

/// The persistent requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The base.
    pub source: Source,
    /// The custom origin's URL and description.
    pub custom: Option<(String, String)>,
    /// Packages by name, NEVRA or provides.
    pub requested: BTreeSet<String>,
    /// Packages from files: NEVRA, then the content's SHA-256.
    pub requested_local: BTreeMap<String, String>,
    /// Base packages to remove, by name.
    pub removals: BTreeSet<String>,
    /// Base packages to replace by local files: NEVRA, then the SHA-256.
    pub replacements: BTreeMap<String, String>,
    /// Base packages to replace from a repository: `repo=id`, then names.
    pub remote_replacements: BTreeMap<String, BTreeSet<String>>,
    /// Whether each deployment gets an initramfs of its own.
    pub initramfs: bool,
    /// dracut's arguments then.
    pub initramfs_args: Vec<String>,
}

impl Origin {
    /// No request at all.
    pub fn stock(source: Source) -> Self {
        Self {
            source,
            custom: None,
            requested: BTreeSet::new(),
            requested_local: BTreeMap::new(),
            removals: BTreeSet::new(),
            replacements: BTreeMap::new(),
            remote_replacements: BTreeMap::new(),
            initramfs: false,
            initramfs_args: Vec::new(),
        }
    }

    /// Whether a package of the base is replaced or removed already.
    pub fn overrides(&self, name: &str) -> bool {
        self.removals.contains(name)
            || self.replacements.keys().any(|nevra| name_of(nevra) == name)
            || self
                .remote_replacements
                .values()
                .any(|names| names.contains(name))
    }

    /// Removes a request by its text, by a local package's NEVRA or by its name. False: there was none.
    pub fn uninstall(&mut self, request: &str) -> bool {
        if self.requested.remove(request) || self.requested_local.remove(request).is_some() {
            return true;
        }
        let local = self
            .requested_local
            .keys()
            .find(|nevra| name_of(nevra) == request)
            .cloned();
        local.is_some_and(|nevra| self.requested_local.remove(&nevra).is_some())
    }

    /// Removes an override by a name or NEVRA: a remote replacement, a removal, a local replacement. False: none.
    pub fn reset(&mut self, package: &str) -> bool {
        let remote = self
            .remote_replacements
            .iter()
            .find(|(_, names)| names.contains(package));
        if let Some(source) = remote.map(|(source, _)| source.clone()) {
            if let Some(names) = self.remote_replacements.get_mut(&source) {
                names.remove(package);
                if names.is_empty() {
                    self.remote_replacements.remove(&source);
                }
            }
            return true;
        }
        if self.removals.remove(package) {
            return true;
        }
        let local = self
            .replacements
            .keys()
            .find(|nevra| *nevra == package || name_of(nevra) == package)
            .cloned();
        local.is_some_and(|nevra| self.replacements.remove(&nevra).is_some())
    }

    /// Removes all overrides. False: there were none.
    pub fn reset_all(&mut self) -> bool {
        let any = !(self.removals.is_empty()
            && self.replacements.is_empty()
            && self.remote_replacements.is_empty());
        self.removals.clear();
        self.replacements.clear();
        self.remote_replacements.clear();
        any
    }
}

/// The name in a NEVRA.
pub fn name_of(nevra: &str) -> &str {
    let mut parts = nevra.rsplitn(3, '-');
    parts.next();
    parts.next();
    parts.next().unwrap_or(nevra)
}
