//! The sandbox: a cluster to try the product on, out of a real API server, simulated nodes, and a
//! stand-in for the Machine Config Operator. It installs what a user would install and nothing more.

pub mod shell;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, PostParams};

use realtime_core::cluster::Dialect;
use realtime_core::names::OPERATOR_NAMESPACE;

use crate::control_plane::{self, ControlPlane, Options, apply};
use crate::openshift_crds;
use crate::pool_standin::{self, Capacity, PoolStandin};
use crate::programs::{self, Program};
use crate::rpm_ostree_standin::{OriginKind, Profile, Version};
use crate::simulated_host::fleet::{self, Fleet};
use crate::simulated_host::workload::{self, Workload};
use crate::simulated_host::{self, Hardware, Machine};

/// The operator's ServiceAccount, as shipped.
pub const OPERATOR_ACCOUNT: &str = "realtime-operator";

/// How fast the stand-in plays OpenShift: its 5 s steps take 2 s, so that a rollout of two nodes is
/// watched in half a minute and every step can still be seen.
const TIME_SCALE: f64 = 0.4;

/// A real machine boots for minutes.
const BOOT_TIME: Duration = Duration::from_secs(1);

/// The operator answers within a second; this is for a machine that is starved.
const OPERATOR_TIME_LIMIT: Duration = Duration::from_mins(1);

/// The sandbox can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The control plane.
    #[error(transparent)]
    ControlPlane(#[from] control_plane::Error),
    /// A program can't be built or found.
    #[error(transparent)]
    Programs(#[from] programs::Error),
    /// The manifests can't be read.
    #[error(transparent)]
    Manifests(#[from] apply::Error),
    /// The stand-in.
    #[error(transparent)]
    Standin(#[from] pool_standin::Error),
    /// A simulated host.
    #[error(transparent)]
    Host(#[from] simulated_host::Error),
    /// The API server refuses what the workload is made of.
    #[error("making the workload: {0}")]
    Workload(#[source] Box<kube::Error>),
    /// A program isn't there.
    #[error("{} is no program: `make sandbox` builds it", .0.display())]
    NoProgram(PathBuf),
    /// The operator ended, or never became ready.
    #[error("the operator {what}; the end of its log:\n{tail}")]
    Operator {
        /// What it did.
        what: &'static str,
        /// The last lines that it printed.
        tail: String,
    },
}

/// Who switches the kernel in a sandbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernel {
    /// The Machine Config Operator: a cluster as OpenShift is since 4.4.
    #[default]
    MachineConfigOperator,
    /// The node daemon: a cluster without a Machine Config Operator.
    NodeDaemon,
}

/// The programs of this project that a sandbox runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// `realtime-operator`.
    pub operator: PathBuf,
    /// `realtime-node-daemon`.
    pub daemon: PathBuf,
    /// `rpm-ostree-standin`.
    pub standin: PathBuf,
}

impl Programs {
    /// Where cargo puts them.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            operator: folder.join("realtime-operator"),
            daemon: folder.join("realtime-node-daemon"),
            standin: folder.join("rpm-ostree-standin"),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let Self {
            operator,
            daemon,
            standin,
        } = self;
        match [operator, daemon, standin]
            .iter()
            .find(|path| !path.is_file())
        {
            Some(missing) => Err(Error::NoProgram((*missing).clone())),
            None => Ok(()),
        }
    }
}

/// A running sandbox. Dropping it ends everything in it.
pub struct Sandbox {
    /// The stand-in goes first: it is a client of the control plane.
    _standin: Option<PoolStandin>,
    /// Who switches the kernel.
    pub kernel: Kernel,
    /// The machines of the nodes, each with its daemon.
    pub machines: BTreeMap<String, Arc<Machine>>,
    /// What a drain has to be polite to.
    _workload: Workload,
    /// The API server and the operator beside it.
    pub control_plane: ControlPlane,
    /// The simulated nodes.
    pub nodes: Vec<String>,
    /// What the operator prints.
    pub operator_log: PathBuf,
}

/// Brings a sandbox up, and says on standard error what it does.
pub async fn start(root: &Path, programs: &Programs, kernel: Kernel) -> Result<Sandbox, Error> {
    let started = Instant::now();
    let say = |what: &str| {
        eprintln!("[sandbox {:5.1} s] {what}", started.elapsed().as_secs_f32());
    };
    programs.check()?;
    // Blocking, and minutes at the very first time: it shows its own progress.
    tokio::task::block_in_place(|| programs::ensure(&Program::CONTROL_PLANE))?;

    say("starting etcd and kube-apiserver on loopback");
    let control_plane = ControlPlane::start(Options::default()).await?;
    say(&format!("{} answers", control_plane.server_url()));
    if kernel == Kernel::MachineConfigOperator {
        openshift_crds::install_openshift(&control_plane, Dialect::KernelType).await?;
        say("OpenShift's definitions are installed");
    }
    control_plane.apply_values(manifests(root)?).await?;
    say("the definitions and rights of operator and node daemon are installed (manifests/)");

    let admin = control_plane.admin_client().await?;
    let nodes =
        pool_standin::create_nodes(&admin, "worker-", 3, &BTreeMap::new(), &Capacity::default())
            .await?;
    let fleet = Fleet {
        daemon: programs.daemon.clone(),
        standin: programs.standin.clone(),
        hardware: Hardware::default(),
        profile: Profile::measured(Version::V2024_7, OriginKind::Container),
        boot_time: BOOT_TIME,
        arguments: Vec::new(),
    };
    let hosts = fleet.hosts(&control_plane, &nodes)?;
    let machines = fleet.start(&control_plane, hosts).await?;
    say(
        "three simulated nodes are there, each with its node daemon under the rights that are shipped",
    );
    let standin = match kernel {
        Kernel::NodeDaemon => None,
        Kernel::MachineConfigOperator => {
            let options = pool_standin::Options {
                hosts: Some(fleet::agents(&machines)),
                ..pool_standin::Options::scaled(TIME_SCALE)
            };
            Some(PoolStandin::start(admin.clone(), options).await?)
        }
    };
    let workload = start_workload(&admin)
        .await
        .map_err(|error| Error::Workload(Box::new(error)))?;
    say(match kernel {
        Kernel::MachineConfigOperator => {
            "a stand-in for the Machine Config Operator is there, and a workload that a drain must respect"
        }
        Kernel::NodeDaemon => {
            "a workload is there that a drain must respect, and no Machine Config Operator"
        }
    });

    let operator_log = start_operator(&control_plane, &programs.operator).await?;
    say("the operator runs under the ServiceAccount and roles that are shipped");
    Ok(Sandbox {
        _standin: standin,
        kernel,
        machines,
        _workload: workload,
        control_plane,
        nodes,
        operator_log,
    })
}

/// Four pods of which three must always be there.
async fn start_workload(client: &Client) -> kube::Result<Workload> {
    let namespace = "default";
    service_account(client, namespace).await?;
    let wanted = workload::Wanted {
        namespace: namespace.to_owned(),
        name: "shop".to_owned(),
        replicas: 4,
        min_available: 3,
        grace: Duration::from_secs(1),
    };
    Workload::start(client.clone(), wanted).await
}

/// No controller here makes the ServiceAccount that a namespace's pods run under by default.
pub async fn service_account(client: &Client, namespace: &str) -> kube::Result<()> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let account = ServiceAccount {
        metadata: kube::api::ObjectMeta {
            name: Some("default".to_owned()),
            ..Default::default()
        },
        ..Default::default()
    };
    match accounts.create(&PostParams::default(), &account).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(drop),
    }
}

