//! The place of one upstream project's programs outside the checkout, and whether they are there.
//!
//! Must not know which programs there are, or how one is compiled.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::catalog::{Module, Program, Source};
use super::{Error, c_build, go_build};

/// A module with the version that its go.mod pins, and its place in the cache.
pub(super) struct Pinned {
    pub(super) module: Module,
    pub(super) version: String,
    /// Over go.mod, go.sum and the flags: a change of any of them builds anew.
    fingerprint: String,
    pub(super) directory: PathBuf,
}

impl Pinned {
    pub(super) fn read(module: Module, cache: &Path) -> Result<Self, Error> {
        let file = |name: &str| {
            let path = module.directory().join(name);
            fs::read_to_string(&path).map_err(Error::io("reading", &path))
        };
        let go_mod = file("go.mod")?;
        let version = required_version(&go_mod, module.upstream())
            .ok_or_else(|| Error::NoVersion {
                path: module.directory().join("go.mod"),
                upstream: module.upstream(),
            })?
            .to_owned();
        let sums = file("go.sum")?;
        let mut hash = Sha256::new();
        let flags = module.linker_flags(&version);
        let tags = module.tags();
        let mut parts = vec![go_mod.as_str(), &sums, &flags];
        if !tags.is_empty() {
            parts.push(tags);
        }
        for part in parts {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let mut fingerprint = String::new();
        for byte in hash.finalize() {
            // Writing to a String can't fail.
            let _ = write!(fingerprint, "{byte:02x}");
        }
        let directory = cache.join(format!(
            "{}-{}",
            module.name(),
            version.trim_start_matches('v')
        ));
        Ok(Self {
            module,
            version,
            fingerprint,
            directory,
        })
    }

    pub(super) fn executable(&self, program: Program) -> PathBuf {
        self.directory.join(program.file_name())
    }

    /// Holds the fingerprint that the executable was built from; written after it.
    fn stamp(&self, program: Program) -> PathBuf {
        self.directory
            .join(format!("{}.built-from", program.file_name()))
    }

    pub(super) fn is_built(&self, program: Program) -> bool {
        self.executable(program).is_file()
            && fs::read_to_string(self.stamp(program)).is_ok_and(|stamp| stamp == self.fingerprint)
    }

    fn missing(&self, wanted: &[Program]) -> Vec<Program> {
        wanted
            .iter()
            .copied()
            .filter(|&program| !self.is_built(program))
            .collect()
    }

    pub(super) fn ensure(&self, wanted: &[Program]) -> Result<(), Error> {
        if self.missing(wanted).is_empty() {
            return Ok(());
        }
        fs::create_dir_all(&self.directory).map_err(Error::io("creating", &self.directory))?;
        let _lock = self.lock()?;
        // Another process may have built while this one waited for the lock.
        let missing = self.missing(wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let building = self.directory.join(".building");
        remove_directory(&building)?; // left by a killed build
        fs::create_dir(&building).map_err(Error::io("creating", &building))?;
        let (go, c): (Vec<Program>, Vec<Program>) = missing
            .iter()
            .partition(|program| matches!(program.source(), Source::Go(_)));
        if !go.is_empty() {
            go_build::build(self, &go, &building)?;
        }
        for program in c {
            c_build::build(self, program, &building)?;
        }
        for program in missing {
            let (from, to, stamp) = (
                building.join(program.file_name()),
                self.executable(program),
                self.stamp(program),
            );
            fs::rename(&from, &to).map_err(Error::io("moving into place", &to))?;
            fs::write(&stamp, &self.fingerprint).map_err(Error::io("writing", &stamp))?;
        }
        remove_directory(&building)
    }

    /// Held until dropped, across processes; the kernel drops it with the process that holds it.
    fn lock(&self) -> Result<fs::File, Error> {
        let path = self.directory.join(".lock");
        let file = fs::File::create(&path).map_err(Error::io("creating", &path))?;
        if file.try_lock().is_err() {
            go_build::progress(
                self.module.name(),
                "another process is building it; waiting for that",
            );
            file.lock().map_err(Error::io("locking", &path))?;
        }
        Ok(file)
    }
}

fn remove_directory(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("removing", path)(error))
        }
        _ => Ok(()),
    }
}

/// The version in `require <module> <version>`, alone or in a block.
fn required_version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line
            .split_whitespace()
            .skip_while(|&word| word == "require");
        (words.next() == Some(module))
            .then(|| words.next())
            .flatten()
            .filter(|version| version.starts_with('v'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_module_pins_its_upstream() {
        for module in Module::ALL {
            let pinned = Pinned::read(module, Path::new("/cache")).expect("readable module");
            assert!(pinned.version.starts_with('v'), "{}", pinned.version);
            assert_eq!(
                pinned.directory,
                Path::new("/cache").join(format!("{}-{}", module.name(), &pinned.version[1..]))
            );
        }
    }

    #[test]
    fn the_version_is_that_of_the_require_line() {
        let go_mod = "tool k8s.io/kubernetes/cmd/kubectl\nrequire k8s.io/kubernetes v1.34.4\n\
                      require (\n\ta/b v1.0.0 // indirect\n)\nreplace (\n\tk8s.io/api => k8s.io/api v0.34.4\n)\n";
        assert_eq!(
            required_version(go_mod, "k8s.io/kubernetes"),
            Some("v1.34.4")
        );
        assert_eq!(required_version(go_mod, "a/b"), Some("v1.0.0"));
        assert_eq!(required_version(go_mod, "k8s.io/api"), None);
        assert_eq!(required_version(go_mod, "k8s.io/kube"), None);
    }
}
