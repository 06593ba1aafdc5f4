//! What is kept of one build for the next: layers that buildpacks want to see again, and SBOMs.
//!
//! A cache is a [folder](DirectoryCache) or an [image](ImageCache). It is never trusted: a layer is
//! taken only if its content has the digest that the metadata names, and metadata that cannot be
//! read are none.

mod directory;
mod export;
mod image;
mod notes;

use std::path::{Path, PathBuf};

use go::words::PathError;
use oci::layer::{Layer, Plain};
use oci::{DiffId, ImageError, StoreError};

pub use self::directory::DirectoryCache;
pub use self::export::{CacheContext, export_cache};
pub use self::image::ImageCache;
pub(crate) use self::notes::Note;
use self::notes::Notes;
use crate::Log;
use crate::extract::{self, ExtractError, LayersDir, Unread};
use crate::files::OsError;
use crate::images::{OpenError, PlaceError};
use crate::labels::{CacheMetadata, LabelError};

/// A cache.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "the platform API has these two")]
pub enum Cache {
    /// In a folder.
    Directory(DirectoryCache),
    /// In a registry.
    Image(Box<ImageCache>),
}

impl Cache {
    /// What the cache says of its layers: nothing, if that cannot be read.
    pub(crate) fn metadata(&self) -> &CacheMetadata {
        match self {
            Self::Directory(cache) => cache.metadata(),
            Self::Image(cache) => cache.metadata(),
        }
    }

    /// The same, where it matters whether it can be read.
    pub(crate) fn readable_metadata(&self) -> Result<&CacheMetadata, UnreadableMetadata> {
        match self {
            Self::Directory(cache) => cache.readable_metadata(),
            Self::Image(cache) => Ok(cache.metadata()),
        }
    }

    /// Says if there is nothing in it; done once, when it is first used.
    pub(crate) fn announce(&self, log: &dyn Log) {
        if let Self::Image(cache) = self {
            cache.announce(log);
        }
    }

    /// The digest by which the cache has the layer `name` of a buildpack.
    pub(crate) fn known(&self, buildpack: &str, name: &str) -> Option<DiffId> {
        let mut buildpacks = self.metadata().buildpacks.iter();
        let layers = &buildpacks.find(|it| it.key == buildpack)?.layers;
        Some(DiffId(layers.get(name)?.sha.parse().ok()?))
    }

    /// Where the tar of a layer is to be kept while it is made, if the cache has plain ones and may
    /// have this one as `known`.
    pub(crate) fn plain(&self, known: Option<&DiffId>) -> Option<Plain> {
        match self {
            Self::Directory(cache) => Some(cache.plain(known)),
            Self::Image(_) => None,
        }
    }

    /// The layer that was made for the image under a name of the cache's, if it can use that.
    pub(crate) fn share(&self, layer: &Layer) -> Option<Layer> {
        match self {
            Self::Directory(_) => None,
            Self::Image(cache) => cache.share(layer),
        }
    }

    /// Notes what was found out of the layer in `folder`.
    pub(crate) fn note(&self, folder: PathBuf, note: Note) {
        self.notes().add(folder, note);
    }

    fn is_noted(&self, folder: &Path) -> bool {
        self.notes().has(folder)
    }

    fn take_note(&self, folder: &Path) -> Option<Note> {
        self.notes().take(folder)
    }

    fn notes(&self) -> &Notes {
        match self {
            Self::Directory(cache) => cache.notes(),
            Self::Image(cache) => cache.notes(),
        }
    }

    /// Extracts the layer `sha` of a buildpack, checked.
    pub(crate) async fn restore(
        &self,
        sha: &str,
        layers_dir: &LayersDir,
    ) -> Result<(), CacheError> {
        // A folder is asked for a file of that name, an image for a layer.
        let odd = || match self {
            Self::Directory(_) => CacheError::NoLayer {
                sha: sha.to_owned(),
            },
            Self::Image(_) => CacheError::NotHad {
                sha: sha.to_owned(),
            },
        };
        let diff_id = DiffId(sha.parse().map_err(|_malformed| odd())?);
        match self {
            Self::Directory(cache) => {
                let (path, file) = cache.open_layer(&diff_id)?;
                let layers_dir = layers_dir.clone();
                let extracted =
                    blocking(move || Ok(extract::file(file, &path, &diff_id, &layers_dir)));
                extracted.await?.map_err(Into::into)
            }
            Self::Image(cache) => {
                let (store, layer) = cache.layer(&diff_id)?;
                extract::blob(store, layer, &diff_id, layers_dir).await?;
                Ok(())
            }
        }
    }

