//! The test plan of the enhancement that this project starts from, and its four stories, each as a test: API server,
//! operator and daemons are the real programs under the rights that they ship with. The number of reboots is asserted,
//! and that no cordon, pause, turn or pin is forgotten.

mod support;

use k8s_openapi::api::core::v1::Node;
use realtime_core::api::RealtimeProfile;
use realtime_core::api::realtime_node::NodePhase;
use realtime_core::api::realtime_profile::KernelProvider;
use realtime_core::cluster::Dialect;
use realtime_core::openshift::MachineConfig;
use realtime_testing::openshift_crds;
use realtime_testing::rpm_ostree_standin::{Base, OriginKind, Package, Profile, Version};
use serde_json::{Value, json};
use support::cluster::{Cluster, Setup, condition, phase, runs_realtime};
use support::standalone::Standalone;

const PROFILE: &str = "worker-rt";

fn realtime() -> Value {
    json!({"realtime": true})
}

fn stock() -> Value {
    json!({"realtime": false})
}

fn measured() -> Profile {
    Profile::measured(Version::V2024_7, OriginKind::Container)
}

fn owner(rtn: &realtime_core::api::RealtimeNode) -> Option<KernelProvider> {
    rtn.status.as_ref()?.kernel.as_ref()?.owner
}

