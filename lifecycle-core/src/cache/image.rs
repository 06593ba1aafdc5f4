//! A cache in a registry: an image whose layers are the layers.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use oci::layer::Layer;
use oci::{
    Descriptor, DiffId, History, Image, ImageConfig, ImageError, ImageManifest, Limits, Manifest,
    MediaType, Platform, Selector, Store, Upload, store,
};
use tempfile::TempDir;

use super::CacheError;
use super::notes::Notes;
use crate::images::{Images, OpenError, Place};
use crate::labels::{CACHE_METADATA, CacheMetadata, cache_metadata, parse_cache_metadata};
use crate::{Level, Log, words};

/// The time of all that has none.
const CREATED: &str = "1980-01-01T00:00:01Z";
/// An archive without entries: registries refuse images without layers.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

/// What lies where a cache image may be.
enum Looked {
    Nothing,
    /// It cannot be used.
    Corrupt,
    /// It is nothing that could have layers.
    Empty,
    Found(Box<Image>),
}

/// Looks at what lies in `place`.
///
/// # Errors
///
/// If it cannot be had, or its config cannot be read.
async fn look(place: &Place, limits: &Limits) -> Result<Looked, CacheError> {
    let failed = |source: ImageError| {
        let error = OpenError {
            name: place.name.clone(),
            strict: place.strict,
            source: Box::new(source),
        };
        if error.is_of_store() || error.is_of_config() {
            return Err(CacheError::Open(error));
        }
        Ok(Looked::Corrupt)
    };
    let descriptor = match place.resolve().await {
        Ok(None) => return Ok(Looked::Nothing),
        Ok(Some(descriptor)) => descriptor,
        Err(error) => return failed(error.into()),
    };
    if descriptor.media_type.is_index() {
        // No image of an index is taken for a cache, as upstream's has no architecture.
        let bytes = store::read(&*place.store, &descriptor, limits.manifest_bytes).await;
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(error) => return failed(error.into()),
        };
        return match Manifest::parse_loosely(&descriptor.media_type, &bytes, limits) {
            Ok(Manifest::Index(index)) if index.manifests.is_empty() => Ok(Looked::Empty),
            Ok(_) => Ok(Looked::Corrupt),
            Err(source) => failed(ImageError::Manifest {
                digest: descriptor.digest.clone(),
                media_type: descriptor.media_type.clone(),
                source,
            }),
        };
    }
    let platform = Platform::host();
    let read = Image::read(&*place.store, &descriptor, &platform, limits);
    match Box::pin(read).await {
        Ok(image) => Ok(Looked::Found(Box::new(image))),
        Err(error) => failed(error),
    }
}

fn ignored(name: &str) -> String {
    format!("Ignoring cache image \"{name}\" because it was corrupt")
}

/// A cache in a registry.
#[derive(Debug)]
pub struct ImageCache {
    place: Place,
    previous: Option<Image>,
    /// What there is to say of it when it is first used.
    note: Option<String>,
    metadata: CacheMetadata,
    notes: Notes,
    /// Where new layers lie until they are pushed.
    temporary: TempDir,
    layers: Vec<(DiffId, Descriptor, Option<Layer>)>,
    /// Whether the image before goes when there is a new one.
    deletes_old: bool,
}

impl ImageCache {
    /// Opens the cache `name`, which need not be there. One that is no cache is empty.
    pub async fn open(
        images: &dyn Images,
        name: &str,
        deletes_old: bool,
        temporary_dir: &Path,
        limits: &Limits,
    ) -> Result<Self, CacheError> {
        let place = images.create(name).await.map_err(CacheError::Place)?;
        Self::at(place, name, deletes_old, temporary_dir, limits).await
    }

    /// Opens the cache in `place`, which is called `name`, as [`open`](Self::open) does.
    pub async fn at(
        place: Place,
        name: &str,
        deletes_old: bool,
        temporary_dir: &Path,
        limits: &Limits,
    ) -> Result<Self, CacheError> {
        let (previous, note) = match look(&place, limits).await? {
            Looked::Nothing => (None, Some("Layer cache not found".to_owned())),
            Looked::Corrupt => (None, Some(ignored(name))),
            Looked::Empty => (None, None),
            Looked::Found(previous) => (Some(*previous), None),
        };
        let label = previous.as_ref().and_then(|it| it.label(CACHE_METADATA));
        let metadata = label.and_then(|it| parse_cache_metadata(it).ok());
        Ok(Self {
            metadata: metadata.unwrap_or_default(),
            notes: Notes::default(),
            temporary: tempfile::tempdir_in(temporary_dir)
                .map_err(|source| CacheError::file("make a folder in", temporary_dir, source))?,
            place,
            previous,
            note,
            layers: Vec::new(),
            deletes_old,
        })
    }

    /// Says if there was none, or none that can be used.
    pub(super) fn announce(&self, log: &dyn Log) {
        if let Some(note) = &self.note {
            log.line(Level::Info, note);
        }
    }

    /// What it says of its layers.
    pub(super) fn metadata(&self) -> &CacheMetadata {
        &self.metadata
    }

    /// What the export found out of layers.
    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// The blob of a layer, and where it is.
    pub(super) fn layer(&self, diff_id: &DiffId) -> Result<(&dyn Store, &Descriptor), CacheError> {
        let layer = self.previous.as_ref().and_then(|it| it.layer(diff_id));
        match layer {
            Some(layer) => Ok((&*self.place.store, layer)),
            None => Err(CacheError::NoLayer {
                sha: diff_id.to_string(),
            }),
        }
    }

