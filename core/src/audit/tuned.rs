//! The active TuneD profile, and what TuneD's own verification says.

use super::{Audit, Observed, Wanted};
use crate::api::realtime_node::DriftArea;

pub(super) const ACTIVE_PROFILE: &str = "/etc/tuned/active_profile";
/// Where a profile's folder can be: administrators', the Node Tuning Operator's, the packages'.
pub(super) const FOLDERS: [&str; 5] = [
    "/etc/tuned",
    "/etc/tuned/profiles",
    "/var/lib/ocp-tuned/profiles",
    "/usr/lib/tuned",
    "/usr/lib/tuned/profiles",
];
/// Failures of a verification that are shown.
const MAX_FAILURES: usize = 8;

/// What `tuned-adm verify` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Whether all that the profile sets is so.
    pub passed: bool,
    /// What isn't, in TuneD's words; at most some.
    pub failures: Vec<String>,
}

/// From the exit code of `tuned-adm verify` and the part of `/var/log/tuned/tuned.log` that it has written.
pub fn verification(succeeded: bool, log: &str) -> Verification {
    let mut failures: Vec<String> = Vec::new();
    for line in log.lines() {
        let Some((_, failure)) = line.split_once("verify: failed: ") else {
            continue;
        };
        let failure: String = failure.trim().chars().take(super::MAX_TEXT).collect();
        if failures.len() < MAX_FAILURES && !failures.contains(&failure) {
            failures.push(failure);
        }
    }
    Verification {
        passed: succeeded,
        failures,
    }
}

pub(super) fn audit(wanted: &Wanted, observed: &Observed, found: &mut Audit) {
    let tuning = wanted.spec.tuning.as_ref();
    let Some(profile) = tuning.and_then(|tuning| tuning.tuned_profile.as_deref()) else {
        return;
    };
    let wanted = format!("TuneD profile {profile}");
    let active = observed
        .tuned_profile
        .or_else(|| observed.files.text(ACTIVE_PROFILE))
        .map(str::trim);
    match active {
        None => found.note(
            DriftArea::Tuned,
            format!(
                "{ACTIVE_PROFILE} isn't there: which TuneD profile is active is not known here. Sysctls, governor and idle \
                 states are checked by themselves."
            ),
        ),
        Some("") => found.drift(DriftArea::Tuned, wanted, "no active profile: TuneD is switched off"),
        // Of several, the last has the last word.
        Some(active) if active.split_whitespace().last() == Some(profile) => {}
        Some(active) if observed.tuned_profile.is_none() && !is_on_host(profile, observed) => found.drift(
            DriftArea::Tuned,
            wanted,
            format!("{active}, and the profile is not on this host: has the Node Tuning Operator brought it?"),
        ),
        Some(active) => found.drift(
            DriftArea::Tuned,
            wanted,
            format!("{active}; `tuned-adm profile {profile}` activates the right one"),
        ),
    }
    if let Some(verification) = observed.verification.filter(|found| !found.passed) {
        let found_text = if verification.failures.is_empty() {
            "`tuned-adm verify` fails and says no more".to_owned()
        } else {
            verification.failures.join("; ")
        };
        found.drift(
            DriftArea::Tuned,
            "what the active TuneD profile sets",
            format!("not so, by `tuned-adm verify`: {found_text}"),
        );
    }
}

fn is_on_host(profile: &str, observed: &Observed) -> bool {
    FOLDERS.iter().any(|folder| {
        observed
            .files
            .has(&format!("{folder}/{profile}/tuned.conf"))
    })
}
