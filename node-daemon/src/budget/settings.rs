//! What is set for pods' real-time scheduling: by the RealtimeNode's spec, else by the configuration file. Turns values
//! into values.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use realtime_core::api::realtime_node::RealtimeNodeSpec;
use realtime_core::rt::micros::RuntimeMicros;
use realtime_core::rt::modes::ModeSetting;
use realtime_core::selector;

use crate::config::Cgroup;

/// Kept free for the host below the root group, microseconds of each second, where a profile shares a node out.
const RESERVE_US: u64 = 100_000;

/// What is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Pods may have something.
    pub enabled: bool,
    /// Which hierarchy, by a person's word.
    pub setting: ModeSetting,
    /// The gate of the unmerged budgets for cgroup v2, by the configuration file in any case.
    pub hcbs_gate: bool,
    /// Microseconds of each second for all pods together.
    pub capacity_us: u64,
    /// Kept free below the root group for the host, microseconds of each second.
    pub reserve_us: u64,
    /// What one container may ask for.
    pub largest: RuntimeMicros,
    /// Namespaces whose pods may ask; `None`: all.
    pub namespaces: Option<LabelSelector>,
}

/// What is known of the settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// The cluster has not been heard yet.
    Unknown,
    /// Nobody has set anything: pods get nothing.
    Nothing,
    /// This.
    Settings(Box<Settings>),
}

impl Word {
    /// For a node, once it is known whether there is a spec.
    pub fn of(spec: Option<&RealtimeNodeSpec>, config: &Cgroup) -> Self {
        match Settings::of(spec, config) {
            Some(settings) => Self::Settings(Box::new(settings)),
            None => Self::Nothing,
        }
    }
}

impl Settings {
    /// Nobody gives anything.
    pub fn nothing(setting: ModeSetting) -> Self {
        Self {
            enabled: true,
            setting,
            hcbs_gate: false,
            capacity_us: 0,
            reserve_us: 0,
            largest: RuntimeMicros::WHOLE,
            namespaces: None,
        }
    }

    /// For a node: the profile's word, else the configuration file's, else none.
    pub fn of(spec: Option<&RealtimeNodeSpec>, config: &Cgroup) -> Option<Self> {
        let setting = config.handler;
        if let Some(spec) = spec {
            let budget = spec.pod_budget.as_ref()?;
            return Some(Self {
                enabled: true,
                setting,
                hcbs_gate: config.hcbs_gate,
                capacity_us: u64::try_from(budget.capacity_microseconds).unwrap_or(0),
                reserve_us: RESERVE_US,
                largest: micros(budget.max_per_container_microseconds)?,
                namespaces: budget
                    .namespace_selector
                    .clone()
                    .filter(|selector| !selector::is_empty(selector)),
            });
        }
        // A configuration that names a capacity has reserved for the host what it leaves.
        config.given.then(|| Self {
            enabled: true,
            setting,
            hcbs_gate: config.hcbs_gate,
            capacity_us: u64::try_from(config.v1_capacity).unwrap_or(0),
            reserve_us: 0,
            largest: micros(config.v1_capacity).unwrap_or(RuntimeMicros::WHOLE),
            namespaces: None,
        })
    }
}

fn micros(number: i64) -> Option<RuntimeMicros> {
    RuntimeMicros::new(u64::try_from(number).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use realtime_core::api::realtime_node::NodePodBudgetSpec;

    const NOTHING: Cgroup = Cgroup {
        handler: ModeSetting::Auto,
        v1_capacity: 950_000,
        given: false,
        pods_group: None,
        hcbs_gate: false,
    };

    #[test]
    fn the_profile_outweighs_the_file_and_without_both_there_is_nothing() {
        let file = Cgroup {
            handler: ModeSetting::CgroupV1,
            given: true,
            hcbs_gate: true,
            ..NOTHING.clone()
        };
        let spec = RealtimeNodeSpec {
            pod_budget: Some(NodePodBudgetSpec {
                capacity_microseconds: 800_000,
                max_per_container_microseconds: 500_000,
                namespace_selector: Some(LabelSelector::default()),
            }),
            ..RealtimeNodeSpec::default()
        };
        let by_profile = Settings::of(Some(&spec), &file).unwrap();
        assert_eq!(
            (by_profile.capacity_us, by_profile.reserve_us),
            (800_000, RESERVE_US)
        );
        assert_eq!(by_profile.setting, ModeSetting::CgroupV1);
        assert_eq!(by_profile.namespaces, None);
        assert!(by_profile.hcbs_gate);
        let by_file = Settings::of(None, &file).unwrap();
        assert_eq!((by_file.capacity_us, by_file.reserve_us), (950_000, 0));
        assert_eq!(Settings::of(None, &NOTHING), None);
        // A profile without podBudget switches it off.
        assert_eq!(
            Settings::of(Some(&RealtimeNodeSpec::default()), &file),
            None
        );
    }
}
