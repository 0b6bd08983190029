//! What other MachineConfigs bring to the pool against what the profile says: arguments, kernels, and what OpenShift
//! refuses to merge.

use super::*;

const CPUS: &str = "kernel: {realtime: true}\ncpu: {reserved: 0-3, isolated: 4-15}\nmemory: {hugepages: {defaultSize: 1G, pages: [{size: 1G, count: 16}]}}";

/// A MachineConfig of a role.
fn config(name: &str, role: &str, spec: &str) -> String {
    format!(
        "---\nkind: MachineConfig\nmetadata: {{name: {name}, labels: {{machineconfiguration.openshift.io/role: {role}}}}}\nspec: {{{spec}}}\n"
    )
}

/// A cluster with a MachineConfig of these arguments; `;` stands between its entries.
fn arguments(name: &str, role: &str, arguments: &str) -> Cluster {
    let entries = arguments.replace("; ", "', '");
    cluster(&config(
        name,
        role,
        &format!("kernelArguments: ['{entries}']"),
    ))
}

fn other_profile(name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: realtime.openshift.io/v1alpha1\nkind: RealtimeProfile\nmetadata: {{name: {name}}}\nspec:\n  {}\n",
        spec.replace('\n', "\n  ")
    )
}

#[test]
fn an_inherited_argument_that_the_kernel_keeps_is_refused() {
    let field = "MachineConfig/99-worker-tuning";
    for (argument, message) in [
        (
            "isolcpus=managed_irq,8-15",
            "contradicts isolcpus=managed_irq,4-15 of this profile and stands before it: the kernel keeps the first",
        ),
        ("nohz_full=8-15", "contradicts nohz_full=4-15"),
        ("default_hugepagesz=2M", "contradicts default_hugepagesz=1G"),
        (
            "hugepagesz=1G; hugepages=4",
            "contradicts hugepages=16 of this profile: of one size the kernel takes the first count",
        ),
        // Of the default size when nothing names one.
        ("hugepages=4", "contradicts hugepages=16"),
        ("nosmt", "contradicts spec.cpu.smt"),
        // An entry may hold several.
        ("quiet nohz_full=8-15", "contradicts nohz_full=4-15"),
    ] {
        let inherited = arguments("99-worker-tuning", "worker", argument);
        refuses(CPUS, &inherited, field, message);
    }
    let none = CPUS.replace("4-15}", "4-15, isolation: None}");
    let isolcpus = arguments("99-worker-tuning", "worker", "isolcpus=2-3");
    refuses(&none, &isolcpus, field, "contradicts spec.cpu.isolation");
}

#[test]
fn an_inherited_argument_that_ours_replaces_is_told() {
    for argument in ["skew_tick=0", "rcu_nocbs=8-15"] {
        warns(
            CPUS,
            &arguments("99-worker-tuning", "worker", argument),
            "MachineConfig/99-worker-tuning",
            "of this profile replaces it: the kernel takes the last",
        );
    }
    // Of the same role and a later name: nothing of ours stands behind it.
    let later = |argument: &str| arguments("99-tuning", "edge-rt", argument);
    let field = "MachineConfig/99-tuning";
    for argument in ["rcu_nocbs=8-15", "isolcpus=8-15"] {
        refuses(CPUS, &later(argument), field, "stands behind it");
    }
    // No field of the profile governs it: somebody's own choice.
    warns(CPUS, &later("skew_tick=0"), field, "stands behind it");
    // Of these the kernel keeps ours.
    for argument in ["nohz_full=8-15", "default_hugepagesz=2M"] {
        warns(CPUS, &later(argument), field, "the kernel keeps the first");
    }
    let pages = later("hugepagesz=1G; hugepages=4");
    warns(
        CPUS,
        &pages,
        field,
        "of one size the kernel takes the first count",
    );
}

