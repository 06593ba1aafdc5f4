//! The analyzer: looks what the new image is based on and what it replaces, before anything is done.

mod valid;

use std::path::Path;

use futures_util::future::join;
use go::words::quoted;
use oci::{DiffId, Image, Limits, Platform};

use crate::api::PlatformApi;
use crate::cache::{CacheError, DirectoryCache};
use crate::extract::{self, ExtractError, LayersDir};
use crate::files::analyzed::{
    Analyzed, Distro, ImageIdentifier, LayersMetadata, RunImage, TargetMetadata,
};
use crate::files::run::{Run, RunImages};
use crate::images::{
    DaemonImages, Images, Kind, OpenError, Place, PlaceError, Uneven, digest_problem, registry,
};
use crate::{Level, Log, labels};

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

/// Whether the platform offers a run image at all.
///
/// # Errors
///
/// When it does not.
pub fn check_offered(offered: &Run) -> Result<&RunImages, AnalyzeError> {
    let first = offered.images.first().ok_or(AnalyzeError::NoRunMetadata)?;
    if first.image.is_empty() {
        return Err(AnalyzeError::NoRunImageNamed);
    }
    Ok(first)
}

/// Chooses the run image that the platform offers first: the image, or the one of its mirrors that
/// is in the registry of `output`; if that may not be read, the first that may.
///
/// `readable` says whether a name may be read.
///
/// # Errors
///
/// When none is offered, or none may be read.
pub async fn choose_run_image(
    offered: &Run,
    output: &str,
    readable: impl AsyncFn(&str) -> bool,
) -> Result<String, AnalyzeError> {
    best_mirror(check_offered(offered)?, output, readable).await
}

/// The name in `offered` that is in the registry of `near` and may be read, else the first that may.
///
/// # Errors
///
/// When none may be read.
pub(crate) async fn best_mirror(
    offered: &RunImages,
    near: &str,
    readable: impl AsyncFn(&str) -> bool,
) -> Result<String, AnalyzeError> {
    let near = registry(near);
    let names = std::iter::once(&offered.image).chain(&offered.mirrors);
    let here = names
        .clone()
        .filter(|it| near.is_some() && registry(it) == near);
    for name in here.chain(names) {
        if readable(name).await {
            return Ok(name.to_owned());
        }
    }
    Err(AnalyzeError::NoAccessibleRunImage)
}

/// The images that the analyzer looks at: found, and not told of yet.
#[derive(Debug)]
pub struct Opened {
    previous: Previous,
    run_image: Option<Box<Found>>,
}

/// An image, and where it lies. Large.
type Found = (Place, Image);

/// The image that is replaced.
#[derive(Debug)]
enum Previous {
    Missing,
    /// It is there, and cannot be used.
    Corrupt,
    Found(Box<Found>),
}

/// Opens the images.
///
/// # Errors
///
/// When they may not be read or written, or cannot be.
pub async fn open(context: &AnalyzeContext<'_>, log: &dyn Log) -> Result<Opened, AnalyzeError> {
    // Most of the time passes with waiting for answers, so as much as possible is asked at once.
    let (found, writable) = join(Box::pin(look(context)), check_writes(context)).await;
    let (previous, run_image) = found?;
    writable?;
    let previous = match previous {
        Ok(None) => Previous::Missing,
        Ok(Some(found)) => Previous::Found(found),
        Err(AnalyzeError::Image { source, .. })
            if !source.is_of_store() && context.images.kind() != Kind::Layout =>
        {
            Previous::Corrupt
        }
        Err(error) => return Err(error),
    };
    if let Some(folder) = context.images.daemon().and_then(DaemonImages::launch_cache) {
        // Whatever was left half done there is gone now.
        DirectoryCache::open(folder, log).map_err(AnalyzeError::LaunchCache)?;
    }
    Ok(Opened {
        previous,
        run_image: run_image?,
    })
}

/// The image that is replaced, and the run image.
type Looked = (
    Result<Option<Box<Found>>, AnalyzeError>,
    Result<Option<Box<Found>>, AnalyzeError>,
);

/// Looks whether the images may be read, and at them.
async fn look(context: &AnalyzeContext<'_>) -> Result<Looked, AnalyzeError> {
    let (previous, run_image) = (context.previous, context.run_image);
    let (first, second) = join(
        check_read(context, previous),
        check_read(context, run_image),
    )
    .await;
    first.and(second)?;
    let previous = find(context, previous, "previous");
    Ok(join(previous, find(context, run_image, "run")).await)
}

