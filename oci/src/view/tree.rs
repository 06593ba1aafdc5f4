//! What is kept of a file system: files that were picked, and all symbolic links.
//!
//! Folders are not kept: that one is there shows in what is below it. So what stands here is small,
//! however many files there are.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::{Past, ViewError, ViewLimits};

/// Symbolic links that are followed on the way to one file, as the kernel has it.
const LINKS: usize = 40;

/// Why a path leads nowhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Astray;

#[derive(Debug)]
pub(super) struct Node<K> {
    pub(super) layer: usize,
    pub(super) what: What<K>,
}

#[derive(Debug)]
pub(super) enum What<K> {
    File(Arc<K>),
    Symlink(Box<str>),
}

/// By path, without a leading slash.
#[derive(Debug)]
pub(super) struct Tree<K> {
    nodes: BTreeMap<Box<str>, Node<K>>,
    /// The bytes of all names and targets in it.
    names: usize,
    past: Vec<Past<K>>,
    limits: ViewLimits,
}

impl<K> Tree<K> {
    pub(super) fn new(limits: ViewLimits) -> Self {
        Self {
            nodes: BTreeMap::new(),
            names: 0,
            past: Vec::new(),
            limits,
        }
    }

    pub(super) fn nodes(&self) -> &BTreeMap<Box<str>, Node<K>> {
        &self.nodes
    }

    pub(super) fn past(&self) -> &[Past<K>] {
        &self.past
    }

    /// Puts `what` where nothing is.
    pub(super) fn insert(
        &mut self,
        path: &str,
        layer: usize,
        what: What<K>,
    ) -> Result<(), ViewError> {
        let target = match &what {
            What::File(_) => 0,
            What::Symlink(target) => target.len(),
        };
        self.names += path.len() + target;
        if self.nodes.len() >= self.limits.kept || self.names > self.limits.names {
            return Err(ViewError::TooManyKept {
                limit: self.limits.kept,
            });
        }
        self.nodes.insert(path.into(), Node { layer, what });
        Ok(())
    }

    /// Removes what is at `path` and below it, if a layer below `layer` brought it.
    pub(super) fn remove(
        &mut self,
        path: &str,
        by: usize,
        below: usize,
    ) -> Result<bool, ViewError> {
        let one = self.nodes.get(path).is_some_and(|it| it.layer < below);
        let mut changed = false;
        if one {
            changed |= self.take(path, by)?;
        }
        Ok(self.remove_in(path, by, below)? || changed)
    }

    /// Removes what is below `path`, if a layer below `below` brought it.
    pub(super) fn remove_in(
        &mut self,
        path: &str,
        by: usize,
        below: usize,
    ) -> Result<bool, ViewError> {
        let start = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let range = (Bound::Included(start.as_str()), Bound::Unbounded);
        let gone: Vec<Box<str>> = self
            .nodes
            .range::<str, _>(range)
            .take_while(|(at, _)| at.starts_with(&start))
            .filter(|(_, node)| node.layer < below)
            .map(|(at, _)| at.clone())
            .collect();
        let mut changed = false;
        for path in gone {
            changed |= self.take(&path, by)?;
        }
        Ok(changed)
    }

    /// Whether what is gone was a symbolic link: paths may lead elsewhere from then on.
    fn take(&mut self, path: &str, by: usize) -> Result<bool, ViewError> {
        let Some((path, node)) = self.nodes.remove_entry(path) else {
            return Ok(false);
        };
        match node.what {
            What::Symlink(target) => {
                self.names = self.names.saturating_sub(path.len() + target.len());
                Ok(true)
            }
            What::File(kept) => {
                // In one layer only the last one counts, and nobody ever saw the others.
                if node.layer == by {
                    self.names = self.names.saturating_sub(path.len());
                    return Ok(false);
                }
                if self.past.len() >= self.limits.kept {
                    return Err(ViewError::TooManyKept {
                        limit: self.limits.kept,
                    });
                }
                self.past.push(Past {
                    path: path.into(),
                    layer: node.layer,
                    until: by,
                    kept,
                });
                Ok(false)
            }
        }
    }

    /// Where the folder `path` really is: symbolic links are followed, as if this were the root of
    /// all.
    pub(super) fn folder(&self, path: &str) -> Result<String, Astray> {
        let mut real = String::new();
        let mut names: Vec<String> = Vec::new();
        push(&mut names, path);
        let mut links = 0;
        while let Some(name) = names.pop() {
            if name == ".." {
                let parent = real.rfind('/').unwrap_or(0);
                real.truncate(parent);
                continue;
            }
            let before = real.len();
            if before > 0 {
                real.push('/');
            }
            real.push_str(&name);
            if let Some(What::Symlink(target)) = self.nodes.get(real.as_str()).map(|it| &it.what) {
                links += 1;
                if links > LINKS || names.len() > self.limits.path {
                    return Err(Astray);
                }
                real.truncate(if target.starts_with('/') { 0 } else { before });
                push(&mut names, target);
            }
            if real.len() > self.limits.path {
                return Err(Astray);
            }
        }
        Ok(real)
    }

    /// Where `path` really is, but for its last name.
    pub(super) fn place(&self, path: &str) -> Result<String, Astray> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut place = self.folder(parent)?;
        if !place.is_empty() {
            place.push('/');
        }
        place.push_str(name);
        Ok(place)
    }

    /// The file that `path` leads to, and where that really is.
    pub(super) fn find(&self, path: &str) -> Option<(&str, &Node<K>, &Arc<K>)> {
        let real = self.folder(path).ok()?;
        let (real, node) = self.nodes.get_key_value(real.as_str())?;
        match &node.what {
            What::File(kept) => Some((real, node, kept)),
            What::Symlink(_) => None,
        }
    }
}

/// Puts the names of `path` on top of `names`, the first one last.
fn push(names: &mut Vec<String>, path: &str) {
    let parts = path.split('/').rev();
    names.extend(
        parts
            .filter(|it| !matches!(*it, "" | "."))
            .map(str::to_owned),
    );
}
