//! The Python rt-operator on the same node, where it is installed: measured as the daemon is, after the daemon has ended.
//! Must not make the bench fail or wait for ever: where it does not work, that is what is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use rand::RngExt as _;
use realtime_testing::programs::Program;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use tokio::time::{sleep, timeout};

use crate::figures::Times;
use crate::node::{CAPACITY, Kind, Node};
use crate::{run, sample};

/// What its package installs.
const PROGRAM: &str = "rt-operator";
/// Where it has its settings and its log, in the node's directory.
const SETTINGS: &str = "rt-operator.yaml";
/// All of it takes two minutes.
const LIMIT: Duration = Duration::from_mins(10);
/// Its first budget: Python has to read all of its modules, and the kubelet has to start.
const FIRST: Duration = Duration::from_mins(1);
/// Pods that the kubelet starts: each takes some seconds, most of them for its end.
const BY_KUBELET: usize = 20;
/// As long as one of them may take to be gone.
const GONE: Duration = Duration::from_mins(1);
/// Lines of its log that tell why it doesn't work.
const TAIL: usize = 8;
/// The kubelet looks once a second what runs: pods come at any moment of that.
const PAUSE: std::ops::Range<u64> = 100..1_100;

/// It knows one place only, which on this machine is another or none: the node's group is there for this process alone. What it leaves in
/// the way of temporary files, keys among them, goes with the node's directory, in which it runs.
const SCRIPT: &str = r#"
exec 7<"$1" && mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/cpu,cpuacct &&
    mount --no-canonicalize --bind /proc/self/fd/7 /sys/fs/cgroup/cpu,cpuacct || exit 1
exec 7<&-
export PATH="$2" TMPDIR="$PWD"
shift 2
exec "$@"
"#;

const PUBLISHED: &str = "\
Its published figures, of another machine: the budget comes 213 to 900 ms after the process has started, median 428 ms; 70 MB
resident.";

const WORDS: &str = "\
It is alone on the node, without daemon and other pods, and its pods have the class Guaranteed, the only one that it serves. It acts
when the API server says that the container runs. \"told at once\": this program says so right after the mkdir; no kubelet's and
no runtime's delay is in it, so that on a real node it is always more. \"told by kubelet\": pods that the node's kubelet and
containerd start, as on a real node; their delays are in it, the container's process runs before its budget comes, and the published
figures count from that process. Its cgroup_v1_capacity is what the daemon had as capacity, and the node's group is mounted for it
where it looks for kubepods; nothing else is done for it, and the budget of kubepods it writes itself.\n";

/// Adds its lines to the table, and returns what is to be said of it.
pub async fn compare(
    node: &Node,
    named: Option<PathBuf>,
    count: usize,
    lines: &mut Vec<(String, Times)>,
    say: impl Fn(&str),
) -> String {
    let Some(program) = named.or_else(on_path) else {
        return format!(
            "Python rt-operator: not installed here (neither on PATH nor named by --rt-operator or RT_OPERATOR), and not measured.\n\
             {PUBLISHED}"
        );
    };
    let shown = program.display();
    say(&format!("{shown}, {count} containers"));
    let before = lines.len();
    let measured = timeout(LIMIT, measure(node, &program, count, lines, say))
        .await
        .unwrap_or_else(|_| bail!("it is not through after {LIMIT:?}"));
    let memory = node.resident_with(SETTINGS);
    let memory = memory.map_or_else(
        || "Its memory is not known.".to_owned(),
        |resident| format!("It has {resident} KiB resident."),
    );
    let failure = measured.err().map_or_else(String::new, |error| {
        format!(
            "What the table lacks of it could not be measured: {error:#}. The last it said:\n{}\n",
            tail(node)
        )
    });
    // An error can only say that it is gone already.
    let _ = node.real.kill_program(PROGRAM);
    let words = if lines.len() > before { WORDS } else { "" };
    format!("Python rt-operator: {shown}. {memory}\n{failure}{words}{PUBLISHED}")
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(PROGRAM))
        .find(|program| program.is_file())
}

