//! The loop as a process over a simulated host: a whole switch there and back, what the cluster hears of it, and what
//! becomes of it when the cluster says something else or nothing. The operator's part is played by hand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test ends at what it doesn't expect, and `json!` values read better given away"
)]

mod on_cluster;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use on_cluster::{Cluster, DAEMON, WORK, until};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::{NodePhase, NodeTurn};
use realtime_core::conditions::{self, reason};
use realtime_core::names;
use realtime_testing::rpm_ostree_standin::{OriginKind, Profile, Version};
use realtime_testing::simulated_host::cluster::Kubelet;
use realtime_testing::simulated_host::{Hardware, Launch, Machine, SimulatedHost};
use serde_json::{Value, json};
use support::standalone::Standalone;
use tempfile::TempDir;

const NODE: &str = "machine-1";
/// Names another program than the one that was built with this test, to look at a release.
const PROGRAM: &str = "REALTIME_TEST_DAEMON";
const BOOT: Duration = Duration::from_millis(50);

fn profile() -> Profile {
    Profile::measured(Version::V2024_7, OriginKind::Container)
}

fn spec(realtime: bool) -> Value {
    let arguments = if realtime {
        json!(["skew_tick=1"])
    } else {
        json!([])
    };
    json!({
        "profile": "worker-rt",
        "kernel": {"realtime": realtime, "provider": "NodeDaemon", "arguments": arguments},
    })
}

/// A cluster with one simulated machine whose daemon has the token of its pod.
struct OneNode {
    machine: Machine,
    cluster: Cluster,
    _folder: TempDir,
}

impl Drop for OneNode {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.host().log()).unwrap_or_default();
            eprintln!("--- the daemon's log\n{}", support::tail(&log, 80));
        }
    }
}

impl OneNode {
    async fn start() -> Self {
        let cluster = Cluster::start().await;
        cluster.node(NODE).await;
        let folder = tempfile::tempdir().unwrap();
        let host = SimulatedHost::create(
            folder.path(),
            NODE,
            Hardware::default(),
            &profile(),
            &support::programs().standin,
        )
        .unwrap();
        let kubeconfig = cluster.daemon_kubeconfig(NODE).await;
        let launch = launch(&host, &kubeconfig);
        let kubelet = Kubelet::new(cluster.client.clone(), NODE);
        let machine = Machine::start(Arc::new(host), Some(kubelet), launch, BOOT)
            .await
            .unwrap();
        Self {
            machine,
            cluster,
            _folder: folder,
        }
    }

