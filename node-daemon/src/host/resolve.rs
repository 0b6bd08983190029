//! Opens a path below a root with every symbolic link resolved within that root. Must not decide what is opened.
//!
//! A host below `/host` has links such as `/etc/os-release -> /usr/lib/os-release` that would lead into the container's
//! own files. Linux 5.6 resolves within a root itself (openat2, RESOLVE_IN_ROOT). Where it doesn't have the call (or a
//! seccomp filter forbids it) the same is done here step by step, holding a directory descriptor for each step, so that
//! `..` and links that change meanwhile don't lead out either.

use std::collections::VecDeque;
use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};

/// As many links as the kernel follows in one path.
const LINKS: u32 = 40;
/// How often an openat2 that met a rename (EAGAIN) is tried again.
const TRIES: u32 = 16;

/// Set once the kernel has refused openat2.
static WITHOUT_OPENAT2: AtomicBool = AtomicBool::new(false);

/// Opens `path` below `root`. Absolute paths and absolute links begin at the root.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    let flags = flags | OFlags::CLOEXEC;
    if !WITHOUT_OPENAT2.load(Ordering::Relaxed) {
        match by_kernel(root, path, flags, mode) {
            Err(Errno::NOSYS) => WITHOUT_OPENAT2.store(true, Ordering::Relaxed),
            // Old seccomp profiles answer so for a call that they don't know. A real EPERM comes again below.
            Err(Errno::PERM) => {}
            other => return other,
        }
    }
    step_by_step(root, path, flags, mode)
}

fn by_kernel(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    // Without O_CREAT a mode is EINVAL here, other than in open.
    let mode = if flags.contains(OFlags::CREATE) {
        mode
    } else {
        Mode::empty()
    };
    let mut tries = 0;
    loop {
        match fs::openat2(root, path, flags, mode, ResolveFlags::IN_ROOT) {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
            other => return other,
        }
    }
}

fn step_by_step(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    if path.as_os_str().is_empty() {
        return Err(Errno::NOENT);
    }
    // The directories from the root to where we are.
    let mut way: Vec<OwnedFd> = Vec::new();
    let mut rest = VecDeque::new();
    prepend(&mut rest, path);
    let mut links = 0;
    let here = |way: &[OwnedFd]| -> Result<OwnedFd> {
        let fd = way.last().map_or(root, AsFd::as_fd);
        rustix::io::fcntl_dupfd_cloexec(fd, 0)
    };
    while let Some(name) = rest.pop_front() {
        if name == OsStr::new("..") {
            way.pop();
            continue;
        }
        let folder = here(&way)?;
        let last = rest.is_empty();
        let nofollow = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match fs::openat(&folder, &name, nofollow, Mode::empty()) {
            Err(Errno::NOENT) if last && flags.contains(OFlags::CREATE) => {
                return fs::openat(&folder, &name, flags | OFlags::NOFOLLOW, mode);
            }
            other => other?,
        };
        match FileType::from_raw_mode(fs::fstat(&found)?.st_mode) {
            FileType::Symlink if last && flags.contains(OFlags::NOFOLLOW) => {
                return if flags.contains(OFlags::PATH) {
                    Ok(found)
                } else {
                    Err(Errno::LOOP)
                };
            }
            FileType::Symlink => {
                links += 1;
                if links > LINKS {
                    return Err(Errno::LOOP);
                }
                let target = target_of(&found)?;
                let target = Path::new(OsStr::from_bytes(target.to_bytes()));
                if target.is_absolute() {
                    way.clear();
                }
                prepend(&mut rest, target);
            }
            _ if last => return fs::openat(&folder, &name, flags | OFlags::NOFOLLOW, mode),
            FileType::Directory => way.push(found),
            _ => return Err(Errno::NOTDIR),
        }
    }
    fs::openat(here(&way)?, c".", flags, mode)
}

