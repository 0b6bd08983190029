//! `kill -9` of the daemon before every single line of its log, in every flow, and a power cut at each of them too:
//! enumerated, not sampled. Each ends in the wanted state, or in Degraded with the old kernel running; reboots are
//! counted, and nothing is forgotten.
//!
//! The daemon runs as a service without a cluster here, over a simulated host; steps that only a cluster has are in
//! `kill_in_cluster.rs`. The log has a line at the beginning and at the end of each step, and one for each command.

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use realtime_testing::rpm_ostree_standin::{OriginKind, Profile, Version};
use serde_json::{Value, json};
use support::standalone::{Cut, Standalone};

/// How many hosts at once: the machine's two cores.
const AT_ONCE: usize = 2;
/// A folder with packages, on the host.
const PACKAGES: &str = "/var/lib/realtime/rpms";
/// The packages that are installed from files.
const PARTS: [&str; 4] = ["core", "modules", "modules-core", "modules-extra"];

/// Where a host is, and where it shall go.
struct Flow {
    name: &'static str,
    /// The host before.
    start: Standalone,
    /// Whether the real-time kernel runs at the end, when all goes well.
    realtime: bool,
    /// How often the daemon asks for a reboot.
    reboots: u32,
    /// What must stand in the command line at the end.
    arguments: &'static [&'static str],
}

fn measured() -> Profile {
    Profile::measured(Version::V2024_7, OriginKind::Container)
}

fn by_name(arguments: &[&str]) -> Value {
    json!({"realtime": true, "arguments": arguments})
}

fn by_file() -> Value {
    json!({"realtime": true, "packages": {"source": {"directory": PACKAGES}}})
}

fn stock() -> Value {
    json!({"realtime": false})
}

fn put(host: &Standalone, release: &str) {
    let nevras: Vec<String> = PARTS
        .iter()
        .map(|part| format!("kernel-rt-{part}-{release}.x86_64"))
        .collect();
    let nevras: Vec<&str> = nevras.iter().map(String::as_str).collect();
    host.put_packages(PACKAGES, &nevras);
}

/// A host on which this was reached.
fn reached(host: Standalone, wanted: Value) -> Standalone {
    host.want(wanted);
    let end = host.settle();
    assert_eq!(end.phase, "Ready", "{}\n{}", end.line, host.log());
    host
}

const FIRST: &str = "5.14.0-284.11.1.rt14.296.el9_2";
const NEWER: &str = "5.14.0-284.11.1.rt14.297.el9_2";

/// To the real-time kernel by name, with arguments.
fn to_realtime() -> Flow {
    let start = Standalone::new(&measured());
    start.want(by_name(&["nohz_full=2-7", "skew_tick=1"]));
    Flow {
        name: "to the real-time kernel, by name",
        start,
        realtime: true,
        reboots: 1,
        arguments: &["nohz_full=2-7", "skew_tick=1"],
    }
}

fn to_realtime_by_file() -> Flow {
    let start = Standalone::new(&measured());
    put(&start, FIRST);
    start.want(by_file());
    Flow {
        name: "to the real-time kernel, by files",
        start,
        realtime: true,
        reboots: 1,
        arguments: &[],
    }
}

fn back() -> Flow {
    let start = reached(Standalone::new(&measured()), by_name(&["skew_tick=1"]));
    start.want(stock());
    Flow {
        name: "back to the stock kernel, by name",
        start,
        realtime: false,
        reboots: 1,
        arguments: &[],
    }
}

fn back_by_file() -> Flow {
    let start = Standalone::new(&measured());
    put(&start, FIRST);
    let start = reached(start, by_file());
    start.want(stock());
    Flow {
        name: "back to the stock kernel, by files",
        start,
        realtime: false,
        reboots: 1,
        arguments: &[],
    }
}

fn swap() -> Flow {
    let start = Standalone::new(&measured());
    put(&start, FIRST);
    let start = reached(start, by_file());
    put(&start, NEWER);
    Flow {
        name: "to a newer real-time kernel",
        start,
        realtime: true,
        reboots: 1,
        arguments: &[],
    }
}

