//! What the recordings don't have: the host's files, kernels that don't come up, faults, other actors, links.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use realtime_testing::rpm_ostree_standin::{
    Fault, Finalized, Output, Package, Profile, Reboot, RpmOstreeStandin, Step, Times, catalog,
};
use tempfile::TempDir;

const TO_REALTIME: &str = "override remove kernel kernel-core kernel-modules kernel-modules-core kernel-modules-extra \
                           --install kernel-rt-core --install kernel-rt-modules --install kernel-rt-modules-extra";
const REALTIME: &str = "5.14.0-284.11.1.rt14.296.el9_2.x86_64";
const STOCK: &str = "5.14.0-284.11.1.el9_2.x86_64";

struct Host {
    standin: RpmOstreeStandin,
    directory: TempDir,
}

impl Host {
    fn of(profile: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let standin =
            RpmOstreeStandin::init(directory.path(), &profile.parse::<Profile>().unwrap()).unwrap();
        Self { standin, directory }
    }

    fn run(&self, arguments: &str) -> Output {
        let argv: Vec<&str> = std::iter::once("rpm-ostree")
            .chain(arguments.split_whitespace())
            .collect();
        self.standin.run(&argv, Path::new("/")).unwrap()
    }

    fn succeeds(&self, arguments: &str) -> Output {
        let output = self.run(arguments);
        assert_eq!(output.code, 0, "{arguments}: {}", output.stderr);
        output
    }

    fn file(&self, path: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(path)).unwrap()
    }

    fn has(&self, path: &str) -> bool {
        self.directory.path().join(path).exists()
    }

    fn staged(&self) -> bool {
        self.standin
            .state()
            .unwrap()
            .deployments
            .first()
            .is_some_and(|one| one.staged)
    }
}

#[test]
fn the_hosts_files_follow_the_booted_deployment() {
    let host = Host::of("2024.7-container");
    let first = host.file("proc/sys/kernel/random/boot_id");
    assert_eq!(host.file("proc/sys/kernel/osrelease").trim(), STOCK);
    assert!(host.file("proc/cmdline").contains(" ostree=/ostree/boot."));
    assert!(host.has("run/ostree-booted") && !host.has("sys/kernel/realtime"));
    host.succeeds(TO_REALTIME);
    host.succeeds("kargs --append-if-missing=nohz_full=2-3");
    assert!(host.has("run/ostree/staged-deployment"));
    assert_eq!(host.file("proc/sys/kernel/osrelease").trim(), STOCK);
    let report = host.standin.reboot(&Reboot::orderly()).unwrap();
    assert_eq!(
        (report.finalized, report.kernel.as_str(), report.up),
        (Finalized::Done, REALTIME, true)
    );
    assert_eq!(host.file("proc/sys/kernel/osrelease").trim(), REALTIME);
    assert_eq!(host.file("sys/kernel/realtime"), "1\n");
    assert!(host.file("proc/version").contains("PREEMPT_RT"));
    assert!(
        host.file("proc/cmdline")
            .trim_end()
            .ends_with("nohz_full=2-3")
    );
    assert_ne!(host.file("proc/sys/kernel/random/boot_id"), first);
    assert!(
        host.has(&format!("usr/lib/modules/{REALTIME}"))
            && !host.has("run/ostree/staged-deployment")
    );
}

#[test]
fn a_kernel_that_does_not_come_up_hangs_or_falls_back() {
    let host = Host::of("2024.7");
    host.succeeds(TO_REALTIME);
    host.standin
        .fault(
            Fault::KernelDoesNotBoot("realtime".to_owned()),
            Times::Next(2),
        )
        .unwrap();
    let report = host.standin.reboot(&Reboot::orderly()).unwrap();
    assert!(!report.up);
    // By hand, the older entry.
    let older = Reboot {
        fallback: true,
        ..Reboot::default()
    };
    let report = host.standin.reboot(&older).unwrap();
    assert_eq!((report.up, report.kernel.as_str()), (true, STOCK));
    assert_eq!(host.standin.state().unwrap().booted(), Some(1));
    // By the boot loader.
    host.standin
        .change(|state| state.falls_back = true)
        .unwrap();
    let report = host.standin.reboot(&Reboot::orderly()).unwrap();
    assert_eq!((report.up, report.kernel.as_str()), (true, STOCK));
    // The fault is used up.
    let report = host.standin.reboot(&Reboot::orderly()).unwrap();
    assert_eq!((report.up, report.kernel.as_str()), (true, REALTIME));
}

#[test]
fn a_full_boot_partition_fails_at_the_shutdown() {
    let host = Host::of("2024.7");
    host.standin
        .change(|state| state.space.boot_other = 250 * 1024)
        .unwrap();
    host.succeeds(TO_REALTIME);
    let report = host.standin.reboot(&Reboot::orderly()).unwrap();
    assert!(
        matches!(report.finalized, Finalized::Failed(text) if text.contains("No space left on device"))
    );
    assert!(
        host.run("status")
            .stdout
            .contains("Warning: failed to finalize previous deployment")
    );
    assert_eq!(
        host.standin.state().unwrap().boot_directories.len(),
        2,
        "what was copied stays"
    );
    host.standin.reboot(&Reboot::orderly()).unwrap();
    assert_eq!(
        host.standin.state().unwrap().boot.boot_complete_failure,
        None,
        "of one boot only"
    );
    host.succeeds("cleanup -b");
    assert_eq!(host.standin.state().unwrap().boot_directories.len(), 1);
}

