//! Five hundred containers within a moment, faster than any runtime starts them (`crowd` has those). The pods are the API
//! server's, and the kubelet makes their groups; their containers are groups and bundles that are made by hand.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use realtime_core::api::realtime_node::ContainerBudgetState;
use realtime_testing::real_node::Runtime;
use serde_json::{Map, Value, json};

use crate::on_node::{CAPACITY_US, LONG, Lab, MOST_US, container, pod};
use crate::witness::{MOST_MEMORY, WITNESS_US, Witness, value};

const PODS: usize = 100;
const CONTAINERS: [&str; 5] = ["main", "b", "c", "d", "e"];
/// Of a container that asks for little.
const SMALL_US: i64 = 5_000;
/// What those leave free: less than any of the others asks for, and enough for an innocent pod.
const REST_US: i64 = 100_000;

/// A pod that never starts: one of its volumes isn't there.
fn never_starts(number: usize, small: usize) -> Value {
    let micros = if number < small { SMALL_US } else { MOST_US };
    let annotations = json!({"realtime.openshift.io/runtime-us": micros.to_string()});
    let mut never = pod(&format!("many-{number}"), &annotations, &["true"]);
    let containers: Vec<Value> = CONTAINERS
        .iter()
        .map(|name| container(name, &["true"]))
        .collect();
    never["spec"]["containers"] = json!(containers);
    // One that nobody mounts isn't waited for.
    never["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "none", "mountPath": "/none"}]);
    never["spec"]["volumes"] = json!([{"name": "none", "secret": {"secretName": "none"}}]);
    never
}

fn id(pod: usize, container: usize) -> String {
    format!("{pod:032x}{container:032x}")
}

pub async fn at_once(lab: &Lab, witness: &Witness) {
    // Other nodes on this machine may have a part of what there is.
    let told = lab.wait_for("the capacity", |_| true).await;
    let capacity = told.capacity_microseconds.unwrap();
    assert!(capacity <= CAPACITY_US);
    let per_pod = SMALL_US * i64::try_from(CONTAINERS.len()).unwrap();
    let small = usize::try_from((capacity - WITNESS_US - REST_US) / per_pod).unwrap();
    for number in 0..PODS {
        lab.create(never_starts(number, small)).await;
    }
    let top = lab.node.cgroup_root().join("kubepods/besteffort");
    let mut pods = Vec::new();
    for number in 0..PODS {
        let made = lab.pods.get(&format!("many-{number}")).await.expect("pod");
        let uid = made.uid().expect("uid");
        let group = top.join(format!("pod{uid}"));
        let begun = Instant::now();
        while !group.exists() {
            assert!(begun.elapsed() < LONG, "no group of many-{number}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pods.push((number, uid, group));
    }
    // Their containers, all within a moment; those that fit come first.
    let used = witness.used();
    let begun = Instant::now();
    let fit = Containers::make(lab, &pods[..small]);
    let given = i64::try_from(small).unwrap() * per_pod + WITNESS_US;
    lab.wait_for("those that fit", |told| {
        told.allocated_microseconds == Some(given)
    })
    .await;
    let made = Containers::make(lab, &pods[small..]);
    println!("500 groups made in {:.1?}", begun.elapsed());
    let told = lab.settled(PODS * CONTAINERS.len() + 1, |_| true).await;
    println!(
        "500 containers told after {:.1?}, {:.2} of a CPU, {} MiB",
        begun.elapsed(),
        witness.share(&used),
        witness.memory()
    );
    let applied = |entry: &&realtime_core::api::realtime_node::ContainerBudget| {
        entry.state == ContainerBudgetState::Applied
    };
    let count = told.containers.iter().filter(applied).count();
    assert_eq!(count, small * CONTAINERS.len() + 1, "{}", lab.said());
    assert_eq!(told.allocated_microseconds, Some(given));
    let size = serde_json::to_vec(&told).unwrap().len();
    println!("the status has {size} bytes");
    assert!(size < 1 << 20 && witness.memory() < MOST_MEMORY);
    for (number, _, group) in &pods {
        let wanted = if *number < small { SMALL_US } else { 0 };
        assert_eq!(value(&group.join(lab.group_name(&id(*number, 1)))), wanted);
    }
    witness.is_well(lab).await;
    witness.innocent(lab, "among-many").await;
    let used = witness.used();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let share = witness.share(&used);
    println!("500 containers at rest: {share:.2} of a CPU");
    assert!(share < 0.5, "{share}\n{}", lab.said());

    // All go at once.
    drop((fit, made));
    let delete = DeleteParams::default().grace_period(0);
    for pod in lab.pods.list(&ListParams::default()).await.expect("pods") {
        let name = pod.name_any();
        if name.starts_with("many-") {
            lab.pods.delete(&name, &delete).await.expect("deleted");
        }
    }
    lab.wait_for("only the witness", |told| told.containers.len() == 1)
        .await;
    lab.allocated_is(WITNESS_US).await;
}

/// Where a runtime keeps a container's specification, and by which annotations it says there what it is, its name, and its
/// pod's name, namespace and uid.
fn kept(runtime: Runtime, id: &str) -> (String, [&'static str; 5]) {
    match runtime {
        Runtime::Containerd => (
            format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}"),
            [
                "io.kubernetes.cri.container-type",
                "io.kubernetes.cri.container-name",
                "io.kubernetes.cri.sandbox-name",
                "io.kubernetes.cri.sandbox-namespace",
                "io.kubernetes.cri.sandbox-uid",
            ],
        ),
        Runtime::CriO => (
            format!("/run/containers/storage/overlay-containers/{id}/userdata"),
            [
                "io.kubernetes.cri-o.ContainerType",
                "io.kubernetes.container.name",
                "io.kubernetes.pod.name",
                "io.kubernetes.pod.namespace",
                "io.kubernetes.pod.uid",
            ],
        ),
    }
}

/// Groups and bundles, removed with the value.
struct Containers(Vec<PathBuf>, Vec<PathBuf>);

impl Containers {
    fn make(lab: &Lab, pods: &[(usize, String, PathBuf)]) -> Self {
        let mut made = Self(Vec::new(), Vec::new());
        for (number, uid, _) in pods {
            for (index, container) in CONTAINERS.iter().enumerate() {
                let (kept, annotations) = kept(lab.runtime, &id(*number, index));
                let bundle = lab.node.path_inside(&kept);
                std::fs::create_dir_all(&bundle).expect("bundle");
                let words = [
                    "container",
                    container,
                    &format!("many-{number}"),
                    "default",
                    uid,
                ];
                let annotations: Map<String, Value> = annotations
                    .map(str::to_owned)
                    .into_iter()
                    .zip(words.map(Value::from))
                    .collect();
                let specification = json!({"ociVersion": "1.2.0", "annotations": annotations});
                std::fs::write(bundle.join("config.json"), specification.to_string())
                    .expect("config.json");
                made.1.push(bundle);
            }
        }
        for (number, _, group) in pods {
            for index in 0..CONTAINERS.len() {
                let group = group.join(lab.group_name(&id(*number, index)));
                std::fs::create_dir(&group).expect("group");
                made.0.push(group);
            }
        }
        made
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        for group in &self.0 {
            let _ = std::fs::remove_dir(group);
        }
        for bundle in &self.1 {
            let _ = std::fs::remove_dir_all(bundle);
        }
    }
}
