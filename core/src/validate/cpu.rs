//! The partition of the CPUs: the sets among themselves. What the nodes have is `topology`'s.

use crate::api::realtime_profile::{CpuSpec, Frequency, Isolation, Power, Smt};
use crate::cpu_set::{CpuSet, CpuSetError};
use crate::problem::{Problem, Problems};
use crate::validate::valid_profile::ValidCpus;

/// What `spec.cpu` says.
pub(super) struct Cpu {
    pub cpus: Option<ValidCpus>,
    pub smt: Smt,
    pub power: Power,
    pub frequency: (Option<u32>, Option<u32>),
}

pub(super) fn check(spec: Option<&CpuSpec>, problems: &mut Problems) -> Cpu {
    let empty = CpuSpec::default();
    let CpuSpec {
        reserved,
        isolated,
        offlined,
        shared,
        isolation,
        smt,
        power,
        frequency,
    } = spec.unwrap_or(&empty);
    let before = problems.0.len();
    let set = |name: &str, text: &Option<String>, problems: &mut Problems| {
        text.as_ref()
            .map(|text| parsed(&format!("spec.cpu.{name}"), text, problems))
    };
    let reserved = set("reserved", reserved, problems);
    let isolated = set("isolated", isolated, problems);
    let offlined = set("offlined", offlined, problems).unwrap_or_default();
    let shared = set("shared", shared, problems).unwrap_or_default();
    let readable = problems.0.len() == before;

    let others = isolated.is_some() || !offlined.is_empty() || !shared.is_empty();
    if others && reserved.is_none() {
        problems.push(Problem::error(
            "spec.cpu.reserved",
            "",
            "is missing although other sets are given: the kubelet, the system and interrupts must run somewhere",
            "name at least one CPU, as in reserved: \"0-1\"",
        ));
    }
    let (missing, wanted) = (reserved.is_none(), reserved.is_some() || others);
    if !wanted && isolation.is_some_and(|isolation| isolation != Isolation::None) {
        problems.push(Problem::warning(
            "spec.cpu.isolation",
            isolation
                .map(|isolation| format!("{isolation:?}"))
                .unwrap_or_default(),
            "has no effect: no CPUs are isolated",
            "set reserved and isolated, or remove it",
        ));
    }
    let cpus = ValidCpus {
        reserved: reserved.unwrap_or_default(),
        isolated: isolated.unwrap_or_default(),
        offlined,
        shared,
        isolation: isolation.unwrap_or_default(),
    };
    if wanted && readable {
        check_sets(&cpus, missing, problems);
    }
    let power = power.unwrap_or_default();
    Cpu {
        frequency: check_frequency(frequency.as_ref(), &cpus, power, problems),
        cpus: wanted.then_some(cpus),
        smt: smt.unwrap_or_default(),
        power,
    }
}

fn parsed(field: &str, text: &str, problems: &mut Problems) -> CpuSet {
    match text.parse() {
        Ok(set) => set,
        Err(error) => {
            let remedy = match &error {
                CpuSetError::Reversed(first, last) => format!("write {last}-{first}"),
                CpuSetError::TooLarge(_) => "name only CPUs that the nodes have".to_owned(),
                CpuSetError::EmptyItem(_) => "remove the surplus comma".to_owned(),
                CpuSetError::TooLong(_) => "write neighbouring CPUs as a range".to_owned(),
                CpuSetError::NotANumber(_) | CpuSetError::NotAMask(_) => {
                    "write numbers and ranges with commas between, as in 0-3,8".to_owned()
                }
            };
            problems.push(Problem::error(field, text, error.to_string(), remedy));
            CpuSet::default()
        }
    }
}

/// That the reserved CPUs are `missing` is told already.
fn check_sets(cpus: &ValidCpus, missing: bool, problems: &mut Problems) {
    let sets = named(cpus);
    for (index, (name, set)) in sets.iter().enumerate() {
        for (other_name, other) in sets.iter().skip(index + 1) {
            let both = set.intersection(other);
            if !both.is_empty() {
                problems.push(Problem::error(
                    format!("spec.cpu.{other_name}"),
                    other,
                    format!("overlaps {name} in {both}"),
                    format!("leave each CPU in one set: take {both} out of {name} or {other_name}"),
                ));
            }
        }
    }
    if cpus.reserved.is_empty() && !missing {
        problems.push(Problem::error(
            "spec.cpu.reserved",
            "",
            "is empty: the kubelet, the system and interrupts must run somewhere",
            "name at least one CPU, as in reserved: \"0-1\"",
        ));
    }
    if cpus.offlined.contains(0) {
        problems.push(Problem::error(
            "spec.cpu.offlined",
            &cpus.offlined,
            "CPU 0 boots the machine and can't be taken offline",
            "take 0 out of offlined, and reserve it",
        ));
    }
    if cpus.isolated.contains(0) {
        problems.push(Problem::warning(
            "spec.cpu.isolated",
            &cpus.isolated,
            "CPU 0 is isolated, where timekeeping and some interrupts can't be moved away from",
            "reserve CPU 0",
        ));
    }
    if cpus.isolated.is_empty() && cpus.isolation == Isolation::Domain {
        problems.push(Problem::warning(
            "spec.cpu.isolation",
            "Domain",
            "has no effect: no CPUs are isolated",
            "set isolated, or remove it",
        ));
    }
}

/// The sets with their names in the API.
pub(super) fn named(cpus: &ValidCpus) -> [(&'static str, &CpuSet); 4] {
    let ValidCpus {
        reserved,
        isolated,
        offlined,
        shared,
        isolation: _,
    } = cpus;
    [
        ("reserved", reserved),
        ("isolated", isolated),
        ("offlined", offlined),
        ("shared", shared),
    ]
}

fn check_frequency(
    frequency: Option<&Frequency>,
    cpus: &ValidCpus,
    power: Power,
    problems: &mut Problems,
) -> (Option<u32>, Option<u32>) {
    let Some(Frequency { reserved, isolated }) = frequency else {
        return (None, None);
    };
    let mut one = |name: &str, limit: Option<i64>, set: &CpuSet| -> Option<u32> {
        let limit = limit?;
        let field = format!("spec.cpu.frequency.{name}");
        if set.is_empty() {
            problems.push(Problem::error(
                field.clone(),
                limit,
                format!("no CPUs are {name}"),
                format!("set spec.cpu.{name}, or remove the frequency"),
            ));
        }
        if power == Power::PerPod && name == "isolated" {
            problems.push(Problem::warning(
                field,
                limit,
                "with power PerPod each pod chooses its governor, below this limit",
                "remove it unless that is meant",
            ));
        }
        // Bounds are the schema's.
        u32::try_from(limit).ok()
    };
    (
        one("reserved", *reserved, &cpus.reserved),
        one("isolated", *isolated, &cpus.isolated),
    )
}
