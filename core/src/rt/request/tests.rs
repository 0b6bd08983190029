//! The contract's table, row by row, and every bad shape.

use proptest::prelude::*;

use super::*;

fn pod(annotations: &[(&str, &str)]) -> Pod {
    let container = |name: &str, kind| Container {
        name: name.to_owned(),
        kind,
        resource: None,
    };
    Pod {
        annotations: annotations
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
            .collect(),
        containers: vec![
            container("prepare", ContainerKind::Init),
            container("main", ContainerKind::Regular),
            container("helper", ContainerKind::Regular),
            container("debug", ContainerKind::Ephemeral),
        ],
    }
}

fn rules() -> Rules {
    Rules {
        smallest: RuntimeMicros::new(1_000).unwrap(),
        largest: RuntimeMicros::new(500_000).unwrap(),
        namespace_allowed: true,
        isolated_domains: false,
    }
}

fn shown(pod: &Pod) -> String {
    match read(pod, &rules()) {
        Ok(requests) => requests
            .iter()
            .map(|request| {
                let budget = request
                    .runtime
                    .map_or("-".to_owned(), |runtime| runtime.to_string());
                let policy = request
                    .scheduling
                    .map_or(String::new(), |policy| format!(" {policy}"));
                format!("{} {budget}{policy}", request.container)
            })
            .collect::<Vec<_>>()
            .join(", "),
        Err(refused) => format!("refused {}", refused.problems.len()),
    }
}

#[test]
fn each_row_of_the_contract() {
    let cases: [(&[(&str, &str)], &str); 13] = [
        (&[], ""),
        (&[("realtime", "false"), ("rt_runtime_us", "nonsense")], ""),
        (
            &[("realtime", "true"), ("rt_runtime_us", "25000")],
            "main 25000",
        ),
        (
            &[(RUNTIME_US, "2000")],
            "prepare 2000, main 2000, helper 2000",
        ),
        (
            &[
                (RUNTIME_US, "2000"),
                ("realtime.openshift.io/runtime-us.main", "3000"),
            ],
            "prepare 2000, main 3000, helper 2000",
        ),
        (
            &[("realtime.openshift.io/runtime-us.debug", "3000")],
            "debug 3000",
        ),
        (
            &[("realtime.openshift.io/scheduler.main", "fifo:50")],
            "main - fifo:50",
        ),
        (
            &[
                (SCHEDULER, "rr:1"),
                ("realtime.openshift.io/scheduler.helper", "other"),
            ],
            "prepare - rr:1, main - rr:1, helper - other",
        ),
        (&[("realtime", "true")], "refused 1"),
        (&[("rt_runtime_us", "25000")], "refused 1"),
        (
            &[
                ("realtime", "yes"),
                (RUNTIME_US, "010"),
                (SCHEDULER, "fifo:100"),
            ],
            "refused 3",
        ),
        (
            &[
                ("realtime.openshift.io/runtime-us.nobody", "2000"),
                (SCHEDULER, "fifo:05"),
            ],
            "refused 2",
        ),
        (
            &[
                ("realtime", "true"),
                ("rt_runtime_us", "2000"),
                ("realtime.openshift.io/runtime-us.main", "3000"),
            ],
            "refused 1",
        ),
    ];
    for (annotations, expected) in cases {
        assert_eq!(shown(&pod(annotations)), expected, "{annotations:?}");
    }
}

#[test]
fn budgets_have_bounds_and_namespaces_a_say() {
    for (text, good) in [
        ("999", false),
        ("1000", true),
        ("500000", true),
        ("500001", false),
        ("0", false),
    ] {
        assert_eq!(
            read(&pod(&[(RUNTIME_US, text)]), &rules()).is_ok(),
            good,
            "{text}"
        );
    }
    let asking = pod(&[(RUNTIME_US, "2000")]);
    assert!(
        read(
            &asking,
            &Rules {
                namespace_allowed: false,
                ..rules()
            }
        )
        .is_err()
    );
    assert!(
        read(
            &pod(&[]),
            &Rules {
                namespace_allowed: false,
                ..rules()
            }
        )
        .is_ok()
    );
    assert!(
        read(
            &asking,
            &Rules {
                isolated_domains: true,
                ..rules()
            }
        )
        .is_err()
    );
}

