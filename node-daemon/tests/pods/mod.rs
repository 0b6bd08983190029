//! Pods as JSON, asking a real API server about them, and what it says. It asserts nothing about any policy.
#![allow(dead_code, reason = "each test file uses a part")]

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use realtime_core::names;
use serde_json::{Map, Value, json};

use crate::on_cluster::{Cluster, WORK, until};

pub mod agreement;
pub mod shapes;

/// What the API server says: `Err` has the code and its sentence.
pub type Answer = Result<(), String>;

/// A pod with these annotations, and these containers: an init container `prepare`, `main` and `helper`.
pub fn pod(name: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations: Map<String, Value> = annotations
        .iter()
        .map(|(key, text)| ((*key).to_owned(), json!(text)))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": WORK, "annotations": annotations},
        "spec": {
            "initContainers": [{"name": "prepare", "image": "none"}],
            "containers": [{"name": "main", "image": "none"}, {"name": "helper", "image": "none"}],
        },
    })
}

/// The same, with requests of the resource: in that order `prepare`, `main` and `helper`; empty for none.
pub fn counted(name: &str, annotations: &[(&str, &str)], resources: [&str; 3]) -> Value {
    let mut pod = pod(name, annotations);
    for (place, amount) in [
        "/spec/initContainers/0",
        "/spec/containers/0",
        "/spec/containers/1",
    ]
    .iter()
    .zip(resources)
    {
        if !amount.is_empty() {
            pod.pointer_mut(place).unwrap()["resources"] =
                json!({"limits": {names::RESOURCE_RUNTIME_US: amount}});
        }
    }
    pod
}

/// Asks for it and, when it is a rehearsal, makes nothing.
pub async fn create(client: &Client, pod: &Value, rehearse: bool) -> Answer {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or(WORK);
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let params = PostParams {
        dry_run: rehearse,
        ..PostParams::default()
    };
    let pod = serde_json::from_value(pod.clone()).unwrap();
    answer(api.create(&params, &pod).await)
}

/// A merge patch of a pod in [`WORK`], or of one of its subresources.
pub async fn patch(client: &Client, name: &str, subresource: Option<&str>, patch: Value) -> Answer {
    let api: Api<Pod> = Api::namespaced(client.clone(), WORK);
    let params = PatchParams::default();
    let patch = Patch::Strategic(patch);
    answer(match subresource {
        None => api.patch(name, &params, &patch).await,
        Some(subresource) => {
            api.patch_subresource(subresource, name, &params, &patch)
                .await
        }
    })
}

/// Sets annotations of a pod in [`WORK`]; an absent value takes one off.
pub async fn annotate(client: &Client, name: &str, set: &[(&str, Option<&str>)]) -> Answer {
    let set: Map<String, Value> = set
        .iter()
        .map(|(key, text)| ((*key).to_owned(), json!(text)))
        .collect();
    patch(
        client,
        name,
        None,
        json!({"metadata": {"annotations": set}}),
    )
    .await
}

pub fn answer<T>(result: kube::Result<T>) -> Answer {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(format!("{} {}", status.code, status.message)),
        Err(error) => Err(error.to_string()),
    }
}

/// What the operator writes: each profile with its requirements.
pub async fn allow(client: &Client, profiles: &[(&str, &str)]) {
    let data: Map<String, Value> = profiles
        .iter()
        .map(|(profile, rules)| ((*profile).to_owned(), json!(rules)))
        .collect();
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": names::CONFIG_MAP_NAMESPACES, "namespace": names::OPERATOR_NAMESPACE},
        "data": data,
    });
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), names::OPERATOR_NAMESPACE);
    api.patch(
        names::CONFIG_MAP_NAMESPACES,
        &PatchParams::apply("test").force(),
        &Patch::Apply(map),
    )
    .await
    .unwrap();
}

/// Sets the labels of the namespace [`WORK`]; an absent value takes one off.
pub async fn label(client: &Client, labels: &[(&str, Option<&str>)]) {
    let labels: Map<String, Value> = labels
        .iter()
        .map(|(key, text)| ((*key).to_owned(), json!(text)))
        .collect();
    Api::<Namespace>::all(client.clone())
        .patch(
            WORK,
            &PatchParams::default(),
            &Patch::Merge(json!({"metadata": {"labels": labels}})),
        )
        .await
        .unwrap();
}

/// A cluster in which the policies are in force: they come a moment after they are made.
pub async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    until("the contract's policy is in force", || async {
        match create(&cluster.client, &pod("wrong", &[("realtime", "yes")]), true).await {
            Err(said) if said.contains("realtime-pod-contract") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    cluster
}
