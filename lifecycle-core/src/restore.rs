//! The restorer: brings back what buildpacks wanted to see again.

mod names;
mod sboms;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, stream};
use go::words::{PathError, quoted};
use oci::{DiffId, Image, Limits, spans};
use tracing::info_span;

use crate::analyze;
use crate::api::PlatformApi;
use crate::cache::{Cache, CacheError, UnreadableMetadata};
use crate::export::contains;
use crate::extend::hand_over::{self, HandOverError};
use crate::extract::LayersDir;
use crate::files::analyzed::{
    Analyzed, BuildpackLayersMetadata, LayerMetadata, LayersMetadata, TargetMetadata,
};
use crate::files::any::Any;
use crate::files::group::{Group, GroupElement, exec_env_of, is_for};
use crate::files::layer::LayerToml;
use crate::files::run::Run;
use crate::files::{self, FileError, OsError};
use crate::images::{Images, OpenError, PlaceError, Uneven};
use crate::labels::CacheMetadata;
use crate::layers_dir::{BuildpackDir, LayersDirError};
use crate::{Level, Log};

/// How many layers are extracted at once.
const WORKERS: usize = 4;

/// What the restorer needs.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "who restores has to say all of it"
)]
pub struct RestoreContext<'a> {
    /// What the platform speaks.
    pub api: PlatformApi,
    /// The buildpacks that will run.
    pub group: &'a Group,
    /// What the replaced image says of its layers.
    pub metadata: &'a LayersMetadata,
    /// Where layers are to be; absolute.
    pub layers_dir: &'a Path,
    /// The folder that images call `/`.
    pub root: &'a Path,
    /// The execution environment, e.g. `production`: layers that say that they are for others stay
    /// where they are.
    pub exec_env: &'a str,
    /// Whether only what buildpacks stored is to be restored.
    pub skip_layers: bool,
}