/// What `oc apply` would install, less the operator's Deployment: no kubelet here could run it, so the same
/// program is started beside the API server. The daemons' DaemonSet stays: their pods name it as their owner.
pub fn manifests(root: &Path) -> Result<Vec<serde_json::Value>, Error> {
    let mut values = apply::read(&root.join("manifests/crds"))?;
    values.extend(apply::read(&root.join("manifests"))?);
    values.retain(|value| value["kind"] != "Deployment" && value["kind"] != "Kustomization");
    Ok(values)
}

/// Starts the operator out of the cluster, as the ServiceAccount that it would have in it, and
/// waits until it leads and its caches are filled.
pub async fn start_operator(
    control_plane: &ControlPlane,
    operator: &Path,
) -> Result<PathBuf, Error> {
    let kubeconfig = control_plane
        .kubeconfig_for(OPERATOR_NAMESPACE, OPERATOR_ACCOUNT)
        .await?;
    let arguments = [
        format!("KUBECONFIG={}", kubeconfig.display()),
        operator.display().to_string(),
        "--listen=127.0.0.1:0".to_owned(),
        "--log-format=text".to_owned(),
    ];
    let log = control_plane.run_program("operator", Path::new("env"), &arguments)?;
    let started = Instant::now();
    loop {
        let printed = std::fs::read_to_string(&log).unwrap_or_default();
        if printed.contains("caches are filled") {
            return Ok(log);
        }
        let what = if !control_plane.runs("operator") {
            "ended"
        } else if started.elapsed() > OPERATOR_TIME_LIMIT {
            "did not become ready"
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let lines: Vec<&str> = printed.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n");
        return Err(Error::Operator { what, tail });
    }
}