#[test]
fn what_says_the_same_or_adds_something_is_no_conflict() {
    for argument in [
        "isolcpus=managed_irq,4-15; nohz_full=4-15",
        // The same CPUs and pages, written otherwise.
        "nohz_full=4,5-15",
        "systemd.cpu_affinity=0,1,2,3",
        "default_hugepagesz=1024M; hugepagesz=1G; hugepages=16",
        "hugepagesz=2M; hugepages=16",
        // The flags of the same CPUs add up.
        "isolcpus=managed_irq,4-7,8-15",
        "tsc=nowatchdog; nmi_watchdog=panic",
        "console=ttyS0; console=tty0; quiet; iommu=on; processor.max_cstate=1",
    ] {
        passes(CPUS, &arguments("99-worker-tuning", "worker", argument));
    }
    // Other pools' and our own.
    passes(CPUS, &arguments("99-infra", "infra", "nohz_full=8-15"));
    passes(
        CPUS,
        &arguments("50-realtime-edge-rt", "edge-rt", "nohz_full=8-15"),
    );
    // Without a partition nobody counts threads.
    passes(
        "{}",
        &arguments("99-worker-tuning", "worker", "nosmt; nohz_full=8-15"),
    );
    let off = CPUS.replace("4-15}", "4-15, smt: 'Off'}");
    passes(
        &off,
        &arguments("99-worker-tuning", "worker", "nosmt=force"),
    );
}

/// The driver's mode follows from the processor: see `an_own_choice_of_the_frequency_driver_stands`.
#[test]
fn an_inherited_frequency_driver_is_told() {
    let known = cluster(&format!(
        "{HARDWARE}{}",
        config(
            "99-power",
            "worker",
            "kernelArguments: [intel_pstate=disable]"
        )
    ));
    warns(
        "cpu: {reserved: '0-1,8-9', isolated: '2-7,10-15'}",
        &known,
        "MachineConfig/99-power",
        "the kernel keeps the first",
    );
}

#[test]
fn a_profile_of_the_workers_reaches_their_custom_pools() {
    let worker = |spec: &str| cluster(&other_profile("worker", spec));
    let fewer = CPUS.replace("4-15", "8-15").replace("0-3", "0-7");
    let field = "RealtimeProfile/worker";
    refuses(CPUS, &worker(&fewer), field, "contradicts nohz_full=4-15");
    let pages = CPUS.replace("16}", "8}");
    refuses(CPUS, &worker(&pages), field, "hugepages=16");
    passes(CPUS, &worker(CPUS));
    // It is the custom pool's matter, not that of the workers.
    let custom = cluster(&other_profile("edge-rt", CPUS));
    let validated = validate(&named("worker", &fewer), &custom);
    assert!(validated.profile.is_some(), "{}", validated.problems);
    // A paused one, one that is refused, and one of another custom pool change nothing here.
    passes(CPUS, &worker(&format!("{fewer}\nrollout: {{pause: true}}")));
    passes(CPUS, &worker(&fewer.replace("0-7", "0-9")));
    passes(CPUS, &cluster(&other_profile("infra", &fewer)));
    // As it will be, whatever is there yet; in a cluster as it is.
    let written = config(
        "50-realtime-worker",
        "worker",
        "kernelArguments: [nohz_full=8-15]",
    );
    let written = written.replace(
        "labels: {",
        "labels: {realtime.openshift.io/profile: worker, ",
    );
    let (same, stale) = (other_profile("worker", CPUS), written.as_str());
    passes(CPUS, &cluster(&format!("{same}{stale}")));
    let in_cluster = same.replace("name: worker}", "name: worker, uid: 1-2-3}");
    let both = cluster(&format!("{in_cluster}{stale}"));
    refuses(CPUS, &both, field, "contradicts nohz_full=4-15");
    passes(CPUS, &cluster(&in_cluster));
    refuses(
        CPUS,
        &cluster(stale),
        "MachineConfig/50-realtime-worker",
        "nohz_full",
    );
}

