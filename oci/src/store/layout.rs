//! An OCI image layout: a folder that holds images.
//!
//! | file | holds | written |
//! |---|---|---|
//! | `oci-layout` | the version of the form | once |
//! | `index.json` | tags, and manifests that nothing else refers to | new file, fsync, rename; under `.lock` |
//! | `blobs/sha256/…` | content by digest | `.tmp-…`, hashed as it is written, fsync, rename |
//! | `.lock` | nothing; locked while `index.json` changes | once, never removed |
//!
//! So a crash at any time leaves a good layout, and at most a `.tmp-…` file that
//! [gc](LayoutStore::gc) takes away; and two writers, in one process or in two, lose nothing.
//!
//! Tags are annotations in `index.json`, as other tools have them. A manifest with a subject is
//! listed there too, with its artifact type and annotations, so that other tools find it. What
//! `index.json` says of a manifest is never relied on here: referrers are found by the subject in
//! the manifests' own bytes, among all manifests that can be reached from `index.json` through
//! indexes (thus also through the fallback tags of registries). Each manifest is read once for
//! that, by the first question for referrers, and again never while the store is open: content
//! does not change under its digest. Listing is so linear in the number of manifests, and after
//! the first time a look at `index.json`'s time and length.
//!
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>

use std::fs::Metadata;
use std::io::{self, Write as _};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use self::blobs::{Blobs, Hashed};
use self::graph::Graph;
use self::index::IndexFile;
use self::snapshot::Snapshots;
use self::source::Source;
use super::joined;
use crate::{
    Algorithm, Content, Descriptor, Digest, Limits, Selector, Store, StoreError, Tag, Upload,
};

mod blobs;
mod gc;
pub(super) mod graph;
pub(super) mod index;
pub(super) mod snapshot;
pub(super) mod source;
mod stream;
pub(super) mod version;

pub use gc::GcRoots;

/// Small files that are written at once: a disk makes several of them lasting in the time of one.
const SYNCED_AT_ONCE: usize = 8;

/// A [`Store`] in a folder: an OCI image layout.
///
/// Layouts may be sparse: that a layer is missing shows only when it is asked for.
#[derive(Clone, Debug)]
pub struct LayoutStore {
    layout: Arc<Layout>,
}

#[derive(Debug)]
struct Layout {
    path: PathBuf,
    blobs: Blobs,
    snapshots: Snapshots,
    graph: Graph,
    limits: Limits,
}

impl LayoutStore {
    /// Opens the layout at `path`. A folder that is none, or only half of one, is
    /// [malformed](StoreError::Malformed), and nothing is written.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let layout = Layout::found(path.into())?;
        if !layout.has_version()? {
            return Err(layout.malformed("it has no `oci-layout` file"));
        }
        Self::of(layout)
    }

    /// The same, whatever its `oci-layout` file says, and if there is none: some tools write none, and
    /// go-containerregistry does not look.
    pub fn open_unversioned(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::of(Layout::found(path.into())?)
    }

    /// Whether `text` is an `oci-layout` file that we know.
    pub fn is_version(text: &[u8]) -> bool {
        version::check(text).is_ok()
    }

    fn of(layout: Layout) -> Result<Self, StoreError> {
        layout.blobs.check_folders()?;
        layout.snapshots.current()?;
        Ok(Self {
            layout: Arc::new(layout),
        })
    }

    /// Opens the layout at `path`, or makes it, with the folders above it. Also mends one whose
    /// making was broken off; a folder with anything else in it is left alone.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let layout = Layout::at(path.into());
        let failed = |source| StoreError::io(layout.place(), "make a layout", source);
        fs_err::create_dir_all(&layout.path).map_err(failed)?;
        if !layout.has_version()? {
            layout.refuse_other_content()?;
            let _lock = layout.snapshots.lock()?;
            layout.blobs.create_folders()?;
            if kind_of(&layout.path, &layout.path.join("index.json"))?.is_none() {
                layout.snapshots.write(IndexFile::default())?;
            }
            snapshot::replace(&layout.path, "oci-layout", |file| {
                file.write_all(version::TEXT.as_bytes())
            })
            .map_err(failed)?;
        }
        Self::open(layout.path)
    }

    /// Fails where [`create`](Self::create) would refuse what is at `path`; changes nothing.
    pub fn refuse_other(path: impl Into<PathBuf>) -> Result<(), StoreError> {
        let layout = Layout::at(path.into());
        if layout.path.is_dir() && !layout.has_version()? {
            layout.refuse_other_content()?;
        }
        Ok(())
    }

    /// Fails where the folder of blobs is a link, through which nothing is written; changes nothing.
    pub fn refuse_linked(path: impl Into<PathBuf>) -> Result<(), StoreError> {
        let layout = Layout::at(path.into());
        if layout.path.is_dir() {
            layout.blobs.own_folder(Algorithm::Sha256)?;
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.layout.path
    }

    /// Lists `target`, a manifest that the layout holds, in `index.json` without a tag, for tools
    /// that look there and for [gc](Self::gc), which would otherwise take it away.
    pub async fn list(&self, target: &Descriptor) -> Result<(), StoreError> {
        let target = target.bare();
        self.blocking(move |layout| {
            layout.manifest(&target)?;
            layout.snapshots.update(|index| Ok(index.list(&target)))
        })
        .await
    }

    /// Takes away content that cannot be reached from `roots`, and what broken writes left, as far
    /// as it was last written or pushed before `before`: choose that so far back that no writer is
    /// still at it. Returns how many bytes were freed.
    ///
    /// If a manifest cannot be read, nothing is taken away.
    pub async fn gc(&self, roots: GcRoots, before: SystemTime) -> Result<u64, StoreError> {
        self.blocking(move |layout| gc::collect(layout, roots, before))
            .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Layout) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let layout = Arc::clone(&self.layout);
        let place = layout.place();
        joined(&place, tokio::task::spawn_blocking(move || work(&layout))).await?
    }
}

