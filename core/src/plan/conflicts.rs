//! What stands in the way of a plan: what validation warned of, what `status` would find once the profile is applied,
//! and what only the objects tell.

use kube::ResourceExt;

use super::pool::{Pool, find};
use super::{Conflict, ObjectId, Wanted};
use crate::cluster::Cluster;
use crate::conditions::reason;
use crate::status::findings::findings;
use crate::status::progress::node_progress;

/// All of them, each once, in a fixed order.
pub fn of(wanted: &Wanted<'_>, pool: Option<&Pool>) -> Vec<Conflict> {
    let mut conflicts: Vec<Conflict> = wanted.warnings.0.iter().map(Conflict::from).collect();
    if let Some(pool) = pool {
        conflicts.extend(paused(wanted, pool));
        conflicts.extend(found_then(wanted, pool));
    }
    conflicts.extend(taken_over(wanted));
    conflicts.sort();
    conflicts.dedup();
    conflicts
}

/// What the profile's status would name.
fn found_then(wanted: &Wanted<'_>, pool: &Pool) -> Vec<Conflict> {
    let cluster = cluster_then(wanted, pool);
    let valid = wanted.profile;
    let nodes = node_progress(&valid.pool.name, &cluster, valid.kernel.realtime);
    findings(
        &valid.name,
        Some(valid),
        Some(&pool.after),
        &cluster,
        &nodes,
    )
    .into_iter()
    // Before the rollout every node runs the stock kernel: that is what the plan changes.
    .filter(|finding| finding.reason != reason::STOCK_KERNEL_RUNS)
    .map(|finding| Conflict {
        about: finding.reason.to_owned(),
        message: finding.message,
        remedy: String::new(),
    })
    .collect()
}

/// The cluster with our objects in it, before anything has followed from them.
fn cluster_then(wanted: &Wanted<'_>, pool: &Pool) -> Cluster {
    let mut cluster = wanted.cluster.clone();
    cluster
        .pools
        .retain(|other| other.name_any() != pool.after.name_any());
    cluster.pools.push(pool.after.clone());
    cluster.machine_configs = super::pool::configs_after(wanted);
    if let Some(ours) = &wanted.rendered.kubelet_config {
        // An existing one keeps its conditions: a refusal of it is news only until it changes.
        if cluster
            .kubelet_configs
            .iter()
            .all(|config| config.name_any() != ours.name_any())
        {
            cluster.kubelet_configs.push(ours.clone());
        }
    }
    cluster
}

/// A pause that is not ours: we never undo it.
fn paused(wanted: &Wanted<'_>, pool: &Pool) -> Option<Conflict> {
    let name = pool.after.name_any();
    let live = find(&wanted.cluster.pools, &name)?;
    let by_us = live
        .annotations()
        .contains_key(crate::names::ANNOTATION_PAUSED_FOR);
    (live.spec.paused == Some(true) && !by_us).then(|| Conflict {
        about: reason::PAUSED_BY_ADMIN.to_owned(),
        message: format!("pool {name} was paused by somebody else: the change is rendered, and no node follows"),
        remedy: format!("when it may roll out: oc patch mcp {name} --type merge -p '{{\"spec\":{{\"paused\":false}}}}'"),
    })
}

/// Objects of our names without our label.
fn taken_over(wanted: &Wanted<'_>) -> Vec<Conflict> {
    let profile = &wanted.profile.name;
    let ours: Vec<ObjectId> = wanted
        .rendered
        .objects()
        .iter()
        .map(ObjectId::of)
        .filter(|id| id.kind != "MachineConfigPool")
        .collect();
    wanted
        .live
        .iter()
        .filter(|live| live["metadata"]["labels"][crate::names::LABEL_PROFILE] != profile.as_str())
        .map(ObjectId::of)
        .filter(|id| ours.contains(id))
        .map(|id| Conflict {
            about: format!("{}/{}", id.kind, id.name),
            message: "exists and was not made by realtime-operator: it would be taken over"
                .to_owned(),
            remedy: format!("delete it, or give the profile another name than {profile}"),
        })
        .collect()
}
