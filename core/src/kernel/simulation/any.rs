//! Any input at all, sensible or not: an answer, the same one each time, and never one that disturbs out of turn.

use proptest::prelude::*;
use serde_json::json;

use super::super::ostree::{Deployment, Status};
use super::super::record::{Attempt, CommandFailure, Failure, Intent, Staged};
use super::super::*;
use crate::api::realtime_node::NodeTurn;
use crate::api::realtime_profile::PackageSource;
use crate::conditions::reason;

const WORDS: [&str; 12] = [
    "",
    "kernel",
    "kernel-core",
    "kernel-rt-core",
    "kernel-rt-core-5.14.0-427.24.1.el9_4.x86_64",
    "kernel-rt-modules",
    "5.14.0-427.24.1.el9_4.x86_64",
    "5.14.0-427.24.1.el9_4.x86_64+rt",
    "/boot/vmlinuz-5.14.0-427.24.1.el9_4.x86_64+rt",
    "isolcpus=2-3 \"quoted -- hugepagesz=1G hugepages=4",
    "rpm-ostree kargs --append-if-missing=isolcpus=2-3",
    "ä\u{0}-:.=",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![8 => prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,12}"]
}

fn few<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one, 0..3)
}

fn id() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a".to_owned(), "b".to_owned(), String::new()])
}

fn deployment() -> impl Strategy<Value = Deployment> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let lists = (
        few(word()),
        few(word()),
        few(word()),
        few(word()),
        few(word()),
    );
    (
        id(),
        id(),
        0..2i64,
        flags,
        proptest::option::of(id()),
        lists,
        word(),
    )
        .prop_map(
            |(name, checksum, serial, flags, base, lists, release)| Deployment {
                id: name,
                checksum,
                serial,
                osname: "os".into(),
                booted: flags.0,
                staged: flags.1,
                pinned: flags.2,
                finalization_locked: flags.3 && flags.1,
                base_checksum: base,
                layered_commit_meta: (serial == 1).then(|| json!({"ostree.linux": release})),
                requested_packages: lists.0,
                requested_local_packages: lists.1,
                packages: lists.2,
                base_removals: lists
                    .3
                    .iter()
                    .map(|name| {
                        vec![
                            json!(name),
                            json!(name),
                            json!(0),
                            json!("1"),
                            json!("2"),
                            json!("x"),
                        ]
                    })
                    .collect(),
                requested_base_removals: lists.3,
                requested_base_local_replacements: lists.4,
                ..Deployment::default()
            },
        )
}

fn nevra() -> impl Strategy<Value = Nevra> {
    (word(), word(), word()).prop_map(|(name, version, release)| Nevra {
        name,
        version,
        release,
        architecture: "x86_64".into(),
        epoch: 0,
    })
}

fn system() -> impl Strategy<Value = System> {
    let ostree = (
        few(deployment()),
        word(),
        few(nevra()),
        proptest::option::of(word()),
        proptest::option::of(0..3u64),
        any::<bool>(),
    )
        .prop_map(
            |(deployments, next_arguments, kernel_packages, finalize_failure, free, runs)| {
                System::Ostree(Box::new(OstreeView {
                    status: Status {
                        deployments,
                        transaction: runs.then(|| json!(["x"])),
                    },
                    next_arguments,
                    kernel_packages,
                    finalize_failure,
                    boot_free: free,
                    boot_needed: Some(1),
                    enabled_repositories: Vec::new(),
                }))
            },
        );
    let rpm = (
        few(nevra()),
        proptest::option::of(word()),
        few((word(), word())),
        any::<bool>(),
    )
        .prop_map(|(kernel_packages, default_kernel, entries, dnf_runs)| {
            System::Rpm(Box::new(RpmView {
                dnf_runs,
                packages: kernel_packages.clone(),
                kernel_packages,
                default_kernel,
                entries: entries
                    .into_iter()
                    .map(|(kernel, arguments)| BootEntry { kernel, arguments })
                    .collect(),
                ..RpmView::default()
            }))
        });
    prop_oneof![6 => ostree, 3 => rpm, 1 => word().prop_map(System::Other)]
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let staged = (
        id(),
        id(),
        proptest::option::of(word()),
        id(),
        any::<bool>(),
    )
        .prop_map(|(id, checksum, release, boot_id, compared)| Staged {
            id,
            checksum,
            release,
            boot_id,
            compared,
        });
    let error = (word(), word()).prop_map(|(command, stderr)| CommandFailure {
        command,
        code: Some(1),
        stderr,
    });
    let intent =
        (word(), id(), id(), any::<bool>()).prop_map(|(command, front, boot_id, done)| Intent {
            command,
            front,
            boot_id,
            done,
            ..Intent::default()
        });
    let failed = prop::sample::select(vec![reason::ROLLED_BACK, reason::BOOTED_OLD, "?"]).prop_map(
        |reason| Failure {
            reason: reason.into(),
            message: String::new(),
        },
    );
    (
        word(),
        proptest::option::of(staged),
        (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            0..4u32,
            any::<u64>(),
        ),
        proptest::option::of(error),
        proptest::option::of(intent),
        proptest::option::of(failed),
        (few(word()), few(word()), id()),
    )
        .prop_map(
            |(key, staged, flags, error, intent, failed, lists)| Attempt {
                key,
                staged,
                adopted: flags.0,
                caches_cleaned: flags.1,
                succeeded: flags.2,
                reboots: flags.3,
                failures: flags.3,
                failed_at: flags.4,
                error,
                intent,
                failed,
                dropped: lists.0,
                given_up: lists.1,
                rebooting: lists.2,
                ..Attempt::default()
            },
        )
}

