//! The cluster of a scene: nodes of a real size, profiles, and what this program does in the place of the Machine
//! Config Operator and of kubelets. It starts and ends the control plane; the operator isn't its business.

use std::future::Future;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt as _};
use realtime_core::api::{RealtimeNode, RealtimeProfile};
use realtime_core::cluster::Dialect;
use realtime_core::names;
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool, Tuned};
use realtime_testing::control_plane::{ControlPlane, Options};
use realtime_testing::pool_standin::{install, kubelet_config, render};
use realtime_testing::{openshift_crds, sandbox};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// Requests under way at once.
const AT_ONCE: usize = 32;
/// Heartbeats a second. 5,000 kubelets send 17: each of them one in 5 minutes while nothing changes.
const HEARTBEATS_A_SECOND: u32 = 250;
/// Of so many nodes one begins to update, all at once.
const UPDATING_ONE_IN: usize = 5;
/// As on an OpenShift node; the kubelet reports no more than these.
const IMAGES: usize = 50;

/// A control plane with nodes, and clients of it.
pub struct Cluster {
    pub control_plane: ControlPlane,
    client: Client,
    pools: Vec<String>,
    nodes: usize,
}

impl Cluster {
    /// Nodes are dealt out evenly to the pools of so many profiles, which aren't there yet.
    pub async fn start(profiles: usize, nodes: usize) -> anyhow::Result<Self> {
        let control_plane = ControlPlane::start(Options {
            audit_log: true,
            // Nobody here would take the taint off that this one puts on new nodes.
            api_server_arguments: vec![
                "--disable-admission-plugins=TaintNodesByCondition".to_owned(),
            ],
            ..Options::default()
        })
        .await?;
        openshift_crds::install_openshift(&control_plane, Dialect::KernelType).await?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the workspace")?;
        control_plane
            .apply_values(sandbox::manifests(root)?)
            .await?;
        let client = control_plane.admin_client().await?;
        let cluster = Self {
            control_plane,
            client,
            pools: (1..=profiles).map(|pool| format!("bench-{pool}")).collect(),
            nodes,
        };
        for pool in install::POOLS {
            for config in install::base_configs(pool) {
                cluster.create(&config).await?;
            }
            let pool = install::built_in_pool(pool).context("a built-in pool")?;
            cluster.create(&pool).await?;
        }
        at_once((0..nodes).map(|node| cluster.create_node(node))).await?;
        Ok(cluster)
    }

