//! What the engine stands on: the node's mode, its rules, and the hierarchy in which containers' groups are. Looked at
//! when the settings change, and again while the kubelet's group isn't there. Decides nothing.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use realtime_core::api::realtime_node::BudgetMode;
use realtime_core::rt::group::{self, ContainerId, PodsGroup, Qos, Runtime};
use realtime_core::rt::micros::{PERIOD_US, RuntimeMicros};
use realtime_core::rt::modes::{self, Mode};
use realtime_core::rt::plan::{Group, Limits, Tree};
use realtime_core::rt::pod::Pod;
use realtime_core::rt::settle::NodeRules;

use super::cache::Cache;
use super::look;
use super::settings::Settings;
use crate::cgroup::{CgroupError, Mounts, Scope, V1, V2};
use crate::host::Host;

const SYSCTL_RUNTIME: &str = "/proc/sys/kernel/sched_rt_runtime_us";
const SYSCTL_PERIOD: &str = "/proc/sys/kernel/sched_rt_period_us";

/// A pod's group is in one of them.
pub const CLASSES: [Qos; 3] = [Qos::Burstable, Qos::Guaranteed, Qos::BestEffort];

/// The hierarchy by which containers are known.
#[derive(Debug)]
pub enum Hierarchy {
    /// Budgets.
    V1(V1),
    /// None: groups only say which threads are whose.
    V2(V2),
}

/// What is found on the host.
#[derive(Debug)]
pub struct Ground {
    /// The mode, and why.
    pub mode: Mode,
    /// `None`: nothing can be written, or there is nothing to write to yet.
    pub hierarchy: Option<Hierarchy>,
    /// The kubelet's group of pods. `None`: it isn't there yet.
    pub pods: Option<PodsGroup>,
    /// Its path from the mount.
    pub pods_group: Option<String>,
    smallest: RuntimeMicros,
    isolated_domains: bool,
    /// The kernel's own limit and its period, as they were last.
    limit: Mutex<Option<(i64, u64)>>,
}

fn has_pods(host: &Host, mount: &str, group: &PodsGroup) -> bool {
    CLASSES.iter().any(|qos| {
        let class = group.class(*qos);
        let names = host.list(&format!("{mount}{class}")).unwrap_or_default();
        names
            .iter()
            .any(|name| group::locate(&format!("{class}/{name}")).is_some())
    })
}

impl Ground {
    /// Looks. `pods_group`: a person's word of where the kubelet's group is.
    pub async fn look(host: &Host, settings: &Settings, pods_group: Option<&str>) -> Self {
        let facts = look::facts(host, settings.enabled, settings.setting, settings.hcbs_gate).await;
        let mode = modes::mode(&facts);
        let mounts = Mounts::read(host).unwrap_or_default();
        let hierarchy = match (mode.mode, &mounts.v1_cpu, &mounts.v2) {
            // Also on a kernel without budgets for groups: those of version 1 say who is who as well.
            (BudgetMode::V1Budget | BudgetMode::V2Policy, Some(mount), _) => {
                V1::open(host, mount).map(Hierarchy::V1).ok()
            }
            (BudgetMode::V2Policy, _, Some(mount)) => V2::open(host, mount).map(Hierarchy::V2).ok(),
            _ => None,
        };
        let rules = look::rules(host);
        let pods = if let Some(group) = pods_group {
            PodsGroup::parse(group)
        } else {
            // What a kubelet that was given another cgroupRoot or driver has left has no pods any more.
            let mut found = look::pods_groups(host, &mounts);
            let mount = mounts.v1_cpu.as_ref().or(mounts.v2.as_ref());
            let live =
                mount.and_then(|mount| found.iter().position(|group| has_pods(host, mount, group)));
            let first = live.unwrap_or(0);
            (first < found.len()).then(|| found.swap_remove(first))
        };
        Self {
            mode,
            hierarchy,
            pods_group: pods.as_ref().map(PodsGroup::path),
            pods,
            smallest: rules.smallest,
            isolated_domains: rules.isolated_domains,
            limit: Mutex::default(),
        }
    }

    /// Whether there is something to work on.
    pub fn is_firm(&self) -> bool {
        self.hierarchy.is_some() && self.pods_group.is_some()
    }

    /// Whether another look may find what there is to work on.
    pub fn wants_more(&self) -> bool {
        matches!(self.mode.mode, BudgetMode::V1Budget | BudgetMode::V2Policy) && !self.is_firm()
    }

    /// Whether the kernel keeps budgets.
    pub fn has_budgets(&self) -> bool {
        self.mode.mode == BudgetMode::V1Budget
    }

    /// The hierarchy's mount on the host.
    pub fn mount(&self) -> Option<&str> {
        match self.hierarchy.as_ref()? {
            Hierarchy::V1(v1) => Some(v1.mount()),
            Hierarchy::V2(v2) => Some(v2.mount()),
        }
    }

    /// The rules for pods.
    pub fn rules(&self, settings: &Settings, cache: &Cache) -> NodeRules {
        self.rules_with(settings, cache.allowed.clone())
    }

