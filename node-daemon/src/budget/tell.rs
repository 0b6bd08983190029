//! Events on pods: what they asked for is in place, or why not. A courtesy: that one can't be written holds nothing up,
//! and the loop never waits for it.

use kube::Client;
use realtime_core::rt::outcome::PodNews;
use tokio::sync::mpsc;

use crate::events::{self, Budgeted};

/// As many wait at most; more are not told (the status has them all).
const WAITING: usize = 256;

/// Begins to write Events for what is sent. Inside of a tokio runtime only.
pub fn start(client: Client, node: &str) -> mpsc::Sender<PodNews> {
    let (sender, mut receiver) = mpsc::channel::<PodNews>(WAITING);
    let node = node.to_owned();
    tokio::spawn(async move {
        let mut budget = Budgeted::default();
        while let Some(news) = receiver.recv().await {
            budget.room().await;
            if let Err(error) = events::on_pod(&client, &node, &news).await {
                tracing::warn!(%error, pod = news.pod.1, "an Event could not be written");
            }
        }
    });
    sender
}
