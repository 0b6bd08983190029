//! What OpenShift makes of a pool's MachineConfigs: the Machine Config Operator's merge as a pure function.
//!
//! Source: its render controller as recorded (`merge.json` among the fixtures) and its published sources.
//! It never writes a rendered config: that is OpenShift's, and in tests the pool stand-in's.

pub mod data_url;
pub mod ignition;
pub mod kubelet;
pub mod landed;

use serde_json::{Value, json};
use thiserror::Error;

pub use landed::{
    Overridden, missing_from_generated, missing_from_target, not_landed, overridden, remnants,
};

use crate::names::LABEL_MACHINE_CONFIG_ROLE;
use crate::openshift::{MachineConfig, MachineConfigPool, MachineConfigSpec};
use crate::pools::WORKER_POOL;
use crate::selector::matches_or_nothing;

/// The kernel type that a pool has when nobody asks for another.
pub const DEFAULT_KERNEL_TYPE: &str = "default";
/// The kernel types that the Machine Config Operator knows. `64k-pages` is rendered on every architecture
/// and fails on nodes that are not arm64.
pub const KERNEL_TYPES: [&str; 3] = [DEFAULT_KERNEL_TYPE, "realtime", "64k-pages"];
/// The extension that goes with the default kernel only.
pub const KERNEL_DEVEL: &str = "kernel-devel";
/// The extensions that the Machine Config Operator knows.
pub const EXTENSIONS: [&str; 8] = [
    "ipsec",
    "kerberos",
    KERNEL_DEVEL,
    "sandboxed-containers",
    "sysstat",
    "two-node-ha",
    "usbguard",
    "wasm",
];

/// Why OpenShift refuses to render. `Display` is its own text, the part after
/// `could not generate rendered MachineConfig: `.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MergeError {
    /// A `kernelType` that it doesn't know.
    #[error("kernelType={0} is invalid")]
    KernelType(String),
    /// An Ignition version that it doesn't know.
    #[error(
        "parsing Ignition config failed: unknown version. Supported spec versions: {}",
        ignition::SUPPORTED
    )]
    IgnitionVersion,
    /// Ignition's own validation.
    #[error(
        "parsing Ignition config spec v3 failed with error: config is not valid\nReport: error at {location}, line 1 col {column}: {refusal}\n"
    )]
    Ignition {
        /// The JSON path.
        location: String,
        /// Where the value begins, from 1.
        column: usize,
        /// What is wrong with it.
        refusal: String,
    },
    /// Extensions that it doesn't know.
    #[error("invalid extensions found: [{}]", .0.join(" "))]
    Extensions(Vec<String>),
    /// An extension that goes with the default kernel only.
    #[error("installing kernel-devel extension is not supported with kernelType: {0}")]
    KernelDevel(String),
    /// A change that no running node can take.
    #[error(
        "reconciliation failed between current config \"{current}\" and base config \"{base}\": {refusal}"
    )]
    Irreconcilable {
        /// The rendered config that the pool has.
        current: String,
        /// The MachineConfig with the change.
        base: String,
        /// What it may not change.
        refusal: String,
    },
}

/// What a pool's MachineConfigs become.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged {
    /// `default`, `realtime` or `64k-pages`.
    pub kernel_type: String,
    /// The first draft's `realtime: true`: any source with it.
    pub realtime: bool,
    /// All of them, in the order of the sources, entries as they are.
    pub kernel_arguments: Vec<String>,
    /// All of them, in the order of the sources.
    pub extensions: Vec<String>,
    /// Any source with it.
    pub fips: bool,
    /// The last one that is set, or empty.
    pub os_image_url: String,
    /// The last one that is set, or empty.
    pub base_os_extensions_container_image: String,
    /// In version 3.5.
    pub ignition: Value,
}

impl Merged {
    /// Whether the nodes get the real-time kernel, in either dialect.
    pub fn is_realtime(&self) -> bool {
        self.realtime || self.kernel_type == "realtime"
    }

    /// The spec of the rendered MachineConfig: every field present, as OpenShift writes it.
    pub fn into_spec(self) -> MachineConfigSpec {
        MachineConfigSpec {
            config: Some(self.ignition),
            kernel_arguments: Some(self.kernel_arguments),
            kernel_type: Some(self.kernel_type),
            realtime: self.realtime.then_some(true),
            extensions: Some(self.extensions),
            fips: Some(self.fips),
            os_image_url: Some(self.os_image_url),
            base_os_extensions_container_image: Some(self.base_os_extensions_container_image),
        }
    }
}

/// The pool's MachineConfigs in the order in which they are merged.
///
/// 1. Those of the role `worker`, by name.
/// 2. All others, by name. So a custom pool's config beats a worker config whatever its number.
///
/// (OpenShift 4.15 and later; before, one plain sort by name.)
pub fn sources<'a>(
    pool: &MachineConfigPool,
    configs: &'a [MachineConfig],
) -> Vec<&'a MachineConfig> {
    let mut sources: Vec<&MachineConfig> = configs
        .iter()
        .filter(|config| {
            let none = std::collections::BTreeMap::new();
            let labels = config.metadata.labels.as_ref().unwrap_or(&none);
            matches_or_nothing(pool.spec.machine_config_selector.as_ref(), labels)
        })
        .collect();
    sources.sort_by_key(|config| place(config));
    sources
}

/// By what [`sources`] are sorted: where a MachineConfig stands among those of a pool.
pub fn place(config: &MachineConfig) -> (bool, Option<&str>) {
    (!is_worker(config), config.metadata.name.as_deref())
}

