//! The files of a simulated host, so far as the node daemon reads them: what its hardware and its operating system are,
//! and what the running kernel says of itself. Only content; it starts nothing and knows no cluster.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Page sizes that x86 has, in KiB, with the names that kernel arguments use.
const PAGE_SIZES: [(&str, u64); 2] = [("2M", 2048), ("1G", 1_048_576)];

/// The interrupts of a simulated host: number and name. The first can't be moved, as a real machine's timer.
const INTERRUPTS: [(u32, &str); 4] = [
    (0, "timer"),
    (8, "rtc0"),
    (24, "nvme0q1"),
    (25, "ens3-rx-0"),
];

/// The hardware and the operating system of a simulated host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardware {
    /// CPUs, all online, each a core of its own.
    pub cpus: u32,
    /// Memory in KiB, all in one NUMA node.
    pub memory_kib: u64,
    /// `/etc/os-release`, where it is not the one of the rpm-ostree stand-in's base (RHEL CoreOS).
    pub os_release: Option<String>,
}

impl Default for Hardware {
    /// A small Intel machine (Ice Lake) with RHEL CoreOS, as the nodes of `pool_standin::Capacity::default`.
    fn default() -> Self {
        Self {
            cpus: 8,
            memory_kib: 32 << 20,
            os_release: None,
        }
    }
}

/// The `os-release` of Fedora CoreOS.
pub const FEDORA_COREOS: &str = "NAME=\"Fedora Linux\"\nID=fedora\nVERSION=\"40.20241019.3.0 (CoreOS)\"\nVERSION_ID=40\nPLATFORM_ID=\"platform:f40\"\nVARIANT=\"CoreOS\"\nVARIANT_ID=coreos\nOSTREE_VERSION='40.20241019.3.0'\n";

/// The `os-release` of a RHEL that rpm and dnf manage.
pub const RHEL: &str = "NAME=\"Red Hat Enterprise Linux\"\nID=\"rhel\"\nID_LIKE=\"fedora\"\nVERSION=\"9.4 (Plow)\"\nVERSION_ID=\"9.4\"\nPLATFORM_ID=\"platform:el9\"\n";

/// The running kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its release.
    pub release: String,
    /// Its command line.
    pub command_line: String,
    /// Of this boot.
    pub boot_id: String,
}

impl Kernel {
    /// Whether it is a real-time one, by its name: `+rt`, or `.rt` as RHEL 8 and 9 before 9.3 wrote it.
    pub fn is_realtime(&self) -> bool {
        self.release.contains("+rt") || self.release.contains(".rt")
    }
}

/// A folder that is a host's `/`.
#[derive(Clone, Debug)]
pub struct Tree(PathBuf);

