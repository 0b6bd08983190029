//! `make bench`, the node daemon's part: what it costs while nothing happens, over simulated hosts, with a real API
//! server and the rights that it ships with. Measures and prints; decides nothing and asserts nothing.

mod cluster;
mod pod;
mod pods;
mod process;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;

use cluster::Cluster;
use process::Usage;

/// What resident memory is to stay under, MB.
const AIM: &str = "under 12 MB";

/// Measures the idle node daemon.
#[derive(Debug, Parser)]
struct Args {
    /// The daemon's program.
    #[arg(long, default_value = "target/small/realtime-node-daemon")]
    daemon: PathBuf,
    /// The program that plays rpm-ostree.
    #[arg(long, default_value = "target/release/rpm-ostree-standin")]
    standin: PathBuf,
    /// How long nothing happens.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// No pods that come and go: ends with the first 250.
    #[arg(long)]
    brief: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Whole: they are started from other folders than this.
    let whole = |program: &Path| {
        std::fs::canonicalize(program)
            .with_context(|| format!("{}: `make bench` builds it", program.display()))
    };
    let (daemon, standin) = (whole(&args.daemon)?, whole(&args.standin)?);
    let began = Instant::now();
    let say = |what: &str| eprintln!("[{:5.1} s] {what}", began.elapsed().as_secs_f32());
    say("starting etcd and kube-apiserver");
    let cluster = Cluster::start(&daemon, &standin).await?;

    say("a node switches to the real-time kernel, another one is only looked at");
    let pids = cluster.settle().await?;
    let before = usages(&pids)?;
    let asked = cluster.requests()?;
    say(&format!("nothing happens for {} s", args.seconds));
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let after = usages(&pids)?;
    let mut requests = cluster.requests()?;
    ensure!(
        cluster.pids()? == pids,
        "a daemon was started anew meanwhile: nothing was measured"
    );
    for (request, count) in &mut requests {
        *count -= asked.get(request).copied().unwrap_or_default();
    }
    requests.retain(|_, count| *count > 0);
    let with_pods = match realtime_testing::kubelet_standin::groups::cannot_run() {
        Some(reason) => {
            say(&format!("no pods: {reason}"));
            Vec::new()
        }
        None => pods::measure(&cluster, &daemon, args.brief, say).await?,
    };
    say("done");

    print(&args, &before, &after);
    if !with_pods.is_empty() {
        print_pods(&with_pods);
    }
    println!(
        "requests of the first two, by the API server's audit log (aim: no request but the watch of each, which ends after\n\
         minutes and is begun anew):"
    );
    for ((verb, resource, name), count) in &requests {
        println!("  {count} {verb} {resource} {name}");
    }
    if requests.is_empty() {
        println!("  none");
    }
    println!("\n{WORDS}");
    println!("{}", load());
    cluster.shutdown().await
}

const WORDS: &str = "\
What this is: the daemon as it is shipped (profile small), each with the token of its own pod, the environment of its
DaemonSet, and the shipped rights and admission policies. Resident memory is its code first of all: a file that the
kernel can drop and read again. As root, token and certificate are where a pod has them; else they come by a kubeconfig,
and the parser of that counts. The one that switches has just done it, been rebooted, and proved the kernel; its
rpm-ostree is a stand-in, and its own CPUs are left alone, as programs run out of a folder. The one that looks on (a Machine Config Operator
switches) keeps to reserved CPU 0, which needs root.
The third has pods, where the kernel has budgets: the API server's watch and the groups are real, the kubelet is played;
each pod asks for a budget, and most are told that there is no room. What it keeps of a pod is some 9 kB, a third of which
is room between what it keeps. It has a configuration, as its groups are elsewhere, and the parser of that counts.
The peer is the Python rt-operator, which is not installed here: its documented figure is 70 MB resident, with no word
about time or requests. It was not measured in this run.";

fn usages(pids: &[u32]) -> anyhow::Result<Vec<Usage>> {
    pids.iter().map(|pid| Usage::of(*pid)).collect()
}

fn print(args: &Args, before: &[Usage], after: &[Usage]) {
    let heads: Vec<String> = cluster::NODES.iter().map(ToString::to_string).collect();
    line("", &heads, "aim");
    let row = |what: &str, aim: &str, value: &dyn Fn(&Usage, &Usage) -> String| {
        let values: Vec<String> = before
            .iter()
            .zip(after)
            .map(|(before, after)| value(before, after))
            .collect();
        line(what, &values, aim);
    };
    row("resident when it had settled", AIM, &|now, _| {
        megabytes(now.resident)
    });
    row(
        &format!("resident after {} s more", args.seconds),
        AIM,
        &|_, now| megabytes(now.resident),
    );
    row("  its own (RssAnon)", "", &|_, now| {
        megabytes(now.anonymous)
    });
    row("  files (RssFile), shared", "", &|_, now| {
        megabytes(now.files)
    });
    row("proportional (Pss)", "", &|_, now| {
        megabytes(now.proportional)
    });
    row("peak since its start", "", &|_, now| megabytes(now.peak));
    row("CPU time from its start to then", "", &|now, _| {
        milliseconds(now.on_cpu)
    });
    row("CPU time while nothing happened", "", &|before, after| {
        milliseconds(after.on_cpu.saturating_sub(before.on_cpu))
    });
    row("  utime and stime", "", &|before, after| {
        milliseconds(after.ticks.saturating_sub(before.ticks))
    });
    row("woken, made to wait", "", &|before, after| {
        let voluntary = after.voluntary.saturating_sub(before.voluntary);
        let involuntary = after.involuntary.saturating_sub(before.involuntary);
        format!("{voluntary}, {involuntary}")
    });
    row("threads", "", &|_, now| now.threads.len().to_string());
    row("  the CPUs that they may use", "", &|_, now| {
        let mut cpus: Vec<&str> = now.threads.iter().map(|(_, cpus)| cpus.as_str()).collect();
        cpus.dedup();
        cpus.join(" ")
    });
    println!();
}

fn print_pods(measured: &[(String, Usage)]) {
    let heads = [
        "resident",
        "its own",
        "proportional",
        "peak",
        "CPU time so far",
    ];
    line("a third node, with pods", &heads.map(str::to_owned), "aim");
    for (what, usage) in measured {
        let values = [
            megabytes(usage.resident),
            megabytes(usage.anonymous),
            megabytes(usage.proportional),
            megabytes(usage.peak),
            milliseconds(usage.on_cpu),
        ];
        line(what, &values, AIM);
    }
    println!();
}

fn line(what: &str, values: &[String], aim: &str) {
    print!("{what:<34}");
    for value in values {
        print!("{value:<20}");
    }
    println!("{aim}");
}

/// For people: precise enough far beyond any size here.
#[allow(clippy::cast_precision_loss)]
fn megabytes(kib: u64) -> String {
    format!("{:.1} MB", (kib * 1024) as f64 / 1_000_000.0)
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
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
