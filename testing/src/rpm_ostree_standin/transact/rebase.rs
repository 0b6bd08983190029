//! Commands that change the base: rebase, deploy, upgrade.

use crate::rpm_ostree_standin::boot::hex;
use crate::rpm_ostree_standin::command::Flags;
use crate::rpm_ostree_standin::origin::Source;
use crate::rpm_ostree_standin::repositories;
use crate::rpm_ostree_standin::state::{Commit, State, Version};
use crate::rpm_ostree_standin::{status, status_text};

use super::deploy::{Plan, Result_, deploy};
use super::edit::{QUEUED, RUN, merge};
use super::{Context, End, reboot_if};

/// The commit of an image, imported if `current` is not of the same digest.
fn pull(
    state: &mut State,
    context: &mut Context,
    reference: &str,
    current: Option<&str>,
) -> Result<String, String> {
    context.out.push(format!("Pulling manifest: {reference}"));
    let (mut base, digest) = state
        .images
        .get(reference)
        .cloned()
        .ok_or_else(|| format!("Fetching manifest: no image at {reference} (stand-in)"))?;
    if let Some(current) = current
        && state
            .commits
            .get(current)
            .is_some_and(|commit| commit.digest.as_ref() == Some(&digest))
    {
        return Ok(current.to_owned());
    }
    context
        .out
        .push(format!("Importing: {reference} (digest: {digest})"));
    base.checksum = hex(&[
        b"import",
        base.checksum.as_bytes(),
        &state.transactions.to_be_bytes(),
    ]);
    let checksum = base.checksum.clone();
    let commit = Commit {
        base,
        digest: Some(digest),
    };
    state.commits.insert(checksum.clone(), commit);
    Ok(checksum)
}

fn is_checksum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `rebase`.
pub fn rebase(
    state: &mut State,
    context: &mut Context,
    target: &str,
    custom: Option<&(String, String)>,
    flags: &Flags,
) -> Result<End, String> {
    let (mut origin, _, kargs) = merge(state)?;
    if origin.source.text() == target && !is_checksum(target) {
        return Err(format!("Old and new refs are equal: {target}"));
    }
    let old = origin.source.clone();
    let base = if is_checksum(target) {
        if !state.commits.contains_key(target) {
            return Err(format!("No such metadata object {target}.commit"));
        }
        origin.source = Source::Commit(target.to_owned());
        target.to_owned()
    } else if target.contains(':') {
        origin.source = Source::Container(target.to_owned());
        pull(state, context, target, None)?
    } else {
        origin.source = Source::Refspec(target.to_owned());
        let found = state.refs.get(target).cloned();
        found.ok_or_else(|| format!("Refspec '{target}' not found"))?
    };
    origin.custom = custom.cloned();
    let plan = Plan {
        origin,
        base,
        kargs,
        network: !flags.cache_only,
        only_if_changed: false,
    };
    match deploy(state, context, &plan, flags)? {
        Result_::Staged => {
            // The reference that was left is purged.
            if let Source::Refspec(refspec) = &old {
                state.refs.remove(refspec);
            }
            if matches!(plan.origin.source, Source::Container(_)) {
                state.cached_update = None;
            }
            context.out.push(QUEUED.to_owned());
            reboot_if(state, flags)
        }
        Result_::Same | Result_::Dry => Ok(End::Unchanged),
    }
}

/// `deploy`: the same reference at another commit.
pub fn deploy_revision(
    state: &mut State,
    context: &mut Context,
    target: &str,
    flags: &Flags,
) -> Result<End, String> {
    let (origin, _, kargs) = merge(state)?;
    context.out.push(format!("Validating checksum '{target}'"));
    if let Source::Refspec(refspec) = &origin.source
        && !state.refs.contains_key(refspec)
    {
        return Err(format!("Refspec '{refspec}' not found"));
    }
    if !state.commits.contains_key(target) {
        return Err(format!("No such metadata object {target}.commit"));
    }
    let plan = Plan {
        origin,
        base: target.to_owned(),
        kargs,
        network: !flags.cache_only,
        only_if_changed: false,
    };
    match deploy(state, context, &plan, flags)? {
        Result_::Staged => {
            context.out.push(RUN.to_owned());
            reboot_if(state, flags)
        }
        Result_::Same | Result_::Dry => Ok(End::Unchanged),
    }
}

/// `upgrade`.
pub fn upgrade(state: &mut State, context: &mut Context, flags: &Flags) -> Result<End, String> {
    let (origin, current, kargs) = merge(state)?;
    let base = match &origin.source {
        Source::Refspec(refspec) => {
            let found = state.refs.get(refspec).cloned();
            found.ok_or_else(|| format!("Refspec '{refspec}' not found"))?
        }
        Source::Commit(commit) => commit.clone(),
        Source::Container(reference) => {
            let reference = reference.clone();
            pull(state, context, &reference, Some(&current))?
        }
    };
    if flags.check {
        return check(state, context, &base, &current);
    }
    let nothing = origin.requested.is_empty() && origin.requested_local.is_empty();
    if base == current && nothing {
        context.out.push("No upgrade available.".to_owned());
        return Ok(End::Unchanged);
    }
    let plan = Plan {
        origin,
        base: base.clone(),
        kargs,
        network: !flags.cache_only,
        only_if_changed: true,
    };
    match deploy(state, context, &plan, flags)? {
        Result_::Staged => {
            state.cached_update = status::cached_update(state, &base);
            context.out.push(RUN.to_owned());
            reboot_if(state, flags)
        }
        Result_::Same => {
            context.out.push("No upgrade available.".to_owned());
            Ok(End::Unchanged)
        }
        Result_::Dry => Ok(End::Unchanged),
    }
}

fn check(
    state: &mut State,
    context: &mut Context,
    base: &str,
    current: &str,
) -> Result<End, String> {
    let request = context.request;
    repositories::refresh(
        state,
        context.root,
        &request.repositories,
        request.now,
        &mut context.out,
    )?;
    let note = "Note: --check and --preview may be unreliable.  See https://github.com/coreos/rpm-ostree/issues/1579";
    match state.version {
        Version::V2023_2 => context.out.push(note.to_owned()),
        Version::V2024_7 => context.notes.push(note.to_owned()),
    }
    let found = state
        .commits
        .get(base)
        .filter(|_| base != current)
        .map(|commit| commit.base.clone());
    let Some(found) = found else {
        context.out.push("No updates available.".to_owned());
        return Ok(End::Nothing);
    };
    state.cached_update = status::cached_update(state, base);
    context.out.push("AvailableUpdate:".to_owned());
    let version = found.version.clone().unwrap_or_default();
    context.out.push(format!(
        "        Version: {version} ({})",
        status_text::time(found.timestamp)
    ));
    context.out.push(format!("         Commit: {base}"));
    Ok(End::Changed)
}
