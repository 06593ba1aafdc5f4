//! The file system of an image, read from its layers as a stream.
//!
//! Nothing is unpacked. Each layer is read once, lowest first; a [`Pick`] says which files are looked
//! into and what of them is kept, and that and the symbolic links are all that is in memory. What a
//! layer replaces or removes is gone from the [`View`], and known to have been there.
//!
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md>

mod folder;
mod pick;
#[cfg(test)]
mod tests;
mod tree;

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt as _;

use self::folder::read_head;
use self::pick::Spool;
use self::tree::{Astray, Tree, What};
use crate::extract::archive::{Archive, Entry, Kind};
use crate::extract::{Counted, Feed, decompressed, feed};
use crate::{Descriptor, DiffId, ExtractError, Hasher, Image, Store, StoreError};

pub use self::pick::{FileContent, FileInfo, Missed, Pick};

/// How much of a file is shown before it is known to be wanted.
const HEAD: usize = 64;

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// How much is read and kept. The defaults fit all that real images have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ViewLimits {
    /// Entries of all layers.
    pub entries: u64,
    /// Bytes of all layers, uncompressed.
    pub bytes: u64,
    /// The longest path, or target of a link, in bytes.
    pub path: usize,
    /// Files that are kept, and symbolic links.
    pub kept: usize,
    /// Bytes of the paths of these.
    pub names: usize,
    /// The largest file that is looked into, in bytes.
    pub file: u64,
    /// The largest that is so in memory; others go through a temporary file.
    pub memory: u64,
}

impl Default for ViewLimits {
    fn default() -> Self {
        Self {
            entries: 20_000_000,
            bytes: 1 << 40,
            path: 4096,
            kept: 1_000_000,
            names: 64 << 20,
            file: 4 << 30,
            memory: 4 << 20,
        }
    }
}

/// A file that is kept.
#[derive(Debug)]
pub struct Seen<'a, K> {
    /// Where it really is, without a leading slash.
    pub path: &'a str,
    /// Which layer brought it; the lowest is 0.
    pub layer: usize,
    /// What was kept of it.
    pub kept: &'a Arc<K>,
}

/// A file that was kept and is no longer there.
#[derive(Debug)]
pub struct Past<K> {
    /// Where it was.
    pub path: String,
    /// Which layer brought it.
    pub layer: usize,
    /// Which layer replaced or removed it.
    pub until: usize,
    /// What was kept of it.
    pub kept: Arc<K>,
}

/// What was picked of a file system.
#[derive(Debug)]
pub struct View<K> {
    tree: Tree<K>,
    layers: Vec<Option<DiffId>>,
    limits: ViewLimits,
    spool: Spool,
    entries: u64,
    bytes: u64,
    astray: u64,
    unread: u64,
    /// Where the folder of the last entry really is, as long as no symbolic link comes or goes.
    last: Option<(String, String)>,
}

impl<K: Send + Sync> View<K> {
    /// An empty one.
    pub fn new(limits: ViewLimits) -> Self {
        Self {
            tree: Tree::new(limits),
            layers: Vec::new(),
            limits,
            spool: Spool::default(),
            entries: 0,
            bytes: 0,
            astray: 0,
            unread: 0,
            last: None,
        }
    }

