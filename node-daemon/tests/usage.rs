//! `top` and the metrics on the real kernel: a SCHED_FIFO thread that never blocks, in a container's group with a budget,
//! is found with its policy, its share and whose it is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test ends at what it doesn't expect, and `json!` values read better given away"
)]

#[path = "usage/spinner.rs"]
mod spinner;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use realtime_core::api::realtime_node::NodePodBudgetStatus;
use realtime_core::conditions::{BUDGET_READY, Decided};
use realtime_node_daemon::budget::Told;
use realtime_node_daemon::host::Host;
use realtime_node_daemon::metrics::Server;
use realtime_testing::skip;
use serde_json::{Value, json};
use spinner::{BUDGET, PRIORITY, Sleeper, Spinner, cannot_run};
use tokio::sync::watch;

/// For a machine that is starved.
const LONG: Duration = Duration::from_mins(1);

fn daemon() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_realtime-node-daemon"));
    command
        .env_remove("RUST_LOG")
        .env_remove("NODE_NAME")
        .env("TERM", "xterm");
    command
}

/// `top` on a host whose `/` is a folder with the machine's /proc and /sys and containerd's bundle, in a mount namespace
/// of its own.
fn top_below(root: &Path, arguments: &str) -> Output {
    let script = format!(
        "cd '{0}' && mkdir -p proc sys && mount --rbind /proc proc && mount --rbind /sys sys && \
         exec '{1}' --root '{0}' top {arguments}",
        root.display(),
        env!("CARGO_BIN_EXE_realtime-node-daemon"),
    );
    Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .output()
        .unwrap()
}

fn bundle(root: &Path, id: &str) {
    let folder = root
        .join("run/containerd/io.containerd.runtime.v2.task/k8s.io")
        .join(id);
    std::fs::create_dir_all(&folder).unwrap();
    let config = json!({"ociVersion": "1.2.0", "annotations": {
        "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "main",
        "io.kubernetes.cri.sandbox-name": "spinner", "io.kubernetes.cri.sandbox-namespace": "lab"}});
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The group of a container id.
fn group_of(text: &[u8], id: &str) -> Value {
    let answer: Value = serde_json::from_slice(text).unwrap();
    let groups = answer["groups"].as_array().unwrap();
    let own = groups.iter().find(|group| group["containerId"] == id);
    own.unwrap_or_else(|| panic!("{answer:#}")).clone()
}

#[test]
fn a_real_time_thread_is_seen_with_its_share_and_its_pod() {
    if let Some(why) = cannot_run() {
        return skip(&why);
    }
    let spinner = Spinner::start("top");
    let root = tempfile::tempdir().unwrap();
    let output = top_below(root.path(), "--once --json");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    // Nobody says whose it is.
    let group = group_of(&output.stdout, &spinner.id);
    assert_eq!(
        (&group["pod"], &group["podUid"]),
        (&Value::Null, &json!(spinner.uid))
    );

    bundle(root.path(), &spinner.id);
    let output = top_below(root.path(), "--once --json --interval 3s");
    let group = group_of(&output.stdout, &spinner.id);
    assert_eq!(group["namespace"], "lab", "{group:#}");
    assert_eq!(
        (group["pod"].as_str(), group["container"].as_str()),
        (Some("spinner"), Some("main"))
    );
    assert_eq!(group["budgetMicroseconds"], BUDGET);
    let [thread] = &group["threads"].as_array().unwrap()[..] else {
        panic!("{group:#}")
    };
    assert_eq!(
        (&thread["tid"], &thread["policy"]),
        (&json!(spinner.tid()), &json!("fifo"))
    );
    assert_eq!(
        (&thread["priority"], &thread["comm"]),
        (&json!(PRIORITY), &json!("sh"))
    );
    // 2 % of each second; a period may lie over the edge of three seconds, and a virtual machine may stand still.
    let share = thread["share"].as_f64().unwrap();
    assert!((0.001..0.05).contains(&share), "{group:#}");
    let of_budget = group["budgetShare"].as_f64().unwrap();
    assert!((share * 50.0 - of_budget).abs() < 1e-6, "{group:#}");

    let output = top_below(root.path(), "--once --interval 200ms");
    let text = said(&output);
    let row = text
        .lines()
        .find(|line| line.starts_with("lab/spinner/main "))
        .unwrap_or_else(|| panic!("{text}"));
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        words[1..5],
        [&spinner.tid().to_string(), "sh", "fifo", "7"],
        "{row}"
    );
    assert_eq!(words[7], "20000", "{row}");
}

