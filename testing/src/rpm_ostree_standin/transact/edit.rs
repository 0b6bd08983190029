//! Commands that change the requests: install, uninstall, override, kargs, initramfs. Their checks come in this order:
//! 1. uninstall, 2. install by name, 3. install files, 4. reset and replace, 5. remove.

use crate::rpm_ostree_standin::command::{Flags, Packages};
use crate::rpm_ostree_standin::kargs::Changes;
use crate::rpm_ostree_standin::local::{self, LocalPackage, Opened};
use crate::rpm_ostree_standin::origin::{Origin, name_of};
use crate::rpm_ostree_standin::package::Package;
use crate::rpm_ostree_standin::state::State;

use super::deploy::{Plan, Result_, deploy};
use super::{Context, End, reboot_if};

/// The last line of commands that name the change a queued one.
pub const QUEUED: &str = "Changes queued for next boot. Run \"systemctl reboot\" to start a reboot";
/// The last line of the others.
pub const RUN: &str = "Run \"systemctl reboot\" to start a reboot";
const UNDO: &str = "Use \"rpm-ostree override reset\" to undo overrides";

/// What every command starts from: the first deployment, staged or not.
pub fn merge(state: &State) -> Result<(Origin, String, Vec<String>), String> {
    let first = state.deployments.first().ok_or("No deployments found")?;
    Ok((
        first.origin.clone(),
        first.base.clone(),
        first.kargs.clone(),
    ))
}

fn base_packages(state: &State, base: &str) -> Vec<Package> {
    state
        .commits
        .get(base)
        .map(|commit| commit.base.packages.clone())
        .unwrap_or_default()
}

fn local_package(context: &Context, argument: &str) -> Result<LocalPackage, String> {
    match context.request.files.get(argument) {
        Some(Opened::Package(package)) => Ok((**package).clone()),
        Some(Opened::Unreadable(text)) => Err(text.clone()),
        _ => Err(format!("{argument}: No such file or directory")),
    }
}

/// Steps 1 to 3. True: something was changed.
fn requests(
    state: &mut State,
    context: &Context,
    origin: &mut Origin,
    base: &str,
    packages: &Packages,
    flags: &Flags,
) -> Result<bool, String> {
    let before = origin.clone();
    for request in &packages.uninstall {
        if !origin.uninstall(request) && !flags.idempotent {
            return Err(format!(
                "Package/capability '{request}' is not currently requested"
            ));
        }
    }
    let names: Vec<&String> = packages
        .install
        .iter()
        .filter(|one| !local::is_file(one))
        .collect();
    let provided = base_packages(state, base);
    for request in &names {
        if let Some(provider) = provided.iter().find(|one| one.matches(request))
            && !flags.allow_inactive
        {
            return Err(format!(
                "\"{request}\" is already provided by: {}. Use --allow-inactive to explicitly require it.",
                provider.nevra()
            ));
        }
    }
    for request in names {
        if !origin.requested.insert(request.clone()) && !flags.idempotent {
            return Err(format!(
                "Package/capability '{request}' is already requested"
            ));
        }
    }
    for argument in packages.install.iter().filter(|one| local::is_file(one)) {
        let local = local_package(context, argument)?;
        let nevra = local.package.nevra();
        if origin.requested_local.contains_key(&nevra) {
            if flags.idempotent {
                continue;
            }
            return Err(format!(
                "Package '{}:{nevra}' is already layered",
                local.sha256
            ));
        }
        state.pkgcache.insert(nevra.clone(), local.package);
        origin.requested_local.insert(nevra, local.sha256);
    }
    Ok(*origin != before)
}

/// Step 4, the replacing.
fn replace(
    state: &mut State,
    context: &Context,
    origin: &mut Origin,
    arguments: &[String],
) -> Result<(), String> {
    for argument in arguments {
        if !local::is_file(argument) {
            return Err("Non-local replacement overrides not implemented yet".to_owned());
        }
        let local = local_package(context, argument)?;
        let (nevra, name) = (local.package.nevra(), local.package.name.clone());
        origin.replacements.retain(|one, _| name_of(one) != name);
        if origin.overrides(&name) {
            return Err(format!("Override already exists for package '{name}'"));
        }
        state.pkgcache.insert(nevra.clone(), local.package);
        origin.replacements.insert(nevra, local.sha256);
    }
    Ok(())
}

/// Step 5.
fn remove(
    state: &State,
    origin: &mut Origin,
    base: &str,
    arguments: &[String],
) -> Result<(), String> {
    let packages = base_packages(state, base);
    for argument in arguments {
        let found = packages
            .iter()
            .find(|one| one.name == *argument || one.nevra() == *argument)
            .ok_or_else(|| format!("Package \"{argument}\" not found"))?;
        if origin.overrides(&found.name) {
            return Err(format!(
                "Override already exists for package '{}'",
                found.name
            ));
        }
        origin.removals.insert(found.name.clone());
    }
    Ok(())
}

/// Deploys the changed requests and ends with `last` lines.
fn finish(
    state: &mut State,
    context: &mut Context,
    plan: &Plan,
    flags: &Flags,
    last: &[&str],
) -> Result<End, String> {
    match deploy(state, context, plan, flags)? {
        Result_::Dry => Ok(End::Unchanged),
        Result_::Same => {
            context.out.push("No change.".to_owned());
            Ok(End::Unchanged)
        }
        Result_::Staged => {
            context.out.extend(last.iter().map(|one| (*one).to_owned()));
            reboot_if(state, flags)
        }
    }
}

