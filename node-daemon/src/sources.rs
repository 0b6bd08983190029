//! Where the packages come from: repositories, addresses with a checksum, a directory, a container image. Makes files
//! ready on the host and says what they are; decides nothing about the kernel.
//!
//! Nothing half done is left: a file is in the cache under its SHA-256 when it has been verified, and as `.part` until
//! then. Every file of the cache is verified again each time before it is named.

use realtime_core::api::realtime_profile::{PackageUrl, PackagesSpec};
use realtime_core::kernel::{Nevra, Offered, Wanted};

use crate::host::Host;

pub mod cache;
mod directory;
pub mod download;
mod error;
mod image;
mod inspect;
mod limits;
pub mod repositories;

pub use error::SourceError;
pub use limits::Limits;

/// Makes what a profile names ready on the host.
pub async fn prepare(host: &Host, wanted: &Wanted) -> Offered {
    prepare_within(host, wanted, &Limits::default()).await
}

/// The same within other limits.
pub async fn prepare_within(host: &Host, wanted: &Wanted, limits: &Limits) -> Offered {
    if !wanted.realtime {
        // The way back needs nothing: rpm-ostree has the base, dnf the kernel that is still installed.
        return Offered::Repositories;
    }
    match offer(host, &wanted.packages, limits).await {
        Ok(offered) => offered,
        Err(error) => {
            tracing::warn!(%error, transient = error.transient(), "the package source can't be used");
            error.offered()
        }
    }
}

async fn offer(
    host: &Host,
    packages: &PackagesSpec,
    limits: &Limits,
) -> Result<Offered, SourceError> {
    let source = packages.source.clone().unwrap_or_default();
    // 1. What costs nothing to look at.
    if let Some(ids) = &source.repositories {
        check_repositories(host, ids)?;
    }
    // 2. What must not make room for anything else.
    let urls = source.urls.as_deref().unwrap_or_default();
    let mut keep: Vec<String> = urls
        .iter()
        .chain(&packages.replace)
        .map(|package| package.sha256.clone())
        .collect();
    if let Some(image) = &source.image {
        keep.extend(image::kept(host, image, packages));
    }
    cache::evict(host, limits.cache, &keep)?;
    // 3. The kernel's packages.
    let mut files = fetch(host, urls, limits, &keep).await?;
    if let Some(directory) = &source.directory {
        files = directory::packages(host, directory, packages, limits).await?;
    }
    if let Some(image) = &source.image {
        let taken = image::packages(host, image, packages, limits, &keep).await?;
        files = taken.packages;
        keep = taken.keep;
    }
    // 4. What replaces packages of the base.
    files.extend(fetch(host, &packages.replace, limits, &keep).await?);
    Ok(if files.is_empty() {
        Offered::Repositories
    } else {
        Offered::Files(files)
    })
}

/// Repositories must be enabled: which ones a package comes from is not asked of them here.
fn check_repositories(host: &Host, ids: &[String]) -> Result<(), SourceError> {
    let there = repositories::enabled(host)?;
    let missing: Vec<String> = ids
        .iter()
        .filter(|id| !there.contains(id))
        .cloned()
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(SourceError::NotEnabled { missing, there })
    }
}

async fn fetch(
    host: &Host,
    urls: &[PackageUrl],
    limits: &Limits,
    keep: &[String],
) -> Result<Vec<(Nevra, String)>, SourceError> {
    if urls.is_empty() {
        return Ok(Vec::new());
    }
    let client = download::Client::new(host, limits);
    let mut files = Vec::new();
    for package in urls {
        client.fetch(package, keep).await?;
        let path = cache::file(&package.sha256);
        let nevra = inspect::package(host, &path, false)
            .await
            .map_err(|error| match error {
                // The address says more than our name for it.
                SourceError::Damaged { why, .. } => SourceError::Damaged {
                    file: package.url.clone(),
                    why,
                },
                other => other,
            })?;
        files.push((nevra, path));
    }
    Ok(files)
}
