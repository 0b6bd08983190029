//! Hostile pods on a real node: whatever they say in their annotations and do in their groups, the pod beside them keeps
//! its budget, one that asks for nothing goes on, a new one gets its own before its first instruction, and the daemon stays
//! small and quiet.
//!
//! What a test attacks is always its own node's part of the tree.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "hostile/bystander.rs"]
mod bystander;
#[path = "hostile/crowd.rs"]
mod crowd;
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

/// A node with the daemon, a witness and a bystander.
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

/// Several stories on one node, since a node costs a quarter of a minute. Each says when it begins, so that what fails is
/// known by its name.
macro_rules! stories {
    ($runtime:expr, $($story:path),+) => {
        if can($runtime) {
            let (lab, witness) = Box::pin(start($runtime)).await;
            $(
                println!("{}: {}", $runtime.name(), stringify!($story));
                Box::pin($story(&lab, &witness)).await;
            )+
            Box::pin(end(lab, witness)).await;
        }
    };
}

async fn all_words(runtime: Runtime) {
    stories!(runtime, words::bad_values, words::odd_names, words::forged);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_words_get_a_reason_and_change_nothing_else_on_containerd() {
    all_words(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_words_get_a_reason_and_change_nothing_else_on_cri_o() {
    all_words(Runtime::CriO).await;
}

async fn pods_by_the_hundred(runtime: Runtime) {
    stories!(runtime, deaths::at_once, many::at_once, crowd::of_a_kubelet);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_by_the_hundred_on_containerd() {
    pods_by_the_hundred(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_by_the_hundred_on_cri_o() {
    pods_by_the_hundred(Runtime::CriO).await;
}

async fn deeds_without_end(runtime: Runtime) {
    stories!(
        runtime,
        groups::written,
        groups::like_anothers,
        groups::made_without_end,
        socket::flood,
        forks::without_end
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deeds_without_end_on_containerd() {
    deeds_without_end(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deeds_without_end_on_cri_o() {
    deeds_without_end(Runtime::CriO).await;
}
