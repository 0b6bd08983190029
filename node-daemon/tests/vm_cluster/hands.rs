//! The part of the test that runs in the machine, as root: the hands of a kubelet, of CRI-O with crun and of a person. Makes
//! groups, bundles and processes and starts the daemon as it is told, over one connection, a line of JSON each way. Knows
//! nothing of any API server, decides nothing and judges nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use realtime_core::rt::group::{ContainerId, Driver, PodUid, PodsGroup, Qos, Runtime};
use realtime_node_daemon::sched;
use realtime_testing::actor::Actor;
use realtime_testing::vm::HOST;
use serde_json::{Value, json};

/// Where the program of the containers is.
pub const ACTOR: &str = "/vm/actor";
/// Where the daemon's executable is.
pub const DAEMON: &str = "/vm/daemon";
/// The daemon's kubeconfig.
pub const KUBECONFIG: &str = "/vm/kubeconfig";
/// The daemon's configuration file.
const CONFIG: &str = "/vm/daemon.yaml";
/// The host's port on which the test speaks.
pub const PORT: u16 = 7000;
/// The name of the machine's Node.
pub const NODE: &str = "vm";
const MOUNT: &str = "/sys/fs/cgroup";
const LOG: &str = "/tmp/daemon.log";
/// Where CRI-O keeps what a runtime is given.
const BUNDLES: &str = "/run/containers/storage/overlay-containers";

/// What there is.
struct Hands {
    pods: PodsGroup,
    daemon: Option<Child>,
    containers: BTreeMap<String, Container>,
}

/// A group with processes.
struct Container {
    /// From the mount, the lowest first: crun's below the container's own.
    groups: Vec<String>,
    actors: Vec<Actor>,
}

/// Does what it is told until the other end goes.
pub fn work() {
    let mut hands = Hands {
        pods: PodsGroup {
            driver: Driver::Systemd,
            root: Vec::new(),
        },
        daemon: None,
        containers: BTreeMap::new(),
    };
    let mut connection = TcpStream::connect((HOST, PORT)).unwrap();
    let lines = BufReader::new(connection.try_clone().unwrap()).lines();
    for line in lines {
        let asked: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let answer = hands.act(&asked);
        writeln!(connection, "{answer}").unwrap();
    }
    hands.kill_daemon();
}

impl Hands {
    fn act(&mut self, asked: &Value) -> Value {
        let text = |key: &str| asked[key].as_str().unwrap_or_default();
        let id = text("id");
        match text("do") {
            "kubelet" => {
                for qos in [Qos::Burstable, Qos::BestEffort] {
                    make(&self.pods.class(qos));
                }
                json!({})
            }
            "daemon" => self.start_daemon(),
            "kill daemon" => self.kill_daemon(),
            "log" => json!(fs::read_to_string(LOG).unwrap_or_default()),
            "container" => self.container(asked),
            "exec" => {
                let container = self.containers.get_mut(id).unwrap();
                let actor = enter(&container.groups[0]);
                let pid = actor.pid();
                container.actors.push(actor);
                json!(pid)
            }
            "tell" => {
                let actor = &mut self.containers.get_mut(id).unwrap().actors[0];
                let number = asked["number"].as_u64().unwrap_or(0);
                let number = u32::try_from(number).unwrap();
                json!(actor.tell(text("word"), number).unwrap())
            }
            "pin" => {
                let tid = asked["thread"].to_string();
                let pinned = Command::new("taskset")
                    .args(["-p", text("mask"), &tid])
                    .status();
                json!(pinned.unwrap().code())
            }
            "threads" => json!(threads(&self.containers[id].groups[0])),
            "ended" => {
                let actor = &mut self.containers.get_mut(id).unwrap().actors[0];
                json!(actor.ended().unwrap().signal())
            }
            "end" => {
                let container = self.containers.remove(id).unwrap();
                drop(container.actors);
                container.groups.iter().for_each(|group| remove(group));
                // What is no container has none.
                let _ = fs::remove_dir_all(format!("{BUNDLES}/{id}"));
                json!({})
            }
            other => json!(format!("{other} is nothing that can be done here")),
        }
    }

