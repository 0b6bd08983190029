//! `kill -9` of the daemon before every step and behind every command of every flow, and a power cut at each of them too:
//! enumerated, not sampled. Each ends in the wanted state, or in Degraded with the old kernel running; reboots are
//! counted, and nothing is forgotten.
//!
//! The daemon runs as a service without a cluster here, over a simulated host, and is stopped at a line of its log
//! before it is killed; steps that only a cluster has are in `kill_in_cluster.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use realtime_testing::rpm_ostree_standin::{OriginKind, Package, Profile, Reboot, Version};
use serde_json::{Value, json};
use support::standalone::{Cut, Standalone, text};

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
const OF_THE_UPDATE: &str = "5.14.0-284.25.1.rt14.310.el9_2";
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

/// Somebody else updated the operating system: it went along with the real-time kernel of the former base, as files do,
/// and the folder has the one that belongs to the new base.
fn after_an_update() -> Flow {
    let profile = Profile::measured(Version::V2024_7, OriginKind::Ostree);
    let start = Standalone::new(&profile);
    put(&start, FIRST);
    let start = reached(start, by_file());
    let mut base = profile.base.clone();
    base.checksum = "5e".repeat(32);
    base.version = Some("413.92.202308210000-0".to_owned());
    base.timestamp += 3600;
    for package in &mut base.packages {
        let nevra = package.nevra().replace("284.11.1", "284.25.1");
        *package = Package::from_nevra(&nevra).expect("a package");
    }
    let standin = start.host.standin();
    standin
        .publish_base(profile.source.text(), base)
        .expect("published");
    let output = standin.foreign_stage(&["upgrade"]).expect("rpm-ostree");
    assert_eq!(output.code, 0, "{output:?}");
    start.host.reboot(&Reboot::orderly()).expect("a boot");
    assert!(start.host.kernel().release.contains("284.11.1"));
    put(&start, OF_THE_UPDATE);
    Flow {
        name: "to the real-time kernel of an updated operating system",
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

/// Whether the daemon is worth interrupting behind this line: it is about to do a step, or a command that changes
/// something is done and not yet written down. In between it only looks.
fn is_point(line: &str) -> bool {
    let changes = [
        "override ",
        "kargs --",
        "admin pin",
        "cleanup",
        "install",
        "systemctl reboot",
    ];
    line.contains("state=begin")
        || line.contains(": ran") && changes.iter().any(|change| line.contains(change))
}

/// Runs the flow once for each point of its log, interrupted there, and says how often what came out.
fn enumerate(flow: &Flow, cut: Cut) {
    let (interrupted, lines) = flow.start.copy().interrupt(usize::MAX, cut);
    assert_eq!(interrupted, None);
    let points: Vec<usize> = lines
        .iter()
        .filter(|(_, line)| is_point(line))
        .map(|(after, _)| *after)
        .collect();
    assert!(
        points.len() >= 8,
        "the log tells too little:\n{}",
        text(&lines)
    );
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<BTreeMap<String, usize>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let outcome = one(flow, cut, *point);
                    *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
                }
            });
        }
    });
    println!(
        "{}, {cut:?}: {} points: {:?}",
        flow.name,
        points.len(),
        outcomes.lock().unwrap()
    );
}

fn one(flow: &Flow, cut: Cut, point: usize) -> String {
    let host = flow.start.copy();
    let before = host.host.kernel();
    let (at, lines) = host.interrupt(point, cut);
    let asked = lines.iter().any(|(_, line)| line.contains("step=Reboot"));
    let end = host.settle();
    let context = || {
        format!(
            "{}, {cut:?} at point {point}, behind {at:?}\nbefore:\n{}\nafter:\n{}",
            flow.name,
            text(&lines),
            host.log()
        )
    };
    let counts = host.host.counts();
    let kernel = host.host.kernel();
    let state = host.state();
    assert!(state.boot.up, "{}", context());
    for one in &state.deployments {
        assert!(!one.pinned, "a pin is left: {}", context());
        assert!(!one.staged, "something is staged: {}", context());
    }
    if end.phase == "Ready" {
        assert_eq!(kernel.is_realtime(), flow.realtime, "{}", context());
        for argument in flow.arguments {
            assert!(
                kernel.command_line.split(' ').any(|one| one == *argument),
                "{argument} is missing: {}",
                context()
            );
        }
        // A power cut before the shutdown has ended loses what was staged: nothing but another reboot helps. After it
        // the cut is the boot that was wanted.
        let allowed = match cut {
            Cut::Daemon => flow.reboots..=flow.reboots,
            Cut::Power => flow.reboots - u32::from(asked)..=flow.reboots + u32::from(asked),
        };
        assert!(
            allowed.contains(&counts.reboots),
            "{} reboots: {}",
            counts.reboots,
            context()
        );
    } else {
        // Only the mains can take away what was staged; then the old kernel runs, and a person decides.
        assert_eq!(cut, Cut::Power, "Degraded: {}", context());
        assert_eq!(kernel.release, before.release, "{}", context());
        let failed = host.record().attempt.and_then(|one| one.failed);
        assert!(failed.is_some(), "{}", context());
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
    killed_after_an_update, power_cut_after_an_update: after_an_update;
    killed_during_a_swap, power_cut_during_a_swap: swap;
    killed_during_a_change_of_arguments, power_cut_during_a_change_of_arguments: other_arguments;
}
