//! The user's kernel arguments: their form, what they contradict, and whether the whole line fits.

use std::collections::BTreeMap;

use super::text::one_line;
use crate::api::realtime_profile::{Power, Smt};
use crate::facts::Architecture;
use crate::problem::{Problem, Problems};
use crate::render::kernel_arguments::{Repeat, computed, kernel_arguments, key, repeat};
use crate::validate::ValidProfile;
use crate::validate::pool::beside::{Beside, Source};

pub(super) const FIELD: &str = "spec.kernel.additionalArguments";

/// Left for what the bootloader and the OS add: BOOT_IMAGE (about 130 characters), ostree= (95), root= and boot= by
/// UUID with flags (130), ignition.platform.id, consoles, fips and crashkernel.
const OS_RESERVE: usize = 512;

/// Arguments that a field of the profile governs, by key: what is said twice can be said differently.
/// Only where the profile itself emits them, or says that they shall not be there.
pub(super) const GOVERNED: [(&str, &str); 16] = [
    ("isolcpus", "spec.cpu.isolation"),
    ("nohz_full", "spec.cpu.isolated"),
    ("rcu_nocbs", "spec.cpu.isolated"),
    ("nohz", "spec.cpu"),
    ("irqaffinity", "spec.interrupts.balanceOnIsolated"),
    ("systemd.cpu_affinity", "spec.cpu.reserved"),
    ("tuned.non_isolcpus", "spec.cpu.reserved"),
    ("nosmt", "spec.cpu.smt"),
    ("intel_pstate", "spec.cpu.power"),
    ("amd_pstate", "spec.cpu.power"),
    ("processor.max_cstate", "spec.cpu.power"),
    ("intel_idle.max_cstate", "spec.cpu.power"),
    ("idle", "spec.cpu.power"),
    ("default_hugepagesz", "spec.memory.hugepages"),
    ("hugepagesz", "spec.memory.hugepages"),
    ("hugepages", "spec.memory.hugepages"),
];

/// Arguments by which the machine finds its system: OpenShift's and ostree's own.
const FOREIGN: [&str; 8] = [
    "ostree",
    "root",
    "rootflags",
    "boot_image",
    "ignition.platform.id",
    "ignition.firstboot",
    "init",
    "rdinit",
];

/// The form of each argument alone.
pub(super) fn check_form(arguments: &[String], problems: &mut Problems) {
    for (index, argument) in arguments.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        if one_line(&field, argument, problems) {
            check_one(&field, argument, problems);
        }
    }
}

fn check_one(field: &str, argument: &str, problems: &mut Problems) {
    let mut refuse = |message: &str, remedy: &str| {
        problems.push(Problem::error(field, argument, message, remedy));
    };
    let mut quoted = false;
    let blank_outside = argument.chars().any(|character| {
        quoted ^= character == '"';
        character.is_whitespace() && !quoted
    });
    if argument.trim().is_empty() {
        refuse("is empty", "remove it");
        return;
    }
    if quoted {
        refuse(
            "a quotation mark is not closed: the kernel would read the rest of the line as part of it",
            "close it",
        );
    } else if blank_outside {
        refuse(
            "holds a blank outside quotation marks: several arguments in one entry",
            "make each argument an entry of its own",
        );
    }
    if !argument.is_ascii() {
        refuse("holds characters beyond ASCII", "write it in ASCII");
    }
    if argument == "--" {
        refuse(
            "ends the kernel's arguments: everything after it goes to the first process",
            "remove it",
        );
    }
    let key = key(argument).to_ascii_lowercase();
    if key.is_empty() && !quoted {
        refuse("has no name", "write it as name=value");
    }
    if FOREIGN.contains(&key.as_str()) {
        refuse(
            "belongs to the boot process: the machine would not find its system",
            "remove it",
        );
    }
    if argument.contains('$') {
        problems.push(Problem::warning(
            field,
            argument,
            "the bootloader replaces what follows `$`",
            "check /proc/cmdline after the reboot",
        ));
    }
}

/// Whether the arguments fit to each other, to those that follow from the profile, and into the line.
/// Of what stands `beside` only the length matters here.
pub(super) fn check_together(
    valid: &ValidProfile,
    hugepages_given: bool,
    beside: &Beside<'_>,
    problems: &mut Problems,
) {
    let ours = computed(valid);
    let mut seen: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    for (index, argument) in valid.kernel.additional_arguments.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        let key = key(argument);
        let earlier = seen.entry(key.clone()).or_default();
        match earlier.last() {
            _ if repeat(argument) == Repeat::Positional => {}
            _ if earlier.contains(&argument) => problems.push(Problem::error(
                field.clone(),
                argument,
                "appears twice",
                "remove one",
            )),
            Some(other) if repeat(argument) == Repeat::Once => problems.push(Problem::error(
                field.clone(),
                argument,
                format!("contradicts {other}: the kernel takes the last one only"),
                "keep one of them",
            )),
            _ => {}
        }
        earlier.push(argument);
        check_against_ours(
            &field,
            argument,
            &key,
            &ours,
            valid,
            hugepages_given,
            problems,
        );
    }
    check_length(valid, beside, problems);
}

