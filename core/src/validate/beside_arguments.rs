//! The arguments that other MachineConfigs give to the pool, against those of the profile. OpenShift writes both on the
//! command line, in the order of the MachineConfigs and without comparing them.

use std::collections::BTreeMap;

use super::kernel_arguments::{FIELD, GOVERNED};
use super::pool::beside::{Beside, Source};
use crate::api::realtime_profile::{KernelPageSize, Power, Smt};
use crate::audit::comparable;
use crate::facts::Architecture;
use crate::host_facts::cmdline;
use crate::host_facts::hugepages::{kib_of, size_of};
use crate::problem::{Problem, Problems};
use crate::render::kernel_arguments::{Repeat, computed, kernel_arguments, key, repeat};
use crate::validate::ValidProfile;

/// Of these the kernel keeps the first value, and drops a later one with a line in its log: `housekeeping_setup` in
/// kernel/sched/isolation.c (`nohz_full= must match isolcpus=`), `default_hugepagesz_setup` in mm/hugetlb.c.
const FIRST_COUNTS: [&str; 3] = ["isolcpus", "nohz_full", "default_hugepagesz"];

/// Where another MachineConfig stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    Behind,
}

/// Each argument that says something else than ours.
pub(super) fn check(valid: &ValidProfile, beside: &Beside<'_>, problems: &mut Problems) {
    let ours: Vec<String> = kernel_arguments(valid)
        .iter()
        .flat_map(|argument| cmdline::arguments(argument))
        .collect();
    let before = beside.before.iter().map(|source| (source, Place::Before));
    let behind = beside.behind.iter().map(|source| (source, Place::Behind));
    for (source, place) in before.chain(behind) {
        for argument in source.arguments() {
            let first = beside
                .before
                .iter()
                .flat_map(Source::arguments)
                .find(|other| key(other) == key(&argument));
            check_one(
                source,
                (place, first.as_deref()),
                &argument,
                &ours,
                valid,
                problems,
            );
        }
    }
    check_hugepages(&ours, valid, beside, problems);
}

/// `first`: the first of the same key that stands before ours.
fn check_one(
    source: &Source<'_>,
    (place, first): (Place, Option<&str>),
    argument: &str,
    ours: &[String],
    valid: &ValidProfile,
    problems: &mut Problems,
) {
    let key = key(argument);
    let without = source.without("it");
    let mut refuse = |message: String, remedy: String| {
        problems.push(Problem::error(&source.object, argument, message, remedy));
    };
    if key == "nosmt" {
        // With smt Off both stop the threads, nosmt=force for good.
        if valid.cpus.is_some() && valid.smt == Smt::Keep {
            refuse(
                format!(
                    "reaches the pool {} and contradicts spec.cpu.smt, which keeps all threads: the sets of CPUs would name some that are stopped",
                    valid.pool.name
                ),
                format!("{without}, or set spec.cpu.smt: \"Off\""),
            );
        }
        return;
    }
    if repeat(argument) != Repeat::Once {
        return;
    }
    let Some(own) = ours.iter().find(|own| self::key(own) == key) else {
        if key == "isolcpus" && valid.cpus.is_some() {
            refuse(
                format!(
                    "reaches the pool {} and contradicts spec.cpu.isolation, by which no CPUs are isolated at boot",
                    valid.pool.name
                ),
                format!("{without}, or change spec.cpu.isolation"),
            );
        }
        return;
    };
    if comparable(argument) == comparable(own) || adds(argument, own) {
        return;
    }
    // The driver's mode follows from the processor: no profile becomes invalid when that is known one day. And what no field
    // governs may be somebody's own choice.
    let advice = (key.ends_with("_pstate") && valid.power != Power::PerPod)
        || !GOVERNED.iter().any(|(name, _)| *name == key);
    // Intel's driver, once disabled, stays so (`intel_pstate_setup` in drivers/cpufreq/intel_pstate.c).
    let first_counts = FIRST_COUNTS.contains(&key.as_str()) || argument == "intel_pstate=disable";
    let ours_is_first = key != "isolcpus"
        && FIRST_COUNTS.contains(&key.as_str())
        && first.is_none_or(|first| comparable(first) == comparable(own));
    let pool = &valid.pool.name;
    if ours_is_first || (place == Place::Before && !first_counts) {
        let counts = if ours_is_first {
            "counts and not it: the kernel keeps the first"
        } else {
            "replaces it: the kernel takes the last"
        };
        problems.push(Problem::warning(
            &source.object,
            argument,
            format!("reaches the pool {pool}, where {own} of this profile {counts}"),
            format!("{without} unless other pools need it"),
        ));
        return;
    }
    let counts = match place {
        Place::Before => "stands before it: the kernel keeps the first",
        Place::Behind => "stands behind it",
    };
    let message =
        format!("reaches the pool {pool}, contradicts {own} of this profile and {counts}");
    let remedy = format!("{without}, or say the same in {}", owner(own, valid));
    let object = &source.object;
    problems.push(if advice {
        Problem::warning(object, argument, message, remedy)
    } else {
        Problem::error(object, argument, message, remedy)
    });
}

