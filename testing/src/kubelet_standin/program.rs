//! The daemon as a program of the stand-in's node: with a `/run` and a `/var/lib` of the test's own, in a mount namespace
//! that ends with it, so that nothing of the machine is written. Goes with its launcher.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::Kubelet;
use crate::simulated_host::process;

/// Puts two folders over the machine's, for what is started by it alone.
const SCRIPT: &str =
    "mount --bind \"$1\" /run && mount --bind \"$2\" /var/lib && shift 2 && exec \"$@\"";

/// How it is started.
#[derive(Clone, Debug)]
pub struct Program {
    file: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    run: PathBuf,
    libraries: PathBuf,
    /// What it says, of all its starts.
    pub log: PathBuf,
}

/// It, running.
#[derive(Debug)]
pub struct Process(Child);

impl Program {
    /// The daemon of the stand-in's node, with its kubeconfig and files in a folder.
    pub fn new(
        program: &Path,
        kubelet: &Kubelet,
        folder: &Path,
        kubeconfig: &Path,
        filter: &str,
    ) -> io::Result<Self> {
        let libraries = folder.join("lib");
        std::fs::create_dir_all(&libraries)?;
        let config = folder.join("daemon.yaml");
        std::fs::write(&config, format!("pods_group: {}\n", kubelet.groups.pods()))?;
        let text = |path: &Path| path.display().to_string();
        // The folder that is put over /run may hide these: both are below neither.
        let arguments = [
            "--kubeconfig",
            &text(kubeconfig),
            "--node-name",
            &kubelet.node,
            "--config",
            &text(&config),
            "--log",
            filter,
        ];
        Ok(Self {
            file: std::fs::canonicalize(program)?,
            arguments: arguments.map(str::to_owned).into(),
            environment: Vec::new(),
            run: kubelet.run_folder().to_owned(),
            libraries,
            log: folder.join("daemon.log"),
        })
    }

    /// As in its pod: with the variables of the shipped `DaemonSet`, and without a kubeconfig.
    #[must_use]
    pub fn in_pod(mut self, environment: Vec<(String, String)>) -> Self {
        self.environment = environment;
        // `--kubeconfig` and its value are the first.
        self.arguments.drain(..2);
        self
    }

    /// Starts it.
    pub fn start(&self) -> io::Result<Process> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)?;
        let mut command = process::mortal(Path::new("unshare"));
        command
            .args(["--mount", "--propagation=private", "--"])
            .args(["sh", "-c", SCRIPT, "sh"])
            .args([&self.run, &self.libraries, &self.file])
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        process::spawn(command).map(Process)
    }

    /// Its last lines.
    pub fn said(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Process {
    /// Its process id: what is before it has become it.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    /// `kill -9`.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