async fn check_read(context: &AnalyzeContext<'_>, name: &str) -> Result<(), AnalyzeError> {
    let access = context.images.check_read(name).await;
    access.map_err(|source| AnalyzeError::ReadAccess {
        name: name.to_owned(),
        source,
    })
}

/// Looks at the images, and restores the SBOMs of the one that is replaced.
///
/// # Errors
///
/// When what they say of themselves cannot be used.
pub async fn analyze(
    context: &AnalyzeContext<'_>,
    opened: Opened,
    log: &dyn Log,
) -> Result<Analyzed, AnalyzeError> {
    let previous = usable(context, opened.previous, log).await?;
    let mut analyzed = Analyzed {
        image: Some(ImageIdentifier::default()),
        ..Analyzed::default()
    };
    if let Some((place, image)) = previous.as_deref() {
        let metadata = layers_metadata(image);
        if let Some(metadata) = metadata {
            let sbom = metadata.sbom.as_ref().filter(|_| !context.skip_layers);
            let sbom = sbom.filter(|it| context.api.has_sbom_layers() && !it.sha.is_empty());
            if let Some(sbom) = sbom {
                let restoring = restore_sbom(context, place, image, &sbom.sha, log);
                Box::pin(restoring).await?;
            }
            analyzed.image = Some(ImageIdentifier {
                reference: place.identifier(&image.descriptor().digest),
            });
            analyzed.metadata = metadata;
        }
    }
    analyzed.run_image = Some(run_image(context, opened.run_image, log).await?);
    Ok(analyzed)
}