    pub async fn shutdown(self) -> anyhow::Result<()> {
        Ok(self.control_plane.shutdown().await?)
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>,
    {
        Api::all(self.client.clone())
    }

    async fn create<K>(&self, object: &K) -> anyhow::Result<K>
    where
        K: Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + serde::Serialize + DeserializeOwned,
    {
        let created = self.api().create(&PostParams::default(), object).await;
        created.with_context(|| format!("creating {}", object.name_any()))
    }

    async fn patch<K>(&self, name: &str, patch: &Value, status: bool) -> anyhow::Result<()>
    where
        K: Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + DeserializeOwned,
    {
        let (api, parameters) = (self.api::<K>(), PatchParams::default());
        let patched = if status {
            api.patch_status(name, &parameters, &Patch::Merge(patch))
                .await
        } else {
            api.patch(name, &parameters, &Patch::Merge(patch)).await
        };
        patched
            .map(drop)
            .with_context(|| format!("changing {name}"))
    }

    fn pool_of(&self, node: usize) -> &str {
        &self.pools[node % self.pools.len()]
    }

    async fn create_node(&self, number: usize) -> anyhow::Result<()> {
        let node: Node = serde_json::from_value(node(number, self.pool_of(number)))?;
        self.create(&node).await.map(drop)
    }

    /// One for each pool, as in docs/examples/worker-rt.yaml.
    pub async fn create_profiles(&self) -> anyhow::Result<()> {
        let create = |name: &String| {
            let profile = json!({
                "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
                "kind": "RealtimeProfile",
                "metadata": {"name": name},
                "spec": {
                    "kernel": {"realtime": true},
                    "cpu": {"reserved": "0-1", "isolated": "2-7"},
                    "memory": {"hugepages": {"defaultSize": "1G", "pages": [{"size": "1G", "count": 4}]}},
                    "numa": {"topologyPolicy": "SingleNumaNode"}
                }
            });
            async move {
                let profile: RealtimeProfile = serde_json::from_value(profile)?;
                self.create(&profile).await.map(drop)
            }
        };
        at_once(self.pools.iter().map(create)).await
    }

    /// Accepts each KubeletConfig and renders each pool, once.
    pub async fn render(&self) -> anyhow::Result<()> {
        let all = ListParams::default();
        let kubelet_configs = self.api::<KubeletConfig>().list(&all).await?.items;
        let pools = self.api::<MachineConfigPool>().list(&all).await?.items;
        at_once(
            kubelet_configs
                .iter()
                .map(|config| self.accept(config, &kubelet_configs, &pools)),
        )
        .await?;
        let kubelet_configs = self.api::<KubeletConfig>().list(&all).await?.items;
        let configs = self.api::<MachineConfig>().list(&all).await?.items;
        let pools = pools
            .iter()
            .filter(|pool| self.pools.contains(&pool.name_any()));
        at_once(pools.map(|pool| self.render_one(pool, &configs, &kubelet_configs))).await
    }

    async fn accept(
        &self,
        config: &KubeletConfig,
        all: &[KubeletConfig],
        pools: &[MachineConfigPool],
    ) -> anyhow::Result<()> {
        let accepted =
            match kubelet_config::decide(config, all, pools, |_| install::base_kubelet_conf()) {
                Ok(accepted) => accepted,
                Err(refusal) => bail!("{}: {refusal}", config.name_any()),
            };
        for generated in &accepted.machine_configs {
            self.create(generated).await?;
        }
        let conditions = kubelet_config::conditions(Ok(()), &now());
        let status = json!({"status": {"observedGeneration": config.metadata.generation, "conditions": conditions}});
        self.patch::<KubeletConfig>(&config.name_any(), &status, true)
            .await
    }

    async fn render_one(
        &self,
        pool: &MachineConfigPool,
        configs: &[MachineConfig],
        kubelet_configs: &[KubeletConfig],
    ) -> anyhow::Result<()> {
        let render::Outcome::Rendered(rendered) = render::render(pool, configs, kubelet_configs)
        else {
            bail!("pool {} can't be rendered", pool.name_any());
        };
        self.create(&rendered.config).await?;
        let patch = json!({"spec": {"configuration": rendered.configuration}});
        self.patch::<MachineConfigPool>(&pool.name_any(), &patch, false)
            .await
    }

    /// How many objects the operator has made of the profiles.
    pub async fn written_objects(&self) -> anyhow::Result<String> {
        let ours = ListParams::default().labels(names::LABEL_PROFILE);
        let tuneds: Api<Tuned> = Api::namespaced(self.client.clone(), names::TUNED_NAMESPACE);
        let counts = [
            self.api::<MachineConfigPool>()
                .list_metadata(&ours)
                .await?
                .items
                .len(),
            self.api::<MachineConfig>()
                .list_metadata(&ours)
                .await?
                .items
                .len(),
            self.api::<KubeletConfig>()
                .list_metadata(&ours)
                .await?
                .items
                .len(),
            tuneds.list_metadata(&ours).await?.items.len(),
            self.api::<RealtimeNode>()
                .list_metadata(&ours)
                .await?
                .items
                .len(),
        ];
        let [pools, machine, kubelet, tuned, nodes] = counts;
        Ok(format!(
            "{pools} MCP {machine} MC {kubelet} KC {tuned} Tuned {nodes} RTN"
        ))
    }

    /// One of each node, at a bounded rate: what a kubelet writes while nothing changes.
    pub async fn heartbeats(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let beat = |number: usize| async move {
            let when = Duration::from_secs(1) / HEARTBEATS_A_SECOND * u32::try_from(number)?;
            tokio::time::sleep_until((began + when).into()).await;
            let conditions = conditions(&now());
            let name = name(number);
            let patch = json!({"status": {"conditions": conditions}});
            self.patch::<Node>(&name, &patch, true).await
        };
        at_once((0..self.nodes).map(beat)).await?;
        Ok(began.elapsed())
    }

    /// What the Machine Config Operator and its agents write when an update begins, on some nodes of each pool.
    pub async fn nodes_begin_to_update(&self) -> anyhow::Result<usize> {
        let annotate = |number: usize| async move {
            let patch = json!({
                "metadata": {"annotations": {
                    "machineconfiguration.openshift.io/desiredConfig": format!("rendered-{}-next", self.pool_of(number)),
                    "machineconfiguration.openshift.io/state": "Working"
                }},
                "spec": {"unschedulable": true}
            });
            self.patch::<Node>(&name(number), &patch, false).await
        };
        let updating = self.nodes / UPDATING_ONE_IN;
        at_once((0..updating).map(annotate)).await?;
        Ok(updating)
    }
}

async fn at_once<F>(requests: impl Iterator<Item = F>) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    futures::stream::iter(requests)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn name(number: usize) -> String {
    format!("worker-{number:04}.bench.example.org")
}

fn conditions(heartbeat: &str) -> Value {
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": heartbeat, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    json!([
        condition(
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available"
        ),
        condition(
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure"
        ),
        condition(
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available"
        ),
        condition(
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status"
        ),
    ])
}

