//! Workloads on simulated nodes: a Deployment's pods and its PodDisruptionBudget, with a tiny task in the place of
//! ReplicaSet, scheduler, kubelet and disruption controller, none of which runs here. It keeps the wished number of
//! pods on nodes that take pods, ends those that are deleted, and says how many may go.
//!
//! It must not evict anything itself.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(100);

/// A workload that runs. Dropping it ends the task; the objects stay.
#[derive(Debug)]
pub struct Workload {
    task: JoinHandle<()>,
}

/// What a workload shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// An existing namespace.
    pub namespace: String,
    /// The name of the Deployment, its pods' prefix, and of its budget.
    pub name: String,
    /// How many pods.
    pub replicas: usize,
    /// How many of them must always be there.
    pub min_available: usize,
    /// How long a pod takes to end.
    pub grace: Duration,
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Workload {
    /// Makes the objects and keeps them.
    pub async fn start(client: Client, wanted: Wanted) -> kube::Result<Self> {
        let Wanted {
            namespace,
            name,
            replicas,
            min_available,
            ..
        } = &wanted;
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "main", "image": "simulated"}]},
                },
            },
        });
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"minAvailable": min_available, "selector": {"matchLabels": {"app": name}}},
        });
        apply::<k8s_openapi::api::apps::v1::Deployment>(&client, namespace, name, &deployment)
            .await?;
        apply::<PodDisruptionBudget>(&client, namespace, name, &budget).await?;
        let mut keeper = Keeper {
            client,
            wanted,
            ending: BTreeMap::new(),
            made: 0,
        };
        keeper.round().await?;
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                // The API server may be away for a while.
                let _ = keeper.round().await;
            }
        });
        Ok(Self { task })
    }
}

async fn apply<K>(client: &Client, namespace: &str, name: &str, object: &Value) -> kube::Result<()>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams::apply("simulated-workload").force();
    api.patch(name, &parameters, &Patch::Apply(object)).await?;
    Ok(())
}

struct Keeper {
    client: Client,
    wanted: Wanted,
    /// Since when a pod has been on its way out.
    ending: BTreeMap<String, std::time::Instant>,
    made: u64,
}

impl Keeper {
    async fn round(&mut self) -> kube::Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.wanted.namespace);
        let ours = ListParams::default().labels(&format!("app={}", self.wanted.name));
        let there = pods.list(&ours).await?.items;
        let mut living = Vec::new();
        for pod in there {
            if pod.metadata.deletion_timestamp.is_none() {
                living.push(pod);
                continue;
            }
            let name = pod.name_any();
            let since = self
                .ending
                .entry(name.clone())
                .or_insert_with(std::time::Instant::now);
            if since.elapsed() >= self.wanted.grace {
                let at_once = DeleteParams::default().grace_period(0);
                match pods.delete(&name, &at_once).await {
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    other => drop(other?),
                }
                self.ending.remove(&name);
            }
        }
        let missing = self.wanted.replicas.saturating_sub(living.len());
        let mut count = living.len();
        if missing > 0 {
            count += self.create(&pods, &living, missing).await?;
        }
        self.tell_budget(count).await
    }

    /// Makes pods on the emptiest nodes that take pods; fewer when there is none.
    async fn create(
        &mut self,
        pods: &Api<Pod>,
        living: &[Pod],
        missing: usize,
    ) -> kube::Result<usize> {
        let nodes = Api::<Node>::all(self.client.clone())
            .list(&ListParams::default())
            .await?
            .items;
        let mut load: BTreeMap<String, usize> = nodes
            .iter()
            .filter(|node| takes_pods(node))
            .map(|node| (node.name_any(), 0))
            .collect();
        for pod in living {
            let on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref());
            if let Some(count) = on.and_then(|node| load.get_mut(node)) {
                *count += 1;
            }
        }
        let mut made = 0;
        for _ in 0..missing {
            let Some(node) = load
                .iter()
                .min_by_key(|(_, count)| **count)
                .map(|(node, _)| node.clone())
            else {
                break;
            };
            self.made += 1;
            let name = format!("{}-{}", self.wanted.name, self.made);
            let pod = pod(&self.wanted.name, &name, &node);
            match pods.create(&PostParams::default(), &pod).await {
                Err(kube::Error::Api(status)) if status.code == 409 => continue,
                other => drop(other?),
            }
            let running = json!({"status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{
                    "name": "main", "ready": true, "restartCount": 0, "image": "simulated", "imageID": "simulated",
                    "state": {"running": {}},
                }],
            }});
            pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(&running))
                .await?;
            if let Some(count) = load.get_mut(&node) {
                *count += 1;
            }
            made += 1;
        }
        Ok(made)
    }

    /// What the disruption controller would say.
    async fn tell_budget(&self, healthy: usize) -> kube::Result<()> {
        let budgets: Api<PodDisruptionBudget> =
            Api::namespaced(self.client.clone(), &self.wanted.namespace);
        let budget = budgets.get(&self.wanted.name).await?;
        let allowed = healthy.saturating_sub(self.wanted.min_available);
        let status = json!({
            "observedGeneration": budget.metadata.generation,
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": self.wanted.min_available,
            "expectedPods": self.wanted.replicas,
        });
        let now = serde_json::to_value(&budget.status).unwrap_or_default();
        let same = status.as_object().is_some_and(|fields| {
            fields
                .iter()
                .all(|(name, value)| now.get(name) == Some(value))
        });
        if same {
            return Ok(());
        }
        let mut patch = json!({"status": status});
        // Those that were disrupted are gone or counted by now. Only at the version that was looked at: an eviction in
        // between must not be given back.
        patch["status"]["disruptedPods"] = Value::Null;
        patch["metadata"] = json!({"resourceVersion": budget.metadata.resource_version});
        match budgets
            .patch_status(
                &self.wanted.name,
                &PatchParams::default(),
                &Patch::Merge(&patch),
            )
            .await
        {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            other => other.map(drop),
        }
    }
}

fn takes_pods(node: &Node) -> bool {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let mut conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    !cordoned && conditions.any(|one| one.type_ == "Ready" && one.status == "True")
}

fn pod(app: &str, name: &str, node: &str) -> Pod {
    Pod {
        metadata: kube::api::ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(BTreeMap::from([("app".to_owned(), app.to_owned())])),
            ..Default::default()
        },
        spec: Some(k8s_openapi::api::core::v1::PodSpec {
            node_name: Some(node.to_owned()),
            containers: vec![k8s_openapi::api::core::v1::Container {
                name: "main".to_owned(),
                image: Some("simulated".to_owned()),
                ..Default::default()
            }],
            ..Default::default()
        }),
        ..Default::default()
    }
}
