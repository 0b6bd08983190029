//! CPU sets and memory, among themselves and against the nodes. Each fault is refused or told by its field; what is right passes without a word.

use super::*;

#[test]
fn cpu_sets_among_themselves() {
    let none = nothing_known();
    refuses(
        "cpu: {reserved: 0-3, isolated: 2-7}",
        &none,
        "spec.cpu.isolated",
        "overlaps reserved in 2-3",
    );
    refuses(
        "cpu: {reserved: 0-3, isolated: 4-7, offlined: 7-9}",
        &none,
        "spec.cpu.offlined",
        "overlaps isolated in 7",
    );
    refuses(
        "cpu: {reserved: 0-3, isolated: 4-7, shared: 3-4}",
        &none,
        "spec.cpu.shared",
        "overlaps reserved in 3",
    );
    refuses(
        "cpu: {reserved: '0', isolated: 2-5000000}",
        &none,
        "spec.cpu.isolated",
        "CPU 5000000 is beyond 4095",
    );
    refuses(
        "cpu: {reserved: '0', isolated: 7-2}",
        &none,
        "spec.cpu.isolated",
        "ends before it begins",
    );
    refuses(
        "cpu: {reserved: '1', isolated: 2-3, offlined: '0'}",
        &none,
        "spec.cpu.offlined",
        "CPU 0 boots",
    );
    refuses(
        "cpu: {offlined: 2-3}",
        &none,
        "spec.cpu.reserved",
        "is missing",
    );
    refuses(
        "cpu: {frequency: {isolated: 2500000}}",
        &none,
        "spec.cpu.frequency.isolated",
        "no CPUs are isolated",
    );
    warns(
        "cpu: {reserved: 1-3, isolated: '0'}",
        &none,
        "spec.cpu.isolated",
        "CPU 0 is isolated",
    );
    warns(
        "cpu: {isolation: Domain}",
        &none,
        "spec.cpu.isolation",
        "no effect",
    );
    passes(
        "cpu: {reserved: 0-1, isolated: 2-7, offlined: '', shared: ''}",
        &none,
    );
}

#[test]
fn cpu_sets_against_the_nodes() {
    let hardware = cluster(HARDWARE);
    refuses(
        "cpu: {reserved: '0,8', isolated: '1-7,9-16'}",
        &hardware,
        "spec.cpu.isolated",
        "CPUs 16 don't exist; there are 0-15 (on n1)",
    );
    refuses(
        "cpu: {reserved: '0,8', isolated: '1-6,9-14'}",
        &hardware,
        "spec.cpu",
        "CPUs 7,15 are in none of the sets",
    );
    refuses(
        "cpu: {reserved: 0-1, isolated: 2-15}",
        &hardware,
        "spec.cpu.isolated",
        "cores are split: of the threads 0-1,8-9",
    );
    refuses(
        "cpu: {reserved: '0', isolated: '1-7,9', smt: Off}",
        &hardware,
        "spec.cpu.isolated",
        "CPUs 9 are second threads",
    );
    warns(
        "cpu: {reserved: '0,8', isolated: '1-7,10-15', offlined: '9'}",
        &hardware,
        "spec.cpu.offlined",
        "two speeds",
    );
    passes("cpu: {reserved: '0,8', isolated: '1-7,9-15'}", &hardware);
    passes(
        "cpu: {reserved: '0,8', isolated: '1-7', offlined: '9-15'}",
        &hardware,
    );
    passes(
        "cpu: {reserved: '0,8', isolated: '1-6,9-14', shared: '7,15'}",
        &hardware,
    );
    passes("cpu: {reserved: '0', isolated: '1-7', smt: Off}", &hardware);
    passes("cpu: {reserved: '0,8'}", &hardware);

    let counted = cluster(COUNTED);
    refuses(
        "cpu: {reserved: 0-1, isolated: 2-16}",
        &counted,
        "spec.cpu.isolated",
        "the kubelet counts 16 CPUs",
    );
    refuses(
        "cpu: {reserved: 0-1, isolated: 2-13}",
        &counted,
        "spec.cpu",
        "2 of 16 CPUs are in none of the sets, 14-15 as it seems",
    );
    passes("cpu: {reserved: 0-1, isolated: 2-15}", &counted);
    // After the offlining the kubelet counts fewer: the answer stays.
    passes(
        "cpu: {reserved: 0-1, isolated: 2-15, offlined: 16-19}",
        &counted,
    );
    passes(
        "cpu: {reserved: 0-1, isolated: 2-11, offlined: 12-15}",
        &counted,
    );
    passes("cpu: {reserved: 0-1, isolated: 2-15, smt: Off}", &counted);
}

