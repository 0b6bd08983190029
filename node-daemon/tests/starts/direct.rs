//! Starts by runc itself, as CRI-O has it start containers: the same annotations and groups, the same hook. The pods are
//! objects in the API server, bound to the node, and no kubelet is there to start them: a start costs a tenth of a pod's.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use realtime_testing::programs::Program;
use realtime_testing::real_node::images;
use serde_json::{Value, json};

use super::hook::SCRIPT;
use super::pods::BUDGET;
use crate::on_node::{Lab, budget, pod};

/// A node whose kubelet is gone.
pub struct Direct<'a> {
    lab: &'a Lab,
    folder: PathBuf,
    rootfs: PathBuf,
    pods: Vec<Pod>,
}

/// One start.
#[derive(Debug)]
pub struct Start {
    pub code: Option<i32>,
    pub said: String,
    pub took: Duration,
}

impl<'a> Direct<'a> {
    /// Ends what would look after pods, and makes some.
    pub async fn new(lab: &'a Lab, pods: usize) -> Self {
        for program in [
            Program::Kubelet,
            Program::KubeControllerManager,
            Program::KubeScheduler,
        ] {
            lab.node
                .kill_program(program.file_name())
                .expect("killed kubelet");
        }
        let folder = lab.node.directory().join("starts");
        let rootfs = folder.join("rootfs");
        for folder in ["proc", "dev"] {
            fs::create_dir_all(rootfs.join(folder)).expect("a folder");
        }
        let source = include_str!("../../../testing/src/real_node/first-act.c");
        images::compile(&rootfs, "first-act", source).expect("first-act");
        let mut made = Vec::new();
        for number in 0..pods {
            let mut one = pod(&format!("direct-{number}"), &budget(BUDGET), &["first-act"]);
            one["spec"]["nodeName"] = Value::from(lab.node.options().node_name.clone());
            let one: Pod = serde_json::from_value(one).expect("pod");
            let one = lab.pods.create(&PostParams::default(), &one).await;
            made.push(one.expect("created"));
        }
        Self {
            lab,
            folder,
            rootfs,
            pods: made,
        }
    }

    /// Starts a container of the pod of that number, and waits for its end. Each start has an id of its own.
    pub fn start(&self, pod: usize, number: usize) -> Start {
        self.run(pod, number, &json!({"createRuntime": [{"path": SCRIPT}]}))
    }

    /// The same without the hook.
    pub fn start_without(&self, pod: usize, number: usize) -> Start {
        self.run(pod, number, &json!({}))
    }

    fn run(&self, pod: usize, number: usize, hooks: &Value) -> Start {
        let id = format!("{:032x}{number:032x}", pod + 1);
        let bundle = self.folder.join(&id);
        fs::create_dir(&bundle).expect("a bundle");
        let specification = self.specification(&self.pods[pod], &id, hooks);
        fs::write(bundle.join("config.json"), specification.to_string()).expect("config.json");
        let runc = self.lab.node.program(Program::Runc).expect("runc");
        let mut command = self.lab.node.command_in_namespaces(runc);
        command.args(["--root", "/run/runc-starts", "run", "--bundle"]);
        command.arg(&bundle).arg(&id);
        let began = Instant::now();
        let output = command.output().expect("runc");
        let took = began.elapsed();
        let _ = fs::remove_dir_all(bundle);
        Start {
            code: output.status.code(),
            said: format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ),
            took,
        }
    }

    fn specification(&self, pod: &Pod, id: &str, hooks: &Value) -> Value {
        let metadata = &pod.metadata;
        let uid = metadata.uid.as_deref().expect("a uid");
        let mut annotations = json!({
            "io.kubernetes.cri-o.ContainerType": "container",
            "io.kubernetes.container.name": "main",
            "io.kubernetes.pod.name": metadata.name,
            "io.kubernetes.pod.namespace": metadata.namespace,
            "io.kubernetes.pod.uid": uid,
        });
        for (key, text) in metadata.annotations.iter().flatten() {
            annotations[key] = Value::from(text.clone());
        }
        let group = self.lab.node.cgroup_root();
        let group = group.file_name().expect("a group").to_string_lossy();
        let rights = ["CAP_SYS_NICE"];
        json!({
            "ociVersion": "1.2.0",
            "process": {
                "user": {"uid": 0, "gid": 0}, "args": ["/first-act"], "cwd": "/",
                "capabilities": {"bounding": rights, "effective": rights, "permitted": rights},
            },
            "root": {"path": self.rootfs, "readonly": true},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            ],
            "annotations": annotations,
            "hooks": hooks,
            "linux": {
                "cgroupsPath": format!("/{group}/kubepods/besteffort/pod{uid}/crio-{id}"),
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}],
            },
        })
    }
}
