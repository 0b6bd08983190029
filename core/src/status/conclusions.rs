//! The conditions that follow from a state and what was found. Looks at no object.

use super::View;
use super::findings;
use super::progress::ProgressPhase;
use super::state::State;
use crate::conditions::{AVAILABLE, DEGRADED, Decided, PROGRESSING, UPGRADEABLE, VALID, reason};

impl View<'_> {
    pub(super) fn conditions(&self) -> Vec<Decided> {
        let state = self.state();
        let reached = state.reason == reason::UPDATED;
        let (limit, latency) = self.latency();
        let gate_open = limit.is_none() || latency.status == Some(true);
        let valid = self.valid();
        let degraded = self.degraded(&state);
        let note = findings::cordons(self.pool, &self.nodes)
            .map(|finding| format!("; {}", finding.message))
            .unwrap_or_default();
        let available = if reached && degraded.status == Some(false) && gate_open {
            Decided::new(
                AVAILABLE,
                Some(true),
                reason::UPDATED,
                format!("{}{note}", state.message),
            )
        } else if reached && degraded.status == Some(true) {
            Decided::new(
                AVAILABLE,
                Some(false),
                degraded.reason,
                degraded.message.clone(),
            )
        } else if reached {
            Decided::new(
                AVAILABLE,
                Some(false),
                latency.reason,
                latency.message.clone(),
            )
        } else {
            Decided::new(
                AVAILABLE,
                Some(false),
                state.reason,
                format!("{}{note}", state.message),
            )
        };
        let stalled_by_cordon = state.reason == reason::ROLLING_OUT
            && !note.is_empty()
            && self.count(ProgressPhase::is_under_way) == 0;
        let progressing = if stalled_by_cordon {
            Decided::new(
                PROGRESSING,
                Some(false),
                reason::CORDONED_NODE,
                note.trim_start_matches("; ").to_owned(),
            )
        } else {
            Decided::new(
                PROGRESSING,
                Some(state.moving),
                state.reason,
                format!("{}{note}", state.message),
            )
        };
        let upgradeable = Self::upgradeable(&state, &degraded);
        vec![
            valid,
            available,
            progressing,
            degraded,
            upgradeable,
            latency,
        ]
    }

    fn valid(&self) -> Decided {
        let problems = self.inputs.problems;
        if self.inputs.wanted.is_none() {
            return Decided::new(VALID, Some(false), self.why_invalid(), problems.to_string());
        }
        let message = if problems.0.is_empty() {
            "no problem found".to_owned()
        } else {
            problems.to_string()
        };
        Decided::new(VALID, Some(true), reason::AS_EXPECTED, message)
    }

    fn degraded(&self, state: &State) -> Decided {
        if let Some(first) = self.findings.first() {
            let all: Vec<&str> = self
                .findings
                .iter()
                .map(|finding| finding.message.as_str())
                .collect();
            return Decided::new(DEGRADED, Some(true), first.reason, all.join("\n"));
        }
        if self.inputs.wanted.is_none() && state.reason != reason::DELETING {
            let all = self.inputs.problems.to_string();
            return Decided::new(DEGRADED, Some(true), self.why_invalid(), all);
        }
        if matches!(state.reason, reason::POOL_MISSING | reason::WRITE_FAILED) {
            return Decided::new(DEGRADED, Some(true), state.reason, state.message.clone());
        }
        Decided::new(
            DEGRADED,
            Some(false),
            reason::AS_EXPECTED,
            "nothing stands in the way",
        )
    }

    fn upgradeable(state: &State, degraded: &Decided) -> Decided {
        if degraded.status == Some(true) {
            return Decided::new(
                UPGRADEABLE,
                Some(false),
                degraded.reason,
                format!("correct this before an upgrade: {}", degraded.message),
            );
        }
        if state.moving {
            return Decided::new(
                UPGRADEABLE,
                Some(false),
                reason::ROLLOUT_IN_PROGRESS,
                format!(
                    "an upgrade now would mean further reboots: {}",
                    state.message
                ),
            );
        }
        Decided::new(
            UPGRADEABLE,
            Some(true),
            reason::AS_EXPECTED,
            "nothing of this profile stands against an upgrade",
        )
    }
}
