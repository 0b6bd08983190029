//! Every sort of pod and container, each with a budget of its own, and the kernel's word of each.

use std::fs;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, Patch, PatchParams};
use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_core::rt::request::RUNTIME_US;
use realtime_testing::real_node::Runtime;
use serde_json::{Value, json};

use crate::eyes::{annotate, budget_of, has, prints, process, process_of, run, sums_hold, until};
use crate::on_node::{CAPACITY_US, Lab, budget, container, pod};

const GRANTED: &str = "SCHED_FIFO granted\n";
/// Each program's second word is its own, so that its process is known: pod, container, word, its budget.
const SORTS: [(&str, &str, &str, i64); 11] = [
    ("guaranteed", "main", "7001", 10_000),
    ("burstable", "main", "7002", 11_000),
    ("burstable", "second", "7003", 12_000),
    ("besteffort", "main", "7004", 13_000),
    ("stages", "side", "7005", 14_000),
    ("stages", "main", "7006", 15_000),
    ("static-node-1", "main", "7008", 17_000),
    ("hosts", "main", "7009", 18_000),
    ("counted", "main", "7010", 19_000),
    ("falls", "main", "7011", 20_000),
    ("plain-too", "main", "7012", 21_000),
];
/// Of the init container that has ended.
const WARM_UP: i64 = 40_000;

fn key(container: &str) -> String {
    format!("{RUNTIME_US}.{container}")
}

fn first_act(name: &str, word: &str) -> Value {
    container(name, &["first-act", word])
}

