//! Several nodes, of which one is real and the others are objects that a played kubelet keeps ready: pods go where the
//! resource is free, and nowhere else. API server, scheduler, controllers and operator are the real ones.

use super::*;

/// A node that nobody runs pods on: its object, kept ready as by a kubelet's reports.
async fn play(client: Client, name: &'static str) -> tokio::task::JoinHandle<()> {
    let nodes: Api<Node> = Api::all(client);
    let node = json!({"metadata": {"name": name, "labels": {
        names::node_role_label(PROFILE): "", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name}}});
    let node = serde_json::from_value(node).unwrap();
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let room = json!({"cpu": "64", "memory": "64Gi", "pods": "2000"});
    let report = async move || {
        let now = k8s_openapi::jiff::Timestamp::now().to_string();
        let ready = json!([{"type": "Ready", "status": "True", "reason": "Played", "message": "by a test",
            "lastHeartbeatTime": now}]);
        let status =
            json!({"status": {"capacity": room, "allocatable": room, "conditions": ready}});
        let patch = Patch::Strategic(&status);
        nodes
            .patch_status(name, &PatchParams::default(), &patch)
            .await
    };
    report().await.unwrap();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let _ = report().await;
        }
    })
}

/// What the pods that are bound to each node ask for.
async fn given(pods: &Api<Pod>) -> BTreeMap<String, i64> {
    let mut given = BTreeMap::new();
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        if let Some(node) = pod.spec.as_ref().unwrap().node_name.clone() {
            *given.entry(node).or_insert(0) += asks(&pod);
        }
    }
    given
}

/// Waits until so much is given, and sees that it stays so.
async fn until_given(pods: &Api<Pod>, wanted: &[(&str, i64)]) {
    let wanted: BTreeMap<String, i64> = wanted
        .iter()
        .map(|(node, micros)| ((*node).to_owned(), *micros))
        .collect();
    until(&format!("{wanted:?} are given"), async || {
        let now = given(pods).await;
        // Never more, on the way neither.
        for (node, micros) in &now {
            assert!(
                wanted.get(node).is_some_and(|most| micros <= most),
                "{node} has {micros}"
            );
        }
        if now == wanted {
            Ok(())
        } else {
            Err(format!("{now:?}"))
        }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(given(pods).await, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_pods_go_only_where_it_is_free_among_several_nodes() {
    if let Some(reason) = cannot_run(Runtime::Containerd) {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let node = RealNode::start(Options::new(Runtime::Containerd))
        .await
        .unwrap();
    let client = node.admin_client().await.unwrap();
    install(&node, &client).await;
    let kubelets = [
        play(client.clone(), "node-2").await,
        play(client.clone(), "node-3").await,
    ];
    let kubeconfig = node
        .kubeconfig_for(names::OPERATOR_NAMESPACE, sandbox::OPERATOR_ACCOUNT)
        .await
        .unwrap();
    let operator = Operator::start(&kubeconfig, &node.directory().join("operator.log"));
    let realtime_nodes: Api<RealtimeNode> = Api::all(client.clone());
    let says = async |name: &str, micros: i64| {
        until(&format!("{name} can say what it has"), async || {
            let status = json!({"status": {"podBudget": {"mode": "V1Budget", "capacityMicroseconds": micros}}});
            let patch = Patch::Merge(&status);
            realtime_nodes
                .patch_status(name, &PatchParams::default(), &patch)
                .await
                .map_err(|error| error.to_string())
        })
        .await;
    };
    says(NODE, 3 * SHARE).await;
    says("node-2", 5 * SHARE).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    futures::stream::iter(1..=PODS)
        .for_each_concurrent(8, async |number| {
            let pod = pod(&format!("asks-{number}"), SHARE);
            pods.create(&PostParams::default(), &pod).await.unwrap();
        })
        .await;
    until_given(&pods, &[(NODE, 3 * SHARE), ("node-2", 5 * SHARE)]).await;
    // A third node has something, and the second something more.
    says("node-3", 2 * SHARE).await;
    says("node-2", 6 * SHARE + SHARE / 2).await;
    let all = [
        (NODE, 3 * SHARE),
        ("node-2", 6 * SHARE),
        ("node-3", 2 * SHARE),
    ];
    until_given(&pods, &all).await;
    kubelets.iter().for_each(tokio::task::JoinHandle::abort);
    drop(operator);
    node.shutdown().await.unwrap();
}
