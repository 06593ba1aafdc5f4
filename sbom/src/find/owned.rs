//! Which files belong to packages: of each path a number, for there are many.

use std::hash::{DefaultHasher, Hasher as _};

/// Paths of one package or database.
const MOST: usize = 2_000_000;

/// A set of paths, of which only whether one is in it can be told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Owned(Vec<u64>);

impl Owned {
    /// Whether there is room for more.
    pub(super) fn add(&mut self, path: &str) -> bool {
        let path = path.trim_start_matches(['.', '/']);
        if !path.is_empty() {
            self.0.push(number(path));
        }
        self.0.len() < MOST
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Bytes that it takes.
    pub(super) fn weight(&self) -> u64 {
        8 * self.0.len() as u64
    }

    pub(super) fn sort(&mut self) {
        self.0.sort_unstable();
        self.0.dedup();
    }

    /// Of one that is not [sorted](Self::sort).
    #[cfg(test)]
    pub(super) fn has(&self, path: &str) -> bool {
        self.0.contains(&number(path))
    }

    /// Of one that is [sorted](Self::sort). Packages may call by its old name what lies below `usr`.
    pub(super) fn holds(&self, path: &str) -> bool {
        let has = |it: &str| self.0.binary_search(&number(it)).is_ok();
        has(path) || path.strip_prefix("usr/").is_some_and(has)
    }
}

/// The same on each machine, and hard enough to hit by chance.
fn number(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(path.as_bytes());
    hasher.finish()
}
