//! Node daemons for the operator's tests: tasks that keep to the protocol of turns through the real API server, on hosts
//! that are a few booleans. They note whatever they should never have been allowed to do. The real daemon isn't here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::NodeTurn;
use realtime_core::api::realtime_profile::KernelProvider;
use realtime_core::names;
use realtime_core::openshift::{MachineConfig, MachineConfigPool};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Cluster, NAME, annotation};

/// What happens on the hosts.
#[derive(Debug, Default)]
pub struct Hosts {
    /// Whether the real-time kernel that the daemon installed runs, by node.
    pub realtime: BTreeMap<String, bool>,
    /// Reboots by the daemon.
    pub reboots: BTreeMap<String, u32>,
    /// Who is being disturbed.
    pub down: Vec<String>,
    /// The most at once.
    pub most_down: usize,
    /// In which order they began.
    pub order: Vec<String>,
    /// What should never have happened.
    pub violations: Vec<String>,
    /// Nodes whose next switch fails.
    pub failing: Vec<String>,
}

/// Daemons on some nodes. Dropping it ends them.
pub struct Daemons {
    pub hosts: Arc<Mutex<Hosts>>,
    _tasks: JoinSet<()>,
}

impl Daemons {
    /// On these nodes; a node is disturbed for so long.
    pub fn start(cluster: &Cluster, nodes: &[String], disturbed: Duration) -> Self {
        let hosts = Arc::<Mutex<Hosts>>::default();
        let mut tasks = JoinSet::new();
        for node in nodes {
            let daemon = Daemon {
                client: cluster.client.clone(),
                node: node.clone(),
                hosts: Arc::clone(&hosts),
                disturbed,
            };
            tasks.spawn(daemon.run());
        }
        Self {
            hosts,
            _tasks: tasks,
        }
    }

    pub fn assert_clean(&self, most_down: usize) {
        let hosts = self.hosts.lock().unwrap();
        assert_eq!(hosts.violations, Vec::<String>::new());
        assert!(hosts.most_down <= most_down, "{hosts:#?}");
    }

    pub fn reboots(&self) -> Vec<u32> {
        self.hosts
            .lock()
            .unwrap()
            .reboots
            .values()
            .copied()
            .collect()
    }
}

struct Daemon {
    client: Client,
    node: String,
    hosts: Arc<Mutex<Hosts>>,
    disturbed: Duration,
}

impl Daemon {
    async fn run(self) {
        let api: Api<RealtimeNode> = Api::all(self.client.clone());
        loop {
            let mut events = std::pin::pin!(watcher::watch_object(api.clone(), &self.node));
            while let Some(event) = events.next().await {
                let Ok(Some(seen)) = event else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                self.look(&api, &seen).await;
            }
        }
    }

    async fn look(&self, api: &Api<RealtimeNode>, seen: &RealtimeNode) {
        let Some(kernel) = &seen.spec.kernel else {
            return;
        };
        let ours = kernel.provider == KernelProvider::NodeDaemon;
        let turn = seen.status.as_ref().and_then(|status| status.turn);
        let runs = self.runs();
        if turn == Some(NodeTurn::Taken) {
            let failed = self.disturb(kernel.realtime).await;
            let phase = if failed { "Degraded" } else { "Ready" };
            self.write(api, seen, phase, None).await;
        } else if !ours || runs == kernel.realtime {
            // Whoever only verifies looks at the kubelet's word, as the stand-in has no other.
            let proved = ours || self.by_kubelet().await == kernel.realtime;
            let phase = if proved { "Ready" } else { "Verifying" };
            self.write(api, seen, phase, None).await;
            if !proved {
                self.until_proved(api, seen).await;
            }
        } else if turn == Some(NodeTurn::Wanted) && seen.labels().contains_key(names::LABEL_TURN) {
            self.write(api, seen, "Staging", Some("Taken")).await;
        } else if !is_degraded(seen) {
            self.write(api, seen, "Pending", Some("Wanted")).await;
        }
    }

