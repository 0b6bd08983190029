//! As with rt-operator: a cluster without our kinds, and the daemon with a file of rt-operator's alone, under an account
//! that may look at pods and nothing else.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use realtime_testing::real_node::{Options, RealNode, Runtime};

use crate::on_node::{LONG, TWO_AT_A_TIME, budget, pod};

const DAEMON: &str = "daemon";
const ACCOUNT: &str = "
{apiVersion: v1, kind: ServiceAccount, metadata: {name: rt-operator, namespace: default}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: rt-operator}
rules: [{apiGroups: [''], resources: [pods], verbs: [get, list, watch]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rt-operator}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: rt-operator}
subjects: [{kind: ServiceAccount, name: rt-operator, namespace: default}]
";

fn begin(node: &RealNode, handler: &str, kubeconfig: &Path) {
    let group = node.cgroup_root();
    let group = group.file_name().and_then(|name| name.to_str());
    let config = node.directory().join("rt-operator.yaml");
    // The last one isn't rt-operator's: other nodes of other tests may be on this machine.
    let text = format!(
        "log_level: DEBUG\nkube_path: {}\nnode_name: {}\ncgroup_handler: {handler}\n\
         cgroup_v1_capacity: 60000\npods_group: /{}/kubepods\n",
        kubeconfig.display(),
        node.options().node_name,
        group.expect("a group"),
    );
    fs::write(&config, text).expect("written");
    let program = Path::new(env!("CARGO_BIN_EXE_realtime-node-daemon"));
    let arguments = ["--config".to_owned(), config.display().to_string()];
    node.run_program(DAEMON, program, &arguments)
        .expect("the daemon");
}

async fn create(pods: &Api<Pod>, name: &str, micros: &str, command: &[&str]) {
    let pod = serde_json::from_value(pod(name, &budget(micros), command)).expect("a pod");
    pods.create(&PostParams::default(), &pod)
        .await
        .expect("created");
}

/// All of it.
pub async fn its_file_is_enough(runtime: Runtime) {
    let _turn = TWO_AT_A_TIME.acquire().await.expect("never closed");
    let node = RealNode::start(Options {
        realtime_runtime_us: 80_000,
        ..Options::new(runtime)
    })
    .await
    .expect("a node");
    node.apply_yaml(ACCOUNT).await.expect("an account");
    let kubeconfig = node.kubeconfig_for("default", "rt-operator").await;
    let kubeconfig = kubeconfig.expect("a kubeconfig");
    let pods: Api<Pod> = Api::default_namespaced(node.admin_client().await.expect("a client"));
    let pods_group = node.cgroup_root().join("kubepods/cpu.rt_runtime_us");
    let has = || {
        let text = fs::read_to_string(&pods_group).unwrap_or_default();
        text.trim().parse::<i64>().unwrap_or_default()
    };
    let said = || fs::read_to_string(node.directory().join("daemon.log")).unwrap_or_default();
    let until = async |micros: i64| {
        let begun = Instant::now();
        while has() != micros {
            assert!(
                begun.elapsed() < LONG / 2,
                "{} and not {micros}\n{}",
                has(),
                said()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let wait = async |name: &'static str, phase: &'static str| {
        let begun = Instant::now();
        loop {
            let status = pods.get(name).await.expect("the pod").status;
            let now = status.as_ref().and_then(|status| status.phase.clone());
            if now.as_deref() == Some(phase) {
                return;
            }
            let over = matches!(now.as_deref(), Some("Failed" | "Succeeded"));
            assert!(
                !over && begun.elapsed() < LONG / 2,
                "{status:#?}\n{}",
                said()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };

    begin(&node, "noop", &kubeconfig);
    create(&pods, "early", "20000", &["sleep", "7501"]).await;
    wait("early", "Running").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(has(), 0, "{}", said());
    node.kill_program(DAEMON).expect("killed");

    begin(&node, "cgroup_v1", &kubeconfig);
    until(20_000).await;
    create(&pods, "first", "25000", &["first-act"]).await;
    wait("first", "Succeeded").await;
    until(20_000).await;
    // More than the file's capacity: refused, and the pod runs without.
    create(&pods, "much", "50000", &["sleep", "7502"]).await;
    wait("much", "Running").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(has(), 20_000, "{}", said());
    node.shutdown().await.expect("shutdown");
}