#[async_trait]
impl Store for LayoutStore {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        let selector = selector.clone();
        self.blocking(move |layout| match selector {
            Selector::Tag(tag) => {
                let snapshot = layout.snapshots.current()?;
                layout.resolve_tag(&snapshot.index, tag.as_str(), |it| layout.blobs.has(it))
            }
            Selector::Digest(digest) => {
                layout.resolve_listed(&layout.snapshots.current()?.index, &digest)
            }
        })
        .await
    }

    async fn only(&self) -> Result<Descriptor, StoreError> {
        self.blocking(|layout| layout.only_listed(&layout.snapshots.current()?.index))
            .await
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        let target = target.bare();
        self.blocking(move |layout| layout.blobs.freshen(&target))
            .await
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        let target = target.bare();
        let opened = target.clone();
        let first = self
            .blocking(move |layout| layout.blobs.open(&opened)?.step())
            .await?;
        Ok(stream::content(&target, first, self.layout.place()))
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        if self.contains(target).await? {
            return Ok(());
        }
        let target = target.bare();
        match upload {
            Upload::Bytes(bytes) => {
                self.blocking(move |layout| layout.blobs.write(&target, &bytes))
                    .await
            }
            Upload::Layer(layer) if layer.is(&target) => self.push_layer(target, layer.file).await,
            Upload::Layer(layer) => self.push_file(target, layer.file, Hashed::Never).await,
            Upload::File(path) => self.push_file(target, path, Hashed::Never).await,
            Upload::Stream(content) => self.push_stream(target, content).await,
        }
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.push_manifests(vec![(target.clone(), content)]).await
    }

    async fn push_manifests(&self, manifests: Vec<(Descriptor, Bytes)>) -> Result<(), StoreError> {
        self.blocking(move |layout| layout.push_manifests(&manifests))
            .await
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        let (target, tag) = (target.bare(), tag.clone());
        self.blocking(move |layout| {
            layout.manifest(&target)?;
            layout.snapshots.update(|index| {
                index.tag(&target, tag.as_str());
                Ok(true)
            })
        })
        .await
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.blocking(|layout| Ok(layout.snapshots.current()?.index.tags()))
            .await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        let subject = subject.clone();
        self.blocking(move |layout| {
            let snapshot = layout.snapshots.current()?;
            layout.graph.referrers(layout, &snapshot, &subject)
        })
        .await
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        let target = target.bare();
        self.blocking(move |layout| {
            if !target.media_type.is_manifest() {
                return Err(StoreError::Unsupported {
                    place: layout.place(),
                    action: "delete a single blob",
                    answer: None,
                });
            }
            layout.blobs.own_folder(target.digest.algorithm())?;
            layout
                .snapshots
                .update(|index| Ok(index.remove(&target.digest)))?;
            layout.graph.forget(&target.digest);
            layout.blobs.remove(&target.digest)
        })
        .await
    }
}

impl LayoutStore {
    /// Pushes a file that was hashed when it was written.
    async fn push_layer(&self, target: Descriptor, path: PathBuf) -> Result<(), StoreError> {
        let (adopted, file) = (target.clone(), path.clone());
        let is_done = self
            .blocking(move |layout| layout.blobs.adopt(&file, &adopted))
            .await?;
        if is_done {
            return Ok(());
        }
        self.push_file(target, path, Hashed::Before).await
    }

    async fn push_file(
        &self,
        target: Descriptor,
        path: PathBuf,
        hashed: Hashed,
    ) -> Result<(), StoreError> {
        let opened = target.clone();
        let first = self
            .blocking(move |layout| layout.blobs.open_other(&path, &opened, hashed)?.step())
            .await?;
        let content = stream::content(&target, first, self.layout.place());
        self.push_stream(target, content).await
    }

