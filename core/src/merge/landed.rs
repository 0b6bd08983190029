//! Whether what was written has reached a pool's target, and what a later source takes away. It decides
//! nothing about pausing: that is `rollout`.

use serde_json::Value;

use super::{DEFAULT_KERNEL_TYPE, data_url, ignition, kubelet};
use crate::openshift::{KubeletConfig, MachineConfig};

/// Something of ours that a later source replaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overridden {
    /// What, as `file /etc/x`, `unit a.service`, `kernelType`.
    pub what: String,
    /// The MachineConfig that replaces it.
    pub by: String,
}

/// What was written and isn't in the rendered target, in words; empty when all of it landed.
///
/// `source_names` are the names in the pool's `spec.configuration.source`. What was *removed* from our
/// objects is the question of [`remnants`].
pub fn missing_from_target(
    rendered: &MachineConfig,
    ours: &MachineConfig,
    our_kubelet: Option<&KubeletConfig>,
    source_names: &[String],
) -> Vec<String> {
    not_landed(rendered, ours, our_kubelet, source_names, &[])
}

/// As [`missing_from_target`], without what a later source replaces: that will never land.
pub fn not_landed(
    rendered: &MachineConfig,
    ours: &MachineConfig,
    our_kubelet: Option<&KubeletConfig>,
    source_names: &[String],
    overridden: &[Overridden],
) -> Vec<String> {
    let mut missing = Missing {
        overridden,
        found: Vec::new(),
    };
    let name = ours.metadata.name.as_deref().unwrap_or_default();
    if !source_names.iter().any(|source| source == name) {
        missing.add(
            &format!("MachineConfig {name}"),
            "is not among the target's sources",
        );
    }
    missing_spec(rendered, ours, &mut missing);
    if let Some(kubelet) = our_kubelet.and_then(|config| config.spec.kubelet_config.as_ref()) {
        missing_kubelet(rendered, kubelet, &mut missing);
    }
    missing.found
}

struct Missing<'a> {
    overridden: &'a [Overridden],
    found: Vec<String>,
}

impl Missing<'_> {
    fn add(&mut self, what: &str, how: &str) {
        if !self
            .overridden
            .iter()
            .any(|overridden| overridden.what == what)
        {
            self.found.push(format!("{what} {how}"));
        }
    }
}

fn missing_spec(rendered: &MachineConfig, ours: &MachineConfig, missing: &mut Missing<'_>) {
    let kernel_type = |config: &MachineConfig| {
        let kind = config
            .spec
            .kernel_type
            .clone()
            .filter(|kind| !kind.is_empty());
        kind.unwrap_or_else(|| DEFAULT_KERNEL_TYPE.to_owned())
    };
    let (wanted, has) = (kernel_type(ours), kernel_type(rendered));
    if wanted != DEFAULT_KERNEL_TYPE && wanted != has {
        missing.add("kernelType", &format!("{wanted} is {has} in the target"));
    }
    if ours.spec.realtime == Some(true) && rendered.spec.realtime != Some(true) {
        missing.add("realtime", "true is not in the target");
    }
    let arguments = ours.spec.kernel_arguments.as_deref().unwrap_or_default();
    let target = rendered
        .spec
        .kernel_arguments
        .as_deref()
        .unwrap_or_default();
    // The merge keeps a source's arguments together and in their order.
    if !arguments.is_empty()
        && !target
            .windows(arguments.len())
            .any(|window| window == arguments)
    {
        let absent: Vec<&str> = arguments
            .iter()
            .filter(|argument| !target.contains(argument))
            .map(String::as_str)
            .collect();
        let what = if absent.is_empty() {
            "in their order".to_owned()
        } else {
            absent.join(" ")
        };
        missing.add(
            "kernel arguments",
            &format!("({what}) are not in the target"),
        );
    }
    for extension in ours.spec.extensions.iter().flatten() {
        if !rendered
            .spec
            .extensions
            .iter()
            .flatten()
            .any(|has| has == extension)
        {
            missing.add(&format!("extension {extension}"), "is not in the target");
        }
    }
    let (Some(config), Some(target)) = (&ours.spec.config, &rendered.spec.config) else {
        return;
    };
    for file in ignition::entries(config, "files") {
        let path = text(&file["path"]);
        if !ignition::entries(target, "files")
            .any(|has| has["path"] == file["path"] && same_file(file, has))
        {
            missing.add(&format!("file {path}"), "is not in the target as written");
        }
    }
    for unit in ignition::units(config) {
        let name = text(&unit["name"]);
        if !ignition::units(target).any(|has| has["name"] == unit["name"] && same_unit(unit, has)) {
            missing.add(&format!("unit {name}"), "is not in the target as written");
        }
    }
}

