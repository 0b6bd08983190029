//! A third daemon, with pods: 250 that ask, and then others in their place, thousands of them. Groups, API server and
//! budgets are real; the kubelet is played, and nothing runs in the containers. Measures; prints nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::Api;
use kube::api::{Patch, PatchParams};
use realtime_core::api::RealtimeNode;
use realtime_testing::kubelet_standin::Kubelet;
use realtime_testing::kubelet_standin::groups::Own;
use realtime_testing::kubelet_standin::pod::StandinPod;
use realtime_testing::kubelet_standin::program::{Process, Program};
use realtime_testing::pool_standin::{Capacity, create_node};
use realtime_testing::sandbox;
use realtime_testing::simulated_host::cluster::daemon_kubeconfig;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::pod;
use crate::process::Usage;

const NODE: &str = "with-pods";
/// As many pods as a kubelet takes that was told to take many.
pub const PODS: usize = 250;
/// In this order: so many pods have come in all when it is measured again.
pub const CHURNED: [usize; 3] = [500, 1_000, 3_000];
const AT_ONCE: usize = 8;
const OWN_US: u32 = 60_000;
const CAPACITY_US: u32 = 50_000;
/// What a container asks for: ten have room, and the status has a sentence for each of the others.
const ASKED_US: u32 = 5_000;
/// Statuses come every two seconds at most, and allocators give back a little later.
const SETTLED: Duration = Duration::from_secs(8);
const LIMIT: Duration = Duration::from_mins(3);
/// An object of a real cluster has some 6 kB; most of them are for others than the daemon.
const FILLER: usize = 4_000;

/// What was measured, in its order.
pub async fn measure(
    cluster: &Cluster,
    daemon: &Path,
    brief: bool,
    say: impl Fn(&str),
) -> anyhow::Result<Vec<(String, Usage)>> {
    let folder = cluster.control_plane.directory().join(NODE);
    std::fs::create_dir_all(&folder)?;
    create_node(
        &cluster.client,
        NODE,
        &std::collections::BTreeMap::new(),
        &Capacity::default(),
    )
    .await?;
    let _ = sandbox::service_account(&cluster.client, "default").await;
    wish(cluster).await?;
    let groups = Own::make_with("bench", OWN_US).await?;
    let kubelet = Kubelet::new(cluster.client.clone(), NODE, "default", &folder, groups)?;
    let kubeconfig = daemon_kubeconfig(&cluster.control_plane, NODE).await?;
    pod::secrets(&cluster.control_plane, &kubeconfig, kubelet.run_folder())?;
    let mut environment = cluster.environment.clone();
    environment.extend(pod::address(&cluster.control_plane)?);
    let program = Program::new(daemon, &kubelet, &folder, &kubeconfig, "info,kube=warn")?;
    let program = program.in_pod(environment);
    let process = program.start()?;
    let bench = Bench {
        cluster,
        kubelet,
        program,
        process,
    };
    bench.until(0).await?;
    let mut measured = vec![("without pods".to_owned(), bench.usage().await?)];
    say(&format!("{PODS} pods that ask come to a third node"));
    let mut pods: Vec<StandinPod> = bench.come(0..PODS).await?;
    bench.until(PODS).await?;
    measured.push((format!("with {PODS} pods that ask"), bench.usage().await?));
    let mut made = PODS;
    for until in CHURNED.into_iter().filter(|_| !brief) {
        say(&format!("others come in their place: {until} in all"));
        while made < PODS + until {
            let going = pods.drain(..AT_ONCE * 4).collect();
            bench.go(going).await?;
            pods.extend(bench.come(made..made + AT_ONCE * 4).await?);
            made += AT_ONCE * 4;
        }
        bench.until(PODS).await?;
        measured.push((
            format!("  after {until} others in their place"),
            bench.usage().await?,
        ));
    }
    bench.go(pods).await?;
    bench.until(0).await?;
    measured.push(("when all are gone".to_owned(), bench.usage().await?));
    Ok(measured)
}

struct Bench<'a> {
    cluster: &'a Cluster,
    kubelet: Kubelet,
    program: Program,
    process: Process,
}

impl Bench<'_> {
    async fn usage(&self) -> anyhow::Result<Usage> {
        tokio::time::sleep(SETTLED).await;
        Usage::of(self.process.pid())
    }

    async fn come(&self, numbers: std::ops::Range<usize>) -> anyhow::Result<Vec<StandinPod>> {
        futures::stream::iter(numbers)
            .map(|number| self.comes(number))
            .buffered(AT_ONCE)
            .try_collect()
            .await
    }

    async fn comes(&self, number: usize) -> anyhow::Result<StandinPod> {
        let annotations = json!({
            "realtime": "true", "rt_runtime_us": ASKED_US.to_string(), "filler": "x".repeat(FILLER),
        });
        let name = format!("pod-{number}");
        let containers = ["main".to_owned()];
        let kubelet = &self.kubelet;
        let mut pod = kubelet.create(&name, "", &annotations, &containers).await?;
        kubelet.begin(&mut pod, &format!("{:064x}", 2 * number))?;
        kubelet.run(&mut pod, "main", &format!("{:064x}", 2 * number + 1), false)?;
        kubelet.report(&pod).await?;
        Ok(pod)
    }

    async fn go(&self, pods: Vec<StandinPod>) -> anyhow::Result<()> {
        futures::stream::iter(pods)
            .map(|mut pod| async move {
                self.kubelet.end_all(&mut pod).await?;
                self.kubelet.delete(&pod.name, 0).await?;
                anyhow::Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Waits until the status has so many entries, and nobody waits for anything.
    async fn until(&self, entries: usize) -> anyhow::Result<()> {
        let nodes: Api<RealtimeNode> = Api::all(self.cluster.client.clone());
        let began = Instant::now();
        loop {
            let status = nodes.get(NODE).await?.status.unwrap_or_default();
            let told = status.pod_budget.unwrap_or_default();
            let waits = told.containers.iter().any(|entry| {
                entry.state == realtime_core::api::realtime_node::ContainerBudgetState::Pending
            });
            if told.mode.is_some() && told.containers.len() == entries && !waits {
                return Ok(());
            }
            if began.elapsed() > LIMIT {
                bail!(
                    "the status has {} entries and not {entries}\n{}",
                    told.containers.len(),
                    self.program.said(40)
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn wish(cluster: &Cluster) -> anyhow::Result<()> {
    let object: Value = json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeNode",
        "metadata": {"name": NODE},
        "spec": {"profile": "bench", "podBudget": {
            "capacityMicroseconds": CAPACITY_US, "maxPerContainerMicroseconds": CAPACITY_US,
        }},
    });
    let nodes: Api<RealtimeNode> = Api::all(cluster.client.clone());
    let parameters = PatchParams::apply("bench").force().validation_strict();
    nodes
        .patch(NODE, &parameters, &Patch::Apply(object))
        .await
        .context("the node's wish")?;
    Ok(())
}