#[test]
fn a_performance_profile_of_the_workers_reaches_their_custom_pools() {
    let performance = "---\nkind: PerformanceProfile\nmetadata: {name: perf}\nspec: {cpu: {isolated: 8-15, reserved: 0-7}, nodeSelector: {node-role.kubernetes.io/worker: ''}, hugepages: {defaultHugepagesSize: 1G, pages: [{size: 1G, count: 4}]}}\n";
    let field = "PerformanceProfile/perf";
    let workers = cluster(performance);
    refuses(
        CPUS,
        &workers,
        field,
        "contradicts isolcpus=managed_irq,4-15",
    );
    refuses(CPUS, &workers, field, "contradicts nohz_full=4-15");
    refuses(CPUS, &workers, field, "contradicts hugepages=16");
    let same = performance
        .replace("8-15", "4-15")
        .replace("count: 4", "count: 16");
    passes(CPUS, &cluster(&same));
    passes(
        CPUS,
        &cluster(&performance.replace("io/worker", "io/infra")),
    );
    // What has been made of it counts, and once.
    let made = config(
        "50-nto-worker",
        "worker",
        "kernelArguments: [nohz_full=8-15]",
    );
    let validated = check(CPUS, &cluster(&format!("{performance}{made}")));
    assert_eq!(validated.problems.0.len(), 1, "{}", validated.problems);
    problem(&validated, "MachineConfig/50-nto-worker", "nohz_full=4-15");
}

#[test]
fn what_openshift_refuses_to_merge() {
    let field = "MachineConfigPool/edge-rt";
    let devel = cluster(&config(
        "80-extensions",
        "worker",
        "extensions: [kernel-devel]",
    ));
    refuses(
        CPUS,
        &devel,
        field,
        "OpenShift refuses to render it: installing kernel-devel extension is not supported with kernelType: realtime (MachineConfig/80-extensions)",
    );
    // With the stock kernel, and where the node daemon switches it, it does render.
    passes("{}", &devel);
    passes("kernel: {realtime: true, provider: NodeDaemon}", &devel);
    // What OpenShift says of one alone, it says itself: it may know more than we do.
    let unknown = config("80-extensions", "worker", "extensions: [unknown-one]");
    passes("{}", &cluster(&unknown));
    let fast = config("99-bad", "edge-rt", "kernelType: fast");
    passes("kernel: {realtime: true}", &cluster(&fast));
}

#[test]
fn a_kernel_that_another_replaces_is_refused() {
    let realtime = "kernel: {realtime: true}";
    let pages = "kernelType: 64k-pages";
    let message = "the kernel with 64k pages instead of kernelType realtime";
    let behind = cluster(&config("99-zz-64k", "edge-rt", pages));
    refuses(realtime, &behind, "MachineConfig/99-zz-64k", message);
    // Before ours it changes nothing; only where the daemon switches the kernel, ours names none.
    let before = cluster(&config("99-zz-64k", "worker", pages));
    passes(realtime, &before);
    let daemon = "kernel: {realtime: true, provider: NodeDaemon}";
    refuses(daemon, &before, "MachineConfig/99-zz-64k", message);
    // Nobody asked for another one, or somebody did.
    let nothing = "which nothing can turn off for one pool";
    warns("{}", &before, "MachineConfig/99-zz-64k", nothing);
    let small = "memory: {kernelPageSize: 4k}";
    refuses(small, &before, "MachineConfig/99-zz-64k", nothing);
}

#[test]
fn an_inherited_kernel_is_told_once() {
    let both = config("98-rt", "worker", "kernelType: realtime")
        + &config("99-rt", "worker", "kernelType: realtime");
    let validated = check("kernel: {realtime: false}", &cluster(&both));
    assert_eq!(validated.problems.0.len(), 1, "{}", validated.problems);
    problem(&validated, "MachineConfig/99-rt", "nothing can turn off");
    let workers = cluster(&other_profile("worker", "kernel: {realtime: true}"));
    refuses(
        "kernel: {realtime: false}",
        &workers,
        "RealtimeProfile/worker",
        "nothing can turn off",
    );
}
