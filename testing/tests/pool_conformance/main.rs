//! The pool stand-in against recordings of the real Machine Config Operator: the same actions, scene by scene, on
//! a real API server, and the sequences of states compared. It never compares seconds, and it reads the recordings
//! beside the project: where they are absent it says so loudly.
//!
//! What is compared, each as a sequence of its own: a pool's target and sources; its status (current
//! configuration, all counts, all conditions with reason and text); a node's annotations, cordon and roles; its
//! taint; a KubeletConfig's finalizers, annotations and conditions; rendered and generated MachineConfigs with
//! their content, owners and names; events.
//!
//! What the stand-in doesn't reproduce:
//! - A pool's generations: the real one writes the spec of a new pool twice, the stand-in once.
//! - The status of a new pool between the pinned-image-set controller's first word and the node controller's.
//! - The order of conditions in their list: it depends on which controller writes first.
//! - Which of several nodes of equal age goes first: arbitrary in the real one, so the test tells the stand-in.
//! - `unavailable` just after a node was chosen: see `tracks::drop_transient`.
//! - Events that the real recorder of events aggregates or drops: the stand-in tells each.
//! - The retries with growing pauses of a render that a KubeletConfig blocks, or that fails.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test fails by panicking; `json!` values read better given away"
)]

mod actions;
mod tracks;
mod watch;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use realtime_core::cluster::Dialect;
use realtime_testing::control_plane::{self, ControlPlane};
use realtime_testing::openshift_crds::install_openshift;
use realtime_testing::pool_standin::{Options, PoolStandin};
use serde_json::{Value, json};

use tracks::{Tracks, differences, tracks};
use watch::Log;

/// How fast the scenes are played: their eleven minutes in two, and slower when a difference was seen. The faster
/// they go, the more a request to the API server weighs against the controllers' delays, and which of two things
/// comes first in a recording may depend on hundredths of a second. A wrong rule differs at every pace.
const PACES: [f64; 3] = [0.15, 0.3, 0.6];
/// Seconds of a recording after the last change of a scene in which nothing further may come.
const QUIET: f64 = 1.0;
/// Seconds from then to the beginning of the next scene: the first render of most scenes comes 1 s after their
/// first action, which is 5 s after the last change of the scene before.
const BETWEEN_SCENES: f64 = 2.9;
/// How long the stand-in may take to come to a recorded state beyond its time; for a machine that is starved.
const PATIENCE: Duration = Duration::from_secs(10);

fn scenes() -> Option<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/fixtures/machine-config-controller/scenes");
    let mut scenes: Vec<PathBuf> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    scenes.sort();
    Some(scenes)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn seconds(line: &Value) -> f64 {
    line["t"].as_f64().unwrap_or_default()
}

struct Stage {
    pace: f64,
    client: kube::Client,
    standin: PoolStandin,
    log: Log,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_scene_goes_as_recorded() {
    let Some(scenes) = scenes() else {
        realtime_testing::skip(
            "the recordings of the Machine Config Operator are not beside the project",
        );
        return;
    };
    let mut differences = String::new();
    for pace in PACES {
        match life(&scenes, pace).await {
            Ok(()) => return,
            Err(found) => {
                println!("at {pace} of the recorded time:\n{found}");
                differences = found;
            }
        }
    }
    panic!("{differences}");
}

/// All scenes on a new control plane. They are one life: after a difference everything would differ.
async fn life(scenes: &[PathBuf], pace: f64) -> Result<(), String> {
    let control_plane = ControlPlane::start(control_plane::Options::default())
        .await
        .unwrap();
    install_openshift(&control_plane, Dialect::KernelType)
        .await
        .unwrap();
    let client = control_plane.admin_client().await.unwrap();
    let log = Log::start(&client);
    let options = Options {
        names_degraded_nodes: false,
        ..Options::scaled(pace)
    };
    let standin = PoolStandin::start(client.clone(), options).await.unwrap();
    let stage = Stage {
        pace,
        client,
        standin,
        log,
    };
    for pool in ["master", "worker"] {
        stage.wait_for_pool(pool, 0).await;
    }
    for path in scenes {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let recording = lines(path);
        stage.prepare(&name).await;
        tokio::time::sleep(stage.scaled(BETWEEN_SCENES)).await;
        let started = Instant::now();
        let (recorded, seen) = stage.play(&recording).await;
        let found = differences(&recorded, &seen);
        let states: usize = recorded.values().map(Vec::len).sum();
        println!(
            "{name}: {states} states in {} sequences, {:.1} s, {} differences",
            recorded.len(),
            started.elapsed().as_secs_f64(),
            found.len()
        );
        if !found.is_empty() {
            return Err(format!(
                "{name}: {} differences\n{}",
                found.len(),
                found.join("\n")
            ));
        }
    }
    Ok(())
}

impl Stage {
    fn scaled(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64((seconds * self.pace).max(0.0))
    }

