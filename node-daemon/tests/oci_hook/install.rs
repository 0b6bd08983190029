//! The daemon's program on the host: whole, runnable, and written only when it is another one. The program is this test's.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use realtime_core::names::HOOK_PROGRAM;
use realtime_node_daemon::budget::install::{InstallError, Installed, install, put};
use realtime_node_daemon::host::Host;
use tempfile::TempDir;

fn host() -> (TempDir, Host, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(folder.path(), None);
    let path = folder.path().join(HOOK_PROGRAM.trim_start_matches('/'));
    (folder, host, path)
}

#[test]
fn it_is_written_when_it_is_another_one_and_only_then() {
    let (_folder, host, path) = host();
    let own = fs::read(std::env::current_exe().unwrap()).unwrap();
    assert_eq!(put(&host).unwrap(), Installed::Now);
    assert!(fs::read(&path).unwrap() == own, "byte for byte");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o755
    );
    let first = fs::metadata(&path).unwrap().ino();
    assert_eq!(put(&host).unwrap(), Installed::Already);
    assert_eq!(fs::metadata(&path).unwrap().ino(), first);

    // One byte, of the same length.
    let mut other = own.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(&path, &other).unwrap();
    assert_eq!(put(&host).unwrap(), Installed::Now);
    assert!(fs::read(&path).unwrap() == own);
    // Not runnable.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(put(&host).unwrap(), Installed::Now);
    // A link, to whatever; and what a killed daemon left of a copy.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    fs::write(path.with_file_name("realtime-node-daemon.new"), "half").unwrap();
    assert_eq!(put(&host).unwrap(), Installed::Now);
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    let names = fs::read_dir(path.parent().unwrap()).unwrap().count();
    assert_eq!(names, 1, "nothing else is there");
}

#[test]
fn a_program_that_runs_is_replaced_too() {
    let (_folder, host, path) = host();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::copy("/bin/sleep", &path).unwrap();
    let mut old = std::process::Command::new(&path).arg("60").spawn().unwrap();
    assert_eq!(put(&host).unwrap(), Installed::Now);
    old.kill().unwrap();
    old.wait().unwrap();
}

#[tokio::test]
async fn a_host_that_can_not_run_it_is_told() {
    if !rustix::process::geteuid().is_root() {
        realtime_testing::skip("it needs root, for chroot");
        return;
    }
    // It has no libraries at all.
    let (_folder, host, path) = host();
    let error = install(&host).await.unwrap_err();
    assert!(matches!(error, InstallError::DoesNotRun(_)), "{error}");
    assert!(error.to_string().contains("does not run on this host"));
    assert!(path.is_file());
    assert!(matches!(put(&host), Ok(Installed::Already)));
}