/// Whether it only adds something to ours, or nothing: flags of the same isolated CPUs (`housekeeping_setup` compares the CPUs
/// of flags that are set already), and words that set something of their own (`tsc_setup` in arch/x86/kernel/tsc.c,
/// `hardlockup_panic_setup` in kernel/watchdog.c).
fn adds(argument: &str, own: &str) -> bool {
    const WORDS: [&str; 5] = [
        "tsc=nowatchdog",
        "tsc=noirqtime",
        "tsc=recalibrate",
        "nmi_watchdog=panic",
        "nmi_watchdog=nopanic",
    ];
    let isolated = |argument: &str| {
        let value = argument.strip_prefix("isolcpus=")?;
        let is_flag = |word: &&str| ["domain", "managed_irq", "nohz"].contains(word);
        let (mut flags, cpus): (Vec<String>, Vec<String>) = {
            let (flags, cpus): (Vec<&str>, Vec<&str>) = value.split(',').partition(is_flag);
            let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
            (owned(flags), owned(cpus))
        };
        if flags.is_empty() {
            flags.push("domain".to_owned());
        }
        Some((flags, comparable(&format!("nohz_full={}", cpus.join(",")))))
    };
    if let (Some((flags, cpus)), Some((our_flags, our_cpus))) = (isolated(argument), isolated(own))
    {
        return cpus == our_cpus && flags.iter().all(|flag| our_flags.contains(flag));
    }
    WORDS.contains(&argument)
}

/// The field by which an argument of ours becomes another: that from which it follows, or that which replaces it.
fn owner(own: &str, valid: &ValidProfile) -> &'static str {
    let key = key(own);
    let governed = GOVERNED.iter().find(|(name, _)| *name == key);
    governed
        .filter(|_| computed(valid).iter().any(|computed| computed == own))
        .map_or(FIELD, |(_, owner)| owner)
}

/// Counts belong to the size before them, and of one size the kernel takes the first count (`hugepagesz_setup` in
/// mm/hugetlb.c: `specified twice, ignoring`). Different sizes add up.
fn check_hugepages(
    ours: &[String],
    valid: &ValidProfile,
    beside: &Beside<'_>,
    problems: &mut Problems,
) {
    let of = |sources: &[Source<'_>]| -> Vec<String> {
        sources.iter().flat_map(Source::arguments).collect()
    };
    let line: Vec<String> = [of(&beside.before), ours.to_vec(), of(&beside.behind)].concat();
    let default = line
        .iter()
        .find_map(|argument| kib_of(argument.strip_prefix("default_hugepagesz=")?))
        .unwrap_or_else(|| default_kib(valid));
    let wanted: BTreeMap<u64, String> = counts(ours.iter().cloned(), default).into_iter().collect();
    // Of each size, what stands first.
    let mut first: BTreeMap<u64, String> = BTreeMap::new();
    let before = beside.before.iter().map(|source| (source, Place::Before));
    let behind = beside.behind.iter().map(|source| (source, Place::Behind));
    for (source, place) in before.chain(behind) {
        for (kib, count) in counts(source.arguments(), default) {
            let Some(own) = wanted.get(&kib) else {
                continue;
            };
            let ours_counts = match place {
                Place::Before => *first.entry(kib).or_insert_with(|| count.clone()) == *own,
                Place::Behind => first.get(&kib).is_none_or(|first| first == own),
            };
            if count == *own {
                continue;
            }
            let size = size_of(kib);
            let problem = if ours_counts {
                Problem::warning
            } else {
                Problem::error
            };
            problems.push(problem(
                source.object.clone(),
                format!("hugepagesz={size} hugepages={count}"),
                format!(
                    "reaches the pool {} and contradicts hugepages={own} of this profile: of one size the kernel takes the first count",
                    valid.pool.name
                ),
                format!(
                    "{}, or let spec.memory.hugepages say the same",
                    source.without("these pages")
                ),
            ));
        }
    }
}

/// (size in KiB, count), in the order of the arguments. What is no size is left out, with its count.
fn counts(arguments: impl Iterator<Item = String>, default: u64) -> Vec<(u64, String)> {
    let mut size = Some(default);
    let mut counts = Vec::new();
    for argument in arguments {
        if let Some(text) = argument.strip_prefix("hugepagesz=") {
            size = kib_of(text);
        } else if let (Some(count), Some(kib)) = (argument.strip_prefix("hugepages="), size) {
            counts.push((kib, count.to_owned()));
        }
    }
    counts
}

/// The size of huge pages where no argument names one (the kernel's hugetlbpage documentation).
fn default_kib(valid: &ValidProfile) -> u64 {
    match (valid.hardware.architecture, valid.kernel_page_size) {
        (Architecture::S390x, _) => 1 << 10,
        (Architecture::Arm64, KernelPageSize::Kib64) => 512 << 10,
        (Architecture::Amd64 | Architecture::Arm64 | Architecture::Ppc64le, _) => 2 << 10,
    }
}
