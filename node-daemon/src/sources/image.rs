//! Packages out of a container image that carries them as files, as OpenShift's extensions image does: pulled and mounted
//! by the host's podman, the kernel's packages copied into the cache, everything else left and the image removed again.
//! Must not run anything out of the image.

use std::os::fd::AsRawFd as _;
use std::time::Duration;

use realtime_core::api::realtime_profile::{PackageImage, PackagesSpec};
use realtime_core::kernel::Nevra;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::error::SourceError;
use super::limits::Limits;
use super::{cache, inspect};
use crate::host::{Host, HostError};

/// An image of several hundred megabytes over a slow line; podman tries again by itself.
const PULL_LIMIT: Duration = Duration::from_mins(45);
/// Anything that works with the local store only.
const LOCAL_LIMIT: Duration = Duration::from_mins(5);
/// On an OpenShift node: the credentials of the cluster's registries.
const CREDENTIALS: &str = "/var/lib/kubelet/config.json";
/// Folders below folders in an image.
const DEPTH: usize = 8;

/// What an image had, written down when all of it is in the cache.
#[derive(Serialize, Deserialize)]
struct Manifest {
    /// Package and SHA-256 of each file.
    files: Vec<(String, String)>,
}

/// The names in the cache that belong to an image, and the packages that it gave.
pub struct Taken {
    /// The packages and their paths.
    pub packages: Vec<(Nevra, String)>,
    /// Names, without endings, that must stay.
    pub keep: Vec<String>,
}

/// What is already in the cache of an image: names that must stay.
pub fn kept(host: &Host, image: &PackageImage, packages: &PackagesSpec) -> Vec<String> {
    let name = manifest_name(image, packages);
    let mut keep: Vec<String> = load(host, &name)
        .map(|manifest| {
            manifest
                .files
                .into_iter()
                .map(|(_, sha256)| sha256)
                .collect()
        })
        .unwrap_or_default();
    keep.push(name);
    keep
}

/// The packages of an image that can be meant, in the cache.
pub async fn packages(
    host: &Host,
    image: &PackageImage,
    packages: &PackagesSpec,
    limits: &Limits,
    keep: &[String],
) -> Result<Taken, SourceError> {
    let name = manifest_name(image, packages);
    let mut keep = keep.to_vec();
    keep.push(name.clone());
    if let Some(found) = cached(host, &name).await? {
        return Ok(Taken {
            packages: found,
            keep,
        });
    }
    if !host.has_program("podman") {
        return Err(SourceError::NoPodman);
    }
    cache::room(host, &image.reference, 0, limits, &keep)?;
    // A mark says that the image is here because of us, also to the daemon after a crash.
    let mark = format!("{}/{name}.pulled", cache::FOLDER);
    let present = run(host, image, &["image", "exists", &image.reference])
        .await
        .is_ok();
    let ours = !present || host.exists(&mark);
    if !present {
        host.write_atomically(&mark, b"")?;
        pull(host, image).await?;
    }
    let taken = take(host, image, packages, limits, &mut keep).await;
    // Best effort, whatever came of it: a second run finds what is left.
    if let Err(error) = run(host, image, &["image", "unmount", &image.reference]).await {
        tracing::warn!(%error, "an image stays mounted");
    }
    if ours {
        match run(host, image, &["image", "rm", &image.reference]).await {
            Ok(_) => host.remove(&mark)?,
            Err(error) => tracing::warn!(%error, "an image that was pulled stays"),
        }
    }
    let taken = taken?;
    let manifest = Manifest {
        files: taken
            .iter()
            .map(|(package, sha256)| (package.to_string(), sha256.clone()))
            .collect(),
    };
    let text = serde_json::to_vec(&manifest).unwrap_or_default();
    host.write_atomically(&format!("{}/{name}.json", cache::FOLDER), &text)?;
    Ok(Taken {
        packages: taken
            .into_iter()
            .map(|(package, sha256)| (package, cache::file(&sha256)))
            .collect(),
        keep,
    })
}

/// The image's name in the cache: by its reference, its path, and what is looked for in it.
fn manifest_name(image: &PackageImage, packages: &PackagesSpec) -> String {
    let mut hash = Sha256::new();
    for word in [
        &image.reference,
        image.path.as_ref().unwrap_or(&String::new()),
    ]
    .into_iter()
    .chain(&packages.install)
    {
        hash.update((word.len() as u64).to_be_bytes());
        hash.update(word);
    }
    format!("image-{}", &cache::hex(hash.finalize())[..32])
}

fn load(host: &Host, name: &str) -> Option<Manifest> {
    let text = host.read(&format!("{}/{name}.json", cache::FOLDER)).ok()?;
    serde_json::from_str(&text).ok()
}

/// What was taken before, when all of it is still what it was.
async fn cached(host: &Host, name: &str) -> Result<Option<Vec<(Nevra, String)>>, SourceError> {
    let Some(manifest) = load(host, name) else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for (package, sha256) in manifest.files {
        // A path made of the manifest's words must stay in the cache.
        let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(package) = Nevra::parse(&package).filter(|_| is_digest) else {
            return Ok(None);
        };
        if !cache::verified(host, &sha256).await? {
            return Ok(None);
        }
        found.push((package, cache::file(&sha256)));
    }
    Ok(Some(found).filter(|found| !found.is_empty()))
}

