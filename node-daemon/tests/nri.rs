//! The daemon as a plugin of real container runtimes, with pods that a real kubelet starts: a program whose first act is
//! `sched_setscheduler` may do it, a pod that would rather not start doesn't, and a daemon that is busy, dead or not there
//! keeps nobody from starting for longer than the bound. Behind the door is a loop that knows nothing but how to raise
//! budgets from the top down.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as Cell};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams, LogParams, PostParams};
use kube::runtime::wait::await_condition;
use realtime_core::rt::request::{REQUIRED, RT_RUNTIME_US, RUNTIME_US};
use realtime_node_daemon::budget::door::{Announced, Answer, Knock, WAITING};
use realtime_node_daemon::host::Host;
use realtime_node_daemon::nri::{self, LONGEST_WAIT};
use realtime_testing::programs::Program;
use realtime_testing::real_node::{BUSYBOX_IMAGE, Options, RealNode, Runtime, cannot_run};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A pod runs within a second; this is for a machine that is starved.
const TIME_LIMIT: Duration = Duration::from_mins(2);
/// What the runtime gives a plugin. It closes the connection after that.
const RUNTIMES_LIMIT: Duration = Duration::from_secs(2);
/// What the loop says when it refuses, with signs that have to survive on the way to the pod's Event.
const REASON: &str =
    "the node's pods have 90000 of 95000 µs; \"spinner\" asks for 20000: try another node";

/// NRI's own word for a plugin without which a container shall not start; containerd since 2.2 heeds it where its
/// `default_validator` is enabled.
const REQUIRED_PLUGINS: &str = "required-plugins.noderesource.dev";

/// As many pods at once: 5000 µs each, of the node's 300000.
const MANY: u32 = 25;

/// One node at a time: each fills two cores while it starts.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// What the loop does with a knock.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Grants,
    Refuses,
    Silent,
}

/// What happens at the door.
#[derive(Debug)]
enum Heard {
    /// Somebody knocks.
    Knock(Announced),
    /// Somebody who got no answer went away after that time.
    Left(Duration),
}

/// A node, and a daemon that consists of the plugin and the loop.
struct Lab {
    node: RealNode,
    pods: Api<Pod>,
    events: Api<Event>,
    mood: Arc<Cell<Mood>>,
    heard: mpsc::UnboundedReceiver<Heard>,
    plugin: JoinHandle<()>,
    /// How often the runtime has taken a plugin in.
    taken_in: usize,
    knocks: mpsc::Sender<Knock>,
}

async fn naive_loop(
    root: PathBuf,
    mut knocks: mpsc::Receiver<Knock>,
    mood: Arc<Cell<Mood>>,
    heard: mpsc::UnboundedSender<Heard>,
) {
    while let Some(Knock {
        announced,
        mut answer,
    }) = knocks.recv().await
    {
        let mood = *mood.lock().unwrap();
        let began = Instant::now();
        heard.send(Heard::Knock(announced.clone())).unwrap();
        match mood {
            Mood::Grants => answer.send(grant(&root, &announced)).unwrap(),
            Mood::Refuses => answer.send(Answer::Refused(REASON.to_owned())).unwrap(),
            Mood::Silent => {
                answer.closed().await;
                heard.send(Heard::Left(began.elapsed())).unwrap();
            }
        }
    }
}

/// Raises all groups from that of all pods to the container's.
fn grant(root: &Path, announced: &Announced) -> Answer {
    let budget = [RUNTIME_US, RT_RUNTIME_US]
        .iter()
        .find_map(|key| announced.annotations.get(*key)?.parse::<u32>().ok());
    let Some(budget) = budget else {
        return Answer::NotAsked;
    };
    let Some(way) = way_to(&root.join("kubepods"), announced.id.as_str()) else {
        return Answer::Refused("the container has no group".to_owned());
    };
    for group in way {
        let file = group.join("cpu.rt_runtime_us");
        let has: u32 = fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        if let Err(error) = fs::write(&file, (has + budget).to_string()) {
            return Answer::Refused(format!("{}: {error}", file.display()));
        }
    }
    Answer::Applied
}

