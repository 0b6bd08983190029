//! What the operator advertises, counted by a real scheduler and kept by a real kubelet: a thousand pods that ask at
//! once, a kubelet that registers anew, a smaller capacity. The daemon's word is written by the test. One cluster for
//! all of it with each runtime, since it fills the machine while it starts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "capacity_real_node/several.rs"]
mod several;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use realtime_core::api::{RealtimeNode, RealtimeProfile};
use realtime_core::names::{self, RESOURCE_RUNTIME_US};
use realtime_core::quantity::Quantity;
use realtime_testing::programs::Program;
use realtime_testing::real_node::{BUSYBOX_IMAGE, Options, RealNode, Runtime, cannot_run};
use realtime_testing::sandbox;
use serde_json::{Value, json};

const NODE: &str = "node-1";
const PROFILE: &str = "loom";
/// Of the node, and of each pod: eight fit.
const CAPACITY: i64 = 800_000;
const SHARE: i64 = 100_000;
/// A node takes 110 pods without more said; these are kept out by the resource alone.
const PODS: usize = 1000;
/// Each fills two cores while it starts.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// Generous: other tests use the same two cores.
const LONG: Duration = Duration::from_mins(3);

/// The operator as a process of the machine, with the rights that are shipped.
struct Operator(Child);

impl Operator {
    fn start(kubeconfig: &Path, log: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_realtime-operator"))
            .env("KUBECONFIG", kubeconfig)
            .args([
                "--listen=127.0.0.1:0",
                "--first-report-timeout=1",
                "--leader-elect=false",
            ])
            .stdout(Stdio::null())
            .stderr(File::create(log).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A pod that asks; it ends at once when it is told to.
fn pod(name: &str, micros: i64) -> Pod {
    let asks = json!({RESOURCE_RUNTIME_US: micros.to_string()});
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"realtime.openshift.io/runtime-us": micros.to_string()}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": BUSYBOX_IMAGE, "command": ["sleep", "3600"],
                "resources": {"requests": asks, "limits": asks}
            }]
        }
    }))
    .unwrap()
}

fn asks(pod: &Pod) -> i64 {
    let containers = &pod.spec.as_ref().unwrap().containers;
    let of = |container: &k8s_openapi::api::core::v1::Container| {
        let requests = container.resources.as_ref()?.requests.as_ref()?;
        let quantity: Quantity = requests.get(RESOURCE_RUNTIME_US)?.0.parse().unwrap();
        Some(quantity.value())
    };
    containers.iter().filter_map(of).sum()
}

fn phase(pod: &Pod) -> &str {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase.unwrap_or("")
}

/// Follows the pods: what those ask for that were placed and haven't ended. Notes the most there ever was.
#[derive(Clone, Default)]
struct Placed(Arc<Mutex<(BTreeMap<String, i64>, i64)>>);

impl Placed {
    async fn follow(self, pods: Api<Pod>) {
        let events = watcher(pods, watcher::Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let mut placed = self.0.lock().unwrap();
            match event {
                Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                    let there = pod.spec.as_ref().unwrap().node_name.is_some();
                    if there && !["Succeeded", "Failed"].contains(&phase(&pod)) {
                        placed.0.insert(pod.name_any(), asks(&pod));
                    } else {
                        placed.0.remove(&pod.name_any());
                    }
                }
                Ok(watcher::Event::Delete(pod)) => drop(placed.0.remove(&pod.name_any())),
                _ => {}
            }
            placed.1 = placed.1.max(placed.0.values().sum());
        }
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().0.keys().cloned().collect()
    }

    fn most(&self) -> i64 {
        self.0.lock().unwrap().1
    }
}

