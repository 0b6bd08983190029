//! What a kubelet doesn't start with, although each field alone is right. Each case has its counterpart that a kubelet takes.

use serde_json::{Map, Value};

use super::*;
use crate::merge::kubelet::{FIELDS, Kind};

const NUMA: &str = "numa: {topologyPolicy: Restricted}";

fn with(overrides: &str) -> String {
    format!("kubelet: {{overrides: {{{overrides}}}}}")
}

fn at(key: &str) -> String {
    format!("spec.kubelet.overrides.{key}")
}

fn fields(valid: &ValidProfile) -> Map<String, Value> {
    let rendered = crate::render::render(valid).kubelet_config.unwrap();
    let fields = rendered.spec.kubelet_config.unwrap();
    fields.as_object().unwrap().clone()
}

#[test]
fn reservations_are_whole_bytes_for_the_memory_manager() {
    let none = nothing_known();
    let message = "no whole number of bytes";
    for part in ["systemReserved", "kubeReserved"] {
        for amount in ["1.3Gi", "1.1Gi", "1500m"] {
            let spec = format!("kubelet: {{{part}: {{memory: {amount}}}}}");
            refuses(
                &format!("{NUMA}\n{spec}"),
                &none,
                &format!("spec.kubelet.{part}.memory"),
                message,
            );
            // Without the memory manager nobody compares it.
            passes(&spec, &none);
        }
    }
    for (overrides, key) in [
        ("systemReserved: {memory: 1.3Gi}", "systemReserved.memory"),
        (
            "evictionHard: {memory.available: 0.1Gi}",
            "evictionHard.memory.available",
        ),
    ] {
        refuses(
            &format!("{NUMA}\n{}", with(overrides)),
            &none,
            &at(key),
            message,
        );
    }
    passes(
        &format!(
            "{NUMA}\nkubelet: {{systemReserved: {{memory: 1.5Gi}}, kubeReserved: {{memory: '1000000001'}}}}"
        ),
        &none,
    );
}

#[test]
fn a_threshold_that_is_switched_off_stays_as_it_is() {
    for threshold in ["0%", "100%", "0.0%"] {
        let spec = format!(
            "{NUMA}\n{}",
            with(&format!("evictionHard: {{memory.available: {threshold}}}"))
        );
        for cluster in [nothing_known(), cluster(HARDWARE)] {
            let fields = fields(&passes(&spec, &cluster));
            assert_eq!(fields["evictionHard"]["memory.available"], threshold);
        }
        let rendered = fields(&passes(&spec, &nothing_known()));
        assert_eq!(rendered["reservedMemory"][0]["limits"]["memory"], "1000Mi");
    }
    let own = |amount: &str| {
        format!(
            "{NUMA}\n{}",
            with(&format!(
                "evictionHard: {{memory.available: 0%}}, reservedMemory: [{{numaNode: 0, limits: {{memory: {amount}}}}}]"
            ))
        )
    };
    passes(&own("1000Mi"), &nothing_known());
    refuses(
        &own("1100Mi"),
        &nothing_known(),
        &at("reservedMemory"),
        "must add up to",
    );
    refuses(
        &with("evictionHard: {memory.available: '0'}"),
        &nothing_known(),
        &at("evictionHard.memory.available"),
        "is zero",
    );
}

#[test]
fn a_reclaim_is_switched_off_by_a_zero_without_percent() {
    let reclaim = |amount: &str| {
        with(&format!(
            "evictionMinimumReclaim: {{memory.available: '{amount}'}}"
        ))
    };
    for amount in ["0", "0Mi", "100Mi", "5%"] {
        passes(&reclaim(amount), &nothing_known());
    }
    for (amount, message) in [
        ("0%", "is zero percent"),
        ("0.0%", "is zero percent"),
        ("x%", "no percentage"),
        ("-1Mi", "is negative"),
    ] {
        refuses(
            &reclaim(amount),
            &nothing_known(),
            &at("evictionMinimumReclaim.memory.available"),
            message,
        );
    }
}

