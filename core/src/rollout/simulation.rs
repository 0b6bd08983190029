//! A small world for the rollout's properties: a pool, its renders at any moment, three nodes, an admin, and an
//! operator that may die between any two steps. It plays OpenShift by the rules that the recordings show; it is no
//! measure of them, that is the pool stand-in's conformance test.

mod daemons;

use std::fmt::Write as _;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::core::v1::{Node, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference, Time};
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::removal::no_node;
use super::*;
use crate::api::realtime_node::{RealtimeNode, RealtimeNodeSpec};
use crate::cluster::{Dialect, Served};
use crate::facts::Architecture;
use crate::merge::{self, kubelet};
use crate::openshift::*;
use crate::validate::valid_profile::*;

const PROFILE: &str = "rt-profile";
const POOL: &str = "rt";
const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";

pub(super) fn profile() -> RealtimeProfile {
    let mut profile = RealtimeProfile::new(
        PROFILE,
        crate::api::realtime_profile::RealtimeProfileSpec::default(),
    );
    profile.metadata.generation = Some(1);
    profile.spec.pool = Some(crate::api::realtime_profile::PoolSpec {
        name: Some(POOL.into()),
        ..Default::default()
    });
    profile
}

pub(crate) fn valid(ours: bool) -> ValidProfile {
    ValidProfile {
        name: PROFILE.into(),
        uid: None,
        served: Served::openshift(Dialect::KernelType),
        pool: ValidPool {
            name: POOL.into(),
            ours,
            node_selector: role(),
            max_unavailable: None,
            machine_config_labels: labels(names::LABEL_MACHINE_CONFIG_ROLE, POOL),
        },
        hardware: Hardware {
            architecture: Architecture::Amd64,
            cpu_vendor: None,
            cpu_family_model: None,
            numa_memory_kib: BTreeMap::new(),
            memory_kib: None,
        },
        kernel: ValidKernel {
            realtime: true,
            by_machine_config_operator: true,
            packages: None,
            additional_arguments: Vec::new(),
        },
        cpus: None,
        power: crate::api::realtime_profile::Power::default(),
        smt: crate::api::realtime_profile::Smt::default(),
        frequency: (None, None),
        hugepages: ValidHugepages::default(),
        kernel_page_size: crate::api::realtime_profile::KernelPageSize::default(),
        topology_policy: None,
        balance_interrupts_on_isolated: true,
        limit_queues: None,
        system_reserved: None,
        kube_reserved: None,
        kubelet_overrides: Map::new(),
        tuned_include: Vec::new(),
        sysctl: BTreeMap::new(),
        tuned_sections: BTreeMap::new(),
        pod_budget: None,
        max_latency_microseconds: None,
        canaries: 0,
        paused: false,
    }
}

fn role() -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels("node-role.kubernetes.io/rt", "")),
        match_expressions: None,
    }
}

fn labels(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn meta(name: &str, more: BTreeMap<String, String>) -> ObjectMeta {
    let mut labels = labels(names::LABEL_PROFILE, PROFILE);
    labels.extend(more);
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels),
        ..Default::default()
    }
}

fn pool_object(ours: bool) -> MachineConfigPool {
    let mut pool = MachineConfigPool::new(POOL, MachineConfigPoolSpec::default());
    pool.metadata.labels = Some(labels(&names::pool_label(POOL), ""));
    pool.spec.machine_config_selector = Some(LabelSelector {
        match_expressions: Some(vec![
            k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement {
                key: names::LABEL_MACHINE_CONFIG_ROLE.into(),
                operator: "In".into(),
                values: Some(vec!["worker".into(), POOL.into()]),
            },
        ]),
        match_labels: None,
    });
    pool.spec.node_selector = Some(role());
    if ours {
        pool.metadata
            .labels
            .get_or_insert_default()
            .insert(names::LABEL_PROFILE.into(), PROFILE.into());
        pool.metadata.annotations = Some(labels(names::ANNOTATION_CREATED_BY, PROFILE));
    }
    pool
}

