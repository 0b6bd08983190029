//! What the daemon's tests share: the programs, hosts without a cluster, hosts in one.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking, each test binary uses a part of this, and `json!` values read better given away"
)]

pub mod cluster;
pub mod standalone;

use std::path::{Path, PathBuf};

use realtime_testing::sandbox::Programs;

/// Where the workspace is.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

/// The daemon, which cargo builds for these tests, and what it does not build: the others beside it.
pub fn programs() -> Programs {
    let daemon = PathBuf::from(env!("CARGO_BIN_EXE_realtime-node-daemon"));
    // Another folder, so that a build that goes on meanwhile doesn't change a program in the middle of a test.
    let folder = std::env::var_os("RT_TEST_PROGRAMS").map(PathBuf::from);
    let folder = folder.as_deref().or_else(|| daemon.parent());
    let programs = Programs::in_folder(folder.expect("a folder"));
    for path in [&programs.operator, &programs.standin] {
        assert!(
            path.is_file(),
            "{} is not built: cargo build --workspace --bins",
            path.display()
        );
    }
    programs
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
