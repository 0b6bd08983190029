//! The parsers on real text and on any text.

use proptest::prelude::*;

use super::cmdline::arguments;
use super::cpuinfo::{CpuInfo, cpuinfo};
use super::files::{MAX_BYTES, MAX_FILES};
use super::hugepages::{kib_of, size_of};
use super::mounts::{cgroup_version, controller, mountinfo};
use super::os_release::os_release;
use super::topology::{mem_total, topology, with_what_was_known};
use super::*;

const OS_RELEASE: &str = "NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=42\nVARIANT='CoreOS'\n# comment\n\
                          PRETTY_NAME=\"Fedora \\\"CoreOS\\\" 42\"\nnot an assignment\n";

/// Two sockets, each of one core with two threads; CPU 3 is offline.
fn machine() -> Files {
    Files::from_iter([
        ("/etc/os-release", OS_RELEASE),
        ("/run/crio/crio.sock", ""),
        ("/run/ostree-booted", ""),
        (
            "/proc/cpuinfo",
            "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 15\nmodel\t\t: 107\nmodel name\t: QEMU\n\
             flags\t\t: fpu de hypervisor lm\n\nprocessor\t: 1\nvendor_id\t: Other\n",
        ),
        (
            "/proc/version",
            "Linux version 6.1.0-56-rt-amd64 (x@y) #1 SMP PREEMPT_RT Debian 6.1.192-2\n",
        ),
        ("/proc/sys/kernel/osrelease", "6.1.0-56-rt-amd64\n"),
        ("/proc/sys/kernel/random/boot_id", "a-b\n"),
        ("/sys/kernel/realtime", "1\n"),
        (
            "/proc/1/mountinfo",
            "22 1 0:21 / /sys/fs/cgroup rw - cgroup2 none rw\n",
        ),
        ("/sys/devices/system/cpu/present", "0-3\n"),
        ("/sys/devices/system/cpu/online", "0-2\n"),
        ("/sys/devices/system/cpu/smt/active", "1\n"),
        (
            "/sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
            "0-1\n",
        ),
        (
            "/sys/devices/system/cpu/cpu1/topology/thread_siblings_list",
            "0-1\n",
        ),
        (
            "/sys/devices/system/cpu/cpu2/topology/thread_siblings_list",
            "2\n",
        ),
        ("/sys/devices/system/node/node0/cpulist", "0-1\n"),
        (
            "/sys/devices/system/node/node0/meminfo",
            "\nNode 0 MemTotal:         500000 kB\nNode 0 MemFree: 1 kB\n",
        ),
        ("/sys/devices/system/node/node1/cpulist", "2\n"),
        ("/sys/devices/system/node/node1/cpu2", ""),
        ("/sys/devices/system/node/node1/cpu3", ""),
        (
            "/sys/devices/system/node/node1/meminfo",
            "Node 1 MemTotal:         400000 kB\n",
        ),
        (
            "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
            "8\n",
        ),
        (
            "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages",
            "7\n",
        ),
        (
            "/sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages",
            "0\n",
        ),
    ])
}

#[test]
fn a_machine_is_read() {
    let facts = host_facts(&machine(), "x86_64");
    assert_eq!(
        serde_json::to_value(&facts.host).unwrap(),
        serde_json::json!({"os": "fedora", "osVersion": "42", "ostree": true, "architecture": "x86_64",
            "cpuVendor": "AuthenticAMD", "cpuFamily": 15, "cpuModel": 107, "containerRuntime": "cri-o",
            "cgroupVersion": 2})
    );
    assert_eq!(
        serde_json::to_value(&facts.topology).unwrap(),
        serde_json::json!({"cpus": "0-3", "online": "0-2", "smt": true, "siblings": ["0-1", "2"], "numaNodes": [
            {"id": 0, "cpus": "0-1", "memoryKiB": 500_000},
            {"id": 1, "cpus": "2-3", "memoryKiB": 400_000, "hugepages": [
                {"size": "1G", "count": 0}, {"size": "2M", "count": 8, "free": 7}]}]})
    );
    assert_eq!(facts.kernel.release.as_deref(), Some("6.1.0-56-rt-amd64"));
    assert_eq!(facts.kernel.realtime, Some(true));
    assert_eq!(facts.kernel.boot_id.as_deref(), Some("a-b"));
    assert_eq!(facts.virtual_machine, Some(true));
}

