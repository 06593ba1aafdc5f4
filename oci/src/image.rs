//! An image as a value.

mod loose;

use std::collections::BTreeMap;

use bytes::Bytes;
use go::json::Problem;
use serde::Serialize;

use self::loose::Reading;
use crate::store::Store;
use crate::{
    Descriptor, DiffId, Digest, ImageConfig, ImageManifest, Index, Limits, ManifestError,
    MediaType, Platform, StoreError,
};

/// An image as a value: the bytes of its manifest and config, and what they say.
///
/// Never changed: what makes another image of it gives another value. Its layers lie in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    descriptor: Descriptor,
    manifest: ImageManifest,
    manifest_bytes: Bytes,
    config: ImageConfig,
    config_bytes: Bytes,
    index: Option<Descriptor>,
}

impl Image {
    /// Reads the image that `target` describes from `store`; of an index, the one that runs on
    /// `platform`.
    pub async fn read(
        store: &dyn Store,
        target: &Descriptor,
        platform: &Platform,
        limits: &Limits,
    ) -> Result<Self, ImageError> {
        let image = loose::read(store, target, platform, limits, Reading::Strict).await?;
        if image.is_even() {
            Ok(image)
        } else {
            Err(ImageError::LayersDiffer {
                layers: image.manifest.layers.len(),
                diff_ids: image.config.rootfs.diff_ids.len(),
                digest: image.descriptor.digest,
            })
        }
    }

    /// Like [`read`](Self::read), but as go-containerregistry does it: manifest and config may speak of
    /// different layers, and what a descriptor has in it must be what it describes.
    pub async fn read_loosely(
        store: &dyn Store,
        target: &Descriptor,
        platform: &Platform,
        limits: &Limits,
    ) -> Result<Self, ImageError> {
        loose::read(store, target, platform, limits, Reading::Loose).await
    }

    /// Makes the image of `config`, whose layers are `layers`, lowest first, one for each diff ID.
    ///
    /// The manifest has the bytes that go-containerregistry would write: `like` says of which kind it
    /// is and carries over its annotations.
    pub fn new(
        like: &ImageManifest,
        config: ImageConfig,
        layers: Vec<Descriptor>,
    ) -> Result<Self, ImageError> {
        let docker = like.media_type == Some(MediaType::DOCKER_MANIFEST);
        let (manifest_type, config_type) = if docker {
            (MediaType::DOCKER_MANIFEST, MediaType::DOCKER_CONFIG)
        } else {
            (MediaType::IMAGE_MANIFEST, MediaType::IMAGE_CONFIG)
        };
        let like = ImageManifest {
            schema_version: 2,
            media_type: Some(manifest_type.clone()),
            config: Descriptor::of(config_type, b""),
            layers: Vec::new(),
            annotations: like.annotations.clone(),
            subject: None,
            artifact_type: None,
        };
        Self::write(like, manifest_type, config, layers)
    }

    /// Makes the image of `config` on top of `base`, as [`new`](Self::new) does, but says of itself what
    /// `base` says of itself, as go-containerregistry has it: also where that is unusual, or nothing.
    /// `annotations` are all that it has.
    ///
    /// A config that `base` calls by a name of its own is called by the usual one: what is not known by
    /// it is no image that can be run.
    pub fn on(
        base: &Self,
        annotations: BTreeMap<String, String>,
        config: ImageConfig,
        layers: Vec<Descriptor>,
    ) -> Result<Self, ImageError> {
        let said = &base.manifest;
        let config_type = match &said.config.media_type {
            it if *it == MediaType::DOCKER_CONFIG || *it == MediaType::IMAGE_CONFIG => it.clone(),
            _ if base.descriptor.media_type == MediaType::DOCKER_MANIFEST => {
                MediaType::DOCKER_CONFIG
            }
            _ => MediaType::IMAGE_CONFIG,
        };
        let like = ImageManifest {
            schema_version: said.schema_version,
            media_type: said.media_type.clone(),
            config: Descriptor::of(config_type, b""),
            layers: Vec::new(),
            annotations,
            subject: None,
            artifact_type: None,
        };
        Self::write(like, base.descriptor.media_type.clone(), config, layers)
    }

    /// The image of `config` and `layers` that is for the rest as `manifest` says, and is stored as
    /// `media_type`.
    fn write(
        mut manifest: ImageManifest,
        media_type: MediaType,
        config: ImageConfig,
        layers: Vec<Descriptor>,
    ) -> Result<Self, ImageError> {
        let config_bytes = go::json::to_string(&config).map_err(ImageError::Unwritable)?;
        manifest.config = Descriptor::of(manifest.config.media_type, config_bytes.as_bytes());
        manifest.layers = layers;
        let manifest_bytes = manifest_bytes(&manifest).map_err(ImageError::Unwritable)?;
        let descriptor = Descriptor::of(media_type, &manifest_bytes);
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(ImageError::LayersDiffer {
                digest: descriptor.digest,
                layers: manifest.layers.len(),
                diff_ids: config.rootfs.diff_ids.len(),
            });
        }
        Ok(Self {
            descriptor,
            manifest,
            manifest_bytes,
            config,
            config_bytes: config_bytes.into(),
            index: None,
        })
    }

    /// The index that it was found in, if it was looked for in one: the outermost.
    pub fn index(&self) -> Option<&Descriptor> {
        self.index.as_ref()
    }

    /// The same image, found in `index`.
    pub fn found_in(mut self, index: Descriptor) -> Self {
        self.index = Some(index);
        self
    }

    /// Whether manifest and config speak of as many layers.
    pub fn is_even(&self) -> bool {
        self.config.rootfs.diff_ids.len() == self.manifest.layers.len()
    }

    /// Its manifest's descriptor: which image it is.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }

    /// The digest of its config: Docker's image ID.
    pub fn id(&self) -> &Digest {
        &self.manifest.config.digest
    }

    /// Its manifest.
    pub fn manifest(&self) -> &ImageManifest {
        &self.manifest
    }

    /// The bytes of its manifest.
    pub fn manifest_bytes(&self) -> &Bytes {
        &self.manifest_bytes
    }

    /// Its config.
    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The bytes of its config.
    pub fn config_bytes(&self) -> &Bytes {
        &self.config_bytes
    }

    /// Its layers, lowest first; none where it cannot be said which diff ID is whose, as may be after
    /// [`read_loosely`](Self::read_loosely) unless it [is even](Self::is_even).
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = (&Descriptor, &DiffId)> {
        let count = if self.is_even() { usize::MAX } else { 0 };
        let layers = self.manifest.layers.iter();
        layers.zip(self.config.rootfs.diff_ids.iter().take(count))
    }

    /// The layer with this diff ID; none where it cannot be said which is whose.
    pub fn layer(&self, diff_id: &DiffId) -> Option<&Descriptor> {
        self.layers()
            .find_map(|(layer, id)| (id == diff_id).then_some(layer))
    }

    /// A label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config.config.labels.get(name).map(String::as_str)
    }
}

