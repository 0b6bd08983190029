//! `make sandbox`: a cluster to try the product on, until Ctrl-C. `DEMO=1` does what a user would do; with
//! `KERNEL=daemon` nothing in the cluster can switch a kernel but the node daemon.
//! Wires and talks; what a sandbox is, is `realtime_testing::sandbox`'s to say.

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use realtime_testing::programs::{self, Program};
use realtime_testing::sandbox::shell::{Shell, is_demo_wanted};
use realtime_testing::sandbox::{self, Kernel, Programs, Sandbox};
use realtime_testing::stop::Stop;

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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?;
    let programs = env::current_exe()?
        .parent()
        .context("the folder of the programs")?
        .to_owned();

    let mut stop = Stop::listen()?;

    let kernel = match env::var("KERNEL").unwrap_or_default().as_str() {
        "" | "mco" => Kernel::MachineConfigOperator,
        "daemon" => Kernel::NodeDaemon,
        other => anyhow::bail!("KERNEL is {other:?}: use mco (the default) or daemon"),
    };
    let ours = Programs::in_folder(&programs);
    let sandbox = tokio::select! {
        sandbox = sandbox::start(root, &ours, kernel) => sandbox?,
        () = stop.asked() => return Ok(()),
    };
    let shell = Shell {
        root: root.to_owned(),
        programs,
        kubectl: tokio::task::block_in_place(|| programs::path(Program::Kubectl))?,
        kubeconfig: sandbox.control_plane.admin_kubeconfig(),
    };
    say_how_to_go_on(&shell, &sandbox);
    if is_demo_wanted() {
        tokio::select! {
            demo = demo(&shell, &sandbox) => demo?,
            () = stop.asked() => return finish(sandbox).await,
        }
    }
    eprintln!("\nRunning until Ctrl-C, which leaves nothing behind.");
    stop.asked().await;
    finish(sandbox).await
}

async fn finish(sandbox: Sandbox) -> anyhow::Result<()> {
    eprintln!("\nending: API server, operator, and simulated nodes with their daemons");
    for machine in sandbox.machines.values() {
        machine.set_daemon(false);
    }
    let Sandbox { control_plane, .. } = sandbox;
    Ok(control_plane.shutdown().await?)
}

/// What a user would do, typed for him.
async fn demo(shell: &Shell, sandbox: &Sandbox) -> anyhow::Result<()> {
    let [first, second, ..] = &sandbox.nodes[..] else {
        anyhow::bail!("the sandbox has no two nodes");
    };
    shell
        .run("kubectl", &["apply", "-f", "docs/examples/worker-rt.yaml"])
        .await?;
    shell
        .run(
            "kubectl",
            &[
                "label",
                "node",
                first,
                second,
                "node-role.kubernetes.io/worker-rt=",
            ],
        )
        .await?;
    shell.run("oc-realtime", &["watch", "worker-rt"]).await?;
    shell.run("kubectl", &["get", kinds(sandbox)]).await?;
    shell
        .run(
            "kubectl",
            &[
                "get",
                "nodes",
                "-o",
                "custom-columns=NODE:.metadata.name,KERNEL:.status.nodeInfo.kernelVersion,CORDONED:.spec.unschedulable",
            ],
        )
        .await?;
    shell
        .run("kubectl", &["get", "pods,pdb", "-o", "wide"])
        .await?;
    println!();
    for (node, machine) in &sandbox.machines {
        let counts = machine.host().counts();
        println!("{node}: reboots: {}", counts.reboots);
    }
    Ok(())
}

/// What there is to look at.
fn kinds(sandbox: &Sandbox) -> &'static str {
    match sandbox.kernel {
        Kernel::MachineConfigOperator => "mcp,rtp,rtn",
        Kernel::NodeDaemon => "rtp,rtn",
    }
}

fn say_how_to_go_on(shell: &Shell, sandbox: &Sandbox) {
    println!("\nIn another terminal, in this folder:\n");
    println!("{}\n", shell.exports());
    println!("  kubectl apply -f docs/examples/worker-rt.yaml");
    println!("  kubectl label node worker-1 worker-2 node-role.kubernetes.io/worker-rt=");
    println!("  oc-realtime watch worker-rt");
    println!("  kubectl get {}\n", kinds(sandbox));
    println!("The operator's log: {}", sandbox.operator_log.display());
    for machine in sandbox.machines.values() {
        println!(
            "{}'s daemon's log: {}",
            machine.host().name(),
            machine.host().log().display()
        );
    }
}
