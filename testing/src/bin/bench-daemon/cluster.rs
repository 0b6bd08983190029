//! The cluster of `bench-daemon`: two nodes with a daemon each, and what this program does in the operator's place: it
//! writes the wish, grants the turn, and takes it back. The daemons are the real program with its shipped rights.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::{NodePhase, NodeTurn};
use realtime_core::names;
use realtime_testing::control_plane::{ControlPlane, Options};
use realtime_testing::pool_standin::{Capacity, create_node};
use realtime_testing::rpm_ostree_standin::{OriginKind, Profile, Version};
use realtime_testing::sandbox;
use realtime_testing::simulated_host::cluster::{
    DAEMON_ACCOUNT, DAEMON_NAMESPACE, Kubelet, daemon_kubeconfig, launch,
};
use realtime_testing::simulated_host::fleet::Fleet;
use realtime_testing::simulated_host::{Daemon, Hardware, Log, Machine, SimulatedHost};
use serde_json::{Value, json};

use crate::pod;

/// The nodes: on the first the daemon switches the kernel, on the second it looks on.
pub const NODES: [&str; 2] = ["switched", "looked-at"];
/// A switch takes seconds; this is for a machine that is starved.
const LIMIT: Duration = Duration::from_mins(3);
const LOOK: Duration = Duration::from_millis(100);
/// No request for so long: it has settled.
const QUIET: Duration = Duration::from_secs(5);
const BOOT_TIME: Duration = Duration::from_millis(500);

/// Requests by verb, resource and name.
pub type Requests = BTreeMap<(String, String, String), usize>;

/// A running cluster. Dropping it ends it.
pub struct Cluster {
    /// Goes before the control plane, as it is a client of it.
    machine: Machine,
    looked_at: Arc<SimulatedHost>,
    pub client: Client,
    pub control_plane: ControlPlane,
    /// That of the shipped `DaemonSet`.
    pub environment: Vec<(String, String)>,
}

impl Cluster {
    /// With everything in manifests/ but the operator; both daemons run, and nothing is wanted yet.
    pub async fn start(daemon: &Path, standin: &Path) -> anyhow::Result<Self> {
        let control_plane = ControlPlane::start(Options {
            audit_log: true,
            ..Options::default()
        })
        .await?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the workspace")?;
        let manifests = sandbox::manifests(root)?;
        control_plane.apply_values(manifests.clone()).await?;
        let client = control_plane.admin_client().await?;
        for node in NODES {
            create_node(&client, node, &BTreeMap::new(), &Capacity::default()).await?;
        }
        let fleet = Fleet {
            daemon: daemon.to_owned(),
            standin: standin.to_owned(),
            hardware: Hardware::default(),
            profile: Profile::measured(Version::V2024_7, OriginKind::Container),
            boot_time: BOOT_TIME,
            arguments: Vec::new(),
        };
        let hosts = fleet.hosts(&control_plane, &NODES.map(str::to_owned))?;
        let [switched, looked_at] = &hosts[..] else {
            bail!("two hosts were asked for");
        };

        let environment = environment(&manifests)?;
        let kubeconfig = daemon_kubeconfig(&control_plane, NODES[0]).await?;
        let kubelet = Kubelet::new(client.clone(), NODES[0]);
        let start = launch(daemon, switched, &kubeconfig);
        let start = pod::inside(start, &control_plane, &kubeconfig, &environment)?;
        let machine = Machine::start(Arc::clone(switched), Some(kubelet), start, BOOT_TIME).await?;

        let kubeconfig = daemon_kubeconfig(&control_plane, NODES[1]).await?;
        let mut start = launch(daemon, looked_at, &kubeconfig);
        if pod::can() {
            // As in its container: where no folder of programs is given, its CPUs are its own.
            start
                .arguments
                .retain(|argument| !argument.starts_with("--commands="));
        }
        let start = pod::inside(start, &control_plane, &kubeconfig, &environment)?;
        looked_at.start_daemon(&start, &Log::File(looked_at.log()))?;
        Ok(Self {
            machine,
            looked_at: Arc::clone(looked_at),
            client,
            control_plane,
            environment,
        })
    }

