//! The world of the model: two nodes with a daemon each, the operator, the Machine Config Operator, and an admin. Every
//! decision of ours is made by the very functions of `core`; only what others do is played here.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use realtime_core::api::realtime_node::{NodePhase, NodeTurn};
use realtime_core::kernel::{
    self, Command, Cordon, Drain, Next, Observed, Record, Step, Surroundings, Wanted,
};
use realtime_core::turns::{self, Inputs, MachineConfigState, Word};

use crate::host::{ARGUMENT, Deployed, Hashed, Host, Trouble, kept};

pub const NODES: usize = 2;
/// Long after anything that failed: every wait is over.
const LATER: u64 = 1 << 40;

/// The pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pool {
    pub paused: bool,
    /// Our annotation.
    pub ours: bool,
    /// An admin set the pause, and nobody but an admin may end it.
    pub by_admin: bool,
    /// The target's number.
    pub target: u8,
    /// Counts as the resourceVersion of the pool.
    pub version: u8,
}

/// What the Machine Config Operator does with a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mco {
    #[default]
    Done,
    /// The node shall have another configuration.
    Chosen,
    /// It cordoned the node.
    Cordoned,
    /// It staged, and reboots.
    Rebooting,
}

/// A node's RealtimeNode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reported {
    pub label: bool,
    pub turn: Option<NodeTurn_>,
    pub phase: Option<Phase>,
    /// Counts as its resourceVersion, as far as anybody holds an older one.
    pub version: u8,
}

/// `NodeTurn`, with a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeTurn_ {
    Wanted,
    Taken,
}

/// `NodePhase`, with a hash, as far as it matters to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Other,
    Ready,
    Degraded,
}

/// What a daemon is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Intended {
    pub step: Hashed<Step>,
    /// The version of its RealtimeNode at which it decided.
    pub seen: u8,
}

/// What daemons decided, by all that a decision depends on: two nodes meet each other's few thousand states millions
/// of times.
static DECIDED: Mutex<Option<HashMap<u64, Answer>>> = Mutex::new(None);

/// What a daemon tells, and what it does next.
type Answer = (Phase, Option<Hashed<Step>>);

/// A node.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is somebody's own and changes on its own"
)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub host: Host,
    pub reported: Reported,
    /// Set by an admin.
    pub admin_cordon: bool,
    /// Set by us: with our annotation.
    pub our_cordon: bool,
    /// Set by the Machine Config Operator.
    pub mco_cordon: bool,
    pub mco: Mco,
    pub config: u8,
    /// A machine that is up; a shutdown that is under way is orderly or not.
    pub up: bool,
    pub orderly: bool,
    pub pods: bool,
    pub daemon: Option<Intended>,
}

/// What the operator is about to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Plan {
    Pause {
        seen: u8,
    },
    /// The pool is still as it was seen: paused by us.
    Confirm {
        seen: u8,
    },
    Unpause {
        seen: u8,
    },
    Grant {
        node: usize,
        seen: u8,
        out: Vec<usize>,
    },
    TakeBack {
        node: usize,
        seen: u8,
    },
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub pools: bool,
    pub pool: Pool,
    pub nodes: Vec<Arc<Node>>,
    pub wanted: bool,
    pub operator: Vec<Plan>,
    pub faults: u8,
    /// A step that touches nothing but its own host is done as soon as it is decided. (That it isn't, is explored too,
    /// with a fault less.)
    pub at_once: bool,
    /// What must never happen, in words.
    pub broken: Option<&'static str>,
}

/// How it begins.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Whether there is a Machine Config Operator.
    pub pools: bool,
    /// The real-time kernel runs.
    pub realtime: bool,
    /// The real-time kernel is wanted.
    pub wanted: bool,
}

/// What can happen next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    OperatorLooks,
    OperatorActs,
    DaemonLooks(usize),
    DaemonActs(usize),
    MachineBoots(usize),
    PodsEnd(usize),
    McoChooses(usize),
    McoGoesOn(usize),
    AdminUnpauses,
    AdminUncordons(usize),
    // What costs a fault.
    OperatorDies,
    DaemonDies(usize),
    PowerCut(usize),
    Troubled(usize, Trouble),
    AdminPauses,
    AdminCordons(usize),
    NewConfiguration,
    WantedChanges,
}

