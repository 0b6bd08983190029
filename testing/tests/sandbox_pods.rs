//! `make sandbox PODS=1 DEMO=1` to its end and to Ctrl-C, on both runtimes: the README says what it shows, and that it leaves
//! nothing behind. On the way a profile becomes pods' budgets by the operator's and the daemon's own hands.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use realtime_testing::real_node::{Runtime, cannot_run};

/// The demonstration takes half a minute; this is for a machine that is starved.
const LONG: Duration = Duration::from_mins(5);

/// One node at a time: each fills two cores while it starts.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The program, ended with the value.
struct Sandbox(Child);

impl Drop for Sandbox {
    fn drop(&mut self) {
        // An ended process can't be killed again. What is left of a node, its own processes clean up.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Directories and groups that are named after a node.
fn named_after(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn shows_and_leaves_nothing(runtime: Runtime) {
    if let Some(reason) = cannot_run(runtime) {
        return realtime_testing::skip(&reason);
    }
    if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        return realtime_testing::skip("the kernel has no budgets for groups of real-time threads");
    }
    let program = Path::new(env!("CARGO_BIN_EXE_sandbox-pods"));
    for other in ["realtime-operator", "realtime-node-daemon", "oc-realtime"] {
        let path = program.with_file_name(other);
        assert!(
            path.is_file(),
            "{other} is not built: cargo build --workspace --bins"
        );
    }
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let own = tempfile::tempdir().expect("a directory");
    let temporary = tempfile::tempdir().expect("a directory");
    let (said, shown) = (own.path().join("said"), own.path().join("shown"));
    let create = |path| File::create(path).expect("a file");
    let child = Command::new(program)
        .env("DEMO", "1")
        .env("RUNTIME", runtime.name())
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::null())
        .stdout(create(&shown))
        .stderr(create(&said))
        .spawn()
        .expect("the sandbox");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("pid"));
    let mut sandbox = Sandbox(child);
    let begun = Instant::now();
    while !text(&said).contains("Running until Ctrl-C") {
        let ended = sandbox.0.try_wait().expect("its state");
        assert!(
            ended.is_none() && begun.elapsed() < LONG,
            "{ended:?}\n{}\n{}",
            text(&said),
            text(&shown)
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let shown = text(&shown);
    for (words, times) in [
        // The operator has made the daemon's object, and the daemon has looked.
        (r#""mode":"V1Budget""#, 1),
        ("SCHED_FIFO granted", 1),
        (r#""appliedMicroseconds":25000"#, 1),
        // In the commands that are shown, and in their answers.
        ("RealtimeApplied", 2),
        ("default/spinner", 2),
        ("BUDGET", 1),
    ] {
        assert!(shown.matches(words).count() >= times, "{words}: {shown}");
    }
    let groups = named_after(temporary.path());
    assert!(!groups.is_empty());
    kill(pid, Signal::SIGINT).expect("Ctrl-C");
    let asked = Instant::now();
    let status = loop {
        if let Some(status) = sandbox.0.try_wait().expect("its state") {
            break status;
        }
        assert!(asked.elapsed() < LONG, "it doesn't end\n{}", text(&said));
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(status.success(), "{status}\n{}", text(&said));
    assert_eq!(named_after(temporary.path()), Vec::<String>::new());
    let left = named_after(Path::new("/sys/fs/cgroup/cpu"));
    assert!(groups.iter().all(|group| !left.contains(group)), "{left:?}");
}

#[test]
fn shows_pods_on_containerd_and_leaves_nothing() {
    shows_and_leaves_nothing(Runtime::Containerd);
}

#[test]
fn shows_pods_on_cri_o_and_leaves_nothing() {
    shows_and_leaves_nothing(Runtime::CriO);
}
