//! The daemon as a plugin of the container runtime (NRI: containerd since 1.7, on by default since 2.0; CRI-O since 1.26,
//! on by default since 1.30): it hears of each container whose process exists and hasn't begun the container's program,
//! and keeps it waiting until its budget is in place, within a bound. Changes nothing of a container and decides nothing
//! about budgets. Whatever happens to the connection, the daemon goes on, and so does the runtime.
//!
//! CRI-O 1.34 takes the answer but not its error: only containerd lets a container fail for it. Under CRI-O the OCI hook
//! does that.
//!
//! Why the protocol's bytes are read here: the crates `ttrpc` and `protobuf` bring their own threads or reflection, and
//! neither knows NRI's two connections over one socket; what is needed of ttrpc is a header of ten bytes.

mod messages;
mod plugin;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout_at};

use crate::budget::door::Door;
use crate::host::Host;
use messages::{RUNTIME, RegisterPlugin, Request, Response};
pub use plugin::LONGEST_WAIT;
use plugin::Plugin;
use wire::{Connection, Incoming, Kind, Message, WireError};

/// The name under which the runtime knows the plugin.
pub const NAME: &str = "realtime-node-daemon";
/// Plugins are asked in this order: after the others, which may still refuse the container.
const INDEX: &str = "90";
/// Where the runtime listens. The second is where the first is on hosts without the link `/var/run`.
const SOCKETS: [&str; 2] = ["/run/nri/nri.sock", "/var/run/nri/nri.sock"];
/// The pause before the first new try: a runtime that is started again is there within a second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// The longest one, where there is no socket at all: a few microseconds of work every half minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A connection that lived so long was a good one: the next try comes soon.
const GOOD: Duration = Duration::from_mins(1);
/// The runtime takes in one plugin after the other, with 5 s for each.
const REGISTRATION: Duration = Duration::from_mins(1);
/// What is read at once.
const BUFFER: usize = 16 << 10;
/// The stream of our only call; those of clients are odd.
const REGISTER_STREAM: u32 = 1;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum NriError {
    /// No runtime listens.
    #[error(
        "no container runtime listens on {} (NRI is off, or the runtime is not there yet)",
        SOCKETS[0]
    )]
    NoSocket,
    /// The socket can't be used.
    #[error("connecting to {path}: {source}")]
    Connect {
        /// The path on the host.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("talking to the container runtime: {0}")]
    Io(#[from] io::Error),
    /// What comes isn't NRI.
    #[error("what the container runtime sends can't be read: {0}")]
    Wire(#[from] WireError),
    /// The runtime doesn't want the plugin.
    #[error("the container runtime refuses the plugin: {0}")]
    Refused(String),
    /// It says nothing.
    #[error("the container runtime didn't take the plugin in within {} s", REGISTRATION.as_secs())]
    NotTakenIn,
    /// The runtime ended the connection, or itself.
    #[error("the container runtime closed the connection")]
    Closed,
}

/// Serves the runtime for as long as somebody is behind the door, connecting again and again.
pub async fn run(host: Host, door: Door) {
    let mut plugin = Plugin::new(door);
    let mut said = String::new();
    let mut pause = SHORTEST_PAUSE;
    while plugin.is_useful() {
        let began = Instant::now();
        let mut ready = false;
        let Err(error) = serve(&host, &mut plugin, &mut ready).await;
        let text = error.to_string();
        // Each story is told once: with the pauses growing to half a minute, a line each time would be a lot.
        if ready || text != said {
            if matches!(error, NriError::NoSocket) {
                tracing::info!("{text}; looked for again");
            } else {
                tracing::warn!("{text}; tried again");
            }
            said = text;
        }
        if ready && began.elapsed() >= GOOD {
            pause = SHORTEST_PAUSE;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// One connection, to its end. `ready` is set once the runtime asks for containers.
async fn serve(
    host: &Host,
    plugin: &mut Plugin,
    ready: &mut bool,
) -> Result<std::convert::Infallible, NriError> {
    let mut socket = connect(host).await?;
    socket.write_all(&registration()?).await?;
    let limit = Instant::now() + REGISTRATION;
    let mut incoming = Incoming::new(messages::is_synchronize);
    let mut messages = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = if *ready {
            socket.read(&mut buffer).await?
        } else {
            timeout_at(limit, socket.read(&mut buffer))
                .await
                .map_err(|_| NriError::NotTakenIn)??
        };
        if read == 0 {
            return Err(NriError::Closed);
        }
        incoming.feed(&buffer[..read], |message| messages.push(message))?;
        // One after the other: so the runtime asks.
        for message in messages.drain(..) {
            match (message.connection, message.kind) {
                (Connection::Plugin, Kind::Request) => {
                    let answered = plugin.answer(&message).await;
                    let answer = Message {
                        kind: Kind::Response,
                        body: answered.response.encode_to_vec(),
                        cut: false,
                        ..message
                    };
                    socket.write_all(&answer.piece()?).await?;
                    *ready |= answered.ready;
                }
                (Connection::Runtime, Kind::Response) => registered(&message)?,
                // Parts of streams, which NRI has none of, and what nobody asked for.
                _ => {}
            }
        }
    }
}

async fn connect(host: &Host) -> Result<UnixStream, NriError> {
    for path in SOCKETS {
        let connected = match host.handle(path) {
            // By the handle, since a link on the way leads within the host's root only there.
            Ok(handle) => {
                UnixStream::connect(format!("/proc/self/fd/{}", handle.as_raw_fd())).await
            }
            Err(error) if error.is_not_found() => continue,
            Err(error) => Err(io::Error::other(error)),
        };
        match connected {
            Ok(socket) => return Ok(socket),
            // A socket that an ended runtime has left behind.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(source) => return Err(NriError::Connect { path, source }),
        }
    }
    Err(NriError::NoSocket)
}

/// The call by which the plugin names itself.
fn registration() -> Result<Vec<u8>, WireError> {
    let register = RegisterPlugin {
        plugin_name: NAME.to_owned(),
        plugin_idx: INDEX.to_owned(),
    };
    let request = Request {
        service: RUNTIME.to_owned(),
        method: "RegisterPlugin".to_owned(),
        payload: register.encode_to_vec(),
        timeout_nano: 0,
    };
    Message {
        connection: Connection::Runtime,
        stream: REGISTER_STREAM,
        kind: Kind::Request,
        body: request.encode_to_vec(),
        cut: false,
    }
    .piece()
}

/// The runtime's answer to it.
fn registered(message: &Message) -> Result<(), NriError> {
    match Response::decode(&*message.body) {
        Ok(Response {
            status: Some(status),
            ..
        }) if status.code != 0 => Err(NriError::Refused(status.message)),
        Ok(_) => Ok(()),
        Err(error) => Err(NriError::Refused(format!(
            "its answer can't be read: {error}"
        ))),
    }
}
