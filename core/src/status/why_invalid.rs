//! Why a profile can't be rendered, in one word: its own fault, or what of the cluster stands in the way. Finds no
//! problem itself.

use super::View;
use crate::conditions::reason;
use crate::problem::{Problem, Severity};
use crate::render::KERNEL_TYPE_REALTIME;

impl View<'_> {
    /// One thing of the cluster that is in the way has a reason of its own; a fault of the profile is `Invalid`,
    /// whatever else there is.
    pub(super) fn why_invalid(&self) -> &'static str {
        let errors = self
            .inputs
            .problems
            .0
            .iter()
            .filter(|problem| problem.severity == Severity::Error);
        let reasons: Option<Vec<&'static str>> =
            errors.map(|problem| self.of_the_cluster(problem)).collect();
        reasons
            .and_then(|reasons| reasons.first().copied())
            .unwrap_or(reason::INVALID)
    }

    /// The reason, when the problem is the cluster's and not the profile's.
    fn of_the_cluster(&self, problem: &Problem) -> Option<&'static str> {
        let create = self
            .inputs
            .profile
            .spec
            .pool
            .as_ref()
            .and_then(|pool| pool.create);
        if problem.field == "spec.pool.name" && create == Some(false) && self.pool.is_none() {
            return Some(reason::POOL_MISSING);
        }
        let (kind, _) = problem.field.split_once('/')?;
        // What another brings to the pool is named by its value: the real-time kernel, another one, or an argument.
        match kind {
            "MachineConfig" | "PerformanceProfile" | "RealtimeProfile"
                if problem.value == KERNEL_TYPE_REALTIME =>
            {
                Some(reason::REALTIME_INHERITED)
            }
            "MachineConfig" => Some(reason::OVERRIDDEN),
            "PerformanceProfile" | "RealtimeProfile" if !problem.value.is_empty() => {
                Some(reason::OVERRIDDEN)
            }
            "KubeletConfig" => Some(reason::FOREIGN_KUBELET_CONFIG),
            "MachineConfigPool" => Some(reason::POOL_UNSUITABLE),
            "PerformanceProfile" => Some(reason::PERFORMANCE_PROFILE),
            "RealtimeProfile" => Some(reason::POOL_TAKEN),
            _ => None,
        }
    }
}
