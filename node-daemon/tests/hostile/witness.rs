//! The pod that has done nothing, new ones that want nothing but their budget, and what the daemon costs meanwhile.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use realtime_core::api::realtime_node::{ContainerBudget, ContainerBudgetState};

use crate::bystander::Bystander;
use crate::on_node::{Lab, budget, pod};

/// The witness's budget, microseconds of each second.
pub const WITNESS_US: i64 = 20_000;
/// An innocent's.
const INNOCENT_US: i64 = 10_000;
/// A pod takes one or two seconds from its creation to its first instruction; the machine has other work.
const SECONDS: Duration = Duration::from_mins(1);
/// The kernel counts time on CPUs in hundredths of a second (`USER_HZ`).
const TICKS: f64 = 100.0;
/// The daemon's part of a CPU, whatever others do: it rests between its looks, and the machine is others', too.
const MOST_OF_A_CPU: f64 = 0.8;
/// MiB: a status of five hundred containers has a tenth of one.
pub const MOST_MEMORY: u64 = 128;

pub struct Witness {
    pub uid: String,
    /// Its container's id.
    pub id: String,
    daemon: u32,
    bystander: Bystander,
}

/// What the daemon has used, at a moment.
pub struct Used {
    ticks: u64,
    at: Instant,
}

impl Witness {
    pub async fn start(lab: &Lab) -> Self {
        let annotations = budget(&WITNESS_US.to_string());
        let made = lab
            .run(
                pod("witness", &annotations, &["first-act", "36000"]),
                "Running",
            )
            .await;
        let entry = applied(lab, "witness", WITNESS_US).await;
        assert_eq!(entry.assigned_before_start, Some(true), "{}", lab.said());
        let status = made.status.clone().expect("status");
        let containers = status.container_statuses.expect("containers");
        let id = containers[0].container_id.clone().expect("id");
        let (_, id) = id.split_once("://").expect("scheme");
        Self {
            uid: made.uid().expect("uid"),
            id: id.to_owned(),
            daemon: daemon(lab),
            bystander: Bystander::start(lab).await,
        }
    }

    /// The witness's container's group.
    pub fn group(&self, lab: &Lab) -> PathBuf {
        let pod = lab
            .node
            .cgroup_root()
            .join(format!("kubepods/besteffort/pod{}", self.uid));
        pod.join(lab.group_name(&self.id))
    }

    /// It has what it had, and is the same process; the one beside it goes on, too.
    pub async fn is_well(&self, lab: &Lab) {
        assert_eq!(value(&self.group(lab)), WITNESS_US, "{}", lab.said());
        applied(lab, "witness", WITNESS_US).await;
        let pod = lab.pods.get("witness").await.expect("witness");
        let statuses = pod.status.and_then(|status| status.container_statuses);
        let container = statuses.expect("containers").remove(0);
        assert_eq!(container.restart_count, 0);
        assert_eq!(lab.words_of("witness").await, "SCHED_FIFO granted\n");
        assert!(
            lab.node.runs("daemon").expect("daemon") && daemon(lab) == self.daemon,
            "{}",
            lab.said()
        );
        self.bystander.is_well(lab).await;
    }

    /// A new pod gets its budget before its first instruction; then it goes.
    pub async fn innocent(&self, lab: &Lab, name: &str) {
        let begun = Instant::now();
        let annotations = budget(&INNOCENT_US.to_string());
        lab.run(pod(name, &annotations, &["first-act", "3600"]), "Running")
            .await;
        let entry = applied(lab, name, INNOCENT_US).await;
        let took = begun.elapsed();
        println!("{name}: {took:.1?}");
        assert_eq!(entry.assigned_before_start, Some(true), "{}", lab.said());
        assert_eq!(lab.words_of(name).await, "SCHED_FIFO granted\n");
        assert!(took < SECONDS, "{name} took {took:?}\n{}", lab.said());
        lab.delete(name).await;
    }

    /// What the daemon has used until now.
    pub fn used(&self) -> Used {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.daemon)).expect("daemon");
        let (_, fields) = stat.rsplit_once(") ").expect("fields");
        // utime and stime are the 14th and 15th of all, the state is the 3rd.
        let ticks = fields.split_whitespace().skip(11).take(2);
        Used {
            ticks: ticks.map(|text| text.parse::<u64>().expect("ticks")).sum(),
            at: Instant::now(),
        }
    }

    /// The daemon has had its part of one CPU since then, and no more; nor of the memory.
    pub fn modest(&self, lab: &Lab, what: &str, since: &Used) {
        let (share, memory) = (self.share(since), self.memory());
        println!("{what}: {share:.2} of a CPU, {memory} MiB");
        assert!(share < MOST_OF_A_CPU, "{what}: {share}\n{}", lab.said());
        assert!(memory < MOST_MEMORY, "{what}: {memory}\n{}", lab.said());
    }

    /// The daemon's part of one CPU since then.
    pub fn share(&self, since: &Used) -> f64 {
        let now = self.used();
        #[allow(clippy::cast_precision_loss, reason = "a few thousand at most")]
        let seconds = (now.ticks - since.ticks) as f64 / TICKS;
        seconds / since.at.elapsed().as_secs_f64()
    }

    /// Its resident memory, MiB.
    pub fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.daemon);
        let status = std::fs::read_to_string(path).expect("daemon");
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmRSS:"));
        let mut words = line.expect("VmRSS").split_whitespace();
        words.next().unwrap().parse::<u64>().expect("kB") / 1024
    }
}

/// The daemon's process, out here: the one that reads this node's file.
fn daemon(lab: &Lab) -> u32 {
    let config = lab.node.directory().join("daemon.yaml");
    let config = config.to_str().expect("path");
    let all = std::fs::read_dir("/proc").expect("/proc");
    let mut found = all.flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let comm = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        let line = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        (comm.starts_with("realtime-node-d") && line.split('\0').any(|word| word == config))
            .then_some(pid)
    });
    found.next().expect("the daemon's process")
}

/// A pod's only container has that.
pub async fn applied(lab: &Lab, name: &str, micros: i64) -> ContainerBudget {
    lab.entry(name, "main", |entry| {
        entry.state == ContainerBudgetState::Applied && entry.applied_microseconds == Some(micros)
    })
    .await
}

/// What a group has.
pub fn value(group: &std::path::Path) -> i64 {
    let text = std::fs::read_to_string(group.join("cpu.rt_runtime_us")).expect("a group");
    text.trim().parse().expect("a number")
}
