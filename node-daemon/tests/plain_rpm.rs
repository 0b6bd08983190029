//! A host with dnf and grubby: the real dnf, rpm and createrepo_c on an install root with tiny packages that are named as
//! the real kernels. Only grubby is a stand-in, and the machine, which boots the entry that is the default.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, tells its story in one piece, and its server has an arm for each answer"
)]

mod rpms;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use realtime_core::api::realtime_node::NodePhase;
use realtime_core::api::realtime_profile::{PackageSource, PackagesSpec};
use realtime_core::conditions::reason;
use realtime_core::kernel::{
    self, Boot, Command, Next, Observed, Offered, Record, RpmView, Step, Surroundings, System,
    Wanted,
};
use realtime_node_daemon::host::Host;
use realtime_node_daemon::{sources, system};
use realtime_testing::grubby_standin;

use rpms::Package;

const PROGRAMS: [&str; 4] = [
    "/usr/bin/dnf",
    "/usr/bin/rpm",
    "/usr/bin/rpmbuild",
    "/usr/bin/createrepo_c",
];
const OLD: &str = "427.13.1.el9_4";
const NEW: &str = "427.24.1.el9_4";
/// A switch takes about fifteen steps.
const STEPS: usize = 120;

/// A host, its repository, and what its daemon would hold.
struct Node {
    folder: tempfile::TempDir,
    host: Host,
    wanted: Wanted,
    record: Record,
    offered: Option<Offered>,
    now: u64,
    boots: u32,
    steps: Vec<Step>,
}

impl Node {
    /// With the stock kernel installed and running.
    fn new() -> Option<Self> {
        if !rpms::programs_are_there(&PROGRAMS) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let (root, commands) = (folder.path().join("root"), folder.path().join("commands"));
        fs::create_dir(&commands).unwrap();
        for path in [
            "boot/loader/entries",
            "boot/grub2",
            "etc/yum.repos.d",
            "etc/dnf",
            "proc/sys/kernel/random",
            "sys/kernel",
        ] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::write(root.join("etc/dnf/dnf.conf"), "[main]\ngpgcheck=0\n").unwrap();
        rpms::script(&commands, "rpm", rpms::RPM_SCRIPT);
        rpms::script(&commands, "dnf", rpms::DNF_SCRIPT);
        symlink(grubby(), commands.join("grubby")).unwrap();
        let mut node = Self {
            host: Host::new(root, Some(commands)),
            folder,
            wanted: Wanted {
                realtime: true,
                ours: true,
                arguments_ours: true,
                ..Wanted::default()
            },
            record: Record::default(),
            offered: None,
            now: 1_000_000,
            boots: 0,
            steps: Vec::new(),
        };
        let stock = Node::kernel("kernel", OLD, "", &node.folder.path().join("stock"));
        node.dnf_as_admin(
            &[
                &["-y", "install"][..],
                &stock.iter().map(String::as_str).collect::<Vec<_>>(),
            ]
            .concat(),
        );
        node.publish("rt", &[OLD]);
        node.boot();
        node.boots = 0;
        Some(node)
    }

    /// The packages of one kernel, into a folder; their paths.
    fn kernel(name: &str, release: &str, suffix: &str, folder: &Path) -> Vec<String> {
        let uname = format!("5.14.0-{release}.x86_64{suffix}");
        let provides = [
            format!("Provides: kernel-uname-r = {uname}"),
            "Provides: installonlypkg(kernel)".to_owned(),
        ];
        let provides: Vec<&str> = provides.iter().map(String::as_str).collect();
        let requires = [
            format!("Requires: kernel-uname-r = {uname}"),
            "Provides: installonlypkg(kernel-module)".to_owned(),
        ];
        let requires: Vec<&str> = requires.iter().map(String::as_str).collect();
        let mut paths = Vec::new();
        for part in ["core", "modules", "modules-core", "modules-extra"] {
            let name = format!("{name}-{part}");
            let mut package = Package::new(&name, "5.14.0", release);
            package.tags = if part == "core" { &provides } else { &requires };
            package.kernel = (part == "core").then_some(uname.as_str());
            paths.push(package.build(folder).display().to_string());
        }
        paths
    }