pub(crate) fn rendered(valid: &ValidProfile, version: u32) -> Rendered {
    let pool = if valid.pool.ours {
        pool_object(true)
    } else {
        let mut pool = MachineConfigPool::new(POOL, MachineConfigPoolSpec::default());
        pool.metadata.labels = Some(labels(&names::pool_label(POOL), ""));
        pool
    };
    let mut kubelet =
        KubeletConfig::new(&names::object_name(PROFILE), KubeletConfigSpec::default());
    kubelet.metadata = meta(&names::object_name(PROFILE), BTreeMap::new());
    kubelet.spec.machine_config_pool_selector = Some(LabelSelector {
        match_labels: Some(labels(&names::pool_label(POOL), "")),
        match_expressions: None,
    });
    kubelet.spec.kubelet_config = Some(json!({"maxPods": version}));
    let mut machine = MachineConfig::new(
        &names::machine_config_name(PROFILE),
        MachineConfigSpec::default(),
    );
    machine.metadata = meta(
        &names::machine_config_name(PROFILE),
        valid.pool.machine_config_labels.clone(),
    );
    machine.spec.kernel_type = Some("realtime".into());
    machine.spec.kernel_arguments = Some(vec![format!("a={version}"), "b=1".into()]);
    machine.spec.config = Some(ignition("/etc/ours", &version.to_string()));
    let mut tuned = Tuned::new(&names::object_name(PROFILE), TunedObjectSpec::default());
    tuned.metadata = meta(&names::object_name(PROFILE), BTreeMap::new());
    tuned.spec.profile = vec![TunedProfile {
        name: "t".into(),
        data: version.to_string(),
    }];
    Rendered {
        pool: Some(pool),
        kubelet_config: Some(kubelet),
        machine_config: Some(machine),
        tuned: Some(tuned),
        runtime_class: None,
        node_spec: RealtimeNodeSpec {
            profile: PROFILE.into(),
            ..Default::default()
        },
        content_hash: version.to_string(),
    }
}

fn ignition(path: &str, text: &str) -> Value {
    let text = text.bytes().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "%{byte:02X}");
        text
    });
    json!({"ignition": {"version": "3.2.0"}, "storage": {"files": [
        {"path": path, "mode": 420, "overwrite": true, "contents": {"source": format!("data:,{text}")}}]}})
}

fn source(name: &str, role: &str, path: &str, text: &str) -> MachineConfig {
    let mut config = MachineConfig::new(name, MachineConfigSpec::default());
    config.metadata.labels = Some(labels(names::LABEL_MACHINE_CONFIG_ROLE, role));
    config.spec.config = Some(ignition(path, text));
    config
}

/// A node: what it has, what it shall have, and how often that changed.
#[derive(Clone, Debug, Default)]
struct SimulatedNode {
    current: String,
    desired: String,
    changes: usize,
    /// The real-time kernel runs by its daemon's work.
    realtime: bool,
    daemon_reboots: usize,
    /// By its daemon.
    cordoned: bool,
}

/// The world.
#[derive(Clone, Debug)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a switch that a test turns on its own"
)]
pub(crate) struct World {
    pub(super) pool: Option<MachineConfigPool>,
    pub(super) kubelet_config: Option<KubeletConfig>,
    pub(super) machine_config: Option<MachineConfig>,
    pub(super) rollout_pause: bool,
    pub(super) invalid: bool,
    pub(super) refuse_kubelet_config: bool,
    pub(super) undid_admin: bool,
    tuned: Option<Tuned>,
    generated: Option<MachineConfig>,
    rendered: Vec<MachineConfig>,
    realtime_nodes: Vec<RealtimeNode>,
    worker: MachineConfigPool,
    nodes: Vec<SimulatedNode>,
    profile: RealtimeProfile,
    wanted: Rendered,
    valid: ValidProfile,
    version: u64,
    admin_paused: bool,
    /// Whether an admin ever paused or unpaused: then a pool may be unpaused at any moment.
    admin_acted: bool,
    daemons: bool,
    by: Option<crate::api::realtime_profile::KernelProvider>,
}

