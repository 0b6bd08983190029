//! A pod on the stand-in's node, and what its status says. Does nothing.

use std::time::Instant;

use serde_json::{Value, json};

use crate::actor::Actor;

/// A pod.
#[derive(Debug)]
pub struct StandinPod {
    /// Its name.
    pub name: String,
    /// The API's uid, which its group bears.
    pub uid: String,
    /// Its group from the mount.
    pub group: String,
    /// Its sandbox's id, when that is there.
    pub sandbox: Option<String>,
    /// Its containers that are there.
    pub running: Vec<Running>,
}

/// A container.
#[derive(Debug)]
pub struct Running {
    /// Its name.
    pub container: String,
    /// Its id.
    pub id: String,
    /// Its group from the mount.
    pub group: String,
    /// When its group was made.
    pub made: Instant,
    /// Its process; `None` when it has none yet.
    pub process: Option<Actor>,
}

impl StandinPod {
    /// What a kubelet would say of it.
    pub fn status(&self) -> Value {
        let containers: Vec<Value> = self
            .running
            .iter()
            .map(|running| {
                json!({
                    "name": running.container, "containerID": format!("containerd://{}", running.id),
                    "image": "none", "imageID": "none", "ready": true, "restartCount": 0,
                    "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
                })
            })
            .collect();
        json!({"phase": "Running", "containerStatuses": containers})
    }
}
