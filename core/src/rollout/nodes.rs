//! One RealtimeNode for each node of the pool, none for any other, and what each shall say. A node whose kernel the node
//! daemon switched goes back to the stock kernel before anybody else may switch it, and before its RealtimeNode goes.
//! Nothing here touches a node.
//!
//! Two never drive one kernel:
//! - from the daemon to the Machine Config Operator: first the daemon goes back on all nodes of the pool, then the
//!   MachineConfig asks for the kernel;
//! - the other way round: a node is the daemon's only when its configuration and the pool's target ask for none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;

use super::landing::target_name;
use super::{Observed, Step};
use crate::api::RealtimeNode;
use crate::api::realtime_node::{NodeKernelSpec, NodePhase, RealtimeNodeSpec};
use crate::api::realtime_profile::KernelProvider;
use crate::cluster::Dialect;
use crate::openshift::{MachineConfig, MachineConfigPool};
use crate::turns::seen::{is_current, is_granted};
use crate::{merge, names, pools, selector};

/// What the RealtimeNodes of a profile shall be.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// The steps to it.
    pub(super) steps: Vec<Step>,
    /// The spec that each shall have, by node.
    pub(super) specs: BTreeMap<String, Arc<RealtimeNodeSpec>>,
    /// Nodes that left, and whose daemon has to bring the stock kernel back.
    pub(super) leaving: Vec<String>,
    /// Nodes that stay, whose daemon has to bring the stock kernel back before the Machine Config Operator may switch it.
    pub(super) handing_over: Vec<String>,
}

/// The nodes that the profile shapes: those of its pool; where there are no pools, those that its selector takes.
pub(super) fn of_profile<'a>(observed: &Observed<'a>, pool: &str) -> Vec<&'a Node> {
    let cluster = observed.cluster;
    if cluster.served.machine_configs {
        return pools::nodes_of(pool, &cluster.nodes, &cluster.pools);
    }
    let Some((valid, _)) = observed.wanted else {
        return Vec::new();
    };
    let others = of_others(observed);
    cluster
        .nodes
        .iter()
        .filter(|node| selector::matches_or_nothing(Some(&valid.pool.node_selector), node.labels()))
        .filter(|node| {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            !others.contains(name)
        })
        .collect()
}

/// The nodes that another profile shapes already, and keeps for as long as it is there: where there are no pools, two
/// selectors may take in the same node, and it must not be switched to and fro.
fn of_others<'a>(observed: &Observed<'a>) -> BTreeSet<&'a str> {
    let profile = observed.profile.name_any();
    let keeps = |name: &str| {
        let mut profiles = observed.cluster.profiles.iter();
        profiles.any(|other| {
            other.metadata.name.as_deref() == Some(name)
                && other.metadata.deletion_timestamp.is_none()
        })
    };
    observed
        .cluster
        .realtime_nodes
        .iter()
        .filter(|node| node.spec.profile != profile && keeps(&node.spec.profile))
        .filter_map(|node| node.metadata.name.as_deref())
        .collect()
}

