//! Takes away what nothing refers to.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use super::Layout;
use super::blobs::{ALGORITHMS, TEMPORARY};
use super::index::Entry;
use super::source::{Source as _, media_type_of};
use crate::{Algorithm, Descriptor, Digest, StoreError};

/// What is kept, with all that it refers to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum GcRoots {
    /// All that `index.json` lists.
    Listed,
    /// What has a tag, or is so new that it may get one yet, and what is attached to that, directly or
    /// not. All else is no longer listed.
    Tagged,
}

pub(super) fn collect(
    layout: &Layout,
    roots: GcRoots,
    before: SystemTime,
) -> Result<u64, StoreError> {
    for algorithm in ALGORITHMS {
        layout.blobs.own_folder(algorithm)?;
    }
    let _lock = layout.snapshots.lock()?;
    let snapshot = layout.snapshots.current()?;
    if !snapshot.index.odd.is_empty() {
        return Err(StoreError::Malformed {
            place: layout.place(),
            problem: "`index.json` has an entry that cannot be read, so what it needs is not known"
                .to_owned(),
        });
    }
    let entries = &snapshot.index.manifests;
    let mut live = Live::new(layout);
    for entry in entries {
        let is_root = roots == GcRoots::Listed
            || entry.ref_name().is_some()
            || !layout.blobs.is_older(&entry.digest, before)?;
        if is_root {
            live.add(&entry.descriptor(), 0)?;
        }
    }
    if roots == GcRoots::Tagged {
        let subjects = layout.graph.subjects(layout, &snapshot)?;
        let mut waiting: Vec<Digest> = live.manifests.iter().cloned().collect();
        while let Some(subject) = waiting.pop() {
            for referrer in subjects
                .get(&subject)
                .into_iter()
                .flat_map(|it| it.values())
            {
                waiting.extend(live.add(&referrer.descriptor(layout)?, 0)?);
            }
        }
        let mut index = snapshot.index.clone();
        let is_live = |it: &Entry| live.manifests.contains(&it.digest);
        index.manifests.retain(is_live);
        if index.manifests.len() < entries.len() {
            layout.snapshots.write(index)?;
        }
    }
    let mut freed = sweep(&layout.path, before, |name| name.starts_with(TEMPORARY))
        .map_err(|error| StoreError::io(layout.place(), "collect garbage", error))?;
    for algorithm in ALGORITHMS {
        let is_dead = |name: &str| match digest(algorithm, name) {
            Some(digest) => !live.contains(&digest),
            None => name.starts_with(TEMPORARY),
        };
        freed += sweep(&layout.blobs.own_folder(algorithm)?, before, is_dead)
            .map_err(|error| StoreError::io(layout.place(), "collect garbage", error))?;
    }
    Ok(freed)
}

/// What can be reached.
struct Live<'a> {
    layout: &'a Layout,
    manifests: BTreeSet<Digest>,
    blobs: BTreeSet<Digest>,
}

impl<'a> Live<'a> {
    fn new(layout: &'a Layout) -> Self {
        Self {
            layout,
            manifests: BTreeSet::new(),
            blobs: BTreeSet::new(),
        }
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.manifests.contains(digest) || self.blobs.contains(digest)
    }

    /// Adds `target` and what it refers to. Returns the manifests that are new.
    fn add(&mut self, target: &Descriptor, depth: usize) -> Result<Vec<Digest>, StoreError> {
        let limits = &self.layout.limits;
        if depth > limits.depth || self.manifests.len() >= limits.manifests {
            return Err(StoreError::TooMany {
                place: self.layout.place(),
                what: "manifests",
                limit: limits.manifests,
            });
        }
        if !self.manifests.insert(target.digest.clone()) {
            return Ok(Vec::new());
        }
        let Some(content) = self
            .layout
            .blobs
            .read(&target.digest, limits.manifest_bytes)?
        else {
            return Ok(Vec::new());
        };
        let mut new = vec![target.digest.clone()];
        let media_type = media_type_of(&content);
        let target = Descriptor::new(
            media_type.unwrap_or_else(|| target.media_type.clone()),
            target.digest.clone(),
            content.len() as u64,
        );
        for successor in self.layout.parse(&target, &content)?.successors() {
            if successor.media_type.is_manifest() {
                new.extend(self.add(successor, depth + 1)?);
            } else {
                self.blobs.insert(successor.digest.clone());
            }
        }
        Ok(new)
    }
}

fn digest(algorithm: Algorithm, hex: &str) -> Option<Digest> {
    format!("{}:{hex}", algorithm.name()).parse().ok()
}

/// Removes the files of `folder` that are old and dead.
fn sweep(folder: &Path, before: SystemTime, is_dead: impl Fn(&str) -> bool) -> io::Result<u64> {
    let mut freed = 0;
    let entries = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_file()
            && metadata.modified()? < before
            && entry.file_name().to_str().is_some_and(&is_dead)
        {
            fs_err::remove_file(entry.path())?;
            freed += metadata.len();
        }
    }
    Ok(freed)
}