fn missing_kubelet(rendered: &MachineConfig, asked: &Value, missing: &mut Missing<'_>) {
    let empty = Value::Null;
    let target = rendered.spec.config.as_ref().unwrap_or(&empty);
    let conf = kubelet::conf_of(target).unwrap_or_default();
    for (field, value) in &kubelet::certain(asked) {
        if !conf
            .get(field)
            .is_some_and(|landed| kubelet::landed_as(value, landed))
        {
            missing.add(
                &format!("kubelet field {field}"),
                "is not in the target as written",
            );
        }
    }
    let sizing = kubelet::file_text(target, kubelet::NODE_SIZING).unwrap_or_default();
    for (resource, variable, _) in kubelet::NODE_SIZING_VARIABLES {
        let Some(quantity) = asked["systemReserved"][resource]
            .as_str()
            .filter(|quantity| !quantity.is_empty())
        else {
            continue;
        };
        let same = |has: &str| kubelet::landed_as(&Value::from(quantity), &Value::from(has));
        let beside = sizing
            .lines()
            .filter_map(|line| line.split_once('='))
            .any(|(name, has)| name == variable && same(has));
        // Releases without that file have it with the rest.
        let inside = conf
            .get("systemReserved")
            .and_then(|reserved| reserved[resource].as_str())
            .is_some_and(same);
        if !beside && !inside {
            missing.add(
                &format!("kubelet reservation {variable}={quantity}"),
                "is not in the target",
            );
        }
    }
}

/// What is missing of a KubeletConfig in a MachineConfig that was generated from it, in words.
pub fn missing_from_generated(generated: &MachineConfig, kubelet: &KubeletConfig) -> Vec<String> {
    let mut missing = Missing {
        overridden: &[],
        found: Vec::new(),
    };
    if let Some(asked) = &kubelet.spec.kubelet_config {
        missing_kubelet(generated, asked, &mut missing);
    }
    missing.found
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether the target's file has what was asked for: contents by their bytes, and the mode when one was asked for.
fn same_file(asked: &Value, has: &Value) -> bool {
    let contents = |file: &Value| {
        let source = text(&file["contents"]["source"]).to_owned();
        (
            data_url::decode(&source).ok_or(source),
            text(&file["contents"]["compression"]).to_owned(),
        )
    };
    contents(asked) == contents(has) && (asked["mode"].is_null() || asked["mode"] == has["mode"])
}

/// Whether each field that was asked for is the target's; drop-ins by their name.
fn same_unit(asked: &Value, has: &Value) -> bool {
    asked
        .as_object()
        .into_iter()
        .flatten()
        .all(|(field, value)| match (field.as_str(), value) {
            ("dropins", Value::Array(dropins)) => dropins.iter().all(|dropin| {
                has[field]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|landed| landed == dropin)
            }),
            _ => value.is_null() || has.get(field) == Some(value),
        })
}

/// Whether a file or unit of this name may be one that a profile writes (a test holds every golden story against it).
/// Only these are looked for among the remnants: of foreign ones a conversion may change the name.
pub fn may_be_ours(name: &str) -> bool {
    const MIXED_CPUS: &str = "/etc/kubernetes/openshift-workload-mixed-cpus";
    let base = name.rsplit('/').next().unwrap_or(name);
    base.contains("realtime") || name == MIXED_CPUS
}

/// A path as the conversion from Ignition 2 leaves it: no doubled and no last slash.
pub fn plain_path(path: &str) -> String {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    format!("/{}", parts.join("/"))
}

fn same_path(left: &Value, right: &Value) -> bool {
    left == right || plain_path(text(left)) == plain_path(text(right))
}