/// What is to be written and deleted. `wanted`: the pool and what each of its nodes shall be; `None` for no node at all.
pub(super) fn plan(observed: &Observed<'_>, wanted: Option<(&str, &RealtimeNodeSpec)>) -> Nodes {
    let profile = observed.profile.name_any();
    let mut plan = Nodes::default();
    // A pool may have thousands: looked up, not searched.
    let live: BTreeMap<&str, &RealtimeNode> = observed
        .cluster
        .realtime_nodes
        .iter()
        .filter_map(|live| Some((live.metadata.name.as_deref()?, live)))
        .collect();
    let members = wanted.map_or_else(Vec::new, |(pool, _)| of_profile(observed, pool));
    if let Some((pool, spec)) = wanted {
        let kernels = Kernels::of(observed, pool);
        let shapes = Shapes::of(spec);
        plan.handing_over = handing_over(spec, &members, &live);
        for node in &members {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let there = live.get(name).copied();
            let spec = if !plan.handing_over.is_empty() {
                // All together: a node that only verified meanwhile would find the wrong kernel.
                match there.filter(|there| reports(there)) {
                    Some(there) if is_daemons(&there.spec) => &shapes.back,
                    _ => &shapes.wanted,
                }
            } else if let Some(realtime) = kernels
                .of_machine_config(node, there)
                .filter(|_| is_daemons(spec))
            {
                shapes.verified(realtime)
            } else {
                &shapes.wanted
            };
            plan.want(&profile, name, there, spec);
        }
    }
    let members: BTreeSet<&str> = members
        .iter()
        .filter_map(|node| node.metadata.name.as_deref())
        .collect();
    let nodes: BTreeSet<&str> = observed
        .cluster
        .nodes
        .iter()
        .filter_map(|node| node.metadata.name.as_deref())
        .collect();
    for (name, there) in live {
        if there.spec.profile != profile
            || there.metadata.deletion_timestamp.is_some()
            || members.contains(name)
        {
            continue;
        }
        if nodes.contains(name) && must_go_back(there) {
            plan.leaving.push(name.to_owned());
            plan.want(&profile, name, Some(there), &Arc::new(left(&there.spec)));
        } else {
            plan.steps.push(Step::DeleteRealtimeNode {
                node: name.to_owned(),
            });
        }
    }
    plan
}

impl Nodes {
    fn want(
        &mut self,
        profile: &str,
        node: &str,
        there: Option<&RealtimeNode>,
        spec: &Arc<RealtimeNodeSpec>,
    ) {
        let same = there.is_some_and(|there| {
            there.spec == **spec
                && there
                    .labels()
                    .get(names::LABEL_PROFILE)
                    .is_some_and(|of| of == profile)
        });
        if !same {
            self.steps.push(Step::ApplyRealtimeNode {
                node: node.to_owned(),
                spec: Arc::clone(spec),
            });
        }
        self.specs.insert(node.to_owned(), Arc::clone(spec));
    }
}

/// The forms that a profile's spec takes on its nodes.
struct Shapes {
    wanted: Arc<RealtimeNodeSpec>,
    /// The daemon verifies that the stock kernel, or the real-time kernel runs, and drives nothing.
    verified: [Arc<RealtimeNodeSpec>; 2],
    /// The stock kernel comes back, by the daemon.
    back: Arc<RealtimeNodeSpec>,
}

impl Shapes {
    fn of(spec: &RealtimeNodeSpec) -> Self {
        let with = |kernel: Option<NodeKernelSpec>| {
            Arc::new(RealtimeNodeSpec {
                kernel,
                ..spec.clone()
            })
        };
        let verified = |realtime| {
            with(spec.kernel.clone().map(|kernel| NodeKernelSpec {
                realtime,
                provider: KernelProvider::MachineConfigOperator,
                packages: None,
                ..kernel
            }))
        };
        Self {
            wanted: Arc::new(spec.clone()),
            verified: [verified(false), verified(true)],
            back: with(Some(stock_kernel(spec))),
        }
    }

    fn verified(&self, realtime: bool) -> &Arc<RealtimeNodeSpec> {
        let [stock, other] = &self.verified;
        if realtime { other } else { stock }
    }
}

/// The stock kernel, brought back by the daemon with everything else that it did.
fn stock_kernel(before: &RealtimeNodeSpec) -> NodeKernelSpec {
    NodeKernelSpec {
        realtime: false,
        provider: KernelProvider::NodeDaemon,
        packages: None,
        arguments: Vec::new(),
        arguments_provider: before
            .kernel
            .as_ref()
            .and_then(|kernel| kernel.arguments_provider),
    }
}

/// What a node that left shall be: nothing but its former kernel.
fn left(before: &RealtimeNodeSpec) -> RealtimeNodeSpec {
    RealtimeNodeSpec {
        profile: before.profile.clone(),
        kernel: Some(stock_kernel(before)),
        ..RealtimeNodeSpec::default()
    }
}

/// Whether the node daemon switches the kernel of a node with this spec.
pub(super) fn is_daemons(spec: &RealtimeNodeSpec) -> bool {
    spec.kernel
        .as_ref()
        .is_some_and(|kernel| kernel.provider == KernelProvider::NodeDaemon)
}

