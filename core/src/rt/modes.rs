//! What the kernel of a node and its cgroup hierarchy allow, from what the daemon found by looking. Never decides by the
//! name or the version of an operating system.

#[cfg(test)]
mod tests;

use crate::api::realtime_node::BudgetMode;

/// The gate of what is known of the unmerged budgets for cgroup v2 ("hierarchical constant bandwidth server"): it is looked
/// at and told, and never written to.
pub const HCBS_GATE: &str = "V2Hcbs";

/// What the daemon found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModeFacts {
    /// The profile's `podBudget.enabled`, or the configuration file's word without an operator.
    pub enabled: bool,
    /// What a person has set.
    pub setting: ModeSetting,
    /// The cgroup v1 hierarchy with the `cpu` controller, alone or joined with `cpuacct`; absent without one.
    pub v1_cpu: Option<V1Cpu>,
    /// `/proc/sys/kernel/sched_rt_runtime_us`; absent when it couldn't be read.
    pub sysctl_runtime_us: Option<i64>,
    /// What became of the probe thread.
    pub probe: Probe,
    /// `cpu.rt.max` of a group that is not the root, where there is one: a kernel with the budgets for cgroup v2 that
    /// aren't merged.
    pub v2_rt_max: Option<RtMax>,
    /// [`HCBS_GATE`] is open.
    pub hcbs_gate: bool,
}

/// A file of the budgets for cgroup v2 that aren't merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtMax {
    /// Its path on the host.
    pub file: String,
    /// Its first line, `RUNTIME PERIOD` in microseconds or `max PERIOD` in the sixth version of the proposal; `None`:
    /// not readable.
    pub value: Option<String>,
}

/// A cgroup v1 hierarchy with the `cpu` controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V1Cpu {
    /// Where it is mounted, from mountinfo.
    pub mount: String,
    /// It has `cpu.rt_runtime_us`: the kernel is built with RT_GROUP_SCHED, and it is not switched off.
    pub has_runtime_file: bool,
}

/// The setting that overrides what was found, with rt-operator's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModeSetting {
    /// By what was found.
    #[default]
    Auto,
    /// `noop`: nothing is written, everything is told.
    Noop,
    /// `cgroup_v1`: budgets or nothing.
    CgroupV1,
    /// `cgroup_v2`: policy or nothing, also where there are budgets.
    CgroupV2,
}

/// A word that is no setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is none of auto, noop, cgroup_v1 and cgroup_v2")]
pub struct UnknownSetting;

/// What became of a thread that asked for SCHED_FIFO in a group made like a pod's. In the root group it would always
/// get it, which proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Probe {
    /// It wasn't tried, or its group couldn't be made.
    #[default]
    NotTried,
    /// It became SCHED_FIFO.
    BecameFifo,
    /// The kernel refused, with this errno.
    Refused(i32),
}

/// The mode, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mode {
    /// As published in the node's status.
    pub mode: BudgetMode,
    /// What it was concluded from, one sentence.
    pub evidence: String,
    /// What a person can do about it, where something is missing.
    pub remedy: Option<String>,
}

impl ModeSetting {
    /// rt-operator's words, and `auto`.
    pub fn parse(text: &str) -> Result<Self, UnknownSetting> {
        match text {
            "auto" => Ok(Self::Auto),
            "noop" => Ok(Self::Noop),
            "cgroup_v1" => Ok(Self::CgroupV1),
            "cgroup_v2" => Ok(Self::CgroupV2),
            _ => Err(UnknownSetting),
        }
    }
}

/// EPERM on Linux: the thread lacks CAP_SYS_NICE, or its group has no budget.
const EPERM: i32 = 1;
const BLOCKED_REMEDY: &str = "boot with rt_group_sched=0 (kernels since 6.16), or a kernel without RT_GROUP_SCHED; on a \
     host with cgroup v1, mount its cpu controller";

/// Decides.
pub fn mode(facts: &ModeFacts) -> Mode {
    // 1. What a person has switched off.
    if !facts.enabled {
        return found(BudgetMode::Off, "budgets for pods are not enabled", None);
    }
    // 2. What a person has chosen, else what there is: budgets before policy.
    match facts.setting {
        ModeSetting::Noop => found(
            BudgetMode::Off,
            "the setting noop: nothing is written",
            Some(
                "set cgroup_handler: auto in the daemon's configuration to have pods' requests applied",
            ),
        ),
        ModeSetting::CgroupV1 => budget(facts),
        ModeSetting::Auto if has_budgets(facts) => budget(facts),
        ModeSetting::Auto | ModeSetting::CgroupV2 => policy(facts),
    }
}

