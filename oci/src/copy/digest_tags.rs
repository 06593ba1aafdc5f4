//! The tags by which things are attached where there are no referrers: cosign's, and the fallback
//! tag of the distribution specification.

use std::collections::BTreeSet;

use super::transfer::Broken;
use super::tree::Tree;
use super::{CopyError, Copying};
use crate::{Digest, Selector, StoreError, Tag};

/// What stands behind the digest in cosign's tags.
const SUFFIXES: [&str; 3] = [".att", ".sbom", ".sig"];

impl Copying<'_> {
    pub(super) async fn move_digest_tags(&mut self) -> Result<(), CopyError> {
        let root = self.copied.root.digest.clone();
        let tags = self.src.tags().await;
        let tags = tags.map_err(|error| CopyError::source(&root, error))?;
        let hexes: BTreeSet<&str> = self.manifests.iter().map(Digest::hex).collect();
        let wanted: Vec<(Tag, bool)> = tags
            .into_iter()
            .filter_map(|tag| {
                let (hex, is_list) = split(tag.as_str())?;
                hexes.contains(hex).then(|| (tag.clone(), is_list))
            })
            .collect();
        for (tag, is_list) in wanted {
            if is_list {
                let there = self.dst.resolve(&Selector::Tag(tag.clone())).await;
                if is_there(there, |it| CopyError::destination(&root, it))? {
                    continue;
                }
            }
            self.move_digest_tag(&root, &tag).await?;
        }
        Ok(())
    }

    /// Copies what `tag` names, and the tag; what is broken is dropped.
    async fn move_digest_tag(&mut self, root: &Digest, tag: &Tag) -> Result<(), CopyError> {
        let target = match self.src.resolve(&Selector::Tag(tag.clone())).await {
            Ok(target) => target,
            // It was removed since the tags were listed.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(CopyError::source(root, error)),
        };
        let tree = match Tree::gather(self, &target).await {
            Ok(tree) => tree,
            Err(error) if error.is_about_content() => {
                self.drop_referrer(&target, &format!("`{tag}`: {}", go::words::chain(&error)));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let moved = self.move_trees(vec![tree], Broken::IsDropped).await?;
        if moved.trees == 0 {
            return Ok(());
        }
        let tagged = self.dst.tag(&target, tag).await;
        tagged.map_err(|error| CopyError::destination(&target.digest, error))
    }

    /// Finds out which of cosign's tags the root has; they were not asked for.
    pub(super) async fn find_digest_tags(&mut self) -> Result<(), CopyError> {
        let root = self.copied.root.digest.clone();
        let tag = |suffix| format!("sha256-{}{suffix}", root.hex()).parse::<Tag>().ok();
        // None for a digest that is too long for a tag; cosign writes none then.
        let tags: Vec<Tag> = SUFFIXES.into_iter().filter_map(tag).collect();
        let selectors: Vec<Selector> = tags.iter().cloned().map(Selector::Tag).collect();
        let found = selectors.iter().map(|it| self.src.resolve(it));
        for (tag, found) in tags.into_iter().zip(self.all(found).await) {
            if is_there(found, |it| CopyError::source(&root, it))? {
                self.copied.digest_tags_left_behind.push(tag);
            }
        }
        Ok(())
    }
}

fn is_there<T>(
    resolved: Result<T, StoreError>,
    failed: impl FnOnce(StoreError) -> CopyError,
) -> Result<bool, CopyError> {
    match resolved {
        // It names something, whatever that is.
        Ok(_) | Err(StoreError::Malformed { .. } | StoreError::NoRegistry { .. }) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// The digest in a tag that is made of one, and whether it is that of a list of referrers.
fn split(tag: &str) -> Option<(&str, bool)> {
    let rest = tag.strip_prefix("sha256-")?;
    let (hex, suffix) = rest.split_at_checked(64)?;
    (suffix.is_empty() || SUFFIXES.contains(&suffix)).then_some((hex, suffix.is_empty()))
}