/// The groups from here to the container's.
fn way_to(group: &Path, id: &str) -> Option<Vec<PathBuf>> {
    let name = group.file_name()?.to_str()?;
    if name.ends_with(id) && !name.contains("conmon") {
        return Some(vec![group.to_owned()]);
    }
    let below = fs::read_dir(group).ok()?.flatten();
    let mut way = below
        .filter(|entry| entry.path().is_dir())
        .find_map(|entry| way_to(&entry.path(), id))?;
    way.insert(0, group.to_owned());
    Some(way)
}

fn pod(name: &str, annotations: &Value, commands: &[&[&str]]) -> Value {
    let container = |(index, command): (usize, &&[&str])| {
        json!({
            "name": format!("c{index}"),
            "image": BUSYBOX_IMAGE,
            "command": command,
            "securityContext": { "capabilities": { "add": ["SYS_NICE"] } },
        })
    };
    let containers: Vec<Value> = commands.iter().enumerate().map(container).collect();
    json!({
        "metadata": { "name": name, "annotations": annotations },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "containers": containers,
        },
    })
}

fn asks() -> Value {
    json!({ "realtime": "true", RT_RUNTIME_US: "20000" })
}

fn required() -> Value {
    json!({ "realtime": "true", RT_RUNTIME_US: "20000", REQUIRED: "true" })
}

impl Lab {
    async fn start(runtime: Runtime) -> Self {
        let node = RealNode::start(Options {
            realtime_runtime_us: 300_000,
            ..Options::new(runtime)
        })
        .await
        .expect("node");
        let client = node.admin_client().await.expect("client");
        let (door, knocks) = mpsc::channel(WAITING);
        let (says, heard) = mpsc::unbounded_channel();
        let mood = Arc::new(Cell::new(Mood::Grants));
        tokio::spawn(naive_loop(
            node.cgroup_root(),
            knocks,
            Arc::clone(&mood),
            says,
        ));
        let mut lab = Self {
            plugin: tokio::spawn(async {}),
            pods: Api::namespaced(client.clone(), "default"),
            events: Api::namespaced(client, "default"),
            node,
            mood,
            heard,
            taken_in: 0,
            knocks: door,
        };
        lab.start_plugin().await;
        lab
    }

    async fn start_plugin(&mut self) {
        let host = Host::new(self.node.path_inside("/"), None);
        self.plugin = tokio::spawn(nri::run(host, self.knocks.clone()));
        self.until_taken_in().await;
    }

    /// Until the runtime has said it once more.
    async fn until_taken_in(&mut self) {
        self.taken_in += 1;
        let program = match self.node.options().runtime {
            Runtime::Containerd => "containerd",
            Runtime::CriO => "crio",
        };
        let log = self.node.directory().join(format!("{program}.log"));
        let began = Instant::now();
        loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let times = text
                .lines()
                .filter(|line| {
                    line.contains(nri::NAME) && line.contains("connected and synchronized")
                })
                .count();
            if times >= self.taken_in {
                return;
            }
            assert!(began.elapsed() < TIME_LIMIT, "not taken in: {text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    async fn create(&self, pod: Value) -> String {
        let pod: Pod = serde_json::from_value(pod).expect("pod");
        let made = self.pods.create(&PostParams::default(), &pod).await;
        made.expect("created pod").metadata.name.expect("name")
    }

    async fn reaches(&self, name: &str, phase: &'static str) {
        let reached = await_condition(self.pods.clone(), name, |pod: Option<&Pod>| {
            pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref()) == Some(phase)
        });
        if !matches!(timeout(TIME_LIMIT, reached).await, Ok(Ok(_))) {
            let status = self.pods.get(name).await.map(|pod| pod.status);
            let log = self.log(name).await;
            panic!("{name} is not {phase}: {status:#?}; it said {log:?}");
        }
    }

    /// Runs it to that phase.
    async fn run(&self, pod: Value, phase: &'static str) {
        let name = self.create(pod).await;
        self.reaches(&name, phase).await;
    }

    async fn log(&self, name: &str) -> String {
        let parameters = LogParams {
            container: Some("c0".to_owned()),
            ..LogParams::default()
        };
        self.pods.logs(name, &parameters).await.unwrap_or_default()
    }

    async fn next(&mut self) -> Heard {
        let next = timeout(TIME_LIMIT, self.heard.recv()).await;
        next.expect("in time").expect("a loop")
    }

