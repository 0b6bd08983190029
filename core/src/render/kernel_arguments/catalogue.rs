//! Every kernel argument that we can emit: when, why, and from where we know. The table *is* the computation,
//! so that `docs/kernel-arguments.md`, which is generated from it, can't say anything else.

use super::emit::{
    amd_pstate, default_hugepages, hugepages, intel_pstate, is_intel, is_x86, isolated,
    realtime_cpus, reserved, ultra, when,
};
use crate::api::realtime_profile::{Isolation, Smt};
use crate::validate::ValidProfile;

/// How often an argument may stand on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It holds one value, so only the last is written. Which of two the kernel would take differs from argument to
    /// argument: of most the last, of `isolcpus`, `nohz_full` and `default_hugepagesz` the first.
    Once,
    /// Each different value adds something.
    Adds,
    /// Its place matters, the same text may stand twice (`hugepagesz=… hugepages=…`).
    Positional,
}

/// One argument that we can emit.
pub struct Entry {
    /// The part of the command line that it belongs to.
    pub group: &'static str,
    /// Its form, for people.
    pub form: &'static str,
    /// Its keys, `-` written as `_`.
    pub keys: &'static [&'static str],
    /// How often it may stand on the command line.
    pub repeat: Repeat,
    /// When it is emitted.
    pub when: &'static str,
    /// Why.
    pub why: &'static str,
    /// Where that is documented.
    pub source: &'static str,
    /// The arguments, none when it isn't emitted.
    pub emit: fn(&ValidProfile) -> Vec<String>,
}

const KERNEL: &str = "kernel-parameters.txt";
const KERNEL_X86: &str = "kernel-parameters.txt; the kernel's x86_64/boot-options.rst";
const PARTITIONED: &str = "CPUs are partitioned (`cpu.reserved` and `cpu.isolated`)";

