//! What of a KubeletConfig reaches the nodes: which keys land in kubelet.conf, which elsewhere, which nowhere.
//!
//! Source: `kubeletconfig.json` among the recordings, the Machine Config Operator's published sources, and the
//! fields of Kubernetes 1.34's KubeletConfiguration. Whether a value makes sense is `validate`'s question.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::data_url;
use super::ignition;

/// The kubelet's own file.
pub const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
/// Where reservations for the system go: read by a script that computes the kubelet's command line.
pub const NODE_SIZING: &str = "/etc/node-sizing-enabled.env";

/// The resources of `systemReserved` that go to [`NODE_SIZING`] and not to kubelet.conf, with their
/// variable there and its value when nothing is asked for.
pub const NODE_SIZING_VARIABLES: [(&str, &str, &str); 3] = [
    ("memory", "SYSTEM_RESERVED_MEMORY", "1Gi"),
    ("cpu", "SYSTEM_RESERVED_CPU", "500m"),
    ("ephemeral-storage", "SYSTEM_RESERVED_ES", "1Gi"),
];

/// The Go type of a field: what its decoder refuses, and what a zero value means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `bool`, or a pointer to one.
    Bool,
    /// An integer of this Go type.
    Int(&'static str),
    /// `string`, or a pointer to one.
    Text,
    /// A duration as `10m` or `1h0m0s`.
    Duration,
    /// A map of texts.
    TextMap,
    /// A list of texts.
    TextList,
    /// Anything deeper: taken as it is.
    Other,
}

/// Every field of KubeletConfiguration v1beta1 in Kubernetes 1.34; other keys are dropped without a word.
pub const FIELDS: &[(Kind, &str)] = &[
    (
        Kind::Bool,
        "enableServer rotateCertificates serverTLSBootstrap enableDebuggingHandlers enableContentionProfiling \
         cgroupsPerQOS singleProcessOOMKill runOnce cpuCFSQuota serializeImagePulls mergeDefaultEvictionSettings \
         enableControllerAttachDetach protectKernelDefaults makeIPTablesUtilChains failSwapOn \
         kernelMemcgNotification enableSystemLogHandler enableSystemLogQuery enableProfilingHandler \
         enableDebugFlagsHandler seccompDefault registerNode localStorageCapacityIsolation failCgroupV1",
    ),
    (
        Kind::Int("int32"),
        "port readOnlyPort registryPullQPS registryBurst eventRecordQPS eventBurst healthzPort oomScoreAdj \
         nodeLeaseDurationSeconds imageGCHighThresholdPercent imageGCLowThresholdPercent maxPods \
         nodeStatusMaxImages kubeAPIQPS kubeAPIBurst maxParallelImagePulls evictionMaxPodGracePeriod podsPerCore \
         iptablesMasqueradeBit iptablesDropBit containerLogMaxFiles containerLogMaxWorkers",
    ),
    (Kind::Int("int64"), "podPidsLimit maxOpenFiles"),
    (
        Kind::Text,
        "staticPodPath podLogsDir staticPodURL address tlsCertFile tlsPrivateKeyFile tlsMinVersion \
         imagePullCredentialsVerificationPolicy healthzBindAddress clusterDomain kubeletCgroups systemCgroups \
         cgroupRoot cgroupDriver cpuManagerPolicy memoryManagerPolicy topologyManagerPolicy topologyManagerScope \
         hairpinMode podCIDR resolvConf contentType containerLogMaxSize \
         configMapAndSecretChangeDetectionStrategy reservedSystemCPUs showHiddenMetricsForVersion \
         systemReservedCgroup kubeReservedCgroup volumePluginDir providerID containerRuntimeEndpoint \
         imageServiceEndpoint",
    ),
    (
        Kind::Duration,
        "syncFrequency fileCheckFrequency httpCheckFrequency streamingConnectionIdleTimeout \
         nodeStatusUpdateFrequency nodeStatusReportFrequency imageMinimumGCAge imageMaximumGCAge \
         volumeStatsAggPeriod cpuManagerReconcilePeriod runtimeRequestTimeout cpuCFSQuotaPeriod \
         evictionPressureTransitionPeriod containerLogMonitorInterval shutdownGracePeriod \
         shutdownGracePeriodCriticalPods",
    ),
    (
        Kind::TextMap,
        "cpuManagerPolicyOptions topologyManagerPolicyOptions qosReserved evictionHard evictionSoft \
         evictionSoftGracePeriod evictionMinimumReclaim systemReserved kubeReserved",
    ),
    (
        Kind::TextList,
        "tlsCipherSuites preloadedImagesVerificationAllowlist clusterDNS enforceNodeAllocatable \
         allowedUnsafeSysctls",
    ),
    (
        Kind::Other,
        "staticPodURLHeader authentication authorization featureGates memorySwap logging \
         shutdownGracePeriodByPodPriority crashLoopBackOff reservedMemory memoryThrottlingFactor \
         registerWithTaints tracing userNamespaces",
    ),
];

