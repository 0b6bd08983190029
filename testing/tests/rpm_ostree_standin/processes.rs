//! Clients as processes of their own, for the scenes in which something happens while a transaction runs.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use realtime_testing::rpm_ostree_standin::{Output, RpmOstreeStandin};

/// A generous limit: the machine may be loaded.
const LIMIT: Duration = Duration::from_mins(2);

/// Starts a client of the stand-in's executable.
pub fn start(standin: &RpmOstreeStandin, directory: &Path, argv: &[String]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_rpm-ostree-standin"))
        .arg("--as")
        .args(argv)
        .current_dir(directory)
        .env("REALTIME_HOST_ROOT", standin.root())
        .env("RPMOSTREE_CLIENT_ID", "nodeagent")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until something holds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < LIMIT, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until a transaction runs that is carried out by a process of its own.
pub fn until_runs(standin: &RpmOstreeStandin, client: &mut Child) {
    let pid = client.id();
    until("a transaction runs", || {
        // One that was refused has ended, and its output says so.
        client.try_wait().unwrap().is_some()
            || standin
                .state()
                .unwrap()
                .transaction
                .is_some_and(|one| one.worker.is_some_and(|worker| worker != pid))
    });
}

/// Waits until none runs.
pub fn until_idle(standin: &RpmOstreeStandin) {
    until("no transaction runs", || {
        standin.state().unwrap().transaction.is_none()
    });
}

/// Sends a signal.
pub fn signal(process: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(process).unwrap());
    // One that has ended already shows by its output.
    let _ = nix::sys::signal::kill(pid, signal);
}

/// What a client came to.
pub fn output(child: Child) -> Output {
    use std::os::unix::process::ExitStatusExt as _;
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .trim_end_matches('\n')
            .to_owned()
    };
    Output {
        code: output
            .status
            .code()
            .or(output.status.signal().map(|signal| -signal))
            .unwrap(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}
