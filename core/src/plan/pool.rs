//! What the pool's nodes run now and would run then: our objects merged with everything else on the pool, by
//! OpenShift's own rules (`merge`). Nothing about single nodes.

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde::Serialize;

use super::Wanted;
use crate::merge::{MergeError, Merged, merge, reconcilable, sources};
use crate::openshift::{MachineConfig, MachineConfigPool};

/// What the pool's nodes would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolOutcome {
    /// The kernel now; `None` when the pool has no configuration yet.
    pub kernel_before: Option<String>,
    /// The kernel then: `realtime`, `default` or `64k-pages`.
    pub kernel: String,
    /// All arguments that the pool's configuration would carry, in their order.
    pub kernel_arguments: Vec<String>,
    /// How they differ from now.
    pub argument_changes: ArgumentChanges,
    /// The MachineConfigs behind it, in OpenShift's order.
    pub sources: Vec<String>,
}

/// How two lists of arguments differ, entries split into arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ArgumentChanges {
    /// New ones.
    pub added: Vec<String>,
    /// Gone ones.
    pub removed: Vec<String>,
}

/// The pool, before and after.
pub struct Pool {
    /// For people.
    pub outcome: PoolOutcome,
    /// As it would be.
    pub after: MachineConfigPool,
    /// The merge as it would be, without what a KubeletConfig generates.
    pub merged: Merged,
}

impl Pool {
    /// `None` where no pools are served.
    pub fn of(wanted: &Wanted<'_>) -> Result<Option<Self>, MergeError> {
        let Some(rendered) = &wanted.rendered.pool else {
            return Ok(None);
        };
        let name = rendered.name_any();
        let before = find(&wanted.cluster.pools, &name);
        let after = after(before, rendered);
        let configs = configs_after(wanted);
        let sources_after = sources(&after, &configs);
        let merged = merge(&sources_after)?;
        let current = before.and_then(|pool| target(pool, &wanted.cluster.machine_configs));
        if let Some(current) = current {
            reconcilable(current, &sources_after)?;
        }
        let arguments_before = current
            .and_then(|config| config.spec.kernel_arguments.clone())
            .unwrap_or_default();
        let outcome = PoolOutcome {
            kernel_before: current.map(kernel_of),
            kernel: kernel_of_merged(&merged),
            argument_changes: changes(&arguments_before, &merged.kernel_arguments),
            kernel_arguments: merged.kernel_arguments.clone(),
            sources: sources_after
                .iter()
                .map(|source| source.name_any())
                .collect(),
        };
        Ok(Some(Self {
            outcome,
            after,
            merged,
        }))
    }
}

/// The pool as it would be: the existing one with our labels, or the one that we create.
fn after(before: Option<&MachineConfigPool>, rendered: &MachineConfigPool) -> MachineConfigPool {
    let Some(before) = before else {
        return rendered.clone();
    };
    let mut after = before.clone();
    after.labels_mut().extend(rendered.labels().clone());
    if rendered.spec.machine_config_selector.is_some() {
        after
            .spec
            .machine_config_selector
            .clone_from(&rendered.spec.machine_config_selector);
    }
    if rendered.spec.node_selector.is_some() {
        after
            .spec
            .node_selector
            .clone_from(&rendered.spec.node_selector);
    }
    after
}

/// All MachineConfigs as they would be: ours in place of what carries our name, and what we'd prune gone.
pub fn configs_after(wanted: &Wanted<'_>) -> Vec<MachineConfig> {
    let profile = &wanted.profile.name;
    let ours = wanted.rendered.machine_config.as_ref();
    wanted
        .cluster
        .machine_configs
        .iter()
        .filter(|config| Some(config.name_any()) != ours.map(ResourceExt::name_any))
        .filter(|config| config.labels().get(crate::names::LABEL_PROFILE) != Some(profile))
        .chain(ours)
        .cloned()
        .collect()
}

/// The pool of that name.
pub fn find<'a>(pools: &'a [MachineConfigPool], name: &str) -> Option<&'a MachineConfigPool> {
    pools
        .iter()
        .find(|pool| pool.metadata.name.as_deref() == Some(name))
}

/// The rendered MachineConfig that a pool is at or on its way to.
pub fn target<'a>(
    pool: &MachineConfigPool,
    configs: &'a [MachineConfig],
) -> Option<&'a MachineConfig> {
    let name = pool.spec.configuration.as_ref()?.name.as_deref()?;
    configs
        .iter()
        .find(|config| config.metadata.name.as_deref() == Some(name))
}

/// The kernel of a rendered MachineConfig.
pub fn kernel_of(config: &MachineConfig) -> String {
    match config.spec.kernel_type.as_deref() {
        _ if config.spec.realtime == Some(true) => "realtime".to_owned(),
        None | Some("") => crate::merge::DEFAULT_KERNEL_TYPE.to_owned(),
        Some(kind) => kind.to_owned(),
    }
}

/// The kernel of a merge.
pub fn kernel_of_merged(merged: &Merged) -> String {
    if merged.is_realtime() {
        return "realtime".to_owned();
    }
    merged.kernel_type.clone()
}

/// How two lists differ: as multisets of single arguments, each list in its own order.
pub fn changes(before: &[String], after: &[String]) -> ArgumentChanges {
    ArgumentChanges {
        added: surplus(after, before),
        removed: surplus(before, after),
    }
}

fn surplus(of: &[String], over: &[String]) -> Vec<String> {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for argument in over.iter().flat_map(|entry| entry.split_whitespace()) {
        *left.entry(argument).or_default() += 1;
    }
    of.iter()
        .flat_map(|entry| entry.split_whitespace())
        .filter(|argument| match left.get_mut(argument) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        })
        .map(str::to_owned)
        .collect()
}