fn other_arguments() -> Flow {
    let start = reached(Standalone::new(&measured()), by_name(&["skew_tick=1"]));
    start.want(by_name(&["nosoftlockup"]));
    Flow {
        name: "to other arguments",
        start,
        realtime: true,
        reboots: 1,
        arguments: &["nosoftlockup"],
    }
}

/// Runs the flow once for each line of its log, interrupted there, and says how often what came out.
fn enumerate(flow: &Flow, cut: Cut) {
    let (interrupted, lines) = flow.start.copy().interrupt(usize::MAX, cut);
    assert_eq!(interrupted, None);
    assert!(
        lines.iter().any(|line| line.contains("step=")),
        "the log tells no steps:\n{}",
        lines.join("\n")
    );
    let points = lines.len() + 1;
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<BTreeMap<String, usize>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let point = next.fetch_add(1, Ordering::SeqCst);
                    if point >= points {
                        return;
                    }
                    let outcome = one(flow, cut, point);
                    *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
                }
            });
        }
    });
    println!("{}, {cut:?}: {points} points: {:?}", flow.name, outcomes.lock().unwrap());
}

fn one(flow: &Flow, cut: Cut, point: usize) -> String {
    let host = flow.start.copy();
    let before = host.host.kernel();
    let (at, lines) = host.interrupt(point, cut);
    let asked_before_the_cut = lines.iter().any(|line| line.contains("step=\"Reboot\"") || line.contains("step=Reboot"));
    let end = host.settle();
    let context = || {
        format!(
            "{}, {cut:?} at point {point}, after {at:?}\nbefore:\n{}\nafter:\n{}",
            flow.name,
            lines.join("\n"),
            host.log()
        )
    };
    let counts = host.host.counts();
    let kernel = host.host.kernel();
    let state = host.state();
    assert!(state.boot.up, "{}", context());
    assert!(
        state.deployments.iter().all(|one| !one.pinned),
        "a pin is left: {}",
        context()
    );
    assert!(
        state.deployments.iter().all(|one| !one.staged),
        "something is staged: {}",
        context()
    );
    match end.phase.as_str() {
        "Ready" => {
            assert_eq!(kernel.is_realtime(), flow.realtime, "{}", context());
            for argument in flow.arguments {
                assert!(
                    kernel.command_line.split(' ').any(|one| one == *argument),
                    "{argument} is missing: {}",
                    context()
                );
            }
            // A power cut in the middle of the shutdown loses what was staged: nothing but another reboot helps.
            let most = if cut == Cut::Power && asked_before_the_cut {
                flow.reboots + 1
            } else {
                flow.reboots
            };
            assert!(
                (flow.reboots..=most).contains(&counts.reboots)
                    || (cut == Cut::Power && counts.reboots < flow.reboots && kernel != before),
                "{} reboots: {}",
                counts.reboots,
                context()
            );
        }
        _ => {
            assert!(
                cut == Cut::Power && asked_before_the_cut,
                "Degraded: {}",
                context()
            );
            assert_eq!(kernel.release, before.release, "{}", context());
        }
    }
    // Whoever starts once more finds nothing to do.
    let again = host.settle();
    assert_eq!(again.phase, end.phase, "{}", context());
    assert_eq!(host.host.counts().reboots, counts.reboots, "{}", context());
    format!("{} with {} reboots", end.phase, counts.reboots)
}

macro_rules! flows {
    ($($killed:ident, $cut:ident: $flow:ident;)*) => {$(
        #[test]
        fn $killed() {
            enumerate(&$flow(), Cut::Daemon);
        }

        #[test]
        fn $cut() {
            enumerate(&$flow(), Cut::Power);
        }
    )*};
}

flows! {
    killed_on_the_way_to_realtime, power_cut_on_the_way_to_realtime: to_realtime;
    killed_on_the_way_to_realtime_by_file, power_cut_on_the_way_to_realtime_by_file: to_realtime_by_file;
    killed_on_the_way_back, power_cut_on_the_way_back: back;
    killed_on_the_way_back_by_file, power_cut_on_the_way_back_by_file: back_by_file;
    killed_during_a_swap, power_cut_during_a_swap: swap;
    killed_during_a_change_of_arguments, power_cut_during_a_change_of_arguments: other_arguments;
}
