//! The traps that were found when the real rpm-ostree was run, one test each, by their numbers: the daemon walks past
//! it. It trusts the deployments that result and never an exit code or a text; it finds damaged and stale caches and
//! repairs them once; it never builds on the wrong deployment.

mod support;

use realtime_testing::rpm_ostree_standin::{
    Fault, OriginKind, Profile, Reboot, Step, Times, Version,
};
use serde_json::{Value, json};
use support::standalone::{Cut, End, Standalone};

/// A folder with packages, on the host.
const PACKAGES: &str = "/var/lib/realtime/rpms";
/// Of the measured base and of the packages for it.
const RELEASE: &str = "5.14.0-284.11.1.rt14.296.el9_2";
/// What the daemon says of a deployment that boots next and isn't its own.
const FOREIGN: &str = "was not made by this daemon";
const SWAP: [&str; 12] = [
    "override",
    "remove",
    "kernel",
    "kernel-core",
    "kernel-modules",
    "kernel-modules-core",
    "kernel-modules-extra",
    "--install=kernel-rt-core",
    "--install=kernel-rt-modules",
    "--install=kernel-rt-modules-extra",
    "--install=kernel-rt-modules-core",
    "--install=kernel-rt-kvm",
];

fn measured() -> Profile {
    Profile::measured(Version::V2024_7, OriginKind::Container)
}

fn by_name() -> Value {
    json!({"realtime": true})
}

fn by_file() -> Value {
    json!({"realtime": true, "packages": {"source": {"directory": PACKAGES}}})
}

fn stock() -> Value {
    json!({"realtime": false})
}

fn put_files(host: &Standalone) {
    let nevras = ["core", "modules", "modules-core", "modules-extra"]
        .map(|part| format!("kernel-rt-{part}-{RELEASE}.x86_64"));
    host.put_packages(PACKAGES, &nevras.each_ref().map(String::as_str));
}

/// Lets the daemon run, and asks for this end.
fn ready(host: &Standalone, realtime: bool, reboots: u32) -> End {
    let end = host.settle();
    assert_eq!(end.phase, "Ready", "{}", host.log());
    assert_eq!(host.host.kernel().is_realtime(), realtime, "{}", host.log());
    assert_eq!(host.host.counts().reboots, reboots, "{}", host.log());
    assert!(
        host.state().deployments.iter().all(|one| !one.pinned),
        "{}",
        host.log()
    );
    end
}

/// Command lines of the daemon that hold this, in their order: each is begun by a line of the log.
fn commands(host: &Standalone, text: &str) -> Vec<String> {
    host.log()
        .lines()
        .filter(|line| line.contains("state=\"begin\"") || line.contains("state=begin"))
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect()
}

/// Of the deployment that runs: names of what is asked for beyond the base, by name, by file and as removals.
fn requests(host: &Standalone) -> (usize, usize, usize) {
    let state = host.state();
    let booted = &state.deployments[state.booted().expect("a booted deployment")];
    (
        booted.origin.requested.len(),
        booted.origin.requested_local.len(),
        booted.origin.removals.len(),
    )
}

#[test]
fn trap_1_what_is_there_is_not_asked_for_again() {
    let host = Standalone::new(&measured());
    let output = host
        .host
        .standin()
        .foreign_stage(&SWAP)
        .expect("rpm-ostree");
    assert_eq!(output.code, 0, "{output:?}");
    host.want(by_name());
    ready(&host, true, 1);
    assert!(
        !host.log().contains("is already requested"),
        "{}",
        host.log()
    );
}

#[test]
fn trap_2_the_way_back_leaves_no_removal_behind() {
    let host = Standalone::new(&measured());
    host.want(by_name());
    ready(&host, true, 1);
    host.want(stock());
    ready(&host, false, 2);
    assert_eq!(requests(&host), (0, 0, 0));
}

#[test]
fn trap_2_an_incomplete_reset_of_somebody_else_is_not_taken_for_the_stock_kernel() {
    let host = Standalone::new(&measured());
    host.want(by_name());
    ready(&host, true, 1);
    let asked: Vec<String> = {
        let state = host.state();
        let booted = &state.deployments[state.booted().expect("booted")];
        booted
            .origin
            .requested
            .iter()
            .map(|name| format!("--uninstall={name}"))
            .collect()
    };
    let mut reset = vec![
        "override",
        "reset",
        "kernel",
        "kernel-core",
        "kernel-modules",
        "kernel-modules-core",
    ];
    reset.extend(asked.iter().map(String::as_str));
    let output = host
        .host
        .standin()
        .foreign_stage(&reset)
        .expect("rpm-ostree");
    assert_eq!(output.code, 0, "{output:?}");
    // Somebody else's is neither built upon nor taken away: the node waits for a person, who boots it here.
    host.want(stock());
    host.settle_waiting(FOREIGN);
    host.host.reboot(&Reboot::orderly()).expect("a boot");
    assert!(!host.host.kernel().is_realtime());
    assert_eq!(requests(&host).2, 1);
    let end = host.settle();
    assert_eq!(end.phase, "Ready", "{}", host.log());
    assert!(!host.host.kernel().is_realtime());
    assert_eq!(requests(&host), (0, 0, 0), "{}", host.log());
}