#[test]
fn exit_codes_do_not_say_what_is_staged() {
    let host = Host::of("2024.7-container");
    host.standin
        .fault(
            Fault::Fails {
                at: Step::Staged,
                message: "syscore cleanup: oops".to_owned(),
            },
            Times::Next(1),
        )
        .unwrap();
    assert_eq!((host.run(TO_REALTIME).code, host.staged()), (1, true));
    host.succeeds("cleanup -p");
    host.standin
        .fault(
            Fault::InactiveRemoval("kernel-modules-extra".to_owned()),
            Times::Next(1),
        )
        .unwrap();
    let output = host.run(TO_REALTIME);
    assert!(
        output
            .stdout
            .contains("Inactive base removals:\n  kernel-modules-extra"),
        "{}",
        output.stdout
    );
    assert!(output.code == 0 && host.staged());
}

#[test]
fn a_reboot_that_an_inhibitor_refuses_leaves_the_deployment() {
    let host = Host::of("2023.2");
    host.standin
        .fault(
            Fault::Inhibitor("tester".to_owned(), "holding".to_owned()),
            Times::Next(1),
        )
        .unwrap();
    let output = host.run(&format!("{TO_REALTIME} -r"));
    assert!(output.stderr.contains("Held by: tester") && output.code == 1 && host.staged());
    let output = host.run("kargs --append=x -r");
    assert_eq!(output.code, -15, "killed by the shutdown");
    assert_eq!(host.file("proc/sys/kernel/osrelease").trim(), REALTIME);
}

#[test]
fn metadata_get_stale_and_a_damaged_cache_stays_damaged() {
    let host = Host::of("2024.7");
    host.succeeds("refresh-md");
    let url = format!("{}/r1/", catalog::SERVER);
    host.standin
        .publish_repository(&url, catalog::contents("r2").packages)
        .unwrap();
    assert!(
        host.run(TO_REALTIME)
            .stderr
            .contains("Cannot download kernel-rt-"),
        "stale metadata"
    );
    host.succeeds("cleanup -m");
    host.standin
        .fault(Fault::DaemonDies(Step::Download), Times::Next(1))
        .unwrap();
    assert!(host.run(TO_REALTIME).stderr.contains("Bus owner changed"));
    for _ in 0..2 {
        assert!(
            host.run(TO_REALTIME)
                .stderr
                .contains("Unrecognized archive format")
        );
    }
    host.succeeds("cleanup -m");
    host.succeeds(TO_REALTIME);
}

#[test]
fn others_get_in_the_way() {
    let host = Host::of("2024.7-container");
    host.standin
        .foreign_transaction("upgrade", Duration::from_hours(1))
        .unwrap();
    let output = host.run(TO_REALTIME);
    assert!(
        output
            .stderr
            .contains("Code26: Transaction in progress: upgrade "),
        "{}",
        output.stderr
    );
    assert!(host.run("cancel").stdout.contains("Cancelled."));
    host.standin
        .foreign_stage(&["kargs", "--append=foreign"])
        .unwrap();
    assert!(host.staged());
    host.standin
        .fault(Fault::SysrootLocked, Times::Next(1))
        .unwrap();
    assert!(
        host.run(TO_REALTIME)
            .stderr
            .contains("System transaction in progress")
    );
    host.standin
        .change(|state| state.space.sysroot_free = 0)
        .unwrap();
    assert!(
        host.run(TO_REALTIME)
            .stderr
            .contains("min-free-space-percent '3%' would be exceeded")
    );
    host.succeeds("kargs --append=still-works");
}

#[test]
fn a_repository_may_be_a_directory_of_the_host() {
    let host = Host::of("2024.7-container");
    let directory = host.directory.path().join("var/extensions");
    std::fs::create_dir_all(&directory).unwrap();
    for package in catalog::contents("r2")
        .packages
        .iter()
        .filter(|one| one.name.starts_with("kernel-rt"))
    {
        let text = format!("stand-in package: {}\n", package.nevra());
        std::fs::write(directory.join(format!("{}.rpm", package.nevra())), text).unwrap();
    }
    let file = host
        .directory
        .path()
        .join("etc/yum.repos.d/coreos-extensions.repo");
    std::fs::write(
        file,
        "[coreos-extensions]\nbaseurl=file:///var/extensions\nmetadata_expire=1m\n",
    )
    .unwrap();
    host.succeeds(TO_REALTIME);
    let kernel = host.standin.state().unwrap().deployments[0].kernel.clone();
    assert_eq!(kernel, "5.14.0-284.25.1.rt14.310.el9_2.x86_64");
    assert!(Package::from_nevra("kernel-rt-core-5.14.0-427.24.1.el9_4.x86_64").is_some());
}

#[test]
fn links_are_the_programs() {
    let host = Host::of("2024.7-container");
    let commands = host.directory.path().join("commands");
    let executable = Path::new(env!("CARGO_BIN_EXE_rpm-ostree-standin"));
    RpmOstreeStandin::link_programs(&commands, executable).unwrap();
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(commands.join(program))
            .args(arguments)
            .env("REALTIME_HOST_ROOT", host.directory.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(output("rpm-ostree", &["--version"]).contains("Version: '2024.7'"));
    assert!(output("ostree", &["admin", "pin", "booted"]).contains("Deployment 0 is now pinned"));
    assert_eq!(
        output("rpm", &["-q", "--qf", "%{VERSION}\\n", "kernel-core"]),
        "5.14.0\n"
    );
    let machine = Command::new(executable)
        .args(["machine", "reboot", "--power-cut"])
        .env("REALTIME_HOST_ROOT", host.directory.path())
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&machine.stdout).contains("is up"),
        "{machine:?}"
    );
}
