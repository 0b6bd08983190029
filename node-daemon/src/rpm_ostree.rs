//! rpm-ostree's side of a host: a function for each question and for each way to change it. The argv of a change come
//! from `core::kernel`. Decides nothing, and reads no output of a command that failed: rpm-ostree then prints systemd's
//! words to stdout, too.

use std::time::Duration;

use realtime_core::kernel::ostree::{self, Status};
use realtime_core::kernel::{Nevra, OstreeView};

use crate::host::{Host, HostError};
use crate::plain_rpm;
use crate::sources::repositories;
use crate::system::boot_needed;

/// Starting rpm-ostreed takes seconds on a slow disk; the question itself takes 30 ms.
const QUESTION_LIMIT: Duration = Duration::from_mins(3);
/// A kernel switch takes minutes: download, unpacking, dracut. rpm-ostree itself has no limit for a transaction. Ending
/// the client by a signal does not end the transaction: the next look finds it running.
const CHANGE_LIMIT: Duration = Duration::from_mins(45);
/// A pin waits for the lock of a transaction that runs.
const PIN_LIMIT: Duration = Duration::from_mins(10);
/// One folder for each kernel, of the booted, the rollback and any pinned deployment.
const BOOT_FOLDERS: &str = "/boot/ostree";
/// Fails for one boot when the last shutdown could not make the staged deployment real.
const BOOT_COMPLETE: &str = "ostree-boot-complete.service";
/// What ostree puts before the words of that failure.
const FAILED_BEFORE: &str = "ostree-finalize-staged.service failed on previous boot: ";
/// A deployment's packages: rpm-ostree's own place for them, on newer systems a link.
const DATABASE: &str = "/usr/share/rpm";
/// Words of a finalization that failed, when the journal has none.
const NO_WORDS: &str = "the journal does not say why";

/// Everything that a decision needs.
pub async fn observe(host: &Host) -> Result<OstreeView, HostError> {
    Ok(OstreeView {
        status: status(host).await?,
        next_arguments: next_arguments(host).await?,
        kernel_packages: kernel_packages(host).await?,
        finalize_failure: finalize_failure(host).await?,
        boot_free: host.free_bytes("/boot").ok(),
        boot_needed: boot_needed(host, Some(BOOT_FOLDERS)),
        enabled_repositories: repositories::enabled(host)?,
    })
}

/// `rpm-ostree status --json`.
pub async fn status(host: &Host) -> Result<Status, HostError> {
    let argv = ["rpm-ostree", "status", "--json"];
    let output = host.run(&argv, QUESTION_LIMIT).await?;
    ostree::parse(&output.stdout).map_err(|error| HostError::Unreadable {
        command: argv.join(" "),
        why: error.to_string(),
    })
}

/// `rpm-ostree kargs`: the arguments of the deployment that boots next.
pub async fn next_arguments(host: &Host) -> Result<String, HostError> {
    let output = host.run(&["rpm-ostree", "kargs"], QUESTION_LIMIT).await?;
    Ok(output.stdout.trim().to_owned())
}

/// `rpm -qa` of the kernel's packages, of the booted deployment.
///
/// An ostree host has a kernel, and it is a package. Where rpm names none it looked into another database than the
/// deployment's (a host whose rpm is set up otherwise): then that one is asked.
pub async fn kernel_packages(host: &Host) -> Result<Vec<Nevra>, HostError> {
    let packages = plain_rpm::kernel_packages(host).await?;
    if !packages.is_empty() || !host.exists(DATABASE) {
        return Ok(packages);
    }
    plain_rpm::kernel_packages_in(host, &["--dbpath", DATABASE]).await
}

/// The words of a finalization that failed at the last shutdown. ostree's stamp on `/boot` is gone by the time that
/// anybody can look: the failed unit and its journal are what is left, for this boot only.
pub async fn finalize_failure(host: &Host) -> Result<Option<String>, HostError> {
    // It prints `failed` and ends with 0; anything else ends with 1.
    match host
        .run(&["systemctl", "is-failed", BOOT_COMPLETE], QUESTION_LIMIT)
        .await
    {
        Ok(output) if output.stdout.trim() == "failed" => {}
        Ok(_) | Err(HostError::Failed { .. }) => return Ok(None),
        Err(error) => return Err(error),
    }
    let argv = [
        "journalctl",
        "--boot",
        "--unit",
        BOOT_COMPLETE,
        "--output=cat",
        "--no-pager",
        "--lines=50",
    ];
    // The failure counts without its words, too.
    let journal = match host.run(&argv, QUESTION_LIMIT).await {
        Ok(output) => output.stdout,
        Err(error) => return Ok(Some(format!("{NO_WORDS} ({error})"))),
    };
    Ok(Some(words_of(&journal)))
}

fn words_of(journal: &str) -> String {
    let line = journal
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("error: "));
    let Some(line) = line else {
        return NO_WORDS.to_owned();
    };
    line.strip_prefix(FAILED_BEFORE).unwrap_or(line).to_owned()
}

/// A transaction of rpm-ostree: overrides, kernel arguments, cleanup, rollback.
pub async fn change(host: &Host, argv: &[&str]) -> Result<(), HostError> {
    done(host.run(argv, CHANGE_LIMIT).await.map(drop))
}

/// `ostree admin pin`.
pub async fn pin(host: &Host, argv: &[&str]) -> Result<(), HostError> {
    done(host.run(argv, PIN_LIMIT).await.map(drop))
}

/// A change that ended with 0 is done, however much it printed.
pub(crate) fn done(result: Result<(), HostError>) -> Result<(), HostError> {
    match result {
        Err(HostError::TooMuchOutput { .. }) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_failed_finalization() {
        let journal = "Starting OSTree Complete Boot...\n\
            error: ostree-finalize-staged.service failed on previous boot: Installing kernel: regfile copy: No space left on device\n\
            ostree-boot-complete.service: Main process exited, code=exited, status=1/FAILURE\n";
        assert_eq!(
            words_of(journal),
            "Installing kernel: regfile copy: No space left on device"
        );
        assert_eq!(words_of("-- No entries --\n"), NO_WORDS);
    }
}
