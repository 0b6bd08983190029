//! Runs the stand-in for the Machine Config Operator's pool logic until it is interrupted. Wires, and nothing else.

use std::time::Duration;

use clap::Parser;
use realtime_testing::pool_standin::{self, Capacity, Options, PoolStandin, RenderDelay};
use realtime_testing::stop::Stop;

/// A stand-in for OpenShift's Machine Config Operator: pools, rendering, and simulated nodes. For tests and
/// sandboxes; never for a cluster with nodes of its own. It uses KUBECONFIG.
#[derive(Parser)]
#[command(name = "pool-standin")]
struct Arguments {
    /// Multiplies every duration: 0.1 is ten times as fast as the real one.
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// Render at a random moment within 5 s after a change instead of one step after the first event.
    #[arg(long)]
    random_render_delay: bool,
    /// Seconds that a node's update takes between drain and uncordon.
    #[arg(long, default_value_t = 2.0)]
    work_seconds: f64,
    /// Create so many simulated worker nodes first.
    #[arg(long, default_value_t = 0)]
    nodes: u32,
    /// Their names' beginning.
    #[arg(long, default_value = "worker-")]
    node_prefix: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let client = kube::Client::try_default().await?;
    let options = Options {
        render_delay: if arguments.random_render_delay {
            RenderDelay::Random
        } else {
            RenderDelay::AsObserved
        },
        work: Duration::from_secs_f64(arguments.work_seconds),
        ..Options::scaled(arguments.time_scale)
    };
    let mut standin = PoolStandin::start(client.clone(), options).await?;
    let labels = std::collections::BTreeMap::new();
    pool_standin::create_nodes(
        &client,
        &arguments.node_prefix,
        arguments.nodes,
        &labels,
        &Capacity::default(),
    )
    .await?;
    println!("The stand-in for the Machine Config Operator's pools is running.");
    let mut stop = Stop::listen()?;
    tokio::select! {
        () = standin.wait() => anyhow::bail!("the stand-in ended"),
        () = stop.asked() => {}
    }
    Ok(())
}