fn record() -> impl Strategy<Value = Record> {
    (
        proptest::option::of(attempt()),
        few(word()),
        few(word()),
        proptest::option::of((id(), 0..2i64)),
        few(word()),
        proptest::option::of(word()),
        proptest::option::of(Just("again".to_owned())),
    )
        .prop_map(
            |(attempt, arguments, replaced_arguments, pinned, installed, stock_kernel, retried)| {
                Record {
                    attempt,
                    arguments,
                    replaced_arguments,
                    pinned,
                    replaced: installed.clone(),
                    removed: installed.clone(),
                    installed,
                    stock_kernel,
                    retried,
                }
            },
        )
}

fn node() -> impl Strategy<Value = Surroundings> {
    (
        (any::<bool>(), any::<bool>(), any::<bool>()),
        prop::sample::select(vec![
            None,
            Some(NodeTurn::Wanted),
            Some(NodeTurn::Taken),
            Some(NodeTurn::Taken),
        ]),
        prop::sample::select(vec![Cordon::No, Cordon::Ours, Cordon::Others]),
        prop_oneof![
            Just(Drain::Unknown),
            Just(Drain::Done),
            (few(word()), any::<u64>())
                .prop_map(|(pods, seconds)| Drain::Remaining { pods, seconds })
        ],
        any::<Option<bool>>(),
    )
        .prop_map(
            |((cluster, may_reboot, granted), turn, cordon, drain, settled)| Surroundings {
                cluster,
                may_reboot,
                granted,
                turn,
                cordon,
                drain,
                settled,
            },
        )
}

fn wanted() -> impl Strategy<Value = Wanted> {
    (
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
        few(word()),
        few(word()),
        proptest::option::of(word()),
    )
        .prop_map(
            |((realtime, ours, arguments_ours, files), arguments, install, retry)| {
                let mut wanted = Wanted {
                    realtime,
                    ours,
                    arguments_ours,
                    arguments,
                    retry,
                    ..Wanted::default()
                };
                wanted.packages.install = install;
                wanted.packages.source = files.then(|| PackageSource {
                    directory: Some("/x".into()),
                    ..Default::default()
                });
                wanted
            },
        )
}

fn observed() -> impl Strategy<Value = Observed> {
    let boot =
        (id(), word(), any::<bool>(), word()).prop_map(|(id, release, realtime, command_line)| {
            Boot {
                id,
                release,
                realtime,
                command_line,
            }
        });
    let offered = prop_oneof![
        Just(None),
        Just(Some(Offered::Repositories)),
        few((nevra(), word())).prop_map(|files| Some(Offered::Files(files))),
        any::<bool>().prop_map(|transient| Some(Offered::Failed {
            reason: reason::SOURCE_UNUSABLE,
            message: "x".into(),
            transient
        })),
    ];
    (boot, system(), record(), offered, node(), any::<u64>()).prop_map(
        |(boot, system, record, offered, node, now)| Observed {
            boot,
            system,
            record,
            offered,
            node,
            now,
        },
    )
}

/// The keys of attempts are hashes: half of the time the attempt is made to be that of what is wanted.
fn with_its_own_attempt(wanted: &Wanted, mut observed: Observed) -> Observed {
    for _ in 0..4 {
        if let Step::Save(record) = next(wanted, &observed).step
            && let (Some(new), Some(old)) = (record.attempt, observed.record.attempt.as_mut())
        {
            old.key = new.key;
        } else {
            break;
        }
    }
    observed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn there_is_an_answer_to_anything(wanted in wanted(), observed in observed(), own in any::<bool>()) {
        let observed = if own { with_its_own_attempt(&wanted, observed) } else { observed };
        let decided = next(&wanted, &observed);
        prop_assert_eq!(&decided, &next(&wanted, &observed));
        prop_assert_eq!(decided.conditions.len(), 2);
        let node = &observed.node;
        if let System::Rpm(view) = &observed.system && view.dnf_runs && wanted.ours {
            prop_assert!(matches!(decided.step, Step::Wait { .. }), "{:?} while dnf is at work", decided.step);
        }
        let taken = !node.cluster || node.turn == Some(NodeTurn::Taken);
        match &decided.step {
            Step::Cordon | Step::Drain => prop_assert!(taken && node.cluster && wanted.ours),
            Step::Reboot => {
                prop_assert!(taken && wanted.ours);
                let ready = if node.cluster { node.cordon == Cordon::Ours && node.drain == Drain::Done } else { node.may_reboot };
                prop_assert!(ready, "a reboot of a node that is not drained");
            }
            Step::TakeTurn => prop_assert!(node.granted && node.turn == Some(NodeTurn::Wanted)),
            Step::WantTurn => prop_assert!(node.cluster && node.turn.is_none() && wanted.ours),
            Step::ReturnTurn => prop_assert!(node.turn.is_some() && node.cordon != Cordon::Ours),
            Step::Uncordon => prop_assert_eq!(node.cordon, Cordon::Ours),
            Step::Run(command) => {
                prop_assert!(wanted.ours, "{command:?} where it is not ours");
                let line = command.line();
                let stages = ["rpm-ostree kargs", "rpm-ostree override", "rpm-ostree install", "rpm-ostree uninstall", "dnf -y install"];
                prop_assert!(taken || !stages.iter().any(|verb| line.starts_with(verb)), "{line} out of turn");
                prop_assert!(!line.contains(" -q") && !line.contains("--reboot"));
            }
            Step::Rest | Step::Wait { .. } | Step::Prepare | Step::Save(_) => {}
        }
        // A node that rests as Degraded holds nothing.
        if decided.step == Step::Rest && decided.phase == crate::api::realtime_node::NodePhase::Degraded && node.cluster {
            prop_assert!(node.turn.is_none() && node.cordon != Cordon::Ours);
        }
    }
}
