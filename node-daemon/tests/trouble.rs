//! Trouble, each sort a test: what the daemon says meanwhile, that nothing is lost, and that it goes on when the trouble
//! is over. Each has its sentence in docs/troubleshooting.md.

mod support;

use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use realtime_core::api::RealtimeNode;
use realtime_core::api::realtime_node::NodePhase;
use realtime_core::names;
use realtime_core::openshift::{MachineConfig, MachineConfigPool};
use realtime_testing::rpm_ostree_standin::{OriginKind, Profile, Version};
use realtime_testing::simulated_host::workload::{Wanted, Workload};
use serde_json::json;
use support::cluster::{Cluster, Setup, phase};
use support::standalone::Standalone;

const PROFILE: &str = "worker-rt";

fn measured() -> Profile {
    Profile::measured(Version::V2024_7, OriginKind::Container)
}

/// What a node says of its kernel.
fn words(rtn: &RealtimeNode) -> String {
    let conditions = rtn.status.iter().flat_map(|status| &status.conditions);
    conditions
        .map(|one| format!("{}: {}", one.reason, one.message))
        .collect::<Vec<_>>()
        .join("\n")
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
}

/// A Deployment none of whose pods may go.
async fn unyielding(cluster: &Cluster) -> Workload {
    let wanted = Wanted {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
        replicas: 2,
        min_available: 2,
        grace: Duration::from_millis(200),
    };
    Workload::start(cluster.client.clone(), wanted)
        .await
        .expect("a workload")
}

/// Two pods of which one may go at a time.
async fn yielding(cluster: &Cluster) -> Workload {
    let wanted = Wanted {
        namespace: "default".to_owned(),
        name: "shop".to_owned(),
        replicas: 2,
        min_available: 1,
        grace: Duration::from_millis(200),
    };
    Workload::start(cluster.client.clone(), wanted)
        .await
        .expect("a workload")
}

