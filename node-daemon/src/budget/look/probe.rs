//! The probe: a process of this program in a group made like a pod's asks for SCHED_FIFO, and tells what the kernel said.
//! In the root group everybody with CAP_SYS_NICE gets it, which proves nothing.
//!
//! The group goes in any case. After a kill of the daemon the process ends by itself, because its standard input ends,
//! and the next look removes the group.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use realtime_core::rt::modes::Probe;
use realtime_core::rt::request::{Policy, Scheduling};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::host::{Host, HostError};
use crate::sched;

/// The hidden argument: `main` goes into [`run`] before it does anything else.
pub const ARGUMENT: &str = "probe-fifo";
/// A process that became SCHED_FIFO says this, another one the error's number.
const GRANTED: &str = "fifo";
/// The kernel answers in microseconds; a loaded machine starts a process late.
const LIMIT: Duration = Duration::from_secs(10);
/// A group of this name is ours, whichever daemon made it.
pub(super) const GROUP: &str = "realtime-probe-";
/// So often a group is removed again, 10 ms apart: its process is ended and waited for, and the kernel takes a moment.
const REMOVALS: u32 = 200;
const PROCESSES: &str = "cgroup.procs";

/// Whether `main` is to be the probe's process.
pub fn is_asked(first: Option<&OsStr>) -> bool {
    first == Some(OsStr::new(ARGUMENT))
}

/// The probe's process: waits until it has been moved, asks, answers. It has no tokio and one thread.
pub fn run() -> ExitCode {
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        // The daemon is gone, or has thought better of it.
        Ok(0) | Err(_) => return ExitCode::FAILURE,
        Ok(_) => {}
    }
    let answer = match ask() {
        Ok(()) => GRANTED.to_owned(),
        Err(error) => error.raw_os_error().unwrap_or(0).to_string(),
    };
    match writeln!(io::stdout(), "{answer}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn ask() -> io::Result<()> {
    let scheduling = |policy| Scheduling {
        policy,
        reset_on_fork: false,
        rttime_us: None,
    };
    let tid = rustix::thread::gettid().as_raw_nonzero().get();
    sched::set(tid, &scheduling(Policy::Fifo(1)))?;
    sched::set(tid, &scheduling(Policy::Other))
}

/// Tries it in a group that is made below `above`, a folder of a hierarchy with the `cpu` controller in effect.
pub(super) async fn probe(host: &Host, program: &Path, above: &str) -> Probe {
    let group = format!("{above}/{GROUP}{}", std::process::id());
    let tried = match host.make_folder(&group) {
        Ok(()) => tried(host, program, &group).await,
        Err(error) => Err(error.into()),
    };
    remove(host, &group).await;
    tried.unwrap_or_else(|error| {
        tracing::warn!(%error, group, "no thread could be tried in a group of its own");
        Probe::NotTried
    })
}

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("the probe's process: {0}")]
    Process(#[from] io::Error),
    #[error("the probe's process did not answer within {} s", LIMIT.as_secs())]
    NoAnswer,
    #[error("the probe's process answered {0:?}")]
    Answer(String),
}

async fn tried(host: &Host, program: &Path, group: &str) -> Result<Probe, ProbeError> {
    let mut child = Command::new(program)
        .arg(ARGUMENT)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let answer = async {
        let (Some(pid), Some(mut stdin), Some(stdout)) =
            (child.id(), child.stdin.take(), child.stdout.take())
        else {
            return Err(ProbeError::NoAnswer);
        };
        host.write_existing(&format!("{group}/{PROCESSES}"), &pid.to_string())?;
        stdin.write_all(b"moved\n").await?;
        let mut text = String::new();
        // Some digits; whatever else it is doesn't say more.
        stdout.take(64).read_to_string(&mut text).await?;
        answer(text.trim()).ok_or(ProbeError::Answer(text))
    };
    let answer = timeout(LIMIT, answer)
        .await
        .unwrap_or(Err(ProbeError::NoAnswer));
    // Ended and waited for, however it went: a process that isn't keeps its group.
    child.kill().await?;
    answer
}

fn answer(text: &str) -> Option<Probe> {
    if text == GRANTED {
        return Some(Probe::BecameFifo);
    }
    text.parse()
        .ok()
        .filter(|errno| *errno > 0)
        .map(Probe::Refused)
}

async fn remove(host: &Host, group: &str) {
    for _ in 0..REMOVALS {
        match host.remove_folder(group) {
            Ok(()) => return,
            Err(error) => tracing::debug!(%error, "the probe's group is not gone yet"),
        }
        sleep(Duration::from_millis(10)).await;
    }
    tracing::warn!(
        group,
        "the probe's group can't be removed; the next look tries again"
    );
}

/// Removes what a killed daemon has left below `above`. A group in which another daemon's probe is right now stays.
pub(super) fn sweep(host: &Host, above: &str) {
    let names = host.list(above).unwrap_or_default();
    for name in names.iter().filter(|name| name.starts_with(GROUP)) {
        let group = format!("{above}/{name}");
        if let Err(error) = host.remove_folder(&group) {
            tracing::debug!(%error, "an old probe's group stays for now");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_argument_makes_a_probe() {
        assert!(is_asked(Some(OsStr::new("probe-fifo"))));
        assert!(!is_asked(Some(OsStr::new("audit"))));
        assert!(!is_asked(None));
    }

    #[test]
    fn an_answer_is_a_word_or_a_number() {
        assert_eq!(answer("fifo"), Some(Probe::BecameFifo));
        assert_eq!(answer("1"), Some(Probe::Refused(1)));
        for text in ["", "0", "-1", "yes", "1 2"] {
            assert_eq!(answer(text), None, "{text:?}");
        }
    }
}
