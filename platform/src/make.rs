//! Builder images and packages, made in pack's formats: the same layers by diff ID, the same labels,
//! the same config. What reads them is [`builder`](crate::builder), and it reads what was made before
//! anybody else can.
//!
//! | file | makes |
//! |---|---|
//! | [`builder`] | a builder image of a base image, a lifecycle, buildpacks and extensions |
//! | [`package`], [`package_toml`] | a package of a buildpack with all that it needs, or of an extension |
//! | [`lifecycle`] | the layer of a lifecycle, out of an archive, an image, or our own programs |
//! | [`provenance`] | what is claimed of how one of them came to be |
//! | `tar`, `files`, `spool` | entries and TOML as pack writes them; layers of others on this machine |

pub mod builder;
mod files;
pub mod lifecycle;
pub mod package;
pub mod package_toml;
pub mod provenance;
mod same;
mod spool;
mod tar;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use lifecycle_core::provenance::Named;
use oci::layer::{Compression, Layer};
use oci::{
    Descriptor, DiffId, History, Image, ImageConfig, ImageError, MediaType, Store, StoreError,
    Upload,
};

pub use self::lifecycle::{LifecycleError, LifecycleFiles};
pub use self::package_toml::{PackageToml, PackageTomlError};
pub use self::spool::SpoolError;
pub use self::tar::FillError;
use crate::builder::{BuilderError, BuilderImageError, LabelError, Module, PackageError};

/// When everything was made, if one asks an image by a CNB tool.
pub(crate) const CREATED: &str = "1980-01-01T00:00:01Z";

/// An image that was made, and lies nowhere yet.
#[derive(Debug)]
#[non_exhaustive]
pub struct Made {
    /// The image.
    pub image: Image,
    /// Its layers that are new, in files.
    pub layers: Vec<Layer>,
    /// What it was made of: base, lifecycle, buildpacks and extensions.
    pub made_of: Vec<Named>,
    /// Where its other layers lie.
    base: Option<Arc<dyn Store>>,
    /// What was odd, but no error.
    pub notes: Vec<String>,
}

impl Made {
    /// Puts the image into `store`, by digest; a tag is set by whoever judged it.
    pub async fn store(&self, store: &dyn Store) -> Result<Descriptor, MakeError> {
        let mut done = BTreeSet::new();
        for descriptor in &self.image.manifest().layers {
            if !done.insert(descriptor.digest.clone()) || store.contains(descriptor).await? {
                continue;
            }
            let new = self
                .layers
                .iter()
                .find(|it| it.descriptor.digest == descriptor.digest);
            let upload = match (new, &self.base) {
                (Some(layer), _) => Upload::Layer(Box::new(layer.clone())),
                (None, Some(base)) => Upload::Stream(base.fetch(descriptor).await?),
                (None, None) => {
                    return Err(MakeError::NoLayer {
                        layer: descriptor.digest.to_string(),
                    });
                }
            };
            store.push_blob(descriptor, upload).await?;
        }
        let config = Upload::Bytes(self.image.config_bytes().clone());
        store
            .push_blob(&self.image.manifest().config, config)
            .await?;
        let target = self.image.descriptor();
        store
            .push_manifest(target, self.image.manifest_bytes().clone())
            .await?;
        Ok(target.clone())
    }
}

/// Modules as parts of what is made: each once.
fn named<'a>(modules: impl IntoIterator<Item = &'a Module>) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    for module in modules {
        let named = Named {
            name: module.name().to_string(),
            uri: Some(module.origin.uri.clone()),
            digest: module.origin.digest.clone(),
        };
        if !all.contains(&named) {
            all.push(named);
        }
    }
    all
}

/// Layers that are stacked on a base, and what the config then says.
struct Stack<'a> {
    scratch: &'a Path,
    /// How new layers are called in the manifest.
    media_type: MediaType,
    layers: Vec<Layer>,
    diff_ids: Vec<DiffId>,
    descriptors: Vec<Descriptor>,
}

impl<'a> Stack<'a> {
    fn new(scratch: &'a Path, media_type: MediaType) -> Self {
        Self {
            scratch,
            media_type,
            layers: Vec::new(),
            diff_ids: Vec::new(),
            descriptors: Vec::new(),
        }
    }

