//! What stands in the way of a plan: what validation warned of, and what only the merge and the objects tell.

use kube::ResourceExt;

use super::pool::{Pool, find};
use super::{Conflict, Wanted};
use crate::pools::{Membership, membership};
use crate::selector::matches_or_nothing;

/// All of them, each once, in a fixed order.
pub fn of(wanted: &Wanted<'_>, pool: Option<&Pool>) -> Vec<Conflict> {
    let mut conflicts: Vec<Conflict> = wanted.warnings.0.iter().map(Conflict::from).collect();
    if let Some(pool) = pool {
        conflicts.extend(overridden(pool));
        conflicts.extend(paused(wanted, pool));
        conflicts.extend(inherited_kernel(wanted, pool));
        // Validation may have warned of these already, at the same place.
        for found in [foreign_kubelet_configs(wanted, pool), torn_nodes(wanted, pool)].concat() {
            if conflicts.iter().all(|known| known.place != found.place) {
                conflicts.push(found);
            }
        }
    }
    for (place, name) in taken_over(wanted) {
        conflicts.push(Conflict {
            place,
            message: "exists and was not made by realtime-operator; it would be taken over".to_owned(),
            remedy: format!("delete it, or name the profile otherwise than {name}"),
        });
    }
    conflicts.sort();
    conflicts.dedup();
    conflicts
}

fn overridden(pool: &Pool) -> Vec<Conflict> {
    pool.overridden
        .iter()
        .map(|lost| Conflict {
            place: format!("MachineConfig/{}", lost.by),
            message: format!("is merged later and replaces our {}", lost.what),
            remedy: "remove it there, or give that MachineConfig a name that sorts before ours".to_owned(),
        })
        .collect()
}

/// A pause that is not ours: we never undo it.
fn paused(wanted: &Wanted<'_>, pool: &Pool) -> Option<Conflict> {
    let name = pool.after.name_any();
    let live = find(&wanted.cluster.pools, &name)?;
    let by_us = live.annotations().contains_key(crate::names::ANNOTATION_PAUSED_FOR);
    (live.spec.paused == Some(true) && !by_us).then(|| Conflict {
        place: format!("MachineConfigPool/{name}"),
        message: "was paused by somebody else: the change is rendered, and no node follows".to_owned(),
        remedy: format!("`oc patch mcp {name} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'` when it may roll out"),
    })
}

/// The stock kernel is wanted, and another source asks for real-time: the last one that isn't default wins.
fn inherited_kernel(wanted: &Wanted<'_>, pool: &Pool) -> Option<Conflict> {
    let known = |conflict: &Conflict| conflict.place.ends_with("kernel.realtime");
    let warned = wanted.warnings.0.iter().map(Conflict::from).any(|conflict| known(&conflict));
    (!wanted.profile.kernel.realtime && pool.merged.is_realtime() && !warned).then(|| Conflict {
        place: "spec.kernel.realtime".to_owned(),
        message: "is false, and another MachineConfig of the pool asks for the real-time kernel: it can't be turned off here".to_owned(),
        remedy: "remove kernelType from that MachineConfig".to_owned(),
    })
}

fn foreign_kubelet_configs(wanted: &Wanted<'_>, pool: &Pool) -> Vec<Conflict> {
    let Some(ours) = wanted.rendered.kubelet_config.as_ref().map(ResourceExt::name_any) else {
        return Vec::new();
    };
    wanted
        .cluster
        .kubelet_configs
        .iter()
        .filter(|config| config.name_any() != ours)
        .filter(|config| {
            let selector = config.spec.machine_config_pool_selector.as_ref();
            matches_or_nothing(selector, pool.after.labels())
        })
        .map(|config| Conflict {
            place: format!("KubeletConfig/{}", config.name_any()),
            message: "selects the same pool: only one of the two takes effect, as a whole".to_owned(),
            remedy: "move its fields into spec.kubelet.overrides and delete it".to_owned(),
        })
        .collect()
}

/// Nodes that the pool and another custom pool both select: nobody manages them then.
fn torn_nodes(wanted: &Wanted<'_>, pool: &Pool) -> Vec<Conflict> {
    let name = pool.after.name_any();
    let pools: Vec<_> = wanted
        .cluster
        .pools
        .iter()
        .filter(|other| other.name_any() != name)
        .chain([&pool.after])
        .cloned()
        .collect();
    wanted
        .cluster
        .nodes
        .iter()
        .filter_map(|node| match membership(node.labels(), &pools) {
            Membership::Conflict(names) if names.contains(&name.as_str()) => Some(Conflict {
                place: format!("Node/{}", node.name_any()),
                message: format!("is in the pools {}: the Machine Config Operator manages it no more", names.join(" and ")),
                remedy: "remove the label of one of them".to_owned(),
            }),
            _ => None,
        })
        .collect()
}

/// Objects of our names without our label.
fn taken_over(wanted: &Wanted<'_>) -> Vec<(String, String)> {
    let profile = &wanted.profile.name;
    let names: Vec<_> = wanted.rendered.objects().iter().map(super::ObjectId::of).collect();
    wanted
        .live
        .iter()
        .filter(|live| live["kind"] != "MachineConfigPool")
        .filter(|live| live["metadata"]["labels"][crate::names::LABEL_PROFILE] != profile.as_str())
        .map(super::ObjectId::of)
        .filter(|id| names.contains(id))
        .map(|id| (format!("{}/{}", id.kind, id.name), profile.clone()))
        .collect()
}
