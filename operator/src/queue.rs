//! Which profiles are to be looked at, and when. One round a profile at a time; what comes meanwhile is one more
//! round. Knows nothing of what a round does, and has no clock: the time is an argument. Nodes are queued likewise.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// First wait after an error; doubled with each further one.
const FIRST: Duration = Duration::from_millis(100);
/// Longest wait after an error: an API server that comes back finds us within half a minute, and its watches wake us
/// earlier.
const LONGEST: Duration = Duration::from_secs(30);

/// The queue.
#[derive(Debug, Default)]
pub struct Queue {
    /// When each profile is due.
    due: BTreeMap<String, Instant>,
    /// Those that are being looked at.
    running: BTreeSet<String>,
    /// Errors in a row.
    failures: HashMap<String, u32>,
}

impl Queue {
    /// A profile is to be looked at now.
    pub fn add(&mut self, name: String, now: Instant) {
        self.due.insert(name, now);
    }

    /// A profile is to be looked at after a while, unless it is due earlier.
    pub fn add_after(&mut self, name: String, wait: Duration, now: Instant) {
        let when = now + wait;
        let due = self.due.entry(name).or_insert(when);
        *due = (*due).min(when);
    }

    /// Whether a profile is due, now or later.
    pub fn waits(&self, name: &str) -> bool {
        self.due.contains_key(name)
    }

    /// Takes a profile that is due.
    pub fn take(&mut self, now: Instant) -> Option<String> {
        let name = self
            .due
            .iter()
            .find(|(name, due)| **due <= now && !self.running.contains(*name))
            .map(|(name, _)| name.clone())?;
        self.due.remove(&name);
        self.running.insert(name.clone());
        Some(name)
    }

    /// A round ended.
    pub fn done(&mut self, name: &str) {
        self.running.remove(name);
    }

    /// When the next profile is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due
            .iter()
            .filter(|(name, _)| !self.running.contains(*name))
            .map(|(_, due)| *due)
            .min()
    }

    /// Whether nothing is being looked at.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// A round failed: the next one after a wait that grows, with up to half of it left to chance.
    pub fn failed(&mut self, name: String, now: Instant) {
        let failures = self.failures.entry(name.clone()).or_insert(0);
        let wait = FIRST
            .saturating_mul(1_u32.checked_shl(*failures).unwrap_or(u32::MAX))
            .min(LONGEST);
        *failures = failures.saturating_add(1).min(16);
        self.add_after(name, jitter(wait), now);
    }

    /// A round went well.
    pub fn succeeded(&mut self, name: &str) {
        self.failures.remove(name);
    }
}

fn jitter(wait: Duration) -> Duration {
    // The standard library's hash keys are random for each state.
    let chance = RandomState::new().hash_one(0_u8) % 1000;
    let part = u32::try_from(chance).unwrap_or(0);
    wait / 2 + wait / 2 * part / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_looked_at_once_at_a_time() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add("a".into(), now);
        queue.add("a".into(), now);
        assert_eq!(queue.take(now).as_deref(), Some("a"));
        queue.add("a".into(), now);
        assert_eq!(queue.take(now), None);
        queue.done("a");
        assert_eq!(queue.take(now).as_deref(), Some("a"));
        queue.done("a");
        assert!(queue.is_idle() && queue.next_due().is_none());
    }

    #[test]
    fn waits_after_errors_grow_and_are_bounded() {
        let mut now = Instant::now();
        let mut queue = Queue::default();
        let mut longest = Duration::ZERO;
        for _ in 0..40 {
            queue.failed("a".into(), now);
            let due = queue.next_due().unwrap();
            assert!(due - now <= LONGEST);
            longest = longest.max(due - now);
            now = due;
            assert_eq!(queue.take(now).as_deref(), Some("a"));
            queue.done("a");
        }
        assert!(longest >= LONGEST / 2);
        queue.succeeded("a");
        queue.failed("a".into(), now);
        assert!(queue.next_due().unwrap() - now <= FIRST);
    }
}
