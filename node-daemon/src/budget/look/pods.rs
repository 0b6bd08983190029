//! Where the kubelet has its group of all pods: `kubepods` or `kubepods.slice` below its cgroupRoot, which is found by
//! looking. What only looks like it is passed over: a kubelet makes groups of its classes below it at its start.

use realtime_core::rt::group::{Driver, PodsGroup, Qos};

use crate::cgroup::Mounts;
use crate::host::Host;

/// How many groups a cgroupRoot is below the root at most.
const MAX_NESTED: usize = 3;
/// Groups that are looked into: below the root of a host with systemd are about a hundred.
const MAX_LOOKED: usize = 4_096;
const NAME: &str = "kubepods";
const NAME_SLICE: &str = "kubepods.slice";
/// A container's id, or its short form: a kubelet that is inside a container (kind, a test's) is not this host's.
const ID_DIGITS: usize = 12;

/// The groups of pods in the hierarchy of the `cpu` controller, in the order of their paths. More than one where several
/// kubelets run, or where one was given another cgroupRoot and its old groups are still there.
pub fn pods_groups(host: &Host, mounts: &Mounts) -> Vec<PodsGroup> {
    let Some(mount) = mounts.v1_cpu.as_ref().or(mounts.v2.as_ref()) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut waiting = vec![Vec::new()];
    let mut looked = 0;
    while let Some(root) = waiting.pop() {
        for name in folders(host, &path(mount, &root)) {
            looked += 1;
            if looked > MAX_LOOKED {
                tracing::warn!(mount, "too many groups to find all groups of pods");
                return sorted(found);
            }
            let below: Vec<String> = root.iter().cloned().chain([name.clone()]).collect();
            if let Some(driver) = driver(&name) {
                found.extend(pods_group(driver, &root, &name).filter(|group| {
                    has_classes(host, group, mount) && group.path() == path("", &below)
                }));
            } else if root.len() < MAX_NESTED && may_hold_a_kubelet(&name) {
                waiting.push(below);
            }
        }
    }
    sorted(found)
}

fn sorted(mut found: Vec<PodsGroup>) -> Vec<PodsGroup> {
    found.sort_by_key(PodsGroup::path);
    found
}

fn path(mount: &str, parts: &[String]) -> String {
    let mut path = mount.trim_end_matches('/').to_owned();
    for part in parts {
        path.push('/');
        path.push_str(part);
    }
    path
}

/// The groups directly below one. A file's name has a dot or is one of a few words, but so have groups' names.
fn folders(host: &Host, path: &str) -> Vec<String> {
    let mut names = host.list(path).unwrap_or_default();
    names.retain(|name| {
        let facts = host.facts(&format!("{path}/{name}"), false);
        facts.is_ok_and(|facts| facts.is_some_and(|facts| facts.is_folder))
    });
    names
}

fn driver(name: &str) -> Option<Driver> {
    if name == NAME {
        return Some(Driver::Cgroupfs);
    }
    let above = name.strip_suffix(NAME_SLICE)?;
    (above.is_empty() || above.ends_with('-')).then_some(Driver::Systemd)
}

/// With systemd each slice bears the names of those above it: `a.slice/a-b.slice/a-b-kubepods.slice` is below `a`, `b`.
fn pods_group(driver: Driver, root: &[String], name: &str) -> Option<PodsGroup> {
    if driver == Driver::Cgroupfs {
        let root = root.to_vec();
        return Some(PodsGroup { driver, root });
    }
    let mut prefix = String::new();
    let mut parts = Vec::with_capacity(root.len());
    for slice in root {
        let part = slice.strip_suffix(".slice")?.strip_prefix(&prefix)?;
        parts.push(part.to_owned());
        prefix.push_str(part);
        prefix.push('-');
    }
    (name.strip_suffix(NAME_SLICE)? == prefix).then_some(PodsGroup {
        driver,
        root: parts,
    })
}

/// The kubelet makes both at its start, and keeps them.
fn has_classes(host: &Host, group: &PodsGroup, mount: &str) -> bool {
    [Qos::Burstable, Qos::BestEffort]
        .iter()
        .all(|qos| host.exists(&format!("{mount}{}", group.class(*qos))))
}

/// No kubelet of this host's is below a unit of systemd's that is no slice, nor inside a container.
fn may_hold_a_kubelet(name: &str) -> bool {
    let unit = [".scope", ".service", ".mount", ".socket", ".swap"]
        .iter()
        .any(|end| name.ends_with(end));
    let id = name.rsplit('-').next().unwrap_or(name);
    let container = id.len() >= ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    !unit && !container
}
