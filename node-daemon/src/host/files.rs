//! The host's files: read, listed, written, each below the root, each error with the path. Decides nothing.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags};

use super::{Host, HostError, READ_LIMIT, resolve};

/// More names than any folder that is listed here has (`/proc` of a busy host has tens of thousands).
const NAMES_LIMIT: usize = 1 << 20;

/// What a look at a path tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// A regular file.
    pub is_file: bool,
    /// A directory.
    pub is_folder: bool,
    /// Its length in bytes.
    pub len: u64,
    /// When its contents were last changed.
    pub modified: SystemTime,
}

fn failed<'a, E: Into<io::Error>>(
    action: &'static str,
    path: &'a str,
) -> impl Fn(E) -> HostError + 'a {
    move |source| HostError::File {
        action,
        path: path.to_owned(),
        source: source.into(),
    }
}

impl Host {
    /// Opens a path below the root.
    fn open_with(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::open(self.root(), folder, Mode::empty())?;
        // An empty path is the root itself.
        let path = if path.is_empty() { "/" } else { path };
        Ok(resolve::open(root.as_fd(), Path::new(path), flags, mode)?)
    }

    /// Opens a file to read it. Never waits: of a pipe that nobody writes to, it is the end.
    pub fn open(&self, path: &str) -> Result<File, HostError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        self.open_with(path, flags, Mode::empty())
            .map(File::from)
            .map_err(failed("reading", path))
    }

    /// A handle on what is there, without opening it: `/proc/self/fd/<handle>` is then the way to a socket, with every
    /// link resolved within the root.
    pub fn handle(&self, path: &str) -> Result<OwnedFd, HostError> {
        self.open_with(path, OFlags::PATH, Mode::empty())
            .map_err(failed("looking at", path))
    }

    /// Opens a folder, to open what is in it from there.
    pub fn open_folder(&self, path: &str) -> Result<OwnedFd, HostError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        self.open_with(path, flags, Mode::empty())
            .map_err(failed("opening", path))
    }

    /// The bytes of a file.
    pub fn read_bytes(&self, path: &str) -> Result<Vec<u8>, HostError> {
        let file = self.open(path)?;
        let mut bytes = Vec::new();
        file.take(READ_LIMIT + 1)
            .read_to_end(&mut bytes)
            .map_err(failed("reading", path))?;
        if bytes.len() as u64 > READ_LIMIT {
            return Err(HostError::TooBig {
                path: path.to_owned(),
            });
        }
        Ok(bytes)
    }

    /// The text of a file, bytes that are no UTF-8 replaced.
    pub fn read(&self, path: &str) -> Result<String, HostError> {
        let bytes = self.read_bytes(path)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// The text of a file, `None` when it isn't there.
    pub fn read_optional(&self, path: &str) -> Result<Option<String>, HostError> {
        match self.read(path) {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// The names in a folder, sorted.
    pub fn list(&self, path: &str) -> Result<Vec<String>, HostError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let folder = self
            .open_with(path, flags, Mode::empty())
            .map_err(failed("listing", path))?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&folder).map_err(failed("listing", path))? {
            let entry = entry.map_err(failed("listing", path))?;
            let name = entry.file_name().to_string_lossy();
            if name == "." || name == ".." {
                continue;
            }
            if names.len() == NAMES_LIMIT {
                return Err(failed("listing", path)(io::Error::other(format!(
                    "it has more than {NAMES_LIMIT} entries"
                ))));
            }
            names.push(name.into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Whether something is there; a link that leads nowhere isn't.
    pub fn exists(&self, path: &str) -> bool {
        self.open_with(path, OFlags::PATH, Mode::empty()).is_ok()
    }

    /// What is at a path; `None` when nothing is. `follow`: of what a link leads to, else of the link itself.
    pub fn facts(&self, path: &str, follow: bool) -> Result<Option<FileFacts>, HostError> {
        let flags = if follow {
            OFlags::PATH
        } else {
            OFlags::PATH | OFlags::NOFOLLOW
        };
        let found = match self.open_with(path, flags, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed("looking at", path))?,
        };
        let stat =
            fs::statat(&found, c"", AtFlags::EMPTY_PATH).map_err(failed("looking at", path))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
        Ok(Some(FileFacts {
            is_file: kind == FileType::RegularFile,
            is_folder: kind == FileType::Directory,
            len: u64::try_from(stat.st_size).unwrap_or(0),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        }))
    }

    /// Where a link leads, as it is written.
    pub fn read_link(&self, path: &str) -> Result<PathBuf, HostError> {
        let link = self
            .open_with(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())
            .map_err(failed("reading the link", path))?;
        // The name of an open link is empty (readlinkat); of anything else that is ENOENT, where EINVAL says more.
        let target =
            fs::readlinkat(&link, c"", Vec::new()).map_err(failed("reading the link", path))?;
        Ok(PathBuf::from(target.to_string_lossy().into_owned()))
    }

    /// Writes a value into a file of the kernel, in one call. The file must be there: nothing is made.
    pub fn write_existing(&self, path: &str, value: &str) -> Result<(), HostError> {
        // Truncated, as a shell's `>` does: of no effect on the kernel's files, and right in a tree of plain ones.
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let written = self
            .open_with(path, flags, Mode::empty())
            .and_then(|file| Ok(rustix::io::write(&file, value.as_bytes())?));
        let error = match written {
            Ok(count) if count == value.len() => return Ok(()),
            Ok(count) => io::Error::other(format!("only {count} bytes were taken")),
            Err(error) => error,
        };
        Err(HostError::File {
            action: "writing",
            path: format!("{path} (value {:?})", value.trim_end()),
            source: error,
        })
    }

    /// Makes a folder and those above it.
    pub fn make_folder(&self, path: &str) -> Result<(), HostError> {
        self.folder(path).map(drop).map_err(failed("making", path))
    }

    fn folder(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        match self.open_with(path, flags, Mode::empty()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let (above, name) = split(path).ok_or(io::ErrorKind::InvalidInput)?;
        let above = self.folder(above)?;
        match fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
            // Made by somebody else in between.
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.open_with(path, flags, Mode::empty())
    }

    /// Opens a file of ours to write it, kept as it is or emptied. Makes it and its folder.
    pub fn open_to_write(&self, path: &str, keep: bool) -> Result<File, HostError> {
        let mut flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        if !keep {
            flags |= OFlags::TRUNC;
        }
        let opened = split(path)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
            .and_then(|(folder, _)| self.folder(folder))
            .and_then(|_| self.open_with(path, flags, Mode::from_raw_mode(0o644)));
        opened.map(File::from).map_err(failed("writing", path))
    }

    /// Writes a file of ours whole or not at all: a crash leaves the old or the new one. Makes its folder.
    pub fn write_atomically(&self, path: &str, contents: &[u8]) -> Result<(), HostError> {
        let temporary = format!("{path}.new");
        let mut file = self.open_to_write(&temporary, false)?;
        let written = file
            .write_all(contents)
            .and_then(|()| file.sync_all())
            .map_err(failed("writing", path));
        if let Err(error) = written {
            // A full disk: not even the half may stay.
            let _ = self.remove(&temporary);
            return Err(error);
        }
        self.rename(&temporary, path)
    }

    /// Gives a file of ours another name in its folder, for good: after this the name survives a power cut.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), HostError> {
        let renamed = || -> io::Result<()> {
            let (folder_from, from) = split(from).ok_or(io::ErrorKind::InvalidInput)?;
            let (folder_to, to) = split(to).ok_or(io::ErrorKind::InvalidInput)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let folder_from = self.open_with(folder_from, flags, Mode::empty())?;
            let folder_to = self.open_with(folder_to, flags, Mode::empty())?;
            fs::renameat(&folder_from, from, &folder_to, to)?;
            fs::fsync(&folder_to)?;
            Ok(())
        };
        renamed().map_err(failed("writing", to))
    }

    /// Removes a file of ours; that it isn't there is no error.
    pub fn remove(&self, path: &str) -> Result<(), HostError> {
        let removed = || -> io::Result<()> {
            let (folder, name) = split(path).ok_or(io::ErrorKind::InvalidInput)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let folder = self.open_with(folder, flags, Mode::empty())?;
            Ok(fs::unlinkat(&folder, name, AtFlags::empty())?)
        };
        match removed() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(failed("removing", path)),
        }
    }

    /// Removes an empty folder, or a group without processes; that it isn't there is no error.
    pub fn remove_folder(&self, path: &str) -> Result<(), HostError> {
        let removed = || -> io::Result<()> {
            let (folder, name) = split(path).ok_or(io::ErrorKind::InvalidInput)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let folder = self.open_with(folder, flags, Mode::empty())?;
            Ok(fs::unlinkat(&folder, name, AtFlags::REMOVEDIR)?)
        };
        match removed() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(failed("removing", path)),
        }
    }

    /// Free bytes, for everybody, on the file system of a path.
    pub fn free_bytes(&self, path: &str) -> Result<u64, HostError> {
        let space = self
            .open_with(path, OFlags::PATH, Mode::empty())
            .and_then(|file| Ok(fs::fstatvfs(&file)?))
            .map_err(failed("asking for the free space of", path))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

/// The folder and the last name of a path of ours.
fn split(path: &str) -> Option<(&str, &str)> {
    let (folder, name) = path.trim_end_matches('/').rsplit_once('/')?;
    let good = !name.is_empty() && name != "." && name != "..";
    good.then_some((folder, name))
}