    /// Adds the layer that `fill` writes.
    fn add<E: std::error::Error + Send + Sync + 'static>(
        &mut self,
        fill: impl FnOnce(&mut tar::Tar) -> Result<(), E>,
    ) -> Result<DiffId, MakeError> {
        let target = self.next();
        let layer = oci::layer::write(&target, Compression::GoGzip, fill);
        Ok(self.put(layer.map_err(|error| MakeError::Layer(Box::new(error)))?))
    }

    /// Adds a layer that is on this machine as a plain tar.
    fn add_plain(&mut self, plain: &Layer) -> Result<DiffId, MakeError> {
        let target = self.next();
        let layer = oci::layer::compress(plain, &target, Compression::GoGzip);
        Ok(self.put(layer.map_err(|error| MakeError::Layer(Box::new(error)))?))
    }

    /// Adds a layer that was written already.
    fn put(&mut self, layer: Layer) -> DiffId {
        let mut descriptor = layer.descriptor.clone();
        descriptor.media_type = self.media_type.clone();
        self.descriptors.push(descriptor);
        self.diff_ids.push(layer.diff_id.clone());
        let diff_id = layer.diff_id.clone();
        self.layers.push(layer);
        diff_id
    }

    fn next(&self) -> std::path::PathBuf {
        self.scratch.join(format!("layer-{}", self.layers.len()))
    }
}

/// Writes a layer beside the others, to know its diff ID before it is decided whether it is added.
fn write_aside<E: std::error::Error + Send + Sync + 'static>(
    target: &Path,
    fill: impl FnOnce(&mut tar::Tar) -> Result<(), E>,
) -> Result<Layer, MakeError> {
    let layer = oci::layer::write(target, Compression::GoGzip, fill);
    layer.map_err(|error| MakeError::Layer(Box::new(error)))
}

/// One entry of history for each layer, all of the same time, as imgutil leaves it.
fn history(config: &mut ImageConfig) {
    let entry = History {
        created: Some(CREATED.to_owned()),
        ..History::default()
    };
    config.created = Some(CREATED.to_owned());
    config.container.clear();
    config.history = vec![entry; config.rootfs.diff_ids.len()];
}

fn set_labels(
    config: &mut ImageConfig,
    labels: impl IntoIterator<Item = (&'static str, Result<String, serde_json::Error>)>,
) -> Result<(), MakeError> {
    for (name, text) in labels {
        let text = text.map_err(MakeError::Label)?;
        config.config.labels.insert(name.to_owned(), text);
    }
    Ok(())
}

/// Labels that a user asks for: none that we write ourselves.
fn own_labels(
    config: &mut ImageConfig,
    labels: &BTreeMap<String, String>,
) -> Result<(), MakeError> {
    for (name, value) in labels {
        if name.is_empty() || name.starts_with("io.buildpacks.") {
            return Err(MakeError::OwnLabel { name: name.clone() });
        }
        config.config.labels.insert(name.clone(), value.clone());
    }
    Ok(())
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// The base image does not say who runs buildpacks.
    #[error("the base image cannot be the base of a builder")]
    Base(#[source] BuilderImageError),
    /// Something does not go together with something else.
    #[error("{problem}")]
    Unfit {
        /// What.
        problem: String,
    },
    /// A label of the base or of a package cannot be used.
    #[error(transparent)]
    BadLabel(#[from] LabelError),
    /// A package cannot be used.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The lifecycle cannot be used.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// An image cannot be made or read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// What was made cannot be read, so nobody else could.
    #[error("the builder that was made is malformed")]
    ReadBack(#[source] Box<BuilderImageError>),
    /// The description does not go together with what it names.
    #[error("the description of the builder cannot be used")]
    Unusable(#[source] Box<BuilderError>),
    /// A label cannot be written.
    #[error("a label cannot be written")]
    Label(#[source] serde_json::Error),
    /// A layer cannot be written.
    #[error("a layer cannot be written")]
    Layer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A layer of the base is nowhere.
    #[error("layer {layer} is nowhere to be had")]
    NoLayer {
        /// Which.
        layer: String,
    },
    /// A user's label has the name of one of ours.
    #[error(
        "the label `{name}` cannot be set: names that begin with `io.buildpacks.` are written here"
    )]
    OwnLabel {
        /// Which.
        name: String,
    },
    /// A file in TOML cannot be written.
    #[error("a file of the builder cannot be written")]
    Toml(#[source] go::toml::EncodeError),
    /// A layer of a package cannot be had.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
