//! One C program out of a Go module's files, linked statically.
//!
//! Must not decide what to build or where the result goes: `programs` does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cache::Pinned;
use super::catalog::{Program, Source};
use super::{Error, go_build};

/// Builds it into `output`; does nothing for a Go program.
pub(super) fn build(pinned: &Pinned, program: Program, output: &Path) -> Result<(), Error> {
    let Source::C(below) = program.source() else {
        return Ok(());
    };
    let name = program.file_name();
    go_build::progress(
        &format!("{} {}", pinned.module.name(), pinned.version),
        &format!("compiling {name}, a C program"),
    );
    let directory = go_build::module_directory(pinned)?.join(below);
    let mut files: Vec<PathBuf> = fs::read_dir(&directory)
        .map_err(Error::io("reading", &directory))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    files.sort();
    let failed = |reason| Error::C {
        program: name,
        reason,
    };
    let compiled = Command::new("cc")
        .args(["-std=c99", "-Os", "-static", "-o"])
        .arg(output.join(name))
        .args(&files)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if compiled.status.success() {
        return Ok(());
    }
    Err(failed(
        String::from_utf8_lossy(&compiled.stderr).into_owned(),
    ))
}
