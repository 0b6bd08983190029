//! What the kubelet's structures hold, key by key: names, types and values. Structures whose keys are the user's own
//! aren't here.
//!
//! Source: Kubernetes 1.34: the types of k8s.io/kubelet/config/v1beta1, v1.Taint, and component-base's logs and tracing,
//! each with its validation. OpenShift's decoder refuses a wrong type and drops an unknown key without a word.

use serde_json::{Map, Value};

use super::values::{self, at_least, between, has_kind, has_shape, one_of};
use crate::merge::kubelet::Kind::{self, Bool, Duration, Int, Other, Text};
use crate::problem::{Problem, Problems};
use crate::quantity::Quantity;
use crate::validate::text::{is_label_key, is_label_name};

/// A structure by its path, one of its keys, and the key's type. [`Other`] is a structure with rows of its own, or a list
/// of such.
const KEYS: &[(&str, &str, Kind)] = &[
    ("authentication", "x509", Other),
    ("authentication", "webhook", Other),
    ("authentication", "anonymous", Other),
    ("authentication.x509", "clientCAFile", Text),
    ("authentication.webhook", "enabled", Bool),
    ("authentication.webhook", "cacheTTL", Duration),
    ("authentication.anonymous", "enabled", Bool),
    ("authorization", "mode", Text),
    ("authorization", "webhook", Other),
    ("authorization.webhook", "cacheAuthorizedTTL", Duration),
    ("authorization.webhook", "cacheUnauthorizedTTL", Duration),
    ("crashLoopBackOff", "maxContainerRestartPeriod", Duration),
    ("logging", "format", Text),
    ("logging", "flushFrequency", Duration),
    ("logging", "verbosity", Int("int32")),
    ("logging", "vmodule", Other),
    ("logging", "options", Other),
    ("logging.vmodule", "filePattern", Text),
    ("logging.vmodule", "verbosity", Int("int32")),
    ("logging.options", "text", Other),
    ("logging.options", "json", Other),
    ("logging.options.text", "splitStream", Bool),
    ("logging.options.text", "infoBufferSize", Text),
    ("logging.options.json", "splitStream", Bool),
    ("logging.options.json", "infoBufferSize", Text),
    ("memorySwap", "swapBehavior", Text),
    ("registerWithTaints", "key", Text),
    ("registerWithTaints", "value", Text),
    ("registerWithTaints", "effect", Text),
    ("registerWithTaints", "timeAdded", Text),
    ("shutdownGracePeriodByPodPriority", "priority", Int("int32")),
    (
        "shutdownGracePeriodByPodPriority",
        "shutdownGracePeriodSeconds",
        Int("int64"),
    ),
    ("tracing", "endpoint", Text),
    ("tracing", "samplingRatePerMillion", Int("int32")),
    ("userNamespaces", "idsPerPod", Int("int64")),
];

/// Schemes of a tracing endpoint: those of gRPC's names that the kubelet takes.
const SCHEMES: [&str; 3] = ["dns", "unix", "unix-abstract"];
/// The ids of one pod come in units of 16 bits.
const IDS_UNIT: i64 = 65_536;

/// Whether the table has the field's keys.
pub(super) fn has_rows(field: &str) -> bool {
    KEYS.iter().any(|(structure, ..)| *structure == field)
}

/// A structure, or each of a list. `path` is the field without the numbers of items.
pub(super) fn check(field: &str, path: &str, value: &Value, problems: &mut Problems) {
    match value {
        Value::Object(map) => check_keys(field, path, map, problems),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let field = format!("{field}[{index}]");
                // A null item is one that is empty.
                let empty = Map::new();
                check_keys(&field, path, item.as_object().unwrap_or(&empty), problems);
            }
        }
        _ => {}
    }
}

fn check_keys(field: &str, path: &str, map: &Map<String, Value>, problems: &mut Problems) {
    let rows = KEYS.iter().filter(|(structure, ..)| *structure == path);
    for (key, value) in map {
        let field = format!("{field}.{}", key.escape_debug());
        let Some((_, _, kind)) = rows.clone().find(|(_, name, _)| name == key) else {
            let names: Vec<&str> = rows.clone().map(|(_, name, _)| *name).collect();
            values::unknown_name(&field, key, value, &names, problems);
            continue;
        };
        let path = format!("{path}.{key}");
        // A number counts nanoseconds there, for the sake of old files.
        let kind = match *kind {
            Duration if path == "logging.flushFrequency" && value.is_number() => Int("int64"),
            kind => kind,
        };
        if kind == Other {
            if has_shape(&field, key, value, problems) {
                check(&field, &path, value, problems);
            }
        } else if has_kind(&field, value, kind, problems) {
            check_value(&field, &path, kind, value, problems);
        }
    }
    check_together(field, path, map, problems);
}

