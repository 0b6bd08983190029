//! Whether a pool's target holds what was written, and no longer holds what was taken away. The question before
//! every unpause. It compares contents, because an edited MachineConfig keeps its name in the source list.

use std::collections::BTreeSet;

use kube::ResourceExt;

use super::acceptance::{Acceptance, acceptance};
use super::{Observed, Wait};
use crate::cluster::Cluster;
use crate::merge::{self, ignition};
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
    let sources = merge::sources(pool, &cluster.machine_configs);
    let mut missing = source_differences(&listed, &sources);
    if let Some(machine) = machine {
        let replaced = merge::overridden(&sources, &machine.name_any());
        missing.extend(merge::not_landed(
            target, machine, kubelet, &listed, &replaced,
        ));
    }
    missing.extend(merge::remnants(target, &sources));
    missing.extend(old_files(target, &sources));
    waiting(missing)
}

fn waiting(missing: Vec<String>) -> Option<Wait> {
    (!missing.is_empty()).then_some(Wait::Target(missing))
}

/// The target must be made of the sources that the pool has now: a rendering that is under way would be a second one.
fn source_differences(listed: &[String], sources: &[&MachineConfig]) -> Vec<String> {
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let names: Vec<String> = sources.iter().map(|source| source.name_any()).collect();
    let now: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let gone = listed
        .difference(&now)
        .map(|name| format!("{name} is still among the target's sources"));
    let new = now
        .difference(&listed)
        .map(|name| format!("{name} is not among the target's sources yet"));
    gone.chain(new).collect()
}

/// Files whose contents in the target are not those of the last source that has them: an edit that isn't rendered.
fn old_files(target: &MachineConfig, sources: &[&MachineConfig]) -> Vec<String> {
    let Some(config) = &target.spec.config else {
        return Vec::new();
    };
    ignition::entries(config, "files")
        .filter(|file| {
            let last = sources
                .iter()
                .rev()
                .filter_map(|source| source.spec.config.as_ref())
                .find_map(|config| {
                    ignition::entries(config, "files").find(|other| {
                        other["path"] == file["path"] && !other["contents"]["source"].is_null()
                    })
                });
            last.is_some_and(|last| {
                let (written, rendered) =
                    (&last["contents"]["source"], &file["contents"]["source"]);
                written != rendered && decoded(written) != decoded(rendered)
            })
        })
        .map(|file| {
            format!(
                "file {} is not in the target as its last source has it",
                file["path"].as_str().unwrap_or_default()
            )
        })
        .collect()
}

fn decoded(source: &serde_json::Value) -> Option<Vec<u8>> {
    merge::data_url::decode(source.as_str()?)
}