fn is_worker(config: &MachineConfig) -> bool {
    let labels = config.metadata.labels.as_ref();
    labels
        .and_then(|labels| labels.get(LABEL_MACHINE_CONFIG_ROLE))
        .map(String::as_str)
        == Some(WORKER_POOL)
}

/// Merges sources that are in OpenShift's order already (see [`sources`]).
pub fn merge(sources: &[&MachineConfig]) -> Result<Merged, MergeError> {
    let mut merged = Merged {
        kernel_type: DEFAULT_KERNEL_TYPE.to_owned(),
        realtime: false,
        kernel_arguments: Vec::new(),
        extensions: Vec::new(),
        fips: false,
        os_image_url: String::new(),
        base_os_extensions_container_image: String::new(),
        ignition: ignition::upgrade(None)?,
    };
    for source in sources {
        let MachineConfigSpec {
            config,
            kernel_arguments,
            kernel_type,
            realtime,
            extensions,
            fips,
            os_image_url,
            base_os_extensions_container_image,
        } = &source.spec;
        check_known(source)?;
        let config = ignition::upgrade(config.as_ref())?;
        merged.ignition = ignition::merge(merged.ignition.take(), config);
        // `default` never resets an inherited type: the last one that isn't default wins.
        if let Some(kernel_type) = not_default(kernel_type.as_ref()) {
            kernel_type.clone_into(&mut merged.kernel_type);
        }
        merged.realtime |= realtime.unwrap_or_default();
        // No dedup, no splitting.
        merged
            .kernel_arguments
            .extend(kernel_arguments.iter().flatten().cloned());
        merged
            .extensions
            .extend(extensions.iter().flatten().cloned());
        merged.fips |= fips.unwrap_or_default();
        if let Some(url) = set(os_image_url.as_ref()) {
            url.clone_into(&mut merged.os_image_url);
        }
        if let Some(image) = set(base_os_extensions_container_image.as_ref()) {
            image.clone_into(&mut merged.base_os_extensions_container_image);
        }
    }
    check_kernel_devel(&merged.kernel_type, &merged.extensions)?;
    Ok(merged)
}

/// What [`merge`] says about a kernel type and all extensions together.
pub fn check_kernel_devel(kernel_type: &str, extensions: &[String]) -> Result<(), MergeError> {
    if kernel_type != DEFAULT_KERNEL_TYPE && extensions.iter().any(|name| name == KERNEL_DEVEL) {
        return Err(MergeError::KernelDevel(kernel_type.to_owned()));
    }
    Ok(())
}

/// A kernel type that asks for something.
pub fn not_default(kernel_type: Option<&String>) -> Option<&str> {
    set(kernel_type).filter(|kind| *kind != DEFAULT_KERNEL_TYPE)
}

fn set(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// Values that a MachineConfig may hold and a render refuses.
fn check_known(source: &MachineConfig) -> Result<(), MergeError> {
    if let Some(kind) =
        set(source.spec.kernel_type.as_ref()).filter(|kind| !KERNEL_TYPES.contains(kind))
    {
        return Err(MergeError::KernelType(kind.to_owned()));
    }
    let unknown: Vec<String> = source
        .spec
        .extensions
        .iter()
        .flatten()
        .filter(|extension| !EXTENSIONS.contains(&extension.as_str()))
        .cloned()
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(MergeError::Extensions(unknown))
    }
}

/// Whether running nodes that have `current` could take each of the sources. OpenShift checks this when a
/// pool has a configuration already.
pub fn reconcilable(current: &MachineConfig, sources: &[&MachineConfig]) -> Result<(), MergeError> {
    let before = ignition::upgrade(current.spec.config.as_ref())?;
    for source in sources {
        let after = ignition::upgrade(source.spec.config.as_ref())?;
        if let Some(refusal) = irreconcilable(&before, &after, current, source) {
            return Err(MergeError::Irreconcilable {
                current: current.metadata.name.clone().unwrap_or_default(),
                base: source.metadata.name.clone().unwrap_or_default(),
                refusal,
            });
        }
    }
    Ok(())
}

/// Never rewritten by a MachineConfig: its presence makes a node skip its own checks.
const FORCE_FILE: &str = "/run/machine-config-daemon-force";

fn irreconcilable(
    before: &Value,
    after: &Value,
    current: &MachineConfig,
    source: &MachineConfig,
) -> Option<String> {
    let added = |pointer: &str| {
        let empty = [Value::Null, json!([]), json!({})];
        let section = after
            .pointer(pointer)
            .filter(|section| !empty.contains(section));
        section.is_some() && section != before.pointer(pointer)
    };
    for (pointer, section) in [
        ("/kernelArguments", "kargs"),
        ("/storage/disks", "disks"),
        ("/storage/filesystems", "filesystems"),
        ("/storage/raid", "raid"),
        ("/storage/directories", "directories"),
        ("/storage/links", "links"),
    ] {
        if added(pointer) {
            return Some(format!("ignition {section} section contains changes"));
        }
    }
    for file in ignition::entries(after, "files") {
        let path = file["path"].as_str().unwrap_or_default();
        if file["append"]
            .as_array()
            .is_some_and(|append| !append.is_empty())
        {
            return Some(format!("ignition file {path} includes append"));
        }
        if path == FORCE_FILE {
            return Some(format!("cannot create {path} via Ignition"));
        }
    }
    let fips = |config: &MachineConfig| config.spec.fips.unwrap_or_default();
    (fips(source) && !fips(current)).then(|| {
        "detected change to FIPS flag; refusing to modify FIPS on a running cluster".to_owned()
    })
}

#[cfg(test)]
mod tests;
