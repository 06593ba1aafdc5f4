//! The restorer: brings back what buildpacks wanted to see again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use go::words::PathError;
use oci::{DiffId, Image, Limits, spans};
use tracing::info_span;

use crate::analyze;
use crate::api::PlatformApi;
use crate::cache::{Cache, CacheError};
use crate::export::contains;
use crate::extend::hand_over::{self, HandOverError};
use crate::extract::LayersDir;
use crate::files::analyzed::{
    Analyzed, BuildpackLayersMetadata, LayerMetadata, LayersMetadata, TargetMetadata,
};
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
    let cached = cache.map_or(&empty, Cache::metadata);
    match cache {
        Some(cache) => cache.announce(log),
        None => log.line(
            Level::Debug,
            "Usable cache not provided, using empty cache metadata",
        ),
    }
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
            // Only the content that its metadata are of fits to them: what lies there from before, and
            // has none now, does not.
            let of_metadata = restored.get(&(buildpack.id.clone(), layer.name.clone()));
            if of_metadata != Some(&entry.sha) {
                let text = format!("Removing \"{}\", wrong sha", layer.id);
                log.line(Level::Info, &text);
                remove(&layer.path)?;
                // Lifecycles of old left the digest beside.
                remove(&layer.path.clone().with_extension_added("sha"))?;
                remove(&layer.toml_path())?;
                continue;
            }
            let text = format!("Restoring data for \"{}\" from cache", layer.id);
            log.line(Level::Info, &text);
            waiting.push(Waiting {
                what: format!("layer {}", layer.id),
                sha: entry.sha.clone(),
                layer: Some((buildpack, layer.path.clone(), layer.toml_path())),
            });
        }
    }
    let restores_sboms = context.api.has_sbom_layers() && !context.skip_layers;
    if restores_sboms && !cached.sbom.sha.is_empty() {
        log.line(Level::Info, "Restoring data for SBOM from cache");
        waiting.push(Waiting {
            what: "SBOM".to_owned(),
            sha: cached.sbom.sha.clone(),
            layer: None,
        });
    }
    let mut lost = Vec::new();
    if let Some(cache) = cache {
        lost = stream::iter(waiting)
            .map(|it| it.restore(cache, &layers_dir, log))
            .buffer_unordered(WORKERS)
            .try_filter_map(async |it| Ok(it.layer))
            .try_collect()
            .await?;
    }
    // Metadata without contents would tell the buildpack that the layer is there.
    for (_, folder, toml) in &lost {
        remove(folder)?;
        remove(toml)?;
    }
    if restores_sboms {
        let is_lost = |buildpack: &GroupElement, layer: &OsStr| {
            lost.iter()
                .any(|(of, folder, _)| of.id == buildpack.id && folder.file_name() == Some(layer))
        };
        restore_sboms(context, is_lost)?;
    }
    Ok(())
}

/// What is to be restored of the cache.
struct Waiting<'a> {
    what: String,
    sha: String,
    /// If it is a layer: whose it is, its folder, and its metadata.
    layer: Option<(&'a GroupElement, PathBuf, PathBuf)>,
}

