//! A stand-in for rpm-ostree and its host: a state machine over one directory, conforming to recordings of the real
//! program (`testing/rpm-ostree/README.md`). For tests and sandboxes; must not touch anything outside its directory.
//!
//! A simulated node is a directory tree. [`RpmOstreeStandin::init`] makes it look like a host that booted a stock
//! deployment; the programs `rpm-ostree`, `ostree` and `rpm` (one executable, `rpm-ostree-standin`, by the name it is
//! called by) find it through `REALTIME_HOST_ROOT`; [`RpmOstreeStandin::reboot`] is what a machine does.

use std::path::{Path, PathBuf};

use thiserror::Error;

pub mod boot;
pub mod catalog;
pub mod client;
mod command;
pub mod fault;
mod host_files;
pub mod kargs;
pub mod local;
pub mod machine;
mod origin;
mod other_programs;
pub mod package;
mod repositories;
mod solve;
pub mod state;
mod status;
mod status_text;
pub mod store;
mod transact;

pub use boot::{BootReport, Finalized, Reboot};
pub use catalog::{OriginKind, Profile};
pub use client::Output;
pub use fault::{Fault, Step, Times};
pub use origin::{Origin, Source};
pub use package::Package;
pub use state::{Base, Contents, Deployment, State, Transaction, Version};

/// The environment variable that names the simulated host's root.
pub const ROOT_VARIABLE: &str = "REALTIME_HOST_ROOT";

/// Names by which the executable is the program of that name.
pub const PROGRAMS: [&str; 3] = ["rpm-ostree", "ostree", "rpm"];

/// Why the stand-in itself could not work; what the imitated program refuses is an [`Output`].
#[derive(Debug, Error)]
pub enum StandinError {
    /// A file of the simulated host.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The state's file does not parse: it is not of this version of the stand-in.
    #[error(
        "the stand-in's state {path} does not parse: {source}; make a new one with `rpm-ostree-standin machine init`"
    )]
    State {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Something asked for that does not fit the state.
    #[error("{0}")]
    Refused(String),
}

/// One simulated host. Cheap to open; every call reads the state anew, under a lock where it writes.
#[derive(Clone, Debug)]
pub struct RpmOstreeStandin {
    store: store::Store,
}

impl RpmOstreeStandin {
    /// Makes a host below `root` that has booted the profile's stock deployment. What was there of the stand-in's own
    /// files is replaced; other files stay.
    pub fn init(root: &Path, profile: &Profile) -> Result<Self, StandinError> {
        let standin = Self {
            store: store::Store::below(root),
        };
        let state = profile.state();
        standin.store.create(&state)?;
        host_files::write_repositories(root, &profile.repositories)?;
        host_files::write(root, &state)?;
        Ok(standin)
    }

    /// The host that is below `root` already.
    pub fn open(root: &Path) -> Result<Self, StandinError> {
        let standin = Self {
            store: store::Store::below(root),
        };
        standin.state().map(|_| standin)
    }

    /// The directory tree.
    pub fn root(&self) -> &Path {
        self.store.root()
    }

    /// The state as it is now.
    pub fn state(&self) -> Result<State, StandinError> {
        self.store.load()
    }

    /// Changes the state under its lock, for what no other function does.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, StandinError> {
        self.store.change(|state| Ok(change(state)))
    }

    /// Runs `argv` (`["rpm-ostree", "status"]`, `["ostree", …]`, `["rpm", …]`) in this process, relative files in
    /// `directory`. A slow transaction is waited for here, so it ends with this process; the executable's does not.
    pub fn run(&self, argv: &[&str], directory: &Path) -> Result<Output, StandinError> {
        client::run_in_process(&self.store, argv, directory)
    }

    /// Shuts down and boots, as `how` says; rewrites the files that the running kernel would show.
    pub fn reboot(&self, how: &Reboot) -> Result<BootReport, StandinError> {
        let report = self.store.change(|state| Ok(boot::reboot(state, how)))?;
        host_files::write(self.root(), &self.state()?)?;
        Ok(report)
    }

    /// Sets something that shall go wrong.
    pub fn fault(&self, fault: Fault, times: Times) -> Result<(), StandinError> {
        self.change(|state| state.faults.push(fault::ActiveFault { fault, times }))
    }

    /// Nothing shall go wrong any more. Space and slowness stay as they are.
    pub fn clear_faults(&self) -> Result<(), StandinError> {
        self.change(|state| state.faults.clear())
    }

    /// A transaction of somebody else runs for `duration`; everything else is refused meanwhile.
    pub fn foreign_transaction(
        &self,
        title: &str,
        duration: std::time::Duration,
    ) -> Result<(), StandinError> {
        self.change(|state| transact::begin_foreign(state, title, duration))
    }

    /// Somebody else runs a command that stages something, say `["kargs", "--append=x"]`.
    pub fn foreign_stage(&self, arguments: &[&str]) -> Result<Output, StandinError> {
        let argv: Vec<&str> = std::iter::once("rpm-ostree")
            .chain(arguments.iter().copied())
            .collect();
        self.run(&argv, Path::new("/"))
    }

    /// What the repository at `url` serves from now on; cached metadata stay as they are.
    pub fn publish_repository(
        &self,
        url: &str,
        packages: Vec<Package>,
    ) -> Result<(), StandinError> {
        self.change(|state| {
            let generated = state
                .web
                .get(url)
                .map_or(catalog::GENERATED, |one| one.generated + 1);
            state.web.insert(
                url.to_owned(),
                Contents {
                    packages,
                    generated,
                },
            );
        })
    }

    /// A new base: at an ostree reference, or, when `reference` names a transport (`ostree-…:`), as an image.
    pub fn publish_base(&self, reference: &str, base: Base) -> Result<(), StandinError> {
        self.change(|state| transact::publish_base(state, reference, base))
    }

    /// Makes `directory` one that serves the programs: links named as they are to `executable`.
    pub fn link_programs(directory: &Path, executable: &Path) -> Result<(), StandinError> {
        std::fs::create_dir_all(directory).map_err(io("create", directory))?;
        for program in PROGRAMS {
            let link = directory.join(program);
            if link.symlink_metadata().is_ok() {
                std::fs::remove_file(&link).map_err(io("replace", &link))?;
            }
            std::os::unix::fs::symlink(executable, &link).map_err(io("link", &link))?;
        }
        Ok(())
    }
}

/// The state of the host at `root`, at its usual place or in `file`; for the executable.
pub fn store_of(root: Option<&Path>, file: Option<&Path>) -> Result<store::Store, StandinError> {
    match (root, file) {
        (Some(root), Some(file)) => Ok(store::Store::at(root, file)),
        (Some(root), None) => Ok(store::Store::below(root)),
        (None, _) => Err(StandinError::Refused(format!(
            "no host: set {ROOT_VARIABLE} to the simulated host's root; the stand-in works on no other"
        ))),
    }
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StandinError {
    let path = path.to_owned();
    move |source| StandinError::Io {
        action,
        path,
        source,
    }
}
