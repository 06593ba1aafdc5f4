//! Fills the cache after a build.

use std::path::{Path, PathBuf};

use oci::layer::{self, Compression, Layer, LayerError};
use oci::{DiffId, spans};
use tracing::info_span;

use super::{Cache, CacheError, blocking};
use crate::api::PlatformApi;
use crate::export::{Content, Owner, TreeError, View, tarball};
use crate::files::analyzed::{BuildpackLayersMetadata, LayerMetadata};
use crate::files::group::Group;
use crate::labels::CacheMetadata;
use crate::layers_dir::{BuildpackDir, LayerDir};
use crate::{Level, Log};

/// What filling a cache needs.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "who caches has to say all of it")]
pub struct CacheContext<'a> {
    /// What the platform speaks.
    pub api: PlatformApi,
    /// The buildpacks that took part.
    pub group: &'a Group,
    /// What the buildpacks left; absolute.
    pub layers_dir: &'a Path,
    /// The folder that images call `/`.
    pub root: &'a Path,
    /// Who owns the layers.
    pub owner: Owner,
}

/// Fills `cache` with the layers that buildpacks want to see again. A layer that cannot be cached
/// is left out, with a warning.
///
/// The log has a line for reusing a layer and one for adding it, also for a layer that is reused,
/// and an image such a layer twice: so did upstream's lifecycle 0.21, and the digests of cache images
/// rest on it.
pub async fn export_cache(
    context: &CacheContext<'_>,
    mut cache: Cache,
    log: &dyn Log,
) -> Result<(), CacheError> {
    cache.announce(log);
    let mut metadata = CacheMetadata::default();
    for buildpack in &context.group.group {
        let dir = BuildpackDir::read(context.layers_dir, buildpack, log).map_err(|source| {
            CacheError::LayersDir {
                id: buildpack.id.clone(),
                source,
            }
        })?;
        let mut before = cache.metadata().buildpacks.iter();
        let before = before.find(|it| it.key == buildpack.id).cloned();
        let before = before.unwrap_or_default();
        let mut made = BuildpackLayersMetadata {
            key: buildpack.id.clone(),
            version: buildpack.version.clone(),
            ..BuildpackLayersMetadata::default()
        };
        for layer in &dir.layers {
            let known = before.layers.get(&layer.name);
            let known = known.map_or("", |it| it.sha.as_str());
            if let Some(entry) = cache_layer(context, &mut cache, layer, known, log).await {
                made.layers.insert(layer.name.clone(), entry);
            }
        }
        metadata.buildpacks.push(made);
    }
    let sbom = context.layers_dir.join("sbom").join("cache");
    if context.api.has_sbom_layers() && sbom.exists() {
        let known = cache.metadata().sbom.sha.clone();
        let id = "buildpacksio/lifecycle:cache.sbom";
        let path = sbom.display();
        let text = format!("Found SBOM of type cache for at {path}");
        log.line(Level::Debug, &text);
        metadata.sbom.sha = add(context, &mut cache, (id, true), sbom, &known, log)
            .await?
            .to_string();
    }
    let commit = async {
        match cache {
            Cache::Directory(cache) => blocking(move || cache.commit(&metadata)).await,
            Cache::Image(cache) => cache.commit(&metadata).await,
        }
    };
    spans::within(info_span!("cache-commit"), commit).await
}

/// Caches one layer, if it is for the cache and can be cached.
async fn cache_layer(
    context: &CacheContext<'_>,
    cache: &mut Cache,
    layer: &LayerDir,
    known: &str,
    log: &dyn Log,
) -> Option<LayerMetadata> {
    // One whose metadata cannot be read has failed the export already.
    let toml = layer.toml.as_ref().ok().filter(|it| it.types.cache)?;
    let warn = |text: String| log.line(Level::Warn, &text);
    if !layer.has_contents() {
        warn(format!(
            "Failed to cache layer '{}' because it has no contents",
            layer.id
        ));
        return None;
    }
    // The export has made the same layer.
    let what = (&*layer.id, toml.types.launch);
    match add(context, cache, what, layer.path.clone(), known, log).await {
        Ok(diff_id) => Some(LayerMetadata {
            sha: diff_id.to_string(),
            build: toml.types.build,
            launch: toml.types.launch,
            cache: true,
            data: toml.metadata.clone(),
        }),
        Err(error) => {
            warn(format!(
                "Failed to cache layer '{}': {}",
                layer.id,
                go::words::chain(&error)
            ));
            None
        }
    }
}

