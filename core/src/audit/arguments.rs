//! Wanted kernel arguments against the command line, as the kernel compares: `-` and `_` are the same in a key, of a key
//! that holds one value the last counts, a CPU list is a set however it is written. Extra arguments are nobody's drift.

use std::collections::BTreeMap;

use crate::cpu_set::CpuSet;
use crate::host_facts::cmdline;
use crate::host_facts::hugepages::{kib_of, size_of};
use crate::render::kernel_arguments::{Repeat, key, repeat};

/// An argument that is wanted and not in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The argument.
    pub wanted: String,
    /// What stands there instead.
    pub found: String,
}

/// The wanted arguments that the text of `/proc/cmdline` lacks, in their order.
pub fn missing_arguments(wanted: &[String], command_line: &str) -> Vec<Missing> {
    let present = cmdline::arguments(command_line);
    let (positional, plain): (Vec<&String>, Vec<&String>) = wanted
        .iter()
        .partition(|argument| repeat(argument) == Repeat::Positional);
    let mut missing: Vec<Missing> = plain
        .into_iter()
        .filter_map(|argument| compare(argument, &present))
        .collect();
    missing.extend(missing_hugepages(&positional, wanted, &present));
    missing
}

fn compare(wanted: &str, present: &[String]) -> Option<Missing> {
    // As the kernel will see it: with its quotes taken away.
    let wanted_plain = cmdline::arguments(wanted).into_iter().next()?;
    let same: Vec<&String> = present
        .iter()
        .filter(|argument| key(argument) == key(&wanted_plain))
        .collect();
    let equal = |argument: &str| comparable(argument) == comparable(&wanted_plain);
    let is_there = match repeat(&wanted_plain) {
        Repeat::Once => same.last().is_some_and(|last| equal(last)),
        Repeat::Adds | Repeat::Positional => same.iter().any(|argument| equal(argument)),
    };
    if is_there {
        return None;
    }
    let found = match (same.last(), same.iter().any(|argument| equal(argument))) {
        (None, _) => "not on the kernel's command line".to_owned(),
        (Some(last), true) => format!("`{last}` stands behind it, and the last one counts"),
        (Some(last), false) => format!("`{last}` on the kernel's command line"),
    };
    Some(Missing {
        wanted: wanted.to_owned(),
        found,
    })
}

/// Key and value in a form in which equal means the same to the kernel.
pub(crate) fn comparable(argument: &str) -> (String, Option<String>) {
    let key = key(argument);
    let value = argument
        .split_once('=')
        .map(|(_, value)| match key.as_str() {
            "nohz_full" | "rcu_nocbs" | "irqaffinity" | "systemd.cpu_affinity" => {
                cpus(value).unwrap_or_else(|| value.to_owned())
            }
            "isolcpus" => isolcpus(value).unwrap_or_else(|| value.to_owned()),
            "hugepagesz" | "default_hugepagesz" => {
                kib_of(value).map_or_else(|| value.to_owned(), size_of)
            }
            _ => value.to_owned(),
        });
    (key, value)
}

fn cpus(list: &str) -> Option<String> {
    list.parse::<CpuSet>().ok().map(|set| set.to_string())
}

/// `managed_irq,domain,2,3` → `domain,managed_irq,2-3`: flags in any order, then the list; `domain` when none is named.
fn isolcpus(value: &str) -> Option<String> {
    let mut flags = Vec::new();
    let mut rest = value;
    while let Some((flag, behind)) = rest.split_once(',') {
        if !matches!(flag, "domain" | "managed_irq" | "nohz") {
            break;
        }
        flags.push(flag);
        rest = behind;
    }
    if flags.is_empty() {
        flags.push("domain");
    }
    flags.sort_unstable();
    flags.dedup();
    Some(format!("{},{}", flags.join(","), cpus(rest)?))
}

/// `hugepages=N` belongs to the `hugepagesz=` before it, or to the default size.
fn missing_hugepages(
    positional: &[&String],
    wanted: &[String],
    present: &[String],
) -> Vec<Missing> {
    let default = default_size(wanted);
    let wanted = counts(positional.iter().map(|argument| argument.as_str()), default);
    let found = counts(
        present.iter().map(String::as_str),
        default_size(present).or(default),
    );
    wanted
        .into_iter()
        .filter(|(size, count)| found.get(size) != Some(count))
        .map(|(size, count)| {
            let text = |count: &str| match size {
                Some(kib) => format!("hugepagesz={} hugepages={count}", size_of(kib)),
                None => format!("hugepages={count}"),
            };
            Missing {
                wanted: text(&count),
                found: found.get(&size).map_or_else(
                    || "not on the kernel's command line".to_owned(),
                    |count| format!("`{}` on the kernel's command line", text(count)),
                ),
            }
        })
        .collect()
}

fn default_size<T: AsRef<str>>(arguments: &[T]) -> Option<u64> {
    arguments
        .iter()
        .rev()
        .find_map(|argument| kib_of(argument.as_ref().strip_prefix("default_hugepagesz=")?))
}

fn counts<'a>(
    arguments: impl Iterator<Item = &'a str>,
    default: Option<u64>,
) -> BTreeMap<Option<u64>, String> {
    let mut size = default;
    let mut counts = BTreeMap::new();
    for argument in arguments {
        if let Some(text) = argument.strip_prefix("hugepagesz=") {
            size = kib_of(text);
        } else if let Some(count) = argument.strip_prefix("hugepages=") {
            counts.insert(size, count.to_owned());
        }
    }
    counts
}
