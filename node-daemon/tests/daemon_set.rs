//! The daemon as it ships: the DaemonSet of manifests/ as a pod of a real node, in its own container with the host's `/`
//! at `/host`, with the token of its pod. Only the image's name differs: it is made here, out of this machine's files.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod on_node;

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams};
use on_node::{CAPACITY_US, Lab, budget, can, pod, spec};
use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_testing::real_node::images::Image;
use realtime_testing::real_node::{Options, Runtime};
use realtime_testing::sandbox;

const IMAGE: &str = "realtime.test/node-daemon:1";
const NAMESPACE: &str = "realtime-node-daemon";

/// The daemon, what it is linked with, and `chroot`, which runs the host's programs for it.
fn image(work: &Path) -> Image {
    let daemon = work.join("realtime-node-daemon");
    let stripped = Command::new("strip")
        .args([
            "-o".as_ref(),
            daemon.as_os_str(),
            env!("CARGO_BIN_EXE_realtime-node-daemon").as_ref(),
        ])
        .status();
    assert!(stripped.expect("strip").success());
    let chroot = PathBuf::from("/usr/sbin/chroot");
    let mut files = vec![
        ("usr/bin/realtime-node-daemon".to_owned(), daemon.clone()),
        ("usr/sbin/chroot".to_owned(), chroot.clone()),
    ];
    for program in [&daemon, &chroot] {
        let linked = Command::new("ldd").arg(program).output().expect("ldd");
        let text = String::from_utf8_lossy(&linked.stdout).into_owned();
        for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
            let inside = library.trim_start_matches('/').to_owned();
            if files.iter().all(|(known, _)| *known != inside) {
                files.push((inside, std::fs::canonicalize(library).expect("library")));
            }
        }
    }
    Image {
        name: IMAGE.to_owned(),
        files,
        links: Vec::new(),
        entrypoint: vec!["/usr/bin/realtime-node-daemon".to_owned()],
    }
}

/// Whether root has CAP_SYS_RESOURCE (24), which a privileged container and a negative oom_score_adj take.
fn may_everything() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounds = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bits = bounds.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    bits.is_some_and(|bits| bits & (1 << 24) != 0)
}

async fn as_it_ships(runtime: Runtime) {
    if !can(runtime) {
        return;
    }
    // containerd gives a privileged container what it has itself.
    if runtime == Runtime::CriO && !may_everything() {
        realtime_testing::skip(
            "CRI-O starts no privileged pod here: this machine's root lacks a capability",
        );
        return;
    }
    let lab = Lab::without_daemon(runtime, Options::new(runtime), spec()).await;
    let work = tempfile::tempdir().unwrap();
    lab.node
        .import_image(image(work.path()))
        .await
        .expect("image");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut set = sandbox::manifests(root)
        .expect("manifests")
        .into_iter()
        .find(|object| object["kind"] == "DaemonSet")
        .expect("a DaemonSet");
    let spec = &mut set["spec"]["template"]["spec"];
    let container = &mut spec["containers"][0];
    container["image"] = IMAGE.into();
    // Other nodes of other tests may be on this machine.
    let config = format!(
        "--config=/host{}",
        lab.node.directory().join("daemon.yaml").display()
    );
    container["args"]
        .as_array_mut()
        .unwrap()
        .push(config.into());
    lab.node
        .apply_yaml(&set.to_string())
        .await
        .expect("applied");

    let told = lab.wait_for("the capacity", |told| told.capacity_microseconds.is_some());
    let daemons: Api<Pod> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let Ok(told) = tokio::time::timeout(on_node::LONG / 2, told).await else {
        let list = daemons.list(&ListParams::default()).await.expect("pods");
        let mut words = String::new();
        for daemon in &list {
            let name = daemon.metadata.name.as_deref().unwrap_or_default();
            let log = daemons.logs(name, &LogParams::default()).await;
            words = format!("{words}\n{:#?}\n{}", daemon.status, log.unwrap_or_default());
        }
        unreachable!("no word of it: {words}")
    };
    assert_eq!(told.capacity_microseconds, Some(CAPACITY_US));
    lab.run(
        pod("stays", &budget("25000"), &["first-act", "3600"]),
        "Running",
    )
    .await;
    let entry = lab
        .entry("stays", "main", |entry| {
            entry.state == ContainerBudgetState::Applied
        })
        .await;
    assert_eq!(
        (entry.applied_microseconds, entry.assigned_before_start),
        (Some(25_000), Some(true))
    );
    assert_eq!(lab.words_of("stays").await, "SCHED_FIFO granted\n");
    lab.event("stays", "RealtimeApplied").await;
    lab.delete("stays").await;
    lab.allocated_is(0).await;
    lab.node.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_it_ships_on_containerd() {
    as_it_ships(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_it_ships_on_cri_o() {
    as_it_ships(Runtime::CriO).await;
}
