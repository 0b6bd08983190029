//! Where the pods are, in trees that are plain folders.

use std::fs;

use super::*;
use realtime_core::rt::group::Driver;

/// A host whose only hierarchy is version 1's `cpu` at `/cpu`, with these groups.
fn found(groups: &[&str]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    for group in groups {
        fs::create_dir_all(root.path().join("cpu").join(group)).unwrap();
    }
    let host = Host::new(root.path(), None);
    let mounts = Mounts {
        v1_cpu: Some("/cpu".to_owned()),
        ..Mounts::default()
    };
    let groups = pods_groups(&host, &mounts);
    groups.iter().map(PodsGroup::path).collect()
}

#[test]
fn the_pods_are_found_wherever_the_kubelet_has_them() {
    let none: [&str; 0] = [];
    assert_eq!(found(&[]), none);
    assert_eq!(
        found(&["kubepods/burstable", "kubepods/besteffort", "system.slice"]),
        ["/kubepods"]
    );
    assert_eq!(
        found(&[
            "kubepods.slice/kubepods-burstable.slice",
            "kubepods.slice/kubepods-besteffort.slice",
        ]),
        ["/kubepods.slice"]
    );
    assert_eq!(
        found(&[
            "a/b_c/d/kubepods/burstable",
            "a/b_c/d/kubepods/besteffort",
            "a.slice/a-b_c.slice/a-b_c-kubepods.slice/a-b_c-kubepods-burstable.slice",
            "a.slice/a-b_c.slice/a-b_c-kubepods.slice/a-b_c-kubepods-besteffort.slice",
        ]),
        [
            "/a.slice/a-b_c.slice/a-b_c-kubepods.slice",
            "/a/b_c/d/kubepods"
        ]
    );
}

#[test]
fn what_only_looks_like_it_is_passed_over() {
    let none: [&str; 0] = [];
    let id = "0123456789abcdef";
    assert_eq!(
        found(&[
            // Nobody's classes below it.
            "kubepods",
            "kubepods.slice/kubepods-burstable.slice",
            // A kubelet in a container, and in a service.
            &format!("docker/{id}/kubepods/burstable"),
            &format!("docker/{id}/kubepods/besteffort"),
            "system.slice/rootless.service/kubepods/burstable",
            "system.slice/rootless.service/kubepods/besteffort",
            // Too deep.
            "a/b/c/d/kubepods/burstable",
            "a/b/c/d/kubepods/besteffort",
            // A slice in another one's place.
            "a.slice/b-kubepods.slice/b-kubepods-burstable.slice",
            "a.slice/b-kubepods.slice/b-kubepods-besteffort.slice",
            "a.slice/kubepods.slice/kubepods-burstable.slice",
            "a.slice/kubepods.slice/kubepods-besteffort.slice",
        ]),
        none
    );
    // A pod that has groups like these below its own.
    let inside = format!("kubepods/besteffort/pod1/{id}/kubepods");
    assert_eq!(
        found(&[
            "kubepods/burstable",
            &format!("{inside}/burstable"),
            &format!("{inside}/besteffort"),
        ]),
        ["/kubepods"]
    );
}

#[test]
fn ticks_are_the_kernels() {
    let ticks = ticks_a_second().unwrap();
    assert!([100, 250, 300, 1000].contains(&ticks), "{ticks}");
}

#[test]
fn isolated_cpus_are_seen() {
    let root = tempfile::tempdir().unwrap();
    let host = Host::new(root.path(), None);
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let mounts = Mounts {
        v2: Some("/v2".to_owned()),
        ..Mounts::default()
    };
    let isolated = || isolated_domains(&host, &mounts);
    assert!(!isolated());
    write("sys/devices/system/cpu/isolated", "\n");
    assert!(!isolated());
    write("sys/devices/system/cpu/isolated", "2-3\n");
    assert!(isolated());
    write("sys/devices/system/cpu/isolated", "\n");
    write("v2/greedy/cpuset.cpus.partition", "isolated\n");
    assert!(isolated());
    // The newer file says it better.
    write("v2/cpuset.cpus.isolated", "\n");
    assert!(!isolated());
    write(
        "proc/1/mountinfo",
        "34 31 0:31 / /cpuset rw - cgroup cgroup rw,cpuset\n",
    );
    write("cpuset/cpuset.sched_load_balance", "1\n");
    assert!(!isolated());
    write("cpuset/cpuset.sched_load_balance", "0\n");
    assert!(isolated());
}

#[test]
fn a_driver_is_told_by_the_name() {
    let root = tempfile::tempdir().unwrap();
    for class in ["burstable", "besteffort"] {
        let slice = format!("kubepods.slice/kubepods-{class}.slice");
        fs::create_dir_all(root.path().join(slice)).unwrap();
    }
    let mounts = Mounts {
        v2: Some("/".to_owned()),
        ..Mounts::default()
    };
    let groups = pods_groups(&Host::new(root.path(), None), &mounts);
    assert_eq!(groups.len(), 1);
    assert_eq!(groups[0].driver, Driver::Systemd);
}

/// A stand-in for a kernel with the sixth version of the proposed budgets for cgroup v2 (June 2026), which no machine of
/// ours has. It assumes what that proposal says: each group has a file cpu.rt.max, `RUNTIME PERIOD` or `max PERIOD`.
#[test]
fn unmerged_budgets_are_seen_in_a_stand_in_for_their_files() {
    let root = tempfile::tempdir().unwrap();
    let host = Host::new(root.path(), None);
    let mounts = Mounts {
        v2: Some("/v2".to_owned()),
        ..Mounts::default()
    };
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // The root's alone reserves nothing for anybody, and a later version may be without it.
    write("v2/cpu.rt.max", "0 1000000\n");
    fs::create_dir_all(root.path().join("v2/system.slice")).unwrap();
    assert_eq!(v2_rt_max(&host, &mounts, &[]), None);
    write("v2/system.slice/cpu.rt.max", "max 0\n");
    write("v2/kubepods.slice/cpu.rt.max", "500000 1000000\nmore\n");
    let found = |file: &str, value: &str| {
        Some(RtMax {
            file: file.to_owned(),
            value: Some(value.to_owned()),
        })
    };
    let pods = [PodsGroup::parse("/kubepods.slice").unwrap()];
    assert_eq!(
        v2_rt_max(&host, &mounts, &pods),
        found("/v2/kubepods.slice/cpu.rt.max", "500000 1000000")
    );
    fs::remove_dir_all(root.path().join("v2/kubepods.slice")).unwrap();
    assert_eq!(
        v2_rt_max(&host, &mounts, &pods),
        found("/v2/system.slice/cpu.rt.max", "max 0")
    );
    write("v2/system.slice/cpu.rt.max", &"9".repeat(1000));
    let told = v2_rt_max(&host, &mounts, &[]).unwrap().value.unwrap();
    assert_eq!(told.len(), MAX_VALUE);
}