/// In the order in which they are emitted.
pub const CATALOGUE: &[Entry] = &[
    // 1. Huge pages.
    Entry {
        group: "Huge pages",
        form: "default_hugepagesz=SIZE",
        keys: &["default_hugepagesz"],
        repeat: Repeat::Once,
        when: "`memory.hugepages.defaultSize` is set",
        why: "The size that an application gets when it names none. It stands first, so that the kernel knows it when it reads the counts.",
        source: KERNEL,
        emit: |profile| default_hugepages(profile).into_iter().collect(),
    },
    Entry {
        group: "Huge pages",
        form: "hugepagesz=SIZE hugepages=N",
        keys: &["hugepagesz", "hugepages"],
        repeat: Repeat::Positional,
        when: "for each entry of `memory.hugepages.pages` without `node`; with the count 0 when 2M pages are wanted on a NUMA node only and the default size is another",
        why: "Reserved while memory is still in one piece, spread over all NUMA nodes; a size of 1 GiB and more can hardly be found later. Pages on one NUMA node are reserved by a systemd unit at boot, since older kernels have no argument for that; those kernels make the directory for 2M pages only when that size is named.",
        source: KERNEL,
        emit: hugepages,
    },
    // 2. Base.
    Entry {
        group: "Base",
        form: "skew_tick=1",
        keys: &["skew_tick"],
        repeat: Repeat::Once,
        when: PARTITIONED,
        why: "Each CPU's timer tick comes at a moment of its own. Ticking together, all CPUs fight for the same locks at the same time.",
        source: KERNEL,
        emit: |profile| when(profile.cpus.is_some(), "skew_tick=1"),
    },
    Entry {
        group: "Base",
        form: "tsc=reliable",
        keys: &["tsc"],
        repeat: Repeat::Once,
        when: "x86 and CPUs are partitioned",
        why: "The time stamp counter is trusted without its watchdog, a timer that would interrupt every CPU in turn.",
        source: KERNEL,
        emit: |profile| when(is_x86(profile) && profile.cpus.is_some(), "tsc=reliable"),
    },
    Entry {
        group: "Base",
        form: "rcupdate.rcu_normal_after_boot=1",
        keys: &["rcupdate.rcu_normal_after_boot"],
        repeat: Repeat::Once,
        when: PARTITIONED,
        why: "After boot no expedited RCU grace periods, which interrupt all CPUs at once. A PREEMPT_RT kernel does so on its own; the stock kernel has to be told.",
        source: KERNEL,
        emit: |profile| when(profile.cpus.is_some(), "rcupdate.rcu_normal_after_boot=1"),
    },
    Entry {
        group: "Base",
        form: "nohz=on",
        keys: &["nohz"],
        repeat: Repeat::Once,
        when: PARTITIONED,
        why: "No tick on idle CPUs; `nohz_full` needs it.",
        source: KERNEL,
        emit: |profile| when(profile.cpus.is_some(), "nohz=on"),
    },
    Entry {
        group: "Base",
        form: "rcu_nocbs=ISOLATED",
        keys: &["rcu_nocbs"],
        repeat: Repeat::Once,
        when: PARTITIONED,
        why: "RCU callbacks of isolated CPUs run in threads, which can live on the reserved CPUs, instead of in softirqs on the isolated ones.",
        source: KERNEL,
        emit: |profile| isolated(profile, "rcu_nocbs="),
    },
    Entry {
        group: "Base",
        form: "tuned.non_isolcpus=MASK",
        keys: &["tuned.non_isolcpus"],
        repeat: Repeat::Once,
        when: PARTITIONED,
        why: "The reserved CPUs as a mask. Not read by the kernel, but by TuneD's hook in the initramfs, where a host has that: it keeps work queues off the other CPUs before anything else runs.",
        source: "TuneD, profile cpu-partitioning",
        emit: |profile| {
            reserved(profile, |cpus| {
                format!("tuned.non_isolcpus={}", cpus.to_hex_mask_words())
            })
        },
    },
    Entry {
        group: "Base",
        form: "systemd.cpu_affinity=RESERVED",
        keys: &["systemd.cpu_affinity"],
        repeat: Repeat::Once,
        when: PARTITIONED,
        why: "systemd and all that it starts live on the reserved CPUs from the first moment; containers get their CPUs from the kubelet. Written as ranges: the command line of x86 ends at 2,048 characters.",
        source: "systemd(1)",
        emit: |profile| reserved(profile, |cpus| format!("systemd.cpu_affinity={cpus}")),
    },
    // 3. Vendor.
    Entry {
        group: "Vendor",
        form: "intel_iommu=on",
        keys: &["intel_iommu"],
        repeat: Repeat::Adds,
        when: "Intel and CPUs are partitioned",
        why: "Devices can be handed to DPDK and virtual machines through VFIO. AMD's IOMMU is on by itself.",
        source: KERNEL,
        emit: |profile| {
            when(
                is_intel(profile) && profile.cpus.is_some(),
                "intel_iommu=on",
            )
        },
    },
    Entry {
        group: "Vendor",
        form: "iommu=pt",
        keys: &["iommu"],
        repeat: Repeat::Adds,
        when: "x86 and CPUs are partitioned",
        why: "The host's own devices bypass the IOMMU's translation and its cost.",
        source: KERNEL_X86,
        emit: |profile| when(is_x86(profile) && profile.cpus.is_some(), "iommu=pt"),
    },
    Entry {
        group: "Vendor",
        form: "nmi_watchdog=0",
        keys: &["nmi_watchdog"],
        repeat: Repeat::Once,
        when: "x86, `kernel.realtime` and CPUs are partitioned",
        why: "No watchdog for hard lockups: it takes a performance counter and interrupts each CPU by an NMI, which nothing can mask.",
        source: KERNEL,
        emit: |profile| when(is_x86(profile) && realtime_cpus(profile), "nmi_watchdog=0"),
    },
    Entry {
        group: "Vendor",
        form: "mce=off",
        keys: &["mce"],
        repeat: Repeat::Adds,
        when: "x86, `kernel.realtime` and CPUs are partitioned",
        why: "No polling of the machine check banks, which interrupts each CPU every few minutes. The price: corrected memory errors are not logged, and an uncorrected one resets the machine without a word.",
        source: KERNEL_X86,
        emit: |profile| when(is_x86(profile) && realtime_cpus(profile), "mce=off"),
    },
    // 4. Isolation and real time.
    Entry {
        group: "Isolation and real time",
        form: "nohz_full=ISOLATED",
        keys: &["nohz_full"],
        repeat: Repeat::Once,
        when: "`kernel.realtime` and CPUs are partitioned",
        why: "No timer tick on an isolated CPU while one thread runs on it. It makes each system call a little dearer, so only for real time.",
        source: KERNEL,
        emit: |profile| {
            if !profile.kernel.realtime {
                return Vec::new();
            }
            isolated(profile, "nohz_full=")
        },
    },
    Entry {
        group: "Isolation and real time",
        form: "isolcpus=[domain,]managed_irq,ISOLATED",
        keys: &["isolcpus"],
        repeat: Repeat::Once,
        when: "`cpu.isolation` is ManagedIrq (the default): `managed_irq`; Domain: `domain,managed_irq`; None: not at all",
        why: "`managed_irq` keeps interrupts whose affinity the kernel itself manages (multi-queue devices) off the isolated CPUs, as far as it can. `domain` takes these CPUs out of the scheduler's load balancing: threads of a container then stay where they were started, which suits only pinned workloads.",
        source: KERNEL,
        emit: |profile| match profile.cpus.as_ref().map(|cpus| cpus.isolation) {
            None | Some(Isolation::None) => Vec::new(),
            Some(Isolation::ManagedIrq) => isolated(profile, "isolcpus=managed_irq,"),
            Some(Isolation::Domain) => isolated(profile, "isolcpus=domain,managed_irq,"),
        },
    },
    Entry {
        group: "Isolation and real time",
        form: "nosoftlockup",
        keys: &["nosoftlockup"],
        repeat: Repeat::Once,
        when: "`kernel.realtime` and CPUs are partitioned",
        why: "A real-time thread that keeps its CPU for long is what was wanted, not a lockup to report.",
        source: KERNEL,
        emit: |profile| when(realtime_cpus(profile), "nosoftlockup"),
    },
    Entry {
        group: "Isolation and real time",
        form: "rcutree.kthread_prio=11",
        keys: &["rcutree.kthread_prio"],
        repeat: Repeat::Once,
        when: "`kernel.realtime` and CPUs are partitioned",
        why: "RCU's threads run SCHED_FIFO at priority 11, above workloads at 1 to 10: if those starve RCU, memory runs out. The TuneD profile gives ksoftirqd and the timer threads the same priority.",
        source: KERNEL,
        emit: |profile| when(realtime_cpus(profile), "rcutree.kthread_prio=11"),
    },
    Entry {
        group: "Isolation and real time",
        form: "irqaffinity=RESERVED",
        keys: &["irqaffinity"],
        repeat: Repeat::Once,
        when: "`interrupts.balanceOnIsolated: false`",
        why: "Interrupts land on the reserved CPUs already while drivers load, before TuneD and irqbalance are there to move them.",
        source: KERNEL,
        emit: |profile| {
            if profile.balance_interrupts_on_isolated {
                return Vec::new();
            }
            reserved(profile, |cpus| format!("irqaffinity={cpus}"))
        },
    },
    Entry {
        group: "Isolation and real time",
        form: "nosmt",
        keys: &["nosmt"],
        repeat: Repeat::Once,
        when: "`cpu.smt: Off`",
        why: "One thread a core: a sibling competes for the core's units and caches.",
        source: KERNEL,
        emit: |profile| when(profile.smt == Smt::Off, "nosmt"),
    },
    // 5. Power.
    Entry {
        group: "Power",
        form: "intel_pstate=active|disable|passive",
        keys: &["intel_pstate"],
        repeat: Repeat::Once,
        when: "Intel. `cpu.power: PerPod`: `passive`. LowLatency (with partitioned CPUs) and UltraLowLatency: `disable` up to the Skylake generation, `active` from Ice Lake on and where the model isn't known. Balanced: not at all",
        why: "With hardware-managed P-states the driver in active mode keeps the frequency up without interrupting the CPU; older processors lack these, and the driver's sampling causes jitter, so the ACPI driver takes over. `passive` leaves the governor to CRI-O, which sets it for each pod.",
        source: "kernel-parameters.txt; the kernel's intel_pstate.rst",
        emit: |profile| intel_pstate(profile).into_iter().collect(),
    },
    Entry {
        group: "Power",
        form: "amd_pstate=guided|passive",
        keys: &["amd_pstate"],
        repeat: Repeat::Once,
        when: "AMD. `cpu.power: PerPod`: `passive`. LowLatency (with partitioned CPUs) and UltraLowLatency: `guided`. Balanced: not at all",
        why: "`guided`: the processor chooses the frequency within the limits that the governor sets. `passive` leaves it to the governor, which CRI-O sets for each pod.",
        source: "kernel-parameters.txt; the kernel's amd-pstate.rst",
        emit: |profile| amd_pstate(profile).into_iter().collect(),
    },
    Entry {
        group: "Power",
        form: "processor.max_cstate=1",
        keys: &["processor.max_cstate"],
        repeat: Repeat::Once,
        when: "x86 and `cpu.power: UltraLowLatency`",
        why: "No idle state deeper than C1 from the ACPI driver: leaving a deep one takes up to hundreds of microseconds.",
        source: KERNEL,
        emit: |profile| when(is_x86(profile) && ultra(profile), "processor.max_cstate=1"),
    },
    Entry {
        group: "Power",
        form: "intel_idle.max_cstate=0",
        keys: &["intel_idle.max_cstate"],
        repeat: Repeat::Once,
        when: "Intel and `cpu.power: UltraLowLatency`",
        why: "Intel's own idle driver is off, so that the limit of the ACPI driver holds.",
        source: KERNEL,
        emit: |profile| {
            when(
                is_intel(profile) && ultra(profile),
                "intel_idle.max_cstate=0",
            )
        },
    },
    Entry {
        group: "Power",
        form: "idle=poll",
        keys: &["idle"],
        repeat: Repeat::Once,
        when: "x86 and `cpu.power: UltraLowLatency`",
        why: "An idle CPU spins instead of sleeping: no wake-up latency at all, at full power on every CPU.",
        source: KERNEL,
        emit: |profile| when(is_x86(profile) && ultra(profile), "idle=poll"),
    },
];