    /// Extracts the layer `sha` of SBOMs, checked.
    pub(crate) async fn restore_sbom(
        &self,
        sha: &str,
        layers_dir: &LayersDir,
    ) -> Result<(), CacheError> {
        let restored = self.restore(sha, layers_dir).await;
        restored.map_err(|error| match (self, error) {
            (
                Self::Directory(_),
                error @ (CacheError::NoLayer { .. } | CacheError::Denied { .. }),
            ) => CacheError::Retrieve {
                sha: sha.to_owned(),
                source: Box::new(error),
            },
            (_, CacheError::Extract(ExtractError::Hash(error))) => {
                CacheError::Extract(ExtractError::Read(Unread::Path(error)))
            }
            (_, error) => error,
        })
    }
}

/// Runs what works on files where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, CacheError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The file of metadata is there, and may not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("opening metadata file '{}'", source.path.display())]
#[expect(clippy::exhaustive_structs, reason = "there is no more to say")]
pub struct UnreadableMetadata {
    /// Which, and why.
    pub source: PathError,
}

/// Why a cache could not be used. The texts are upstream's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// What the cache was committed to could not change places with what it is now.
    #[error("committing cache: {step}: rename {} {}", from.display(), to.display())]
    Commit {
        /// What was done.
        step: &'static str,
        /// What should get another name.
        from: PathBuf,
        /// Which.
        to: PathBuf,
        /// Why.
        source: OsError,
    },
    /// A layer may not be looked for.
    #[error("failed to read cache layer with SHA '{sha}' due to insufficient permissions")]
    Denied {
        /// Which.
        sha: String,
    },
    /// The file system failed.
    #[error("failed to {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The cache image could not be made.
    #[error("failed to make the cache image")]
    Image(#[source] ImageError),
    /// The metadata cannot be said in JSON.
    #[error("setting cache metadata")]
    Metadata(#[source] LabelError),
    /// A layer could not be made.
    #[error("creating layer '{id}'")]
    Layer {
        /// Which.
        id: String,
        /// Why.
        source: oci::layer::LayerError<crate::export::TreeError>,
    },
    /// What a buildpack left cannot be read.
    #[error("reading layers for buildpack '{id}'")]
    LayersDir {
        /// Which buildpack.
        id: String,
        /// Why.
        source: crate::LayersDirError,
    },
    /// The layer is not there, or not what it should be.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The folder of the cache cannot be used; what is said is upstream's.
    #[error("{0}")]
    Volume(String),
    /// A layer is there, and may not be read.
    #[error("failed to get cache layer with SHA '{sha}'")]
    NotHad {
        /// Which.
        sha: String,
    },
    /// The metadata name a layer that is not there.
    #[error("failed to find cache layer with SHA '{sha}'")]
    NoLayer {
        /// Which.
        sha: String,
    },
    /// What the cache says of its layers may not be read.
    #[error("metadata for previous cache")]
    Previous(#[source] UnreadableMetadata),
    /// A layer could not be looked for.
    #[error("retrieving layer with SHA '{sha}'")]
    Retrieve {
        /// Which.
        sha: String,
        /// Why.
        source: Box<CacheError>,
    },
    /// The file system does not say whether a layer is there.
    #[error(transparent)]
    Stat(PathError),
    /// A layer that the cache has could not be checked.
    #[error("verifying layer '{id}'")]
    Verify {
        /// Which.
        id: String,
        /// Why.
        source: Box<CacheError>,
    },
    /// The cache image cannot be read.
    #[error(transparent)]
    Open(OpenError),
    /// The name of the cache image is no place.
    #[error(transparent)]
    Place(PlaceError),
    /// The cache image could not be pushed.
    #[error("failed to save the cache image '{name}'")]
    Save {
        /// Which.
        name: String,
        /// Why.
        #[source]
        cause: StoreError,
    },
    /// The registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CacheError {
    /// Whether only this one layer is lost: it is missing, or not what it should be.
    pub(crate) fn is_about_content(&self) -> bool {
        matches!(
            self,
            Self::NoLayer { .. }
                | Self::Denied { .. }
                | Self::Extract(
                    ExtractError::OtherContent { .. } | ExtractError::UnknownType { .. }
                )
        ) || matches!(self, Self::Extract(error) if error.is_of_compression())
            || matches!(self, Self::Store(error) | Self::Extract(ExtractError::Store(error))
            if error.is_not_found() || matches!(error, StoreError::DigestMismatch { .. } | StoreError::SizeMismatch { .. }))
    }

    /// Whether the cache has something else than it says.
    pub(crate) fn is_damage(&self) -> bool {
        let is_missing = match self {
            Self::NoLayer { .. } | Self::Denied { .. } => true,
            Self::Store(error) | Self::Extract(ExtractError::Store(error)) => error.is_not_found(),
            _ => false,
        };
        self.is_about_content() && !is_missing
    }

    fn file(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
