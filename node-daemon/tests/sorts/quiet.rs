//! A daemon that has nothing to do does nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::DeleteParams;
use realtime_core::api::RealtimeNode;

use crate::on_node::{LONG, Lab};

/// So long it has to be quiet, and so much time on a CPU it may have in it: a debug build's timers and the watches' words.
const WHILE: Duration = Duration::from_secs(3);
const MAY: Duration = Duration::from_millis(300);

/// Nobody wants anything of the node. Ends with the daemon alive and its RealtimeNode gone.
pub async fn without_a_realtime_node(lab: &Lab) {
    let nodes: Api<RealtimeNode> = Api::all(lab.client.clone());
    nodes
        .delete(&lab.node.options().node_name, &DeleteParams::default())
        .await
        .expect("deleted");
    becomes_quiet(lab).await;
    lab.kill_daemon();
    lab.start_daemon();
    becomes_quiet(lab).await;
}

async fn becomes_quiet(lab: &Lab) {
    let begun = Instant::now();
    loop {
        let before = on_cpu(lab);
        tokio::time::sleep(WHILE).await;
        // It may have ended meanwhile, and that is no quiet.
        let used = on_cpu(lab)
            .zip(before)
            .and_then(|(after, before)| after.checked_sub(before));
        if used.is_some_and(|used| used <= MAY) {
            return;
        }
        assert!(begun.elapsed() < LONG, "never quiet\n{}", lab.said());
    }
}

/// The daemon's time on CPUs so far, by the scheduler's count. All that it does but copying files is done by one thread.
fn on_cpu(lab: &Lab) -> Option<Duration> {
    let text = std::fs::read_to_string(process(lab)?.join("schedstat")).ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// The daemon's folder in /proc.
pub fn process(lab: &Lab) -> Option<PathBuf> {
    let config = lab.node.directory().join("daemon.yaml");
    let is_daemon = |process: &Path| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.any(|word| word == config.as_os_str().as_encoded_bytes())
    };
    let mut processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let process = processes.find(|process| is_daemon(&process.path()))?;
    Some(process.path())
}
