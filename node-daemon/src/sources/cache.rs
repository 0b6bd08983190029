//! The folder on the host that holds downloaded packages, each under its SHA-256, and nothing that was not verified but
//! `.part` files, which wait for the rest of their download. Bounded; must not contact anybody.

use std::io::{Read as _, Write as _};

use sha2::{Digest as _, Sha256};

use super::error::SourceError;
use super::limits::Limits;
use crate::host::{Host, HostError};

/// Where it is.
pub const FOLDER: &str = "/var/cache/realtime-node-daemon/packages";

/// A verified package's path.
pub fn file(sha256: &str) -> String {
    format!("{FOLDER}/{sha256}.rpm")
}

/// The path of a download under way.
pub fn part(sha256: &str) -> String {
    format!("{FOLDER}/{sha256}.part")
}

/// The digest as it is written everywhere.
pub fn hex(digest: impl AsRef<[u8]>) -> String {
    use std::fmt::Write as _;
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Whether a package is there and is what its name says. A file that isn't is removed.
pub async fn verified(host: &Host, sha256: &str) -> Result<bool, SourceError> {
    let path = file(sha256);
    if !host.exists(&path) {
        return Ok(false);
    }
    if digest(host, &path).await? == sha256 {
        return Ok(true);
    }
    tracing::warn!(
        path,
        "a cached package was changed on the host; it is taken again"
    );
    host.remove(&path)?;
    Ok(false)
}

/// The SHA-256 of a file.
async fn digest(host: &Host, path: &str) -> Result<String, SourceError> {
    let (host, path) = (host.clone(), path.to_owned());
    // Hundreds of megabytes: not on a thread that others wait for.
    on_a_thread(move || {
        let mut file = host.open(&path)?;
        let mut hash = Sha256::new();
        copy(&mut file, &mut std::io::sink(), &mut hash, u64::MAX)
            .map_err(|error| io_error("reading", &path, error))?;
        Ok(hex(hash.finalize()))
    })
    .await
}

/// Takes a package out of another root (an image) into the cache, and gives its SHA-256.
pub async fn take(
    host: &Host,
    from: Host,
    path: String,
    limits: &Limits,
    keep: &[String],
) -> Result<String, SourceError> {
    let len = from.facts(&path, false)?.map_or(0, |facts| facts.len);
    if len > limits.file {
        return Err(SourceError::TooBig {
            what: path,
            limit: limits.file,
        });
    }
    room(host, &path, len, limits, keep)?;
    let (host, limit) = (host.clone(), limits.file);
    on_a_thread(move || {
        let temporary = format!("{FOLDER}/image.part");
        let copied = || -> Result<String, SourceError> {
            let mut source = from.open(&path)?;
            let mut target = host.open_to_write(&temporary, false)?;
            let mut hash = Sha256::new();
            copy(&mut source, &mut target, &mut hash, limit)
                .and_then(|_| target.sync_all())
                .map_err(|error| writing(&host, &temporary, len, error))?;
            let sha256 = hex(hash.finalize());
            host.rename(&temporary, &file(&sha256))?;
            Ok(sha256)
        };
        copied().inspect_err(|_| drop(host.remove(&temporary)))
    })
    .await
}

/// Copies at most so many bytes, and hashes them.
fn copy(
    source: &mut impl std::io::Read,
    target: &mut impl std::io::Write,
    hash: &mut Sha256,
    limit: u64,
) -> std::io::Result<u64> {
    let mut source = source.take(limit);
    let mut piece = vec![0; 256 << 10];
    let mut copied = 0;
    loop {
        let count = source.read(&mut piece)?;
        if count == 0 {
            return Ok(copied);
        }
        hash.update(&piece[..count]);
        target.write_all(&piece[..count])?;
        copied += count as u64;
    }
}

/// A download under way: what came is on the disk, and hashed.
pub struct Part {
    file: std::fs::File,
    path: String,
    hash: Sha256,
    len: u64,
    host: Host,
}

impl Part {
    /// Opens what an earlier try left, or begins.
    pub async fn open(host: &Host, sha256: &str) -> Result<Self, SourceError> {
        let (host, path) = (host.clone(), part(sha256));
        on_a_thread(move || {
            let mut file = host.open_to_write(&path, true)?;
            let mut hash = Sha256::new();
            let len = copy(&mut file, &mut std::io::sink(), &mut hash, u64::MAX)
                .map_err(|error| io_error("reading", &path, error))?;
            Ok(Self {
                file,
                path,
                hash,
                len,
                host,
            })
        })
        .await
    }

    /// Bytes that are there.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// Throws away what is there: the server begins anew.
    pub fn restart(&mut self) -> Result<(), SourceError> {
        use std::io::Seek as _;
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .map_err(|error| io_error("writing", &self.path, error))?;
        self.hash = Sha256::new();
        self.len = 0;
        Ok(())
    }

    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        if let Err(error) = self.file.write_all(bytes) {
            let error = writing(&self.host, &self.path, bytes.len() as u64, error);
            if matches!(error, SourceError::NoSpace { .. }) {
                // What is there must not keep the disk full.
                let _ = self.host.remove(&self.path);
            }
            return Err(error);
        }
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// All has come: under its own name when it is the right file, else away with it. The wrong SHA-256 is the answer's
    /// error.
    pub fn finish(self, sha256: &str) -> Result<Result<(), String>, SourceError> {
        let got = hex(self.hash.finalize());
        if got != sha256 {
            self.host.remove(&self.path)?;
            return Ok(Err(got));
        }
        self.file
            .sync_all()
            .map_err(|error| io_error("writing", &self.path, error))?;
        self.host.rename(&self.path, &file(sha256))?;
        Ok(Ok(()))
    }

    /// Away with it.
    pub fn discard(self) -> Result<(), SourceError> {
        Ok(self.host.remove(&self.path)?)
    }
}

/// Sees to it that so many more bytes have room, by the disk and by the cache's own bound. Packages that nobody wants
/// now make room first.
pub fn room(
    host: &Host,
    what: &str,
    needed: u64,
    limits: &Limits,
    keep: &[String],
) -> Result<(), SourceError> {
    host.make_folder(FOLDER)?;
    let total: u64 = listed(host)?.iter().map(|entry| entry.1).sum();
    if total.saturating_add(needed) > limits.cache {
        evict(host, limits.cache.saturating_sub(needed), keep)?;
        let total: u64 = listed(host)?.iter().map(|entry| entry.1).sum();
        if total.saturating_add(needed) > limits.cache {
            return Err(SourceError::CacheTooSmall {
                limit: limits.cache,
            });
        }
    }
    let needed = needed.saturating_add(limits.reserve);
    if host.free_bytes(FOLDER)? < needed {
        evict(host, 0, keep)?;
        let free = host.free_bytes(FOLDER)?;
        if free < needed {
            return Err(SourceError::NoSpace {
                what: what.to_owned(),
                folder: FOLDER.to_owned(),
                needed,
                free,
            });
        }
    }
    Ok(())
}

/// Removes what waits for a download that nobody wants any more, and the oldest packages that nobody wants now, until
/// the rest fits. `keep`: names without their ending.
pub fn evict(host: &Host, limit: u64, keep: &[String]) -> Result<(), SourceError> {
    let mut entries = listed(host)?;
    entries.sort_by_key(|entry| entry.2);
    let mut total: u64 = entries.iter().map(|entry| entry.1).sum();
    for (name, len, _) in entries {
        let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
        let wanted = keep.iter().any(|kept| kept == stem);
        if !wanted && (ending == "part" || ending == "new" || total > limit) {
            host.remove(&format!("{FOLDER}/{name}"))?;
            total -= len;
        }
    }
    Ok(())
}

/// What is there: name, bytes, and the time of its last change.
fn listed(host: &Host) -> Result<Vec<(String, u64, std::time::SystemTime)>, HostError> {
    let names = match host.list(FOLDER) {
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        other => other?,
    };
    let mut entries = Vec::new();
    for name in names {
        if let Some(facts) = host.facts(&format!("{FOLDER}/{name}"), false)?
            && facts.is_file
        {
            entries.push((name, facts.len, facts.modified));
        }
    }
    Ok(entries)
}

fn io_error(action: &'static str, path: &str, source: std::io::Error) -> SourceError {
    SourceError::Host(HostError::File {
        action,
        path: path.to_owned(),
        source,
    })
}

/// What a failed write means.
fn writing(host: &Host, path: &str, needed: u64, error: std::io::Error) -> SourceError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    if matches!(error.kind(), StorageFull | QuotaExceeded) {
        SourceError::NoSpace {
            what: "a package".to_owned(),
            folder: FOLDER.to_owned(),
            needed,
            free: host.free_bytes(FOLDER).unwrap_or(0),
        }
    } else {
        io_error("writing", path, error)
    }
}

/// Runs something that takes the disk's time on a thread of its own.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // It can't be cancelled, and it does not panic.
        Err(error) => Err(io_error("reading", FOLDER, std::io::Error::other(error))),
    }
}
