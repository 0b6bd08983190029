//! Several files into one directory: all of them or none, and never over somebody else's file.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::NamedFile;

/// Every file that we write opens with this line; only such files are overwritten or removed later.
pub const MARKER: &str = "# Written by `oc realtime`; changes here are lost.\n";

/// The directory was left as it was.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It could not be made or opened.
    #[error("creating the directory: {0}")]
    Create(io::Error),
    /// It is a file.
    #[error("it is not a directory")]
    NotADirectory,
    /// Files that we did not write stand where ours would.
    #[error("these files were not written by `oc realtime` and stay as they are: {}; remove them, or choose another directory", .0.join(", "))]
    Foreign(Vec<String>),
    /// A file could not be written.
    #[error("writing {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Writes all files, or leaves the directory as it was.
///
/// 1. A directory that doesn't exist is made beside its place and renamed into it: one step.
/// 2. Refuse when a foreign file is in the way: nothing has been touched.
/// 3. Write every file beside its place: a full disk stops here, and what was written is removed.
/// 4. Keep a second link to each file that is replaced, then rename all into place; when a rename
///    fails, the old ones are put back.
pub fn write_all(directory: &Path, files: &[NamedFile]) -> Result<(), DirectoryError> {
    match directory.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return write_new_directory(directory, files);
        }
        Err(error) => return Err(DirectoryError::Create(error)),
        Ok(_) if !directory.is_dir() => return Err(DirectoryError::NotADirectory),
        Ok(_) => {}
    }
    let foreign: Vec<String> = files
        .iter()
        .filter(|file| !replaceable(&directory.join(&file.name)))
        .map(|file| file.name.clone())
        .collect();
    if !foreign.is_empty() {
        return Err(DirectoryError::Foreign(foreign));
    }
    let mut staged = Staged::default();
    let result = staged
        .stage(directory, files)
        .and_then(|()| staged.commit());
    staged.clean_up();
    result
}

fn write_new_directory(directory: &Path, files: &[NamedFile]) -> Result<(), DirectoryError> {
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(DirectoryError::Create)?;
    let beside = parent.join(format!(".oc-realtime-new-{}", std::process::id()));
    std::fs::create_dir(&beside).map_err(DirectoryError::Create)?;
    let result = files
        .iter()
        .try_for_each(|file| {
            let path = beside.join(&file.name);
            write_new(&path, &file.content).map_err(|source| DirectoryError::Write {
                path: directory.join(&file.name),
                source,
            })
        })
        .and_then(|()| std::fs::rename(&beside, directory).map_err(DirectoryError::Create));
    if result.is_err() {
        // Only what this call made; an error here can't be told better than the one that caused it.
        let _ = std::fs::remove_dir_all(&beside);
    }
    result
}

/// Absent, or one of ours.
fn replaceable(path: &Path) -> bool {
    match path.symlink_metadata() {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(metadata) => metadata.is_file() && starts_with_marker(path),
    }
}

fn starts_with_marker(path: &Path) -> bool {
    let mut head = vec![0; MARKER.len()];
    std::fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut head))
        .is_ok_and(|()| head == MARKER.as_bytes())
}

/// Files beside their places.
#[derive(Default)]
struct Staged {
    files: Vec<StagedFile>,
}

struct StagedFile {
    place: PathBuf,
    new: PathBuf,
    old: PathBuf,
    had_old: bool,
    in_place: bool,
}

impl Staged {
    fn stage(&mut self, directory: &Path, files: &[NamedFile]) -> Result<(), DirectoryError> {
        let suffix = std::process::id();
        for file in files {
            let staged = StagedFile {
                place: directory.join(&file.name),
                new: directory.join(format!(".{}.new-{suffix}", file.name)),
                old: directory.join(format!(".{}.old-{suffix}", file.name)),
                had_old: false,
                in_place: false,
            };
            let path = staged.new.clone();
            self.files.push(staged);
            write_new(&path, &file.content)
                .map_err(|source| DirectoryError::Write { path, source })?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), DirectoryError> {
        for index in 0..self.files.len() {
            if let Err(source) = self.files[index].put_in_place() {
                let path = self.files[index].place.clone();
                for file in &mut self.files {
                    file.put_back();
                }
                return Err(DirectoryError::Write { path, source });
            }
        }
        Ok(())
    }

    fn clean_up(&self) {
        for file in &self.files {
            let _ = std::fs::remove_file(&file.new);
            let _ = std::fs::remove_file(&file.old);
        }
    }
}

impl StagedFile {
    fn put_in_place(&mut self) -> io::Result<()> {
        if self.place.exists() {
            std::fs::hard_link(&self.place, &self.old)?;
            self.had_old = true;
        }
        std::fs::rename(&self.new, &self.place)?;
        self.in_place = true;
        Ok(())
    }

    fn put_back(&mut self) {
        if !self.in_place {
            return;
        }
        let _ = if self.had_old {
            std::fs::rename(&self.old, &self.place)
        } else {
            std::fs::remove_file(&self.place)
        };
    }
}

fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?;
    file.write_all(MARKER.as_bytes())?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}
