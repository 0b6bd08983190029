//! What a command leaves behind: text on stdout, or files in a directory, all of them or none.

mod directory;

use std::io::Write as _;
use std::path::{Path, PathBuf};

pub use directory::DirectoryError;
use realtime_core::causes;

/// One file of the output.
#[derive(Debug)]
pub struct NamedFile {
    /// Its name, without a directory.
    pub name: String,
    /// Its whole content.
    pub content: String,
}

/// The output could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// Stdout: a full disk behind a redirection, for example.
    #[error("writing the output: {0}")]
    Stdout(std::io::Error),
    /// The directory.
    #[error("writing to {}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: DirectoryError,
    },
}

/// Prints all files one after the other when the target is `-`, or writes each into the directory.
pub fn write(target: &Path, files: &[NamedFile]) -> Result<(), OutputError> {
    if target == Path::new("-") {
        return print(files.iter().map(|file| file.content.as_str()));
    }
    directory::write_all(target, files).map_err(|source| OutputError::Directory {
        path: target.to_owned(),
        source,
    })
}

/// Prints texts. A reader that stops early (`| head`) is no error.
pub fn print<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<(), OutputError> {
    let mut stdout = std::io::BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    let result = texts
        .into_iter()
        .try_for_each(|text| stdout.write_all(text.as_bytes()))
        .and_then(|()| stdout.flush());
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(OutputError::Stdout),
    }
}

/// Tells an error on stderr, with its causes, never with a backtrace.
pub fn error(error: &dyn std::error::Error) {
    notice(&format!("error: {}", causes::told(error)));
}

/// A line on stderr. A closed stderr is nobody's error.
pub fn notice(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
