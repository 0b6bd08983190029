//! The state's file: read, and replaced under a lock. Must not know what is in it.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use super::state::State;
use super::{StandinError, io};

/// Below the simulated root: the state, its lock, and the results of transactions.
const DIRECTORY: &str = ".rpm-ostree-standin";

/// Where one host's state is.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    file: PathBuf,
}

impl Store {
    /// The usual place below `root`.
    pub fn below(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            file: root.join(DIRECTORY).join("state.json"),
        }
    }

    /// A state elsewhere, for a host at `root`.
    pub fn at(root: &Path, file: &Path) -> Self {
        Self {
            root: root.to_owned(),
            file: file.to_owned(),
        }
    }

    /// The simulated root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The state's file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The file in which a transaction's result waits for its clients.
    pub fn result(&self, transaction: u64) -> PathBuf {
        self.file
            .with_file_name(format!("transaction-{transaction}.json"))
    }

    /// The file in which a transaction's request waits for the process that carries it out.
    pub fn request(&self, transaction: u64) -> PathBuf {
        self.file
            .with_file_name(format!("request-{transaction}.json"))
    }

    /// Writes the first state.
    pub fn create(&self, state: &State) -> Result<(), StandinError> {
        let directory = self.file.parent().unwrap_or(&self.root);
        if self.file.exists() && directory.ends_with(DIRECTORY) {
            fs::remove_dir_all(directory).map_err(io("remove", directory))?;
        }
        fs::create_dir_all(directory).map_err(io("create", directory))?;
        self.save(state)
    }

    /// Reads it. Needs no lock: a change replaces the file as a whole.
    pub fn load(&self) -> Result<State, StandinError> {
        let text = fs::read(&self.file).map_err(io("read", &self.file))?;
        serde_json::from_slice(&text).map_err(|source| StandinError::State {
            path: self.file.clone(),
            source,
        })
    }

    /// Changes it under the lock. Nothing is written when `change` fails.
    pub fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, StandinError>,
    ) -> Result<T, StandinError> {
        let path = self.file.with_file_name("lock");
        let lock: File = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(io("open", &path))?;
        lock.lock().map_err(io("lock", &path))?;
        let mut state = self.load()?;
        let value = change(&mut state)?;
        self.save(&state)?;
        drop(lock);
        Ok(value)
    }

    fn save(&self, state: &State) -> Result<(), StandinError> {
        let text = serde_json::to_vec_pretty(state).map_err(|source| StandinError::State {
            path: self.file.clone(),
            source,
        })?;
        write(&self.file, &text)
    }
}

/// Replaces a file as a whole: a reader sees the old one or the new one.
pub fn write(path: &Path, text: &[u8]) -> Result<(), StandinError> {
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    fs::write(&temporary, text).map_err(io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(io("replace", path))
}
