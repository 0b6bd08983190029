//! The node of `bench-pods`: real parts with the real daemon, and no kubelet any more once a pod's bundle has been had for a
//! pattern. From then on pods are objects in the API server, and their groups are made here.

use std::ffi::OsStr;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::{Api, ResourceExt as _};
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::{NodePodBudgetSpec, RealtimeNodeSpec};
use realtime_testing::programs::Program;
use realtime_testing::real_node::{BUSYBOX_IMAGE, Options, RealNode, Runtime};
use realtime_testing::sandbox;
use serde_json::{Value, json};

/// What each pod that asks asks for, µs of each second: the least that a kernel with 250 ticks a second takes.
pub const BUDGET: i64 = 5_000;
/// What all of them can have.
pub const CAPACITY: i64 = 340_000;
/// Everything here takes seconds at most; this is for a machine that is starved.
const LIMIT: Duration = Duration::from_mins(2);
const LOOK: Duration = Duration::from_millis(20);
/// Where containerd keeps bundles.
const BUNDLES: &str = "/run/containerd/io.containerd.runtime.v2.task/k8s.io";

/// What the daemon is here, and the file of its settings: a process is known by it.
const DAEMON: &str = "daemon";
const DAEMON_SETTINGS: &str = "daemon.yaml";

/// What a pod is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be there.
    Other,
    /// It asks for a budget.
    Asks,
    /// It asks, and it has the class Guaranteed: the only one that the Python rt-operator serves.
    AsksGuaranteed,
}

/// The node.
pub struct Node {
    pub real: RealNode,
    pods: Api<Pod>,
    pattern: Value,
}

/// A pod's groups, by their folders.
pub struct Groups {
    pub pod: PathBuf,
    pub sandbox: PathBuf,
    pub container: PathBuf,
    /// The container's id.
    pub id: String,
}