impl World {
    pub(super) fn new(ours: bool) -> Self {
        let valid = valid(ours);
        let mut worker = MachineConfigPool::new("worker", MachineConfigPoolSpec::default());
        worker.spec.node_selector = Some(LabelSelector {
            match_labels: Some(labels("node-role.kubernetes.io/worker", "")),
            match_expressions: None,
        });
        worker.spec.machine_config_selector = Some(LabelSelector {
            match_labels: Some(labels(names::LABEL_MACHINE_CONFIG_ROLE, "worker")),
            match_expressions: None,
        });
        let mut world = Self {
            pool: (!ours).then(|| {
                let mut pool = pool_object(false);
                pool.metadata.labels = None;
                pool
            }),
            kubelet_config: None,
            machine_config: None,
            rollout_pause: false,
            invalid: false,
            refuse_kubelet_config: false,
            undid_admin: false,
            tuned: None,
            generated: None,
            rendered: Vec::new(),
            realtime_nodes: Vec::new(),
            worker,
            nodes: vec![SimulatedNode::default(); 3],
            profile: profile(),
            wanted: rendered(&valid, 1),
            valid,
            version: 1,
            admin_paused: false,
            admin_acted: false,
            daemons: false,
            by: None,
        };
        world.touch();
        world.render();
        for _ in 0..20 {
            world.roll();
        }
        for node in &mut world.nodes {
            node.changes = 0;
        }
        world
    }

