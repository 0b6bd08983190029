//! One mounted hierarchy, held open: everything is opened below it, and nothing leads out of it. Knows no file's meaning.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use realtime_core::rt::group;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

use super::{CgroupError, MAX_DEPTH, MAX_GROUPS, Scope, is_gone};
use crate::host::Host;

/// Set once the kernel has refused openat2 (before 5.6, or a seccomp filter).
static WITHOUT_OPENAT2: AtomicBool = AtomicBool::new(false);
/// How often an openat2 that met a rename (EAGAIN) is tried again.
const TRIES: u32 = 16;
/// A number and a line's end: `cpu.rt_runtime_us` has at most 20 digits and a sign.
const NUMBER: usize = 32;
/// Bytes of a folder's entries at a time: about 50 groups of pods.
const ENTRIES: usize = 4096;

/// A mount of a hierarchy.
#[derive(Debug)]
pub(super) struct Folder {
    mount: String,
    open: OwnedFd,
}

/// A group, held open.
pub(super) struct Open<'a> {
    folder: &'a Folder,
    /// From the mount.
    pub group: String,
    fd: OwnedFd,
}

impl Folder {
    pub(super) fn open(host: &Host, mount: &str) -> Result<Self, CgroupError> {
        Ok(Self {
            mount: mount.trim_end_matches('/').to_owned(),
            open: host.open_folder(mount)?,
        })
    }

    /// Where it is mounted, on the host.
    pub(super) fn mount(&self) -> &str {
        if self.mount.is_empty() {
            "/"
        } else {
            &self.mount
        }
    }

    /// A group; `None` when it isn't there.
    pub(super) fn group(&self, group: &str) -> Result<Option<Open<'_>>, CgroupError> {
        let relative = relative(group)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        gone_is_none(beneath(self.open.as_fd(), relative, flags))
            .map(|fd| {
                fd.map(|fd| Open {
                    folder: self,
                    group: group.to_owned(),
                    fd,
                })
            })
            .map_err(|error| self.failed(group, "", error))
    }

    /// Whether groups may be below a group: its folder has other links than its own two. False when it isn't there.
    pub(super) fn has_children(&self, group: &str) -> bool {
        self.links(group).is_some_and(|links| links != 2)
    }

    /// The links of a group's folder: its own two, and one from each group directly below. `None` when it isn't there.
    pub(super) fn links(&self, group: &str) -> Option<u64> {
        let found = fs::statat(&self.open, relative(group).ok()?, AtFlags::SYMLINK_NOFOLLOW);
        found.ok().map(|found| found.st_nlink)
    }

    /// The number of a group's folder, greater than those of the groups that were made before it. Zero: it isn't there.
    pub(super) fn made(&self, group: &str) -> u64 {
        let Ok(relative) = relative(group) else {
            return 0;
        };
        let found = fs::statat(&self.open, relative, AtFlags::SYMLINK_NOFOLLOW);
        found.map_or(0, |found| found.st_ino)
    }

    /// The groups of a scope, parents before children.
    pub(super) fn groups(
        &self,
        pods_group: &str,
        scope: Scope<'_>,
    ) -> Result<Vec<String>, CgroupError> {
        match scope {
            Scope::Whole => self.all_below(pods_group, |_| true),
            Scope::Pods(pods) => self.all_below(pods_group, |path| {
                group::locate(path).is_none_or(|located| pods.contains(&located.pod))
            }),
            Scope::Around(group) | Scope::Way(group) => {
                let own = container_of(group);
                if self.links(own).is_none() {
                    return Ok(Vec::new());
                }
                let mut found = self.all_below(own, |_| true)?;
                found.insert(0, own.to_owned());
                Ok(found)
            }
        }
    }

    /// A group's file, open.
    pub(super) fn file(&self, group: &str, file: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let relative = relative(group).map_err(|_| Errno::INVAL)?;
        beneath(self.open.as_fd(), &format!("{relative}/{file}"), flags)
    }

    /// A group's file, to read and to write it; `None` when it isn't there.
    pub(super) fn open_both(
        &self,
        group: &str,
        file: &str,
    ) -> Result<Option<OwnedFd>, CgroupError> {
        gone_is_none(self.file(group, file, OFlags::RDWR))
            .map_err(|error| self.failed(group, file, error))
    }

    /// The numbers of a group's file, one a line; at most `limit`. Empty when the group isn't there.
    pub(super) fn numbers(
        &self,
        group: &str,
        file: &str,
        limit: usize,
    ) -> Result<Vec<i32>, CgroupError> {
        relative(group)?;
        let mut numbers = Vec::new();
        let read = self.file(group, file, OFlags::RDONLY).and_then(|fd| {
            each_number(fd.as_fd(), |number| {
                numbers.push(number);
                numbers.len() < limit
            })
        });
        gone_is_none(read).map_err(|error| self.failed(group, file, error))?;
        Ok(numbers)
    }

    /// The groups below a group, itself not among them, parents before children; empty when it isn't there. Below a group
    /// that `goes_below` says no to, none.
    pub(super) fn all_below(
        &self,
        group: &str,
        goes_below: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, CgroupError> {
        let (found, more) = self.first_below(group, MAX_GROUPS, goes_below)?;
        if more {
            return Err(self.too_many());
        }
        Ok(found)
    }

    /// So many of them at most, and whether there are more: these aren't walked through.
    pub(super) fn first_below(
        &self,
        group: &str,
        most: usize,
        goes_below: impl Fn(&str) -> bool,
    ) -> Result<(Vec<String>, bool), CgroupError> {
        let mut found: Vec<String> = Vec::new();
        let mut next = 0;
        let mut here = group.to_owned();
        loop {
            if goes_below(&here)
                && self.has_children(&here)
                && let Some(open) = self.group(&here)?
            {
                open.each_child(|name, _| found.push(child(&here, name)))?;
            }
            if found.len() > most {
                found.truncate(most);
                return Ok((found, true));
            }
            let Some(path) = found.get(next) else {
                return Ok((found, false));
            };
            here.clone_from(path);
            next += 1;
        }
    }

    pub(super) fn too_many(&self) -> CgroupError {
        CgroupError::TooMany {
            path: self.mount().to_owned(),
        }
    }

    /// The path on the host.
    pub(super) fn path(&self, group: &str, file: &str) -> String {
        let group = group.trim_end_matches('/');
        let slash = if file.is_empty() { "" } else { "/" };
        format!("{}{group}{slash}{file}", self.mount)
    }

    pub(super) fn failed(
        &self,
        group: &str,
        file: &str,
        error: impl Into<io::Error>,
    ) -> CgroupError {
        CgroupError::Read {
            path: self.path(group, file),
            source: error.into(),
        }
    }
}