/// Version 2 alone: the same groups below another mount, and no budget anywhere.
#[test]
fn a_host_with_version_2_has_threads_and_no_budgets() {
    let unified = Path::new("/sys/fs/cgroup/unified");
    if cannot_run().is_some() || !unified.join("cgroup.procs").exists() {
        return skip("no cgroup v2 at /sys/fs/cgroup/unified beside version 1, or not root");
    }
    let sleeper = Sleeper::start(unified);
    let root = tempfile::tempdir().unwrap();
    bundle(root.path(), &sleeper.id);
    let script = format!(
        "cd '{0}' && mkdir -p proc sys/fs/cgroup/unified && mount --rbind /proc proc && \
         mount --bind /sys/fs/cgroup/unified sys/fs/cgroup/unified && exec '{1}' --root '{0}' top --once --interval 100ms",
        root.path().display(),
        env!("CARGO_BIN_EXE_realtime-node-daemon"),
    );
    let unshared = |more: &str| {
        let script = format!("{script} {more}");
        Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .output()
            .unwrap()
    };
    let output = unshared("--json");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let group = group_of(&output.stdout, &sleeper.id);
    assert_eq!(
        (
            &group["pod"],
            &group["budgetMicroseconds"],
            &group["throttledCpus"]
        ),
        (&json!("spinner"), &Value::Null, &Value::Null)
    );
    assert_eq!(group["threads"][0]["policy"], "rr", "{group:#}");
    let text = said(&unshared(""));
    assert!(
        text.contains("cgroup v2") && text.contains("BUDGET -: cgroup v2 has no real-time budgets"),
        "{text}"
    );
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    if let Some(why) = cannot_run() {
        return skip(&why);
    }
    let mut child = daemon()
        .args(["top", "--json", "--interval", "100ms"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["cgroupVersion"], 1);
    }
    drop(lines);
    let mut code = None;
    spinner::eventually(|| {
        code = child.try_wait().unwrap().map(|status| status.code());
        code.is_some()
    });
    assert_eq!(code, Some(Some(0)));
}

