//! From an origin and a base to a staged deployment, with the steps and the failures in the measured order.

use crate::rpm_ostree_standin::boot::hex;
use crate::rpm_ostree_standin::command::Flags;
use crate::rpm_ostree_standin::fault::{Fault, Step};
use crate::rpm_ostree_standin::origin::Origin;
use crate::rpm_ostree_standin::package::{Package, Quirk};
use crate::rpm_ostree_standin::repositories;
use crate::rpm_ostree_standin::solve::{self, Solution, Sources};
use crate::rpm_ostree_standin::state::{Deployment, Layer, State};
use crate::rpm_ostree_standin::status_text;

use super::{Context, step};

/// What shall be deployed.
pub struct Plan {
    /// The requests.
    pub origin: Origin,
    /// The base commit.
    pub base: String,
    /// The kernel arguments.
    pub kargs: Vec<String>,
    /// Repositories are read and names resolved anew.
    pub network: bool,
    /// Nothing is deployed when the packages stay the same: `upgrade`, `install --idempotent`.
    pub only_if_changed: bool,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result_ {
    /// A new deployment is staged.
    Staged,
    /// The packages are the same.
    Same,
    /// `--dry-run`.
    Dry,
}

/// Solves, assembles and stages.
pub fn deploy(
    state: &mut State,
    context: &mut Context,
    plan: &Plan,
    flags: &Flags,
) -> Result<Result_, String> {
    let base = state
        .commits
        .get(&plan.base)
        .map(|commit| commit.base.clone());
    let base = base.ok_or_else(|| format!("No such metadata object {}.commit", plan.base))?;
    let mut sources = offline_sources(state);
    let unlayered = wants_nothing(&plan.origin) || {
        let quick = solve::solve(&base.packages, &plan.origin, &sources, state.version);
        plan.origin.requested.is_empty()
            && plan.origin.remote_replacements.is_empty()
            && plan.origin.requested_local.is_empty()
            && quick.is_ok_and(|one| one.is_base())
            && !plan.origin.initramfs
    };
    if !wants_nothing(&plan.origin) {
        context.out.push(format!(
            "Checking out tree {}...done",
            plan.base.get(..7).unwrap_or_default()
        ));
    }
    print_inactive(context, &base.packages, &plan.origin, &sources);
    let mut read = Vec::new();
    if plan.network && !unlayered {
        if context.request.repositories.is_empty() && !plan.origin.requested.is_empty() {
            return Err("No enabled repositories".to_owned());
        }
        let request = context.request;
        repositories::refresh(
            state,
            context.root,
            &request.repositories,
            request.now,
            &mut context.out,
        )?;
        sources.offline = false;
    }
    for repository in &context.request.repositories {
        if let Some(cached) = state.metadata.get(&repository.id)
            && !unlayered
        {
            sources
                .repositories
                .push((repository.id.clone(), cached.contents.packages.clone()));
            if plan.network {
                read.push((repository.id.clone(), cached.contents.generated));
            }
        }
    }
    let solution = solve_with_faults(state, context, plan, &base.packages, &sources, unlayered)?;
    let merge_packages = state
        .deployments
        .first()
        .map(|one| one.packages.clone())
        .unwrap_or_default();
    let same_base = state
        .deployments
        .first()
        .is_some_and(|one| one.base == plan.base);
    if plan.only_if_changed && same_base && merge_packages == solution.packages {
        return Ok(Result_::Same);
    }
    if flags.dry_run {
        print_dry_run(context, &solution);
        return Ok(Result_::Dry);
    }
    let kernel = assemble(state, context, plan, &solution)?;
    stage(state, context, plan, flags, solution, kernel, read)
}

fn wants_nothing(origin: &Origin) -> bool {
    origin.requested.is_empty()
        && origin.requested_local.is_empty()
        && origin.removals.is_empty()
        && origin.replacements.is_empty()
        && origin.remote_replacements.is_empty()
        && !origin.initramfs
}

fn offline_sources(state: &mut State) -> Sources {
    let mut sources = Sources {
        repositories: Vec::new(),
        layered: state
            .deployments
            .first()
            .and_then(|one| one.layer.as_ref())
            .map(|layer| {
                let replaced = layer.replaced_remote.values().flatten().map(|(new, _)| new);
                layer.added.iter().chain(replaced).cloned().collect()
            })
            .unwrap_or_default(),
        pkgcache: state.pkgcache.clone(),
        offline: true,
        ..Sources::default()
    };
    while let Some(name) = state.take_fault(|fault| match fault {
        Fault::InactiveRemoval(name) if !sources.inactive.contains(name) => Some(name.clone()),
        _ => None,
    }) {
        sources.inactive.insert(name);
    }
    while let Some(name) = state.take_fault(|fault| match fault {
        Fault::PackageNotFound(name) if !sources.hidden.contains(name) => Some(name.clone()),
        _ => None,
    }) {
        sources.hidden.insert(name);
    }
    sources
}

fn print_inactive(context: &mut Context, base: &[Package], origin: &Origin, sources: &Sources) {
    let has = |name: &str| base.iter().any(|one| one.name == name);
    let removals: Vec<&String> = origin
        .removals
        .iter()
        .filter(|name| !has(name) || sources.inactive.contains(*name))
        .collect();
    if !removals.is_empty() {
        context.out.push("Inactive base removals:".to_owned());
        context
            .out
            .extend(removals.iter().map(|name| format!("  {name}")));
    }
    let replacements: Vec<&String> = origin
        .replacements
        .keys()
        .filter(|nevra| {
            let name = crate::rpm_ostree_standin::origin::name_of(nevra);
            !has(name) || base.iter().any(|one| one.nevra() == **nevra)
        })
        .collect();
    if !replacements.is_empty() {
        context.out.push("Inactive base replacements:".to_owned());
        context
            .out
            .extend(replacements.iter().map(|nevra| format!("  {nevra}")));
    }
}

fn solve_with_faults(
    state: &mut State,
    context: &mut Context,
    plan: &Plan,
    base: &[Package],
    sources: &Sources,
    unlayered: bool,
) -> Result<Solution, String> {
    if !unlayered {
        let text = state.take_fault(|fault| match fault {
            Fault::Depsolve(text) => Some(text.clone()),
            _ => None,
        });
        if let Some(text) = text {
            context.out.push("Resolving dependencies...done".to_owned());
            return Err(format!(
                "Could not depsolve transaction; 1 problem detected:\n Problem: {text}"
            ));
        }
    }
    let solution = solve::solve(base, &plan.origin, sources, state.version);
    if !unlayered
        && solution
            .as_ref()
            .err()
            .is_none_or(|text| text.starts_with("Could not depsolve"))
    {
        context.out.push("Resolving dependencies...done".to_owned());
    }
    solution
}

fn print_dry_run(context: &mut Context, solution: &Solution) {
    if !solution.added.is_empty() {
        context
            .out
            .push(format!("Installing {} packages:", solution.added.len()));
        for (package, from) in &solution.added {
            context.out.push(format!("  {} ({from})", package.nevra()));
        }
    }
    if !solution.removed.is_empty() {
        context
            .out
            .push(format!("Removing {} packages:", solution.removed.len()));
        for package in &solution.removed {
            context.out.push(format!("  {} (@System)", package.nevra()));
        }
    }
    context
        .out
        .push("Exiting because of '--dry-run' option".to_owned());
}

/// Download, import, scripts, database, kernel, initramfs. Gives the kernel's release.
fn assemble(
    state: &mut State,
    context: &mut Context,
    plan: &Plan,
    solution: &Solution,
) -> Result<String, String> {
    if solution.is_base() && !plan.origin.initramfs {
        return solution.kernel();
    }
    context.work = Some(0);
    import(state, context, solution)?;
    if solution.overrides() + solution.added.len() > 0 {
        context
            .out
            .push(match (solution.overrides(), solution.added.len()) {
                (0, _) => "Checking out packages...done".to_owned(),
                (1, 0) => "Applying 1 override".to_owned(),
                (overrides, 0) => format!("Applying {overrides} overrides"),
                (overrides, overlays) => {
                    format!("Applying {overrides} overrides and {overlays} overlays")
                }
            });
    }
    let quirks = |wanted: &Quirk| {
        solution
            .added
            .iter()
            .find(|(one, _)| one.quirk.as_ref() == Some(wanted))
    };
    if let Some((package, _)) = quirks(&Quirk::FileConflict) {
        return Err(format!(
            "Checkout {}: Hardlinking 51/{}.file to version: File exists",
            package.nevra(),
            hex(&[package.name.as_bytes()])
                .get(..62)
                .unwrap_or_default()
        ));
    }
    context.out.push("Running pre scripts...done".to_owned());
    context.out.push("Running post scripts...done".to_owned());
    if let Some((package, _)) = quirks(&Quirk::FailingScript) {
        let name = &package.name;
        return Err(format!(
            "Running %post for {name}: bwrap(/bin/sh): Child process killed by signal 3; run `journalctl -t \
             'rpm-ostree({name}.post)'` for more information"
        ));
    }
    context
        .out
        .push("Running posttrans scripts...done".to_owned());
    context.out.push("Writing rpmdb...done".to_owned());
    let kernel = solution.kernel()?;
    if solution.changes_kernel() || plan.origin.initramfs {
        context.out.push("Generating initramfs...done".to_owned());
        let slow: u64 = solution
            .added
            .iter()
            .filter_map(|(one, _)| match one.quirk {
                Some(Quirk::SlowInitramfs(milliseconds)) => Some(milliseconds),
                _ => None,
            })
            .sum();
        context.work = Some(slow);
        step(state, Step::Initramfs)?;
        if quirks(&Quirk::FailingInitramfs).is_some() {
            return Err(
                "bwrap(rpmostree-dracut-wrapper): Child process killed by signal 1".to_owned(),
            );
        }
    }
    context.out.push("Writing OSTree commit...done".to_owned());
    Ok(kernel)
}

fn import(state: &mut State, context: &mut Context, solution: &Solution) -> Result<(), String> {
    let replaced = solution.replaced_remote.iter().flat_map(|(source, list)| {
        let id = source.strip_prefix("repo=").unwrap_or(source);
        list.iter().map(move |(new, _)| (new, id))
    });
    let wanted: Vec<(Package, String)> = solution
        .added
        .iter()
        .map(|(one, from)| (one, from.as_str()))
        .chain(replaced)
        .filter(|(one, from)| *from != "@commandline" && !state.pkgcache.contains_key(&one.nevra()))
        .map(|(one, from)| (one.clone(), from.to_owned()))
        .collect();
    let minimum = state.space.sysroot / 100 * 3;
    let short = state.space.sysroot_free < minimum + state.space.layer;
    if wanted.is_empty() {
        if short {
            return Err(format!("Checking out deployment tree: {}", no_space(state)));
        }
        return Ok(());
    }
    context.out.push(match wanted.len() {
        1 => "Will download: 1 package (1.0\u{a0}MB)".to_owned(),
        several => format!("Will download: {several} packages (3.0\u{a0}MB)"),
    });
    let mut ids: Vec<&str> = wanted.iter().map(|(_, from)| from.as_str()).collect();
    ids.dedup();
    context.out.extend(
        ids.iter()
            .map(|id| format!("Downloading from '{id}'...done")),
    );
    if let Err(message) = step(state, Step::Download) {
        state
            .damaged
            .extend(wanted.iter().map(|(one, _)| one.nevra()));
        return Err(message);
    }
    for (package, from) in &wanted {
        if let Some(repository) = context
            .request
            .repositories
            .iter()
            .find(|one| one.id == *from)
        {
            repositories::check_download(state, context.root, repository, &package.nevra())?;
        }
    }
    context.out.push("Importing packages...done".to_owned());
    if let Some(bad) = wanted
        .iter()
        .map(|(one, _)| one.nevra())
        .find(|nevra| state.damaged.contains(nevra))
    {
        // The bad file is dropped, so that the next try fails at the next one.
        state.damaged.remove(&bad);
        return Err(
            "importing RPMs: creating importer: Reading rpm2cpio: Unrecognized archive format"
                .to_owned(),
        );
    }
    if short {
        let name = wanted
            .first()
            .map(|(one, _)| one.name.clone())
            .unwrap_or_default();
        return Err(format!(
            "importing RPMs: Importing package '{name}': Importing archive: ostree-tar: Failed to handle file: \
             ostree-tar: Failed to import file: Writing content object: {}",
            no_space(state)
        ));
    }
    state
        .pkgcache
        .extend(wanted.into_iter().map(|(one, _)| (one.nevra(), one)));
    Ok(())
}

fn no_space(state: &State) -> String {
    let requested = state.space.layer / 1024;
    format!(
        "min-free-space-percent '3%' would be exceeded, at least {requested}.0\u{a0}MB requested"
    )
}

fn stage(
    state: &mut State,
    context: &mut Context,
    plan: &Plan,
    flags: &Flags,
    solution: Solution,
    kernel: String,
    repositories: Vec<(String, i64)>,
) -> Result<Result_, String> {
    context.out.push("Staging deployment...done".to_owned());
    let layered = !solution.is_base() || plan.origin.initramfs;
    let checksum = if layered {
        hex(&[
            b"layer",
            plan.base.as_bytes(),
            &state.transactions.to_be_bytes(),
            state.boot.id.as_bytes(),
        ])
    } else {
        plan.base.clone()
    };
    let packages = solution.packages;
    let layer = layered.then_some(Layer {
        timestamp: context.request.now,
        active_requests: solution.active_requests,
        removed: solution.removed,
        added: solution.added.into_iter().map(|(one, _)| one).collect(),
        replaced_local: solution.replaced_local,
        replaced_remote: solution.replaced_remote,
        repositories,
    });
    let deployment = Deployment {
        serial: state.next_serial(&checksum),
        checksum,
        base: plan.base.clone(),
        layer,
        origin: plan.origin.clone(),
        kargs: plan.kargs.clone(),
        packages,
        kernel,
        staged: true,
        locked: flags.lock,
        pinned: false,
    };
    state.deployments.retain(|one| !one.staged);
    state.deployments.insert(0, deployment);
    step(state, Step::Staged)?;
    prune(state);
    print_diff(state, context);
    Ok(Result_::Staged)
}

/// Forgets imported packages that no deployment has, and trees that a power cut left.
pub fn prune(state: &mut State) {
    let used: std::collections::BTreeSet<String> = state
        .deployments
        .iter()
        .flat_map(|one| {
            let requests = one
                .origin
                .requested_local
                .keys()
                .chain(one.origin.replacements.keys())
                .cloned();
            one.packages
                .iter()
                .map(Package::nevra)
                .chain(requests)
                .collect::<Vec<_>>()
        })
        .collect();
    state.pkgcache.retain(|nevra, _| used.contains(nevra));
    state.orphans.clear();
}

/// What a deployment changes in comparison with the booted one.
pub fn print_diff(state: &State, context: &mut Context) {
    let booted = state
        .booted()
        .and_then(|index| state.deployments.get(index));
    if let (Some(booted), Some(first)) = (booted, state.deployments.first()) {
        context
            .out
            .extend(status_text::diff(&booted.packages, &first.packages));
    }
}