impl Waiting<'_> {
    /// Restores it; then its layer is `None`. One that is missing or broken is left out, and stays.
    async fn restore(
        mut self,
        cache: &Cache,
        layers_dir: &LayersDir,
        log: &dyn Log,
    ) -> Result<Self, RestoreError> {
        let Self { what, sha, .. } = &self;
        let text = if self.layer.is_some() {
            format!("Retrieving data for \"{sha}\"")
        } else {
            format!("Retrieving SBOM layer data for \"{sha}\"")
        };
        log.line(Level::Debug, &text);
        let Ok(digest) = sha.parse() else {
            let text =
                format!("Skipping restore for {what}: failed to find cache layer with SHA '{sha}'");
            log.line(Level::Warn, &text);
            return Ok(self);
        };
        let span = info_span!("cache-restore", what);
        let diff_id = DiffId(digest);
        let restored = cache.restore(&diff_id, layers_dir);
        match spans::within(span, restored).await {
            Ok(()) => {
                self.layer = None;
                Ok(self)
            }
            Err(error) if error.is_about_content() => {
                let text = format!(
                    "Skipping restore for {what}: {}",
                    crate::words::chain(&error)
                );
                log.line(Level::Warn, &text);
                Ok(self)
            }
            Err(source) => Err(RestoreError::Layer {
                what: self.what,
                source,
            }),
        }
    }
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
            files::write(&folder.join("store.toml"), store).map_err(RestoreError::File)?;
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
            let text = format!(
                "Restoring metadata for \"{}:{name}\" from {from}",
                buildpack.id
            );
            log.line(Level::Info, &text);
            let text = format!("Writing layer metadata for \"{}:{name}\"", buildpack.id);
            log.line(Level::Debug, &text);
            let toml = LayerToml {
                metadata: layer.data.clone(),
                ..LayerToml::default()
            };
            let path = folder.join(checked(name)?).with_extension_added("toml");
            files::write(&path, &toml).map_err(RestoreError::File)
        };
        let is_elsewhere = |layer: &LayerMetadata| {
            let exec_env = layer.data.as_ref().and_then(|it| it.get("exec-env"));
            let exec_env = exec_env.map(exec_env_of).unwrap_or_default();
            context.api.has_exec_env() && !is_for(&exec_env, context.exec_env)
        };
        let elsewhere = "for another execution environment";
        let skip = |name: &str, why: &str| {
            let text = format!(
                "Not restoring metadata for \"{}:{name}\", marked as {why}",
                buildpack.id
            );
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
                let text = format!(
                    "Not restoring \"{}:{name}\" from cache, marked as {why}",
                    buildpack.id
                );
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

/// The name of a layer, which comes from an image or a cache, if it is one.
fn checked(name: &str) -> Result<&str, RestoreError> {
    if name.is_empty() || name.contains(['/', '\0']) || name == "." || name == ".." {
        return Err(RestoreError::LayerName {
            name: name.to_owned(),
        });
    }
    Ok(name)
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

/// Puts the SBOMs of layers beside the layers, where buildpacks had them.
///
/// Not of those that are lost.
fn restore_sboms(
    context: &RestoreContext<'_>,
    is_lost: impl Fn(&GroupElement, &OsStr) -> bool,
) -> Result<(), RestoreError> {
    let sboms = context.layers_dir.join("sbom");
    for kind in ["cache", "launch"] {
        for buildpack in &context.group.group {
            let target = context.layers_dir.join(buildpack.escaped_id());
            if !target.is_dir() {
                continue;
            }
            for layer in list(&sboms.join(kind).join(buildpack.escaped_id()))? {
                if layer.file_name().is_some_and(|it| is_lost(buildpack, it)) {
                    continue;
                }
                for file in list(&layer)? {
                    let (Some(layer), Some(name)) = (layer.file_name(), file.file_name()) else {
                        continue;
                    };
                    let mut beside = layer.to_owned();
                    beside.push(".");
                    beside.push(name);
                    let is_plain =
                        |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|it| it.is_file());
                    if is_plain(&file) {
                        let bytes = std::fs::read(&file)
                            .map_err(|source| RestoreError::sbom(&file, source))?;
                        files::write_bytes(&target.join(beside), &bytes)
                            .map_err(RestoreError::File)?;
                    }
                }
            }
        }
    }
    // What stays for want of a right to remove it is for the builder to find.
    remove(&sboms).ok();
    Ok(())
}

/// What is in `folder`; nothing, if it is not a folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    // A link would lead elsewhere.
    if !std::fs::symlink_metadata(folder).is_ok_and(|it| it.is_dir()) {
        return Ok(Vec::new());
    }
    std::fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|it| it.path())).collect())
        .map_err(|source| RestoreError::sbom(folder, source))
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
    #[error("restoring data: restoring {what}")]
    Layer {
        /// Which.
        what: String,
        /// Why.
        source: CacheError,
    },
    /// An image or a cache names a layer that cannot be a folder.
    #[error("`{name}` is not a name of a layer")]
    LayerName {
        /// The name.
        name: String,
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
    #[error("restoring SBOM {}", path.display())]
    Sbom {
        /// Which.
        path: PathBuf,
        /// Why.
        source: OsError,
    },
}

impl RestoreError {
    fn sbom(path: &Path, source: std::io::Error) -> Self {
        Self::Sbom {
            path: path.to_owned(),
            source: OsError(source),
        }
    }
}
