//! `make bench`, the CLI's part: `oc-realtime render` as a whole process, time and peak memory, beside the peer's
//! figures. Measures; decides nothing. The binary to measure is its argument (default target/release/oc-realtime).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use nix::sys::resource::{UsageWho, getrusage};

/// Enough for a median that doesn't move.
const RUNS: usize = 50;
/// As many as the peer's figure is for.
const MANY: usize = 200;
/// Runs of `MANY`: each is long enough to count alone.
const MANY_RUNS: usize = 10;

/// One measurement.
struct Measured {
    median: Duration,
    fastest: Duration,
    slowest: Duration,
    /// Peak resident memory of any run, KiB.
    peak_kib: u64,
}

fn main() -> anyhow::Result<()> {
    let binary = std::env::args_os().nth(1).map_or_else(
        || PathBuf::from("target/release/oc-realtime"),
        PathBuf::from,
    );
    ensure!(
        binary.is_file(),
        "{} is not there: cargo build --release --package oc-realtime",
        binary.display()
    );
    let one = Path::new("docs/examples/worker-rt.yaml");
    let text = std::fs::read_to_string(one).with_context(|| one.display().to_string())?;
    let directory = tempfile::tempdir()?;
    let many = directory.path().join("many.yaml");
    let documents: Vec<String> = (0..MANY)
        .map(|index| text.replace("worker-rt", &format!("worker-{index}")))
        .collect();
    let documents = documents.join(
        "
---
",
    );
    std::fs::write(&many, documents)?;

    let single = measure(&binary, one, RUNS)?;
    let several = measure(&binary, &many, MANY_RUNS)?;
    let size = std::fs::metadata(&binary)?.len();
    println!(
        "oc-realtime render as a whole process, output discarded; median (fastest to slowest)\n"
    );
    println!(
        "{:<28}{:>30}{:>34}",
        "", "here", "the peer, as measured elsewhere"
    );
    row("one profile, time", &times(&single, RUNS), "40-50 ms");
    row(
        "one profile, peak memory",
        &megabytes(single.peak_kib),
        "50 MB",
    );
    row(
        &format!("{MANY} profiles, time"),
        &times(&several, MANY_RUNS),
        "1 s",
    );
    row(
        &format!("{MANY} profiles, peak memory"),
        &megabytes(several.peak_kib),
        "not known",
    );
    row(
        "size of the binary",
        &format!("{:.1} MB", mega(size)),
        "70 MB",
    );
    println!(
        "\nThe peer is the Node Tuning Operator's `render`. Its figures are from an earlier measurement of it and were\n\
         not taken in this run: compare orders of magnitude, not percents."
    );
    Ok(())
}

fn row(what: &str, here: &str, peer: &str) {
    println!("{what:<28}{here:>30}{peer:>34}");
}

fn times(measured: &Measured, runs: usize) -> String {
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    format!(
        "{:.1} ms ({:.1} to {:.1}, {runs} runs)",
        ms(measured.median),
        ms(measured.fastest),
        ms(measured.slowest)
    )
}

fn megabytes(kib: u64) -> String {
    format!("{:.1} MB", mega(kib * 1024))
}

/// For people: precise enough far beyond any size here.
#[allow(clippy::cast_precision_loss)]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

fn measure(binary: &Path, profile: &Path, runs: usize) -> anyhow::Result<Measured> {
    // The first one fills the page cache and counts for nothing.
    run(binary, profile)?;
    let mut times = (0..runs)
        .map(|_| run(binary, profile))
        .collect::<anyhow::Result<Vec<_>>>()?;
    times.sort();
    Ok(Measured {
        median: times[runs / 2],
        fastest: times[0],
        slowest: times[runs - 1],
        peak_kib: peak()?,
    })
}

fn run(binary: &Path, profile: &Path) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let status = command(binary, profile).status()?;
    let taken = start.elapsed();
    ensure!(status.success(), "{} ended with {status}", binary.display());
    Ok(taken)
}

fn command(binary: &Path, profile: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .args(["render", "-f"])
        .arg(profile)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Peak resident memory of all children so far, KiB, by the kernel's count. It never falls, so the small runs are
/// measured before the large ones. This process is smaller than any of them: what a child shares with it before its
/// `exec` doesn't show.
fn peak() -> anyhow::Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    Ok(u64::try_from(usage.max_rss())?)
}