    /// Until the kubelet tells of the wanted kernel, or something else is wanted.
    async fn until_proved(&self, api: &Api<RealtimeNode>, seen: &RealtimeNode) {
        let realtime = seen
            .spec
            .kernel
            .as_ref()
            .is_some_and(|kernel| kernel.realtime);
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let Ok(now) = api.get(&self.node).await else {
                return;
            };
            if now.spec != seen.spec {
                return;
            }
            if self.by_kubelet().await == realtime {
                self.write(api, &now, "Ready", None).await;
                return;
            }
        }
    }

    fn runs(&self) -> bool {
        let hosts = self.hosts.lock().unwrap();
        hosts.realtime.get(&self.node).copied().unwrap_or(false)
    }

    async fn by_kubelet(&self) -> bool {
        let node = Api::<Node>::all(self.client.clone()).get(&self.node).await;
        let info = node.ok().and_then(|node| node.status?.node_info);
        info.is_some_and(|info| info.kernel_version.contains("rt"))
    }

    /// Only at the version that was seen: a label that was taken back meanwhile, or another spec, makes it fail.
    async fn write(
        &self,
        api: &Api<RealtimeNode>,
        seen: &RealtimeNode,
        phase: &str,
        turn: Option<&str>,
    ) {
        let ours = self.runs();
        let realtime = ours || self.by_kubelet().await;
        let wanted = json!({
            "observedGeneration": seen.metadata.generation,
            "phase": phase,
            "turn": turn,
            "kernel": {"realtime": realtime, "release": "5.14.0"},
            "host": {"cpuVendor": "GenuineIntel", "cpuFamily": 6, "cpuModel": 143},
            "topology": {"cpus": "0-7", "online": "0-7",
                "numaNodes": [{"id": 0, "cpus": "0-7", "memoryKiB": 16_777_216}]}
        });
        let now = serde_json::to_value(&seen.status).unwrap();
        let same = wanted
            .as_object()
            .unwrap()
            .iter()
            .all(|(key, value)| now.get(key).unwrap_or(&Value::Null) == value);
        if same {
            return;
        }
        let patch = json!({
            "metadata": {"resourceVersion": seen.resource_version()},
            "status": wanted
        });
        let params = PatchParams {
            field_manager: Some(names::DAEMON_FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        // A conflict: the next event comes.
        let _ = api
            .patch_status(&self.node, &params, &Patch::Merge(&patch))
            .await;
    }

    /// Cordon, some time, another kernel, uncordon. True: it failed, and the old kernel runs.
    async fn disturb(&self, realtime: bool) -> bool {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let violations = self.forbidden(&nodes).await;
        let failed = {
            let mut hosts = self.hosts.lock().unwrap();
            hosts.violations.extend(violations);
            hosts.down.push(self.node.clone());
            hosts.order.push(self.node.clone());
            hosts.most_down = hosts.most_down.max(hosts.down.len());
            hosts.failing.contains(&self.node)
        };
        self.cordon(&nodes, true).await;
        tokio::time::sleep(self.disturbed).await;
        {
            let mut hosts = self.hosts.lock().unwrap();
            if !failed {
                hosts.realtime.insert(self.node.clone(), realtime);
            }
            *hosts.reboots.entry(self.node.clone()).or_default() += 1;
        }
        self.cordon(&nodes, false).await;
        self.hosts
            .lock()
            .unwrap()
            .down
            .retain(|node| *node != self.node);
        failed
    }

    /// What of the cluster's state forbids that this node is disturbed now.
    async fn forbidden(&self, nodes: &Api<Node>) -> Vec<String> {
        let mut found = Vec::new();
        let node = nodes.get(&self.node).await.unwrap();
        if annotation(&node, "currentConfig") != annotation(&node, "desiredConfig")
            || annotation(&node, "state") != Some("Done")
        {
            found.push(format!("{} is the Machine Config Operator's", self.node));
        }
        if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
            && !node
                .annotations()
                .contains_key(names::ANNOTATION_CORDONED_AT)
        {
            found.push(format!("{} is cordoned by somebody", self.node));
        }
        let member = node.labels().contains_key(&names::node_role_label(NAME));
        let pool = if member { NAME } else { "worker" };
        let pool = Api::<MachineConfigPool>::all(self.client.clone())
            .get(pool)
            .await;
        if pool.is_ok_and(|pool| pool.spec.paused != Some(true)) {
            found.push(format!(
                "{} was begun in a pool that isn't paused",
                self.node
            ));
        }
        let config = annotation(&node, "currentConfig").unwrap_or_default();
        let config = Api::<MachineConfig>::all(self.client.clone())
            .get(config)
            .await;
        if config.is_ok_and(|config| config.spec.kernel_type.as_deref() == Some("realtime")) {
            found.push(format!("{} has two drivers", self.node));
        }
        found
    }

    async fn cordon(&self, nodes: &Api<Node>, on: bool) {
        let at = on.then_some("2026-01-01T00:00:00Z");
        let patch = json!({
            "metadata": {"annotations": {names::ANNOTATION_CORDONED_AT: at}},
            "spec": {"unschedulable": on.then_some(true)}
        });
        nodes
            .patch(&self.node, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }
}

fn is_degraded(node: &RealtimeNode) -> bool {
    let phase = node.status.as_ref().and_then(|status| status.phase);
    phase == Some(realtime_core::api::realtime_node::NodePhase::Degraded)
        && node
            .status
            .as_ref()
            .and_then(|status| status.observed_generation)
            == node.metadata.generation
}
