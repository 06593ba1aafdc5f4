//! What is remembered, as many as fit.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// A bounded map: when it is full, the older half goes.
#[derive(Debug)]
pub(super) struct Known<K, V> {
    inner: Mutex<Halves<K, V>>,
    most: usize,
}

#[derive(Debug)]
struct Halves<K, V> {
    new: BTreeMap<K, V>,
    old: BTreeMap<K, V>,
}

impl<K: Clone + Ord, V: Clone> Known<K, V> {
    /// One that holds so many at most.
    pub(super) fn new(most: usize) -> Self {
        Self {
            inner: Mutex::new(Halves {
                new: BTreeMap::new(),
                old: BTreeMap::new(),
            }),
            most,
        }
    }

    /// What is remembered; that it was asked for keeps it.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = inner.new.get(key) {
            return Some(value.clone());
        }
        let value = inner.old.remove(key)?;
        inner.put(key.clone(), value.clone(), self.most);
        Some(value)
    }

    pub(super) fn put(&self, key: K, value: V) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.put(key, value, self.most);
    }
}

impl<K: Ord, V> Halves<K, V> {
    fn put(&mut self, key: K, value: V, most: usize) {
        if self.new.len() >= most / 2 {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays() {
        let known = Known::new(10);
        for it in 0..100 {
            known.put(it, it);
            assert_eq!(known.get(&0), Some(0));
            assert_eq!(known.get(&it), Some(it));
        }
        assert!((0..100).filter(|it| known.get(it).is_some()).count() <= 10);
        assert_eq!(known.get(&1), None);
    }
}
