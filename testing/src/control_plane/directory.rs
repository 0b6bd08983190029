//! The directory of one control plane or one real node, and the sweep of those whose launcher and
//! supervisor were both killed. Must not touch a directory whose lock somebody holds.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const LOCK: &str = ".lock";

/// A directory that this process alone uses; whoever holds it removes it at the end.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes one for this user only, with a name that starts with `prefix`.
    pub fn create(parent: &Path, prefix: &str) -> io::Result<Self> {
        // While it is being made, a directory has no lock yet and another name.
        let prefix_of_new = format!(".{prefix}");
        let new = tempfile::Builder::new()
            .prefix(&prefix_of_new)
            .tempdir_in(parent)?;
        let lock = File::create(new.path().join(LOCK))?;
        lock.lock()?;
        let unique = new
            .path()
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let path = parent.join(unique.trim_start_matches('.'));
        fs::rename(new.path(), &path)?;
        // Its old name is gone: nothing is left that its own guard could remove.
        let _ = new.keep();
        Ok(Self { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The supervisor has removed it already, unless it was killed.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the directories that nobody holds any more. Best effort: what can't be removed stays.
pub fn sweep(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(prefix))
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if ours && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "realtime-test-";

    #[test]
    fn the_sweep_takes_only_what_nobody_holds() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let held = Directory::create(parent.path(), PREFIX).expect("directory");
        let stale = parent.path().join(format!("{PREFIX}stale"));
        let other = parent.path().join("other");
        for path in [&stale, &other] {
            fs::create_dir(path).expect("directory");
            fs::write(path.join(LOCK), "").expect("lock");
        }
        sweep(parent.path(), PREFIX);
        assert!(held.path().exists() && other.exists() && !stale.exists());
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists());
    }
}