#[test]
fn half_a_pair_is_compared_with_the_kubelets_default() {
    let none = nothing_known();
    let priorities =
        "shutdownGracePeriodByPodPriority: [{priority: 1, shutdownGracePeriodSeconds: 10}]";
    for (overrides, key, message) in [
        (
            "imageGCHighThresholdPercent: 75",
            "imageGCHighThresholdPercent",
            "which is 80 when nothing is said",
        ),
        (
            "imageGCLowThresholdPercent: 85",
            "imageGCLowThresholdPercent",
            "imageGCHighThresholdPercent, which is 85",
        ),
        (
            "imageMaximumGCAge: 1m",
            "imageMaximumGCAge",
            "must be more than imageMinimumGCAge",
        ),
        (
            "imageMaximumGCAge: 1h, imageMinimumGCAge: 60m",
            "imageMaximumGCAge",
            "must be more than imageMinimumGCAge",
        ),
        (
            "shutdownGracePeriodCriticalPods: 20s",
            "shutdownGracePeriodCriticalPods",
            "must not be longer",
        ),
        (
            "shutdownGracePeriodCriticalPods: 20s, shutdownGracePeriod: 10s",
            "shutdownGracePeriodCriticalPods",
            "must not be longer",
        ),
        (
            &format!("shutdownGracePeriod: 30s, {priorities}"),
            "shutdownGracePeriodByPodPriority",
            "can't stand beside",
        ),
    ] {
        refuses(&with(overrides), &none, &at(key), message);
    }
    for overrides in [
        "imageGCHighThresholdPercent: 81",
        "imageGCLowThresholdPercent: 84",
        "imageGCHighThresholdPercent: 75, imageGCLowThresholdPercent: 70",
        "imageMinimumGCAge: 10h",
        "imageMaximumGCAge: 3m",
        "imageMaximumGCAge: 1m, imageMinimumGCAge: 59s",
        "shutdownGracePeriod: 30s",
        "shutdownGracePeriod: 1100ms, shutdownGracePeriodCriticalPods: 1.1s",
        priorities,
    ] {
        passes(&with(overrides), &none);
    }
    warns(
        &with("imageGCHighThresholdPercent: 0"),
        &none,
        &at("imageGCHighThresholdPercent"),
        "OpenShift drops it",
    );
}

#[test]
fn a_structure_has_the_shape_of_its_type() {
    let none = nothing_known();
    let others = FIELDS.iter().filter(|(kind, _)| *kind == Kind::Other);
    for name in others.flat_map(|(_, names)| names.split_ascii_whitespace()) {
        if name == "featureGates" {
            // OpenShift refuses it, whatever it is.
            continue;
        }
        refuses(
            &with(&format!("{name}: foo")),
            &none,
            &at(name),
            "wrong type",
        );
        if name != "memoryThrottlingFactor" {
            refuses(&with(&format!("{name}: 3")), &none, &at(name), "wrong type");
        }
    }
    for (overrides, key) in [
        ("authentication: [1]", "authentication"),
        (
            "authentication: {anonymous: false}",
            "authentication.anonymous",
        ),
        ("authorization: {mode: 1}", "authorization.mode"),
        ("logging: {verbosity: high}", "logging.verbosity"),
        (
            "tracing: {samplingRatePerMillion: '5'}",
            "tracing.samplingRatePerMillion",
        ),
        (
            "userNamespaces: {idsPerPod: '65536'}",
            "userNamespaces.idsPerPod",
        ),
        ("registerWithTaints: {key: a}", "registerWithTaints"),
        ("registerWithTaints: [a]", "registerWithTaints"),
    ] {
        refuses(&with(overrides), &none, &at(key), "wrong type");
    }
    for overrides in [
        "authentication: {anonymous: {enabled: false}, webhook: {cacheTTL: 1m}}",
        "authorization: {mode: Webhook, webhook: {cacheAuthorizedTTL: 5m}}",
        "logging: {format: json, verbosity: 3, flushFrequency: 5000000000}",
        "logging: {flushFrequency: 5s, vmodule: [{filePattern: a, verbosity: 2}]}",
        "tracing: {endpoint: 'localhost:4317', samplingRatePerMillion: 100}",
        "userNamespaces: {idsPerPod: 65536}",
        "registerWithTaints: [{key: a, effect: NoSchedule}]",
        "memoryThrottlingFactor: 0.8",
        "staticPodURLHeader: {a: [b]}",
    ] {
        passes(&with(overrides), &none);
    }
}