/// The pods, without the static one.
fn pods() -> Vec<Value> {
    let mut guaranteed = pod("guaranteed", &budget("10000"), &["first-act", "7001"]);
    let resources = json!({"cpu": "50m", "memory": "16Mi"});
    guaranteed["spec"]["containers"][0]["resources"] =
        json!({"requests": resources, "limits": resources});

    let mut burstable = pod(
        "burstable",
        &json!({RUNTIME_US: "11000", key("second"): "12000"}),
        &[],
    );
    burstable["spec"]["containers"] =
        json!([first_act("main", "7002"), first_act("second", "7003")]);
    burstable["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "10m"}});

    let mut stages = pod(
        "stages",
        &json!({key("warm-up"): WARM_UP.to_string(), key("side"): "14000", key("main"): "15000"}),
        &["first-act", "7006"],
    );
    let mut side = first_act("side", "7005");
    side["restartPolicy"] = "Always".into();
    stages["spec"]["initContainers"] = json!([container("warm-up", &["first-act"]), side]);

    let mut hosts = pod("hosts", &budget("18000"), &["first-act", "7009"]);
    hosts["spec"]["hostPID"] = true.into();
    hosts["spec"]["hostNetwork"] = true.into();

    let mut counted = pod(
        "counted",
        &json!({RUNTIME_US: "19000"}),
        &["first-act", "7010"],
    );
    let resource = json!({RUNTIME_US: "19000"});
    counted["spec"]["containers"][0]["resources"] =
        json!({"requests": resource, "limits": resource});

    let mut falls = pod("falls", &budget("20000"), &["first-act", "7011"]);
    falls["spec"]["restartPolicy"] = "Always".into();

    // A container beside it that never asked has nothing, and takes nothing.
    let mut plain_too = pod(
        "plain-too",
        &json!({key("main"): "21000"}),
        &["first-act", "7012"],
    );
    let asks_not = container("asks-not", &["sleep", "7013"]);
    plain_too["spec"]["containers"] = json!([asks_not, first_act("main", "7012")]);

    let besteffort = pod("besteffort", &budget("13000"), &["first-act", "7004"]);
    vec![
        guaranteed, burstable, besteffort, stages, hosts, counted, falls, plain_too,
    ]
}

/// A Guaranteed pod stands for a negative oom_score_adj, which takes CAP_SYS_RESOURCE. containerd leaves it out where it
/// can't be had.
fn can_be_guaranteed(runtime: Runtime) -> bool {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let has = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let has = has.and_then(|has| u64::from_str_radix(has.trim(), 16).ok());
    runtime == Runtime::Containerd || has.is_some_and(|has| has & SYS_RESOURCE != 0)
}

/// All of them at once.
pub async fn every_sort(lab: &Lab) {
    let can = can_be_guaranteed(lab.runtime);
    if !can {
        realtime_testing::skip("CRI-O runs no Guaranteed pod without CAP_SYS_RESOURCE");
    }
    let runs = |name: &str| can || name != "guaranteed";
    let sorts = || SORTS.into_iter().filter(|(pod, ..)| runs(pod));
    let nodes: Api<Node> = Api::all(lab.client.clone());
    let resource = json!({"status": {"capacity": {RUNTIME_US: CAPACITY_US.to_string()}}});
    nodes
        .patch_status(
            &lab.node.options().node_name,
            &PatchParams::default(),
            &Patch::Merge(resource),
        )
        .await
        .expect("the resource");
    let mut fixed = pod("static", &budget("17000"), &["first-act", "7008"]);
    fixed["apiVersion"] = "v1".into();
    fixed["kind"] = "Pod".into();
    fixed["metadata"]["namespace"] = "default".into();
    let file = lab.node.static_pods_dir().join("static.json");
    fs::write(&file, fixed.to_string()).expect("a static pod");
    let name_of = |pod: &Value| {
        pod["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    for pod in pods().into_iter().filter(|pod| runs(&name_of(pod))) {
        lab.create(pod).await;
    }

    for (pod, container, word, micros) in sorts() {
        let process = has(lab, &["first-act", word], micros).await;
        let entry = lab
            .entry(pod, container, |entry| {
                entry.state == ContainerBudgetState::Applied
            })
            .await;
        assert_eq!(
            (entry.applied_microseconds, entry.assigned_before_start),
            (Some(micros), Some(true)),
            "{pod}: {process:?}\n{}",
            lab.said()
        );
        prints(lab, pod, container, GRANTED).await;
    }
    // Each class's group is where it should be.
    for (word, class) in [
        ("7001", None),
        ("7002", Some("burstable")),
        ("7004", Some("besteffort")),
    ]
    .into_iter()
    .filter(|(_, class)| can || class.is_some())
    {
        let process = process_of(lab, &["first-act", word]).await;
        let above = process
            .group
            .parent()
            .and_then(|pod| pod.parent())
            .expect("a class");
        let pods = lab.node.cgroup_root().join("kubepods");
        assert_eq!(above, class.map_or(pods.clone(), |class| pods.join(class)));
    }
    let asks_not = process_of(lab, &["sleep", "7013"]).await;
    assert_eq!(budget_of(&asks_not.group), Some(0));
    // The init container had more than all others.
    prints(lab, "stages", "warm-up", GRANTED).await;
    let sum: i64 = sorts().map(|(_, _, _, micros)| micros).sum();
    lab.allocated_is(sum).await;
    sums_hold(lab).await;
    lab.wait_for("no entry of what has ended", |told| {
        told.containers
            .iter()
            .all(|entry| entry.container != "warm-up")
            && told.allocated_microseconds == Some(sum)
    })
    .await;

    added_later(lab).await;
    lab.allocated_is(sum + 16_000).await;
    comes_again(lab).await;
    lab.allocated_is(sum + 16_000).await;
    sums_hold(lab).await;

    fs::remove_file(file).expect("removed");
    for pod in pods().iter().filter(|pod| runs(&name_of(pod))) {
        let name = name_of(pod);
        lab.delete(&name).await;
    }
    lab.allocated_is(0).await;
}

/// An ephemeral container has what a key with its name gives it, and nothing else.
async fn added_later(lab: &Lab) {
    let mut debugger = container("debugger", &["sleep", "7007"]);
    debugger["targetContainerName"] = "main".into();
    let patch = json!({"spec": {"ephemeralContainers": [debugger]}});
    let patched: Pod = lab
        .pods
        .patch_ephemeral_containers(
            "besteffort",
            &PatchParams::default(),
            &Patch::Strategic(patch),
        )
        .await
        .expect("an ephemeral container");
    assert!(patched.spec.is_some());
    let process = process_of(lab, &["sleep", "7007"]).await;
    assert_eq!(budget_of(&process.group), Some(0));
    annotate(lab, "besteffort", json!({key("debugger"): "16000"})).await;
    has(lab, &["sleep", "7007"], 16_000).await;
    let exec = ["exec", "besteffort", "-c", "debugger", "--", "first-act"];
    let exec = crate::eyes::kubectl(lab, &exec).await;
    assert_eq!(
        String::from_utf8_lossy(&exec.stdout),
        GRANTED,
        "{}",
        String::from_utf8_lossy(&exec.stderr)
    );
    let entry = lab
        .entry("besteffort", "debugger", |entry| {
            entry.state == ContainerBudgetState::Applied
        })
        .await;
    assert_eq!(entry.assigned_before_start, Some(false), "{}", lab.said());
}

/// A container that dies comes again with another id, and with its budget before its first instruction.
async fn comes_again(lab: &Lab) {
    let command = ["first-act", "7011"];
    let before = process_of(lab, &command).await;
    let pid = rustix::process::Pid::from_raw(before.pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let after = until(lab, "the next one", || {
        process(lab, &command).filter(|after| after.group != before.group)
    })
    .await;
    assert_eq!(budget_of(&after.group), Some(20_000), "{}", lab.said());
    prints(lab, "falls", "main", GRANTED).await;
    // CRI-O leaves the dead one's group for a while.
    until(lab, "what the old one had", || {
        (budget_of(&before.group).unwrap_or_default() == 0).then_some(())
    })
    .await;
    lab.entry("falls", "main", |entry| {
        entry.state == ContainerBudgetState::Applied
            && entry.applied_microseconds == Some(20_000)
            && entry.assigned_before_start == Some(true)
    })
    .await;
}

/// What one class had all of, the other has all of a moment later.
pub async fn classes_do_not_starve_each_other(lab: &Lab) {
    for (name, cpu) in [
        ("fills-one", Some("10m")),
        ("fills-other", None),
        ("fills-again", Some("10m")),
    ] {
        let mut full = pod(
            name,
            &json!({RUNTIME_US: (CAPACITY_US / 2).to_string()}),
            &[],
        );
        full["spec"]["containers"] =
            json!([first_act("main", "7021"), first_act("second", "7022")]);
        if let Some(cpu) = cpu {
            full["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
        }
        run(lab, full, "Running").await;
        for container in ["main", "second"] {
            prints(lab, name, container, GRANTED).await;
        }
        lab.allocated_is(CAPACITY_US).await;
        sums_hold(lab).await;
        // Without a grace period the object goes before the processes do.
        lab.delete(name).await;
        lab.allocated_is(0).await;
    }
}
