//! What the Machine Config Operator's agent does to a simulated host: kernel arguments, OS image and kernel type of a
//! rendered MachineConfig, in its order and with its commands, and a reboot. Where it doesn't support the operating
//! system it does what the real one does: it logs that, and reports success.
//!
//! It must not know of the node daemon.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use realtime_core::openshift::MachineConfig;

use super::{Machine, SimulatedHost};
use crate::pool_standin::hosts::{Hosts, Outcome};

/// What it installs for `kernelType: realtime`.
const REALTIME_PACKAGES: [&str; 3] = [
    "kernel-rt-core",
    "kernel-rt-modules",
    "kernel-rt-modules-extra",
];
/// What it removes then, so far as the base has it.
const STOCK_PACKAGES: [&str; 5] = [
    "kernel",
    "kernel-core",
    "kernel-modules",
    "kernel-modules-core",
    "kernel-modules-extra",
];

/// Machines by their nodes' names, for the pool stand-in.
#[derive(Debug, Default)]
pub struct Agents(pub BTreeMap<String, Arc<Machine>>);

impl Hosts for Agents {
    fn update<'a>(
        &'a self,
        node: &'a str,
        from: Option<&'a MachineConfig>,
        to: &'a MachineConfig,
    ) -> BoxFuture<'a, Result<Outcome, String>> {
        async move {
            let Some(machine) = self.0.get(node) else {
                return Ok(Outcome::NoMachine);
            };
            let host = Arc::clone(machine.host());
            let changes = Changes::between(from, to);
            tokio::task::spawn_blocking(move || stage(&host, &changes))
                .await
                .map_err(|error| error.to_string())??;
            machine.reboot().await.map_err(|error| error.to_string())?;
            Ok(Outcome::Done)
        }
        .boxed()
    }
}

/// What a MachineConfig asks of an operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Changes {
    delete: Vec<String>,
    append: Vec<String>,
    image: Option<String>,
    realtime: bool,
}

impl Changes {
    fn between(from: Option<&MachineConfig>, to: &MachineConfig) -> Self {
        let before = from.map(arguments).unwrap_or_default();
        let after = arguments(to);
        let image = |config: &MachineConfig| config.spec.os_image_url.clone();
        Self {
            delete: before
                .iter()
                .filter(|one| !after.contains(one))
                .cloned()
                .collect(),
            append: after,
            image: image(to).filter(|new| {
                !new.is_empty() && from.is_some_and(|from| image(from).as_ref() != Some(new))
            }),
            realtime: to.spec.realtime == Some(true)
                || to.spec.kernel_type.as_deref() == Some("realtime"),
        }
    }
}

/// An entry may hold several arguments.
fn arguments(config: &MachineConfig) -> Vec<String> {
    let entries = config.spec.kernel_arguments.iter().flatten();
    entries
        .flat_map(|entry| entry.split_ascii_whitespace())
        .map(str::to_owned)
        .collect()
}

/// The agent's commands, in its order.
fn stage(host: &SimulatedHost, changes: &Changes) -> Result<(), String> {
    let os_release = host.tree().read("/etc/os-release");
    let supported = ["ID=\"rhcos\"", "ID=\"scos\"", "ID=rhcos", "ID=scos"]
        .iter()
        .any(|id| os_release.lines().any(|line| line == *id));
    if !supported {
        // "updating kernel on non-RHCOS nodes is not supported": logged, and the update goes on without it.
        return Ok(());
    }
    run(host, &["cleanup".to_owned(), "-p".to_owned()])?;

    let present = host.kernel().command_line;
    let has = |argument: &String| present.split_ascii_whitespace().any(|one| one == argument);
    let mut kargs = vec!["kargs".to_owned()];
    kargs.extend(
        changes
            .delete
            .iter()
            .filter(|one| has(one))
            .map(|one| format!("--delete-if-present={one}")),
    );
    kargs.extend(
        changes
            .append
            .iter()
            .filter(|one| !has(one))
            .map(|one| format!("--append={one}")),
    );

    let layered = requested(host)?;
    if !layered.is_empty() && (!changes.realtime || changes.image.is_some()) {
        let mut reset = vec!["override".to_owned(), "reset".to_owned()];
        reset.extend(removals(host)?);
        for package in &layered {
            reset.extend(["--uninstall".to_owned(), package.clone()]);
        }
        run(host, &reset)?;
    }
    if let Some(image) = &changes.image {
        // The real agent's packages come with the release, in an image of their own: nothing is stale.
        run(host, &["cleanup".to_owned(), "-m".to_owned()])?;
        let reference = format!("ostree-unverified-registry:{image}");
        run(host, &["rebase".to_owned(), reference])?;
    }
    if kargs.len() > 1 {
        run(host, &kargs)?;
    }
    if changes.realtime && (layered.is_empty() || changes.image.is_some()) {
        let mut swap = vec!["override".to_owned(), "remove".to_owned()];
        swap.extend(stock(host)?);
        for package in REALTIME_PACKAGES {
            swap.extend(["--install".to_owned(), package.to_owned()]);
        }
        run(host, &swap)?;
    }
    Ok(())
}

fn run(host: &SimulatedHost, arguments: &[String]) -> Result<(), String> {
    let argv: Vec<&str> = std::iter::once("rpm-ostree")
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let output = host
        .standin()
        .run(&argv, Path::new("/"))
        .map_err(|error| error.to_string())?;
    if output.code == 0 {
        return Ok(());
    }
    Err(format!(
        "error running {}: {}: exit status {}",
        argv.join(" "),
        output.stderr.trim(),
        output.code
    ))
}

/// The real-time packages that the deployment that boots next asks for.
fn requested(host: &SimulatedHost) -> Result<Vec<String>, String> {
    let state = host.standin().state().map_err(|error| error.to_string())?;
    let origin = state.deployments.first().map(|one| one.origin.clone());
    Ok(origin
        .map(|origin| origin.requested.into_iter().collect::<Vec<_>>())
        .unwrap_or_default()
        .into_iter()
        .filter(|name| name.starts_with("kernel-rt"))
        .collect())
}

fn removals(host: &SimulatedHost) -> Result<Vec<String>, String> {
    let state = host.standin().state().map_err(|error| error.to_string())?;
    let origin = state.deployments.first().map(|one| one.origin.clone());
    Ok(origin
        .map(|origin| origin.removals.into_iter().collect())
        .unwrap_or_default())
}

/// What the deployment that boots next has of the stock kernel.
fn stock(host: &SimulatedHost) -> Result<Vec<String>, String> {
    let state = host.standin().state().map_err(|error| error.to_string())?;
    let packages = state
        .deployments
        .first()
        .map(|one| {
            one.packages
                .iter()
                .map(|one| one.name.clone())
                .collect::<Vec<_>>()
        })
        .unwrap_or_default();
    Ok(STOCK_PACKAGES
        .iter()
        .filter(|name| packages.iter().any(|one| one == *name))
        .map(|name| (*name).to_owned())
        .collect())
}
