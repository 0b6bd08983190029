//! `make bench`, the operator's part: what it costs on a cluster of 5,000 nodes, with a real API server. Measures and
//! prints; decides nothing and asserts nothing. The operator to measure is its argument (default
//! target/release/realtime-operator), and with a second one the number of nodes (default 5,000, 100 to a profile).

mod cluster;
mod operator;
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use cluster::Cluster;
use operator::{Operator, Usage};
use table::Table;

/// Nodes of each scene: the largest clusters that Kubernetes supports.
const NODES: usize = 5_000;
/// In the first scene.
const NODES_OF_A_PROFILE: usize = 100;
/// How long nothing happens, in the first scene.
const IDLE: Duration = Duration::from_mins(1);
/// In the second one: it is there for the size of a pool.
const IDLE_SHORT: Duration = Duration::from_secs(15);
/// Nothing written for so long: it has settled.
const QUIET: Duration = Duration::from_secs(3);
/// Longer than this is told as not settled, and the scene goes on.
const SETTLE_LIMIT: Duration = Duration::from_secs(90);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let binary = std::env::args_os().nth(1).map_or_else(
        || PathBuf::from("target/release/realtime-operator"),
        PathBuf::from,
    );
    // Whole: it is started from another folder than this.
    let binary = std::fs::canonicalize(&binary).with_context(|| {
        format!(
            "{}: cargo build --release --package realtime-operator",
            binary.display()
        )
    })?;
    let nodes = std::env::args()
        .nth(2)
        .map_or(Ok(NODES), |nodes| nodes.parse())?;
    let profiles = (nodes / NODES_OF_A_PROFILE).max(1);
    let mut table = Table::new([
        format!("{profiles} profiles, {} nodes each", nodes / profiles),
        format!("1 profile, {nodes} nodes"),
    ]);
    scene(&mut table, &binary, profiles, nodes, IDLE).await?;
    scene(&mut table, &binary, 1, nodes, IDLE_SHORT).await?;
    table.print();
    println!("{WORDS}");
    Ok(())
}

const WORDS: &str = "\
What this is: the operator's release build under the ServiceAccount that is shipped, a real kube-apiserver and etcd,
node objects of a real size (50 images, 60 labels, 20 annotations). Everything shares this machine's processors, and
the time to converge is mostly the API server's.
What it isn't: nobody updates the nodes. This program accepts the KubeletConfigs and renders each pool once, by the
rules of the stand-in for the Machine Config Operator; then nodes stay as they are and no agent answers.";

/// One cluster from nothing to the end.
async fn scene(
    table: &mut Table,
    binary: &std::path::Path,
    profiles: usize,
    nodes: usize,
    idle: Duration,
) -> anyhow::Result<()> {
    let began = Instant::now();
    let say = |what: &str| {
        eprintln!(
            "[{profiles} profile(s) {:5.1} s] {what}",
            began.elapsed().as_secs_f32()
        );
    };
    say("starting etcd and kube-apiserver, creating nodes");
    let cluster = Cluster::start(profiles, nodes).await?;

    say("starting the operator");
    let operator = Operator::start(&cluster.control_plane, binary).await?;
    let usage = operator.usage()?;
    table.row("start: caches filled after", seconds(operator.ready_after));
    table.row("  CPU time", seconds(usage.cpu));
    table.row("  memory now / peak", usage.memory());

    say("creating the profiles");
    let before = operator.snapshot(&cluster)?;
    let created = Instant::now();
    cluster.create_profiles().await?;
    let last = operator.settled(created, QUIET, SETTLE_LIMIT).await?;
    let written = operator.snapshot(&cluster)?;
    say(&format!("written after {last}; rendering"));
    table.row("profiles created: all written after", last);
    fill(table, &written.since(&before));

    let rendered = Instant::now();
    cluster.render().await?;
    let last = operator.settled(rendered, QUIET, SETTLE_LIMIT).await?;
    let landed = operator.snapshot(&cluster)?;
    table.row("pools rendered: statuses settled after", last);
    fill(table, &landed.since(&written));
    let counts = cluster.written_objects().await?;
    table.row("objects that are there then", counts);

    say(&format!("nothing happens for {} s", idle.as_secs()));
    tokio::time::sleep(idle).await;
    let rested = operator.snapshot(&cluster)?;
    let rest = rested.since(&landed);
    table.row("nothing happens", format!("for {} s", idle.as_secs()));
    fill(table, &rest);

    say("heartbeats");
    let took = cluster.heartbeats().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let beaten = operator.snapshot(&cluster)?;
    table.row(
        &format!("{nodes} heartbeats of nodes"),
        format!("within {}", seconds(took)),
    );
    fill(table, &beaten.since(&rested));

    say("nodes change in a way that matters");
    let changed = Instant::now();
    let count = cluster.nodes_begin_to_update().await?;
    let last = operator.settled(changed, QUIET, SETTLE_LIMIT).await?;
    let moved = operator.snapshot(&cluster)?;
    table.row(
        &format!("{count} nodes begin to update: settled after"),
        last,
    );
    fill(table, &moved.since(&beaten));

    say("the operator is started anew");
    operator.stop(&cluster.control_plane).await?;
    let before = Operator::snapshot_of_requests(&cluster)?;
    let restarted = Instant::now();
    let again = Operator::start(&cluster.control_plane, binary).await?;
    let last = again.settled(restarted, QUIET, SETTLE_LIMIT).await?;
    let after = again.snapshot(&cluster)?;
    table.row("started anew: all looked at after", last);
    fill(table, &after.since(&before));
    table.row("  memory now / peak", after.usage.memory());
    table.end_column();
    say("done");
    cluster.shutdown().await
}

fn fill(table: &mut Table, spent: &operator::Spent) {
    table.row("  CPU time", seconds(spent.cpu));
    table.row("  rounds", spent.rounds.to_string());
    table.row("  writes", spent.writes());
    table.row("  requests that read", spent.reads());
    table.row("  watches (re)started, Lease", spent.upkeep());
    table.row("  memory now / peak", spent.memory.clone());
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// For people.
#[allow(clippy::cast_precision_loss)]
fn megabytes(usage: &Usage) -> (f64, f64) {
    (
        usage.resident_kib as f64 * 1.024 / 1000.0,
        usage.peak_kib as f64 * 1.024 / 1000.0,
    )
}
