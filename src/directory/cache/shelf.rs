//! A bounded map of entries, nearly least recently used: two generations, of which the older is dropped when the younger
//! is full. Knows nothing of what makes an entry usable.

use std::{
    collections::HashMap,
    hash::Hash,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::directory::Revision;

/// An entry.
pub(super) struct Held<T> {
    pub(super) value: Arc<T>,
    /// Of the snapshot in which it was loaded, or an older one.
    pub(super) revision: Revision,
    /// When it was asked for, on the monotonic clock.
    pub(super) loaded_at: Duration,
    /// From when on it must not be used, whatever fails.
    pub(super) expires: Duration,
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), ..*self }
    }
}

/// The map.
pub(super) struct Shelf<K, T> {
    generation: usize,
    maps: Mutex<Generations<K, T>>,
}

struct Generations<K, T> {
    young: HashMap<K, Held<T>>,
    old: HashMap<K, Held<T>>,
}

impl<K: Clone + Eq + Hash, T> Shelf<K, T> {
    /// A shelf of at most so many entries.
    pub(super) fn holding(entries: usize) -> Self {
        let maps = Generations { young: HashMap::new(), old: HashMap::new() };
        Self { generation: entries.div_ceil(2), maps: Mutex::new(maps) }
    }

    pub(super) fn find(&self, key: &K) -> Option<Held<T>> {
        let mut maps = self.lock();
        if let Some(held) = maps.young.get(key) {
            return Some(held.clone());
        }
        let (key, held) = maps.old.remove_entry(key)?;
        let found = held.clone();
        self.insert(&mut maps, key, held);
        Some(found)
    }

    /// Puts an entry, unless a newer one is there. Of one revision, the one that was loaded later stays.
    pub(super) fn put(&self, key: &K, held: Held<T>) {
        let mut maps = self.lock();
        let known = maps.old.remove(key).or_else(|| maps.young.get(key).cloned());
        let rank = |held: &Held<T>| (held.revision, held.expires);
        let newest = known.filter(|known| rank(known) > rank(&held)).unwrap_or(held);
        self.insert(&mut maps, key.clone(), newest);
    }

    pub(super) fn forget(&self, key: &K) {
        let mut maps = self.lock();
        maps.young.remove(key);
        maps.old.remove(key);
    }

    fn insert(&self, maps: &mut Generations<K, T>, key: K, held: Held<T>) {
        if self.generation == 0 {
            return;
        }
        if maps.young.len() >= self.generation && !maps.young.contains_key(&key) {
            maps.old = mem::take(&mut maps.young);
        }
        maps.young.insert(key, held);
    }

    fn lock(&self) -> MutexGuard<'_, Generations<K, T>> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(revision: u64) -> Held<u64> {
        let expires = Duration::from_secs(30);
        Held { value: Arc::new(revision), revision: Revision(revision), loaded_at: Duration::ZERO, expires }
    }

    #[test]
    fn it_holds_no_more_than_it_may_and_drops_what_was_not_asked_for() {
        let shelf = Shelf::holding(10);
        for key in 0..1_000_u32 {
            shelf.put(&key, held(1));
            assert!(shelf.find(&0).is_some(), "what is asked for stays");
            let maps = shelf.lock();
            assert!(maps.young.len() + maps.old.len() <= 10);
        }
        assert!(shelf.find(&500).is_none());
    }

    #[test]
    fn an_older_revision_never_takes_the_place_of_a_newer_one() {
        let shelf = Shelf::holding(10);
        shelf.put(&1, held(7));
        shelf.put(&1, held(6));
        assert_eq!(*shelf.find(&1).unwrap().value, 7);
        shelf.put(&1, held(8));
        assert_eq!(*shelf.find(&1).unwrap().value, 8);
        shelf.forget(&1);
        assert!(shelf.find(&1).is_none());
    }
}
