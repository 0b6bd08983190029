//! The documents are true: every command of the README is typed here, in its order, into a sandbox, and
//! every command of docs/ while its rollout is done.
//!
//! `oc` is kubectl with our plugin; a `NAME` is a simulated node's. What would build for minutes is
//! only asked what it would do (`make -n`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use realtime_testing::control_plane::{ControlPlane, Options};
use realtime_testing::programs::{self, Program};
use realtime_testing::sandbox::{self, Kernel, Programs};
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

/// What a document names without meaning it to be typed as it stands.
const NAMED_ONLY: [&str; 12] = [
    // The operator makes it anew; a node that is gone has none.
    "oc delete rtn NODE",
    "oc realtime",
    "oc realtime plan",
    "oc realtime validate",
    "oc realtime watch",
    "oc explain",
    "oc adm drain",
    "oc realtime …",
    // No pod runs in the sandbox; cli/tests/why.rs asks about many.
    "oc realtime why",
    "oc realtime why lab/spinner",
    "oc realtime why -n lab spinner --output json",
    "oc realtime why NAMESPACE/POD",
];

/// The commands of docs/: lines of blocks and words in backquotes that begin with `oc `.
fn commands_of_docs() -> Vec<(String, String)> {
    let mut commands = Vec::new();
    for entry in fs::read_dir(root().join("docs")).expect("docs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).expect("a document");
        let mut add = |command: &str| {
            let command = command.split(" # ").next().unwrap_or_default().trim();
            // Lists of values in a table's cell are no commands.
            if command.starts_with("oc ") && !NAMED_ONLY.contains(&command) {
                commands.push((name.clone(), command.to_owned()));
            }
        };
        let mut in_block = false;
        for line in text.lines() {
            if line.starts_with("```") {
                in_block = !in_block;
            } else if in_block {
                add(line.strip_prefix("$ ").unwrap_or(line));
            } else {
                line.split('`').skip(1).step_by(2).for_each(&mut add);
            }
        }
    }
    commands
}

/// The command as it can be typed here.
fn typeable(command: &str) -> String {
    command
        .replace("KIND/NAME", "kubeletconfig/realtime-worker-rt")
        .replace("kubeletconfig NAME", "kubeletconfig realtime-worker-rt")
        .replace("NAME", "worker-1")
        .replace("-f profile.yaml", "-f docs/examples/worker-rt.yaml")
        // kubectl has no `adm`.
        .replace("oc adm ", "oc ")
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

/// The sandbox installs by itself, so that the README's command finds everything there; here it finds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_manifests_install_at_the_first_attempt() {
    let control_plane = ControlPlane::start(Options::default())
        .await
        .expect("a control plane");
    let kubectl =
        tokio::task::block_in_place(|| programs::path(Program::Kubectl)).expect("kubectl");
    let output = Command::new(kubectl)
        .args(["apply", "-f", "manifests/crds/", "-f", "manifests/"])
        .current_dir(root())
        .env("KUBECONFIG", control_plane.admin_kubeconfig())
        .output()
        .await
        .expect("kubectl");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
    assert!(!printed.contains("Warning"), "{printed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_readme_works_in_its_order() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let commands = commands(&readme);
    assert!(commands.len() >= 8, "only these were found: {commands:?}");

    let folder_of_programs = program("realtime-operator");
    let folder_of_programs = folder_of_programs.parent().expect("a folder");
    let ours = Programs::in_folder(folder_of_programs);
    let sandbox = sandbox::start(root(), &ours, Kernel::default())
        .await
        .expect("the sandbox");
    let kubeconfig = sandbox.control_plane.admin_kubeconfig();
    let folder = tokio::task::block_in_place(path);

    let commands = commands.into_iter().flat_map(|command| {
        // With the rollout done, and before the profile is deleted.
        let docs = if command == "oc get mcp,rtp" {
            commands_of_docs()
        } else {
            Vec::new()
        };
        std::iter::once(("README.md".to_owned(), command)).chain(docs)
    });
    let mut of_docs = 0;
    for (document, command) in commands {
        of_docs += usize::from(document != "README.md");
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
            command => typeable(command),
        };
        println!("{document}: $ {typed}");
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
        // `plan` says by 2 that something would change, as it does before the profile is there.
        let before = typed.contains("realtime plan") && document == "README.md";
        let wanted = if before { 2 } else { 0 };
        let log = || fs::read_to_string(&sandbox.operator_log).unwrap_or_default();
        assert_eq!(
            output.status.code(),
            Some(wanted),
            "{document}: {typed}\n{printed}\nthe operator's log:\n{}",
            log()
        );
    }

    assert!(of_docs >= 15, "only {of_docs} commands were found in docs/");

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
