//! Whether a deployment is the one that is wanted, judged by what it *is* (active removals, active packages, its kernel's
//! release), never by what a command said; and the one command that makes it so. Runs nothing.

use super::nevra::Nevra;
use super::ostree::Deployment;
use super::packages::{self, Chosen};
use super::record::Record;
use super::{Command, OstreeView, release};

/// What a deployment's kernel is, compared with the goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// As wanted.
    Holds,
    /// Another one: a command can help.
    Differs(String),
    /// Asked for and without effect: another command does not help.
    Inactive(String),
}

/// What the base of the booted deployment brings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    /// Packages of the stock kernel, whether a layer removes them or not.
    pub stock: Vec<String>,
    /// The stock kernel's own package.
    pub kernel: Option<Nevra>,
    /// Its commit: of another one nothing of this is known.
    pub commit: String,
}

impl Base {
    pub fn of(view: &OstreeView, booted: &Deployment) -> Self {
        let here: Vec<Nevra> = booted
            .removed()
            .chain(view.kernel_packages.iter().cloned())
            .filter(|package| packages::is_stock(&package.name))
            .collect();
        let mut stock: Vec<String> = here.iter().map(|package| package.name.clone()).collect();
        stock.sort();
        stock.dedup();
        let kernel = ["kernel-core", "kernel"]
            .iter()
            .find_map(|name| here.iter().find(|package| package.name == *name))
            .cloned();
        Self {
            stock,
            kernel,
            commit: booted.base().to_owned(),
        }
    }
}

/// Whether requests are ours to take back: the kernel's, and what was written down.
fn is_ours(request: &str, record: &Record) -> bool {
    packages::is_realtime(request) || record.installed.iter().any(|other| other == request)
}

/// Whether the kernel of a deployment is the wanted real-time one. `fresh`: our own command has just made it, so
/// everything that it asked for must be in effect; later an operating system update may have made something needless.
/// `running`: the release that runs, for the booted deployment.
pub(super) fn realtime(
    deployment: &Deployment,
    base: &Base,
    chosen: Option<&Chosen>,
    fresh: bool,
    running: Option<(&str, bool)>,
) -> Kernel {
    let requests: Vec<&String> = deployment.requests().collect();
    let removed: Vec<String> = deployment
        .removed()
        .map(|package| package.name)
        .filter(|name| packages::is_stock(name))
        .collect();
    let asked: Vec<&String> = deployment
        .requested_base_removals
        .iter()
        .filter(|name| packages::is_stock(name))
        .collect();
    // An image that brings the real-time kernel itself, as one that is built in the cluster.
    let known = deployment.base() == base.commit;
    let by_image = known
        && base.stock.is_empty()
        && asked.is_empty()
        && !requests
            .iter()
            .any(|request| packages::is_realtime(request));
    if by_image {
        return if running.is_some_and(|(_, realtime)| realtime) {
            Kernel::Holds
        } else {
            Kernel::Differs("no stock kernel package is known".to_owned())
        };
    }
    // What the base does not have at all can't be removed, and that harms nothing.
    let matters = |name: &str| !known || base.stock.iter().any(|other| other == name);
    let inactive: Vec<&str> = asked
        .iter()
        .map(|name| name.as_str())
        .filter(|name| !removed.iter().any(|other| other == name))
        .filter(|name| removed.is_empty() || (fresh && matters(name)))
        .collect();
    if !inactive.is_empty() {
        return Kernel::Inactive(format!(
            "the removal of {} is recorded and not in effect",
            inactive.join(", ")
        ));
    }
    let left = base.stock.iter().find(|name| !removed.contains(name));
    if let Some(name) = left.filter(|_| known) {
        return Kernel::Differs(format!(
            "the stock kernel's package {name} is still in place"
        ));
    }
    if removed.is_empty() {
        return Kernel::Differs("no package of its base gave way".to_owned());
    }
    let release = deployment
        .kernel_release()
        .or(running.map(|(release, _)| release));
    if let Some(release) = release.filter(|release| !release::is_realtime(release)) {
        return Kernel::Differs(format!("its kernel is {release}"));
    }
    chosen.map_or(Kernel::Holds, |chosen| {
        as_chosen(deployment, chosen, fresh, release)
    })
}

