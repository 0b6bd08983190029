//! Whether a pool's target holds what was written, and no longer holds what was taken away. The question before
//! every unpause. It compares contents, because an edited MachineConfig keeps its name in the source list.
//!
//! A wait that never ends keeps a pool paused for ever. So: our own objects are compared by content, everything
//! else on the pool by the names in the source list only. What other people's configs hold is converted, dropped and
//! rewritten on its way into the target, by rules that differ between releases.

use std::collections::BTreeSet;

use kube::ResourceExt;

use super::acceptance::{Acceptance, acceptance};
use super::{Observed, Wait};
use crate::cluster::Cluster;
use crate::merge::{self, Overridden, ignition, kubelet};
use crate::openshift::{KubeletConfig, MachineConfig, MachineConfigPool};
use crate::render::Rendered;

/// The name of the pool's target.
pub fn target_name(pool: &MachineConfigPool) -> Option<&str> {
    pool.spec.configuration.as_ref()?.name.as_deref()
}

/// What is still missing before everything that was rendered has landed; `None` when all of it has.
pub fn missing(cluster: &Cluster, pool: &MachineConfigPool, rendered: &Rendered) -> Option<Wait> {
    missing_of(
        cluster,
        pool,
        rendered.machine_config.as_ref(),
        rendered.kubelet_config.as_ref(),
    )
}

/// The same for what was last written, when there is no valid profile to render.
pub fn live_has_landed(observed: &Observed<'_>, pool: &MachineConfigPool) -> bool {
    let machine = observed
        .live
        .machine_config
        .as_ref()
        .map(|live| serde_json::from_value::<MachineConfig>(live.clone()));
    let kubelet = observed
        .live
        .kubelet_config
        .as_ref()
        .map(|live| serde_json::from_value::<KubeletConfig>(live.clone()));
    let (Ok(machine), Ok(kubelet)) = (machine.transpose(), kubelet.transpose()) else {
        return false;
    };
    missing_of(observed.cluster, pool, machine.as_ref(), kubelet.as_ref()).is_none()
}

/// The same when nothing of ours shall be in the target any more.
pub fn without_ours(cluster: &Cluster, pool: &MachineConfigPool) -> Option<Wait> {
    missing_of(cluster, pool, None, None)
}

fn missing_of(
    cluster: &Cluster,
    pool: &MachineConfigPool,
    machine: Option<&MachineConfig>,
    kubelet: Option<&KubeletConfig>,
) -> Option<Wait> {
    if let Some(kubelet) = kubelet {
        let live = cluster
            .kubelet_configs
            .iter()
            .find(|live| live.name_any() == kubelet.name_any());
        match live.map_or(Acceptance::Pending, acceptance) {
            Acceptance::Accepted => {}
            Acceptance::Pending => return Some(Wait::KubeletConfig(None)),
            Acceptance::Refused(words) => return Some(Wait::KubeletConfig(Some(words))),
        }
    }
    let Some(target_name) = target_name(pool) else {
        return waiting(vec![format!(
            "pool {} has no rendered configuration yet",
            pool.name_any()
        )]);
    };
    let Some(target) = cluster
        .machine_configs
        .iter()
        .find(|config| config.name_any() == target_name)
    else {
        return waiting(vec![format!("{target_name} does not exist yet")]);
    };
    let listed: Vec<String> = pool
        .spec
        .configuration
        .iter()
        .flat_map(|configuration| &configuration.source)
        .filter_map(|source| source.name.clone())
        .collect();
    let assumed = merge::sources(pool, &cluster.machine_configs);
    let sources = in_order_of(&listed, &assumed);
    let mut missing = source_differences(&listed, &sources, machine, is_render_degraded(pool));
    if let Some(machine) = machine {
        let name = machine.name_any();
        let mut replaced = merge::overridden(&sources, &name);
        replaced.extend(merge::overridden(&assumed, &name));
        replaced.extend(deduplicated(target, &sources));
        missing.extend(merge::not_landed(target, machine, None, &listed, &replaced));
        // Without ours, the names in the source list say it all: a target is made of one reading of each source.
        missing.extend(merge::remnants(target, &sources));
    }
    if let Some(kubelet) = kubelet {
        missing.extend(kubelet_missing(kubelet, cluster, target, &sources));
    }
    waiting(missing)
}

fn waiting(missing: Vec<String>) -> Option<Wait> {
    (!missing.is_empty()).then_some(Wait::Target(missing))
}

/// The sources in the order in which they were merged, which the pool tells: it differs between releases.
fn in_order_of<'a>(listed: &[String], sources: &[&'a MachineConfig]) -> Vec<&'a MachineConfig> {
    let mut ordered = sources.to_vec();
    ordered.sort_by_key(|source| {
        let name = source.name_any();
        let position = listed.iter().position(|listed| *listed == name);
        position.unwrap_or(usize::MAX)
    });
    ordered
}