/// A node is being drained and can't go on, because of a budget; the daemon says which.
async fn in_the_middle_of_a_drain(cluster: &Cluster) -> Workload {
    let held = unyielding(cluster).await;
    cluster.profile(PROFILE, json!({"realtime": true})).await;
    cluster.label(&cluster.names[..1]).await;
    cluster
        .rtn_until(&cluster.names[0], "says which pod stays", |rtn| {
            phase(rtn) == Some(NodePhase::Draining) && words(rtn).contains("default/shop")
        })
        .await;
    held
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_holds_a_pod_and_the_api_server_is_away_during_the_drain() {
    let cluster = Cluster::start(Setup::plain()).await;
    let held = in_the_middle_of_a_drain(&cluster).await;
    assert_eq!(cluster.reboots(), [0, 0]);
    cluster
        .control_plane
        .stop_api_server()
        .await
        .expect("stopped");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(cluster.reboots(), [0, 0]);
    assert!(!cluster.host(&cluster.names[0]).reboot_asked());
    cluster
        .control_plane
        .start_api_server()
        .await
        .expect("started");
    drop(held);
    let free = yielding(&cluster).await;
    cluster.ready(&cluster.names[0], true).await;
    cluster.tidy().await;
    assert_eq!(cluster.reboots(), [1, 0]);
    drop(free);
}

/// The turn is lost in the middle: an admin takes the label away after it was taken.
#[tokio::test(flavor = "multi_thread")]
async fn the_turn_is_lost_in_the_middle_of_a_drain() {
    let cluster = Cluster::start(Setup::plain()).await;
    let held = in_the_middle_of_a_drain(&cluster).await;
    cluster.kill_operator();
    let patch = json!({"metadata": {"labels": {names::LABEL_TURN: null}}});
    cluster
        .api::<RealtimeNode>()
        .patch(
            &cluster.names[0],
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&patch),
        )
        .await
        .expect("the label's removal");
    drop(held);
    let free = yielding(&cluster).await;
    // A turn that was begun is the node's until it gives it back: it comes to its end, with one reboot.
    cluster.ready(&cluster.names[0], true).await;
    assert_eq!(cluster.reboots(), [1, 0]);
    let mut cluster = cluster;
    cluster.start_operator().await;
    cluster.tidy().await;
    assert_eq!(cluster.reboots(), [1, 0]);
    drop(free);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_admin_cordons_and_that_cordon_stays() {
    let cluster = Cluster::start(Setup::plain()).await;
    let name = cluster.names[0].clone();
    cluster.cordon(&name, true).await;
    cluster.profile(PROFILE, json!({"realtime": true})).await;
    cluster.label(std::slice::from_ref(&name)).await;
    cluster
        .rtn_until(&name, "says who cordoned it", |rtn| {
            phase(rtn) == Some(NodePhase::Pending) && words(rtn).contains("CordonedByOthers")
        })
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(cluster.reboots(), [0, 0]);
    let node = cluster.node(&name).await;
    assert!(is_cordoned(&node));
    assert!(
        !node
            .metadata
            .annotations
            .unwrap_or_default()
            .contains_key(names::ANNOTATION_CORDONED_AT)
    );
    cluster.cordon(&name, false).await;
    cluster.ready(&name, true).await;
    cluster.tidy().await;
    assert_eq!(cluster.reboots(), [1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_an_admin_paused_is_left_alone() {
    let cluster = Cluster::start(Setup::older().nodes(1)).await;
    let name = cluster.names[0].clone();
    cluster.profile(PROFILE, json!({"realtime": false})).await;
    cluster.label(std::slice::from_ref(&name)).await;
    cluster.ready(&name, false).await;
    cluster.tidy().await;
    let before = cluster.reboots();
    let pause = |paused: bool| {
        let pools = cluster.api::<MachineConfigPool>();
        async move {
            pools
                .patch(
                    PROFILE,
                    &kube::api::PatchParams::default(),
                    &kube::api::Patch::Merge(&json!({"spec": {"paused": paused}})),
                )
                .await
                .expect("the pause");
        }
    };
    pause(true).await;
    // The operator has seen it before anything else changes.
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.profile(PROFILE, json!({"realtime": true})).await;
    cluster
        .rtn_until(&name, "wants a turn", |rtn| {
            rtn.status
                .as_ref()
                .is_some_and(|status| status.turn.is_some())
        })
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    if cluster.reboots() != before {
        cluster.tell().await;
    }
    assert_eq!(cluster.reboots(), before);
    let pool = cluster
        .api::<MachineConfigPool>()
        .get(PROFILE)
        .await
        .expect("the pool");
    assert_eq!(pool.spec.paused, Some(true));
    pause(false).await;
    cluster.ready(&name, true).await;
    cluster.tidy().await;
    // One for what the Machine Config Operator brings, when there is anything, and one for the kernel.
    let reboots = cluster.reboots()[0] - before[0];
    assert!((1..=2).contains(&reboots), "{reboots}");
}

/// The Machine Config Operator gets something to do while a node waits for its turn: it goes first, and never both.
#[tokio::test(flavor = "multi_thread")]
async fn the_machine_config_operator_starts_a_rollout_in_the_middle() {
    let cluster = Cluster::start(Setup::older()).await;
    cluster.profile(PROFILE, json!({"realtime": true})).await;
    cluster.label(&cluster.names).await;
    cluster
        .rtn_until(&cluster.names[0], "is on its way", |rtn| {
            rtn.status
                .as_ref()
                .is_some_and(|status| status.turn.is_some())
        })
        .await;
    let config = json!({
        "metadata": {
            "name": "60-somebody-else",
            "labels": {names::LABEL_MACHINE_CONFIG_ROLE: PROFILE},
        },
        "spec": {"kernelArguments": ["quiet=1"]},
    });
    let _: MachineConfig = cluster.create(config).await;
    for name in &cluster.names {
        cluster.ready(name, true).await;
        cluster
            .until("the other argument is there", || async {
                cluster
                    .host(name)
                    .kernel()
                    .command_line
                    .contains("quiet=1")
                    .then_some(())
            })
            .await;
    }
    cluster.tidy().await;
    assert_eq!(cluster.most_down(), 1);
    for name in &cluster.names {
        assert!(cluster.host(name).kernel().is_realtime());
    }
}

/// The older profile keeps a node that two of them select; the other one says so, and nothing is switched to and fro.
#[tokio::test(flavor = "multi_thread")]
async fn two_profiles_claim_one_node() {
    let cluster = Cluster::start(Setup::plain().nodes(1)).await;
    let name = cluster.names[0].clone();
    cluster.profile(PROFILE, json!({"realtime": true})).await;
    cluster.label(std::slice::from_ref(&name)).await;
    cluster.ready(&name, true).await;
    let second = json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile",
        "metadata": {"name": "zz-second"},
        "spec": {
            "pool": {"name": "zz-second", "nodeSelector": {"matchLabels": {support::cluster::ROLE: ""}}},
            "kernel": {"realtime": false},
            "cpu": {"reserved": "0", "isolated": "1-7"},
        },
    });
    let _: realtime_core::api::RealtimeProfile = cluster.create(second).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let rtn = cluster.realtime_node(&name).await.expect("a RealtimeNode");
    if phase(&rtn) != Some(NodePhase::Ready) {
        cluster.tell().await;
    }
    assert_eq!(rtn.spec.profile, PROFILE);
    assert_eq!(phase(&rtn), Some(NodePhase::Ready));
    assert_eq!(cluster.reboots(), [1]);
    // Which profile a node has is in the first column; the second one has no node, and says so.
    let second = cluster
        .api::<realtime_core::api::RealtimeProfile>()
        .get("zz-second")
        .await
        .expect("the second profile");
    let said: Vec<String> = second
        .status
        .map(|status| status.conditions)
        .unwrap_or_default()
        .into_iter()
        .map(|one| one.reason)
        .collect();
    println!("the second profile says {said:?}");
    assert!(!said.contains(&"Updated".to_owned()), "{said:?}");
}

/// Degraded with words, the old kernel running and nothing left behind; then well again once the cause is gone.
fn degraded_then_well(host: &Standalone, words: &str, repair: impl FnOnce()) {
    let end = host.settle();
    assert_eq!(end.phase, "Degraded", "{}", host.log());
    assert!(host.log().contains(words), "{words}\n{}", host.log());
    assert_eq!(host.host.counts().reboots, 0, "{}", host.log());
    assert!(!host.host.kernel().is_realtime());
    for one in host.state().deployments {
        assert!(!one.staged && !one.pinned, "{}", host.log());
    }
    repair();
    let end = host.settle();
    assert_eq!(end.phase, "Ready", "{}", host.log());
    assert!(host.host.kernel().is_realtime(), "{}", host.log());
    assert_eq!(host.host.counts().reboots, 1, "{}", host.log());
}

#[test]
fn the_disk_is_full() {
    let host = Standalone::new(&measured());
    host.host
        .standin()
        .change(|state| state.space.sysroot_free = 10 * 1024)
        .expect("a full disk");
    host.want(json!({"realtime": true}));
    degraded_then_well(&host, "space", || {
        host.host
            .standin()
            .change(|state| state.space.sysroot_free = 60 << 20)
            .expect("room");
        // Another wish is another attempt.
        host.want(json!({"realtime": true, "arguments": ["skew_tick=1"]}));
    });
}

#[test]
fn the_repository_is_gone() {
    let profile = measured();
    let host = Standalone::new(&profile);
    let url = profile.repositories[0].1.clone();
    let kept = profile.web[&url].packages.clone();
    host.host
        .standin()
        .publish_repository(&url, Vec::new())
        .expect("emptied");
    host.want(json!({"realtime": true}));
    degraded_then_well(&host, "kernel-rt", || {
        host.host
            .standin()
            .publish_repository(&url, kept)
            .expect("published");
        host.host
            .standin()
            .foreign_stage(&["cleanup", "-m"])
            .expect("rpm-ostree");
        host.want(json!({"realtime": true, "arguments": ["skew_tick=1"]}));
    });
}

/// A file that isn't what the profile says is never given to rpm-ostree. (The server here answers every request.)
#[test]
fn a_download_is_not_what_the_profile_says() {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 2048];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil",
            );
        }
    });
    let host = Standalone::new(&measured());
    let url = format!("http://{address}/kernel-rt-core-5.14.0-284.11.1.rt14.296.el9_2.x86_64.rpm");
    host.want(json!({"realtime": true, "packages": {"source": {"urls": [{"url": url, "sha256": "0".repeat(64)}]}}}));
    degraded_then_well(&host, "sha256", || host.want(json!({"realtime": true})));
    assert!(
        !host.log().contains("override remove --install=http"),
        "{}",
        host.log()
    );
}
