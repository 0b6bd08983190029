//! The daemon as it ships: the DaemonSet of manifests/ as a pod of a real node, in its own container with the host's `/`
//! at `/host`, with the token of its pod. Only the image's name differs: it is made here, out of this machine's files.
//! And the same without `privileged`, with no more than the part for pods needs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "starts/hook.rs"]
mod hook;
mod on_node;

use std::path::{Path, PathBuf};
use std::process::Command;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams};
use on_node::{CAPACITY_US, Lab, budget, can, pod, spec};
use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_core::rt::request::{REQUIRED, RUNTIME_US};
use realtime_node_daemon::sched::{self, Kind};
use realtime_testing::control_plane::apply;
use realtime_testing::real_node::images::Image;
use realtime_testing::real_node::{Options, Runtime};
use realtime_testing::sandbox;
use serde_json::{Value, json};

const IMAGE: &str = "realtime.test/node-daemon:1";
const NAMESPACE: &str = "realtime-node-daemon";
/// By this its process is found.
const SECONDS: &str = "7311";
const SCHEDULER_OF_MAIN: &str = "realtime.openshift.io/scheduler.main";

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

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
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
    let lab = with_daemon(Options::new(runtime), |_| {}).await;
    a_program_asks(&lab).await;
    lab.node.shutdown().await.expect("shutdown");
}

/// As manifests/optional/node-daemon-for-pods-only.yaml makes it, but for the capability that this machine's root may lack.
async fn with_few_rights(runtime: Runtime) {
    if !can(runtime) {
        return;
    }
    // On CRI-O by the hook alone, whose program and socket the daemon makes.
    let options = Options {
        nri: runtime == Runtime::Containerd,
        ..Options::new(runtime)
    };
    let file = root().join("manifests/optional/node-daemon-for-pods-only.yaml");
    let mut patch = apply::read(&file).expect("the patch").remove(0);
    let lab = with_daemon(options, |spec| {
        // A node's critical pods have a negative oom_score_adj, and runc can't lower it here.
        if !may_everything() {
            spec["priorityClassName"] = Value::Null;
        }
        let mut context =
            patch["spec"]["template"]["spec"]["containers"][0]["securityContext"].take();
        context["capabilities"]["add"]
            .as_array_mut()
            .unwrap()
            .retain(|name| name != "SYS_RESOURCE" || may_everything());
        spec["containers"][0]["securityContext"] = context;
    })
    .await;
    let status = status_of_daemon(&lab);
    let has = |line: &str| status.lines().any(|one| one == line);
    let bits = few().iter().fold(0_u64, |bits, name| bits | bit(name));
    let rights = format!("CapEff:\t{bits:016x}");
    assert!(
        has(&rights) && has("NoNewPrivs:\t1") && has("Seccomp:\t2"),
        "{rights}\n{status}"
    );

    a_program_asks(&lab).await;

    // Threads of another user, which ask for nothing themselves. Neither hook nor NRI would let it start without its budget.
    let annotations = json!({RUNTIME_US: "20000", SCHEDULER_OF_MAIN: "fifo:10", REQUIRED: "true"});
    let mut sleeps = pod("sleeps", &annotations, &["sleep", SECONDS]);
    sleeps["spec"]["containers"][0]["securityContext"] =
        json!({"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}});
    lab.run(sleeps, "Running").await;
    let entry = lab
        .entry("sleeps", "main", |entry| {
            entry.state == ContainerBudgetState::Applied && entry.priority.is_some()
        })
        .await;
    assert_eq!(
        (entry.policy.as_deref(), entry.priority),
        (Some("fifo"), Some(10))
    );
    let (_, group) = lab.groups_of("sleeps").await;
    let processes = std::fs::read_to_string(group.join("cgroup.procs")).expect("its processes");
    let pid = processes
        .lines()
        .next()
        .expect("one")
        .parse()
        .expect("a number");
    let thread = sched::get(pid).expect("attributes");
    assert_eq!((thread.policy, thread.priority), (Kind::Fifo, 10));
    // Limits are all that CAP_SYS_RESOURCE is for: programs that set a policy themselves need a capability of their own.
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max realtime priority"));
    let most = limit.and_then(|line| line.split_whitespace().nth(3));
    let raised = may_everything();
    assert_eq!(most, Some(if raised { "10" } else { "0" }), "{limits}");
    let words = words_of_daemon(&lab).await;
    assert_eq!(
        words.contains("RLIMIT_RTPRIO can't be raised"),
        !raised,
        "{words}"
    );
    lab.delete("sleeps").await;
    lab.allocated_is(0).await;
    lab.node.shutdown().await.expect("shutdown");
}

/// CAP_SYS_RESOURCE only where there is one to give.
fn few() -> Vec<&'static str> {
    let mut few = vec!["SYS_NICE", "SYS_CHROOT"];
    few.extend(may_everything().then_some("SYS_RESOURCE"));
    few
}

/// linux/capability.h.
fn bit(name: &str) -> u64 {
    1 << match name {
        "SYS_CHROOT" => 18,
        "SYS_NICE" => 23,
        "SYS_RESOURCE" => 24,
        _ => unreachable!("{name}"),
    }
}

/// The machine's process with such a command line.
fn process(is: impl Fn(&str) -> bool) -> Option<i32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| is(&line))
    })
}

