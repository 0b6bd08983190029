//! A real etcd and a real kube-apiserver on loopback, with RBAC on, for tests and the sandbox.
//!
//! Nothing of it survives its launcher: see `supervisor`. There is no controller-manager: nobody
//! collects garbage, finishes the deletion of a namespace or makes default
//! `ServiceAccount`s.
//! Must not know of this project's or OpenShift's objects.

pub mod apply;
mod arguments;
pub mod audit;
pub(crate) mod certificates;
pub(crate) mod directory;
mod error;
pub(crate) mod kubeconfig;
mod supervisor;
pub(crate) mod token;

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::BoundObjectReference;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, DynamicObject, GetParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rand::RngExt as _;
use tokio::sync::OnceCell;

use crate::programs::{self, Program};
use certificates::Certificates;
use directory::Directory;
pub use error::Error;
use kubeconfig::User;
use supervisor::Supervisor;

/// What the directories' names start with; the supervisor removes none with another name.
const DIRECTORY_PREFIX: &str = "realtime-control-plane-";

const ETCD: &str = "etcd";
const API_SERVER: &str = "kube_apiserver";

/// Below the range from which the kernel takes ports for outgoing connections (32768 and above):
/// while the API server is stopped, no client's own port can be the one that it listened on.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// Somebody else may take the port between its choice and the start.
const START_ATTEMPTS: usize = 5;

/// Ready takes 2 to 4 s; this is for a machine that is starved.
const READY_TIME_LIMIT: Duration = Duration::from_mins(2);
const READY_INTERVAL: Duration = Duration::from_millis(25);

/// What a control plane may have beyond the usual.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Log each request: see [`ControlPlane::audit_requests`].
    pub audit_log: bool,
    /// The port to try first; a random free one by default, and when this one is taken.
    pub port: Option<u16>,
    /// Further flags of kube-apiserver, after ours.
    pub api_server_arguments: Vec<String>,
}

/// A running control plane. Dropping it, or the end of this process in whatever way, ends it and
/// removes its files.
#[derive(Debug)]
pub struct ControlPlane {
    supervisor: Arc<Supervisor>,
    directory: Directory,
    api_server: PathBuf,
    options: Options,
    port: u16,
    authority: String,
}

