//! The analyzer: looks what the new image is based on and what it replaces, before anything is done.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use oci::{DiffId, Image, ImageError, Limits, Platform, StoreError};

use crate::api::PlatformApi;
use crate::cache::{CacheError, DirectoryCache};
use crate::extract::{self, ExtractError, LayersDir};
use crate::files::analyzed::{
    Analyzed, Distro, ImageIdentifier, LayersMetadata, RunImage, TargetMetadata,
};
use crate::files::run::{Run, RunImages};
use crate::images::{DaemonImages, Images, Kind, Place, PlaceError, parse_name};
use crate::{Level, Log, labels};

/// How many layers a registry is asked for at the same time.
const ASKED_AT_ONCE: usize = 8;

/// What the analyzer needs.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "who analyzes has to say all of it"
)]
pub struct AnalyzeContext<'a> {
    /// What the platform speaks.
    pub api: PlatformApi,
    /// Where images are.
    pub images: &'a dyn Images,
    /// Where cache images are: in registries, always.
    pub cache_images: &'a dyn Images,
    /// What the image is to be called.
    pub output: &'a str,
    /// What else it is to be called.
    pub tags: &'a [String],
    /// The image that it replaces.
    pub previous: &'a str,
    /// The image that holds the cache.
    pub cache_image: Option<&'a str>,
    /// The run image, as [`choose_run_image`] found it.
    pub run_image: &'a str,
    /// The folder that images call `/`.
    pub root: &'a Path,
    /// Where layers are; below it.
    pub layers_dir: &'a Path,
    /// Whether the SBOMs of the replaced image are not wanted.
    pub skip_layers: bool,
    /// How much is read of images.
    pub limits: &'a Limits,
}

/// Chooses the run image that the platform offers first: the image, or the one of its mirrors that
/// is in the registry of `output`; if that may not be read, the first that may.
///
/// `asked` is what the user asked for, if anything: that is taken as it is.
pub async fn choose_run_image(
    images: &dyn Images,
    api: PlatformApi,
    asked: Option<&str>,
    offered: &Run,
    output: &str,
) -> Result<String, AnalyzeError> {
    if let Some(asked) = asked.filter(|it| !it.is_empty()) {
        return Ok(asked.to_owned());
    }
    let first = offered.images.first().filter(|it| !it.image.is_empty());
    let first = first.ok_or(if api.has_targets() {
        AnalyzeError::NoRunMetadata
    } else {
        AnalyzeError::NoStackMetadata
    })?;
    best_mirror(images, first, output)
        .await?
        .ok_or(AnalyzeError::NoAccessibleRunImage)
}