#[test]
fn what_is_not_there_is_not_known() {
    let facts = host_facts(&Files::new(), "aarch64");
    assert_eq!(facts.topology, NodeTopology::default());
    assert_eq!(facts.kernel, NodeKernelStatus::default());
    assert_eq!(facts.virtual_machine, None);
    assert_eq!(facts.host.architecture.as_deref(), Some("aarch64"));
    assert_eq!(facts.host.cgroup_version, None);
}

#[test]
fn siblings_of_an_offline_cpu_are_remembered() {
    let before = NodeTopology {
        cpus: Some("0-3".to_owned()),
        online: Some("0-3".to_owned()),
        siblings: vec!["0-1".to_owned(), "2-3".to_owned()],
        ..NodeTopology::default()
    };
    let now = topology(&machine());
    let merged = with_what_was_known(now.clone(), Some(&before));
    assert_eq!(merged.siblings, ["0-1", "2-3"]);
    // Other hardware: nothing of it holds.
    let other = NodeTopology {
        cpus: Some("0-7".to_owned()),
        ..before
    };
    assert_eq!(with_what_was_known(now.clone(), Some(&other)), now);
    assert_eq!(with_what_was_known(now.clone(), None), now);
}

#[test]
fn realtime_by_the_file_or_by_the_build() {
    let says = |pairs: &[(&str, &str)]| is_realtime(&pairs.iter().copied().collect());
    assert_eq!(says(&[]), None);
    assert_eq!(says(&[("/sys/kernel/realtime", "1\n")]), Some(true));
    assert_eq!(
        says(&[("/proc/version", "#1 SMP PREEMPT_RT Mon")]),
        Some(true)
    );
    assert_eq!(
        says(&[("/proc/version", "#1 SMP PREEMPT RT Mon")]),
        Some(true)
    );
    assert_eq!(
        says(&[("/proc/version", "#1 SMP PREEMPT_DYNAMIC Mon")]),
        Some(false)
    );
}

#[test]
fn quotes_as_the_kernel_reads_them() {
    assert_eq!(
        arguments(
            "BOOT_IMAGE=(hd0)/vmlinuz a=\"b c\" \"d=e f\" g=h\"i j\" \"quiet\" k=\t l -- init=x\n"
        ),
        [
            "BOOT_IMAGE=(hd0)/vmlinuz",
            "a=b c",
            "d=e f",
            "g=h\"i j\"",
            "quiet",
            "k=",
            "l"
        ]
    );
    assert_eq!(arguments("a \"b c"), ["a", "b c"]);
    assert!(arguments(" \n").is_empty());
}

#[test]
fn os_release_is_read_as_a_shell_would() {
    let values = os_release(OS_RELEASE);
    assert_eq!(values["VARIANT"], "CoreOS");
    assert_eq!(values["PRETTY_NAME"], "Fedora \"CoreOS\" 42");
    assert_eq!(values.len(), 5);
}

#[test]
fn processors_of_other_architectures() {
    let arm =
        cpuinfo("processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n");
    assert_eq!(arm.vendor.as_deref(), Some("0x41"));
    assert_eq!(arm.hypervisor, None);
    let s390 = cpuinfo("vendor_id       : IBM/S390\n# processors    : 4\n");
    assert_eq!(s390.vendor.as_deref(), Some("IBM/S390"));
    assert_eq!(cpuinfo("cpu family\t: -\n"), CpuInfo::default());
}

#[test]
fn cgroup_hierarchies() {
    let hybrid = mountinfo(
        "30 29 0:26 / /sys/fs/cgroup/systemd rw shared:9 - cgroup systemd rw,name=systemd\n\
         31 29 0:27 / /sys/fs/cgroup/cpuset rw shared:10 master:2 - cgroup cgroup rw,cpuset\n\
         32 29 0:28 / /sys/fs/cgroup/un\\040ified rw - cgroup2 cgroup2 rw,nsdelegate\nnonsense\n",
    );
    assert_eq!(hybrid.len(), 3);
    assert_eq!(cgroup_version(&hybrid), Some(1));
    assert_eq!(
        controller(&hybrid, "cpuset").unwrap().point,
        "/sys/fs/cgroup/cpuset"
    );
    assert_eq!(
        controller(&hybrid, "cpu").unwrap().point,
        "/sys/fs/cgroup/un ified"
    );
    // systemd's own hierarchy has no controller.
    assert_eq!(cgroup_version(&hybrid[..1]), None);
    assert_eq!(cgroup_version(&hybrid[2..]), Some(2));
}