#[test]
fn a_reservation_of_no_cpu_is_none() {
    let none = nothing_known();
    for reserved in [
        "systemReserved: {cpu: '0'}",
        "systemReserved: {cpu: 0m, memory: 1Gi}, kubeReserved: {cpu: '0'}",
    ] {
        let spec = format!("kubelet: {{{reserved}}}");
        assert!(!fields(&passes(&spec, &none)).contains_key("cpuManagerPolicy"));
        refuses(
            &format!("kubelet: {{{reserved}, overrides: {{cpuManagerPolicy: static}}}}"),
            &none,
            &at("cpuManagerPolicy"),
            "needs reserved CPUs",
        );
    }
    for spec in [
        "kubelet: {systemReserved: {cpu: '0'}, kubeReserved: {cpu: 1m}}",
        // OpenShift keeps 500m for the system when nothing is said.
        "kubelet: {kubeReserved: {cpu: '0'}, overrides: {cpuManagerPolicy: static}}",
        "kubelet: {systemReserved: {cpu: '0'}, overrides: {cpuManagerPolicy: static, reservedSystemCPUs: 0-1}}",
        "cpu: {reserved: 0-1, isolated: 2-7}\nkubelet: {systemReserved: {cpu: '0'}}",
    ] {
        assert_eq!(
            fields(&passes(spec, &none))["cpuManagerPolicy"],
            "static",
            "{spec}"
        );
    }
}

#[test]
fn reserved_memory_is_of_nodes_and_pages_that_the_kubelet_counts() {
    let reserving = |item: &str| with(&format!("reservedMemory: [{item}]"));
    let pages = reserving("{numaNode: 0, limits: {memory: 1100Mi, hugepages-1Gi: 1Gi}}");
    refuses(
        &format!("{NUMA}\n{pages}"),
        &nothing_known(),
        &at("reservedMemory[0].limits.hugepages-1Gi"),
        "more than the 0 huge pages",
    );
    // Without the memory manager nobody reads it.
    passes(&pages, &nothing_known());
    let known = cluster(HARDWARE);
    let far = reserving("{numaNode: 5, limits: {memory: 1100Mi}}");
    refuses(
        &format!("{NUMA}\n{far}"),
        &known,
        &at("reservedMemory[0].numaNode"),
        "n1 has no such NUMA node",
    );
    passes(&far, &known);
    passes(&format!("{NUMA}\n{far}"), &nothing_known());
    let near = far.replace("numaNode: 5", "numaNode: 1");
    passes(&format!("{NUMA}\n{near}"), &known);
}

#[test]
fn pods_get_namespaced_parameters_only() {
    let none = nothing_known();
    for name in ["vm.swappiness", "kernel.sched_rt_runtime_us", "kernel.*"] {
        refuses(
            &with(&format!("allowedUnsafeSysctls: [net.*, '{name}']")),
            &none,
            &at("allowedUnsafeSysctls[1]"),
            "is not the pod's own",
        );
    }
    refuses(
        &with("allowedUnsafeSysctls: [net.*.x]"),
        &none,
        &at("allowedUnsafeSysctls[0]"),
        "no name of a kernel parameter",
    );
    passes(
        &with("allowedUnsafeSysctls: [net/core/somaxconn, 'kernel.shm*', kernel.sem]"),
        &none,
    );
}

#[test]
fn two_ways_to_spread_cpus_are_one_too_many() {
    let options = |numa: &str| {
        let options = format!(
            "cpuManagerPolicyOptions: {{prefer-align-cpus-by-uncorecache: 'true', distribute-cpus-across-numa: '{numa}'}}"
        );
        format!("cpu: {{reserved: 0-1, isolated: 2-7}}\n{}", with(&options))
    };
    refuses(
        &options("true"),
        &nothing_known(),
        &at("cpuManagerPolicyOptions.prefer-align-cpus-by-uncorecache"),
        "can't be used together with distribute-cpus-across-numa",
    );
    passes(&options("false"), &nothing_known());
}

