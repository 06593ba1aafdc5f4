//! What is attached to what was copied.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::transfer::Broken;
use super::tree::Tree;
use super::{BATCH, CopyError, Copying, Dropped};
use crate::{Descriptor, Digest, Selector};

/// What a source lists as attached to one manifest, and which of that the destination lists.
struct Listed {
    referrers: Vec<Descriptor>,
    there: BTreeSet<Digest>,
}

impl Copying<'_> {
    /// Copies what is attached to `subjects`, level by level.
    pub(super) async fn move_referrers(
        &mut self,
        mut subjects: Vec<Digest>,
    ) -> Result<(), CopyError> {
        let limits = self.options.limits;
        for depth in 0.. {
            if subjects.is_empty() {
                break;
            }
            if depth > limits.depth {
                return Err(CopyError::TooDeep {
                    limit: limits.depth,
                });
            }
            let mut next = Vec::new();
            for some in subjects.chunks(BATCH) {
                // Many long lists at once would be more than one.
                let total = AtomicUsize::new(0);
                let listings = some.iter().map(|it| self.list(it, &total));
                for (subject, listed) in some.iter().zip(self.all(listings).await) {
                    next.extend(self.move_referrers_of(subject, listed?).await?);
                }
            }
            subjects = next;
        }
        Ok(())
    }

    async fn list(&self, subject: &Digest, total: &AtomicUsize) -> Result<Listed, CopyError> {
        let limits = &self.options.limits;
        let referrers = self.listed(subject).await?;
        if referrers.len() > limits.referrers {
            return Err(CopyError::TooManyReferrers {
                subject: subject.clone(),
                limit: limits.referrers,
            });
        }
        let count = referrers.len();
        if total.fetch_add(count, Ordering::Relaxed) + count > limits.manifests {
            return Err(CopyError::TooManyManifests {
                limit: limits.manifests,
            });
        }
        let mut there = BTreeSet::new();
        if count > 0 {
            let listed = self.dst.referrers(subject).await;
            let listed = listed.map_err(|error| CopyError::destination(subject, error))?;
            there.extend(listed.into_iter().map(|it| it.digest));
        }
        Ok(Listed { referrers, there })
    }

    /// What the source lists as attached to `subject`, without the hints: of thousands, they would
    /// be most of what is held.
    async fn listed(&self, subject: &Digest) -> Result<Vec<Descriptor>, CopyError> {
        let listed = self.src.referrers(subject).await;
        let listed = listed.map_err(|error| CopyError::source(subject, error))?;
        let bare = |it: Descriptor| Descriptor::new(it.media_type, it.digest, it.size);
        Ok(listed.into_iter().map(bare).collect())
    }

    /// Copies those of the manifests in `listed` that refer to `subject` by their own word. Returns
    /// what was not met before: these, and the manifests below them.
    async fn move_referrers_of(
        &mut self,
        subject: &Digest,
        listed: Listed,
    ) -> Result<Vec<Digest>, CopyError> {
        let Listed { referrers, there } = listed;
        let mut met = Vec::new();
        let (known, mut missing): (Vec<_>, Vec<_>) = referrers
            .into_iter()
            .partition(|it| self.manifests.contains(&it.digest));
        let refers = |it: &&Descriptor| self.subjects_below.get(&it.digest) == Some(subject);
        self.copied.referrers += known.iter().filter(refers).count();
        // A manifest is listed only after all that it refers to was pushed. But to what is below an
        // index more may be attached by now.
        let is_there = |it: &Descriptor| there.contains(&it.digest) && !it.media_type.is_index();
        for referrer in missing.iter().filter(|it| is_there(it)) {
            self.manifests.insert(referrer.digest.clone());
            self.count_manifest(referrer, false)?;
            self.copied.referrers += 1;
            met.push(referrer.digest.clone());
        }
        missing.retain(|it| !is_there(it));
        drop(there);
        for some in missing.chunks(BATCH) {
            let gathered = some.iter().map(|it| self.gather_listed(it));
            let mut trees = Vec::new();
            for (referrer, tree) in some.iter().zip(self.all(gathered).await) {
                match tree {
                    Ok(tree) if tree.subject() == Some(subject) => trees.push(tree),
                    Ok(_) => self.drop_referrer(referrer, "it is not attached to that subject"),
                    Err(error) if error.is_about_content() => {
                        self.drop_referrer(referrer, &go::words::chain(&error));
                    }
                    Err(error) => return Err(error),
                }
            }
            for (below, subject) in trees.iter().flat_map(Tree::subjects_below) {
                self.subjects_below.insert(below.clone(), subject.clone());
            }
            let moved = self.move_trees(trees, Broken::IsDropped).await?;
            self.copied.referrers += moved.trees;
            met.extend(moved.met);
        }
        Ok(met)
    }

    /// Reads what is listed as a referrer. All but its digest is a hint: where that is wrong, the
    /// source is asked by the digest alone.
    async fn gather_listed(&self, listed: &Descriptor) -> Result<Tree, CopyError> {
        let error = match Tree::gather(self, listed).await {
            Err(error) if error.is_about_content() => error,
            other => return other,
        };
        let selector = Selector::Digest(listed.digest.clone());
        match self.src.resolve(&selector).await {
            Ok(found) if found.bare() != listed.bare() => Tree::gather(self, &found).await,
            Ok(_) => Err(error),
            // That it cannot be asked now is not that it has nothing better.
            Err(second) => {
                let second = CopyError::source(&listed.digest, second);
                Err(if second.is_about_content() {
                    error
                } else {
                    second
                })
            }
        }
    }

    pub(super) fn drop_referrer(&mut self, descriptor: &Descriptor, problem: &str) {
        self.copied.dropped.push(Dropped {
            descriptor: descriptor.clone(),
            problem: problem.to_owned(),
        });
    }

    /// Counts what is attached to `subjects` and was not copied.
    pub(super) async fn count_left_behind(&mut self, subjects: &[Digest]) -> Result<(), CopyError> {
        for some in subjects.chunks(BATCH) {
            for listed in self.all(some.iter().map(|it| self.listed(it))).await {
                let left = listed?.into_iter();
                let left = left.filter(|it| !self.manifests.contains(&it.digest));
                self.copied.left_behind += left.count();
            }
        }
        Ok(())
    }
}
