//! Which packages are chosen.

use super::*;
use crate::api::realtime_profile::PackageSource;

fn nevra(text: &str) -> Nevra {
    Nevra::parse(text).unwrap()
}

fn file(text: &str) -> (Nevra, String) {
    (nevra(text), format!("/cache/{text}.rpm"))
}

fn from_directory() -> Wanted {
    Wanted {
        realtime: true,
        packages: PackagesSpec {
            source: Some(PackageSource {
                directory: Some("/rpms".into()),
                ..Default::default()
            }),
            ..Default::default()
        },
        ..Default::default()
    }
}

fn names_of(chosen: &Chosen) -> Vec<String> {
    chosen
        .install
        .iter()
        .map(|choice| choice.word.clone())
        .collect()
}

#[test]
fn by_name_by_release() {
    let chosen = |stock: &str| {
        names_of(
            &choose(
                &Wanted::default(),
                &Offered::Repositories,
                &[],
                Some(&nevra(stock)),
            )
            .unwrap(),
        )
    };
    assert_eq!(
        chosen("kernel-core-5.14.0-427.24.1.el9_4.x86_64"),
        [
            "kernel-rt-core",
            "kernel-rt-modules",
            "kernel-rt-modules-extra",
            "kernel-rt-kvm"
        ]
    );
    assert_eq!(
        chosen("kernel-core-6.12.0-55.el10_0.x86_64"),
        [
            "kernel-rt-core",
            "kernel-rt-modules",
            "kernel-rt-modules-extra"
        ]
    );
}

#[test]
fn files_of_one_version_that_is_the_bases() {
    let files = Offered::Files(
        [
            "kernel-rt-core-5.14.0-284.25.1.rt14.310.el9_2.x86_64",
            "kernel-rt-modules-5.14.0-284.25.1.rt14.310.el9_2.x86_64",
            "kernel-rt-core-5.14.0-284.11.1.rt14.296.el9_2.x86_64",
            "kernel-rt-modules-core-5.14.0-284.11.1.rt14.296.el9_2.x86_64",
            "kernel-rt-modules-5.14.0-284.11.1.rt14.296.el9_2.x86_64",
            "kernel-rt-debug-core-5.14.0-284.11.1.rt14.296.el9_2.x86_64",
            // No modules of this one: not a whole kernel.
            "kernel-rt-core-5.14.0-300.rt14.1.el9_2.x86_64",
        ]
        .map(file)
        .to_vec(),
    );
    let stock = nevra("kernel-core-5.14.0-284.11.1.el9_2.x86_64");
    let chosen = choose(&from_directory(), &files, &[], Some(&stock)).unwrap();
    let of = |name: &str| format!("/cache/{name}-5.14.0-284.11.1.rt14.296.el9_2.x86_64.rpm");
    assert_eq!(
        names_of(&chosen),
        [
            "kernel-rt-core",
            "kernel-rt-modules",
            "kernel-rt-modules-core"
        ]
        .map(of)
    );
    let other = nevra("kernel-core-5.14.0-999.el9_2.x86_64");
    let chosen = choose(&from_directory(), &files, &[], Some(&other)).unwrap();
    assert_eq!(chosen.core().unwrap().release, "284.25.1.rt14.310.el9_2");
}

#[test]
fn what_can_not_be_chosen_says_why() {
    let files = Offered::Files(vec![file("kernel-rt-core-5-1.el9.x86_64")]);
    let problem = choose(&from_directory(), &files, &[], None).unwrap_err();
    assert_eq!(problem.reason, reason::PACKAGES_NOT_FOUND);
    let mut wanted = Wanted::default();
    wanted.packages.source = Some(PackageSource {
        repositories: Some(vec!["rt".into()]),
        ..Default::default()
    });
    let problem = choose(&wanted, &Offered::Repositories, &["base".into()], None).unwrap_err();
    assert_eq!(problem.reason, reason::SOURCE_UNUSABLE);
}