/// The kind of a field; `None` when KubeletConfiguration has no such field.
pub fn kind_of(field: &str) -> Option<Kind> {
    FIELDS
        .iter()
        .find(|(_, names)| names.split_ascii_whitespace().any(|name| name == field))
        .map(|(kind, _)| *kind)
}

/// Where the fields of a KubeletConfig end up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Landing {
    /// Keys of kubelet.conf.
    pub kubelet_conf: Map<String, Value>,
    /// Variables of [`NODE_SIZING`].
    pub node_sizing: BTreeMap<&'static str, String>,
}

/// Where the fields of `spec.kubeletConfig` end up.
///
/// 1. Unknown keys are dropped.
/// 2. A zero value (`false`, 0, an empty text, list or map) never replaces what the pool has.
/// 3. Of `systemReserved`, memory, CPU and ephemeral storage go to another file; what else it holds stays.
/// 4. With `reservedSystemCPUs`, `systemReservedCgroup` is removed and `enforceNodeAllocatable` is `[pods]`.
pub fn landing(user: &Value) -> Landing {
    let mut landing = Landing::default();
    let fields = user.as_object().into_iter().flatten();
    for (field, value) in
        fields.filter(|(field, value)| kind_of(field).is_some() && !is_zero(value))
    {
        let mut value = value.clone();
        if field == "systemReserved"
            && let Some(reserved) = value.as_object_mut()
        {
            for (resource, variable, _) in NODE_SIZING_VARIABLES {
                if let Some(Value::String(quantity)) = reserved.remove(resource) {
                    landing.node_sizing.insert(variable, quantity);
                }
            }
            if reserved.is_empty() {
                continue;
            }
        }
        landing.kubelet_conf.insert(field.clone(), value);
    }
    if landing.kubelet_conf.contains_key("reservedSystemCPUs") {
        landing.kubelet_conf.remove("systemReservedCgroup");
        landing.kubelet_conf.insert(
            "enforceNodeAllocatable".to_owned(),
            Value::from(vec!["pods"]),
        );
    }
    landing
}

/// The keys of `spec.kubeletConfig` that land in kubelet.conf in every release, whatever else is there: texts, numbers,
/// lengths of time, and lists and maps of texts.
///
/// The rest is not foretold, as waiting for it might never end: zero values replace nothing (a duration of `0s` too),
/// nested structures are decoded, rewritten and merged field by field, and what `reservedSystemCPUs` does to its
/// neighbours differs between releases.
pub fn certain(user: &Value) -> Map<String, Value> {
    let texts = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    let reserved_cpus = user.get("reservedSystemCPUs").is_some_and(texts);
    let mut certain = Map::new();
    for (field, value) in user.as_object().into_iter().flatten() {
        let moved = reserved_cpus
            && matches!(
                field.as_str(),
                "systemReservedCgroup" | "enforceNodeAllocatable"
            );
        let sure = match (kind_of(field), value) {
            _ if moved => None,
            (Some(Kind::Bool), Value::Bool(true)) => Some(value.clone()),
            (Some(Kind::Int(_)), Value::Number(_)) if !is_zero(value) => Some(value.clone()),
            (Some(Kind::Text), _) if texts(value) => Some(value.clone()),
            (Some(Kind::Duration), Value::String(text)) => seconds(text)
                .filter(|seconds| *seconds > 0.0)
                .map(|_| value.clone()),
            (Some(Kind::TextList), Value::Array(list)) if list.iter().all(texts) => {
                (!list.is_empty()).then(|| value.clone())
            }
            (Some(Kind::TextMap), Value::Object(map)) => {
                let elsewhere = |key: &String| {
                    field == "systemReserved"
                        && NODE_SIZING_VARIABLES.iter().any(|(name, ..)| name == key)
                };
                let map: Map<String, Value> = map
                    .iter()
                    .filter(|(key, value)| texts(value) && !elsewhere(key))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                (!map.is_empty()).then_some(Value::Object(map))
            }
            _ => None,
        };
        if let Some(sure) = sure {
            certain.insert(field.clone(), sure);
        }
    }
    certain
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(value) => value.is_empty(),
        Value::Object(value) => value.is_empty(),
    }
}

/// kubelet.conf with the landed keys: maps merge key by key, everything else is replaced.
pub fn apply(base: &Map<String, Value>, landed: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = base.clone();
    for (field, value) in landed {
        match (merged.get_mut(field), value) {
            (Some(Value::Object(before)), Value::Object(after)) => *before = apply(before, after),
            _ => {
                merged.insert(field.clone(), value.clone());
            }
        }
    }
    if landed.contains_key("reservedSystemCPUs") {
        merged.remove("systemReservedCgroup");
    }
    merged
}

/// kubelet.conf of a merged Ignition config; `None` when it has none that can be read.
pub fn conf_of(config: &Value) -> Option<Map<String, Value>> {
    let text = file_text(config, KUBELET_CONF)?;
    serde_yaml::from_str(&text).ok()
}