    /// The file that `path` leads to, symbolic links followed.
    pub fn get(&self, path: &str) -> Option<Seen<'_, K>> {
        let (path, node, kept) = self.tree.find(path)?;
        Some(Seen {
            path,
            layer: node.layer,
            kept,
        })
    }

    /// All files that are kept, by path.
    pub fn files(&self) -> impl Iterator<Item = Seen<'_, K>> {
        self.tree.nodes().iter().filter_map(|(path, node)| {
            let What::File(kept) = &node.what else {
                return None;
            };
            Some(Seen {
                path,
                layer: node.layer,
                kept,
            })
        })
    }

    /// What was kept and is no longer there, in the order in which it went.
    pub fn past(&self) -> &[Past<K>] {
        self.tree.past()
    }

    /// Whether a symbolic link is at `path` itself.
    pub fn is_symlink(&self, path: &str) -> bool {
        self.tree
            .nodes()
            .get(path)
            .is_some_and(|it| matches!(it.what, What::Symlink(_)))
    }

    /// The layer of that number; none if it is a folder.
    pub fn layer(&self, number: usize) -> Option<&DiffId> {
        self.layers.get(number)?.as_ref()
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// How many entries were passed by, because symbolic links lead in circles.
    pub fn astray(&self) -> u64 {
        self.astray
    }

    /// How many folders and files of this machine could not be read.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    /// Takes the next layer: a tar archive, plain or compressed with gzip or zstd. Returns its diff
    /// ID. After an error, the view is of no use.
    pub fn add_layer<P: Pick<Kept = K>>(
        &mut self,
        reader: impl Read,
        pick: &mut P,
    ) -> Result<DiffId, ViewError> {
        let layer = self.begin(None);
        let counted = Counted {
            inner: decompressed(reader)?,
            hasher: Hasher::default(),
            read: 0,
            limit: self.limits.bytes.saturating_sub(self.bytes),
        };
        let buffered = BufReader::with_capacity(128 << 10, counted);
        let mut archive = Archive::new(buffered, self.limits.path);
        while let Some(entry) = archive.next_entry()? {
            self.count()?;
            self.add_entry(&entry, &mut archive, layer, pick)?;
        }
        let counted = archive.into_inner()?.into_inner();
        self.bytes += counted.read;
        let diff_id = DiffId(counted.hasher.finish());
        if let Some(slot) = self.layers.get_mut(layer) {
            *slot = Some(diff_id.clone());
        }
        Ok(diff_id)
    }

    fn begin(&mut self, diff_id: Option<DiffId>) -> usize {
        self.last = None;
        self.layers.push(diff_id);
        self.layers.len() - 1
    }

    fn count(&mut self) -> Result<(), ViewError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(ViewError::TooManyEntries {
                limit: self.limits.entries,
            });
        }
        Ok(())
    }

    fn add_entry<P: Pick<Kept = K>>(
        &mut self,
        entry: &Entry,
        content: &mut impl Read,
        layer: usize,
        pick: &mut P,
    ) -> Result<(), ViewError> {
        let path = cleaned(&entry.path)?;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path.as_str()));
        if name.is_empty() {
            return Ok(());
        }
        let Ok(folder) = self.folder(parent) else {
            self.astray += 1;
            return Ok(());
        };
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            return self.white_out(entry, &folder, name, hidden, layer);
        }
        let place = name_of(&folder, name);
        match entry.kind {
            Kind::Folder => {
                // A folder that is there stays, with what is in it.
                self.clear_one(&place, layer)
            }
            Kind::File => {
                self.clear(&place, layer)?;
                let mut head = [0; HEAD];
                let read = read_head(content, &mut head).map_err(ExtractError::read)?;
                let info = FileInfo {
                    path: &place,
                    size: entry.size,
                    mode: entry.mode,
                    head: head.get(..read).unwrap_or_default(),
                };
                self.offer(info, content, layer, pick)
            }
            Kind::Symlink => {
                self.clear(&place, layer)?;
                self.last = None;
                let target = entry.link.to_string_lossy().into();
                self.tree.insert(&place, layer, What::Symlink(target))
            }
            Kind::HardLink => self.link(&entry.link, &place, layer, pick),
            Kind::Fifo | Kind::Device(_) => self.clear(&place, layer),
            Kind::Unknown(_) => Ok(()),
        }
    }

    /// Where the folder `path` really is. What was a file on the way becomes a folder.
    fn folder(&mut self, path: &str) -> Result<String, Astray> {
        if let Some((last, real)) = &self.last
            && last == path
        {
            return Ok(real.clone());
        }
        let real = self.tree.folder(path)?;
        self.last = Some((path.to_owned(), real.clone()));
        Ok(real)
    }

    /// Makes room at `path` for what is no folder.
    fn clear(&mut self, path: &str, layer: usize) -> Result<(), ViewError> {
        if self.tree.remove(path, layer, usize::MAX)? {
            self.last = None;
        }
        Ok(())
    }

    fn clear_one(&mut self, path: &str, layer: usize) -> Result<(), ViewError> {
        if self.tree.nodes().contains_key(path) {
            self.clear(path, layer)?;
        }
        Ok(())
    }

    /// A whiteout is about the layers below only, wherever in its own layer it stands.
    fn white_out(
        &mut self,
        entry: &Entry,
        folder: &str,
        name: &str,
        hidden: &str,
        layer: usize,
    ) -> Result<(), ViewError> {
        let changed = if name == OPAQUE {
            self.tree.remove_in(folder, layer, layer)?
        } else if hidden.starts_with(WHITEOUT) {
            // `.wh..wh.…` are notes of aufs to itself.
            false
        } else if matches!(hidden, "" | "." | "..") {
            return Err(ViewError::Outside {
                path: entry.path.clone(),
            });
        } else {
            let path = name_of(folder, hidden);
            self.tree.remove(&path, layer, layer)?
        };
        if changed {
            self.last = None;
        }
        Ok(())
    }

    fn link<P: Pick<Kept = K>>(
        &mut self,
        target: &Path,
        place: &str,
        layer: usize,
        pick: &mut P,
    ) -> Result<(), ViewError> {
        let target = cleaned(target)?;
        let Ok(target) = self.tree.place(&target) else {
            self.astray += 1;
            return Ok(());
        };
        // A link to itself leaves it as it is.
        if target == place {
            return Ok(());
        }
        let what = self
            .tree
            .nodes()
            .get(target.as_str())
            .map(|it| match &it.what {
                What::File(kept) => What::File(Arc::clone(kept)),
                What::Symlink(target) => What::Symlink(target.clone()),
            });
        self.clear(place, layer)?;
        if let Some(what) = what {
            if matches!(what, What::Symlink(_)) {
                self.last = None;
            }
            return self.tree.insert(place, layer, what);
        }
        let info = FileInfo {
            path: place,
            size: 0,
            mode: 0,
            head: &[],
        };
        if pick.wants(&info)
            && let Some(kept) = pick.miss(&info, Missed::LinkedElsewhere)
        {
            self.put(place, layer, kept)?;
        }
        Ok(())
    }

    /// Lets `pick` look at a file, the head of which was read already.
    fn offer<P: Pick<Kept = K>>(
        &mut self,
        info: FileInfo<'_>,
        rest: &mut impl Read,
        layer: usize,
        pick: &mut P,
    ) -> Result<(), ViewError> {
        if !pick.wants(&info) {
            return Ok(());
        }
        let kept = if info.size > self.limits.file {
            let limit = self.limits.file;
            pick.miss(&info, Missed::TooLarge { limit })
        } else {
            let content = self
                .spool
                .fill(info.head, rest, info.size, self.limits.memory);
            let mut content = content.map_err(ViewError::read)?;
            if content.size() != info.size {
                return Err(ViewError::Malformed {
                    problem: "it ends in the middle of a file".to_owned(),
                });
            }
            pick.keep(&info, &mut content)
        };
        match kept {
            Some(kept) => self.put(info.path, layer, kept),
            None => Ok(()),
        }
    }

    fn put(&mut self, path: &str, layer: usize, kept: K) -> Result<(), ViewError> {
        self.tree.insert(path, layer, What::File(Arc::new(kept)))
    }
}

