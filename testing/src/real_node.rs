//! A one-node cluster of real parts, for tests that need pods which a kubelet has started: etcd, API
//! server, controller-manager, scheduler, kube-proxy, kubelet, and containerd or CRI-O with runc.
//!
//! All of it runs in network, mount and PID namespaces of its own: it takes no port of the machine and
//! reaches no network, and it ends with its launcher, whatever becomes of that (see `namespaces`).
//! Control groups alone can't be hidden: the node's are in one group of the machine's hierarchies,
//! which is removed at the end. Needs root; [`cannot_run`] tells what else is missing.
//! Must not know of this project's or OpenShift's objects.

mod arguments;
mod certificates;
mod cgroups;
mod configs;
mod error;
pub mod images;
mod launch;
mod namespaces;
mod network;
mod ready;
mod relay;
mod requirements;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::BoundObjectReference;
use kube::Client;
use kube::api::DynamicObject;

use crate::control_plane::directory::Directory;
use crate::control_plane::kubeconfig::User;
use crate::control_plane::token::token;
use crate::control_plane::{self, apply};
use crate::programs::Program;
use cgroups::Hierarchies;
pub use error::Error;
use images::Image;
use namespaces::Namespaces;
use relay::Relay;
pub use requirements::cannot_run;

/// The image that holds a pod's namespaces.
pub const PAUSE_IMAGE: &str = "realtime.test/pause:1";

/// The image for tests: busybox as all its commands, and `first-act`, which asks for `SCHED_FIFO`
/// before anything else. It is there from the start.
pub const BUSYBOX_IMAGE: &str = "realtime.test/busybox:1";

/// Ready takes 5 s; this is for a machine that is starved.
const READY_TIME_LIMIT: Duration = Duration::from_mins(3);

/// Which container runtime the node has; runc is below both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// containerd.
    Containerd,
    /// CRI-O, OpenShift's.
    CriO,
}

impl Runtime {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Containerd, Self::CriO];

    /// As a person types it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Containerd => "containerd",
            Self::CriO => "cri-o",
        }
    }

    /// Where it listens, in the node.
    pub const fn socket(self) -> &'static str {
        match self {
            Self::Containerd => "/run/containerd/containerd.sock",
            Self::CriO => "/run/crio/crio.sock",
        }
    }
}

/// What a node may have beyond the usual.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its container runtime.
    pub runtime: Runtime,
    /// The name of its Node.
    pub node_name: String,
    /// The budget of the node's own control group in µs of each second, where the kernel has budgets
    /// for groups. It is taken from the machine's, until the node ends: 0 by default.
    pub realtime_runtime_us: u32,
    /// Further flags of kube-apiserver, after ours.
    pub api_server_arguments: Vec<String>,
    /// Fields of the kubelet's configuration; they replace ours of the same name.
    pub kubelet_settings: serde_json::Map<String, serde_json::Value>,
    /// TOML at the end of the runtime's configuration: a further runtime handler, for example.
    pub runtime_settings: String,
    /// Whether the runtime takes NRI plugins. Both do by default; without, CRI-O's hooks are alone.
    pub nri: bool,
}

impl Options {
    /// The usual, with that runtime.
    pub fn new(runtime: Runtime) -> Self {
        Self {
            runtime,
            node_name: "node-1".to_owned(),
            realtime_runtime_us: 0,
            api_server_arguments: Vec::new(),
            kubelet_settings: serde_json::Map::new(),
            runtime_settings: String::new(),
            nri: true,
        }
    }
}

/// A running node with its control plane. Dropping it, or the end of this process in whatever way, ends
/// it and removes its files and control groups.
#[derive(Debug)]
pub struct RealNode {
    relay: Option<Relay>,
    namespaces: Arc<Namespaces>,
    directory: Directory,
    options: Options,
    programs: HashMap<Program, PathBuf>,
    hierarchies: Hierarchies,
    group: String,
    port: u16,
    authority: String,
}

