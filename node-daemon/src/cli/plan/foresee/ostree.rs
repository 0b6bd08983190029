//! What rpm-ostree's commands would leave behind on a host on which nothing goes wrong.

use realtime_core::kernel::ostree::Deployment;
use realtime_core::kernel::{Nevra, OstreeView};
use serde_json::{Value, json};

/// `rpm-ostree …`; false when its result isn't known.
pub(super) fn run(view: &mut OstreeView, words: &[String]) -> bool {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["cleanup", "-p"] => {
            view.status.deployments.retain(|one| !one.staged);
            true
        }
        ["cleanup", ..] => true,
        ["kargs", options @ ..] => kargs(view, options),
        ["override", "remove", rest @ ..] => layer(view, Verb::Remove, rest),
        ["override", "reset", rest @ ..] => layer(view, Verb::Reset, rest),
        ["install", rest @ ..] => layer(view, Verb::Install, rest),
        ["uninstall", rest @ ..] => layer(view, Verb::Uninstall, rest),
        _ => false,
    }
}

/// `ostree admin pin`.
pub(super) fn pin(view: &mut OstreeView, index: usize, unpin: bool) -> bool {
    let deployment = view.status.deployments.get_mut(index);
    deployment
        .map(|deployment| deployment.pinned = !unpin)
        .is_some()
}

/// The kernel and the command line after a reboot.
pub(super) fn boot(view: &mut OstreeView) -> Option<(String, String)> {
    let first = view.status.deployments.first()?;
    let release = first.kernel_release()?.to_owned();
    for deployment in &mut view.status.deployments {
        deployment.booted = false;
        deployment.staged = false;
    }
    let first = view.status.deployments.first_mut()?;
    first.booted = true;
    let removed: Vec<Nevra> = first.removed().collect();
    view.kernel_packages
        .retain(|package| !removed.iter().any(|gone| gone.name == package.name));
    Some((release, view.next_arguments.clone()))
}

/// Whether a release is a real-time kernel's: `+rt` since EL 9, `.rt` before.
pub(super) fn is_realtime(release: &str) -> bool {
    release.contains("+rt") || release.contains(".rt")
}

fn stage(view: &mut OstreeView, mut deployment: Deployment) {
    view.status.deployments.retain(|one| !one.staged);
    deployment.booted = false;
    deployment.pinned = false;
    deployment.staged = true;
    "what is staged".clone_into(&mut deployment.id);
    if deployment.base_checksum.is_some() {
        "what is staged".clone_into(&mut deployment.checksum);
    }
    deployment.serial += 1;
    view.status.deployments.insert(0, deployment);
}

fn kargs(view: &mut OstreeView, options: &[&str]) -> bool {
    let mut words: Vec<String> = view
        .next_arguments
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    for option in options {
        let Some((name, value)) = option.split_once('=') else {
            return false;
        };
        let at = words.iter().position(|word| word == value);
        match (name, at) {
            ("--append", _) | ("--append-if-missing", None) => words.push(value.to_owned()),
            ("--delete" | "--delete-if-present", Some(at)) => drop(words.remove(at)),
            ("--append-if-missing" | "--delete-if-present", _) => {}
            _ => return false,
        }
    }
    let Some(first) = view.status.deployments.first().cloned() else {
        return false;
    };
    view.next_arguments = words.join(" ");
    stage(view, first);
    true
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Remove,
    Reset,
    Install,
    Uninstall,
}

fn layer(view: &mut OstreeView, verb: Verb, words: &[&str]) -> bool {
    let Some(mut deployment) = view.status.deployments.first().cloned() else {
        return false;
    };
    let Some(stock) = stock(view, &deployment) else {
        return false;
    };
    let (mut names, mut install, mut uninstall) = (Vec::new(), Vec::new(), Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--install" => install.extend(words.next().copied()),
            "--uninstall" => uninstall.extend(words.next().copied()),
            "--cache-only" => {}
            word if word.starts_with('-') => return false,
            word => names.push(word),
        }
    }
    match verb {
        Verb::Install => install.append(&mut names),
        Verb::Uninstall => uninstall.append(&mut names),
        Verb::Remove | Verb::Reset => {}
    }
    // Files would have to be opened to be known by name.
    if install.iter().any(|word| word.starts_with('/')) {
        return false;
    }
    deployment
        .requested_packages
        .retain(|name| !uninstall.contains(&name.as_str()));
    deployment
        .requested_local_packages
        .retain(|name| !uninstall.contains(&name.as_str()));
    let install = install.into_iter().map(str::to_owned);
    deployment.requested_packages.extend(install);
    if verb == Verb::Reset {
        deployment
            .requested_base_removals
            .retain(|name| !names.contains(&name.as_str()));
    } else {
        let names = names.into_iter().map(str::to_owned);
        deployment.requested_base_removals.extend(names);
    }
    settle(&mut deployment, &stock);
    stage(view, deployment);
    true
}

/// Version, release and architecture of the base's own kernel, as its release says them.
fn stock(view: &OstreeView, first: &Deployment) -> Option<Nevra> {
    view.kernel_packages
        .iter()
        .cloned()
        .chain(first.removed())
        .find(|package| package.name == "kernel-core" || package.name == "kernel")
}

/// All that was asked for is in effect.
fn settle(deployment: &mut Deployment, stock: &Nevra) {
    deployment.base_removals = deployment
        .requested_base_removals
        .iter()
        .map(|name| {
            let package = Nevra {
                name: name.clone(),
                ..stock.clone()
            };
            vec![
                json!(package.to_string()),
                json!(name),
                json!(stock.epoch),
                json!(stock.version),
                json!(stock.release),
                json!(stock.architecture),
            ]
        })
        .collect();
    deployment
        .packages
        .clone_from(&deployment.requested_packages);
    let realtime = deployment
        .requests()
        .any(|request| request.starts_with("kernel-rt-core"));
    let release = format!("{}-{}.{}", stock.version, stock.release, stock.architecture);
    let layered =
        !deployment.requested_base_removals.is_empty() || deployment.requests().next().is_some();
    let base = deployment.base().to_owned();
    if layered {
        let kernel = if realtime {
            format!("{release}+rt")
        } else {
            release
        };
        deployment.base_checksum = Some(base);
        deployment.layered_commit_meta = Some(json!({"ostree.linux": kernel}));
    } else {
        deployment.checksum = base;
        deployment.base_checksum = None;
        deployment.layered_commit_meta = None;
        if deployment.base_commit_meta.is_none() {
            deployment.base_commit_meta = Some(Value::Object(
                [("ostree.linux".to_owned(), json!(release))]
                    .into_iter()
                    .collect(),
            ));
        }
    }
}