#[test]
fn trap_3_exactly_what_was_asked_for_is_uninstalled_by_name_and_by_file() {
    for by_files in [false, true] {
        let host = Standalone::new(&measured());
        put_files(&host);
        host.want(if by_files { by_file() } else { by_name() });
        ready(&host, true, 1);
        host.want(stock());
        ready(&host, false, 2);
        assert_eq!(requests(&host), (0, 0, 0));
        assert_eq!(commands(&host, "override reset").len(), 1, "{}", host.log());
    }
}

#[test]
fn trap_4_the_real_time_kernel_has_its_modules() {
    let host = Standalone::new(&measured());
    host.want(by_name());
    ready(&host, true, 1);
    let state = host.state();
    let booted = &state.deployments[state.booted().expect("booted")];
    for name in [
        "kernel-rt-core",
        "kernel-rt-modules",
        "kernel-rt-modules-core",
    ] {
        assert!(
            booted.packages.iter().any(|one| one.name == name),
            "{name} is missing"
        );
    }
}

#[test]
fn trap_4_a_staged_kernel_without_its_modules_is_not_booted() {
    let host = Standalone::new(&measured());
    let mut incomplete = SWAP[..8].to_vec();
    incomplete.dedup();
    let output = host
        .host
        .standin()
        .foreign_stage(&incomplete)
        .expect("rpm-ostree");
    assert_eq!(output.code, 0, "{output:?}");
    host.want(by_name());
    host.settle_waiting(FOREIGN);
    assert_eq!(host.host.counts().reboots, 0, "{}", host.log());
    host.host
        .standin()
        .foreign_stage(&["cleanup", "-p"])
        .expect("rpm-ostree");
    ready(&host, true, 1);
    let state = host.state();
    let booted = &state.deployments[state.booted().expect("booted")];
    assert!(
        booted
            .packages
            .iter()
            .any(|one| one.name == "kernel-rt-modules")
    );
}

#[test]
fn trap_5_a_damaged_cache_is_thrown_away_once() {
    let host = Standalone::new(&measured());
    host.host
        .standin()
        .fault(Fault::DaemonDies(Step::Download), Times::Next(1))
        .expect("a fault");
    host.want(by_name());
    ready(&host, true, 1);
    assert_eq!(commands(&host, "cleanup -m").len(), 1, "{}", host.log());
}

#[test]
fn trap_6_stale_metadata_are_thrown_away_once() {
    let profile = measured();
    let host = Standalone::new(&profile);
    let url = &profile.repositories[0].1;
    let packages = profile.web[url].packages.clone();
    let standin = host.host.standin();
    standin
        .publish_repository(url, Vec::new())
        .expect("published");
    // Somebody asks, and the metadata are kept.
    standin.foreign_stage(&["refresh-md"]).expect("rpm-ostree");
    standin
        .foreign_stage(&["install", "nothing-of-that-name"])
        .expect("rpm-ostree");
    standin
        .publish_repository(url, packages)
        .expect("published");
    host.want(by_name());
    ready(&host, true, 1);
    assert_eq!(commands(&host, "cleanup -m").len(), 1, "{}", host.log());
}

#[test]
fn trap_7_a_failed_finalization_leaves_no_half_a_kernel_in_boot() {
    let host = Standalone::new(&measured());
    host.host
        .standin()
        .fault(
            Fault::FinalizeFails(
                "Installing kernel: regfile copy: No space left on device".to_owned(),
            ),
            Times::Next(1),
        )
        .expect("a fault");
    host.want(by_name());
    let end = host.settle();
    let state = host.state();
    assert!(
        state
            .boot_directories
            .values()
            .all(|size| *size == state.space.kernel),
        "{:?}\n{}",
        state.boot_directories,
        host.log()
    );
    assert!(state.deployments.iter().all(|one| !one.pinned));
    if end.phase == "Degraded" {
        assert!(!host.host.kernel().is_realtime());
        assert_eq!(host.host.counts().reboots, 1);
        // Whoever reads it learns what systemd's log of the boot before said.
        let record = host.record();
        let failed = record.attempt.and_then(|one| one.failed).expect("a reason");
        assert!(failed.message.contains("No space left"), "{failed:?}");
    } else {
        assert_eq!(host.host.counts().reboots, 2);
    }
}

