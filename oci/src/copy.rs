use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{self, StreamExt as _};

use self::tree::Tree;
use crate::{Descriptor, Digest, Limits, Manifest, Platform, Selector, Store, StoreError, Tag};

mod blob;
mod tree;

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
    /// not asked for. What is attached to those is not counted.
    pub left_behind: usize,
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

/// A referrer that was not copied.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Dropped {
    /// Which, as the source lists it.
    pub descriptor: Descriptor,
    /// Why, in one sentence.
    pub problem: String,
}

/// Is told how a copy goes on. Called from the task that copies, so it must be quick. `()` listens
/// to nothing.
pub trait Progress: Send + Sync {
    /// A blob comes next.
    fn begin(&self, target: &Descriptor) {
        let _ = target;
    }
    /// So many more bytes of it were moved.
    fn advance(&self, target: &Descriptor, bytes: u64) {
        let (_, _) = (target, bytes);
    }
    /// It is there.
    fn end(&self, target: &Descriptor, outcome: Outcome) {
        let (_, _) = (target, outcome);
    }
}

impl Progress for () {}

/// How a blob came to be in the destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// Its bytes were moved.
    Copied,
    /// The registry took it over from another repository.
    Mounted,
    /// It was there.
    Skipped,
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
        copied: Copied {
            root: root.bare(),
            new: Tally::default(),
            skipped: Tally::default(),
            referrers: 0,
            left_behind: 0,
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
    copied: Copied,
}

