//! `realtime-node-daemon oci-hook`: what a container runtime runs before a container's first instruction. Tells the daemon
//! of the container and waits until it has what it asks for. Must not take longer than [`LIMIT`], whatever it meets, and
//! must not keep a container from starting unless the pod says that starting without is no good. So it is decided before
//! anything of the daemon begins: no configuration, no threads of a runtime, no TLS.
//!
//! Exit codes: 0 the container may start; 3 its pod is annotated with `realtime.openshift.io/required: "true"` and it
//! does not get what it asks for. Why is on the standard error, which runtimes put into the pod's Event. Nothing else ends
//! with 3: the script that runtimes run takes any other code for a program that doesn't run here, and lets the container
//! start.

mod bounded;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bounded::Failed;
use realtime_core::names;
use realtime_core::rt::hook::{
    Answer, Errand, HookError, MAX_SPECIFICATION, MAX_STATE, Specification, State, Word, one_line,
};
use realtime_core::rt::identity::Identity;
use realtime_core::rt::request;

/// The command. It isn't among those that `--help` shows: nobody types it.
const COMMAND: &str = "oci-hook";
/// In place of [`names::HOOK_SOCKET`], for tests.
const SOCKET: &str = "--socket";
/// From the start of the program to its end at most. The daemon needs less than a millisecond, and up to 2 s only where
/// the kernel still counts the budget of a container that has just ended.
pub const LIMIT: Duration = Duration::from_secs(2);
/// The container shall rather not start.
const EXIT_REQUIRED: u8 = 3;

/// How an errand ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Nobody asked, or what was asked for is in place.
    Well,
    /// Something isn't understood, and nothing is known of anybody's wish.
    Unclear(String),
    /// The container doesn't get what it asks for.
    Without { required: bool, why: String },
}