    /// Brings the cluster to where a scene begins whose predecessor wasn't recorded.
    async fn prepare(&self, scene: &str) {
        if scene.starts_with("01-") {
            // Making nodes takes longer at this pace: nothing else may be due meanwhile.
            tokio::time::sleep(self.scaled(6.0)).await;
        }
        if scene.starts_with("11-") {
            actions::act(&self.client, &self.standin, "create pool infra", true).await;
            self.wait_for_pool("infra", 0).await;
        }
        if scene.starts_with("14-") {
            let change = r#"patch MachineConfig 60-third {"kernelArguments": ["audit=0", "a=7"]}"#;
            actions::act(&self.client, &self.standin, change, true).await;
            actions::act(&self.client, &self.standin, "label w3 worker-rt", true).await;
            let one = json!({"spec": {"maxUnavailable": 1}});
            actions::patch(&self.client, "MachineConfigPool", "worker-rt", one).await;
            self.standin.choose_nodes(["w1", "w2", "w3"]);
            let kernel_arguments = |log: &Log| {
                let pool = log.latest("machineconfigpool", "worker-rt");
                let target = pool["target"].as_str().unwrap_or_default().to_owned();
                log.latest("machineconfig", &target)["spec"]["kernelArguments"].clone()
            };
            let rendered = self.log.until(|log| {
                kernel_arguments(log)
                    .as_array()
                    .is_some_and(|arguments| arguments.contains(&json!("a=7")))
            });
            tokio::time::timeout(PATIENCE, rendered).await.unwrap();
            self.wait_for_pool("worker-rt", 3).await;
            self.wait_for_pool("worker", 0).await;
        }
    }

    /// Until the pool's nodes have its target and it says so.
    async fn wait_for_pool(&self, name: &str, machines: u64) {
        let updated = self.log.until(|log| {
            let pool = log.latest("machineconfigpool", name);
            let conditions = pool["conditions"].as_array().into_iter().flatten();
            let updated = conditions
                .into_iter()
                .any(|c| c["type"] == "Updated" && c["status"] == "True");
            updated && pool["target"] == pool["current"] && pool["machines"]["updated"] == machines
        });
        let patience = PATIENCE * 3;
        assert!(
            tokio::time::timeout(patience, updated).await.is_ok(),
            "{name}: {}",
            self.log.latest("machineconfigpool", name)
        );
    }

    /// Does what was done in the recording, each action when everything before it has come about and so long after
    /// that as it was recorded.
    async fn play(&self, recording: &[Value]) -> (Tracks, Tracks) {
        self.standin.choose_nodes(choices(recording));
        let recording = with_hidden_actions(recording);
        self.log.begin();
        for (index, line) in recording.iter().enumerate() {
            let Some(action) = line["action"].as_str() else {
                continue;
            };
            // What an action changes at once was recorded before its answer.
            let at = seconds(line);
            let known = recording[..index]
                .iter()
                .rposition(|line| seconds(line) < at - 0.015);
            let before = &recording[..known.map_or(1, |last| last + 1)];
            self.catch_up(before).await;
            let pause = at - before.last().map_or(0.0, seconds);
            tokio::time::sleep(self.scaled(pause)).await;
            let status = actions::act(
                &self.client,
                &self.standin,
                action,
                line["status"] != json!(201) || !action.contains("realtime\": true"),
            )
            .await;
            assert_eq!(json!(status), line["status"], "{action}");
        }
        self.catch_up(&recording).await;
        // What comes now was not recorded: it would be a difference.
        tokio::time::sleep(self.scaled(QUIET)).await;
        (tracks(&recording), tracks(&self.log.lines()))
    }

    /// Waits until every sequence is as long as in the recording so far; in vain, it gives up and the comparison tells.
    async fn catch_up(&self, recording: &[Value]) {
        let recorded = tracks(recording);
        let reached = self.log.until(|log| {
            let seen = tracks(&log.lines());
            recorded
                .iter()
                .filter(|(name, _)| *name != "events")
                .all(|(name, states)| seen.get(name).map_or(0, Vec::len) >= states.len())
        });
        let length = recording.last().map_or(0.0, seconds);
        let time_limit = self.scaled(length) + PATIENCE;
        if tokio::time::timeout(time_limit, reached).await.is_err() {
            let seen = tracks(&self.log.lines());
            let short = |(name, states): &(&String, &Vec<Value>)| {
                seen.get(*name).map_or(0, Vec::len) < states.len()
            };
            let late: Vec<&String> = recorded
                .iter()
                .filter(short)
                .map(|(name, _)| name)
                .collect();
            println!("    not as far as recorded: {late:?}");
        }
    }
}

/// The nodes in the order in which the real controller chose them.
fn choices(recording: &[Value]) -> Vec<String> {
    let mut desired = std::collections::BTreeMap::new();
    let mut chosen = Vec::new();
    for line in recording {
        for object in line["objects"]
            .as_array()
            .into_iter()
            .flatten()
            .chain([&line["object"]])
        {
            let (Some(name), Some(wanted)) = (
                object["name"].as_str(),
                object["annotations"]["desiredConfig"].as_str(),
            ) else {
                continue;
            };
            let before = desired.insert(name.to_owned(), wanted.to_owned());
            if before.is_some_and(|before| before != wanted) {
                chosen.push(name.to_owned());
            }
        }
    }
    chosen
}

/// In the recordings the played agent of a node refused a configuration without an action line: put in.
fn with_hidden_actions(recording: &[Value]) -> Vec<Value> {
    let mut lines: Vec<Value> = Vec::new();
    let mut degraded: Option<String> = None;
    for line in recording {
        let object = &line["object"];
        let state = object["annotations"]["state"].as_str().unwrap_or_default();
        let name = object["name"].as_str().unwrap_or_default();
        if state == "Degraded" && degraded.is_none() {
            let reason = object["annotations"]["reason"].as_str().unwrap();
            lines.insert(
                1,
                json!({"t": 0.0, "action": format!("degrade {name} {reason}"), "status": 200}),
            );
            degraded = Some(name.to_owned());
        } else if state == "Working" && degraded.as_deref() == Some(name) {
            let recovered = line["t"].as_f64().unwrap() - 0.15;
            lines.push(json!({"t": recovered, "action": format!("recover {name}"), "status": 200}));
            degraded = None;
        }
        lines.push(line.clone());
    }
    lines
}