impl Tree {
    /// Over a folder, which is made.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(Self(root))
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// A path of the host.
    pub fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// Writes a file and makes its folders. Whole or not at all, as the kernel's own files are.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> io::Result<()> {
        let target = self.path(path);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut new = target.as_os_str().to_owned();
        new.push(".simulated");
        fs::write(&new, text)?;
        fs::rename(&new, &target)
    }

    /// Reads a file, trimmed; empty when it isn't there.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// Writes what no boot changes.
    pub fn install(&self, hardware: &Hardware) -> io::Result<()> {
        let Hardware {
            cpus,
            memory_kib,
            os_release: _,
        } = hardware;
        for folder in [
            "boot",
            "var/lib",
            "var/tmp",
            "tmp",
            "etc/yum.repos.d",
            "run",
        ] {
            fs::create_dir_all(self.path(folder))?;
        }
        self.write("/etc/machine-id", "5a1d0000000000000000000000000000\n")?;
        self.write("/proc/cpuinfo", cpuinfo(*cpus))?;
        let memory = format!("MemTotal:       {memory_kib} kB\nMemFree:        {memory_kib} kB\n");
        self.write("/proc/meminfo", memory)?;
        self.write("/proc/1/mountinfo", MOUNTINFO)?;
        self.write("/proc/mounts", MOUNTS)?;
        self.write(
            "/sys/fs/cgroup/cgroup.controllers",
            "cpuset cpu io memory hugetlb pids\n",
        )?;
        let all = list(*cpus);
        for name in ["present", "possible", "online"] {
            self.write(&format!("/sys/devices/system/cpu/{name}"), &all)?;
        }
        self.write("/sys/devices/system/cpu/offline", "\n")?;
        self.write("/sys/devices/system/cpu/smt/active", "0\n")?;
        self.write("/sys/devices/system/cpu/smt/control", "notsupported\n")?;
        let clock = "/sys/devices/system/clocksource/clocksource0";
        self.write(&format!("{clock}/current_clocksource"), "tsc\n")?;
        self.write(
            &format!("{clock}/available_clocksource"),
            "tsc hpet acpi_pm\n",
        )?;
        for cpu in 0..*cpus {
            let folder = format!("/sys/devices/system/cpu/cpu{cpu}");
            self.write(
                &format!("{folder}/topology/thread_siblings_list"),
                format!("{cpu}\n"),
            )?;
            self.write(&format!("{folder}/topology/core_id"), format!("{cpu}\n"))?;
            self.write(&format!("{folder}/topology/physical_package_id"), "0\n")?;
            if cpu > 0 {
                self.write(&format!("{folder}/online"), "1\n")?;
            }
            fs::create_dir_all(self.path(&format!("/sys/devices/system/node/node0/cpu{cpu}")))?;
        }
        let node = "/sys/devices/system/node";
        self.write(&format!("{node}/online"), "0\n")?;
        self.write(&format!("{node}/node0/cpulist"), &all)?;
        self.write(
            &format!("{node}/node0/meminfo"),
            format!(
                "Node 0 MemTotal:       {memory_kib} kB\nNode 0 MemFree:        {memory_kib} kB\n"
            ),
        )?;
        self.write("/proc/interrupts", interrupts(*cpus))
    }

    /// What is in memory only goes with the machine.
    pub fn shut_down(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.path("/run"))? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?;
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Writes what the kernel that has just booted says, and what its command line makes of the machine.
    pub fn boot(&self, hardware: &Hardware, kernel: &Kernel) -> io::Result<()> {
        self.write("/run/crio/crio.sock", "")?;
        if let Some(text) = &hardware.os_release {
            self.write("/etc/os-release", text)?;
        }

        let Kernel {
            release,
            command_line,
            boot_id,
        } = kernel;
        let realtime = kernel.is_realtime();
        let preemption = if realtime {
            "PREEMPT_RT"
        } else {
            "PREEMPT_DYNAMIC"
        };
        self.write("/proc/sys/kernel/osrelease", format!("{release}\n"))?;
        self.write("/proc/sys/kernel/ostype", "Linux\n")?;
        self.write("/proc/sys/kernel/arch", "x86_64\n")?;
        self.write(
            "/proc/version",
            format!("Linux version {release} (mockbuild@simulated) (gcc) #1 SMP {preemption} Sat Nov 21 00:00:00 UTC 2026\n"),
        )?;
        self.write("/proc/sys/kernel/random/boot_id", format!("{boot_id}\n"))?;
        self.write("/proc/cmdline", format!("{command_line}\n"))?;
        let mark = self.path("/sys/kernel/realtime");
        if realtime {
            self.write("/sys/kernel/realtime", "1\n")?;
        } else if mark.exists() {
            fs::remove_file(mark)?;
        }
        self.by_command_line(hardware, command_line)
    }

    /// What a kernel makes of the arguments of this product.
    fn by_command_line(&self, hardware: &Hardware, command_line: &str) -> io::Result<()> {
        let value = |name: &str| {
            command_line
                .split_ascii_whitespace()
                .filter_map(|word| word.strip_prefix(name)?.strip_prefix('='))
                .next_back()
        };
        // `isolcpus=domain,2-7`: flags come first; managed_irq alone isolates no scheduling domain.
        let isolcpus = value("isolcpus").unwrap_or_default();
        let domain = isolcpus
            .split(',')
            .filter(|part| part.starts_with(|c: char| c.is_ascii_digit()))
            .collect::<Vec<_>>()
            .join(",");
        let isolated = if isolcpus.starts_with("managed_irq") && !isolcpus.contains("domain") {
            String::new()
        } else {
            domain
        };
        self.write("/sys/devices/system/cpu/isolated", format!("{isolated}\n"))?;
        let nohz = value("nohz_full").unwrap_or_default();
        self.write("/sys/devices/system/cpu/nohz_full", format!("{nohz}\n"))?;

        let housekeeping = value("irqaffinity")
            .map_or_else(|| list(hardware.cpus).trim().to_owned(), str::to_owned);
        for (number, _) in INTERRUPTS {
            let folder = format!("/proc/irq/{number}");
            self.write(
                &format!("{folder}/smp_affinity_list"),
                format!("{housekeeping}\n"),
            )?;
            self.write(&format!("{folder}/effective_affinity_list"), "0\n")?;
        }
        self.huge_pages(command_line)
    }

    /// `hugepagesz=1G hugepages=4 …`, and pages without a size before any.
    fn huge_pages(&self, command_line: &str) -> io::Result<()> {
        let mut size = "2M";
        let mut counts = [0_u64; PAGE_SIZES.len()];
        for word in command_line.split_ascii_whitespace() {
            if let Some(default) = word.strip_prefix("default_hugepagesz=") {
                size = default;
            } else if let Some(next) = word.strip_prefix("hugepagesz=") {
                size = next;
            } else if let Some(count) = word.strip_prefix("hugepages=") {
                let index = PAGE_SIZES.iter().position(|(name, _)| *name == size);
                if let (Some(index), Ok(count)) = (index, count.parse()) {
                    counts[index] = count;
                }
            }
        }
        for ((_, kib), count) in PAGE_SIZES.iter().zip(counts) {
            for folder in ["/sys/kernel/mm", "/sys/devices/system/node/node0"] {
                for file in ["nr_hugepages", "free_hugepages"] {
                    let path = format!("{folder}/hugepages/hugepages-{kib}kB/{file}");
                    self.write(&path, format!("{count}\n"))?;
                }
            }
        }
        Ok(())
    }
}

