//! Pods that make real-time threads without end, on a budget of 1 %, and as many at once as the kubelet's limit allows.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::wait::await_condition;
use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_testing::real_node::images::{self, Image};
use serde_json::{Value, json};

use crate::on_node::{LONG, Lab, pod};
use crate::witness::{WITNESS_US, Witness};

const IMAGE: &str = "realtime.test/rt-forks:1";
/// So many processes of one pod make it a pod that forks.
const ENOUGH: usize = 20;
/// Microseconds of each second.
const BUDGET: &str = "10000";

fn forks(name: &str, scheduler: Option<&str>, life: &str) -> Value {
    let mut annotations = json!({"realtime.openshift.io/runtime-us": BUDGET});
    if let Some(scheduler) = scheduler {
        annotations["realtime.openshift.io/scheduler"] = json!(scheduler);
    }
    let mut forks = pod(name, &annotations, &["/rt-forks", life]);
    forks["spec"]["containers"][0]["image"] = json!(IMAGE);
    // The machine is others', too: what is not real-time is held to a fifth of a CPU.
    forks["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "200m"}});
    forks
}

pub async fn without_end(lab: &Lab, witness: &Witness) {
    let work = tempfile::tempdir().expect("folder");
    let program = images::compile(work.path(), "rt-forks", include_str!("rt-forks.c"));
    let image = Image {
        name: IMAGE.to_owned(),
        files: vec![("rt-forks".to_owned(), program.expect("compiled"))],
        ..Image::default()
    };
    lab.node.import_image(image).await.expect("image");
    let pods = [
        forks("forks", None, "0"),
        forks("forks-fifo", Some("fifo:1"), "0"),
        forks("forks-reset", Some("rr:2,reset-on-fork"), "0"),
        forks("forks-long", Some("fifo:1"), "3000"),
    ];
    for pod in pods {
        let name = lab.create(pod).await;
        let entry = lab
            .entry(&name, "main", |entry| {
                entry.state != ContainerBudgetState::Pending
            })
            .await;
        println!("{name}: {:?} {:?}", entry.state, entry.message);
        // What they begin with is settled.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let used = witness.used();
        let made = processes_of(lab, &name).await;
        println!("{name}: {made} processes seen");
        assert!(made > ENOUGH, "{name} makes only {made}");
        witness.modest(lab, &name, &used);
        witness.is_well(lab).await;
        witness.innocent(lab, &format!("beside-{name}")).await;
    }
    // All four at once; then they go, and what they had with them.
    let used = witness.used();
    tokio::time::sleep(Duration::from_secs(5)).await;
    witness.modest(lab, "all forks", &used);
    witness.is_well(lab).await;
    witness.innocent(lab, "beside-all").await;
    for name in ["forks", "forks-fifo", "forks-reset", "forks-long"] {
        let gone = tokio::time::timeout(LONG, lab.delete(name)).await;
        assert!(gone.is_ok(), "{name} stays\n{}", lab.said());
    }
    lab.allocated_is(WITNESS_US).await;
}

fn id_of(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.first()?.container_id.clone()
}

/// As many processes of a pod are seen in five seconds; in a minute, when they are few: a machine with much else to do, or
/// the kernel's throttling after an overrun, holds them up.
async fn processes_of(lab: &Lab, name: &str) -> usize {
    // The kubelet says that a pod runs before it says as which container.
    let told = await_condition(lab.pods.clone(), name, |pod: Option<&Pod>| {
        pod.is_some_and(|pod| id_of(pod).is_some())
    });
    assert!(tokio::time::timeout(LONG, told).await.is_ok(), "no id");
    let (_, group) = lab.groups_of(name).await;
    let mut seen = BTreeSet::new();
    for look in 0..3_000 {
        if look >= 250 && seen.len() > ENOUGH {
            break;
        }
        let text = std::fs::read_to_string(group.join("cgroup.procs")).expect("processes");
        seen.extend(text.lines().map(str::to_owned));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    seen.len()
}
