//! How this host gets its kernel: looking at it, and running the commands that `core::kernel` decided on. Decides nothing.

use realtime_core::kernel::record::CommandFailure;
use realtime_core::kernel::{Command, System};

use crate::host::{Host, HostError};

/// Looks at the host: rpm-ostree, dnf and grubby, or neither.
pub async fn observe_system(host: &Host) -> Result<System, HostError> {
    let _ = host;
    Ok(System::Other("not looked at yet".to_owned()))
}

/// Runs a command that changes the host.
pub async fn run_command(host: &Host, command: &Command) -> Result<(), CommandFailure> {
    let argv = command.argv();
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let limit = std::time::Duration::from_secs(60);
    host.run(&words, limit)
        .await
        .map(drop)
        .map_err(|error| CommandFailure {
            command: argv.join(" "),
            code: None,
            stderr: error.to_string(),
        })
}

/// Reboots the host in an orderly way, through systemd.
pub async fn reboot(host: &Host) -> Result<(), HostError> {
    host.run(
        &["systemctl", "reboot"],
        std::time::Duration::from_secs(60),
    )
    .await
    .map(drop)
}
