//! The README is true: every command in it is typed here, in its order, into a sandbox.
//!
//! `oc` is kubectl with our plugin; a `NAME` is a simulated node's. What would build for minutes is
//! only asked what it would do (`make -n`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use realtime_testing::programs::{self, Program};
use realtime_testing::sandbox;
use tempfile::TempDir;
use tokio::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
}

/// Where cargo puts the programs of the whole workspace.
fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_sandbox")).with_file_name(name);
    assert!(
        path.is_file(),
        "{name} is not built: cargo build --workspace --bins"
    );
    path
}

/// The lines of the README's `sh` blocks, comments and blank lines left out.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut in_block = false;
    for line in readme.lines() {
        match line {
            "```sh" => in_block = true,
            "```" => in_block = false,
            _ if in_block => {
                let command = line.split(" # ").next().unwrap_or_default().trim();
                if !command.is_empty() && !command.starts_with('#') {
                    commands.push(command.to_owned());
                }
            }
            _ => {}
        }
    }
    commands
}

/// A folder with everything that the README takes for granted on the PATH.
fn path() -> TempDir {
    let kubectl = programs::path(Program::Kubectl).expect("kubectl");
    let folder = tempfile::tempdir().expect("temporary directory");
    for (name, target) in [
        ("oc", kubectl.clone()),
        ("kubectl", kubectl),
        ("kubectl-realtime", program("oc-realtime")),
        ("realtime-operator", program("realtime-operator")),
    ] {
        symlink(target, folder.path().join(name)).expect("symlink");
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_readme_works_in_its_order() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let commands = commands(&readme);
    assert!(commands.len() >= 8, "only these were found: {commands:?}");

    let sandbox = sandbox::start(root(), &program("realtime-operator"))
        .await
        .expect("the sandbox");
    let kubeconfig = sandbox.control_plane.admin_kubeconfig();
    let folder = tokio::task::block_in_place(path);

    for command in commands {
        let typed = match command.as_str() {
            // It runs already, under the rights that it ships with.
            command if command.ends_with(" realtime-operator") => {
                "realtime-operator --help".to_owned()
            }
            // A build of minutes.
            command if command.starts_with("make install") => {
                command.replacen("make", "make -n", 1)
            }
            // Two nodes, so that the pool of the example has a rollout to watch.
            command if command.ends_with("worker-rt=") => {
                command.replace("NAME", "worker-1 worker-2")
            }
            command => command.replace("NAME", "worker-1"),
        };
        println!("$ {typed}");
        let output = Command::new("bash")
            .args(["-c", &typed])
            .current_dir(root())
            .env("KUBECONFIG", &kubeconfig)
            .env(
                "PATH",
                format!(
                    "{}:{}",
                    folder.path().display(),
                    std::env::var("PATH").unwrap_or_default()
                ),
            )
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .expect("bash");
        let printed = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        // `plan` says by 2 that something would change.
        let wanted = if typed.contains("realtime plan") {
            2
        } else {
            0
        };
        let log = || fs::read_to_string(&sandbox.operator_log).unwrap_or_default();
        assert_eq!(
            output.status.code(),
            Some(wanted),
            "{typed}\n{printed}\nthe operator's log:\n{}",
            log()
        );
    }

    let left = Command::new("bash")
        .args([
            "-c",
            "oc get rtp,rtn,kubeletconfig,mcp,runtimeclass -o name",
        ])
        .env("KUBECONFIG", &kubeconfig)
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .output()
        .await
        .expect("bash");
    let left = String::from_utf8_lossy(&left.stdout).into_owned();
    assert!(
        !left.contains("worker-rt"),
        "after the README's last command this is left:\n{left}"
    );
}
