//! Makes the layers: several at once, told in order.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream;
use oci::layer::{self, Compression, LayerError, Plain, PlainTar, Sink};
use oci::tar::Writer;
use oci::{Descriptor, DiffId, Image, MediaType, spans};
use tracing::field::Empty;
use tracing::info_span;

use super::slices::cut;
use super::tree::{Content, TreeError};
use super::{ExportContext, ExportError};
use crate::cache::{Cache, Note};
use crate::files::analyzed::{BuildpackLayersMetadata, LayerMetadata, LayerSha, LayersMetadata};
use crate::files::layer::LayerToml;
use crate::files::metadata::BuildMetadata;
use crate::images::{Kind, Uneven, digest_problem};
use crate::layers_dir::{BuildpackDir, LayerDir};
use crate::report::ReportedLayer;
use crate::save::Ahead;
use crate::{Level, Log};

/// What the layers of an image are made of.
pub(super) struct Layers<'a> {
    pub(super) context: &'a ExportContext<'a>,
    pub(super) build: &'a BuildMetadata,
    pub(super) previous: Option<&'a Image>,
    pub(super) temporary: &'a Path,
    /// What pushes them, if they can be pushed one by one.
    pub(super) ahead: Option<&'a Ahead>,
    pub(super) log: &'a dyn Log,
}

/// The layers, and what is said of them.
pub(super) struct Made {
    pub(super) layers: Vec<MadeLayer>,
    pub(super) metadata: LayersMetadata,
}

/// A layer of the image.
pub(super) struct MadeLayer {
    pub(super) id: String,
    pub(super) history: String,
    pub(super) diff_id: DiffId,
    pub(super) descriptor: Descriptor,
    /// `None` if the previous image has it.
    pub(super) made: Option<layer::Layer>,
}

impl From<MadeLayer> for ReportedLayer {
    fn from(layer: MadeLayer) -> Self {
        Self {
            id: layer.id,
            diff_id: layer.diff_id,
            descriptor: layer.descriptor,
            reused: layer.made.is_none(),
        }
    }
}

/// A layer to be made.
struct Step {
    /// What is said before it is told of.
    before: Vec<(Level, String)>,
    id: String,
    history: String,
    role: Role,
    source: Source,
    /// Diff IDs by which the previous image may have it.
    candidates: Vec<DiffId>,
}

/// What is said while layers are listed: each line has its place between layers that are made later.
#[derive(Debug, Default)]
struct Lines(Mutex<Vec<(Level, String)>>);

