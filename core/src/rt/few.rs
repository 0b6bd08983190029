//! A map of few entries, in one piece of memory that is as large as they are. A B-tree makes room for eleven entries with
//! the first one: half a kilobyte for one container's id, for each pod of a node. Holds no decision.

/// A map of few entries, sorted by key. Looking up is a binary search; each change moves all that come after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Few<K, V>(Box<[(K, V)]>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Few<K, V> {
    /// Of entries with the same key the last one is kept, as maps do it.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut entries: Vec<(K, V)> = entries.into_iter().collect();
        // Stable, so that the last of equal keys comes last.
        entries.sort_by(|left, right| left.0.cmp(&right.0));
        entries.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        Self(entries.into_boxed_slice())
    }
}

impl<K, V> Few<K, V> {
    /// A key's value.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let at = self
            .0
            .binary_search_by(|(other, _)| other.borrow().cmp(key));
        Some(&self.0[at.ok()?].1)
    }

    /// Whether there is such a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: std::borrow::Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// All keys, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(entries in prop::collection::vec((0_u8..20, any::<u8>()), 0..20)) {
            let few: Few<u8, u8> = entries.iter().copied().collect();
            let map: BTreeMap<u8, u8> = entries.into_iter().collect();
            prop_assert!(few.iter().eq(map.iter()));
            prop_assert!(few.keys().eq(map.keys()) && few.values().eq(map.values()));
            prop_assert_eq!(few.len(), map.len());
            prop_assert_eq!(few.is_empty(), map.is_empty());
            for key in 0..20 {
                prop_assert_eq!(few.get(&key), map.get(&key));
                prop_assert_eq!(few.contains_key(&key), map.contains_key(&key));
            }
        }
    }
}
