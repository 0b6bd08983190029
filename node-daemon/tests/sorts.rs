//! Every sort of pod, change and interruption on a real node: what pods get is the kernel's word, read at each level of the
//! tree, and what users read is asked of the real programs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

#[path = "sorts/away.rs"]
mod away;
#[path = "sorts/changes.rs"]
mod changes;
#[path = "sorts/eyes.rs"]
mod eyes;
#[path = "starts/hook.rs"]
mod hook;
#[path = "sorts/itself.rs"]
mod itself;
#[path = "sorts/old_operator.rs"]
mod old_operator;
mod on_node;
#[path = "sorts/policy.rs"]
mod policy;
#[path = "sorts/quiet.rs"]
mod quiet;
#[path = "sorts/reader.rs"]
mod reader;
#[path = "sorts/settings.rs"]
mod settings;
#[path = "sorts/shapes.rs"]
mod shapes;

use on_node::{Lab, can, spec};
use realtime_testing::real_node::{Options, Runtime};

async fn sorts_of_pods(runtime: Runtime) {
    if !can(runtime) {
        return;
    }
    let lab = Lab::start(runtime, spec()).await;
    shapes::every_sort(&lab).await;
    shapes::classes_do_not_starve_each_other(&lab).await;
    policy::programs_that_never_ask(&lab).await;
    policy::programs_that_never_block(&lab).await;
    lab.node.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn sorts_of_pods_on_containerd() {
    sorts_of_pods(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sorts_of_pods_on_cri_o() {
    sorts_of_pods(Runtime::CriO).await;
}

async fn what_changes(runtime: Runtime) {
    if !can(runtime) {
        return;
    }
    let lab = Lab::start(runtime, spec()).await;
    changes::annotations_and_others(&lab).await;
    away::everybody_in_turn(&lab).await;
    lab.node.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_on_containerd() {
    what_changes(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_on_cri_o() {
    what_changes(Runtime::CriO).await;
}

async fn settings_change_while_pods_run(runtime: Runtime) {
    if !can(runtime) {
        return;
    }
    let lab = Lab::start(runtime, spec()).await;
    settings::who_may_ask(&lab).await;
    settings::a_program_has_the_last_word(&lab).await;
    settings::how_much_there_is(&lab).await;
    settings::the_next_daemon_takes_back(&lab).await;
    settings::overwritten(&lab).await;
    settings::an_exec_probe_is_told(&lab).await;
    // CRI-O holds a container back by its hook alone: what_is_required_waits_behind_the_hook_of_cri_o.
    if runtime == Runtime::Containerd {
        settings::required(&lab).await;
    }
    reader::the_programs_say_the_same(&lab).await;
    itself::serves_its_metrics(&lab).await;
    itself::keeps_off_isolated_cpus(&lab).await;
    quiet::without_a_realtime_node(&lab).await;
    lab.node.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_while_pods_run_on_containerd() {
    settings_change_while_pods_run(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_while_pods_run_on_cri_o() {
    settings_change_while_pods_run(Runtime::CriO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_with_rt_operator() {
    if !can(Runtime::CriO) {
        return;
    }
    old_operator::its_file_is_enough(Runtime::CriO).await;
}

/// Without NRI, CRI-O's hook is alone.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_required_waits_behind_the_hook_of_cri_o() {
    if !can(Runtime::CriO) {
        return;
    }
    let options = Options {
        nri: false,
        ..Options::new(Runtime::CriO)
    };
    let lab = Lab::without_daemon(Runtime::CriO, options, spec()).await;
    hook::bring(&lab.node).await;
    lab.start_daemon();
    hook::is_there(&lab).await;
    settings::required(&lab).await;
    lab.node.shutdown().await.expect("shutdown");
}
