//! The upstream programs that tests and the sandbox run: which, in what version, and where.
//!
//! `etcd`, `kube-apiserver` and `kubectl` come from `KUBEBUILDER_ASSETS` when that is set; all others,
//! and these without it, from a cache outside the checkout, where each is built once from the Go
//! modules in `testing/go`. Those modules alone name versions.
//! Must not start any of these programs, and must not write into the checkout.

mod c_build;
mod cache;
mod catalog;
mod error;
mod go_build;

use std::env;
use std::path::{Path, PathBuf};

use cache::Pinned;
use catalog::Module;
pub use catalog::Program;
pub use error::Error;

/// Names a directory with ready-made `etcd`, `kube-apiserver` and `kubectl`, as for envtest.
const ASSETS_VARIABLE: &str = "KUBEBUILDER_ASSETS";

/// The path of a program, after building it if it isn't there yet.
///
/// A first build of everything takes minutes; progress goes to the standard error, past the
/// capture of libtest. Blocks: call it from `spawn_blocking` in async code.
pub fn path(program: Program) -> Result<PathBuf, Error> {
    Ok(ensure(&[program])?.remove(0))
}

/// The paths of these programs, in this order, after building those that aren't there yet.
pub fn ensure(programs: &[Program]) -> Result<Vec<PathBuf>, Error> {
    let assets = env::var_os(ASSETS_VARIABLE).filter(|value| !value.is_empty());
    let from_assets = |program: Program| {
        assets
            .as_ref()
            .filter(|_| program.is_asset())
            .map(|assets| Path::new(assets).join(program.file_name()))
    };
    let built: Vec<Program> = programs
        .iter()
        .copied()
        .filter(|&program| from_assets(program).is_none())
        .collect();
    if !built.is_empty() {
        let cache = cache_directory()?;
        for module in Module::ALL {
            let wanted: Vec<Program> = built
                .iter()
                .copied()
                .filter(|program| program.module() == module)
                .collect();
            if !wanted.is_empty() {
                Pinned::read(module, &cache)?.ensure(&wanted)?;
            }
        }
    }
    programs
        .iter()
        .map(|&program| match from_assets(program) {
            Some(path) if path.is_file() => Ok(path),
            Some(path) => Err(Error::NotInAssets(path)),
            None => {
                let cache = cache_directory()?;
                Ok(Pinned::read(program.module(), &cache)?.executable(program))
            }
        })
        .collect()
}

/// Whether these programs are there already, so that nothing would be built.
pub fn are_built(programs: &[Program]) -> bool {
    let assets = env::var_os(ASSETS_VARIABLE).is_some_and(|value| !value.is_empty());
    let Ok(cache) = cache_directory() else {
        return false;
    };
    programs
        .iter()
        .filter(|program| !(assets && program.is_asset()))
        .all(|&program| {
            Pinned::read(program.module(), &cache).is_ok_and(|pinned| pinned.is_built(program))
        })
}

/// Where built programs are kept: below `XDG_CACHE_HOME`, or `~/.cache`.
pub fn cache_directory() -> Result<PathBuf, Error> {
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
