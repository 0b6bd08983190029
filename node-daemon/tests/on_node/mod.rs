//! A real node with the daemon on it: API server, kubelet and container runtime are the real ones, the daemon has the
//! rights that it ships with and a token that names its node, and the kernel's budgets are real.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Client, ResourceExt as _};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::{
    ContainerBudget, ContainerBudgetState, NodePodBudgetSpec, NodePodBudgetStatus, RealtimeNodeSpec,
};
use realtime_testing::real_node::{BUSYBOX_IMAGE, Options, RealNode, Runtime, cannot_run};
use realtime_testing::sandbox;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Everything here takes seconds at most; this is for a machine that is starved.
pub const LONG: Duration = Duration::from_mins(2);
/// How often is looked at what no watch tells.
const LOOK: Duration = Duration::from_millis(20);
/// The node's own share of the machine, microseconds of each second.
pub const NODE_US: u32 = 300_000;
/// The pods' share of that.
pub const CAPACITY_US: i64 = 250_000;
/// What one container may ask for.
pub const MOST_US: i64 = 150_000;
/// Where the daemon serves its metrics, in the node's own network.
pub const METRICS: &str = "127.0.0.1:9193";
/// The daemon, as a program of the node.
const DAEMON: &str = "daemon";

/// Two nodes at a time: each fills two cores while it starts, and most of its time it waits.
pub static TWO_AT_A_TIME: Semaphore = Semaphore::const_new(2);

/// The node.
pub struct Lab {
    pub node: RealNode,
    pub client: Client,
    pub pods: Api<Pod>,
    pub log: PathBuf,
    pub runtime: Runtime,
    arguments: Vec<String>,
    _turn: SemaphorePermit<'static>,
}

/// Whether this machine can; says so when not.
pub fn can(runtime: Runtime) -> bool {
    if let Some(reason) = cannot_run(runtime) {
        realtime_testing::skip(&reason);
        return false;
    }
    if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        realtime_testing::skip("the kernel has no budgets for groups of real-time threads");
        return false;
    }
    true
}

/// What the operator would write for the node.
pub fn spec() -> RealtimeNodeSpec {
    RealtimeNodeSpec {
        profile: "worker-rt".to_owned(),
        pod_budget: Some(NodePodBudgetSpec {
            capacity_microseconds: CAPACITY_US,
            max_per_container_microseconds: MOST_US,
            namespace_selector: None,
        }),
        ..RealtimeNodeSpec::default()
    }
}

impl Lab {
    /// With the daemon on it, and its RealtimeNode.
    pub async fn start(runtime: Runtime, spec: RealtimeNodeSpec) -> Self {
        let lab = Self::without_daemon(runtime, Options::new(runtime), spec).await;
        lab.start_daemon();
        lab.wait_for("the mode", |told| told.mode.is_some()).await;
        lab
    }

