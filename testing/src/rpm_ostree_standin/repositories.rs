//! Repositories: the files below /etc/yum.repos.d, and their metadata with the cache's age. Must not choose packages.

use std::path::Path;

use super::state::{CachedMetadata, Contents, State, Version};

/// How long metadata are used when the repository's file doesn't say: 48 hours, libdnf's default, in seconds.
const EXPIRE: i64 = 48 * 3600;

/// One enabled repository.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Repository {
    /// The section's name.
    pub id: String,
    /// `baseurl`.
    pub url: String,
    /// `metadata_expire` in seconds.
    pub expire: i64,
}

/// The enabled repositories of a host, by id.
pub fn enabled(root: &Path) -> Vec<Repository> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(root.join("etc/yum.repos.d")) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "repo")
        {
            found.extend(parse(&std::fs::read_to_string(&path).unwrap_or_default()));
        }
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found
}

fn parse(text: &str) -> Vec<Repository> {
    let mut found: Vec<(Repository, bool)> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(id) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            let repository = Repository {
                id: id.to_owned(),
                url: String::new(),
                expire: EXPIRE,
            };
            found.push((repository, true));
        } else if let (Some((key, value)), Some((repository, enabled))) =
            (line.split_once('='), found.last_mut())
        {
            let value = value.trim();
            match key.trim() {
                "baseurl" => value.clone_into(&mut repository.url),
                "enabled" => *enabled = value != "0" && !value.eq_ignore_ascii_case("false"),
                "metadata_expire" => repository.expire = seconds(value),
                _ => {}
            }
        }
    }
    found
        .into_iter()
        .filter(|(_, enabled)| *enabled)
        .map(|(one, _)| one)
        .collect()
}

fn seconds(text: &str) -> i64 {
    let unit = match text.chars().last() {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => 1,
    };
    if text == "never" || text == "-1" {
        return i64::MAX;
    }
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    digits
        .parse::<i64>()
        .map_or(EXPIRE, |number| number.saturating_mul(unit))
}

/// Reads all metadata into the cache, if they are too old; writes what rpm-ostree prints to `out`.
pub fn refresh(
    state: &mut State,
    root: &Path,
    repositories: &[Repository],
    now: i64,
    out: &mut Vec<String>,
) -> Result<(), String> {
    if repositories.is_empty() {
        out.push("No enabled rpm-md repositories.".to_owned());
        out.push("Importing rpm-md...done".to_owned());
        return Ok(());
    }
    let ids: Vec<&str> = repositories.iter().map(|one| one.id.as_str()).collect();
    out.push(format!("Enabled rpm-md repositories: {}", ids.join(" ")));
    let mut lines = Vec::new();
    for repository in repositories {
        let fresh = state
            .metadata
            .get(&repository.id)
            .is_some_and(|cached| now.saturating_sub(cached.fetched) < repository.expire);
        if !fresh {
            out.push(format!("Updating metadata for '{}'...done", repository.id));
            let contents = fetch(state, root, repository)?;
            state.metadata.insert(
                repository.id.clone(),
                CachedMetadata {
                    contents,
                    fetched: now,
                },
            );
        }
        if let Some(cached) = state.metadata.get(&repository.id) {
            lines.push(format!(
                "rpm-md repo '{}'{}; generated: {} solvables: {}",
                repository.id,
                if fresh { " (cached)" } else { "" },
                super::status_text::time(cached.contents.generated),
                cached.contents.packages.len()
            ));
        }
    }
    out.push("Importing rpm-md...done".to_owned());
    out.extend(lines);
    Ok(())
}

/// What an address serves now.
pub fn served(state: &State, root: &Path, url: &str) -> Option<Contents> {
    let url = if url.ends_with('/') {
        url.to_owned()
    } else {
        format!("{url}/")
    };
    if let Some(contents) = state
        .web
        .get(&url)
        .or_else(|| state.web.get(url.trim_end_matches('/')))
    {
        return Some(contents.clone());
    }
    let directory = url.strip_prefix("file://")?;
    let directory = root.join(directory.trim_start_matches('/'));
    let mut packages: Vec<_> = std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|one| one == "rpm"))
        .filter_map(|entry| super::local::read(&entry.path()).ok())
        .map(|local| local.package)
        .collect();
    packages.sort_by_key(super::package::Package::nevra);
    Some(Contents {
        packages,
        generated: super::catalog::GENERATED,
    })
}

fn fetch(state: &State, root: &Path, repository: &Repository) -> Result<Contents, String> {
    served(state, root, &repository.url).ok_or_else(|| {
        let id = &repository.id;
        let reason = why_not(state, &format!("{}repodata/repomd.xml", with_slash(&repository.url)));
        format!(
            "Updating rpm-md repo '{id}': cannot update repo '{id}': Cannot download repomd.xml: Cannot download \
             repodata/repomd.xml: All mirrors were tried; Last error: {reason}"
        )
    })
}

fn with_slash(url: &str) -> String {
    if url.ends_with('/') {
        url.to_owned()
    } else {
        format!("{url}/")
    }
}

/// A server that serves something else answers 404; any other refuses the connection.
fn why_not(state: &State, url: &str) -> String {
    let authority = authority(url);
    let known = state
        .web
        .keys()
        .chain(state.files.keys())
        .any(|one| self::authority(one) == authority);
    if known {
        return format!("Status code: 404 for {url} (IP: 127.0.0.1)");
    }
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    format!(
        "Curl error (7): Couldn't connect to server for {url} [Failed to connect to {host} port {port} after 0 ms: \
         Couldn't connect to server]"
    )
}

/// `host:port` of an address.
pub fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Downloads packages of a repository. The error is what rpm-ostree prints: the metadata were stale.
pub fn check_download(
    state: &State,
    root: &Path,
    repository: &Repository,
    nevra: &str,
) -> Result<(), String> {
    let there = served(state, root, &repository.url)
        .is_some_and(|contents| contents.packages.iter().any(|one| one.nevra() == nevra));
    if there {
        return Ok(());
    }
    let file = file_name(nevra);
    let reason = why_not(state, &format!("{}{file}", with_slash(&repository.url)));
    let text = format!("Cannot download {file}: All mirrors were tried; Last error: {reason}");
    Err(match state.version {
        Version::V2023_2 => text,
        Version::V2024_7 => format!("Downloading from '{}': {text}", repository.id),
    })
}

/// A file's name has no epoch.
fn file_name(nevra: &str) -> String {
    super::package::Package::from_nevra(nevra).map_or_else(
        || format!("{nevra}.rpm"),
        |one| {
            format!(
                "{}-{}-{}.{}.rpm",
                one.name, one.version, one.release, one.arch
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_files_are_read() {
        let text = "[a]\nbaseurl=http://x/\nenabled=1\nmetadata_expire=1m\n[b]\nbaseurl=http://y/\nenabled=0\n";
        let found = parse(text);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id.as_str(), found[0].expire), ("a", 60));
    }
}