const MOUNTINFO: &str = "22 1 259:4 / / rw,relatime shared:1 - xfs /dev/nvme0n1p4 rw,seclabel\n24 22 0:22 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,seclabel,nsdelegate,memory_recursiveprot\n";
const MOUNTS: &str = "/dev/nvme0n1p4 / xfs rw,seclabel,relatime 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,seclabel,nosuid,nodev,noexec,relatime 0 0\n";

/// `0-7`, with a line break as the kernel's files have it.
fn list(cpus: u32) -> String {
    match cpus {
        0 | 1 => "0\n".to_owned(),
        _ => format!("0-{}\n", cpus - 1),
    }
}

fn cpuinfo(cpus: u32) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for cpu in 0..cpus {
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "processor\t: {cpu}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\nmodel name\t: Intel(R) Xeon(R) simulated\ncore id\t\t: {cpu}\nflags\t\t: fpu tsc constant_tsc nonstop_tsc pdpe1gb\n\n"
        );
    }
    text
}

fn interrupts(cpus: u32) -> String {
    use std::fmt::Write as _;
    let mut text = "    ".to_owned();
    for cpu in 0..cpus {
        let _ = write!(text, "       CPU{cpu}");
    }
    text.push('\n');
    for (number, name) in INTERRUPTS {
        let _ = write!(text, "{number:>4}:");
        for _ in 0..cpus {
            text.push_str("          0");
        }
        let _ = writeln!(text, "  simulated  {name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booted(release: &str, command_line: &str) -> (tempfile::TempDir, Tree) {
        let folder = tempfile::tempdir().expect("temporary directory");
        let tree = Tree::new(folder.path()).expect("a tree");
        let hardware = Hardware::default();
        tree.install(&hardware).expect("installed");
        let kernel = Kernel {
            release: release.to_owned(),
            command_line: command_line.to_owned(),
            boot_id: "1".to_owned(),
        };
        tree.boot(&hardware, &kernel).expect("booted");
        (folder, tree)
    }

    #[test]
    fn a_kernel_says_what_it_is_and_what_its_arguments_made() {
        let (_folder, tree) = booted(
            "5.14.0-427.el9.x86_64+rt",
            "root=UUID=1 default_hugepagesz=1G hugepagesz=1G hugepages=4 isolcpus=managed_irq,2-7 nohz_full=2-7",
        );
        assert_eq!(tree.read("/sys/kernel/realtime"), "1");
        assert!(tree.read("/proc/version").contains("PREEMPT_RT"));
        assert_eq!(tree.read("/sys/devices/system/cpu/nohz_full"), "2-7");
        assert_eq!(tree.read("/sys/devices/system/cpu/isolated"), "");
        assert_eq!(
            tree.read("/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"),
            "4"
        );
        assert_eq!(
            tree.read("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"),
            "0"
        );
    }

    #[test]
    fn the_stock_kernel_has_no_mark_after_a_real_time_one() {
        let (_folder, tree) = booted("5.14.0-427.el9.x86_64+rt", "isolcpus=domain,2-7");
        assert_eq!(tree.read("/sys/devices/system/cpu/isolated"), "2-7");
        let stock = Kernel {
            release: "5.14.0-427.el9.x86_64".to_owned(),
            command_line: "root=UUID=1".to_owned(),
            boot_id: "2".to_owned(),
        };
        tree.boot(&Hardware::default(), &stock).expect("booted");
        assert!(!tree.path("/sys/kernel/realtime").exists());
        assert_eq!(tree.read("/sys/devices/system/cpu/isolated"), "");
        assert_eq!(tree.read("/proc/sys/kernel/random/boot_id"), "2");
    }
}
