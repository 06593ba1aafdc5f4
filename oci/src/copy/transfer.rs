//! From the source to the destination: blobs first, manifests after.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::tree::Tree;
use super::{CopyError, Copying, Outcome, blob};
use crate::{Descriptor, Digest, StoreError};

/// What to do about content that cannot be had.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Broken {
    Fails,
    IsDropped,
}

/// What became of trees.
pub(super) struct Moved {
    /// How many are in the destination now.
    pub(super) trees: usize,
    /// Their manifests that were not met before.
    pub(super) met: Vec<Digest>,
}

impl Copying<'_> {
    /// Copies `trees`: all blobs, then all manifests, lowest first.
    pub(super) async fn move_trees(
        &mut self,
        mut trees: Vec<Tree>,
        broken: Broken,
    ) -> Result<Moved, CopyError> {
        let mut wanted: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        for blob in trees.iter().flat_map(Tree::blobs) {
            let size = self.blobs.get(&blob.digest).copied();
            let size = size.or_else(|| wanted.get(&blob.digest).map(|it| it.size));
            match size {
                None => {
                    wanted.insert(blob.digest.clone(), blob.bare());
                }
                // The same content cannot have two sizes; the second one would never be noticed.
                Some(size) if size != blob.size && broken == Broken::Fails => {
                    return Err(CopyError::source(
                        &blob.digest,
                        StoreError::SizeMismatch {
                            digest: blob.digest.clone(),
                            expected: blob.size,
                            presented: size,
                            came: None,
                        },
                    ));
                }
                Some(_) => {}
            }
        }
        let sizes = wanted.values().map(|it| it.size);
        self.progress.expect(sizes.fold(0, u64::saturating_add));
        let mut lost: BTreeMap<Digest, String> = BTreeMap::new();
        let moves = wanted.values().map(|it| blob::copy(self, it));
        for (blob, moved) in wanted.values().zip(self.all(moves).await) {
            match moved {
                Ok(outcome) => {
                    self.blobs.insert(blob.digest.clone(), blob.size);
                    let tally = match outcome {
                        Outcome::Skipped => &mut self.copied.skipped,
                        _ => &mut self.copied.new,
                    };
                    tally.blobs += 1;
                    tally.bytes += blob.size;
                }
                Err(error) if broken == Broken::IsDropped && error.is_about_content() => {
                    lost.insert(blob.digest.clone(), go::words::chain(&error));
                }
                Err(error) => return Err(error),
            }
        }
        trees.retain(|tree| {
            let problem = tree.blobs().find_map(|blob| match lost.get(&blob.digest) {
                Some(problem) => Some(problem.clone()),
                None => self.blobs.get(&blob.digest).and_then(|size| {
                    (*size != blob.size).then(|| format!("it gives {} a wrong size", blob.digest))
                }),
            });
            if let Some(problem) = &problem {
                self.drop_referrer(&tree.root, problem);
            }
            problem.is_none()
        });
        Ok(Moved {
            trees: trees.len(),
            met: self.push_manifests(&trees).await?,
        })
    }

    /// Pushes the manifests of `trees`, those at the same height together. Returns those that were
    /// not met before.
    async fn push_manifests(&mut self, trees: &[Tree]) -> Result<Vec<Digest>, CopyError> {
        let mut met = Vec::new();
        let mut heights: BTreeMap<usize, Vec<(Descriptor, Bytes)>> = BTreeMap::new();
        for node in trees.iter().flat_map(Tree::nodes) {
            if !self.manifests.insert(node.target.digest.clone()) {
                continue;
            }
            met.push(node.target.digest.clone());
            // One that has a subject may be there and yet not be listed.
            let is_new = node.manifest.subject().is_some()
                || match self.dst.contains(&node.target).await {
                    Ok(is_there) => !is_there,
                    // Who may write may not always look; whether they may, is said when they do.
                    Err(StoreError::Refused { .. }) => true,
                    Err(error) => return Err(CopyError::destination(&node.target.digest, error)),
                };
            self.count_manifest(&node.target, is_new)?;
            if is_new {
                let batch = heights.entry(node.height).or_default();
                batch.push((node.target.clone(), node.content.clone()));
            }
        }
        for batch in heights.into_values() {
            let first = batch.first().map(|(target, _)| target.digest.clone());
            self.dst.push_manifests(batch).await.map_err(|error| {
                let digest = first.unwrap_or_else(|| self.copied.root.digest.clone());
                CopyError::destination(&digest, error)
            })?;
        }
        Ok(met)
    }

    pub(super) fn count_manifest(
        &mut self,
        target: &Descriptor,
        is_new: bool,
    ) -> Result<(), CopyError> {
        let tally = if is_new {
            &mut self.copied.new
        } else {
            &mut self.copied.skipped
        };
        tally.manifests += 1;
        tally.bytes += target.size;
        let limit = self.options.limits.manifests;
        if self.manifests.len() > limit {
            return Err(CopyError::TooManyManifests { limit });
        }
        Ok(())
    }
}
