//! What a reboot does to the deployments: finalization of a staged one, the choice of the entry, the new boot.
//! Pure; must not write files.

use sha2::{Digest, Sha256};

use super::fault::Fault;
use super::kargs;
use super::state::{Boot, Deployment, State, Version};

/// How the machine goes down and comes up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reboot {
    /// No orderly shutdown: a staged deployment is lost, a running transaction is gone.
    pub power_cut: bool,
    /// Finalization fails with this text.
    pub finalize_fail: Option<String>,
    /// The boot loader takes the older entry, index 1 instead of 0.
    pub fallback: bool,
    /// The chosen entry does not come up: the machine hangs and the next reboot is one by hand.
    pub does_not_boot: bool,
}

impl Reboot {
    /// `systemctl reboot`.
    pub fn orderly() -> Self {
        Self::default()
    }

    /// The mains fail and come back.
    pub fn power_cut() -> Self {
        Self {
            power_cut: true,
            ..Self::default()
        }
    }
}

/// What became of the staged deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finalized {
    /// None was staged.
    Nothing,
    /// It is a real one now.
    Done,
    /// It was locked, and is gone.
    Locked,
    /// There was no orderly shutdown, and it is gone.
    Lost,
    /// It failed with this text, and it is gone.
    Failed(String),
}

/// What a reboot did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootReport {
    /// False: nothing runs; reboot again, with `fallback` or not.
    pub up: bool,
    /// The new boot's id.
    pub boot_id: String,
    /// `id` of the booted deployment.
    pub deployment: String,
    /// Its kernel's release.
    pub kernel: String,
    /// What became of a staged one.
    pub finalized: Finalized,
}

/// The directory of /boot/ostree that a deployment's kernel is in.
pub fn boot_checksum(deployment: &Deployment) -> String {
    let own = if deployment.origin.initramfs {
        deployment.origin.initramfs_args.join(" ")
    } else {
        "none".to_owned()
    };
    hex(&[b"bootcsum", deployment.kernel.as_bytes(), own.as_bytes()])
}