fn as_chosen(
    deployment: &Deployment,
    chosen: &Chosen,
    fresh: bool,
    release: Option<&str>,
) -> Kernel {
    for choice in chosen.install.iter().filter(|choice| choice.needed) {
        let by_name = deployment
            .requested_packages
            .iter()
            .find(|request| **request == choice.name || packages::name(request) == choice.name);
        let by_file = deployment
            .requested_local_packages
            .iter()
            .any(|request| packages::name(request) == choice.name || *request == choice.name);
        match by_name {
            // An update whose base has it keeps the request, without effect.
            Some(request)
                if (fresh || packages::is_realtime(request))
                    && !deployment.packages.contains(request) =>
            {
                return Kernel::Inactive(format!(
                    "the request for {request} is recorded and not in effect"
                ));
            }
            None if !by_file => {
                return Kernel::Differs(format!("{} is not installed", choice.name));
            }
            _ => {}
        }
    }
    if let Some(core) = chosen.core() {
        let other = match release {
            Some(release) => !release::belongs_to(release, core),
            None => !deployment
                .requested_local_packages
                .contains(&core.to_string()),
        };
        if other {
            return Kernel::Differs(format!("its kernel is not {core}"));
        }
    }
    for (package, _) in &chosen.replace {
        let asked = deployment
            .requested_base_local_replacements
            .contains(&package.to_string());
        if !asked {
            return Kernel::Differs(format!("{package} does not replace the base's"));
        }
        if fresh && !deployment.replacing().any(|other| other == *package) {
            return Kernel::Inactive(format!(
                "the replacement {package} is recorded and not in effect: the base has no such package, or this very one"
            ));
        }
    }
    Kernel::Holds
}

/// Whether a deployment is free of everything that stands for the real-time kernel.
pub(super) fn stock(deployment: &Deployment, record: &Record) -> Kernel {
    if let Some(name) = removed_for_realtime(deployment, record).first() {
        return Kernel::Differs(format!("the removal of {name} is still recorded"));
    }
    if let Some(request) = deployment
        .requests()
        .find(|request| is_ours(request, record))
    {
        return Kernel::Differs(format!("{request} is still layered"));
    }
    if let Some(name) = replaced_by_us(deployment, record).first() {
        return Kernel::Differs(format!("{name} of the base is still replaced"));
    }
    match deployment.kernel_release() {
        Some(release) if release::is_realtime(release) => Kernel::Inactive(format!(
            "its kernel is {release}, and the base image brings it"
        )),
        _ => Kernel::Holds,
    }
}

/// Removals of the stock kernel's packages that end with the real-time kernel: those of the kernel itself, whoever asked for
/// them, and of the others ours. (An admin's own removal of kernel-modules-extra, say, stays.) Records of before this was
/// written down name none: then all of them.
fn removed_for_realtime<'a>(deployment: &'a Deployment, record: &Record) -> Vec<&'a String> {
    let asked = || {
        let all = deployment.requested_base_removals.iter();
        all.filter(|name| packages::is_stock(name))
    };
    let is_kernel = |name: &str| ["kernel", "kernel-core", "kernel-modules"].contains(&name);
    let unwritten = record.removed.is_empty() && asked().any(|name| is_kernel(name));
    asked()
        .filter(|name| unwritten || is_kernel(name) || record.removed.contains(name))
        .collect()
}

/// Whether two deployments are of the same requests.
pub(super) fn same_requests(one: &Deployment, other: &Deployment) -> bool {
    one.requested_packages == other.requested_packages
        && one.requested_local_packages == other.requested_local_packages
        && one.requested_base_removals == other.requested_base_removals
        && one.requested_base_local_replacements == other.requested_base_local_replacements
}

fn replaced_by_us(deployment: &Deployment, record: &Record) -> Vec<String> {
    deployment
        .requested_base_local_replacements
        .iter()
        .map(|request| packages::name(request))
        .filter(|name| record.replaced.contains(name))
        .collect()
}

