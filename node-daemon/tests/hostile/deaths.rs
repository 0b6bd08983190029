//! Pods that end while they are written to.

use std::time::{Duration, Instant};

use kube::api::{DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::bystander;
use crate::on_node::{LONG, Lab, budget, container, pod};
use crate::witness::{WITNESS_US, Witness};

/// As many waves of as many pods, five containers each. All of a wave have room beside the innocent one: CRI-O leaves a dead
/// container's group where it is, with its budget, until the kubelet has told of its end.
const WAVES: usize = 3;
const PODS: usize = 8;

/// Eight of these end at once.
fn five_that_exit(name: &str) -> Value {
    let mut five = pod(
        name,
        &json!({"realtime.openshift.io/runtime-us": "5000"}),
        &["true"],
    );
    let containers: Vec<Value> = ["main", "b", "c", "d", "e"]
        .iter()
        .map(|name| container(name, &["true"]))
        .collect();
    five["spec"]["containers"] = json!(containers);
    five
}

pub async fn at_once(lab: &Lab, witness: &Witness) {
    let used = witness.used();
    // In a crash loop for as long as the test lasts: it ends with 7 and is started again.
    let mut loops = pod("loops", &budget("5000"), &["sh", "-c", "exit 7"]);
    loops["spec"]["restartPolicy"] = json!("Always");
    lab.create(loops).await;
    for wave in 0..WAVES {
        let names: Vec<String> = (0..PODS)
            .map(|number| format!("exits-{wave}-{number}"))
            .collect();
        for name in &names {
            lab.create(five_that_exit(name)).await;
        }
        witness.innocent(lab, &format!("among-exits-{wave}")).await;
        for name in &names {
            lab.phase(name, "Succeeded").await;
        }
        lab.wait_for("none of those that have ended", |told| {
            told.containers
                .iter()
                .all(|entry| !entry.pod.starts_with("exits-"))
        })
        .await;
    }
    // Deleted without a moment's grace, at every stage of their start.
    for number in 0..20 {
        let name = format!("short-{number}");
        lab.create(pod(&name, &budget("5000"), &["first-act", "3600"]))
            .await;
        tokio::time::sleep(Duration::from_millis(number * 60)).await;
        let delete = DeleteParams::default().grace_period(0);
        lab.pods.delete(&name, &delete).await.expect("deleted");
    }
    let begun = Instant::now();
    witness.innocent(lab, "among-deletions").await;
    println!("an innocent among deletions: {:.1?}", begun.elapsed());
    println!(
        "deaths: {:.2} of a CPU, {} MiB",
        witness.share(&used),
        witness.memory()
    );
    witness.is_well(lab).await;
    let loops = lab.pods.get("loops").await.expect("loops");
    let statuses = loops.status.and_then(|status| status.container_statuses);
    assert!(statuses.expect("statuses")[0].restart_count > 0);
    // All is given back, and nothing told of them, once they are gone.
    for pod in lab.pods.list(&ListParams::default()).await.expect("pods") {
        let name = pod.metadata.name.expect("name");
        if !["witness", bystander::NAME].contains(&name.as_str()) {
            lab.delete(&name).await;
        }
    }
    lab.allocated_is(WITNESS_US).await;
    lab.wait_for("only the witness", |told| told.containers.len() == 1)
        .await;
    no_groups_are_left(lab).await;
    let used = witness.used();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let share = witness.share(&used);
    println!("after the deaths: {share:.2} of a CPU");
    assert!(share < 0.5, "{share}\n{}", lab.said());
}

/// The kubelet removes the pods' groups, but of the witness and the bystander: nothing of ours may hold one.
async fn no_groups_are_left(lab: &Lab) {
    let class = lab.node.cgroup_root().join("kubepods/besteffort");
    let begun = std::time::Instant::now();
    loop {
        let all = std::fs::read_dir(&class).expect("class").flatten();
        let pods = all.filter(|entry| entry.path().is_dir()).count();
        if pods == 2 {
            return;
        }
        assert!(begun.elapsed() < LONG, "{pods} pods' groups are left");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
