//! The stand-in's render controller: a pool's target out of its MachineConfigs. Pure; `controller` writes it.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use realtime_core::merge::{self, MergeError};
use realtime_core::openshift::{
    KubeletConfig, MachineConfig, MachineConfigPool, PoolConfiguration,
};
use realtime_core::selector::matches_or_nothing;
use sha2::{Digest, Sha256};

use super::names;

/// What a render came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing may be rendered now: the named KubeletConfig of this pool isn't accepted (yet).
    Blocked(String),
    /// No MachineConfig for this pool.
    Nothing,
    /// Refused, with the text of `RenderDegraded`.
    Refused(String),
    /// The target.
    Rendered(Box<Rendered>),
}

/// A rendered target.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The rendered MachineConfig.
    pub config: MachineConfig,
    /// Its name and its sources, as the pool's `spec.configuration` has them.
    pub configuration: PoolConfiguration,
}

/// Renders a pool.
pub fn render(
    pool: &MachineConfigPool,
    configs: &[MachineConfig],
    kubelet_configs: &[KubeletConfig],
) -> Outcome {
    if let Some(waiting) = kubelet_configs
        .iter()
        .find(|config| selects(config, pool) && !is_accepted(config))
    {
        return Outcome::Blocked(waiting.name_any());
    }
    let sources = merge::sources(pool, configs);
    if sources.is_empty() {
        return Outcome::Nothing;
    }
    match merged(pool, configs, &sources) {
        Ok(merged) => Outcome::Rendered(Box::new(rendered(pool, &sources, merged))),
        Err(refusal) => Outcome::Refused(format!(
            "Failed to render configuration for pool {}: could not generate rendered MachineConfig: {refusal}",
            pool.name_any()
        )),
    }
}

/// Whether a KubeletConfig is meant for a pool.
pub fn selects(config: &KubeletConfig, pool: &MachineConfigPool) -> bool {
    matches_or_nothing(
        config.spec.machine_config_pool_selector.as_ref(),
        pool.labels(),
    )
}

fn is_accepted(config: &KubeletConfig) -> bool {
    config.metadata.deletion_timestamp.is_some()
        || config.status.as_ref().is_some_and(|status| {
            status.observed_generation == config.metadata.generation
                && status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == "Success" && c.status == "True")
        })
}

fn merged(
    pool: &MachineConfigPool,
    configs: &[MachineConfig],
    sources: &[&MachineConfig],
) -> Result<merge::Merged, MergeError> {
    let merged = merge::merge(sources)?;
    let target = pool
        .spec
        .configuration
        .as_ref()
        .and_then(|target| target.name.as_deref());
    if let Some(current) = configs
        .iter()
        .find(|config| Some(config.name_any().as_str()) == target)
    {
        merge::reconcilable(current, sources)?;
    }
    Ok(merged)
}

fn rendered(
    pool: &MachineConfigPool,
    sources: &[&MachineConfig],
    merged: merge::Merged,
) -> Rendered {
    let spec = merged.into_spec();
    let name = format!("rendered-{}-{}", pool.name_any(), hash(&spec));
    let mut config = MachineConfig::new(&name, spec);
    config
        .annotations_mut()
        .insert(names::GENERATED_BY.to_owned(), names::VERSION.to_owned());
    config.metadata.owner_references = Some(vec![owner(
        "MachineConfigPool",
        &pool.name_any(),
        pool.uid(),
    )]);
    let source = sources
        .iter()
        .map(|source| ObjectReference {
            api_version: Some("machineconfiguration.openshift.io/v1".to_owned()),
            kind: Some("MachineConfig".to_owned()),
            name: Some(source.name_any()),
            ..ObjectReference::default()
        })
        .collect();
    Rendered {
        config,
        configuration: PoolConfiguration {
            name: Some(name),
            source,
        },
    }
}

/// The owner of something that a controller of the stand-in makes.
pub fn owner(kind: &str, name: &str, uid: Option<String>) -> OwnerReference {
    OwnerReference {
        api_version: "machineconfiguration.openshift.io/v1".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: uid.unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The first bytes as lower-case hex.
pub fn hex(bytes: &[u8], count: usize) -> String {
    bytes
        .iter()
        .take(count)
        .fold(String::new(), |mut text, byte| {
            for digit in [byte >> 4, byte & 15] {
                text.extend(char::from_digit(u32::from(digit), 16));
            }
            text
        })
}

/// 32 hex digits over the content alone, as the real one: two pools with equal content have equal hashes.
fn hash(spec: &impl serde::Serialize) -> String {
    let content = serde_json::to_vec(spec).unwrap_or_default();
    hex(&Sha256::digest(content), 16)
}

#[cfg(test)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "`json!` values read better given away"
)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn config(name: &str, role: &str, spec: Value) -> MachineConfig {
        serde_json::from_value(json!({"metadata": {"name": name,
            "labels": {"machineconfiguration.openshift.io/role": role}}, "spec": spec}))
        .unwrap()
    }

    fn pool(name: &str) -> MachineConfigPool {
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": "1", "labels": {format!("pools.operator.machineconfiguration.openshift.io/{name}"): ""}},
            "spec": {"machineConfigSelector": {"matchExpressions": [
                {"key": "machineconfiguration.openshift.io/role", "operator": "In", "values": ["worker", name]}]}}}))
        .unwrap()
    }

    fn name_of(outcome: &Outcome) -> String {
        match outcome {
            Outcome::Rendered(rendered) => rendered.config.name_any(),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn equal_content_has_an_equal_name_and_any_change_another() {
        let base = [config(
            "00-w",
            "worker",
            json!({"kernelArguments": ["quiet"]}),
        )];
        let first = name_of(&render(&pool("edge"), &base, &[]));
        let mut labelled = base.clone();
        labelled[0]
            .labels_mut()
            .insert("x".to_owned(), "y".to_owned());
        assert_eq!(name_of(&render(&pool("edge"), &labelled, &[])), first);
        assert_eq!(first.len(), "rendered-edge-".len() + 32);
        let worker = name_of(&render(&pool("worker"), &base, &[]));
        assert_eq!(worker.rsplit('-').next(), first.rsplit('-').next());
        let changed = [
            base[0].clone(),
            config("50-e", "edge", json!({"kernelType": "realtime"})),
        ];
        assert_ne!(name_of(&render(&pool("edge"), &changed, &[])), first);
    }

    #[test]
    fn a_kubelet_config_that_isnt_accepted_blocks_its_pool_and_no_other() {
        let base = [config("00-w", "worker", json!({}))];
        let mut kubelet: KubeletConfig = serde_json::from_value(json!({
            "metadata": {"name": "k", "generation": 1},
            "spec": {"machineConfigPoolSelector": {"matchLabels": {"pools.operator.machineconfiguration.openshift.io/edge": ""}}}}))
        .unwrap();
        assert_eq!(
            render(&pool("edge"), &base, &[kubelet.clone()]),
            Outcome::Blocked("k".to_owned())
        );
        assert!(matches!(
            render(&pool("worker"), &base, &[kubelet.clone()]),
            Outcome::Rendered(_)
        ));
        kubelet.status = serde_json::from_value(json!({"observedGeneration": 1,
            "conditions": [{"type": "Success", "status": "True"}]}))
        .unwrap();
        assert!(matches!(
            render(&pool("edge"), &base, &[kubelet.clone()]),
            Outcome::Rendered(_)
        ));
        kubelet.metadata.generation = Some(2);
        assert_eq!(
            render(&pool("edge"), &base, &[kubelet]),
            Outcome::Blocked("k".to_owned())
        );
    }
}
