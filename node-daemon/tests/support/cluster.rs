//! A cluster of real parts and simulated hosts: API server, operator and daemons are the real programs, under the rights
//! that they ship with; the Machine Config Operator is the pool stand-in, and the machines are simulated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use realtime_core::api::realtime_node::NodePhase;
use realtime_core::api::{RealtimeNode, RealtimeProfile};
use realtime_core::cluster::Dialect;
use realtime_core::names;
use realtime_core::openshift::MachineConfigPool;
use realtime_testing::control_plane::{ControlPlane, Options};
use realtime_testing::openshift_crds;
use realtime_testing::pool_standin::{self, Capacity, PoolStandin};
use realtime_testing::rpm_ostree_standin::{OriginKind, Profile, Version};
use realtime_testing::sandbox::{self, Programs};
use realtime_testing::simulated_host::fleet::{self, Fleet};
use realtime_testing::simulated_host::{Hardware, Machine, SimulatedHost};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{programs, tail, workspace};

/// Every step here takes seconds at most; this is for a machine that is starved.
pub const LONG: Duration = Duration::from_secs(150);
/// How often a condition is looked at that no watch tells.
const LOOK: Duration = Duration::from_millis(50);
/// How fast the Machine Config Operator is played: its 5 s take half a second.
const TIME_SCALE: f64 = 0.1;
/// The Role of the nodes that the tests' profile selects.
pub const ROLE: &str = "node-role.kubernetes.io/worker-rt";

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What its MachineConfigs can select a kernel by; `None`: it has no Machine Config Operator at all.
    pub dialect: Option<Dialect>,
    /// How many nodes.
    pub nodes: u32,
    /// What each machine has booted.
    pub profile: Profile,
    /// What each machine is.
    pub hardware: Hardware,
    /// Whether the operator runs.
    pub operator: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            dialect: Some(Dialect::KernelType),
            nodes: 2,
            profile: Profile::measured(Version::V2024_7, OriginKind::Container),
            hardware: Hardware::default(),
            operator: true,
        }
    }
}

impl Setup {
    /// Without a Machine Config Operator.
    pub fn plain() -> Self {
        Self {
            dialect: None,
            ..Self::default()
        }
    }

    /// With a Machine Config Operator whose MachineConfigs select no kernel.
    pub fn older() -> Self {
        Self {
            dialect: Some(Dialect::None),
            ..Self::default()
        }
    }

    /// With so many nodes.
    pub fn nodes(self, nodes: u32) -> Self {
        Self { nodes, ..self }
    }
}

/// A running cluster. Dropping it ends it; when the test fails, it tells what it held.
pub struct Cluster {
    pub programs: Programs,
    pub client: Client,
    pub names: Vec<String>,
    pub machines: BTreeMap<String, Arc<Machine>>,
    pub operator_log: Option<PathBuf>,
    standin: Option<PoolStandin>,
    down: Arc<AtomicUsize>,
    sampler: JoinHandle<()>,
    pub control_plane: ControlPlane,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.sampler.abort();
    }
}

