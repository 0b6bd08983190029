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
        &none,
        field,
        "no size of huge pages",
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
