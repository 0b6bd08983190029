//! What is asked of rpm-ostree, with programs that answer as the real one was seen to: its words, its exit codes, and
//! what it prints where no JSON should be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod rpms;

use std::fs;
use std::path::PathBuf;

use realtime_core::kernel::{Command, OstreeView, System};
use realtime_node_daemon::host::{Host, HostError};
use realtime_node_daemon::system;

struct Node {
    folder: tempfile::TempDir,
    host: Host,
}

impl Node {
    /// An unlayered host where all is well.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (root, commands) = (folder.path().join("root"), folder.path().join("commands"));
        for path in [
            "run",
            "boot/ostree/rhcos-1",
            "boot/ostree/rhcos-2",
            "etc/yum.repos.d",
        ] {
            fs::create_dir_all(root.join(path)).unwrap();
        }
        fs::write(root.join("run/ostree-booted"), "").unwrap();
        fs::write(root.join("boot/ostree/rhcos-1/vmlinuz-1"), [0; 700]).unwrap();
        fs::write(root.join("boot/ostree/rhcos-1/initramfs-1.img"), [0; 300]).unwrap();
        fs::write(root.join("boot/ostree/rhcos-2/vmlinuz-2"), [0; 900]).unwrap();
        fs::write(
            root.join("etc/yum.repos.d/a.repo"),
            "[rt]\nenabled=1\n[off]\nenabled=0\n",
        )
        .unwrap();
        fs::create_dir(&commands).unwrap();
        let node = Self {
            host: Host::new(root, Some(commands)),
            folder,
        };
        node.answers("rpm-ostree", "case $1 in status) echo '{\"deployments\": [{\"checksum\": \"c\", \"osname\": \"rhcos\", \"booted\": true}], \"transaction\": null}' ;; kargs) echo '  ro quiet ' ;; *) echo \"client $RPMOSTREE_CLIENT_ID\" >&2; exit 1 ;; esac");
        node.answers("rpm", "printf 'kernel-core-0:5.14.0-1.el9.x86_64\\nkernel-0:5.14.0-1.el9.x86_64\\nnot a package\\n'");
        node.answers("systemctl", "echo inactive; exit 1");
        node.answers("journalctl", "exit 1");
        node
    }

    fn answers(&self, program: &str, script: &str) {
        rpms::script(&self.commands(), program, script);
    }

    fn commands(&self) -> PathBuf {
        self.folder.path().join("commands")
    }

    async fn view(&self) -> Result<OstreeView, HostError> {
        match system::observe_system(&self.host).await? {
            System::Ostree(view) => Ok(*view),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn everything_that_a_decision_needs() {
    let view = Node::new().view().await.unwrap();
    assert!(view.status.deployments[0].booted);
    assert_eq!(view.next_arguments, "ro quiet");
    let names: Vec<String> = view
        .kernel_packages
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "kernel-5.14.0-1.el9.x86_64",
            "kernel-core-5.14.0-1.el9.x86_64"
        ]
    );
    assert_eq!(view.finalize_failure, None);
    assert_eq!(view.boot_needed, Some(1000));
    assert!(view.boot_free.is_some());
    assert_eq!(view.enabled_repositories, ["rt"]);
}

/// rpm is set up for another database than the deployment's: that one is asked by its place.
#[tokio::test]
async fn the_packages_of_the_deployment() {
    let node = Node::new();
    node.answers("rpm", "[ \"$1 $2\" = '--dbpath /usr/share/rpm' ] && printf 'kernel-core-0:5.14.0-1.el9.x86_64\\n'; exit 0");
    assert!(node.view().await.unwrap().kernel_packages.is_empty());
    fs::create_dir_all(node.host.root().join("usr/share/rpm")).unwrap();
    assert_eq!(node.view().await.unwrap().kernel_packages.len(), 1);
}

/// systemctl that takes the host's root for a chroot says so, does nothing, and ends with 0.
#[tokio::test]
async fn a_reboot_that_is_ignored_is_an_error() {
    let node = Node::new();
    node.answers("systemctl", "exit 0");
    system::reboot(&node.host).await.unwrap();
    node.answers(
        "systemctl",
        "echo \"Running in chroot, ignoring command 'reboot'\" >&2",
    );
    assert!(system::reboot(&node.host).await.is_err());
}

/// rpm-ostreed does not start: systemd's words are on stdout, and even a whole JSON there would prove nothing.
#[tokio::test]
async fn what_a_failed_command_prints_is_not_read() {
    let node = Node::new();
    node.answers(
        "rpm-ostree",
        "echo '{\"deployments\": []}'; echo 'error: Loading sysroot: exit status: 1' >&2; exit 1",
    );
    match node.view().await.unwrap_err() {
        HostError::Failed {
            command,
            code: Some(1),
            stderr,
        } => {
            assert_eq!(command, "rpm-ostree status --json");
            assert_eq!(stderr, "error: Loading sysroot: exit status: 1");
        }
        other => panic!("{other:?}"),
    }
    node.answers(
        "rpm-ostree",
        "echo '* rpm-ostreed.service - rpm-ostree System Management Daemon'",
    );
    match node.view().await.unwrap_err() {
        error @ HostError::Unreadable { .. } => {
            assert!(
                error
                    .to_string()
                    .starts_with("what `rpm-ostree status --json` printed can't be used: "),
                "{error}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_finalization_that_failed_is_told_with_its_words() {
    let node = Node::new();
    node.answers(
        "systemctl",
        "[ \"$*\" = 'is-failed ostree-boot-complete.service' ] && echo failed",
    );
    // The journal can't be read: that it failed counts all the same.
    let words = node.view().await.unwrap().finalize_failure.unwrap();
    assert!(words.starts_with("the journal does not say why"), "{words}");
    node.answers(
        "journalctl",
        "echo 'Starting ostree-boot-complete.service...'; echo 'error: ostree-finalize-staged.service failed on previous boot: Installing kernel: regfile copy: No space left on device'",
    );
    assert_eq!(
        node.view().await.unwrap().finalize_failure.as_deref(),
        Some("Installing kernel: regfile copy: No space left on device")
    );
}

#[tokio::test]
async fn a_change_that_fails_gives_its_words() {
    let node = Node::new();
    let command = Command::RpmOstree(vec!["override".into(), "remove".into(), "kernel".into()]);
    let failure = system::run_command(&node.host, &command).await.unwrap_err();
    assert_eq!(failure.command, "rpm-ostree override remove kernel");
    assert_eq!(
        (failure.code, failure.stderr.as_str()),
        (Some(1), "client realtime-node-daemon")
    );
    let failure = system::run_command(
        &node.host,
        &Command::Pin {
            index: 0,
            unpin: true,
        },
    )
    .await
    .unwrap_err();
    assert_eq!(
        (failure.command.as_str(), failure.code),
        ("ostree admin pin --unpin 0", None)
    );
    assert!(
        failure.stderr.starts_with("it could not be started: "),
        "{}",
        failure.stderr
    );
    // A change that went well went well, however much it printed, and stderr proves nothing.
    node.answers(
        "rpm-ostree",
        "head -c 17000000 /dev/zero; echo 'Note: something' >&2",
    );
    assert_eq!(system::run_command(&node.host, &command).await, Ok(()));
    node.answers("systemctl", "echo \"$*\" > \"$REALTIME_HOST_ROOT/asked\"");
    system::reboot(&node.host).await.unwrap();
    assert_eq!(node.host.read("/asked").unwrap(), "reboot\n");
}