/// Puts a path's steps in front of what is left.
fn prepend(rest: &mut VecDeque<OsString>, path: &Path) {
    let steps: Vec<OsString> = path
        .components()
        .filter_map(|step| match step {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect();
    for step in steps.into_iter().rev() {
        rest.push_front(step);
    }
}

/// Where a link leads, of the link that is open itself.
fn target_of(link: &OwnedFd) -> Result<std::ffi::CString> {
    let empty: &CStr = c"";
    fs::readlinkat(link, empty, Vec::new())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use proptest::prelude::*;

    use super::*;

    fn both(root: &Path, path: &str, flags: OFlags) -> [Result<OwnedFd>; 2] {
        let fd = fs::open(root, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
        let path = Path::new(path);
        [
            by_kernel(fd.as_fd(), path, flags, Mode::empty()),
            step_by_step(fd.as_fd(), path, flags, Mode::empty()),
        ]
    }

    fn text(opened: Result<OwnedFd>) -> std::result::Result<String, Errno> {
        let mut text = String::new();
        File::from(opened?).read_to_string(&mut text).unwrap();
        Ok(text)
    }

    #[test]
    fn an_absolute_link_begins_at_the_root_and_nothing_leads_out() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("host");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::create_dir_all(root.join("usr/lib")).unwrap();
        std::fs::write(outside.path().join("secret"), "of the container").unwrap();
        std::fs::write(root.join("usr/lib/os-release"), "ID=fedora").unwrap();
        symlink("/usr/lib/os-release", root.join("etc/os-release")).unwrap();
        symlink("../../secret", root.join("etc/out")).unwrap();
        symlink(outside.path().join("secret"), root.join("etc/out2")).unwrap();
        symlink("loop", root.join("etc/loop")).unwrap();
        for opened in both(&root, "/etc/os-release", OFlags::RDONLY) {
            assert_eq!(text(opened), Ok("ID=fedora".to_owned()));
        }
        for opened in both(&root, "/../../usr/../usr/lib/os-release", OFlags::RDONLY) {
            assert_eq!(text(opened), Ok("ID=fedora".to_owned()));
        }
        for path in ["/etc/out", "/etc/out2", "/../secret"] {
            for opened in both(&root, path, OFlags::RDONLY) {
                assert_eq!(text(opened), Err(Errno::NOENT), "{path}");
            }
        }
        for opened in both(&root, "/etc/loop", OFlags::RDONLY) {
            assert_eq!(text(opened), Err(Errno::LOOP));
        }
        for opened in both(&root, "/etc/os-release/x", OFlags::RDONLY) {
            assert_eq!(text(opened), Err(Errno::NOTDIR));
        }
    }

    /// The trees of the property: names that meet, links to anywhere.
    #[derive(Clone, Debug)]
    enum Made {
        Folder(String),
        File(String),
        Link(String, String),
    }

    fn somewhere() -> impl Strategy<Value = String> {
        let step = prop_oneof![Just("a"), Just("b"), Just("c"), Just("..")];
        (any::<bool>(), prop::collection::vec(step, 1..5)).prop_map(|(absolute, steps)| {
            let path = steps.join("/");
            if absolute { format!("/{path}") } else { path }
        })
    }

    fn made() -> impl Strategy<Value = Made> {
        let name = prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..4)
            .prop_map(|steps| steps.join("/"));
        prop_oneof![
            name.clone().prop_map(Made::Folder),
            name.clone().prop_map(Made::File),
            (name, somewhere()).prop_map(|(name, target)| Made::Link(name, target)),
        ]
    }

    proptest! {
        /// What is done step by step is what the kernel does.
        #[test]
        fn step_by_step_finds_what_the_kernel_finds(
            made in prop::collection::vec(made(), 0..10),
            path in somewhere(),
        ) {
            let outside = tempfile::tempdir().unwrap();
            let root = outside.path().join("root");
            std::fs::create_dir(&root).unwrap();
            // What a way out would find.
            for name in ["a", "b", "c"] {
                std::fs::write(outside.path().join(name), "outside").unwrap();
            }
            for thing in made {
                // Making follows links; only below the root it may.
                let inside = |name: &str| {
                    let folder = root.join(name);
                    let parent = folder.parent().unwrap().canonicalize();
                    parent.is_ok_and(|parent| parent.starts_with(&root))
                };
                match thing {
                    Made::Folder(name) if inside(&name) => drop(std::fs::create_dir(root.join(name))),
                    Made::File(name) if inside(&name) && !root.join(&name).is_symlink() => {
                        drop(std::fs::write(root.join(&name), name));
                    }
                    Made::Link(name, target) if inside(&name) => drop(symlink(target, root.join(name))),
                    _ => {}
                }
            }
            let [kernel, steps] = both(&root, &path, OFlags::PATH);
            match (kernel, steps) {
                (Ok(kernel), Ok(steps)) => {
                    let (kernel, steps) = (fs::fstat(&kernel).unwrap(), fs::fstat(&steps).unwrap());
                    prop_assert_eq!((kernel.st_dev, kernel.st_ino), (steps.st_dev, steps.st_ino));
                }
                (kernel, steps) => prop_assert_eq!(kernel.err(), steps.err(), "{}", path),
            }
        }
    }
}
