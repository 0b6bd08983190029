//! The sandbox: a cluster to try the product on, out of a real API server, simulated nodes, and a
//! stand-in for the Machine Config Operator. It installs what a user would install and nothing more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use realtime_core::cluster::Dialect;
use realtime_core::names::OPERATOR_NAMESPACE;

use crate::control_plane::{self, ControlPlane, Options, apply};
use crate::openshift_crds;
use crate::pool_standin::{self, Capacity, PoolStandin};
use crate::programs::{self, Program};

/// The operator's ServiceAccount, as shipped.
pub const OPERATOR_ACCOUNT: &str = "realtime-operator";

/// How fast the stand-in plays OpenShift: its 5 s steps take 2 s, so that a rollout of two nodes is
/// watched in half a minute and every step can still be seen.
const TIME_SCALE: f64 = 0.4;

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
    /// The operator isn't there.
    #[error("{} is no program: `make sandbox` builds it", .0.display())]
    NoOperator(PathBuf),
    /// The operator ended, or never became ready.
    #[error("the operator {what}; the end of its log:\n{tail}")]
    Operator {
        /// What it did.
        what: &'static str,
        /// The last lines that it printed.
        tail: String,
    },
}

/// A running sandbox. Dropping it ends everything in it.
pub struct Sandbox {
    /// The stand-in goes first: it is a client of the control plane.
    _standin: PoolStandin,
    /// The API server and the operator beside it.
    pub control_plane: ControlPlane,
    /// The simulated nodes.
    pub nodes: Vec<String>,
    /// What the operator prints.
    pub operator_log: PathBuf,
}

/// Brings a sandbox up, and says on standard error what it does.
pub async fn start(root: &Path, operator: &Path) -> Result<Sandbox, Error> {
    let started = Instant::now();
    let say = |what: &str| {
        eprintln!("[sandbox {:5.1} s] {what}", started.elapsed().as_secs_f32());
    };
    if !operator.is_file() {
        return Err(Error::NoOperator(operator.to_owned()));
    }
    // Blocking, and minutes at the very first time: it shows its own progress.
    tokio::task::block_in_place(|| programs::ensure(&Program::CONTROL_PLANE))?;

    say("starting etcd and kube-apiserver on loopback");
    let control_plane = ControlPlane::start(Options::default()).await?;
    say(&format!("{} answers", control_plane.server_url()));
    openshift_crds::install_openshift(&control_plane, Dialect::KernelType).await?;
    say("OpenShift's definitions are installed");
    control_plane.apply_values(manifests(root)?).await?;
    say("the operator's definitions and rights are installed (manifests/)");

    let admin = control_plane.admin_client().await?;
    let standin =
        PoolStandin::start(admin.clone(), pool_standin::Options::scaled(TIME_SCALE)).await?;
    let nodes =
        pool_standin::create_nodes(&admin, "worker-", 3, &BTreeMap::new(), &Capacity::default())
            .await?;
    say("three simulated nodes and a stand-in for the Machine Config Operator are there");

    let operator_log = start_operator(&control_plane, operator).await?;
    say("the operator runs under the ServiceAccount and roles that are shipped");
    Ok(Sandbox {
        _standin: standin,
        control_plane,
        nodes,
        operator_log,
    })
}

/// What `oc apply` would install, less the Deployment: no kubelet here could run it, so the same
/// program is started beside the API server.
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
