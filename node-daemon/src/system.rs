//! How this host gets its kernel: looking at it, and running the commands that `core::kernel` decided on. Decides nothing.
//!
//! No output of a command that changes something is read: what came of it is looked up again (rpm-ostree's exit code and
//! words prove neither that something was staged nor that nothing was).

use std::time::Duration;

use realtime_core::kernel::record::CommandFailure;
use realtime_core::kernel::{Command, System};

use crate::host::{Host, HostError};
use crate::{plain_rpm, rpm_ostree};

/// Made by ostree's part of the initramfs: the host was booted from an ostree deployment.
const OSTREE_BOOTED: &str = "/run/ostree-booted";
/// systemd answers at once; a host that is shutting down may not.
const REBOOT_LIMIT: Duration = Duration::from_mins(2);

/// Looks at the host: rpm-ostree, dnf and grubby, or neither.
pub async fn observe_system(host: &Host) -> Result<System, HostError> {
    // 1. An ostree host has dnf sometimes, but there it changes nothing that lasts.
    if host.exists(OSTREE_BOOTED) {
        if host.has_program("rpm-ostree") {
            let view = rpm_ostree::observe(host).await?;
            return Ok(System::Ostree(Box::new(view)));
        }
        return Ok(System::Other(
            "the host was booted by ostree, but it has no rpm-ostree: its image has to bring the real-time kernel"
                .to_owned(),
        ));
    }
    // 2. dnf installs, rpm tells, grubby chooses: all three or none.
    let missing: Vec<&str> = ["dnf", "rpm", "grubby"]
        .into_iter()
        .filter(|program| !host.has_program(program))
        .collect();
    if missing.is_empty() {
        return Ok(System::Rpm(Box::new(plain_rpm::observe(host).await?)));
    }
    // 3. Anything else can still be verified.
    Ok(System::Other(format!(
        "the host was not booted by ostree, and it has no {}",
        missing.join(", no ")
    )))
}

/// Runs a command that changes the host.
pub async fn run_command(host: &Host, command: &Command) -> Result<(), CommandFailure> {
    let argv = command.argv();
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let result = match command {
        Command::RpmOstree(_) => rpm_ostree::change(host, &words).await,
        Command::Pin { .. } => rpm_ostree::pin(host, &words).await,
        Command::Dnf(_) => plain_rpm::dnf(host, &words).await,
        Command::Grubby(_) => plain_rpm::grubby(host, &words).await,
    };
    result.map_err(|error| failure(command.line(), error))
}

/// Reboots the host in an orderly way, through systemd: a staged deployment becomes real in its shutdown only.
pub async fn reboot(host: &Host) -> Result<(), HostError> {
    let argv = ["systemctl", "reboot"];
    let output = host.run(&argv, REBOOT_LIMIT).await?;
    // It ends with 0 when it believes to be in a chroot and does nothing (without the host's process numbers).
    if output.stderr.contains("in chroot, ignoring") {
        return Err(HostError::Failed {
            command: argv.join(" "),
            code: Some(0),
            stderr: output.stderr,
        });
    }
    Ok(())
}

/// What went wrong, as it is put into the record.
fn failure(command: String, error: HostError) -> CommandFailure {
    let (code, stderr) = match error {
        HostError::Failed { code, stderr, .. } => (code, stderr),
        HostError::TimeLimit { limit, stderr, .. } => (
            None,
            format!(
                "{stderr}\nit did not end within {} s and was ended",
                limit.as_secs()
            )
            .trim_start()
            .to_owned(),
        ),
        HostError::Start { source, .. } => (None, format!("it could not be started: {source}")),
        other => (None, other.to_string()),
    };
    CommandFailure {
        command,
        code,
        stderr,
    }
}

/// Bytes that one more kernel takes on the file system of `/boot`: the most that one takes now. `folders`: each holds
/// one kernel; otherwise the files of `/boot` itself, by the kernel's release in their names.
pub(crate) fn boot_needed(host: &Host, folders: Option<&str>) -> Option<u64> {
    let size = |path: &str| -> u64 {
        match host.facts(path, false) {
            Ok(Some(facts)) if facts.is_file => facts.len,
            _ => 0,
        }
    };
    let sizes: Vec<u64> = match folders {
        Some(above) => host
            .list(above)
            .ok()?
            .iter()
            .map(|name| format!("{above}/{name}"))
            .filter_map(|folder| {
                let names = host.list(&folder).ok()?;
                Some(
                    names
                        .iter()
                        .map(|name| size(&format!("{folder}/{name}")))
                        .sum(),
                )
            })
            .collect(),
        None => host
            .list("/boot")
            .ok()?
            .iter()
            .filter_map(|name| name.strip_prefix("vmlinuz-"))
            .filter(|release| !release.contains("rescue"))
            .map(|release| {
                size(&format!("/boot/vmlinuz-{release}"))
                    + size(&format!("/boot/initramfs-{release}.img"))
            })
            .collect(),
    };
    sizes.into_iter().max().filter(|bytes| *bytes > 0)
}
