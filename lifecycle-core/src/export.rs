//! The exporter: makes the image of what the buildpacks left, and pushes it.
//!
//! The image is the run image with layers on top, in this order, each if there is one:
//!
//! | layer | holds |
//! |---|---|
//! | of each extension | what it made of the run image, as the extender left it |
//! | of each buildpack, by name | what it wants at launch |
//! | `launch.sbom` | the SBOMs of these |
//! | `slice-1` … | the app |
//! | `launcher` | what starts it |
//! | `config` | how |
//! | `process-types` | a link to the launcher for each process |
//!
//! A layer that the previous image has is hashed, and neither compressed nor uploaded.

mod extended;
mod layers;
mod open;
pub(crate) mod run_image;
mod sbom;
mod slices;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use go::words::PathError;
use oci::{History, Image, ImageConfig, ImageError, Limits, Selector, Tag};

use self::extended::Extended;
use self::layers::{Layers, Made, compression};
use crate::api::PlatformApi;
use crate::cache::{Cache, CacheError, DirectoryCache};
use crate::extend::hand_over::HandOverError;
use crate::files::analyzed::{Analyzed, LayersMetadata, RunImageMetadata, StackMetadata};
use crate::files::build_toml::BuildToml;
use crate::files::group::Group;
use crate::files::metadata::{BomEntry, BuildMetadata};
use crate::files::project_metadata::ProjectMetadata;
use crate::files::run::RunImages;
use crate::files::{self, FileError};
use crate::images::{Images, Kind, NoBase, OpenError, PlaceError, Uneven, parse_name};
use crate::labels::{self, LabelError, LifecycleVersion};
use crate::layers_dir::LayersDirError;
use crate::report::{Report, ReportedRunImage};
use crate::save::{Ahead, Origin, Save, SaveError};
use crate::{Level, Log};

pub use self::extended::ExtendedLayerError;
pub(crate) use self::layers::tarball;
pub use self::open::{Opened, open, source_date_epoch};
pub use self::run_image::run_image_for_export;
use self::run_image::{RunImage, metadata_path};
pub(crate) use self::run_image::{contains, normal};
pub use self::sbom::OwnSboms;
pub(crate) use self::tree::{Content, View};
pub use self::tree::{Owner, TreeError};

/// What the exporter needs.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "who exports has to say all of it"
)]
pub struct ExportContext<'a> {
    /// What the platform speaks.
    pub api: PlatformApi,
    /// Where images are.
    pub images: &'a dyn Images,
    /// What the image is to be called; the first is its name in the log.
    pub names: &'a [String],
    /// What the analyzer found.
    pub analyzed: &'a Analyzed,
    /// The buildpacks that took part.
    pub group: &'a Group,
    /// Where the source came from.
    pub project: &'a ProjectMetadata,
    /// The folder that the image calls `/`: app and layers lie below it, and keep their paths there.
    pub root: &'a Path,
    /// The app; absolute.
    pub app_dir: &'a Path,
    /// What the buildpacks left; absolute.
    pub layers_dir: &'a Path,
    /// What the extender left, if extensions may have extended the run image.
    pub extended_dir: Option<&'a Path>,
    /// The launcher.
    pub launcher: &'a Path,
    /// Where the SBOMs of lifecycle and launcher are.
    pub own_sboms: OwnSboms<'a>,
    /// What to start, whatever the buildpacks say.
    pub process_type: Option<&'a str>,
    /// What the image is built for, e.g. `production`.
    pub exec_env: &'a str,
    /// Who owns the app.
    pub owner: Owner,
    /// What will be [filled](crate::cache::export_cache) after this, with the same layers, root and
    /// owner: it need not read them again then.
    pub cache: Option<&'a Cache>,
    /// Whether the label of an image in a layout names the run image by its own digest. Upstream names
    /// an empty image.
    pub layout_digests: bool,
    /// When the image was made, in seconds since 1970, as it was given: `SOURCE_DATE_EPOCH`.
    pub source_date_epoch: Option<&'a str>,
    /// Which lifecycle this is.
    pub lifecycle: &'a LifecycleVersion,
    /// Where temporary files may be; they are as large as the image.
    pub temporary_dir: &'a Path,
    /// How many layers are made, or pushed, at once.
    pub workers: NonZeroUsize,
    /// How much is read of images.
    pub limits: &'a Limits,
}

impl ExportContext<'_> {
    /// How files appear in the image.
    fn view(&self) -> View {
        View {
            root: self.root.to_owned(),
            owner: self.owner,
        }
    }
}