impl Copying<'_> {
    async fn run(&mut self, root: &Descriptor) -> Result<(), CopyError> {
        let root = match &self.options.platforms {
            Platforms::All => root.bare(),
            Platforms::One(platform) => tree::select(self, root, platform).await?,
        };
        self.copied.root = root.clone();
        let tree = Tree::gather(self, &root).await?;
        let subjects: Vec<Digest> = tree.manifests().map(|it| it.digest.clone()).collect();
        self.move_trees(vec![tree], Broken::Fails).await?;
        if self.options.referrers {
            self.move_referrers(subjects).await?;
        } else {
            let listings = subjects.iter().map(|it| self.src.referrers(it));
            for (listed, subject) in self.all(listings).await.into_iter().zip(&subjects) {
                let listed = listed.map_err(|error| CopyError::source(subject, error))?;
                self.copied.left_behind += listed.len();
            }
        }
        if self.options.digest_tags {
            self.move_digest_tags().await?;
        }
        Ok(())
    }

    /// Copies what is attached to `subjects`, level by level.
    async fn move_referrers(&mut self, mut subjects: Vec<Digest>) -> Result<(), CopyError> {
        for depth in 0.. {
            if subjects.is_empty() {
                break;
            }
            if depth > self.options.limits.depth {
                return Err(CopyError::TooDeep {
                    limit: self.options.limits.depth,
                });
            }
            let mut next = Vec::new();
            for some in subjects.chunks(BATCH) {
                let listings = some.iter().map(|it| self.listings(it));
                for (subject, listed) in some.iter().zip(self.all(listings).await) {
                    let (listed, there) = listed?;
                    next.extend(self.move_referrers_of(subject, listed, &there).await?);
                }
            }
            subjects = next;
        }
        Ok(())
    }

    /// What the source and the destination list as attached to `subject`.
    async fn listings(
        &self,
        subject: &Digest,
    ) -> Result<(Vec<Descriptor>, BTreeSet<Digest>), CopyError> {
        let listed = self.src.referrers(subject).await;
        let listed = listed.map_err(|error| CopyError::source(subject, error))?;
        let limit = self.options.limits.referrers;
        if listed.len() > limit {
            return Err(CopyError::TooManyReferrers {
                subject: subject.clone(),
                limit,
            });
        }
        if listed.is_empty() {
            return Ok((listed, BTreeSet::new()));
        }
        let there = self.dst.referrers(subject).await;
        let there = there.map_err(|error| CopyError::destination(subject, error))?;
        Ok((listed, there.into_iter().map(|it| it.digest).collect()))
    }

    /// Copies the manifests `listed` that refer to `subject` by their own word. Returns those that
    /// are in the destination now and were not met before.
    async fn move_referrers_of(
        &mut self,
        subject: &Digest,
        listed: Vec<Descriptor>,
        there: &BTreeSet<Digest>,
    ) -> Result<Vec<Digest>, CopyError> {
        let mut found = Vec::new();
        let mut missing = Vec::new();
        for referrer in listed {
            if self.manifests.contains(&referrer.digest) {
                continue;
            }
            if there.contains(&referrer.digest) {
                // A manifest is listed only after all that it refers to was pushed.
                self.manifests.insert(referrer.digest.clone());
                self.count_manifest(&referrer, false)?;
                found.push(referrer.digest);
            } else {
                missing.push(referrer);
            }
        }
        for some in missing.chunks(BATCH) {
            let gathered = some.iter().map(|it| Tree::gather(self, it));
            let mut trees = Vec::new();
            for (referrer, tree) in some.iter().zip(self.all(gathered).await) {
                match tree {
                    Ok(tree) if tree.subject() == Some(subject) => trees.push(tree),
                    Ok(_) => self.drop_referrer(referrer, "it is not attached to that subject"),
                    Err(error) if error.is_about_content() => {
                        self.drop_referrer(referrer, &chain(&error));
                    }
                    Err(error) => return Err(error),
                }
            }
            found.extend(self.move_trees(trees, Broken::IsDropped).await?);
        }
        self.copied.referrers += found.len();
        Ok(found)
    }

    fn drop_referrer(&mut self, descriptor: &Descriptor, problem: &str) {
        self.copied.dropped.push(Dropped {
            descriptor: descriptor.clone(),
            problem: problem.to_owned(),
        });
    }

    /// Copies `trees`: all blobs, then all manifests, lowest first. Returns the roots that are in
    /// the destination now.
    async fn move_trees(
        &mut self,
        mut trees: Vec<Tree>,
        broken: Broken,
    ) -> Result<Vec<Digest>, CopyError> {
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
                        },
                    ));
                }
                Some(_) => {}
            }
        }
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
                    lost.insert(blob.digest.clone(), chain(&error));
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
        self.push_manifests(&trees).await?;
        Ok(trees.into_iter().map(|it| it.root.digest).collect())
    }

    /// Pushes the manifests of `trees`, those at the same height together.
    async fn push_manifests(&mut self, trees: &[Tree]) -> Result<(), CopyError> {
        let mut heights: BTreeMap<usize, Vec<(Descriptor, Bytes)>> = BTreeMap::new();
        for node in trees.iter().flat_map(Tree::nodes) {
            if !self.manifests.insert(node.target.digest.clone()) {
                continue;
            }
            // One that has a subject may be there and yet not be listed.
            let is_new = node.manifest.subject().is_some()
                || !self
                    .dst
                    .contains(&node.target)
                    .await
                    .map_err(|error| CopyError::destination(&node.target.digest, error))?;
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
        Ok(())
    }

    fn count_manifest(&mut self, target: &Descriptor, is_new: bool) -> Result<(), CopyError> {
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

    async fn move_digest_tags(&mut self) -> Result<(), CopyError> {
        let root = self.copied.root.digest.clone();
        let tags = self.src.tags().await;
        let tags = tags.map_err(|error| CopyError::source(&root, error))?;
        let copied = std::mem::take(&mut self.manifests);
        let hexes: BTreeSet<&str> = copied.iter().map(Digest::hex).collect();
        let wanted: Vec<(Tag, bool)> = tags
            .into_iter()
            .filter_map(|tag| {
                let (hex, is_list) = split_digest_tag(tag.as_str())?;
                hexes.contains(hex).then(|| (tag.clone(), is_list))
            })
            .collect();
        self.manifests.clone_from(&copied);
        for (tag, is_list) in wanted {
            let selector = Selector::Tag(tag.clone());
            if is_list && self.has_tag(&root, &selector).await? {
                continue;
            }
            let target = self.src.resolve(&selector).await;
            let target = target.map_err(|error| CopyError::source(&root, error))?;
            let tree = Tree::gather(self, &target).await?;
            self.move_trees(vec![tree], Broken::Fails).await?;
            let tagged = self.dst.tag(&target, &tag).await;
            tagged.map_err(|error| CopyError::destination(&target.digest, error))?;
        }
        Ok(())
    }

    async fn has_tag(&self, root: &Digest, selector: &Selector) -> Result<bool, CopyError> {
        match self.dst.resolve(selector).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(CopyError::destination(root, error)),
        }
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

/// What to do about content that cannot be had.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Broken {
    Fails,
    IsDropped,
}

/// The digest in a tag that is made of one, and whether it is that of a list of referrers.
fn split_digest_tag(tag: &str) -> Option<(&str, bool)> {
    let rest = tag.strip_prefix("sha256-")?;
    let (hex, suffix) = rest.split_at_checked(64)?;
    match suffix {
        "" => Some((hex, true)),
        ".sig" | ".att" | ".sbom" => Some((hex, false)),
        _ => None,
    }
}

/// `error` and its causes, in one sentence.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Why a graph could not be copied. What was copied by then stays, without a tag.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source failed, or what it has is not what it should be.
    #[error("failed to copy {digest} from its source")]
    Source {
        /// What was asked for: content, or the subject of a listing.
        digest: Digest,
        /// Why.
        source: StoreError,
    },
    /// The destination failed.
    #[error("failed to copy {digest} to its destination")]
    Destination {
        /// What was to be added, or the subject of a listing.
        digest: Digest,
        /// Why.
        source: StoreError,
    },
    /// The index has no image for the platform.
    #[error("{digest} has no image for {os}/{architecture}", os = platform.os, architecture = platform.architecture)]
    NoPlatform {
        /// The index.
        digest: Digest,
        /// What was asked for.
        platform: Box<Platform>,
    },
    /// A manifest refers to itself.
    #[error("{digest} refers to itself, directly or not")]
    Cycle {
        /// Which.
        digest: Digest,
    },
    /// Indexes or referrers are nested deeper than we follow.
    #[error("manifests are nested more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More manifests than we copy.
    #[error("there are more than {limit} manifests")]
    TooManyManifests {
        /// The limit.
        limit: usize,
    },
    /// The manifests of one image or artifact are larger than we hold.
    #[error("the manifests of {digest} are larger than {limit} bytes")]
    TooLarge {
        /// The root of them.
        digest: Digest,
        /// The limit.
        limit: u64,
    },
    /// More is attached to one manifest than we copy.
    #[error("{subject} has more than {limit} referrers")]
    TooManyReferrers {
        /// To which.
        subject: Digest,
        /// The limit.
        limit: usize,
    },
}

impl CopyError {
    fn source(digest: &Digest, source: StoreError) -> Self {
        Self::Source {
            digest: digest.clone(),
            source,
        }
    }

    fn destination(digest: &Digest, source: StoreError) -> Self {
        Self::Destination {
            digest: digest.clone(),
            source,
        }
    }

    /// Whether the source has bad content, as against a store that could not be asked.
    fn is_about_content(&self) -> bool {
        match self {
            Self::Source { source, .. } => matches!(
                source,
                StoreError::DigestMismatch { .. }
                    | StoreError::SizeMismatch { .. }
                    | StoreError::NotFound { .. }
                    | StoreError::TooLarge { .. }
                    | StoreError::Manifest { .. }
            ),
            Self::Destination { .. } | Self::NoPlatform { .. } => false,
            Self::Cycle { .. }
            | Self::TooDeep { .. }
            | Self::TooManyManifests { .. }
            | Self::TooLarge { .. }
            | Self::TooManyReferrers { .. } => true,
        }
    }
}
