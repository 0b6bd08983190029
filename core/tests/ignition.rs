//! Every golden MachineConfig's Ignition config passes the real `ignition-validate` (Debian's package `ignition`).
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a test runs the real program and ends at what it doesn't expect"
)]

mod support;

use std::io::Write as _;
use std::process::{Command, Stdio};

use support::{name, rendered, skip, stories};

const PROGRAM: &str = "ignition-validate";

#[test]
fn every_ignition_config_is_valid_without_a_warning() {
    if Command::new(PROGRAM).arg("-version").output().is_err() {
        skip("ignition-validate isn't installed (Debian: ignition)");
        return;
    }
    for story in stories() {
        let config = rendered(&story, &story)
            .0
            .machine_config
            .unwrap()
            .spec
            .config
            .unwrap();
        let mut program = Command::new(PROGRAM)
            .arg("-")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = program.stdin.take().unwrap();
        input.write_all(config.to_string().as_bytes()).unwrap();
        drop(input);
        let output = program.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{}: {said}", name(&story));
        assert!(said.trim().is_empty(), "{}: {said}", name(&story));
    }
}
