//! The start of a real node: which file is written and which program is started when.
//! What the files and command lines say is in `configs` and `arguments`.

use std::env;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::certificates::Certificates;
use super::configs::{self, Layout};
use super::images::Image;
use super::namespaces::Namespaces;
use super::relay::Relay;
use super::{Error, Options, RealNode, Runtime, arguments, images, ready, requirements};
use crate::control_plane::directory::{self, Directory};
use crate::control_plane::kubeconfig::{self, User};
use crate::control_plane::{free_port, write_private};
use crate::programs::{self, Program};

/// What the directories' names start with, and the control groups'; the scripts know it too.
const PREFIX: &str = "realtime-node-";

/// After our programs, what a machine's own are found by.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Runtime {
    const fn program(self) -> Program {
        match self {
            Self::Containerd => Program::Containerd,
            Self::CriO => Program::Crio,
        }
    }
}

impl RealNode {
    /// Starts one and waits until it takes pods: the node is Ready and without taints, the default
    /// `ServiceAccount` exists, [`BUSYBOX_IMAGE`](super::BUSYBOX_IMAGE) is there. Takes 5 s, and minutes
    /// at the very first time, when the programs are built.
    pub async fn start(options: Options) -> Result<Self, Error> {
        if let Some(reason) = requirements::cannot_run(options.runtime) {
            return Err(Error::Unsupported(reason));
        }
        let node = tokio::task::spawn_blocking(|| Self::prepare(options)).await??;
        // Whatever fails or is cancelled from here on: dropping the node ends everything.
        node.launch(Program::Etcd)?;
        node.launch(Program::KubeApiserver)?;
        node.launch(node.options.runtime.program())?;
        let client = node.admin_client().await?;
        let control_plane = async {
            ready::api_server(&node, &client).await?;
            for program in [
                Program::KubeControllerManager,
                Program::KubeScheduler,
                Program::KubeProxy,
                Program::Kubelet,
            ] {
                node.launch(program)?;
            }
            ready::takes_pods(&node, &client).await
        };
        let images = async {
            let work = node.file("images");
            let made = tokio::task::spawn_blocking(move || -> Result<[Image; 2], Error> {
                Ok([images::pause(&work)?, images::busybox(&work)?])
            })
            .await??;
            ready::runtime(&node).await?;
            for image in made {
                node.import_image(image).await?;
            }
            Ok(())
        };
        tokio::try_join!(control_plane, images)?;
        Ok(node)
    }

    /// Everything that comes before the first program. Blocks.
    fn prepare(options: Options) -> Result<Self, Error> {
        let needed = requirements::needed(options.runtime);
        let programs = programs::ensure(&needed)?;
        let path = search_path(&programs);
        let certificates = Certificates::generate(&options.node_name)?;
        let parent = env::temp_dir();
        directory::sweep(&parent, PREFIX);
        let directory = Directory::create(&parent, PREFIX)
            .map_err(Error::io("making a directory in", &parent))?;
        let group = directory
            .path()
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let hierarchies = requirements::hierarchies();
        let namespaces = Namespaces::start(
            directory.path(),
            &group,
            &options.node_name,
            path,
            &hierarchies,
        )?;
        let listener = listen()?;
        let mut node = Self {
            relay: None,
            namespaces: Arc::new(namespaces),
            directory,
            options,
            programs: needed.into_iter().zip(programs).collect(),
            hierarchies,
            group,
            port: listener
                .local_addr()
                .map_err(Error::io("listening for", Path::new("the API server")))?
                .port(),
            authority: certificates.authority.clone(),
        };
        node.give_budget()?;
        node.write_files(&certificates)?;
        node.relay = Some(node.start_relay(listener)?);
        Ok(node)
    }

    fn start_relay(&self, listener: TcpListener) -> Result<Relay, Error> {
        let path = PathBuf::from(format!("/proc/{}/ns/net", self.namespaces.init()));
        let namespace = fs::File::open(&path).map_err(Error::io("opening", &path))?;
        Relay::start(listener, namespace).map_err(Error::io("entering", &path))
    }

    fn give_budget(&self) -> Result<(), Error> {
        if self.options.realtime_runtime_us == 0 {
            return Ok(());
        }
        let path = self.cgroup_root().join("cpu.rt_runtime_us");
        fs::write(&path, self.options.realtime_runtime_us.to_string())
            .map_err(Error::io("writing the node's budget to", &path))
    }

