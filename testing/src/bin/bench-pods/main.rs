//! `make bench`, the budgets' part: from the mkdir of a container's group to its budget without the hook, and the hook's own
//! time, on an idle node and on a full one. Needs root, and a kernel with budgets. Measures and prints; asserts no time.

mod figures;
mod node;
mod peer;
mod sample;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Parser;
use rand::RngExt as _;
use realtime_testing::real_node::{Runtime, cannot_run};

use figures::Times;
use node::{Kind, Node};

/// As many pods are there at once for the samples; the daemon hears of them before.
const AT_ONCE: usize = 20;
/// How long it may take to hear of them.
const HEARD: Duration = Duration::from_millis(500);
/// Pods come at any moment of what the daemon does after the one before: it looks at the whole tree 60 ms after each.
const PAUSE: std::ops::Range<u64> = 10..120;
/// Other pods: as many as a kubelet takes. So many of them have a budget.
const OTHERS: usize = 110;
const OTHERS_ASKING: usize = 20;
/// Of the table's first column.
const WIDTH: usize = 46;

/// Measures how soon a container has its budget.
#[derive(Debug, Parser)]
struct Args {
    /// The daemon's program.
    #[arg(long, default_value = "target/small/realtime-node-daemon")]
    daemon: PathBuf,
    /// How many containers without the hook, on each of the nodes.
    #[arg(long, default_value_t = 1000)]
    samples: usize,
    /// How many with it.
    #[arg(long, default_value_t = 500)]
    hooked: usize,
    /// The Python rt-operator's program, to compare with; without it, the one on PATH.
    #[arg(long, env = "RT_OPERATOR")]
    rt_operator: Option<PathBuf>,
    /// How many containers for that.
    #[arg(long, default_value_t = 50)]
    compared: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Whole: it is started from other folders than this.
    let daemon = std::fs::canonicalize(&args.daemon)
        .with_context(|| format!("{}: `make bench` builds it", args.daemon.display()))?;
    let budgets = PathBuf::from("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists();
    let missing = cannot_run(Runtime::Containerd)
        .or_else(|| (!budgets).then(|| "the kernel has no budgets for groups".to_owned()));
    if let Some(missing) = missing {
        println!("How soon a container has its budget: not measured, {missing}.");
        return Ok(());
    }
    let began = Instant::now();
    let say = |what: &str| eprintln!("[{:5.1} s] {what}", began.elapsed().as_secs_f32());
    say("starting a node");
    let node = Node::start(&daemon).await?;
    let mut lines = Vec::new();
    for others in [0, OTHERS] {
        if others > 0 {
            say(&format!("{others} other pods"));
            fill(&node, others).await?;
        }
        say(&format!("{} containers without the hook", args.samples));
        let times = run(&node, "appears", Kind::Asks, args.samples, |pod, number| {
            sample::appearing(&node, pod, number, |_| ())
        })
        .await?;
        lines.push((format!("mkdir to budget, {others} other pods"), times));
        say(&format!("{} containers with it", args.hooked));
        let process = sample::Process::start(&node)?;
        let times = run(&node, "hooked", Kind::Asks, args.hooked, |pod, number| {
            sample::hooked(&node, &daemon, &process, pod, number)
        })
        .await?;
        process.end()?;
        lines.push((format!("the hook, {others} other pods"), times));
        if let Some(resident) = node.resident() {
            say(&format!("the daemon has {resident} KiB resident"));
        }
    }
    let peer = peer::compare(&node, args.rt_operator, args.compared, &mut lines, say).await;
    say("done");

    println!("{:<WIDTH$}{}", "", Times::head());
    for (what, times) in &lines {
        println!("{what:<WIDTH$}{}", times.line());
    }
    println!("\n{peer}\n\n{WORDS}");
    println!("A bundle here has {} bytes. {}", node.bundle_size(), load());
    node.real.shutdown().await?;
    Ok(())
}

const WORDS: &str = "\
What this is: the daemon as it is shipped (profile small) with its shipped rights on a node of real parts, whose kubelet is
ended: pods are objects of the API server, and this program makes their groups and bundles as kubelet and containerd do, one
after the other at random times. Without the hook: from before the container's mkdir until a thread on another CPU has woken by the
kernel's word that cpu.rt_runtime_us was written, and has read the value; the aim is a median below 500 µs and a p99 below
3000 µs. The hook: its program from its start to its end, budget in place; the script that calls it on OpenShift is not in it.";

/// One number after the other, each a pod of its own.
async fn run(
    node: &Node,
    prefix: &str,
    kind: Kind,
    count: usize,
    mut one: impl FnMut(&k8s_openapi::api::core::v1::Pod, usize) -> anyhow::Result<Duration>,
) -> anyhow::Result<Times> {
    let mut times = Vec::with_capacity(count);
    let mut random = rand::rng();
    while times.len() < count {
        let mut pods = Vec::new();
        for number in 0..AT_ONCE.min(count - times.len()) {
            let name = format!("{prefix}-{}", times.len() + number);
            pods.push(node.pod(&name, kind).await?);
        }
        tokio::time::sleep(HEARD).await;
        for pod in pods {
            let number = times.len();
            times.push(tokio::task::block_in_place(|| one(&pod, number))?);
            tokio::time::sleep(Duration::from_millis(random.random_range(PAUSE))).await;
        }
        node.delete(prefix).await?;
    }
    Times::of(times).context("nothing was measured")
}

/// Fills the node.
async fn fill(node: &Node, others: usize) -> anyhow::Result<()> {
    let mut pods = Vec::new();
    for number in 0..others {
        let asks = number < OTHERS_ASKING;
        let kind = if asks { Kind::Asks } else { Kind::Other };
        let pod = node.pod(&format!("other-{number}"), kind).await?;
        pods.push((pod, asks));
    }
    tokio::time::sleep(HEARD).await;
    for (number, (pod, asks)) in pods.iter().enumerate() {
        tokio::task::block_in_place(|| sample::stays(node, pod, number, *asks))?;
    }
    Ok(())
}

/// What else this machine did.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = load.split_whitespace().take(3).collect();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "This machine: {cpus} CPUs; load of the last 1, 5 and 15 minutes: {}.",
        averages.join(", ")
    )
}
