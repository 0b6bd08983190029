//! The host's door with real files and real processes: links, bounds, hangs, floods, children, a chroot.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use realtime_node_daemon::host::{Host, HostError, READ_LIMIT, Runner, run};
use realtime_testing::skip;

/// Far more than anything here takes on a loaded machine.
const PLENTY: Duration = Duration::from_mins(2);

fn host() -> (tempfile::TempDir, Host) {
    let root = tempfile::tempdir().unwrap();
    let host = Host::new(root.path(), None);
    (root, host)
}

/// A runner of this machine's own programs, with a short grace.
fn here() -> Runner {
    Runner::new(Path::new("/"), None).with_grace(Duration::from_millis(300))
}

async fn shell(script: &str, limit: Duration) -> Result<run::Output, HostError> {
    here().run(&["sh", "-c", script], limit).await
}

/// Whether a process is there and is no zombie.
fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

/// Waits until a process is gone: being killed takes a moment.
fn wait_until_gone(pid: &str) {
    let began = Instant::now();
    while lives(pid) {
        assert!(began.elapsed() < PLENTY, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_file_is_read_through_links_within_the_root() {
    let (root, host) = host();
    host.make_folder("/usr/lib").unwrap();
    host.make_folder("/etc").unwrap();
    host.write_atomically("/usr/lib/os-release", b"ID=fedora\n")
        .unwrap();
    symlink("/usr/lib/os-release", root.path().join("etc/os-release")).unwrap();
    symlink("/etc/passwd-of-nobody", root.path().join("etc/broken")).unwrap();
    assert_eq!(host.read("/etc/os-release").unwrap(), "ID=fedora\n");
    assert!(host.exists("/etc/os-release"));
    assert!(!host.exists("/etc/broken"));
    assert_eq!(host.read_optional("/etc/broken").unwrap(), None);
    assert_eq!(
        host.read_link("/etc/os-release").unwrap(),
        Path::new("/usr/lib/os-release")
    );
    assert_eq!(host.list("/etc").unwrap(), ["broken", "os-release"]);
    let facts = host.facts("/etc/os-release", true).unwrap().unwrap();
    assert!(facts.is_file && facts.len == 10);
    assert!(
        !host
            .facts("/etc/os-release", false)
            .unwrap()
            .unwrap()
            .is_file
    );
    // The words name the path on the host, and not where the root is.
    let error = host.read("/etc/none").unwrap_err();
    assert!(error.is_not_found());
    assert_eq!(
        error.to_string(),
        "reading /etc/none: No such file or directory (os error 2)"
    );
}

#[test]
fn a_link_out_of_the_root_cannot_be_written_through() {
    let (root, _) = host();
    let outside = root.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::create_dir(root.path().join("host")).unwrap();
    let host = Host::new(root.path().join("host"), None);
    symlink(&outside, root.path().join("host/var")).unwrap();
    symlink("../outside", root.path().join("host/opt")).unwrap();
    assert!(
        host.write_atomically("/var/lib/record.json", b"{}")
            .is_err()
    );
    assert!(host.write_atomically("/opt/record.json", b"{}").is_err());
    assert!(host.open_to_write("/opt/record.json", false).is_err());
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_file_of_the_kernel_is_written_and_never_made() {
    let (root, host) = host();
    let error = host.write_existing("/cpuset.cpus", "0-3").unwrap_err();
    assert!(error.is_not_found());
    assert!(error.to_string().contains("(value \"0-3\")"), "{error}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    std::fs::write(root.path().join("cpuset.cpus"), "0-15").unwrap();
    host.write_existing("/cpuset.cpus", "0-3").unwrap();
    assert_eq!(host.read("/cpuset.cpus").unwrap(), "0-3");
}

#[test]
fn a_read_is_bounded_and_never_hangs() {
    let (root, host) = host();
    let file = std::fs::File::create(root.path().join("big")).unwrap();
    file.set_len(READ_LIMIT + 1).unwrap();
    assert!(matches!(host.read("/big"), Err(HostError::TooBig { .. })));
    file.set_len(READ_LIMIT).unwrap();
    assert_eq!(host.read("/big").unwrap().len() as u64, READ_LIMIT);
    rustix::fs::mkfifoat(rustix::fs::CWD, root.path().join("pipe"), 0o600.into()).unwrap();
    assert_eq!(host.read("/pipe").unwrap(), "");
    assert!(host.read("/").is_err());
    std::fs::write(root.path().join("latin"), b"caf\xe9").unwrap();
    assert_eq!(host.read("/latin").unwrap(), "caf\u{fffd}");
}

#[test]
fn a_file_of_ours_is_whole_or_not_there() {
    let (root, host) = host();
    let path = "/var/lib/realtime-node-daemon/record.json";
    host.write_atomically(path, b"{\"a\": 1}").unwrap();
    host.write_atomically(path, b"{}").unwrap();
    assert_eq!(host.read(path).unwrap(), "{}");
    assert_eq!(
        host.list("/var/lib/realtime-node-daemon").unwrap(),
        ["record.json"]
    );
    // What a crash left is overwritten.
    std::fs::write(
        root.path()
            .join("var/lib/realtime-node-daemon/record.json.new"),
        "{\"lo",
    )
    .unwrap();
    host.write_atomically(path, b"[]").unwrap();
    assert_eq!(host.read(path).unwrap(), "[]");
    host.remove(path).unwrap();
    host.remove(path).unwrap();
    assert!(!host.exists(path));
    assert!(host.free_bytes("/var").unwrap() > 0);
}

#[tokio::test]
async fn output_and_words_come_back() {
    let output = shell("echo out; echo said >&2", PLENTY).await.unwrap();
    assert_eq!(output.stdout, "out\n");
    assert_eq!(output.stderr, "said");
    match shell("echo no >&2; exit 77", PLENTY).await {
        Err(HostError::Failed {
            code: Some(77),
            stderr,
            ..
        }) => assert_eq!(stderr, "no"),
        other => panic!("{other:?}"),
    }
    match shell("kill -9 $$", PLENTY).await {
        Err(HostError::Failed { code: None, .. }) => {}
        other => panic!("{other:?}"),
    }
    match here().run(&["no-such-program"], PLENTY).await {
        Err(HostError::Start { source, .. }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_environment_is_ours_alone() {
    let output = shell("env; cat", PLENTY).await.unwrap().stdout;
    let names: Vec<&str> = output
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    assert!(
        output.contains("RPMOSTREE_CLIENT_ID=realtime-node-daemon\n"),
        "{output}"
    );
    assert!(
        !names.iter().any(|name| name.starts_with("CARGO")),
        "{output}"
    );
    assert!(!names.contains(&"REALTIME_HOST_ROOT"), "{output}");
}

#[tokio::test]
async fn a_flood_is_bounded() {
    // Words without an end, and not in UTF-8.
    let script = "head -c 3000000 /dev/urandom >&2; printf 'end\\303' >&2; exit 1";
    match shell(script, PLENTY).await {
        Err(HostError::Failed { stderr, .. }) => {
            // A byte that is no UTF-8 becomes three.
            assert!(stderr.len() <= 3 * run::STDERR_LIMIT + 3);
            assert!(stderr.starts_with('…') && stderr.ends_with("end\u{fffd}"));
        }
        other => panic!("{other:?}"),
    }
    match shell("head -c 20000000 /dev/zero", PLENTY).await {
        Err(HostError::TooMuchOutput { .. }) => {}
        other => panic!("{}", other.is_ok()),
    }
}

#[tokio::test]
async fn a_hanging_command_is_ended_with_all_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    // Children of children, one deaf to SIGTERM, all with the output open.
    let script = format!(
        "cd {}; for i in 1 2 3 4 5; do sh -c 'trap \"\" TERM; sh -c \"sleep 1000 & echo \\$! >> pids; wait\" & \
         echo $! >> pids; echo $$ >> pids; wait; wait' & done; echo started >&2; wait",
        folder.path().display()
    );
    let complete = || std::fs::read_to_string(&pids).is_ok_and(|text| text.lines().count() == 15);
    // The limit is long enough for all to have started, however loaded the machine is.
    let mut limit = Duration::from_millis(300);
    let stderr = loop {
        let _ = std::fs::remove_file(&pids);
        match shell(&script, limit).await {
            Err(HostError::TimeLimit { stderr, .. }) if complete() => break stderr,
            Err(HostError::TimeLimit { .. }) if limit < PLENTY => limit *= 2,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(stderr, "started");
    for pid in std::fs::read_to_string(&pids).unwrap().lines() {
        wait_until_gone(pid);
    }
}

#[tokio::test]
async fn a_command_is_asked_to_end_before_it_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "trap 'echo cleaned > {}/cleaned; exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done",
        folder.path().display()
    );
    let runner = Runner::new(Path::new("/"), None).with_grace(PLENTY);
    let mut limit = Duration::from_millis(300);
    loop {
        match runner.run(&["sh", "-c", &script], limit).await {
            // It ended with 0 at last, but not within its time.
            Err(HostError::TimeLimit { stderr, .. }) if stderr.starts_with("ready") => break,
            Err(HostError::TimeLimit { .. }) if limit < PLENTY => limit *= 2,
            other => panic!("{other:?}"),
        }
    }
    assert!(folder.path().join("cleaned").exists());
}

#[tokio::test]
async fn what_a_command_leaves_behind_ends_with_it() {
    let began = Instant::now();
    // The child holds both outputs open; nobody waits for it.
    let output = shell("sleep 1000 & echo $!", PLENTY).await.unwrap();
    assert!(began.elapsed() < PLENTY);
    wait_until_gone(&output.stdout);
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script = format!(
        "sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait",
        pids.display()
    );
    let running = tokio::spawn(async move { shell(&script, PLENTY).await });
    let began = Instant::now();
    while !pids.exists() {
        assert!(began.elapsed() < PLENTY);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    for pid in std::fs::read_to_string(&pids).unwrap().split_whitespace() {
        wait_until_gone(pid);
    }
}

#[tokio::test]
async fn a_commands_folder_replaces_the_hosts_programs() {
    let root = tempfile::tempdir().unwrap();
    let commands = tempfile::tempdir().unwrap();
    let program = commands.path().join("systemctl");
    std::fs::write(&program, "#!/bin/sh\necho \"$REALTIME_HOST_ROOT $*\"\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let host = Host::new(root.path(), Some(commands.path().to_owned()));
    let output = host
        .run(&["/usr/bin/systemctl", "reboot", "a b"], PLENTY)
        .await
        .unwrap();
    assert_eq!(
        output.stdout,
        format!("{} reboot a b\n", root.path().display())
    );
    assert!(host.has_program("systemctl") && !host.has_program("sh"));
    match host.run(&["sh", "-c", "true"], PLENTY).await {
        Err(HostError::Start { source, .. }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
}

/// Below another root a command runs chrooted into it.
#[tokio::test]
async fn in_a_container_a_command_sees_the_hosts_root() {
    let busybox = Path::new("/bin/busybox");
    if !rustix::process::geteuid().is_root() {
        return skip("a chroot needs root");
    }
    if !busybox.exists() {
        return skip("Debian's busybox-static isn't installed: hack/setup.sh test");
    }
    let (root, host) = host();
    host.make_folder("/usr/bin").unwrap();
    std::fs::copy(busybox, root.path().join("usr/bin/busybox")).unwrap();
    symlink("busybox", root.path().join("usr/bin/ls")).unwrap();
    assert!(host.has_program("ls") && !host.has_program("rpm-ostree"));
    let output = match host.run(&["ls", "/"], PLENTY).await {
        Err(HostError::Failed { stderr, .. })
            if stderr.contains("not found") || stderr.contains("dynamic") =>
        {
            return skip(&format!("busybox is not static: {stderr}"));
        }
        other => other.unwrap(),
    };
    assert_eq!(output.stdout, "usr\n");
    match host.run(&["rpm-ostree", "status"], PLENTY).await {
        Err(HostError::Start { source, command }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
            assert_eq!(command, "rpm-ostree status");
        }
        other => panic!("{other:?}"),
    }
    match host.run(&["ls", "/none"], PLENTY).await {
        Err(HostError::Failed { code: Some(1), .. }) => {}
        other => panic!("{other:?}"),
    }
}