impl RealNode {
    /// The kubeconfig of an administrator (group `system:masters`). Its address holds on this machine
    /// for as long as this process lives, and in the node's namespaces, not in pods.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.file("admin.kubeconfig")
    }

    /// A client for the administrator. It belongs to the runtime in which it is made.
    pub async fn admin_client(&self) -> Result<Client, Error> {
        Ok(control_plane::client(&self.admin_kubeconfig()).await?)
    }

    /// A kubeconfig with a token of that `ServiceAccount`, which must exist: what runs with it has
    /// the rights that were granted to it and no others.
    pub async fn kubeconfig_for(
        &self,
        namespace: &str,
        service_account: &str,
    ) -> Result<PathBuf, Error> {
        self.token_kubeconfig(namespace, service_account, None)
            .await
    }

    /// [`Self::kubeconfig_for`] with a token that says on which node it is used, as that of a pod of this node does.
    pub async fn kubeconfig_on_node(
        &self,
        namespace: &str,
        service_account: &str,
    ) -> Result<PathBuf, Error> {
        let node = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(self.options.node_name.clone()),
            uid: None,
        };
        self.token_kubeconfig(namespace, service_account, Some(node))
            .await
    }

    async fn token_kubeconfig(
        &self,
        namespace: &str,
        service_account: &str,
        bound_to: Option<BoundObjectReference>,
    ) -> Result<PathBuf, Error> {
        let client = self.admin_client().await?;
        let token = token(client, namespace, service_account, bound_to).await?;
        let name = format!("kubeconfigs/{namespace}.{service_account}");
        self.write_kubeconfig(&name, namespace, &User::Token(&token))?;
        Ok(self.file(&name))
    }

    /// Applies the YAML documents in a text, as the administrator; see
    /// [`ControlPlane::apply_yaml`](control_plane::ControlPlane::apply_yaml).
    pub async fn apply_yaml(&self, text: &str) -> Result<Vec<DynamicObject>, Error> {
        let values = apply::parse("the given text", text)?;
        Ok(apply::apply(&self.admin_client().await?, values).await?)
    }

    /// Makes an image and gives it to the node's runtime.
    pub async fn import_image(&self, image: Image) -> Result<(), Error> {
        let work = tempfile::tempdir_in(self.file("images"))
            .map_err(Error::io("making a directory in", &self.file("images")))?;
        let import = self.import_command(&image.name);
        tokio::task::spawn_blocking(move || {
            let archive = image.archive(work.path())?;
            images::run(&mut import(&archive))?;
            Ok(())
        })
        .await?
    }

    /// A command that will run in the node's namespaces: with its network, its mounts (this machine's,
    /// but for `/run`, `/etc`, `/var` and `/proc`) and its processes. When it is a daemon, use
    /// [`Self::run_program`]: nobody ends this one before the node ends.
    pub fn command_in_namespaces(
        &self,
        program: impl AsRef<std::ffi::OsStr>,
    ) -> std::process::Command {
        self.namespaces.command(program)
    }

    /// Runs a program in the node's namespaces to its end, and returns what it prints.
    pub async fn exec_in_namespaces(
        &self,
        program: impl AsRef<std::ffi::OsStr>,
        arguments: &[&str],
    ) -> Result<String, Error> {
        let mut command = self.namespaces.command(program);
        command.args(arguments);
        tokio::task::spawn_blocking(move || images::run(&mut command)).await?
    }

    /// Starts a further program in the node's namespaces: it ends with the node. Its name is one word;
    /// what it prints is in the file that is returned. It runs in the node's directory.
    pub fn run_program(
        &self,
        name: &str,
        executable: &Path,
        arguments: &[String],
    ) -> Result<PathBuf, Error> {
        self.namespaces.start_program(name, executable, arguments)?;
        Ok(self.file(&format!("{name}.log")))
    }

    /// Whether a program runs: one of [`Self::run_program`], or one of the node's, by its file name.
    pub fn runs(&self, name: &str) -> Result<bool, Error> {
        self.namespaces.is_alive(name)
    }

    /// Kills a program with SIGKILL, and waits for its end.
    pub fn kill_program(&self, name: &str) -> Result<(), Error> {
        self.namespaces.stop_program(name)
    }

    /// Sends a program a signal, named as `kill` does: `TERM`.
    pub fn signal_program(&self, name: &str, signal: &str) -> Result<(), Error> {
        self.namespaces.signal_program(name, signal)
    }

    /// Kills one of the node's own programs and starts it again, as a crash would: kubelet, runtime.
    pub fn restart_program(&self, program: Program) -> Result<(), Error> {
        self.namespaces.stop_program(program.file_name())?;
        self.launch(program)
    }

    /// A path in the node's namespaces as one out here: `/run/nri/nri.sock`. An absolute symbolic link
    /// on the way leads astray.
    pub fn path_inside(&self, path: &str) -> PathBuf {
        self.namespaces.path_inside(path)
    }

    /// The directory of OCI hooks that CRI-O reads, the same in the node and out here. containerd knows
    /// no such directory: a runtime handler in [`Options::runtime_settings`] may name a file in it.
    pub fn runtime_hooks_dir(&self) -> PathBuf {
        self.file("hooks.d")
    }

    /// The kubelet's directory of static pods, the same in the node and out here.
    pub fn static_pods_dir(&self) -> PathBuf {
        self.file("static-pods")
    }

    /// The node's group in the hierarchy that has the controller `cpu`; `kubepods` is below it.
    pub fn cgroup_root(&self) -> PathBuf {
        self.cgroup_root_of("cpu")
    }

    /// The node's group in the hierarchy that has a controller.
    pub fn cgroup_root_of(&self, controller: &str) -> PathBuf {
        let hierarchy = self.hierarchies.of(controller);
        hierarchy
            .unwrap_or(Path::new("/sys/fs/cgroup"))
            .join(&self.group)
    }

    /// The directory with logs, keys, kubeconfigs and configuration, the same in the node and out here.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process ids, out here, of the script that cleans up and of the first process in the node.
    pub fn pids(&self) -> [u32; 2] {
        [self.namespaces.outer(), self.namespaces.init()]
    }

    /// What the node was started with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where an upstream program is that the node has, `kubectl` too; the same in the node and out here.
    pub fn program(&self, program: Program) -> Result<&Path, Error> {
        let path = self.programs.get(&program);
        Ok(path.ok_or_else(|| Error::Unsupported(format!("it has no {}", program.file_name())))?)
    }

    /// Ends it, and returns when nothing is left.
    pub async fn shutdown(self) -> Result<(), Error> {
        Ok(tokio::task::spawn_blocking(move || drop(self)).await?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log_tail(&self, name: &str) -> String {
        let log = fs::read(self.file(&format!("{name}.log"))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for RealNode {
    fn drop(&mut self) {
        drop(self.relay.take());
        // Before the directory goes, and whoever else still holds the namespaces.
        self.namespaces.end();
    }
}
