//! A cluster for the operator's integration tests: a real API server, the shipped definitions and rights, a stand-in
//! for the Machine Config Operator, and the operator's own program. It asserts nothing by itself.
#![allow(dead_code, reason = "each test file uses a part")]

pub mod daemons;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use realtime_core::api::{RealtimeNode, RealtimeProfile};
use realtime_core::cluster::Dialect;
use realtime_core::names;
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool, Tuned};
use realtime_testing::control_plane::{ControlPlane, Options};
use realtime_testing::openshift_crds;
use realtime_testing::pool_standin::{self, Capacity, PoolStandin, RenderDelay};
use realtime_testing::sandbox;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// A tenth of OpenShift's times: a change is rendered 0 to 0.5 s later, a node takes about 1.5 s.
pub const TIME_SCALE: f64 = 0.1;
/// Generous: two cores carry several tests at once.
pub const LONG: Duration = Duration::from_secs(90);
/// The pool, the profile and the role.
pub const NAME: &str = "worker-rt";

/// A profile of that name with these further fields of its spec.
#[allow(clippy::needless_pass_by_value, reason = "reads well with json!")]
pub fn profile(name: &str, more: Value) -> Value {
    let mut spec = json!({
        "kernel": {"realtime": true},
        "cpu": {"reserved": "0-1", "isolated": "2-7"},
        "numa": {"topologyPolicy": "SingleNumaNode"}
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "realtime.openshift.io/v1alpha1",
        "kind": "RealtimeProfile",
        "metadata": {"name": name},
        "spec": spec
    })
}

/// A cluster. Dropping it ends everything in it.
pub struct Cluster {
    pub standin: Option<PoolStandin>,
    pub control_plane: ControlPlane,
    pub client: Client,
    pub nodes: Vec<String>,
    pub kubeconfig: PathBuf,
    desired: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
    _observer: JoinHandle<()>,
}

impl Drop for Cluster {
    /// A test that failed shows what the operators said.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let (pools, nodes) = (self.api::<MachineConfigPool>(), self.api::<Node>());
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for pool in pools
                    .list(&kube::api::ListParams::default())
                    .await
                    .into_iter()
                    .flatten()
                {
                    let target = pool
                        .spec
                        .configuration
                        .as_ref()
                        .and_then(|target| target.name.clone());
                    let annotations = pool.annotations();
                    eprintln!(
                        "pool {} paused={:?} target={target:?} {annotations:?} {:?}",
                        pool.name_any(),
                        pool.spec.paused,
                        pool.status
                            .as_ref()
                            .map(|status| (status.machine_count, status.updated_machine_count))
                    );
                }
                for node in nodes
                    .list(&kube::api::ListParams::default())
                    .await
                    .into_iter()
                    .flatten()
                {
                    eprintln!(
                        "node {} {:?} {:?}",
                        node.name_any(),
                        node.labels(),
                        node.annotations()
                    );
                }
            });
        });
        let logs = std::fs::read_dir(self.control_plane.directory());
        for log in logs.into_iter().flatten().flatten() {
            let name = log.file_name().to_string_lossy().into_owned();
            if name.starts_with("operator") {
                let text = std::fs::read_to_string(log.path()).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let tail = lines[lines.len().saturating_sub(40)..].join("\n");
                eprintln!("--- the end of {name}\n{tail}");
            }
        }
    }
}

impl Cluster {
    /// With three nodes, today's dialect, renders as observed.
    pub async fn start() -> Self {
        Self::with(Dialect::KernelType, RenderDelay::AsObserved, 3).await
    }

