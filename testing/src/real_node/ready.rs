//! Waiting until a node can take pods: the API server answers, the kubelet's node is Ready, and the
//! controllers have made what each pod needs. Must not start or change anything.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Node, ServiceAccount};
use kube::{Api, Client};

use super::{Error, READY_TIME_LIMIT, RealNode};
use crate::control_plane;

const INTERVAL: Duration = Duration::from_millis(25);

/// Until the API server answers and RBAC's roles are there.
pub async fn api_server(node: &RealNode, client: &Client) -> Result<(), Error> {
    until(node, async || {
        control_plane::missing(client)
            .await
            .map_err(|error| error.to_string())
    })
    .await
}

/// Until the node takes pods.
pub async fn takes_pods(node: &RealNode, client: &Client) -> Result<(), Error> {
    until(node, async || lacks(&node.options.node_name, client).await).await
}

async fn lacks(name: &str, client: &Client) -> Result<(), String> {
    let text = |error: kube::Error| error.to_string();
    let node = Api::<Node>::all(client.clone())
        .get(name)
        .await
        .map_err(text)?;
    let ready = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|condition| condition.type_ == "Ready");
    match ready {
        Some(condition) if condition.status == "True" => {}
        Some(condition) => return Err(condition.message.clone().unwrap_or_default()),
        None => return Err("the node has no condition Ready".to_owned()),
    }
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    if let Some(taint) = taints.first() {
        return Err(format!("the node still has the taint {}", taint.key));
    }
    // Made by controllers; without them a pod is refused, or waits for its token's certificate.
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    accounts.get("default").await.map_err(text)?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    maps.get("kube-root-ca.crt").await.map_err(text)?;
    Ok(())
}

/// Until the runtime listens on its socket.
pub async fn runtime(node: &RealNode) -> Result<(), Error> {
    let socket = node.namespaces.path_inside(node.options.runtime.socket());
    until(node, async || {
        tokio::net::UnixStream::connect(&socket)
            .await
            .map(drop)
            .map_err(|error| format!("the runtime's socket: {error}"))
    })
    .await
}

async fn until(node: &RealNode, check: impl AsyncFn() -> Result<(), String>) -> Result<(), Error> {
    let deadline = Instant::now() + READY_TIME_LIMIT;
    loop {
        let reason = match tokio::time::timeout(READY_TIME_LIMIT, check()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(_) => "no answer".to_owned(),
        };
        node.all_run()?;
        if Instant::now() > deadline {
            return Err(Error::NotReady {
                reason,
                tails: node.log_tails(),
            });
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