/// The annotations of the image: those of the run image. In a layout its own name is one of them.
fn annotations(
    context: &ExportContext<'_>,
    base: &Image,
) -> Result<BTreeMap<String, String>, ExportError> {
    let mut annotations = base.manifest().annotations.clone();
    if let (Kind::Layout, Some(name)) = (context.images.kind(), context.names.first()) {
        let reference = parse_name(name).map_err(ExportError::Place)?;
        let last = match reference.selector() {
            Some(Selector::Tag(tag)) => tag.to_string(),
            Some(Selector::Digest(digest)) => digest.to_string(),
            None => Tag::LATEST.to_owned(),
        };
        annotations.insert(REF_NAME.to_owned(), last);
    }
    Ok(annotations)
}

/// The annotation that names an image of a layout.
///
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Makes the image and pushes it: blobs, then the manifest, then each name. A rebase may find run
/// images of its kind in `run_images`.
pub async fn export(
    context: &ExportContext<'_>,
    opened: Opened,
    run_images: &RunImages,
    log: &dyn Log,
) -> Result<Report, ExportError> {
    let Opened {
        run_image,
        previous,
        launch_cache,
        extended,
        created,
    } = opened;
    let previous = previous.as_deref();
    let run_image = RunImage::new(context, *run_image, run_images)?;
    if context.api.has_launcher_sbom() {
        sbom::copy(context, log)?;
    }
    let path = metadata_path(context.layers_dir);
    let build: BuildMetadata = files::read_required(&path).map_err(ExportError::Metadata)?;

    // Dropped at the end, with the files.
    let temporary =
        tempfile::tempdir_in(context.temporary_dir).map_err(|source| ExportError::Temporary {
            path: context.temporary_dir.to_owned(),
            source,
        })?;
    let ahead = ahead(context).await;
    let mut made = Layers {
        context,
        build: &build,
        previous: previous.map(|(_, image)| image),
        temporary: temporary.path(),
        ahead: ahead.as_ref(),
        log,
    }
    .make()
    .await?;

    let unasked = match &extended {
        Some(_) => None,
        None => extended::unasked(context)?,
    };
    if let Some(extended) = extended.as_ref().or(unasked.as_ref()) {
        let below = extended.layers(temporary.path(), compression(context.images.kind()))?;
        made.layers.splice(..0, below);
    }
    let parts = (&run_image, extended.as_ref(), created);
    let config = configure(context, parts, &build, &made, log)?;
    let descriptors = run_image.image.layers().map(|(layer, _)| layer.clone());
    let descriptors = descriptors.chain(made.layers.iter().map(|it| it.descriptor.clone()));
    let annotations = annotations(context, &run_image.image)?;
    let image = Image::on(&run_image.image, annotations, config, descriptors.collect());
    let image = image.map_err(ExportError::Image)?;
    let bom = build_bom(context)?;
    let below = run_image.image.layers();
    let below = below.map(|(layer, _)| (layer.clone(), Origin::Place(&run_image.place)));
    let above = made.layers.iter().map(|layer| {
        let origin = match (&layer.made, previous) {
            (Some(made), _) => Origin::Made(made),
            (None, Some((place, _))) => Origin::Place(place),
            (None, None) => {
                let id = layer.id.clone();
                return Err(ExportError::NothingToReuse { id });
            }
        };
        Ok((layer.descriptor.clone(), origin))
    });
    if let Some(cache) = &launch_cache {
        keep(cache, &made)?;
    }
    let save = Save {
        images: context.images,
        names: context.names,
        image: &image,
        layers: below.map(Ok).chain(above).collect::<Result<_, _>>()?,
        workers: context.workers,
        ahead,
    };
    let saved = save.save(log).await?;
    if let Some(cache) = launch_cache {
        cache
            .commit_layers()
            .map_err(ExportError::CommitLaunchCache)?;
    }
    Ok(Report {
        image: image.descriptor().clone(),
        image_id: image.id().clone(),
        names: saved.names,
        kind: context.images.kind(),
        daemon_id: saved.image_id,
        run_image: ReportedRunImage {
            name: run_image.name,
            reference: run_image.metadata.reference.clone(),
            metadata: run_image.metadata,
        },
        buildpacks: context.group.group.clone(),
        extensions: context.group.group_extensions.clone(),
        processes: build.processes.unwrap_or_default(),
        layers: made.layers.into_iter().map(Into::into).collect(),
        bom,
    })
}