    /// The rules for pods of one namespace: of the others it isn't told whether they may ask.
    pub fn rules_in(&self, namespace: &str, settings: &Settings, cache: &Cache) -> NodeRules {
        let one =
            |allowed: &BTreeSet<String>| allowed.get(namespace).cloned().into_iter().collect();
        self.rules_with(settings, cache.allowed.as_ref().map(one))
    }

    fn rules_with(&self, settings: &Settings, namespaces: Option<BTreeSet<String>>) -> NodeRules {
        NodeRules {
            mode: self.mode.mode,
            smallest: self.smallest,
            largest: settings.largest,
            isolated_domains: self.isolated_domains,
            namespaces,
        }
    }

    /// The limits, as the kernel has them now.
    pub fn limits(&self, host: &Host, settings: &Settings) -> Limits {
        let number = |path| {
            host.read(path)
                .ok()
                .and_then(|text| text.trim().parse().ok())
        };
        let period: Option<i64> = number(SYSCTL_PERIOD);
        let limit = (
            // Unreadable is nothing: no budget is given on a guess.
            number(SYSCTL_RUNTIME).unwrap_or(0),
            period
                .and_then(|period| u64::try_from(period).ok())
                .unwrap_or(PERIOD_US),
        );
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner) = Some(limit);
        self.limits_of(limit, settings)
    }

    /// The limits as they were when the whole tree was looked at last, for a start that waits: the kernel judges what is
    /// written in any case, and the whole tree is looked at again right after.
    pub fn last_limits(&self, host: &Host, settings: &Settings) -> Limits {
        let last = *self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        match last {
            Some(limit) => self.limits_of(limit, settings),
            None => self.limits(host, settings),
        }
    }

    fn limits_of(&self, (runtime_us, period_us): (i64, u64), settings: &Settings) -> Limits {
        Limits {
            sysctl_runtime_us: runtime_us,
            sysctl_period_us: period_us,
            reserve_us: settings.reserve_us,
            capacity_us: settings.capacity_us,
            pods_group: self.pods_group.clone().unwrap_or_default(),
            room_to_die_us: u64::from(self.smallest.get()),
        }
    }

    /// The tree; where the kernel keeps no budgets, the groups alone.
    pub fn read(&self, scope: Scope<'_>) -> Result<Tree, CgroupError> {
        let (Some(hierarchy), Some(pods_group)) = (&self.hierarchy, &self.pods_group) else {
            return Ok(Tree::default());
        };
        let below = match hierarchy {
            Hierarchy::V1(v1) if self.has_budgets() => return v1.read(pods_group, scope),
            Hierarchy::V1(v1) => v1.groups(pods_group, scope)?,
            Hierarchy::V2(v2) => v2.groups(pods_group, scope)?,
        };
        let mut tree = Tree::default();
        for group in below {
            let none = Group {
                runtime_us: 0,
                period_us: PERIOD_US,
                realtime_tasks: false,
            };
            tree.groups.insert(group, none);
        }
        Ok(tree)
    }

    /// The processes directly in a group.
    pub fn processes(&self, group: &str) -> Vec<i32> {
        match &self.hierarchy {
            Some(Hierarchy::V1(v1)) => v1.processes(group),
            Some(Hierarchy::V2(v2)) => v2.processes(group),
            None => return Vec::new(),
        }
        .unwrap_or_default()
    }

    /// A container's group, where the runtime has named no process of it: the first that is there of those that it can
    /// have.
    pub fn group_of_container(&self, pod: &Pod, id: &ContainerId) -> Option<String> {
        const RUNTIMES: [Runtime; 3] = [Runtime::Crio, Runtime::Containerd, Runtime::Docker];
        let pods = self.pods.as_ref()?;
        let uid = pod.directory.as_ref()?;
        let candidates = RUNTIMES.iter().flat_map(|runtime| {
            CLASSES
                .iter()
                .filter(|qos| pod.qos.is_none_or(|own| own == **qos))
                .flat_map(|qos| pods.container(*qos, uid, *runtime, id))
        });
        let is_there = |group: &String| match &self.hierarchy {
            Some(Hierarchy::V1(v1)) if self.has_budgets() => {
                v1.runtime(group).is_ok_and(|has| has.is_some())
            }
            Some(Hierarchy::V1(v1)) => v1.processes(group).is_ok_and(|found| !found.is_empty()),
            Some(Hierarchy::V2(v2)) => v2.processes(group).is_ok_and(|found| !found.is_empty()),
            None => false,
        };
        candidates.into_iter().find(is_there)
    }

    /// When a group was made, as a number that grows: the kernel counts up the inodes of groups (kernfs, `idr_alloc_cyclic`,
    /// with the generation above it). Zero: it is gone.
    pub fn made(&self, group: &str) -> u64 {
        match &self.hierarchy {
            Some(Hierarchy::V1(v1)) => v1.made(group),
            Some(Hierarchy::V2(v2)) => v2.made(group),
            None => 0,
        }
    }

    /// A process's group from the mount.
    pub fn group_of(&self, pid: u32) -> Option<String> {
        let pid = i32::try_from(pid).ok()?;
        match self.hierarchy.as_ref()? {
            Hierarchy::V1(v1) => v1.group_of(pid),
            Hierarchy::V2(v2) => v2.group_of(pid),
        }
        .ok()
        .flatten()
    }
}
