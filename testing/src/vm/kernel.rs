//! Debian's PREEMPT_RT kernel: downloaded once with apt, unpacked into the cache outside the checkout, never installed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use crate::programs::cache_directory;

/// Depends on the current kernel package.
const META_PACKAGE: &str = "linux-image-rt-amd64";

/// A kernel to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The bootable file.
    pub image: PathBuf,
    /// What `uname -r` says in the machine.
    pub release: String,
}

/// The kernel, after downloading it when it isn't in the cache yet (70 MB, seconds).
pub fn kernel() -> Result<Kernel, Error> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Unavailable(format!(
            "{META_PACKAGE} is for x86-64, and this is another architecture"
        )));
    }
    let cache = cache_directory()
        .map_err(|error| Error::Unavailable(error.to_string()))?
        .join("linux-rt");
    fs::create_dir_all(&cache).map_err(Error::io("creating", &cache))?;
    if let Some(kernel) = cached(&cache) {
        return Ok(kernel);
    }
    let lock = cache.join(".lock");
    let lock = fs::File::create(&lock).map_err(Error::io("creating", lock))?;
    lock.lock().map_err(Error::io("locking", &cache))?;
    // Another process may have it by now.
    match cached(&cache) {
        Some(kernel) => Ok(kernel),
        None => download(&cache),
    }
}

/// The newest by name.
fn cached(cache: &Path) -> Option<Kernel> {
    let mut releases: Vec<String> = fs::read_dir(cache)
        .ok()?
        .flatten()
        .filter_map(|entry| {
            Some(
                entry
                    .file_name()
                    .to_str()?
                    .strip_prefix("vmlinuz-")?
                    .to_owned(),
            )
        })
        .collect();
    releases.sort();
    let release = releases.pop()?;
    Some(Kernel {
        image: cache.join(format!("vmlinuz-{release}")),
        release,
    })
}

fn download(cache: &Path) -> Result<Kernel, Error> {
    let depends = run(Command::new("apt-cache").args(["depends", META_PACKAGE]))?;
    let package = depends
        .lines()
        .find_map(|line| line.trim().strip_prefix("Depends: "))
        .ok_or_else(|| {
            Error::Unavailable(format!(
                "apt knows no {META_PACKAGE}; does `apt-get update` help?"
            ))
        })?
        .to_owned();
    // On the real standard error, past libtest's capture: nobody should wonder.
    let _ = writeln!(
        std::io::stderr().lock(),
        "[vm] downloading {package}, 70 MB"
    );
    let folder = tempfile::tempdir_in(cache).map_err(Error::io("making a folder in", cache))?;
    let get = || {
        run(Command::new("apt-get")
            .args(["download", &package])
            .current_dir(folder.path()))
    };
    // Lists that are older than the archive name files that are gone.
    if get().is_err() {
        run(Command::new("apt-get").args(["update", "--quiet=2"]))?;
        get()?;
    }
    let archive = entry(folder.path(), ".deb")?;
    run(Command::new("dpkg")
        .arg("-x")
        .arg(&archive)
        .arg(folder.path().join("x")))?;
    let boot = folder.path().join("x/boot");
    let image = fs::read_dir(&boot)
        .map_err(Error::io("listing", &boot))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
        })
        .ok_or_else(|| Error::Unavailable(format!("{package} has no boot/vmlinuz-…")))?;
    let kept = cache.join(image.file_name().unwrap_or_default());
    fs::rename(&image, &kept).map_err(Error::io("moving into place", &kept))?;
    cached(cache).ok_or_else(|| Error::Unavailable(format!("{} is gone", kept.display())))
}

fn entry(folder: &Path, end: &str) -> Result<PathBuf, Error> {
    let names = fs::read_dir(folder).map_err(Error::io("listing", folder))?;
    names
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(end))
        .ok_or_else(|| Error::Unavailable(format!("apt-get download left no {end} file")))
}

/// What apt and dpkg can't do here is a reason to skip, not to fail.
fn run(command: &mut Command) -> Result<String, Error> {
    let shown = format!("{command:?}");
    let output = command
        .output()
        .map_err(|error| Error::Unavailable(format!("starting {shown}: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(Error::Unavailable(format!(
        "{shown}: {}",
        last.unwrap_or_default()
    )))
}