    /// Everything but the daemon.
    pub async fn without_daemon(
        runtime: Runtime,
        options: Options,
        spec: RealtimeNodeSpec,
    ) -> Self {
        let turn = TWO_AT_A_TIME.acquire().await.expect("never closed");
        let options = Options {
            realtime_runtime_us: NODE_US,
            ..options
        };
        // Other tests' nodes may have the machine's budget, for as long as they run.
        let begun = Instant::now();
        let node = loop {
            match RealNode::start(options.clone()).await {
                Ok(node) => break node,
                Err(error) => {
                    let full = error.to_string().contains("writing the node's budget");
                    assert!(full && begun.elapsed() < 2 * LONG, "node: {error:?}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        };
        let client = node.admin_client().await.expect("client");
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("root");
        let manifests = sandbox::manifests(root).expect("manifests");
        // The images of what runs in pods don't exist: the daemon is started as a program.
        let manifests = manifests
            .into_iter()
            .filter(|object| !matches!(object["kind"].as_str(), Some("DaemonSet" | "Deployment")));
        let text = manifests
            .map(|object| object.to_string())
            .collect::<Vec<_>>()
            .join("\n---\n");
        node.apply_yaml(&text).await.expect("manifests");
        let name = node.options().node_name.clone();
        let nodes: Api<RealtimeNode> = Api::all(client.clone());
        let object = RealtimeNode::new(&name, spec);
        nodes
            .create(&PostParams::default(), &object)
            .await
            .expect("RealtimeNode");
        let kubeconfig = node
            .kubeconfig_on_node("realtime-node-daemon", "realtime-node-daemon")
            .await
            .expect("kubeconfig");
        let config = node.directory().join("daemon.yaml");
        let group = node.cgroup_root();
        let group = group
            .file_name()
            .and_then(|name| name.to_str())
            .expect("group");
        // Other nodes of other tests may be on this machine.
        std::fs::write(&config, format!("pods_group: /{group}/kubepods\n")).expect("config");
        let text = |path: &Path| path.to_str().expect("path").to_owned();
        let arguments = [
            "--kubeconfig",
            &text(&kubeconfig),
            "--node-name",
            &name,
            "--config",
            &text(&config),
            "--log",
            "realtime_node_daemon=debug,info",
            "--metrics-address",
            METRICS,
        ]
        .map(str::to_owned)
        .into();
        Self {
            pods: Api::namespaced(client.clone(), "default"),
            log: node.directory().join(format!("{DAEMON}.log")),
            runtime,
            arguments,
            client,
            node,
            _turn: turn,
        }
    }

    /// Starts the daemon, for the first time or again.
    pub fn start_daemon(&self) {
        let program = Path::new(env!("CARGO_BIN_EXE_realtime-node-daemon"));
        self.node
            .run_program(DAEMON, program, &self.arguments)
            .expect("daemon");
    }

    /// `kill -9`.
    pub fn kill_daemon(&self) {
        self.node.kill_program(DAEMON).expect("killed");
    }

    /// What the daemon has said, its last lines.
    pub fn said(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(400)..].join("\n")
    }

    /// `status.podBudget` once it is as it should be.
    pub async fn wait_for(
        &self,
        what: &str,
        is: impl Fn(&NodePodBudgetStatus) -> bool,
    ) -> NodePodBudgetStatus {
        let nodes: Api<RealtimeNode> = Api::all(self.client.clone());
        let begun = Instant::now();
        loop {
            let node = nodes
                .get(&self.node.options().node_name)
                .await
                .expect("RealtimeNode");
            let told = node
                .status
                .and_then(|status| status.pod_budget)
                .unwrap_or_default();
            if is(&told) {
                return told;
            }
            assert!(
                begun.elapsed() < LONG,
                "{what} does not come: {told:#?}\n{}",
                self.said()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What is told once each of so many containers has got its answer, and it is as it should be.
    pub async fn settled(
        &self,
        containers: usize,
        is: impl Fn(&NodePodBudgetStatus) -> bool,
    ) -> NodePodBudgetStatus {
        self.wait_for("all of them", |told| {
            let settled = told
                .containers
                .iter()
                .filter(|entry| entry.state != ContainerBudgetState::Pending);
            settled.count() == containers && is(told)
        })
        .await
    }

    /// Changes `spec.podBudget`, as another profile does.
    pub async fn set(&self, pod_budget: Value) {
        let nodes: Api<RealtimeNode> = Api::all(self.client.clone());
        let patch = json!({"spec": {"podBudget": pod_budget}});
        let name = &self.node.options().node_name;
        nodes
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("set");
    }

    /// The entry of a pod's container once it is as it should be.
    pub async fn entry(
        &self,
        pod: &str,
        container: &str,
        is: impl Fn(&ContainerBudget) -> bool,
    ) -> ContainerBudget {
        let find = |told: &NodePodBudgetStatus| {
            let mut entries = told.containers.iter();
            entries
                .find(|entry| entry.pod == pod && entry.container == container && is(entry))
                .cloned()
        };
        let told = self
            .wait_for(&format!("{pod}/{container}"), |told| find(told).is_some())
            .await;
        find(&told).expect("found above")
    }

    /// Creates a pod, and waits for its phase.
    pub async fn run(&self, pod: Value, phase: &'static str) -> Pod {
        let name = self.create(pod).await;
        self.phase(&name, phase).await
    }

    /// Creates a pod.
    pub async fn create(&self, pod: Value) -> String {
        let pod: Pod = serde_json::from_value(pod).expect("pod");
        let pods: Api<Pod> = match pod.namespace() {
            Some(namespace) => Api::namespaced(self.client.clone(), &namespace),
            None => self.pods.clone(),
        };
        pods.create(&PostParams::default(), &pod)
            .await
            .expect("created pod")
            .name_any()
    }

    /// Waits for a pod's phase.
    pub async fn phase(&self, name: &str, phase: &'static str) -> Pod {
        let reached = await_condition(self.pods.clone(), name, move |pod: Option<&Pod>| {
            let now = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
            now == Some(phase)
                || (matches!(now, Some("Succeeded" | "Failed")) && now != Some(phase))
        });
        let waited = tokio::time::timeout(LONG, reached).await;
        let object = self.pods.get(name).await.expect("pod");
        let now = object
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        assert!(
            waited.is_ok() && now == Some(phase),
            "{name} is not {phase}: {:#?}\nlog: {}\n{}",
            object.status,
            self.log_of(name).await,
            self.said()
        );
        object
    }

    /// A pod's output.
    pub async fn log_of(&self, name: &str) -> String {
        self.pods
            .logs(name, &LogParams::default())
            .await
            .unwrap_or_default()
    }

    /// The same of a program that says something: a container runs before its program has come that far.
    pub async fn words_of(&self, name: &str) -> String {
        let begun = Instant::now();
        loop {
            let words = self.log_of(name).await;
            // The kubelet may need a moment to find its log.
            let none = words.is_empty() || words.starts_with("unable");
            if !none || begun.elapsed() > LONG {
                return words;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Deletes a pod, and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        self.pods
            .delete(name, &DeleteParams::default().grace_period(0))
            .await
            .expect("deleted");
        let gone = await_condition(self.pods.clone(), name, |pod: Option<&Pod>| pod.is_none());
        assert!(
            tokio::time::timeout(LONG, gone).await.is_ok(),
            "{name} stays"
        );
    }

    /// Reasons and notes of a pod's Events that the daemon wrote, once there is one of that reason.
    pub async fn event(&self, pod: &str, reason: &str) -> Event {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let begun = Instant::now();
        loop {
            let list = events
                .list(&ListParams::default().fields(&format!("involvedObject.name={pod}")))
                .await
                .expect("Events");
            let seen: Vec<String> = list
                .iter()
                .filter_map(|event| event.reason.clone())
                .collect();
            if let Some(event) = list
                .into_iter()
                .find(|event| event.reason.as_deref() == Some(reason))
            {
                return event;
            }
            assert!(
                begun.elapsed() < LONG,
                "no {reason}, but {seen:?}\n{}",
                self.said()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What the node's runtime calls the group of the container with that id.
    pub fn group_name(&self, id: &str) -> String {
        match self.runtime {
            Runtime::Containerd => id.to_owned(),
            Runtime::CriO => format!("crio-{id}"),
        }
    }

    /// The groups of a pod that runs and of its first container.
    pub async fn groups_of(&self, name: &str) -> (PathBuf, PathBuf) {
        let pod = self.pods.get(name).await.expect("pod");
        let uid = pod.uid().expect("a uid");
        let status = pod.status.expect("a status");
        let class = match status.qos_class.expect("a class").as_str() {
            "Guaranteed" => String::new(),
            class => class.to_lowercase(),
        };
        let containers = status.container_statuses.expect("containers");
        let id = containers[0].container_id.as_deref().expect("an id");
        let (_, id) = id.split_once("://").expect("runtime://id");
        let pods = self.node.cgroup_root().join("kubepods");
        let pod = pods.join(class).join(format!("pod{uid}"));
        let container = pod.join(self.group_name(id));
        (pod, container)
    }

    /// What the pods' group has, microseconds of each second.
    pub fn allocated(&self) -> i64 {
        let file = self.node.cgroup_root().join("kubepods/cpu.rt_runtime_us");
        let text = std::fs::read_to_string(file).expect("the pods' group");
        text.trim().parse().expect("a number")
    }

    /// Waits until the pods' group has that again.
    pub async fn allocated_is(&self, micros: i64) {
        let begun = Instant::now();
        while self.allocated() != micros {
            assert!(
                begun.elapsed() < LONG,
                "the pods' group has {} and not {micros}\n{}",
                self.allocated(),
                self.said()
            );
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A pod whose one container, `main`, runs a command and may use SCHED_FIFO if it has a budget.
pub fn pod(name: &str, annotations: &Value, command: &[&str]) -> Value {
    json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [container("main", command)],
        },
    })
}

/// A container.
pub fn container(name: &str, command: &[&str]) -> Value {
    json!({
        "name": name, "image": BUSYBOX_IMAGE, "command": command,
        "securityContext": {"capabilities": {"add": ["SYS_NICE"]}},
    })
}

/// A budget as with rt-operator.
pub fn budget(micros: &str) -> Value {
    json!({"realtime": "true", "rt_runtime_us": micros})
}
