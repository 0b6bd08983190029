//! Which packages go and which come: data, chosen from what the host has and what the source offers.

use std::cmp::Ordering;

use super::nevra::Nevra;
use super::{Offered, Wanted, release};
use crate::api::realtime_profile::PackagesSpec;
use crate::conditions::reason;

/// The packages that are the stock kernel. Which of them a release has differs: what goes is what the base has.
const STOCK: [&str; 5] = [
    "kernel",
    "kernel-core",
    "kernel-modules",
    "kernel-modules-core",
    "kernel-modules-extra",
];

/// The packages without which there is no real-time kernel to run a node on. `kernel-rt-core` alone would boot, and
/// nothing would warn of the missing modules (rpm-ostree-measured.md, 0.4).
const NEEDED: [&str; 2] = ["kernel-rt-core", "kernel-rt-modules"];

/// What is taken as well where it is offered: by the distribution's release number, the first row that fits. `0` fits all.
/// kernel-rt-modules-core is a package of its own since RHEL 9.2 and comes by itself when names are resolved;
/// kernel-rt-kvm is gone in RHEL 10.
const OPTIONAL: [(u32, &[&str]); 2] = [
    (10, &["kernel-rt-modules-extra"]),
    (0, &["kernel-rt-modules-extra", "kernel-rt-kvm"]),
];

/// Part of the kernel when files are installed, where it is offered.
const ONLY_AS_FILE: &str = "kernel-rt-modules-core";

/// Whether a package of the base is part of the stock kernel.
pub(super) fn is_stock(name: &str) -> bool {
    STOCK.contains(&name)
}

/// Whether a request (a name, or a whole name-version-release) is for the real-time kernel.
pub(super) fn is_realtime(request: &str) -> bool {
    request.starts_with("kernel-rt")
}

/// The name in a request.
pub(super) fn name(request: &str) -> String {
    Nevra::parse(request).map_or_else(|| request.to_owned(), |package| package.name)
}

/// One package to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Its name, or whatever the profile asks for.
    pub name: String,
    /// The word for the command line: the name, or the file's path.
    pub word: String,
    /// The package in the file.
    pub package: Option<Nevra>,
    /// Whether there is no real-time kernel without it.
    pub needed: bool,
}

/// What shall be installed and replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    /// In the order of the command line.
    pub install: Vec<Choice>,
    /// Replacements of base packages.
    pub replace: Vec<(Nevra, String)>,
}

/// Why nothing can be chosen: reason and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub reason: &'static str,
    pub message: String,
    /// It may pass by itself.
    pub transient: bool,
}

impl Chosen {
    /// The kernel package, when it comes from a file.
    pub fn core(&self) -> Option<&Nevra> {
        self.install
            .iter()
            .filter_map(|choice| choice.package.as_ref())
            .find(|package| package.name == NEEDED[0])
    }

    /// Without the packages that the source turned out not to have.
    pub fn without(mut self, dropped: &[String]) -> Self {
        self.install
            .retain(|choice| choice.needed || !dropped.contains(&choice.name));
        self
    }

    /// Each package and replacement as one text, for the attempt's key.
    pub fn texts(&self) -> Vec<String> {
        let install = self.install.iter().map(|choice| match &choice.package {
            Some(package) => package.to_string(),
            None => choice.name.clone(),
        });
        let replace = self.replace.iter().map(|(package, _)| package.to_string());
        let mut texts: Vec<String> = install.chain(replace).collect();
        texts.sort();
        texts
    }
}

/// Whether the kernel comes from files.
pub(super) fn from_files(packages: &PackagesSpec) -> bool {
    packages.source.as_ref().is_some_and(|source| {
        source.urls.is_some() || source.directory.is_some() || source.image.is_some()
    })
}

/// Chooses. `stock`: the base's own kernel package, whose version the real-time kernel should have.
pub(super) fn choose(
    wanted: &Wanted,
    offered: &Offered,
    enabled: &[String],
    stock: Option<&Nevra>,
) -> Result<Chosen, Problem> {
    let files: &[(Nevra, String)] = match offered {
        Offered::Failed {
            reason,
            message,
            transient,
        } => {
            return Err(Problem {
                reason,
                message: message.clone(),
                transient: *transient,
            });
        }
        Offered::Files(files) => files,
        Offered::Repositories => &[],
    };
    let (replace, files): (Vec<_>, Vec<_>) = files
        .iter()
        .cloned()
        .partition(|(_, path)| Offered::replaces(&wanted.packages, path));
    let install = if from_files(&wanted.packages) {
        from_offered_files(wanted, &files, stock)?
    } else {
        let ids = wanted
            .packages
            .source
            .as_ref()
            .and_then(|source| source.repositories.as_deref())
            .unwrap_or_default();
        let absent: Vec<&str> = ids
            .iter()
            .filter(|id| !enabled.contains(id))
            .map(String::as_str)
            .collect();
        if !absent.is_empty() {
            return Err(Problem {
                reason: reason::SOURCE_UNUSABLE,
                message: format!(
                    "These rpm repositories of kernel.packages.source are not enabled on the host: {}. Enable them in /etc/yum.repos.d, or name others.",
                    absent.join(", ")
                ),
                transient: false,
            });
        }
        by_name(wanted, stock)
    };
    Ok(Chosen { install, replace })
}

