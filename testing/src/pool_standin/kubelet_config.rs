//! The stand-in's KubeletConfig controller: accepts or refuses in OpenShift's words, and makes the
//! MachineConfig that carries an accepted one to its pool. Pure; `controller` writes.

use std::collections::BTreeMap;

use kube::ResourceExt;
use realtime_core::merge::kubelet::{self, Kind};
use realtime_core::openshift::{
    KubeletConfig, MachineConfig, MachineConfigPool, MachineConfigSpec, OpenShiftCondition,
};
use serde_json::{Map, Value, json};

use super::names;
use super::render::{owner, selects};

/// What the KubeletConfig becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// One MachineConfig for each pool that it selects.
    pub machine_configs: Vec<MachineConfig>,
    /// The suffix of their names: empty for the first KubeletConfig of a pool, then a number.
    pub suffix: String,
}

/// Accepts a KubeletConfig, or says why not in OpenShift's words (without their `Error: `).
pub fn decide(
    config: &KubeletConfig,
    all: &[KubeletConfig],
    pools: &[MachineConfigPool],
    base: impl Fn(&MachineConfigPool) -> Map<String, Value>,
) -> Result<Accepted, String> {
    if let Some(text) = config.annotations().get(names::REFUSE) {
        return Err(text.clone());
    }
    let selected: Vec<&MachineConfigPool> =
        pools.iter().filter(|pool| selects(config, pool)).collect();
    if selected.is_empty() {
        return Err("could not find any MachineConfigPool set for KubeletConfig".to_owned());
    }
    refuse(config)?;
    let suffix = suffix(config, all, &selected);
    let mut machine_configs = Vec::new();
    for pool in selected {
        machine_configs.push(generate(config, pool, &suffix, &base(pool))?);
    }
    Ok(Accepted {
        machine_configs,
        suffix,
    })
}

/// The checks of the object alone.
fn refuse(config: &KubeletConfig) -> Result<(), String> {
    if let Some(level) = config
        .spec
        .log_level
        .filter(|level| !(1..=10).contains(level))
    {
        return Err(format!(
            "KubeletConfig's LogLevel is not valid [1,10]: {level}"
        ));
    }
    let empty = Map::new();
    let fields = config
        .spec
        .kubelet_config
        .as_ref()
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    for (field, value) in fields {
        if let Some(text) = decoding_error(field, value) {
            return Err(format!(
                "KubeletConfig could not be unmarshalled, err: json: {text}"
            ));
        }
    }
    for field in [
        "cgroupDriver",
        "clusterDNS",
        "clusterDomain",
        "featureGates",
        "failSwapOn",
    ] {
        if let Some(value) = fields.get(field).filter(|value| is_set(value)) {
            return Err(format!(
                "KubeletConfiguration: {field} is not allowed to be set, but contains: {}",
                go(value)
            ));
        }
    }
    if let Some(value) = fields
        .get("memorySwap")
        .and_then(|swap| swap.get("swapBehavior"))
        .filter(|v| is_set(v))
    {
        return Err(format!(
            "KubeletConfiguration: swapBehavior is not allowed to be set, but contains: {}",
            go(value)
        ));
    }
    if config.spec.auto_sizing_reserved == Some(true)
        && fields.get("systemReserved").is_some_and(is_set)
    {
        return Err(
            "KubeletConfiguration: autoSizingReserved and systemdReserved cannot be set together"
                .to_owned(),
        );
    }
    Ok(())
}

fn is_set(value: &Value) -> bool {
    ![Value::Null, json!(""), json!([]), json!({})].contains(value)
}

