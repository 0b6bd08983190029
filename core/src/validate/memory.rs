//! Huge pages and the kernel's page size, against the architecture and the nodes' memory.

use std::collections::BTreeSet;

use crate::api::realtime_profile::{HugepagesSpec, KernelPageSize, MemorySpec};
use crate::facts::{Architecture, NodeFacts};
use crate::problem::{Problem, Problems};
use crate::validate::valid_profile::ValidHugepages;
use crate::validate::{Known, ValidProfile};

/// The sizes of an architecture and page size, as the kernel's hugetlbpage documentation lists them, with KiB.
fn sizes(architecture: Architecture, page_size: KernelPageSize) -> &'static [(&'static str, u64)] {
    match (architecture, page_size) {
        (Architecture::Arm64, KernelPageSize::Kib4) => &[
            ("64k", 64),
            ("2M", 2 << 10),
            ("32M", 32 << 10),
            ("1G", 1 << 20),
        ],
        (Architecture::Arm64, KernelPageSize::Kib64) => {
            &[("2M", 2 << 10), ("512M", 512 << 10), ("16G", 16 << 20)]
        }
        (Architecture::Amd64 | Architecture::Ppc64le, _) => &[("2M", 2 << 10), ("1G", 1 << 20)],
        (Architecture::S390x, _) => &[("1M", 1 << 10), ("2G", 2 << 20)],
    }
}

/// The sizes of whatever has this page size.
fn all_sizes(page_size: KernelPageSize) -> Vec<(&'static str, u64)> {
    let architectures: &[Architecture] = match page_size {
        KernelPageSize::Kib4 => &[
            Architecture::Amd64,
            Architecture::Arm64,
            Architecture::Ppc64le,
            Architecture::S390x,
        ],
        KernelPageSize::Kib64 => &[Architecture::Arm64],
    };
    let mut all = Vec::new();
    for size in architectures
        .iter()
        .flat_map(|architecture| sizes(*architecture, page_size))
    {
        if !all.contains(size) {
            all.push(*size);
        }
    }
    all
}

pub(super) fn check(
    spec: Option<&MemorySpec>,
    architecture: Architecture,
    realtime: bool,
    facts: &[NodeFacts],
    problems: &mut Problems,
) -> (ValidHugepages, KernelPageSize) {
    let Some(MemorySpec {
        hugepages,
        kernel_page_size,
    }) = spec
    else {
        return (ValidHugepages::default(), KernelPageSize::default());
    };
    let page_size = kernel_page_size.unwrap_or_default();
    if page_size == KernelPageSize::Kib64 {
        let field = "spec.memory.kernelPageSize";
        if architecture != Architecture::Arm64 {
            problems.push(Problem::error(
                field,
                "64k",
                format!(
                    "only ARM has a kernel with 64k pages; the nodes are {}",
                    architecture.name()
                ),
                "use 4k",
            ));
        }
        if realtime {
            problems.push(Problem::error(
                field,
                "64k",
                "there is no real-time kernel with 64k pages",
                "use 4k, or kernel.realtime: false",
            ));
        }
    }
    let hugepages = hugepages
        .as_ref()
        .map(|spec| {
            if architecture_told(facts) {
                let sizes = sizes(architecture, page_size);
                check_hugepages(spec, sizes, "these nodes", problems)
            } else {
                check_hugepages(spec, &all_sizes(page_size), "any nodes", problems)
            }
        })
        .unwrap_or_default();
    check_nodes(&hugepages, facts, problems);
    (hugepages, page_size)
}

fn architecture_told(nodes: &[NodeFacts]) -> bool {
    nodes.iter().any(|node| node.architecture.is_some())
}

/// Sizes that were taken because the pool has no node to tell its architecture, against that which counts instead: that
/// of the nodes that may join, or one that is assumed.
pub(super) fn check_assumed(valid: &ValidProfile, known: &Known, problems: &mut Problems) {
    if architecture_told(&known.nodes) {
        return;
    }
    let architecture = valid.hardware.architecture;
    let has = sizes(architecture, valid.kernel_page_size);
    let ValidHugepages {
        default_kib,
        spread,
        on_node,
    } = &valid.hugepages;
    let used: BTreeSet<u64> = default_kib
        .iter()
        .copied()
        .chain(spread.iter().map(|(size, _)| *size))
        .chain(on_node.iter().map(|(_, size, _)| *size))
        .collect();
    for (name, kib) in all_sizes(valid.kernel_page_size) {
        if !used.contains(&kib) || has.iter().any(|(_, other)| *other == kib) {
            continue;
        }
        let field = "spec.memory.hugepages";
        let architecture = architecture.name();
        let names: Vec<&str> = has.iter().map(|(name, _)| *name).collect();
        let names = names.join(", ");
        problems.push(if architecture_told(known.telling()) {
            Problem::error(
                field,
                name,
                format!("is no size of huge pages of {architecture}, which the nodes are that may join the pool"),
                format!("use one of: {names}"),
            )
        } else {
            Problem::warning(
                field,
                name,
                format!("is no size of huge pages of {architecture}, which is assumed while no node is known: the kernel arguments, too, are those of {architecture}"),
                format!("let a node be known, whose label kubernetes.io/arch tells the architecture; on {architecture} use one of: {names}"),
            )
        });
    }
}

