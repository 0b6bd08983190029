//! Pods on a real node with CRI-O, with the hook and the script as the profile's MachineConfig brings them. Behind the
//! socket is a small loop that raises budgets naively: what the daemon's own does is tested elsewhere.
//!
//! What differs from a host: this CRI-O reads its hooks from the node's own directory; `/usr/local/bin` and `/var` are
//! overlays in the node's mount namespace, so that nothing of the machine is written to; the daemon's program is a link.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as Shared};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, LogParams, PostParams};
use kube::runtime::wait::await_condition;
use kube::runtime::{WatchStreamExt as _, watcher};
use realtime_core::names::{HOOK_PROGRAM, HOOK_SOCKET};
use realtime_node_daemon::budget::door::{Announced, Answer, Knock, WAITING};
use realtime_node_daemon::budget::socket::Listening;
use realtime_node_daemon::host::Host;
use realtime_testing::programs::Program;
use realtime_testing::real_node::{BUSYBOX_IMAGE, Options, RealNode, Runtime, cannot_run};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

use super::{DAEMON, HOOK, SCRIPT, program, rendered};

/// The kubelet tries again every ten seconds or so; the rest is for a machine that is starved.
const LIMIT: Duration = Duration::from_mins(3);
/// µs: of the node, of the groups of its pods, of a container.
const NODE: u32 = 200_000;
const PODS: u32 = 180_000;
const CONTAINER: u32 = 20_000;
/// A node at a time: each fills two cores while it starts.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A node with the hook, and whether somebody listens behind it.
struct Hooked {
    node: RealNode,
    pods: Api<Pod>,
    events: Api<Event>,
    heard: Arc<Shared<Vec<Announced>>>,
    daemon: Vec<JoinHandle<()>>,
}

impl Hooked {
    async fn start() -> Self {
        let node = RealNode::start(Options {
            realtime_runtime_us: NODE,
            ..Options::new(Runtime::CriO)
        })
        .await
        .expect("node");
        let folder = "/run/node/overlay/programs";
        let overlay = format!(
            "mkdir -p {folder}/upper {folder}/work && mount -t overlay overlay \
             -o lowerdir=/usr/local/bin,upperdir={folder}/upper,workdir={folder}/work /usr/local/bin"
        );
        let mounted = node.exec_in_namespaces("sh", &["-c", &overlay]).await;
        mounted.expect("an overlay");
        program(node.path_inside(SCRIPT), &rendered(SCRIPT));
        // The script first, as CRI-O watches the directory: here it is there before the node has its hook.
        let hook = Path::new(HOOK).file_name().expect("a name");
        fs::write(node.runtime_hooks_dir().join(hook), rendered(HOOK)).expect("the hook");
        let client = node.admin_client().await.expect("client");
        let hooked = Self {
            pods: Api::namespaced(client.clone(), "default"),
            events: Api::namespaced(client, "default"),
            node,
            heard: Arc::default(),
            daemon: Vec::new(),
        };
        let copy = hooked.node.directory().join("daemon");
        fs::copy(DAEMON, &copy).expect("a copy");
        hooked.install(&copy);
        hooked
    }

    /// Puts that in the place of the daemon's program.
    fn install(&self, target: &Path) {
        let path = self.node.path_inside(HOOK_PROGRAM);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(target, path).expect("a link");
    }

    /// Listens, and answers every word so.
    fn listen(&mut self, answer: fn(&Path, &Announced) -> Answer) {
        self.stop();
        let host = Host::new(self.node.path_inside("/"), None);
        let (door, mut knocks) = mpsc::channel::<Knock>(WAITING);
        let listening = Listening::at(&host).expect("a socket");
        let (heard, root) = (Arc::clone(&self.heard), self.node.cgroup_root());
        let answering = tokio::task::spawn_blocking(move || {
            while let Some(knock) = knocks.blocking_recv() {
                heard.lock().expect("lock").push(knock.announced.clone());
                let _ = knock.answer.send(answer(&root, &knock.announced));
            }
        });
        self.daemon = vec![tokio::spawn(listening.serve(door)), answering];
    }

