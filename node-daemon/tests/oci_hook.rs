//! The OCI hook from end to end: the daemon's own program as a runtime calls it, against sockets of every bad sort; the
//! script that the profile brings; the daemon's side of the socket; and pods on a real node with CRI-O.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "oci_hook/client.rs"]
mod client;
#[path = "oci_hook/install.rs"]
mod install;
#[path = "oci_hook/real_node.rs"]
mod real_node;
#[path = "oci_hook/script.rs"]
mod script;
#[path = "oci_hook/server.rs"]
mod server;

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The program.
const DAEMON: &str = env!("CARGO_BIN_EXE_realtime-node-daemon");
/// What the hook takes at most is 2 s; the rest is for a machine that is starved.
const BOUND: Duration = Duration::from_secs(7);
/// A container's id.
const ID: &str = "3f1c0a5e9b7d3f1c0a5e9b7d3f1c0a5e9b7d3f1c0a5e9b7d3f1c0a5e9b7d0001";

/// How a program ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stderr: String,
    took: Duration,
}

/// Runs a program with that on its standard input, to its end.
fn run(command: &mut Command, input: &[u8]) -> Ended {
    let began = Instant::now();
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = started(command);
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_owned();
    // A program that doesn't read all is no failure of the one who writes.
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("its end");
    let took = began.elapsed();
    let _ = writing.join();
    Ended {
        code: output.status.code(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took,
    }
}

/// Starts a program. Another thread's child has the file open that was just written until it is another program itself, and so
/// long nobody can run it ("Text file busy").
fn started(command: &mut Command) -> Child {
    let begun = Instant::now();
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == ErrorKind::ExecutableFileBusy && begun.elapsed() < BOUND =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            started => return started.expect("started"),
        }
    }
}

/// Runs the hook against a socket.
fn hook(socket: &Path, state: &Value) -> Ended {
    let mut command = Command::new(DAEMON);
    command.args(["oci-hook", "--socket"]).arg(socket);
    run(&mut command, state.to_string().as_bytes())
}

/// A state as CRI-O's runc gives it, with these annotations of the pod's.
fn state(kind: &str, annotations: &Value) -> Value {
    let mut all = json!({
        "io.kubernetes.cri-o.ContainerType": kind,
        "io.kubernetes.container.name": "main",
        "io.kubernetes.pod.name": "drive",
        "io.kubernetes.pod.namespace": "plant",
        "io.kubernetes.pod.uid": "0f1e",
    });
    for (key, text) in annotations.as_object().expect("an object") {
        all[key] = text.clone();
    }
    json!({
        "ociVersion": "1.2.1", "id": ID, "status": "creating", "pid": 4711,
        "bundle": "/nowhere", "annotations": all,
    })
}

/// The state of a container that asks, and whose pod says whether starting without is no good.
fn asking(required: bool) -> Value {
    state(
        "container",
        &json!({
            "realtime": "true",
            "rt_runtime_us": "25000",
            "realtime.openshift.io/required": required.to_string(),
        }),
    )
}

/// A file that the golden story of pods' budgets puts on a host: what `core` renders, byte for byte.
fn rendered(path: &str) -> String {
    let story = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../core/tests/render/pod-budget/expected/host")
        .join(path.trim_start_matches('/'));
    std::fs::read_to_string(&story).unwrap_or_else(|error| panic!("{}: {error}", story.display()))
}

/// The path, as `rendered` takes it.
const SCRIPT: &str = "/usr/local/bin/realtime-oci-hook";
const HOOK: &str = "/etc/containers/oci/hooks.d/99-realtime.json";

/// Writes a program.
fn program(path: PathBuf, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(&path, text).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}
