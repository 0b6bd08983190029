//! Which pool a node belongs to, by the Machine Config Operator's rules. It changes nothing and reports nothing.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use crate::openshift::MachineConfigPool;
use crate::selector::matches_or_nothing;

/// The built-in pool that every custom pool builds on.
pub const WORKER_POOL: &str = "worker";
/// The pool of the control plane.
pub const MASTER_POOL: &str = "master";
/// The pool of arbiter nodes (two-node clusters): built in like the two others.
pub const ARBITER_POOL: &str = "arbiter";

/// A node's pool.
#[derive(Clone, Debug, PartialEq)]
pub enum Membership<'a> {
    /// No pool selects it.
    None,
    /// It belongs to this pool.
    One(&'a MachineConfigPool),
    /// Several custom pools select it (their names, sorted): the Machine Config Operator manages it no
    /// more and only logs so.
    Conflict(Vec<&'a str>),
}

/// Which pool a node with these labels belongs to.
///
/// 1. `master` (or `arbiter`) wins over everything, custom pools included.
/// 2. Exactly one custom pool wins over `worker`.
/// 3. Several custom pools: nobody manages the node.
/// 4. `worker`.
pub fn membership<'a>(
    labels: &BTreeMap<String, String>,
    pools: &'a [MachineConfigPool],
) -> Membership<'a> {
    membership_among(labels, pools)
}

/// [`membership`] among pools that are not side by side, as a cache holds them.
pub fn membership_among<'a>(
    labels: &BTreeMap<String, String>,
    pools: impl IntoIterator<Item = &'a MachineConfigPool>,
) -> Membership<'a> {
    let selecting: Vec<&MachineConfigPool> = pools
        .into_iter()
        .filter(|pool| matches_or_nothing(pool.spec.node_selector.as_ref(), labels))
        .collect();
    let built_in = |name: &str| selecting.iter().find(|pool| name_of(pool) == name).copied();
    if let Some(pool) = built_in(MASTER_POOL).or_else(|| built_in(ARBITER_POOL)) {
        return Membership::One(pool);
    }
    let mut custom: Vec<&MachineConfigPool> = selecting
        .iter()
        .filter(|pool| is_custom(name_of(pool)))
        .copied()
        .collect();
    custom.sort_by_key(|pool| name_of(pool));
    match (custom.as_slice(), built_in(WORKER_POOL)) {
        ([one], _) => Membership::One(one),
        ([], Some(worker)) => Membership::One(worker),
        ([], None) => Membership::None,
        (several, _) => Membership::Conflict(several.iter().map(|pool| name_of(pool)).collect()),
    }
}

/// Whether a pool of this name is one that somebody added.
pub fn is_custom(pool_name: &str) -> bool {
    ![MASTER_POOL, ARBITER_POOL, WORKER_POOL].contains(&pool_name)
}

/// The nodes that belong to the pool, in the given order.
pub fn nodes_of<'a>(
    pool_name: &str,
    nodes: &'a [Node],
    pools: &[MachineConfigPool],
) -> Vec<&'a Node> {
    let selector = pools
        .iter()
        .find(|pool| name_of(pool) == pool_name)
        .and_then(|pool| pool.spec.node_selector.as_ref());
    nodes
        .iter()
        // Whom the pool doesn't select can't belong to it: few of thousands are asked about all pools.
        .filter(|node| matches_or_nothing(selector, node.labels()))
        .filter(|node| match membership(node.labels(), pools) {
            Membership::One(pool) => name_of(pool) == pool_name,
            Membership::None | Membership::Conflict(_) => false,
        })
        .collect()
}

fn name_of(pool: &MachineConfigPool) -> &str {
    pool.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

    use crate::names::node_role_label;
    use crate::openshift::MachineConfigPoolSpec;

    fn role_labels(roles: &[&str]) -> BTreeMap<String, String> {
        roles
            .iter()
            .map(|role| (node_role_label(role), String::new()))
            .collect()
    }

    fn pool(name: &str) -> MachineConfigPool {
        MachineConfigPool::new(
            name,
            MachineConfigPoolSpec {
                node_selector: Some(LabelSelector {
                    match_labels: Some(role_labels(&[name])),
                    match_expressions: None,
                }),
                ..MachineConfigPoolSpec::default()
            },
        )
    }

    fn node(name: &str, roles: &[&str]) -> Node {
        let mut node = Node::default();
        node.metadata.name = Some(name.to_owned());
        node.metadata.labels = Some(role_labels(roles));
        node
    }

    fn name<'a>(membership: &'a Membership<'_>) -> &'a str {
        match membership {
            Membership::One(pool) => pool.metadata.name.as_deref().unwrap(),
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn a_node_belongs_to_the_pool_that_openshift_would_choose() {
        let pools = [
            pool("worker"),
            pool("low-latency"),
            pool("master"),
            pool("edge"),
        ];
        let of = |roles: &[&str]| membership(&role_labels(roles), &pools);
        assert_eq!(name(&of(&["worker"])), "worker");
        assert_eq!(name(&of(&["worker", "low-latency"])), "low-latency");
        assert_eq!(name(&of(&["low-latency"])), "low-latency");
        assert_eq!(name(&of(&["master", "worker"])), "master");
        assert_eq!(name(&of(&["master", "low-latency", "edge"])), "master");
        assert_eq!(of(&["infra"]), Membership::None);
        assert_eq!(
            of(&["worker", "low-latency", "edge"]),
            Membership::Conflict(vec!["edge", "low-latency"])
        );
    }

    #[test]
    fn a_pool_without_selector_has_no_nodes() {
        let mut bare = pool("bare");
        bare.spec.node_selector = None;
        assert_eq!(
            membership(&role_labels(&["bare"]), &[bare]),
            Membership::None
        );
    }

    #[test]
    fn a_node_in_two_custom_pools_is_in_neither() {
        let pools = [pool("worker"), pool("low-latency"), pool("edge")];
        let nodes = [
            node("n1", &["worker"]),
            node("n2", &["worker", "edge"]),
            node("n3", &["worker", "edge", "low-latency"]),
        ];
        let names = |pool: &str| -> Vec<String> {
            nodes_of(pool, &nodes, &pools)
                .iter()
                .map(|node| node.name_any())
                .collect()
        };
        assert_eq!(names("worker"), ["n1"]);
        assert_eq!(names("edge"), ["n2"]);
        assert!(names("low-latency").is_empty());
    }
}