/// Reads all layers of `image`, each once: digests and diff IDs are checked.
pub async fn view_image<P: Pick + 'static>(
    store: &dyn Store,
    image: &Image,
    pick: P,
    limits: ViewLimits,
) -> Result<(View<P::Kept>, P), ViewError>
where
    P::Kept: 'static,
{
    if !image.is_even() {
        return Err(ViewError::Uneven {
            layers: image.manifest().layers.len(),
            diff_ids: image.config().rootfs.diff_ids.len(),
        });
    }
    let layers: Vec<_> = image.layers().collect();
    view_layers(store, &layers, pick, limits).await
}

/// The same of some layers of an image, lowest first: what is above or below them is not there.
pub async fn view_layers<P: Pick + 'static>(
    store: &dyn Store,
    layers: &[(&Descriptor, &DiffId)],
    pick: P,
    limits: ViewLimits,
) -> Result<(View<P::Kept>, P), ViewError>
where
    P::Kept: 'static,
{
    let mut state = (View::new(limits), pick);
    for (layer, expected) in layers {
        let (view, pick, presented) = add_from(store, layer, state.0, state.1).await?;
        if presented != **expected {
            return Err(ViewError::Different {
                digest: layer.digest.clone(),
                expected: (*expected).clone(),
                presented,
            });
        }
        state = (view, pick);
    }
    Ok(state)
}