impl Action {
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::OperatorDies
                | Self::DaemonDies(_)
                | Self::PowerCut(_)
                | Self::Troubled(..)
                | Self::AdminPauses
                | Self::AdminCordons(_)
                | Self::NewConfiguration
                | Self::WantedChanges
        )
    }
}

impl World {
    pub fn new(start: Start, faults: u8, at_once: bool) -> Self {
        let Start {
            pools,
            realtime,
            wanted,
        } = start;
        let node = Node {
            host: Host::new(realtime),
            reported: Reported::default(),
            admin_cordon: false,
            our_cordon: false,
            mco_cordon: false,
            mco: Mco::Done,
            config: 0,
            up: true,
            orderly: false,
            pods: true,
            daemon: None,
        };
        Self {
            pools,
            pool: Pool::default(),
            nodes: (0..NODES).map(|_| Arc::new(node.clone())).collect(),
            wanted,
            operator: Vec::new(),
            faults,
            at_once,
            broken: None,
        }
    }

    fn node(&mut self, index: usize) -> &mut Node {
        Arc::make_mut(&mut self.nodes[index])
    }

    pub fn wanted(&self) -> Wanted {
        Wanted {
            realtime: self.wanted,
            ours: true,
            arguments_ours: !self.pools,
            arguments: if self.wanted {
                vec![ARGUMENT.to_owned()]
            } else {
                Vec::new()
            },
            ..Wanted::default()
        }
    }

    fn cordoned(node: &Node) -> bool {
        node.admin_cordon || node.our_cordon || node.mco_cordon
    }

    pub fn actions(&self, actions: &mut Vec<Action>) {
        if self.broken.is_some() {
            return;
        }
        if self.operator.is_empty() {
            actions.push(Action::OperatorLooks);
        } else {
            actions.push(Action::OperatorActs);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            if !node.up {
                actions.push(Action::MachineBoots(index));
                continue;
            }
            if node.daemon.is_none() {
                actions.push(Action::DaemonLooks(index));
            } else {
                actions.push(Action::DaemonActs(index));
            }
            if node.pods && node.our_cordon && node.daemon.is_none() {
                actions.push(Action::PodsEnd(index));
            }
            if self.may_choose(index) {
                actions.push(Action::McoChooses(index));
            }
            if node.mco != Mco::Done {
                actions.push(Action::McoGoesOn(index));
            }
            if node.admin_cordon {
                actions.push(Action::AdminUncordons(index));
            }
        }
        if self.pool.by_admin {
            actions.push(Action::AdminUnpauses);
        }
        if self.faults == 0 {
            return;
        }
        if !self.operator.is_empty() {
            actions.push(Action::OperatorDies);
        }
        if self.pools && !self.pool.paused {
            actions.push(Action::AdminPauses);
        }
        if self.pools && self.pool.target == 0 {
            actions.push(Action::NewConfiguration);
        }
        actions.push(Action::WantedChanges);
        for (index, node) in self.nodes.iter().enumerate() {
            if !node.up {
                continue;
            }
            if node.daemon.is_some() {
                actions.push(Action::DaemonDies(index));
            }
            actions.push(Action::PowerCut(index));
            if !Self::cordoned(node) {
                actions.push(Action::AdminCordons(index));
            }
            if node.host.trouble == Trouble::None {
                for trouble in [
                    Trouble::Refused,
                    Trouble::DoneAndFailed,
                    Trouble::Inactive,
                    Trouble::NotFinalized,
                    Trouble::DoesNotBoot,
                ] {
                    actions.push(Action::Troubled(index, trouble));
                }
            }
        }
    }

    /// The Machine Config Operator's own rule: not paused, and nobody else unavailable.
    fn may_choose(&self, index: usize) -> bool {
        let unavailable = self
            .nodes
            .iter()
            .filter(|node| Self::cordoned(node) || !node.up || node.mco != Mco::Done)
            .count();
        let node = &self.nodes[index];
        self.pools
            && !self.pool.paused
            && node.config != self.pool.target
            && node.mco == Mco::Done
            && unavailable == 0
    }

