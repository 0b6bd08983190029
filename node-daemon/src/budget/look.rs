//! What the host's kernel and its cgroup hierarchies allow, found by looking: the facts from which `core::rt::modes`
//! concludes the mode, the rules of the node, and where the kubelet has its pods. Decides nothing, and leaves everything
//! as it was: the group of the probe goes again.

mod pods;
pub mod probe;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use realtime_core::rt::group::PodsGroup;
use realtime_core::rt::micros::{RuntimeMicros, smallest_budget};
use realtime_core::rt::modes::{ModeFacts, ModeSetting, Probe, RtMax, V1Cpu, needs_probe};
use realtime_core::rt::mounts::cgroup_mounts;
use rustix::time::{ClockId, clock_getres};

use crate::cgroup::Mounts;
use crate::host::Host;
pub use pods::pods_groups;

/// This program, whatever has become of its file since.
const OWN_PROGRAM: &str = "/proc/self/exe";
const MOUNTINFO: [&str; 2] = ["/proc/1/mountinfo", "/proc/self/mountinfo"];
const SYSCTL_RUNTIME: &str = "/proc/sys/kernel/sched_rt_runtime_us";
const V1_RUNTIME: &str = "cpu.rt_runtime_us";
/// Budgets for cgroup v2 that aren't merged into the kernel.
const V2_RT_MAX: &str = "cpu.rt.max";
/// Characters of it that are told: two numbers of 64 bits.
const MAX_VALUE: usize = 41;
const CONTROLLERS: &str = "cgroup.controllers";
const SUBTREE_CONTROL: &str = "cgroup.subtree_control";
/// CPUs without load balancing since the boot: `isolcpus=domain`.
const ISOLATED: &str = "/sys/devices/system/cpu/isolated";
/// CPUs in isolated partitions; in the root group, since Linux 6.9.
const V2_ISOLATED: &str = "cpuset.cpus.isolated";
const V2_PARTITION: &str = "cpuset.cpus.partition";
const V1_LOAD_BALANCE: &str = "cpuset.sched_load_balance";

/// What this node's kernel makes of budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRules {
    /// Smaller budgets wedge threads.
    pub smallest: RuntimeMicros,
    /// Some CPUs are outside every load-balanced domain: a throttled group may never run again there.
    pub isolated_domains: bool,
}

/// The facts. `enabled`, `setting` and the gate go in as they are; the rest is looked at.
pub async fn facts(host: &Host, enabled: bool, setting: ModeSetting, hcbs_gate: bool) -> ModeFacts {
    facts_with(Path::new(OWN_PROGRAM), host, enabled, setting, hcbs_gate).await
}

/// The same, with the program that is the probe's process; for tests, which are another program than the daemon.
pub async fn facts_with(
    program: &Path,
    host: &Host,
    enabled: bool,
    setting: ModeSetting,
    hcbs_gate: bool,
) -> ModeFacts {
    let mounts = mounts(host);
    let pods = pods_groups(host, &mounts);
    sweep(host, &mounts, &pods);
    let mut facts = ModeFacts {
        enabled,
        setting,
        v1_cpu: mounts.v1_cpu.as_ref().map(|mount| V1Cpu {
            mount: mount.clone(),
            has_runtime_file: host.exists(&format!("{mount}/{V1_RUNTIME}")),
        }),
        sysctl_runtime_us: number(host, SYSCTL_RUNTIME),
        probe: Probe::NotTried,
        v2_rt_max: v2_rt_max(host, &mounts, &pods),
        hcbs_gate,
    };
    if needs_probe(&facts) {
        facts.probe = probed(program, host, &mounts, &pods).await;
    }
    facts
}

/// The rules.
pub fn rules(host: &Host) -> NodeRules {
    let mounts = mounts(host);
    NodeRules {
        smallest: smallest_budget(ticks_a_second()),
        isolated_domains: isolated_domains(host, &mounts),
    }
}

fn mounts(host: &Host) -> Mounts {
    Mounts::read(host).unwrap_or_else(|error| {
        tracing::warn!(%error, "the mounts can't be read: no cgroup hierarchy is known");
        Mounts::default()
    })
}

fn number(host: &Host, path: &str) -> Option<i64> {
    host.read(path).ok()?.trim().parse().ok()
}

/// CONFIG_HZ: the coarse clock goes on by one tick.
fn ticks_a_second() -> Option<u32> {
    let tick = clock_getres(ClockId::RealtimeCoarse);
    let tick = Duration::new(
        u64::try_from(tick.tv_sec).ok()?,
        u32::try_from(tick.tv_nsec).ok()?,
    );
    let nanoseconds = u32::try_from(tick.as_nanos()).ok()?;
    // Rounded: at 300 ticks the kernel says 3333333.
    1_000_000_000_u32
        .checked_add(nanoseconds / 2)?
        .checked_div(nanoseconds)
}

