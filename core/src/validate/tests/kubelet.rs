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