/// Whether the run image may still be read that the analyzer chose, from Platform API 0.14 on. One
/// that the platform does not offer is taken as it is: an extension may have chosen it.
///
/// `readable` says whether a name may be read.
pub async fn confirm_run_image(
    api: PlatformApi,
    analyzed: &Analyzed,
    offered: &Run,
    readable: impl AsyncFn(&str) -> bool,
) -> Result<(), RestoreError> {
    let run_image = analyzed.run_image.as_ref();
    let name = run_image.map_or("", |it| it.image.as_str());
    let is_offered = offered.images.iter().any(|it| contains(it, name));
    if api.restores_launch_layers_from_cache() && is_offered && !readable(name).await {
        return Err(RestoreError::RunImage {
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// How the run image `name` is called for good, and what runs on it, from Platform API 0.12 on; `None`
/// if it is not there.
pub async fn inspect_run_image(
    images: &dyn Images,
    api: PlatformApi,
    name: &str,
    limits: &Limits,
) -> Result<Option<(String, Option<TargetMetadata>)>, RestoreError> {
    let Some(place) = images.open(name).await.map_err(RestoreError::Place)? else {
        return Ok(None);
    };
    let image = place.image(&oci::Platform::host(), limits).await;
    let Some(image) = image.map_err(RestoreError::RunImageUnread)? else {
        return Ok(None);
    };
    let target = api.has_targets().then(|| analyze::target(&image));
    Ok(Some((place.identifier(&image.descriptor().digest), target)))
}

/// Leaves manifest and config of the image `name`, which extensions are to extend, below `folder`;
/// returns how it is called for good, and the image.
pub async fn pull_base(
    images: &dyn Images,
    name: &str,
    folder: &Path,
    limits: &Limits,
    log: &dyn Log,
) -> Result<(String, Image), RestoreError> {
    if name.is_empty() {
        return Err(RestoreError::BaseGone);
    }
    let place = images.open(name).await.map_err(RestoreError::BasePlace)?;
    let place = place.ok_or(RestoreError::BaseGone)?;
    let image = place.image(&oci::Platform::host(), limits).await;
    let image = image.map_err(RestoreError::Base)?;
    let image = image.ok_or(RestoreError::BaseGone)?;
    let target = folder.join(image.descriptor().digest.to_string());
    let text = format!("Saving image metadata to {}...", target.display());
    log.line(Level::Debug, &text);
    if let Err(uneven) = Uneven::check(&image) {
        let missing = image.config().rootfs.diff_ids.first();
        return Err(match missing {
            Some(diff_id) if uneven.layers == 0 => RestoreError::BaseLayer {
                diff_id: diff_id.clone(),
                target,
            },
            _ => RestoreError::BaseLayers(uneven),
        });
    }
    let left = hand_over::leave_base(folder, &image).await;
    left.map_err(RestoreError::HandOver)?;
    Ok((place.identifier(&image.descriptor().digest), image))
}

/// Restores metadata, layers and SBOMs.
pub async fn restore(
    context: &RestoreContext<'_>,
    cache: Option<&Cache>,
    log: &dyn Log,
) -> Result<(), RestoreError> {
    let empty = CacheMetadata::default();
    let cached = if let Some(cache) = cache {
        cache.announce(log);
        let metadata = cache.readable_metadata();
        metadata.map_err(RestoreError::CacheMetadata)?
    } else {
        let text = "Usable cache not provided, using empty cache metadata";
        log.line(Level::Debug, text);
        &empty
    };
    log.line(Level::Debug, "Restoring Layer Metadata");
    let restored = restore_metadata(context, cached, log)?;
    let layers_dir = LayersDir::below(context.root, context.layers_dir);
    let mut waiting = Vec::new();
    for buildpack in &context.group.group {
        let layers = layers_of(&cached.buildpacks, buildpack);
        let text = format!(
            "Reading Buildpack Layers directory {}",
            context.layers_dir.display()
        );
        log.line(Level::Debug, &text);
        let dir = read_dir(context, buildpack, log)?;
        let at_hand = |name: &str| layers.and_then(|it| it.layers.get(name));
        for layer in &dir.layers {
            let Some(entry) = at_hand(&layer.name).filter(|it| it.cache) else {
                continue;
            };
            let id = quoted(layer.id.as_bytes());
            // Only the content that its metadata are of fits to them: what lies there from before, and
            // has none now, does not.
            let of_metadata = restored.get(&(buildpack.id.clone(), layer.name.clone()));
            if of_metadata != Some(&entry.sha) {
                log.line(Level::Info, &format!("Removing {id}, wrong sha"));
                let sha = of_metadata.map_or("", String::as_str);
                let (sha, cached) = (quoted(sha.as_bytes()), quoted(entry.sha.as_bytes()));
                let text = format!("Layer sha: {sha}, cache sha: {cached}");
                log.line(Level::Debug, &text);
                remove(&layer.path)?;
                // Lifecycles of old left the digest beside.
                remove(&layer.path.clone().with_extension_added("sha"))?;
                remove(&layer.toml_path())?;
                continue;
            }
            log.line(Level::Info, &format!("Restoring data for {id} from cache"));
            waiting.push(Waiting {
                sha: entry.sha.clone(),
                layer: Some(CachedLayer {
                    buildpack,
                    id: layer.id.clone(),
                    folder: layer.path.clone(),
                    toml: layer.toml_path(),
                }),
            });
        }
    }
    if context.api.has_sbom_layers() && !cached.sbom.sha.is_empty() {
        if context.skip_layers {
            log.line(Level::Info, "Restoring data for SBOM from cache");
        } else {
            // First, as it mostly comes first in upstream's log.
            let (sha, layer) = (cached.sbom.sha.clone(), None);
            waiting.insert(0, Waiting { sha, layer });
        }
    }
    let mut ended = Vec::new();
    if let Some(cache) = cache {
        // One that fails does not keep the others from their end.
        ended = stream::iter(waiting)
            .map(|it| it.restore(cache, &layers_dir, log))
            .buffer_unordered(WORKERS)
            .collect()
            .await;
    }
    let is_without_sboms =
        |it: &Result<_, RestoreError>| matches!(it, Err(RestoreError::SbomLayer(_)));
    let has_sboms = !ended.iter().any(is_without_sboms);
    let failed = ended.iter().position(is_without_sboms);
    let failed = failed.or_else(|| ended.iter().position(Result::is_err));
    let failed = failed.map(|index| ended.swap_remove(index));
    let lost: Vec<_> = ended.into_iter().flatten().flatten().collect();
    // Metadata without contents would tell the buildpack that the layer is there.
    for layer in lost.iter().filter(|_| failed.is_none()) {
        remove(&layer.folder)?;
        remove(&layer.toml)?;
    }
    let mut beside = Ok(());
    if context.api.has_sbom_layers() && !context.skip_layers && has_sboms {
        let is_lost = |buildpack: &GroupElement, layer: &OsStr| {
            lost.iter()
                .any(|it| it.buildpack.id == buildpack.id && it.folder.file_name() == Some(layer))
        };
        beside = sboms::restore(context, is_lost);
    }
    match failed {
        Some(Err(error)) => Err(error),
        _ => beside,
    }
}

/// What is to be restored of the cache.
struct Waiting<'a> {
    sha: String,
    /// Which layer it is; SBOMs, if none.
    layer: Option<CachedLayer<'a>>,
}

/// A layer that the cache should have.
struct CachedLayer<'a> {
    buildpack: &'a GroupElement,
    id: String,
    folder: PathBuf,
    toml: PathBuf,
}

impl<'a> Waiting<'a> {
    /// Restores it. Returns the layer if it is lost: missing, or broken.
    async fn restore(
        self,
        cache: &Cache,
        layers_dir: &LayersDir,
        log: &dyn Log,
    ) -> Result<Option<CachedLayer<'a>>, RestoreError> {
        let sha = quoted(self.sha.as_bytes());
        let Some(layer) = self.layer else {
            log.line(Level::Info, "Restoring data for SBOM from cache");
            let text = format!("Retrieving SBOM layer data for {sha}");
            log.line(Level::Debug, &text);
            let span = info_span!("cache-restore", what = "SBOM");
            let restored = cache.restore_sbom(&self.sha, layers_dir);
            return match spans::within(span, restored).await {
                Ok(()) => Ok(None),
                Err(error) if error.is_damage() => {
                    skip("SBOM", &error, log);
                    Ok(None)
                }
                Err(error) => Err(RestoreError::SbomLayer(error)),
            };
        };
        let text = format!("Retrieving data for {sha}");
        log.line(Level::Debug, &text);
        let what = format!("layer {}", layer.id);
        let span = info_span!("cache-restore", what);
        let restored = cache.restore(&self.sha, layers_dir);
        match spans::within(span, restored).await {
            Ok(()) => Ok(None),
            Err(error) if error.is_about_content() => {
                skip(&what, &error, log);
                Ok(Some(layer))
            }
            Err(source) => Err(RestoreError::Layer {
                id: layer.id,
                source,
            }),
        }
    }
}

fn skip(what: &str, error: &CacheError, log: &dyn Log) {
    let cause = crate::words::chain(error);
    let text = format!("Skipping restore for {what}: {cause}");
    log.line(Level::Warn, &text);
}

fn layers_of<'a>(
    all: &'a [BuildpackLayersMetadata],
    buildpack: &GroupElement,
) -> Option<&'a BuildpackLayersMetadata> {
    all.iter().find(|it| it.key == buildpack.id)
}

