//! The text forms: `status`, differences of package sets, times. Pure.

use std::collections::BTreeMap;

use super::origin::Source;
use super::package::Package;
use super::state::{Deployment, State};
use super::status::is_booted;

/// `2026-11-21T10:21:29Z` of seconds since 1970.
pub fn time(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days since 0000-03-01, in eras of 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What changes from one set of packages to another, as commands print it.
pub fn diff(old: &[Package], new: &[Package]) -> Vec<String> {
    let by_name = |list: &[Package]| -> BTreeMap<String, Package> {
        list.iter()
            .map(|one| (one.name.clone(), one.clone()))
            .collect()
    };
    let (old, new) = (by_name(old), by_name(new));
    let (mut upgraded, mut downgraded, mut removed, mut added) = (vec![], vec![], vec![], vec![]);
    for (name, package) in &old {
        match new.get(name) {
            None => removed.push(format!("  {}", package.nevra())),
            Some(other) => {
                let line = format!("  {name} {} -> {}", package.evr(), other.evr());
                match package.compare(other) {
                    std::cmp::Ordering::Less => upgraded.push(line),
                    std::cmp::Ordering::Greater => downgraded.push(line),
                    std::cmp::Ordering::Equal => {}
                }
            }
        }
    }
    added.extend(
        new.iter()
            .filter(|(name, _)| !old.contains_key(*name))
            .map(|(_, one)| format!("  {}", one.nevra())),
    );
    let sections = [
        ("Upgraded:", upgraded),
        ("Downgraded:", downgraded),
        ("Removed:", removed),
        ("Added:", added),
    ];
    let mut lines = Vec::new();
    for (title, list) in sections {
        if !list.is_empty() {
            lines.push(title.to_owned());
            lines.extend(list);
        }
    }
    lines
}

/// `status`.
pub fn status(state: &State) -> String {
    let mut lines = Vec::new();
    match &state.transaction {
        None => lines.push("State: idle".to_owned()),
        Some(one) => {
            lines.push("State: busy".to_owned());
            lines.push(format!("Transaction: {}", one.title));
            lines.push(format!(
                "  Initiator: client(id:{} dbus:1.{} uid:0)",
                one.client, one.sender
            ));
        }
    }
    if let Some(message) = &state.boot.boot_complete_failure {
        lines.push("Warning: failed to finalize previous deployment".to_owned());
        lines.push(format!("         error: {message}"));
        lines
            .push("         check `journalctl -b -1 -u ostree-finalize-staged.service`".to_owned());
    }
    lines.push("Deployments:".to_owned());
    let texts: Vec<String> = state
        .deployments
        .iter()
        .map(|one| deployment(state, one))
        .collect();
    lines.push(texts.join("\n\n"));
    lines.join("\n")
}

fn deployment(state: &State, one: &Deployment) -> String {
    let mark = if is_booted(state, one) { "●" } else { " " };
    let mut lines = vec![format!("{mark} {}", one.origin.source.text())];
    let commit = state.commits.get(&one.base);
    let container = matches!(one.origin.source, Source::Container(_));
    let width = 25;
    let mut put = |key: &str, value: &str| lines.push(format!("{key:>width$}: {value}"));
    if let Some(digest) = commit
        .and_then(|commit| commit.digest.as_ref())
        .filter(|_| container)
    {
        put("Digest", digest);
    }
    if let Some(commit) = commit {
        let at = time(commit.base.timestamp);
        match &commit.base.version {
            Some(version) => put("Version", &format!("{version} ({at})")),
            None => put("Timestamp", &at),
        }
    }
    if !container {
        let key = if one.layer.is_some() {
            "BaseCommit"
        } else {
            "Commit"
        };
        put(key, &one.base);
    }
    let first = state
        .deployments
        .first()
        .is_some_and(|first| first.directory() == one.directory());
    if first && !is_booted(state, one) {
        let booted = state
            .booted()
            .and_then(|index| state.deployments.get(index));
        let text = booted
            .map(|booted| counts(&diff(&booted.packages, &one.packages)))
            .unwrap_or_default();
        if !text.is_empty() {
            put("Diff", &text);
        }
    }
    if let Some(layer) = &one.layer {
        if let Some(first) = layer.removed.first() {
            let names: Vec<&str> = layer
                .removed
                .iter()
                .map(|package| package.name.as_str())
                .collect();
            put(
                "RemovedBasePackages",
                &format!("{} {}", names.join(" "), first.evr()),
            );
        }
        for (new, old) in &layer.replaced_local {
            put(
                "ReplacedBasePackages",
                &format!("{} {} -> {}", new.name, old.evr(), new.evr()),
            );
        }
        let names: Vec<&str> = layer.active_requests.iter().map(String::as_str).collect();
        if !names.is_empty() {
            put("LayeredPackages", &wrapped(&names, width + 2));
        }
        let locals: Vec<&str> = one
            .origin
            .requested_local
            .keys()
            .map(String::as_str)
            .collect();
        if !locals.is_empty() {
            put("LocalPackages", &locals.join(&format!("\n{:width$}  ", "")));
        }
    }
    if one.pinned {
        put("Pinned", "yes");
    }
    lines.join("\n")
}

/// Words in lines of at most 80 columns, further lines indented as the first.
fn wrapped(words: &[&str], indent: usize) -> String {
    let mut text = String::new();
    let mut column = indent;
    for word in words {
        if text.is_empty() {
            text.push_str(word);
        } else if column + 1 + word.len() > 80 {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            text.push_str(word);
            column = indent;
        } else {
            text.push(' ');
            text.push_str(word);
            column += 1;
        }
        column += word.len();
    }
    text
}

fn counts(lines: &[String]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for line in lines {
        match (
            line.strip_suffix(':').filter(|_| !line.starts_with(' ')),
            counts.last_mut(),
        ) {
            (Some(title), _) => counts.push((title.to_lowercase(), 0)),
            (None, Some((_, count))) => *count += 1,
            (None, None) => {}
        }
    }
    let texts: Vec<String> = counts
        .iter()
        .map(|(title, count)| format!("{count} {title}"))
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_of_the_calendar() {
        assert_eq!(super::time(1_795_256_489), "2026-11-21T10:21:29Z");
        assert_eq!(super::time(951_782_400), "2000-02-29T00:00:00Z");
    }
}
