//! Where this host has its cgroup hierarchies. Never a constant, and never believed without a look: what mountinfo names
//! must be there, and must be the whole hierarchy.

use realtime_core::rt::mounts::{CgroupMount, Hierarchy, cgroup_mounts};

use crate::host::{Host, HostError};

/// The mounts as the host's first process sees them, and as the daemon does: in a container the first are right, and
/// in a mount namespace of its own, without the host's processes, the second.
const MOUNTINFO: [&str; 2] = ["/proc/1/mountinfo", "/proc/self/mountinfo"];
/// In the root group of a version 1 hierarchy, and in no other one.
const ROOT_ONLY_V1: &str = "release_agent";
/// In each group of version 2.
const EACH_V2: &str = "cgroup.controllers";
/// In each group of version 2 but the root.
const NOT_ROOT_V2: &str = "cgroup.events";

/// Mount points on the host, each of a whole hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mounts {
    /// The version 1 hierarchy with `cpu`.
    pub v1_cpu: Option<String>,
    /// The version 1 hierarchy with `cpuacct`: the same one where they are joint.
    pub v1_cpuacct: Option<String>,
    /// Version 2, alone or beside version 1.
    pub v2: Option<String>,
}

impl Mounts {
    /// Looks. An error only when no mountinfo can be read at all.
    pub fn read(host: &Host) -> Result<Self, HostError> {
        let mut found = Self::default();
        let texts = MOUNTINFO.map(|path| host.read(path));
        for text in texts.iter().flatten() {
            found.complete(host, &cgroup_mounts(text));
        }
        let [first, own] = texts;
        first.or(own).map(|_| found)
    }

    fn complete(&mut self, host: &Host, mounts: &[CgroupMount]) {
        let first = |wanted: &dyn Fn(&CgroupMount) -> bool| {
            mounts
                .iter()
                .filter(|mount| mount.may_be_whole() && wanted(mount))
                .find_map(|mount| reachable(host, mount))
        };
        let v1 = |controller: &str| first(&|mount| mount.has_v1(controller));
        self.v1_cpu = self.v1_cpu.take().or_else(|| v1("cpu"));
        self.v1_cpuacct = self.v1_cpuacct.take().or_else(|| v1("cpuacct"));
        self.v2 = self
            .v2
            .take()
            .or_else(|| first(&|mount| mount.hierarchy == Hierarchy::V2));
    }
}

/// The mount point's path on the host, if the root group of that hierarchy is there.
fn reachable(host: &Host, mount: &CgroupMount) -> Option<String> {
    // The daemon's own view of `/sys/fs/cgroup` is `/host/sys/fs/cgroup`.
    let below_root = host
        .root()
        .to_str()
        .filter(|root| *root != "/")
        .and_then(|root| mount.point.strip_prefix(root))
        .filter(|rest| rest.starts_with('/'));
    below_root
        .into_iter()
        .chain([mount.point.as_str()])
        .find(|point| {
            let has = |file: &str| host.exists(&format!("{point}/{file}"));
            match mount.hierarchy {
                Hierarchy::V1(_) => has(ROOT_ONLY_V1),
                Hierarchy::V2 => has(EACH_V2) && !has(NOT_ROOT_V2),
            }
        })
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host with these mountinfo texts and these files.
    fn host(first: Option<&str>, own: Option<&str>, files: &[&str]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for (path, text) in MOUNTINFO.iter().zip([first, own]) {
            if let Some(text) = text {
                put(path, &text.replace("ROOT", root.path().to_str().unwrap()));
            }
        }
        for file in files {
            put(file, "");
        }
        let host = Host::new(root.path(), None);
        (root, host)
    }

    fn found(cpu: Option<&str>, cpuacct: Option<&str>, v2: Option<&str>) -> Mounts {
        let text = |path: Option<&str>| path.map(str::to_owned);
        Mounts {
            v1_cpu: text(cpu),
            v1_cpuacct: text(cpuacct),
            v2: text(v2),
        }
    }

    const HYBRID: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_first_process_sees_the_hosts_mounts() {
        let files = [
            "/sys/fs/cgroup/cpu,cpuacct/release_agent",
            "/sys/fs/cgroup/unified/cgroup.controllers",
        ];
        let joint = Some("/sys/fs/cgroup/cpu,cpuacct");
        let (_root, both) = host(Some(HYBRID), Some("rubbish"), &files);
        let expected = found(joint, joint, Some("/sys/fs/cgroup/unified"));
        assert_eq!(Mounts::read(&both).unwrap(), expected);
        // Not there, or not the root group: not believed.
        let (_root, none) = host(Some(HYBRID), None, &[]);
        assert_eq!(Mounts::read(&none).unwrap(), Mounts::default());
        let below = [
            "/sys/fs/cgroup/unified/cgroup.controllers",
            "/sys/fs/cgroup/unified/cgroup.events",
        ];
        let (_root, inside) = host(Some(HYBRID), None, &below);
        assert_eq!(Mounts::read(&inside).unwrap(), Mounts::default());
    }

    #[test]
    fn the_daemons_own_view_stands_in_and_the_roots_path_is_taken_off() {
        let own = "32 31 0:29 /../.. ROOT/sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            33 31 0:30 /kubepods/pod1 /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n";
        let files = [
            "/sys/fs/cgroup/cpu/release_agent",
            "/sys/fs/cgroup/cpuacct/release_agent",
        ];
        let (_root, contained) = host(None, Some(own), &files);
        let expected = found(Some("/sys/fs/cgroup/cpu"), None, None);
        assert_eq!(Mounts::read(&contained).unwrap(), expected);
        // Of both, the first process's where it is there; the daemon's own for the rest.
        let first = "32 31 0:29 / /elsewhere/cpu rw - cgroup cgroup rw,cpu\n";
        let (_root, both) = host(Some(first), Some(own), &files);
        assert_eq!(Mounts::read(&both).unwrap(), expected);
    }

    #[test]
    fn the_latest_mount_that_is_there_counts() {
        let text = "32 31 0:29 / /old/cpu rw - cgroup cgroup rw,cpu\n\
            92 31 0:29 / /new/cpu rw - cgroup cgroup rw,cpu\n\
            93 31 0:29 / /hidden/cpu rw - cgroup cgroup rw,cpu\n";
        let (_root, two) = host(
            Some(text),
            None,
            &["/old/cpu/release_agent", "/new/cpu/release_agent"],
        );
        assert_eq!(
            Mounts::read(&two).unwrap().v1_cpu.as_deref(),
            Some("/new/cpu")
        );
    }

    #[test]
    fn without_any_mountinfo_nobody_knows() {
        let (_root, empty) = host(None, None, &[]);
        assert!(Mounts::read(&empty).is_err());
    }
}