    async fn push_stream(&self, target: Descriptor, content: Content) -> Result<(), StoreError> {
        let writer = self
            .blocking(move |layout| layout.blobs.writer(&target))
            .await?;
        stream::write(writer, content, &self.layout.place()).await
    }
}

impl Layout {
    fn at(path: PathBuf) -> Self {
        Self {
            blobs: Blobs::new(&path),
            snapshots: Snapshots::new(&path),
            graph: Graph::default(),
            limits: Limits::default(),
            path,
        }
    }

    /// The layout at `path`, where there is a folder.
    fn found(path: PathBuf) -> Result<Self, StoreError> {
        let layout = Self::at(path);
        match kind_of(&layout.path, &layout.path)? {
            None => Err(StoreError::NotFound {
                what: "layout".to_owned(),
                place: layout.place(),
                answer: None,
            }),
            Some(found) if !found.is_dir() => {
                Err(layout
                    .malformed("it is a file, not a folder: an archive is `oci-archive:FILE`"))
            }
            Some(_) => Ok(layout),
        }
    }

    /// Whether there is an `oci-layout` file; one that we do not know is an error.
    fn has_version(&self) -> Result<bool, StoreError> {
        let path = self.path.join("oci-layout");
        let Some(text) = snapshot::read_small(&self.path, &path, 4096)? else {
            return Ok(false);
        };
        version::check(&text).map_err(|problem| self.malformed(problem))?;
        Ok(true)
    }

    /// An error if the folder holds what no broken-off `create` leaves.
    fn refuse_other_content(&self) -> Result<(), StoreError> {
        let failed = |source| StoreError::io(self.place(), "make a layout", source);
        for entry in fs_err::read_dir(&self.path).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy();
            if !matches!(&*name, "blobs" | "index.json" | ".lock")
                && !name.starts_with(blobs::TEMPORARY)
            {
                return Err(
                    self.malformed(format!("it is no layout, and not empty: it holds `{name}`"))
                );
            }
        }
        Ok(())
    }

    fn push_manifests(&self, manifests: &[(Descriptor, Bytes)]) -> Result<(), StoreError> {
        let mut to_list = Vec::new();
        for (target, content) in manifests {
            super::check(target, content)?;
            let manifest = self.parse(target, content)?;
            if manifest.subject().is_some() {
                to_list.push(super::listed(target, &manifest));
            }
            self.graph.learn(target, &manifest);
        }
        self.write_manifests(manifests)?;
        if to_list.is_empty() {
            return Ok(());
        }
        self.snapshots.update(|index| Ok(index.list_all(&to_list)))
    }

    /// Writes the content of `manifests`, which was checked, where it is not there.
    fn write_manifests(&self, manifests: &[(Descriptor, Bytes)]) -> Result<(), StoreError> {
        let write = |some: &[(Descriptor, Bytes)]| {
            some.iter().try_for_each(|(target, content)| {
                if self.blobs.freshen(target)? {
                    return Ok(());
                }
                self.blobs.write_checked(target, content)
            })
        };
        if manifests.len() <= 1 {
            return write(manifests);
        }
        let share = manifests.len().div_ceil(SYNCED_AT_ONCE);
        thread::scope(|scope| {
            let write = &write;
            let start = |some| thread::Builder::new().spawn_scoped(scope, move || write(some));
            let writing: io::Result<Vec<_>> = manifests.chunks(share).map(start).collect();
            let writing = writing.map_err(|error| StoreError::io(self.place(), "go on", error))?;
            let mut written = writing.into_iter().map(thread::ScopedJoinHandle::join);
            written.try_for_each(|it| it.unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }
}

impl Source for Layout {
    fn place(&self) -> String {
        place(&self.path)
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Bytes>, StoreError> {
        self.blobs.read(digest, limit)
    }
}

/// What `path`, of the layout at `root`, is or leads to, if there is anything.
fn kind_behind(root: &Path, path: &Path) -> Result<Option<Metadata>, StoreError> {
    found(root, fs_err::metadata(path))
}

/// How the layout at `path` is called in errors.
fn place(path: &Path) -> String {
    format!("oci:{}", path.display())
}

/// What `path`, of the layout at `root`, is, if there is anything; links are not followed.
fn kind_of(root: &Path, path: &Path) -> Result<Option<Metadata>, StoreError> {
    let metadata = if root == path {
        fs_err::metadata(path)
    } else {
        fs_err::symlink_metadata(path)
    };
    found(root, metadata)
}

fn found(root: &Path, metadata: io::Result<Metadata>) -> Result<Option<Metadata>, StoreError> {
    match metadata {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(place(root), "look around", error)),
    }
}

#[cfg(test)]
mod tests;
