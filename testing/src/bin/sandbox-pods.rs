//! `make sandbox PODS=1`: one node of real parts (kubelet, containerd or CRI-O, the kernel's own budgets) with the operator and
//! the node daemon on it under the rights that they ship with, to try real-time pods on, until Ctrl-C. `DEMO=1` does what
//! a user would do. Wires and talks; what a real node is, is `realtime_testing::real_node`'s to say.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use realtime_testing::programs::Program;
use realtime_testing::real_node::{BUSYBOX_IMAGE, Options, RealNode, Runtime, cannot_run};
use realtime_testing::sandbox::shell::{Shell, is_demo_wanted};
use realtime_testing::{sandbox, stop::Stop};

/// The node's share of the machine, microseconds of each second.
const NODE_US: u32 = 300_000;
const ROLE: &str = "node-role.kubernetes.io/worker-rt=";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let runtime = match env::var("RUNTIME").unwrap_or_default().as_str() {
        "" | "containerd" => Runtime::Containerd,
        "cri-o" => Runtime::CriO,
        other => anyhow::bail!("RUNTIME is {other:?}: use containerd (the default) or cri-o"),
    };
    if let Some(reason) = cannot_run(runtime) {
        anyhow::bail!("no real node can run here: {reason}");
    }
    let mut stop = Stop::listen()?;
    // Leaving drops the node, also a half started one: that ends it and waits for its end.
    tokio::select! {
        ended = show(runtime) => ended,
        () = stop.asked() => Ok(()),
    }
}

async fn show(runtime: Runtime) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?;
    let programs = env::current_exe()?
        .parent()
        .context("the folder of the programs")?
        .to_owned();
    let started = Instant::now();
    eprintln!(
        "a node of real parts with {} comes up; the first time its programs are built, which takes about ten minutes",
        runtime.name()
    );
    let node = RealNode::start(Options {
        realtime_runtime_us: NODE_US,
        ..Options::new(runtime)
    })
    .await?;
    say(started, "the node is Ready");
    install(&node, root, &programs).await?;
    say(
        started,
        "operator and node daemon run under the rights in manifests/",
    );
    let shell = Shell {
        root: root.to_owned(),
        kubectl: node.program(Program::Kubectl)?.to_owned(),
        kubeconfig: node.admin_kubeconfig(),
        programs,
    };
    say_how_to_go_on(&shell);
    if is_demo_wanted() {
        demo(&shell, &node).await?;
    }
    eprintln!("\nRunning until Ctrl-C, which leaves nothing behind.");
    std::future::pending().await
}

fn say(started: Instant, what: &str) {
    eprintln!("{:6.1} s  {what}", started.elapsed().as_secs_f32());
}

async fn install(node: &RealNode, root: &Path, programs: &Path) -> anyhow::Result<()> {
    let manifests = sandbox::manifests(root)?;
    // The images of what runs in pods don't exist yet: both are started as programs of the node.
    let texts: Vec<String> = manifests
        .iter()
        .filter(|object| object["kind"] != "DaemonSet")
        .map(ToString::to_string)
        .collect();
    node.apply_yaml(&texts.join("\n---\n")).await?;
    let operator = node
        .kubeconfig_for(
            realtime_core::names::OPERATOR_NAMESPACE,
            sandbox::OPERATOR_ACCOUNT,
        )
        .await?;
    node.run_program(
        "operator",
        Path::new("/usr/bin/env"),
        &[
            format!("KUBECONFIG={}", operator.display()),
            programs.join("realtime-operator").display().to_string(),
            "--listen=127.0.0.1:0".to_owned(),
        ],
    )?;
    let daemon = node
        .kubeconfig_on_node("realtime-node-daemon", "realtime-node-daemon")
        .await?;
    let config = node.directory().join("daemon.yaml");
    let group = node.cgroup_root();
    let group = group
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    // Another real node may be on this machine.
    std::fs::write(&config, format!("pods_group: /{group}/kubepods\n"))?;
    node.run_program(
        "daemon",
        &programs.join("realtime-node-daemon"),
        &[
            format!("--kubeconfig={}", daemon.display()),
            format!("--node-name={}", node.options().node_name),
            format!("--config={}", config.display()),
        ],
    )?;
    Ok(())
}

/// What a user would do, typed for him.
async fn demo(shell: &Shell, node: &RealNode) -> anyhow::Result<()> {
    let name = &node.options().node_name;
    shell
        .run(
            "kubectl",
            &["apply", "-f", "docs/examples/realtime-pods.yaml"],
        )
        .await?;
    shell.run("kubectl", &["label", "node", name, ROLE]).await?;
    let mode = "jsonpath={.status.podBudget.mode}";
    shell
        .until(
            "the node's daemon to say what it can give",
            &["get", "rtn", name, "-o", mode],
            "V",
        )
        .await?;
    let budget = r#"jsonpath={.status.podBudget}{"\n"}"#;
    shell
        .run("kubectl", &["get", "rtn", name, "-o", budget])
        .await?;
    let pod = format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "spinner", "annotations": {{"realtime": "true", "rt_runtime_us": "25000"}}}},
 "spec": {{"terminationGracePeriodSeconds": 0, "containers": [{{"name": "main", "image": "{BUSYBOX_IMAGE}",
  "command": ["first-act", "3600"], "securityContext": {{"capabilities": {{"add": ["SYS_NICE"]}}}}}}]}}}}"#
    );
    let file = node.directory().join("spinner.json");
    std::fs::write(&file, pod)?;
    eprintln!("\na pod whose program asks for SCHED_FIFO as its first act, and doesn't try twice:");
    shell
        .run("kubectl", &["apply", "-f", &file.display().to_string()])
        .await?;
    let phase = "jsonpath={.status.phase}";
    shell
        .until(
            "the pod to run",
            &["get", "pod", "spinner", "-o", phase],
            "Running",
        )
        .await?;
    shell
        .until("its first words", &["logs", "spinner"], "SCHED_FIFO")
        .await?;
    shell.run("kubectl", &["logs", "spinner"]).await?;
    let told = "jsonpath={.status.podBudget.containers[0].state}";
    shell
        .until(
            "the node to tell",
            &["get", "rtn", name, "-o", told],
            "Applied",
        )
        .await?;
    let containers = r#"jsonpath={.status.podBudget.containers}{"\n"}"#;
    shell
        .run("kubectl", &["get", "rtn", name, "-o", containers])
        .await?;
    let events = [
        "get",
        "events",
        "--field-selector",
        "involvedObject.name=spinner,reason=RealtimeApplied",
    ];
    shell
        .until("the pod's Event", &events, "RealtimeApplied")
        .await?;
    shell.run("kubectl", &events).await?;
    shell
        .run("oc-realtime", &["why", "default/spinner"])
        .await?;
    let daemon = shell
        .programs
        .join("realtime-node-daemon")
        .display()
        .to_string();
    println!("\n$ realtime-node-daemon top --once        # on the node");
    print!(
        "{}",
        node.exec_in_namespaces(&daemon, &["top", "--once"]).await?
    );
    Ok(())
}

fn say_how_to_go_on(shell: &Shell) {
    println!("\nIn another terminal:");
    println!("{}", shell.exports());
    println!("  kubectl apply -f docs/examples/realtime-pods.yaml");
    println!("  kubectl label node node-1 {ROLE}");
    println!(
        "Images are not fetched here; {BUSYBOX_IMAGE} is there, with first-act in it. docs/pods.md says the rest."
    );
}
