//! What pods say: annotations of every bad shape, odd names, and the words of runtimes and kubelets.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use kube::api::{Api, DeleteParams, PostParams};
use realtime_core::api::realtime_node::ContainerBudgetState;
use serde_json::{Map, Value, json};

use crate::on_node::{Lab, budget, container, pod};
use crate::witness::{Witness, applied, value};

/// An Event's note, in bytes, by its API.
const NOTE: usize = 1024;
/// A status entry's message, in bytes.
const MESSAGE: usize = 703;
/// All annotations of an object together, in bytes, by the API.
const ANNOTATIONS: usize = 256 << 10;

/// Deletes what refuses such pods at the door: the daemon stands alone.
async fn no_admission(lab: &Lab) {
    let api: Api<ValidatingAdmissionPolicyBinding> = Api::all(lab.client.clone());
    for name in ["realtime-pod-contract", "realtime-pod-namespace"] {
        api.delete(name, &DeleteParams::default()).await.unwrap();
    }
    // Until the API server goes by it.
    let bad = pod("through", &budget("010"), &["true"]);
    let bad: k8s_openapi::api::core::v1::Pod = serde_json::from_value(bad).unwrap();
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    for _ in 0..600 {
        if lab.pods.create(&dry, &bad).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    unreachable!("the API server still refuses");
}

/// One pod each.
fn shapes() -> Vec<(&'static str, Value)> {
    let of = |text: &str| budget(text);
    let mut thousands = Map::new();
    thousands.insert("realtime".to_owned(), json!("true"));
    for number in 0..4500 {
        let key = format!("realtime.openshift.io/runtime-us.c{number}");
        thousands.insert(key, json!("25000"));
    }
    vec![
        ("zero", of("0")),
        ("negative", of("-1")),
        ("octal", of("010")),
        ("hexadecimal", of("0x6400")),
        ("exponent", of("1e9")),
        ("over", of("200001")),
        ("far-over", of("18446744073709576616")),
        ("blank", of(" 25000")),
        ("newline", of("25000\n")),
        ("nul", of("25000\0")),
        ("escape", of("\u{1b}[2J\u{1b}[31m25000\u{202e}")),
        ("arabic", of("٢٥٠٠٠")),
        ("huge", of(&"9".repeat(ANNOTATIONS - 100))),
        ("huge-wide", of(&"\u{1f980}".repeat(ANNOTATIONS / 4 - 50))),
        ("huge-control", of(&"\u{1}".repeat(ANNOTATIONS - 100))),
        ("thousands", Value::Object(thousands)),
        (
            "nobody",
            json!({"realtime.openshift.io/runtime-us.else": "25000"}),
        ),
        (
            "switch",
            json!({"realtime": "TRUE\0\n", "rt_runtime_us": "25000"}),
        ),
        (
            "policy",
            json!({"realtime.openshift.io/runtime-us": "25000", "realtime.openshift.io/scheduler": "fifo:100\n"}),
        ),
    ]
}

pub async fn bad_values(lab: &Lab, witness: &Witness) {
    no_admission(lab).await;
    let used = witness.used();
    let shapes = shapes();
    for (name, annotations) in &shapes {
        lab.create(pod(name, annotations, &["sleep", "3600"])).await;
    }
    witness.innocent(lab, "among-bad-words").await;
    for (name, _) in &shapes {
        let entry = lab
            .entry(name, "main", |entry| {
                entry.state == ContainerBudgetState::Refused
            })
            .await;
        assert_eq!(entry.reason.as_deref(), Some("InvalidRequest"), "{name}");
        let message = entry.message.unwrap();
        assert!(message.len() <= MESSAGE, "{name}: {message}");
        assert!(!message.chars().any(char::is_control), "{name}: {message}");
        assert_eq!(entry.applied_microseconds, None);
        let note = lab.event(name, "RealtimeRefused").await.message.unwrap();
        assert!(note.len() <= NOTE && !note.chars().any(char::is_control));
        // It runs, as it would without any annotation.
        let made = lab.phase(name, "Running").await;
        let uid = made.metadata.uid.unwrap();
        let group = format!("kubepods/besteffort/pod{uid}");
        assert_eq!(value(&lab.node.cgroup_root().join(group)), 0, "{name}");
    }
    println!(
        "bad words: {:.2} of a CPU, {} MiB",
        witness.share(&used),
        witness.memory()
    );
    let used = witness.used();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let share = witness.share(&used);
    println!("bad words, later: {share:.2} of a CPU");
    assert!(share < 0.5, "{share}\n{}", lab.said());
    witness.is_well(lab).await;
    for (name, _) in &shapes {
        lab.delete(name).await;
    }
    witness.is_well(lab).await;
}

/// All that the API server lets through as a name.
pub async fn odd_names(lab: &Lab, witness: &Witness) {
    // With a longer one the kubelet has no name for the folder of its logs. Its 200th character is a dot, where an Event's
    // name cuts it.
    let long = format!(
        "{}.{}.{}.{}.end",
        "a".repeat(63),
        "1".repeat(63),
        "z-".repeat(31) + "z",
        "0".repeat(7)
    );
    let names = ["0", "1.2.3.4", "kubepods", "pod0.slice", "a--b", &long];
    let long_container = format!("m{}", "-0".repeat(31));
    for name in names {
        let mut odd = pod(name, &budget("5000"), &["first-act", "3600"]);
        odd["spec"]["containers"] = json!([
            container(&long_container, &["first-act", "3600"]),
            container("0", &["sleep", "3600"]),
        ]);
        lab.create(odd).await;
        let entry = lab
            .entry(name, &long_container, |entry| {
                entry.state == ContainerBudgetState::Applied
            })
            .await;
        assert_eq!(entry.assigned_before_start, Some(true), "{name}");
        lab.event(name, "RealtimeApplied").await;
        lab.delete(name).await;
    }
    witness.is_well(lab).await;
}

/// What only runtimes and kubelets may say.
pub async fn forged(lab: &Lab, witness: &Witness) {
    let words = |kind: &str, more: Value| {
        let mut words = json!({
            "realtime": "true", "rt_runtime_us": "30000",
            "io.kubernetes.container.name": "main", "io.kubernetes.pod.name": "witness",
            "io.kubernetes.pod.namespace": "default", "io.kubernetes.pod.uid": witness.uid,
        });
        let all = words.as_object_mut().unwrap();
        if kind == "containerd" {
            for (key, text) in [
                ("container-type", "container"),
                ("container-name", "main"),
                ("sandbox-name", "witness"),
                ("sandbox-namespace", "default"),
                ("sandbox-uid", &witness.uid),
            ] {
                all.insert(format!("io.kubernetes.cri.{key}"), json!(text));
            }
        }
        all.extend(more.as_object().unwrap().clone());
        words
    };
    // CRI-O's own names: the runtime writes its own word over each of them.
    let crio = json!({
        "io.kubernetes.cri-o.ContainerType": "container", "io.kubernetes.cri-o.SandboxID": "0",
        "io.kubernetes.cri-o.ContainerID": witness.id, "io.kubernetes.cri-o.KubeName": "witness",
    });
    let pods = [
        ("forges-crio", words("crio", crio.clone())),
        ("forges-containerd", words("containerd", json!({}))),
        ("forges-both", words("containerd", crio)),
    ];
    for (name, annotations) in &pods {
        lab.run(pod(name, annotations, &["sleep", "3600"]), "Running")
            .await;
        // Its own budget at most, and never as somebody else.
        lab.entry(name, "main", |entry| {
            entry.state == ContainerBudgetState::Applied
                && entry.applied_microseconds == Some(30_000)
        })
        .await;
        witness.is_well(lab).await;
    }
    // A kubelet takes it for the picture of a static pod and doesn't run it: it has no group but, it says, the witness's.
    let mirror = json!({
        "realtime": "true", "rt_runtime_us": "40000", "kubernetes.io/config.source": "file",
        "kubernetes.io/config.mirror": witness.uid, "kubernetes.io/config.hash": witness.uid,
    });
    let mut mirror = pod("mirror", &mirror, &["sleep", "3600"]);
    mirror["spec"]["nodeName"] = json!(lab.node.options().node_name);
    let posed = serde_json::from_value(mirror).unwrap();
    // The kubelet may delete it at once: its static pod doesn't exist.
    let posed = lab.pods.create(&PostParams::default(), &posed).await;
    println!("posed as a mirror: {:?}", posed.map(|_| ()));
    witness.innocent(lab, "beside-a-mirror").await;
    witness.is_well(lab).await;
    for (name, _) in &pods {
        lab.delete(name).await;
    }
    let delete = DeleteParams::default().grace_period(0);
    let _ = lab.pods.delete("mirror", &delete).await;
    applied(lab, "witness", crate::witness::WITNESS_US).await;
    lab.allocated_is(crate::witness::WITNESS_US).await;
    witness.is_well(lab).await;
}