/// A value as Go prints it.
fn go(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(entries) => {
            format!("[{}]", entries.iter().map(go).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{key}:{}", go(value)))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
    }
}

/// What Go's decoder says of a value of the wrong type.
fn decoding_error(field: &str, value: &Value) -> Option<String> {
    let has = match value {
        Value::Null => return None,
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let (expected, wanted) = match kubelet::kind_of(field)? {
        Kind::Bool => ("bool", "bool"),
        Kind::Int(go) => ("number", go),
        Kind::Text => ("string", "string"),
        Kind::TextMap => ("object", "map[string]string"),
        Kind::TextList => ("array", "[]string"),
        Kind::Duration | Kind::Other => return None,
    };
    (has != expected).then(|| format!("cannot unmarshal {has} into Go struct field KubeletConfiguration.{field} of type {wanted}"))
}

/// The suffix that it has, or the next one when other KubeletConfigs select the same pool.
fn suffix(config: &KubeletConfig, all: &[KubeletConfig], pools: &[&MachineConfigPool]) -> String {
    if let Some(suffix) = config.annotations().get(names::NAME_SUFFIX) {
        return suffix.clone();
    }
    let others: Vec<&KubeletConfig> = all
        .iter()
        .filter(|other| {
            other.name_any() != config.name_any() && pools.iter().any(|pool| selects(other, pool))
        })
        .filter(|other| other.annotations().contains_key(names::NAME_SUFFIX))
        .collect();
    let highest = others
        .iter()
        .filter_map(|other| other.annotations()[names::NAME_SUFFIX].parse::<u32>().ok())
        .max();
    match (others.is_empty(), highest) {
        (true, _) => String::new(),
        (false, highest) => (highest.unwrap_or_default() + 1).to_string(),
    }
}

fn generate(
    config: &KubeletConfig,
    pool: &MachineConfigPool,
    suffix: &str,
    base: &Map<String, Value>,
) -> Result<MachineConfig, String> {
    let user = config.spec.kubelet_config.clone().unwrap_or_default();
    let control_plane = ["master", "arbiter"].contains(&pool.name_any().as_str());
    if let Some(path) = user
        .get("staticPodPath")
        .filter(|path| is_set(path) && !control_plane)
    {
        return Err(format!(
            "KubeletConfiguration: staticPodPath must be empty for pool \"{}\", but contains: {}",
            pool.name_any(),
            go(path)
        ));
    }
    let landing = kubelet::landing(&user);
    let conf = kubelet::apply(base, &landing.kubelet_conf);
    let text = |field: &str| conf.get(field).and_then(Value::as_str).unwrap_or_default();
    let (reserved, system) = (text("systemReservedCgroup"), text("systemCgroups"));
    if !reserved.is_empty() && !system.is_empty() && reserved != system {
        return Err(format!(
            "invalid merged configuration: systemReservedCgroup ({reserved}) must match systemCgroups ({system})"
        ));
    }
    let mut files = vec![file(kubelet::KUBELET_CONF, &yaml(&Value::Object(conf)))];
    if let Some(level) = config.spec.log_level {
        files.push(file(
            "/etc/systemd/system/kubelet.service.d/20-logging.conf",
            &format!("[Service]\nEnvironment=\"KUBELET_LOG_LEVEL={level}\"\n"),
        ));
    }
    if config.spec.auto_sizing_reserved.is_some() || !landing.node_sizing.is_empty() {
        let auto = landing.node_sizing.is_empty() && config.spec.auto_sizing_reserved == Some(true);
        files.push(file(
            kubelet::NODE_SIZING,
            &node_sizing(auto, &landing.node_sizing),
        ));
    }
    let dash = if suffix.is_empty() { "" } else { "-" };
    let name = format!("99-{}-generated-kubelet{dash}{suffix}", pool.name_any());
    let mut generated = MachineConfig::new(
        &name,
        MachineConfigSpec {
            config: Some(json!({"ignition": {"version": "3.5.0"}, "storage": {"files": files}})),
            ..MachineConfigSpec::default()
        },
    );
    generated.labels_mut().insert(
        "machineconfiguration.openshift.io/role".to_owned(),
        pool.name_any(),
    );
    generated
        .annotations_mut()
        .insert(names::GENERATED_BY.to_owned(), names::VERSION.to_owned());
    generated.metadata.owner_references = Some(vec![owner(
        "KubeletConfig",
        &config.name_any(),
        config.uid(),
    )]);
    Ok(generated)
}

/// The file that a script on the node reads.
pub fn node_sizing(auto: bool, asked: &BTreeMap<&'static str, String>) -> String {
    let mut text = format!("NODE_SIZING_ENABLED={auto}\n");
    for (_, variable, default) in kubelet::NODE_SIZING_VARIABLES {
        let value = asked.get(variable).map_or(default, String::as_str);
        text.extend([variable, "=", value, "\n"]);
    }
    text
}

/// A file of an Ignition config.
pub fn file(path: &str, text: &str) -> Value {
    json!({"path": path, "mode": 420, "overwrite": true, "contents": {"compression": "", "source": data_url(text)}})
}

fn data_url(text: &str) -> String {
    let encoded =
        serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).unwrap_or_default();
    format!(
        "data:text/plain;charset=utf-8;base64,{}",
        encoded.as_str().unwrap_or_default()
    )
}

/// JSON is YAML: the kubelet reads either.
pub fn yaml(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The conditions of an answer: the newer kind and the older one.
pub fn conditions(answer: Result<(), &str>, now: &str) -> Vec<OpenShiftCondition> {
    let condition = |type_: &str, status: &str, message: &str| OpenShiftCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: None,
        message: Some(message.to_owned()),
        last_transition_time: Some(now.to_owned()),
    };
    match answer {
        Ok(()) => vec![
            condition("Accepted", "True", "Success"),
            condition("Success", "True", "Success"),
        ],
        Err(text) => {
            let text = format!("Error: {text}");
            vec![
                condition("Accepted", "False", &text),
                condition("Failure", "True", &text),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> MachineConfigPool {
        serde_json::from_value(json!({"metadata": {"name": "worker-rt",
            "labels": {"pools.operator.machineconfiguration.openshift.io/worker-rt": ""}}, "spec": {}})).unwrap()
    }

    fn kubelet_config(name: &str, fields: &Value) -> KubeletConfig {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {
            "machineConfigPoolSelector": {"matchLabels": {"pools.operator.machineconfiguration.openshift.io/worker-rt": ""}},
            "kubeletConfig": fields}})).unwrap()
    }

    fn base(_: &MachineConfigPool) -> Map<String, Value> {
        json!({"staticPodPath": "/etc/kubernetes/manifests", "systemCgroups": "/system.slice"})
            .as_object()
            .unwrap()
            .clone()
    }

    #[test]
    fn every_recorded_kubelet_config_is_answered_as_recorded() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../shared/fixtures/machine-config-controller/kubeletconfig.json"
        );
        let Ok(text) = std::fs::read_to_string(path) else {
            crate::skip("pool_standin::kubelet_config: the recordings are not beside the project");
            return;
        };
        let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
        for case in cases {
            let config = kubelet_config("k", &case["kubeletConfig"]);
            let answer = decide(&config, std::slice::from_ref(&config), &[pool()], base);
            let conditions = conditions(answer.as_ref().map(|_| ()).map_err(String::as_str), "");
            let conditions: Vec<Value> = conditions
                .iter()
                .map(|c| json!({"type": c.type_, "status": c.status, "message": c.message}))
                .collect();
            assert_eq!(
                Value::from(conditions),
                case["conditions"],
                "{}",
                case["case"]
            );
            if let Some(expected) = case.get("reachesKubelet") {
                let generated = &answer.unwrap().machine_configs[0];
                let conf = kubelet::conf_of(generated.spec.config.as_ref().unwrap()).unwrap();
                for (field, value) in expected.as_object().unwrap() {
                    assert_eq!(
                        conf.get(field).unwrap_or(&Value::Null),
                        value,
                        "{}: {field}",
                        case["case"]
                    );
                }
            }
        }
    }

    #[test]
    fn a_second_kubelet_config_of_a_pool_gets_a_number() {
        let mut first = kubelet_config("a", &json!({}));
        let second = kubelet_config("b", &json!({"maxPods": 77}));
        let name = |config: &KubeletConfig, all: &[KubeletConfig]| {
            decide(config, all, &[pool()], base)
                .unwrap()
                .machine_configs[0]
                .name_any()
        };
        assert_eq!(
            name(&first, &[first.clone()]),
            "99-worker-rt-generated-kubelet"
        );
        first
            .annotations_mut()
            .insert(names::NAME_SUFFIX.to_owned(), String::new());
        assert_eq!(
            name(&second, &[first.clone(), second.clone()]),
            "99-worker-rt-generated-kubelet-1"
        );
    }
}