/// What the target has and no source has any more: the sign that a removal isn't rendered yet. In words.
///
/// `sources` are the pool's MachineConfigs as they are now. Only what a merge can't invent is compared:
/// kernel type, kernel arguments, extensions, and the names of files and units that may be ours.
pub fn remnants(rendered: &MachineConfig, sources: &[&MachineConfig]) -> Vec<String> {
    let mut found = Vec::new();
    let is_default = |kind: &String| kind.is_empty() || kind == DEFAULT_KERNEL_TYPE;
    if let Some(kind) = rendered
        .spec
        .kernel_type
        .as_ref()
        .filter(|kind| !is_default(kind))
        && !sources
            .iter()
            .any(|source| source.spec.kernel_type.as_ref() == Some(kind))
    {
        found.push(format!("kernelType {kind} is still in the target"));
    }
    if rendered.spec.realtime == Some(true)
        && !sources
            .iter()
            .any(|source| source.spec.realtime == Some(true))
    {
        found.push("realtime true is still in the target".to_owned());
    }
    let mut left = rendered.spec.kernel_arguments.clone().unwrap_or_default();
    for argument in sources
        .iter()
        .flat_map(|source| source.spec.kernel_arguments.iter().flatten())
    {
        if let Some(index) = left.iter().position(|has| has == argument) {
            left.remove(index);
        }
    }
    // OpenShift 4.12 and 4.13 move Ignition's own arguments here.
    left.retain(|argument| {
        !sources.iter().any(|source| {
            source.spec.config.as_ref().is_some_and(|config| {
                config["kernelArguments"]["shouldExist"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|own| own.as_str() == Some(argument))
            })
        })
    });
    if !left.is_empty() {
        found.push(format!(
            "kernel arguments ({}) are still in the target",
            left.join(" ")
        ));
    }
    for extension in rendered.spec.extensions.iter().flatten() {
        if !sources.iter().any(|source| {
            source
                .spec
                .extensions
                .iter()
                .flatten()
                .any(|has| has == extension)
        }) {
            found.push(format!("extension {extension} is still in the target"));
        }
    }
    let Some(target) = &rendered.spec.config else {
        return found;
    };
    let configs = || {
        sources
            .iter()
            .filter_map(|source| source.spec.config.as_ref())
    };
    for file in ignition::entries(target, "files").filter(|file| may_be_ours(text(&file["path"]))) {
        if !configs().any(|config| {
            ignition::entries(config, "files").any(|has| same_path(&has["path"], &file["path"]))
        }) {
            found.push(format!(
                "file {} is still in the target",
                text(&file["path"])
            ));
        }
    }
    for unit in ignition::units(target).filter(|unit| may_be_ours(text(&unit["name"]))) {
        if !configs().any(|config| ignition::units(config).any(|has| has["name"] == unit["name"])) {
            found.push(format!(
                "unit {} is still in the target",
                text(&unit["name"])
            ));
        }
    }
    found
}

/// What of the source `ours` a later source replaces. `sources` in OpenShift's order.
pub fn overridden(sources: &[&MachineConfig], ours: &str) -> Vec<Overridden> {
    let named = |source: &&MachineConfig| source.metadata.name.as_deref() == Some(ours);
    let Some(position) = sources.iter().position(named) else {
        return Vec::new();
    };
    let (Some(mine), later) = (sources.get(position), sources.iter().skip(position + 1)) else {
        return Vec::new();
    };
    let mut found: Vec<Overridden> = later.flat_map(|other| replaced_by(mine, other)).collect();
    found.sort();
    found.dedup();
    found
}

fn replaced_by(mine: &MachineConfig, other: &MachineConfig) -> Vec<Overridden> {
    let by = other.metadata.name.clone().unwrap_or_default();
    let mut what = Vec::new();
    let kind = |config: &MachineConfig| {
        config
            .spec
            .kernel_type
            .clone()
            .filter(|kind| !kind.is_empty() && kind != DEFAULT_KERNEL_TYPE)
    };
    if let (Some(mine), Some(other)) = (kind(mine), kind(other))
        && mine != other
    {
        what.push("kernelType".to_owned());
    }
    if let (Some(mine), Some(other)) = (&mine.spec.config, &other.spec.config) {
        for file in ignition::entries(other, "files") {
            let replaced =
                |own: &&Value| same_path(&own["path"], &file["path"]) && !same_file(own, file);
            if let Some(own) = ignition::entries(mine, "files").find(replaced) {
                what.push(format!("file {}", text(&own["path"])));
            }
        }
        // A link or a directory takes a file's place.
        for list in ["links", "directories"] {
            for other in ignition::entries(other, list) {
                let replaced = |own: &&Value| same_path(&own["path"], &other["path"]);
                if let Some(own) = ignition::entries(mine, "files").find(replaced) {
                    what.push(format!("file {}", text(&own["path"])));
                }
            }
        }
        for unit in ignition::units(other) {
            let replaced = |own: &Value| own["name"] == unit["name"] && changes_unit(own, unit);
            if ignition::units(mine).any(replaced) {
                what.push(format!("unit {}", text(&unit["name"])));
            }
        }
    }
    what.into_iter()
        .map(|what| Overridden {
            what,
            by: by.clone(),
        })
        .collect()
}

/// Whether a later unit of the same name changes a field, or a drop-in, of ours; adding one changes nothing.
fn changes_unit(own: &Value, later: &Value) -> bool {
    later
        .as_object()
        .into_iter()
        .flatten()
        .any(|(field, value)| match (field.as_str(), value) {
            ("dropins", Value::Array(dropins)) => dropins.iter().any(|dropin| {
                own[field]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|mine| mine["name"] == dropin["name"] && mine != dropin)
            }),
            _ => !value.is_null() && own.get(field).is_some_and(|mine| mine != value),
        })
}