    /// The daemon is away; the socket's file stays, as after a SIGKILL.
    fn stop(&mut self) {
        for task in self.daemon.drain(..) {
            task.abort();
        }
    }

    fn heard(&self) -> Vec<Announced> {
        std::mem::take(&mut *self.heard.lock().expect("lock"))
    }

    async fn create(&self, pod: &Value) -> String {
        let pod: Pod = serde_json::from_value(pod.clone()).expect("pod");
        let created = self.pods.create(&PostParams::default(), &pod).await;
        created.expect("created").metadata.name.expect("name")
    }

    async fn reaches(&self, name: &str, phase: &'static str) {
        let reached = await_condition(self.pods.clone(), name, |pod: Option<&Pod>| {
            pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some(phase)
        });
        let waited = tokio::time::timeout(LIMIT, reached).await;
        if !matches!(waited, Ok(Ok(_))) {
            let status = self.pods.get(name).await.map(|pod| pod.status);
            let log = self.pods.logs(name, &LogParams::default()).await;
            panic!("{name} is not {phase}: {status:#?} {log:?}");
        }
    }

    async fn run(&self, pod: &Value, phase: &'static str) -> String {
        let name = self.create(pod).await;
        self.reaches(&name, phase).await;
        let log = self.pods.logs(&name, &LogParams::default()).await;
        log.expect("log")
    }

    /// An Event about a pod with these words.
    async fn event(&self, pod: &str, words: &str) -> String {
        let config = watcher::Config::default().fields(&format!("involvedObject.name={pod}"));
        let events = watcher(self.events.clone(), config).applied_objects();
        let found = events
            .try_filter_map(|event| async move { Ok(event.message) })
            .filter_map(|message| async move { message.ok() })
            .filter(|message| std::future::ready(message.contains(words)));
        tokio::time::timeout(LIMIT, Box::pin(found).next())
            .await
            .unwrap_or_else(|_| panic!("no Event of {pod} has the words: {words}"))
            .expect("an Event")
    }

    async fn end(mut self) {
        self.stop();
        let root = self.node.cgroup_root();
        self.node.shutdown().await.expect("shutdown");
        assert!(!root.exists(), "the machine has its budget back");
    }
}

/// A pod that asks, with one or two containers whose first act is SCHED_FIFO.
fn pod(name: &str, command: &[&str], annotations: &Value) -> Value {
    json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "main", "image": BUSYBOX_IMAGE, "command": command,
                "securityContext": {"capabilities": {"add": ["SYS_NICE"]}},
            }],
        },
    })
}

fn asks(required: bool) -> Value {
    json!({
        "realtime.openshift.io/runtime-us.main": CONTAINER.to_string(),
        "realtime.openshift.io/required": required.to_string(),
    })
}

fn group(root: &Path, announced: &Announced) -> [PathBuf; 4] {
    let pods = root.join("kubepods");
    let class = pods.join("besteffort");
    let uid = announced.identity.uid.as_ref().expect("a uid");
    let pod = class.join(format!("pod{uid}"));
    let container = pod.join(format!("crio-{}", announced.id));
    [pods, class, pod, container]
}

/// From the top down, each container the same. A group that is removed keeps its budget for a moment: EINVAL till then.
fn raise(root: &Path, announced: &Announced) -> Answer {
    let began = Instant::now();
    for (group, micros) in group(root, announced)
        .into_iter()
        .zip([PODS, PODS, CONTAINER, CONTAINER])
    {
        let file = group.join("cpu.rt_runtime_us");
        while let Err(error) = fs::write(&file, micros.to_string()) {
            if began.elapsed() > Duration::from_secs(1) {
                return Answer::Refused(format!("{}: {error}", file.display()));
            }
            std::thread::yield_now();
        }
    }
    Answer::Applied
}

fn refuse(_: &Path, _: &Announced) -> Answer {
    Answer::Refused("the node has no room for 20000 us: ask for less".to_owned())
}