#[test]
fn trap_8_a_deployment_that_only_has_the_old_name_is_not_taken_for_ours() {
    let first = Standalone::new(&measured());
    first.want(by_name());
    let (_, lines) = first.copy().interrupt(usize::MAX, Cut::Daemon);
    // Right before the reboot, with everything staged.
    let reboot = lines
        .iter()
        .find(|(_, line)| line.contains("step=Reboot"))
        .map(|(after, _)| *after)
        .expect("a reboot");
    let host = first;
    host.interrupt(reboot, Cut::Daemon);
    let staged = |host: &Standalone| host.state().deployments[0].clone();
    let ours = staged(&host);
    assert!(ours.staged);
    let standin = host.host.standin();
    standin
        .foreign_stage(&["cleanup", "-p"])
        .expect("rpm-ostree");
    standin
        .foreign_stage(&["kargs", "--append=theirs=1"])
        .expect("rpm-ostree");
    assert!(staged(&host).staged);
    host.settle_waiting(FOREIGN);
    assert_eq!(host.host.counts().reboots, 0, "{}", host.log());
    host.host.reboot(&Reboot::orderly()).expect("a boot");
    // What was staged for this boot is not what booted: told, and not tried again behind the back of whoever did it.
    let end = host.settle();
    assert_eq!(end.phase, "Degraded", "{}", host.log());
    assert!(end_is_lost(&host), "{}", host.log());
    assert!(host.host.kernel().command_line.contains("theirs=1"));
    assert!(!host.host.kernel().is_realtime());
    assert!(host.state().deployments.iter().all(|one| !one.pinned));
    // Their boot; none of ours.
    assert_eq!(host.host.counts().reboots, 1, "{}", host.log());
}

fn end_is_lost(host: &Standalone) -> bool {
    let failed = host.record().attempt.and_then(|one| one.failed);
    failed.is_some_and(|failed| failed.message.contains("is gone"))
}

#[test]
fn trap_9_an_older_entry_that_was_booted_by_hand_is_built_upon() {
    let host = Standalone::new(&measured());
    host.want(by_name());
    ready(&host, true, 1);
    host.want(stock());
    ready(&host, false, 2);
    // A person picks the older entry in the boot loader's menu: the list is [stock, real-time (booted)].
    host.host
        .reboot(&Reboot {
            fallback: true,
            ..Reboot::orderly()
        })
        .expect("a boot");
    assert!(host.host.kernel().is_realtime());
    host.want(json!({"realtime": true, "arguments": ["skew_tick=1"]}));
    let end = host.settle();
    assert_eq!(end.phase, "Ready", "{}", host.log());
    let kernel = host.host.kernel();
    assert!(kernel.is_realtime(), "{}", host.log());
    assert!(kernel.command_line.contains("skew_tick=1"), "{kernel:?}");
    // By hand once, and by the daemon once.
    assert_eq!(host.host.counts().reboots, 4, "{}", host.log());
}

#[test]
fn trap_10_rpm_ostree_is_never_asked_to_reboot() {
    let host = Standalone::new(&measured());
    host.want(by_name());
    ready(&host, true, 1);
    for line in commands(&host, "rpm-ostree") {
        assert!(
            !line.contains(" -r ")
                && !line.contains(" --reboot")
                && !line.contains("finalize-deployment"),
            "{line}"
        );
    }
}

#[test]
fn trap_11_an_older_rpm_ostree_understands_every_option() {
    for kind in [OriginKind::Ostree, OriginKind::Container] {
        let host = Standalone::new(&Profile::measured(Version::V2023_2, kind));
        host.want(json!({"realtime": true, "arguments": ["skew_tick=1"]}));
        ready(&host, true, 1);
        host.want(stock());
        ready(&host, false, 2);
        assert!(!host.log().contains("Unknown option"), "{}", host.log());
    }
}

#[test]
fn trap_12_what_was_staged_although_the_command_failed_is_used() {
    let host = Standalone::new(&measured());
    host.host
        .standin()
        .fault(Fault::DaemonDies(Step::Staged), Times::Next(1))
        .expect("a fault");
    host.want(by_name());
    ready(&host, true, 1);
    assert_eq!(
        commands(&host, "override remove").len(),
        1,
        "{}",
        host.log()
    );
}

#[test]
fn trap_13_arguments_come_before_the_swap_and_after_the_reset() {
    let host = Standalone::new(&measured());
    host.want(json!({"realtime": true, "arguments": ["skew_tick=1"]}));
    ready(&host, true, 1);
    host.want(stock());
    ready(&host, false, 2);
    let order: Vec<&str> = commands(&host, "rpm-ostree")
        .iter()
        .filter_map(|line| {
            ["kargs", "override remove", "override reset"]
                .into_iter()
                .find(|word| line.contains(word))
        })
        .collect();
    assert_eq!(
        order,
        ["kargs", "override remove", "override reset", "kargs"],
        "{}",
        host.log()
    );
    assert!(!host.host.kernel().command_line.contains("skew_tick"));
}