fn check_hugepages(
    spec: &HugepagesSpec,
    sizes: &[(&str, u64)],
    whose: &str,
    problems: &mut Problems,
) -> ValidHugepages {
    let HugepagesSpec {
        default_size,
        pages,
    } = spec;
    let names: Vec<&str> = sizes.iter().map(|(name, _)| *name).collect();
    let kib = |field: &str, text: &str, problems: &mut Problems| -> Option<u64> {
        let known = sizes
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        if known.is_none() {
            problems.push(Problem::error(
                field,
                text,
                format!("is no size of huge pages that {whose} have"),
                format!("use one of: {}", names.join(", ")),
            ));
        }
        known.map(|(_, kib)| *kib)
    };
    let field = "spec.memory.hugepages";
    let mut valid = ValidHugepages {
        default_kib: default_size
            .as_ref()
            .and_then(|size| kib(&format!("{field}.defaultSize"), size, problems)),
        ..ValidHugepages::default()
    };
    let mut seen = BTreeSet::new();
    for (index, page) in pages.iter().enumerate() {
        let field = format!("{field}.pages[{index}]");
        let size = kib(&format!("{field}.size"), &page.size, problems);
        let (Some(size), Ok(count)) = (size, u64::try_from(page.count)) else {
            // A negative count is the schema's to refuse.
            continue;
        };
        let node = page.node.and_then(|node| u32::try_from(node).ok());
        if !seen.insert((size, node)) {
            problems.push(Problem::error(
                field,
                &page.size,
                "appears twice for the same place",
                "add the counts up in one entry",
            ));
            continue;
        }
        let elsewhere = seen
            .iter()
            .any(|(other, place)| *other == size && place.is_none() != node.is_none());
        if elsewhere {
            problems.push(Problem::error(
                field,
                &page.size,
                "is given both with and without a NUMA node: which pages come first isn't defined",
                "name the node in all entries of this size, or in none",
            ));
            continue;
        }
        match node {
            Some(node) => valid.on_node.push((node, size, count)),
            None => valid.spread.push((size, count)),
        }
    }
    valid
}

fn check_nodes(hugepages: &ValidHugepages, facts: &[NodeFacts], problems: &mut Problems) {
    let weight = |size: u64, count: u64| u128::from(size) * u128::from(count);
    let spread: u128 = hugepages
        .spread
        .iter()
        .map(|(size, count)| weight(*size, *count))
        .sum();
    let placed: u128 = hugepages
        .on_node
        .iter()
        .map(|(_, size, count)| weight(*size, *count))
        .sum();
    let total = spread + placed;
    let short: Vec<&NodeFacts> = facts
        .iter()
        .filter(|node| {
            node.memory_kib
                .is_some_and(|memory| total >= u128::from(memory))
        })
        .collect();
    if total > 0 && !short.is_empty() {
        let least = short
            .iter()
            .filter_map(|node| node.memory_kib)
            .min()
            .unwrap_or(0);
        problems.push(Problem::error(
            "spec.memory.hugepages.pages",
            "",
            format!(
                "huge pages take {} MiB and {} has {} MiB in all: it wouldn't boot",
                total / 1024,
                super::names(
                    &short
                        .iter()
                        .map(|node| node.name.clone())
                        .collect::<Vec<_>>()
                ),
                least / 1024
            ),
            "lower the counts",
        ));
    }
    let ids: BTreeSet<u32> = hugepages.on_node.iter().map(|(id, _, _)| *id).collect();
    for id in ids {
        let wanted: u128 = hugepages
            .on_node
            .iter()
            .filter(|(node, _, _)| *node == id)
            .map(|(_, size, count)| weight(*size, *count))
            .sum();
        let known = || facts.iter().filter(|node| !node.numa_nodes.is_empty());
        let memory = |node: &NodeFacts| {
            node.numa_nodes
                .iter()
                .find(|numa| numa.id == id)
                .map(|numa| numa.memory_kib)
        };
        let missing: Vec<String> = known()
            .filter(|node| memory(node).is_none())
            .map(|node| node.name.clone())
            .collect();
        if !missing.is_empty() {
            problems.push(Problem::error(
                "spec.memory.hugepages.pages",
                format!("node: {id}"),
                format!("{} has no such NUMA node", super::names(&missing)),
                "name a node that exists, or none",
            ));
        }
        let small: Vec<String> = known()
            .filter(|node| memory(node).is_some_and(|memory| wanted >= u128::from(memory)))
            .map(|node| node.name.clone())
            .collect();
        if !small.is_empty() {
            problems.push(Problem::error(
                "spec.memory.hugepages.pages",
                format!("node: {id}"),
                format!(
                    "{} MiB are more than NUMA node {id} of {} has",
                    wanted / 1024,
                    super::names(&small)
                ),
                "lower the counts, or spread them over several nodes",
            ));
        }
    }
}
