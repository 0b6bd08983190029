//! Debian's PREEMPT_RT kernel: downloaded once with apt, unpacked into the cache outside the checkout, never installed.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use crate::programs::cache_directory;

/// Depends on the current kernel package.
const META_PACKAGE: &str = "linux-image-rt-amd64";
/// The driver of the network card that qemu plays; it needs no other module, and Debian's kernel has none built in.
const DRIVER: &str = "kernel/drivers/net/ethernet/intel/e1000/e1000.ko";

/// A kernel to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// The bootable file.
    pub image: PathBuf,
    /// What `uname -r` says in the machine.
    pub release: String,
}

impl Kernel {
    /// The module with which the machine has a network; beside the kernel.
    pub(super) fn driver(&self) -> PathBuf {
        self.image
            .with_file_name(format!("e1000-{}.ko", self.release))
    }
}

/// The kernel, after downloading it when it isn't in the cache yet (70 MB, seconds).
pub fn kernel() -> Result<Kernel, Error> {
    found(false)
}

/// The same, with its [`Kernel::driver`], which a cache of an earlier version of this file lacks.
pub(super) fn with_driver() -> Result<Kernel, Error> {
    found(true)
}

fn found(driver: bool) -> Result<Kernel, Error> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Unavailable(format!(
            "{META_PACKAGE} is for x86-64, and this is another architecture"
        )));
    }
    let cache = cache_directory()
        .map_err(|error| Error::Unavailable(error.to_string()))?
        .join("linux-rt");
    fs::create_dir_all(&cache).map_err(Error::io("creating", &cache))?;
    let suits = |kernel: &Kernel| !driver || kernel.driver().is_file();
    if let Some(kernel) = cached(&cache).filter(suits) {
        return Ok(kernel);
    }
    let lock = cache.join(".lock");
    let lock = fs::File::create(&lock).map_err(Error::io("creating", lock))?;
    lock.lock().map_err(Error::io("locking", &cache))?;
    // Another process may have it by now.
    match cached(&cache).filter(suits) {
        Some(kernel) => Ok(kernel),
        None => download(&cache),
    }
}

/// The newest by name.
fn cached(cache: &Path) -> Option<Kernel> {
    let mut releases: Vec<String> = fs::read_dir(cache)
        .ok()?
        .flatten()
        .filter_map(|entry| release(&entry.path()))
        .collect();
    releases.sort();
    let release = releases.pop()?;
    Some(Kernel {
        image: cache.join(format!("vmlinuz-{release}")),
        release,
    })
}

/// Of an image's name.
fn release(image: &Path) -> Option<String> {
    let name = image.file_name()?.to_str()?;
    Some(name.strip_prefix("vmlinuz-")?.to_owned())
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
        .find(|path| release(path).is_some())
        .ok_or_else(|| Error::Unavailable(format!("{package} has no boot/vmlinuz-…")))?;
    let kept = cache.join(image.file_name().unwrap_or_default());
    let kernel = Kernel {
        release: release(&kept).unwrap_or_default(),
        image: kept,
    };
    let driver = folder
        .path()
        .join("x/lib/modules")
        .join(&kernel.release)
        .join(DRIVER);
    // The kernel last: with it, both are there.
    for (from, to) in [(&driver, &kernel.driver()), (&image, &kernel.image)] {
        fs::rename(from, to).map_err(Error::io("moving into place", to))?;
    }
    Ok(kernel)
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