/// Keeps the layer of `folder` if the cache has it as `known`, else adds it. Of the layer it has to be
/// known how it is called, and whether it was made before.
async fn add(
    context: &CacheContext<'_>,
    cache: &mut Cache,
    (id, is_made): (&str, bool),
    folder: PathBuf,
    known: &str,
    log: &dyn Log,
) -> Result<DiffId, CacheError> {
    let span = info_span!("cache-add", "layer-id" = id);
    let what = (id, is_made);
    spans::within(span, keep_or_add(context, cache, what, folder, known, log)).await
}

async fn keep_or_add(
    context: &CacheContext<'_>,
    cache: &mut Cache,
    (id, is_made): (&str, bool),
    folder: PathBuf,
    known: &str,
    log: &dyn Log,
) -> Result<DiffId, CacheError> {
    let mut is_told = !is_made;
    let mut tell_tarball = |diff_id: &DiffId| {
        if !std::mem::replace(&mut is_told, true) {
            log.line(Level::Debug, &tarball(id, diff_id));
        }
    };
    let content = Content::Folder(folder);
    let view = View {
        root: context.root.to_owned(),
        owner: context.owner,
    };
    let failed = |source: LayerError<TreeError>| CacheError::Layer {
        id: id.to_owned(),
        source,
    };
    if let Ok(digest) = known.parse() {
        let known = DiffId(digest);
        let (content, view) = (content.clone(), view.clone());
        let hashed = blocking(move || Ok(layer::hash(|layer| content.write(layer, &view))));
        let hashed = hashed.await?.map_err(failed)?.diff_id;
        tell_tarball(&hashed);
        if hashed == known && keep(cache, id, &known, log)? {
            log.line(Level::Info, &format!("Reusing cache layer '{id}'"));
            tell(id, &known, true, log);
            return Ok(known);
        }
    }
    let (target, compression) = match cache {
        Cache::Directory(cache) => (cache.scratch(), Compression::None),
        Cache::Image(cache) => (cache.scratch(), Compression::GoGzip),
    };
    let written = blocking(move || {
        Ok(layer::write(&target, compression, |layer| {
            content.write(layer, &view)
        }))
    });
    let layer: Layer = written.await?.map_err(failed)?;
    tell_tarball(&layer.diff_id);
    match cache {
        Cache::Directory(cache) => cache.add(&layer)?,
        Cache::Image(cache) => cache.add(&layer),
    }
    tell(id, &layer.diff_id, false, log);
    Ok(layer.diff_id)
}

/// Whether the cache has the layer after all, and keeps it.
fn keep(cache: &mut Cache, id: &str, diff_id: &DiffId, log: &dyn Log) -> Result<bool, CacheError> {
    let kept = match cache {
        Cache::Directory(cache) => cache.keep(diff_id),
        Cache::Image(cache) => cache.keep(diff_id).and_then(|()| cache.keep(diff_id)),
    };
    match kept {
        Ok(()) => Ok(true),
        Err(error) if error.is_about_content() => {
            let text = format!(
                "Skipping reuse for layer {id}: {}",
                go::words::chain(&error)
            );
            log.line(Level::Warn, &text);
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn tell(id: &str, diff_id: &DiffId, reused: bool, log: &dyn Log) {
    if reused {
        log.line(Level::Debug, &format!("Layer '{id}' SHA: {diff_id}"));
    }
    log.line(Level::Info, &format!("Adding cache layer '{id}'"));
    log.line(Level::Debug, &format!("Layer '{id}' SHA: {diff_id}"));
}
