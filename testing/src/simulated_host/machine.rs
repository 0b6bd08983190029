//! A simulated host on its own: its daemon runs, and is started again when it ends; a reboot that somebody asks for is
//! played. What its kubelet would tell the cluster meanwhile is told, where there is one.
//!
//! It must not know who asks, or why.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, spawn_blocking};

use super::cluster::Kubelet;
use super::{Error, Launch, Log, SimulatedHost};
use crate::rpm_ostree_standin::{BootReport, Reboot};

/// How soon a request is seen. Short, because a test waits for each.
const LOOK: Duration = Duration::from_millis(20);
/// Before a daemon that has ended is started again.
const RESTART: Duration = Duration::from_millis(500);

/// A machine that runs. Dropping it ends the daemon; the host's files stay.
#[derive(Debug)]
pub struct Machine {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    host: Arc<SimulatedHost>,
    kubelet: Option<Kubelet>,
    launch: Launch,
    /// Held while the machine goes down and comes up: one at a time.
    power: Mutex<()>,
    /// Whether the daemon shall run.
    daemon: AtomicBool,
    /// How the next reboot that is asked for is played.
    next: std::sync::Mutex<Reboot>,
    /// How many boots were played.
    boots: watch::Sender<u32>,
    /// How long a boot takes.
    boot_time: Duration,
}

impl Machine {
    /// Starts the daemon, and watches for requests. `boot_time` is what a reboot takes; the kubelet is away for that long.
    pub async fn start(
        host: Arc<SimulatedHost>,
        kubelet: Option<Kubelet>,
        launch: Launch,
        boot_time: Duration,
    ) -> Result<Self, Error> {
        if let Some(kubelet) = &kubelet {
            kubelet.up(&host.kernel()).await?;
        }
        host.start_daemon(&launch, &Log::File(host.log()))?;
        let shared = Arc::new(Shared {
            host,
            kubelet,
            launch,
            power: Mutex::default(),
            daemon: AtomicBool::new(true),
            next: std::sync::Mutex::default(),
            boots: watch::Sender::default(),
            boot_time,
        });
        let task = tokio::spawn(run(Arc::clone(&shared)));
        Ok(Self { shared, task })
    }

    /// Its host.
    pub fn host(&self) -> &Arc<SimulatedHost> {
        &self.shared.host
    }

    /// How the next reboot that is asked for goes.
    pub fn set_next_reboot(&self, how: Reboot) {
        *self
            .shared
            .next
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = how;
    }

    /// The mains fail and come back, now.
    pub async fn power_cut(&self) -> Result<BootReport, Error> {
        self.shared.play(Reboot::power_cut()).await
    }

    /// Goes down and comes up, now, as when an admin types `systemctl reboot`.
    pub async fn reboot(&self) -> Result<BootReport, Error> {
        self.shared.play(Reboot::orderly()).await
    }

    /// `kill -9` of the daemon; it is started again a moment later.
    pub fn kill_daemon(&self) {
        self.shared.host.kill_daemon();
    }

    /// Whether the daemon shall run: false ends it and keeps it down, over boots too.
    pub fn set_daemon(&self, runs: bool) {
        self.shared.daemon.store(runs, Ordering::SeqCst);
        if !runs {
            self.shared.host.kill_daemon();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.daemon.store(false, Ordering::SeqCst);
        self.shared.host.kill_daemon();
    }
}

async fn run(shared: Arc<Shared>) {
    let mut down = Duration::ZERO;
    loop {
        tokio::time::sleep(LOOK).await;
        if shared.host.reboot_asked() {
            let how = std::mem::take(
                &mut *shared
                    .next
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
            );
            if let Err(error) = shared.play(how).await {
                eprintln!("[{}] the reboot failed: {error}", shared.host.name());
            }
            continue;
        }
        let runs = shared.host.with_daemon(super::Daemon::runs) == Some(true);
        if runs || !shared.daemon.load(Ordering::SeqCst) {
            down = Duration::ZERO;
            continue;
        }
        down += LOOK;
        if down >= RESTART {
            down = Duration::ZERO;
            let _power = shared.power.lock().await;
            if let Err(error) = shared.start_daemon() {
                eprintln!("[{}] {error}", shared.host.name());
            }
        }
    }
}

impl Shared {
    fn start_daemon(&self) -> Result<(), Error> {
        if self.daemon.load(Ordering::SeqCst) {
            self.host
                .start_daemon(&self.launch, &Log::File(self.host.log()))?;
        }
        Ok(())
    }

    async fn play(&self, how: Reboot) -> Result<BootReport, Error> {
        let _power = self.power.lock().await;
        if let Some(kubelet) = &self.kubelet {
            // The API server may be away: then nobody sees that the node is.
            let _ = kubelet.down().await;
        }
        let host = Arc::clone(&self.host);
        let report = spawn_blocking(move || {
            let report = host.reboot(&how)?;
            if report.up {
                return Ok(report);
            }
            // It hangs. A person takes the older entry in the boot loader's menu.
            host.reboot(&Reboot {
                power_cut: true,
                fallback: true,
                ..Reboot::default()
            })
        })
        .await
        .map_err(|error| Error::Io {
            action: "playing a boot".to_owned(),
            source: std::io::Error::other(error),
        })??;
        tokio::time::sleep(self.boot_time).await;
        self.boots.send_modify(|boots| *boots += 1);
        if let Some(kubelet) = &self.kubelet {
            kubelet.up_at_last(&self.host.kernel()).await;
        }
        self.start_daemon()?;
        Ok(report)
    }
}
