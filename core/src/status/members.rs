//! The nodes of a profile, with how far each is: those of its pool, and where no pools are served those that its
//! selector takes. One rule for `status` and for `oc realtime watch`, so that both count the same nodes. Reads only.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt;

use super::progress::{NodeProgress, ProgressPhase, Reports, node_progress, progress_of};
use crate::api::RealtimeProfile;
use crate::cluster::Cluster;
use crate::names::node_role_label;
use crate::selector::matches_or_nothing;

/// The profile's nodes, sorted by name. A node that left is none of them any more, also while it goes back.
pub fn of_profile(
    profile: &RealtimeProfile,
    cluster: &Cluster,
    wants_realtime: bool,
) -> Vec<NodeProgress> {
    if cluster.served.machine_configs {
        node_progress(&pool_name(profile), cluster, wants_realtime)
    } else {
        without_pools(profile, cluster, wants_realtime)
    }
}

/// The pool that a profile shapes, where there are pools.
pub fn pool_name(profile: &RealtimeProfile) -> String {
    let pool = profile.spec.pool.as_ref();
    pool.and_then(|pool| pool.name.clone())
        .or_else(|| profile.metadata.name.clone())
        .unwrap_or_default()
}

/// Those of a profile where no pools are served.
pub(super) fn without_pools(
    profile: &RealtimeProfile,
    cluster: &Cluster,
    wants_realtime: bool,
) -> Vec<NodeProgress> {
    let reports = Reports::of(cluster);
    let mut progress: Vec<NodeProgress> = members(profile, cluster, &reports)
        .map(|node| by_daemon_alone(progress_of(node, None, &reports, wants_realtime)))
        .collect();
    progress.sort_by(|left, right| left.node.cmp(&right.node));
    progress
}

/// A deleted profile takes nobody in any more: its nodes are those that it still has a RealtimeNode of.
fn members<'a>(
    profile: &RealtimeProfile,
    cluster: &'a Cluster,
    reports: &Reports<'a>,
) -> impl Iterator<Item = &'a Node> {
    let name = profile.name_any();
    let going = profile.metadata.deletion_timestamp.is_some();
    let selector = selector_of(profile);
    cluster
        .nodes
        .iter()
        .filter(move |node| match reports.realtime_node(node) {
            // Another profile's: it keeps the node, whatever our selector says.
            Some(there) if there.spec.profile != name => false,
            Some(_) => going || matches_or_nothing(Some(&selector), node.labels()),
            None => !going && matches_or_nothing(Some(&selector), node.labels()),
        })
}

/// What validation makes of it where there is no pool.
fn selector_of(profile: &RealtimeProfile) -> LabelSelector {
    let given = profile.spec.pool.as_ref();
    given
        .and_then(|pool| pool.node_selector.clone())
        .unwrap_or_else(|| LabelSelector {
            match_labels: Some(BTreeMap::from([(
                node_role_label(&pool_name(profile)),
                String::new(),
            )])),
            match_expressions: None,
        })
}

/// Kernel and arguments are the node daemon's here: a node of which it has said nothing is not ready, whatever kernel
/// runs.
fn by_daemon_alone(mut progress: NodeProgress) -> NodeProgress {
    if !progress.by_daemon && progress.phase == ProgressPhase::Ready {
        progress.phase = ProgressPhase::Verifying;
        "its node daemon to report".clone_into(&mut progress.waits_for);
    }
    progress
}
