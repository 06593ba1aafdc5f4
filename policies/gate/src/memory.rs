//! Answers that are remembered, as many as fit.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A bounded map: what was not asked for longest goes first.
#[derive(Debug)]
pub(crate) struct Memory<K, V> {
    inner: Mutex<Inner<K, V>>,
    bytes: usize,
}

#[derive(Debug)]
struct Inner<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    /// Keys by when they were last asked for.
    order: BTreeMap<u64, K>,
    clock: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    asked: u64,
}

impl<K: Clone + Ord, V: Clone> Memory<K, V> {
    /// One that holds values of so many `bytes` together.
    pub(crate) fn new(bytes: usize) -> Self {
        Self {
            inner: Mutex::new(Inner {
                entries: BTreeMap::new(),
                order: BTreeMap::new(),
                clock: 0,
                bytes: 0,
            }),
            bytes,
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut inner = self.inner();
        inner.clock += 1;
        let now = inner.clock;
        let entry = inner.entries.get_mut(key)?;
        let before = std::mem::replace(&mut entry.asked, now);
        let value = entry.value.clone();
        if let Some(key) = inner.order.remove(&before) {
            inner.order.insert(now, key);
        }
        Some(value)
    }

    /// Remembers a `value` that takes so many `bytes`. What is larger than all of it is not remembered.
    pub(crate) fn put(&self, key: K, value: V, bytes: usize) {
        let mut inner = self.inner();
        inner.remove(&key);
        if bytes > self.bytes {
            return;
        }
        while inner.bytes + bytes > self.bytes {
            let Some((_, oldest)) = inner.order.pop_first() else {
                break;
            };
            inner.remove(&oldest);
        }
        inner.clock += 1;
        let asked = inner.clock;
        inner.bytes += bytes;
        inner.order.insert(asked, key.clone());
        inner.entries.insert(
            key,
            Entry {
                value,
                bytes,
                asked,
            },
        );
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.inner().entries.len()
    }

    pub(crate) fn clear(&self) {
        let mut inner = self.inner();
        inner.entries.clear();
        inner.order.clear();
        inner.bytes = 0;
    }

    fn inner(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord, V> Inner<K, V> {
    fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
            self.order.remove(&entry.asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_longest_goes_first() {
        let memory = Memory::new(30);
        for name in ["a", "b", "c"] {
            memory.put(name, name, 10);
        }
        assert_eq!(memory.get(&"a"), Some("a"));
        memory.put("d", "d", 10);
        assert_eq!(memory.get(&"b"), None);
        assert_eq!(memory.get(&"a"), Some("a"));
        memory.put("e", "e", 20);
        assert_eq!((memory.get(&"c"), memory.get(&"d")), (None, None));
        assert_eq!(memory.len(), 2);
        // Too large to be remembered, and what it replaces is forgotten.
        memory.put("a", "a", 31);
        assert_eq!((memory.get(&"a"), memory.len()), (None, 1));
        memory.put("e", "f", 30);
        assert_eq!((memory.get(&"e"), memory.len()), (Some("f"), 1));
        memory.clear();
        assert_eq!(memory.len(), 0);
        memory.put("a", "a", 30);
        assert_eq!(memory.get(&"a"), Some("a"));
    }
}
