//! One RealtimeNode for each node of the pool, none for any other. Nothing here touches a node.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::{Observed, Step};
use crate::api::RealtimeNode;
use crate::api::realtime_node::RealtimeNodeSpec;
use crate::{names, pools, selector};

/// The nodes that the profile shapes: those of its pool; where there are no pools, those that its selector takes.
pub(super) fn of_profile<'a>(observed: &Observed<'a>, pool: &str) -> Vec<&'a Node> {
    let cluster = observed.cluster;
    if cluster.served.machine_configs {
        return pools::nodes_of(pool, &cluster.nodes, &cluster.pools);
    }
    let Some((valid, _)) = observed.wanted else {
        return Vec::new();
    };
    cluster
        .nodes
        .iter()
        .filter(|node| selector::matches_or_nothing(Some(&valid.pool.node_selector), node.labels()))
        .collect()
}

/// What is to be written and deleted. `wanted`: the pool and what each of its nodes shall be; `None` for no node at all.
pub(super) fn steps(
    observed: &Observed<'_>,
    wanted: Option<(&str, &RealtimeNodeSpec)>,
) -> Vec<Step> {
    let profile = observed.profile.name_any();
    let nodes = wanted.map_or_else(Vec::new, |(pool, _)| of_profile(observed, pool));
    let mut steps = Vec::new();
    if let Some((_, spec)) = wanted {
        // A pool may have thousands: looked up, not searched.
        let live: BTreeMap<&str, &RealtimeNode> = observed
            .cluster
            .realtime_nodes
            .iter()
            .filter_map(|live| Some((live.metadata.name.as_deref()?, live)))
            .collect();
        for node in &nodes {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let same = live.get(name).is_some_and(|live| {
                live.spec == *spec && live.labels().get(names::LABEL_PROFILE) == Some(&profile)
            });
            if !same {
                steps.push(Step::ApplyRealtimeNode {
                    node: name.to_owned(),
                });
            }
        }
    }
    let wanted: BTreeSet<&str> = nodes
        .iter()
        .filter_map(|node| node.metadata.name.as_deref())
        .collect();
    for live in &observed.cluster.realtime_nodes {
        if live.spec.profile == profile
            && live.metadata.deletion_timestamp.is_none()
            && !live
                .metadata
                .name
                .as_deref()
                .is_some_and(|name| wanted.contains(name))
        {
            steps.push(Step::DeleteRealtimeNode {
                node: live.name_any(),
            });
        }
    }
    steps
}