fn is_render_degraded(pool: &MachineConfigPool) -> bool {
    pool.status
        .iter()
        .flat_map(|status| &status.conditions)
        .any(|condition| condition.type_ == "RenderDegraded" && condition.status == "True")
}

/// The target must be made of the sources that the pool has now: a rendering that is under way would be a second one.
/// `degraded`: nothing is rendered before somebody mends a config; then only ours must be in.
fn source_differences(
    listed: &[String],
    sources: &[&MachineConfig],
    ours: Option<&MachineConfig>,
    degraded: bool,
) -> Vec<String> {
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let names: Vec<String> = sources.iter().map(|source| source.name_any()).collect();
    let now: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let gone = listed
        .difference(&now)
        .map(|name| format!("{name} is still among the target's sources"));
    let foreign = |name: &str| {
        ours.is_some_and(|ours| ours.name_any() != name)
            && sources.iter().any(|source| {
                source.name_any() == name && !is_generated_from_kubelet_config(source)
            })
    };
    let new = now
        .difference(&listed)
        .filter(|name| !(degraded && foreign(name)))
        .map(|name| format!("{name} is not among the target's sources yet"));
    gone.chain(new).collect()
}

/// Releases before 4.14 render each kernel argument once: ours then aren't together in the target.
fn deduplicated(target: &MachineConfig, sources: &[&MachineConfig]) -> Option<Overridden> {
    let mut once: Vec<&String> = Vec::new();
    for argument in sources
        .iter()
        .flat_map(|source| source.spec.kernel_arguments.iter().flatten())
    {
        if !once.contains(&argument) {
            once.push(argument);
        }
    }
    let has = target.spec.kernel_arguments.iter().flatten();
    has.eq(once).then(|| Overridden {
        what: "kernel arguments".to_owned(),
        by: "an earlier source with the same".to_owned(),
    })
}

fn is_generated_from_kubelet_config(config: &MachineConfig) -> bool {
    owner_of(config).is_some()
}

/// The KubeletConfig from which a MachineConfig was generated.
pub(super) fn owner_of(config: &MachineConfig) -> Option<&str> {
    let owners = config.metadata.owner_references.iter().flatten();
    owners
        .filter(|owner| owner.kind == "KubeletConfig")
        .map(|owner| owner.name.as_str())
        .next()
}

/// A KubeletConfig reaches the target through the MachineConfig that was generated from it.
fn kubelet_missing(
    config: &KubeletConfig,
    cluster: &Cluster,
    target: &MachineConfig,
    sources: &[&MachineConfig],
) -> Vec<String> {
    let name = config.name_any();
    // Its finalizers are named after what was generated from it.
    let finalizers: Vec<&String> = cluster
        .kubelet_configs
        .iter()
        .filter(|live| live.name_any() == name)
        .flat_map(|live| live.metadata.finalizers.iter().flatten())
        .collect();
    let Some(generated) = sources.iter().find(|source| {
        owner_of(source) == Some(&name)
            || finalizers
                .iter()
                .any(|finalizer| **finalizer == source.name_any())
    }) else {
        return vec![format!(
            "no MachineConfig was generated from KubeletConfig {name} yet"
        )];
    };
    let mut missing: Vec<String> = merge::missing_from_generated(generated, config)
        .into_iter()
        .map(|what| {
            format!(
                "{} is not what KubeletConfig {name} says yet: {what}",
                generated.name_any()
            )
        })
        .collect();
    for path in [kubelet::KUBELET_CONF, kubelet::NODE_SIZING] {
        if is_older_than_its_source(path, target, sources, generated) {
            missing.push(format!(
                "file {path} is not in the target as its last source has it"
            ));
        }
    }
    missing
}

/// The sign of an edit that isn't rendered. Asked only of what the Machine Config Operator writes itself.
fn is_older_than_its_source(
    path: &str,
    target: &MachineConfig,
    sources: &[&MachineConfig],
    ours: &MachineConfig,
) -> bool {
    let Some(last) = sources
        .iter()
        .rev()
        .find(|source| contents(source, path).is_some())
    else {
        return false;
    };
    let by_operator = last.name_any() == ours.name_any()
        || last.annotations().contains_key(GENERATED_BY)
        || is_generated_from_kubelet_config(last);
    by_operator
        && contents(last, path)
            .zip(contents(target, path))
            .is_none_or(|(written, rendered)| {
                written != rendered
                    && merge::data_url::decode(written) != merge::data_url::decode(rendered)
            })
}

/// On every MachineConfig that the Machine Config Operator generates.
const GENERATED_BY: &str = "machineconfiguration.openshift.io/generated-by-controller-version";

fn contents<'a>(config: &'a MachineConfig, path: &str) -> Option<&'a str> {
    let config = config.spec.config.as_ref()?;
    ignition::entries(config, "files")
        .find(|file| file["path"] == path)?
        .pointer("/contents/source")?
        .as_str()
}

#[cfg(test)]
mod tests;
