//! Wires the daemon together and does nothing else.

use std::io::IsTerminal as _;
use std::io::Read as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use kube::Config as ClientConfig;
use kube::config::{KubeConfigOptions, Kubeconfig};
use realtime_core::fips;
use realtime_node_daemon::agent::{Agent, Alone, InCluster, Side};
use realtime_node_daemon::args::{Args, LogFormat};
use realtime_node_daemon::budget::look::probe;
use realtime_node_daemon::cluster::{self, Cluster};
use realtime_node_daemon::config::{Config, MAX_TEXT};
use realtime_node_daemon::host::Host;
use realtime_node_daemon::{budget, cli, metrics, nri, oci_hook, standalone};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// A configuration that is wrong, as sysexits.h has it: systemd does not start the daemon again for it.
const EX_CONFIG: u8 = 78;

/// What is no daemon is decided before there is a tokio.
fn main() -> ExitCode {
    let first = std::env::args_os().nth(1);
    if probe::is_asked(first.as_deref()) {
        return probe::run();
    }
    // A container waits for it.
    oci_hook::asked().unwrap_or_else(daemon)
}

/// One thread: it waits nearly all the time, and must not spread over CPUs.
#[tokio::main(flavor = "current_thread")]
async fn daemon() -> ExitCode {
    let args = Args::parse();
    // On the heap: the loop's state is large, and the stack is for the calls below it.
    match Box::pin(run(&args)).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}

async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = match config(args) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error:#}");
            return Ok(ExitCode::from(EX_CONFIG));
        }
    };
    log(args, &config)?;
    let root = args
        .root
        .clone()
        .unwrap_or_else(|| config.root.clone().into());
    let commands = args
        .commands
        .clone()
        .or_else(|| config.commands.clone().map(Into::into));
    let own_cpus = commands.is_none();
    let host = Host::new(root, commands);
    if let Some(command) = args.command {
        return Ok(cli::run(command, &host, &config).await);
    }
    anyhow::ensure!(
        !own_cpus || rustix::process::geteuid().is_root(),
        "the daemon changes what boots, and must run as root"
    );
    standalone::tell(&config);
    // Without such a file there is no such mode.
    let fips = host.read(fips::ENABLED).unwrap_or_default();
    if let Some(words) = fips::unvalidated(&fips, cfg!(feature = "fips")) {
        tracing::warn!("{words}");
    }
    let mut budgets = None;
    let side = if let Some(spec) = &config.node {
        let alone = Alone::new(spec.clone(), config.reboot, config.retry.clone());
        Side::Alone(Box::new(alone))
    } else {
        let cluster = node(args, &config).await?;
        // A directory that plays a host has no containers.
        if own_cpus {
            let handle = look_after_pods(&host, &cluster, &config);
            show(args, &handle, &host).await;
            budgets = Some(handle);
        }
        Side::Cluster(Box::new(InCluster::new(cluster)))
    };
    let stop = stop_signal()?;
    let agent = Agent::new(host, &config.state_directory, own_cpus, side).with_budgets(budgets);
    Box::pin(agent.run(stopped(stop))).await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// Metrics, where they are asked for.
async fn show(args: &Args, budgets: &budget::Handle, host: &Host) {
    let Some(address) = args.metrics_address else {
        return;
    };
    match metrics::Server::bind(address).await {
        Ok(server) => {
            tokio::spawn(server.run(budgets.subscribe(), host.clone()));
        }
        // The node's kernel and its pods don't depend on somebody who looks on.
        Err(error) => tracing::warn!(%error, "metrics are not served"),
    }
}

/// The loop that gives pods their budgets, and those who tell it of containers before their processes begin.
fn look_after_pods(host: &Host, cluster: &Cluster, config: &Config) -> budget::Handle {
    let (handle, door) = budget::start(
        host,
        cluster.client().clone(),
        cluster.name(),
        &config.cgroup,
    );
    tokio::spawn(nri::run(host.clone(), door.clone()));
    // Heard at once: a former daemon's program speaks the same.
    tokio::spawn(budget::socket::serve(host.clone(), door));
    tokio::spawn(budget::install::run(host.clone()));
    handle
}

fn config(args: &Args) -> anyhow::Result<Config> {
    let Some(path) = &args.config else {
        return Ok(Config::default());
    };
    let name = path.display();
    let size = std::fs::metadata(path)
        .with_context(|| format!("--config {name}"))?
        .len();
    anyhow::ensure!(
        usize::try_from(size).is_ok_and(|size| size <= MAX_TEXT),
        "--config {name}: {size} bytes are no configuration"
    );
    // A device says that it has no size: what is read is bounded too.
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_TEXT as u64 + 1).read_to_string(&mut text))
        .with_context(|| format!("--config {name}"))?;
    anyhow::ensure!(
        text.len() <= MAX_TEXT,
        "--config {name}: more than {MAX_TEXT} bytes are no configuration"
    );
    Config::parse(&text).map_err(|problems| anyhow::anyhow!("--config {name}:\n{problems}"))
}

fn log(args: &Args, config: &Config) -> anyhow::Result<()> {
    let quiet = if args.command.is_some() {
        "warn"
    } else {
        "info"
    };
    let default = format!("{quiet},kube=warn");
    let filter = args
        .log
        .as_ref()
        .or(config.log_level.as_ref())
        .unwrap_or(&default);
    // Names and levels only: the filter that knows fields, too, brings a regular expression engine along.
    let filter: Targets = filter.parse().context("--log")?;
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(std::io::stderr().is_terminal() && !no_colour)
        .with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match args.log_format {
        LogFormat::Text => registry.with(log).init(),
        LogFormat::Json => registry.with(log.json()).init(),
    }
    Ok(())
}

async fn node(args: &Args, config: &Config) -> anyhow::Result<Cluster> {
    let path = args
        .kubeconfig
        .clone()
        .or_else(|| config.kube_path.clone().map(Into::into));
    let client = match path {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(&path)
                .with_context(|| format!("kubeconfig {}", path.display()))?;
            ClientConfig::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => ClientConfig::infer().await.context(
            "no cluster: give --kubeconfig or kube_path, or write what this host shall be under `node:` in --config",
        )?,
    };
    let name = args
        .node_name
        .clone()
        .or_else(|| config.node_name.clone())
        .map_or_else(standalone::host_name, Ok)
        .context("this node's name: give --node-name")?;
    tracing::info!(node = name, "the daemon of this node");
    let client = cluster::client(client).context("client")?;
    Ok(Cluster::new(client, name))
}

/// True after the first SIGTERM or SIGINT; the second one ends the process at once.
fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        for signals in 0.. {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            if signals > 0 {
                std::process::exit(130);
            }
            tracing::info!("stopping; a second signal ends at once");
            sender.send_replace(true);
        }
    });
    Ok(receiver)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error says that nobody can ask for a stop any more.
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
