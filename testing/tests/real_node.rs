//! The real node launcher on both container runtimes: pods run, are logged and reach the API server,
//! and whatever ends the launcher, nothing of the node stays.
//! Must not contact anything but 127.0.0.1 and what is inside the node's own network namespace.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use realtime_testing::programs::Program;
use realtime_testing::real_node::{BUSYBOX_IMAGE, Options, RealNode, Runtime, cannot_run};
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// A pod runs within a second; this is for a machine that is starved.
const POD_TIME_LIMIT: Duration = Duration::from_mins(2);

/// Containers' groups take a moment to be taken down, and there are some.
const GONE_TIME_LIMIT: Duration = Duration::from_mins(1);

/// One node at a time: each fills two cores while it starts.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What tells a node's rest from everything else on the machine.
struct Traces {
    directory: PathBuf,
    group: String,
    namespaces: BTreeSet<PathBuf>,
    outer: u32,
    machine: Machine,
}

/// What a node must not change.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    mounts: BTreeSet<String>,
    interfaces: BTreeSet<String>,
    network_namespaces: BTreeSet<String>,
    settings: Vec<String>,
}

impl Machine {
    fn now() -> Self {
        let names = |directory: &str| -> BTreeSet<String> {
            fs::read_dir(directory)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect()
        };
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        Self {
            mounts: mountinfo.lines().map(str::to_owned).collect(),
            interfaces: names("/sys/class/net"),
            network_namespaces: names("/run/netns"),
            settings: [
                "kernel/panic",
                "kernel/panic_on_oops",
                "kernel/keys/root_maxkeys",
                "vm/overcommit_memory",
                "net/ipv4/ip_forward",
                "net/netfilter/nf_conntrack_max",
            ]
            .map(|name| fs::read_to_string(format!("/proc/sys/{name}")).unwrap_or_default())
            .into(),
        }
    }
}

impl Traces {
    fn of(directory: &Path, outer: u32, init: u32, machine: Machine) -> Self {
        let own = namespaces_of("self");
        let namespaces: BTreeSet<PathBuf> = namespaces_of(&init.to_string())
            .difference(&own)
            .cloned()
            .collect();
        assert_eq!(namespaces.len(), 4, "network, mounts, processes, host name");
        let traces = Self {
            directory: directory.to_owned(),
            group: directory
                .file_name()
                .expect("name")
                .to_string_lossy()
                .into_owned(),
            namespaces,
            outer,
            machine,
        };
        assert!(!traces.processes().is_empty() && !traces.groups().is_empty());
        traces
    }

    /// The processes that are in one of the node's namespaces, or hold it together.
    fn processes(&self) -> Vec<u32> {
        let mut found: Vec<u32> = fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &u32| !namespaces_of(&pid.to_string()).is_disjoint(&self.namespaces))
            .collect();
        found.extend(runs(self.outer).then_some(self.outer));
        found
    }

    fn groups(&self) -> Vec<PathBuf> {
        let own = Path::new("/sys/fs/cgroup").join(&self.group);
        let below = fs::read_dir("/sys/fs/cgroup")
            .expect("control groups")
            .flatten();
        std::iter::once(own)
            .chain(below.map(|entry| entry.path().join(&self.group)))
            .filter(|path| path.exists())
            .collect()
    }

    fn left(&self) -> Option<String> {
        let (processes, groups) = (self.processes(), self.groups());
        if !processes.is_empty() {
            return Some(format!("processes {processes:?}"));
        }
        if !groups.is_empty() {
            return Some(format!("groups {groups:?}"));
        }
        if self.directory.exists() {
            return Some(format!("{}", self.directory.display()));
        }
        let machine = Machine::now();
        (machine != self.machine).then(|| {
            format!(
                "a changed machine: {:?} before, {machine:?} now",
                self.machine
            )
        })
    }

    fn assert_gone(&self) {
        assert_eq!(self.left(), None);
    }

    fn wait_until_gone(&self) {
        let started = Instant::now();
        while let Some(left) = self.left() {
            assert!(started.elapsed() < GONE_TIME_LIMIT, "still there: {left}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn namespaces_of(pid: &str) -> BTreeSet<PathBuf> {
    ["pid", "net", "mnt", "uts"]
        .iter()
        .filter_map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok())
        .collect()
}

/// Whether a process of that id is alive. A zombie isn't: nobody may wait for orphans here.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

fn pod(name: &str, command: &[&str]) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "main", "image": BUSYBOX_IMAGE, "command": command }],
        },
    })
}

