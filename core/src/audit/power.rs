//! The CPU frequency governor, and idle states that take too long to leave.

use std::collections::BTreeMap;

use super::{Audit, Cpus, Observed, Wanted, cpus_text};
use crate::api::realtime_node::DriftArea;
use crate::api::realtime_profile::Power;
use crate::cpu_set::CpuSet;
use crate::host_facts::files::Files;

/// As in the TuneD profile's `cstate.id:1|3`: what LowLatency allows where the processor has no second idle state, µs.
const LOW_LATENCY_MICROSECONDS: i64 = 3;

pub(super) fn audit(wanted: &Wanted, cpus: &Cpus, observed: &Observed, found: &mut Audit) {
    governor(wanted, cpus, observed.files, found);
    idle_states(cpus, observed, found);
}

fn governor(wanted: &Wanted, cpus: &Cpus, files: &Files, found: &mut Audit) {
    let tuning = wanted.spec.tuning.as_ref();
    let Some(governor) = tuning.and_then(|tuning| tuning.governor.as_deref()) else {
        return;
    };
    let used = cpus.reserved.union(&cpus.isolated);
    let mut others: BTreeMap<&str, CpuSet> = BTreeMap::new();
    let mut seen = false;
    for (cpu, text) in per_cpu(files, "cpufreq/scaling_governor", &used) {
        seen = true;
        // `performance|powersave`: TuneD takes the first that the driver has.
        if !governor
            .split('|')
            .any(|wanted| wanted.trim() == text.trim())
        {
            add(others.entry(text.trim()).or_default(), cpu);
        }
    }
    if !seen {
        found.note(
            DriftArea::Governor,
            "The kernel doesn't control the CPUs' frequency here (no cpufreq driver, as in most virtual machines): there \
             is no governor to check.",
        );
    }
    for (other, cpus) in others {
        found.drift(
            DriftArea::Governor,
            format!("governor {governor} on {}", cpus_text(&cpus)),
            format!(
                "{other}; write {governor} to /sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor{}",
                cpus.first().unwrap_or(0),
                if cpus.len() > 1 { " and so on" } else { "" }
            ),
        );
    }
}

/// A state may be entered when nobody has disabled it for the CPU, nobody limits the CPU's wake-up time, and nobody
/// limits that of all CPUs (TuneD does, through `/dev/cpu_dma_latency`, as long as it runs).
fn idle_states(cpus: &Cpus, observed: &Observed, found: &mut Audit) {
    let files = observed.files;
    let limit = match cpus.spec.power {
        Power::Balanced | Power::PerPod => return,
        Power::UltraLowLatency => 0,
        Power::LowLatency => latency(files, "1").unwrap_or(LOW_LATENCY_MICROSECONDS),
    };
    if observed.wake_up_limit.is_some_and(|of_all| of_all <= limit) {
        return;
    }
    let mut deep: BTreeMap<String, CpuSet> = BTreeMap::new();
    for (captures, text) in files.matching("/sys/devices/system/cpu/cpu#/cpuidle/state#/disable") {
        let [cpu, state] = captures[..] else { continue };
        let Some(number) = cpu.parse().ok().filter(|cpu| cpus.isolated.contains(*cpu)) else {
            continue;
        };
        if text.trim() != "0"
            || latency(files, state).is_none_or(|takes| takes <= limit)
            || own_limit(files, cpu).is_some_and(|own| own <= limit)
        {
            continue;
        }
        add(deep.entry(state.to_owned()).or_default(), number);
    }
    if deep.is_empty() {
        return;
    }
    let Some(of_all) = observed.wake_up_limit else {
        found.note(
            DriftArea::CState,
            "/dev/cpu_dma_latency can't be read: whether something keeps the CPUs from deep idle states is not known.",
        );
        return;
    };
    for (state, cpus) in deep {
        let name = files
            .value(&format!(
                "/sys/devices/system/cpu/cpu0/cpuidle/state{state}/name"
            ))
            .unwrap_or("an idle state");
        found.drift(
            DriftArea::CState,
            format!("no idle state that takes more than {limit} µs to leave, on {}", cpus_text(&cpus)),
            format!(
                "{name} takes {} µs and is allowed (/dev/cpu_dma_latency allows {of_all} µs): does TuneD run?",
                latency(files, &state).unwrap_or(0)
            ),
        );
    }
}

/// All CPUs have the same states: CPU 0's are read.
fn latency(files: &Files, state: &str) -> Option<i64> {
    files.number(&format!(
        "/sys/devices/system/cpu/cpu0/cpuidle/state{state}/latency"
    ))
}

/// `n/a` is the strictest, 0 is no limit at all.
fn own_limit(files: &Files, cpu: &str) -> Option<i64> {
    match files.value(&format!(
        "/sys/devices/system/cpu/cpu{cpu}/power/pm_qos_resume_latency_us"
    ))? {
        "n/a" => Some(0),
        "0" => None,
        number => number.parse().ok(),
    }
}

fn per_cpu<'a>(
    files: &'a Files,
    file: &str,
    of: &'a CpuSet,
) -> impl Iterator<Item = (u32, &'a str)> + 'a {
    let file = file.to_owned();
    of.iter().filter_map(move |cpu| {
        let text = files.text(&format!("/sys/devices/system/cpu/cpu{cpu}/{file}"))?;
        Some((cpu, text))
    })
}

fn add(set: &mut CpuSet, cpu: u32) {
    *set = set.union(&CpuSet::from_iter([cpu]));
}

/// For [`super::patterns`]: whether idle states matter at all.
pub(super) fn minds_idle_states(power: Power) -> bool {
    matches!(power, Power::LowLatency | Power::UltraLowLatency)
}

/// For [`super::patterns`]: whether anything asks for a governor.
pub(super) fn minds_governor(wanted: &Wanted) -> bool {
    let tuning = wanted.spec.tuning.as_ref();
    tuning.is_some_and(|tuning| tuning.governor.is_some())
}