#[test]
fn sizes_and_amounts() {
    assert_eq!(kib_of("1G"), Some(1 << 20));
    assert_eq!(kib_of("2m"), Some(2048));
    assert_eq!(kib_of("2097152"), Some(2048));
    for refused in ["", "G", "0", "0K", "1.5G", "-1G", "99999999999999T", "é"] {
        assert_eq!(kib_of(refused), None, "{refused}");
    }
    assert_eq!(mem_total("MemTotal:       24000 kB\n"), Some(24000));
    assert_eq!(mem_total("NotMemTotal: 1 kB\nMemTotal: x kB"), None);
}

#[test]
fn lists_as_the_kernel_prints_them() {
    assert_eq!(kernel_list("(null)\n"), Some(CpuSet::default()));
    assert_eq!(kernel_list("\n"), Some(CpuSet::default()));
    assert_eq!(kernel_list("0-1,3\n"), Some("0-1,3".parse().unwrap()));
    assert_eq!(kernel_list("nonsense"), None);
}

#[test]
fn patterns_find_whole_names() {
    let files = Files::from_iter([
        ("/proc/irq/9/smp_affinity_list", "a"),
        ("/proc/irq/10/smp_affinity_list", "b"),
        ("/proc/irq/x/smp_affinity_list", "c"),
        ("/proc/irq/10/eth0/smp_affinity_list", "d"),
        ("/proc/irqs", "e"),
    ]);
    let found: Vec<_> = files.matching("/proc/irq/#/smp_affinity_list").collect();
    assert_eq!(found, [(vec!["10"], "b"), (vec!["9"], "a")]);
    assert_eq!(files.matching("/proc/irq/*/smp_affinity_list").count(), 3);
    assert_eq!(files.matching("/proc/irqs").count(), 1);
}

#[test]
fn there_is_an_end_to_everything() {
    let mut files = Files::new();
    files.insert("/big", "é".repeat(MAX_BYTES));
    assert_eq!(files.text("/big").unwrap().len(), MAX_BYTES);
    for number in 0..MAX_FILES + 10 {
        files.insert(format!("/{number}"), String::new());
    }
    files.insert("/big", "still updated".to_owned());
    assert_eq!(files.text("/big"), Some("still updated"));
    assert_eq!((files.len(), files.left_out()), (MAX_FILES, 11));
}

proptest! {
    /// Whatever a file holds: an answer, and no panic.
    #[test]
    fn any_text_is_read(text in "\\PC*|[ -~\n\t\"\\\\=:,]{0,400}") {
        let _ = arguments(&text);
        let _ = cpuinfo(&text);
        let _ = os_release(&text);
        let _ = mountinfo(&text);
        let _ = kernel_list(&text);
        let _ = mem_total(&text);
        let _ = kib_of(&text);
        let files: Files = PATTERNS.iter().map(|pattern| {
            (pattern.trim_end_matches('/').replace(['#', '*'], "0"), text.as_str())
        }).collect();
        let facts = host_facts(&files, "x86_64");
        let _ = with_what_was_known(facts.topology.clone(), Some(&facts.topology));
    }

    #[test]
    fn mount_points_of_any_bytes(text in "[\\\\0-7a-z ]{0,60}") {
        let _ = mountinfo(&format!("1 2 3:4 / {text} rw - cgroup2 x y"));
    }

    /// Arguments that need no quotes come back as they are, whatever separates them.
    #[test]
    fn plain_arguments_survive(words in prop::collection::vec("[a-z0-9_.,=-]{1,12}", 0..20), blank in "[ \t\n]{1,3}") {
        let words: Vec<String> = words.into_iter().filter(|word| word != "--").collect();
        prop_assert_eq!(arguments(&words.join(&blank)), words);
    }

    #[test]
    fn sizes_round_trip(kib in 1_u64..1 << 40) {
        prop_assert_eq!(kib_of(&size_of(kib)), Some(kib));
    }

    #[test]
    fn os_release_values_round_trip(value in "[ -~&&[^'\"\\\\]]{0,60}") {
        let read = os_release(&format!("KEY='{value}'\n"));
        prop_assert_eq!(read.get("KEY"), Some(&value));
    }
}