impl Index {
    /// The first image listed that runs on `platform`: of its variant, if that is asked for and there is
    /// one.
    pub fn pick(&self, platform: &Platform) -> Option<&Descriptor> {
        pick(&self.manifests, platform)
    }
}

/// The first manifest that runs on `platform`: of its variant, if that is asked for and there is one. An
/// image of which nothing is said is for `linux/amd64`, if there is no other.
fn pick<'a>(manifests: &'a [Descriptor], platform: &Platform) -> Option<&'a Descriptor> {
    let fitting = || {
        manifests.iter().filter(|it| {
            let fits =
                |it: &Platform| it.os == platform.os && it.architecture == platform.architecture;
            it.media_type.is_manifest() && it.platform.as_ref().is_some_and(fits)
        })
    };
    let variant = |it: &&Descriptor| {
        let own = it.platform.as_ref().and_then(|it| it.variant.as_ref());
        platform.variant.is_none() || own == platform.variant.as_ref()
    };
    // As go-containerregistry has it.
    let is_usual = platform.os == "linux" && platform.architecture == "amd64";
    let unsaid = || {
        let is_image = |it: &&Descriptor| it.media_type.is_manifest() && !it.media_type.is_index();
        let mut unsaid = manifests.iter().filter(is_image);
        unsaid.find(|it| it.platform.is_none())
    };
    fitting()
        .find(variant)
        .or_else(|| fitting().next())
        .or_else(|| unsaid().filter(|_| is_usual))
}

/// The bytes that go-containerregistry writes for `manifest`.
pub(crate) fn manifest_bytes(manifest: &ImageManifest) -> Result<Bytes, serde_json::Error> {
    go::json::to_string(&GoManifest::from(manifest)).map(Bytes::from)
}

/// A manifest with its keys in go-containerregistry's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GoManifest<'a> {
    schema_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: &'a Option<MediaType>,
    config: GoDescriptor<'a>,
    layers: Vec<GoDescriptor<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

/// A descriptor with its keys in go-containerregistry's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GoDescriptor<'a> {
    media_type: &'a MediaType,
    size: u64,
    digest: &'a Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: &'a Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    urls: &'a Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: &'a Option<Platform>,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: &'a Option<MediaType>,
}

impl<'a> From<&'a ImageManifest> for GoManifest<'a> {
    fn from(manifest: &'a ImageManifest) -> Self {
        Self {
            schema_version: manifest.schema_version,
            media_type: &manifest.media_type,
            config: (&manifest.config).into(),
            layers: manifest.layers.iter().map(Into::into).collect(),
            annotations: &manifest.annotations,
        }
    }
}

impl<'a> From<&'a Descriptor> for GoDescriptor<'a> {
    fn from(descriptor: &'a Descriptor) -> Self {
        Self {
            media_type: &descriptor.media_type,
            size: descriptor.size,
            digest: &descriptor.digest,
            data: &descriptor.data,
            urls: &descriptor.urls,
            annotations: &descriptor.annotations,
            platform: &descriptor.platform,
            artifact_type: &descriptor.artifact_type,
        }
    }
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Its config is no config.
    #[error("malformed image config {digest}")]
    Config {
        /// Which.
        digest: Digest,
        /// Why.
        source: Problem,
    },
    /// Manifest and config speak of different layers.
    #[error("image {digest} has {layers} layers, but {diff_ids} diff IDs")]
    LayersDiffer {
        /// Which.
        digest: Digest,
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// Its manifest is no manifest.
    #[error("manifest {digest} cannot be read")]
    Manifest {
        /// Which.
        digest: Digest,
        /// What it came as.
        media_type: MediaType,
        /// Why.
        source: ManifestError,
    },
    /// An index names an image for the platform, and the store does not have it. Of images that are
    /// [read loosely](Image::read_loosely).
    #[error(transparent)]
    NoChild(StoreError),
    /// An index has no image for the platform.
    #[error("index {digest} has no image for {platform}")]
    NoPlatform {
        /// Which.
        digest: Digest,
        /// What was asked for.
        platform: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is read as Go does it, and refused by go-containerregistry; in its words.
    #[error("{problem}")]
    Refused {
        /// Why.
        problem: String,
    },
    /// It cannot be said in JSON.
    #[error("image cannot be encoded")]
    Unwritable(#[source] serde_json::Error),
}

impl ImageError {
    /// Whether the store answered that there is no such image.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_not_found())
    }
}

#[cfg(test)]
mod tests;
