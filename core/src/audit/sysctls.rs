//! Kernel parameters: the profile's, compared as TuneD compares them.

use super::{Audit, Observed, Wanted};
use crate::api::realtime_node::DriftArea;

pub(super) fn audit(wanted: &Wanted, observed: &Observed, found: &mut Audit) {
    let Some(tuning) = &wanted.spec.tuning else {
        return;
    };
    for (key, value) in &tuning.sysctls {
        // A variable or function of TuneD: only TuneD knows what it stands for.
        let Some(path) = path(key).filter(|_| !value.contains("${")) else {
            let text = format!("{key} = {value} is not checked: only TuneD can say what it means.");
            found.note(DriftArea::Sysctl, text);
            continue;
        };
        match observed.files.text(&path) {
            None if observed.files.has("/proc/cmdline") => found.note(
                DriftArea::Sysctl,
                format!("{path} isn't there (or not readable): this kernel has no {key}."),
            ),
            None => {}
            Some(text) if holds(value, text) => {}
            Some(text) => found.drift(
                DriftArea::Sysctl,
                format!("{key} = {value}"),
                format!(
                    "{}; `sysctl -w {key}='{}'` sets it",
                    words(text),
                    value.trim_start_matches(['<', '>'])
                ),
            ),
        }
    }
}

/// The file of a parameter. `None` for a name that leads out of its folder.
pub(super) fn path(key: &str) -> Option<String> {
    let parts = key.replace('.', "/");
    let plain = parts
        .split('/')
        .all(|part| !part.is_empty() && !part.contains(['*', '#', '\0']));
    plain.then(|| format!("/proc/sys/{parts}"))
}

/// `>5`: at least 5; `<5`: at most. Else equal, as numbers or with any white space between words.
fn holds(wanted: &str, found: &str) -> bool {
    let (wanted, found) = (words(wanted), words(found));
    let numbers = |wanted: &str| {
        Some((
            wanted.trim().parse::<i64>().ok()?,
            found.parse::<i64>().ok()?,
        ))
    };
    if let Some(limit) = wanted.strip_prefix('>') {
        return numbers(limit).is_none_or(|(wanted, found)| found >= wanted);
    }
    if let Some(limit) = wanted.strip_prefix('<') {
        return numbers(limit).is_none_or(|(wanted, found)| found <= wanted);
    }
    numbers(&wanted).map_or(wanted == found, |(wanted, found)| wanted == found)
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