impl ControlPlane {
    /// Starts one and waits until it is ready: `/readyz`, the default namespace and the roles of
    /// RBAC. Takes 3 s, and minutes at the very first time, when the programs are built.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let built = tokio::task::spawn_blocking(|| {
            programs::ensure(&[Program::Etcd, Program::KubeApiserver])
        });
        let [etcd, api_server] = &built.await??[..] else {
            return Err(Error::NoPort);
        };

        let parent = env::temp_dir();
        directory::sweep(&parent, DIRECTORY_PREFIX);
        let directory = Directory::create(&parent, DIRECTORY_PREFIX)
            .map_err(Error::io("making a directory in", &parent))?;
        let certificates = Certificates::generate()?;
        let supervisor = Arc::new(Supervisor::start(directory.path())?);
        let mut control_plane = Self {
            supervisor,
            directory,
            api_server: api_server.clone(),
            port: options.port.map_or_else(free_port, Ok)?,
            options,
            authority: certificates.authority.clone(),
        };
        control_plane.write_files(&certificates)?;
        control_plane
            .supervisor
            .start_program(ETCD, etcd, &arguments::etcd())?;

        let mut attempt = 1;
        loop {
            // Holds the address, so it is written for each attempt.
            control_plane.write_kubeconfig(
                &control_plane.admin_kubeconfig(),
                "default",
                "realtime",
                &User::Certificate(&certificates.admin),
            )?;
            match control_plane.start_api_server().await {
                Err(Error::Ended {
                    program: API_SERVER,
                    tail,
                }) if tail.contains("address already in use") && attempt < START_ATTEMPTS => {
                    control_plane.supervisor.stop_program(API_SERVER)?;
                    control_plane.port = free_port()?;
                    attempt += 1;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(control_plane),
            }
        }
    }

    /// The one that all tests of this process share. It ends with the process.
    ///
    /// Tests that share it must use different names, and must not stop its API server.
    pub async fn shared() -> Result<&'static Self, Error> {
        // A static is never dropped; the supervisor sees the process end.
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| {
                Self::start(Options {
                    audit_log: true,
                    ..Options::default()
                })
            })
            .await
    }

    fn write_files(&self, certificates: &Certificates) -> Result<(), Error> {
        for (name, content) in [
            ("ca.crt", &certificates.authority),
            ("server.crt", &certificates.server.certificate),
            ("server.key", &certificates.server.key),
            ("service-account.key", &certificates.service_account_key),
            (
                "service-account.pub",
                &certificates.service_account_public_key,
            ),
            ("audit-policy.yaml", &audit::POLICY.to_owned()),
        ] {
            write_private(&self.file(name), content)?;
        }
        let kubeconfigs = self.file("kubeconfigs");
        fs::create_dir_all(&kubeconfigs).map_err(Error::io("creating", &kubeconfigs))
    }

    fn write_kubeconfig(
        &self,
        path: &Path,
        namespace: &str,
        context: &str,
        user: &User<'_>,
    ) -> Result<(), Error> {
        let text = kubeconfig::kubeconfig(
            context,
            &self.server_url(),
            &self.authority,
            namespace,
            user,
        );
        write_private(path, &format!("{text:#}\n"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the API server answers: `https://127.0.0.1:<port>`.
    pub fn server_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate that signed the API server's, as PEM.
    pub fn ca(&self) -> &str {
        &self.authority
    }

    /// The directory with everything of this control plane: logs, keys, kubeconfigs, data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process ids of what runs: the supervisor, etcd and the API server.
    pub fn pids(&self) -> Vec<u32> {
        let programs = [ETCD, API_SERVER].map(|name| self.supervisor.program_pid(name));
        self.supervisor
            .pid()
            .into_iter()
            .chain(programs.into_iter().flatten())
            .collect()
    }

    /// The kubeconfig of an administrator (group `system:masters`).
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.file("admin.kubeconfig")
    }

    /// A client for the administrator. It belongs to the runtime in which it is made.
    pub async fn admin_client(&self) -> Result<Client, Error> {
        client(&self.admin_kubeconfig()).await
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

    /// [`Self::kubeconfig_for`] as a pod has it that runs under that `ServiceAccount`: the token is bound to the pod,
    /// and says on which node it is.
    pub async fn kubeconfig_for_pod(
        &self,
        namespace: &str,
        service_account: &str,
        pod: &Pod,
    ) -> Result<PathBuf, Error> {
        self.token_kubeconfig(namespace, service_account, Some(pod))
            .await
    }

    async fn token_kubeconfig(
        &self,
        namespace: &str,
        service_account: &str,
        pod: Option<&Pod>,
    ) -> Result<PathBuf, Error> {
        let bound_to = pod.map(|pod| BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        });
        let client = self.admin_client().await?;
        let token = token::token(client, namespace, service_account, bound_to).await?;
        let holder = pod
            .and_then(|pod| pod.metadata.name.as_deref())
            .unwrap_or(service_account);
        let path = self
            .file("kubeconfigs")
            .join(format!("{namespace}.{holder}"));
        self.write_kubeconfig(&path, namespace, service_account, &User::Token(&token))?;
        Ok(path)
    }

    /// A client with a token of that `ServiceAccount`. It belongs to the runtime in which it is made.
    pub async fn client_for(
        &self,
        namespace: &str,
        service_account: &str,
    ) -> Result<Client, Error> {
        client(&self.kubeconfig_for(namespace, service_account).await?).await
    }

    /// Runs a further program beside the control plane: it ends with the control plane, whatever
    /// becomes of this process. Its name is a shell variable's (lower-case letters and `_`); what it
    /// prints is in the file that is returned.
    pub fn run_program(
        &self,
        name: &str,
        executable: &Path,
        arguments: &[String],
    ) -> Result<PathBuf, Error> {
        self.supervisor.start_program(name, executable, arguments)?;
        Ok(self.file(&format!("{name}.log")))
    }

    /// Whether a program of [`Self::run_program`] runs.
    pub fn runs(&self, name: &str) -> bool {
        self.supervisor.is_alive(name)
    }

    /// The process id of a program of [`Self::run_program`].
    pub fn program_pid(&self, name: &str) -> Option<u32> {
        self.supervisor.program_pid(name)
    }

    /// Kills a program of [`Self::run_program`].
    pub fn kill_program(&self, name: &str) -> Result<(), Error> {
        Ok(self.supervisor.stop_program(name)?)
    }

    /// Kills the API server; etcd and all objects stay.
    pub async fn stop_api_server(&self) -> Result<(), Error> {
        let supervisor = Arc::clone(&self.supervisor);
        Ok(tokio::task::spawn_blocking(move || supervisor.stop_program(API_SERVER)).await??)
    }

    /// Starts the API server again at its old address and waits until it is ready.
    pub async fn start_api_server(&self) -> Result<(), Error> {
        self.supervisor.start_program(
            API_SERVER,
            &self.api_server,
            &arguments::api_server(self.port, &self.options),
        )?;
        self.ready().await
    }

    /// Restarts the API server with certificates of a new authority, as after a rotation of the cluster's: what trusts
    /// only the former one ([`Self::ca`]) reaches it no longer. Tokens stay valid, kubeconfigs don't.
    pub async fn rotate_authority(&mut self) -> Result<(), Error> {
        self.stop_api_server().await?;
        let kept = |name: &str| {
            let path = self.file(name);
            fs::read_to_string(&path).map_err(Error::io("reading", &path))
        };
        let certificates = Certificates {
            service_account_key: kept("service-account.key")?,
            service_account_public_key: kept("service-account.pub")?,
            ..Certificates::generate()?
        };
        self.authority.clone_from(&certificates.authority);
        self.write_files(&certificates)?;
        self.write_kubeconfig(
            &self.admin_kubeconfig(),
            "default",
            "realtime",
            &User::Certificate(&certificates.admin),
        )?;
        self.start_api_server().await
    }

    async fn ready(&self) -> Result<(), Error> {
        let client = self.admin_client().await?;
        let deadline = Instant::now() + READY_TIME_LIMIT;
        loop {
            let reason = match tokio::time::timeout(READY_TIME_LIMIT, missing(&client)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            for (program, name) in [("etcd", ETCD), (API_SERVER, API_SERVER)] {
                if !self.supervisor.is_alive(name) {
                    return Err(Error::Ended {
                        program,
                        tail: self.log_tail(name),
                    });
                }
            }
            if Instant::now() > deadline {
                return Err(Error::NotReady {
                    reason,
                    tail: self.log_tail(API_SERVER),
                });
            }
            tokio::time::sleep(READY_INTERVAL).await;
        }
    }

    fn log_tail(&self, name: &str) -> String {
        let log = fs::read(self.file(&format!("{name}.log"))).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Applies the YAML documents in a text, as the administrator: definitions first (and waits
    /// until they are served), then namespaces, then the rest, with strict field validation.
    pub async fn apply_yaml(&self, text: &str) -> Result<Vec<DynamicObject>, Error> {
        self.apply_values(apply::parse("the given text", text)?)
            .await
    }

    /// [`apply_yaml`](Self::apply_yaml) for a file.
    pub async fn apply_file(&self, path: impl AsRef<Path>) -> Result<Vec<DynamicObject>, Error> {
        self.apply_values(apply::read(path.as_ref())?).await
    }

    /// [`apply_yaml`](Self::apply_yaml) for all `*.yaml` and `*.yml` files of a directory together.
    pub async fn apply_dir(&self, path: impl AsRef<Path>) -> Result<Vec<DynamicObject>, Error> {
        self.apply_values(apply::read(path.as_ref())?).await
    }

    /// [`apply_yaml`](Self::apply_yaml) for objects as values.
    pub async fn apply_values(
        &self,
        values: Vec<serde_json::Value>,
    ) -> Result<Vec<DynamicObject>, Error> {
        Ok(apply::apply(&self.admin_client().await?, values).await?)
    }

    /// All requests that the API server has answered since the start, in their order.
    pub fn audit_requests(&self) -> Result<Vec<audit::Request>, Error> {
        if !self.options.audit_log {
            return Err(Error::NoAuditLog);
        }
        let path = self.file("audit.log");
        audit::read(&path).map_err(Error::io("reading", &path))
    }

    /// How often each user has asked with each verb since the start.
    pub fn audit_counts(&self) -> Result<audit::Counts, Error> {
        Ok(audit::count(&self.audit_requests()?))
    }

    /// Ends it, and returns when nothing is left.
    pub async fn shutdown(self) -> Result<(), Error> {
        Ok(tokio::task::spawn_blocking(move || drop(self)).await?)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // Before the directory goes, and whoever else still holds the supervisor.
        self.supervisor.end();
    }
}

/// What a ready API server answers to: its own checks, and what it makes at its first start.
pub(crate) async fn missing(client: &Client) -> Result<(), kube::Error> {
    let readyz = kube::core::Request::new("")
        .get("readyz", &GetParams::default())
        .map_err(kube::Error::BuildRequest)?;
    client.request_text(readyz).await?;
    Api::<Namespace>::all(client.clone()).get("default").await?;
    Api::<ClusterRole>::all(client.clone())
        .get("cluster-admin")
        .await?;
    Ok(())
}

pub(crate) async fn client(kubeconfig: &Path) -> Result<Client, Error> {
    let failed = |source| Error::Kubeconfig {
        path: kubeconfig.to_owned(),
        source: Box::new(source),
    };
    let content = Kubeconfig::read_from(kubeconfig).map_err(failed)?;
    let config = Config::from_custom_kubeconfig(content, &KubeConfigOptions::default())
        .await
        .map_err(failed)?;
    Client::try_from(config).map_err(Error::kube("making a client"))
}

pub(crate) fn free_port() -> Result<u16, Error> {
    let mut random = rand::rng();
    (0..100)
        .map(|_| random.random_range(PORTS))
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .ok_or(Error::NoPort)
}

/// Keys and tokens are for this user only.
pub(crate) fn write_private(path: &Path, content: &str) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(content.as_bytes()))
        .map_err(Error::io("writing", path))
}