/// What pushes layers as soon as they are made, where each can be pushed by itself.
async fn ahead(context: &ExportContext<'_>) -> Option<Ahead> {
    let name = context.names.first()?;
    if context.images.kind() != Kind::Registry {
        return None;
    }
    let place = context.images.create(name).await.ok()?;
    Some(Ahead::new(place))
}

/// Keeps the layers of the image for the next one. Those that are used again, and that the cache
/// lacks, stay in the daemon alone: to have them from there would cost all of the image.
fn keep(cache: &DirectoryCache, made: &Made) -> Result<(), ExportError> {
    for layer in &made.layers {
        let kept = match &layer.made {
            Some(made) => cache.add_copy(made),
            None => match cache.keep(&layer.diff_id) {
                Err(error) if error.is_about_content() => Ok(()),
                kept => kept,
            },
        };
        kept.map_err(ExportError::LaunchCache)?;
    }
    Ok(())
}

/// The config of the image: labels, environment, entry point and history.
fn configure(
    context: &ExportContext<'_>,
    (run_image, extended, created): (&RunImage, Option<&Extended>, Option<i64>),
    build: &BuildMetadata,
    made: &Made,
    log: &dyn Log,
) -> Result<ImageConfig, ExportError> {
    let created = time(created.unwrap_or(tree::MTIME))?;
    let mut config = run_image.image.config().clone();
    if let Some(extended) = extended {
        config.config = extended.image.config().clone().config;
    }
    config.created = Some(created.clone());
    config.container.clear();
    config.history = history(context, &run_image.image, made, &created);
    config
        .rootfs
        .diff_ids
        .extend(made.layers.iter().map(|it| it.diff_id.clone()));
    set_labels(context, &mut config, run_image, build, made, log)?;
    set_environment(context, &mut config, log);
    let app_dir = context.view().name(context.app_dir).display().to_string();
    log.line(Level::Debug, &format!("Setting WORKDIR: '{app_dir}'"));
    config.config.working_dir = app_dir;
    let entrypoint = entrypoint(context, build, log)?;
    log.line(Level::Debug, &format!("Setting ENTRYPOINT: '{entrypoint}'"));
    config.config.entrypoint = vec![entrypoint];
    config.config.cmd.clear();
    Ok(config)
}

/// A time of a config.
fn time(seconds: i64) -> Result<String, ExportError> {
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|it| {
            it.format(&time::format_description::well_known::Rfc3339)
                .ok()
        })
        .ok_or(ExportError::Created { seconds })
}

/// One entry for each layer, as it is done in images without empty layers.
fn history(context: &ExportContext<'_>, base: &Image, made: &Made, created: &str) -> Vec<History> {
    let base_layers = base.manifest().layers.len();
    let told = base.config().history.iter();
    let told: Vec<_> = told.filter(|it| !it.empty_layer).cloned().collect();
    let told = if context.api.has_history() && told.len() == base_layers {
        told
    } else {
        vec![History::default(); base_layers]
    };
    let ours = made.layers.iter().map(|layer| History {
        created_by: if context.api.has_history() {
            layer.history.clone()
        } else {
            String::new()
        },
        ..History::default()
    });
    told.into_iter()
        .chain(ours)
        .map(|entry| History {
            created: Some(created.to_owned()),
            ..entry
        })
        .collect()
}

fn set_labels(
    context: &ExportContext<'_>,
    config: &mut ImageConfig,
    run_image: &RunImage,
    build: &BuildMetadata,
    made: &Made,
    log: &dyn Log,
) -> Result<(), ExportError> {
    let of_run_image = run_image.metadata.clone();
    let metadata = LayersMetadata {
        stack: Some(StackMetadata {
            run_image: of_run_image.images.clone(),
        }),
        run_image: RunImageMetadata {
            images: if context.api.has_targets() {
                of_run_image.images
            } else {
                RunImages::default()
            },
            ..of_run_image
        },
        ..made.metadata.clone()
    };
    let mut set = |key: &str, value: String| {
        log.line(Level::Info, &format!("Adding label '{key}'"));
        config.config.labels.insert(key.to_owned(), value);
    };
    let failed = |doing| move |source| ExportError::Label { doing, source };
    set(
        labels::LIFECYCLE_METADATA,
        labels::lifecycle_metadata(&metadata).map_err(failed("marshall metadata"))?,
    );
    set(
        labels::BUILD_METADATA,
        labels::build_metadata(build, context.lifecycle, context.api)
            .map_err(failed("parse build metadata"))?,
    );
    set(
        labels::PROJECT_METADATA,
        labels::project_metadata(context.project).map_err(failed("parse project metadata"))?,
    );
    for label in &build.labels {
        set(&label.key, label.value.clone());
    }
    if context.api.has_exec_env() {
        set(labels::EXEC_ENV, context.exec_env.to_owned());
    }
    Ok(())
}

