//! Pods that have the hierarchy itself, as a privileged container can: they write budgets, and make groups that look like
//! others'. What the pod would do is partly done from out here, by the same system calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use realtime_testing::real_node::Runtime;
use serde_json::{Value, json};

use crate::on_node::{LONG, Lab, budget, pod};
use crate::witness::{WITNESS_US, Witness, applied, value};

const WRITER_US: i64 = 15_000;

/// A pod with the machine's hierarchies, that writes its own group's budget without end: `$G` is its group.
fn writer(runtime: Runtime, name: &str, script: &str) -> Value {
    let script = format!(
        "G=/hierarchy/cpu$(sed -n 's/^[0-9]*:\\(.*,\\)*cpu\\(,.*\\)*:\\(.*\\)$/\\3/p' /proc/self/cgroup); cd $G || exit 3; {script}"
    );
    let mut writer = pod(
        name,
        &budget(&WRITER_US.to_string()),
        &["sh", "-c", &script],
    );
    // CRI-O runs no privileged container where a capability is missing. The files are root's: who has them can write.
    if runtime == Runtime::Containerd {
        writer["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    }
    writer["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "hierarchy", "mountPath": "/hierarchy"}]);
    writer["spec"]["volumes"] =
        json!([{"name": "hierarchy", "hostPath": {"path": "/sys/fs/cgroup"}}]);
    writer
}

/// Waits until a group has that.
async fn becomes(lab: &Lab, group: &Path, micros: i64) {
    let begun = Instant::now();
    while value(group) != micros {
        assert!(
            begun.elapsed() < LONG,
            "{} has {}\n{}",
            group.display(),
            value(group),
            lab.said()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Foreign values of its own group and its pod's.
pub async fn written(lab: &Lab, witness: &Witness) {
    lab.run(writer(lab.runtime, "victim", "exec sleep 3600"), "Running")
        .await;
    applied(lab, "victim", WRITER_US).await;
    let (pod, container) = lab.groups_of("victim").await;
    let write = |group: &Path, text: &str| {
        let file = group.join("cpu.rt_runtime_us");
        let wrote = std::fs::write(&file, text);
        println!("{text} to {}: {wrote:?}", file.display());
        wrote.is_ok()
    };
    // Lowered, switched off, raised with all above it; each is put right.
    for text in ["2000", "0"] {
        assert!(write(&container, text));
        becomes(lab, &container, WRITER_US).await;
    }
    let top = lab.node.cgroup_root().join("kubepods");
    let class = top.join("besteffort");
    // All above it first, and with room for the witness.
    for (group, text) in [
        (&top, "300000"),
        (&class, "300000"),
        (&pod, "250000"),
        (&container, "250000"),
    ] {
        assert!(write(group, text));
    }
    for group in [&container, &pod] {
        becomes(lab, group, WRITER_US).await;
    }
    becomes(lab, &top, WRITER_US + WITNESS_US).await;
    // Without limit: the kernel allows it nowhere below a group with one.
    assert!(!write(&container, "-1"));
    applied(lab, "victim", WRITER_US).await;
    witness.is_well(lab).await;

    // The pod itself, as fast as it can, on two groups in turn so that no two notices are alike.
    let script = "while :; do echo 2000 > cpu.rt_runtime_us; echo 15000 > cpu.rt_runtime_us; \
         echo 15001 > ../cpu.rt_runtime_us; echo 15000 > ../cpu.rt_runtime_us; done 2>/dev/null";
    lab.run(writer(lab.runtime, "writes", script), "Running")
        .await;
    applied(lab, "writes", WRITER_US).await;
    measure(lab, witness, "writes").await;
    lab.delete("writes").await;
    // The same from out here, faster than any shell.
    let (pod, container) = lab.groups_of("victim").await;
    let rate = busy(move || {
        let _ = std::fs::write(container.join("cpu.rt_runtime_us"), "2000");
        let _ = std::fs::write(pod.join("cpu.rt_runtime_us"), "16000");
        let _ = std::fs::write(container.join("cpu.rt_runtime_us"), "15000");
    });
    measure(lab, witness, "writes-fast").await;
    println!("{:.0} rounds of writes a second", rate.stop());
    let (_, container) = lab.groups_of("victim").await;
    becomes(lab, &container, WRITER_US).await;
    witness.innocent(lab, "after-writes").await;
    lab.delete("victim").await;
    lab.allocated_is(WITNESS_US).await;
}

async fn measure(lab: &Lab, witness: &Witness, what: &str) {
    let used = witness.used();
    tokio::time::sleep(Duration::from_secs(5)).await;
    witness.modest(lab, what, &used);
    witness.innocent(lab, &format!("during-{what}")).await;
    witness.is_well(lab).await;
}

/// Something that a thread does without end.
struct Busy {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    begun: Instant,
    thread: Option<std::thread::JoinHandle<()>>,
}

fn busy(mut act: impl FnMut() + Send + 'static) -> Busy {
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicU64::new(0));
    let (stopped, counted) = (stop.clone(), count.clone());
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            act();
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    Busy {
        stop,
        count,
        begun: Instant::now(),
        thread: Some(thread),
    }
}

impl Busy {
    /// How often a second it was done.
    fn stop(mut self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "some millions at most")]
        let count = self.count.load(Ordering::Relaxed) as f64;
        let rate = count / self.begun.elapsed().as_secs_f64();
        self.end();
        rate
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.end();
    }
}

/// Groups that a test made, removed with it.
struct Made(Vec<PathBuf>);

impl Made {
    fn make(&mut self, group: PathBuf) -> PathBuf {
        let mut missing = Vec::new();
        let mut at = group.as_path();
        while !at.exists() {
            missing.push(at.to_owned());
            at = at.parent().expect("parent");
        }
        for path in missing.into_iter().rev() {
            std::fs::create_dir(&path).expect("group");
            self.0.push(path);
        }
        group
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        for group in self.0.iter().rev() {
            let _ = std::fs::remove_dir(group);
        }
    }
}

/// Groups named like the witness's, and like its container.
pub async fn like_anothers(lab: &Lab, witness: &Witness) {
    lab.run(writer(lab.runtime, "makes", "exec sleep 3600"), "Running")
        .await;
    applied(lab, "makes", WRITER_US).await;
    let (pod, container) = lab.groups_of("makes").await;
    let own = container.file_name().unwrap().to_str().unwrap().to_owned();
    let top = lab.node.cgroup_root().join("kubepods");
    let other = lab.group_name(&"ab".repeat(32));
    let its = lab.group_name(&witness.id);
    let others = match lab.runtime {
        Runtime::Containerd => format!("crio-{}", witness.id),
        Runtime::CriO => witness.id.clone(),
    };
    let mut made = Made(Vec::new());
    let fakes: Vec<PathBuf> = [
        // Inside of its own container, and beside it.
        container.join(format!("kubepods/pod{}/{its}", witness.uid)),
        container.join(&its),
        pod.join(&its),
        pod.join(&other),
        // In the witness's pod: its own id, and one that nobody knows.
        top.join(format!("besteffort/pod{}/{own}", witness.uid)),
        top.join(format!("besteffort/pod{}/{other}", witness.uid)),
        // The witness's own id, as the other runtime would name it.
        top.join(format!("besteffort/pod{}/{others}", witness.uid)),
        // And in another class.
        top.join(format!("burstable/pod{}/{its}", witness.uid)),
        top.join(format!("pod{}/{its}", witness.uid)),
    ]
    .into_iter()
    .map(|group| made.make(group))
    .collect();
    witness.innocent(lab, "beside-fakes").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for fake in &fakes {
        assert_eq!(value(fake), 0, "{} got it\n{}", fake.display(), lab.said());
    }
    witness.is_well(lab).await;
    applied(lab, "makes", WRITER_US).await;
    // Also with the witness's start anew, as it seems to a new daemon.
    drop(made);
    lab.delete("makes").await;
    lab.allocated_is(WITNESS_US).await;
}

/// Groups below its pod's, made and removed without end, with and without names like a container's.
pub async fn made_without_end(lab: &Lab, witness: &Witness) {
    lab.run(writer(lab.runtime, "churns", "exec sleep 3600"), "Running")
        .await;
    applied(lab, "churns", WRITER_US).await;
    let (pod, container) = lab.groups_of("churns").await;
    let uid = pod.file_name().unwrap().to_str().unwrap().to_owned();
    let elsewhere = lab.node.cgroup_root().join("kubepods/burstable").join(uid);
    let name = lab.group_name("");
    let mut number = 0_u64;
    let rate = busy(move || {
        number += 1;
        let groups = [
            pod.join(format!("{name}{number:064x}")),
            elsewhere.clone(),
            container.join("below"),
        ];
        for group in &groups {
            let _ = std::fs::create_dir(group);
        }
        for group in &groups {
            let _ = std::fs::remove_dir(group);
        }
    });
    measure(lab, witness, "churns").await;
    println!("{:.0} rounds of groups a second", rate.stop());
    // A great many that stay.
    let (pod, _) = lab.groups_of("churns").await;
    let mut made = Made(Vec::new());
    for number in 0..2000 {
        made.make(pod.join(lab.group_name(&format!("{number:064x}"))));
    }
    measure(lab, witness, "two-thousand").await;
    drop(made);
    lab.delete("churns").await;
    lab.allocated_is(WITNESS_US).await;
}