/// All nodes of a cluster run the real-time kernel by a profile, after one reboot each.
async fn realtime_everywhere(cluster: &Cluster) {
    cluster.profile(PROFILE, realtime()).await;
    cluster.label(&cluster.names).await;
    for name in &cluster.names {
        cluster.ready(name, true).await;
    }
    cluster.tidy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn install_on_one_node_and_removal() {
    let cluster = Cluster::start(Setup::default()).await;
    let first = cluster.names[..1].to_vec();
    cluster.profile(PROFILE, realtime()).await;
    cluster.label(&first).await;
    let rtn = cluster.ready(&first[0], true).await;
    assert_eq!(owner(&rtn), Some(KernelProvider::MachineConfigOperator));
    cluster.tidy().await;
    assert_eq!(cluster.reboots(), [1, 0]);
    assert!(!cluster.host(&cluster.names[1]).kernel().is_realtime());

    cluster.delete_profile(PROFILE).await;
    cluster
        .until("the RealtimeNode is gone", || async {
            cluster
                .realtime_node(&first[0])
                .await
                .is_none()
                .then_some(())
        })
        .await;
    cluster
        .until("the profile is gone", || async {
            let profile = cluster.api::<RealtimeProfile>().get_opt(PROFILE).await;
            matches!(profile, Ok(None)).then_some(())
        })
        .await;
    cluster.tidy().await;
    assert!(!cluster.host(&first[0]).kernel().is_realtime());
    assert_eq!(cluster.reboots(), [2, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn install_on_one_node_and_removal_by_the_daemon() {
    let cluster = Cluster::start(Setup::plain()).await;
    let first = cluster.names[..1].to_vec();
    cluster.profile(PROFILE, realtime()).await;
    cluster.label(&first).await;
    let rtn = cluster.ready(&first[0], true).await;
    assert_eq!(owner(&rtn), Some(KernelProvider::NodeDaemon));
    cluster.tidy().await;
    assert_eq!(cluster.reboots(), [1, 0]);

    cluster.delete_profile(PROFILE).await;
    cluster
        .until("the profile is gone", || async {
            let profile = cluster.api::<RealtimeProfile>().get_opt(PROFILE).await;
            matches!(profile, Ok(None)).then_some(())
        })
        .await;
    cluster.tidy().await;
    let kernel = cluster.host(&first[0]).kernel();
    assert!(!kernel.is_realtime());
    assert!(!kernel.command_line.contains("nohz_full"), "{kernel:?}");
    assert_eq!(cluster.reboots(), [2, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn true_in_a_cluster_then_false_on_realtime_nodes() {
    let cluster = Cluster::start(Setup::default()).await;
    realtime_everywhere(&cluster).await;
    assert_eq!(cluster.reboots(), [1, 1]);

    cluster.profile(PROFILE, stock()).await;
    for name in &cluster.names {
        cluster.ready(name, false).await;
    }
    cluster.tidy().await;
    assert_eq!(cluster.reboots(), [2, 2]);
    assert_eq!(cluster.most_down(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn true_then_false_on_an_older_cluster() {
    let cluster = Cluster::start(Setup::older()).await;
    realtime_everywhere(&cluster).await;
    for name in &cluster.names {
        let rtn = cluster.realtime_node(name).await.expect("a RealtimeNode");
        assert_eq!(owner(&rtn), Some(KernelProvider::NodeDaemon));
    }
    assert_eq!(cluster.most_down(), 1);
    let switched = cluster.reboots();

    cluster.profile(PROFILE, stock()).await;
    for name in &cluster.names {
        cluster.ready(name, false).await;
    }
    cluster.tidy().await;
    let back: Vec<u32> = cluster
        .reboots()
        .iter()
        .zip(&switched)
        .map(|(now, before)| now - before)
        .collect();
    assert_eq!(back, [1, 1]);
    assert_eq!(cluster.most_down(), 1);
}

#[test]
fn false_on_stock_nodes_is_nothing_to_do() {
    let host = Standalone::new(&measured());
    let before = host.state();
    host.want(stock());
    let end = host.settle();
    assert_eq!(end.phase, "Ready", "{}", host.log());
    assert_eq!(host.host.counts().reboots, 0);
    assert_eq!(host.state().deployments, before.deployments);
}

#[tokio::test(flavor = "multi_thread")]
async fn false_on_stock_nodes_of_a_cluster_changes_no_kernel() {
    let cluster = Cluster::start(Setup::plain().nodes(1)).await;
    cluster.profile(PROFILE, stock()).await;
    cluster.label(&cluster.names).await;
    cluster.ready(&cluster.names[0], false).await;
    cluster.tidy().await;
    let arguments = cluster.reboots();
    let host = cluster.host(&cluster.names[0]);
    let layered = host.standin().state().expect("a state");
    assert!(layered.deployments.iter().all(|one| one.layer.is_none()));
    // Said again: nothing at all.
    cluster.profile(PROFILE, stock()).await;
    cluster.machine(&cluster.names[0]).kill_daemon();
    cluster.ready(&cluster.names[0], false).await;
    assert_eq!(cluster.reboots(), arguments);
}

/// The next base of the measured host, and the packages for it.
fn next_base(profile: &Profile) -> Base {
    let mut base = profile.base.clone();
    base.checksum = "5e".repeat(32);
    base.version = Some("413.92.202308210000-0".to_owned());
    base.timestamp += 3600;
    base.packages = profile
        .base
        .packages
        .iter()
        .map(|package| {
            let nevra = package.nevra();
            Package::from_nevra(&nevra.replace("284.11.1", "284.25.1")).expect("a package")
        })
        .collect();
    base
}

fn repository(profile: &Profile, name: &str) -> Vec<Package> {
    let (_, contents) = profile
        .web
        .iter()
        .find(|(url, _)| url.ends_with(&format!("/{name}/")))
        .expect("a repository");
    contents.packages.clone()
}

/// Somebody else updates the operating system, as an update agent does: the real-time kernel goes along.
#[tokio::test(flavor = "multi_thread")]
async fn upgrade_and_downgrade_with_the_realtime_kernel_kept() {
    let profile = measured();
    let cluster = Cluster::start(Setup::plain().nodes(1)).await;
    realtime_everywhere(&cluster).await;
    assert_eq!(cluster.reboots(), [1]);
    let name = &cluster.names[0];
    let host = cluster.host(name);
    let url = &profile.repositories[0].1;
    let old = host.kernel().release;

    for (base, packages, release) in [
        (next_base(&profile), repository(&profile, "r2"), "284.25.1"),
        (profile.base.clone(), repository(&profile, "r1"), "284.11.1"),
    ] {
        host.standin()
            .publish_base(profile.source.text(), base)
            .expect("published");
        host.standin()
            .publish_repository(url, packages)
            .expect("published");
        for arguments in [&["cleanup", "-m"][..], &["upgrade"]] {
            let output = host.standin().foreign_stage(arguments).expect("rpm-ostree");
            assert_eq!(output.code, 0, "{output:?}");
        }
        cluster.machine(name).reboot().await.expect("a boot");
        cluster
            .rtn_until(name, "runs the kernel of the new base", |rtn| {
                phase(rtn) == Some(NodePhase::Ready)
                    && runs_realtime(rtn) == Some(true)
                    && rtn
                        .status
                        .as_ref()
                        .and_then(|status| status.kernel.as_ref()?.release.clone())
                        .is_some_and(|running| running.contains(release))
            })
            .await;
        cluster.tidy().await;
    }
    // The two boots were the updates' own.
    assert_eq!(cluster.reboots(), [3]);
    assert_eq!(host.kernel().release, old);
}

/// The Machine Config Operator updates the operating system, and applies its kernel type anew.
#[tokio::test(flavor = "multi_thread")]
async fn upgrade_by_the_machine_config_operator_with_the_realtime_kernel_kept() {
    let profile = measured();
    let cluster = Cluster::start(Setup::default().nodes(1)).await;
    realtime_everywhere(&cluster).await;
    let name = &cluster.names[0];
    let host = cluster.host(name);
    let image = format!(
        "registry.example.org/ocp/rhel-coreos@sha256:{}",
        "f".repeat(64)
    );
    host.standin()
        .publish_base(
            &format!("ostree-unverified-registry:{image}"),
            next_base(&profile),
        )
        .expect("published");
    host.standin()
        .publish_repository(&profile.repositories[0].1, repository(&profile, "r2"))
        .expect("published");
    let patch = json!({"spec": {"osImageURL": image}});
    cluster
        .api::<MachineConfig>()
        .patch(
            "00-worker",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&patch),
        )
        .await
        .expect("the new release");
    cluster
        .rtn_until(name, "runs the kernel of the new base", |rtn| {
            phase(rtn) == Some(NodePhase::Ready)
                && runs_realtime(rtn) == Some(true)
                && rtn
                    .status
                    .as_ref()
                    .and_then(|status| status.kernel.as_ref()?.release.clone())
                    .is_some_and(|running| running.contains("284.25.1"))
        })
        .await;
    cluster.tidy().await;
    assert_eq!(cluster.reboots(), [2]);
}

/// Story 1: a fresh cluster, then the profile.
#[tokio::test(flavor = "multi_thread")]
async fn story_a_fresh_cluster_then_the_profile() {
    let cluster = Cluster::start(Setup::default()).await;
    realtime_everywhere(&cluster).await;
    assert_eq!(cluster.reboots(), [1, 1]);
    assert_eq!(cluster.most_down(), 1);
    let rtn = cluster
        .realtime_node(&cluster.names[0])
        .await
        .expect("a RealtimeNode");
    assert_eq!(owner(&rtn), Some(KernelProvider::MachineConfigOperator));
    assert_eq!(
        condition(&rtn, "KernelReady")
            .map(|(status, ..)| status)
            .as_deref(),
        Some("True")
    );
}

/// The API server goes on pruning the field for a moment after the definition has it.
async fn served(cluster: &Cluster) {
    let config = json!({"metadata": {"name": "is-it-served"}, "spec": {"kernelType": "realtime"}});
    let config: MachineConfig = serde_json::from_value(config).expect("a MachineConfig");
    let dry_run = kube::api::PostParams {
        dry_run: true,
        ..Default::default()
    };
    cluster
        .until("kernelType is kept", || async {
            let answer = cluster
                .api::<MachineConfig>()
                .create(&dry_run, &config)
                .await;
            answer
                .is_ok_and(|kept| kept.spec.kernel_type.is_some())
                .then_some(())
        })
        .await;
}

/// Story 2: an older cluster that serves neither field is upgraded to one that does, then comes the profile.
#[tokio::test(flavor = "multi_thread")]
async fn story_an_older_cluster_is_upgraded_then_the_profile() {
    let mut cluster = Cluster::start(Setup::older()).await;
    openshift_crds::install_openshift(&cluster.control_plane, Dialect::KernelType)
        .await
        .expect("the upgrade");
    served(&cluster).await;
    // An upgrade brings new controllers. The API server goes on for minutes to prune the field in watches that are
    // older than the definition: who kept one would render without it.
    cluster.stop_standin();
    cluster.start_standin().await;
    realtime_everywhere(&cluster).await;
    assert_eq!(cluster.reboots(), [1, 1]);
    let rtn = cluster
        .realtime_node(&cluster.names[0])
        .await
        .expect("a RealtimeNode");
    assert_eq!(owner(&rtn), Some(KernelProvider::MachineConfigOperator));
}

/// Story 3: plain RHEL workers, whose real-time kernel was installed by hand, leave; the cluster is upgraded; CoreOS nodes
/// join in their place; then comes the profile. What the old workers left behind stands in nobody's way.
#[tokio::test(flavor = "multi_thread")]
async fn story_plain_rhel_workers_leave_and_coreos_nodes_join() {
    let mut cluster = Cluster::start(Setup::older()).await;
    let workers = ["rhel-1", "rhel-2"];
    for name in workers {
        cluster
            .create::<Node>(json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": {
                    "kubernetes.io/arch": "amd64",
                    "kubernetes.io/hostname": name,
                    "node-role.kubernetes.io/worker": "",
                    "node-role.kubernetes.io/worker-rt": "",
                }},
                "status": {"nodeInfo": {
                    "architecture": "amd64", "operatingSystem": "linux",
                    "osImage": "Red Hat Enterprise Linux 8.6 (Ootpa)",
                    "kernelVersion": "4.18.0-372.9.1.rt7.166.el8.x86_64",
                    "bootID": "b", "machineID": "m", "systemUUID": "s",
                    "containerRuntimeVersion": "cri-o://1.23", "kubeletVersion": "v1.23.0",
                    "kubeProxyVersion": "v1.23.0",
                },
                // They serve: without it, whoever counts the nodes that are out of service counts both.
                "conditions": [{"type": "Ready", "status": "True"}]},
            }))
            .await;
    }
    for name in workers {
        assert!(cluster.realtime_node(name).await.is_none());
        cluster
            .api::<Node>()
            .delete(name, &kube::api::DeleteParams::default())
            .await
            .expect("it leaves");
    }
    openshift_crds::install_openshift(&cluster.control_plane, Dialect::KernelType)
        .await
        .expect("the upgrade");
    served(&cluster).await;
    cluster.stop_standin();
    cluster.start_standin().await;
    realtime_everywhere(&cluster).await;
    assert_eq!(cluster.reboots(), [1, 1]);
    for name in &cluster.names {
        let rtn = cluster.realtime_node(name).await.expect("a RealtimeNode");
        assert_eq!(owner(&rtn), Some(KernelProvider::MachineConfigOperator));
    }
    assert_eq!(cluster.most_down(), 1);
}

/// Story 4: a cluster that serves neither field and stays so: nothing is written that would be ignored, and a condition
/// says who switches the kernel.
#[tokio::test(flavor = "multi_thread")]
async fn story_a_cluster_that_serves_neither_field_and_stays_so() {
    let cluster = Cluster::start(Setup::older()).await;
    cluster.profile(PROFILE, realtime()).await;
    cluster.label(&cluster.names).await;
    // While nodes are on their way, a condition says whose the kernel is, and what would help.
    cluster
        .until("a condition names the node daemon", || async {
            let profile = cluster.api::<RealtimeProfile>().get(PROFILE).await.ok()?;
            profile
                .status?
                .conditions
                .iter()
                .any(|one| one.reason == "KernelByNodeDaemon" && one.message.contains("kernelType"))
                .then_some(())
        })
        .await;
    for name in &cluster.names {
        cluster.ready(name, true).await;
    }
    cluster.tidy().await;
    let config = cluster
        .api::<MachineConfig>()
        .get(&realtime_core::names::machine_config_name(PROFILE))
        .await
        .expect("our MachineConfig");
    assert_eq!(config.spec.kernel_type, None);
    assert_eq!(config.spec.realtime, None);
    assert_eq!(cluster.most_down(), 1);
}
