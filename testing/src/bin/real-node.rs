//! `real-node [--runtime containerd|cri-o]`: starts a one-node cluster of real parts, prints how to reach
//! it, and runs until Ctrl-C. A tool for people who debug tests, and what the launcher's own tests kill.
//! Installs nothing.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use realtime_testing::programs::Program;
use realtime_testing::real_node::{BUSYBOX_IMAGE, Options, RealNode, Runtime};
use realtime_testing::stop::Stop;

/// A one-node cluster of real parts in namespaces of its own, until Ctrl-C.
#[derive(Debug, Parser)]
struct Arguments {
    /// The container runtime; runc is below both.
    #[arg(long, value_enum, default_value = "containerd")]
    runtime: RuntimeName,
    /// Budget for real-time threads of the node's control group, in µs of each second.
    #[arg(long, default_value_t = 0)]
    realtime_runtime_us: u32,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RuntimeName {
    Containerd,
    #[value(name = "cri-o")]
    CriO,
}

#[tokio::main]
async fn main() -> ExitCode {
    match start(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("real-node: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start(arguments: Arguments) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    let run = async {
        let started = Instant::now();
        let node = RealNode::start(Options {
            realtime_runtime_us: arguments.realtime_runtime_us,
            ..Options::new(match arguments.runtime {
                RuntimeName::Containerd => Runtime::Containerd,
                RuntimeName::CriO => Runtime::CriO,
            })
        })
        .await?;
        say(&node, started)?;
        std::future::pending::<()>().await;
        anyhow::Ok(())
    };
    // Leaving drops the node, also a half started one: that ends it and waits for its end.
    tokio::select! {
        result = run => result,
        () = stop.asked() => Ok(()),
    }
}

fn say(node: &RealNode, started: Instant) -> anyhow::Result<()> {
    eprintln!(
        "{} is Ready after {:.1} s; Ctrl-C ends it",
        node.options().node_name,
        started.elapsed().as_secs_f32()
    );
    let kubectl = node.program(Program::Kubectl)?;
    let [outer, init] = node.pids();
    println!("directory={}", node.directory().display());
    println!("cgroup={}", node.cgroup_root().display());
    println!("outer={outer}");
    println!("init={init}");
    println!("export KUBECONFIG={}", node.admin_kubeconfig().display());
    println!("alias kubectl={}", kubectl.display());
    println!("kubectl run hello --image={BUSYBOX_IMAGE} --restart=Never -- echo hello");
    println!("kubectl logs hello");
    println!("nsenter --target {init} --mount --net --pid --uts # a shell in the node");
    Ok(())
}
