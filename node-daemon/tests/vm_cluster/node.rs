//! A node whose kubelet and runtime are played by the test (the API's part, outside) and by the hands in the machine (the
//! groups' part): pods that ask, their containers, and what is told of them. Asserts nothing about the daemon.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use realtime_core::api::realtime_node::{ContainerBudget, NodePodBudgetStatus};
use realtime_core::names;
use serde_json::{Value, json};

use crate::hands::NODE;
use crate::machine::Machine;
use crate::on_cluster::{Cluster, WORK};

const RUNTIME: &str = "realtime.openshift.io/runtime-us";
/// Policy and priority.
pub const SCHEDULER: &str = "realtime.openshift.io/scheduler";
/// Rather no start than one without.
pub const REQUIRED: &str = "realtime.openshift.io/required";

/// A look at threads comes every ten seconds, a sample of use as well.
const LONG: Duration = Duration::from_mins(1);

/// The cluster, and the machine that is its node.
pub struct Node {
    pub cluster: Cluster,
    pub machine: Machine,
    pods: BTreeMap<&'static str, Pod>,
    next: u64,
}

/// A pod's one container, to be started.
#[derive(Clone, Copy, Default)]
pub struct Start {
    /// With the hook.
    pub hook: bool,
    /// How often it has run before.
    pub restarts: u32,
}

impl Node {
    pub fn new(cluster: Cluster, machine: Machine) -> Self {
        Self {
            cluster,
            machine,
            pods: BTreeMap::new(),
            next: 1,
        }
    }