fn by_name(wanted: &Wanted, stock: Option<&Nevra>) -> Vec<Choice> {
    let choice = |name: &str, needed| Choice {
        name: name.to_owned(),
        word: name.to_owned(),
        package: None,
        needed,
    };
    if !wanted.packages.install.is_empty() {
        let mut names: Vec<&String> = Vec::new();
        for name in &wanted.packages.install {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        return names.into_iter().map(|name| choice(name, true)).collect();
    }
    let needed = NEEDED.iter().map(|name| choice(name, true));
    needed
        .chain(optional(stock).iter().map(|name| choice(name, false)))
        .collect()
}

fn optional(stock: Option<&Nevra>) -> &'static [&'static str] {
    let release = stock.map_or(0, |package| distribution_release(&package.release));
    OPTIONAL
        .iter()
        .find(|(from, _)| release >= *from)
        .map_or(&[], |(_, names)| names)
}

/// The number in `.el9_4` of a release; 0 when it has none.
fn distribution_release(release: &str) -> u32 {
    let number = release.split('.').find_map(|part| part.strip_prefix("el"));
    let digits = number.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    digits
        .flatten()
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

fn from_offered_files(
    wanted: &Wanted,
    files: &[(Nevra, String)],
    stock: Option<&Nevra>,
) -> Result<Vec<Choice>, Problem> {
    let problem = |message: String| Problem {
        reason: reason::PACKAGES_NOT_FOUND,
        message,
        transient: false,
    };
    let choice = |(package, path): &(Nevra, String), needed| Choice {
        name: package.name.clone(),
        word: path.clone(),
        package: Some(package.clone()),
        needed,
    };
    let newest = |request: &str| {
        files
            .iter()
            .filter(|(package, _)| package.name == request || package.to_string() == request)
            .max_by(|(left, _), (right, _)| left.compare_evr(right))
    };
    if !wanted.packages.install.is_empty() {
        let mut choices = Vec::new();
        for request in &wanted.packages.install {
            let found = newest(request).ok_or_else(|| {
                problem(format!("kernel.packages.install names {request}, and the source has no such package. It has: {}.", names(files)))
            })?;
            if !choices
                .iter()
                .any(|other: &Choice| other.name == found.0.name)
            {
                choices.push(choice(found, true));
            }
        }
        return Ok(choices);
    }
    let of_version = |name: &str, core: &Nevra| {
        files.iter().find(|(package, _)| {
            package.name == name
                && package.compare_evr(core) == Ordering::Equal
                && package.architecture == core.architecture
        })
    };
    // The newest of the base's own version; when there is none, the newest of all.
    let complete = |core: &Nevra| of_version(NEEDED[1], core).is_some();
    let fits = |core: &Nevra| stock.is_some_and(|stock| release::same_source(stock, core));
    let core = files
        .iter()
        .map(|(package, _)| package)
        .filter(|package| package.name == NEEDED[0] && complete(package))
        .max_by(|left, right| {
            fits(left)
                .cmp(&fits(right))
                .then_with(|| left.compare_evr(right))
        })
        .ok_or_else(|| {
            problem(format!(
                "The source has no {} and {} of one version. It has: {}.",
                NEEDED[0],
                NEEDED[1],
                names(files)
            ))
        })?;
    let kernel = NEEDED
        .iter()
        .map(|name| (*name, true))
        .chain([(ONLY_AS_FILE, true)])
        .chain(optional(stock).iter().map(|name| (*name, false)));
    let mut choices: Vec<Choice> = kernel
        .filter_map(|(name, needed)| of_version(name, core).map(|file| choice(file, needed)))
        .collect();
    // Addresses are given one by one: what is not the kernel is there because the kernel needs it.
    let by_address = wanted
        .packages
        .source
        .as_ref()
        .is_some_and(|source| source.urls.is_some());
    if by_address {
        choices.extend(
            files
                .iter()
                .filter(|(package, _)| !is_realtime(&package.name) && !is_stock(&package.name))
                .map(|file| choice(file, true)),
        );
    }
    Ok(choices)
}

fn names(files: &[(Nevra, String)]) -> String {
    const SHOWN: usize = 12;
    if files.is_empty() {
        return "no package at all".to_owned();
    }
    let mut names: Vec<String> = files
        .iter()
        .take(SHOWN)
        .map(|(package, _)| package.to_string())
        .collect();
    if files.len() > SHOWN {
        names.push(format!("and {} more", files.len() - SHOWN));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests;
