//! A stand-in for the Machine Config Operator: its pool logic and the agents of simulated nodes.
//!
//! It renders and rolls out by OpenShift's rules on a real API server, where the real operator can't run: it
//! merges a pool's MachineConfigs, accepts or refuses KubeletConfigs, and takes nodes through cordon, eviction,
//! a simulated reboot and uncordon. Its yardstick are recordings of the real one (`tests/pool_conformance.rs`).
//! It is for tests and the sandbox only, and never for a cluster that has nodes of its own.

pub mod agent;
mod controller;
pub mod hosts;
pub mod install;
pub mod kubelet_config;
pub mod names;
pub mod node;
pub mod queue;
pub mod render;
pub mod world;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use hosts::Hosts;
pub use install::Capacity;

/// When a change is rendered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum RenderDelay {
    /// One step after the first event of the pool since the last render: so 0 to 5 s after a change, as
    /// recorded.
    #[default]
    AsObserved,
    /// At a random moment within one step after a change.
    Random,
    /// That long after a change.
    Fixed(Duration),
}

/// How the stand-in behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// When a change is rendered.
    pub render_delay: RenderDelay,
    /// How long the node and drain controllers wait after an event. The real ones: 5 s.
    pub step: Duration,
    /// How long a node's update takes between drain and uncordon. In the recordings: 2 s.
    pub work: Duration,
    /// Multiplies every duration: 0.1 is ten times as fast as the real one.
    pub time_scale: f64,
    /// Whether the pool names degraded nodes, as it does where MachineConfigNodes are served (4.19 and later).
    pub names_degraded_nodes: bool,
    /// The machines behind the nodes, where there are any.
    pub hosts: Option<Arc<dyn Hosts>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            render_delay: RenderDelay::AsObserved,
            step: Duration::from_secs(5),
            work: Duration::from_secs(2),
            time_scale: 1.0,
            names_degraded_nodes: true,
            hosts: None,
        }
    }
}

impl Options {
    /// As the real one, only faster.
    #[must_use]
    pub fn scaled(time_scale: f64) -> Self {
        Self {
            time_scale,
            ..Self::default()
        }
    }
}

/// The stand-in can't be had or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refuses, or the client fails.
    #[error("{action}: {source}")]
    Kube {
        /// What was asked.
        action: String,
        /// The reason.
        source: Box<kube::Error>,
    },
    /// An object of ours isn't what the API types say.
    #[error("{0} is malformed")]
    Malformed(String),
}

fn kube_error(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
    let action = action.into();
    move |source| Error::Kube {
        action,
        source: Box::new(source),
    }
}

/// A running stand-in. Dropping it ends it; a new one takes over where it stopped, as the real one would.
pub struct PoolStandin {
    client: Client,
    task: JoinHandle<()>,
    picks: watch::Sender<Vec<String>>,
}

impl std::fmt::Debug for PoolStandin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PoolStandin")
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}

impl Drop for PoolStandin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl PoolStandin {
    /// Creates the built-in pools and their base MachineConfigs where they are absent, and starts. OpenShift's
    /// CRDs must be served. The client needs an administrator's rights.
    pub async fn start(client: Client, options: Options) -> Result<Self, Error> {
        install(&client).await?;
        let (picks, receiver) = watch::channel(Vec::new());
        let controller = controller::Controller::new(client.clone(), options, receiver);
        let task = tokio::spawn(controller.run());
        Ok(Self {
            client,
            task,
            picks,
        })
    }

    /// Waits until it ends, which it does only when its watches end: never, but for a bug.
    pub async fn wait(&mut self) {
        // A cancelled or failed task has ended too.
        let _ended = (&mut self.task).await;
    }

    /// Among nodes of equal age the real controller's choice is arbitrary. This sets the choices, one name for
    /// each time that a node is chosen from now on.
    pub fn choose_nodes(&self, names: impl IntoIterator<Item = impl Into<String>>) {
        self.picks
            .send_modify(|picks| picks.extend(names.into_iter().map(Into::into)));
    }

    /// The node refuses every new configuration with this reason; `None`: it recovers.
    pub async fn degrade_node(&self, node: &str, reason: Option<&str>) -> Result<(), Error> {
        self.annotate::<Node>(node, json!({names::DEGRADE: reason}))
            .await
    }