async fn check_writes(context: &AnalyzeContext<'_>) -> Result<(), AnalyzeError> {
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
async fn usable(
    context: &AnalyzeContext<'_>,
    previous: Previous,
    log: &dyn Log,
) -> Result<Option<Box<Found>>, AnalyzeError> {
    let shown = context.images.shown(context.previous);
    let shown = shown.map_err(AnalyzeError::Place)?;
    match previous {
        Previous::Missing => {
            tell(None, &shown, log);
            Ok(None)
        }
        Previous::Corrupt => {
            ignore(&shown, log);
            Ok(None)
        }
        Previous::Found(found) => {
            tell(Some(&found), &shown, log);
            let (place, image) = &*found;
            if context.images.kind() != Kind::Registry
                || valid::is_valid(&*place.store, image, context.limits).await
            {
                return Ok(Some(found));
            }
            ignore(&shown, log);
            Ok(None)
        }
    }
}

/// Says whether an image was found.
fn tell(found: Option<&Found>, name: &str, log: &dyn Log) {
    match found {
        Some((place, image)) => {
            let identifier = place.identifier(&image.descriptor().digest);
            let text = format!("Found image with identifier \"{identifier}\"");
            log.line(Level::Debug, &text);
        }
        None => log.line(
            Level::Info,
            &format!("Image with name \"{name}\" not found"),
        ),
    }
}

fn ignore(name: &str, log: &dyn Log) {
    let text = format!("Ignoring image \"{name}\" because it was corrupt");
    log.line(Level::Info, &text);
}

/// The image `name`, which is called `what`.
async fn find(
    context: &AnalyzeContext<'_>,
    name: &str,
    what: &'static str,
) -> Result<Option<Box<Found>>, AnalyzeError> {
    let place = context.images.open(name).await;
    let place = place.map_err(|source| match (context.images.kind(), &source) {
        (Kind::Daemon, _) | (Kind::Layout, PlaceError::Layout { .. } | PlaceError::Store(_)) => {
            AnalyzeError::Unopened { what, source }
        }
        _ => AnalyzeError::Place(source),
    });
    let Some(place) = place? else {
        return Ok(None);
    };
    let image = place.image(&Platform::host(), context.limits).await;
    let image = image.map_err(|source| AnalyzeError::Image { what, source })?;
    Ok(image.map(|image| Box::new((place, image))))
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
    log.line(Level::Info, "Restoring data for SBOM from previous image");
    let text = format!("Retrieving previous image SBOM layer for \"{sha}\"");
    log.line(Level::Debug, &text);
    let missing = || {
        let missing = || {
            format!(
                "failed to find layer with diff ID {}",
                quoted(sha.as_bytes())
            )
        };
        AnalyzeError::NoSbomLayer {
            problem: digest_problem(sha).unwrap_or_else(missing),
        }
    };
    let diff_id = sha.parse().map(DiffId).map_err(|_reason| missing())?;
    if !image.config().rootfs.diff_ids.contains(&diff_id) {
        return Err(missing());
    }
    Uneven::check(image).map_err(AnalyzeError::SbomLayer)?;
    let layer = image.layer(&diff_id).ok_or_else(missing)?;
    let layers_dir = LayersDir::below(context.root, context.layers_dir);
    extract::blob(&*place.store, layer, &diff_id, &layers_dir)
        .await
        .map_err(AnalyzeError::Sbom)
}

async fn run_image(
    context: &AnalyzeContext<'_>,
    found: Option<Box<Found>>,
    log: &dyn Log,
) -> Result<RunImage, AnalyzeError> {
    let shown = context.images.shown(context.run_image);
    tell(found.as_deref(), &shown.map_err(AnalyzeError::Place)?, log);
    let mut run_image = RunImage::default();
    if context.api.has_targets() {
        run_image.image = if context.images.kind() == Kind::Layout {
            let shown = context.images.shown(context.run_image);
            shown.map_err(AnalyzeError::Place)?
        } else {
            context.run_image.to_owned()
        };
    }
    run_image.target = match found.as_deref() {
        _ if !context.api.has_targets() => None,
        Some((_, image)) => {
            let target = target(image);
            if target.os.is_empty() {
                return Err(AnalyzeError::NoOs);
            }
            Some(target)
        }
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
    if let Some((place, image)) = found.as_deref() {
        run_image.reference = place.identifier(&image.descriptor().digest);
    }
    Ok(run_image)
}

/// What runs on `image`, as far as it says it.
pub fn target(image: &Image) -> TargetMetadata {
    let config = image.config();
    let label = |name| image.label(name).unwrap_or_default().to_owned();
    let distro = Distro {
        name: label(labels::DISTRO_NAME),
        version: label(labels::DISTRO_VERSION),
    };
    TargetMetadata {
        id: label(labels::BASE_ID),
        os: config.os.clone(),
        arch: config.architecture.clone(),
        arch_variant: config.variant.clone(),
        distro: Some(distro).filter(|it| *it != Distro::default()),
    }
}

/// Why nothing can be said of the images. The texts are upstream's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnalyzeError {
    /// Where an image should be it cannot be looked for.
    #[error("getting {what} image")]
    Unopened {
        /// Which.
        what: &'static str,
        /// Why.
        source: PlaceError,
    },
    /// An image cannot be read.
    #[error("getting {what} image")]
    Image {
        /// Which.
        what: &'static str,
        /// Why.
        source: OpenError,
    },
    /// The launch cache cannot be used.
    #[error("creating launch cache")]
    LaunchCache(#[source] CacheError),
    /// None of the offered run images may be read.
    #[error("failed to find accessible run image")]
    NoAccessibleRunImage,
    /// The run image does not say what runs on it.
    #[error("failed to find OS in run image config")]
    NoOs,
    /// No run image is offered, nor asked for.
    #[error("-run-image is required when there is no run metadata available")]
    NoRunMetadata,
    /// What is offered has no name.
    #[error("missing run image metadata (-run-image)")]
    NoRunImageNamed,
    /// The replaced image does not have the layer that it says has its SBOMs.
    #[error("retrieving launch SBOM layer: {problem}")]
    NoSbomLayer {
        /// Why it has not.
        problem: String,
    },
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
    /// It cannot be said which layer of the replaced image has its SBOMs.
    #[error("retrieving launch SBOM layer")]
    SbomLayer(#[source] Uneven),
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
        if self.is_of_inputs() { 3 } else { 32 }
    }

    /// What failed, as it stands after `failed to` in the log.
    pub fn action(&self) -> &'static str {
        match self {
            error if error.is_of_inputs() => "resolve inputs",
            Self::Unopened { .. }
            | Self::Image { .. }
            | Self::LaunchCache(_)
            | Self::Place(_)
            | Self::ReadAccess { .. }
            | Self::WriteAccess { .. } => "initialize analyzer",
            _ => "analyze",
        }
    }

    fn is_of_inputs(&self) -> bool {
        matches!(
            self,
            Self::NoAccessibleRunImage | Self::NoRunImageNamed | Self::NoRunMetadata
        )
    }
}
