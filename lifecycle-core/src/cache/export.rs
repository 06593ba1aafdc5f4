//! Fills the cache after a build.

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use futures_util::{StreamExt as _, stream};
use oci::layer::{self, Compression, Layer, LayerError, PlainTar};
use oci::{DiffId, spans};
use tracing::info_span;

use super::{Cache, CacheError, Note, blocking};
use crate::api::PlatformApi;
use crate::export::{Content, Owner, TreeError, View, tarball};
use crate::extract::ExtractError;
use crate::files::analyzed::{BuildpackLayersMetadata, LayerMetadata};
use crate::files::group::Group;
use crate::labels::CacheMetadata;
use crate::layers_dir::{BuildpackDir, LayerDir};
use crate::log::Silent;
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

impl CacheContext<'_> {
    fn view(&self) -> View {
        View {
            root: self.root.to_owned(),
            owner: self.owner,
        }
    }
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
    cache.readable_metadata().map_err(CacheError::Previous)?;
    look_ahead(context, &cache).await;
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
            Cache::Image(cache) => cache.commit(&metadata, log).await,
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
                crate::words::chain(&error)
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
    let failed = |source| CacheError::Layer {
        id: id.to_owned(),
        source,
    };
    let known = known.parse().ok().map(DiffId);
    let note = match cache.take_note(&folder) {
        Some(note) => Some(note),
        None if is_looked_at(cache, known.as_ref()) => {
            let look = look(context, cache, &folder, known.as_ref());
            Some(blocking(move || Ok(look())).await?.map_err(failed)?)
        }
        None => None,
    };
    if let Some(note) = &note {
        tell_tarball(&note.diff_id);
    }
    if let (Some(known), Some(note)) = (known, &note)
        && note.diff_id == known
        && keep(cache, id, note, log)?
    {
        log.line(Level::Info, &format!("Reusing cache layer '{id}'"));
        log.line(Level::Debug, &format!("Layer '{id}' SHA: {known}"));
        if add_again(cache, &known)? {
            tell(id, &known, log);
            return Ok(known);
        }
    }
    let diff_id = match (cache, note) {
        (
            Cache::Directory(cache),
            Some(Note {
                diff_id,
                plain: Some(PlainTar::New(file)),
                ..
            }),
        ) => {
            cache.add_plain(&diff_id, file)?;
            diff_id
        }
        (
            Cache::Image(cache),
            Some(Note {
                diff_id,
                made: Some(made),
                ..
            }),
        ) => {
            cache.add(&made);
            diff_id
        }
        (cache, _) => write(context, cache, folder).await?.map_err(failed)?,
    };
    tell_tarball(&diff_id);
    tell(id, &diff_id, log);
    Ok(diff_id)
}

/// Writes the layer of `folder`, and adds it.
async fn write(
    context: &CacheContext<'_>,
    cache: &mut Cache,
    folder: PathBuf,
) -> Result<Result<DiffId, LayerError<TreeError>>, CacheError> {
    let (target, compression) = match cache {
        Cache::Directory(cache) => (cache.scratch(), Compression::None),
        Cache::Image(cache) => (cache.scratch(), Compression::GoGzip),
    };
    let (content, view) = (Content::Folder(folder), context.view());
    let written = blocking(move || {
        Ok(layer::write(&target, compression, |layer| {
            content.write(layer, &view)
        }))
    });
    let layer: Layer = match written.await? {
        Ok(layer) => layer,
        Err(error) => return Ok(Err(error)),
    };
    match cache {
        Cache::Directory(cache) => cache.add(&layer)?,
        Cache::Image(cache) => cache.add(&layer),
    }
    Ok(Ok(layer.diff_id))
}

/// Looks at all layers that the export has not looked at, several at once. What fails is found to fail
/// again when it is that layer's turn.
async fn look_ahead(context: &CacheContext<'_>, cache: &Cache) {
    let workers = available_parallelism().map_or(1, usize::from);
    let mut looks = Vec::new();
    for buildpack in &context.group.group {
        let Ok(dir) = BuildpackDir::read(context.layers_dir, buildpack, &Silent) else {
            continue;
        };
        for layer in dir.layers {
            let is_cached = layer.toml.as_ref().is_ok_and(|it| it.types.cache);
            let known = cache.known(&buildpack.id, &layer.name);
            if is_cached
                && layer.has_contents()
                && !cache.is_noted(&layer.path)
                && is_looked_at(cache, known.as_ref())
            {
                looks.push(async move {
                    // Opens a file: not before it is this layer's turn.
                    let look = look(context, cache, &layer.path, known.as_ref());
                    if let Ok(Ok(note)) = blocking(move || Ok(look())).await {
                        cache.note(layer.path, note);
                    }
                });
            }
        }
    }
    stream::iter(looks)
        .buffer_unordered(workers)
        .collect::<()>()
        .await;
}

/// Whether a layer is hashed before it is added: an image has no use for that if it lacks the layer.
fn is_looked_at(cache: &Cache, known: Option<&DiffId>) -> bool {
    matches!(cache, Cache::Directory(_)) || known.is_some()
}

/// What hashes the layer of `folder`, and finds or makes its tar.
fn look(
    context: &CacheContext<'_>,
    cache: &Cache,
    folder: &Path,
    known: Option<&DiffId>,
) -> impl FnOnce() -> Result<Note, LayerError<TreeError>> + Send + use<> {
    let (content, view) = (Content::Folder(folder.to_owned()), context.view());
    let plain = cache.plain(known);
    move || {
        let (hashed, plain) = layer::hash_beside(plain, |layer| content.write(layer, &view))?;
        Ok(Note {
            diff_id: hashed.diff_id,
            plain,
            made: None,
        })
    }
}

/// Whether the cache has the layer after all, and keeps it.
fn keep(cache: &mut Cache, id: &str, note: &Note, log: &dyn Log) -> Result<bool, CacheError> {
    let diff_id = &note.diff_id;
    let kept = match cache {
        Cache::Directory(cache) if matches!(note.plain, Some(PlainTar::Same)) => {
            cache.link(diff_id)
        }
        Cache::Directory(cache) => cache.keep(diff_id),
        Cache::Image(cache) => cache.keep(diff_id),
    };
    match kept {
        Ok(()) => Ok(true),
        Err(error) if error.is_about_content() => {
            let text = format!(
                "Skipping reuse for layer {id}: {}",
                crate::words::chain(&error)
            );
            log.line(Level::Warn, &text);
            Ok(false)
        }
        Err(
            source @ (CacheError::NotHad { .. }
            | CacheError::Retrieve { .. }
            | CacheError::Extract(ExtractError::Hash(_))),
        ) => Err(CacheError::Verify {
            id: id.to_owned(),
            source: Box::new(source),
        }),
        Err(error) => Err(error),
    }
}

/// Adds a layer that is kept, since upstream adds it, too. Not if it would have to be made for that: an
/// image has it as somebody else packed it, and then as we do.
fn add_again(cache: &mut Cache, diff_id: &DiffId) -> Result<bool, CacheError> {
    match cache {
        // There it is one file.
        Cache::Directory(_) => Ok(true),
        Cache::Image(cache) => cache.keep_again(diff_id),
    }
}

fn tell(id: &str, diff_id: &DiffId, log: &dyn Log) {
    log.line(Level::Info, &format!("Adding cache layer '{id}'"));
    log.line(Level::Debug, &format!("Layer '{id}' SHA: {diff_id}"));
}
