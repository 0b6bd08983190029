//! Whose pods may ask, by the shipped policy on a real API server, with the ConfigMap as the operator writes it. Starts
//! neither operator nor daemon.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test ends at what it doesn't expect, and `json!` values read better given away"
)]

mod on_cluster;
mod pods;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Client;
use on_cluster::until;
use pods::{allow, annotate, cluster, counted, create, label, patch, pod};
use realtime_core::rt::request;
use realtime_core::rt::selectors::flatten;
use serde_json::{Value, json};

const RUNTIME: &str = "realtime.openshift.io/runtime-us";
const NAMESPACE: &str = "ValidatingAdmissionPolicy 'realtime-pod-namespace'";

#[tokio::test(flavor = "multi_thread")]
async fn only_allowed_namespaces_may_ask() {
    let cluster = cluster().await;
    let client = &cluster.client;
    let asking = pod("a", &[(RUNTIME, "2000")]);
    let silent = pod("a", &[]);
    let off = pod("a", &[("realtime", "false"), (RUNTIME, "2000")]);

    // Without the ConfigMap, and with an empty one.
    assert_eq!(create(client, &asking, true).await, Ok(()));
    allow(client, &[]).await;
    assert_eq!(create(client, &asking, true).await, Ok(()));
    create(client, &pod("before", &[(RUNTIME, "2000")]), false)
        .await
        .unwrap();

    allow(
        client,
        &[("worker-rt", "In realtime.openshift.io/allowed true")],
    )
    .await;
    let said = until("the namespace is refused", || async {
        create(client, &asking, true)
            .await
            .err()
            .ok_or_else(|| "accepted".to_owned())
    })
    .await;
    assert!(
        said.starts_with("403") && said.contains(NAMESPACE),
        "{said}"
    );
    assert!(
        said.contains("namespace work may not ask for real-time scheduling: label it"),
        "{said}"
    );
    assert!(
        said.contains("worker-rt: In realtime.openshift.io/allowed true"),
        "{said}"
    );
    assert_eq!(create(client, &silent, true).await, Ok(()));
    assert_eq!(create(client, &off, true).await, Ok(()));
    let said = create(client, &counted("a", &[], ["", "0", ""]), true)
        .await
        .unwrap_err();
    assert!(said.contains("realtime-pod-"), "{said}");

    // A pod that was there before: everything but asking for something else.
    for (subresource, change) in [
        (None, json!({"metadata": {"labels": {"a": "b"}}})),
        (Some("status"), json!({"status": {"phase": "Running"}})),
    ] {
        assert_eq!(patch(client, "before", subresource, change).await, Ok(()));
    }
    let said = annotate(client, "before", &[(RUNTIME, Some("3000"))])
        .await
        .unwrap_err();
    assert!(said.contains(NAMESPACE), "{said}");
    assert_eq!(annotate(client, "before", &[(RUNTIME, None)]).await, Ok(()));

    // A kubelet's picture of a static pod passes; nobody else's pod by pretending to be one.
    mirror_pods(&cluster, &asking).await;
    requirements(client, &asking).await;
}

async fn mirror_pods(cluster: &on_cluster::Cluster, asking: &Value) {
    cluster.node("machine-1").await;
    let mut mirror = asking.clone();
    mirror["metadata"]["name"] = json!("static-machine-1");
    mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] = json!("hash");
    mirror["metadata"]["annotations"]["realtime.openshift.io/scheduler"] = json!("x");
    mirror["spec"]["nodeName"] = json!("machine-1");
    let said = create(&cluster.client, &mirror, true).await.unwrap_err();
    assert!(said.contains("realtime-pod-"), "{said}");
    let kubelet = as_kubelet(cluster, "machine-1").await;
    assert_eq!(create(&kubelet, &mirror, false).await, Ok(()));
}

