//! What a node is, from the text of its files: bounded parsers, each total. Reads no file itself: which ones are needed
//! says [`PATTERNS`], what they held comes as [`Files`].
//!
//! Nothing here fails as a whole: a file that is missing or can't be understood leaves its fact out, never another one.

pub mod cmdline;
pub mod cpuinfo;
pub mod files;
pub mod hugepages;
pub mod mounts;
pub mod os_release;
pub mod topology;

#[cfg(test)]
mod tests;

pub use files::Files;

use crate::api::realtime_node::{NodeHostStatus, NodeKernelStatus, NodeTopology};
use crate::cpu_set::CpuSet;

/// Where the facts are. `#` stands for decimal digits, `*` for any part of one name; a pattern that ends with `/` asks
/// only whether something is there.
///
/// Read at the daemon's start and when a CPU comes or goes, not at each audit: kernels before 5.18 interrupt every CPU
/// that isn't `nohz_full` to fill in the frequencies of `/proc/cpuinfo`.
pub const PATTERNS: &[&str] = &[
    "/etc/os-release",
    "/usr/lib/os-release",
    "/run/ostree-booted/",
    "/run/crio/crio.sock/",
    "/run/containerd/containerd.sock/",
    "/run/k3s/containerd/containerd.sock/",
    "/run/cri-dockerd.sock/",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/version",
    "/proc/1/mountinfo",
    "/proc/sys/kernel/arch",
    "/proc/sys/kernel/osrelease",
    "/proc/sys/kernel/random/boot_id",
    "/sys/kernel/realtime",
    "/sys/fs/cgroup/cgroup.controllers/",
    "/sys/devices/system/cpu/present",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/smt/active",
    "/sys/devices/system/cpu/cpu#/topology/thread_siblings_list",
    "/sys/devices/system/node/node#/cpu#/",
    "/sys/devices/system/node/node#/cpulist",
    "/sys/devices/system/node/node#/meminfo",
    "/sys/devices/system/node/node#/hugepages/hugepages-#kB/nr_hugepages",
    "/sys/devices/system/node/node#/hugepages/hugepages-#kB/free_hugepages",
    "/sys/kernel/mm/hugepages/hugepages-#kB/nr_hugepages",
    "/sys/kernel/mm/hugepages/hugepages-#kB/free_hugepages",
];

/// Sockets of container runtimes, and their names in `nodeInfo.containerRuntimeVersion`.
const RUNTIMES: [(&str, &str); 4] = [
    ("/run/crio/crio.sock", "cri-o"),
    ("/run/containerd/containerd.sock", "containerd"),
    ("/run/k3s/containerd/containerd.sock", "containerd"),
    ("/run/cri-dockerd.sock", "docker"),
];

/// All facts of a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostFacts {
    /// The operating system and the processor.
    pub host: NodeHostStatus,
    /// CPUs, NUMA nodes, memory.
    pub topology: NodeTopology,
    /// The running kernel: release, boot id, real-time or not. The rest is not the host's to say.
    pub kernel: NodeKernelStatus,
    /// Whether the processor says that a hypervisor runs it; `None` where only x86 could say.
    pub virtual_machine: Option<bool>,
}

/// All facts. `built_for` is the architecture that the daemon was built for (`std::env::consts::ARCH`): the kernel
/// itself tells its own only since 6.1.
pub fn host_facts(files: &Files, built_for: &str) -> HostFacts {
    let processor = cpuinfo::cpuinfo(files.text("/proc/cpuinfo").unwrap_or_default());
    HostFacts {
        host: host(files, &processor, built_for),
        topology: topology::topology(files),
        kernel: kernel(files),
        virtual_machine: processor.hypervisor,
    }
}

fn host(files: &Files, processor: &cpuinfo::CpuInfo, built_for: &str) -> NodeHostStatus {
    let os = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .find_map(|path| files.text(path))
        .map(os_release::os_release)
        .unwrap_or_default();
    let runtime = RUNTIMES
        .into_iter()
        .find(|(socket, _)| files.has(socket))
        .map(|(_, name)| name.to_owned());
    NodeHostStatus {
        os: os.get("ID").cloned(),
        os_version: os.get("VERSION_ID").cloned(),
        ostree: Some(files.has("/run/ostree-booted")),
        architecture: Some(
            files
                .value("/proc/sys/kernel/arch")
                .unwrap_or(built_for)
                .to_owned(),
        )
        .filter(|name| !name.is_empty()),
        cpu_vendor: processor.vendor.clone(),
        cpu_family: processor.family,
        cpu_model: processor.model,
        container_runtime: runtime,
        cgroup_version: cgroup_version(files),
    }
}

/// By the mounts that PID 1 sees; by the file that only the unified hierarchy has where these can't be read.
pub fn cgroup_version(files: &Files) -> Option<i64> {
    match files.text("/proc/1/mountinfo") {
        Some(text) => mounts::cgroup_version(&mounts::mountinfo(text)),
        None => files.has("/sys/fs/cgroup/cgroup.controllers").then_some(2),
    }
}

/// The running kernel, as far as files say.
pub fn kernel(files: &Files) -> NodeKernelStatus {
    NodeKernelStatus {
        release: owned(files.value("/proc/sys/kernel/osrelease")),
        realtime: is_realtime(files),
        boot_id: owned(files.value("/proc/sys/kernel/random/boot_id")),
        ..NodeKernelStatus::default()
    }
}

/// `/sys/kernel/realtime` where it is: only kernels with the real-time patches of before 6.12 and distributions' own
/// have it. Else the kernel's own description of its build, `PREEMPT_RT`; `PREEMPT RT` before 5.3.
pub fn is_realtime(files: &Files) -> Option<bool> {
    if files.value("/sys/kernel/realtime") == Some("1") {
        return Some(true);
    }
    let version = files.text("/proc/version")?;
    Some(version.contains("PREEMPT_RT") || version.contains("PREEMPT RT"))
}

/// A CPU list as the kernel prints it: with a newline, empty, or `(null)` for a mask that was never made.
pub fn kernel_list(text: &str) -> Option<CpuSet> {
    match text.trim() {
        "" | "(null)" => Some(CpuSet::default()),
        list => list.parse().ok(),
    }
}

fn owned(value: Option<&str>) -> Option<String> {
    value.map(str::to_owned)
}