/// The one transaction that brings the real-time kernel, from whatever is there. `None`: nothing to ask for.
pub(super) fn to_realtime(
    front: &Deployment,
    base: &Base,
    chosen: &Chosen,
    refresh: bool,
    cache_only: bool,
) -> Option<Command> {
    let remove: Vec<&String> = base
        .stock
        .iter()
        .filter(|name| !front.requested_base_removals.contains(name))
        .collect();
    let there: Vec<&String> = front
        .requests()
        .filter(|request| {
            packages::is_realtime(request)
                || chosen
                    .install
                    .iter()
                    .any(|choice| choice.name == packages::name(request))
        })
        .collect();
    let as_chosen = |request: &str| {
        chosen.install.iter().any(|choice| match &choice.package {
            Some(package) => {
                request == package.to_string()
                    && front
                        .requested_local_packages
                        .iter()
                        .any(|other| other == request)
            }
            None => request == choice.name,
        })
    };
    let is_there = |word: &str, package: Option<&Nevra>| {
        there.iter().any(|request| match package {
            Some(package) => **request == package.to_string(),
            None => request.as_str() == word,
        })
    };
    let uninstall: Vec<&String> = there
        .iter()
        .copied()
        .filter(|request| refresh || !as_chosen(request))
        .collect();
    let install: Vec<&str> = chosen
        .install
        .iter()
        .filter(|choice| refresh || !is_there(&choice.name, choice.package.as_ref()))
        .map(|choice| choice.word.as_str())
        .collect();
    let replace: Vec<&str> = chosen
        .replace
        .iter()
        .filter(|(package, _)| {
            !front
                .requested_base_local_replacements
                .contains(&package.to_string())
        })
        .map(|(_, path)| path.as_str())
        .collect();
    if remove.is_empty() && uninstall.is_empty() && install.is_empty() && replace.is_empty() {
        return None;
    }
    let mut uninstall = uninstall.into_iter().map(String::as_str);
    let mut install = install.into_iter();
    // The program's forms, each one transaction: the first that fits, with what is left as options.
    let (mut argv, replace) = if !remove.is_empty() {
        let remove = remove.into_iter().map(String::as_str);
        (with(&["override", "remove"], remove), replace)
    } else if !replace.is_empty() {
        (
            with(&["override", "replace"], replace.into_iter()),
            Vec::new(),
        )
    } else if uninstall.len() > 0 && !(cache_only && install.len() > 0) {
        (with(&["uninstall"], uninstall.by_ref()), Vec::new())
    } else {
        // `uninstall` has no --cache-only, `install` has; both take the other's packages as options.
        (with(&["install"], install.by_ref()), Vec::new())
    };
    let options = replace
        .into_iter()
        .map(|file| ("--replace", file))
        .chain(uninstall.map(|name| ("--uninstall", name)))
        .chain(install.map(|word| ("--install", word)));
    for (option, value) in options {
        argv.extend([option.to_owned(), value.to_owned()]);
    }
    // Only `uninstall` alone begins so here, and that is offline by itself.
    if cache_only && argv.first().is_some_and(|verb| verb != "uninstall") {
        argv.push("--cache-only".to_owned());
    }
    Some(Command::RpmOstree(argv))
}

/// The one transaction that brings the stock kernel back: exactly what is requested goes (rpm-ostree-measured.md, 0.2
/// and 0.3).
pub(super) fn to_stock(front: &Deployment, record: &Record) -> Option<Command> {
    let mut reset: Vec<String> = removed_for_realtime(front, record)
        .into_iter()
        .cloned()
        .chain(replaced_by_us(front, record))
        .collect();
    reset.sort();
    reset.dedup();
    let mut uninstall: Vec<&str> = front
        .requests()
        .filter(|request| is_ours(request, record))
        .map(String::as_str)
        .collect();
    uninstall.sort_unstable();
    uninstall.dedup();
    if reset.is_empty() {
        return (!uninstall.is_empty())
            .then(|| Command::RpmOstree(with(&["uninstall"], uninstall.into_iter())));
    }
    let mut argv = with(&["override", "reset"], reset.iter().map(String::as_str));
    for request in uninstall {
        argv.extend(["--uninstall".to_owned(), request.to_owned()]);
    }
    Some(Command::RpmOstree(argv))
}

fn with<'a>(first: &[&'a str], rest: impl Iterator<Item = &'a str>) -> Vec<String> {
    let first = first.iter().copied();
    first.chain(rest).map(str::to_owned).collect()
}
