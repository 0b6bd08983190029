//! docs/node-daemon.md and what is shipped beside the program are true: commands are typed on a simulated host, the
//! configuration is read, the unit's command line is one, and no key is left out. (`oc` commands of documents are typed in
//! the sandbox's test.)
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test ends at what it doesn't expect, and `json!` values read better given away"
)]

mod support;

use std::fs;
use std::process::Command;

use clap::Parser as _;
use realtime_node_daemon::args::Args;
use realtime_node_daemon::config::Config;
use realtime_testing::rpm_ostree_standin::{OriginKind, Profile, Version};
use support::standalone::Standalone;
use support::workspace;

const CONFIG: &str = "/etc/realtime-node-daemon.yaml";

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap()
}

/// The commands of our program in the document's blocks.
fn commands() -> Vec<String> {
    let mut in_block = false;
    let mut commands = Vec::new();
    for line in read("docs/node-daemon.md").lines() {
        if line.starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            let line = line.strip_prefix("$ ").unwrap_or(line);
            if line.starts_with("realtime-node-daemon") {
                commands.push(line.to_owned());
            }
        }
    }
    commands
}

#[test]
fn every_command_can_be_typed() {
    let host = Standalone::new(&Profile::measured(Version::V2024_7, OriginKind::Container));
    let config = host.host.tree().root().with_file_name("shipped.yaml");
    fs::write(&config, read("node-daemon/realtime-node-daemon.yaml")).unwrap();
    let commands = commands();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in commands {
        let words: Vec<String> = command
            .split_whitespace()
            .map(|word| word.replace(CONFIG, &config.display().to_string()))
            .collect();
        let parsed =
            Args::try_parse_from(&words).unwrap_or_else(|error| panic!("{command}: {error}"));
        if parsed.command.is_none() {
            // It would not end.
            continue;
        }
        let mut program = Command::new(support::programs().daemon);
        program.args(&words[1..]).env_remove("RUST_LOG");
        for argument in host.host.arguments() {
            if !argument.starts_with("--node-name") {
                program.arg(argument);
            }
        }
        if parsed.config.is_none() {
            program.arg("--config").arg(&config);
        }
        let output = program.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // 2: a plan has steps, an audit differences.
        assert!(
            matches!(output.status.code(), Some(0 | 2)),
            "{command}: {said}"
        );
        assert!(!output.stdout.is_empty(), "{command}: {said}");
    }
}

#[test]
fn the_shipped_configuration_is_valid_and_asks_for_no_reboot() {
    let config = Config::parse(&read("node-daemon/realtime-node-daemon.yaml")).unwrap();
    assert!(config.node.unwrap().kernel.unwrap().realtime);
    assert!(!config.reboot);
}

#[test]
fn the_unit_starts_the_daemon_with_its_configuration() {
    let unit = read("node-daemon/realtime-node-daemon.service");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    let args = Args::try_parse_from(line.split_whitespace()).unwrap();
    assert_eq!(args.config.unwrap().to_str(), Some(CONFIG));
    assert!(args.command.is_none());
}

#[test]
fn every_key_is_in_the_document() {
    let text = read("docs/node-daemon.md");
    let told = Config::parse("no_such_key: 1").unwrap_err().to_string();
    let known = told.split("use one of: ").nth(1).expect(&told);
    for key in known.split(", ") {
        assert!(text.contains(&format!("| `{key}` |")), "{key}");
    }
    for code in ["| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 78 |"] {
        assert!(text.contains(code), "{code}");
    }
}