impl Lines {
    /// What was said since this was asked for.
    fn take(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log for Lines {
    fn line(&self, level: Level, text: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push((level, text.to_owned()));
    }

    fn output(&self, _: &[u8]) {}
}

enum Source {
    /// Made of files.
    Content(Content),
    /// Taken from the previous image, unseen.
    Previous(DiffId),
}

/// What a layer is in the image.
enum Role {
    /// The layer of this buildpack.
    Buildpack(usize, String, LayerMetadata),
    Sbom,
    App,
    Launcher,
    Config,
    ProcessTypes,
}

impl Layers<'_> {
    /// Makes all layers.
    pub(super) async fn make(&self) -> Result<Made, ExportError> {
        let mut made = Made {
            layers: Vec::new(),
            metadata: LayersMetadata::default(),
        };
        let mut steps = Vec::new();
        // What goes wrong here is told after what was done before it.
        let lines = Lines::default();
        let planned = self.plan(&mut steps, &mut made.metadata, &lines);
        let tell = |lines: Vec<(Level, String)>| {
            for (level, text) in lines {
                self.log.line(level, &text);
            }
        };
        let count = steps
            .iter()
            .filter(|it| matches!(it.role, Role::App))
            .count();
        let (mut added, mut reused) = (0, 0);
        let steps = steps.into_iter().enumerate();
        let mut running = stream::iter(steps)
            .map(async |(index, mut step)| {
                let before = std::mem::take(&mut step.before);
                let is_tarball = matches!(step.source, Source::Content(_));
                (before, is_tarball, self.start(index, step).await)
            })
            .buffered(self.context.workers.get());
        while let Some((before, is_tarball, result)) = running.next().await {
            tell(before);
            if let Err(ExportError::Reuse { id: Some(id), .. }) = &result {
                self.log.line(Level::Info, &format!("Reusing layer '{id}'"));
            }
            let (layer, role) = result?;
            if is_tarball && !matches!(role, Role::App) {
                self.log
                    .line(Level::Debug, &tarball(&layer.id, &layer.diff_id));
            }
            if let Role::App = role {
                if layer.made.is_some() {
                    added += 1;
                } else {
                    reused += 1;
                }
            } else {
                let word = if layer.made.is_some() {
                    "Adding"
                } else {
                    "Reusing"
                };
                self.log
                    .line(Level::Info, &format!("{word} layer '{}'", layer.id));
            }
            self.log.line(
                Level::Debug,
                &format!("Layer '{}' SHA: {}", layer.id, layer.diff_id),
            );
            record(&mut made.metadata, role, &layer.diff_id);
            made.layers.push(layer);
            if added + reused == count && count > 0 && made.metadata.app.len() == count {
                self.tell_app(&mut added, &mut reused, count);
            }
        }
        tell(lines.take());
        planned?;
        Ok(made)
    }

    fn tell_app(&self, added: &mut usize, reused: &mut usize, count: usize) {
        for (word, number) in [("Reused", &mut *reused), ("Added", &mut *added)] {
            if *number > 0 {
                self.log.line(
                    Level::Info,
                    &format!("{word} {number}/{count} app layer(s)"),
                );
            }
            // Told once.
            *number = 0;
        }
    }

    /// Lists the layers, and what buildpacks have in `metadata` besides.
    fn plan(
        &self,
        steps: &mut Vec<Step>,
        metadata: &mut LayersMetadata,
        lines: &Lines,
    ) -> Result<(), ExportError> {
        let debug = |text: String| lines.line(Level::Debug, &text);
        let original = &self.context.analyzed.metadata;
        for (index, buildpack) in self.context.group.group.iter().enumerate() {
            let dir = BuildpackDir::read(self.context.layers_dir, buildpack, lines);
            let folder = self.context.layers_dir.join(buildpack.escaped_id());
            let shown = dir.as_ref().map(|_| folder.display().to_string());
            debug(format!(
                "Processing buildpack directory: {}",
                shown.unwrap_or_default()
            ));
            let dir = dir.map_err(|source| ExportError::LayersDir {
                id: buildpack.id.clone(),
                source,
            })?;
            metadata.buildpacks.push(BuildpackLayersMetadata {
                key: buildpack.id.clone(),
                version: buildpack.version.clone(),
                store: dir.store.clone(),
                ..BuildpackLayersMetadata::default()
            });
            let before = original.buildpacks.iter().find(|it| it.key == buildpack.id);
            let mut malformed = Vec::new();
            for layer in &dir.layers {
                let before = before.and_then(|it| it.layers.get(&layer.name));
                match &layer.toml {
                    Ok(toml) if toml.types.launch => {
                        debug(format!("Processing launch layer: {}", layer.path.display()));
                        let metadata = launched(toml);
                        let (source, candidates) =
                            self.source(layer, before, toml.types.cache, lines)?;
                        steps.push(Step {
                            before: lines.take(),
                            id: layer.id.clone(),
                            history: format!(
                                "Layer: '{}', Created by buildpack: {buildpack}",
                                layer.name
                            ),
                            role: Role::Buildpack(index, layer.name.clone(), metadata),
                            source,
                            candidates,
                        });
                    }
                    Ok(_) => {}
                    Err(_) => malformed.push(layer.id.clone()),
                }
            }
            if !malformed.is_empty() {
                return Err(ExportError::MalformedLayers { ids: malformed });
            }
        }
        let sbom = self.context.layers_dir.join("sbom").join("launch");
        if self.context.api.has_sbom_layers() && sbom.exists() {
            let before = original.sbom.as_ref().map_or("", |it| it.sha.as_str());
            let path = sbom.display();
            debug(format!("Found SBOM of type launch for at {path}"));
            steps.push(self.own(
                lines.take(),
                "launch.sbom",
                "Software Bill-of-Materials",
                Role::Sbom,
                Content::Folder(sbom),
                before,
            ));
        }
        debug("Adding app layers".to_owned());
        self.plan_app(steps, lines)?;
        steps.push(self.own(
            Vec::new(),
            "launcher",
            "Buildpacks Application Launcher",
            Role::Launcher,
            Content::Launcher(self.context.launcher.to_owned()),
            &original.launcher.sha,
        ));
        steps.push(self.own(
            Vec::new(),
            "config",
            "Buildpacks Launcher Config",
            Role::Config,
            Content::Folder(self.context.layers_dir.join("config")),
            &original.config.sha,
        ));
        if !self.build.processes().is_empty() {
            let content = Content::process_types(self.build.processes())
                .map_err(ExportError::ProcessTypes)?;
            steps.push(self.own(
                Vec::new(),
                "process-types",
                "Buildpacks Process Types",
                Role::ProcessTypes,
                content,
                &original.process_types.sha,
            ));
        }
        Ok(())
    }

    fn plan_app(&self, steps: &mut Vec<Step>, lines: &Lines) -> Result<(), ExportError> {
        let layers = cut(self.context.app_dir, &self.build.slices).map_err(ExportError::App)?;
        let whole = layers.len() == 1;
        let before = &self.context.analyzed.metadata.app;
        for (index, content) in layers.into_iter().enumerate() {
            let number = index + 1;
            steps.push(Step {
                before: lines.take(),
                id: format!("slice-{number}"),
                history: if whole {
                    "Application Layer".to_owned()
                } else {
                    format!("Application Slice: {number}")
                },
                role: Role::App,
                source: Source::Content(content),
                candidates: before
                    .iter()
                    .filter_map(|it| self.reusable(&it.sha))
                    .collect(),
            });
        }
        Ok(())
    }

    fn own(
        &self,
        told: Vec<(Level, String)>,
        name: &str,
        history: &str,
        role: Role,
        content: Content,
        before: &str,
    ) -> Step {
        Step {
            before: told,
            id: format!("buildpacksio/lifecycle:{name}"),
            history: history.to_owned(),
            role,
            source: Source::Content(content),
            candidates: self.reusable(before).into_iter().collect(),
        }
    }

    /// Where a layer of a buildpack comes from, and by which diff IDs it may be reused.
    fn source(
        &self,
        layer: &LayerDir,
        before: Option<&LayerMetadata>,
        cache: bool,
        lines: &Lines,
    ) -> Result<(Source, Vec<DiffId>), ExportError> {
        if layer.has_contents() {
            let candidates = before.and_then(|it| self.reusable(&it.sha));
            let content = Content::Folder(layer.path.clone());
            return Ok((Source::Content(content), candidates.into_iter().collect()));
        }
        let id = layer.id.clone();
        if cache {
            return Err(ExportError::CacheWithoutContents { id });
        }
        let Some(before) = before else {
            return Err(ExportError::NothingToReuse { id });
        };
        if let Some(diff_id) = self.reusable(&before.sha) {
            return Ok((Source::Previous(diff_id), Vec::new()));
        }
        let sha = &before.sha;
        lines.line(Level::Info, &format!("Reusing layer '{id}'"));
        lines.line(Level::Debug, &format!("Layer '{id}' SHA: {sha}"));
        let problem = match digest_problem(sha) {
            Some(problem) => format!("failed to get layer hash: {problem}"),
            None => format!("failed to get layer by diffID: unknown diffID {sha}"),
        };
        Err(ExportError::NoneToReuse { id, problem })
    }

    /// The cache, if it wants the layer, too, and by which diff ID it may have that.
    fn cache(&self, role: &Role) -> Option<(&Cache, Option<DiffId>)> {
        let Role::Buildpack(index, name, metadata) = role else {
            return None;
        };
        let cache = self.context.cache.filter(|_| metadata.cache)?;
        let buildpack = self.context.group.group.get(*index)?;
        Some((cache, cache.known(&buildpack.id, name)))
    }

    /// The diff ID `sha`, if the previous image has that layer, whatever its metadata says.
    fn reusable(&self, sha: &str) -> Option<DiffId> {
        let diff_id = DiffId(sha.parse().ok()?);
        let has = &self.previous?.config().rootfs.diff_ids;
        has.contains(&diff_id).then_some(diff_id)
    }

    async fn start(&self, index: usize, step: Step) -> Result<(MadeLayer, Role), ExportError> {
        let span = info_span!("layer", "layer-id" = step.id, reused = Empty, bytes = Empty);
        let made = spans::within(span.clone(), self.layer(index, step)).await?;
        span.record("reused", made.0.made.is_none());
        span.record("bytes", made.0.descriptor.size);
        Ok(made)
    }

    async fn layer(&self, index: usize, step: Step) -> Result<(MadeLayer, Role), ExportError> {
        let Step {
            id,
            history,
            role,
            source,
            candidates,
            before: _,
        } = step;
        let outcome = match source {
            Source::Previous(diff_id) => Outcome::Reused(diff_id),
            Source::Content(content) => {
                let target = self.temporary.join(index.to_string());
                let view = self.context.view();
                let compression = compression(self.context.images.kind());
                let cache = self.cache(&role);
                let plain = cache.as_ref();
                let plain = plain.and_then(|(cache, known)| cache.plain(known.as_ref()));
                let folder = content.folder().map(Path::to_owned);
                let work = tokio::task::spawn_blocking(move || {
                    let fill = |layer: &mut Writer<Sink>| content.write(layer, &view);
                    make(fill, &candidates, &target, compression, plain)
                });
                let outcome = match work.await {
                    Ok(outcome) => outcome,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                };
                let (outcome, plain) = outcome.map_err(|source| failed(&role, source))?;
                if let (Some((cache, _)), Some(folder)) = (cache, folder) {
                    let made = match &outcome {
                        Outcome::Added(layer) => cache.share(layer),
                        Outcome::Reused(_) => None,
                    };
                    let note = Note {
                        diff_id: outcome.diff_id().clone(),
                        plain,
                        made,
                    };
                    cache.note(folder, note);
                }
                outcome
            }
        };
        let layer = match outcome {
            Outcome::Added(layer) => {
                // As upstream has it, whatever the image's own family is.
                let descriptor = Descriptor {
                    media_type: MediaType::DOCKER_LAYER_GZIP,
                    ..layer.descriptor.clone()
                };
                if let Some(ahead) = self.ahead {
                    ahead.push(&descriptor, &layer);
                }
                MadeLayer {
                    id,
                    history,
                    diff_id: layer.diff_id.clone(),
                    descriptor,
                    made: Some(*layer),
                }
            }
            Outcome::Reused(diff_id) => {
                if let Some(Err(source)) = self.previous.map(Uneven::check) {
                    let id = (!matches!(role, Role::App)).then_some(id);
                    return Err(ExportError::Reuse { id, source });
                }
                let descriptor = self.previous.and_then(|it| it.layer(&diff_id));
                let Some(descriptor) = descriptor.cloned() else {
                    // It was looked up when the layer was planned.
                    return Err(ExportError::NothingToReuse { id });
                };
                MadeLayer {
                    id,
                    history,
                    diff_id,
                    descriptor,
                    made: None,
                }
            }
        };
        Ok((layer, role))
    }
}

enum Outcome {
    Added(Box<layer::Layer>),
    Reused(DiffId),
}

impl Outcome {
    fn diff_id(&self) -> &DiffId {
        match self {
            Self::Added(layer) => &layer.diff_id,
            Self::Reused(diff_id) => diff_id,
        }
    }
}

/// How layers are stored on their way: a daemon unpacks what it is given, and a launch cache has plain
/// layers.
pub(super) fn compression(kind: Kind) -> Compression {
    match kind {
        Kind::Daemon => Compression::None,
        Kind::Registry | Kind::Layout => Compression::GoGzip,
    }
}

/// What upstream says when it makes a layer a second time, which it always does.
pub(crate) fn tarball(id: &str, diff_id: &DiffId) -> String {
    format!("Reusing tarball for layer \"{id}\" with SHA: {diff_id}")
}

/// Makes one layer. One that may be reused is hashed first: compressing costs much more than
/// reading twice. Its tar is kept besides, if asked for.
fn make(
    fill: impl Fn(&mut Writer<Sink>) -> Result<(), TreeError>,
    candidates: &[DiffId],
    target: &Path,
    compression: Compression,
    plain: Option<Plain>,
) -> Result<(Outcome, Option<PlainTar>), LayerError<TreeError>> {
    let mut plain = plain;
    let mut kept = None;
    if !candidates.is_empty() {
        let (hashed, tar) = layer::hash_beside(plain.take(), &fill)?;
        if candidates.contains(&hashed.diff_id) {
            return Ok((Outcome::Reused(hashed.diff_id), tar));
        }
        kept = tar.map(|tar| (hashed.diff_id, tar));
    }
    let (layer, tar) = layer::write_beside(target, compression, plain, &fill)?;
    // What changed between the two readings is another layer's tar.
    let kept = kept.filter(|(of, _)| *of == layer.diff_id);
    let kept = kept.map(|(_, tar)| tar);
    Ok((Outcome::Added(Box::new(layer)), tar.or(kept)))
}

/// As upstream tells it, which knows no name of a layer that it could not make.
fn failed(role: &Role, source: LayerError<TreeError>) -> ExportError {
    let doing = match role {
        Role::Buildpack(..) | Role::Sbom => "creating layer",
        Role::App => "exporting app layers: creating app layers",
        Role::Launcher => "creating launcher layers",
        Role::Config | Role::ProcessTypes => "creating layer ''",
    };
    ExportError::Layer { doing, source }
}

/// What is told of a layer that is to be in the image, until it is made.
fn launched(toml: &LayerToml) -> LayerMetadata {
    LayerMetadata {
        sha: String::new(),
        build: toml.types.build,
        launch: true,
        cache: toml.types.cache,
        data: toml.metadata.clone(),
    }
}

fn record(metadata: &mut LayersMetadata, role: Role, diff_id: &DiffId) {
    let sha = diff_id.to_string();
    match role {
        Role::Buildpack(index, name, layer) => {
            if let Some(buildpack) = metadata.buildpacks.get_mut(index) {
                buildpack
                    .layers
                    .insert(name, LayerMetadata { sha, ..layer });
            }
        }
        Role::Sbom => metadata.sbom = Some(LayerSha { sha }),
        Role::App => metadata.app.push(LayerSha { sha }),
        Role::Launcher => metadata.launcher = LayerSha { sha },
        Role::Config => metadata.config = LayerSha { sha },
        Role::ProcessTypes => metadata.process_types = LayerSha { sha },
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{self, Read as _};

    use oci::Digest;
    use oci::tar::{Entry, EntryKind};

    use super::*;

    #[test]
    fn what_changes_between_two_readings_is_not_cached_as_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let reading = Cell::new(0);
        let fill = |layer: &mut Writer<Sink>| {
            reading.set(reading.get() + 1);
            let size = reading.get();
            let entry = Entry {
                path: "/f".into(),
                kind: EntryKind::File { size },
                mode: 0o644,
                uid: 0,
                gid: 0,
                mtime: 0,
            };
            let content = io::repeat(b'x').take(size);
            layer.write(&entry, content).map_err(TreeError::Tar)
        };
        let before = [DiffId(Digest::of(b"before"))];
        let target = folder.path().join("layer");
        let plain = Some(Plain::new(None, folder.path()));
        let (outcome, plain) = make(fill, &before, &target, Compression::None, plain).unwrap();
        assert!(matches!(outcome, Outcome::Added(_)));
        assert_eq!(reading.get(), 2);
        assert!(plain.is_none());
    }
}
