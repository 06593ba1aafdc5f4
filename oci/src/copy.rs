//! Copies an image with all that belongs to it, from one store to another.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt as _};

use self::platform::Selected;
use self::transfer::Broken;
use self::tree::Tree;
use crate::{Descriptor, Digest, Limits, Manifest, Platform, Store, StoreError, Tag};

mod blob;
mod digest_tags;
mod error;
mod platform;
mod progress;
mod referrers;
mod transfer;
mod tree;

pub use error::CopyError;
pub use progress::{Outcome, Progress};

/// What to copy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CopyOptions {
    /// Also what is attached to the image, to its children, and to what is attached.
    pub referrers: bool,
    /// Of an index: which of its images.
    pub platforms: Platforms,
    /// Also what has a tag made of the digest of a copied manifest: `sha256-<hex>.sig`, `.att` and
    /// `.sbom`, which replace what the destination has by that tag; and `sha256-<hex>`, the list
    /// of referrers of registries without an API for them, which does not.
    pub digest_tags: bool,
    /// How much is read.
    pub limits: Limits,
    /// How many blobs or manifests are on their way at once.
    pub concurrency: usize,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            referrers: false,
            platforms: Platforms::All,
            digest_tags: false,
            limits: Limits::default(),
            concurrency: 4,
        }
    }
}

/// Which images of an index.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Platforms {
    /// All, and the index itself.
    All,
    /// The first one for this platform, in place of the index. A variant that is not given is any.
    One(Platform),
}

/// What a copy did.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Copied {
    /// The manifest to tag: the root that was given, or the image for the platform asked for.
    pub root: Descriptor,
    /// What was moved.
    pub new: Tally,
    /// What the destination had.
    pub skipped: Tally,
    /// How many referrers were copied, or were there already.
    pub referrers: usize,
    /// How many manifests are attached to what was copied and were left behind, because they were
    /// not asked for; of one image of an index also what is attached to the index. What is attached
    /// to those is not counted.
    pub left_behind: usize,
    /// Cosign's tags of the root that were left behind, because they were not asked for.
    pub digest_tags_left_behind: Vec<Tag>,
    /// What is said to be attached but could not be copied, because it is broken.
    pub dropped: Vec<Dropped>,
}

/// How much.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Image manifests and indexes.
    pub manifests: usize,
    /// Blobs.
    pub blobs: usize,
    /// The bytes of both.
    pub bytes: u64,
}

/// A referrer, or what has a tag made of a digest, that was not copied.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Dropped {
    /// Which, as the source lists it.
    pub descriptor: Descriptor,
    /// Why, in one sentence.
    pub problem: String,
}

/// Copies `root` and what it refers to from `src` into `dst`, byte for byte.
///
/// 1. The manifests below the root are read, checked, and held.
/// 2. The blobs that they refer to are moved, each once, as streams.
/// 3. The manifests are pushed, children before parents.
/// 4. If asked for, what is attached to any of them is moved in the same way, then what is attached
///    to that, and so on; then the tags by which cosign attached things before there were referrers.
///
/// Tagging the root is left to the caller, as the last step. So nothing in the destination ever
/// refers to what is not there, except for an image to its proof while this runs. What the
/// destination has is skipped, so a copy that was broken off is completed by doing it again.
///
/// Anyone may attach anything to an image, so a referrer that is broken, or that is none by its own
/// word, is [dropped](Copied::dropped) and named, and fails nothing. That a store cannot be asked
/// fails the copy: then it is not known what would be lost.
pub async fn copy_graph(
    src: &dyn Store,
    dst: &dyn Store,
    root: &Descriptor,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<Copied, CopyError> {
    let mut copy = Copying {
        src,
        dst,
        options,
        progress,
        blobs: BTreeMap::new(),
        manifests: BTreeSet::new(),
        subjects_below: BTreeMap::new(),
        copied: Copied {
            root: root.bare(),
            new: Tally::default(),
            skipped: Tally::default(),
            referrers: 0,
            left_behind: 0,
            digest_tags_left_behind: Vec::new(),
            dropped: Vec::new(),
        },
    };
    copy.run(root).await?;
    Ok(copy.copied)
}

/// Manifests of referrers that are held at once.
const BATCH: usize = 512;

struct Copying<'a> {
    src: &'a dyn Store,
    dst: &'a dyn Store,
    options: &'a CopyOptions,
    progress: &'a dyn Progress,
    /// What is in the destination, by its size.
    blobs: BTreeMap<Digest, u64>,
    manifests: BTreeSet<Digest>,
    /// The subject of each manifest that came below a referrer. It may be listed as a referrer
    /// later, or was before: that depends on the order, and how many there are must not.
    subjects_below: BTreeMap<Digest, Digest>,
    copied: Copied,
}

impl Copying<'_> {
    async fn run(&mut self, root: &Descriptor) -> Result<(), CopyError> {
        let Selected { image, above } = match &self.options.platforms {
            Platforms::All => Selected {
                image: root.bare(),
                above: Vec::new(),
            },
            Platforms::One(wanted) => platform::select(self, root, wanted).await?,
        };
        self.copied.root = image.clone();
        let tree = Tree::gather(self, &image).await?;
        let subjects: Vec<Digest> = tree.manifests().map(|it| it.digest.clone()).collect();
        self.move_trees(vec![tree], Broken::Fails).await?;
        if self.options.referrers {
            self.move_referrers(subjects).await?;
        } else {
            self.count_left_behind(&subjects).await?;
        }
        self.count_left_behind(&above).await?;
        if self.options.digest_tags {
            self.move_digest_tags().await?;
        } else {
            self.find_digest_tags().await?;
        }
        Ok(())
    }

    /// Runs `tasks`, several at once, and returns their results in order.
    async fn all<'t, T: Send + 't>(
        &self,
        tasks: impl Iterator<Item = impl Future<Output = T> + Send + 't>,
    ) -> Vec<T> {
        let tasks: Vec<BoxFuture<'t, T>> = tasks.map(FutureExt::boxed).collect();
        let running = stream::iter(tasks).buffered(self.options.concurrency.max(1));
        running.collect().await
    }

    /// Reads the manifest `target` from the source.
    async fn manifest(&self, target: &Descriptor) -> Result<(Bytes, Manifest), CopyError> {
        let limits = &self.options.limits;
        let content = crate::store::read(self.src, target, limits.manifest_bytes).await;
        let content = content.map_err(|error| CopyError::source(&target.digest, error))?;
        let manifest = Manifest::parse(&target.media_type, &content, limits).map_err(|source| {
            CopyError::source(
                &target.digest,
                StoreError::Manifest {
                    digest: target.digest.clone(),
                    source,
                },
            )
        })?;
        Ok((content, manifest))
    }
}
