//! Puts the daemon's own program on the host, where the OCI hook's script finds it: in a container nobody outside could
//! run it. Writes this one file and nothing else, and never a half of it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use realtime_core::names::HOOK_PROGRAM;
use rustix::fs::{Mode, fchmod};
use tokio::time::sleep;

use crate::host::{Host, HostError};

/// The running program, also when its file has been replaced meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// Bytes that are compared and copied at once.
const PIECE: usize = 64 << 10;
/// The program says its version at once, or it doesn't run.
const TIME: Duration = Duration::from_secs(10);
/// Until another try for a program that can't be put there: a file system that is full or read-only, as with the socket.
const AGAIN: Duration = Duration::from_secs(30);

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// It was there, byte for byte.
    Already,
    /// It was written.
    Now,
}

/// The program can't be put there, or doesn't run there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The host's side.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Our own.
    #[error("reading the daemon's own program ({OWN_PROGRAM}): {0}")]
    Own(io::Error),
    /// The copy.
    #[error("writing {HOOK_PROGRAM}: {0}")]
    Copy(io::Error),
    /// Tokio's word.
    #[error("installing {HOOK_PROGRAM}: the task was ended")]
    Ended,
    /// It is there, and the host can't run it.
    #[error(
        "{HOOK_PROGRAM} does not run on this host ({0}), so pods get their real-time budget only some time after they have \
         started: use an image of the daemon whose libraries the host has"
    )]
    DoesNotRun(HostError),
}

/// Installs the program, and tells how that went. What fails is tried for again, and told again only in other words: until
/// then the hook finds the program of a former daemon, or none. A program that the host can't run is left to the next daemon.
pub async fn run(host: Host) {
    let mut told = String::new();
    loop {
        let error = match install(&host).await {
            Ok(Installed::Already) => {
                tracing::debug!(program = HOOK_PROGRAM, "the OCI hook's program is there");
                return;
            }
            Ok(Installed::Now) => {
                tracing::info!(
                    program = HOOK_PROGRAM,
                    "the OCI hook's program is installed"
                );
                return;
            }
            Err(error) => error,
        };
        let text = error.to_string();
        if text != told {
            tracing::warn!(%error, "the OCI hook's program");
            told = text;
        }
        if matches!(error, InstallError::DoesNotRun(_)) {
            return;
        }
        sleep(AGAIN).await;
    }
}

/// Installs the program if the host's is another one, and tries whether the host can run it. The copying is done off
/// the daemon's own thread.
pub async fn install(host: &Host) -> Result<Installed, InstallError> {
    let own = host.clone();
    let installed = tokio::task::spawn_blocking(move || put(&own))
        .await
        .map_err(|_| InstallError::Ended)??;
    // A folder in place of the host's programs has another one of that name, or none.
    if host.runner().commands().is_none() {
        host.run(&[HOOK_PROGRAM, "--version"], TIME)
            .await
            .map_err(InstallError::DoesNotRun)?;
    }
    Ok(installed)
}

/// Installs the program if the host's is another one. Blocks for as long as copying it takes.
pub fn put(host: &Host) -> Result<Installed, InstallError> {
    if is_there(host)? {
        return Ok(Installed::Already);
    }
    let new = format!("{HOOK_PROGRAM}.new");
    let copied = copy(host, &new);
    if copied.is_err() {
        // A full disk: not even the half may stay.
        let _ = host.remove(&new);
    }
    copied?;
    host.rename(&new, HOOK_PROGRAM)?;
    Ok(Installed::Now)
}

fn copy(host: &Host, new: &str) -> Result<(), InstallError> {
    let mut own = File::open(OWN_PROGRAM).map_err(InstallError::Own)?;
    let mut file = host.open_to_write(new, false)?;
    let mut copy = || -> io::Result<()> {
        io::copy(&mut own, &mut file)?;
        file.flush()?;
        fchmod(&file, Mode::from_raw_mode(0o755))?;
        file.sync_all()
    };
    copy().map_err(InstallError::Copy)
}

/// Whether it is there, byte for byte, and may be run. Compared, and not hashed: both are read either way.
fn is_there(host: &Host) -> Result<bool, InstallError> {
    let Some(facts) = host.facts(HOOK_PROGRAM, false)? else {
        return Ok(false);
    };
    let mut own = File::open(OWN_PROGRAM).map_err(InstallError::Own)?;
    let length = own.metadata().map_err(InstallError::Own)?.len();
    if !facts.is_file || facts.len != length {
        return Ok(false);
    }
    let mut there = host.open(HOOK_PROGRAM)?;
    let mode = rustix::fs::fstat(&there)
        .map_err(|error| InstallError::Copy(error.into()))?
        .st_mode;
    if mode & 0o7777 != 0o755 {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let count = own.read(&mut ours).map_err(InstallError::Own)?;
        if count == 0 {
            return Ok(true);
        }
        // One that ends early or can't be read is replaced.
        if there.read_exact(&mut theirs[..count]).is_err() || ours[..count] != theirs[..count] {
            return Ok(false);
        }
    }
}