    pub fn after(&self, action: &Action) -> Self {
        let mut next = self.clone();
        if action.is_fault() {
            next.faults -= 1;
        }
        match action {
            Action::OperatorLooks => next.operator = next.plan(),
            Action::OperatorActs => next.operator_acts(),
            Action::OperatorDies => next.operator.clear(),
            Action::DaemonLooks(index) => next.daemon_looks(*index),
            Action::DaemonActs(index) => next.daemon_acts(*index),
            Action::DaemonDies(index) => next.node(*index).daemon = None,
            Action::PowerCut(index) => next.node(*index).goes_down(false),
            Action::MachineBoots(index) => next.node(*index).boots(),
            Action::PodsEnd(index) => next.node(*index).pods = false,
            Action::Troubled(index, trouble) => next.node(*index).host.trouble = *trouble,
            Action::McoChooses(index) => next.node(*index).mco = Mco::Chosen,
            Action::McoGoesOn(index) => next.mco_goes_on(*index),
            Action::AdminPauses => {
                next.pool.paused = true;
                next.pool.by_admin = true;
                next.pool.version += 1;
            }
            Action::AdminUnpauses => {
                next.pool.paused = false;
                next.pool.by_admin = false;
                next.pool.version += 1;
            }
            Action::AdminCordons(index) => next.node(*index).admin_cordon = true,
            Action::AdminUncordons(index) => next.node(*index).admin_cordon = false,
            Action::NewConfiguration => {
                next.pool.target = 1;
                next.pool.version += 1;
            }
            Action::WantedChanges => {
                next.wanted = !next.wanted;
                for index in 0..NODES {
                    next.node(index).reported.version += 1;
                }
            }
        }
        next.check();
        next.forget();
        next
    }

    /// Versions matter only against those that somebody still holds: without this no state would ever be met again.
    fn forget(&mut self) {
        let held = self.operator.iter().any(|plan| {
            matches!(
                plan,
                Plan::Pause { .. } | Plan::Confirm { .. } | Plan::Unpause { .. }
            )
        });
        if !held {
            self.pool.version = 0;
        }
        for index in 0..self.nodes.len() {
            let by_operator = self.operator.iter().any(|plan| {
                matches!(plan, Plan::Grant { node, .. } | Plan::TakeBack { node, .. } if *node == index)
            });
            let node = &self.nodes[index];
            if !by_operator && node.daemon.is_none() && node.reported.version != 0 {
                self.node(index).reported.version = 0;
            }
        }
    }

    fn check(&mut self) {
        let mut broken = |what: &'static str| self.broken = self.broken.or(Some(what));
        if self
            .nodes
            .iter()
            .any(|node| node.mco != Mco::Done && node.reported.turn == Some(NodeTurn_::Taken))
        {
            broken("two drivers on a node");
        }
        let down = self
            .nodes
            .iter()
            .filter(|node| node.our_cordon || node.mco_cordon || (!node.up && node.orderly))
            .count();
        if down > 1 {
            broken("more than maxUnavailable nodes down");
        }
    }

    // The operator.

    fn seen(&self) -> Vec<turns::Node> {
        self.nodes
            .iter()
            .enumerate()
            .map(|(index, node)| turns::Node {
                name: format!("node-{index}"),
                resource_version: node.reported.version.to_string(),
                granted: node.reported.label,
                turn: node.reported.turn.map(turn),
                current: true,
                word: match node.reported.phase {
                    Some(Phase::Ready) => Word::Ready,
                    Some(Phase::Degraded) => Word::Degraded("it failed".to_owned()),
                    Some(Phase::Other) | None => Word::Other,
                },
                latency_passed: None,
                cordon: cordon(node),
                ready: node.up,
                machine_config: if node.mco == Mco::Done && node.config == self.pool.target {
                    MachineConfigState::Done
                } else {
                    MachineConfigState::Busy
                },
                going_back: false,
            })
            .collect()
    }

    fn plan(&self) -> Vec<Plan> {
        let nodes = self.seen();
        let decision = turns::decide(&Inputs {
            nodes: &nodes,
            max_unavailable: 1,
            canaries: 0,
            latency_gate: false,
            pool: match (self.pools, self.pool.paused, self.pool.ours) {
                (false, ..) => turns::Pool::None,
                (true, false, _) => turns::Pool::Free,
                (true, true, true) => turns::Pool::Ours,
                (true, true, false) => turns::Pool::Others,
            },
            hold: None,
        });
        let index = |name: &str| {
            nodes
                .iter()
                .position(|node| node.name == name)
                .expect("a node of the world")
        };
        let seen = self.pool.version;
        let mut plans = Vec::new();
        for back in &decision.take_back {
            plans.push(Plan::TakeBack {
                node: index(&back.node),
                seen: back.resource_version.parse().expect("a version of ours"),
            });
        }
        if self.pools && decision.pause && !self.pool.paused {
            plans.push(Plan::Pause { seen });
        }
        if self.pools && !decision.grants.is_empty() {
            plans.push(Plan::Confirm { seen });
        }
        for grant in &decision.grants {
            plans.push(Plan::Grant {
                node: index(&grant.node),
                seen: grant.resource_version.parse().expect("a version of ours"),
                out: decision.out.iter().map(|name| index(name)).collect(),
            });
        }
        if self.pool.ours && !decision.busy && !decision.pause {
            plans.push(Plan::Unpause { seen });
        }
        plans
    }

