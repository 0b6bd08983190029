//! Node daemons in the small world: each keeps to the protocol of turns, one step at a time, and the world notes what it
//! should never have been allowed to do. How a daemon switches a kernel isn't here.

use kube::ResourceExt;

use super::{PROFILE, World, labels};
use crate::api::RealtimeNode;
use crate::api::realtime_node::{
    NodeKernelSpec, NodeKernelStatus, NodePhase, NodeTurn, RealtimeNodeSpec, RealtimeNodeStatus,
};
use crate::api::realtime_profile::KernelProvider;
use crate::names;
use crate::rollout::nodes::asks_for_kernel;

impl World {
    /// The kernel is the daemons'.
    pub(in crate::rollout) fn with_daemons(ours: bool) -> Self {
        let mut world = Self::new(ours);
        world.daemons = true;
        world.provider(KernelProvider::NodeDaemon);
        world
    }

    /// Gives the kernel to somebody.
    pub(in crate::rollout) fn provider(&mut self, provider: KernelProvider) {
        self.by = Some(provider);
        self.edit(7);
    }

    /// What the render says of the kernel, by whom it is switched.
    pub(super) fn by_provider(&mut self) {
        let Some(provider) = self.by else { return };
        let by_operator = provider == KernelProvider::MachineConfigOperator;
        self.valid.kernel.by_machine_config_operator = by_operator;
        if let Some(machine) = &mut self.wanted.machine_config {
            machine.spec.kernel_type = by_operator.then(|| "realtime".to_owned());
        }
        self.wanted.node_spec.kernel = Some(NodeKernelSpec {
            realtime: true,
            provider,
            ..NodeKernelSpec::default()
        });
    }

