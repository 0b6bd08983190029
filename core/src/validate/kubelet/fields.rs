//! The values that a kubelet takes, field by field. The fields and their types are `merge::kubelet`'s table.
//!
//! Source: Kubernetes 1.34's validation of KubeletConfiguration and the managers' own option checks; the refusals
//! are the Machine Config Operator's.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::names::{
    CIPHERS, CPU_OPTIONS, CPU_OPTIONS_ALPHA, ENFORCEMENTS, RESERVABLE, SIGNALS, TOPOLOGY_OPTIONS,
};
use super::values::{self, at_least, between, has_kind, one_of, positive};
use super::{structures, sysctls};
use crate::cpu_set::CpuSet;
use crate::input::suggest;
use crate::merge::kubelet::Kind;
use crate::problem::{Problem, Problems};

/// The type is right already.
pub(super) fn check_value(field: &str, key: &str, value: &Value, problems: &mut Problems) {
    if structures::has_rows(key) {
        structures::check(field, key, value, problems);
        return;
    }
    match value {
        Value::String(text) => check_text(field, key, text, problems),
        Value::Number(_) => check_number(field, key, value, problems),
        Value::Array(items) => check_list(field, key, items, problems),
        Value::Object(map) => check_map(field, key, map, problems),
        Value::Bool(true) if key == "runOnce" => problems.push(Problem::error(
            field,
            "true",
            "keeps the kubelet from starting: it can't run once any more",
            "remove it",
        )),
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_text(field: &str, key: &str, text: &str, problems: &mut Problems) {
    let choices: &[&str] = match key {
        "cpuManagerPolicy" => &["none", "static"],
        "memoryManagerPolicy" => &["None", "Static"],
        "topologyManagerPolicy" => &["none", "best-effort", "restricted", "single-numa-node"],
        "topologyManagerScope" => &["container", "pod"],
        "hairpinMode" => &["promiscuous-bridge", "hairpin-veth", "none"],
        "tlsMinVersion" => &[
            "VersionTLS10",
            "VersionTLS11",
            "VersionTLS12",
            "VersionTLS13",
        ],
        "configMapAndSecretChangeDetectionStrategy" => &["Get", "Cache", "Watch"],
        "imagePullCredentialsVerificationPolicy" => &[
            "NeverVerify",
            "NeverVerifyPreloadedImages",
            "NeverVerifyAllowlistedImages",
            "AlwaysVerify",
        ],
        "contentType" => &["application/json", "application/vnd.kubernetes.protobuf"],
        // What OpenShift itself sets: anything else ends in a kubelet that doesn't start, or in a refusal.
        "cgroupRoot" => &["/"],
        "systemCgroups" | "systemReservedCgroup" => &["/system.slice"],
        "containerRuntimeEndpoint" | "imageServiceEndpoint" => {
            &["/var/run/crio/crio.sock", "unix:///var/run/crio/crio.sock"]
        }
        _ => &[],
    };
    if !choices.is_empty() {
        if !text.is_empty() {
            one_of(field, text, choices, problems);
        }
        return;
    }
    match key {
        "staticPodPath" if !text.is_empty() => problems.push(Problem::error(
            field,
            text,
            "OpenShift refuses it: static pods are its own on this pool",
            "remove it",
        )),
        "reservedSystemCPUs" => {
            if let Err(error) = text.parse::<CpuSet>() {
                problems.push(Problem::error(
                    field,
                    text,
                    error.to_string(),
                    "write numbers and ranges, as in 0-3,8; better: spec.cpu.reserved",
                ));
            }
        }
        "address" if !text.is_empty() && text.parse::<IpAddr>().is_err() => {
            problems.push(Problem::error(
                field,
                text.escape_debug(),
                "is no IP address: the kubelet would not start",
                "write an address as 0.0.0.0, or remove it",
            ));
        }
        "showHiddenMetricsForVersion" if !text.is_empty() => problems.push(Problem::error(
            field,
            text.escape_debug(),
            "is right for one version of the kubelet only: after the cluster's next update it would not start",
            "remove it",
        )),
        "containerLogMaxSize" => {
            values::quantity(field, text, problems);
        }
        _ if super::kind_of(key) == Some(super::Kind::Duration) => {
            check_duration(field, key, text, problems);
        }
        _ => {}
    }
}

fn check_duration(field: &str, key: &str, text: &str, problems: &mut Problems) {
    let Some(seconds) = values::duration(field, text, problems) else {
        return;
    };
    let bounds = match key {
        "cpuCFSQuotaPeriod" => problems_range(seconds, 0.001, 1.0, "1ms to 1s"),
        "containerLogMonitorInterval" => problems_range(seconds, 3.0, f64::MAX, "3s or more"),
        "shutdownGracePeriod" | "shutdownGracePeriodCriticalPods" if seconds != 0.0 => {
            problems_range(seconds, 1.0, f64::MAX, "0s, or 1s and more")
        }
        // A negative one switches it off.
        "volumeStatsAggPeriod" => None,
        _ => problems_range(seconds, 0.0, f64::MAX, "no negative time"),
    };
    if let Some(remedy) = bounds {
        problems.push(Problem::error(
            field,
            text,
            "is out of range: the kubelet would not start",
            remedy,
        ));
    }
}

fn problems_range(seconds: f64, least: f64, most: f64, words: &str) -> Option<String> {
    (seconds < least || seconds > most).then(|| format!("use {words}"))
}

fn check_number(field: &str, key: &str, value: &Value, problems: &mut Problems) {
    match key {
        "healthzPort" | "readOnlyPort" => between(field, value, 0, 65_535, problems),
        "port" => between(field, value, 1, 65_535, problems),
        "oomScoreAdj" => between(field, value, -1000, 1000, problems),
        "imageGCHighThresholdPercent" | "imageGCLowThresholdPercent" => {
            between(field, value, 0, 100, problems);
        }
        "iptablesMasqueradeBit" | "iptablesDropBit" => between(field, value, 0, 31, problems),
        "nodeStatusMaxImages" | "podPidsLimit" => at_least(field, value, -1, problems),
        "nodeLeaseDurationSeconds"
        | "maxParallelImagePulls"
        | "containerLogMaxWorkers"
        | "maxPods" => at_least(field, value, 1, problems),
        "containerLogMaxFiles" => at_least(field, value, 2, problems),
        "memoryThrottlingFactor" => {
            if !value
                .as_f64()
                .is_some_and(|factor| factor > 0.0 && factor <= 1.0)
            {
                problems.push(Problem::error(
                    field,
                    value,
                    "is out of range: the kubelet would not start",
                    "use more than 0 and at most 1",
                ));
            }
        }
        _ => at_least(field, value, 0, problems),
    }
}

fn check_list(field: &str, key: &str, items: &[Value], problems: &mut Problems) {
    match key {
        "enforceNodeAllocatable" => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            for (index, text) in texts.iter().enumerate() {
                one_of(&format!("{field}[{index}]"), text, &ENFORCEMENTS, problems);
                if texts.iter().take(index).any(|earlier| earlier == text) {
                    problems.push(Problem::error(
                        format!("{field}[{index}]"),
                        text,
                        "appears twice",
                        "remove one",
                    ));
                }
            }
            if texts.len() > 1 && texts.contains(&"none") {
                problems.push(Problem::error(
                    field,
                    "none",
                    "stands alone or not at all",
                    "remove the others, or none",
                ));
            }
            for part in ["system", "kube"] {
                let (whole, some) = (
                    format!("{part}-reserved"),
                    format!("{part}-reserved-compressible"),
                );
                if texts.contains(&whole.as_str()) && texts.contains(&some.as_str()) {
                    problems.push(Problem::error(
                        field,
                        whole,
                        format!("can't stand beside {some}"),
                        "remove one",
                    ));
                }
            }
        }
        "tlsCipherSuites" => {
            for (index, text) in items.iter().filter_map(Value::as_str).enumerate() {
                if !CIPHERS.contains(&text) {
                    problems.push(Problem::error(
                        format!("{field}[{index}]"),
                        text,
                        "is no cipher suite that the kubelet knows: it would not start",
                        suggest::nearest(text, CIPHERS).map_or_else(
                            || "use the names of Go's crypto/tls".to_owned(),
                            |near| format!("did you mean `{near}`?"),
                        ),
                    ));
                }
            }
        }
        "allowedUnsafeSysctls" => sysctls::check(field, items, problems),
        "reservedMemory" => super::together::check_reserved_memory(field, items, problems),
        _ => {}
    }
}

fn check_map(field: &str, key: &str, map: &Map<String, Value>, problems: &mut Problems) {
    let keys: &[&str] = match key {
        "cpuManagerPolicyOptions" => &CPU_OPTIONS,
        "topologyManagerPolicyOptions" => &TOPOLOGY_OPTIONS,
        "evictionHard" | "evictionSoft" | "evictionSoftGracePeriod" | "evictionMinimumReclaim" => {
            &SIGNALS
        }
        "systemReserved" | "kubeReserved" => &RESERVABLE,
        "qosReserved" => &["memory"],
        "staticPodURLHeader" => {
            for (name, value) in map {
                let field = format!("{field}.{}", name.escape_debug());
                has_kind(&field, value, Kind::TextList, problems);
            }
            return;
        }
        _ => return,
    };
    if key == "cpuManagerPolicyOptions" {
        check_spreading(field, map, problems);
    }
    for (name, value) in map {
        let field = format!("{field}.{}", name.escape_debug());
        let text = value.as_str().unwrap_or_default();
        if key == "cpuManagerPolicyOptions" && CPU_OPTIONS_ALPHA.contains(&name.as_str()) {
            problems.push(Problem::error(
                field,
                text,
                "needs a feature gate that OpenShift doesn't open: the kubelet would not start",
                "remove it",
            ));
            continue;
        }
        if !keys.contains(&name.as_str()) {
            values::unknown_name(&field, name, value, keys, problems);
            continue;
        }
        match key {
            "topologyManagerPolicyOptions" if name == "max-allowable-numa-nodes" => {
                check_most_numa_nodes(&field, text, problems);
            }
            "cpuManagerPolicyOptions" | "topologyManagerPolicyOptions" => {
                one_of(&field, text, &["true", "false"], problems);
            }
            "systemReserved" | "kubeReserved" => {
                values::quantity(&field, text, problems);
            }
            "evictionHard" | "evictionSoft" => {
                check_threshold(&field, text, problems);
            }
            "evictionMinimumReclaim" => check_reclaim(&field, text, problems),
            "evictionSoftGracePeriod" => check_duration(&field, key, text, problems),
            "qosReserved" => check_threshold(&field, text, problems),
            _ => {}
        }
    }
}

/// Both spread the CPUs of a container, each in its own way.
fn check_spreading(field: &str, options: &Map<String, Value>, problems: &mut Problems) {
    let both = [
        "prefer-align-cpus-by-uncorecache",
        "distribute-cpus-across-numa",
    ];
    let on = |option: &&str| options.get(*option).and_then(Value::as_str) == Some("true");
    if both.iter().all(on) {
        let [first, second] = both;
        problems.push(Problem::error(
            format!("{field}.{first}"),
            "true",
            format!("can't be used together with {second}: the kubelet would not start"),
            "remove one of the two",
        ));
    }
}

/// The kubelet's own limit is 8; the option can only raise it.
fn check_most_numa_nodes(field: &str, text: &str, problems: &mut Problems) {
    if !text.parse::<u32>().is_ok_and(|nodes| nodes >= 8) {
        problems.push(Problem::error(
            field,
            text,
            "is out of range: the kubelet would not start",
            "use 8 or more",
        ));
    }
}

/// A quantity above zero, or a percentage from 0 to 100.
fn check_threshold(field: &str, text: &str, problems: &mut Problems) {
    match text.strip_suffix('%') {
        Some(percent) => {
            let plain = !percent.is_empty()
                && percent
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.');
            if !plain
                || !percent
                    .parse::<f64>()
                    .is_ok_and(|percent| (0.0..=100.0).contains(&percent))
            {
                problems.push(Problem::error(
                    field,
                    text,
                    "is no percentage from 0% to 100%: the kubelet would not start",
                    "write it as 10%",
                ));
            }
        }
        None => positive(
            field,
            text,
            "use more than 0, or 0% to switch it off",
            problems,
        ),
    }
}

/// A quantity, zero too, or a percentage above 0: other than a threshold a reclaim can't be 0%.
fn check_reclaim(field: &str, text: &str, problems: &mut Problems) {
    let Some(percent) = text.strip_suffix('%') else {
        values::quantity(field, text, problems);
        return;
    };
    if percent.parse::<f64>().is_ok_and(|percent| percent == 0.0) {
        problems.push(Problem::error(
            field,
            text,
            "is zero percent, which a reclaim can't be: the kubelet would not start",
            "write 0 without a percent sign, or remove it",
        ));
    } else {
        check_threshold(field, text, problems);
    }
}
