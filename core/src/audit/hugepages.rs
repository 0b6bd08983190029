//! Huge pages that are there, against those that are wanted.

use std::collections::BTreeMap;

use super::{Audit, Observed, Wanted};
use crate::api::realtime_node::{DriftArea, NodeHugepagesSpec};
use crate::host_facts::hugepages::{kib_of, size_of};

pub(super) fn audit(wanted: &Wanted, observed: &Observed, found: &mut Audit) {
    let mut totals: BTreeMap<u64, i64> = BTreeMap::new();
    for pages in &wanted.spec.hugepages {
        let NodeHugepagesSpec { size, count, node } = pages;
        let Some(kib) = kib_of(size) else {
            let text = format!("`{size}` is no size of huge pages: these are not checked.");
            found.note(DriftArea::Hugepages, text);
            continue;
        };
        let total = totals.entry(kib).or_default();
        *total = total.saturating_add(*count);
        if let Some(node) = node {
            let folder = format!("/sys/devices/system/node/node{node}/hugepages");
            check(
                &folder,
                kib,
                *count,
                &format!(" on NUMA node {node}"),
                observed,
                found,
            );
        }
    }
    for (kib, count) in totals {
        check("/sys/kernel/mm/hugepages", kib, count, "", observed, found);
    }
}

fn check(folder: &str, kib: u64, count: i64, place: &str, observed: &Observed, found: &mut Audit) {
    let path = format!("{folder}/hugepages-{kib}kB/nr_hugepages");
    let wanted = format!("{count} huge pages of {}{place}", size_of(kib));
    match observed.files.number(&path) {
        Some(there) if there >= count => {}
        Some(there) => found.drift(
            DriftArea::Hugepages,
            wanted,
            format!(
                "{there}; `echo {count} > {path}` tries to make more, a reboot makes them while memory is in one piece"
            ),
        ),
        None if observed.files.has("/sys/devices/system/cpu/online") => found.drift(
            DriftArea::Hugepages,
            wanted,
            "this kernel has no pages of that size (there)",
        ),
        // No sysfs at all: nothing is known.
        None => {}
    }
}
