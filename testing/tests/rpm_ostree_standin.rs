//! Conformance: the recordings of the real rpm-ostree, replayed against the stand-in, and what only the stand-in has.

// A test reports by panicking; the helpers below are no test functions, so the settings for tests don't reach them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "rpm_ostree_standin/compare.rs"]
mod compare;
#[path = "rpm_ostree_standin/differences.rs"]
mod differences;
#[path = "rpm_ostree_standin/own.rs"]
mod own;
#[path = "rpm_ostree_standin/processes.rs"]
mod processes;
#[path = "rpm_ostree_standin/recording.rs"]
mod recording;
#[path = "rpm_ostree_standin/replay.rs"]
mod replay;

use std::collections::BTreeMap;

use realtime_testing::skip;

#[test]
fn recording_of_2023_2() {
    conforms("2023.2");
}

#[test]
fn recording_of_2024_7() {
    conforms("2024.7");
}

fn conforms(version: &str) {
    let Some(recording) = recording::Recording::load(version) else {
        skip(&format!("no recording of rpm-ostree {version}"));
        return;
    };
    let report = replay::replay(version, &recording);
    let expected: BTreeMap<u64, &str> = differences::of(version)
        .map(|difference| (difference.number, difference.reason))
        .collect();
    println!("{}", report.summary(version, expected.len()));
    let mut wrong = Vec::new();
    for (number, mismatch) in &report.mismatches {
        if !expected.contains_key(number) {
            wrong.push(format!("{number}: {mismatch}"));
        }
    }
    for number in expected.keys() {
        if !report.mismatches.contains_key(number) {
            wrong.push(format!(
                "{number}: matches now; take it off the table of differences"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        report.compared,
        wrong.join("\n")
    );
}
