//! Every sort of host, and its mode.

use super::*;
use proptest::prelude::*;

fn facts() -> ModeFacts {
    ModeFacts {
        enabled: true,
        sysctl_runtime_us: Some(950_000),
        ..ModeFacts::default()
    }
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "it reads as the field that it fills"
)]
fn v1(has_runtime_file: bool) -> Option<V1Cpu> {
    Some(V1Cpu {
        mount: "/sys/fs/cgroup/cpu,cpuacct".to_owned(),
        has_runtime_file,
    })
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table of hosts")]
fn each_host_has_its_mode() {
    let cases = [
        (
            ModeFacts {
                v1_cpu: v1(true),
                ..facts()
            },
            BudgetMode::V1Budget,
        ),
        (
            ModeFacts {
                v1_cpu: v1(true),
                probe: Probe::Refused(1),
                ..facts()
            },
            BudgetMode::V1Budget,
        ),
        (
            ModeFacts {
                v1_cpu: v1(true),
                sysctl_runtime_us: Some(0),
                ..facts()
            },
            BudgetMode::Blocked,
        ),
        (
            ModeFacts {
                v1_cpu: v1(true),
                sysctl_runtime_us: Some(-1),
                ..facts()
            },
            BudgetMode::V1Budget,
        ),
        // v1 with RT_GROUP_SCHED off: nothing stands in the way of policy.
        (
            ModeFacts {
                v1_cpu: v1(false),
                probe: Probe::BecameFifo,
                ..facts()
            },
            BudgetMode::V2Policy,
        ),
        (
            ModeFacts {
                probe: Probe::BecameFifo,
                ..facts()
            },
            BudgetMode::V2Policy,
        ),
        (
            ModeFacts {
                probe: Probe::Refused(1),
                ..facts()
            },
            BudgetMode::Blocked,
        ),
        (
            ModeFacts {
                probe: Probe::Refused(38),
                ..facts()
            },
            BudgetMode::Blocked,
        ),
        (facts(), BudgetMode::Blocked),
        (
            ModeFacts {
                enabled: false,
                v1_cpu: v1(true),
                ..facts()
            },
            BudgetMode::Off,
        ),
        (
            ModeFacts {
                setting: ModeSetting::Noop,
                v1_cpu: v1(true),
                ..facts()
            },
            BudgetMode::Off,
        ),
        (
            ModeFacts {
                setting: ModeSetting::CgroupV1,
                probe: Probe::BecameFifo,
                ..facts()
            },
            BudgetMode::Blocked,
        ),
        (
            ModeFacts {
                setting: ModeSetting::CgroupV1,
                v1_cpu: v1(false),
                ..facts()
            },
            BudgetMode::Blocked,
        ),
        (
            ModeFacts {
                setting: ModeSetting::CgroupV2,
                v1_cpu: v1(true),
                probe: Probe::Refused(1),
                ..facts()
            },
            BudgetMode::Blocked,
        ),
    ];
    for (facts, expected) in cases {
        let decided = mode(&facts);
        assert_eq!(decided.mode, expected, "{facts:?}");
        let needs_remedy = expected == BudgetMode::Blocked;
        assert!(!needs_remedy || decided.remedy.is_some(), "{decided:?}");
    }
}

#[test]
fn the_unmerged_budgets_change_no_mode_and_are_told() {
    let rt_max = Some(RtMax {
        file: "/sys/fs/cgroup/kubepods.slice/cpu.rt.max".to_owned(),
        value: Some("max 0".to_owned()),
    });
    let unreadable = rt_max.clone().map(|rt_max| RtMax {
        value: None,
        ..rt_max
    });
    for (v2_rt_max, hcbs_gate, words) in [
        (
            &rt_max,
            true,
            "; /sys/fs/cgroup/kubepods.slice/cpu.rt.max, which isn't merged into Linux, has \"max 0\"; its gate V2Hcbs \
             is open, and this version writes no budget to it",
        ),
        (&unreadable, true, "has nothing that can be read"),
        (
            &rt_max,
            false,
            "; /sys/fs/cgroup/kubepods.slice/cpu.rt.max is there, which isn't merged into Linux, and its gate V2Hcbs is \
             closed",
        ),
        (
            &None,
            true,
            "; the gate V2Hcbs is open, and no group has cpu.rt.max",
        ),
        (&None, false, "EPERM"),
    ] {
        for (probe, expected) in [
            (Probe::Refused(1), BudgetMode::Blocked),
            (Probe::BecameFifo, BudgetMode::V2Policy),
        ] {
            let facts = ModeFacts {
                v2_rt_max: v2_rt_max.clone(),
                hcbs_gate,
                probe,
                ..facts()
            };
            let decided = mode(&facts);
            assert_eq!(decided.mode, expected);
            let told = decided.evidence.contains(words);
            assert!(told || words == "EPERM", "{decided:?}");
            let silent = !decided.evidence.contains(HCBS_GATE);
            assert_eq!(silent, words == "EPERM", "{decided:?}");
        }
    }
}

#[test]
fn a_probe_is_made_only_where_it_decides() {
    let with = |setting, v1_cpu| ModeFacts {
        setting,
        v1_cpu,
        ..facts()
    };
    for (facts, expected) in [
        (with(ModeSetting::Auto, None), true),
        (with(ModeSetting::Auto, v1(false)), true),
        (with(ModeSetting::Auto, v1(true)), false),
        (with(ModeSetting::CgroupV2, v1(true)), true),
        (with(ModeSetting::CgroupV1, None), false),
        (with(ModeSetting::Noop, None), false),
    ] {
        assert_eq!(needs_probe(&facts), expected, "{facts:?}");
        // Where it isn't, it changes nothing.
        let modes = [Probe::NotTried, Probe::BecameFifo, Probe::Refused(1)].map(|probe| {
            let facts = ModeFacts {
                probe,
                ..facts.clone()
            };
            mode(&facts).mode
        });
        assert!(
            expected || modes.iter().all(|mode| *mode == modes[0]),
            "{facts:?}"
        );
    }
    let off = ModeFacts {
        enabled: false,
        ..facts()
    };
    assert!(!needs_probe(&off));
}

proptest! {
    #[test]
    fn only_known_settings_are_read(text in ".*") {
        let known = ["auto", "noop", "cgroup_v1", "cgroup_v2"].contains(&text.as_str());
        prop_assert_eq!(ModeSetting::parse(&text).is_ok(), known);
    }
}