    fn host(&self) -> &Arc<SimulatedHost> {
        self.machine.host()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.host().log()).unwrap_or_default()
    }

    /// Waits for the RealtimeNode to be something.
    async fn until(&self, what: &str, is: impl Fn(&RealtimeNode) -> bool) -> RealtimeNode {
        until(what, || async {
            match self.cluster.realtime_nodes().get_opt(NODE).await {
                Ok(Some(node)) if is(&node) => Ok(node),
                Ok(node) => Err(format!(
                    "{:?}",
                    node.map(|node| (node.metadata.labels, node.status))
                )),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// What the operator does about a wish for a turn.
    async fn grant(&self) {
        loop {
            let seen = self
                .until("a turn is wanted", |node| {
                    turn(node) == Some(NodeTurn::Wanted)
                })
                .await;
            let granted = self.label(&seen, json!(names::TURN_GRANTED)).await;
            // The daemon has told more meanwhile: looked at anew, as the operator does.
            let late = |error: &kube::Error| matches!(error, kube::Error::Api(status) if status.code == 409);
            if !granted.as_ref().is_err_and(late) {
                granted.expect("a grant");
                return;
            }
        }
    }

    async fn label(&self, seen: &RealtimeNode, value: Value) -> kube::Result<RealtimeNode> {
        let patch = json!({"metadata": {
            "resourceVersion": seen.resource_version(), "labels": {names::LABEL_TURN: value}}});
        self.cluster
            .realtime_nodes()
            .patch(NODE, &PatchParams::default(), &Patch::Merge(patch))
            .await
    }

    async fn ready(&self, realtime: bool) -> RealtimeNode {
        self.until("the node is Ready", |node| {
            phase(node) == Some(NodePhase::Ready)
                && turn(node).is_none()
                && node.status.as_ref().unwrap().observed_generation == node.metadata.generation
                && node
                    .status
                    .as_ref()
                    .unwrap()
                    .kernel
                    .as_ref()
                    .unwrap()
                    .realtime
                    == Some(realtime)
        })
        .await
    }

    async fn take_the_grant_back(&self) {
        until("the grant is taken back", || async {
            let seen = self.cluster.realtime_nodes().get(NODE).await.unwrap();
            self.label(&seen, Value::Null)
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
        .await;
    }

    async fn node(&self) -> Node {
        self.cluster.nodes().get(NODE).await.unwrap()
    }

    /// How many requests the daemon has made.
    fn requests(&self) -> Vec<String> {
        let requests = self.cluster.control_plane.audit_requests().unwrap();
        requests
            .into_iter()
            .filter(|request| request.user.contains(DAEMON))
            .map(|request| format!("{} {} {}", request.verb, request.resource, request.name))
            .collect()
    }
}

fn launch(host: &SimulatedHost, kubeconfig: &Path) -> Launch {
    let mut arguments = host.arguments();
    arguments.push(format!("--kubeconfig={}", kubeconfig.display()));
    arguments.push("--log=info,realtime_node_daemon=debug".to_owned());
    Launch {
        program: std::env::var_os(PROGRAM).map_or_else(|| support::programs().daemon, Into::into),
        arguments,
        environment: Vec::new(),
    }
}

fn phase(node: &RealtimeNode) -> Option<NodePhase> {
    node.status.as_ref()?.phase
}

fn turn(node: &RealtimeNode) -> Option<NodeTurn> {
    node.status.as_ref()?.turn
}

fn cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

#[test]
fn a_host_without_a_cluster_switches_there_and_back() {
    let host = Standalone::new(&profile());
    host.want(json!({"realtime": true, "arguments": ["skew_tick=1"]}));
    let end = host.settle();
    assert_eq!(end.phase, "Ready", "{}\n{}", end.line, host.log());
    let kernel = host.host.kernel();
    assert!(kernel.is_realtime() && kernel.command_line.contains("skew_tick=1"));
    assert_eq!(host.host.counts().reboots, 1);

    host.want(json!({"realtime": false}));
    let end = host.settle();
    assert_eq!(end.phase, "Ready", "{}\n{}", end.line, host.log());
    let kernel = host.host.kernel();
    assert!(!kernel.is_realtime() && !kernel.command_line.contains("skew_tick=1"));
    assert_eq!(host.host.counts().reboots, 2);
    // Every step that has begun has ended, but the two that ended the process.
    let log = host.log();
    let count = |text: &str| log.matches(text).count();
    assert_eq!(count("state=begin"), count("state=end"), "{log}");
    assert_eq!(count("step=Reboot state=begin"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_switches_in_its_turn_drained_and_leaves_no_trace() {
    let it = OneNode::start().await;
    it.cluster.pod(WORK, "app", NODE, json!({})).await;
    let _kubelet = it.cluster.kubelet();
    it.cluster.wish(NODE, spec(true)).await;

    // Without a grant nothing is disturbed.
    let waiting = it
        .until("a turn is wanted", |node| {
            turn(node) == Some(NodeTurn::Wanted)
        })
        .await;
    assert_eq!(phase(&waiting), Some(NodePhase::Pending));
    assert_eq!(it.host().standin().state().unwrap().deployments.len(), 1);
    it.grant().await;
    let ready = it.ready(true).await;
    it.take_the_grant_back().await;

    let status = ready.status.unwrap();
    assert_eq!(status.kernel.as_ref().unwrap().missing_arguments, [""; 0]);
    assert!(status.host.unwrap().ostree == Some(true));
    assert!(status.topology.unwrap().cpus.is_some());
    let node = it.node().await;
    assert!(!cordoned(&node));
    assert!(
        !node
            .annotations()
            .contains_key(names::ANNOTATION_CORDONED_AT)
    );
    assert_eq!(it.host().counts().reboots, 1);
    assert!(it.host().kernel().is_realtime());
    assert!(it.cluster.pods().get_opt("app").await.unwrap().is_none());

    // Everybody can read what happened, in its order.
    let events: Api<Event> = Api::namespaced(it.cluster.client.clone(), "default");
    let mut of_node: Vec<(_, String)> = events
        .list(&ListParams::default())
        .await
        .unwrap()
        .into_iter()
        .filter(|event| {
            let regarding = event.regarding.as_ref().unwrap();
            regarding.kind.as_deref() == Some("RealtimeNode")
        })
        .map(|event| (event.event_time.unwrap().0, event.reason.unwrap()))
        .collect();
    of_node.sort();
    let reasons: Vec<&str> = of_node.iter().map(|(_, reason)| reason.as_str()).collect();
    let mut at = reasons.iter();
    for wanted in [
        "Pending",
        "Staging",
        "Draining",
        "Rebooting",
        "Verifying",
        "Ready",
    ] {
        assert!(
            at.any(|reason| *reason == wanted),
            "{wanted} in {reasons:?}"
        );
    }

    // And back, the same way.
    it.cluster.wish(NODE, spec(false)).await;
    it.grant().await;
    it.ready(false).await;
    it.take_the_grant_back().await;
    assert_eq!(it.host().counts().reboots, 2);
    assert!(!it.host().kernel().is_realtime());
    let state = it.host().standin().state().unwrap();
    assert!(state.deployments.iter().all(|one| !one.pinned));

    // Idle: not one request but the watch. The memory is told, for whoever gives a release's program.
    let pid = it.host().with_daemon(|daemon| daemon.pid()).unwrap();
    let memory = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    for line in memory.lines().filter(|line| {
        line.starts_with("Rss") || line.starts_with("VmRSS") || line.starts_with("VmHWM")
    }) {
        println!("idle: {line}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = it.requests().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let after = it.requests();
    assert_eq!(before, after.len(), "{:?}", &after[before..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_taken_back_before_it_was_taken_disturbs_nothing() {
    let it = OneNode::start().await;
    it.cluster.wish(NODE, spec(true)).await;
    it.until("a turn is wanted", |node| {
        turn(node) == Some(NodeTurn::Wanted)
    })
    .await;
    // The daemon sees neither the grant nor its end.
    it.machine.set_daemon(false);
    it.grant().await;
    it.take_the_grant_back().await;
    it.machine.set_daemon(true);
    until("the daemon has looked", || async {
        let starts = it.host().counts().daemon_starts;
        let asks = it.log().matches("WaitingForTurn").count() + usize::from(starts >= 2);
        if asks > 0 {
            Ok(())
        } else {
            Err(format!("{starts} starts"))
        }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let node = it.cluster.realtime_nodes().get(NODE).await.unwrap();
    assert_eq!(turn(&node), Some(NodeTurn::Wanted));
    assert_eq!(it.host().standin().state().unwrap().deployments.len(), 1);
    // The next grant holds.
    it.grant().await;
    it.ready(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_a_drain_waits_and_nothing_reboots() {
    let it = OneNode::start().await;
    // Nobody ends it: the drain goes on.
    it.cluster
        .pod(
            WORK,
            "app",
            NODE,
            json!({"annotations": {"test/stuck": ""}}),
        )
        .await;
    it.cluster.wish(NODE, spec(true)).await;
    it.grant().await;
    it.until("the node is being drained", |node| {
        phase(node) == Some(NodePhase::Draining)
    })
    .await;
    until("the pod was told to end", || async {
        let pod = it.cluster.pods().get("app").await.unwrap();
        pod.metadata
            .deletion_timestamp
            .map(drop)
            .ok_or_else(|| "no".to_owned())
    })
    .await;

    it.cluster.control_plane.stop_api_server().await.unwrap();
    until("the daemon has noticed", || async {
        let log = it.log();
        if log.contains("can't be reached") {
            Ok(())
        } else {
            Err(support::tail(&log, 3))
        }
    })
    .await;
    assert_eq!(it.host().counts().reboots, 0);
    assert!(it.host().standin().state().unwrap().deployments[0].staged);

    it.cluster.control_plane.start_api_server().await.unwrap();
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        ..DeleteParams::default()
    };
    it.cluster.pods().delete("app", &now).await.unwrap();
    it.ready(true).await;
    assert_eq!(it.host().counts().reboots, 1);
    assert!(!cordoned(&it.node().await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realtime_node_that_goes_in_a_drain_leaves_no_cordon_and_no_reboot() {
    let it = OneNode::start().await;
    it.cluster.pod(WORK, "app", NODE, json!({})).await;
    it.cluster.wish(NODE, spec(true)).await;
    it.grant().await;
    it.until("the node is being drained", |node| {
        phase(node) == Some(NodePhase::Draining)
    })
    .await;
    until("the node is cordoned", || async {
        if cordoned(&it.node().await) {
            Ok(())
        } else {
            Err("no".to_owned())
        }
    })
    .await;
    it.cluster
        .realtime_nodes()
        .delete(NODE, &DeleteParams::default())
        .await
        .unwrap();
    until("the node is uncordoned", || async {
        let node = it.node().await;
        if !cordoned(&node)
            && !node
                .annotations()
                .contains_key(names::ANNOTATION_CORDONED_AT)
        {
            Ok(())
        } else {
            Err(format!("{:?}", node.spec))
        }
    })
    .await;
    assert_eq!(it.host().counts().reboots, 0);
    assert!(
        it.cluster
            .realtime_nodes()
            .get_opt(NODE)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admins_cordon_is_waited_for_and_stays() {
    let it = OneNode::start().await;
    it.cluster
        .patch_node(NODE, json!({"spec": {"unschedulable": true}}))
        .await;
    it.cluster.wish(NODE, spec(true)).await;
    let waiting = it
        .until("the node waits for the admin", |node| {
            let status = node.status.as_ref();
            status.is_some_and(|status| {
                let ready = conditions::find(&status.conditions, conditions::KERNEL_READY);
                ready.is_some_and(|ready| ready.reason == reason::CORDONED_BY_OTHERS)
            })
        })
        .await;
    assert_eq!(turn(&waiting), None);
    assert_eq!(it.host().standin().state().unwrap().deployments.len(), 1);
    let node = it.node().await;
    assert!(cordoned(&node));
    assert!(
        !node
            .annotations()
            .contains_key(names::ANNOTATION_CORDONED_AT)
    );

    it.cluster
        .patch_node(NODE, json!({"spec": {"unschedulable": null}}))
        .await;
    // Anything that is written to the object makes the daemon look at once; else it does every minute.
    let wake = json!({"metadata": {"annotations": {"test/wake": "1"}}});
    it.cluster
        .realtime_nodes()
        .patch(NODE, &PatchParams::default(), &Patch::Merge(wake))
        .await
        .unwrap();
    it.grant().await;
    it.ready(true).await;
}
