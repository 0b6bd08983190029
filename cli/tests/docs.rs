//! The documents say what is true: commands are run, generated parts are compared, no reason is left out.
//!
//! Each ```console block of README.md and docs/**/*.md is a transcript: `$ ` lines are commands, what follows is their
//! output. A block whose first command is an offline `oc realtime` is run and compared; `UPDATE_GOLDEN=1` writes it.
//! Other blocks are a cluster's: the sandbox's tests run those.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at what it doesn't expect"
)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{oc, root};

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";
/// What needs no cluster.
const OFFLINE: [&str; 4] = ["render", "validate", "crds", "--"];

fn update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}

fn documents() -> Vec<PathBuf> {
    fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(&root().join("docs"), &mut found);
    found.extend(Some(root().join("README.md")).filter(|readme| readme.exists()));
    found.sort();
    found
}

/// A `$ ` line and what it prints, by a shell in the repository with our binary as `oc realtime`.
fn transcript(command: &str) -> String {
    let bin = tempfile::tempdir().unwrap();
    let oc = format!(
        "#!/bin/sh\ntest \"$1\" = realtime || exit 64\nshift\nexec '{}' \"$@\"\n",
        env!("CARGO_BIN_EXE_oc-realtime")
    );
    for name in ["oc", "kubectl"] {
        let path = bin.path().join(name);
        fs::write(&path, &oc).unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let path = format!(
        "{}:{}",
        bin.path().display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new("bash")
        .args(["-c", &format!("exec 2>&1; {command}")])
        .current_dir(root())
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .env_remove("KUBECONFIG")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn is_offline(command: &str) -> bool {
    let words = command
        .strip_prefix("oc realtime ")
        .or_else(|| command.strip_prefix("kubectl realtime "));
    words.is_some_and(|words| OFFLINE.iter().any(|offline| words.starts_with(offline)))
}

/// The document with the output of every offline command put in anew; and how many commands were run.
fn run_again(text: &str) -> (String, usize) {
    let mut fresh = String::new();
    let mut run = 0;
    let mut in_block = false;
    let mut skipping = false;
    for line in text.lines() {
        if in_block {
            if line == "```" {
                (in_block, skipping) = (false, false);
            } else if let Some(command) = line.strip_prefix("$ ") {
                skipping = is_offline(command);
                fresh.push_str(line);
                fresh.push('\n');
                if skipping {
                    fresh.push_str(&transcript(command));
                    run += 1;
                }
                continue;
            } else if skipping {
                continue;
            }
        } else if line == "```console" {
            in_block = true;
        }
        fresh.push_str(line);
        fresh.push('\n');
    }
    (fresh, run)
}

#[test]
fn commands_print_what_the_documents_say() {
    let mut run = 0;
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        let (fresh, commands) = run_again(&text);
        run += commands;
        if update() && fresh != text {
            fs::write(&path, &fresh).unwrap();
        } else {
            assert_eq!(
                text,
                fresh,
                "{}: `UPDATE_GOLDEN=1` writes what is true",
                path.display()
            );
        }
    }
    assert!(run >= 3, "only {run} commands were found");
}

#[test]
fn the_reference_is_generated() {
    let path = root().join("docs/profile.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let fresh = format!(
        "{before}{BEGIN}{}\n{END}{after}",
        oc(&["reference"]).success()
    );
    if update() {
        fs::write(&path, fresh).unwrap();
    } else {
        assert!(
            text == fresh,
            "docs/profile.md is not what the schema says: `UPDATE_GOLDEN=1` writes it"
        );
    }
}

#[test]
fn each_reason_is_explained_once() {
    let source = fs::read_to_string(root().join("core/src/conditions.rs")).unwrap();
    let (_, reasons) = source.split_once("pub mod reason {").unwrap();
    let (reasons, _) = reasons.split_once("\n}").unwrap();
    let mut reasons: Vec<&str> = reasons
        .lines()
        .filter(|line| line.trim_start().starts_with("pub const"))
        .map(|line| line.split('"').nth(1).unwrap())
        .collect();
    assert!(reasons.len() > 20, "{reasons:?}");
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    // A heading may name several: ### `One` and `Two`
    let mut explained: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("### `"))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .collect();
    reasons.sort_unstable();
    explained.sort_unstable();
    assert_eq!(
        explained, reasons,
        "docs/troubleshooting.md on the left, core/src/conditions.rs on the right"
    );
}

#[test]
fn links_lead_somewhere() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = target.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            let linked = path.parent().unwrap().join(file);
            assert!(linked.exists(), "{}: {target} is not there", path.display());
        }
    }
}

#[test]
fn no_document_names_this_machine() {
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        for private in ["/root/", "/home/"] {
            assert!(!text.contains(private), "{}: {private}", path.display());
        }
    }
}
