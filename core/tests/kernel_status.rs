//! Statuses of rpm-ostree of several generations, and those that the real program wrote: all are read, and each named
//! situation leads to the step that it should. Contacts nothing.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests read fixtures, and report by failing"
)]

use std::fs;
use std::io::Write as _;
use std::path::Path;

use realtime_core::api::realtime_node::{NodePhase, NodeTurn};
use realtime_core::conditions::reason;
use realtime_core::kernel::ostree::{self, Status};
use realtime_core::kernel::{
    Boot, Cordon, Nevra, Next, Observed, Offered, OstreeView, Record, Surroundings, System, Wanted,
    next, release,
};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kernel");
const REAL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../shared/fixtures/rpm-ostree/real/status"
);
const SAMPLES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../shared/fixtures/rpm-ostree"
);

#[allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::explicit_write,
    clippy::unwrap_used
)]
fn skip(reason: &str) {
    // Straight to the terminal: the test harness captures `eprintln!` of a test that passes.
    writeln!(
        std::io::stderr(),
        "SKIPPED: core/tests/kernel_status.rs: {reason}"
    )
    .unwrap();
    if let Ok(log) = std::env::var("RT_SKIP_LOG") {
        let mut log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        writeln!(log, "SKIPPED: core/tests/kernel_status.rs: {reason}").unwrap();
    }
}

fn statuses(folder: &str) -> Vec<(String, Status)> {
    let Ok(entries) = fs::read_dir(folder) else {
        skip(&format!("{folder} is not there"));
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "json"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let status = ostree::parse(&fs::read_to_string(path).unwrap());
            (
                name.clone(),
                status.unwrap_or_else(|error| panic!("{name}: {error}")),
            )
        })
        .collect()
}

fn fixture(name: &str) -> Status {
    let path = Path::new(FIXTURES).join(format!("{name}.reconstructed.json"));
    ostree::parse(&fs::read_to_string(path).unwrap()).unwrap()
}

fn real(name: &str) -> Option<Status> {
    let text = fs::read_to_string(Path::new(REAL).join(format!("{name}.json"))).ok()?;
    Some(ostree::parse(&text).unwrap())
}

/// What a daemon would do with the turn in its hand.
fn decide(status: &Status, realtime: bool) -> Next {
    let (_, booted) = status.booted().unwrap();
    let release = booted
        .kernel_release()
        .map_or_else(|| "5.14.0-427.24.1.el9_4.x86_64".to_owned(), str::to_owned);
    let removed: Vec<String> = booted.removed().map(|package| package.name).collect();
    // What a later list removes, the base has.
    let asked = status
        .deployments
        .iter()
        .flat_map(|deployment| &deployment.requested_base_removals);
    let mut stock: Vec<&str> = asked.map(String::as_str).collect();
    if stock.is_empty() {
        stock = vec![
            "kernel",
            "kernel-core",
            "kernel-modules",
            "kernel-modules-core",
            "kernel-modules-extra",
        ];
    }
    stock.sort_unstable();
    stock.dedup();
    let packages = stock
        .iter()
        .filter(|_| removed.is_empty())
        .map(|name| Nevra::parse(&format!("{name}-5.14.0-427.24.1.el9_4.x86_64")).unwrap())
        .collect();
    let wanted = Wanted {
        realtime,
        ours: true,
        ..Wanted::default()
    };
    let observed = Observed {
        boot: Boot {
            id: "b".into(),
            realtime: release::is_realtime(&release),
            release,
            command_line: "quiet".into(),
        },
        system: System::Ostree(Box::new(OstreeView {
            status: status.clone(),
            next_arguments: "quiet".into(),
            kernel_packages: packages,
            ..OstreeView::default()
        })),
        record: Record::default(),
        offered: Some(Offered::Repositories),
        node: Surroundings {
            cluster: true,
            turn: Some(NodeTurn::Taken),
            cordon: Cordon::No,
            ..Surroundings::default()
        },
        now: 0,
    };
    next(&wanted, &observed)
}

fn what(next: &Next) -> (NodePhase, &'static str) {
    (next.phase, next.conditions[0].reason)
}

#[test]
fn every_status_is_read_and_leads_to_a_step() {
    for folder in [FIXTURES, REAL, SAMPLES] {
        let statuses = statuses(folder);
        println!("{} statuses of {folder}", statuses.len());
        for (name, status) in &statuses {
            assert!(!status.deployments.is_empty(), "{name}");
            assert!(status.booted().is_some(), "{name}");
            for realtime in [true, false] {
                let next = decide(status, realtime);
                assert_eq!(next.conditions.len(), 2, "{name}");
            }
        }
    }
}