/// Creates the pod and waits for its phase.
async fn run(pods: &Api<Pod>, pod: Value, phase: &'static str) {
    let pod: Pod = serde_json::from_value(pod).expect("pod");
    let name = pod.metadata.name.clone().expect("name");
    pods.create(&PostParams::default(), &pod)
        .await
        .expect("created pod");
    let reached = await_condition(pods.clone(), &name, |pod: Option<&Pod>| {
        pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some(phase)
    });
    let waited = tokio::time::timeout(POD_TIME_LIMIT, reached).await;
    if !matches!(waited, Ok(Ok(_))) {
        let status = pods.get(&name).await.map(|pod| pod.status);
        assert!(
            matches!(waited, Ok(Ok(_))),
            "{name} is not {phase}: {status:#?}"
        );
    }
}

async fn log(pods: &Api<Pod>, name: &str) -> String {
    pods.logs(name, &LogParams::default()).await.expect("log")
}

async fn pods_run_and_nothing_stays(runtime: Runtime) {
    if let Some(reason) = cannot_run(runtime) {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let machine = Machine::now();
    let started = Instant::now();
    let node = RealNode::start(Options::new(runtime)).await.expect("node");
    let ready = started.elapsed();
    let [outer, init] = node.pids();
    let traces = Traces::of(node.directory(), outer, init, machine);
    let client = node.admin_client().await.expect("client");
    let pods: Api<Pod> = Api::namespaced(client, "default");

    run(&pods, pod("stays", &["sleep", "3600"]), "Running").await;
    eprintln!(
        "{}: Ready after {:.1} s, a pod Running after {:.1} s",
        runtime.name(),
        ready.as_secs_f32(),
        started.elapsed().as_secs_f32()
    );
    run(&pods, pod("ends", &["echo", "hello"]), "Succeeded").await;
    assert_eq!(log(&pods, "ends").await, "hello\n");
    run(&pods, pod("fails", &["false"]), "Failed").await;

    // By the Service, with its own token: kubectl without a kubeconfig is a program in a cluster.
    let kubectl = node.program(Program::Kubectl).expect("kubectl");
    let mut asks = pod("asks", &["/kubectl", "auth", "whoami", "--output=json"]);
    asks["spec"]["volumes"] =
        json!([{ "name": "kubectl", "hostPath": { "path": kubectl, "type": "File" } }]);
    asks["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "kubectl", "mountPath": "/kubectl", "readOnly": true }]);
    run(&pods, asks, "Succeeded").await;
    let answer = log(&pods, "asks").await;
    assert!(
        answer.contains("system:serviceaccount:default:default"),
        "{answer}"
    );

    // The same from the node's namespaces and from out here, with the rights of a ServiceAccount.
    let kubeconfig = node
        .kubeconfig_for("default", "default")
        .await
        .expect("kubeconfig");
    let arguments = [
        "--kubeconfig",
        kubeconfig.to_str().expect("path"),
        "auth",
        "whoami",
    ];
    let inside = node
        .exec_in_namespaces(kubectl, &arguments)
        .await
        .expect("kubectl in the node");
    let outside = Command::new(kubectl)
        .args(arguments)
        .output()
        .expect("kubectl");
    assert!(
        inside.contains("system:serviceaccount:default:default"),
        "{inside}"
    );
    assert_eq!(String::from_utf8_lossy(&outside.stdout), inside);

    // The pods' groups are where the node's group says, and a program in there sees the pods' processes.
    let kubepods = node.cgroup_root().join("kubepods");
    assert!(kubepods.is_dir(), "{}", kubepods.display());
    let processes = node.exec_in_namespaces("ps", &["-ef"]).await.expect("ps");
    assert!(processes.contains("sleep 3600"), "{processes}");

    let ending = Instant::now();
    node.shutdown().await.expect("shutdown");
    eprintln!(
        "{}: gone after {:.1} s",
        runtime.name(),
        ending.elapsed().as_secs_f32()
    );
    traces.assert_gone();
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_on_containerd_and_nothing_stays() {
    pods_run_and_nothing_stays(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_on_cri_o_and_nothing_stays() {
    pods_run_and_nothing_stays(Runtime::CriO).await;
}

/// The node's groups are the kernel's real ones: a budget decides whether a container may.
async fn a_budget_decides_about_sched_fifo(runtime: Runtime) {
    if let Some(reason) = cannot_run(runtime) {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    // Before the node, which would fail to write it.
    if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        realtime_testing::skip("the kernel has no budgets for groups of real-time threads");
        return;
    }
    let node = RealNode::start(Options {
        realtime_runtime_us: 50_000,
        ..Options::new(runtime)
    })
    .await
    .expect("node");
    let pods = Api::namespaced(node.admin_client().await.expect("client"), "default");
    let mut refused = pod("refused", &["first-act"]);
    refused["spec"]["containers"][0]["securityContext"] =
        json!({ "capabilities": { "add": ["SYS_NICE"] } });
    let mut granted = refused.clone();
    run(&pods, refused, "Failed").await;
    let said = log(&pods, "refused").await;
    assert_eq!(said, "SCHED_FIFO refused: Operation not permitted\n");

    // By hand what the daemon will do: the budget from the node's group down to the container's.
    granted["metadata"]["name"] = json!("granted");
    granted["spec"]["containers"][0]["command"] = json!(["sleep", "3600"]);
    run(&pods, granted, "Running").await;
    let object = pods.get("granted").await.expect("pod");
    let uid = object.metadata.uid.expect("uid");
    let id = object
        .status
        .expect("status")
        .container_statuses
        .expect("containers")[0]
        .container_id
        .clone()
        .expect("id");
    let id = id.rsplit('/').next().expect("id");
    let mut group = node.cgroup_root();
    let container = match runtime {
        Runtime::Containerd => id.to_owned(),
        Runtime::CriO => format!("crio-{id}"),
    };
    for name in ["kubepods", "besteffort", &format!("pod{uid}"), &container] {
        group.push(name);
        let written = fs::write(group.join("cpu.rt_runtime_us"), "20000");
        assert!(written.is_ok(), "{}: {written:?}", group.display());
    }
    let kubectl = node.program(Program::Kubectl).expect("kubectl");
    let kubeconfig = node.admin_kubeconfig();
    let exec = Command::new(kubectl)
        .args(["exec", "granted", "--", "first-act"])
        .env("KUBECONFIG", kubeconfig)
        .output()
        .expect("kubectl exec");
    assert_eq!(
        (&*String::from_utf8_lossy(&exec.stdout), exec.status.code()),
        ("SCHED_FIFO granted\n", Some(0)),
        "{}",
        String::from_utf8_lossy(&exec.stderr)
    );
    let root = node.cgroup_root();
    node.shutdown().await.expect("shutdown");
    assert!(!root.exists(), "and the machine has its budget back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_decides_about_sched_fifo_on_containerd() {
    a_budget_decides_about_sched_fifo(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_decides_about_sched_fifo_on_cri_o() {
    a_budget_decides_about_sched_fifo(Runtime::CriO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cri_o_runs_the_hooks_of_the_directory() {
    if let Some(reason) = cannot_run(Runtime::CriO) {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let node = RealNode::start(Options::new(Runtime::CriO))
        .await
        .expect("node");
    // Written while CRI-O runs, as a MachineConfig's files are not: it watches the directory.
    let (hooks, state) = (node.runtime_hooks_dir(), node.directory().join("state"));
    let script = node.directory().join("hook");
    fs::write(&script, format!("#!/bin/sh\ncat >{}\n", state.display())).expect("script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("mode");
    let hook = json!({
        "version": "1.0.0",
        "hook": { "path": script },
        "when": { "annotations": { "^realtime$": "^true$" } },
        "stages": ["createRuntime"],
    });
    fs::write(hooks.join("test.json"), hook.to_string()).expect("hook");

    let pods = Api::namespaced(node.admin_client().await.expect("client"), "default");
    run(&pods, pod("plain", &["true"]), "Succeeded").await;
    assert!(!state.exists(), "a pod without the annotation has no hook");
    let mut annotated = pod("annotated", &["true"]);
    annotated["metadata"]["annotations"] = json!({ "realtime": "true" });
    run(&pods, annotated, "Succeeded").await;
    let state = fs::read_to_string(state).expect("the hook's input");
    assert!(
        state.contains("\"io.kubernetes.pod.name\":\"annotated\""),
        "{state}"
    );
    node.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_class_leads_to_a_further_handler_of_containerd() {
    if let Some(reason) = cannot_run(Runtime::Containerd) {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let table = "plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.further";
    let mut options = Options::new(Runtime::Containerd);
    // Without options of its own it takes runc from its PATH, which is the node's too.
    options.runtime_settings = format!(
        "[{table}]\nruntime_type = \"io.containerd.runc.v2\"\npod_annotations = [\"realtime*\"]\n"
    );
    let node = RealNode::start(options).await.expect("node");
    node.apply_yaml(
        "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: further}, handler: further}",
    )
    .await
    .expect("apply");
    let pods = Api::namespaced(node.admin_client().await.expect("client"), "default");
    let mut of_class = pod("known", &["true"]);
    of_class["spec"]["runtimeClassName"] = json!("further");
    run(&pods, of_class, "Succeeded").await;
    node.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_kubelet_and_a_killed_runtime_come_back() {
    for runtime in Runtime::ALL {
        if let Some(reason) = cannot_run(runtime) {
            realtime_testing::skip(&reason);
            return;
        }
        let _one = ONE_AT_A_TIME.lock().await;
        let node = RealNode::start(Options::new(runtime)).await.expect("node");
        let pods = Api::namespaced(node.admin_client().await.expect("client"), "default");
        run(&pods, pod("stays", &["sleep", "3600"]), "Running").await;
        for program in [
            Program::Kubelet,
            match runtime {
                Runtime::Containerd => Program::Containerd,
                Runtime::CriO => Program::Crio,
            },
        ] {
            node.restart_program(program).expect("restart");
            let name = format!("after-{}", program.file_name());
            run(&pods, pod(&name, &["echo", "hello"]), "Succeeded").await;
            assert!(node.runs(program.file_name()).expect("answer"));
        }
        let stays = pods
            .get("stays")
            .await
            .expect("pod")
            .status
            .expect("status");
        let restarts = stays.container_statuses.expect("containers")[0].restart_count;
        assert_eq!((stays.phase.as_deref(), restarts), (Some("Running"), 0));
        node.shutdown().await.expect("shutdown");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_at_once_leave_each_other_alone() {
    for runtime in Runtime::ALL {
        if let Some(reason) = cannot_run(runtime) {
            realtime_testing::skip(&reason);
            return;
        }
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let start = |runtime| RealNode::start(Options::new(runtime));
    let first = start(Runtime::Containerd).await.expect("first node");
    let pods = async |node: &RealNode| -> Api<Pod> {
        Api::namespaced(node.admin_client().await.expect("client"), "default")
    };
    let pods_of_first = pods(&first).await;
    run(&pods_of_first, pod("stays", &["sleep", "3600"]), "Running").await;
    let second = start(Runtime::CriO).await.expect("second node");
    run(
        &pods(&second).await,
        pod("ends", &["echo", "hello"]),
        "Succeeded",
    )
    .await;
    second.shutdown().await.expect("shutdown");
    run(&pods_of_first, pod("ends", &["echo", "hello"]), "Succeeded").await;
    assert_eq!(log(&pods_of_first, "ends").await, "hello\n");
    first.shutdown().await.expect("shutdown");
}

/// A launcher in a process of its own, with what it said about itself.
struct Launcher {
    process: Child,
    _output: BufReader<ChildStdout>,
    kubeconfig: PathBuf,
    traces: Traces,
}

fn spawn(runtime: Runtime, temporary: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_real-node"))
        .args(["--runtime", runtime.name()])
        .env("TMPDIR", temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("launcher")
}

impl Launcher {
    fn start(runtime: Runtime, temporary: &Path) -> Self {
        let machine = Machine::now();
        let mut process = spawn(runtime, temporary);
        let mut output = BufReader::new(process.stdout.take().expect("output"));
        let mut value = |key: &str| {
            let mut line = String::new();
            output.read_line(&mut line).expect("a line of the launcher");
            line.trim().strip_prefix(key).expect(key).to_owned()
        };
        let directory = PathBuf::from(value("directory="));
        assert!(Path::new(&value("cgroup=")).is_dir());
        let [outer, init] = ["outer=", "init="].map(|key| value(key).parse().expect("pid"));
        let kubeconfig = PathBuf::from(value("export KUBECONFIG="));
        Self {
            process,
            _output: output,
            kubeconfig,
            traces: Traces::of(&directory, outer, init, machine),
        }
    }

    /// So that there are containers, with all that belongs to them.
    async fn run_a_pod(&self) {
        let config = Kubeconfig::read_from(&self.kubeconfig).expect("kubeconfig");
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default())
            .await
            .expect("configuration");
        let client = kube::Client::try_from(config).expect("client");
        let pods = Api::namespaced(client, "default");
        run(&pods, pod("stays", &["sleep", "3600"]), "Running").await;
    }

    fn signal(&mut self, signal: Signal) {
        kill(pid(self.process.id()), signal).expect("signal to the launcher");
        self.process.wait().expect("launcher's end");
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // For a test that fails halfway; an ended process can't be killed again.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn pid(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("pid"))
}

fn assert_empty(directory: &Path) {
    let left: Vec<_> = fs::read_dir(directory)
        .expect("directory")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

async fn nothing_stays_after(runtime: Runtime, signal: Signal) {
    if let Some(reason) = cannot_run(runtime) {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let temporary = tempfile::tempdir().expect("temporary directory");
    let mut launcher = Launcher::start(runtime, temporary.path());
    launcher.run_a_pod().await;
    launcher.signal(signal);
    launcher.traces.wait_until_gone();
    assert_empty(temporary.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_when_the_launcher_of_containerd_is_killed() {
    nothing_stays_after(Runtime::Containerd, Signal::SIGKILL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_when_the_launcher_of_cri_o_is_killed() {
    nothing_stays_after(Runtime::CriO, Signal::SIGKILL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_after_ctrl_c() {
    nothing_stays_after(Runtime::Containerd, Signal::SIGINT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_when_the_launcher_is_killed_during_the_start() {
    let runtime = Runtime::Containerd;
    if let Some(reason) = cannot_run(runtime) {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let temporary = tempfile::tempdir().expect("temporary directory");
    let machine = Machine::now();
    let mut process = spawn(runtime, temporary.path());
    // Its own group and directory are there, and the first program runs.
    let started = Instant::now();
    let directory = loop {
        let directory = fs::read_dir(temporary.path())
            .expect("directory")
            .flatten()
            .next();
        let directory = directory.map(|entry| entry.path());
        if let Some(directory) = directory.filter(|path| path.join("etcd.log").exists()) {
            break directory;
        }
        assert!(started.elapsed() < POD_TIME_LIMIT, "etcd was never started");
        std::thread::sleep(Duration::from_millis(1));
    };
    let child = |pid: u32| -> u32 {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let first = children.unwrap_or_default();
        first
            .split(' ')
            .next()
            .and_then(|pid| pid.parse().ok())
            .unwrap_or(0)
    };
    let outer = child_of_any_thread(process.id());
    let traces = Traces::of(&directory, outer, child(child(outer)), machine);
    process.kill().expect("kill");
    process.wait().expect("end");
    traces.wait_until_gone();
    assert_empty(temporary.path());
}

/// A child belongs to the thread that started it.
fn child_of_any_thread(pid: u32) -> u32 {
    fs::read_dir(format!("/proc/{pid}/task"))
        .expect("threads")
        .flatten()
        .find_map(|task| {
            let children = fs::read_to_string(task.path().join("children")).ok()?;
            children.split(' ').next()?.parse().ok()
        })
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_start_sweeps_up_when_nobody_was_left_to_do_it() {
    let runtime = Runtime::Containerd;
    if let Some(reason) = cannot_run(runtime) {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let temporary = tempfile::tempdir().expect("temporary directory");
    let mut launcher = Launcher::start(runtime, temporary.path());
    launcher.run_a_pod().await;
    kill(pid(launcher.traces.outer), Signal::SIGKILL).expect("signal to the script");
    launcher.signal(Signal::SIGKILL);
    let started = Instant::now();
    while !launcher.traces.processes().is_empty() {
        assert!(
            started.elapsed() < GONE_TIME_LIMIT,
            "by the parent-death signal"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(launcher.traces.directory.exists() && !launcher.traces.groups().is_empty());

    let mut next = Launcher::start(runtime, temporary.path());
    // Not the processes: the kernel gives the numbers of ended namespaces to new ones.
    assert!(!launcher.traces.directory.exists());
    assert_eq!(launcher.traces.groups(), [] as [PathBuf; 0]);
    next.signal(Signal::SIGTERM);
    next.traces.wait_until_gone();
    assert_empty(temporary.path());
}