#[test]
fn negative_times_are_for_volume_statistics() {
    let none = nothing_known();
    let soft = |time: &str| {
        with(&format!(
            "evictionSoft: {{memory.available: 1Gi}}, evictionSoftGracePeriod: {{memory.available: {time}}}"
        ))
    };
    refuses(
        &soft("-30s"),
        &none,
        &at("evictionSoftGracePeriod.memory.available"),
        "is out of range",
    );
    passes(&soft("30s"), &none);
    passes(&with("volumeStatsAggPeriod: -1s"), &none);
    refuses(
        &with("syncFrequency: -1s"),
        &none,
        &at("syncFrequency"),
        "is out of range",
    );
}

#[test]
fn the_memory_a_node_can_give_is_a_signal() {
    passes(
        &with("evictionHard: {allocatableMemory.available: 200Mi}"),
        &nothing_known(),
    );
}

#[test]
fn the_memory_manager_keeps_some_memory() {
    let none = nothing_known();
    let message = "needs some memory kept";
    let zero = "systemReserved: {memory: '0'}, kubeReserved: {memory: '0'}";
    let off = "evictionHard: {memory.available: 0%}";
    refuses(
        &format!("{NUMA}\nkubelet: {{{zero}, overrides: {{{off}}}}}"),
        &none,
        "spec.kubelet.systemReserved.memory",
        message,
    );
    let all = with(&format!("{zero}, {off}"));
    for spec in [
        format!("{NUMA}\n{all}"),
        with(&format!("{zero}, {off}, memoryManagerPolicy: Static")),
    ] {
        refuses(&spec, &none, &at("systemReserved.memory"), message);
    }
    // Without the memory manager nobody wants any.
    passes(&all, &none);
    for some in [
        format!("kubelet: {{{zero}}}"),
        format!("kubelet: {{systemReserved: {{memory: '0'}}, overrides: {{{off}}}}}"),
    ] {
        let rendered = fields(&passes(&format!("{NUMA}\n{some}"), &none));
        assert!(rendered.contains_key("reservedMemory"), "{some}");
    }
    refuses(
        &format!("{NUMA}\n{}", with("reservedMemory: []")),
        &none,
        &at("reservedMemory"),
        "is empty",
    );
}

#[test]
fn values_inside_structures_are_the_kubelets() {
    let none = nothing_known();
    for (overrides, key, message) in [
        (
            "logging: {format: xml}",
            "logging.format",
            "is none of the values",
        ),
        (
            "logging: {format: json, vmodule: [{filePattern: a, verbosity: 2}]}",
            "logging.vmodule",
            "can't stand beside the format json",
        ),
        (
            "logging: {verbosity: -1}",
            "logging.verbosity",
            "is out of range",
        ),
        (
            "logging: {vmodule: [{verbosity: 2}]}",
            "logging.vmodule[0].filePattern",
            "is missing",
        ),
        (
            "logging: {vmodule: [{filePattern: 'a=1', verbosity: 2}]}",
            "logging.vmodule[0].filePattern",
            "equals sign",
        ),
        (
            "logging: {options: {json: {splitStream: true}}}",
            "logging.options.json.splitStream",
            "feature gate",
        ),
        (
            "authorization: {mode: RBAC}",
            "authorization.mode",
            "is none of the values",
        ),
        (
            "tracing: {samplingRatePerMillion: 1000001}",
            "tracing.samplingRatePerMillion",
            "is out of range",
        ),
        (
            "tracing: {samplingRatePerMillion: -1}",
            "tracing.samplingRatePerMillion",
            "is out of range",
        ),
        (
            "tracing: {endpoint: 'http://a:4317'}",
            "tracing.endpoint",
            "no endpoint",
        ),
        (
            "showHiddenMetricsForVersion: '1.33'",
            "showHiddenMetricsForVersion",
            "one version",
        ),
        ("address: localhost", "address", "no IP address"),
        (
            "userNamespaces: {idsPerPod: 65537}",
            "userNamespaces.idsPerPod",
            "is out of range",
        ),
        (
            "authentication: {webhook: {cacheTTL: ever}}",
            "authentication.webhook.cacheTTL",
            "is no time",
        ),
        (
            "memorySwap: {swapBehavior: LimitedSwap}",
            "memorySwap.swapBehavior",
            "OpenShift refuses it",
        ),
    ] {
        refuses(&with(overrides), &none, &at(key), message);
    }
    for overrides in [
        "logging: {format: text, vmodule: [{filePattern: a, verbosity: 2}]}",
        "logging: {format: json, vmodule: []}",
        "logging: {options: {json: {splitStream: false, infoBufferSize: '0'}}}",
        "authorization: {mode: AlwaysAllow}",
        "tracing: {samplingRatePerMillion: 1000000}",
        "tracing: {endpoint: 'unix:///run/otel.sock'}",
        "address: 0.0.0.0",
        "address: '::'",
    ] {
        passes(&with(overrides), &none);
    }
}