    /// A repository with the real-time kernels of these releases.
    fn publish(&self, id: &str, releases: &[&str]) {
        let repository = self.repository();
        for release in releases {
            Node::kernel("kernel-rt", release, "+rt", &repository);
        }
        let made = Process::new("/usr/bin/createrepo_c")
            .args(["--quiet", "--update"])
            .arg(&repository)
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let text = format!(
            "[{id}]\nname={id}\nbaseurl=file://{}\nenabled=1\n",
            repository.display()
        );
        self.host
            .write_atomically(&format!("/etc/yum.repos.d/{id}.repo"), text.as_bytes())
            .unwrap();
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// What an administrator does with dnf, packages of this machine's folders among it.
    fn dnf_as_admin(&self, arguments: &[&str]) {
        let root = self.host.root();
        let output = Process::new("/usr/bin/dnf")
            .arg(format!("--installroot={}", root.display()))
            .arg(format!(
                "--setopt=reposdir={}",
                root.join("etc/yum.repos.d").display()
            ))
            .args(["--releasever=9", "--forcearch=x86_64"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn grubby(&self, words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let printed = grubby_standin::run(self.host.root(), &words);
        assert_eq!(printed.code, 0, "{printed:?}");
        printed.stdout
    }

    /// The machine: the default entry's kernel with its arguments.
    fn boot(&mut self) {
        self.boots += 1;
        let kernel = self.grubby(&["--default-kernel"]);
        let release = kernel
            .trim()
            .strip_prefix("/boot/vmlinuz-")
            .unwrap()
            .to_owned();
        assert!(self.host.exists(kernel.trim()), "{kernel} is not there");
        let info = self.grubby(&[&format!("--info={}", kernel.trim())]);
        let value = |key: &str| {
            let line = info
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{key}=\"")))
                .unwrap();
            line.trim_end_matches('"').to_owned()
        };
        let line = format!(
            "BOOT_IMAGE=(hd0,gpt2)/vmlinuz-{release} root={} {}\n",
            value("root"),
            value("args")
        );
        let realtime = release.ends_with("+rt");
        let root = self.host.root();
        fs::write(
            root.join("proc/sys/kernel/osrelease"),
            format!("{release}\n"),
        )
        .unwrap();
        fs::write(root.join("proc/cmdline"), line).unwrap();
        fs::write(
            root.join("proc/sys/kernel/random/boot_id"),
            format!("boot-{}\n", self.boots),
        )
        .unwrap();
        fs::write(
            root.join("sys/kernel/realtime"),
            if realtime { "1\n" } else { "0\n" },
        )
        .unwrap();
    }

    async fn observe(&self) -> Observed {
        let line = |path: &str| self.host.read(path).unwrap().trim().to_owned();
        Observed {
            boot: Boot {
                id: line("/proc/sys/kernel/random/boot_id"),
                release: line("/proc/sys/kernel/osrelease"),
                realtime: line("/sys/kernel/realtime") == "1",
                command_line: line("/proc/cmdline"),
            },
            system: system::observe_system(&self.host).await.unwrap(),
            record: self.record.clone(),
            offered: self.offered.clone(),
            node: Surroundings {
                may_reboot: true,
                ..Surroundings::default()
            },
            now: self.now,
        }
    }

    async fn view(&self) -> RpmView {
        match self.observe().await.system {
            System::Rpm(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    /// Step by step until nothing is left to do, or until it waits for so many seconds.
    async fn settle(&mut self) -> Next {
        self.offered = None;
        self.steps.clear();
        let mut waited = 0;
        for _ in 0..STEPS {
            let next = kernel::next(&self.wanted, &self.observe().await);
            self.steps.push(next.step.clone());
            match &next.step {
                Step::Rest => return next,
                Step::Wait { .. } if waited > 3600 => return next,
                Step::Wait { seconds } => {
                    waited += u64::from(*seconds);
                    self.now += u64::from(*seconds);
                    if matches!(
                        self.offered,
                        Some(Offered::Failed {
                            transient: true,
                            ..
                        })
                    ) {
                        self.offered = None;
                    }
                }
                Step::Prepare => {
                    self.offered = Some(sources::prepare(&self.host, &self.wanted).await);
                }
                Step::Save(record) => self.record = (**record).clone(),
                Step::Run(command) => {
                    let failure = system::run_command(&self.host, command).await.err();
                    self.record.note(command, failure, self.now);
                }
                Step::Reboot => {
                    // A daemon of the new boot knows only what is on the host.
                    self.boot();
                    self.offered = None;
                }
                other => panic!("without a cluster: {other:?}"),
            }
        }
        panic!("no end: {:#?}", self.steps);
    }

    /// What is in the way, as conditions say it.
    fn words(next: &Next) -> String {
        let lines = next
            .conditions
            .iter()
            .map(|condition| format!("{}: {}", condition.reason, condition.message));
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn grubby() -> PathBuf {
    let daemon = PathBuf::from(env!("CARGO_BIN_EXE_realtime-node-daemon"));
    let grubby = daemon.with_file_name("grubby-standin");
    assert!(
        grubby.is_file(),
        "{} is not built: cargo build --workspace --bins",
        grubby.display()
    );
    grubby
}

fn names(view: &RpmView) -> Vec<String> {
    view.kernel_packages
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// True on a RHEL host, then false, then false again; the enhancement's cases for hosts without ostree.
#[tokio::test]
async fn to_the_realtime_kernel_and_back_by_a_repository() {
    let Some(mut node) = Node::new() else { return };
    // False on a stock host: nothing happens.
    node.wanted.realtime = false;
    assert_eq!(node.settle().await.phase, NodePhase::Ready);
    assert_eq!(node.steps, [Step::Rest]);
    assert!(!node.host.exists("/dnf.log"));

    node.wanted.realtime = true;
    node.wanted.arguments = ["isolcpus=2-3", "nohz_full=2-3", "skew_tick=1"]
        .map(str::to_owned)
        .to_vec();
    let source = PackageSource {
        repositories: Some(vec!["rt".into()]),
        ..PackageSource::default()
    };
    node.wanted.packages = PackagesSpec {
        source: Some(source),
        ..PackagesSpec::default()
    };
    let next = node.settle().await;
    assert_eq!(
        next.phase,
        NodePhase::Ready,
        "{}{:#?}",
        Node::words(&next),
        node.steps
    );
    assert_eq!(node.boots, 1, "{:#?}", node.steps);
    let view = node.view().await;
    let realtime = format!("/boot/vmlinuz-5.14.0-{OLD}.x86_64+rt");
    let stock = format!("/boot/vmlinuz-5.14.0-{OLD}.x86_64");
    assert_eq!(view.default_kernel.as_deref(), Some(realtime.as_str()));
    for name in [
        "kernel-core",
        "kernel-rt-core",
        "kernel-rt-modules",
        "kernel-rt-modules-extra",
    ] {
        assert!(
            names(&view).contains(&format!("{name}-5.14.0-{OLD}.x86_64")),
            "{name}: {:?}",
            names(&view)
        );
    }
    assert!(view.boot_free.is_some() && view.boot_needed.is_some());
    assert_eq!(view.enabled_repositories, ["rt"]);
    // The arguments are on the new kernel's entry alone.
    let arguments = |kernel: &str| {
        view.entries
            .iter()
            .find(|entry| entry.kernel == kernel)
            .unwrap()
            .arguments
            .clone()
    };
    assert_eq!(
        arguments(&realtime),
        "ro quiet isolcpus=2-3 nohz_full=2-3 skew_tick=1"
    );
    assert_eq!(arguments(&stock), "ro quiet");

    // Nothing more to do: no command that changes anything.
    let commands = fs::read_to_string(node.host.path("/dnf.log")).unwrap();
    assert_eq!(node.settle().await.phase, NodePhase::Ready);
    assert!(
        !node.steps.iter().any(|step| matches!(step, Step::Run(_))),
        "{:?}",
        node.steps
    );
    assert_eq!(
        fs::read_to_string(node.host.path("/dnf.log")).unwrap(),
        commands
    );
    assert_eq!(node.boots, 1);

    // Another argument: one more boot, the kernel stays.
    node.wanted.arguments = ["isolcpus=2-7", "nohz_full=2-3"]
        .map(str::to_owned)
        .to_vec();
    let next = node.settle().await;
    assert_eq!(
        (next.phase, node.boots),
        (NodePhase::Ready, 2),
        "{}",
        Node::words(&next)
    );
    assert_eq!(
        node.view().await.entries[0].arguments,
        "ro quiet nohz_full=2-3 isolcpus=2-7"
    );

    // Back.
    node.wanted = Wanted {
        ours: true,
        arguments_ours: true,
        ..Wanted::default()
    };
    let next = node.settle().await;
    assert_eq!(
        (next.phase, node.boots),
        (NodePhase::Ready, 3),
        "{}{:#?}",
        Node::words(&next),
        node.steps
    );
    let view = node.view().await;
    assert_eq!(view.default_kernel.as_deref(), Some(stock.as_str()));
    assert_eq!(
        node.host.read("/proc/cmdline").unwrap(),
        format!("BOOT_IMAGE=(hd0,gpt2)/vmlinuz-5.14.0-{OLD}.x86_64 root=UUID=0 ro quiet\n")
    );
    assert_eq!(node.settle().await.phase, NodePhase::Ready);
    assert_eq!(node.boots, 3);
}

/// To a newer kernel-rt out of a directory: installed beside the older one, booted once.
#[tokio::test]
async fn to_a_newer_kernel_out_of_a_directory() {
    let Some(mut node) = Node::new() else { return };
    let directory = "/var/mnt/rpms";
    Node::kernel("kernel-rt", OLD, "+rt", &node.host.path(directory));
    let source = PackageSource {
        directory: Some(directory.into()),
        ..PackageSource::default()
    };
    node.wanted.packages = PackagesSpec {
        source: Some(source),
        ..PackagesSpec::default()
    };
    let next = node.settle().await;
    assert_eq!(
        (next.phase, node.boots),
        (NodePhase::Ready, 1),
        "{}{:#?}",
        Node::words(&next),
        node.steps
    );
    // An update of the operating system brings a stock kernel, which becomes the default, and the same kernel-rt.
    let stock = Node::kernel("kernel", NEW, "", &node.folder.path().join("stock"));
    node.dnf_as_admin(
        &[
            &["-y", "install"][..],
            &stock.iter().map(String::as_str).collect::<Vec<_>>(),
        ]
        .concat(),
    );
    node.grubby(&[
        "--set-default",
        &format!("/boot/vmlinuz-5.14.0-{NEW}.x86_64"),
    ]);
    fs::remove_dir_all(node.host.path(directory)).unwrap();
    Node::kernel("kernel-rt", NEW, "+rt", &node.host.path(directory));
    node.wanted.retry = Some("1".into());
    let next = node.settle().await;
    assert_eq!(
        next.phase,
        NodePhase::Ready,
        "{}{:#?}",
        Node::words(&next),
        node.steps
    );
    assert_eq!(node.boots, 2);
    assert_eq!(
        node.host.read("/proc/sys/kernel/osrelease").unwrap().trim(),
        format!("5.14.0-{NEW}.x86_64+rt")
    );
}

/// What the real dnf says when it can't, and what the node's conditions then say.
#[tokio::test]
async fn what_can_go_wrong_is_said() {
    let Some(mut node) = Node::new() else { return };
    let stock = node.host.read("/proc/sys/kernel/osrelease").unwrap();
    // No such package.
    node.wanted.packages.install = vec!["kernel-rt-core".into(), "kernel-rt-none".into()];
    let next = node.settle().await;
    assert_eq!(
        next.phase,
        NodePhase::Degraded,
        "{}{:#?}",
        Node::words(&next),
        node.steps
    );
    let words = Node::words(&next);
    assert!(
        words.contains(reason::PACKAGES_NOT_FOUND) && words.contains("kernel-rt-none"),
        "{words}"
    );
    // The repository is gone.
    fs::rename(node.repository(), node.folder.path().join("away")).unwrap();
    node.host.remove("/var/cache/dnf").ok();
    node.wanted.packages.install = vec!["kernel-rt-core".into()];
    fs::remove_dir_all(node.host.path("/var/cache/dnf")).unwrap();
    let next = node.settle().await;
    let words = Node::words(&next);
    assert_ne!(next.phase, NodePhase::Ready, "{words}");
    assert!(
        words.contains("repository") || words.contains("repo"),
        "{words}"
    );
    // Whatever went wrong, the stock kernel runs and is the default, and nothing rebooted.
    assert_eq!(node.boots, 0);
    assert_eq!(
        node.grubby(&["--default-kernel"]).trim(),
        format!("/boot/vmlinuz-{}", stock.trim())
    );
    // It comes back: an administrator asks for another try.
    fs::rename(node.folder.path().join("away"), node.repository()).unwrap();
    node.wanted.packages.install.clear();
    node.wanted.retry = Some("again".into());
    let next = node.settle().await;
    assert_eq!(
        (next.phase, node.boots),
        (NodePhase::Ready, 1),
        "{}{:#?}",
        Node::words(&next),
        node.steps
    );
}

/// Where systemd runs the host, dnf is a unit of its own that outlives the daemon, and an earlier one is waited for.
#[tokio::test]
async fn dnf_is_a_unit_of_its_own_where_systemd_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (root, commands) = (folder.path().join("root"), folder.path().join("commands"));
    fs::create_dir_all(root.join("run/systemd/system")).unwrap();
    fs::create_dir(&commands).unwrap();
    // Of a dnf before.
    fs::write(
        root.join("run/realtime-node-daemon-dnf.stderr"),
        "Error: something else\n",
    )
    .unwrap();
    rpms::script(
        &commands,
        "systemd-run",
        "echo \"systemd-run $*\" >> \"$REALTIME_HOST_ROOT/log\"; echo gone >> \"$REALTIME_HOST_ROOT/run/realtime-node-daemon-dnf.stderr\"; exit 4",
    );
    // Active twice, then no more.
    rpms::script(
        &commands,
        "systemctl",
        "echo \"systemctl $*\" >> \"$REALTIME_HOST_ROOT/log\"; case $(grep -c systemctl \"$REALTIME_HOST_ROOT/log\") in 1) echo active ;; 2) echo deactivating ;; *) echo inactive ;; esac",
    );
    let host = Host::new(root, Some(commands));
    let command = Command::Dnf(vec!["-y".into(), "install".into(), "kernel-rt-core".into()]);
    let failure = system::run_command(&host, &command).await.unwrap_err();
    assert_eq!(
        (
            failure.command.as_str(),
            failure.code,
            failure.stderr.as_str()
        ),
        ("dnf -y install kernel-rt-core", Some(4), "gone")
    );
    let log = host.read("/log").unwrap();
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(
        lines[..3],
        ["systemctl show --property=ActiveState --value realtime-node-daemon-dnf.service"; 3]
    );
    assert_eq!(
        lines[3],
        "systemd-run --quiet --wait --collect --unit=realtime-node-daemon-dnf.service \
         --property=RuntimeMaxSec=2700 \
         --property=StandardError=file:/run/realtime-node-daemon-dnf.stderr --setenv=LC_ALL=C.UTF-8 dnf -y install kernel-rt-core"
    );
    assert_eq!(lines.len(), 4);
}

/// A daemon that is started anew while its dnf goes on: the new kernel's packages and entry are there, and its initramfs
/// is not.
#[tokio::test]
async fn nothing_is_booted_before_the_dnf_of_an_earlier_daemon_has_ended() {
    let Some(mut node) = Node::new() else { return };
    let commands = node.folder.path().join("commands");
    fs::create_dir_all(node.host.path("/run/systemd/system")).unwrap();
    rpms::script(
        &commands,
        "systemd-run",
        // The stand-in beside it, never this machine's own.
        "while [ \"$1\" != dnf ]; do shift; done; exec \"${0%/*}/$@\"",
    );
    rpms::script(
        &commands,
        "systemctl",
        "cat \"$REALTIME_HOST_ROOT/dnf-state\"",
    );
    let state = |state: &str| fs::write(node.host.path("/dnf-state"), state).unwrap();
    state("inactive\n");
    // Up to dnf, of whose end this daemon does not hear.
    let mut steps = 0;
    loop {
        steps += 1;
        assert!(steps < STEPS, "no dnf");
        let next = kernel::next(&node.wanted, &node.observe().await);
        match next.step {
            Step::Prepare => {
                node.offered = Some(sources::prepare(&node.host, &node.wanted).await);
            }
            Step::Save(record) => node.record = *record,
            Step::Run(command @ Command::Dnf(_)) => {
                let failure = system::run_command(&node.host, &command).await.err();
                if failure.is_none() {
                    break;
                }
                node.record.note(&command, failure, node.now);
            }
            other => panic!("{other:?}"),
        }
    }
    state("active\n");
    assert_eq!(node.view().await.entries.len(), 2);
    let next = kernel::next(&node.wanted, &node.observe().await);
    assert_eq!(
        (&next.step, next.conditions[0].reason),
        (&Step::Wait { seconds: 10 }, reason::TRANSACTION_RUNNING),
        "{}",
        Node::words(&next)
    );
    state("inactive\n");
    let next = node.settle().await;
    assert_eq!(
        (next.phase, node.boots),
        (NodePhase::Ready, 1),
        "{}{:#?}",
        Node::words(&next),
        node.steps
    );
}

/// Going back removes what came with the real-time kernel, and not what was there before it.
#[tokio::test]
async fn packages_of_the_admin_stay() {
    let Some(mut node) = Node::new() else { return };
    for name in ["tuned-profiles-realtime", "rt-tests"] {
        Package::new(name, "1", "1").build(&node.repository());
    }
    node.publish("rt", &[OLD]);
    node.dnf_as_admin(&["-y", "install", "tuned-profiles-realtime"]);
    node.wanted.packages.install = [
        "kernel-rt-core",
        "kernel-rt-modules",
        "tuned-profiles-realtime",
        "rt-tests",
    ]
    .map(str::to_owned)
    .to_vec();
    let next = node.settle().await;
    assert_eq!(
        (next.phase, node.boots),
        (NodePhase::Ready, 1),
        "{}{:#?}",
        Node::words(&next),
        node.steps
    );
    let there = |view: &RpmView, name: &str| view.packages.iter().any(|other| other.name == name);
    assert!(there(&node.view().await, "rt-tests"));
    node.wanted = Wanted {
        ours: true,
        arguments_ours: true,
        ..Wanted::default()
    };
    let next = node.settle().await;
    assert_eq!(
        (next.phase, node.boots),
        (NodePhase::Ready, 2),
        "{}{:#?}",
        Node::words(&next),
        node.steps
    );
    let view = node.view().await;
    assert!(there(&view, "tuned-profiles-realtime"));
    assert!(!there(&view, "rt-tests") && !there(&view, "kernel-rt-core"));
}

#[tokio::test]
async fn a_host_without_any_of_it_can_still_be_verified() {
    let folder = tempfile::tempdir().unwrap();
    let (root, commands) = (folder.path().join("root"), folder.path().join("commands"));
    fs::create_dir_all(root.join("run")).unwrap();
    fs::create_dir(&commands).unwrap();
    rpms::script(&commands, "rpm", "exit 1");
    let host = Host::new(&root, Some(commands));
    match system::observe_system(&host).await.unwrap() {
        System::Other(why) => assert_eq!(
            why,
            "the host was not booted by ostree, and it has no dnf, no grubby"
        ),
        other => panic!("{other:?}"),
    }
    fs::write(root.join("run/ostree-booted"), "").unwrap();
    match system::observe_system(&host).await.unwrap() {
        System::Other(why) => assert!(why.contains("no rpm-ostree"), "{why}"),
        other => panic!("{other:?}"),
    }
}