fn set_environment(context: &ExportContext<'_>, config: &mut ImageConfig, log: &dyn Log) {
    let view = context.view();
    let layers_dir = view.name(context.layers_dir).display().to_string();
    let app_dir = view.name(context.app_dir).display().to_string();
    for (name, value) in [
        ("CNB_LAYERS_DIR", layers_dir.as_str()),
        ("CNB_APP_DIR", &app_dir),
        ("CNB_PLATFORM_API", context.api.as_str()),
        ("CNB_DEPRECATION_MODE", "quiet"),
    ] {
        log.line(Level::Debug, &format!("Setting {name}={value}"));
        config.config.set_env(name, value);
    }
    log.line(
        Level::Debug,
        "Prepending /cnb/process and /cnb/lifecycle to PATH",
    );
    // Upstream reads a value with `=` in it as empty; to keep it would give another image ID.
    let path = config.config.env("PATH").filter(|it| !it.contains('='));
    let path = format!("/cnb/process:/cnb/lifecycle:{}", path.unwrap_or_default());
    config.config.set_env("PATH", &path);
}

fn entrypoint(
    context: &ExportContext<'_>,
    build: &BuildMetadata,
    log: &dyn Log,
) -> Result<String, ExportError> {
    let asked = context.process_type.filter(|it| !it.is_empty());
    if let Some(name) = asked
        && build.process(name).is_none()
    {
        let known = build.processes().iter().map(|it| it.r#type.clone());
        return Err(ExportError::NoSuchProcess {
            name: name.to_owned(),
            known: known.collect(),
        });
    }
    let default = Some(build.buildpack_default_process_type.as_str());
    let Some(name) = asked.or(default.filter(|it| !it.is_empty())) else {
        log.line(Level::Info, "no default process type");
        return Ok(tree::LAUNCHER.to_owned());
    };
    log.line(
        Level::Info,
        &format!("Setting default process type '{name}'"),
    );
    Ok(process_path(name))
}

/// Where the launcher lies that starts processes of this type. A type is a name only as long as it is none
/// of a folder.
fn process_path(name: &str) -> String {
    go::glob::clean(&format!("/cnb/process/{name}"))
}

/// What buildpacks say they used, before Platform API 0.9.
fn build_bom(context: &ExportContext<'_>) -> Result<Vec<BomEntry>, ExportError> {
    let mut bom = Vec::new();
    if context.api.has_sbom_files_only() {
        return Ok(bom);
    }
    for buildpack in &context.group.group {
        let folder = context.layers_dir.join(buildpack.escaped_id());
        let build: Option<BuildToml> =
            files::read(&folder.join("build.toml")).map_err(ExportError::Bom)?;
        let entries = build.unwrap_or_default().bom.into_iter();
        bom.extend(entries.map(|entry| BomEntry {
            name: entry.name,
            metadata: entry.metadata,
            buildpack: buildpack.identity(),
        }));
    }
    Ok(bom)
}

/// Why there is no image. The texts are upstream's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The app could not be cut into layers.
    #[error("exporting app layers: creating app layers")]
    App(#[source] TreeError),
    /// What buildpacks say they used cannot be read.
    #[error("failed to read build.toml")]
    Bom(#[source] FileError),
    /// What was kept of the image could not take the place of what was kept before.
    #[error("failed to commit cache")]
    CommitLaunchCache(#[source] CacheError),
    /// The daemon cannot be asked for the run image.
    #[error(transparent)]
    Daemon(PlaceError),
    /// A layer is to be cached, but has no contents.
    #[error("layer '{id}' is cache=true but has no contents")]
    CacheWithoutContents {
        /// Which.
        id: String,
    },
    /// The time of the image has no place in a config.
    #[error("{seconds} seconds since 1970 is no time of an image")]
    Created {
        /// The time.
        seconds: i64,
    },
    /// What an image in a layout is known by is malformed.
    #[error("{problem}")]
    Identifier {
        /// Which image: `run` or `previous`.
        of: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The image could not be put together.
    #[error("failed to make the image")]
    Image(#[source] ImageError),
    /// A label has no value.
    #[error("{doing}")]
    Label {
        /// What upstream calls the making of this label.
        doing: &'static str,
        /// Why.
        source: LabelError,
    },
    /// A layer of an extension could not be made.
    #[error("failed to create layer from tar path {}", path.display())]
    ExtensionLayer {
        /// Which.
        path: PathBuf,
        /// Why.
        source: oci::layer::LayerError<ExtendedLayerError>,
    },
    /// The extended run image cannot be read.
    #[error(transparent)]
    Extended(HandOverError),
    /// The same, where nobody said that it was extended.
    #[error(transparent)]
    ExtendedLayers(HandOverError),
    /// A layer could not be made.
    #[error("{doing}")]
    Layer {
        /// What upstream calls the making of this layer.
        doing: &'static str,
        /// Why.
        source: oci::layer::LayerError<TreeError>,
    },
    /// Layers cannot be kept.
    #[error(transparent)]
    LaunchCache(CacheError),
    /// The links of the process types could not be made.
    #[error("creating layer ''")]
    ProcessTypes(#[source] TreeError),
    /// What a buildpack left cannot be read.
    #[error("reading layers for buildpack '{id}'")]
    LayersDir {
        /// Which buildpack.
        id: String,
        /// Why.
        source: LayersDirError,
    },
    /// Metadata of layers cannot be read.
    #[error("failed to parse metadata for layers '[{}]'", ids.join(" "))]
    MalformedLayers {
        /// Which.
        ids: Vec<String>,
    },
    /// The builder's metadata cannot be read.
    #[error("read build metadata: failed to read build metadata file")]
    Metadata(#[source] FileError),
    /// The extender left nothing.
    #[error("missing extended run image")]
    NotExtended,
    /// `analyzed.toml` names no run image.
    #[error("run image is missing in analyzed metadata")]
    NoRunImage,
    /// What is to be started does not exist.
    #[error("determining entrypoint: tried to set {name} to default but it doesn't exist")]
    NoSuchProcess {
        /// The process type.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A name is no place for an image.
    #[error(transparent)]
    Place(PlaceError),
    /// The previous image cannot be read.
    #[error(transparent)]
    PreviousImage(OpenError),
    /// A layer without contents is not in the previous image.
    #[error("cannot reuse '{id}', previous image has no metadata for layer '{id}'")]
    NothingToReuse {
        /// Which.
        id: String,
    },
    /// A layer without contents is to come from the previous image, which has no such layer.
    #[error("reusing layer: '{id}': {problem}")]
    NoneToReuse {
        /// Which.
        id: String,
        /// What is wrong.
        problem: String,
    },
    /// It cannot be said which layer of the previous image is which.
    #[error("failed to get layer by diffID")]
    Reuse {
        /// Which was to be reused, if it is not one of the app.
        id: Option<String>,
        /// Why not.
        source: Uneven,
    },
    /// The run image is gone.
    #[error("run image '{name}' was not found")]
    RunImageGone {
        /// Which.
        name: String,
    },
    /// The run image cannot be read.
    #[error(transparent)]
    RunImage(OpenError),
    /// Nothing can be put on the run image.
    #[error(transparent)]
    RunImageLayers(NoBase),
    /// The image could not be pushed.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// An SBOM of the lifecycle or the launcher could not be copied.
    #[error("failed to copy buildpacksio SBOMs: {0}")]
    OwnSbom(PathError),
    /// There is no room for temporary files.
    #[error("failed to make a folder in `{}`", path.display())]
    Temporary {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl ExportError {
    /// The exit code of the exporter.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Daemon(_)
            | Self::Extended(_)
            | Self::Identifier { .. }
            | Self::LaunchCache(_)
            | Self::NotExtended
            | Self::Place(_)
            | Self::RunImageGone { .. }
            | Self::RunImage(_)
            | Self::RunImageLayers(_)
            | Self::PreviousImage(_) => 1,
            _ => 62,
        }
    }

    /// What failed, as it stands after `failed to` in the log.
    pub fn action(&self) -> &'static str {
        match self {
            Self::Place(_)
            | Self::RunImageGone { .. }
            | Self::RunImage(_)
            | Self::RunImageLayers(_)
            | Self::PreviousImage(_) => "create new app image",
            Self::Identifier { of: "run", .. } => "parsing run image reference",
            Self::Identifier { .. } => "parsing previous image reference",
            Self::Extended(_) | Self::NotExtended => "get extended image config",
            Self::Daemon(_) => " image",
            Self::LaunchCache(_) => "create launch cache",
            _ => "export",
        }
    }
}
