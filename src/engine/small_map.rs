//! A map in one sorted list: as large as what is in it, where a tree makes room for eleven at once. For what a task has one or
//! two of, or what comes in the order of its keys: adding in front of others moves them. Never here: anything that grows with
//! what clients choose, other than at its end.

use std::borrow::Borrow;

/// See the file's header.
#[derive(Debug, Clone)]
pub(super) struct SmallMap<K, V> {
    entries: Vec<(K, V)>,
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: Ord, V> SmallMap<K, V> {
    /// Where the key is, or where it would be.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        match self.entries.last() {
            Some((last, _)) if last.borrow() < key => Err(self.entries.len()),
            _ => self.entries.binary_search_by(|(known, _)| known.borrow().cmp(key)),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        Some(&self.entries[self.place(key).ok()?].1)
    }

    pub(super) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).ok()?;
        Some(&mut self.entries[place].1)
    }

    /// Puts a value in the key's place, whatever was there.
    pub(super) fn insert(&mut self, key: K, value: V) {
        match self.place(&key) {
            Ok(place) => self.entries[place].1 = value,
            Err(place) => self.put(place, key, value),
        }
    }

    /// The value of the key; a new one, if it has none.
    pub(super) fn value_of<Q: Ord + ?Sized>(&mut self, key: &Q, new: impl FnOnce() -> (K, V)) -> &mut V
    where
        K: Borrow<Q>,
    {
        let place = self.place(key).unwrap_or_else(|place| {
            let (key, value) = new();
            self.put(place, key, value);
            place
        });
        &mut self.entries[place].1
    }

    fn put(&mut self, place: usize, key: K, value: V) {
        if self.entries.is_empty() {
            self.entries.reserve_exact(1);
        }
        self.entries.insert(place, (key, value));
    }

    pub(super) fn remove_first(&mut self) {
        if !self.entries.is_empty() {
            self.entries.remove(0);
        }
    }

    /// In the order of the keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// The same.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.entries.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(acts in prop::collection::vec((0_u8..4, 0_u8..12, any::<u16>()), 0..60)) {
            let (mut small, mut tree) = (SmallMap::<u8, u16>::default(), BTreeMap::new());
            for (act, key, value) in acts {
                match act {
                    0 => {
                        small.insert(key, value);
                        tree.insert(key, value);
                    }
                    1 => {
                        *small.value_of(&key, || (key, 7)) ^= value;
                        *tree.entry(key).or_insert(7) ^= value;
                    }
                    2 => {
                        small.remove_first();
                        tree.pop_first();
                    }
                    _ => prop_assert_eq!(small.get_mut(&key), tree.get_mut(&key)),
                }
                prop_assert_eq!(small.get(&key), tree.get(&key));
                prop_assert!(small.iter().eq(tree.iter()) && small.values().eq(tree.values()));
                prop_assert!(small.iter_mut().map(|(key, value)| (*key, *value)).eq(tree.clone()));
                prop_assert_eq!(small.len(), tree.len());
            }
        }
    }
}
