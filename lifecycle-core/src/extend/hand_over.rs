//! The folders between restorer, extender and exporter: OCI layouts of one image each, without the
//! layers that are not needed.
//!
//! | who | leaves | where |
//! |---|---|---|
//! | restorer | manifest and config of what is to be extended | `<kaniko>/cache/base/<digest>` |
//! | extender | manifest, config and new layers | `<extended>/run/<digest>` |

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use oci::store::LayoutStore;
use oci::{
    Digest, Image, ImageConfig, ImageError, Limits, Manifest, MediaType, Platform, Selector,
    Store as _, StoreError, Upload,
};
use thiserror::Error;

use super::Extended;
use crate::images::{PlaceError, create_layout};

/// Leaves `image`, without layers, below `folder`.
pub async fn leave_base(folder: &Path, image: &Image) -> Result<(), HandOverError> {
    go::files::create_dir_all(folder).map_err(HandOverError::Mkdir)?;
    write(
        &folder.join(image.descriptor().digest.to_string()),
        image,
        &[],
    )
    .await
}

/// The image that was left below `folder`.
pub async fn read_base(
    folder: &Path,
    digest: &Digest,
    limits: &Limits,
) -> Result<Image, HandOverError> {
    let path = folder.join(digest.to_string());
    let failed = |source: StoreError| HandOverError::Image {
        path: path.clone(),
        source: source.into(),
    };
    let layout = LayoutStore::open(&path).map_err(failed)?;
    let target = layout.resolve(&Selector::Digest(digest.clone())).await;
    let target = target.map_err(failed)?;
    let image = Image::read(&layout, &target, &Platform::host(), limits).await;
    image.map_err(|source| HandOverError::Image {
        path: path.clone(),
        source,
    })
}

/// Leaves an extended image below `folder`, in place of any that is there.
pub async fn leave_extended(folder: &Path, extended: &Extended) -> Result<(), HandOverError> {
    let name = extended.image.descriptor().digest.to_string();
    for there in list(folder)? {
        if there.file_name().is_none_or(|it| *it != *name) {
            fs::remove_dir_all(&there).map_err(|source| HandOverError::Folder {
                folder: there.clone(),
                source,
            })?;
        }
    }
    write(&folder.join(name), &extended.image, &extended.layers).await
}

/// The extended image that was left below `folder`, and where; nothing if there is none.
pub fn read_extended(
    folder: &Path,
    limits: &Limits,
) -> Result<Option<(Image, PathBuf)>, HandOverError> {
    let there = list(folder)?;
    let [only] = there.as_slice() else {
        if there.is_empty() {
            return Ok(None);
        }
        return Err(HandOverError::Several {
            folder: folder.to_owned(),
        });
    };
    // It need not be called after the image, and sizes in it need not be right: what it is, is said by
    // digests.
    let malformed = |problem: String| HandOverError::Malformed {
        path: only.clone(),
        problem,
    };
    let bytes = content(&only.join("index.json"), limits.manifest_bytes)?;
    let index = Manifest::parse_loosely(&MediaType::IMAGE_INDEX, &bytes, limits);
    let Manifest::Index(index) = index.map_err(|error| malformed(error.to_string()))? else {
        return Err(malformed("it has no index".to_owned()));
    };
    let [target] = index.manifests.as_slice() else {
        let count = index.manifests.len();
        return Err(malformed(format!("it has {count} manifests, not one")));
    };
    let bytes = blob(only, &target.digest, limits.manifest_bytes)?;
    let manifest = Manifest::parse_loosely(&target.media_type, &bytes, limits);
    let Manifest::Image(manifest) = manifest.map_err(|error| malformed(error.to_string()))? else {
        return Err(malformed("it is an index".to_owned()));
    };
    let bytes = blob(only, &manifest.config.digest, limits.metadata_bytes)?;
    let config =
        ImageConfig::parse_loosely(&bytes).map_err(|error| malformed(error.to_string()))?;
    let image = Image::new(&manifest, config, manifest.layers.clone());
    let image = image.map_err(|source| HandOverError::Image {
        path: only.clone(),
        source,
    })?;
    Ok(Some((image, only.clone())))
}

/// The content of a blob of a layout, which has to be what its name says.
fn blob(layout: &Path, digest: &Digest, limit: u64) -> Result<Vec<u8>, HandOverError> {
    let blobs = layout.join("blobs").join(digest.algorithm().name());
    let path = blobs.join(digest.hex());
    let bytes = content(&path, limit)?;
    if Digest::of(&bytes) != *digest {
        return Err(HandOverError::Malformed {
            path,
            problem: "it has another digest than its name".to_owned(),
        });
    }
    Ok(bytes)
}

/// The content of a file, up to `limit` bytes.
fn content(path: &Path, limit: u64) -> Result<Vec<u8>, HandOverError> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|it| it.take(limit).read_to_end(&mut bytes));
    read.map_err(|source| HandOverError::Folder {
        folder: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, HandOverError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let entries = entries.map_err(|source| HandOverError::Folder {
        folder: folder.to_owned(),
        source,
    })?;
    Ok(entries.into_iter().map(|it| it.path()).collect())
}

async fn write(
    path: &Path,
    image: &Image,
    layers: &[oci::layer::Layer],
) -> Result<(), HandOverError> {
    let failed = |source| HandOverError::Write {
        path: path.to_owned(),
        source,
    };
    let layout = create_layout(path).map_err(|source| HandOverError::Create {
        path: path.to_owned(),
        source,
    })?;
    for layer in layers {
        let upload = Upload::Layer(Box::new(layer.clone()));
        layout
            .push_blob(&layer.descriptor, upload)
            .await
            .map_err(failed)?;
    }
    let config = Upload::Bytes(image.config_bytes().clone());
    let pushed = layout.push_blob(&image.manifest().config, config).await;
    pushed.map_err(failed)?;
    let manifest = image.manifest_bytes().clone();
    let pushed = layout.push_manifest(image.descriptor(), manifest).await;
    pushed.map_err(failed)?;
    layout.list(image.descriptor()).await.map_err(failed)
}

/// Why an image was not handed over.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// Nothing can be left there.
    #[error("failed to leave an image in `{}`", path.display())]
    Create {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: PlaceError,
    },
    /// A folder could not be made.
    #[error(transparent)]
    Mkdir(go::words::PathError),
    /// A folder cannot be used.
    #[error("failed to use `{}`", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was left is not an image.
    #[error("`{}` is not an image of the phase before", path.display())]
    Image {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: ImageError,
    },
    /// What was left is damaged.
    #[error("`{}` is not an image of the phase before: {problem}", path.display())]
    Malformed {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// There are several, and it cannot be known which is meant.
    #[error("there are several images in `{}`", folder.display())]
    Several {
        /// Where.
        folder: PathBuf,
    },
    /// It could not be written.
    #[error("failed to leave an image in `{}`", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: StoreError,
    },
}