#[test]
fn a_taint_is_one_that_a_node_can_have() {
    let none = nothing_known();
    for (overrides, key, message) in [
        (
            "registerWithTaints: [{key: a, effect: NoScheduling}]",
            "registerWithTaints[0].effect",
            "is none of the values",
        ),
        (
            "registerWithTaints: [{key: a/b/c, effect: NoSchedule}]",
            "registerWithTaints[0].key",
            "no taint's key",
        ),
        (
            "registerWithTaints: [{key: a, value: 'b c', effect: NoSchedule}]",
            "registerWithTaints[0].value",
            "no taint's value",
        ),
        (
            "registerWithTaints: [{key: a}]",
            "registerWithTaints[0].effect",
            "is missing",
        ),
        (
            "registerWithTaints: [null]",
            "registerWithTaints[0].key",
            "is missing",
        ),
        (
            "registerWithTaints: [{key: a, effect: NoSchedule, timeAdded: '2026-01-01T00:00:00Z'}]",
            "registerWithTaints[0].timeAdded",
            "the cluster's to set",
        ),
    ] {
        refuses(&with(overrides), &none, &at(key), message);
    }
    passes(
        &with("registerWithTaints: [{key: example.org/rt, value: 'true', effect: NoExecute}]"),
        &none,
    );
}

#[test]
fn structures_inside_structures_have_the_shape_of_their_types() {
    let none = nothing_known();
    for (overrides, key) in [
        (
            "shutdownGracePeriodByPodPriority: [{priority: 1}, {priority: '1'}]",
            "shutdownGracePeriodByPodPriority[1].priority",
        ),
        (
            "shutdownGracePeriodByPodPriority: [{priority: 2147483648}]",
            "shutdownGracePeriodByPodPriority[0].priority",
        ),
        (
            "shutdownGracePeriodByPodPriority: [{shutdownGracePeriodSeconds: 10s}]",
            "shutdownGracePeriodByPodPriority[0].shutdownGracePeriodSeconds",
        ),
        (
            "registerWithTaints: [{key: 1, effect: NoSchedule}]",
            "registerWithTaints[0].key",
        ),
        (
            "registerWithTaints: [{key: a, value: true, effect: NoSchedule}]",
            "registerWithTaints[0].value",
        ),
        (
            "registerWithTaints: [{key: a, effect: [NoSchedule]}]",
            "registerWithTaints[0].effect",
        ),
        (
            "authentication: {webhook: {enabled: 'true'}}",
            "authentication.webhook.enabled",
        ),
        (
            "authentication: {webhook: {cacheTTL: 60}}",
            "authentication.webhook.cacheTTL",
        ),
        (
            "authentication: {anonymous: {enabled: 'no'}}",
            "authentication.anonymous.enabled",
        ),
        (
            "authentication: {x509: {clientCAFile: [a]}}",
            "authentication.x509.clientCAFile",
        ),
        (
            "authorization: {webhook: {cacheAuthorizedTTL: 5}}",
            "authorization.webhook.cacheAuthorizedTTL",
        ),
        (
            "authorization: {webhook: {cacheUnauthorizedTTL: {}}}",
            "authorization.webhook.cacheUnauthorizedTTL",
        ),
        ("logging: {flushFrequency: true}", "logging.flushFrequency"),
        ("logging: {flushFrequency: 1.5}", "logging.flushFrequency"),
        ("logging: {vmodule: {a: 2}}", "logging.vmodule"),
        ("logging: {options: {json: 1}}", "logging.options.json"),
        (
            "memorySwap: {swapBehavior: false}",
            "memorySwap.swapBehavior",
        ),
        ("staticPodURLHeader: {a: b}", "staticPodURLHeader.a"),
    ] {
        let validated = check(&with(overrides), &none);
        let problem = problem(&validated, &at(key), "wrong type");
        assert_eq!(problem.severity, Severity::Error);
        assert_eq!(validated.problems.0.len(), 1, "{}", validated.problems);
    }
    for (overrides, key, remedy) in [
        (
            "shutdownGracePeriodByPodPriority: [{priorty: 1}]",
            "shutdownGracePeriodByPodPriority[0].priorty",
            "did you mean `priority`?",
        ),
        (
            "authentication: {webhook: {enable: true}}",
            "authentication.webhook.enable",
            "did you mean `enabled`?",
        ),
        (
            "tracing: {endpont: 'a:1'}",
            "tracing.endpont",
            "did you mean `endpoint`?",
        ),
        (
            "authorization: {webhok: {}}",
            "authorization.webhok",
            "did you mean `webhook`?",
        ),
    ] {
        let validated = check(&with(overrides), &none);
        let problem = problem(&validated, &at(key), "is no name that the kubelet knows");
        assert_eq!(problem.remedy, remedy);
    }
    for overrides in [
        "shutdownGracePeriodByPodPriority: [{priority: -1, shutdownGracePeriodSeconds: 10}]",
        "authentication: {x509: {clientCAFile: /etc/ca.crt}, webhook: {enabled: true}}",
        "authorization: {webhook: {cacheUnauthorizedTTL: 30s}}",
        // A null sets nothing.
        "authentication: {webhook: null, anonymous: {enabled: null}}",
    ] {
        passes(&with(overrides), &none);
    }
}

