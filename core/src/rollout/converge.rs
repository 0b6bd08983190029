//! From a valid profile and what is there to the steps that bring the one to the other. The order of the steps is the
//! order in which they are done.

use kube::ResourceExt;

use super::change::{
    Change, change, changes_pool, kubelet_change, prune, runtime_class_step, simple, write,
};
use super::first_reports::{first_reports, is_first_write};
use super::nodes::{self, Nodes};
use super::pause::{hold, unpause};
use super::turning::{Turning, turning};
use super::{
    Before, Kind, Observed, Pause, Step, Wait, applied_pool, difference, landing, pause_of,
    removal, to_value,
};
use crate::openshift::MachineConfigPool;
use crate::pools;
use crate::render::Rendered;
use crate::validate::ValidProfile;

/// Why a turn waits while what is written isn't in the pool's target.
const LANDING: &str =
    "what is being written to be in the target of its pool: both at once would be two reboots";

/// The steps.
pub(super) fn converge(
    observed: &Observed<'_>,
    valid: &ValidProfile,
    rendered: &Rendered,
) -> Vec<Step> {
    let round = Round::of(observed, valid, rendered);
    let Some(wanted) = &rendered.pool else {
        return round.without_pools();
    };
    let mut pools = observed.cluster.pools.iter();
    match pools.find(|pool| pool.name_any() == valid.pool.name) {
        None if !valid.pool.ours => {
            vec![Step::Wait(Wait::PoolMissing(valid.pool.name.clone()))]
        }
        None => round.with_a_new_pool(),
        Some(pool) if pool.metadata.deletion_timestamp.is_some() => {
            vec![Step::Wait(Wait::Gone(
                Kind::MachineConfigPool,
                pool.name_any(),
            ))]
        }
        Some(pool) => round.in_pool(wanted, pool),
    }
}

/// One look at everything.
struct Round<'a> {
    observed: &'a Observed<'a>,
    valid: &'a ValidProfile,
    rendered: &'a Rendered,
    /// What the RealtimeNodes shall be.
    plan: Nodes,
    /// What must come before anything that reboots is written.
    before: Option<Wait>,
    kubelet: Change,
    machine: Change,
}

impl<'a> Round<'a> {
    fn of(observed: &'a Observed<'a>, valid: &'a ValidProfile, rendered: &'a Rendered) -> Self {
        let live = observed.live;
        let plan = nodes::plan(observed, Some((&valid.pool.name, &rendered.node_spec)));
        let before = before_writing(observed, valid, rendered, &plan);
        let (kubelet, machine) = if before.is_some() {
            (Change::None, Change::None)
        } else {
            let kubelet = rendered.kubelet_config.as_ref().map(to_value);
            let machine = rendered.machine_config.as_ref().map(to_value);
            (
                kubelet_change(live, kubelet.as_ref()),
                change(live.machine_config.as_ref(), machine.as_ref()),
            )
        };
        Self {
            observed,
            valid,
            rendered,
            plan,
            before,
            kubelet,
            machine,
        }
    }

    fn reboots(&self) -> bool {
        self.kubelet != Change::None || self.machine != Change::None
    }

    fn turning(&self, hold: Option<&str>) -> Turning {
        turning(self.observed, &self.valid.pool.name, &self.plan, hold)
    }

    /// Former pools first: their nodes must not be caught between two changes.
    fn former_pools(&self, turns: &Turning) -> Vec<Step> {
        let name = &self.valid.pool.name;
        removal::former_pools(self.observed, name, self.reboots(), &self.plan, turns)
    }

    /// Where there are no pools: only what acts at once, and the nodes' daemons.
    fn without_pools(self) -> Vec<Step> {
        let turns = self.turning(self.before.as_ref().map(|_| LANDING));
        let (landed, live) = (self.before.is_none(), self.observed.live);
        let mut steps: Vec<Step> = self.before.clone().map(Step::Wait).into_iter().collect();
        steps.extend(self.at_once(landed));
        steps.extend(prune(live, None, Pause::No));
        steps.extend(turns.into_steps());
        steps
    }

    /// A pool that we create: paused, so that all that is written then rolls out at once.
    fn with_a_new_pool(self) -> Vec<Step> {
        let turns = self.turning(Some(LANDING));
        let mut steps = self.former_pools(&turns);
        steps.push(Step::CreatePoolPaused);
        steps.extend(self.before.clone().map(Step::Wait));
        steps.extend(write(self.kubelet, self.machine, self.valid));
        steps.extend(self.runtime_class());
        steps.extend(self.plan.steps);
        steps.extend(turns.into_steps());
        steps.push(Step::Wait(Wait::Target(vec![format!(
            "pool {} has no rendered configuration yet",
            self.valid.pool.name
        )])));
        steps
    }

