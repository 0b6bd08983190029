//! What is due when. A delaying queue as Kubernetes' controllers have it; it runs nothing.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// One thing to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// A KubeletConfig, by name.
    KubeletConfig(String),
    /// The render of a pool.
    Render(String),
    /// A render that is decided, and to be written.
    WriteRender(String),
    /// The nodes of a pool.
    Nodes(String),
    /// What a node's agent asks of the drain controller.
    Drain(String),
    /// A node's agent.
    Agent(String),
}

/// Keys with the time at which they are due.
#[derive(Debug, Default)]
pub struct Queue(BTreeMap<Key, Instant>);

impl Queue {
    /// Makes a key due at this time, unless it is due earlier: so an earlier event fires with whatever is
    /// there by then, and a change is acted upon up to one delay later, not one delay after the last change.
    pub fn add(&mut self, key: Key, at: Instant) {
        let due = self.0.entry(key).or_insert(at);
        *due = (*due).min(at);
    }

    /// When the next key is due.
    pub fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Takes a key that is due.
    pub fn pop(&mut self, now: Instant) -> Option<Key> {
        let (key, _) = self
            .0
            .iter()
            .filter(|(_, at)| **at <= now)
            .min_by_key(|(_, at)| **at)?;
        let key = key.clone();
        self.0.remove(&key);
        Some(key)
    }

    /// Whether the key waits.
    pub fn contains(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_earlier_time_wins_and_keys_come_in_order() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.add(Key::Render("a".into()), now + Duration::from_secs(1));
        queue.add(Key::Render("a".into()), now + Duration::from_secs(5));
        queue.add(Key::Nodes("a".into()), now + Duration::from_secs(3));
        queue.add(Key::Nodes("a".into()), now + Duration::from_secs(2));
        assert_eq!(queue.next(), Some(now + Duration::from_secs(1)));
        assert_eq!(queue.pop(now), None);
        let later = now + Duration::from_secs(4);
        assert_eq!(queue.pop(later), Some(Key::Render("a".into())));
        assert_eq!(queue.pop(later), Some(Key::Nodes("a".into())));
        assert_eq!(queue.pop(later), None);
    }
}