    fn operator_acts(&mut self) {
        let plan = self.operator.remove(0);
        let done = match plan {
            Plan::Pause { seen } => {
                let same = self.pool.version == seen;
                if same {
                    if self.pool.by_admin {
                        self.broken = Some("an admin's pause became ours");
                    }
                    self.pool.paused = true;
                    self.pool.ours = true;
                    self.pool.version += 1;
                }
                same
            }
            Plan::Confirm { seen } => self.pool.version == seen,
            Plan::Unpause { seen } => {
                let same = self.pool.version == seen;
                if same {
                    if self.pool.by_admin {
                        self.broken = Some("an admin's pause was undone");
                    }
                    self.pool.paused = false;
                    self.pool.ours = false;
                    self.pool.version += 1;
                }
                same
            }
            Plan::Grant { node, seen, out } => {
                // The look past every cache, and the patch at a resourceVersion.
                let there: Vec<usize> = (0..NODES)
                    .filter(|index| self.nodes[*index].reported.label)
                    .collect();
                let same = there == out && self.nodes[node].reported.version == seen;
                if same {
                    let node = self.node(node);
                    node.reported.label = true;
                    node.reported.version += 1;
                }
                same
            }
            Plan::TakeBack { node, seen } => {
                let same = self.nodes[node].reported.version == seen;
                if same {
                    let node = self.node(node);
                    node.reported.label = false;
                    node.reported.version += 1;
                }
                same
            }
        };
        if !done {
            self.operator.clear();
        }
    }

    // A daemon.

    pub fn observed(&self, index: usize) -> Observed {
        let node = &self.nodes[index];
        Observed {
            boot: node.host.observed_boot(),
            system: node.host.system(),
            record: Record::clone(&node.host.record),
            offered: Some(Host::offered()),
            node: Surroundings {
                cluster: true,
                may_reboot: false,
                granted: node.reported.label,
                turn: node.reported.turn.map(turn),
                cordon: cordon(node),
                drain: match (cordon(node), node.pods) {
                    (Cordon::No, _) => Drain::Unknown,
                    (_, true) => Drain::Remaining {
                        pods: vec!["a/b: is ending".to_owned()],
                        seconds: 1,
                    },
                    (_, false) => Drain::Done,
                },
                settled: Some(node.mco == Mco::Done),
            },
            now: LATER,
        }
    }

    pub fn next(&self, index: usize) -> Next {
        kernel::next(&self.wanted(), &self.observed(index))
    }

    /// What the daemon decides, remembered.
    fn decided(&self, index: usize) -> Answer {
        let mut hasher = DefaultHasher::new();
        let node = &self.nodes[index];
        let Node {
            host,
            reported,
            admin_cordon,
            our_cordon,
            mco_cordon,
            mco,
            pods,
            config: _,
            up: _,
            orderly: _,
            daemon: _,
        } = &**node;
        (self.wanted, self.pools, host, reported.label, reported.turn).hash(&mut hasher);
        (admin_cordon, our_cordon, mco_cordon, mco, pods).hash(&mut hasher);
        let key = hasher.finish();
        let known = |memory: &Option<HashMap<_, _>>| memory.as_ref()?.get(&key).cloned();
        if let Some(known) = known(&DECIDED.lock().unwrap_or_else(PoisonError::into_inner)) {
            return known;
        }
        let next = self.next(index);
        let phase = match next.phase {
            NodePhase::Ready => Phase::Ready,
            NodePhase::Degraded => Phase::Degraded,
            _ => Phase::Other,
        };
        let step = (!matches!(next.step, Step::Rest | Step::Wait { .. })).then(|| {
            let words = format!("{:?}", next.step);
            Hashed::new(next.step, &words)
        });
        DECIDED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_default()
            .insert(key, (phase, step.clone()));
        (phase, step)
    }