    /// A container as CRI-O and crun make it: its bundle, its group, its process, and the hook where it is asked for.
    fn container(&mut self, asked: &Value) -> Value {
        let name = asked["id"].as_str().unwrap().to_owned();
        let id = ContainerId::new(&name).unwrap();
        let uid = PodUid::new(asked["uid"].as_str().unwrap()).unwrap();
        let [below, group] = self
            .pods
            .container(Qos::Burstable, &uid, Runtime::Crio, &id);
        // Conmon has a group beside its container's.
        let conmon = asked["kind"] == "conmon";
        let groups = if conmon {
            vec![group.replace("/crio-", "/crio-conmon-")]
        } else {
            vec![below, group]
        };
        let bundle = format!("{BUNDLES}/{name}/userdata");
        if !conmon {
            fs::create_dir_all(&bundle).unwrap();
            let annotations = &asked["annotations"];
            let text = json!({"ociVersion": "1.2.0", "annotations": annotations}).to_string();
            fs::write(format!("{bundle}/config.json"), text).unwrap();
        }
        make(&groups[0]);
        let actor = enter(&groups[0]);
        let hook = (asked["hook"] == true).then(|| {
            let state = json!({
                "ociVersion": "1.2.0", "id": name, "pid": actor.pid(), "status": "created", "bundle": bundle,
                "annotations": asked["annotations"],
            });
            hook(&state)
        });
        let now = threads(&groups[0]);
        let pid = actor.pid();
        // Conmon and its container have one id.
        let key = if conmon {
            format!("conmon {name}")
        } else {
            name
        };
        let container = Container {
            groups,
            actors: vec![actor],
        };
        self.containers.insert(key, container);
        json!({"pid": pid, "hook": hook, "threads": now})
    }

    fn start_daemon(&mut self) -> Value {
        self.kill_daemon();
        let log = File::options().create(true).append(true).open(LOG).unwrap();
        fs::write(CONFIG, "feature_gates: [V2Hcbs]\n").unwrap();
        let daemon = Command::new(DAEMON)
            .args(["--kubeconfig", KUBECONFIG, "--node-name", NODE])
            .args(["--config", CONFIG])
            .args(["--log", "realtime_node_daemon=debug,info"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let pid = daemon.id();
        self.daemon = Some(daemon);
        json!(pid)
    }

    /// Without a chance to tidy up.
    fn kill_daemon(&mut self) -> Value {
        let Some(mut daemon) = self.daemon.take() else {
            return json!(null);
        };
        let had_ended = daemon.try_wait().unwrap().is_some();
        let _ = daemon.kill();
        let _ = daemon.wait();
        json!({"hadEnded": had_ended})
    }
}

/// As the runtime runs it: its answer, and how long the container waited.
fn hook(state: &Value) -> Value {
    let begun = Instant::now();
    let mut child = Command::new(DAEMON)
        .arg("oci-hook")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    write!(input, "{state}").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let took = u64::try_from(begun.elapsed().as_millis()).unwrap();
    json!({
        "code": output.status.code(), "said": String::from_utf8_lossy(&output.stderr), "milliseconds": took,
    })
}

/// A program that begins in a group.
fn enter(group: &str) -> Actor {
    let actor = Actor::start(ACTOR.as_ref()).unwrap();
    let processes = format!("{MOUNT}{group}/cgroup.procs");
    fs::write(processes, actor.pid().to_string()).unwrap();
    actor
}

/// A group, with the controller switched on in each one above it, as the kubelet and systemd do.
fn make(group: &str) {
    let mut path = MOUNT.to_owned();
    for part in group.split('/').skip(1) {
        fs::write(format!("{path}/cgroup.subtree_control"), "+cpu").unwrap();
        path = format!("{path}/{part}");
        fs::create_dir_all(&path).unwrap();
    }
}

/// Its processes have just been killed, and those that nobody waits for take a moment.
fn remove(group: &str) {
    let path = format!("{MOUNT}{group}");
    while fs::read_to_string(format!("{path}/cgroup.events"))
        .unwrap()
        .contains("populated 1")
    {
        std::thread::yield_now();
    }
    fs::remove_dir(&path).unwrap();
}

/// Each thread of a group as `Fifo 50`, with `reset` behind it where its children are reset.
fn threads(group: &str) -> Vec<String> {
    let ids = fs::read_to_string(format!("{MOUNT}{group}/cgroup.threads")).unwrap_or_default();
    ids.lines()
        .map(|tid| match sched::get(tid.parse().unwrap()) {
            Ok(now) => {
                let reset = if now.reset_on_fork { " reset" } else { "" };
                format!("{:?} {}{reset}", now.policy, now.priority)
            }
            Err(error) => error.to_string(),
        })
        .collect()
}