/// Whether a node with budgets can be had here.
fn cannot() -> Option<String> {
    let budgets = Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists();
    cannot_run(Runtime::CriO).or_else(|| {
        (!budgets).then(|| "the kernel has no budgets for groups of real-time threads".to_owned())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_its_budget_before_its_first_instruction_or_starts_without_unless_that_is_no_good()
 {
    if let Some(reason) = cannot() {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let mut hooked = Hooked::start().await;
    hooked.listen(raise);

    // Asked for and in place; who doesn't ask isn't told of, and no sandbox is.
    let log = hooked
        .run(&pod("fast", &["first-act"], &asks(true)), "Succeeded")
        .await;
    assert_eq!(log, "SCHED_FIFO granted\n");
    hooked
        .run(&pod("plain", &["true"], &json!({})), "Succeeded")
        .await;
    let heard = hooked.heard();
    let [announced] = heard.as_slice() else {
        panic!("{heard:#?}");
    };
    assert_eq!(announced.identity.pod, "fast");
    assert_eq!(announced.identity.container.as_deref(), Some("main"));
    assert!(announced.pid.is_some(), "{announced:?}");
    assert_eq!(announced.annotations.len(), 2 + config_keys(announced));

    // Refused, with the reason where the user looks.
    hooked.listen(refuse);
    hooked
        .run(&pod("goes-on", &["true"], &asks(false)), "Succeeded")
        .await;
    hooked.create(&pod("refused", &["true"], &asks(true))).await;
    let event = hooked
        .event("refused", "no room for 20000 us: ask for less")
        .await;
    assert!(event.contains("realtime.openshift.io/required"), "{event}");

    // Nobody behind the socket.
    hooked.stop();
    let log = hooked
        .run(&pod("alone", &["first-act"], &asks(false)), "Failed")
        .await;
    assert_eq!(log, "SCHED_FIFO refused: Operation not permitted\n");
    hooked
        .create(&pod("waits", &["first-act"], &asks(true)))
        .await;
    let event = hooked
        .event("waits", "realtime-node-daemon runs on this node")
        .await;
    assert!(
        event.contains("container main of pod default/waits"),
        "{event}"
    );
    // It only waits: the kubelet tries again, and the daemon is back.
    hooked.listen(raise);
    hooked.reaches("waits", "Succeeded").await;
    hooked.reaches("refused", "Succeeded").await;
    hooked.end().await;
}

/// The kubelet's own annotations, which say where a pod comes from.
fn config_keys(announced: &Announced) -> usize {
    let keys = announced.annotations.keys();
    keys.filter(|key| key.starts_with("kubernetes.io/config."))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_the_daemons_program_pods_start() {
    if let Some(reason) = cannot() {
        realtime_testing::skip(&reason);
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let mut hooked = Hooked::start().await;
    hooked.listen(raise);
    let folder = hooked.node.directory().to_owned();
    let unloadable = program(folder.join("unloadable"), "#!/no/such/loader\n");
    let failing = program(folder.join("failing"), "#!/bin/sh\nexit 1\n");
    let plain = folder.join("plain");
    fs::write(&plain, "no program").expect("a file");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).expect("a mode");
    for (name, target) in [
        ("missing", folder.join("nothing")),
        ("unloadable", unloadable),
        ("failing", failing),
        ("plain", plain),
    ] {
        hooked.install(&target);
        hooked
            .run(&pod(name, &["true"], &asks(false)), "Succeeded")
            .await;
    }
    assert_eq!(hooked.heard(), []);

    // A hook whose program isn't there: CRI-O starts, and runs the others.
    let gone = json!({
        "version": "1.0.0", "hook": {"path": "/usr/local/bin/gone"},
        "when": {"always": true}, "stages": ["createRuntime"],
    });
    let hooks = hooked.node.runtime_hooks_dir();
    fs::write(hooks.join("00-gone.json"), gone.to_string()).expect("a hook");
    hooked.install(&folder.join("daemon"));
    hooked.node.restart_program(Program::Crio).expect("CRI-O");
    let log = hooked
        .run(&pod("after", &["first-act"], &asks(true)), "Succeeded")
        .await;
    assert_eq!(log, "SCHED_FIFO granted\n");
    assert!(hooked.node.path_inside(HOOK_SOCKET).exists());
    hooked.end().await;
}
