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
        let mut failed = None;
        for path in MOUNTINFO {
            match host.read(path) {
                Ok(text) => found.complete(host, &cgroup_mounts(&text)),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if found == Self::default() => Err(error),
            _ => Ok(found),
        }
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
