//! Hundreds of containers that a kubelet starts, in pods that come at once. One in each pod asks for what fits, the others
//! for what is never free: what each is told doesn't depend on who comes first.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::api::{DeleteParams, LogParams};
use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_testing::real_node::Runtime;
use serde_json::{Value, json};

use crate::on_node::{CAPACITY_US, LONG, Lab, MOST_US, container, pod};
use crate::witness::{MOST_MEMORY, WITNESS_US, Witness};

/// How many, instead of [`usually`]: `CROWD_CONTAINERS=500`.
const VARIABLE: &str = "CROWD_CONTAINERS";
/// Of each pod.
const CONTAINERS: usize = 20;
/// What one in each pod asks for: the smallest budget that a kernel with 250 ticks a second can keep. Five hundred of them
/// are more than any machine has.
const SMALL_US: i64 = 5_000;
/// Enough for an innocent pod.
const REST_US: i64 = 15_000;

/// Five hundred with one of the runtimes: with the other it is the same daemon, and they'd take another minute.
fn usually(runtime: Runtime) -> usize {
    match runtime {
        Runtime::Containerd => 500,
        Runtime::CriO => 200,
    }
}

/// The one that asks for little is another one in each pod.
fn member(number: usize, much: i64) -> Value {
    let annotations = json!({
        "realtime.openshift.io/runtime-us": much.to_string(),
        "realtime.openshift.io/runtime-us.main": SMALL_US.to_string(),
    });
    let mut member = pod(&name(number), &annotations, &[]);
    let others = (1..CONTAINERS).map(|other| container(&format!("c{other}"), &["sleep", "36000"]));
    let mut containers: Vec<Value> = others.collect();
    let main = container("main", &["first-act", "36000"]);
    containers.insert(number % CONTAINERS, main);
    member["spec"]["containers"] = json!(containers);
    member
}

fn name(number: usize) -> String {
    format!("crowd-{number}")
}

async fn set_capacity(lab: &Lab, micros: i64) {
    lab.set(json!({"capacityMicroseconds": micros})).await;
    lab.wait_for("the capacity", |told| {
        told.capacity_microseconds == Some(micros)
    })
    .await;
}

pub async fn of_a_kubelet(lab: &Lab, witness: &Witness) {
    let wanted = std::env::var(VARIABLE).ok();
    let wanted = wanted.map_or(usually(lab.runtime), |text| text.parse().expect(VARIABLE));
    let pods = wanted.div_ceil(CONTAINERS);
    let small = SMALL_US * i64::try_from(pods).expect("a number");
    set_capacity(lab, WITNESS_US + small + REST_US).await;
    let much = small + REST_US + 1;
    assert!(
        much <= MOST_US,
        "{VARIABLE}: more than a container may ask for"
    );
    let used = witness.used();
    let begun = Instant::now();
    for number in 0..pods {
        lab.create(member(number, much)).await;
    }
    let given = WITNESS_US + small;
    come(lab, wanted).await;
    for number in 0..pods {
        lab.phase(&name(number), "Running").await;
    }
    println!("{pods} pods run after {:.1?}", begun.elapsed());
    let told = lab
        .settled(pods * CONTAINERS + 1, |told| {
            told.allocated_microseconds == Some(given)
        })
        .await;
    println!(
        "{} containers told after {:.1?}, {:.2} of a CPU, {} MiB",
        pods * CONTAINERS,
        begun.elapsed(),
        witness.share(&used),
        witness.memory()
    );
    for entry in told
        .containers
        .iter()
        .filter(|entry| entry.pod != "witness")
    {
        let is = (
            entry.state,
            entry.reason.as_deref(),
            entry.applied_microseconds,
            entry.assigned_before_start,
        );
        let wanted = if entry.container == "main" {
            let applied = ContainerBudgetState::Applied;
            (applied, None, Some(SMALL_US), Some(true))
        } else {
            let refused = ContainerBudgetState::Refused;
            (refused, Some("NoRoom"), None, is.3)
        };
        assert_eq!(is, wanted, "{entry:?}\n{}", lab.said());
    }
    for number in 0..pods {
        granted(lab, &name(number)).await;
    }
    assert!(witness.memory() < MOST_MEMORY);
    lab.allocated_is(given).await;
    witness.is_well(lab).await;
    witness.innocent(lab, "among-a-crowd").await;
    let used = witness.used();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let share = witness.share(&used);
    println!("a crowd at rest: {share:.2} of a CPU");
    assert!(share < 0.5, "{share}\n{}", lab.said());

    let begun = Instant::now();
    let delete = DeleteParams::default().grace_period(0);
    for number in 0..pods {
        let gone = lab.pods.delete(&name(number), &delete).await;
        gone.expect("deleted");
    }
    lab.wait_for("only the witness", |told| told.containers.len() == 1)
        .await;
    lab.allocated_is(WITNESS_US).await;
    println!("all of it is back after {:.1?}", begun.elapsed());
    set_capacity(lab, CAPACITY_US).await;
}

/// Waits until there are so many containers' groups. They come as fast as the machine starts them, and it has other work: what
/// fails is that for long none comes.
async fn come(lab: &Lab, wanted: usize) {
    let class = lab.node.cgroup_root().join("kubepods/besteffort");
    let (mut most, mut since) = (0, Instant::now());
    while most < wanted {
        let there = below(&class).iter().map(|pod| below(pod).len()).sum();
        if there > most {
            (most, since) = (there, Instant::now());
        }
        assert!(since.elapsed() < LONG, "{most} groups\n{}", lab.said());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A group's groups; one that is gone has none.
fn below(group: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.is_dir()).collect()
}

/// The program had its budget before it asked for real-time: it asks once.
async fn granted(lab: &Lab, name: &str) {
    let main = LogParams {
        container: Some("main".to_owned()),
        ..LogParams::default()
    };
    let begun = Instant::now();
    loop {
        let words = lab.pods.logs(name, &main).await.unwrap_or_default();
        if words == "SCHED_FIFO granted\n" {
            return;
        }
        let none = words.is_empty() || words.starts_with("unable");
        let late = begun.elapsed() > LONG;
        assert!(none && !late, "{name}: {words:?}\n{}", lab.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