/// As large as one of OpenShift with Node Feature Discovery and a network plugin: about 17 kB.
fn node(number: usize, pool: &str) -> Value {
    let name = name(number);
    let id = format!("{number:032x}");
    let mut labels = Map::new();
    let mut label = |key: String, value: &str| labels.insert(key, Value::from(value));
    label("kubernetes.io/hostname".into(), &name);
    label("kubernetes.io/os".into(), "linux");
    label("kubernetes.io/arch".into(), "amd64");
    label("node-role.kubernetes.io/worker".into(), "");
    label(names::node_role_label(pool), "");
    label(
        "topology.kubernetes.io/zone".into(),
        ["a", "b", "c"][number % 3],
    );
    label(
        "feature.node.kubernetes.io/cpu-model.vendor_id".into(),
        "Intel",
    );
    label("feature.node.kubernetes.io/cpu-model.family".into(), "6");
    label("feature.node.kubernetes.io/cpu-model.id".into(), "106");
    for feature in 0..50 {
        label(
            format!("feature.node.kubernetes.io/cpu-cpuid.FEATURE{feature}"),
            "true",
        );
    }
    let mut annotations = Map::new();
    for key in ["currentConfig", "desiredConfig"] {
        annotations.insert(
            format!("{}{key}", names::MCO_ANNOTATION_PREFIX),
            "rendered-worker-0".into(),
        );
    }
    for key in ["desiredDrain", "lastAppliedDrain"] {
        annotations.insert(
            format!("{}{key}", names::MCO_ANNOTATION_PREFIX),
            "uncordon-rendered-worker-0".into(),
        );
    }
    annotations.insert(
        format!("{}state", names::MCO_ANNOTATION_PREFIX),
        "Done".into(),
    );
    for key in 0..15 {
        annotations.insert(
            format!("k8s.ovn.org/setting-{key}"),
            format!("{{\"default\":{{\"mode\":\"shared\",\"interface-id\":\"{name}\",\"mac-address\":\"02:00:00:00:00:{key:02x}\"}}}}").into(),
        );
    }
    let images: Vec<Value> = (0..IMAGES)
        .map(|image| {
            let repository = "registry.example.org/openshift-release-dev/ocp-v4.0-art-dev";
            json!({"names": [
                format!("{repository}@sha256:{image:064x}"),
                format!("{repository}:{image:064x}")
            ], "sizeBytes": 500_000_000 + image})
        })
        .collect();
    let resources = json!({"cpu": "8", "memory": "32Gi", "pods": "250", "ephemeral-storage": "120G",
        "hugepages-1Gi": "0", "hugepages-2Mi": "0"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {"providerID": format!("bench:///{id}")},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [
                {"type": "InternalIP", "address": format!("10.0.{}.{}", number / 250, number % 250)},
                {"type": "Hostname", "address": name}
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "conditions": conditions("2026-01-01T00:00:00Z"),
            "images": images,
            "nodeInfo": {
                "architecture": "amd64", "bootID": id, "machineID": id, "systemUUID": id,
                "containerRuntimeVersion": "cri-o://1.34.0", "kubeletVersion": "v1.34.0", "kubeProxyVersion": "",
                "kernelVersion": "5.14.0-570.el9.x86_64", "operatingSystem": "linux",
                "osImage": "Red Hat Enterprise Linux CoreOS"
            }
        }
    })
}
