//! Which files an audit needs: only those of what the spec wants. Form: as in `host_facts::PATTERNS`.

use super::cpusets::{EFFECTIVE, KUBEPODS, PARTITION};
use super::tuned::{ACTIVE_PROFILE, FOLDERS};
use super::{Audit, Wanted, power, sysctls};
use crate::api::realtime_node::RealtimeNodeSpec;
use crate::host_facts::Files;
use crate::host_facts::hugepages::kib_of;
use crate::host_facts::mounts::{controller, mountinfo};

/// Where the cpuset hierarchy is when the mounts can't be read.
const CGROUP: &str = "/sys/fs/cgroup";

/// Always: the kernel, its CPUs, its clock.
const ALWAYS: [&str; 10] = [
    "/proc/cmdline",
    "/proc/version",
    "/proc/sys/kernel/osrelease",
    "/sys/kernel/realtime",
    "/sys/devices/system/cpu/present",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/nohz_full",
    "/sys/devices/system/cpu/smt/control",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    "/sys/devices/system/clocksource/clocksource0/available_clocksource",
];

/// The files of one audit. `facts`: the files of the facts, which say where the cgroup hierarchies are.
pub fn patterns(spec: &RealtimeNodeSpec, facts: &Files) -> Vec<String> {
    let wanted = Wanted::of(spec, &mut Audit::default());
    let mut patterns: Vec<String> = ALWAYS.map(str::to_owned).to_vec();
    let mut add = |pattern: &str| patterns.push(pattern.to_owned());
    if let Some(tuning) = &spec.tuning {
        for path in tuning.sysctls.keys().filter_map(|key| sysctls::path(key)) {
            add(&path);
        }
        // A name that is a path or a pattern would be neither file nor profile.
        if let Some(profile) = tuning
            .tuned_profile
            .as_deref()
            .filter(|name| !name.contains(['/', '*', '#']))
        {
            add(ACTIVE_PROFILE);
            for folder in FOLDERS {
                add(&format!("{folder}/{profile}/tuned.conf/"));
            }
        }
    }
    for pages in &spec.hugepages {
        let Some(kib) = kib_of(&pages.size) else {
            continue;
        };
        add(&format!(
            "/sys/kernel/mm/hugepages/hugepages-{kib}kB/nr_hugepages"
        ));
        if let Some(node) = pages.node {
            add(&format!(
                "/sys/devices/system/node/node{node}/hugepages/hugepages-{kib}kB/nr_hugepages"
            ));
        }
    }
    if let Some(cpus) = &wanted.cpus {
        add("/sys/devices/system/cpu/isolated");
        add("/proc/1/comm");
        add("/proc/1/status");
        cpuset_files(facts, &mut add);
        if !cpus.spec.balance_interrupts_on_isolated {
            add("/proc/irq/default_smp_affinity");
            add("/proc/irq/#/smp_affinity_list");
            add("/proc/irq/#/effective_affinity_list");
            add("/sys/kernel/irq/#/actions");
        }
        if power::minds_governor(&wanted) {
            add("/sys/devices/system/cpu/cpu#/cpufreq/scaling_governor");
        }
        if power::minds_idle_states(cpus.spec.power) {
            add("/sys/devices/system/cpu/cpu0/cpuidle/state#/name");
            add("/sys/devices/system/cpu/cpu0/cpuidle/state#/latency");
            add("/sys/devices/system/cpu/cpu#/cpuidle/state#/disable");
            add("/sys/devices/system/cpu/cpu#/power/pm_qos_resume_latency_us");
        }
    }
    patterns
}

fn cpuset_files(facts: &Files, add: &mut impl FnMut(&str)) {
    let mounts = mountinfo(facts.text("/proc/1/mountinfo").unwrap_or_default());
    let mount = controller(&mounts, "cpuset");
    let point = mount.map_or(CGROUP, |mount| mount.point.as_str());
    if point.contains(['*', '#']) {
        return;
    }
    let unified = mount.is_none_or(|mount| mount.file_system == "cgroup2");
    if unified {
        add(&format!("{point}/*/{}", EFFECTIVE[0]));
        add(&format!("{point}/*/{PARTITION}"));
    } else {
        for group in KUBEPODS {
            add(&format!("{point}/{group}/{}", EFFECTIVE[1]));
        }
    }
}