fn check_against_ours(
    field: &str,
    argument: &str,
    key: &str,
    ours: &[String],
    valid: &ValidProfile,
    hugepages_given: bool,
    problems: &mut Problems,
) {
    // It stops CPUs that the sets may name, and these are checked against what the field says.
    if key == "nosmt" && valid.cpus.is_some() && valid.smt == Smt::Keep {
        problems.push(Problem::error(
            field,
            argument,
            "contradicts spec.cpu.smt, which keeps all threads: the sets of CPUs would name some that are stopped",
            "remove it, and set spec.cpu.smt: \"Off\"",
        ));
        return;
    }
    // The same for good: root can't start the threads again.
    if argument == "nosmt=force" && valid.smt == Smt::Off {
        return;
    }
    let same_key: Vec<&String> = ours.iter().filter(|ours| self::key(ours) == key).collect();
    // Without PerPod the mode of the frequency driver follows from the processor: a choice of the user's own stands, and
    // must not become an error when the processor is known one day.
    let advice = key.ends_with("_pstate") && valid.power != Power::PerPod;
    let owner = GOVERNED
        .iter()
        .find(|(name, _)| *name == key && !advice)
        .map(|(_, owner)| *owner);
    let governed = !same_key.is_empty()
        || (key == "isolcpus" && valid.cpus.is_some())
        || (owner == Some("spec.memory.hugepages") && hugepages_given);
    if !governed {
        return;
    }
    let positional = repeat(argument) == Repeat::Positional;
    if same_key.iter().any(|ours| *ours == argument) && !positional {
        problems.push(Problem::warning(
            field,
            argument,
            "follows from the profile already",
            "remove it",
        ));
        return;
    }
    let computed = same_key
        .iter()
        .map(|ours| ours.as_str())
        .collect::<Vec<_>>()
        .join(" ");
    match owner {
        Some(owner) => {
            let instead = if computed.is_empty() {
                "which says otherwise".to_owned()
            } else {
                format!("which makes it {computed}")
            };
            problems.push(Problem::error(
                field,
                argument,
                format!("contradicts {owner}, {instead}"),
                format!("remove it, or change {owner}"),
            ));
        }
        None if repeat(argument) == Repeat::Once => problems.push(Problem::warning(
            field,
            argument,
            format!("replaces {computed}, which follows from the profile"),
            "remove it unless that is meant",
        )),
        None => {}
    }
}

/// COMMAND_LINE_SIZE of the architecture, its closing zero not counted.
fn longest_line(architecture: Architecture) -> usize {
    match architecture {
        Architecture::Amd64 | Architecture::Arm64 | Architecture::Ppc64le => 2047,
        Architecture::S390x => 4095,
    }
}

fn check_length(valid: &ValidProfile, beside: &Beside<'_>, problems: &mut Problems) {
    let length = |arguments: &[String]| {
        arguments
            .iter()
            .map(|argument| argument.len() + 1)
            .sum::<usize>()
    };
    let all = kernel_arguments(valid);
    let of_source = |source: &Source<'_>| {
        let entries = source.config.spec.kernel_arguments.as_deref();
        length(entries.unwrap_or_default())
    };
    let (mine, others) = (length(&all), beside.all().map(of_source).sum::<usize>());
    let most = longest_line(valid.hardware.architecture);
    let total = mine + others + OS_RESERVE;
    if total <= most {
        return;
    }
    // Whichever gives most of it: the user's own arguments, or those that follow from the CPUs.
    let own = &valid.kernel.additional_arguments;
    let (field, from) = if length(own) * 2 >= mine {
        (FIELD, own)
    } else {
        ("spec.cpu", &all)
    };
    let longest = from
        .iter()
        .max_by_key(|argument| argument.len())
        .map_or("", String::as_str);
    problems.push(Problem::error(
        field,
        longest,
        format!(
            "the kernel's command line would have {total} characters ({mine} from this profile, {others} from other MachineConfigs of the pool, {OS_RESERVE} left for the bootloader and the OS), and {} takes {most}",
            valid.hardware.architecture.name()
        ),
        "choose CPUs that lie together, which are written as ranges; remove arguments",
    ));
}