#[test]
fn huge_pages_and_page_size() {
    let none = nothing_known();
    let field = "spec.memory.hugepages.pages[0].size";
    refuses(
        "memory: {hugepages: {pages: [{size: 3M, count: 1}]}}",
        &none,
        field,
        "no size of huge pages",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 32M, count: 1}]}}",
        &cluster(HARDWARE),
        field,
        "that these nodes have",
    );
    passes(
        "memory: {hugepages: {pages: [{size: 32M, count: 1}]}}",
        &cluster(&COUNTED.replace("amd64", "arm64")),
    );
    refuses(
        "memory: {hugepages: {defaultSize: 4G, pages: []}}",
        &none,
        "spec.memory.hugepages.defaultSize",
        "no size",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 1G, count: 1}, {size: 1G, count: 2}]}}",
        &none,
        "spec.memory.hugepages.pages[1]",
        "appears twice",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 1G, count: 1}, {size: 1G, count: 2, node: 0}]}}",
        &none,
        "spec.memory.hugepages.pages[1]",
        "with and without a NUMA node",
    );
    refuses(
        "memory: {kernelPageSize: 64k}\nkernel: {realtime: true}",
        &none,
        "spec.memory.kernelPageSize",
        "no real-time kernel with 64k",
    );
    let hardware = cluster(HARDWARE);
    refuses(
        "memory: {kernelPageSize: 64k}",
        &hardware,
        "spec.memory.kernelPageSize",
        "only ARM",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 1G, count: 64}]}}",
        &hardware,
        "spec.memory.hugepages.pages",
        "it wouldn't boot",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 1G, count: 32, node: 1}]}}",
        &hardware,
        "spec.memory.hugepages.pages",
        "more than NUMA node 1",
    );
    refuses(
        "memory: {hugepages: {pages: [{size: 1G, count: 1, node: 2}]}}",
        &hardware,
        "spec.memory.hugepages.pages",
        "no such NUMA node",
    );
    let valid = passes(
        "memory: {hugepages: {defaultSize: 1G, pages: [{size: 1G, count: 16, node: 1}, {size: 2M, count: 100}]}}",
        &hardware,
    );
    assert_eq!(valid.hugepages.on_node, [(1, 1 << 20, 16)]);
    assert_eq!(valid.hugepages.spread, [(2048, 100)]);
    passes(
        "memory: {kernelPageSize: 64k, hugepages: {defaultSize: 512M, pages: [{size: 512M, count: 1}]}}",
        &none,
    );
    passes(
        "memory: {hugepages: {pages: [{size: 2M, count: 0}]}}",
        &none,
    );
}

/// A profile for ARM is right without a cluster, too.
#[test]
fn while_no_node_is_known_the_sizes_of_every_architecture_are_taken() {
    let arm = "memory: {hugepages: {defaultSize: 32M, pages: [{size: 64k, count: 10}, {size: 2M, count: 4, node: 0}]}}";
    let none = nothing_known();
    let field = "spec.memory.hugepages";
    let assumed = "of amd64, which is assumed while no node is known";
    warns(arm, &none, field, assumed);
    let told = check(arm, &none).problems.0;
    let values: Vec<&str> = told.iter().map(|problem| problem.value.as_str()).collect();
    assert_eq!(values, ["32M", "64k"]);
    let of_another_pool = COUNTED.replace("edge-rt", "worker");
    refuses(
        arm,
        &cluster(&of_another_pool),
        field,
        "of amd64, which the nodes are that may join the pool",
    );
    let validated = check(arm, &cluster(&of_another_pool.replace("amd64", "arm64")));
    assert!(validated.profile.is_some(), "{}", validated.problems);
    refuses(
        "memory: {kernelPageSize: 64k, hugepages: {pages: [{size: 1G, count: 1}]}}",
        &none,
        "spec.memory.hugepages.pages[0].size",
        "that any nodes have",
    );
}

/// Each part alone may fit.
#[test]
fn something_must_be_left_for_pods() {
    let counted = cluster(COUNTED);
    refuses(
        "kubelet: {systemReserved: {memory: 40Gi}, kubeReserved: {memory: 30Gi}}",
        &counted,
        "spec.kubelet",
        "take as much as n1 has (65536 MiB)",
    );
    refuses(
        "kubelet: {systemReserved: {cpu: '10'}, kubeReserved: {cpu: '6'}}",
        &counted,
        "spec.kubelet",
        "as much CPU as n1 has (16000m)",
    );
    // With reserved CPUs the kubelet counts these.
    passes(
        "cpu: {reserved: 0-1, isolated: 2-15}\nkubelet: {systemReserved: {cpu: '10'}, kubeReserved: {cpu: '6'}}",
        &counted,
    );
    // 63 GiB of 64, and 1 GiB is kept for the system.
    let pages =
        |count: u32| format!("memory: {{hugepages: {{pages: [{{size: 1G, count: {count}}}]}}}}");
    refuses(
        &pages(63),
        &counted,
        "spec.memory.hugepages.pages",
        "nothing would be left for pods",
    );
    passes(&pages(60), &counted);
    let known = cluster(HARDWARE);
    for cluster in [&counted, &known] {
        refuses(
            "cpu: {reserved: 0-15}",
            cluster,
            "spec.cpu.reserved",
            "takes every CPU",
        );
        passes("cpu: {reserved: '0-1,8-9'}", cluster);
    }
}

#[test]
fn a_percentage_is_of_the_memory_that_the_kubelet_counts() {
    let valid = passes(
        "numa: {topologyPolicy: Restricted}\nkubelet: {overrides: {evictionHard: {memory.available: 5%}}}",
        &cluster(COUNTED),
    );
    let rendered = crate::render::render(&valid).kubelet_config.unwrap();
    let fields = rendered.spec.kubelet_config.unwrap();
    assert_eq!(fields["evictionHard"]["memory.available"], "3276Mi");
    assert_eq!(fields["reservedMemory"][0]["limits"]["memory"], "4276Mi");
    warns(
        "numa: {topologyPolicy: Restricted}\nkubelet: {overrides: {evictionHard: {memory.available: 5%}}}",
        &nothing_known(),
        "spec.kubelet.overrides.evictionHard.memory.available",
        "100Mi is written",
    );
}