    pub async fn with(dialect: Dialect, render_delay: RenderDelay, nodes: u32) -> Self {
        let filter = std::env::var("TEST_LOG").unwrap_or_else(|_| "error".to_owned());
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let options = Options {
            audit_log: true,
            ..Options::default()
        };
        let control_plane = ControlPlane::start(options).await.unwrap();
        openshift_crds::install_openshift(&control_plane, dialect)
            .await
            .unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        control_plane
            .apply_values(sandbox::manifests(&root).unwrap())
            .await
            .unwrap();
        let client = control_plane.admin_client().await.unwrap();
        let options = pool_standin::Options {
            render_delay,
            ..pool_standin::Options::scaled(TIME_SCALE)
        };
        let standin = PoolStandin::start(client.clone(), options).await.unwrap();
        let nodes = pool_standin::create_nodes(
            &client,
            "machine-",
            nodes,
            &BTreeMap::new(),
            &Capacity::default(),
        )
        .await
        .unwrap();
        let desired = Arc::new(Mutex::new(BTreeMap::new()));
        let observer = tokio::spawn(observe(client.clone(), Arc::clone(&desired)));
        let kubeconfig = control_plane
            .kubeconfig_for(names::OPERATOR_NAMESPACE, sandbox::OPERATOR_ACCOUNT)
            .await
            .unwrap();
        let cluster = Self {
            standin: Some(standin),
            control_plane,
            client,
            nodes,
            kubeconfig,
            desired,
            _observer: observer,
        };
        // The nodes have their first configuration before anything is counted.
        let nodes: Api<Node> = Api::all(cluster.client.clone());
        for name in &cluster.nodes {
            let name = name.clone();
            until(
                "the node has its first configuration",
                &nodes,
                &name,
                |node| node.is_some_and(|node| annotation(node, "currentConfig").is_some()),
            )
            .await;
        }
        cluster
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::ClusterResourceScope>,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// Starts an operator and waits until its caches are filled. The log's path is returned.
    pub async fn operator(&self, name: &str, more: &[&str]) -> PathBuf {
        let log = self.operator_unready(name, more);
        let started = Instant::now();
        loop {
            let printed = std::fs::read_to_string(&log).unwrap_or_default();
            if printed.contains("caches are filled") {
                return log;
            }
            assert!(
                self.control_plane.runs(name),
                "the operator ended:\n{printed}"
            );
            assert!(
                started.elapsed() < LONG,
                "the operator is not ready:\n{printed}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Starts an operator and returns at once.
    pub fn operator_unready(&self, name: &str, more: &[&str]) -> PathBuf {
        let mut arguments = vec![
            format!("KUBECONFIG={}", self.kubeconfig.display()),
            env!("CARGO_BIN_EXE_realtime-operator").to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--identity={name}"),
        ];
        // No daemon runs in most tests.
        if !more.iter().any(|more| more.starts_with("--first-report")) {
            arguments.push("--first-report-timeout=1".to_owned());
        }
        arguments.extend(more.iter().map(ToString::to_string));
        self.control_plane
            .run_program(name, Path::new("env"), &arguments)
            .unwrap()
    }

    /// Creates or changes a profile as a user would: with a server-side apply.
    pub async fn apply(&self, profile: &Value) {
        let name = profile["metadata"]["name"].as_str().unwrap();
        self.api::<RealtimeProfile>()
            .patch(
                name,
                &PatchParams::apply("user").force().validation_strict(),
                &Patch::Apply(profile),
            )
            .await
            .unwrap();
    }

    pub async fn delete_profile(&self, name: &str) {
        self.api::<RealtimeProfile>()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    pub async fn label(&self, node: &str, labels: Value) {
        self.api::<Node>()
            .patch(
                node,
                &PatchParams::default(),
                &Patch::Merge(json!({"metadata": {"labels": labels}})),
            )
            .await
            .unwrap();
    }

    /// Puts all nodes into the pool.
    pub async fn join(&self, pool: &str) {
        for node in &self.nodes {
            self.label(node, json!({names::node_role_label(pool): ""}))
                .await;
        }
    }

    pub async fn patch_pool(&self, name: &str, patch: Value) {
        self.api::<MachineConfigPool>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// A pool as an admin makes it.
    pub async fn create_pool(&self, name: &str) {
        let pool: MachineConfigPool = serde_json::from_value(json!({
            "apiVersion": "machineconfiguration.openshift.io/v1", "kind": "MachineConfigPool",
            "metadata": {"name": name},
            "spec": {
                "machineConfigSelector": {"matchExpressions": [
                    {"key": names::LABEL_MACHINE_CONFIG_ROLE, "operator": "In", "values": ["worker", name]}]},
                "nodeSelector": {"matchLabels": {names::node_role_label(name): ""}}
            }
        }))
        .unwrap();
        self.api::<MachineConfigPool>()
            .create(&PostParams::default(), &pool)
            .await
            .unwrap();
    }

    /// Waits until the profile's condition has this status and reason, about its present generation.
    pub async fn until_condition(
        &self,
        name: &str,
        type_: &str,
        status: &str,
        reason: &str,
    ) -> RealtimeProfile {
        let wanted = format!("{name}: {type_}={status} {reason}");
        until(
            &wanted,
            &self.api(),
            name,
            |profile: Option<&RealtimeProfile>| {
                profile.is_some_and(|profile| has_condition(profile, type_, status, reason))
            },
        )
        .await
        .unwrap()
    }

    /// Waits until the profile is available about its present generation.
    pub async fn until_available(&self, name: &str) -> RealtimeProfile {
        self.until_condition(name, "Available", "True", "Updated")
            .await
    }

    /// Waits until all nodes are at rest with a configuration of that pool's target.
    pub async fn until_nodes_at_rest_in(&self, pool: &str) {
        let pools = self.api::<MachineConfigPool>();
        until(
            "the pool has a target",
            &pools,
            pool,
            |pool: Option<&MachineConfigPool>| {
                pool.is_some_and(|pool| {
                    pool.spec
                        .configuration
                        .as_ref()
                        .is_some_and(|target| target.name.is_some())
                })
            },
        )
        .await;
        for node in &self.nodes {
            loop {
                let target = pools
                    .get(pool)
                    .await
                    .unwrap()
                    .spec
                    .configuration
                    .and_then(|target| target.name)
                    .unwrap();
                let (what, nodes) = (format!("{node} at rest in {pool}"), self.api());
                let at_rest = until(&what, &nodes, node, |node: Option<&Node>| {
                    node.is_some_and(|node| {
                        annotation(node, "currentConfig") == Some(&target)
                            && annotation(node, "desiredConfig") == Some(&target)
                            && annotation(node, "state") == Some("Done")
                    })
                });
                if timeout(Duration::from_secs(20), at_rest).await.is_ok() {
                    break;
                }
            }
        }
    }

    /// Every desired configuration that each node has had, in order.
    pub fn desired(&self) -> BTreeMap<String, Vec<String>> {
        self.desired.lock().unwrap().clone()
    }

    /// Waits until [`Self::desired`] has what the nodes have now: after an outage its watch comes back late.
    pub async fn until_desired_is_seen(&self) {
        let seen = async {
            for name in &self.nodes {
                loop {
                    let node = self.api::<Node>().get(name).await.unwrap();
                    let key = format!("{}desiredConfig", names::MCO_ANNOTATION_PREFIX);
                    let now = node.annotations().get(&key).cloned();
                    if self
                        .desired()
                        .get(name)
                        .and_then(|seen| seen.last().cloned())
                        == now
                    {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(2), seen)
            .await
            .expect("the watch comes back");
    }

    /// How many desired configurations each node has had.
    pub fn desired_counts(&self) -> Vec<usize> {
        self.desired().values().map(Vec::len).collect()
    }

    pub async fn reboots(&self) -> Vec<u64> {
        let mut counts = Vec::new();
        for node in &self.nodes {
            counts.push(self.standin.as_ref().unwrap().reboots(node).await.unwrap());
        }
        counts
    }

    /// What the operator has written so far, Leases aside: verb, resource, name.
    pub fn operator_writes(&self) -> Vec<(String, String, String)> {
        let user = format!(
            "system:serviceaccount:{}:{}",
            names::OPERATOR_NAMESPACE,
            sandbox::OPERATOR_ACCOUNT
        );
        self.control_plane
            .audit_requests()
            .unwrap()
            .into_iter()
            .filter(|request| {
                request.user == user && request.is_write() && request.resource != "leases"
            })
            .map(|request| (request.verb, request.resource, request.name))
            .collect()
    }

    /// What was refused to the operator.
    pub fn operator_refusals(&self) -> Vec<(String, String, u16)> {
        let user = format!(
            "system:serviceaccount:{}:{}",
            names::OPERATOR_NAMESPACE,
            sandbox::OPERATOR_ACCOUNT
        );
        self.control_plane
            .audit_requests()
            .unwrap()
            .into_iter()
            .filter(|request| request.user == user && matches!(request.code, 401 | 403))
            .map(|request| (request.verb, request.resource, request.code))
            .collect()
    }

    /// Names of everything of ours that is there.
    pub async fn remains(&self) -> Vec<String> {
        let params = kube::api::ListParams::default().labels(names::LABEL_PROFILE);
        let mut remains = Vec::new();
        remains.extend(list(&self.api::<MachineConfig>(), &params).await);
        remains.extend(list(&self.api::<KubeletConfig>(), &params).await);
        remains.extend(list(&self.api::<MachineConfigPool>(), &params).await);
        remains.extend(list(&self.api::<RealtimeNode>(), &params).await);
        remains.extend(
            list(
                &self.api::<k8s_openapi::api::node::v1::RuntimeClass>(),
                &params,
            )
            .await,
        );
        let tuneds: Api<Tuned> = Api::namespaced(self.client.clone(), names::TUNED_NAMESPACE);
        remains.extend(list(&tuneds, &params).await);
        remains
    }

    /// Waits until the profile is gone.
    pub async fn until_gone(&self, name: &str) {
        until(
            &format!("{name} gone"),
            &self.api(),
            name,
            |profile: Option<&RealtimeProfile>| profile.is_none(),
        )
        .await;
    }
}

async fn list<K>(api: &Api<K>, params: &kube::api::ListParams) -> Vec<String>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let found = api.list(params).await.unwrap();
    found
        .items
        .iter()
        .map(|object| format!("{} {}", K::kind(&()), object.name_any()))
        .collect()
}

pub fn annotation<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.annotations()
        .get(&format!("{}{key}", names::MCO_ANNOTATION_PREFIX))
        .map(String::as_str)
}

/// The message of a profile's condition.
pub fn message(profile: &RealtimeProfile, type_: &str) -> String {
    let conditions = &profile.status.as_ref().unwrap().conditions;
    let found = realtime_core::conditions::find(conditions, type_);
    found.unwrap().message.clone()
}

pub fn has_condition(profile: &RealtimeProfile, type_: &str, status: &str, reason: &str) -> bool {
    profile.status.as_ref().is_some_and(|now| {
        now.observed_generation == profile.metadata.generation
            && now.conditions.iter().any(|condition| {
                condition.type_ == type_ && condition.status == status && condition.reason == reason
            })
    })
}

/// Waits for an object, event by event. Panics with what was last seen when it takes too long.
pub async fn until<K>(
    what: &str,
    api: &Api<K>,
    name: &str,
    test: impl Fn(Option<&K>) -> bool,
) -> Option<K>
where
    K: kube::Resource
        + Clone
        + serde::Serialize
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    let mut last: Option<K> = None;
    let wait = async {
        let objects = watcher::watch_object(api.clone(), name);
        let mut objects = std::pin::pin!(objects);
        loop {
            match objects.next().await {
                Some(Ok(object)) => {
                    last = object;
                    if test(last.as_ref()) {
                        return;
                    }
                }
                // The API server may be away for a while.
                Some(Err(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                None => panic!("the watch of {name} ended"),
            }
        }
    };
    if timeout(LONG, wait).await.is_err() {
        let last = serde_json::to_value(&last).unwrap_or_default();
        panic!(
            "still waiting: {what}; last seen: {:#}",
            last.get("status").unwrap_or(&last)
        );
    }
    last
}

/// Notes each new desired configuration of each node.
async fn observe(client: Client, desired: Arc<Mutex<BTreeMap<String, Vec<String>>>>) {
    let nodes: Api<Node> = Api::all(client);
    let events = watcher(nodes, watcher::Config::default())
        .default_backoff()
        .applied_objects();
    let mut events = std::pin::pin!(events);
    loop {
        match events.try_next().await {
            Ok(Some(node)) => {
                let Some(now) = annotation(&node, "desiredConfig") else {
                    continue;
                };
                let mut desired = desired.lock().unwrap();
                let of_node = desired.entry(node.name_any()).or_default();
                if of_node.last().map(String::as_str) != Some(now) {
                    of_node.push(now.to_owned());
                }
            }
            Ok(None) => return,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
