//! Hostile pods on a real node: whatever they say in their annotations and do in their groups, the pod beside them keeps
//! its budget, a new one gets its own before its first instruction, and the daemon stays small and quiet.
//!
//! What a test attacks is always its own node's part of the tree.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "hostile/deaths.rs"]
mod deaths;
#[path = "hostile/forks.rs"]
mod forks;
#[path = "hostile/groups.rs"]
mod groups;
#[path = "hostile/many.rs"]
mod many;
mod on_node;
#[path = "hostile/socket.rs"]
mod socket;
#[path = "hostile/witness.rs"]
mod witness;
#[path = "hostile/words.rs"]
mod words;

use on_node::{Lab, can, spec};
use realtime_testing::real_node::{Options, Runtime};
use serde_json::json;
use witness::Witness;

/// A node that forbids a pod more threads than that: the kernel's own bound for those that fork.
const THREADS: u32 = 300;

/// A node with the daemon and a witness.
async fn start(runtime: Runtime) -> (Lab, Witness) {
    let mut options = Options::new(runtime);
    let settings = &mut options.kubelet_settings;
    settings.insert("podPidsLimit".to_owned(), json!(THREADS));
    settings.insert("maxPods".to_owned(), json!(250));
    let lab = Lab::without_daemon(runtime, options, spec()).await;
    lab.start_daemon();
    lab.wait_for("the mode", |told| told.mode.is_some()).await;
    let witness = Witness::start(&lab).await;
    (lab, witness)
}

async fn end(lab: Lab, witness: Witness) {
    witness.is_well(&lab).await;
    lab.node.shutdown().await.expect("shutdown");
}

async fn all_words(runtime: Runtime) {
    if !can(runtime) {
        return;
    }
    let (lab, witness) = start(runtime).await;
    words::bad_values(&lab, &witness).await;
    words::odd_names(&lab, &witness).await;
    words::forged(&lab, &witness).await;
    end(lab, witness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_words_get_a_reason_and_change_nothing_else_on_containerd() {
    all_words(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_words_get_a_reason_and_change_nothing_else_on_cri_o() {
    all_words(Runtime::CriO).await;
}

async fn on(runtime: Runtime, attack: impl AsyncFnOnce(&Lab, &Witness)) {
    if !can(runtime) {
        return;
    }
    let (lab, witness) = start(runtime).await;
    Box::pin(attack(&lab, &witness)).await;
    end(lab, witness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_die_while_they_are_written_to() {
    on(Runtime::Containerd, deaths::at_once).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_fork_real_time_threads_without_end() {
    on(Runtime::Containerd, forks::without_end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_write_groups_or_make_groups_like_others() {
    on(Runtime::Containerd, async |lab, witness| {
        groups::written(lab, witness).await;
        groups::like_anothers(lab, witness).await;
        groups::made_without_end(lab, witness).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_connections_hold_up_no_start() {
    on(Runtime::Containerd, socket::flood).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_containers_at_once() {
    on(Runtime::Containerd, many::at_once).await;
}