impl Node {
    /// With the daemon on it.
    pub async fn start(daemon: &Path) -> anyhow::Result<Self> {
        let real = RealNode::start(Options {
            realtime_runtime_us: 450_000,
            nri: false,
            ..Options::new(Runtime::Containerd)
        })
        .await?;
        let client = real.admin_client().await?;
        let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
        let pattern = pattern(&real, &pods).await?;
        for program in [
            Program::Kubelet,
            Program::KubeControllerManager,
            Program::KubeScheduler,
            Program::KubeProxy,
        ] {
            real.kill_program(program.file_name())?;
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the workspace")?;
        let manifests: Vec<String> = sandbox::manifests(root)?
            .into_iter()
            .filter(|object| !matches!(object["kind"].as_str(), Some("DaemonSet" | "Deployment")))
            .map(|object| object.to_string())
            .collect();
        real.apply_yaml(&manifests.join("\n---\n")).await?;
        let spec = RealtimeNodeSpec {
            profile: "bench".to_owned(),
            pod_budget: Some(NodePodBudgetSpec {
                capacity_microseconds: CAPACITY,
                max_per_container_microseconds: 100_000,
                namespace_selector: None,
            }),
            ..RealtimeNodeSpec::default()
        };
        let name = real.options().node_name.clone();
        let nodes: Api<RealtimeNode> = Api::all(client);
        nodes
            .create(&PostParams::default(), &RealtimeNode::new(&name, spec))
            .await?;
        let account = "realtime-node-daemon";
        let kubeconfig = real.kubeconfig_on_node(account, account).await?;
        let config = real.directory().join(DAEMON_SETTINGS);
        let group = real.cgroup_root();
        let group = group.file_name().context("a group")?.to_string_lossy();
        fs::write(&config, format!("pods_group: /{group}/kubepods\n"))?;
        let arguments = [
            "--kubeconfig",
            &kubeconfig.to_string_lossy(),
            "--node-name",
            &name,
            "--config",
            &config.to_string_lossy(),
        ]
        .map(str::to_owned);
        let daemon = daemon.canonicalize()?;
        real.run_program(DAEMON, &daemon, &arguments)?;
        let node = Self {
            real,
            pods,
            pattern,
        };
        let began = Instant::now();
        loop {
            let told = nodes.get(&name).await?.status;
            if told.is_some_and(|status| status.pod_budget.is_some_and(|it| it.mode.is_some())) {
                return Ok(node);
            }
            node.wait(began, "the daemon's word").await?;
        }
    }

    async fn wait(&self, began: Instant, what: &str) -> anyhow::Result<()> {
        if began.elapsed() > LIMIT {
            let log = fs::read_to_string(self.real.directory().join("daemon.log"));
            bail!("{what} does not come:\n{}", log.unwrap_or_default());
        }
        tokio::time::sleep(LOOK).await;
        Ok(())
    }

    /// Makes a pod, an object only.
    pub async fn pod(&self, name: &str, kind: Kind) -> anyhow::Result<Pod> {
        let annotations = match kind {
            Kind::Other => json!({}),
            Kind::Asks | Kind::AsksGuaranteed => {
                json!({"realtime": "true", "rt_runtime_us": BUDGET.to_string()})
            }
        };
        let mut pod = object(name, &annotations);
        if kind == Kind::AsksGuaranteed {
            // Enough for runc: a small limit of CPU time holds up the container's start by seconds.
            let all = json!({"cpu": "500m", "memory": "64Mi"});
            pod["spec"]["containers"][0]["resources"] = json!({"requests": all, "limits": all});
        }
        pod["spec"]["nodeName"] = Value::from(self.real.options().node_name.clone());
        let pod = serde_json::from_value(pod)?;
        Ok(self.pods.create(&PostParams::default(), &pod).await?)
    }

    /// Deletes all pods whose names begin so.
    pub async fn delete(&self, prefix: &str) -> anyhow::Result<()> {
        let now = DeleteParams::default().grace_period(0);
        for pod in self.pods.list(&ListParams::default()).await? {
            if pod.name_any().starts_with(prefix) {
                self.pods.delete(&pod.name_any(), &now).await?;
            }
        }
        Ok(())
    }

    /// Tells the API server that a pod's container runs, as a kubelet would.
    pub fn tell_running(
        &self,
        pod: &Pod,
        id: &str,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
        let pods = self.pods.clone();
        let name = pod.name_any();
        let status = json!({"status": {"phase": "Running", "containerStatuses": [{
            "name": "main", "image": BUSYBOX_IMAGE, "imageID": BUSYBOX_IMAGE,
            "containerID": format!("containerd://{id}"), "ready": true, "restartCount": 0,
            "started": true, "state": {"running": {}},
        }]}});
        async move {
            pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
                .await?;
            Ok(())
        }
    }

    /// Ends the daemon, and takes away all pods and the groups that were made for them.
    pub async fn clear(&self) -> anyhow::Result<()> {
        self.real.kill_program(DAEMON)?;
        self.delete("").await?;
        for class in [self.kubepods().join("besteffort"), self.kubepods()] {
            let pods = folders(&class)?.into_iter();
            for pod in pods.filter(|it| it.file_name().is_some_and(is_of_pod)) {
                for group in folders(&pod)?.iter().chain([&pod]) {
                    fs::remove_dir(group).with_context(|| group.display().to_string())?;
                }
            }
        }
        Ok(())
    }

    /// The group of all pods.
    pub fn kubepods(&self) -> PathBuf {
        self.real.cgroup_root().join("kubepods")
    }

    /// The group of a pod: that of one with the class Guaranteed isn't below its class's.
    pub fn group(&self, pod: &Pod) -> anyhow::Result<PathBuf> {
        let class = pod.status.as_ref().and_then(|it| it.qos_class.as_deref());
        let folder = match class {
            Some("Guaranteed") => self.kubepods(),
            _ => self.kubepods().join("besteffort"),
        };
        Ok(folder.join(format!("pod{}", pod.uid().context("a uid")?)))
    }

    /// Where a pod's groups are, or will be.
    pub fn groups(&self, pod: &Pod, number: usize) -> anyhow::Result<Groups> {
        let uid = pod.uid().context("a uid")?;
        let id = format!("{:0>32}{number:032x}", uid.replace('-', ""));
        let sandbox = format!("{:0>32}{:032x}", uid.replace('-', ""), number + (1 << 32));
        let folder = self.group(pod)?;
        Ok(Groups {
            sandbox: folder.join(sandbox),
            container: folder.join(&id),
            pod: folder,
            id,
        })
    }

    /// Writes what containerd keeps of a container: as large as a real one.
    pub fn bundle(&self, pod: &Pod, id: &str, sandbox: bool) -> anyhow::Result<PathBuf> {
        let mut text = self.pattern.clone();
        text["annotations"] = annotations(pod, sandbox);
        let folder = self.real.path_inside(&format!("{BUNDLES}/{id}"));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("config.json"), text.to_string())?;
        Ok(folder)
    }