    /// A pod of one container, `main`, as a user writes it: annotations, and the resource that the scheduler counts.
    pub async fn pod(&mut self, name: &'static str, budget: Option<u32>, more: &[(&str, &str)]) {
        let mut annotations = json!({});
        // Of the class in which the hands make its group.
        let mut resources = json!({"requests": {"cpu": "1m"}});
        if let Some(budget) = budget {
            annotations[RUNTIME] = json!(budget.to_string());
            resources["limits"] = json!({names::RESOURCE_RUNTIME_US: budget.to_string()});
        }
        for (key, text) in more {
            annotations[*key] = json!(text);
        }
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "nodeName": NODE, "tolerations": [{"operator": "Exists"}],
                "containers": [{"name": "main", "image": "none", "resources": resources}],
            },
        }))
        .unwrap();
        let pods = self.cluster.pods();
        let pod = pods.create(&PostParams::default(), &pod).await.unwrap();
        self.pods.insert(name, pod);
    }

    /// Its sandbox and the conmon of a container: they must stay as they are. Gives their names.
    pub fn beside(&mut self, name: &str) -> [String; 2] {
        let (sandbox, conmon) = (self.id(), self.id());
        let annotations = self.annotations(name, "sandbox");
        let uid = self.uid(name);
        self.machine.ask(
            &json!({"do": "container", "id": sandbox, "uid": uid, "annotations": annotations}),
        );
        self.machine
            .ask(&json!({"do": "container", "id": conmon, "uid": uid, "kind": "conmon"}));
        [sandbox, format!("conmon {conmon}")]
    }

    /// Starts its container, and reports it as a kubelet does. Gives its id and what the runtime saw.
    pub async fn start(&mut self, name: &str, start: Start) -> (String, Value) {
        let id = self.id();
        let asked = json!({
            "do": "container", "id": id, "uid": self.uid(name), "hook": start.hook,
            "annotations": self.annotations(name, "container"),
        });
        let seen = self.machine.ask(&asked);
        let status = json!({"status": {"phase": "Running", "containerStatuses": [{
            "name": "main", "containerID": format!("cri-o://{id}"), "image": "none", "imageID": "none", "ready": true,
            "restartCount": start.restarts, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }]}});
        self.cluster
            .pods()
            .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
            .await
            .unwrap();
        (id, seen)
    }

    /// Deletes a pod, whose container has ended.
    pub async fn delete(&mut self, name: &str) {
        let now = DeleteParams::default().grace_period(0);
        self.cluster.pods().delete(name, &now).await.unwrap();
    }

    /// Asks again and again until it holds; with the daemon's log where it doesn't.
    pub async fn until(
        &mut self,
        what: &str,
        mut holds: impl FnMut(&mut Machine) -> Option<Value>,
    ) {
        let begun = Instant::now();
        while let Some(seen) = holds(&mut self.machine) {
            if begun.elapsed() > LONG {
                let log = self.machine.log(60);
                let told = self.cluster.realtime_nodes().get(NODE).await.unwrap();
                let told = told.status.and_then(|status| status.pod_budget);
                panic!("{what}: not within {LONG:?}; seen last: {seen}; told: {told:#?}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        println!("{what}: after {:.1?}", begun.elapsed());
    }

    /// Until the threads of a container are these, in any order.
    pub async fn threads(&mut self, what: &str, id: &str, expected: &[&str]) {
        self.until(what, |machine| {
            let mut threads: Vec<String> =
                serde_json::from_value(machine.ask(&json!({"do": "threads", "id": id}))).unwrap();
            threads.sort();
            (threads != expected).then(|| json!(threads))
        })
        .await;
    }

    /// Until the node's word of pods is such.
    pub async fn told(
        &mut self,
        what: &str,
        is: impl Fn(&NodePodBudgetStatus) -> bool,
    ) -> NodePodBudgetStatus {
        let begun = Instant::now();
        loop {
            let node = self.cluster.realtime_nodes().get(NODE).await.unwrap();
            let told = node.status.and_then(|status| status.pod_budget);
            let told = told.unwrap_or_default();
            if is(&told) {
                println!("{what}: after {:.1?}", begun.elapsed());
                return told;
            }
            if begun.elapsed() > LONG {
                let log = self.machine.log(60);
                panic!("{what}: not within {LONG:?}; told last: {told:#?}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Until an Event of a pod has that reason and these words.
    pub async fn event(&mut self, pod: &str, reason: &str, words: &str) {
        let api: Api<Event> = Api::namespaced(self.cluster.client.clone(), WORK);
        let begun = Instant::now();
        loop {
            let events = api.list(&ListParams::default()).await.unwrap();
            let of_it: Vec<(String, String)> = events
                .into_iter()
                .filter(|event| {
                    let regarding = event.regarding.clone().unwrap_or_default();
                    regarding.name.as_deref() == Some(pod) && regarding.uid.is_some()
                })
                .map(|event| {
                    (
                        event.reason.unwrap_or_default(),
                        event.note.unwrap_or_default(),
                    )
                })
                .collect();
            if of_it
                .iter()
                .any(|(of, note)| of == reason && note.contains(words))
            {
                return;
            }
            assert!(
                begun.elapsed() < LONG,
                "no Event {reason} ({words}) of {pod}: {of_it:#?}"
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn id(&mut self) -> String {
        self.next += 1;
        format!("{:064x}", self.next)
    }

    fn uid(&self, name: &str) -> Value {
        json!(self.pods[name].metadata.uid)
    }

    /// CRI-O writes the pod's own, and its own words over them.
    fn annotations(&self, name: &str, kind: &str) -> Value {
        let pod = &self.pods[name].metadata;
        let mut all = json!(pod.annotations);
        all["io.kubernetes.cri-o.ContainerType"] = json!(kind);
        all["io.kubernetes.pod.name"] = json!(name);
        all["io.kubernetes.pod.namespace"] = json!(WORK);
        all["io.kubernetes.pod.uid"] = json!(pod.uid);
        if kind == "container" {
            all["io.kubernetes.container.name"] = json!("main");
        }
        all
    }
}

/// A pod's entry.
pub fn entry<'a>(told: &'a NodePodBudgetStatus, pod: &str) -> Option<&'a ContainerBudget> {
    told.containers.iter().find(|entry| entry.pod == pod)
}

/// What an entry says: state, reason, requested, applied, policy and priority.
pub fn said(told: &NodePodBudgetStatus, pod: &str) -> String {
    let Some(entry) = entry(told, pod) else {
        return "nothing".to_owned();
    };
    format!(
        "{:?} {} {:?} of {:?} {}:{}",
        entry.state,
        entry.reason.as_deref().unwrap_or("-"),
        entry.applied_microseconds.unwrap_or(0),
        entry.requested_microseconds.unwrap_or(0),
        entry.policy.as_deref().unwrap_or("-"),
        entry.priority.unwrap_or(0),
    )
}
