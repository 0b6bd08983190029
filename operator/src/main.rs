//! Wires the operator together and does nothing else.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use realtime_core::fips;
use realtime_operator::args::{Args, LogFormat};
use realtime_operator::controller::Controller;
use realtime_operator::leadership::{Candidate, Leadership, Timing};
use realtime_operator::metrics::Metrics;
use realtime_operator::server::{self, Readiness};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let filter = EnvFilter::try_new(&args.log).context("--log")?;
    let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal() && !no_colour)
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    // Without such a file there is no such mode.
    let fips = std::fs::read_to_string(fips::ENABLED).unwrap_or_default();
    if let Some(words) = fips::unvalidated(&fips, cfg!(feature = "fips")) {
        tracing::warn!("{words}");
    }
    let stop = stop_signal()?;
    let client = client(&args).await?;
    let identity = args.identity.clone().unwrap_or_else(default_identity);
    let metrics = Arc::new(Metrics::default());
    let readiness = Readiness::default();

    let (listener, address) = server::bind(args.listen).await.context("--listen")?;
    println!("listening on http://{address}");
    let server = tokio::spawn(server::serve(
        listener,
        Arc::clone(&metrics),
        readiness.clone(),
        stopped(stop.clone()),
    ));

    // The Lease is released after the last round, so that the next leader meets no write of ours.
    let (last_round, after_last_round) = watch::channel(false);
    let (leadership, election) = if args.leader_elect {
        let timing = Timing::scaled_to(Duration::from_secs(args.lease_duration));
        let (candidate, leadership) =
            Candidate::new(client.clone(), &args.namespace, identity.clone(), timing);
        (
            leadership,
            tokio::spawn(candidate.run(stopped(after_last_round))),
        )
    } else {
        (Leadership::always(), tokio::spawn(async {}))
    };
    let first_report = Duration::from_secs(args.first_report_timeout);
    Controller::new(
        client,
        args.namespace,
        identity,
        leadership,
        metrics,
        readiness,
        first_report,
    )
    .run(stopped(stop))
    .await;
    last_round.send_replace(true);
    election.await.context("leader election")?;
    server.await.context("server")?.context("server")
}

async fn client(args: &Args) -> anyhow::Result<Client> {
    let config = match &args.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("kubeconfig {}", path.display()))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::infer()
            .await
            .context("no cluster: give --kubeconfig or set KUBECONFIG")?,
    };
    Client::try_from(config).context("client")
}

fn default_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
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