    /// How large that is, bytes.
    pub fn bundle_size(&self) -> usize {
        self.pattern.to_string().len()
    }

    /// The daemon's resident memory, KiB.
    pub fn resident(&self) -> Option<u64> {
        self.resident_with(DAEMON_SETTINGS)
    }

    /// The resident memory of the process that was started with that file of the node's directory, KiB.
    pub fn resident_with(&self, settings: &str) -> Option<u64> {
        let own = self.real.directory().join(settings);
        let own = own.to_string_lossy();
        for entry in fs::read_dir("/proc").ok()?.flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(&*own) {
                let status = fs::read_to_string(entry.path().join("status")).ok()?;
                let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
                return line.split_whitespace().nth(1)?.parse().ok();
            }
        }
        None
    }
}

fn is_of_pod(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"pod")
}

/// The folders in a folder: the groups below a group.
pub fn folders(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    Ok(fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect())
}

/// The annotations of a container's specification, as containerd writes them.
pub fn annotations(pod: &Pod, sandbox: bool) -> Value {
    let mut all = json!({
        "io.kubernetes.cri.container-type": if sandbox { "sandbox" } else { "container" },
        "io.kubernetes.cri.sandbox-name": pod.name_any(),
        "io.kubernetes.cri.sandbox-namespace": pod.namespace(),
        "io.kubernetes.cri.sandbox-uid": pod.uid(),
    });
    if !sandbox {
        all["io.kubernetes.cri.container-name"] = Value::from("main");
    }
    all
}

fn object(name: &str, annotations: &Value) -> Value {
    json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"containers": [{
            "name": "main", "image": BUSYBOX_IMAGE, "command": ["sleep", "3600"],
        }]},
    })
}

/// A real container's specification, by containerd.
async fn pattern(real: &RealNode, pods: &Api<Pod>) -> anyhow::Result<Value> {
    let pod = serde_json::from_value(object("pattern", &json!({})))?;
    pods.create(&PostParams::default(), &pod).await?;
    let runs = await_condition(pods.clone(), "pattern", |pod: Option<&Pod>| {
        pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some("Running")
    });
    tokio::time::timeout(LIMIT, runs).await??;
    let pod = pods.get("pattern").await?;
    let id = pod
        .status
        .and_then(|status| status.container_statuses?.pop()?.container_id)
        .context("an id")?;
    let id = id.trim_start_matches("containerd://");
    let path = real.path_inside(&format!("{BUNDLES}/{id}/config.json"));
    let pattern = serde_json::from_str(&fs::read_to_string(path)?)?;
    pods.delete("pattern", &DeleteParams::default().grace_period(0))
        .await?;
    let began = Instant::now();
    while !folders(&real.cgroup_root().join("kubepods/besteffort"))?.is_empty() {
        ensure!(began.elapsed() < LIMIT, "the pattern's pod does not end");
        tokio::time::sleep(LOOK).await;
    }
    Ok(pattern)
}