/// `override remove`.
pub fn override_remove(
    state: &mut State,
    context: &mut Context,
    packages: &Packages,
    flags: &Flags,
) -> Result<End, String> {
    let (mut origin, base, kargs) = merge(state)?;
    requests(state, context, &mut origin, &base, packages, flags)?;
    replace(state, context, &mut origin, &packages.replace)?;
    remove(state, &mut origin, &base, &packages.arguments)?;
    let network = !(flags.cache_only || packages.install.is_empty() && packages.replace.is_empty());
    let plan = Plan {
        origin,
        base,
        kargs,
        network,
        only_if_changed: false,
    };
    finish(state, context, &plan, flags, &[UNDO, RUN])
}

/// `override replace`.
pub fn override_replace(
    state: &mut State,
    context: &mut Context,
    packages: &Packages,
    flags: &Flags,
    from: Option<&str>,
) -> Result<End, String> {
    let (mut origin, base, kargs) = merge(state)?;
    requests(state, context, &mut origin, &base, packages, flags)?;
    if let Some(source) = from {
        if !source.contains('=') {
            return Err(format!(
                "Parsing override source '{source}': Not in KIND=NAME format"
            ));
        }
        let names = origin
            .remote_replacements
            .entry(source.to_owned())
            .or_default();
        names.extend(packages.replace.iter().cloned());
    } else {
        replace(state, context, &mut origin, &packages.replace)?;
    }
    remove(state, &mut origin, &base, &packages.remove)?;
    let plan = Plan {
        origin,
        base,
        kargs,
        network: !flags.cache_only,
        only_if_changed: false,
    };
    let last: &[&str] = if from.is_some() { &[RUN] } else { &[UNDO, RUN] };
    finish(state, context, &plan, flags, last)
}

/// `override reset`.
pub fn override_reset(
    state: &mut State,
    context: &mut Context,
    packages: &Packages,
    flags: &Flags,
) -> Result<End, String> {
    let (mut origin, base, kargs) = merge(state)?;
    let mut changed = requests(state, context, &mut origin, &base, packages, flags)?;
    if flags.all {
        changed |= origin.reset_all();
    }
    for package in &packages.arguments {
        if !origin.reset(package) {
            return Err(format!("No overrides for package '{package}'"));
        }
        changed = true;
    }
    if !changed {
        context.out.push("No change.".to_owned());
        return Ok(End::Unchanged);
    }
    let plan = Plan {
        origin,
        base,
        kargs,
        network: !flags.cache_only && !packages.install.is_empty(),
        only_if_changed: false,
    };
    finish(state, context, &plan, flags, &[RUN])
}

/// `install` and `uninstall`: the same with other words.
pub fn install(
    state: &mut State,
    context: &mut Context,
    packages: &Packages,
    flags: &Flags,
) -> Result<End, String> {
    let (mut origin, base, kargs) = merge(state)?;
    let mut changed = requests(state, context, &mut origin, &base, packages, flags)?;
    if flags.all {
        changed |= !(origin.requested.is_empty() && origin.requested_local.is_empty());
        origin.requested.clear();
        origin.requested_local.clear();
    }
    if !changed && packages.install.is_empty() {
        context.out.push("No change.".to_owned());
        return Ok(End::Unchanged);
    }
    let plan = Plan {
        origin,
        base,
        kargs,
        network: !flags.cache_only && !packages.install.is_empty(),
        only_if_changed: !changed,
    };
    finish(state, context, &plan, flags, &[QUEUED])
}

/// `kargs` with modifiers.
pub fn kargs(
    state: &mut State,
    context: &mut Context,
    changes: &Changes,
    flags: &Flags,
) -> Result<End, String> {
    let (origin, base, before) = merge(state)?;
    let kargs = changes.apply(&before)?;
    if kargs == before {
        context.out.push("No changes.".to_owned());
        return Ok(End::Unchanged);
    }
    let plan = Plan {
        origin,
        base,
        kargs,
        network: false,
        only_if_changed: false,
    };
    finish(state, context, &plan, flags, &[QUEUED])
}

/// `initramfs`.
pub fn initramfs(
    state: &mut State,
    context: &mut Context,
    enable: Option<bool>,
    arguments: &[String],
) -> Result<End, String> {
    let (mut origin, base, kargs) = merge(state)?;
    let word = |on: bool| if on { "enabled" } else { "disabled" };
    let Some(enable) = enable else {
        context.out.push(format!(
            "Initramfs regeneration: {}",
            word(origin.initramfs)
        ));
        return Ok(End::Unchanged);
    };
    if origin.initramfs == enable && origin.initramfs_args == arguments {
        return Err(format!(
            "initramfs regeneration state is already {}",
            word(enable)
        ));
    }
    origin.initramfs = enable;
    origin.initramfs_args = if enable {
        arguments.to_vec()
    } else {
        Vec::new()
    };
    let plan = Plan {
        origin,
        base,
        kargs,
        network: false,
        only_if_changed: false,
    };
    finish(state, context, &plan, &Flags::default(), &[QUEUED])
}
