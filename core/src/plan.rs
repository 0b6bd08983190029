//! What applying a profile would change: objects, the pool's result, reboots, conflicts. The dry run behind
//! `oc realtime plan`. It changes nothing and prints nothing.

mod conflicts;
mod daemon;
mod diff;
mod nodes;
mod objects;
mod pool;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::Value;

use crate::api::RealtimeProfile;
use crate::cluster::Cluster;
use crate::merge::MergeError;
use crate::problem::{Problem, Problems};
use crate::render::Rendered;
use crate::validate::ValidProfile;

pub use nodes::NodePlan;
pub use objects::{Action, ObjectChange, ObjectId};
pub use pool::{ArgumentChanges, PoolOutcome};

/// What a plan is made of.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The profile as it was given.
    pub given: &'a RealtimeProfile,
    /// The profile, validated against the cluster.
    pub profile: &'a ValidProfile,
    /// What it becomes.
    pub rendered: &'a Rendered,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The profile itself and the objects that carry our names or our owner label, whole, as the API server holds them.
    pub live: &'a [Value],
    /// What validation warned of.
    pub warnings: &'a Problems,
}

/// What applying a profile would change.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The profile.
    pub profile: String,
    /// Its pool.
    pub pool: String,
    /// `rollout.pause`: nothing of this happens until it is false.
    pub held: bool,
    /// What would be created, changed and deleted, in the order in which it is done.
    pub changes: Vec<ObjectChange>,
    /// What stays as it is.
    pub unchanged: Vec<ObjectId>,
    /// What the pool's nodes would run; `None` where there are no pools.
    pub outcome: Option<PoolOutcome>,
    /// The pool's nodes.
    pub nodes: Vec<NodePlan>,
    /// What stands in the way, or is not as it seems.
    pub conflicts: Vec<Conflict>,
}

/// Something that stands in the way, or is not as it seems.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conflict {
    /// What it is about: a field of the profile, an object as `Kind/name`, or the reason of a condition.
    pub about: String,
    /// What.
    pub message: String,
    /// What to do; may be empty.
    pub remedy: String,
}

impl From<&Problem> for Conflict {
    fn from(problem: &Problem) -> Self {
        Self {
            about: problem.field.clone(),
            message: problem.message.clone(),
            remedy: problem.remedy.clone(),
        }
    }
}

impl Plan {
    /// Whether anything would change.
    pub fn has_changes(&self) -> bool {
        !self.changes.is_empty()
    }

    /// Reboots of all nodes together.
    pub fn reboots(&self) -> u32 {
        self.nodes.iter().map(|node| node.reboots).sum()
    }
}

/// The plan. `Err` when the Machine Config Operator would refuse to render the pool at all.
pub fn plan(wanted: &Wanted<'_>) -> Result<Plan, MergeError> {
    let (changes, unchanged) = objects::compare(wanted);
    let pool = pool::Pool::of(wanted)?;
    Ok(Plan {
        profile: wanted.profile.name.clone(),
        pool: wanted.profile.pool.name.clone(),
        held: wanted.profile.paused,
        nodes: pool.as_ref().map_or_else(
            || daemon::without_pools(wanted),
            |pool| nodes::plan(wanted, pool, &changes),
        ),
        conflicts: conflicts::of(wanted, pool.as_ref()),
        outcome: pool.map(|pool| pool.outcome),
        changes,
        unchanged,
    })
}