fn read_dir(
    context: &RestoreContext<'_>,
    buildpack: &GroupElement,
    log: &dyn Log,
) -> Result<BuildpackDir, RestoreError> {
    BuildpackDir::read(context.layers_dir, buildpack, log).map_err(RestoreError::LayersDir)
}

/// The content of the layers whose metadata were restored, by buildpack and layer.
type Restored = BTreeMap<(String, String), String>;

/// Writes `store.toml` and `<layer>.toml`, the latter without types: whether the layer is wanted
/// again is for the buildpack to say.
fn restore_metadata(
    context: &RestoreContext<'_>,
    cached: &CacheMetadata,
    log: &dyn Log,
) -> Result<Restored, RestoreError> {
    let mut restored = Restored::new();
    let empty = BuildpackLayersMetadata::default();
    for buildpack in &context.group.group {
        let in_image = layers_of(&context.metadata.buildpacks, buildpack);
        if let Some(store) = in_image.and_then(|it| it.store.as_ref()) {
            let folder = context.layers_dir.join(buildpack.escaped_id());
            if let Some(file) = names::metadata_file(&folder, "store") {
                files::write(&file, store).map_err(RestoreError::File)?;
            }
        }
    }
    if context.skip_layers {
        log.line(Level::Info, "Skipping buildpack layer analysis");
        return Ok(restored);
    }
    for buildpack in &context.group.group {
        let folder = context.layers_dir.join(buildpack.escaped_id());
        let in_image = layers_of(&context.metadata.buildpacks, buildpack).unwrap_or(&empty);
        let in_cache = layers_of(&cached.buildpacks, buildpack).unwrap_or(&empty);
        // What lies there already is told, and has to be readable.
        read_dir(context, buildpack, log)?;
        let write = |name: &str, layer: &LayerMetadata, from: &str| {
            let id = quoted(format!("{}:{name}", buildpack.id).as_bytes());
            let text = format!("Restoring metadata for {id} from {from}");
            log.line(Level::Info, &text);
            log.line(Level::Debug, &format!("Writing layer metadata for {id}"));
            let toml = LayerToml {
                metadata: layer.data.clone(),
                ..LayerToml::default()
            };
            match names::metadata_file(&folder, name) {
                Some(path) => files::write(&path, &toml).map_err(RestoreError::File),
                None => Ok(()),
            }
        };
        let is_elsewhere = |layer: &LayerMetadata| {
            let data = layer.data.as_ref().and_then(Any::to_toml);
            let exec_env = data.as_ref().and_then(|it| it.get("exec-env"));
            let exec_env = exec_env.map(exec_env_of).unwrap_or_default();
            context.api.has_exec_env() && !is_for(&exec_env, context.exec_env)
        };
        let elsewhere = "for another execution environment";
        let skip = |name: &str, why: &str| {
            let id = quoted(format!("{}:{name}", buildpack.id).as_bytes());
            let text = format!("Not restoring metadata for {id}, marked as {why}");
            log.line(Level::Debug, &text);
        };
        for (name, layer) in &in_image.layers {
            let is_cached = in_cache.layers.get(name).is_some_and(|it| it.cache);
            if !layer.launch {
                skip(name, "launch=false");
            } else if layer.build && !layer.cache {
                // The contents would have to be there, and are not.
                skip(name, "build=true, cache=false");
            } else if is_elsewhere(layer) {
                skip(name, elsewhere);
            } else if layer.cache && !is_cached {
                skip(name, "cache=true, but not found in cache");
            } else {
                write(name, layer, "app image")?;
                let key = (buildpack.id.clone(), name.clone());
                restored.insert(key, layer.sha.clone());
            }
        }
        for (name, layer) in &in_cache.layers {
            let alone = context.api.restores_launch_layers_from_cache()
                && !in_image.layers.contains_key(name);
            let skip = |why: &str| {
                let id = quoted(format!("{}:{name}", buildpack.id).as_bytes());
                let text = format!("Not restoring {id} from cache, marked as {why}");
                log.line(Level::Debug, &text);
            };
            if !layer.cache {
                skip("cache=false");
            } else if layer.launch && !alone {
                skip("launch=true");
            } else if is_elsewhere(layer) {
                skip(elsewhere);
            } else {
                write(name, layer, "cache")?;
                let key = (buildpack.id.clone(), name.clone());
                restored.insert(key, layer.sha.clone());
            }
        }
    }
    Ok(restored)
}

