//! Reading and asking with an end: each in a thread of its own that nobody waits for longer than until a deadline, and no
//! more bytes than a limit. The process ends soon after, and the thread with it. Knows nothing of what is read.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use realtime_core::rt::hook::MAX_ANSWER;
use rustix::fs::OFlags;

/// Why there is nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// The kernel's word.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// More bytes than are read.
    #[error("it has more than {0} bytes")]
    TooLong(usize),
    /// The connection ended in the middle.
    #[error("it hung up")]
    HungUp,
    /// The deadline came first.
    #[error("not within {} s", super::LIMIT.as_secs())]
    TooLate,
}

/// What `work` gives, or that it didn't in time.
pub(super) fn within<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::Builder::new().spawn(move || {
        // Nobody waits any more: nothing to do.
        let _ = sender.send(work());
    })?;
    match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => Err(Failed::TooLate),
        Err(RecvTimeoutError::Disconnected) => Err(Failed::HungUp),
    }
}

/// All that a reader has.
pub(super) fn read(reader: impl Read, limit: usize) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(Failed::TooLong(limit));
    }
    Ok(bytes)
}

/// All that a file has. Of a pipe that nobody writes to it is nothing.
pub(super) fn read_file(path: &Path, limit: usize) -> Result<Vec<u8>, Failed> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)?;
    read(file, limit)
}

/// Sends a line, and gives the line that comes back, without its end.
pub(super) fn exchange(socket: &Path, line: &[u8]) -> Result<Vec<u8>, Failed> {
    let mut stream = UnixStream::connect(socket)?;
    // Whoever answers before he has read all may hang up: the answer is there all the same.
    let sent = stream.write_all(line);
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let count = match stream.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let piece = &piece[..count];
        if let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            answer.extend_from_slice(&piece[..end]);
            return Ok(answer);
        }
        answer.extend_from_slice(piece);
        if count == 0 {
            sent?;
            return Err(Failed::HungUp);
        }
        if answer.len() > MAX_ANSWER {
            return Err(Failed::TooLong(MAX_ANSWER));
        }
    }
}