/// The type is right already.
fn check_value(field: &str, path: &str, kind: Kind, value: &Value, problems: &mut Problems) {
    let text = value.as_str().unwrap_or_default();
    let mut refuse = |message: &str, remedy: &str| {
        problems.push(Problem::error(field, values::shown(value), message, remedy));
    };
    match path {
        // Go takes an empty text for an absent one.
        "authorization.mode" if !text.is_empty() => {
            one_of(field, text, &["AlwaysAllow", "Webhook"], problems);
        }
        "logging.format" if !text.is_empty() => one_of(field, text, &["text", "json"], problems),
        "logging.verbosity" | "logging.vmodule.verbosity" => at_least(field, value, 0, problems),
        "logging.vmodule.filePattern" if text.contains(['=', ',']) => refuse(
            "holds an equals sign or a comma: the kubelet would not start",
            "write the name of one file without .go, or a pattern of such",
        ),
        "logging.options.text.splitStream" | "logging.options.json.splitStream"
            if value == &Value::Bool(true) =>
        {
            refuse(
                "needs a feature gate that OpenShift doesn't open: the kubelet would not start",
                "remove it",
            );
        }
        "logging.options.text.infoBufferSize" | "logging.options.json.infoBufferSize"
            if !text.parse().is_ok_and(Quantity::is_zero) =>
        {
            refuse(
                "is no size, or needs a feature gate that OpenShift doesn't open: the kubelet would not start",
                "remove it",
            );
        }
        "memorySwap.swapBehavior" if !text.is_empty() => refuse(
            "OpenShift refuses it, and the KubeletConfig would block every change of the pool",
            "remove it",
        ),
        "registerWithTaints.key" if !is_label_key(text) => refuse(
            "is no taint's key: the kubelet would not start",
            "write it as example.org/name",
        ),
        "registerWithTaints.value" if !text.is_empty() && !is_label_name(text) => refuse(
            "is no taint's value: the kubelet would not start",
            "use letters, digits, '-', '_' and '.'",
        ),
        "registerWithTaints.effect" if !text.is_empty() => one_of(
            field,
            text,
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            problems,
        ),
        "registerWithTaints.timeAdded" => refuse(
            "is the cluster's to set: the kubelet would not start",
            "remove it",
        ),
        "tracing.endpoint" if !is_endpoint(text) => refuse(
            "is no endpoint that the kubelet knows: it would not start",
            "write host:port, as in localhost:4317, or an address that begins with dns://, unix:// or unix-abstract://",
        ),
        "tracing.samplingRatePerMillion" => between(field, value, 0, 1_000_000, problems),
        "userNamespaces.idsPerPod" => {
            let units =
                |ids: i64| ids % IDS_UNIT == 0 && (IDS_UNIT..=i64::from(u32::MAX)).contains(&ids);
            if !value.as_i64().is_some_and(units) {
                refuse(
                    "is out of range: the kubelet would not start",
                    "use a multiple of 65536, below 4294967296",
                );
            }
        }
        _ if kind == Duration => {
            values::duration(field, text, problems);
        }
        _ => {}
    }
}

/// Keys that others need, or don't bear.
fn check_together(field: &str, path: &str, map: &Map<String, Value>, problems: &mut Problems) {
    let absent = |key: &str| map.get(key).is_none_or(values::is_zero);
    let needed: &[&str] = match path {
        "registerWithTaints" => &["key", "effect"],
        "logging.vmodule" => &["filePattern"],
        _ => &[],
    };
    for key in needed.iter().filter(|key| absent(key)) {
        let field = format!("{field}.{key}");
        // A wrong type has been told.
        if !problems.0.iter().any(|problem| problem.field == field) {
            problems.push(Problem::error(
                field,
                "",
                "is missing: the kubelet would not start, or no new node join",
                "set it, or remove the whole item",
            ));
        }
    }
    let format = map
        .get("format")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if path == "logging" && !absent("vmodule") && !matches!(format, "" | "text") {
        problems.push(Problem::error(
            format!("{field}.vmodule"),
            "",
            format!(
                "can't stand beside the format {}: the kubelet would not start",
                format.escape_debug()
            ),
            "remove it, or set format: text",
        ));
    }
}

/// As the kubelet reads it: what has no `//` is a host for `dns://`.
fn is_endpoint(text: &str) -> bool {
    let odd = |character: char| character.is_whitespace() || character.is_control();
    if text.contains(odd) {
        return false;
    }
    let rest = if text.contains("//") {
        let Some((scheme, rest)) = text.split_once(':') else {
            return false;
        };
        if !SCHEMES.contains(&scheme.to_lowercase().as_str()) {
            return false;
        }
        rest.strip_prefix("//").unwrap_or_default()
    } else {
        text
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let port = match host.strip_prefix('[') {
        Some(address) => match address.split_once(']') {
            Some((_, "")) => "",
            Some((_, after)) => match after.strip_prefix(':') {
                Some(port) => port,
                None => return false,
            },
            None => return false,
        },
        None => host.rsplit_once(':').map_or("", |(_, port)| port),
    };
    port.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_structure_inside_another_has_rows_of_its_own() {
        for (structure, key, kind) in KEYS {
            let inside = KEYS
                .iter()
                .any(|(path, ..)| *path == format!("{structure}.{key}"));
            assert_eq!(inside, *kind == Other, "{structure}.{key}");
        }
    }

    #[test]
    fn endpoints_are_those_that_the_kubelet_reads() {
        for text in [
            "localhost:4317",
            "localhost",
            "",
            "10.0.0.1:4317",
            "[::1]:4317",
            "[::1]",
            "dns://localhost:4317",
            "dns:///localhost:4317",
            "DNS://8.8.8.8/host:4317",
            "unix:///run/otel.sock",
            "unix-abstract://otel",
        ] {
            assert!(is_endpoint(text), "{text}");
        }
        for text in [
            "http://localhost:4317",
            "https://localhost",
            "//localhost:4317",
            "localhost:grpc",
            "dns://localhost:grpc",
            "local host:4317",
            "[::1",
            "[::1]4317",
        ] {
            assert!(!is_endpoint(text), "{text}");
        }
    }
}