/// The name in `offered` that is in the registry of `near`, else the first that may be read.
pub(crate) async fn best_mirror(
    images: &dyn Images,
    offered: &RunImages,
    near: &str,
) -> Result<Option<String>, AnalyzeError> {
    let registry = |name: &str| match parse_name(name).map(|it| it.location) {
        Ok(oci::Location::Registry(repository)) => Some(repository.registry().clone()),
        _ => None,
    };
    let near = registry(near);
    let here = |name: &&str| near.is_some() && registry(name) == near;
    let nearest = offered.all().find(here);
    for name in nearest.into_iter().chain(offered.all()) {
        if images.check_read(name).await.is_ok() {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// Looks at the images, and restores the SBOMs of the one that is replaced.
pub async fn analyze(
    context: &AnalyzeContext<'_>,
    log: &dyn Log,
) -> Result<Analyzed, AnalyzeError> {
    check_access(context).await?;
    if let Some(folder) = context.images.daemon().and_then(DaemonImages::launch_cache) {
        // Whatever was left half done there is gone now.
        DirectoryCache::open(folder, log).map_err(AnalyzeError::LaunchCache)?;
    }
    let previous = previous(context, log).await?;
    let mut analyzed = Analyzed {
        image: Some(ImageIdentifier::default()),
        ..Analyzed::default()
    };
    if let Some((place, image)) = previous {
        let metadata = layers_metadata(&image);
        if let Some(metadata) = metadata {
            let sbom = metadata.sbom.as_ref().filter(|_| !context.skip_layers);
            if let Some(sbom) = sbom.filter(|_| context.api.has_sbom_layers()) {
                restore_sbom(context, &place, &image, &sbom.sha, log).await?;
            }
            analyzed.image = Some(ImageIdentifier {
                reference: place.identifier(&image.descriptor().digest),
            });
            analyzed.metadata = metadata;
        }
    }
    analyzed.run_image = Some(run_image(context, log).await?);
    Ok(analyzed)
}

async fn check_access(context: &AnalyzeContext<'_>) -> Result<(), AnalyzeError> {
    for name in [context.previous, context.run_image] {
        let access = context.images.check_read(name).await;
        access.map_err(|source| AnalyzeError::ReadAccess {
            name: name.to_owned(),
            source,
        })?;
    }
    let write = |name: &str, source| AnalyzeError::WriteAccess {
        name: name.to_owned(),
        source,
    };
    if let Some(cache) = context.cache_image {
        let access = context.cache_images.check_write(cache).await;
        access.map_err(|source| write(cache, source))?;
    }
    let tags = context.tags.iter().map(String::as_str);
    let names = std::iter::once(context.output).chain(tags);
    for name in names.filter(|it| !it.is_empty()) {
        let access = context.images.check_write(name).await;
        access.map_err(|source| write(name, source))?;
    }
    Ok(())
}

/// The image that is replaced, if there is one that can be used.
async fn previous(
    context: &AnalyzeContext<'_>,
    log: &dyn Log,
) -> Result<Option<(Place, Image)>, AnalyzeError> {
    match find(context, context.previous, "previous", log).await {
        Ok(Some((place, image))) => {
            if context.images.kind() != Kind::Registry || has_all_layers(&place, &image).await? {
                return Ok(Some((place, image)));
            }
            ignore(
                &context
                    .images
                    .shown(context.previous)
                    .map_err(AnalyzeError::Place)?,
                log,
            );
            Ok(None)
        }
        Ok(None) => Ok(None),
        Err(AnalyzeError::Image { name, source }) if !is_outage(&source) => {
            ignore(&name, log);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn ignore(name: &str, log: &dyn Log) {
    let text = format!("Ignoring image \"{name}\" because it was corrupt");
    log.line(Level::Info, &text);
}

/// Whether the layers of `image` are there: some clean-ups of registries leave a manifest without
/// them, and no layer of such an image can be used again. Layouts may lack layers on purpose.
async fn has_all_layers(place: &Place, image: &Image) -> Result<bool, AnalyzeError> {
    let layers: BTreeSet<_> = image.layers().map(|(layer, _)| layer).collect();
    let asked = stream::iter(layers)
        .map(|layer| place.store.contains(layer))
        .buffer_unordered(ASKED_AT_ONCE);
    asked
        .try_fold(true, |all, one| async move { Ok(all && one) })
        .await
        .map_err(|source| AnalyzeError::Image {
            name: place.name.clone(),
            source: ImageError::Store(source),
        })
}

/// Whether the image could not be read now, but may be all right.
fn is_outage(error: &ImageError) -> bool {
    matches!(
        error,
        ImageError::Store(StoreError::Unavailable { .. } | StoreError::Refused { .. })
    )
}

/// `what` is what is being done, in a daemon, where it is not known before whether it can be asked.
async fn find(
    context: &AnalyzeContext<'_>,
    name: &str,
    what: &'static str,
    log: &dyn Log,
) -> Result<Option<(Place, Image)>, AnalyzeError> {
    let shown = context.images.shown(name).map_err(AnalyzeError::Place)?;
    let place = context.images.open(name).await;
    let place = place.map_err(|source| match context.images.kind() {
        Kind::Daemon => AnalyzeError::Daemon { what, source },
        Kind::Registry | Kind::Layout => AnalyzeError::Place(source),
    });
    let found = match place? {
        Some(place) => {
            let image = place.image(&Platform::host(), context.limits).await;
            let image = image.map_err(|source| AnalyzeError::Image {
                name: shown.clone(),
                source,
            })?;
            image.map(|image| (place, image))
        }
        None => None,
    };
    match &found {
        Some((place, image)) => {
            let identifier = place.identifier(&image.descriptor().digest);
            log.line(
                Level::Debug,
                &format!("Found image with identifier \"{identifier}\""),
            );
        }
        None => log.line(
            Level::Info,
            &format!("Image with name \"{shown}\" not found"),
        ),
    }
    Ok(found)
}

/// What the image says of its layers; one that says nothing readable is not of our making.
fn layers_metadata(image: &Image) -> Option<LayersMetadata> {
    match image.label(labels::LIFECYCLE_METADATA) {
        Some(label) => labels::parse_lifecycle_metadata(label).ok(),
        None => Some(LayersMetadata::default()),
    }
}

async fn restore_sbom(
    context: &AnalyzeContext<'_>,
    place: &Place,
    image: &Image,
    sha: &str,
    log: &dyn Log,
) -> Result<(), AnalyzeError> {
    let layer = sha.parse().ok().map(DiffId);
    let layer = layer.and_then(|diff_id| Some((image.layer(&diff_id)?, diff_id)));
    let Some((layer, diff_id)) = layer else {
        return Err(AnalyzeError::NoSbomLayer {
            sha: sha.to_owned(),
        });
    };
    log.line(Level::Info, "Restoring data for SBOM from previous image");
    let layers_dir = LayersDir::below(context.root, context.layers_dir);
    extract::blob(&*place.store, layer, &diff_id, &layers_dir)
        .await
        .map_err(AnalyzeError::Sbom)
}

async fn run_image(context: &AnalyzeContext<'_>, log: &dyn Log) -> Result<RunImage, AnalyzeError> {
    let found = find(context, context.run_image, "run", log).await?;
    let mut run_image = RunImage::default();
    if context.api.has_targets() {
        run_image.image = if context.images.kind() == Kind::Layout {
            let shown = context.images.shown(context.run_image);
            shown.map_err(AnalyzeError::Place)?
        } else {
            context.run_image.to_owned()
        };
    }
    run_image.target = match &found {
        _ if !context.api.has_targets() => None,
        Some((_, image)) => Some(target(image)?),
        // As upstream makes it up.
        None => {
            let on = match context.images.daemon() {
                Some(images) => images.platform().await.map_err(AnalyzeError::Place)?,
                None => Platform {
                    os: "linux".to_owned(),
                    architecture: "amd64".to_owned(),
                    ..Platform::default()
                },
            };
            Some(TargetMetadata {
                os: on.os,
                arch: on.architecture,
                ..TargetMetadata::default()
            })
        }
    };
    if let Some((place, image)) = found {
        run_image.reference = place.identifier(&image.descriptor().digest);
    }
    Ok(run_image)
}

/// What runs on `image`.
pub fn target(image: &Image) -> Result<TargetMetadata, AnalyzeError> {
    let config = image.config();
    if config.os.is_empty() {
        return Err(AnalyzeError::NoOs);
    }
    let label = |name| image.label(name).unwrap_or_default().to_owned();
    let distro = Distro {
        name: label(labels::DISTRO_NAME),
        version: label(labels::DISTRO_VERSION),
    };
    Ok(TargetMetadata {
        id: label(labels::BASE_ID),
        os: config.os.clone(),
        arch: config.architecture.clone(),
        arch_variant: config.variant.clone(),
        distro: Some(distro).filter(|it| *it != Distro::default()),
    })
}

/// Why nothing can be said of the images. The texts are upstream's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnalyzeError {
    /// The daemon cannot be asked for an image.
    #[error("getting {what} image")]
    Daemon {
        /// Which.
        what: &'static str,
        /// Why.
        source: PlaceError,
    },
    /// An image cannot be read.
    #[error("failed to read image '{name}'")]
    Image {
        /// Which.
        name: String,
        /// Why.
        source: ImageError,
    },
    /// The launch cache cannot be used.
    #[error("creating launch cache")]
    LaunchCache(#[source] CacheError),
    /// None of the offered run images may be read.
    #[error("failed to find accessible run image")]
    NoAccessibleRunImage,
    /// The run image does not say what runs on it.
    #[error("failed to get run image target metadata: image has no OS")]
    NoOs,
    /// No run image is offered, nor asked for.
    #[error("-run-image is required when there is no run metadata available")]
    NoRunMetadata,
    /// The replaced image does not have the layer that it says has its SBOMs.
    #[error("failed to find layer '{sha}' of the previous image's SBOM")]
    NoSbomLayer {
        /// The diffID.
        sha: String,
    },
    /// No run image is offered, nor asked for; before Platform API 0.12.
    #[error("missing run image metadata (-run-image)")]
    NoStackMetadata,
    /// A name is no place for an image.
    #[error(transparent)]
    Place(PlaceError),
    /// An image may not be read.
    #[error("validating registry read access: failed to ensure registry read access to {name}")]
    ReadAccess {
        /// Which.
        name: String,
        /// Why.
        source: PlaceError,
    },
    /// The SBOMs could not be restored.
    #[error("failed to restore SBOM")]
    Sbom(#[source] ExtractError),
    /// An image may not be written.
    #[error(
        "validating registry write access: failed to ensure registry read/write access to {name}"
    )]
    WriteAccess {
        /// Which.
        name: String,
        /// Why.
        source: PlaceError,
    },
}

impl AnalyzeError {
    /// The exit code of the analyzer.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoAccessibleRunImage
            | Self::NoRunMetadata
            | Self::NoStackMetadata
            | Self::Place(PlaceError::Name { .. }) => 3,
            _ => 32,
        }
    }

    /// What failed, as it stands after `failed to` in the log.
    pub fn action(&self) -> &'static str {
        match self {
            Self::NoAccessibleRunImage
            | Self::NoRunMetadata
            | Self::NoStackMetadata
            | Self::Place(PlaceError::Name { .. }) => "resolve inputs",
            Self::Daemon { .. }
            | Self::LaunchCache(_)
            | Self::ReadAccess { .. }
            | Self::WriteAccess { .. } => "initialize analyzer",
            _ => "analyze",
        }
    }
}