async fn add_from<P: Pick + 'static>(
    store: &dyn Store,
    layer: &Descriptor,
    mut view: View<P::Kept>,
    mut pick: P,
) -> Result<(View<P::Kept>, P, DiffId), ViewError>
where
    P::Kept: 'static,
{
    let content = store.fetch(layer).await.map_err(ViewError::Store)?;
    let fed = feed(content.boxed(), move |incoming| {
        let diff_id = view.add_layer(incoming, &mut pick)?;
        Ok((view, pick, diff_id))
    });
    match fed.await {
        Feed::Done(outcome) => outcome,
        Feed::Failed(error) => Err(ViewError::Store(error)),
        Feed::Cancelled(error) => Err(ViewError::Read(error)),
    }
}

/// `folder/name`.
fn name_of(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// `path` as names below the root, with one slash between them.
fn cleaned(path: &Path) -> Result<String, ViewError> {
    let text = path.to_string_lossy();
    let mut cleaned = String::with_capacity(text.len());
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                return Err(ViewError::Outside {
                    path: path.to_owned(),
                });
            }
            name => {
                if !cleaned.is_empty() {
                    cleaned.push('/');
                }
                cleaned.push_str(name);
            }
        }
    }
    Ok(cleaned)
}

/// Why a file system could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// A layer is no tar archive, or broken, or made to look so.
    #[error("the layer is malformed: {problem}")]
    Malformed {
        /// What is wrong.
        problem: String,
    },
    /// A path leads out of the image.
    #[error("`{}` in the layer leads out of the image", path.display())]
    Outside {
        /// Which, as the layer has it.
        path: PathBuf,
    },
    /// More entries than we read.
    #[error("the layers have more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// More bytes than we read.
    #[error("the layers are larger than {limit} bytes")]
    TooManyBytes {
        /// The limit.
        limit: u64,
    },
    /// More than we keep.
    #[error("the image has more than {limit} links, and files that say what is in it")]
    TooManyKept {
        /// The limit.
        limit: usize,
    },
    /// A path that is longer than we follow.
    #[error("the image has a path of more than {limit} bytes")]
    PathTooLong {
        /// The limit.
        limit: usize,
    },
    /// Manifest and config speak of different layers.
    #[error("the image has {layers} layers, but {diff_ids} diff IDs")]
    Uneven {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// A layer is not what the image's config says.
    #[error(
        "layer {digest} is not what the image's config says: expected diff ID {expected}, got {presented}"
    )]
    Different {
        /// Which layer.
        digest: crate::Digest,
        /// What the config says.
        expected: DiffId,
        /// What it is.
        presented: DiffId,
    },
    /// A folder or file of this machine could not be read.
    #[error("failed to read `{}`", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A layer could not be read.
    #[error("failed to read the layer")]
    Read(#[source] io::Error),
    /// The store failed, or its content is not what it should be.
    #[error("failed to read the layer")]
    Store(#[source] StoreError),
}

impl ViewError {
    fn read(error: io::Error) -> Self {
        ExtractError::read(error).into()
    }
}

impl From<ExtractError> for ViewError {
    fn from(error: ExtractError) -> Self {
        match error {
            ExtractError::Malformed { problem } => Self::Malformed { problem },
            ExtractError::Outside { path } => Self::Outside { path },
            ExtractError::TooManyEntries { limit } => Self::TooManyEntries { limit },
            ExtractError::TooManyBytes { limit } => Self::TooManyBytes { limit },
            ExtractError::PathTooLong { limit } => Self::PathTooLong { limit },
            ExtractError::Store(error) => Self::Store(error),
            ExtractError::Read(error) => Self::Read(error),
            other => Self::Read(io::Error::other(other)),
        }
    }
}
