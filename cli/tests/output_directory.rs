//! `-o DIR`: all files or none, and never over somebody else's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at what it doesn't expect"
)]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use common::oc;

fn crds(directory: &Path) -> common::Run {
    oc(&["crds", "-o", directory.to_str().unwrap()])
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

const CRDS: [&str; 3] = [
    "latencychecks.yaml",
    "realtimenodes.yaml",
    "realtimeprofiles.yaml",
];

#[test]
fn makes_the_directory_and_writes_it_again() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("a/b");
    crds(&directory).success();
    assert_eq!(names(&directory), CRDS);
    std::fs::write(directory.join("notes.txt"), "mine").unwrap();
    let file = directory.join(CRDS[0]);
    let first = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{first}# stale\n")).unwrap();
    crds(&directory).success();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), first);
    assert_eq!(
        names(&directory).len(),
        4,
        "nothing left beside: {:?}",
        names(&directory)
    );
}

#[test]
fn a_foreign_file_stops_everything() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    std::fs::write(directory.join(CRDS[1]), "mine\n").unwrap();
    let stderr = crds(directory).failure();
    assert!(
        stderr.contains(CRDS[1]) && stderr.contains("not written by"),
        "{stderr}"
    );
    assert_eq!(names(directory), [CRDS[1]]);
    assert_eq!(
        std::fs::read_to_string(directory.join(CRDS[1])).unwrap(),
        "mine\n"
    );
}

#[test]
fn a_link_is_never_followed() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("out");
    std::fs::create_dir(&directory).unwrap();
    let target = temporary.path().join("precious");
    std::fs::write(&target, "mine").unwrap();
    std::os::unix::fs::symlink(&target, directory.join(CRDS[2])).unwrap();
    crds(&directory).failure();
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "mine");
    assert_eq!(names(&directory), [CRDS[2]]);
}

#[test]
fn a_directory_in_the_place_of_a_file_stops_everything() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    std::fs::create_dir(directory.join(CRDS[0])).unwrap();
    crds(directory).failure();
    assert_eq!(names(directory), [CRDS[0]]);
}

#[test]
fn a_file_is_no_directory() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(crds(file.path()).failure().contains("not a directory"));
}

#[test]
fn a_directory_that_may_not_be_written_stays_as_it_is() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path().join("out");
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(directory.join("probe"), "").is_ok() {
        // Permissions bind nobody who runs as root.
        std::fs::remove_file(directory.join("probe")).unwrap();
    } else {
        crds(&directory).failure();
    }
    assert_eq!(names(&directory), Vec::<String>::new());
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_full_disk_leaves_the_old_files() {
    // A file size limit stands in for a full disk: the third file is larger than it, the first two are not.
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    crds(directory).success();
    let old = std::fs::read_to_string(directory.join(CRDS[0])).unwrap() + "# old\n";
    std::fs::write(directory.join(CRDS[0]), &old).unwrap();
    let script = format!(
        "trap '' XFSZ; ulimit -f 30; exec {} crds -o {}",
        env!("CARGO_BIN_EXE_oc-realtime"),
        directory.display()
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &script])
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(names(directory), CRDS);
    assert_eq!(
        std::fs::read_to_string(directory.join(CRDS[0])).unwrap(),
        old
    );
}