#[test]
fn the_resource_must_be_the_budget() {
    let mut asking = pod(&[("realtime.openshift.io/runtime-us.main", "2000")]);
    for (resource, good) in [
        ("2k", true),
        ("2000", true),
        ("2001", false),
        ("1999500m", false),
        ("x", false),
        ("", false),
    ] {
        asking.containers[1].resource = Some(resource.to_owned());
        assert_eq!(read(&asking, &rules()).is_ok(), good, "{resource}");
    }
    asking.containers[1].resource = None;
    asking.containers[2].resource = Some("2000".to_owned());
    assert_eq!(read(&asking, &rules()).unwrap_err().problems.len(), 2);
}

#[test]
fn a_flood_of_mistakes_is_told_in_part() {
    let mut asking = pod(&[]);
    for number in 0..1_000 {
        asking.annotations.insert(
            format!("{RUNTIME_US}.{number}{}", "x".repeat(500)),
            "9".repeat(9_999),
        );
    }
    let refused = read(&asking, &rules()).unwrap_err();
    assert_eq!(refused.problems.len() + refused.more, 1_000);
    assert!(refused.to_string().len() < 32 * 500);
}

proptest! {
    #[test]
    fn whatever_it_reads_is_within_the_rules(
        entries in proptest::collection::btree_map(
            prop_oneof![
                proptest::sample::select(vec!["realtime", "rt_runtime_us", RUNTIME_US, SCHEDULER,
                    "realtime.openshift.io/runtime-us.main", "realtime.openshift.io/scheduler.debug"]).prop_map(str::to_owned),
                "realtime.openshift.io/runtime-us\\..{0,5}",
            ],
            prop_oneof!["true", "[0-9]{1,7}", "fifo:[0-9]{1,3}", ".{0,6}"], 0..6),
    ) {
        let asking = Pod { annotations: entries, ..pod(&[]) };
        match read(&asking, &rules()) {
            Ok(requests) => for request in requests {
                prop_assert!(request.runtime.is_none_or(|runtime| (1_000..=500_000).contains(&runtime.get())));
                prop_assert!(request.runtime.is_some() || request.scheduling.is_some());
            },
            Err(refused) => {
                prop_assert!(!refused.problems.is_empty());
                prop_assert!(refused.problems.iter().all(|problem| !problem.remedy.is_empty()));
            }
        }
    }
}

#[test]
fn options_follow_a_policy_in_their_order() {
    for text in [
        "fifo:50",
        "fifo:50,reset-on-fork",
        "rr:1,rttime-us=200000",
        "rr:1,reset-on-fork,rttime-us=1000",
    ] {
        let pod = pod(&[("realtime.openshift.io/scheduler.main", text)]);
        let requests = read(&pod, &rules()).unwrap_or_else(|refused| panic!("{text}: {refused}"));
        assert_eq!(requests[0].scheduling.unwrap().to_string(), text);
    }
    for text in [
        "other,reset-on-fork",
        "fifo:50,",
        "fifo:50,reset-on-fork,",
        "fifo:50,rttime-us=1,reset-on-fork",
        "fifo:50,rttime-us=999",
        "fifo:50,rttime-us=0200000",
        "fifo:50,rttime-us=60000001",
        "fifo:50,rttime-us=+5000",
        "fifo:50, reset-on-fork",
        "fifo:50,reset-on-forks",
    ] {
        assert!(
            read(
                &pod(&[("realtime.openshift.io/scheduler.main", text)]),
                &rules()
            )
            .is_err(),
            "{text}"
        );
    }
}

#[test]
fn a_word_that_starting_without_is_no_good_asks_for_nothing() {
    let only = pod(&[("realtime.openshift.io/required", "true")]);
    assert_eq!(read(&only, &rules()), Ok(Vec::new()));
    assert!(!asks(&only.annotations) && required(&only.annotations));
    assert!(
        read(
            &pod(&[
                ("realtime", "true"),
                ("rt_runtime_us", "25000"),
                ("realtime.openshift.io/required", "yes")
            ]),
            &rules()
        )
        .is_err()
    );
}