    pub(in crate::rollout) fn daemon_reboots(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.daemon_reboots).collect()
    }

    pub(in crate::rollout) fn daemon_kernels(&self) -> Vec<bool> {
        self.nodes.iter().map(|node| node.realtime).collect()
    }

    fn node_at(&mut self, index: usize) -> Option<&mut RealtimeNode> {
        let name = format!("n{index}");
        self.realtime_nodes
            .iter_mut()
            .find(|node| node.name_any() == name)
    }

    /// Whether a turn of this node was begun.
    pub(super) fn is_taken(&self, index: usize) -> bool {
        let name = format!("n{index}");
        self.realtime_nodes.iter().any(|node| {
            node.name_any() == name
                && node.status.as_ref().and_then(|status| status.turn) == Some(NodeTurn::Taken)
        })
    }

    /// One step of a node's daemon.
    pub(super) fn daemon(&mut self, index: usize) {
        let runs = self.nodes[index].realtime;
        let Some(node) = self.node_at(index).filter(|_| true) else {
            return;
        };
        let Some(kernel) = node.spec.kernel.clone() else {
            return;
        };
        let turn = node.status.as_ref().and_then(|status| status.turn);
        let granted = node.labels().contains_key(names::LABEL_TURN);
        let ours = kernel.provider == KernelProvider::NodeDaemon;
        let asked = turn == Some(NodeTurn::Wanted);
        if turn == Some(NodeTurn::Taken) {
            self.disturb(index, ours, kernel.realtime);
        } else if !ours || runs == kernel.realtime {
            self.report(index, NodePhase::Ready, None);
        } else if granted && asked {
            self.report(index, NodePhase::Staging, Some(NodeTurn::Taken));
        } else {
            self.report(index, NodePhase::Pending, Some(NodeTurn::Wanted));
        }
    }

    /// Cordon; another kernel; uncordon and give the turn back.
    fn disturb(&mut self, index: usize, ours: bool, realtime: bool) {
        if !self.nodes[index].cordoned {
            let others = self.nodes.iter().filter(|node| node.cordoned).count();
            assert_eq!(others, 0, "more than one node down");
            let node = &self.nodes[index];
            assert!(
                self.admin_acted || node.current == node.desired,
                "n{index} is the Machine Config Operator's"
            );
            let target = self
                .rendered
                .iter()
                .find(|config| config.name_any() == node.current);
            assert!(
                !target.is_some_and(asks_for_kernel),
                "n{index} has two drivers"
            );
            self.nodes[index].cordoned = true;
        } else if ours && self.nodes[index].realtime != realtime {
            self.nodes[index].realtime = realtime;
            self.nodes[index].daemon_reboots += 1;
        } else {
            self.nodes[index].cordoned = false;
            self.report(index, NodePhase::Ready, None);
        }
    }

    fn report(&mut self, index: usize, phase: NodePhase, turn: Option<NodeTurn>) {
        let realtime = self.nodes[index].realtime;
        self.version += 1;
        let version = self.version.to_string();
        let Some(node) = self.node_at(index) else {
            return;
        };
        let status = RealtimeNodeStatus {
            observed_generation: node.metadata.generation,
            phase: Some(phase),
            turn,
            kernel: Some(NodeKernelStatus {
                realtime: Some(realtime),
                ..NodeKernelStatus::default()
            }),
            ..RealtimeNodeStatus::default()
        };
        if node.status.as_ref() != Some(&status) {
            node.status = Some(status);
            node.metadata.resource_version = Some(version);
        }
    }

    /// The operator's apply: what a daemon wrote stays.
    pub(super) fn apply_realtime_node(&mut self, name: &str, spec: &RealtimeNodeSpec) {
        self.version += 1;
        let version = self.version.to_string();
        if !self
            .realtime_nodes
            .iter()
            .any(|node| node.name_any() == name)
        {
            let mut new = RealtimeNode::new(name, RealtimeNodeSpec::default());
            new.metadata.generation = Some(0);
            self.realtime_nodes.push(new);
        }
        for node in &mut self.realtime_nodes {
            if node.name_any() == name {
                let changed = i64::from(node.spec != *spec || node.metadata.generation == Some(0));
                node.metadata.generation = node.metadata.generation.map(|before| before + changed);
                node.spec = spec.clone();
                node.labels_mut()
                    .extend(labels(names::LABEL_PROFILE, PROFILE));
                node.metadata.resource_version = Some(version.clone());
            }
        }
    }

    pub(super) fn delete_realtime_node(&mut self, name: &str) {
        let index: usize = name.trim_start_matches('n').parse().unwrap();
        assert!(!self.is_taken(index), "{name} is being switched");
        assert!(
            !self.nodes[index].realtime,
            "{name} would keep its kernel for ever"
        );
        self.realtime_nodes.retain(|old| old.name_any() != name);
    }

    /// Puts the label on or takes it off, at that version only.
    pub(super) fn label_turn(&mut self, name: &str, resource_version: &str, on: bool) -> bool {
        self.version += 1;
        let version = self.version.to_string();
        let mut nodes = self.realtime_nodes.iter_mut();
        let Some(node) = nodes.find(|node| {
            node.name_any() == name && node.resource_version().as_deref() == Some(resource_version)
        }) else {
            return false;
        };
        if on {
            assert!(
                self.pool
                    .as_ref()
                    .is_none_or(|pool| pool.spec.paused == Some(true))
                    || self.admin_acted,
                "granted in a pool that isn't paused"
            );
            node.labels_mut()
                .insert(names::LABEL_TURN.into(), names::TURN_GRANTED.into());
        } else {
            node.labels_mut().remove(names::LABEL_TURN);
        }
        node.metadata.resource_version = Some(version);
        true
    }

    pub(super) fn turns_are(&self, believed: &[String]) -> bool {
        let mut given: Vec<String> = self
            .realtime_nodes
            .iter()
            .filter(|node| node.labels().contains_key(names::LABEL_TURN))
            .map(ResourceExt::name_any)
            .collect();
        given.sort();
        given == believed
    }
}