#[test]
fn what_can_not_be_shown_is_said() {
    let empty = tempfile::tempdir().unwrap();
    let output = daemon()
        .args(["top", "--once", "--root"])
        .arg(empty.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(
        said(&output).contains("no cgroup hierarchy"),
        "{}",
        said(&output)
    );
    for wrong in [
        &["top", "--interval", "5"][..],
        &["top", "--interval", "1ms"],
        &["--metrics-address", "localhost"],
    ] {
        let output = daemon().args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    }
}

/// The answer to one request, whole.
fn asked(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

async fn ask(address: SocketAddr, request: &'static str) -> String {
    tokio::task::spawn_blocking(move || asked(address, request))
        .await
        .unwrap()
}

fn status() -> NodePodBudgetStatus {
    serde_json::from_value(json!({"mode": "V1Budget", "capacityMicroseconds": 800_000, "allocatedMicroseconds": 25_000,
        "containers": [
            {"namespace": "lab", "pod": "spinner", "container": "main", "requestedMicroseconds": 25_000,
                "appliedMicroseconds": 25_000, "state": "Applied", "assignedBeforeStart": false},
            {"namespace": "lab", "pod": "other", "container": "main", "requestedMicroseconds": 900_000, "state": "Refused",
                "reason": "NoRoom", "message": "no"},
        ]}))
    .unwrap()
}

#[tokio::test]
async fn metrics_are_served_and_well_formed() {
    let spinner = match cannot_run() {
        None => Some(Spinner::start("metrics")),
        Some(_) => None,
    };
    let (sender, told) = watch::channel(Told::default());
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address();
    let serving = tokio::spawn(server.run(told, Host::new("/", None)));

    let answer = ask(address, "GET /metrics").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(
        !answer.contains("realtime_node_capacity_seconds"),
        "{answer}"
    );
    sender.send_replace(Told::Pods {
        status: status(),
        condition: Decided::new(BUDGET_READY, Some(true), "V1Budget", String::new()),
    });
    let answer = ask(address, "GET /metrics").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    for line in [
        "realtime_node_capacity_seconds 0.8",
        "realtime_node_budget_mode{mode=\"V1Budget\"} 1",
        "realtime_pod_budget_applied_seconds{namespace=\"lab\",pod=\"spinner\",container=\"main\"} 0.025",
        "realtime_container_state{namespace=\"lab\",pod=\"other\",container=\"main\",state=\"Refused\",reason=\"NoRoom\"} 1",
        "realtime_containers_started_before_budget_total 1",
    ] {
        assert!(body.lines().any(|one| one == line), "{line}\n{body}");
    }
    if let Some(spinner) = &spinner {
        let own = format!("thread=\"{}\"}} ", spinner.tid());
        let line = body
            .lines()
            .find(|line| line.contains(&own))
            .unwrap_or_else(|| panic!("{body}"));
        assert!(
            line.starts_with("realtime_thread_cpu_seconds_total{") && line.contains(&spinner.uid),
            "{line}"
        );
        as_top_shows_it(body, spinner);
    }
    let unchecked = check(body);

    assert!(ask(address, "GET /").await.starts_with("HTTP/1.1 404 "));
    assert!(
        ask(address, "POST /metrics")
            .await
            .starts_with("HTTP/1.1 405 ")
    );
    assert!(ask(address, "rubbish").await.starts_with("HTTP/1.1 400 "));
    // Those who say nothing don't keep others from an answer.
    let silent: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    assert!(ask(address, "GET /metrics").await.contains(" 200 OK"));
    drop(silent);
    // The engine ended: the last numbers stay.
    drop(sender);
    assert!(
        ask(address, "GET /metrics")
            .await
            .contains("realtime_node_capacity_seconds 0.8\n")
    );
    serving.abort();
    let unseen = spinner
        .is_none()
        .then_some("the metrics' threads: no cgroup v1 with real-time budgets, or not root");
    let skipped: Vec<&str> = unchecked.into_iter().chain(unseen).collect();
    if !skipped.is_empty() {
        skip(&skipped.join("; "));
    }
}

/// Policy, priority and CPU of the one thread, and whether its group is stopped where the kernel tells.
fn as_top_shows_it(body: &str, spinner: &Spinner) {
    let whose = format!(
        "namespace=\"\",pod=\"{}\",container=\"{}\"",
        spinner.uid, spinner.id
    );
    let value = |name: &str, more: &str| -> Option<usize> {
        let start = format!("{name}{{{whose}{more}}} ");
        let mut values = body.lines().filter_map(|line| line.strip_prefix(&start));
        Some(values.next()?.parse().unwrap())
    };
    let thread = format!(",thread=\"{}\"", spinner.tid());
    let kind = format!(",policy=\"fifo\",priority=\"{PRIORITY}\"");
    assert_eq!(
        value("realtime_threads_by_policy", &kind),
        Some(1),
        "{body}"
    );
    let priority = value(
        "realtime_thread_priority",
        &format!("{thread},policy=\"fifo\""),
    );
    assert_eq!(priority, usize::try_from(PRIORITY).ok(), "{body}");
    // This machine's, however many of them the test may use.
    let online = std::fs::read_to_string("/proc/stat").unwrap();
    let cpu = value("realtime_thread_last_cpu", &thread);
    let cpu = cpu.unwrap_or_else(|| panic!("{body}"));
    assert!(online.contains(&format!("\ncpu{cpu} ")), "{cpu}\n{online}");
    // On one CPU after the other, or stopped on more than one: at most on all.
    let stopped = value("realtime_container_throttled_cpus", "");
    // Not by /proc/sched_debug, which older kernels have.
    let told = std::fs::read_to_string("/sys/kernel/debug/sched/debug")
        .is_ok_and(|text| text.contains(&spinner.id));
    assert_eq!(stopped.is_some(), told, "{body}");
    let cpus = online.matches("\ncpu").count();
    assert!(stopped.is_none_or(|stopped| stopped <= cpus), "{body}");
}

/// By Prometheus' own tool; else why not.
fn check(body: &str) -> Option<&'static str> {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = spawned else {
        return Some("promtool check metrics: promtool is not here");
    };
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(body.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(
        output.status.success() && said(&output).is_empty(),
        "{}",
        said(&output)
    );
    None
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let told = Server::bind(first.address()).await.unwrap_err().to_string();
    assert!(
        told.starts_with(&format!("--metrics-address {}: ", first.address())),
        "{told}"
    );
}