    fn daemon_looks(&mut self, index: usize) {
        let (phase, step) = self.decided(index);
        let node = self.node(index);
        if node.reported.phase != Some(phase) {
            node.reported.phase = Some(phase);
            node.reported.version += 1;
        }
        // Its own write above is its own: what it holds is the version after it.
        let seen = node.reported.version;
        node.daemon = step.map(|step| Intended { step, seen });
        let local = |intended: &Intended| {
            matches!(
                &*intended.step,
                Step::Save(_) | Step::Run(_) | Step::Prepare
            )
        };
        if self.at_once && self.nodes[index].daemon.as_ref().is_some_and(local) {
            self.daemon_acts(index);
        }
    }

    fn daemon_acts(&mut self, index: usize) {
        let node = self.node(index);
        let Some(Intended { step, seen }) = node.daemon.take() else {
            return;
        };
        let step = Step::clone(&step);
        let taken = node.reported.turn == Some(NodeTurn_::Taken);
        // Taking a pin off changes nothing that anybody else drives.
        let disturbs = match &step {
            Step::Run(Command::Pin { unpin, .. }) => !unpin,
            Step::Run(_) | Step::Cordon | Step::Drain | Step::Reboot => true,
            _ => false,
        };
        if disturbs && !taken {
            self.broken = Some("a node was disturbed without its turn");
            return;
        }
        match step {
            Step::Rest | Step::Wait { .. } | Step::Prepare => {}
            Step::WantTurn => {
                node.reported.turn = Some(NodeTurn_::Wanted);
                node.reported.version += 1;
            }
            Step::TakeTurn => {
                if node.reported.version == seen {
                    node.reported.turn = Some(NodeTurn_::Taken);
                    node.reported.version += 1;
                }
            }
            Step::ReturnTurn => {
                node.reported.turn = None;
                node.reported.version += 1;
            }
            Step::Save(record) => node.host.record = kept(*record),
            Step::Run(command) => {
                let failure = node.host.run(&command);
                let mut record = Record::clone(&node.host.record);
                record.note(&command, failure, 0);
                node.host.record = kept(record);
            }
            Step::Cordon => {
                if !Self::cordoned(node) {
                    node.our_cordon = true;
                }
            }
            Step::Drain => node.pods = false,
            Step::Uncordon => {
                if !node.our_cordon && node.admin_cordon {
                    self.broken = Some("an admin's cordon was undone");
                    return;
                }
                node.our_cordon = false;
                node.pods = true;
            }
            Step::Reboot => {
                node.goes_down(true);
            }
        }
    }

    // The Machine Config Operator.

    fn mco_goes_on(&mut self, index: usize) {
        let target = self.pool.target;
        let node = self.node(index);
        match node.mco {
            Mco::Done => {}
            Mco::Chosen => {
                node.mco_cordon = true;
                node.mco = Mco::Cordoned;
            }
            Mco::Cordoned => {
                // It always begins anew from what is booted. What goes wrong with its own deployment is its own story.
                node.host.trouble = Trouble::None;
                node.host.drop_pending();
                let new = Deployed {
                    foreign: true,
                    ..node.host.booted().clone()
                };
                node.host.stage(new);
                node.mco = Mco::Rebooting;
                node.goes_down(true);
            }
            Mco::Rebooting => {
                node.config = target;
                node.mco_cordon = false;
                node.mco = Mco::Done;
            }
        }
    }
}

impl Node {
    fn goes_down(&mut self, orderly: bool) {
        self.up = false;
        self.orderly = orderly;
        self.daemon = None;
    }

    fn boots(&mut self) {
        self.host.reboot(self.orderly);
        self.up = true;
        self.orderly = false;
    }
}

fn turn(turn: NodeTurn_) -> NodeTurn {
    match turn {
        NodeTurn_::Wanted => NodeTurn::Wanted,
        NodeTurn_::Taken => NodeTurn::Taken,
    }
}

fn cordon(node: &Node) -> Cordon {
    if node.our_cordon {
        Cordon::Ours
    } else if node.admin_cordon || node.mco_cordon {
        Cordon::Others
    } else {
        Cordon::No
    }
}
