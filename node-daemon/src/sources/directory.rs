//! Packages out of a directory on the host: looked at where they lie. Must not change anything there.

use realtime_core::api::realtime_profile::PackagesSpec;
use realtime_core::kernel::Nevra;

use super::error::SourceError;
use super::inspect;
use super::limits::Limits;
use crate::host::Host;

/// The packages of a directory that can be meant, each whole.
pub async fn packages(
    host: &Host,
    directory: &str,
    packages: &PackagesSpec,
    limits: &Limits,
) -> Result<Vec<(Nevra, String)>, SourceError> {
    let unusable = |why: String| SourceError::Directory {
        directory: directory.to_owned(),
        why,
    };
    let names = host.list(directory).map_err(|error| {
        if error.is_not_found() {
            unusable("it is not there".to_owned())
        } else {
            unusable(error.to_string())
        }
    })?;
    let directory = directory.trim_end_matches('/');
    let mut paths = Vec::new();
    for name in names {
        if !inspect::is_package_name(&name) || !inspect::is_meant(&name, packages) {
            continue;
        }
        let path = format!("{directory}/{name}");
        // A link to a file elsewhere is taken for that file.
        if host.facts(&path, true)?.is_some_and(|facts| facts.is_file) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        return Err(unusable(
            "it has no RPM file whose name is one of a real-time kernel's packages".to_owned(),
        ));
    }
    if paths.len() > limits.files {
        return Err(unusable(format!(
            "it has {} such RPM files, more than {}",
            paths.len(),
            limits.files
        )));
    }
    let mut found = Vec::new();
    for path in paths {
        found.push((inspect::package(host, &path, true).await?, path));
    }
    Ok(found)
}