/// SHA-256 of all parts, in hexadecimal digits.
pub fn hex(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            use std::fmt::Write as _;
            // Writing to a String never fails.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Shuts down and boots.
pub fn reboot(state: &mut State, how: &Reboot) -> BootReport {
    state.transaction = None;
    let mut journal = Vec::new();
    // A machine that hangs can only be switched off.
    let orderly = !how.power_cut && state.boot.up;
    let finalized = if orderly {
        finalize(state, how, &mut journal)
    } else {
        lose_staged(state)
    };
    let first = usize::from(how.fallback && state.deployments.len() > 1);
    let mut up = !how.does_not_boot && !refuses_to_boot(state, first);
    let mut chosen = first;
    if !up && state.falls_back && state.deployments.len() > 1 {
        chosen = usize::from(first == 0);
        up = !refuses_to_boot(state, chosen);
    }
    if let Finalized::Failed(message) = &finalized {
        journal.push(format!("error: {message}"));
    }
    let count = state.boot.count + 1;
    let failure = match &finalized {
        Finalized::Failed(message) => Some(message.clone()),
        _ => None,
    };
    if let Some(deployment) = state.deployments.get(chosen) {
        state.boot = Boot {
            id: boot_id(count, &state.boot.id),
            count,
            deployment: deployment.directory(),
            up,
            boot_complete_failure: failure,
            finalize_journal: journal,
        };
        state.cached_update = None;
    }
    let booted = state.deployments.get(chosen);
    BootReport {
        up,
        boot_id: state.boot.id.clone(),
        deployment: booted.map(|one| one.id(&state.osname)).unwrap_or_default(),
        kernel: booted.map(|one| one.kernel.clone()).unwrap_or_default(),
        finalized,
    }
}

/// A boot id has a UUID's form and follows from the one before, so that runs can be repeated.
pub fn boot_id(count: u32, before: &str) -> String {
    let hash = hex(&[b"boot", &count.to_be_bytes(), before.as_bytes()]);
    let part = |from: usize, to: usize| hash.get(from..to).unwrap_or_default().to_owned();
    format!(
        "{}-{}-4{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(13, 16),
        part(17, 20),
        part(20, 32)
    )
}

/// `ostree admin finalize-staged` without a shutdown.
pub fn finalize_now(state: &mut State) -> Result<(), String> {
    match finalize(state, &Reboot::orderly(), &mut Vec::new()) {
        Finalized::Failed(message) => Err(message),
        _ => Ok(()),
    }
}

fn refuses_to_boot(state: &mut State, index: usize) -> bool {
    let Some(kernel) = state.deployments.get(index).map(|one| one.kernel.clone()) else {
        return true;
    };
    state
        .take_fault(|fault| match fault {
            Fault::KernelDoesNotBoot(name) if *name == kernel => Some(()),
            Fault::KernelDoesNotBoot(name) if name == "realtime" && is_realtime(&kernel) => {
                Some(())
            }
            _ => None,
        })
        .is_some()
}

/// Whether a kernel of this release is a realtime one.
pub fn is_realtime(release: &str) -> bool {
    release.contains(".rt") || release.ends_with("+rt")
}

fn lose_staged(state: &mut State) -> Finalized {
    match state.deployments.iter().position(|one| one.staged) {
        None => Finalized::Nothing,
        Some(index) => {
            let lost = state.deployments.remove(index);
            state.orphans.push((lost.checksum, lost.serial));
            Finalized::Lost
        }
    }
}

fn finalize(state: &mut State, how: &Reboot, journal: &mut Vec<String>) -> Finalized {
    let Some(index) = state.deployments.iter().position(|one| one.staged) else {
        return Finalized::Nothing;
    };
    let mut staged = state.deployments.remove(index);
    journal.push(
        "Stopping ostree-finalize-staged.service - OSTree Finalize Staged Deployment...".to_owned(),
    );
    if staged.locked {
        journal.push(match state.version {
            Version::V2023_2 => {
                "Not finalizing; found /run/ostree/staged-deployment-locked".to_owned()
            }
            Version::V2024_7 => "Not finalizing; deployment is locked for finalization".to_owned(),
        });
        state.orphans.push((staged.checksum, staged.serial));
        return Finalized::Locked;
    }
    journal.push("Finalizing staged deployment".to_owned());
    let set = state.take_fault(|fault| match fault {
        Fault::FinalizeFails(message) => Some(message.clone()),
        _ => None,
    });
    let full = how
        .finalize_fail
        .clone()
        .or(set)
        .or_else(|| install_kernel(state, &boot_checksum(&staged), journal).err());
    if let Some(message) = full {
        state.orphans.push((staged.checksum, staged.serial));
        return Finalized::Failed(message);
    }
    staged.staged = false;
    staged.pinned = false;
    let booted = state.boot.deployment.clone();
    let mut list = vec![staged];
    list.extend(
        state
            .deployments
            .drain(..)
            .filter(|one| one.pinned || one.directory() == booted),
    );
    state.deployments = list;
    write_boot_loader(state);
    journal.push("Bootloader updated; bootconfig swap: yes".to_owned());
    Finalized::Done
}

/// Copies the kernel to /boot, if there is room for it; a copy that failed keeps what it took.
fn install_kernel(
    state: &mut State,
    checksum: &str,
    journal: &mut Vec<String>,
) -> Result<(), String> {
    if state.boot_directories.get(checksum) == Some(&state.space.kernel) {
        return Ok(());
    }
    state.boot_directories.remove(checksum);
    let used: u64 = state.boot_directories.values().sum::<u64>() + state.space.boot_other;
    let free = state.space.boot.saturating_sub(used);
    let fits = free >= state.space.kernel;
    state
        .boot_directories
        .insert(checksum.to_owned(), state.space.kernel.min(free));
    if fits {
        return Ok(());
    }
    if state.version == Version::V2024_7 {
        journal.extend(
            [
                "Finalized deployment",
                "bootfs requires additional space",
                "Disabling auto-prune optimization; insufficient space left in bootfs",
            ]
            .map(str::to_owned),
        );
    }
    Err("Installing kernel: regfile copy: No space left on device".to_owned())
}

/// Writes the boot loader's entries: the other `boot.N`, and only the kernels that are still needed.
pub fn write_boot_loader(state: &mut State) {
    state.bootversion = 1 - state.bootversion.min(1);
    let (version, osname) = (state.bootversion, state.osname.clone());
    let mut seen: Vec<String> = Vec::new();
    for deployment in &mut state.deployments {
        if deployment.staged {
            continue;
        }
        let checksum = boot_checksum(deployment);
        let tree = seen.iter().filter(|one| **one == checksum).count();
        kargs::set_ostree(
            &mut deployment.kargs,
            &format!("/ostree/boot.{version}/{osname}/{checksum}/{tree}"),
        );
        state
            .boot_directories
            .entry(checksum.clone())
            .or_insert(state.space.kernel);
        seen.push(checksum);
    }
    state
        .boot_directories
        .retain(|checksum, _| seen.contains(checksum));
}