/// The hierarchies' levels in which a probe's group can be, or have been.
fn sweep(host: &Host, mounts: &Mounts, pods: &[PodsGroup]) {
    for mount in [&mounts.v1_cpu, &mounts.v2].into_iter().flatten() {
        probe::sweep(host, mount);
    }
    if let (None, Some(mount)) = (&mounts.v1_cpu, &mounts.v2) {
        for group in pods {
            probe::sweep(host, &format!("{mount}{}", group.path()));
        }
    }
}

/// A group that is not the root has it: the pods', or another one that systemd has made.
fn v2_rt_max(host: &Host, mounts: &Mounts, pods: &[PodsGroup]) -> Option<RtMax> {
    let mount = mounts.v2.as_ref()?;
    let pods = pods.iter().map(PodsGroup::path);
    let top = host.list(mount).unwrap_or_default();
    let top = top.into_iter().map(|name| format!("/{name}"));
    let file = pods
        .chain(top)
        .map(|group| format!("{mount}{group}/{V2_RT_MAX}"))
        .find(|file| host.exists(file))?;
    let text = host.read(&file).ok();
    let line = text.as_deref().and_then(|text| text.lines().next());
    let value = line.map(|line| line.chars().take(MAX_VALUE).collect());
    Some(RtMax { file, value })
}

/// Tries it where the `cpu` controller is: in version 1 below the hierarchy's root, in version 2 beside the pods where
/// there are any, else below the root with the controller switched on for as long as it takes.
async fn probed(program: &Path, host: &Host, mounts: &Mounts, pods: &[PodsGroup]) -> Probe {
    if let Some(mount) = &mounts.v1_cpu {
        return probe::probe(host, program, mount).await;
    }
    let Some(mount) = &mounts.v2 else {
        return Probe::NotTried;
    };
    let levels = pods.iter().map(|group| format!("{mount}{}", group.path()));
    let level = levels
        .chain([mount.clone()])
        .find(|level| has_cpu(host, level, SUBTREE_CONTROL));
    if let Some(level) = level {
        return probe::probe(host, program, &level).await;
    }
    if !has_cpu(host, mount, CONTROLLERS) {
        tracing::warn!(
            mount,
            "the cpu controller is in no hierarchy that is mounted"
        );
        return Probe::NotTried;
    }
    let control = format!("{mount}/{SUBTREE_CONTROL}");
    if let Err(error) = host.write_existing(&control, "+cpu") {
        // With RT_GROUP_SCHED: real-time threads outside the root group.
        tracing::warn!(%error, "the cpu controller can't be switched on");
        return Probe::NotTried;
    }
    let probe = probe::probe(host, program, mount).await;
    // A kubelet that has begun to use it in between keeps it: EBUSY.
    if let Err(error) = host.write_existing(&control, "-cpu") {
        tracing::debug!(%error, "the cpu controller stays on");
    }
    probe
}

/// As the host's first process sees it, else as the daemon does.
fn v1_cpuset(host: &Host) -> Option<String> {
    let texts = MOUNTINFO.iter().filter_map(|path| host.read(path).ok());
    texts
        .flat_map(|text| cgroup_mounts(&text))
        .find(|mount| mount.has_v1("cpuset") && mount.may_be_whole())
        .map(|mount| mount.point)
}

fn has_cpu(host: &Host, level: &str, file: &str) -> bool {
    host.read(&format!("{level}/{file}"))
        .is_ok_and(|text| text.split_ascii_whitespace().any(|name| name == "cpu"))
}

fn isolated_domains(host: &Host, mounts: &Mounts) -> bool {
    let has_cpus = |path: &str| host.read(path).is_ok_and(|text| !text.trim().is_empty());
    if has_cpus(ISOLATED) {
        return true;
    }
    let v1 = v1_cpuset(host).map(|mount| format!("{mount}/{V1_LOAD_BALANCE}"));
    if v1.is_some_and(|file| number(host, &file) == Some(0)) {
        return true;
    }
    let Some(mount) = &mounts.v2 else {
        return false;
    };
    let isolated = format!("{mount}/{V2_ISOLATED}");
    if host.exists(&isolated) {
        return has_cpus(&isolated);
    }
    // Before that file: the partitions directly below the root. Others need one of them above.
    let isolated = |name: &String| {
        host.read(&format!("{mount}/{name}/{V2_PARTITION}"))
            .is_ok_and(|text| text.trim() == "isolated")
    };
    host.list(mount).unwrap_or_default().iter().any(isolated)
}