    /// The node drifts from its configuration: Degraded without any change under way. `degrade_node(node, None)`
    /// ends it.
    pub async fn drift_node(&self, node: &str, reason: &str) -> Result<(), Error> {
        let annotations = json!({names::DEGRADE: reason, names::STATE: names::state::DEGRADED, names::REASON: reason});
        self.annotate::<Node>(node, annotations).await
    }

    /// The node's agent does nothing, or goes on.
    pub async fn hang_node(&self, node: &str, hang: bool) -> Result<(), Error> {
        self.annotate::<Node>(node, json!({names::HANG: hang.then_some("")}))
            .await
    }

    /// The pool isn't rendered any more, or is again.
    pub async fn hang_render(&self, pool: &str, hang: bool) -> Result<(), Error> {
        self.annotate::<MachineConfigPool>(pool, json!({names::HANG: hang.then_some("")}))
            .await
    }

    /// The KubeletConfig is refused with this text; `None`: it is judged by its content.
    pub async fn refuse_kubelet_config(&self, name: &str, text: Option<&str>) -> Result<(), Error> {
        self.annotate::<KubeletConfig>(name, json!({names::REFUSE: text}))
            .await
    }

    async fn annotate<K>(&self, name: &str, annotations: Value) -> Result<(), Error>
    where
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let api: Api<K> = Api::all(self.client.clone());
        let patch = json!({"metadata": {"annotations": annotations}});
        api.patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .map_err(kube_error(format!("annotating {name}")))?;
        Ok(())
    }

    /// How often the stand-in has played a reboot of the node.
    pub async fn reboots(&self, node: &str) -> Result<u64, Error> {
        let api: Api<Node> = Api::all(self.client.clone());
        let node = api
            .get(node)
            .await
            .map_err(kube_error(format!("reading node {node}")))?;
        Ok(node
            .annotations()
            .get(names::REBOOTS)
            .and_then(|count| count.parse().ok())
            .unwrap_or_default())
    }
}

/// Creates Ready worker nodes `<prefix>1` to `<prefix>n` with further labels. No kubelet stands behind them.
pub async fn create_nodes(
    client: &Client,
    prefix: &str,
    count: u32,
    labels: &BTreeMap<String, String>,
    capacity: &Capacity,
) -> Result<Vec<String>, Error> {
    let names: Vec<String> = (1..=count)
        .map(|number| format!("{prefix}{number}"))
        .collect();
    for name in &names {
        create_node(client, name, labels, capacity).await?;
    }
    Ok(names)
}

/// Creates one Ready worker node; one of that name that is there already becomes Ready again.
pub async fn create_node(
    client: &Client,
    name: &str,
    labels: &BTreeMap<String, String>,
    capacity: &Capacity,
) -> Result<(), Error> {
    let api: Api<Node> = Api::all(client.clone());
    let (node, status) = install::node(name, labels, capacity)
        .ok_or_else(|| Error::Malformed(format!("node {name}")))?;
    create(&api, &node).await?;
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await
        .map_err(kube_error(format!("setting the status of node {name}")))?;
    // The API server taints a new node until a controller, which isn't here, finds it ready.
    api.patch(
        name,
        &PatchParams::default(),
        &Patch::Merge(&json!({"spec": {"taints": null}})),
    )
    .await
    .map_err(kube_error(format!("removing the taints of node {name}")))?;
    Ok(())
}

async fn install(client: &Client) -> Result<(), Error> {
    let configs: Api<MachineConfig> = Api::all(client.clone());
    let pools: Api<MachineConfigPool> = Api::all(client.clone());
    for name in install::POOLS {
        for config in install::base_configs(name) {
            create(&configs, &config).await?;
        }
        let pool =
            install::built_in_pool(name).ok_or_else(|| Error::Malformed(format!("pool {name}")))?;
        create(&pools, &pool).await?;
    }
    Ok(())
}

/// Creates an object; one that is there already stays as it is.
async fn create<K>(api: &Api<K>, object: &K) -> Result<(), Error>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    match api.create(&PostParams::default(), object).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(kube_error(format!("creating {}", object.name_any()))(error)),
    }
}
