//! What the operator counts, in the OpenMetrics text format. Counts; decides nothing.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use realtime_core::api::realtime_profile::RealtimeProfileStatus;

/// A profile's name.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Profile {
    profile: String,
}

/// A condition of a profile.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Condition {
    profile: String,
    condition: String,
}

/// Nodes of a profile in a state.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Nodes {
    profile: String,
    state: &'static str,
}

/// A write.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Write {
    kind: String,
    verb: String,
}

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Counter,
    errors: Family<Profile, Counter>,
    duration: Histogram,
    writes: Family<Write, Counter>,
    conditions: Family<Condition, Gauge>,
    nodes: Family<Nodes, Gauge>,
    leader: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("realtime_operator");
        let reconciles = Counter::default();
        let errors = Family::default();
        // 1 ms to 16 s: a reconcile without writes takes milliseconds, one against a slow API server seconds.
        let duration = Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let writes = Family::default();
        let conditions = Family::default();
        let nodes = Family::default();
        let leader = Gauge::default();
        registry.register(
            "reconciles",
            "Reconciliations of profiles",
            reconciles.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Reconciliations that failed",
            errors.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "Time of a reconciliation",
            Unit::Seconds,
            duration.clone(),
        );
        registry.register("writes", "Requests that change the cluster", writes.clone());
        registry.register(
            "profile_condition",
            "1 when the condition is True, 0 when it is False, -1 when it is Unknown",
            conditions.clone(),
        );
        registry.register(
            "profile_nodes",
            "Nodes of the profile's pool by state",
            nodes.clone(),
        );
        registry.register("leader", "1 on the replica that acts", leader.clone());
        Self {
            registry,
            reconciles,
            errors,
            duration,
            writes,
            conditions,
            nodes,
            leader,
        }
    }
}

impl Metrics {
    /// One reconciliation, with its time in seconds.
    pub fn reconciled(&self, profile: &str, seconds: f64, failed: bool) {
        self.reconciles.inc();
        self.duration.observe(seconds);
        if failed {
            self.errors
                .get_or_create(&Profile {
                    profile: profile.to_owned(),
                })
                .inc();
        }
    }

    /// One write, as `MachineConfig`, `apply`.
    pub fn wrote(&self, kind: &str, verb: &str) {
        self.writes
            .get_or_create(&Write {
                kind: kind.to_owned(),
                verb: verb.to_owned(),
            })
            .inc();
    }

    /// A profile's state.
    pub fn status(&self, profile: &str, status: &RealtimeProfileStatus) {
        for condition in &status.conditions {
            let value = match condition.status.as_str() {
                "True" => 1,
                "False" => 0,
                _ => -1,
            };
            self.conditions
                .get_or_create(&Condition {
                    profile: profile.to_owned(),
                    condition: condition.type_.clone(),
                })
                .set(value);
        }
        if let Some(nodes) = &status.nodes {
            for (state, count) in [
                ("total", nodes.total),
                ("ready", nodes.ready),
                ("updating", nodes.updating),
                ("degraded", nodes.degraded),
                ("realtime_kernel", nodes.realtime_kernel),
            ] {
                self.nodes
                    .get_or_create(&Nodes {
                        profile: profile.to_owned(),
                        state,
                    })
                    .set(count);
            }
        }
    }

    /// A profile is gone: its series end.
    pub fn forget(&self, profile: &str, conditions: &[String]) {
        for condition in conditions {
            self.conditions.remove(&Condition {
                profile: profile.to_owned(),
                condition: condition.clone(),
            });
        }
        for state in ["total", "ready", "updating", "degraded", "realtime_kernel"] {
            self.nodes.remove(&Nodes {
                profile: profile.to_owned(),
                state,
            });
        }
        self.errors.remove(&Profile {
            profile: profile.to_owned(),
        });
    }

    /// Whether this replica acts.
    pub fn leads(&self, leads: bool) {
        self.leader.set(f64::from(u8::from(leads)));
    }

    /// The text format.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told() {
        let metrics = Metrics::default();
        metrics.reconciled("drill", 0.002, true);
        metrics.wrote("MachineConfig", "apply");
        let text = metrics.encode();
        for line in [
            "realtime_operator_reconciles_total 1",
            "realtime_operator_reconcile_errors_total{profile=\"drill\"} 1",
            "realtime_operator_writes_total{kind=\"MachineConfig\",verb=\"apply\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
