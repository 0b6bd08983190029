//! The sections of our TuneD profile: what each setting of a profile means to TuneD's plugins.

use super::devices::devices_udev_regex;
use crate::api::realtime_profile::Power;
use crate::facts::Architecture;
use crate::validate::ValidProfile;
use crate::validate::valid_profile::ValidCpus;

/// OpenShift's own profiles, known to set no command line and nothing against ours.
const KNOWN: [&str; 3] = ["openshift", "openshift-node", "openshift-control-plane"];

/// A section and its options, in order.
pub(super) struct Section {
    pub name: String,
    pub options: Vec<(String, String)>,
}

#[derive(Default)]
struct Sections(Vec<Section>);

impl Sections {
    /// The section, made at the end when there is none of the name.
    fn section(&mut self, name: &str) -> &mut Section {
        let known = self.0.iter().position(|section| section.name == name);
        let index = known.unwrap_or_else(|| {
            self.0.push(Section {
                name: name.to_owned(),
                options: Vec::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[index]
    }

    fn set(&mut self, section: &str, key: &str, value: impl Into<String>) {
        let options = &mut self.section(section).options;
        let same = |name: &str| {
            name == key || section == "sysctl" && parameter_path(name) == parameter_path(key)
        };
        match options.iter_mut().find(|(name, _)| same(name)) {
            Some(option) => option.1 = value.into(),
            None => options.push((key.to_owned(), value.into())),
        }
    }
}

/// A kernel parameter's path below `/proc/sys`: the first separator is the one between folders, as sysctl(8) has it.
pub(crate) fn parameter_path(name: &str) -> String {
    let dots = name
        .find(['.', '/'])
        .is_some_and(|at| name[at..].starts_with('.'));
    let swapped = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    if dots {
        name.chars().map(swapped).collect()
    } else {
        name.to_owned()
    }
}

/// 1. ours, 2. the user's sysctls, 3. the user's sections: the later wins, option by option.
pub(super) fn sections(profile: &ValidProfile) -> Vec<Section> {
    let mut sections = Sections::default();
    sections.set(
        "main",
        "summary",
        format!("Real-time node of RealtimeProfile {}", profile.name),
    );
    if !profile.tuned_include.is_empty() {
        sections.set("main", "include", profile.tuned_include.join(","));
    }
    // Whatever an included profile brings: the arguments are in the MachineConfig, and nowhere else.
    sections.set("bootloader", "enabled", "false");
    power(&mut sections, profile);
    if let Some(cpus) = &profile.cpus {
        partition(&mut sections, profile, cpus);
        interrupts(&mut sections, profile, cpus);
        network(&mut sections, profile, cpus);
        if profile.kernel.realtime {
            realtime(&mut sections, profile);
        } else {
            // Hinting faults stop a thread to learn where its memory is; a PREEMPT_RT kernel has no such thing.
            sections.set("sysctl", "kernel.numa_balancing", "0");
        }
        frequency(&mut sections, profile, cpus);
    }
    for (key, value) in &profile.sysctl {
        sections.set("sysctl", key, value);
    }
    for (section, options) in &profile.tuned_sections {
        let kind = options
            .get("type")
            .map_or(section.as_str(), |kind| kind.trim());
        for (key, value) in options {
            if !ours_alone(kind, key) {
                sections.set(section, key, value);
            }
        }
    }
    sections.0
}

/// `validate` refuses these; a command line must not come from here even so.
fn ours_alone(kind: &str, key: &str) -> bool {
    kind == "bootloader" || (kind == "main" && key == "include") || key.starts_with("cmdline")
}

fn power(sections: &mut Sections, profile: &ValidProfile) {
    // The latency that a CPU may take to wake up: C1 by its number, else 3 µs; or none at all.
    let force_latency = match profile.power {
        Power::Balanced => return,
        Power::PerPod => {
            // CRI-O sets governor and idle states for each pod: TuneD must not set them back.
            sections.set("cpu", "enabled", "false");
            return;
        }
        Power::LowLatency => "cstate.id:1|3",
        Power::UltraLowLatency => "0",
    };
    sections.set("cpu", "force_latency", force_latency);
    sections.set("cpu", "governor", "performance");
    if is_x86(profile) {
        sections.set("cpu", "energy_perf_bias", "performance");
        sections.set("cpu", "min_perf_pct", "100");
    }
}

fn partition(sections: &mut Sections, profile: &ValidProfile, cpus: &ValidCpus) {
    if !cpus.isolated.is_empty() {
        sections.set("scheduler", "isolated_cores", cpus.isolated.to_string());
    }
    sections.set("vm", "transparent_hugepages", "never");
    // Write-back starts early and often, instead of late and all at once.
    sections.set("sysctl", "vm.dirty_background_ratio", "3");
    sections.set("sysctl", "vm.dirty_ratio", "10");
    // Statistics are gathered on each CPU ten times less often.
    sections.set("sysctl", "vm.stat_interval", "10");
    let mask = cpus.reserved.to_hex_mask_words();
    for path in [
        "/sys/bus/workqueue/devices/writeback/cpumask",
        "/sys/devices/virtual/workqueue/cpumask",
        "/sys/devices/virtual/workqueue/*/cpumask",
    ] {
        sections.set("sysfs", path, mask.clone());
    }
    if is_x86(profile) {
        // No timer that looks for corrected errors.
        sections.set(
            "sysfs",
            "/sys/devices/system/machinecheck/machinecheck*/ignore_ce",
            "1",
        );
    }
}

fn interrupts(sections: &mut Sections, profile: &ValidProfile, cpus: &ValidCpus) {
    if !profile.balance_interrupts_on_isolated {
        sections.set("irqbalance", "banned_cpus", cpus.isolated.to_string());
        return;
    }
    // A pod bans interrupts from its own CPUs through CRI-O: TuneD must not move them back at each restart.
    sections.set("scheduler", "default_irq_smp_affinity", "ignore");
    sections.set("scheduler", "irq_process", "false");
    if includes_foreign(profile) {
        sections.set("irqbalance", "enabled", "false");
    }
}

/// As many queues as reserved CPUs: a device's interrupts then all find a place there.
fn network(sections: &mut Sections, profile: &ValidProfile, cpus: &ValidCpus) {
    let Some(devices) = &profile.limit_queues else {
        return;
    };
    let channels = format!("combined {}", cpus.reserved.len());
    let Some(regex) = devices_udev_regex(devices) else {
        sections.set("net", "channels", channels);
        return;
    };
    // A section of its own: those of OpenShift's [net] are meant for all devices. TuneD gives a device to the first
    // section that matches, by priority, so ours must come first.
    sections.set("net_realtime", "type", "net");
    sections.set("net_realtime", "priority", "-1");
    sections.set("net_realtime", "devices_udev_regex", regex);
    sections.set("net_realtime", "channels", channels);
}

fn realtime(sections: &mut Sections, profile: &ValidProfile) {
    if includes_foreign(profile) {
        // Settings of network-latency that a PREEMPT_RT kernel doesn't have.
        sections.set(
            "sysctl",
            "drop",
            "kernel.numa_balancing,net.core.busy_read,net.core.busy_poll",
        );
    }
    sections.set("sysctl", "kernel.hung_task_timeout_secs", "600");
    sections.set("sysctl", "kernel.nmi_watchdog", "0");
    if profile.pod_budget.is_none() {
        // Real-time threads may use all of a CPU. stalld then gives a starving kernel thread its moment.
        sections.set("sysctl", "kernel.sched_rt_runtime_us", "-1");
        sections.set("service", "service.stalld", "start,enable");
    }
    // With the priority of rcutree.kthread_prio: workloads at 1 to 10 can't starve what they depend on.
    for thread in ["ksoftirqd", "ktimers", "rcuc"] {
        sections.set(
            "scheduler",
            &format!("group.{thread}"),
            format!("0:f:11:*:{thread}.*"),
        );
    }
    // Keeps network timestamping switched on: switching it interrupts all CPUs.
    sections.section("rtentsk");
}

/// Through each CPU's own directory: a policy's directory exists only for the first CPU of the policy.
fn frequency(sections: &mut Sections, profile: &ValidProfile, cpus: &ValidCpus) {
    let (reserved, isolated) = profile.frequency;
    for (set, limit) in [(&cpus.reserved, reserved), (&cpus.isolated, isolated)] {
        let Some(kilohertz) = limit else { continue };
        for cpu in set.iter() {
            sections.set(
                "sysfs",
                &format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_max_freq"),
                kilohertz.to_string(),
            );
        }
    }
}

fn includes_foreign(profile: &ValidProfile) -> bool {
    profile
        .tuned_include
        .iter()
        .any(|include| !KNOWN.contains(&include.as_str()))
}

fn is_x86(profile: &ValidProfile) -> bool {
    profile.hardware.architecture == Architecture::Amd64
}