    async fn next_knock(&mut self) -> Announced {
        match self.next().await {
            Heard::Knock(announced) => announced,
            other @ Heard::Left(_) => panic!("{other:?}"),
        }
    }

    /// It runs, asks, and gets it before its first instruction.
    async fn is_granted(&mut self, name: &str) {
        self.set(Mood::Grants);
        self.run(pod(name, &asks(), &[&["first-act"]]), "Succeeded")
            .await;
        assert_eq!(self.log(name).await, "SCHED_FIFO granted\n");
        assert_eq!(self.next_knock().await.identity.pod, name);
    }

    /// An Event of the pod, once there is one with those words.
    async fn is_told(&self, name: &str, part: &str) -> String {
        let only = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let began = Instant::now();
        loop {
            let events = self.events.list(&only).await.expect("events");
            let words: Vec<String> = events
                .into_iter()
                .filter_map(|event| event.message)
                .collect();
            if let Some(told) = words.iter().find(|words| words.contains(part)) {
                eprintln!("the pod's Event: {told}");
                return told.clone();
            }
            assert!(began.elapsed() < TIME_LIMIT, "{words:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// It starts all the same, without what it asks for.
    async fn starts_without(&self, name: &str) {
        self.reaches(name, "Failed").await;
        let said = self.log(name).await;
        assert_eq!(said, "SCHED_FIFO refused: Operation not permitted\n");
    }
}

/// A budget is there before the program, also for the second container of a pod, and nobody hears of pods that ask for
/// nothing.
async fn grants(lab: &mut Lab) {
    lab.run(pod("plain", &json!({}), &[&["true"]]), "Succeeded")
        .await;
    assert!(lab.heard.try_recv().is_err(), "a pod that asks for nothing");

    let started = pod("granted", &asks(), &[&["first-act"]]);
    lab.run(started, "Succeeded").await;
    assert_eq!(lab.log("granted").await, "SCHED_FIFO granted\n");
    let announced = lab.next_knock().await;
    let object = lab.pods.get("granted").await.expect("pod");
    let identity = &announced.identity;
    assert_eq!(
        (
            &*identity.namespace,
            &*identity.pod,
            identity.container.as_deref()
        ),
        ("default", "granted", Some("c0"))
    );
    let uid = identity.uid.as_ref().map(ToString::to_string);
    assert_eq!(uid, object.metadata.uid);
    let statuses = object.status.and_then(|status| status.container_statuses);
    let id = statuses.expect("statuses")[0].container_id.clone();
    assert!(id.expect("id").ends_with(announced.id.as_str()));
    for (key, text) in object.metadata.annotations.expect("annotations") {
        assert_eq!(announced.annotations.get(&key), Some(&text));
    }
    eprintln!("the runtime says the process {:?}", announced.pid);

    let each = json!({ RUNTIME_US: "15000" });
    let two: &[&[&str]] = &[&["first-act", "1"], &["first-act"]];
    lab.run(pod("two", &each, two), "Succeeded").await;
    let mut names = Vec::new();
    for _ in 0..2 {
        names.extend(lab.next_knock().await.identity.container);
    }
    names.sort();
    assert_eq!(names, ["c0", "c1"]);
}

/// Many at once: each has its budget before it runs.
async fn grants_many(lab: &mut Lab) {
    let each = json!({ "realtime": "true", RT_RUNTIME_US: "5000" });
    let names: Vec<String> = (0..MANY).map(|number| format!("many-{number}")).collect();
    for name in &names {
        lab.create(pod(name, &each, &[&["first-act"]])).await;
    }
    for name in &names {
        lab.reaches(name, "Succeeded").await;
    }
    let mut knocked = Vec::new();
    for _ in &names {
        knocked.push(lab.next_knock().await.identity.pod);
    }
    knocked.sort();
    let mut names = names;
    names.sort();
    assert_eq!(knocked, names);
}

/// A refusal keeps nobody from starting who hasn't said that it shall. What it is good for with the runtime when it has.
async fn refuses(lab: &mut Lab) {
    lab.set(Mood::Refuses);
    lab.create(pod("refused", &asks(), &[&["first-act"]])).await;
    lab.starts_without("refused").await;
    lab.next_knock().await;

    lab.create(pod("required", &required(), &[&["first-act"]]))
        .await;
    lab.next_knock().await;
    match lab.node.options().runtime {
        Runtime::Containerd => {
            lab.reaches("required", "Failed").await;
            assert_eq!(lab.log("required").await, "", "it has never run");
            let told = lab.is_told("required", REASON).await;
            assert!(told.contains(REQUIRED), "{told}");
        }
        // CRI-O 1.34 logs the plugin's error and starts the container. When that changes, this test says so.
        Runtime::CriO => lab.starts_without("required").await,
    }
    lab.set(Mood::Grants);
    lab.run(
        pod("required-and-granted", &required(), &[&["first-act"]]),
        "Succeeded",
    )
    .await;
    lab.next_knock().await;
}

/// A loop that never answers delays a start by no more than the bound, and the runtime stays friends with the plugin.
async fn keeps_silent(lab: &mut Lab) {
    lab.set(Mood::Silent);
    lab.create(pod("waits", &asks(), &[&["first-act"]])).await;
    lab.next_knock().await;
    match lab.next().await {
        Heard::Left(waited) => {
            eprintln!("it waited {waited:?}");
            let least = LONGEST_WAIT * 9 / 10;
            assert!((least..RUNTIMES_LIMIT).contains(&waited), "{waited:?}");
        }
        other @ Heard::Knock(_) => panic!("{other:?}"),
    }
    lab.starts_without("waits").await;
    // By the same connection: the plugin isn't taken in again.
    lab.is_granted("after-silence").await;
}

/// A daemon that dies while a container waits for it, one that is away, and one that comes back; then the runtime itself.
async fn dies(lab: &mut Lab) {
    lab.set(Mood::Silent);
    lab.create(pod("left-alone", &required(), &[&["first-act"]]))
        .await;
    lab.next_knock().await;
    lab.plugin.abort();
    let Heard::Left(waited) = lab.next().await else {
        panic!("another knock");
    };
    assert!(waited < LONGEST_WAIT, "{waited:?}");
    lab.starts_without("left-alone").await;

    lab.create(pod("nobody-there", &asks(), &[&["first-act"]]))
        .await;
    lab.starts_without("nobody-there").await;

    // containerd itself holds back who says so, and tries again: the pod isn't over, whatever its restartPolicy.
    let waits = lab.node.options().runtime == Runtime::Containerd;
    if waits {
        let plugins = format!("[{}]", nri::NAME);
        let annotations =
            json!({"realtime": "true", RT_RUNTIME_US: "20000", REQUIRED_PLUGINS: plugins});
        lab.create(pod("waits-for-the-plugin", &annotations, &[&["first-act"]]))
            .await;
        let words = format!("required plugin \"{}\" not present", nri::NAME);
        lab.is_told("waits-for-the-plugin", &words).await;
        lab.set(Mood::Grants);
    }
    lab.start_plugin().await;
    if waits {
        lab.reaches("waits-for-the-plugin", "Succeeded").await;
        let said = lab.log("waits-for-the-plugin").await;
        assert_eq!(said, "SCHED_FIFO granted\n");
        lab.next_knock().await;
    }
    lab.is_granted("back-again").await;

    lab.node
        .restart_program(match lab.node.options().runtime {
            Runtime::Containerd => Program::Containerd,
            Runtime::CriO => Program::Crio,
        })
        .expect("restarted runtime");
    lab.until_taken_in().await;
    lab.is_granted("after-a-restart").await;
}

async fn on(runtime: Runtime) {
    if let Some(reason) = cannot_run(runtime) {
        realtime_testing::skip(&reason);
        return;
    }
    if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        realtime_testing::skip("the kernel has no budgets for groups of real-time threads");
        return;
    }
    let _one = ONE_AT_A_TIME.lock().await;
    let mut lab = Lab::start(runtime).await;
    grants(&mut lab).await;
    grants_many(&mut lab).await;
    refuses(&mut lab).await;
    keeps_silent(&mut lab).await;
    dies(&mut lab).await;
    lab.plugin.abort();
    lab.node.shutdown().await.expect("shutdown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_before_the_first_instruction_on_containerd() {
    on(Runtime::Containerd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_before_the_first_instruction_on_cri_o() {
    on(Runtime::CriO).await;
}
