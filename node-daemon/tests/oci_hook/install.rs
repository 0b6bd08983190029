//! The daemon's program on the host: whole, runnable, and written only when it is another one. The program is this test's.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use realtime_core::names::HOOK_PROGRAM;
use realtime_node_daemon::budget::install::{self, InstallError, Installed, install, put};
use realtime_node_daemon::host::Host;
use tempfile::TempDir;
use tokio::time::sleep;

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

/// What the daemon says.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines_with(&self, words: &str) -> usize {
        let text = self.0.lock().unwrap();
        let text = std::str::from_utf8(&text).unwrap();
        text.lines().filter(|line| line.contains(words)).count()
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_until_it_is_there_and_told_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    let _quiet = tracing::subscriber::set_default(subscriber);
    let folder = tempfile::tempdir().unwrap();
    // A folder in place of the host's programs: whether the program runs isn't asked.
    let host = Host::new(folder.path(), Some(folder.path().join("commands")));
    let path = folder.path().join(HOOK_PROGRAM.trim_start_matches('/'));
    let in_the_way = path.parent().unwrap();
    fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
    fs::write(in_the_way, "a file").unwrap();
    let running = tokio::spawn(install::run(host));
    sleep(Duration::from_secs(100)).await;
    assert!(!running.is_finished());
    assert_eq!(log.lines_with("WARN"), 1);

    fs::remove_file(in_the_way).unwrap();
    // Another error is told.
    fs::create_dir_all(&path).unwrap();
    sleep(Duration::from_secs(100)).await;
    assert!(!running.is_finished());
    assert_eq!(log.lines_with("WARN"), 2);

    fs::remove_dir(&path).unwrap();
    sleep(Duration::from_secs(31)).await;
    running.await.unwrap();
    assert!(path.is_file());
    assert_eq!(log.lines_with("is installed"), 1);
    assert_eq!(log.lines_with("WARN"), 2);
}

#[tokio::test]
async fn a_program_that_the_host_can_not_run_is_not_tried_for_again() {
    if !rustix::process::geteuid().is_root() {
        realtime_testing::skip("it needs root, for chroot");
        return;
    }
    let (_folder, host, _) = host();
    let ended = tokio::time::timeout(Duration::from_secs(20), install::run(host)).await;
    assert!(ended.is_ok());
}
