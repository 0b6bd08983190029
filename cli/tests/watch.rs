//! `oc realtime watch` against a real API server; the test is the operator and the Machine Config Operator.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at what it doesn't expect"
)]

mod common;

use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use realtime_core::api::RealtimeProfile;
use realtime_core::cluster::Dialect;
use realtime_core::openshift::MachineConfigPool;
use realtime_testing::control_plane::{ControlPlane, Options, apply};
use realtime_testing::openshift_crds::install_openshift;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use common::root;

/// For a machine that is starved.
const DEADLINE: Duration = Duration::from_mins(1);

struct Cluster {
    control_plane: ControlPlane,
    client: Client,
}

struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Cluster {
    async fn start() -> Self {
        let control_plane = ControlPlane::start(Options::default()).await.unwrap();
        install_openshift(&control_plane, Dialect::KernelType)
            .await
            .unwrap();
        let crds = apply::read(&root().join("manifests/crds")).unwrap();
        control_plane.apply_values(crds).await.unwrap();
        let client = control_plane.admin_client().await.unwrap();
        Self {
            control_plane,
            client,
        }
    }

    fn command(&self, args: &[&str]) -> tokio::process::Command {
        let kubeconfig = self.control_plane.admin_kubeconfig();
        let mut command = tokio::process::Command::from(common::command(args));
        command
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    fn watch(&self, args: &[&str]) -> Watching {
        let mut child = self.command(&[&["watch"], args].concat()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watching { child, lines }
    }

    async fn create_profile(&self, name: &str) {
        let profile: RealtimeProfile = serde_json::from_value(json!({
            "metadata": {"name": name}, "spec": {"pool": {"name": "press"}, "kernel": {"realtime": true}},
        }))
        .unwrap();
        Api::all(self.client.clone())
            .create(&PostParams::default(), &profile)
            .await
            .unwrap();
    }

    /// The conditions, as the operator would write them.
    async fn status(&self, name: &str, conditions: &[(&str, &str, &str, &str)]) {
        let profiles: Api<RealtimeProfile> = Api::all(self.client.clone());
        let generation = profiles.get(name).await.unwrap().metadata.generation;
        let list: Vec<Value> = conditions
            .iter()
            .map(|(type_, status, reason, message)| {
                json!({"type": type_, "status": status, "reason": reason, "message": message,
                    "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        let patch = json!({"status": {"observedGeneration": generation, "summary": conditions[0].2, "conditions": list}});
        profiles
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    async fn create_pool_and_node(&self) {
        let pool: MachineConfigPool = serde_json::from_value(json!({
            "metadata": {"name": "press"},
            "spec": {
                "machineConfigSelector": {"matchExpressions": [{"key": "machineconfiguration.openshift.io/role",
                    "operator": "In", "values": ["worker", "press"]}]},
                "nodeSelector": {"matchLabels": {"node-role.kubernetes.io/press": ""}},
                "configuration": {"name": "rendered-press-b"},
            },
        }))
        .unwrap();
        Api::all(self.client.clone())
            .create(&PostParams::default(), &pool)
            .await
            .unwrap();
        let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "anvil", "labels": {"node-role.kubernetes.io/press": ""}},
        }))
        .unwrap();
        Api::all(self.client.clone())
            .create(&PostParams::default(), &node)
            .await
            .unwrap();
        self.annotate("rendered-press-a", "rendered-press-a", "Done")
            .await;
    }

    async fn annotate(&self, current: &str, desired: &str, state: &str) {
        let prefix = "machineconfiguration.openshift.io/";
        let patch = json!({"metadata": {"annotations": {
            format!("{prefix}currentConfig"): current, format!("{prefix}desiredConfig"): desired,
            format!("{prefix}state"): state,
            format!("{prefix}desiredDrain"): format!("drain-{desired}"),
            format!("{prefix}lastAppliedDrain"): if state == "Done" { format!("drain-{desired}") } else { "uncordon-x".to_owned() },
        }}});
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes
            .patch("anvil", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    async fn kernel(&self, release: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let info = json!({"kernelVersion": release, "machineID": "", "systemUUID": "", "bootID": "", "osImage": "",
            "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64"});
        let patch = json!({"status": {"nodeInfo": info}});
        nodes
            .patch_status("anvil", &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }
}

impl Watching {
    /// Reads until a line has this; fails when it never comes.
    async fn until(&mut self, text: &str) {
        let mut seen = Vec::new();
        let read = async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                seen.push(line);
                if seen.last().unwrap().contains(text) {
                    return true;
                }
            }
            false
        };
        let found = tokio::time::timeout(DEADLINE, read).await.unwrap_or(false);
        assert!(found, "no {text:?} in {seen:#?}");
    }

    /// Its exit code and stderr.
    async fn end(mut self) -> (i32, String) {
        let status = tokio::time::timeout(DEADLINE, self.child.wait())
            .await
            .unwrap()
            .unwrap();
        let mut stderr = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut stderr)
            .await
            .unwrap();
        (status.code().unwrap_or(-1), stderr)
    }

    fn interrupt(&self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap());
        kill(pid, Signal::SIGINT).unwrap();
    }
}

#[tokio::test]
async fn a_watch_shows_a_rollout_to_its_end() {
    let cluster = Cluster::start().await;
    cluster.create_pool_and_node().await;
    cluster.create_profile("good").await;
    let mut watch = cluster.watch(&["good"]);
    watch.until("NotSeenYet").await;
    watch.until("anvil: Waiting").await;
    let available = |status, reason| [("Available", status, reason, "one node is on its way")];
    cluster
        .status("good", &available("False", "RollingOut"))
        .await;
    watch.until("RollingOut: one node is on its way").await;
    cluster
        .annotate("rendered-press-a", "rendered-press-b", "Working")
        .await;
    watch.until("anvil: Draining").await;
    cluster
        .annotate("rendered-press-b", "rendered-press-b", "Done")
        .await;
    watch.until("anvil: Verifying").await;
    cluster.kernel("5.14.0-570.el9.x86_64+rt").await;
    watch.until("anvil: Ready, after").await;
    watch.until("1 of 1 nodes ready").await;
    cluster.status("good", &available("True", "Updated")).await;
    assert_eq!(watch.end().await, (0, String::new()));

    // What is real-time already ends at once.
    assert_eq!(cluster.watch(&["good"]).end().await.0, 0);

    stuck(&cluster).await;
    ends(&cluster).await;
    on_a_terminal(&cluster).await;
    cluster.control_plane.shutdown().await.unwrap();
}

async fn stuck(cluster: &Cluster) {
    cluster.create_profile("bad").await;
    let mut watch = cluster.watch(&["bad"]);
    watch.until("NotSeenYet").await;
    cluster
        .status(
            "bad",
            &[
                (
                    "Degraded",
                    "True",
                    "NodeDegraded",
                    "node anvil failed: disk full. See its log",
                ),
                ("Available", "False", "NodeDegraded", ""),
            ],
        )
        .await;
    let (code, stderr) = watch.end().await;
    assert_eq!(code, 1);
    assert!(
        stderr.contains("NodeDegraded: node anvil failed: disk full. See its log"),
        "{stderr}"
    );

    cluster
        .status(
            "bad",
            &[(
                "Valid",
                "False",
                "Invalid",
                "spec.cpu.isolated \"2-99\": no",
            )],
        )
        .await;
    let (code, stderr) = cluster.watch(&["bad"]).end().await;
    assert_eq!(code, 1);
    assert!(stderr.contains("spec.cpu.isolated"), "{stderr}");
}

async fn ends(cluster: &Cluster) {
    let (code, stderr) = cluster.watch(&["nobody"]).end().await;
    assert_eq!(code, 1);
    assert!(stderr.contains("no RealtimeProfile nobody"), "{stderr}");

    cluster.create_profile("slow").await;
    let (code, stderr) = cluster.watch(&["slow", "--timeout", "1s"]).end().await;
    assert_eq!(code, 1);
    assert!(
        stderr.contains("--timeout") && stderr.contains("slow"),
        "{stderr}"
    );

    let mut watch = cluster.watch(&["slow"]);
    watch.until("NotSeenYet").await;
    watch.interrupt();
    assert_eq!(watch.end().await, (130, String::new()));

    let mut watch = cluster.watch(&["slow"]);
    watch.until("NotSeenYet").await;
    let profiles: Api<RealtimeProfile> = Api::all(cluster.client.clone());
    profiles
        .delete("slow", &DeleteParams::default())
        .await
        .unwrap();
    let (code, stderr) = watch.end().await;
    assert_eq!(code, 1);
    assert!(stderr.contains("was deleted"), "{stderr}");
}

/// Under a pseudo-terminal by util-linux's `script`: redrawn in place, with a bar, and colours unless refused.
async fn on_a_terminal(cluster: &Cluster) {
    if std::process::Command::new("script")
        .arg("--version")
        .output()
        .is_err()
    {
        realtime_testing::skip("watch on a terminal: util-linux's script is not here");
        return;
    }
    cluster.create_profile("shown").await;
    cluster
        .status(
            "shown",
            &[("Available", "False", "RollingOut", "one node is on its way")],
        )
        .await;
    for (no_color, coloured) in [("1", false), ("", true)] {
        let inner = format!(
            "stty cols 60 rows 20; '{}' watch shown --timeout 4s",
            env!("CARGO_BIN_EXE_oc-realtime")
        );
        let output = tokio::process::Command::new("script")
            .args(["-qec", &inner, "/dev/null"])
            .env("KUBECONFIG", cluster.control_plane.admin_kubeconfig())
            .env("TERM", "xterm")
            .env("NO_COLOR", no_color)
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("[####") && text.contains("1 of 1 nodes ready"),
            "{text}"
        );
        assert!(text.contains("A\r\x1b[J"), "never redrawn: {text:?}");
        assert_eq!(text.contains("\x1b[32m"), coloured, "{text:?}");
        for line in text.lines() {
            let visible = line.split('\x1b').map(|part| {
                part.split_once(['m', 'J', 'A'])
                    .map_or(part, |(_, rest)| rest)
            });
            let width: usize = visible.map(|part| part.trim_end().chars().count()).sum();
            assert!(width <= 90, "{line:?}");
        }
    }
}
