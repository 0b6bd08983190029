//! The rpm repositories that the host has enabled, read from its own files. Must not contact any.

use std::collections::BTreeSet;

use crate::host::{Host, HostError};

/// Where dnf and rpm-ostree look.
const FOLDERS: [&str; 3] = [
    "/etc/yum.repos.d",
    "/etc/distro.repos.d",
    "/etc/yum/repos.d",
];
/// May hold repositories besides dnf's own section.
const DNF_CONFIGURATION: &str = "/etc/dnf/dnf.conf";
/// dnf's own section: no repository.
const MAIN: &str = "main";
/// More repository files than any host has.
const FILES_LIMIT: usize = 1024;
/// More bytes than any repository file has: RHEL's redhat.repo with all of its repositories is 100 kB.
const FILE_LIMIT: usize = 4 << 20;

/// Ids of the enabled repositories, sorted.
pub fn enabled(host: &Host) -> Result<Vec<String>, HostError> {
    let mut ids = BTreeSet::new();
    let mut files = vec![DNF_CONFIGURATION.to_owned()];
    for folder in FOLDERS {
        match host.list(folder) {
            Ok(names) => files.extend(
                names
                    .iter()
                    .filter(|name| name.strip_suffix(".repo").is_some())
                    .map(|name| format!("{folder}/{name}")),
            ),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    if files.len() > FILES_LIMIT {
        tracing::warn!(
            files = files.len(),
            "more repository files than are read: {FILES_LIMIT}"
        );
    }
    for file in files.iter().take(FILES_LIMIT) {
        // One broken file (a link that leads nowhere, a folder) hides no other.
        match host.read_optional(file) {
            Ok(Some(text)) if text.len() <= FILE_LIMIT => ids.extend(enabled_in(&text)),
            Ok(Some(_)) => tracing::warn!(file, "too big to be a repository file"),
            Ok(None) => {}
            Err(error) => tracing::warn!(file, %error, "a repository file can't be read"),
        }
    }
    Ok(ids.into_iter().collect())
}

/// Ids of the enabled repositories of one file. A repository without `enabled` is enabled.
fn enabled_in(text: &str) -> Vec<String> {
    let mut found: Vec<(String, bool)> = Vec::new();
    let mut in_repository = false;
    for line in text.lines() {
        // A line that begins with a blank continues the one before; comments begin in front.
        if line.starts_with(['#', ';', ' ', '\t']) {
            continue;
        }
        let line = line.trim();
        if let Some(id) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let id = id.0.trim();
            in_repository = !id.is_empty() && id != MAIN;
            if in_repository {
                found.push((id.to_owned(), true));
            }
        } else if let Some((key, value)) = line.split_once('=')
            && in_repository
            && key.trim() == "enabled"
            && let Some((_, enabled)) = found.last_mut()
        {
            let value = value.trim().to_ascii_lowercase();
            *enabled = matches!(value.as_str(), "1" | "yes" | "true" | "on");
        }
    }
    found
        .into_iter()
        .filter_map(|(id, enabled)| enabled.then_some(id))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn repositories_of_a_host() {
        let text = "# comment\n[main]\nenabled=1\n[baseos]\nname=BaseOS\nbaseurl=http://a/\n  http://b/enabled=0\n\
            gpgcheck=1\n\n[rt]\nenabled = 1\n[nfv]\nenabled=0\n[crb]\nenabled=False\n[extras]\n;enabled=0\nenabled=yes\n";
        assert_eq!(enabled_in(text), ["baseos", "rt", "extras"]);
        assert!(enabled_in("[]\n[main]\n]x[\nenabled=1").is_empty());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC*", lines in prop::collection::vec("[\\[\\]a-z=01 ]{0,12}", 0..12)) {
            let _ = enabled_in(&text);
            let _ = enabled_in(&lines.join("\n"));
        }

        #[test]
        fn what_is_written_is_read(repositories in prop::collection::btree_map("[a-z][a-z0-9-]{0,8}x", any::<bool>(), 0..6)) {
            use std::fmt::Write as _;
            let mut text = String::new();
            for (id, enabled) in &repositories {
                writeln!(text, "[{id}]\nname={id}\nenabled={}\n", u8::from(*enabled)).unwrap();
            }
            let wanted: Vec<String> = repositories.into_iter().filter_map(|(id, enabled)| enabled.then_some(id)).collect();
            prop_assert_eq!(enabled_in(&text), wanted);
        }
    }
}
