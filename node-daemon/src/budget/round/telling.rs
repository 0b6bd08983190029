//! What a whole round has come to is told: to those who wait, to the status, to pods. What is said, `core::rt::outcome`
//! decides.

use realtime_core::api::realtime_node::{BudgetMode, NodePodBudgetStatus};
use realtime_core::rt::outcome::{self, Done, PodNews};
use realtime_core::rt::plan::{self, Plan, Tree};
use realtime_core::rt::settle::Settled;
use tokio::time::Instant;

use super::Round;
use crate::budget::Told;
use crate::budget::cache::Cache;
use crate::budget::state::State;

impl Round<'_> {
    /// Entries, the condition, news; and those who wait are answered.
    pub(super) fn tell(
        &mut self,
        cache: &Cache,
        state: &mut State,
        tree: &Tree,
        settled: &Settled,
        plan: &Plan,
        limits: &plan::Limits,
    ) {
        let done = Done {
            mode: &self.ground.mode,
            pods: &cache.asking,
            settled,
            plan,
            kernel: &state.refused,
            containers: &state.besides,
        };
        let entries = outcome::entries(&done);
        state.answer(Instant::now(), |waiting| {
            // An earlier pod of that name may still be the one that is known.
            if !cache.complete() || !cache.asks(&waiting.pod, waiting.uid.as_ref()) {
                return None;
            }
            let entry = entries.iter().find(|entry| {
                (&entry.namespace, &entry.pod) == (&waiting.pod.0, &waiting.pod.1)
                    && entry.container == waiting.container
            });
            outcome::verdict(entry, settled.refused.get(&waiting.pod))
        });
        let entries = outcome::listed(entries);
        let gives = matches!(
            self.ground.mode.mode,
            BudgetMode::V1Budget | BudgetMode::V2Policy
        );
        // That nothing can be had is true whatever pods there are.
        if gives && !cache.complete() {
            return;
        }
        let capacity = match self.ground.mode.mode {
            BudgetMode::V1Budget => plan::capacity_us(tree, limits),
            BudgetMode::V2Policy => self.settings.capacity_us,
            BudgetMode::Blocked | BudgetMode::Off => 0,
        };
        let condition = outcome::condition(&self.ground.mode, &entries, &plan.findings);
        let now = Told::Pods {
            status: NodePodBudgetStatus {
                mode: Some(self.ground.mode.mode),
                evidence: Some(self.ground.mode.evidence.clone()),
                remedy: self.ground.mode.remedy.clone(),
                capacity_microseconds: i64::try_from(capacity).ok(),
                allocated_microseconds: Some(plan.allocated_us.max(0)),
                containers: entries,
            },
            condition,
        };
        let news = {
            let before = self.told.borrow();
            outcome::news(before.entries(), now.entries(), &cache.asking)
        };
        for news in news {
            // Full: Events are a courtesy.
            let _ = self.news.try_send(news);
        }
        self.told.send_if_modified(|told| {
            let changed = *told != now;
            *told = now;
            changed
        });
    }

    /// What somebody else wrote to containers' groups is told once for each of them, when it is put right; that it is put
    /// right, each time.
    pub(super) fn note_foreign(
        &self,
        state: &mut State,
        tree: &Tree,
        overwritten: Vec<(&str, PodNews)>,
    ) {
        state
            .overwritten
            .retain(|group| tree.groups.contains_key(group));
        for (group, news) in overwritten {
            if !state.failing.contains_key(group) && state.overwritten.insert(group.to_owned()) {
                tracing::warn!(pod = news.pod.1, group, words = news.note, "overwritten");
                let _ = self.news.try_send(news);
            }
        }
    }
}
