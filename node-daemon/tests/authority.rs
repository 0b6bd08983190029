//! The cluster's certificate authority is replaced under a running daemon, as OpenShift does it by itself. Uses the
//! connection that the daemon and the operator have (`kube` reads `ca.crt` once a minute), and a real API server.
#![allow(clippy::unwrap_used, reason = "a test ends at what it doesn't expect")]

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Config};
use realtime_node_daemon::cluster;
use realtime_testing::control_plane::{ControlPlane, Options};

/// Twice kube's interval, and some.
const PATIENCE: Duration = Duration::from_secs(130);

#[tokio::test]
async fn a_new_authority_is_trusted_without_a_restart() {
    let mut control_plane = ControlPlane::start(Options::default()).await.unwrap();
    let kubeconfig = Kubeconfig::read_from(control_plane.admin_kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    // As in a pod, where the kubelet writes the file anew.
    let file = control_plane.directory().join("ca-of-a-pod.crt");
    std::fs::write(&file, control_plane.ca()).unwrap();
    config.root_cert_file = Some(file.clone());
    let former = config.clone();
    let namespaces = |config| Api::<Namespace>::all(cluster::client(config).unwrap());
    let ours = namespaces(config);
    ours.get("default").await.unwrap();

    control_plane.rotate_authority().await.unwrap();
    let error = ours.get("default").await.unwrap_err();
    // The two authorities have the same name.
    assert!(format!("{error:?}").contains("BadSignature"), "{error:?}");
    std::fs::write(&file, control_plane.ca()).unwrap();
    // The administrator's own certificate is the former authority's: that the server asks who it is, is enough.
    let answered = |result: Result<Namespace, kube::Error>| matches!(&result, Err(kube::Error::Api(status)) if status.code == 401);
    let began = Instant::now();
    while !answered(ours.get("default").await) {
        assert!(
            began.elapsed() < PATIENCE,
            "{:?}",
            ours.get("default").await
        );
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    // Without the file it stays as it was: the test tells the one from the other.
    let mut without = former;
    without.root_cert_file = None;
    assert!(!answered(namespaces(without).get("default").await));
    control_plane.shutdown().await.unwrap();
}