    /// Says what is wanted, and returns when both nodes are Ready, no turn is out, and no daemon asks for anything.
    /// The daemons' process ids.
    pub async fn settle(&self) -> anyhow::Result<Vec<u32>> {
        self.wish(
            NODES[0],
            json!({"realtime": true, "provider": "NodeDaemon", "arguments": ["skew_tick=1"]}),
        )
        .await?;
        self.wish(
            NODES[1],
            json!({"realtime": false, "provider": "MachineConfigOperator"}),
        )
        .await?;
        self.until(NODES[0], "wanted its turn", |node| {
            node.status.as_ref().and_then(|status| status.turn) == Some(NodeTurn::Wanted)
        })
        .await?;
        self.label_turn(Some(names::TURN_GRANTED)).await?;
        self.ready(NODES[0]).await?;
        self.label_turn(None).await?;
        self.ready(NODES[1]).await?;
        let mut known = self.requests()?;
        let mut last = Instant::now();
        let began = Instant::now();
        while last.elapsed() < QUIET {
            tokio::time::sleep(LOOK).await;
            let now = self.requests()?;
            if now != known {
                (known, last) = (now, Instant::now());
            }
            if began.elapsed() > LIMIT {
                bail!("the daemons ask again and again: {known:?}");
            }
        }
        self.pids()
    }

    async fn wish(&self, node: &str, kernel: Value) -> anyhow::Result<()> {
        let object = json!({
            "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeNode",
            "metadata": {"name": node},
            "spec": {
                "profile": "bench",
                "kernel": kernel,
                "cpu": {
                    "reserved": "0", "isolated": "1-7", "isolation": "ManagedIrq", "smt": "Keep",
                    "power": "LowLatency", "balanceInterruptsOnIsolated": false,
                },
                "tuning": {"sysctls": {"kernel.timer_migration": "0", "vm.stat_interval": "10"}},
            },
        });
        let parameters = PatchParams::apply("bench").force().validation_strict();
        self.nodes()
            .patch(node, &parameters, &Patch::Apply(object))
            .await?;
        Ok(())
    }

    async fn label_turn(&self, label: Option<&str>) -> anyhow::Result<()> {
        let patch = json!({"metadata": {"labels": {names::LABEL_TURN: label}}});
        self.nodes()
            .patch(NODES[0], &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    async fn ready(&self, node: &str) -> anyhow::Result<()> {
        self.until(node, "became Ready", |node| {
            node.status.as_ref().is_some_and(|status| {
                status.phase == Some(NodePhase::Ready)
                    && status.turn.is_none()
                    && status.observed_generation == node.metadata.generation
            })
        })
        .await
    }

    async fn until(
        &self,
        node: &str,
        what: &str,
        holds: impl Fn(&RealtimeNode) -> bool,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let seen = self.nodes().get(node).await?;
            if holds(&seen) {
                return Ok(());
            }
            if began.elapsed() > LIMIT {
                let status = serde_json::to_string_pretty(&seen.status)?;
                let log = self.control_plane.directory().join("hosts").join(node);
                let log = std::fs::read_to_string(log.join("daemon.log")).unwrap_or_default();
                bail!(
                    "{} never {what}; its status: {status}\nits log:\n{log}",
                    seen.name_any()
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn nodes(&self) -> Api<RealtimeNode> {
        Api::all(self.client.clone())
    }

    /// The daemons' process ids, in the order of [`NODES`].
    pub fn pids(&self) -> anyhow::Result<Vec<u32>> {
        [self.machine.host(), &self.looked_at]
            .into_iter()
            .map(|host| {
                host.with_daemon(|daemon: &mut Daemon| daemon.runs().then(|| daemon.pid()))
                    .flatten()
                    .with_context(|| format!("the daemon of {} has ended", host.name()))
            })
            .collect()
    }

    /// What the daemons have asked so far.
    pub fn requests(&self) -> anyhow::Result<Requests> {
        let user = format!("system:serviceaccount:{DAEMON_NAMESPACE}:{DAEMON_ACCOUNT}");
        let mut requests = Requests::new();
        for request in self.control_plane.audit_requests()? {
            if request.user == user {
                let key = (request.verb, request.resource, request.name);
                *requests.entry(key).or_default() += 1;
            }
        }
        Ok(requests)
    }

    pub async fn shutdown(self) -> anyhow::Result<()> {
        drop(self.machine);
        self.looked_at.kill_daemon();
        Ok(self.control_plane.shutdown().await?)
    }
}

/// The environment that the shipped DaemonSet gives its container, so far as it is the same on every node.
fn environment(manifests: &[Value]) -> anyhow::Result<Vec<(String, String)>> {
    let set = manifests
        .iter()
        .find(|value| value["kind"] == "DaemonSet")
        .context("the DaemonSet")?;
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    Ok(container["env"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|variable| {
            let text = |key: &str| Some(variable[key].as_str()?.to_owned());
            Some((text("name")?, text("value")?))
        })
        .collect())
}
