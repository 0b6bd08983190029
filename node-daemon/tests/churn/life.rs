//! One pod's life, from its creation until nothing of it is left: what it asks for, what runs in it, what goes wrong with
//! it, and in which order it goes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use realtime_testing::kubelet_standin::Kubelet;
use realtime_testing::kubelet_standin::pod::StandinPod;
use realtime_testing::kubelet_standin::program::Program;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::dice::Dice;

/// What the pods of the node may have together, microseconds of each second.
pub const CAPACITY_US: i64 = 200_000;
/// What one container may ask for: more than there is.
pub const MOST_US: i64 = 220_000;
/// A budget comes within seconds, also while the daemon is killed again and again; this is for a starved machine.
const LIMIT: Duration = Duration::from_mins(1);
const LOOK: Duration = Duration::from_millis(4);

/// What all share.
pub struct World {
    pub kubelet: Kubelet,
    pub program: Program,
    pub seed: u64,
    /// From when a container's group was made, whose pod was known to the API, until it had its budget.
    pub waits: Arc<Mutex<Vec<Duration>>>,
    pub restarts: AtomicUsize,
    pub realtime: AtomicUsize,
    pub meddled: AtomicUsize,
    pub zombies: AtomicUsize,
}

/// What a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// Asks for nothing.
    Plain,
    /// With one mistake or several.
    Wrong,
    /// For more than the node has.
    Glutton,
    /// Properly.
    Asks,
}

/// What a pod asks for: annotations, and each container's name and budget (0: it must get none).
fn contract(dice: &mut Dice, sort: Sort) -> (Value, Vec<(String, i64)>) {
    let one = |micros| vec![("main".to_owned(), micros)];
    match sort {
        Sort::Plain => (json!({"a": "b"}), one(0)),
        Sort::Glutton => (
            json!({"realtime": "true", "rt_runtime_us": "210000"}),
            one(0),
        ),
        Sort::Wrong => {
            let text = dice.one_of(&["abc", "-5", "010", "999999", "4999", "5000 ", "1e4"]);
            let annotations = dice.one_of(&[0, 1, 2]);
            let annotations = match annotations {
                0 => json!({"realtime": "true", "rt_runtime_us": text}),
                1 => json!({"realtime.openshift.io/runtime-us.other": "6000"}),
                _ => json!({"realtime.openshift.io/scheduler": "fifo:50"}),
            };
            (annotations, one(0))
        }
        Sort::Asks => {
            let micros = 5_000 + i64::try_from(dice.below(2_000)).unwrap();
            let mut annotations = match dice.below(3) {
                0 => json!({"realtime": "true", "rt_runtime_us": micros.to_string()}),
                1 => json!({"realtime.openshift.io/runtime-us.main": micros.to_string()}),
                _ => {
                    return (
                        json!({
                            "realtime.openshift.io/runtime-us.main": micros.to_string(),
                            "realtime.openshift.io/runtime-us.second": "5000",
                        }),
                        vec![("main".to_owned(), micros), ("second".to_owned(), 5_000)],
                    );
                }
            };
            if dice.percent(15) {
                annotations["realtime.openshift.io/scheduler.main"] = json!("fifo:10");
            }
            (annotations, one(micros))
        }
    }
}

/// A pod's whole life.
pub async fn live(world: &World, number: usize) {
    let mut dice = Dice::new(world.seed, number as u64);
    let (mut pod, containers) = begin(world, number, None, &mut dice).await;
    let asks = containers.iter().any(|(_, micros)| *micros > 0);
    let hasty = dice.percent(8);
    if hasty {
        // Its end comes while everything about it is under way.
        dice.pause(60).await;
        return leave(world, pod, &mut dice).await;
    }
    if asks {
        for (container, micros) in &containers {
            budget(world, &pod, container, *micros).await;
        }
        become_realtime(world, &mut pod, &mut dice);
        if dice.percent(5) {
            meddle(world, &pod, containers[0].1).await;
        }
        if dice.percent(25) {
            restart(world, &mut pod, &containers[0], &mut dice).await;
        }
        dice.pause(150).await;
    } else {
        dice.pause(250).await;
        for running in &pod.running {
            let has = world.kubelet.groups.runtime(&running.group);
            assert_eq!(has, Some(0), "{}: nobody gave it that", pod.name);
        }
    }
    leave(world, pod, &mut dice).await;
}

/// A pod that has what it asks for, and stays.
pub async fn stay(world: &World, number: usize) -> (StandinPod, Vec<(String, i64)>) {
    let mut dice = Dice::new(world.seed, number as u64);
    let (mut pod, containers) = begin(world, number, Some(Sort::Asks), &mut dice).await;
    for (container, micros) in &containers {
        budget(world, &pod, container, *micros).await;
    }
    become_realtime(world, &mut pod, &mut dice);
    (pod, containers)
}

