//! Cpusets: whether pods can have the isolated CPUs, and whether nobody else has taken them.

use super::{Audit, Cpus, Observed, Wanted, cpus_text, list};
use crate::api::realtime_node::DriftArea;
use crate::api::realtime_profile::Isolation;
use crate::cpu_set::CpuSet;
use crate::host_facts::files::Files;
use crate::host_facts::kernel_list;

/// CPUs without load balancing: `isolcpus=domain`, and isolated partitions where the kernel counts them in.
const ISOLATED: &str = "/sys/devices/system/cpu/isolated";
const ONLINE: &str = "/sys/devices/system/cpu/online";
/// The kubelet's group, by the systemd and by the cgroupfs driver.
pub(super) const KUBEPODS: [&str; 2] = ["kubepods.slice", "kubepods"];
/// The CPUs that a group really has: the unified hierarchy's file, then v1's.
pub(super) const EFFECTIVE: [&str; 2] = ["cpuset.cpus.effective", "cpuset.effective_cpus"];
pub(super) const PARTITION: &str = "cpuset.cpus.partition";

pub(super) fn audit(wanted: &Wanted, cpus: &Cpus, observed: &Observed, found: &mut Audit) {
    let files = observed.files;
    scheduler_domains(cpus, files, found);
    let online = list(files, ONLINE).unwrap_or_else(|| cpus.isolated.clone());
    let usable = cpus.isolated.intersection(&online);
    for kubepods in KUBEPODS {
        pods(kubepods, &usable, files, found);
    }
    partitions(&usable, files, found);
    first_process(wanted, cpus, files, found);
}

fn scheduler_domains(cpus: &Cpus, files: &Files, found: &mut Audit) {
    let Some(isolated) = list(files, ISOLATED) else {
        return;
    };
    if cpus.spec.isolation == Isolation::Domain {
        if isolated != cpus.isolated {
            found.drift(
                DriftArea::CpuSet,
                format!("{} without load balancing", cpus_text(&cpus.isolated)),
                format!(
                    "{} in {ISOLATED}; isolcpus=domain decides it at boot",
                    cpus_text(&isolated)
                ),
            );
        }
    } else if !isolated.is_empty() {
        found.drift(
            DriftArea::CpuSet,
            "load balancing on all CPUs: cpu.isolation is not Domain",
            format!(
                "{} without it, in {ISOLATED}: threads of a container stay where they were started",
                cpus_text(&isolated)
            ),
        );
    }
}

fn pods(group: &str, usable: &CpuSet, files: &Files, found: &mut Audit) {
    let effective = EFFECTIVE
        .iter()
        .find_map(|file| effective(files, group, file));
    let Some(effective) = effective else { return };
    let lacking = usable.difference(&effective);
    if !lacking.is_empty() {
        found.drift(
            DriftArea::CpuSet,
            format!("pods may use {}", cpus_text(usable)),
            format!(
                "the cpuset of {group} lacks {}: it has {}",
                cpus_text(&lacking),
                cpus_text(&effective)
            ),
        );
    }
}

/// In whichever hierarchy it was read.
fn effective(files: &Files, group: &str, file: &str) -> Option<CpuSet> {
    let end = format!("/{group}/{file}");
    files
        .iter()
        .find(|(path, _)| path.ends_with(&end))
        .and_then(|(_, text)| kernel_list(text))
}

/// A partition root takes its CPUs away from all its siblings.
fn partitions(usable: &CpuSet, files: &Files, found: &mut Audit) {
    for (path, text) in files.iter() {
        let Some(group) = path
            .strip_suffix(PARTITION)
            .and_then(|path| path.strip_suffix('/'))
        else {
            continue;
        };
        let name = group.rsplit('/').next().unwrap_or(group);
        let kind = text.trim();
        if KUBEPODS.contains(&name) || !matches!(kind, "root" | "isolated") {
            continue;
        }
        let taken = list(files, &format!("{group}/{}", EFFECTIVE[0]))
            .unwrap_or_default()
            .intersection(usable);
        if !taken.is_empty() {
            found.drift(
                DriftArea::CpuSet,
                format!("{} left to pods", cpus_text(&taken)),
                format!(
                    "{name} has them for itself: `echo member > {group}/{PARTITION}` gives them back"
                ),
            );
        }
    }
}

/// Everything that systemd starts has its CPUs: `systemd.cpu_affinity=` in effect, or not.
fn first_process(wanted: &Wanted, cpus: &Cpus, files: &Files, found: &mut Audit) {
    if wanted.argument("systemd.cpu_affinity").is_none()
        || files.value("/proc/1/comm") != Some("systemd")
    {
        return;
    }
    let allowed = files
        .text("/proc/1/status")
        .and_then(|text| {
            text.lines()
                .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        })
        .and_then(kernel_list);
    if let Some(allowed) = allowed
        && !allowed.is_disjoint(&cpus.isolated)
    {
        found.drift(
            DriftArea::CpuSet,
            format!("systemd and its services on {}", cpus_text(&cpus.reserved)),
            format!(
                "process 1 may run on {}; systemd.cpu_affinity (or CPUAffinity= in system.conf) decides it at boot",
                cpus_text(&allowed)
            ),
        );
    }
}
