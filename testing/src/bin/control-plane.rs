//! `control-plane`: starts a bare control plane, prints how to reach it, and runs until Ctrl-C.
//! A tool for people who debug tests, and what the launcher's own tests kill. Installs nothing.

use std::time::Instant;

use realtime_testing::control_plane::{ControlPlane, Options};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let started = Instant::now();
    let control_plane = ControlPlane::start(Options {
        audit_log: true,
        ..Options::default()
    })
    .await?;
    eprintln!(
        "ready after {:.1} s; Ctrl-C ends it",
        started.elapsed().as_secs_f32()
    );
    // From before anybody knows that it is there.
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("directory={}", control_plane.directory().display());
    println!("server={}", control_plane.server_url());
    println!(
        "pids={}",
        control_plane
            .pids()
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(",")
    );
    println!(
        "export KUBECONFIG={}",
        control_plane.admin_kubeconfig().display()
    );
    interrupt.recv().await;
    control_plane.shutdown().await?;
    Ok(())
}
