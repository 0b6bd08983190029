//! What holds for every profile, whatever it says. Single outputs are golden stories in `core/tests/render`.

pub(super) mod arbitrary;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::kernel_arguments::{Repeat, computed, key, repeat};
use super::*;
use crate::facts::Architecture;
use crate::names;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_same_profile_gives_the_same_bytes(profile in arbitrary::profile()) {
        let first = render(&profile);
        let second = render(&profile.clone());
        prop_assert_eq!(to_yaml(&first), to_yaml(&second));
        prop_assert_eq!(first, second);
    }

    #[test]
    fn no_argument_holds_a_line_break_or_stands_twice(profile in arbitrary::profile()) {
        let arguments = kernel_arguments(&profile);
        let mut texts = BTreeSet::new();
        let mut single = BTreeSet::new();
        for argument in &arguments {
            prop_assert!(!argument.is_empty());
            prop_assert!(!argument.chars().any(char::is_control), "{argument:?}");
            if repeat(argument) != Repeat::Positional {
                prop_assert!(texts.insert(argument.clone()), "{argument} twice");
            }
            if repeat(argument) == Repeat::Once {
                prop_assert!(single.insert(key(argument)), "{argument} has two values");
            }
        }
    }

    #[test]
    fn arguments_come_from_the_profile_and_not_from_offlined_cpus(profile in arbitrary::profile()) {
        let mut without = profile.clone();
        if let Some(cpus) = &mut without.cpus {
            cpus.offlined = crate::cpu_set::CpuSet::default();
        }
        prop_assert_eq!(kernel_arguments(&profile), kernel_arguments(&without));
    }

    #[test]
    fn other_architectures_get_no_argument_of_x86(profile in arbitrary::profile()) {
        let mut profile = profile;
        profile.hardware.architecture = Architecture::Arm64;
        for argument in computed(&profile) {
            let key = key(&argument);
            prop_assert!(
                !["tsc", "intel_iommu", "iommu", "mce", "nmi_watchdog", "intel_pstate", "amd_pstate", "processor.max_cstate",
                  "intel_idle.max_cstate", "idle"].contains(&key.as_str()),
                "{argument}"
            );
        }
    }

    #[test]
    fn every_ignition_config_is_read_back(profile in arbitrary::profile()) {
        if let Some(config) = render(&profile).machine_config.and_then(|object| object.spec.config) {
            let (parsed, warnings) = ignition_config::Config::parse_str(&config.to_string()).unwrap();
            prop_assert!(warnings.is_empty());
            let ignition_config::Config::V3_2(parsed) = parsed else { return Err(TestCaseError::fail("not 3.2.0")) };
            prop_assert!(config.get("kernelArguments").is_none());
            let mut paths = BTreeSet::new();
            for file in parsed.storage.and_then(|storage| storage.files).unwrap_or_default() {
                prop_assert!(paths.insert(file.path.clone()), "{} twice", file.path);
            }
            for unit in parsed.systemd.and_then(|systemd| systemd.units).unwrap_or_default() {
                prop_assert!(paths.insert(unit.name.clone()), "{} twice", unit.name);
            }
        }
    }

    #[test]
    fn no_section_is_injected_and_no_command_line_set(profile in arbitrary::profile()) {
        let Some(tuned) = render(&profile).tuned else { return Ok(()) };
        let mut section = String::new();
        let mut sections = BTreeSet::new();
        for line in tuned.spec.profile[0].data.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
                let user = profile.tuned_sections.keys().any(|key| key.contains(&section) || section.contains("evil"));
                prop_assert!(sections.insert(section.clone()) || user, "[{section}] twice");
            } else if section == "bootloader" && !line.is_empty() {
                prop_assert_eq!(line, "enabled=false");
            }
        }
    }

    #[test]
    fn all_but_a_foreign_pool_is_ours_and_says_so(profile in arbitrary::profile()) {
        let rendered = render(&profile);
        for object in rendered.objects() {
            let foreign = object["kind"] == "MachineConfigPool" && !profile.pool.ours;
            prop_assert_eq!(object["metadata"]["labels"].get(names::LABEL_PROFILE).is_none(), foreign);
            prop_assert_eq!(object["metadata"]["annotations"].get(names::ANNOTATION_CONTENT_HASH).is_none(), foreign);
            if object["kind"] == "MachineConfigPool" {
                prop_assert!(object["spec"].get("paused").is_none());
            }
        }
        prop_assert_eq!(rendered.content_hash.len(), 16);
    }

    #[test]
    fn without_machine_configs_the_rest_stands_alone(profile in arbitrary::profile()) {
        let mut profile = profile;
        profile.served.machine_configs = false;
        let rendered = render(&profile);
        let kinds: Vec<_> = rendered.objects().iter().map(|object| object["kind"].clone()).collect();
        prop_assert_eq!(kinds, if profile.served.tuned { vec![json!("Tuned")] } else { vec![] });
        let arguments = rendered.node_spec.kernel.map(|kernel| kernel.arguments);
        prop_assert_eq!(arguments, Some(kernel_arguments(&profile)));
    }

    #[test]
    fn a_kubelet_with_a_static_cpu_manager_has_a_reservation(profile in arbitrary::profile()) {
        let Some(config) = render(&profile).kubelet_config.and_then(|object| object.spec.kubelet_config) else { return Ok(()) };
        if config["cpuManagerPolicy"] == "static" {
            prop_assert!(
                config.get("reservedSystemCPUs").is_some()
                    || config["systemReserved"].get("cpu").is_some()
                    || config["kubeReserved"].get("cpu").is_some()
                    || profile.kubelet_overrides.contains_key("systemReserved")
            );
        }
    }
}