async fn begin(
    world: &World,
    number: usize,
    sort: Option<Sort>,
    dice: &mut Dice,
) -> (StandinPod, Vec<(String, i64)>) {
    let kubelet = &world.kubelet;
    let drawn = match dice.below(100) {
        0..15 => Sort::Plain,
        15..30 => Sort::Wrong,
        30..35 => Sort::Glutton,
        _ => Sort::Asks,
    };
    let sort = sort.unwrap_or(drawn);
    let (annotations, containers) = contract(dice, sort);
    let names: Vec<String> = containers.iter().map(|(name, _)| name.clone()).collect();
    let class = dice.one_of(&["", "burstable", "besteffort"]);
    let name = format!("pod-{number}");
    let mut pod = kubelet
        .create(&name, class, &annotations, &names)
        .await
        .unwrap();
    kubelet.begin(&mut pod, &dice.id()).unwrap();
    for (container, micros) in &containers {
        let process = dice.percent(85);
        let id = dice.id();
        kubelet.run(&mut pod, container, &id, process).unwrap();
        watch(world, &pod, *micros);
    }
    // A kubelet reports some time later, or never, where a container ends at once.
    if dice.percent(90) {
        dice.pause(100).await;
        kubelet.report(&pod).await.unwrap();
    }
    (pod, containers)
}

/// Takes the time until the container that was just made has its budget.
fn watch(world: &World, pod: &StandinPod, micros: i64) {
    let Some(running) = pod.running.last().filter(|_| micros > 0) else {
        return;
    };
    let (made, group) = (running.made, running.group.clone());
    let file = world.kubelet.groups.path(&group).join("cpu.rt_runtime_us");
    let waits = Arc::clone(&world.waits);
    tokio::spawn(async move {
        // Until it has it, or is gone.
        while let Ok(text) = std::fs::read_to_string(&file) {
            if text.trim().parse() == Ok(micros) {
                return waits.lock().unwrap().push(made.elapsed());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Waits until a container has its budget.
async fn budget(world: &World, pod: &StandinPod, container: &str, micros: i64) {
    let running = pod.running.iter().rev();
    let running = running
        .clone()
        .find(|running| running.container == container)
        .unwrap();
    let groups = &world.kubelet.groups;
    let begun = Instant::now();
    loop {
        let has = groups.runtime(&running.group);
        if has == Some(micros) {
            break;
        }
        assert!(
            begun.elapsed() < LIMIT,
            "{}/{container} has {has:?} and not {micros}; the pods' group {:?}; seed {}\n{}",
            pod.name,
            groups.runtime(&groups.pods()),
            world.seed,
            world.program.said(60)
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// Some containers' programs use what they have, and some end early.
fn become_realtime(world: &World, pod: &mut StandinPod, dice: &mut Dice) {
    for running in &mut pod.running {
        let Some(process) = &mut running.process else {
            continue;
        };
        if dice.percent(60) {
            let said = process.tell("fifo", 10).unwrap();
            assert_eq!(
                said,
                0,
                "{}: the kernel refuses SCHED_FIFO; {} has {:?}; seed {}\n{}",
                pod.name,
                running.group,
                world.kubelet.groups.runtime(&running.group),
                world.seed,
                world.program.said(40)
            );
            if dice.percent(20) {
                process.tell("spin", 3).unwrap();
            }
            world.realtime.fetch_add(1, Ordering::Relaxed);
        } else if dice.percent(30) {
            running.process = None;
        }
    }
}

/// Somebody else writes.
async fn meddle(world: &World, pod: &StandinPod, micros: i64) {
    let running = &pod.running[0];
    // The kernel may have a word against it, too.
    if world
        .kubelet
        .groups
        .meddle(&running.group, micros - 500)
        .is_ok()
    {
        world.meddled.fetch_add(1, Ordering::Relaxed);
        budget(world, pod, &running.container, micros).await;
    }
}

/// A container ends and begins again under another id.
async fn restart(world: &World, pod: &mut StandinPod, container: &(String, i64), dice: &mut Dice) {
    let kubelet = &world.kubelet;
    let old = pod.running.remove(0);
    kubelet.end(old).await.unwrap();
    let id = dice.id();
    kubelet
        .run(pod, &container.0, &id, dice.percent(85))
        .unwrap();
    watch(world, pod, container.1);
    if dice.percent(80) {
        kubelet.report(pod).await.unwrap();
    }
    budget(world, pod, &container.0, container.1).await;
    world.restarts.fetch_add(1, Ordering::Relaxed);
}

/// The object first, its groups first, both at once, or with a grace period.
pub async fn leave(world: &World, mut pod: StandinPod, dice: &mut Dice) {
    let kubelet = &world.kubelet;
    let name = pod.name.clone();
    // Somebody is late in reaping it: its group's part of the budget stays for as long.
    let zombie = if dice.percent(1) {
        pod.running
            .first_mut()
            .and_then(|running| running.process.take())
    } else {
        None
    };
    if let Some(zombie) = &zombie {
        kill_process(Pid::from_raw(zombie.pid()).unwrap(), Signal::KILL).unwrap();
        world.zombies.fetch_add(1, Ordering::Relaxed);
    }
    match dice.below(4) {
        0 => {
            kubelet.delete(&name, 0).await.unwrap();
            dice.pause(200).await;
            kubelet.end_all(&mut pod).await.unwrap();
        }
        1 => {
            kubelet.end_all(&mut pod).await.unwrap();
            dice.pause(200).await;
            kubelet.delete(&name, 0).await.unwrap();
        }
        2 => {
            let (deleted, ended) =
                futures::join!(kubelet.delete(&name, 0), kubelet.end_all(&mut pod));
            deleted.unwrap();
            ended.unwrap();
        }
        _ => {
            kubelet.delete(&name, 30).await.unwrap();
            dice.pause(150).await;
            kubelet.end_all(&mut pod).await.unwrap();
            dice.pause(50).await;
            kubelet.delete(&name, 0).await.unwrap();
        }
    }
    if zombie.is_some() {
        dice.pause(4_000).await;
    }
}