/// The text of a file in an Ignition config; `None` when it is absent, fetched, compressed or no UTF-8.
pub fn file_text(config: &Value, path: &str) -> Option<String> {
    let file = ignition::entries(config, "files").find(|file| file["path"] == path)?;
    let contents = &file["contents"];
    let plain = contents["compression"]
        .as_str()
        .unwrap_or_default()
        .is_empty();
    let bytes = data_url::decode(contents["source"].as_str().unwrap_or_default())?;
    plain.then(|| String::from_utf8(bytes).ok()).flatten()
}

/// Whether what landed is what was asked for. The kubelet's own decoder rewrites durations (`60s` to `1m0s`)
/// and quantities (`1024Mi` to `1Gi`); a map may have further keys from elsewhere.
pub fn landed_as(asked: &Value, landed: &Value) -> bool {
    match (asked, landed) {
        (Value::Object(asked), Value::Object(landed)) => asked.iter().all(|(key, value)| {
            landed
                .get(key)
                .is_some_and(|landed| landed_as(value, landed))
        }),
        (Value::Array(asked), Value::Array(landed)) => {
            asked.len() == landed.len() && asked.iter().zip(landed).all(|(a, l)| landed_as(a, l))
        }
        (Value::String(asked), Value::String(landed)) => {
            asked == landed
                || same(seconds(asked), seconds(landed))
                || same(amount(asked), amount(landed))
        }
        (Value::Number(asked), Value::Number(landed)) => asked.as_f64() == landed.as_f64(),
        (Value::Number(_), Value::String(_)) => landed_as(&Value::from(asked.to_string()), landed),
        _ => asked == landed,
    }
}

fn same(a: Option<f64>, b: Option<f64>) -> bool {
    // Both come from short decimal texts: equal values parse to equal floats up to rounding.
    matches!((a, b), (Some(a), Some(b)) if (a - b).abs() <= a.abs() * 1e-12)
}

/// A Go duration in seconds.
fn seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let units = [
            ("ms", 1e-3),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("ns", 1e-9),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        let (unit, factor) = units.iter().find(|(unit, _)| after.starts_with(unit))?;
        total += number * factor;
        rest = after.get(unit.len()..)?;
    }
    (!text.is_empty()).then_some(total)
}

/// A Kubernetes quantity.
fn amount(text: &str) -> Option<f64> {
    let (number, suffix) = leading_number(text)?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    Some(number * factor)
}

fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_is_listed_once() {
        let mut names: Vec<&str> = FIELDS
            .iter()
            .flat_map(|(_, names)| names.split_ascii_whitespace())
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(count, 123);
        assert_eq!(kind_of("maxPods"), Some(Kind::Int("int32")));
        assert_eq!(kind_of("notAField"), None);
    }

    #[test]
    fn reservations_for_the_system_go_to_another_file() {
        let landing =
            landing(&json!({"systemReserved": {"cpu": "500m", "memory": "1Gi", "pid": "100"}}));
        assert_eq!(landing.node_sizing["SYSTEM_RESERVED_CPU"], "500m");
        assert_eq!(landing.node_sizing["SYSTEM_RESERVED_MEMORY"], "1Gi");
        assert_eq!(
            Value::from(landing.kubelet_conf),
            json!({"systemReserved": {"pid": "100"}})
        );
    }

    #[test]
    fn reserved_cpus_replace_the_enforcement_of_a_cgroup() {
        let landing = landing(
            &json!({"reservedSystemCPUs": "0-1", "systemReservedCgroup": "/system.slice",
            "enforceNodeAllocatable": ["pods", "system-reserved"]}),
        );
        assert_eq!(
            Value::from(landing.kubelet_conf),
            json!({"reservedSystemCPUs": "0-1", "enforceNodeAllocatable": ["pods"]})
        );
    }

    #[test]
    fn a_zero_value_replaces_nothing_and_maps_merge() {
        let base = json!({"maxPods": 250, "evictionHard": {"nodefs.available": "10%"}});
        let landed = landing(&json!({"maxPods": 0, "evictionHard": {"memory.available": "5%"}}))
            .kubelet_conf;
        assert_eq!(
            Value::from(apply(base.as_object().unwrap(), &landed)),
            json!({"maxPods": 250, "evictionHard": {"nodefs.available": "10%", "memory.available": "5%"}})
        );
    }

    #[test]
    fn what_the_decoder_rewrites_counts_as_landed() {
        for (asked, landed, expected) in [
            (json!("60s"), json!("1m0s"), true),
            (json!("1h30m"), json!("1h30m0s"), true),
            (json!("60s"), json!("59s"), false),
            (json!("1024Mi"), json!("1Gi"), true),
            (json!("1000m"), json!("1"), true),
            (json!("static"), json!("none"), false),
            (json!({"a": "1"}), json!({"a": "1", "b": "2"}), true),
            (json!({"a": "1"}), json!({"b": "2"}), false),
            (json!(["a"]), json!(["a", "b"]), false),
            (
                json!([{"numaNode": 0, "limits": {"memory": "1024Mi"}}]),
                json!([{"limits": {"memory": "1Gi"}, "numaNode": 0}]),
                true,
            ),
        ] {
            assert_eq!(landed_as(&asked, &landed), expected, "{asked} and {landed}");
        }
    }
}