#[test]
fn what_is_there_is_seen_whatever_the_generation() {
    for (name, realtime, expected) in [
        (
            "05-rhcos43-pivot-stock",
            true,
            (NodePhase::Staging, reason::STAGING),
        ),
        (
            "05-rhcos43-pivot-stock",
            false,
            (NodePhase::Ready, reason::AS_EXPECTED),
        ),
        // Staged by somebody, with everything: it is adopted.
        (
            "06-rhcos43-pivot-rt-staged",
            true,
            (NodePhase::Staging, reason::STAGING),
        ),
        (
            "06-rhcos43-pivot-rt-staged",
            false,
            (NodePhase::Ready, reason::FOREIGN_DEPLOYMENT),
        ),
        (
            "08-rhcos416-stock",
            false,
            (NodePhase::Ready, reason::AS_EXPECTED),
        ),
        (
            "10-rhcos416-rt-by-name-booted",
            true,
            (NodePhase::Ready, reason::AS_EXPECTED),
        ),
        (
            "10-rhcos416-rt-by-name-booted",
            false,
            (NodePhase::Staging, reason::STAGING),
        ),
        (
            "12-rhcos416-transaction-running",
            true,
            (NodePhase::Pending, reason::TRANSACTION_RUNNING),
        ),
        (
            "12-rhcos416-transaction-running",
            false,
            (NodePhase::Ready, reason::TRANSACTION_RUNNING),
        ),
        // Somebody brings the stock kernel back.
        (
            "13-rhcos416-reset-to-stock-staged",
            true,
            (NodePhase::Ready, reason::FOREIGN_DEPLOYMENT),
        ),
        // Traps: a removal without effect, a rollback in front, a lock.
        (
            "14-rhcos416-inactive-removal-trap",
            true,
            (NodePhase::Pending, reason::FOREIGN_DEPLOYMENT),
        ),
        (
            "15-rhcos416-rollback-pending-not-staged",
            true,
            (NodePhase::Ready, reason::FOREIGN_DEPLOYMENT),
        ),
        (
            "16-rhcos416-rt-staged-locked",
            true,
            (NodePhase::Pending, reason::FOREIGN_DEPLOYMENT),
        ),
        // Another stock kernel than the base's is a stock kernel.
        (
            "17-fcos-local-kernel-downgrade",
            false,
            (NodePhase::Ready, reason::AS_EXPECTED),
        ),
    ] {
        let status = fixture(name);
        let next = decide(&status, realtime);
        assert_eq!(
            what(&next),
            expected,
            "{name}: {:?}",
            next.conditions[0].message
        );
    }
}

#[test]
fn what_the_real_program_left_is_judged_by_what_it_is() {
    for version in ["2023.2", "2024.7"] {
        for (name, realtime, expected, carries) in [
            (
                "04-reset-staged-from-rt-by-name",
                true,
                reason::FOREIGN_DEPLOYMENT,
                Some(false),
            ),
            (
                "20-upgraded-v2-rt-new",
                true,
                reason::FOREIGN_DEPLOYMENT,
                Some(true),
            ),
            (
                "22-upgraded-v3-inactive-removal",
                true,
                reason::FOREIGN_DEPLOYMENT,
                Some(true),
            ),
            (
                "23-v3-rt-inactive-removal-booted",
                true,
                reason::AS_EXPECTED,
                None,
            ),
            // Only kernel-rt-core: no modules, and nothing warned.
            (
                "27-rt-core-only-staged",
                true,
                reason::FOREIGN_DEPLOYMENT,
                None,
            ),
            ("28-rt-by-nevra-staged", true, reason::STAGING, None),
            ("31-staged-although-rc1", true, reason::STAGING, None),
            (
                "36-rt-staged-locked",
                true,
                reason::FOREIGN_DEPLOYMENT,
                None,
            ),
            (
                "39-rt-booted-rollback-pinned",
                true,
                reason::AS_EXPECTED,
                None,
            ),
            (
                "40-rollback-pending-not-staged",
                true,
                reason::FOREIGN_DEPLOYMENT,
                Some(false),
            ),
            (
                "43-booted-older-entry-by-hand",
                true,
                reason::FOREIGN_DEPLOYMENT,
                Some(false),
            ),
        ] {
            // v2024.7 does not say in its status that a deployment is locked.
            let silent = version == "2024.7" && name.starts_with("36");
            let expected = if silent { reason::STAGING } else { expected };
            let Some(status) = real(&format!("{version}-{name}")) else {
                skip(&format!("no recorded status {version}-{name}"));
                continue;
            };
            let next = decide(&status, realtime);
            let message = &next.conditions[0].message;
            assert_eq!(
                next.conditions[0].reason, expected,
                "{version}-{name}: {message}"
            );
            if let Some(carries) = carries {
                assert_eq!(
                    !message.contains("NOT"),
                    carries,
                    "{version}-{name}: {message}"
                );
            }
        }
    }
}

#[test]
fn text_that_is_no_status_is_refused() {
    for text in [
        "",
        "● rpm-ostreed.service",
        "[]",
        "{\"deployments\": [{\"id\": \"x\"}]}",
        "{\"deployments\": 3}",
    ] {
        assert!(ostree::parse(text).is_err(), "{text}");
    }
    assert!(ostree::parse(&" ".repeat(17 << 20)).is_err());
}