    /// A pool that is there: paused before anything that reboots is written.
    fn in_pool(self, wanted: &MachineConfigPool, pool: &MachineConfigPool) -> Vec<Step> {
        let Self {
            observed,
            valid,
            rendered,
            ..
        } = self;
        let live = observed.live;
        let pause = pause_of(pool, &valid.name);
        let mut own = Vec::new();
        if self.reboots() {
            own.push(hold(pool, pause));
        }
        // What isn't wanted any more, an apply alone doesn't take away from a pool that was created in another way.
        let more = valid.pool.ours
            && wanted.spec.max_unavailable.is_none()
            && pool.spec.max_unavailable.is_some();
        let applies = more || !difference::holds(&to_value(pool), &applied_pool(wanted));
        if applies {
            own.push(Step::ApplyPool);
        }
        own.extend(write(self.kubelet, self.machine, valid));
        // What is waited for when all is written, or stands as it was written last.
        let missing = if self.reboots() || self.before.is_some() {
            None
        } else {
            landing::missing(observed.cluster, pool, rendered)
        };
        let written = !applies && !self.reboots() && missing.is_none();
        own.extend(missing.map(Step::Wait));
        let landed = written && self.before.is_none();
        let handing_over = !self.plan.handing_over.is_empty();
        let stands = landed || written && handing_over && landing::live_has_landed(observed, pool);
        let pruning = live
            .others
            .iter()
            .any(|(kind, _)| matches!(kind, Kind::KubeletConfig | Kind::MachineConfig));
        let turns = self.turning((!stands || pruning).then_some(LANDING));
        let mut steps = self.former_pools(&turns);
        steps.extend(own);
        steps.extend(self.before.clone().map(Step::Wait));
        steps.extend(self.at_once(landed && pause != Pause::Others));
        steps.extend(prune(live, Some(pool), pause));
        let done =
            stands && !turns.keeps_paused(&pool.name_any()) && !steps.iter().any(changes_pool);
        steps.extend(end_of_pause(observed, pool, pause, done));
        steps.extend(turns.into_steps());
        steps
    }

    fn runtime_class(&self) -> Option<Step> {
        runtime_class_step(
            self.observed.live,
            self.rendered.runtime_class.as_ref(),
            &self.valid.name,
        )
    }

    /// What acts at once, without a reboot. `landed`: what Tuned goes with is there.
    fn at_once(self, landed: bool) -> Vec<Step> {
        let mut steps: Vec<Step> = self.runtime_class().into_iter().collect();
        let tuned = self.rendered.tuned.as_ref().map(to_value);
        let tuned = change(self.observed.live.tuned.as_ref(), tuned.as_ref());
        if landed {
            steps.extend(simple(
                tuned,
                Step::ApplyTuned,
                Kind::Tuned,
                &self.valid.name,
            ));
        }
        if !self.plan.leaving.is_empty() {
            steps.push(Step::Wait(Wait::NodesGoingBack {
                nodes: self.plan.leaving,
                before: Before::Nothing,
            }));
        }
        steps.extend(self.plan.steps);
        steps
    }
}

/// What must come before anything that reboots is written; `None`: nothing.
fn before_writing(
    observed: &Observed<'_>,
    valid: &ValidProfile,
    rendered: &Rendered,
    plan: &Nodes,
) -> Option<Wait> {
    if !plan.handing_over.is_empty() {
        return Some(Wait::NodesGoingBack {
            nodes: plan.handing_over.clone(),
            before: Before::MachineConfig,
        });
    }
    let patience = observed.patience?;
    let writes = rendered.machine_config.is_some() || rendered.kubelet_config.is_some();
    if !writes || !is_first_write(observed.live) {
        return None;
    }
    let mut among = observed.cluster.pools.clone();
    if !among.iter().any(|pool| pool.name_any() == valid.pool.name) {
        among.extend(rendered.pool.clone());
    }
    let nodes = pools::nodes_of(&valid.pool.name, &observed.cluster.nodes, &among);
    first_reports(observed.cluster, &nodes, valid, patience)
}

/// The end of our pause when all has landed, or the admin's that we wait for.
fn end_of_pause(
    observed: &Observed<'_>,
    pool: &MachineConfigPool,
    pause: Pause,
    done: bool,
) -> Vec<Step> {
    match pause {
        Pause::Ours | Pause::Stale if done => unpause(observed, pool),
        Pause::Others => vec![Step::Wait(Wait::AdminUnpause(pool.name_any()))],
        Pause::No | Pause::Ours | Pause::Stale => Vec::new(),
    }
}