/// Waits for something that is polled.
async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match check().await {
            Ok(found) => return found,
            Err(now) => assert!(
                started.elapsed() < LONG,
                "still waiting: {what}; now: {now}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

struct Test {
    client: Client,
    pods: Api<Pod>,
    placed: Placed,
}

impl Test {
    async fn until_advertised(&self, micros: Option<i64>) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        until(&format!("the node advertises {micros:?}"), async || {
            let status = nodes
                .get(NODE)
                .await
                .map_err(|error| error.to_string())?
                .status
                .unwrap();
            let now = [status.capacity, status.allocatable].map(|list| {
                let quantity: Quantity = list?.get(RESOURCE_RUNTIME_US)?.0.parse().unwrap();
                Some(quantity.value())
            });
            if now == [micros, micros] {
                Ok(())
            } else {
                Err(format!("{now:?}"))
            }
        })
        .await;
    }

    async fn says(&self, micros: i64) {
        let nodes: Api<RealtimeNode> = Api::all(self.client.clone());
        let patch =
            json!({"status": {"podBudget": {"mode": "V1Budget", "capacityMicroseconds": micros}}});
        nodes
            .patch_status(NODE, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// As a kubelet does with every extended resource that it doesn't know from a device plugin.
    async fn zero(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let zero = json!({RESOURCE_RUNTIME_US: "0"});
        let patch = json!({"status": {"capacity": zero, "allocatable": zero}});
        nodes
            .patch_status(NODE, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    async fn create(&self, names: impl IntoIterator<Item = String>) {
        futures::stream::iter(names)
            .for_each_concurrent(8, async |name| {
                self.pods
                    .create(&PostParams::default(), &pod(&name, SHARE))
                    .await
                    .unwrap();
            })
            .await;
    }

    /// Waits until exactly so many pods run.
    async fn until_running(&self, wanted: usize) -> Vec<String> {
        until(&format!("{wanted} pods run"), async || {
            let pods = self
                .pods
                .list(&ListParams::default().fields("status.phase=Running"))
                .await;
            let pods = pods.map_err(|error| error.to_string())?;
            let names: Vec<String> = pods.iter().map(kube::ResourceExt::name_any).collect();
            if names.len() == wanted {
                Ok(names)
            } else {
                Err(format!("{names:?}"))
            }
        })
        .await
    }
}

/// What a user applies, and a profile whose pool is this node.
async fn install(node: &RealNode, client: &Client) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifests = sandbox::manifests(&root).unwrap();
    let documents: Vec<String> = manifests.iter().map(ToString::to_string).collect();
    node.apply_yaml(&documents.join("\n---\n")).await.unwrap();
    let label = json!({"metadata": {"labels": {names::node_role_label(PROFILE): ""}}});
    let nodes: Api<Node> = Api::all(client.clone());
    nodes
        .patch(NODE, &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();
    let profile: RealtimeProfile = serde_json::from_value(json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile",
        "metadata": {"name": PROFILE},
        "spec": {
            "kernel": {"realtime": false},
            "podBudget": {"enabled": true}
        }
    }))
    .unwrap();
    let profiles: Api<RealtimeProfile> = Api::all(client.clone());
    profiles
        .create(&PostParams::default(), &profile)
        .await
        .unwrap();
}

/// What a kubelet logs that finds its Node there.
const REGISTERED: &str = "Node was previously registered";
/// A kubelet reports its node's status every ten seconds.
const REPORT: Duration = Duration::from_secs(12);

/// Kills the kubelet and starts it again. `forget`: as on a machine that was installed anew, its directory of device
/// plugins is empty, by which it knows that.
fn restart_kubelet(node: &RealNode, forget: bool) {
    node.kill_program(Program::Kubelet.file_name()).unwrap();
    let folder = node.path_inside("/var/lib/kubelet/device-plugins");
    let files = std::fs::read_dir(&folder).unwrap().flatten();
    for file in files.filter(|_| forget) {
        std::fs::remove_file(file.path()).unwrap();
    }
    // Each start has a log of its own.
    std::fs::write(node.directory().join("kubelet.log"), "").unwrap();
    node.restart_program(Program::Kubelet).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_pods_never_get_more_than_the_node_has_on_containerd() {
    a_thousand_pods_never_get_more_than_the_node_has(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_pods_never_get_more_than_the_node_has_on_cri_o() {
    a_thousand_pods_never_get_more_than_the_node_has(Runtime::CriO).await;
}

/// Whatever kubelet and operator go through.
// A story, read from top to bottom.
#[allow(clippy::too_many_lines)]
async fn a_thousand_pods_never_get_more_than_the_node_has(runtime: Runtime) {
    if let Some(reason) = cannot_run(runtime) {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let node = RealNode::start(Options::new(runtime)).await.unwrap();
    let client = node.admin_client().await.unwrap();
    install(&node, &client).await;
    let kubeconfig = node
        .kubeconfig_for(names::OPERATOR_NAMESPACE, sandbox::OPERATOR_ACCOUNT)
        .await
        .unwrap();
    let log = node.directory().join("operator.log");
    let mut operator = Operator::start(&kubeconfig, &log);
    let test = Test {
        pods: Api::namespaced(client.clone(), "default"),
        placed: Placed::default(),
        client: client.clone(),
    };
    let follower = tokio::spawn(test.placed.clone().follow(test.pods.clone()));
    let realtime_nodes: Api<RealtimeNode> = Api::all(client.clone());
    until("the operator makes the RealtimeNode", async || {
        let node = realtime_nodes.get(NODE).await;
        let node = node.map_err(|error| {
            format!(
                "{error}; {}",
                std::fs::read_to_string(&log).unwrap_or_default()
            )
        })?;
        node.spec
            .pod_budget
            .map(drop)
            .ok_or("no podBudget".to_owned())
    })
    .await;

    // Nothing before the daemon has spoken: who asks waits.
    test.create(["early".to_owned()]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(test.placed.names(), Vec::<String>::new());
    test.says(CAPACITY).await;
    test.until_advertised(Some(CAPACITY)).await;
    assert_eq!(test.until_running(1).await, ["early"]);

    // A thousand at once.
    let started = Instant::now();
    test.create((1..PODS).map(|number| format!("asks-{number}")))
        .await;
    let fit = usize::try_from(CAPACITY / SHARE).unwrap();
    let running = test.until_running(fit).await;
    println!(
        "{PODS} pods asked, {fit} run, after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    // Whoever ends makes room for one more each.
    for name in running.iter().take(3) {
        test.pods
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
    let gone = running[..3].to_vec();
    let running = until("three others run", async || {
        let now = test.until_running(fit).await;
        if now.iter().any(|name| gone.contains(name)) {
            Err(format!("{now:?}"))
        } else {
            Ok(now)
        }
    })
    .await;
    assert_eq!(test.placed.most(), CAPACITY, "never more");

    // A pod that goes past the scheduler is the kubelet's to refuse.
    let mut forced = pod("forced", SHARE);
    forced.spec.as_mut().unwrap().node_name = Some(NODE.to_owned());
    test.pods
        .create(&PostParams::default(), &forced)
        .await
        .unwrap();
    let refused = until("the kubelet refuses it", async || {
        let pod = test
            .pods
            .get("forced")
            .await
            .map_err(|error| error.to_string())?;
        if phase(&pod) == "Failed" {
            Ok(pod)
        } else {
            Err(phase(&pod).to_owned())
        }
    })
    .await;
    println!("past the scheduler: {:?}", refused.status.unwrap().reason);

    // A kubelet that starts again. Kubernetes 1.34's zeroes only when it finds its directory of device plugins empty
    // as it registers, and it has made a socket there by then: it zeroes in neither case.
    let kubelet_log = node.directory().join("kubelet.log");
    for forget in [false, true] {
        restart_kubelet(&node, forget);
        until("the kubelet registers", async || {
            let printed = std::fs::read_to_string(&kubelet_log).unwrap_or_default();
            if printed.contains(REGISTERED) {
                Ok(())
            } else {
                Err("not yet".to_owned())
            }
        })
        .await;
        // A report of the kubelet's, which comes every ten seconds, changes nothing.
        tokio::time::sleep(REPORT).await;
        test.until_advertised(Some(CAPACITY)).await;
    }
    let after = test.until_running(fit).await;
    let survivors = after.iter().filter(|name| running.contains(name)).count();
    println!("of {fit} running pods {survivors} survived two starts of the kubelet");

    // Zeroed, in the words in which a kubelet does: put back, and the kubelet goes on from what was put back.
    test.zero().await;
    test.until_advertised(Some(CAPACITY)).await;
    tokio::time::sleep(REPORT).await;
    test.until_advertised(Some(CAPACITY)).await;
    assert_eq!(test.until_running(fit).await, after, "nobody was disturbed");
    let most = test.placed.most();
    assert!(most <= CAPACITY + SHARE, "but for the one that was forced");

    // The same while no operator runs: nobody is placed until there is one.
    operator.0.kill().unwrap();
    operator.0.wait().unwrap();
    test.zero().await;
    test.pods
        .delete(&after[0], &DeleteParams::default())
        .await
        .unwrap();
    tokio::time::sleep(REPORT).await;
    test.until_advertised(Some(0)).await;
    assert_eq!(test.placed.names().len(), fit - 1);
    drop(std::mem::replace(
        &mut operator,
        Operator::start(&kubeconfig, &log),
    ));
    test.until_advertised(Some(CAPACITY)).await;
    test.until_running(fit).await;

    // Less than is given out: who runs goes on, and nobody further comes until there is room.
    test.says(3 * SHARE).await;
    test.until_advertised(Some(3 * SHARE)).await;
    let running = test.until_running(fit).await;
    for name in running.iter().take(6) {
        test.pods
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }
    let last: Value = until("one more comes beside the two that are left", async || {
        let now = test.until_running(3).await;
        if running[6..].iter().all(|name| now.contains(name)) {
            Ok(json!(now))
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    println!("with {} microseconds: {last}", 3 * SHARE);

    // And away with it.
    let profiles: Api<RealtimeProfile> = Api::all(client.clone());
    profiles
        .delete(PROFILE, &DeleteParams::default())
        .await
        .unwrap();
    test.until_advertised(None).await;
    tokio::time::sleep(REPORT).await;
    test.until_advertised(None).await;
    follower.abort();
    drop(operator);
    node.shutdown().await.unwrap();
}