/// Whether a daemon ever reported: where none did, nothing was switched by one.
fn reports(node: &RealtimeNode) -> bool {
    node.status
        .as_ref()
        .is_some_and(|status| status.phase.is_some() || status.observed_generation.is_some())
}

/// Whether the node's daemon has to bring the stock kernel back, and has not said yet that it did.
fn must_go_back(node: &RealtimeNode) -> bool {
    is_daemons(&node.spec) && reports(node) && !is_back(node)
}

/// Whether the daemon, asked for the stock kernel, says that it runs and that nothing else of its work is left.
fn is_back(node: &RealtimeNode) -> bool {
    let asked = node
        .spec
        .kernel
        .as_ref()
        .is_some_and(|kernel| *kernel == stock_kernel(&node.spec));
    let status = node.status.as_ref();
    asked
        && is_current(node)
        && !is_granted(node)
        && status.is_some_and(|status| {
            status.phase == Some(NodePhase::Ready)
                && status.turn.is_none()
                && status.kernel.as_ref().and_then(|kernel| kernel.realtime) == Some(false)
        })
}

/// Nodes that the daemon drives and that the Machine Config Operator shall: empty when none is left to go back.
fn handing_over(
    spec: &RealtimeNodeSpec,
    members: &[&Node],
    live: &BTreeMap<&str, &RealtimeNode>,
) -> Vec<String> {
    if is_daemons(spec) {
        return Vec::new();
    }
    members
        .iter()
        .filter_map(|node| {
            let name = node.metadata.name.as_deref()?;
            live.get(name)
                .is_some_and(|there| must_go_back(there))
                .then(|| name.to_owned())
        })
        .collect()
}

/// Whether a configuration asks for another kernel than the stock one.
pub(super) fn asks_for_kernel(config: &MachineConfig) -> bool {
    let kernel_type = config.spec.kernel_type.as_deref().unwrap_or_default();
    config.spec.realtime == Some(true) || !matches!(kernel_type, "" | merge::DEFAULT_KERNEL_TYPE)
}

/// Whose kernel a pool's nodes have, by the configurations that are known.
struct Kernels<'a> {
    /// Whether a MachineConfig can ask for a kernel here.
    possible: bool,
    target: Option<&'a str>,
    /// Known configurations, and whether they ask for a kernel.
    configs: BTreeMap<&'a str, bool>,
}

impl<'a> Kernels<'a> {
    fn of(observed: &Observed<'a>, pool: &str) -> Self {
        let cluster = observed.cluster;
        let named =
            |candidate: &&MachineConfigPool| candidate.metadata.name.as_deref() == Some(pool);
        Self {
            possible: cluster.served.machine_configs && cluster.served.dialect != Dialect::None,
            target: cluster.pools.iter().find(named).and_then(target_name),
            configs: cluster
                .machine_configs
                .iter()
                .filter_map(|config| {
                    Some((config.metadata.name.as_deref()?, asks_for_kernel(config)))
                })
                .collect(),
        }
    }

    /// Whether the Machine Config Operator brings the real-time kernel to this node, as long as its kernel is that
    /// operator's, or may be by what is not known yet. `None`: it is free for the daemon.
    fn of_machine_config(&self, node: &Node, there: Option<&RealtimeNode>) -> Option<bool> {
        if !self.possible {
            return None;
        }
        let of_node = |key: &str| {
            let key = format!("{}{key}", names::MCO_ANNOTATION_PREFIX);
            node.annotations().get(&key).map(String::as_str)
        };
        let (current, desired) = (of_node("currentConfig"), of_node("desiredConfig"));
        let asks = |name: Option<&str>| name.and_then(|name| self.configs.get(name).copied());
        if [self.target, current, desired]
            .into_iter()
            .any(|name| asks(name) == Some(true))
        {
            return Some(true);
        }
        // What is the daemon's stays the daemon's while the node is on its way to another such configuration.
        if there.is_some_and(|there| is_daemons(&there.spec)) {
            return None;
        }
        let at_target = self.target.is_some() && current == self.target && desired == self.target;
        (!at_target || asks(self.target).is_none()).then_some(false)
    }
}