    fn write_files(&self, certificates: &Certificates) -> Result<(), Error> {
        for name in ["kubeconfigs", "hooks.d", "static-pods", "cni", "images"] {
            let path = self.file(name);
            fs::create_dir(&path).map_err(Error::io("creating", &path))?;
        }
        let runc = self.program(Program::Runc)?;
        let plugin = self.program(Program::CniBridge)?;
        let layout = Layout {
            directory: self.directory.path(),
            group: &self.group,
            runc,
            plugins: plugin.parent().unwrap_or(plugin),
            pinns: self.programs.get(&Program::Pinns),
            options: &self.options,
        };
        for (name, content) in [
            ("ca.crt", certificates.authority.clone()),
            ("server.crt", certificates.server.certificate.clone()),
            ("server.key", certificates.server.key.clone()),
            (
                "kubelet-client.crt",
                certificates.kubelet_client.certificate.clone(),
            ),
            (
                "kubelet-client.key",
                certificates.kubelet_client.key.clone(),
            ),
            (
                "service-account.key",
                certificates.service_account_key.clone(),
            ),
            (
                "service-account.pub",
                certificates.service_account_public_key.clone(),
            ),
            ("runtime.toml", layout.runtime()),
            ("kubelet.yaml", layout.kubelet().to_string()), // JSON is YAML too
            ("cni/pods.conflist", Layout::cni().to_string()),
            ("policy.json", Layout::image_policy().to_string()),
        ] {
            write_private(&self.file(name), &content)?;
        }
        for (name, pair) in [
            ("admin", &certificates.admin),
            ("kubelet", &certificates.kubelet),
            ("controller-manager", &certificates.controller_manager),
            ("scheduler", &certificates.scheduler),
            ("proxy", &certificates.proxy),
        ] {
            let name = format!("{name}.kubeconfig");
            self.write_kubeconfig(&name, "default", &User::Certificate(pair))?;
        }
        Ok(())
    }

    /// The address is the same in the node and, by the relay, out here.
    pub(super) fn write_kubeconfig(
        &self,
        name: &str,
        namespace: &str,
        user: &User<'_>,
    ) -> Result<(), Error> {
        let server = format!("https://127.0.0.1:{}", self.port);
        let text = kubeconfig::kubeconfig("node", &server, &self.authority, namespace, user);
        Ok(write_private(&self.file(name), &format!("{text:#}\n"))?)
    }

    /// Starts one of the node's own programs.
    pub(super) fn launch(&self, program: Program) -> Result<(), Error> {
        let node = &self.options.node_name;
        let arguments = match program {
            Program::Etcd => arguments::etcd(),
            Program::KubeApiserver => arguments::api_server(self.port, &self.options),
            Program::KubeControllerManager => arguments::controller_manager(),
            Program::KubeScheduler => arguments::scheduler(),
            Program::KubeProxy => arguments::proxy(node),
            Program::Kubelet => arguments::kubelet(node),
            Program::Containerd => vec!["--config=runtime.toml".to_owned()],
            // Nothing of the machine's own configuration.
            Program::Crio => ["--config=runtime.toml", "--config-dir="]
                .map(str::to_owned)
                .into(),
            other => {
                return Err(Error::Unsupported(format!(
                    "{} is no daemon of the node",
                    other.file_name()
                )));
            }
        };
        self.namespaces
            .start_program(program.file_name(), self.program(program)?, &arguments)
    }

    /// How an archive with an image of that name is given to the runtime.
    pub(super) fn import_command(&self, name: &str) -> impl Fn(&Path) -> Command + Send + 'static {
        let namespaces = Arc::clone(&self.namespaces);
        let runtime = self.options.runtime;
        let name = name.to_owned();
        let ctr = self
            .programs
            .get(&Program::Ctr)
            .cloned()
            .unwrap_or_default();
        move |archive| match runtime {
            Runtime::Containerd => {
                let mut command = namespaces.command(&ctr);
                command
                    .args(["--address", runtime.socket(), "--namespace", "k8s.io"])
                    .args(["images", "import", "--local", "--snapshotter", "overlayfs"])
                    .arg(archive);
                command
            }
            Runtime::CriO => {
                let mut command = namespaces.command("skopeo");
                command
                    .args(["copy", "--quiet", "--insecure-policy"])
                    .arg(format!("docker-archive:{}", archive.display()))
                    .arg(format!(
                        "containers-storage:[overlay@{}+{}]{name}",
                        configs::CRIO_STORAGE,
                        configs::CRIO_STORAGE_STATE
                    ));
                command
            }
        }
    }

    /// An error with the log's end when one of the programs that must run has ended.
    pub(super) fn all_run(&self) -> Result<(), Error> {
        for program in self.daemons() {
            let name = program.file_name();
            // What wasn't started yet has no log.
            if self.file(&format!("{name}.log")).exists() && !self.namespaces.is_alive(name)? {
                return Err(Error::Ended {
                    program: name,
                    tail: self.log_tail(name),
                });
            }
        }
        Ok(())
    }

    pub(super) fn log_tails(&self) -> String {
        let tail = |program: Program| {
            let name = program.file_name();
            format!("--- {name}\n{}\n", self.log_tail(name))
        };
        self.daemons().map(tail).concat()
    }

    fn daemons(&self) -> [Program; 7] {
        [
            Program::Etcd,
            Program::KubeApiserver,
            Program::KubeControllerManager,
            Program::KubeScheduler,
            Program::KubeProxy,
            Program::Kubelet,
            self.options.runtime.program(),
        ]
    }
}

/// Somebody else may take a port between its choice and its use.
fn listen() -> Result<TcpListener, Error> {
    let mut attempt = 1;
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, free_port()?)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < 5 => attempt += 1,
            other => {
                return other.map_err(Error::io("listening for", Path::new("the API server")));
            }
        }
    }
}

/// Our programs' directories first: containerd finds its shim by it.
fn search_path(programs: &[PathBuf]) -> String {
    let mut directories: Vec<String> = Vec::new();
    for directory in programs.iter().filter_map(|program| program.parent()) {
        let directory = directory.display().to_string();
        if !directories.contains(&directory) {
            directories.push(directory);
        }
    }
    directories.push(SYSTEM_PATH.to_owned());
    directories.join(":")
}
