//! What a kubelet and containerd do to a node as far as real-time scheduling sees it, without either: pods of the API get
//! their groups, bundles and processes below a group of the test's own, and their status; thousands of them in minutes.
//!
//! Must not write a budget: that is the daemon's.

pub mod groups;
pub mod pod;
pub mod program;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::actor::{self, Actor};
use groups::Own;
use pod::{Running, StandinPod};

/// Where containerd keeps what it starts, below `/run`.
const BUNDLES: &str = "containerd/io.containerd.runtime.v2.task/k8s.io";

/// Of one node and one namespace.
#[derive(Debug)]
pub struct Kubelet {
    /// The node's groups.
    pub groups: Own,
    pods: Api<Pod>,
    node: String,
    namespace: String,
    /// What the daemon sees as `/run`.
    run: PathBuf,
    actor: PathBuf,
}

impl Kubelet {
    /// With its files in a folder. The client needs an administrator's rights, the namespace its `ServiceAccount`.
    pub fn new(
        client: Client,
        node: &str,
        namespace: &str,
        folder: &Path,
        groups: Own,
    ) -> io::Result<Self> {
        let run = folder.join("run");
        std::fs::create_dir_all(run.join(BUNDLES))?;
        Ok(Self {
            groups,
            pods: Api::namespaced(client, namespace),
            node: node.to_owned(),
            namespace: namespace.to_owned(),
            run,
            actor: actor::build(folder)?,
        })
    }

    /// What the daemon has to see as `/run`.
    pub fn run_folder(&self) -> &Path {
        &self.run
    }

    /// A pod in the API, bound to the node; nothing of it is on the node yet. `class`: `""`, `burstable` or `besteffort`.
    pub async fn create(
        &self,
        name: &str,
        class: &str,
        annotations: &Value,
        containers: &[String],
    ) -> anyhow::Result<StandinPod> {
        // The API server concludes the class from these.
        let some = json!({"cpu": "10m", "memory": "1Mi"});
        let resources = match class {
            "" => json!({"requests": some, "limits": some}),
            "burstable" => json!({"requests": some}),
            _ => json!({}),
        };
        let containers: Vec<Value> = containers
            .iter()
            .map(|name| json!({"name": name, "image": "none", "resources": resources}))
            .collect();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "nodeName": self.node, "containers": containers,
                "tolerations": [{"operator": "Exists"}],
            },
        }))?;
        let made = self.pods.create(&PostParams::default(), &pod).await?;
        let uid = made.uid().context("the pod's uid")?;
        let class = if class.is_empty() {
            String::new()
        } else {
            format!("/{class}")
        };
        Ok(StandinPod {
            group: format!("{}{class}/pod{uid}", self.groups.pods()),
            name: name.to_owned(),
            uid,
            sandbox: None,
            running: Vec::new(),
        })
    }

    /// The pod's own group, and its sandbox.
    pub fn begin(&self, pod: &mut StandinPod, id: &str) -> io::Result<()> {
        self.groups.make(&pod.group)?;
        self.bundle(pod, id, None)?;
        self.groups.make(&format!("{}/{id}", pod.group))?;
        pod.sandbox = Some(id.to_owned());
        Ok(())
    }

    /// A container of it, with a process or with none yet.
    pub fn run(
        &self,
        pod: &mut StandinPod,
        container: &str,
        id: &str,
        process: bool,
    ) -> io::Result<()> {
        self.bundle(pod, id, Some(container))?;
        let group = format!("{}/{id}", pod.group);
        self.groups.make(&group)?;
        let made = Instant::now();
        let process = process.then(|| self.process(&group)).transpose()?;
        pod.running.push(Running {
            container: container.to_owned(),
            id: id.to_owned(),
            group,
            made,
            process,
        });
        Ok(())
    }

    fn process(&self, group: &str) -> io::Result<Actor> {
        let actor = Actor::start(&self.actor)?;
        self.groups.enter(group, actor.pid())?;
        Ok(actor)
    }

    /// Ends a container, and takes away what was its.
    pub async fn end(&self, running: Running) -> io::Result<()> {
        // Killed and reaped.
        drop(running.process);
        self.groups.remove(&running.group).await?;
        self.unbundle(&running.id)
    }

    /// Ends all of a pod on the node.
    pub async fn end_all(&self, pod: &mut StandinPod) -> io::Result<()> {
        for running in std::mem::take(&mut pod.running) {
            self.end(running).await?;
        }
        if let Some(id) = pod.sandbox.take() {
            self.groups.remove(&format!("{}/{id}", pod.group)).await?;
            self.unbundle(&id)?;
            self.groups.remove(&pod.group).await?;
        }
        Ok(())
    }

    /// Tells the API what runs.
    pub async fn report(&self, pod: &StandinPod) -> kube::Result<()> {
        self.report_as(&pod.name, pod.status()).await
    }

    /// The same, of a status that was taken before.
    pub async fn report_as(&self, name: &str, status: Value) -> kube::Result<()> {
        let patch = json!({ "status": status });
        self.pods
            .patch_status(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(drop)
    }

    /// Asks for the object's end; with a grace period of 0 it is gone at once.
    pub async fn delete(&self, name: &str, grace: u32) -> kube::Result<()> {
        let parameters = DeleteParams::default().grace_period(grace);
        self.pods.delete(name, &parameters).await.map(drop)
    }

    /// The bundle that containerd writes before it makes the group, as far as anybody reads it.
    fn bundle(&self, pod: &StandinPod, id: &str, container: Option<&str>) -> io::Result<()> {
        let kind = if container.is_some() {
            "container"
        } else {
            "sandbox"
        };
        let mut annotations = json!({
            "io.kubernetes.cri.container-type": kind,
            "io.kubernetes.cri.sandbox-name": pod.name,
            "io.kubernetes.cri.sandbox-namespace": self.namespace,
            "io.kubernetes.cri.sandbox-uid": pod.uid,
        });
        if let Some(container) = container {
            annotations["io.kubernetes.cri.container-name"] = json!(container);
        }
        let folder = self.run.join(BUNDLES).join(id);
        std::fs::create_dir(&folder)?;
        let text = json!({"ociVersion": "1.2.0", "annotations": annotations}).to_string();
        std::fs::write(folder.join("config.json"), text)
    }

    fn unbundle(&self, id: &str) -> io::Result<()> {
        std::fs::remove_dir_all(self.run.join(BUNDLES).join(id))
    }
}
