//! Passes over a folder that is a host, and over this machine.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::*;

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn spec() -> RealtimeNodeSpec {
    serde_json::from_value(json!({
        "profile": "radio",
        "kernel": {"realtime": true, "provider": "NodeDaemon", "arguments": ["nohz_full=1"]},
        "cpu": {"reserved": "0", "isolated": "1", "isolation": "ManagedIrq", "smt": "Keep", "power": "LowLatency",
            "balanceInterruptsOnIsolated": false},
        "tuning": {"tunedProfile": "realtime-radio", "governor": "performance",
            "sysctls": {"vm.stat_interval": "10"}}
    }))
    .unwrap()
}

#[test]
fn a_folder_is_a_host() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (path, text) in [
        ("/usr/lib/os-release", "ID=fedora\nVERSION_ID=42\n"),
        ("/run/ostree-booted", ""),
        ("/run/crio/crio.sock", "not to be read"),
        ("/proc/cmdline", "nohz_full=1\n"),
        ("/proc/version", "#1 SMP PREEMPT_RT\n"),
        ("/proc/sys/vm/stat_interval", "1\n"),
        ("/sys/devices/system/cpu/present", "0-1\n"),
        ("/sys/devices/system/cpu/online", "0-1\n"),
        ("/sys/devices/system/cpu/nohz_full", "1\n"),
        (
            "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
            "0\n",
        ),
        (
            "/sys/devices/system/cpu/cpu1/topology/thread_siblings_list",
            "1\n",
        ),
        ("/sys/devices/system/cpu/cpufreq/no", "cpu"),
        ("/proc/irq/5/smp_affinity_list", "1\n"),
        ("/proc/irq/5/smp_affinity", "2\n"),
        ("/etc/tuned/active_profile", "realtime-radio\n"),
    ] {
        put(root, path, text);
    }
    std::os::unix::fs::symlink("/usr/lib/os-release", root.join("etc/os-release")).unwrap();
    put(root, "/dev/cpu_dma_latency", "\0\0\0\0");
    let host = Host::new(root, None);
    let known = facts(&host);
    assert_eq!(known.facts.host.os.as_deref(), Some("fedora"));
    assert_eq!(known.facts.host.container_runtime.as_deref(), Some("cri-o"));
    assert_eq!(known.facts.topology.siblings, ["0", "1"]);
    assert_eq!(known.cost.unreadable, 0);
    let audited = audit(&host, &spec(), &known, Told::default());
    let areas: Vec<_> = audited
        .audit
        .drift
        .iter()
        .map(|drift| format!("{:?}: {}", drift.area, drift.wanted))
        .collect();
    assert_eq!(
        areas,
        [
            "Sysctl: vm.stat_interval = 10",
            "IrqAffinity: IRQ 5 on CPU 0 only"
        ]
    );
    // A kernel that says who can be moved.
    let path = root.join("proc/irq/5/smp_affinity");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
    let audited = audit(&host, &spec(), &known, Told::default());
    assert_eq!(audited.audit.drift.len(), 1, "{:?}", audited.audit.drift);
}

#[test]
fn an_empty_folder_is_a_host_of_which_nothing_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(folder.path(), None);
    let known = facts(&host);
    assert_eq!(known.cost.files, 0);
    let audited = audit(&host, &spec(), &known, Told::default());
    assert_eq!(audited.audit.drift, []);
}

/// The numbers are for `cargo test -- --nocapture`; that a pass is cheap is asserted generously.
#[test]
fn a_pass_over_this_machine_is_cheap() {
    let host = Host::new("/", None);
    let known = facts(&host);
    let audited = audit(&host, &spec(), &known, Told::default());
    println!("facts: {:?}", known.cost);
    println!("audit: {:?}", audited.cost);
    println!("notes: {:#?}", audited.audit.notes);
    assert!(known.facts.topology.online.is_some());
    assert!(known.cost.took + audited.cost.took < Duration::from_secs(5));
}

/// As the real program does: its exit code, and what it writes to its log.
#[tokio::test]
async fn tuned_is_asked_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let (root, commands) = (folder.path().join("root"), folder.path().join("commands"));
    put(
        &root,
        "/var/log/tuned/tuned.log",
        "ERROR verify: failed: 'old' = '1', expected '2'\n",
    );
    let host = Host::new(&root, Some(commands.clone()));
    assert_eq!(verify(&host).await.unwrap(), None);
    let script = "#!/bin/sh\n[ \"$1\" = verify ] || exit 9\n\
                  echo \"ERROR    tuned.plugins.base: verify: failed: 'a' = '1', expected '2'\" \
                  >>\"$REALTIME_HOST_ROOT/var/log/tuned/tuned.log\"\nexit 1\n";
    put(&commands, "/tuned-adm", script);
    let program = commands.join("tuned-adm");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let verification = verify(&host).await.unwrap().unwrap();
    assert!(!verification.passed);
    assert_eq!(verification.failures, ["'a' = '1', expected '2'"]);
}