impl Open<'_> {
    /// The names and inodes of the groups directly below, in the kernel's order.
    pub(super) fn each_child(&self, mut each: impl FnMut(&str, u64)) -> Result<(), CgroupError> {
        // Any deeper one has no place in a path, and no runtime makes it.
        if self.group.matches('/').count() >= MAX_DEPTH {
            return Ok(());
        }
        let mut buffer = [MaybeUninit::uninit(); ENTRIES];
        let mut entries = RawDir::new(&self.fd, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if is_gone(error.raw_os_error()) => return Ok(()),
                Err(error) => return Err(self.folder.failed(&self.group, "", error)),
            };
            if entry.file_type() == FileType::Directory
                && let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                each(name, entry.ino());
            }
        }
        Ok(())
    }

    /// The one number in a file of this group (`below` is empty) or of one directly below; `None` when it isn't there.
    pub(super) fn number(&self, below: &str, file: &str) -> Result<Option<i64>, CgroupError> {
        match self.open(below, file)? {
            Some(open) => self.number_in(&open, below, file),
            None => Ok(None),
        }
    }

    /// The same, of a file that is open.
    pub(super) fn number_in(
        &self,
        open: &OwnedFd,
        below: &str,
        file: &str,
    ) -> Result<Option<i64>, CgroupError> {
        number_in(open, || self.folder.path(&child(&self.group, below), file))
    }

    /// A file of this group or of one directly below, to read it; `None` when it isn't there.
    pub(super) fn open(&self, below: &str, file: &str) -> Result<Option<OwnedFd>, CgroupError> {
        gone_is_none(self.file(below, file, OFlags::RDONLY))
            .map_err(|error| self.folder.failed(&child(&self.group, below), file, error))
    }

    /// The beginning of a file of this group, at most 4096 bytes; `None` when it isn't there.
    pub(super) fn text(&self, file: &str) -> Result<Option<String>, CgroupError> {
        let mut buffer = vec![0; 4096];
        let read = gone_is_none(
            self.file("", file, OFlags::RDONLY)
                .and_then(|fd| rustix::io::pread(&fd, &mut buffer[..], 0)),
        );
        let count = read.map_err(|error| self.folder.failed(&self.group, file, error))?;
        Ok(count.map(|count| String::from_utf8_lossy(&buffer[..count]).into_owned()))
    }

    /// Each number of a file, until `each` says no; nothing when it isn't there.
    pub(super) fn each_number(
        &self,
        below: &str,
        file: &str,
        each: impl FnMut(i32) -> bool,
    ) -> Result<(), CgroupError> {
        let read = self
            .file(below, file, OFlags::RDONLY)
            .and_then(|fd| each_number(fd.as_fd(), each));
        gone_is_none(read)
            .map(drop)
            .map_err(|error| self.folder.failed(&child(&self.group, below), file, error))
    }

    fn file(&self, below: &str, file: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        if below.is_empty() {
            return beneath(self.fd.as_fd(), file, flags);
        }
        beneath(self.fd.as_fd(), &format!("{below}/{file}"), flags)
    }
}