async fn pull(host: &Host, image: &PackageImage) -> Result<(), SourceError> {
    let mut argv = vec!["podman", "pull", "--quiet"];
    if host.exists(CREDENTIALS) {
        argv.extend(["--authfile", CREDENTIALS]);
    }
    argv.push(&image.reference);
    host.run(&argv, PULL_LIMIT).await.map_err(|error| {
        let why = said(error);
        let lower = why.to_lowercase();
        // Words of the registries and of podman's libraries.
        let refused = [
            "manifest unknown",
            "unauthorized",
            "denied",
            "name unknown",
            "not found",
        ];
        let refused = refused.iter().any(|words| lower.contains(words));
        unreadable(host, image, why, !refused)
    })?;
    Ok(())
}

/// Mounts the image, and copies what is meant.
async fn take(
    host: &Host,
    image: &PackageImage,
    packages: &PackagesSpec,
    limits: &Limits,
    keep: &mut Vec<String>,
) -> Result<Vec<(Nevra, String)>, SourceError> {
    let output = run(host, image, &["image", "mount", &image.reference]).await?;
    let mounted = output
        .lines()
        .map(str::trim)
        .rfind(|line| line.starts_with('/'));
    let Some(mounted) = mounted else {
        let why = format!("podman mounted it at {:?}", output.trim());
        return Err(unreadable(host, image, why, false));
    };
    // A root of its own: no link of the image leads into the host.
    let folder = host.open(mounted)?;
    let inside = Host::new(format!("/proc/self/fd/{}", folder.as_raw_fd()), None);
    let path = image.path.as_deref().unwrap_or("/");
    let mut taken = Vec::new();
    for file in found(&inside, path, packages, limits, image)? {
        let sha256 = cache::take(host, inside.clone(), file, limits, keep).await?;
        let package = inspect::package(host, &cache::file(&sha256), true).await;
        let package = package.inspect_err(|_| drop(host.remove(&cache::file(&sha256))))?;
        keep.push(sha256.clone());
        taken.push((package, sha256));
    }
    drop(folder);
    if taken.is_empty() {
        return Err(SourceError::ImageEmpty {
            reference: image.reference.clone(),
            path: path.to_owned(),
        });
    }
    Ok(taken)
}

/// The paths of the files that can be meant, at and below a path of the image.
fn found(
    inside: &Host,
    path: &str,
    packages: &PackagesSpec,
    limits: &Limits,
    image: &PackageImage,
) -> Result<Vec<String>, SourceError> {
    let mut files = Vec::new();
    let mut folders = vec![(path.trim_end_matches('/').to_owned(), 0)];
    let mut looked_at = 0;
    let too_many = |what: &str, limit: usize| SourceError::Image {
        reference: image.reference.clone(),
        why: format!("it has more than {limit} {what} below {path}"),
        remedy: "Name the folder with the kernel's packages in kernel.packages.source.image.path.",
        transient: false,
    };
    while let Some((folder, depth)) = folders.pop() {
        let names = match inside.list(&folder) {
            Err(error) if error.is_not_found() => continue,
            other => other?,
        };
        for name in names {
            looked_at += 1;
            if looked_at > limits.entries {
                return Err(too_many("entries", limits.entries));
            }
            let path = format!("{folder}/{name}");
            // A link is neither followed nor taken: what it leads to is found where it lies.
            match inside.facts(&path, false)? {
                Some(facts) if facts.is_folder && depth < DEPTH => folders.push((path, depth + 1)),
                Some(facts)
                    if facts.is_file
                        && inspect::is_package_name(&name)
                        && inspect::is_meant(&name, packages) =>
                {
                    files.push(path);
                }
                _ => {}
            }
        }
        if files.len() > limits.files {
            return Err(too_many("RPM files", limits.files));
        }
    }
    files.sort();
    Ok(files)
}

/// A command of podman on the local store.
async fn run(host: &Host, image: &PackageImage, words: &[&str]) -> Result<String, SourceError> {
    let argv: Vec<&str> = std::iter::once("podman")
        .chain(words.iter().copied())
        .collect();
    match host.run(&argv, LOCAL_LIMIT).await {
        Ok(output) => Ok(output.stdout),
        Err(error) => Err(unreadable(host, image, said(error), true)),
    }
}

fn said(error: HostError) -> String {
    match error {
        HostError::Failed { stderr, .. } if !stderr.is_empty() => stderr,
        other => other.to_string(),
    }
}

fn unreadable(host: &Host, image: &PackageImage, why: String, transient: bool) -> SourceError {
    if why.contains("no space left on device") {
        return SourceError::NoSpace {
            what: format!("the image {}", image.reference),
            folder: "/var/lib/containers".to_owned(),
            needed: 0,
            free: host.free_bytes("/var/lib/containers").unwrap_or(0),
        };
    }
    SourceError::Image {
        reference: image.reference.clone(),
        why,
        remedy: if transient {
            "Check the registry, the network and the host's podman; it is tried again."
        } else {
            "Correct kernel.packages.source.image in the profile, or give the node credentials for the registry."
        },
        transient,
    }
}