/// Whether the mode depends on a probe. Otherwise no group is made for one: with budgets, a group without one refuses
/// everybody.
pub fn needs_probe(facts: &ModeFacts) -> bool {
    facts.enabled
        && match facts.setting {
            ModeSetting::Noop | ModeSetting::CgroupV1 => false,
            ModeSetting::CgroupV2 => true,
            ModeSetting::Auto => !has_budgets(facts),
        }
}

fn has_budgets(facts: &ModeFacts) -> bool {
    facts
        .v1_cpu
        .as_ref()
        .is_some_and(|cpu| cpu.has_runtime_file)
}

/// Budgets, or nothing.
fn budget(facts: &ModeFacts) -> Mode {
    let Some(cpu) = &facts.v1_cpu else {
        return found(
            BudgetMode::Blocked,
            "the setting cgroup_v1, and no cgroup v1 hierarchy has the cpu controller",
            Some(
                "set cgroup_handler: auto in the daemon's configuration, or boot the host with cgroup v1",
            ),
        );
    };
    if !cpu.has_runtime_file {
        return found(
            BudgetMode::Blocked,
            &format!(
                "the setting cgroup_v1, and {} has no cpu.rt_runtime_us",
                cpu.mount
            ),
            Some(
                "set cgroup_handler: auto in the daemon's configuration, or run a kernel with RT_GROUP_SCHED that is not switched off by rt_group_sched=0",
            ),
        );
    }
    match facts.sysctl_runtime_us {
        // The kernel then admits no budget but 0, anywhere.
        Some(0) => found(
            BudgetMode::Blocked,
            "kernel.sched_rt_runtime_us is 0",
            Some("set kernel.sched_rt_runtime_us to 950000"),
        ),
        _ => found(
            BudgetMode::V1Budget,
            &format!("{}/cpu.rt_runtime_us", cpu.mount.trim_end_matches('/')),
            None,
        ),
    }
}

/// Policy, where the kernel lets a thread of a pod have it.
fn policy(facts: &ModeFacts) -> Mode {
    let also = hcbs(facts);
    match facts.probe {
        Probe::BecameFifo => found(
            BudgetMode::V2Policy,
            &format!("a thread in a group of its own became SCHED_FIFO{also}"),
            None,
        ),
        // Under cgroup v1 the probe's group simply has no budget.
        Probe::Refused(_) if has_budgets(facts) => found(
            BudgetMode::Blocked,
            "the setting cgroup_v2 on a host whose groups need a budget by cgroup v1",
            Some("set cgroup_handler: auto or cgroup_v1 in the daemon's configuration"),
        ),
        Probe::Refused(EPERM) => found(
            BudgetMode::Blocked,
            &format!(
                "the kernel refused SCHED_FIFO to a thread in a group of its own: EPERM{also}"
            ),
            Some(BLOCKED_REMEDY),
        ),
        Probe::Refused(errno) => found(
            BudgetMode::Blocked,
            &format!("a thread in a group of its own did not get SCHED_FIFO: errno {errno}{also}"),
            Some("see whether a seccomp filter or a limit stands in the daemon's way"),
        ),
        Probe::NotTried => found(
            BudgetMode::Blocked,
            &format!("not known: no thread could be tried in a group of its own{also}"),
            Some("let the daemon make a group in the cpu controller's hierarchy, and restart it"),
        ),
    }
}

/// What is told of the unmerged budgets. They change no mode: whether a pod's thread may become real-time, the probe says.
fn hcbs(facts: &ModeFacts) -> String {
    match (&facts.v2_rt_max, facts.hcbs_gate) {
        (None, false) => String::new(),
        (None, true) => {
            format!("; the gate {HCBS_GATE} is open, and no group has cpu.rt.max")
        }
        (Some(RtMax { file, .. }), false) => format!(
            "; {file} is there, which isn't merged into Linux, and its gate {HCBS_GATE} is closed"
        ),
        (Some(RtMax { file, value }), true) => format!(
            "; {file}, which isn't merged into Linux, has {}; its gate {HCBS_GATE} is open, and this version writes no budget to it",
            match value {
                Some(value) => format!("{value:?}"),
                None => "nothing that can be read".to_owned(),
            }
        ),
    }
}

fn found(mode: BudgetMode, evidence: &str, remedy: Option<&str>) -> Mode {
    Mode {
        mode,
        evidence: evidence.to_owned(),
        remedy: remedy.map(str::to_owned),
    }
}