/// The container's own group: with crun the processes are in one below it, which alone says nothing of whose it is.
fn container_of(group: &str) -> &str {
    let own = group::locate(group).and_then(|located| group.get(..located.own));
    own.unwrap_or(group)
}

/// The path of a group directly below another; the group's own for an empty name.
pub(super) fn child(group: &str, name: &str) -> String {
    match (group, name) {
        (group, "") => group.to_owned(),
        ("/", name) => format!("/{name}"),
        (group, name) => format!("{group}/{name}"),
    }
}

/// The one number in an open file; `None` when its group is gone.
pub(super) fn number_in(
    file: &OwnedFd,
    path: impl Fn() -> String,
) -> Result<Option<i64>, CgroupError> {
    let mut buffer = [0; NUMBER];
    let count = match gone_is_none(rustix::io::pread(file, &mut buffer[..], 0)) {
        Ok(Some(count)) => count,
        Ok(None) => return Ok(None),
        Err(error) => {
            return Err(CgroupError::Read {
                path: path(),
                source: error.into(),
            });
        }
    };
    let text = std::str::from_utf8(&buffer[..count]).unwrap_or_default();
    let number = text.trim_end().parse();
    number.map(Some).map_err(|_| CgroupError::Unreadable {
        path: path(),
        text: String::from_utf8_lossy(&buffer[..count]).into_owned(),
    })
}

/// The path below the mount, of a group whose path can't lead anywhere else.
fn relative(group: &str) -> Result<&str, CgroupError> {
    let sound = group.strip_prefix('/').filter(|path| {
        path.is_empty()
            || path
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..")
    });
    match sound {
        Some("") => Ok("."),
        Some(path) => Ok(path),
        None => Err(CgroupError::NotAGroup {
            group: group.to_owned(),
        }),
    }
}

/// Opens below a folder. The file system of groups has no links, so that where the kernel has no openat2, a path without
/// `..` can't lead out either.
fn beneath(folder: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    if !WITHOUT_OPENAT2.load(Ordering::Relaxed) {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let mut tries = 0;
        loop {
            match fs::openat2(folder, path, flags, Mode::empty(), resolve) {
                // A rename came in between.
                Err(Errno::INTR | Errno::AGAIN) if tries < TRIES => tries += 1,
                Err(Errno::NOSYS) => break WITHOUT_OPENAT2.store(true, Ordering::Relaxed),
                // An old seccomp profile's answer; a real EPERM comes again below.
                Err(Errno::PERM) => break,
                other => return other,
            }
        }
    }
    if Path::new(path).is_absolute() || path.split('/').any(|part| part == "..") {
        return Err(Errno::XDEV);
    }
    fs::openat(folder, path, flags | OFlags::NOFOLLOW, Mode::empty())
}

fn gone_is_none<T>(result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Err(error) if is_gone(error.raw_os_error()) => Ok(None),
        other => other.map(Some),
    }
}

/// Each line's number, until `each` says no. A line that is none is passed over.
fn each_number(fd: BorrowedFd<'_>, mut each: impl FnMut(i32) -> bool) -> Result<(), Errno> {
    let mut buffer = [0; 4096];
    let mut line = 0_i32;
    loop {
        let count = match rustix::io::read(fd, &mut buffer[..]) {
            Ok(0) => {
                if line > 0 {
                    each(line);
                }
                return Ok(());
            }
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error),
        };
        for &byte in &buffer[..count] {
            if byte.is_ascii_digit() {
                line = line
                    .saturating_mul(10)
                    .saturating_add(i32::from(byte - b'0'));
            } else {
                if line > 0 && !each(line) {
                    return Ok(());
                }
                line = 0;
            }
        }
    }
}