/// Looks at the nodes again and again, and keeps the largest number that was out of service at once.
async fn sample(client: Client, down: Arc<AtomicUsize>) {
    let nodes: Api<Node> = Api::all(client);
    loop {
        if let Ok(list) = nodes.list(&kube::api::ListParams::default()).await {
            let count = list.iter().filter(|node| is_down(node)).count();
            down.fetch_max(count, Ordering::SeqCst);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Cordoned by anybody, or not Ready.
fn is_down(node: &Node) -> bool {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let mut conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    cordoned || !conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}

impl Cluster {
    /// Brings one up.
    pub async fn start(setup: Setup) -> Self {
        let programs = programs();
        let control_plane = ControlPlane::start(Options {
            audit_log: true,
            ..Options::default()
        })
        .await
        .expect("a control plane");
        if let Some(dialect) = setup.dialect {
            openshift_crds::install_openshift(&control_plane, dialect)
                .await
                .expect("OpenShift's definitions");
        }
        control_plane
            .apply_values(sandbox::manifests(workspace()).expect("manifests"))
            .await
            .expect("the manifests");
        let client = control_plane.admin_client().await.expect("a client");
        sandbox::service_account(&client, "default")
            .await
            .expect("a ServiceAccount");
        let names = pool_standin::create_nodes(
            &client,
            "node-",
            setup.nodes,
            &BTreeMap::new(),
            &Capacity::default(),
        )
        .await
        .expect("nodes");
        let fleet = fleet(&programs, &setup);
        let hosts = fleet.hosts(&control_plane, &names).expect("hosts");
        let machines = fleet.start(&control_plane, hosts).await.expect("machines");
        let down = Arc::new(AtomicUsize::new(0));
        let sampler = tokio::spawn(sample(client.clone(), Arc::clone(&down)));
        let mut cluster = Self {
            down,
            sampler,
            programs,
            client,
            names,
            machines,
            operator_log: None,
            standin: None,
            control_plane,
        };
        if setup.dialect.is_some() {
            cluster.start_standin().await;
        }
        if setup.operator {
            cluster.start_operator().await;
        }
        cluster
    }

    /// Starts the Machine Config Operator's stand-in, with the machines behind it.
    pub async fn start_standin(&mut self) {
        let options = pool_standin::Options {
            hosts: Some(fleet::agents(&self.machines)),
            ..pool_standin::Options::scaled(TIME_SCALE)
        };
        let standin = PoolStandin::start(self.client.clone(), options)
            .await
            .expect("the pool stand-in");
        self.standin = Some(standin);
        for name in self.names.clone() {
            self.node_until(&name, "has its first configuration", |node| {
                annotation(node, "currentConfig").is_some()
            })
            .await;
        }
    }

    /// Ends the Machine Config Operator's stand-in.
    pub fn stop_standin(&mut self) {
        self.standin = None;
    }

    /// The Machine Config Operator's stand-in.
    pub fn standin(&self) -> &PoolStandin {
        self.standin.as_ref().expect("a pool stand-in")
    }

    /// Starts the operator, and waits until it leads.
    pub async fn start_operator(&mut self) {
        let log = sandbox::start_operator(&self.control_plane, &self.programs.operator)
            .await
            .expect("the operator");
        self.operator_log = Some(log);
    }

    /// `kill -9` of the operator.
    pub fn kill_operator(&self) {
        self.control_plane.kill_program("operator").expect("killed");
    }

    pub fn machine(&self, node: &str) -> &Arc<Machine> {
        &self.machines[node]
    }

    pub fn host(&self, node: &str) -> &Arc<SimulatedHost> {
        self.machines[node].host()
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::ClusterResourceScope>,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// Writes a profile of this name: `kernel` is its `spec.kernel`, the rest is as in the first example.
    pub async fn profile(&self, name: &str, kernel: Value) {
        let profile = json!({
            "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile",
            "metadata": {"name": name},
            "spec": {"kernel": kernel, "cpu": {"reserved": "0-1", "isolated": "2-7"}},
        });
        self.api::<RealtimeProfile>()
            .patch(
                name,
                &PatchParams::apply("a-user").force(),
                &Patch::Apply(&profile),
            )
            .await
            .expect("the profile");
    }

    pub async fn delete_profile(&self, name: &str) {
        self.api::<RealtimeProfile>()
            .delete(name, &DeleteParams::default())
            .await
            .expect("the deletion");
    }

    /// Puts nodes into the profile's pool.
    pub async fn label(&self, nodes: &[String]) {
        self.set_label(nodes, json!("")).await;
    }

    /// Takes nodes out of it.
    pub async fn unlabel(&self, nodes: &[String]) {
        self.set_label(nodes, Value::Null).await;
    }

    async fn set_label(&self, nodes: &[String], value: Value) {
        for node in nodes {
            self.patch_node(node, json!({"metadata": {"labels": {ROLE: value}}}))
                .await;
        }
    }

    pub async fn patch_node(&self, node: &str, patch: Value) {
        self.api::<Node>()
            .patch(node, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .expect("the node's patch");
    }

    /// What an admin's `kubectl cordon` and `uncordon` do.
    pub async fn cordon(&self, node: &str, cordoned: bool) {
        let value = if cordoned { json!(true) } else { Value::Null };
        self.patch_node(node, json!({"spec": {"unschedulable": value}}))
            .await;
    }

    pub async fn node(&self, name: &str) -> Node {
        self.api().get(name).await.expect("the node")
    }

    pub async fn realtime_node(&self, name: &str) -> Option<RealtimeNode> {
        self.api().get_opt(name).await.expect("an answer")
    }

    /// Waits for something that is looked at; panics with what is there when it doesn't come.
    pub async fn until<T, F>(&self, what: &str, mut look: impl FnMut() -> F) -> T
    where
        F: Future<Output = Option<T>>,
    {
        let started = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            if started.elapsed() > LONG {
                self.tell().await;
                panic!("not within {LONG:?}: {what}");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    pub async fn node_until(&self, name: &str, what: &str, is: impl Fn(&Node) -> bool) -> Node {
        self.until(&format!("Node {name} {what}"), || async {
            Some(self.node(name).await).filter(&is)
        })
        .await
    }

    pub async fn rtn_until(
        &self,
        name: &str,
        what: &str,
        is: impl Fn(&RealtimeNode) -> bool,
    ) -> RealtimeNode {
        self.until(&format!("RealtimeNode {name} {what}"), || async {
            // The API server may be away for a while.
            self.api::<RealtimeNode>()
                .get_opt(name)
                .await
                .unwrap_or_default()
                .filter(&is)
        })
        .await
    }

    /// Waits until the daemon says Ready about the spec that is there, with this kernel running.
    pub async fn ready(&self, name: &str, realtime: bool) -> RealtimeNode {
        let kernel = if realtime { "real-time" } else { "stock" };
        self.rtn_until(name, &format!("is Ready with the {kernel} kernel"), |rtn| {
            phase(rtn) == Some(NodePhase::Ready)
                && is_current(rtn)
                && rtn
                    .spec
                    .kernel
                    .as_ref()
                    .is_some_and(|kernel| kernel.realtime == realtime)
                && runs_realtime(rtn) == Some(realtime)
        })
        .await
    }

    /// Nothing is forgotten: no cordon, no pause, no turn, no pin, and the daemon's word is the host's.
    pub async fn tidy(&self) {
        for name in &self.names {
            self.node_until(name, "is not cordoned", |node| {
                node.spec.as_ref().and_then(|spec| spec.unschedulable) != Some(true)
                    && !node
                        .annotations()
                        .contains_key(names::ANNOTATION_CORDONED_AT)
            })
            .await;
            self.until(&format!("the turn of {name} is over"), || async {
                let rtn = self.realtime_node(name).await;
                rtn.is_none_or(|rtn| {
                    !rtn.labels().contains_key(names::LABEL_TURN)
                        && rtn
                            .status
                            .as_ref()
                            .is_none_or(|status| status.turn.is_none())
                })
                .then_some(())
            })
            .await;
            let state = self
                .host(name)
                .standin()
                .state()
                .expect("the stand-in's state");
            assert!(
                state.deployments.iter().all(|one| !one.pinned),
                "{name}: a deployment is still pinned"
            );
        }
        if self.standin.is_some() {
            self.until("no pool is paused", || async {
                let pools = self
                    .api::<MachineConfigPool>()
                    .list(&kube::api::ListParams::default())
                    .await
                    .ok()?;
                pools
                    .iter()
                    .all(|pool| pool.spec.paused != Some(true))
                    .then_some(())
            })
            .await;
        }
    }

    /// How often somebody rebooted each node's machine.
    pub fn reboots(&self) -> Vec<u32> {
        self.names
            .iter()
            .map(|name| self.host(name).counts().reboots)
            .collect()
    }

    /// The largest number of nodes that were seen out of service at once.
    pub fn most_down(&self) -> usize {
        self.down.load(Ordering::SeqCst)
    }

    /// Everything that helps to understand a failure.
    pub async fn tell(&self) {
        eprintln!("=== what the cluster holds");
        for name in &self.names {
            if let Ok(node) = self.api::<Node>().get(name).await {
                eprintln!(
                    "Node {name} cordoned={:?} labels={:?} annotations={:?}",
                    node.spec.and_then(|spec| spec.unschedulable),
                    node.metadata.labels,
                    node.metadata.annotations,
                );
            }
            match self.api::<RealtimeNode>().get_opt(name).await {
                Ok(Some(rtn)) => eprintln!(
                    "RealtimeNode {name} labels={:?}\n{}\n{}",
                    rtn.metadata.labels,
                    serde_json::to_string(&rtn.spec.kernel).unwrap_or_default(),
                    serde_json::to_string(&rtn.status).unwrap_or_default()
                ),
                other => eprintln!("RealtimeNode {name}: {:?}", other.is_ok()),
            }
            let log = std::fs::read_to_string(self.host(name).log()).unwrap_or_default();
            eprintln!("--- the end of {name}'s daemon's log\n{}", tail(&log, 40));
        }
        if let Ok(profiles) = self
            .api::<RealtimeProfile>()
            .list(&kube::api::ListParams::default())
            .await
        {
            for profile in profiles {
                eprintln!(
                    "RealtimeProfile {} {}",
                    profile.name_any(),
                    serde_json::to_string(&profile.status.map(|status| status.conditions))
                        .unwrap_or_default()
                );
            }
        }
        if self.standin.is_some()
            && let Ok(pools) = self
                .api::<MachineConfigPool>()
                .list(&kube::api::ListParams::default())
                .await
        {
            for pool in pools {
                eprintln!(
                    "MachineConfigPool {} paused={:?} annotations={:?}",
                    pool.name_any(),
                    pool.spec.paused,
                    pool.metadata.annotations
                );
            }
        }
        if let Some(log) = &self.operator_log {
            let text = std::fs::read_to_string(log).unwrap_or_default();
            eprintln!("--- the end of the operator's log\n{}", tail(&text, 40));
        }
    }

    /// Creates an object.
    pub async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = kube::core::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
        K::DynamicType: Default,
    {
        let object: K = serde_json::from_value(object).expect("an object");
        self.api()
            .create(&PostParams::default(), &object)
            .await
            .expect("created")
    }
}

fn fleet(programs: &Programs, setup: &Setup) -> Fleet {
    Fleet {
        daemon: programs.daemon.clone(),
        standin: programs.standin.clone(),
        hardware: setup.hardware.clone(),
        profile: setup.profile.clone(),
        boot_time: Duration::from_millis(50),
        arguments: vec!["--log=info,realtime_node_daemon=debug".to_owned()],
    }
}

/// An annotation of the Machine Config Operator.
pub fn annotation<'a>(node: &'a Node, name: &str) -> Option<&'a String> {
    node.annotations()
        .get(&format!("{}{name}", names::MCO_ANNOTATION_PREFIX))
}

pub fn phase(rtn: &RealtimeNode) -> Option<NodePhase> {
    rtn.status.as_ref()?.phase
}

pub fn runs_realtime(rtn: &RealtimeNode) -> Option<bool> {
    rtn.status.as_ref()?.kernel.as_ref()?.realtime
}

/// Whether the daemon's word is about the spec that is there.
pub fn is_current(rtn: &RealtimeNode) -> bool {
    rtn.status
        .as_ref()
        .is_some_and(|status| status.observed_generation == rtn.metadata.generation)
}

/// A condition's status, reason and message.
pub fn condition(rtn: &RealtimeNode, type_: &str) -> Option<(String, String, String)> {
    let conditions = &rtn.status.as_ref()?.conditions;
    let found = realtime_core::conditions::find(conditions, type_)?;
    Some((
        found.status.clone(),
        found.reason.clone(),
        found.message.clone(),
    ))
}