/// An administrator who says to be a kubelet.
async fn as_kubelet(cluster: &on_cluster::Cluster, node: &str) -> Client {
    let kubeconfig =
        kube::config::Kubeconfig::read_from(cluster.control_plane.admin_kubeconfig()).unwrap();
    let options = kube::config::KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .unwrap();
    config.auth_info.impersonate = Some(format!("system:node:{node}"));
    config.auth_info.impersonate_groups =
        Some(vec!["system:nodes".to_owned(), "system:masters".to_owned()]);
    Client::try_from(config).unwrap()
}

/// Every requirement, with labels that fulfil it and labels that don't: as the operator writes it, and as the daemon
/// decides it.
async fn requirements(client: &Client, asking: &Value) {
    let sets: [&[(&str, &str)]; 5] = [
        &[],
        &[("role", "rt")],
        &[("role", ""), ("zone", "1")],
        &[("role", "rt2"), ("zone", "")],
        &[("role", "rt3"), ("zone", "1")],
    ];
    let rule = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "role", "operator": operator, "values": values}]});
    let selectors = [
        json!({}),
        json!({"matchLabels": {"role": "rt"}}),
        json!({"matchLabels": {"role": ""}}),
        rule("In", json!(["rt", "rt2"])),
        rule("NotIn", json!(["rt", "rt2"])),
        rule("Exists", json!([])),
        rule("DoesNotExist", json!([])),
        json!({"matchLabels": {"zone": "1"}, "matchExpressions": [
            {"key": "role", "operator": "In", "values": ["", "rt3"]},
            {"key": "other", "operator": "DoesNotExist"}]}),
    ];
    let mut seen = [0, 0];
    for selector in selectors {
        let selector: LabelSelector = serde_json::from_value(selector).unwrap();
        let text = flatten(Some(&selector)).unwrap();
        // Beside a profile that lets nobody in.
        allow(client, &[("a", "In role nobody"), ("b", &text)]).await;
        for set in sets {
            let labels: BTreeMap<String, String> = set
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            let allowed = request::namespace_allowed(Some(&selector), Some(&labels));
            let get = |key: &'static str| labels.get(key).map(String::as_str);
            label(client, &[("role", get("role")), ("zone", get("zone"))]).await;
            settles(client, asking, allowed, &format!("{text:?} with {set:?}")).await;
            seen[usize::from(allowed)] += 1;
        }
    }
    assert!(seen.iter().all(|count| *count > 5), "{seen:?}");
    // What an older policy doesn't know lets nobody in.
    for unknown in ["Near role rt", "In role", "Exists", "Exists role x", "role"] {
        allow(client, &[("a", unknown)]).await;
        settles(client, asking, false, unknown).await;
    }
    many_profiles(client, asking).await;
}

/// Until the API server has heard of the ConfigMap and of the labels, and then for a while.
async fn settles(client: &Client, asking: &Value, allowed: bool, what: &str) {
    let agreed = AtomicUsize::new(0);
    until(what, || async {
        let said = create(client, asking, true).await;
        if said.is_ok() != allowed {
            agreed.store(0, Ordering::Relaxed);
            return Err(format!("{said:?}, and {allowed} was expected"));
        }
        match agreed.fetch_add(1, Ordering::Relaxed) {
            0..=2 => Err("once more".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
}

async fn many_profiles(client: &Client, asking: &Value) {
    let many: Vec<(String, String)> = (0..200)
        .map(|number| {
            (
                format!("p{number}"),
                "In role x;NotIn zone a,b,c,d;Exists some.example.org/label".to_owned(),
            )
        })
        .collect();
    let mut many: Vec<(&str, &str)> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    allow(client, &many).await;
    let said = until("many profiles", || async {
        match create(client, asking, true).await {
            Err(said) if said.contains(": In role x and NotIn zone") => Ok(said),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(said.ends_with('…'), "{said}");
    many.push(("z", ""));
    allow(client, &many).await;
    until("an open profile beside many", || async {
        create(client, asking, true).await
    })
    .await;
}