    /// Keeps a layer that the cache has.
    ///
    /// As a layer of ours, whatever it was said to be: so does upstream. What it is compressed with
    /// is told by its first bytes.
    pub(super) fn keep(&mut self, diff_id: &DiffId) -> Result<(), CacheError> {
        let mut descriptor = self.layer(diff_id)?.1.clone();
        descriptor.media_type = MediaType::LAYER_GZIP;
        self.layers.push((diff_id.clone(), descriptor, None));
        Ok(())
    }

    /// Keeps a layer that the cache has a second time, if it is compressed as ours are. Whether it is.
    pub(super) fn keep_again(&mut self, diff_id: &DiffId) -> Result<bool, CacheError> {
        let media_type = &self.layer(diff_id)?.1.media_type;
        let is_gzip = [MediaType::LAYER_GZIP, MediaType::DOCKER_LAYER_GZIP].contains(media_type);
        if is_gzip {
            self.keep(diff_id)?;
        }
        Ok(is_gzip)
    }

    /// Where a new layer is to be written before it is [added](Self::add).
    pub(super) fn scratch(&self) -> PathBuf {
        self.temporary.path().join(self.layers.len().to_string())
    }

    /// Gives the file of a compressed layer a second name, which stays when the export takes away its
    /// own. Where that cannot be, the layer is made again.
    pub(super) fn share(&self, layer: &Layer) -> Option<Layer> {
        if layer.descriptor.media_type != MediaType::LAYER_GZIP {
            return None;
        }
        let file = self.temporary.path().join(layer.diff_id.0.hex());
        match std::fs::hard_link(&layer.file, &file) {
            // The same layer in another folder.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return None,
            _ => {}
        }
        Some(Layer {
            file,
            ..layer.clone()
        })
    }

    /// Adds a layer that was written, compressed, to [`scratch`](Self::scratch).
    pub(super) fn add(&mut self, layer: &Layer) {
        self.layers.push((
            layer.diff_id.clone(),
            layer.descriptor.clone(),
            Some(layer.clone()),
        ));
    }

    /// Pushes the image of all that was kept and added.
    pub(super) async fn commit(
        mut self,
        metadata: &CacheMetadata,
        log: &dyn Log,
    ) -> Result<(), CacheError> {
        let image = self.push(metadata).await?;
        if let Some(previous) = self.previous.filter(|_| self.deletes_old)
            && previous.descriptor().digest != image.descriptor().digest
            && let Err(error) = self.place.store.delete(previous.descriptor()).await
        {
            let text = format!("Unable to delete cache image: {}", words::chain(&error));
            log.line(Level::Warn, &text);
        }
        Ok(())
    }

    async fn push(&mut self, metadata: &CacheMetadata) -> Result<Image, CacheError> {
        let name = self.place.name.clone();
        let failed = |cause| CacheError::Save {
            name: name.clone(),
            cause,
        };
        let store = self.place.store.clone();
        if self.layers.is_empty() {
            // It is not compressed, but upstream says so.
            let descriptor = Descriptor::of(MediaType::LAYER_GZIP, &EMPTY_TAR);
            let bytes = Upload::Bytes(bytes::Bytes::from_static(&EMPTY_TAR));
            store.push_blob(&descriptor, bytes).await.map_err(failed)?;
            let diff_id = DiffId(descriptor.digest.clone());
            self.layers.push((diff_id, descriptor, None));
        }
        for (_, descriptor, made) in &self.layers {
            if let Some(made) = made {
                let upload = Upload::Layer(Box::new(made.clone()));
                store.push_blob(descriptor, upload).await.map_err(failed)?;
            }
        }
        let image = self.image(metadata)?;
        let config = &image.manifest().config;
        let bytes = Upload::Bytes(image.config_bytes().clone());
        store.push_blob(config, bytes).await.map_err(failed)?;
        let bytes = image.manifest_bytes().clone();
        let pushed = match &self.place.selector {
            Selector::Tag(tag) => store.push_tagged(image.descriptor(), bytes, tag).await,
            Selector::Digest(_) => store.push_manifest(image.descriptor(), bytes).await,
        };
        pushed.map_err(failed)?;
        Ok(image)
    }

    fn image(&self, metadata: &CacheMetadata) -> Result<Image, CacheError> {
        let mut config = ImageConfig {
            created: Some(CREATED.to_owned()),
            os: "linux".to_owned(),
            ..ImageConfig::default()
        };
        let text = cache_metadata(metadata).map_err(CacheError::Metadata)?;
        config.config.labels.insert(CACHE_METADATA.to_owned(), text);
        let history = History {
            created: Some(CREATED.to_owned()),
            ..History::default()
        };
        config.history = vec![history; self.layers.len()];
        let diff_ids = self.layers.iter().map(|(diff_id, ..)| diff_id.clone());
        config.rootfs.diff_ids = diff_ids.collect();
        let layers = self
            .layers
            .iter()
            .map(|(_, descriptor, _)| descriptor.clone());
        let like = ImageManifest {
            schema_version: 2,
            media_type: Some(MediaType::IMAGE_MANIFEST),
            config: Descriptor::of(MediaType::IMAGE_CONFIG, b""),
            layers: Vec::new(),
            annotations: std::collections::BTreeMap::new(),
            subject: None,
            artifact_type: None,
        };
        Image::new(&like, config, layers.collect()).map_err(CacheError::Image)
    }
}
