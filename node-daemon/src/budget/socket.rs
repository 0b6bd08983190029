//! The Unix socket at which the OCI hook speaks to the daemon: one line in, one line out, and the loop's answer in between.
//! Decides nothing about containers. Whoever connects can hold up nobody but himself: every line has a limit, every
//! connection a time, and there are only so many of them.

use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use realtime_core::names::HOOK_SOCKET;
use realtime_core::rt::hook::{self, MAX_WORD, Word};
use rustix::fs::{self, AtFlags, Mode};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::door::{Announced, Answer, Door, Knock};
use crate::host::{Host, HostError};
use crate::oci_hook;

/// As many connections at once: a node that starts all its pods (500 at most) at the same time. Further ones wait in the
/// kernel's queue.
const AT_ONCE: usize = 512;
/// From a connection to its end: nobody waits there any longer than the hook does.
const TIME: Duration = oci_hook::LIMIT;
/// From a connection to its whole word: the hook speaks at once, and who is silent must not keep the others' places.
const WORD_TIME: Duration = Duration::from_secs(1);
/// After an accept that failed (no free file descriptor): connections that end give some back.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Until another try for a socket that can't be had: a file system that is full or read-only.
const AGAIN: Duration = Duration::from_secs(30);

/// The socket can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Its folder.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The socket itself.
    #[error("listening at {HOOK_SOCKET}: {0}")]
    Listen(#[from] io::Error),
}

/// The socket, made.
#[derive(Debug)]
pub struct Listening(UnixListener);

/// Listens below the host's root and brings every word to the door, until it is dropped. A socket that can't be had is
/// told, and tried for again.
pub async fn serve(host: Host, door: Door) {
    let listening = loop {
        match Listening::at(&host) {
            Ok(listening) => break listening,
            Err(error) => {
                tracing::warn!(%error, "the OCI hook isn't heard, and pods get their budgets after they have started");
                sleep(AGAIN).await;
            }
        }
    };
    tracing::info!(socket = HOOK_SOCKET, "the OCI hook is heard");
    listening.serve(door).await;
}

impl Listening {
    /// Makes the socket. One that is there already is replaced in one step, so that at every moment there is one; its
    /// daemon, should it still live, hears nothing any more.
    pub fn at(host: &Host) -> Result<Self, SocketError> {
        let (folder, name) = HOOK_SOCKET.rsplit_once('/').unwrap_or(("", HOOK_SOCKET));
        host.make_folder(folder)?;
        let folder = host.open(folder)?;
        let listen = || -> io::Result<UnixListener> {
            // Before the socket is in it: nobody but root reaches it, whatever the umask makes of its own mode.
            fs::fchmod(&folder, Mode::RWXU)?;
            let new = format!("{name}.new");
            match fs::unlinkat(&folder, &new, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            // A socket's path has 108 bytes at most, and a root can be anywhere: this way it is always short.
            let short = format!("/proc/self/fd/{}/{new}", folder.as_raw_fd());
            let listener = std::os::unix::net::UnixListener::bind(short)?;
            fs::chmodat(&folder, &new, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
            listener.set_nonblocking(true)?;
            let listener = UnixListener::from_std(listener)?;
            fs::renameat(&folder, &new, &folder, name)?;
            Ok(listener)
        };
        Ok(Self(listen()?))
    }

    /// Answers, until it is dropped.
    pub async fn serve(self, door: Door) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.0.accept(), if connections.len() < AT_ONCE => match accepted {
                    Ok((stream, _)) => {
                        let door = door.clone();
                        connections.spawn(async move {
                            // That nobody waits any more is the hook's matter, and it has said so.
                            let _ = timeout(TIME, connection(stream, door)).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection of the OCI hook");
                        sleep(AFTER_FAILURE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

async fn connection(mut stream: UnixStream, door: Door) {
    let peer = stream.peer_cred().map(|peer| peer.uid());
    if !matches!(peer, Ok(0)) {
        tracing::warn!(
            ?peer,
            "somebody who is not root connected as the OCI hook; closed"
        );
        return;
    }
    let said = timeout(WORD_TIME, word(&mut stream)).await;
    let answer = match said.unwrap_or_else(|_| Err("no whole line in time".to_owned())) {
        Ok(announced) => ask(announced, &door).await,
        Err(why) => {
            tracing::warn!(
                why,
                "a word at the OCI hook's socket that is not understood"
            );
            Answer::Refused(format!(
                "the node daemon does not understand its hook: {why}"
            ))
        }
    };
    if let Ok(line) = wire(&answer).line() {
        // Whoever has gone doesn't hear it.
        let _ = stream.write_all(line.as_bytes()).await;
    }
}

/// The word of a connection, or why there is none.
async fn word(stream: &mut UnixStream) -> Result<Announced, String> {
    let mut line = Vec::new();
    BufReader::new(stream.take(MAX_WORD as u64 + 1))
        .read_until(b'\n', &mut line)
        .await
        .map_err(|error| error.to_string())?;
    if line.len() > MAX_WORD {
        return Err(format!("a line of more than {MAX_WORD} bytes"));
    }
    if line.pop() != Some(b'\n') {
        return Err("a line without an end".to_owned());
    }
    let (id, identity, word) = Word::parse(&line).map_err(|error| error.to_string())?;
    Ok(Announced {
        id,
        identity,
        annotations: word.annotations,
        pid: word.pid,
    })
}

async fn ask(announced: Announced, door: &Door) -> Answer {
    let (sender, answer) = oneshot::channel();
    let knock = Knock {
        announced,
        answer: sender,
    };
    let stopping = "the node daemon is stopping; its successor brings what is missing";
    if door.send(knock).await.is_err() {
        return Answer::Refused(stopping.to_owned());
    }
    answer
        .await
        .unwrap_or_else(|_| Answer::Refused(stopping.to_owned()))
}

fn wire(answer: &Answer) -> hook::Answer {
    match answer {
        Answer::NotAsked => hook::Answer::NotAsked,
        Answer::Applied => hook::Answer::Applied,
        Answer::Refused(reason) => hook::Answer::refused(reason),
    }
}
