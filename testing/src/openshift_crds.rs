//! The definitions that an OpenShift cluster serves, installed on a control plane: its own files
//! from `testing/openshift`, in each dialect of MachineConfig. Must not create any other object.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use realtime_core::cluster::Dialect;
use realtime_core::names::TUNED_NAMESPACE;
use serde_json::{Map, Value, json};

use crate::control_plane::apply;
use crate::control_plane::{ControlPlane, Error};

/// The namespace of the Machine Config Operator, where its own objects live.
pub const MACHINE_CONFIG_NAMESPACE: &str = "openshift-machine-config-operator";

const MACHINE_CONFIG_CRD: &str = "machineconfigs.machineconfiguration.openshift.io";

/// The API server compiles a new admission policy about a second after it was written.
const POLICY_TIME_LIMIT: Duration = Duration::from_secs(30);
const POLICY_INTERVAL: Duration = Duration::from_millis(50);

/// Where the files are.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("openshift")
}

/// All definitions and the admission policy of such a cluster, as they are applied.
pub fn definitions(dialect: Dialect) -> Result<Vec<Value>, apply::Error> {
    let mut values = apply::read(&directory())?;
    for value in &mut values {
        if value["metadata"]["name"] == MACHINE_CONFIG_CRD {
            set_dialect(value, dialect);
        }
        if let Some(spec) = value["spec"].as_object_mut() {
            // Nothing serves the webhook here.
            spec.remove("conversion");
        }
    }
    Ok(values)
}

/// The definition of MachineConfig in this dialect.
pub fn machine_config_crd(dialect: Dialect) -> Result<Value, apply::Error> {
    let named = |value: &Value| value["metadata"]["name"] == MACHINE_CONFIG_CRD;
    definitions(dialect)?
        .into_iter()
        .find(named)
        .ok_or(apply::Error::Incomplete(
            "the name of MachineConfig's definition",
        ))
}

fn set_dialect(crd: &mut Value, dialect: Dialect) {
    let versions = crd["spec"]["versions"].as_array_mut().into_iter().flatten();
    let spec = "/schema/openAPIV3Schema/properties/spec/properties";
    for properties in versions
        .filter_map(|version| version.pointer_mut(spec))
        .filter_map(Value::as_object_mut)
    {
        let properties: &mut Map<String, Value> = properties;
        match dialect {
            Dialect::KernelType => {}
            Dialect::Realtime => {
                properties.remove("kernelType");
                properties.insert(
                    "realtime".to_owned(),
                    json!({ "type": "boolean", "description": "realtime selects the real-time kernel" }),
                );
            }
            Dialect::None => {
                properties.remove("kernelType");
            }
        }
    }
}

/// Makes the control plane serve what an OpenShift cluster of this dialect serves: the definitions,
/// the namespaces of the two operators, and the admission policy, enforced when this returns.
pub async fn install_openshift(
    control_plane: &ControlPlane,
    dialect: Dialect,
) -> Result<(), Error> {
    let mut values = definitions(dialect)?;
    for namespace in [MACHINE_CONFIG_NAMESPACE, TUNED_NAMESPACE] {
        values.push(
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }),
        );
    }
    control_plane.apply_values(values).await?;
    policy_enforced(control_plane).await
}

async fn policy_enforced(control_plane: &ControlPlane) -> Result<(), Error> {
    let kind = GroupVersionKind::gvk(
        "machineconfiguration.openshift.io",
        "v1",
        "MachineConfigPool",
    );
    let resource = ApiResource::from_gvk(&kind);
    let pools: Api<DynamicObject> = Api::all_with(control_plane.admin_client().await?, &resource);
    let mut refused = DynamicObject::new("refused-by-policy", &resource);
    refused.data = json!({ "spec": { "machineConfigSelector": { "matchLabels": {} } } });
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let deadline = Instant::now() + POLICY_TIME_LIMIT;
    loop {
        match pools.create(&dry_run, &refused).await {
            // An expression that fails on the missing key refuses too.
            Err(kube::Error::Api(status))
                if status.message.contains("ValidatingAdmissionPolicy") =>
            {
                return Ok(());
            }
            Err(source) if Instant::now() > deadline => {
                let action = "waiting for the admission policy of pools".to_owned();
                return Err(Error::Kube {
                    action,
                    source: Box::new(source),
                });
            }
            Ok(_) if Instant::now() > deadline => return Err(Error::PolicyNotEnforced),
            Ok(_) | Err(_) => tokio::time::sleep(POLICY_INTERVAL).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec_fields(dialect: Dialect) -> Vec<String> {
        let crd = machine_config_crd(dialect).expect("definition");
        let version = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        version["properties"]["spec"]["properties"]
            .as_object()
            .expect("fields")
            .keys()
            .cloned()
            .collect()
    }

    #[test]
    fn each_dialect_has_its_field() {
        let has = |dialect, field: &str| spec_fields(dialect).iter().any(|name| name == field);
        assert!(has(Dialect::KernelType, "kernelType") && !has(Dialect::KernelType, "realtime"));
        assert!(has(Dialect::Realtime, "realtime") && !has(Dialect::Realtime, "kernelType"));
        assert!(!has(Dialect::None, "realtime") && !has(Dialect::None, "kernelType"));
        assert!(has(Dialect::None, "kernelArguments"));
    }

    #[test]
    fn the_copies_are_those_of_openshift() {
        let originals = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/openshift-crds");
        if !originals.is_dir() {
            return crate::skip("no ../shared/openshift-crds to compare with");
        }
        let mut compared = 0;
        for entry in std::fs::read_dir(directory()).expect("directory").flatten() {
            if entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "yaml")
            {
                let read = |path: &Path| std::fs::read_to_string(path).expect("readable file");
                let original = originals.join(entry.file_name());
                assert!(
                    read(&entry.path()) == read(&original),
                    "{} differs",
                    entry.path().display()
                );
                compared += 1;
            }
        }
        assert_eq!(compared, 9);
    }
}
