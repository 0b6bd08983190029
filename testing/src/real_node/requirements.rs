//! Whether this machine can have a real node at all, so that a test can say why not and be skipped.
//! Must not change anything, and must not install anything: `hack/setup.sh` does.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Runtime;
use super::cgroups::Hierarchies;
use crate::programs::{self, Program};

/// What both runtimes need of the machine, all of it installed by `hack/setup.sh test`.
const COMMANDS: [&str; 14] = [
    "bash", "busybox", "cc", "flock", "hostname", "ip", "mount", "nft", "nsenter", "setpriv",
    "setsid", "tar", "umount", "unshare",
];

/// What CRI-O needs besides.
const COMMANDS_OF_CRI_O: [&str; 2] = ["conmon", "skopeo"];

/// Why no node with that runtime can run here; `None` when it can.
pub fn cannot_run(runtime: Runtime) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("it needs root, for namespaces, mounts and control groups".to_owned());
    }
    let commands = COMMANDS.iter().chain(match runtime {
        Runtime::Containerd => &[][..],
        Runtime::CriO => &COMMANDS_OF_CRI_O[..],
    });
    let missing: Vec<&str> = commands
        .copied()
        .filter(|command| !is_installed(command))
        .collect();
    if !missing.is_empty() {
        return Some(format!(
            "{} not found; `hack/setup.sh test` installs what is needed",
            missing.join(", ")
        ));
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.split_whitespace().any(|name| name == "overlay") {
        return Some("the kernel has no overlay file system, or hasn't loaded it".to_owned());
    }
    let hierarchies = hierarchies();
    if ["cpu", "memory"]
        .iter()
        .any(|name| hierarchies.of(name).is_none())
    {
        return Some("no hierarchy of control groups is mounted as a whole".to_owned());
    }
    let namespaces = Command::new("unshare")
        .args([
            "--net",
            "--mount",
            "--pid",
            "--uts",
            "--fork",
            "--mount-proc",
            "true",
        ])
        .stdin(Stdio::null())
        .output();
    match namespaces {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Some(format!("namespaces can't be made here: {said}"));
        }
        Err(error) => return Some(format!("unshare can't be started: {error}")),
    }
    if !is_installed("go") && !programs::are_built(&needed(runtime)) {
        return Some("`go` is not installed, and the node's programs are not built yet".to_owned());
    }
    None
}

/// The upstream programs of a node.
pub fn needed(runtime: Runtime) -> Vec<Program> {
    let mut needed = vec![
        Program::Etcd,
        Program::KubeApiserver,
        Program::KubeControllerManager,
        Program::KubeScheduler,
        Program::KubeProxy,
        Program::Kubelet,
        Program::Kubectl,
        Program::Runc,
        Program::CniBridge,
        Program::CniLoopback,
        Program::CniHostLocal,
    ];
    needed.extend(match runtime {
        Runtime::Containerd => &[Program::Containerd, Program::ContainerdShim, Program::Ctr][..],
        Runtime::CriO => &[Program::Crio, Program::Pinns][..],
    });
    needed
}

/// This machine's.
pub fn hierarchies() -> Hierarchies {
    Hierarchies::parse(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn is_installed(command: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| {
        env::split_paths(&path).any(|directory| Path::new(&directory).join(command).is_file())
    })
}
