//! The upstream programs that tests and the sandbox run: which, in what version, and where.
//!
//! Each comes from `KUBEBUILDER_ASSETS` when that is set, else from a cache outside the checkout,
//! where it is built once from the Go modules in `testing/go`. Those modules alone name versions.
//! Must not start any of these programs, and must not write into the checkout.

mod go_build;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Names a directory with ready-made `etcd`, `kube-apiserver` and `kubectl`, as for envtest.
const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// A program that comes out of one of the modules in `testing/go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// The API server's database.
    Etcd,
    /// The Kubernetes API server.
    KubeApiserver,
    /// What a user types.
    Kubectl,
}

impl Program {
    /// All of them: what `make sandbox` and `make test` need.
    pub const ALL: [Self; 3] = [Self::Etcd, Self::KubeApiserver, Self::Kubectl];

    /// The name of the executable file.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::Kubectl => "kubectl",
        }
    }

    /// The Go package of the program's main.
    const fn package(self) -> &'static str {
        match self {
            // The module's root package is the server's main.
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
        }
    }

    const fn module(self) -> Module {
        match self {
            Self::Etcd => Module::Etcd,
            Self::KubeApiserver | Self::Kubectl => Module::Kubernetes,
        }
    }

    /// The program of that file name.
    pub fn from_file_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|program| program.file_name() == name)
    }
}

/// A directory below `testing/go`: one Go module that pins one upstream project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Module {
    Etcd,
    Kubernetes,
}

impl Module {
    const ALL: [Self; 2] = [Self::Etcd, Self::Kubernetes];

    const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Kubernetes => "kubernetes",
        }
    }

    /// The upstream module whose version names the cache directory.
    const fn upstream(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::Kubernetes => "k8s.io/kubernetes",
        }
    }

    fn directory(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("go")
            .join(self.name())
    }

    /// Linker flags: smaller files, and the version that the program reports of itself.
    fn linker_flags(self, version: &str) -> String {
        let mut flags = vec!["-s".to_owned(), "-w".to_owned()];
        if self == Self::Kubernetes {
            // Its own build scripts set these; without them it reports v0.0.0-master.
            let mut numbers = version.trim_start_matches('v').split('.');
            let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
            for package in [
                "k8s.io/component-base/version",
                "k8s.io/client-go/pkg/version",
            ] {
                for (variable, value) in [
                    ("gitVersion", version),
                    ("gitMajor", major),
                    ("gitMinor", minor),
                    ("gitTreeState", "clean"),
                ] {
                    flags.push(format!("-X {package}.{variable}={value}"));
                }
            }
        }
        flags.join(" ")
    }
}

/// Why a program can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The assets directory lacks a program.
    #[error("{ASSETS_VARIABLE} is set, but {} is no file: put it there or unset the variable", .0.display())]
    NotInAssets(PathBuf),
    /// Nowhere to build into.
    #[error("no cache directory: neither XDG_CACHE_HOME nor HOME is set to an absolute path")]
    NoCache,
    /// A file or directory of ours can't be read or written.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// The module's go.mod doesn't require what it is there for.
    #[error("{} requires no version of {upstream}", .path.display())]
    NoVersion {
        /// The go.mod.
        path: PathBuf,
        /// The module that it should require.
        upstream: &'static str,
    },
    /// `go` can't be started.
    #[error(
        "starting `go`: {0}. Install Go 1.26 or later (https://go.dev/dl), or set {ASSETS_VARIABLE} to a directory \
         with etcd, kube-apiserver and kubectl"
    )]
    NoGo(io::Error),
    /// `go` failed.
    #[error("`go {command}` failed in {}:\n{tail}", .directory.display())]
    Go {
        /// Its arguments.
        command: String,
        /// Where it ran.
        directory: PathBuf,
        /// The end of what it said.
        tail: String,
    },
}

impl Error {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// The path of a program, after building it if it isn't there yet.
///
/// A first build of everything takes minutes; progress goes to the standard error, past the
/// capture of libtest. Blocks: call it from `spawn_blocking` in async code.
pub fn path(program: Program) -> Result<PathBuf, Error> {
    Ok(ensure(&[program])?.remove(0))
}

/// The paths of these programs, in this order, after building those that aren't there yet.
pub fn ensure(programs: &[Program]) -> Result<Vec<PathBuf>, Error> {
    if let Some(assets) = env::var_os(ASSETS_VARIABLE).filter(|value| !value.is_empty()) {
        return programs
            .iter()
            .map(|program| {
                let path = Path::new(&assets).join(program.file_name());
                if path.is_file() {
                    Ok(path)
                } else {
                    Err(Error::NotInAssets(path))
                }
            })
            .collect();
    }
    let cache = cache_directory()?;
    for module in Module::ALL {
        let wanted: Vec<Program> = programs
            .iter()
            .copied()
            .filter(|program| program.module() == module)
            .collect();
        if !wanted.is_empty() {
            Pinned::read(module, &cache)?.ensure(&wanted)?;
        }
    }
    programs
        .iter()
        .map(|&program| Ok(Pinned::read(program.module(), &cache)?.executable(program)))
        .collect()
}

fn cache_directory() -> Result<PathBuf, Error> {
    let absolute = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("realtime-operator"))
        .ok_or(Error::NoCache)
}

/// A module with the version that its go.mod pins, and its place in the cache.
struct Pinned {
    module: Module,
    version: String,
    /// Over go.mod, go.sum and the flags: a change of any of them builds anew.
    fingerprint: String,
    directory: PathBuf,
}

impl Pinned {
    fn read(module: Module, cache: &Path) -> Result<Self, Error> {
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
        let mut hash = Sha256::new();
        for part in [&go_mod, &file("go.sum")?, &module.linker_flags(&version)] {
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

    fn executable(&self, program: Program) -> PathBuf {
        self.directory.join(program.file_name())
    }

    /// Holds the fingerprint that the executable was built from; written after it.
    fn stamp(&self, program: Program) -> PathBuf {
        self.directory
            .join(format!("{}.built-from", program.file_name()))
    }

    fn is_built(&self, program: Program) -> bool {
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

    fn ensure(&self, wanted: &[Program]) -> Result<(), Error> {
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
        go_build::build(self, &missing, &building)?;
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

    #[test]
    fn kubernetes_reports_its_version() {
        let flags = Module::Kubernetes.linker_flags("v1.34.4");
        assert!(
            flags.contains("-X k8s.io/component-base/version.gitVersion=v1.34.4"),
            "{flags}"
        );
        assert!(
            flags.contains("-X k8s.io/component-base/version.gitMinor=34"),
            "{flags}"
        );
        assert_eq!(Module::Etcd.linker_flags("v3.6.16"), "-s -w");
    }
}
