//! The diagram of docs/node-states.md, compared with the transitions that the simulations really make.

use std::collections::BTreeSet;

use super::tests::{from_files, switched, wanted};
use super::*;

const DOCUMENT: &str = include_str!("../../../../docs/node-states.md");

/// The arrows of the document's diagram.
fn documented() -> BTreeSet<(String, String)> {
    DOCUMENT
        .lines()
        .filter_map(|line| line.trim().split_once(" --> "))
        .map(|(from, to)| {
            let to = to.split_once(':').map_or(to, |(to, _)| to);
            (from.trim().to_owned(), to.trim().to_owned())
        })
        .filter(|(from, _)| from != "[*]")
        .collect()
}

fn flows<H: Host>(start: &World<H>, crashes: &[Crash], seen: &mut BTreeSet<(String, String)>) {
    let mut plain = start.clone();
    plain.run(0, None);
    for at in 0..=plain.steps {
        for crash in crashes.iter().copied() {
            let mut world = start.clone();
            world.run(at, Some(crash));
            seen.append(&mut world.seen);
        }
    }
}

#[test]
fn the_diagram_shows_what_the_code_does() {
    let mut seen = BTreeSet::new();
    let mut back = switched();
    back.wanted.realtime = false;
    back.wanted.arguments.clear();
    let mut blocked = World::new(OstreeHost::stock(), wanted(true));
    blocked.pods_stay = true;
    let (of_files, source) = from_files();
    let mut files = World::new(OstreeHost::stock(), of_files);
    files.source = source;
    let mut gone = files.clone();
    gone.source = Offered::Failed {
        reason: crate::conditions::reason::SOURCE_UNUSABLE,
        message: "gone".into(),
        transient: false,
    };
    for start in [
        World::new(OstreeHost::stock(), wanted(true)),
        back,
        blocked,
        files,
        gone,
    ] {
        flows(&start, &CRASHES, &mut seen);
    }
    flows(
        &World::new(RpmHost::stock(), wanted(true)),
        &CRASHES,
        &mut seen,
    );
    let mut undone = switched();
    undone.host.foreign_update("base", false);
    undone.host.reboot(true);
    flows(&undone, &[Crash::Daemon], &mut seen);
    undone.run(0, None);
    seen.append(&mut undone.seen);
    for fault in super::host::FAULTS {
        let mut world = super::tests::with(fault);
        flows(&world, &[Crash::Power, Crash::Turned], &mut seen);
        world.run(0, None);
        world.wanted.retry = Some("again".into());
        world.run(0, None);
        seen.append(&mut world.seen);
    }
    let documented = documented();
    let lines = |set: Vec<&(String, String)>| {
        let lines: Vec<String> = set
            .iter()
            .map(|(from, to)| format!("    {from} --> {to}"))
            .collect();
        lines.join("\n")
    };
    assert!(
        seen == documented,
        "docs/node-states.md lacks:\n{}\nand shows what never happens:\n{}",
        lines(seen.difference(&documented).collect()),
        lines(documented.difference(&seen).collect())
    );
}