trait WithExtensionAdded {
    fn with_extension_added(self, extension: &str) -> PathBuf;
}

impl WithExtensionAdded for PathBuf {
    /// `with_extension` would replace what follows a dot in the name.
    fn with_extension_added(self, extension: &str) -> PathBuf {
        let mut path = self.into_os_string();
        path.push(".");
        path.push(extension);
        path.into()
    }
}

fn remove(path: &Path) -> Result<(), RestoreError> {
    go::files::remove_all(path).map_err(RestoreError::Remove)
}

/// Why nothing was restored. The texts are upstream's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// An image that is to be extended cannot be read.
    #[error("failed to initialize remote image")]
    Base(#[source] OpenError),
    /// The name of an image that is to be extended is malformed, or nothing can lie there.
    #[error("failed to initialize remote image")]
    BasePlace(#[source] PlaceError),
    /// An image that is to be extended is not there.
    #[error("failed to get remote image")]
    BaseGone,
    /// What the cache says of its layers may not be read.
    #[error("retrieving cache metadata")]
    CacheMetadata(#[source] UnreadableMetadata),
    /// An image that is to be extended does not have a layer that its config speaks of.
    #[error(
        "failed to save layout image: failed to write image to the following tags: [{}: failed to find layer with diffID {diff_id}]",
        target.display()
    )]
    BaseLayer {
        /// Where it was to be left.
        target: PathBuf,
        /// Which layer.
        diff_id: DiffId,
    },
    /// Of an image that is to be extended it cannot be said which layer is which.
    #[error("failed to initialize layout image")]
    BaseLayers(#[source] Uneven),
    /// A file could not be written.
    #[error(transparent)]
    File(FileError),
    /// What the extender needs could not be left.
    #[error("failed to create cache directory")]
    HandOver(#[source] HandOverError),
    /// A layer could not be restored.
    #[error("restoring data: restoring layer {id}")]
    Layer {
        /// Which.
        id: String,
        /// Why.
        source: CacheError,
    },
    /// The folder of a buildpack cannot be read.
    #[error("reading buildpack layer directory")]
    LayersDir(#[source] LayersDirError),
    /// A name is no place for an image.
    #[error(transparent)]
    Place(PlaceError),
    /// Something could not be removed.
    #[error("removing layer: {0}")]
    Remove(PathError),
    /// The run image may not be read any more.
    #[error("selected run image '{name}' is not accessible")]
    RunImage {
        /// Which.
        name: String,
    },
    /// The run image cannot be read.
    #[error(transparent)]
    RunImageUnread(OpenError),
    /// An SBOM could not be read.
    #[error("restoring data: open {}", path.display())]
    Sbom {
        /// Which.
        path: PathBuf,
        /// Why.
        source: OsError,
    },
    /// An SBOM could not be put beside its layer.
    #[error("restoring data")]
    SbomFile(#[source] FileError),
    /// The SBOMs of the cache could not be restored.
    #[error("restoring data")]
    SbomLayer(#[source] CacheError),
}

impl RestoreError {
    fn sbom(path: &Path, source: std::io::Error) -> Self {
        Self::Sbom {
            path: path.to_owned(),
            source: OsError(source),
        }
    }
}