async fn measure(
    node: &Node,
    program: &Path,
    count: usize,
    lines: &mut Vec<(String, Times)>,
    say: impl Fn(&str),
) -> anyhow::Result<()> {
    // Whole: it is started from another folder than this.
    let program = std::path::absolute(program)?;
    node.clear().await?;
    start(node, &program)?;
    first(node).await?;
    let times = run(node, "told", Kind::AsksGuaranteed, count, |pod, number| {
        told(node, pod, number)
    })
    .await?;
    lines.push((
        "rt-operator: mkdir to budget, told at once".to_owned(),
        times,
    ));

    let count = count.min(BY_KUBELET);
    say(&format!("{count} that the kubelet starts"));
    node.real.restart_program(Program::Kubelet)?;
    let mut times = Vec::with_capacity(count);
    // One more: while the kubelet starts, it does other things than later.
    for number in 0..=count {
        let name = format!("kubelet-{number}");
        let pod = node.pod(&name, Kind::AsksGuaranteed).await?;
        let took = block_in_place(|| sample::started(node, &pod))?;
        if number > 0 {
            times.push(took);
        }
        node.delete(&name).await?;
        let group = node.group(&pod)?;
        let began = Instant::now();
        while group.exists() {
            ensure!(began.elapsed() < GONE, "{name} does not end");
            sleep(Duration::from_millis(20)).await;
        }
        let pause = rand::rng().random_range(PAUSE);
        sleep(Duration::from_millis(pause)).await;
    }
    let times = Times::of(times).context("nothing was measured")?;
    let what = "rt-operator: mkdir to budget, told by kubelet";
    lines.push((what.to_owned(), times));
    Ok(())
}

/// Starts it in the node's namespaces, as a service of the node.
fn start(node: &Node, program: &Path) -> anyhow::Result<()> {
    let settings = node.real.directory().join(SETTINGS);
    let text = json!({
        "log_level": "DEBUG", // as it is shipped
        "kube_path": node.real.admin_kubeconfig(),
        "node_name": node.real.options().node_name,
        "cgroup_handler": "cgroup_v1",
        "cgroup_v1_capacity": CAPACITY,
    });
    fs::write(&settings, text.to_string())?; // JSON is YAML too
    let path = std::env::var_os("PATH").unwrap_or_default();
    let group = node.real.cgroup_root();
    let mut arguments = vec!["--mount", "--propagation", "private", "sh", "-c", SCRIPT];
    let own = [
        PROGRAM.into(),
        group.to_string_lossy(),
        path.to_string_lossy(),
        program.to_string_lossy(),
        settings.to_string_lossy(),
    ];
    arguments.extend(own.iter().map(|it: &std::borrow::Cow<'_, str>| &**it));
    let arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    node.real
        .run_program(PROGRAM, Path::new("unshare"), &arguments)?;
    Ok(())
}

/// Until it works: one container has a budget.
async fn first(node: &Node) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let had = run(node, "first", Kind::AsksGuaranteed, 1, |pod, number| {
            told(node, pod, number)
        })
        .await;
        let Err(failed) = had else { return Ok(()) };
        if !node.real.runs(PROGRAM)? {
            bail!("it has ended");
        }
        if began.elapsed() > FIRST {
            return Err(failed);
        }
        node.clear().await?;
    }
}

/// From the mkdir to the budget, while the API server is told that the container runs.
fn told(node: &Node, pod: &Pod, number: usize) -> anyhow::Result<Duration> {
    let runtime = Handle::current();
    let mut telling = None;
    let took = sample::appearing(node, pod, number, |id| {
        telling = Some(runtime.spawn(node.tell_running(pod, id)));
    });
    if let Some(telling) = telling {
        // Without it the budget can't come: its error comes first.
        runtime
            .block_on(telling)?
            .context("telling that the container runs")?;
    }
    took
}

fn tail(node: &Node) -> String {
    let log = node.real.directory().join(format!("{PROGRAM}.log"));
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL)..];
    if last.is_empty() {
        return "  (nothing)".to_owned();
    }
    last.iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}