/// Something stood in the way before it was known what the container asks for.
#[derive(Debug, thiserror::Error)]
enum StateError {
    #[error("reading the container's state from the standard input: {0}")]
    Input(Failed),
    #[error("reading {path}: {why}")]
    Bundle { path: String, why: Failed },
    #[error(transparent)]
    Text(#[from] HookError),
}

/// What is known of a container.
struct Container {
    state: State,
    /// Those of the state, and of the specification where it was needed and could be read.
    annotations: BTreeMap<String, String>,
    /// Why it couldn't.
    unread: Option<StateError>,
}

/// Runs the hook when the command line asks for it, and says with which code to exit.
pub fn asked() -> Option<ExitCode> {
    let began = Instant::now();
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != COMMAND {
        return None;
    }
    let end = match socket(arguments) {
        Ok(socket) => run(&socket, began + LIMIT),
        Err(argument) => End::Unclear(format!(
            "{COMMAND} takes the container's state on its standard input and no argument but {SOCKET} PATH, not {}",
            argument.display()
        )),
    };
    Some(tell(&end))
}

/// The socket to go to, or the argument that isn't known.
fn socket(mut arguments: impl Iterator<Item = OsString>) -> Result<PathBuf, OsString> {
    let mut socket = PathBuf::from(names::HOOK_SOCKET);
    while let Some(argument) = arguments.next() {
        if argument != SOCKET {
            return Err(argument);
        }
        socket = arguments.next().ok_or(argument)?.into();
    }
    Ok(socket)
}

fn run(socket: &Path, deadline: Instant) -> End {
    let Container {
        state,
        annotations,
        unread,
    } = match container(deadline) {
        Ok(container) => container,
        Err(error) => return End::Unclear(error.to_string()),
    };
    if let Some(error) = unread {
        return without_specification(&state.id, &annotations, &error);
    }
    match Errand::of(&state.id, state.pid, &annotations) {
        Errand::Nothing => End::Well,
        Errand::Nobodys => End::Unclear(
            "the container asks for real-time scheduling by its annotations, but is no container of a pod".to_owned(),
        ),
        Errand::Say(word) => match said(&word, socket, deadline) {
            Ok(()) => End::Well,
            Err(why) => End::Without {
                required: request::required(&annotations),
                why: format!(
                    "container {} of pod {}/{}: {why}",
                    word.container, word.namespace, word.pod
                ),
            },
        },
    }
}

/// Whose container it is isn't known, so the daemon can't be asked. What the state itself says of the pod's wish holds.
fn without_specification(
    id: &str,
    annotations: &BTreeMap<String, String>,
    error: &StateError,
) -> End {
    if request::asks(annotations) {
        End::Without {
            required: request::required(annotations),
            why: format!("container {id}: {error}"),
        }
    } else {
        End::Unclear(error.to_string())
    }
}

/// The state, and the annotations: those of the state, and of the container's specification where the state's don't say
/// whose it is.
fn container(deadline: Instant) -> Result<Container, StateError> {
    let read = || bounded::read(io::stdin().lock(), MAX_STATE);
    let bytes = bounded::within(deadline, read).map_err(StateError::Input)?;
    let mut state = State::parse(&bytes)?;
    let mut annotations = state.annotations.take().unwrap_or_default();
    let mut unread = None;
    if Identity::of(&annotations).is_none()
        && let Some(bundle) = &state.bundle
    {
        match specification(bundle, deadline) {
            Ok(more) => {
                // What the state says is the newer word.
                for (key, text) in more.annotations.unwrap_or_default() {
                    annotations.entry(key).or_insert(text);
                }
            }
            Err(error) => unread = Some(error),
        }
    }
    Ok(Container {
        state,
        annotations,
        unread,
    })
}

/// What is in the bundle.
fn specification(bundle: &str, deadline: Instant) -> Result<Specification, StateError> {
    let path = Path::new(bundle).join("config.json");
    let name = path.display().to_string();
    let bytes = bounded::within(deadline, move || {
        bounded::read_file(&path, MAX_SPECIFICATION)
    })
    .map_err(|why| StateError::Bundle { path: name, why })?;
    Ok(Specification::parse(&bytes)?)
}

/// Says it to the daemon. The error is the reason why the container goes without, with what helps.
fn said(word: &Word, socket: &Path, deadline: Instant) -> Result<(), String> {
    let line = word.line().map_err(|error| error.to_string())?;
    let path = socket.to_owned();
    let answer = bounded::within(deadline, move || bounded::exchange(&path, line.as_bytes()))
        .map_err(|why| {
            format!(
                "the node daemon gave no answer at {} ({why}): see that realtime-node-daemon runs on this node, and its log",
                socket.display()
            )
        })?;
    match Answer::parse(&answer) {
        Ok(Answer::NotAsked | Answer::Applied) => Ok(()),
        Ok(Answer::Refused { reason }) => Err(reason),
        Err(error) => Err(format!(
            "the node daemon gave no answer that is understood ({error}): see its log"
        )),
    }
}

/// Says how it ended. A standard error that can't be written to is no reason to do anything else.
fn tell(end: &End) -> ExitCode {
    let (code, text) = match end {
        End::Well => return ExitCode::SUCCESS,
        End::Unclear(why) => (0, format!("{}; the container may start", one_line(why))),
        End::Without {
            required: false,
            why,
        } => (
            0,
            format!("{}; it starts without real-time scheduling", one_line(why)),
        ),
        End::Without {
            required: true,
            why,
        } => (
            EXIT_REQUIRED,
            format!(
                "{}; it is not started, because the pod is annotated with {}: \"true\"",
                one_line(why),
                request::REQUIRED
            ),
        ),
    };
    let _ = writeln!(io::stderr(), "realtime: {text}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_the_hosts_unless_a_test_names_another() {
        let of = |words: &[&str]| socket(words.iter().map(OsString::from));
        assert_eq!(of(&[]), Ok(names::HOOK_SOCKET.into()));
        assert_eq!(of(&[SOCKET, "/tmp/s"]), Ok("/tmp/s".into()));
        assert_eq!(of(&[SOCKET]), Err(SOCKET.into()));
        assert_eq!(of(&["--help"]), Err("--help".into()));
    }
}
