//! The key of an attempt: what was wanted, of what, on which base. There is at most one attempt for each key, so that a
//! kernel that does not come up never makes a reboot loop.

use serde_json::json;

use super::Wanted;
use super::packages::Chosen;
use super::record::{Attempt, Record};
use crate::render::hash::hash;

/// Two hashes with a slash between: of what is wanted on which base, and of the packages that were chosen (empty when
/// they are not known, as before the source was looked at).
pub(super) fn key(wanted: &Wanted, base: &str, chosen: Option<&Chosen>) -> String {
    let arguments: &[String] = if wanted.arguments_ours {
        &wanted.arguments
    } else {
        &[]
    };
    // What installs the real-time kernel says nothing about the stock kernel.
    let packages = wanted.realtime.then_some(&wanted.packages);
    let what = json!([wanted.realtime, arguments, packages, wanted.retry, base]);
    let of_packages = chosen.map_or_else(String::new, |chosen| hash(&json!(chosen.texts())));
    format!("{}/{of_packages}", hash(&what))
}

/// Whether two keys are of the same attempt; packages count only where both know them.
pub(super) fn same(left: &str, right: &str) -> bool {
    match (left.split_once('/'), right.split_once('/')) {
        (Some((left, left_packages)), Some((right, right_packages))) => {
            left == right
                && (left_packages == right_packages
                    || left_packages.is_empty()
                    || right_packages.is_empty())
        }
        _ => left == right,
    }
}

impl Attempt {
    /// Whether it has come to no end yet.
    pub(super) fn under_way(&self) -> bool {
        self.failed.is_none() && !self.succeeded
    }
}

impl Record {
    /// The attempt that is under way.
    pub(super) fn under_way(&self) -> Option<&Attempt> {
        self.attempt.as_ref().filter(|attempt| attempt.under_way())
    }
}
