//! Commands that choose among the deployments that are there: cleanup, rollback, finalize-deployment.

use crate::rpm_ostree_standin::boot;
use crate::rpm_ostree_standin::command::{Cleanup, Flags};
use crate::rpm_ostree_standin::state::State;

use super::deploy::{print_diff, prune};
use super::edit::QUEUED;
use super::{Context, End, reboot_if};

/// `cleanup`.
pub fn cleanup(state: &mut State, context: &mut Context, what: Cleanup) -> End {
    let Cleanup {
        pending,
        rollback,
        base,
        metadata,
    } = what;
    if pending || rollback {
        let booted = state.booted().unwrap_or(0);
        let before = state.deployments.len();
        let real = |state: &State| state.deployments.iter().filter(|one| !one.staged).count();
        let real_before = real(state);
        let mut index = 0;
        state.deployments.retain(|one| {
            let goes = index < booted && pending || index > booted && rollback;
            index += 1;
            one.pinned || !goes
        });
        if state.deployments.len() == before {
            context.out.push("Deployments unchanged.".to_owned());
        } else {
            let gone = real_before - real(state);
            if gone > 0 {
                boot::write_boot_loader(state);
                context.out.push(format!(
                    "Bootloader updated; bootconfig swap: yes; bootversion: boot.{}.1, deployment count change: -{gone}",
                    state.bootversion
                ));
            }
            prune(state);
        }
    }
    if base {
        prune(state);
        let needed: Vec<String> = state
            .deployments
            .iter()
            .filter(|one| !one.staged)
            .map(boot::boot_checksum)
            .collect();
        state
            .boot_directories
            .retain(|checksum, _| needed.contains(checksum));
    }
    if metadata {
        state.metadata.clear();
        state.damaged.clear();
    }
    End::Changed
}

/// `rollback`: written at once, nothing is staged.
pub fn rollback(state: &mut State, context: &mut Context, flags: &Flags) -> Result<End, String> {
    if state.deployments.first().is_some_and(|one| one.staged) {
        return Err("Staged deployment (remove with cleanup -p)".to_owned());
    }
    let booted = state.booted().unwrap_or(0);
    // With something in front of it the booted one comes first again; else the one behind it.
    let chosen = if booted > 0 { booted } else { 1 };
    if chosen >= state.deployments.len() {
        return Err("No rollback deployment found".to_owned());
    }
    let deployment = state.deployments.remove(chosen);
    context.out.push(format!(
        "Moving '{}' to be first deployment",
        deployment.directory()
    ));
    state.deployments.insert(0, deployment);
    boot::write_boot_loader(state);
    context.out.push(format!(
        "Bootloader updated; bootconfig swap: yes; bootversion: boot.{}.1, deployment count change: 0",
        state.bootversion
    ));
    print_diff(state, context);
    context.out.push(QUEUED.to_owned());
    reboot_if(state, flags)
}

/// `finalize-deployment`: unlocks and reboots.
pub fn finalize(
    state: &mut State,
    checksum: Option<&str>,
    any: bool,
    unlocked: bool,
) -> Result<End, String> {
    let staged = state
        .deployments
        .iter()
        .find(|one| one.staged)
        .ok_or("No pending staged deployment found")?;
    match checksum {
        Some(checksum) if checksum != staged.base => {
            return Err(format!(
                "Expected staged base checksum {checksum}, but found {}",
                staged.base
            ));
        }
        None if !any => return Err("Missing expected checksum".to_owned()),
        _ => {}
    }
    if !staged.locked && !unlocked {
        return Err("Staged deployment already unlocked".to_owned());
    }
    let flags = Flags {
        reboot: true,
        ..Flags::default()
    };
    // Refused by an inhibitor, it stays staged and locked.
    let end = reboot_if(state, &flags)?;
    for one in &mut state.deployments {
        one.locked = false;
    }
    Ok(end)
}