fn status_of_daemon(lab: &Lab) -> String {
    let config = config(lab);
    let pid = process(|line| line.split('\0').any(|word| word == config)).expect("the daemon");
    std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status")
}

/// Other nodes of other tests may be on this machine.
fn config(lab: &Lab) -> String {
    let path = lab.node.directory().join("daemon.yaml");
    format!("--config=/host{}", path.display())
}

/// The node with the shipped DaemonSet, its pods' specification changed.
async fn with_daemon(options: Options, change: impl FnOnce(&mut Value)) -> Lab {
    let hooked = !options.nri;
    let lab = Lab::without_daemon(options.runtime, options, spec()).await;
    if hooked {
        hook::bring(&lab.node).await;
    }
    let work = tempfile::tempdir().unwrap();
    lab.node
        .import_image(image(work.path()))
        .await
        .expect("image");
    let mut set = sandbox::manifests(root())
        .expect("manifests")
        .into_iter()
        .find(|object| object["kind"] == "DaemonSet")
        .expect("a DaemonSet");
    let spec = &mut set["spec"]["template"]["spec"];
    let container = &mut spec["containers"][0];
    container["image"] = IMAGE.into();
    container["args"]
        .as_array_mut()
        .unwrap()
        .push(config(&lab).into());
    change(spec);
    lab.node
        .apply_yaml(&set.to_string())
        .await
        .expect("applied");

    let told = lab.wait_for("the capacity", |told| told.capacity_microseconds.is_some());
    let Ok(told) = tokio::time::timeout(on_node::LONG / 2, told).await else {
        let words = words_of_daemon(&lab).await;
        unreachable!("no word of it: {words}")
    };
    assert_eq!(told.capacity_microseconds, Some(CAPACITY_US));
    if hooked {
        hook::is_there(&lab).await;
    }
    lab
}

/// What has become of its pods, and what they have said.
async fn words_of_daemon(lab: &Lab) -> String {
    let daemons: Api<Pod> = Api::namespaced(lab.client.clone(), NAMESPACE);
    let list = daemons.list(&ListParams::default()).await.expect("pods");
    let mut words = String::new();
    for daemon in &list {
        let name = daemon.metadata.name.as_deref().unwrap_or_default();
        let log = daemons.logs(name, &LogParams::default()).await;
        words = format!("{words}\n{:#?}\n{}", daemon.status, log.unwrap_or_default());
    }
    words
}

/// A program whose first act is to ask for SCHED_FIFO: its budget is there, told, and given back.
async fn a_program_asks(lab: &Lab) {
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
}

#[tokio::test(flavor = "multi_thread")]
async fn as_it_ships_on_containerd() {
    as_it_ships(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_it_ships_on_cri_o() {
    as_it_ships(Runtime::CriO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn for_pods_few_rights_are_enough_on_containerd() {
    with_few_rights(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn for_pods_few_rights_are_enough_on_cri_o() {
    with_few_rights(Runtime::CriO).await;
}