#[test]
fn reserved_cpus_of_an_override_exist() {
    let known = cluster(HARDWARE);
    let reserving = |cpus: &str| with(&format!("reservedSystemCPUs: '{cpus}'"));
    refuses(
        &reserving("0-1,99"),
        &known,
        &at("reservedSystemCPUs"),
        "CPUs 99 don't exist; there are 0-15 (on n1)",
    );
    passes(&reserving("0-1,15"), &known);
    passes(&reserving("0-1,99"), &nothing_known());
    // The kubelet counts what is online: half of them with SMT off.
    let counted = cluster(COUNTED);
    refuses(
        &reserving("0,32"),
        &counted,
        &at("reservedSystemCPUs"),
        "the kubelet counts 16 CPUs",
    );
    passes(&reserving("0,31"), &counted);
}

#[test]
fn a_topology_policy_is_for_eight_numa_nodes() {
    let numa = |count: u32| {
        let nodes: Vec<String> = (0..count)
            .map(|id| format!("{{id: {id}, cpus: '{id}', memoryKiB: 4194304}}"))
            .collect();
        let (head, _) = HARDWARE.split_once("    numaNodes").unwrap();
        let (head, _) = head.split_once("    siblings").unwrap();
        cluster(&format!("{head}    numaNodes: [{}]\n", nodes.join(", ")))
    };
    let (few, many) = (numa(8), numa(12));
    let message = "more than 8 NUMA nodes; there are 12 (on n1)";
    for policy in ["BestEffort", "Restricted", "SingleNumaNode"] {
        let spec = format!("numa: {{topologyPolicy: {policy}}}");
        refuses(&spec, &many, "spec.numa.topologyPolicy", message);
        passes(&spec, &few);
        passes(&spec, &nothing_known());
    }
    // The policy that nobody has asked for is one, too.
    refuses(
        "cpu: {reserved: 0-1, isolated: 2-15}",
        &many,
        "spec.numa.topologyPolicy",
        message,
    );
    passes("numa: {topologyPolicy: None}", &many);
    let raised = |most: &str| {
        format!(
            "{NUMA}\n{}",
            with(&format!(
                "topologyManagerPolicyOptions: {{max-allowable-numa-nodes: '{most}'}}"
            ))
        )
    };
    passes(&raised("16"), &many);
    refuses(
        &raised("10"),
        &many,
        "spec.numa.topologyPolicy",
        "more than 10 NUMA nodes",
    );
    let overridden = with("topologyManagerPolicy: best-effort");
    refuses(&overridden, &many, &at("topologyManagerPolicy"), message);
    let validated = check(&overridden, &many);
    let problem = problem(&validated, &at("topologyManagerPolicy"), message);
    assert!(
        problem.remedy.contains("max-allowable-numa-nodes: \"16\""),
        "{problem}"
    );
}