    pub(super) fn changes(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.changes).collect()
    }

    pub(super) fn edit(&mut self, version: u32) {
        self.wanted = rendered(&self.valid, version);
        self.by_provider();
    }

    pub(super) fn edit_tuned(&mut self, data: &str) {
        if let Some(tuned) = &mut self.wanted.tuned {
            tuned.spec.profile[0].data = data.into();
        }
    }

    pub(super) fn edit_arguments(&mut self, arguments: &[&str]) {
        if let Some(machine) = &mut self.wanted.machine_config {
            machine.spec.kernel_arguments =
                Some(arguments.iter().map(ToString::to_string).collect());
        }
    }

    pub(super) fn delete(&mut self) {
        self.profile.metadata.deletion_timestamp =
            Some(Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH));
    }

    pub(super) fn admin_pause(&mut self) {
        if let Some(pool) = self
            .pool
            .as_mut()
            .filter(|pool| pool.spec.paused != Some(true))
        {
            pool.spec.paused = Some(true);
            self.admin_paused = true;
            self.admin_acted = true;
            self.touch();
        }
    }

    fn admin_unpause(&mut self) {
        if self.admin_paused {
            self.admin_paused = false;
            if let Some(pool) = &mut self.pool {
                pool.spec.paused = Some(false);
            }
            self.touch();
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        let marks = self.pool.as_ref().is_none_or(|pool| {
            pool.spec.paused != Some(true)
                && !pool.labels().contains_key("added")
                && !pool
                    .annotations()
                    .contains_key(names::ANNOTATION_PAUSED_FOR)
        });
        marks
            && self.kubelet_config.is_none()
            && self.machine_config.is_none()
            && self.tuned.is_none()
            && self.realtime_nodes.is_empty()
            && self.worker.annotations().is_empty()
            && self.profile.finalizers().is_empty()
    }

    /// A write to the pool.
    fn touch(&mut self) {
        self.version += 1;
        if let Some(pool) = &mut self.pool {
            pool.metadata.resource_version = Some(self.version.to_string());
        }
    }

    fn node_objects(&self) -> Vec<Node> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| Node {
                metadata: ObjectMeta {
                    name: Some(format!("n{index}")),
                    labels: Some(BTreeMap::from([
                        ("node-role.kubernetes.io/worker".into(), String::new()),
                        ("node-role.kubernetes.io/rt".into(), String::new()),
                    ])),
                    annotations: Some(
                        [
                            (
                                format!("{}currentConfig", names::MCO_ANNOTATION_PREFIX),
                                node.current.clone(),
                            ),
                            (
                                format!("{}desiredConfig", names::MCO_ANNOTATION_PREFIX),
                                node.desired.clone(),
                            ),
                        ]
                        .into_iter()
                        .chain(
                            node.cordoned
                                .then(|| (names::ANNOTATION_CORDONED_AT.to_owned(), String::new())),
                        )
                        .collect(),
                    ),
                    ..Default::default()
                },
                spec: Some(k8s_openapi::api::core::v1::NodeSpec {
                    unschedulable: node.cordoned.then_some(true),
                    ..Default::default()
                }),
                ..Default::default()
            })
            .collect()
    }

    fn sources(&self) -> Vec<MachineConfig> {
        let mut all = vec![source(
            "00-worker",
            "worker",
            KUBELET_CONF,
            "{\"maxPods\":250}",
        )];
        all.extend(self.generated.clone());
        all.extend(self.machine_config.clone());
        all
    }

    /// Calls `decide` with what the operator sees.
    pub(super) fn observe<T>(&self, decide: impl FnOnce(&Observed<'_>) -> T) -> T {
        let mut cluster = Cluster::empty(self.valid.served);
        cluster.pools = self.pool.iter().chain([&self.worker]).cloned().collect();
        cluster.machine_configs = self.sources();
        cluster.machine_configs.extend(self.rendered.clone());
        cluster.kubelet_configs = self.kubelet_config.iter().cloned().collect();
        cluster.nodes = self.node_objects();
        cluster.realtime_nodes = self.realtime_nodes.clone();
        let live = Live {
            kubelet_config: self.kubelet_config.as_ref().map(to_value),
            machine_config: self.machine_config.as_ref().map(to_value),
            tuned: self.tuned.as_ref().map(to_value),
            runtime_class: None,
            others: Vec::new(),
        };
        let valid = ValidProfile {
            paused: self.rollout_pause,
            ..self.valid.clone()
        };
        decide(&Observed {
            profile: &self.profile,
            wanted: (!self.invalid).then_some((&valid, &self.wanted)),
            cluster: &cluster,
            live: &live,
            patience: None,
        })
    }

    /// One round of the operator that dies after `steps` steps. True: something was written.
    pub(super) fn operator(&mut self, steps: usize) -> bool {
        self.operator_among(steps, &mut |_| {})
    }

    /// The same, with the world going on before each step.
    fn operator_among(&mut self, steps: usize, between: &mut dyn FnMut(&mut Self)) -> bool {
        let decided = self.observe(next);
        let wrote = decided.iter().any(Step::writes);
        for step in decided.into_iter().take(steps) {
            between(self);
            if !self.execute(&step) {
                break;
            }
        }
        wrote
    }

    fn pool_at(&mut self, resource_version: &str) -> Option<&mut MachineConfigPool> {
        self.pool
            .as_mut()
            .filter(|pool| pool.resource_version().as_deref() == Some(resource_version))
    }

    #[allow(
        clippy::too_many_lines,
        reason = "one arm a step: a step that is forgotten doesn't compile"
    )]
    fn execute(&mut self, step: &Step) -> bool {
        match step {
            Step::EnsureFinalizer => self.profile.finalizers_mut().push(names::FINALIZER.into()),
            Step::CreatePoolPaused => {
                if self.pool.is_some() {
                    return false;
                }
                let mut pool = pool_object(true);
                pool.spec.paused = Some(true);
                pool.annotations_mut()
                    .insert(names::ANNOTATION_PAUSED_FOR.into(), PROFILE.into());
                self.pool = Some(pool);
                self.touch();
            }
            Step::Pause {
                resource_version, ..
            } => {
                let Some(pool) = self.pool_at(resource_version) else {
                    return false;
                };
                pool.spec.paused = Some(true);
                pool.annotations_mut()
                    .insert(names::ANNOTATION_PAUSED_FOR.into(), PROFILE.into());
                self.touch();
            }
            Step::ConfirmPaused {
                resource_version, ..
            } => return self.pool_at(resource_version).is_some(),
            Step::ConfirmUnchanged {
                resource_version, ..
            } => {
                let there = self.generated.as_ref();
                return there.and_then(ResourceExt::resource_version).as_ref()
                    == Some(resource_version);
            }
            Step::ApplyPool => {
                let wanted = self.wanted.pool.clone().unwrap();
                if let Some(pool) = &mut self.pool {
                    pool.labels_mut()
                        .extend(wanted.metadata.labels.unwrap_or_default());
                    pool.labels_mut().insert("added".into(), String::new());
                    if let Some(selector) = wanted.spec.node_selector {
                        pool.spec.node_selector = Some(selector);
                    }
                    self.touch();
                }
            }
            Step::ApplyKubeletConfig => {
                let generation = self
                    .kubelet_config
                    .as_ref()
                    .and_then(|old| old.metadata.generation)
                    .unwrap_or(0);
                let status = self.kubelet_config.take().and_then(|old| old.status);
                let mut new = self.wanted.kubelet_config.clone().unwrap();
                new.metadata.generation = Some(generation + 1);
                new.status = status;
                self.kubelet_config = Some(new);
            }
            Step::ApplyMachineConfig => self.machine_config = self.wanted.machine_config.clone(),
            Step::ApplyTuned => self.tuned = self.wanted.tuned.clone(),
            Step::ApplyRuntimeClass | Step::Wait(_) | Step::RenewLease => {}
            Step::ConfirmTurns { nodes } => return self.turns_are(nodes),
            Step::GrantTurn {
                node,
                resource_version,
            } => return self.label_turn(node, resource_version, true),
            Step::TakeBackTurn {
                node,
                resource_version,
            } => return self.label_turn(node, resource_version, false),
            Step::Unpause {
                resource_version, ..
            } => {
                let admin = self.admin_paused;
                let Some(pool) = self.pool_at(resource_version) else {
                    return false;
                };
                let undone = pool.spec.paused == Some(true) && admin;
                pool.spec.paused = Some(false);
                pool.annotations_mut().remove(names::ANNOTATION_PAUSED_FOR);
                self.undid_admin |= undone;
                self.touch();
            }
            Step::ApplyRealtimeNode { node, spec } => self.apply_realtime_node(node, spec),
            Step::DeleteRealtimeNode { node } => self.delete_realtime_node(node),
            Step::Delete { kind, .. } => match kind {
                Kind::KubeletConfig => {
                    self.kubelet_config = None;
                    self.generated = None;
                }
                Kind::MachineConfig => self.machine_config = None,
                Kind::Tuned => self.tuned = None,
                Kind::RuntimeClass => {}
                Kind::MachineConfigPool => {
                    let used = |node: &SimulatedNode| {
                        super::removal::is_rendered_for(&node.current, POOL)
                            || super::removal::is_rendered_for(&node.desired, POOL)
                    };
                    assert!(
                        !self.nodes.iter().any(used),
                        "a node would degrade: its configuration is gone"
                    );
                    self.pool = None;
                    self.rendered.retain(|config| {
                        !super::removal::is_rendered_for(&config.name_any(), POOL)
                    });
                }
            },
            Step::EmptyPool {
                resource_version, ..
            } => {
                let Some(pool) = self.pool_at(resource_version) else {
                    return false;
                };
                pool.spec.node_selector = Some(no_node());
                self.touch();
            }
            Step::Nudge { .. } => {
                self.worker
                    .annotations_mut()
                    .insert(names::ANNOTATION_NODES_FROM.into(), PROFILE.into());
            }
            Step::ClearNudge { .. } => {
                self.worker
                    .annotations_mut()
                    .remove(names::ANNOTATION_NODES_FROM);
            }
            Step::ReleasePool { .. } => {
                // A server-side apply that takes a label away writes once; the second one changes nothing.
                if let Some(pool) = &mut self.pool
                    && pool.labels_mut().remove("added").is_some()
                {
                    self.touch();
                }
            }
            Step::ReleaseFinalizer => self.profile.finalizers_mut().clear(),
        }
        true
    }

    /// The KubeletConfig controller looks.
    fn sync_kubelet(&mut self) {
        let refuse = self.refuse_kubelet_config;
        let Some(config) = &mut self.kubelet_config else {
            return;
        };
        let status = if refuse { "False" } else { "True" };
        config.status = Some(KubeletConfigStatus {
            observed_generation: config.metadata.generation,
            conditions: vec![OpenShiftCondition {
                type_: "Accepted".into(),
                status: status.into(),
                message: Some(if refuse { "no" } else { "Success" }.into()),
                ..Default::default()
            }],
        });
        if !refuse {
            let asked = config.spec.kubelet_config.clone().unwrap_or_default();
            let base = Map::from_iter([("maxPods".to_owned(), json!(250))]);
            let conf = kubelet::apply(&base, &kubelet::landing(&asked).kubelet_conf);
            let text = Value::Object(conf).to_string();
            let mut generated = source("99-rt-generated-kubelet", POOL, KUBELET_CONF, &text);
            generated.metadata.owner_references = Some(vec![OwnerReference {
                kind: "KubeletConfig".into(),
                name: names::object_name(PROFILE),
                ..Default::default()
            }]);
            self.version += 1;
            generated.metadata.resource_version = Some(self.version.to_string());
            let same = self
                .generated
                .as_ref()
                .is_some_and(|old| old.spec == generated.spec);
            if !same {
                self.generated = Some(generated);
            }
        }
    }

    /// The render controller looks: at whatever is there now.
    fn render(&mut self) {
        let configs = self.sources();
        let refused = self.kubelet_config.as_ref().is_some_and(|config| {
            config
                .status
                .iter()
                .flat_map(|status| &status.conditions)
                .any(|condition| condition.status == "False")
        });
        for pool in [
            Some(&mut self.worker),
            self.pool.as_mut().filter(|_| !refused),
        ]
        .into_iter()
        .flatten()
        {
            let sources = merge::sources(pool, &configs);
            let spec = merge::merge(&sources).unwrap().into_spec();
            let mut hasher = DefaultHasher::new();
            to_value(&spec).to_string().hash(&mut hasher);
            let name = format!("rendered-{}-{:032x}", pool.name_any(), hasher.finish());
            let configuration = PoolConfiguration {
                name: Some(name.clone()),
                source: sources
                    .iter()
                    .map(|source| ObjectReference {
                        name: Some(source.name_any()),
                        ..Default::default()
                    })
                    .collect(),
            };
            if !self.rendered.iter().any(|config| config.name_any() == name) {
                self.rendered.push(MachineConfig::new(&name, spec));
            }
            if pool.spec.configuration.as_ref() != Some(&configuration) {
                pool.spec.configuration = Some(configuration);
                self.version += 1;
                pool.metadata.resource_version = Some(self.version.to_string());
            }
        }
    }

    /// The node controller and the nodes go one step.
    fn roll(&mut self) {
        if let Some(node) = self
            .nodes
            .iter_mut()
            .find(|node| node.current != node.desired)
        {
            node.current.clone_from(&node.desired);
            return;
        }
        let member =
            |pool: &MachineConfigPool| pool.spec.node_selector.as_ref() != Some(&no_node());
        let pool = self
            .pool
            .as_ref()
            .filter(|pool| member(pool))
            .unwrap_or(&self.worker);
        if pool.spec.paused == Some(true) {
            return;
        }
        let Some(target) = pool
            .spec
            .configuration
            .as_ref()
            .and_then(|target| target.name.clone())
        else {
            return;
        };
        let next = self.nodes.iter().position(|node| node.desired != target);
        if let Some(index) = next {
            assert!(
                self.admin_acted || !self.is_taken(index),
                "n{index} is its daemon's"
            );
            self.nodes[index].desired = target;
            self.nodes[index].changes += 1;
        }
    }

    /// Everybody but the operator goes on until nothing moves.
    pub(super) fn everything_else(&mut self) {
        for _ in 0..10 {
            self.sync_kubelet();
            self.render();
            self.roll();
            for index in 0..if self.daemons { self.nodes.len() } else { 0 } {
                self.daemon(index);
            }
        }
    }

    /// Fair rounds until the operator has nothing left to write.
    pub(super) fn settle(&mut self) {
        for _ in 0..60 {
            let wrote = self.operator(usize::MAX);
            self.everything_else();
            if !wrote && self.observe(next).is_empty() {
                return;
            }
        }
        assert!(
            self.observe(next).is_empty(),
            "does not settle: {:?}",
            self.observe(next)
        );
    }

    fn act(&mut self, choice: u8, admin: bool) {
        match choice % 16 {
            0..=4 => {
                // The operator dies after some steps; the others go on meanwhile.
                let steps = usize::from(choice / 16);
                self.operator_among(if steps > 8 { usize::MAX } else { steps }, &mut |world| {
                    match choice % 5 {
                        1 => world.render(),
                        2 => world.sync_kubelet(),
                        3 => world.roll(),
                        4 if world.daemons => {
                            world.daemon(usize::from(choice / 16) % world.nodes.len());
                        }
                        _ => {}
                    }
                });
            }
            5 | 8 if self.daemons => self.daemon(usize::from(choice / 16) % self.nodes.len()),
            5..=7 => self.sync_kubelet(),
            8..=10 => self.render(),
            11..=13 => self.roll(),
            14 | 15 if !admin && self.daemons => {
                self.daemon(usize::from(choice / 16) % self.nodes.len());
            }
            14 if admin => self.admin_pause(),
            15 if admin => self.admin_unpause(),
            _ => {}
        }
    }

    /// Plays some choices.
    pub(super) fn play_some(
        &mut self,
        choices: &mut impl Iterator<Item = u8>,
        count: usize,
        admin: bool,
    ) {
        for choice in choices.take(count) {
            self.act(choice, admin);
        }
    }

    /// Plays up to 160 choices, then fairly to the end.
    pub(super) fn play(&mut self, choices: &mut impl Iterator<Item = u8>, admin: bool) {
        for choice in choices.take(160) {
            self.act(choice, admin);
        }
        self.admin_unpause();
        self.settle();
    }
}
