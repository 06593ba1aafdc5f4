//! What the image is based on.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::{Image, ImageError, Platform, StoreError};
use tracing::Instrument as _;

use super::{ExportContext, ExportError};
use crate::api::PlatformApi;
use crate::files::analyzed::{Analyzed, RunImageMetadata};
use crate::files::metadata::BuildMetadata;
use crate::files::run::{Run, RunImages};
use crate::files::{self, FileError};
use crate::images::{Kind, NoBase, OpenError, Place, parse_name};
use crate::{Level, Log, words};

/// Which run image it is, for good.
pub(super) fn reference<'a>(context: &ExportContext<'a>) -> Result<&'a str, ExportError> {
    let run_image = context.analyzed.run_image.as_ref();
    run_image
        .map(|it| it.reference.as_str())
        .ok_or(ExportError::NoRunImage)
}

/// The run image of an export: opened once, and all that is said of it anywhere.
pub(super) struct RunImage {
    /// Where it lies.
    pub(super) place: Place,
    pub(super) image: Image,
    /// The name that it was asked for by; before Platform API 0.12 the one that the platform offers.
    pub(super) name: String,
    pub(super) metadata: RunImageMetadata,
}

impl RunImage {
    /// The run image that was opened, where a rebase may find others of its kind in `images`.
    pub(super) fn new(
        context: &ExportContext<'_>,
        (place, image): (Place, Image),
        images: &RunImages,
    ) -> Result<Self, ExportError> {
        let top_layer = image.config().rootfs.diff_ids.last();
        let metadata = RunImageMetadata {
            top_layer: top_layer.map_or_else(String::new, ToString::to_string),
            reference: identity(context, reference(context)?, &place, &image),
            images: images.clone(),
        };
        let name = Some(name(context)).filter(|it| !it.is_empty());
        Ok(Self {
            name: name.unwrap_or(&images.image).to_owned(),
            place,
            image,
            metadata,
        })
    }
}

/// Which run image it is, for good, as it was found: who wrote the file may not have known more than a
/// name.
fn identity(context: &ExportContext<'_>, reference: &str, place: &Place, image: &Image) -> String {
    if context.images.kind() == Kind::Layout && !context.layout_digests {
        let path = reference.split_once('@').map_or(reference, |(it, _)| it);
        return format!("{path}@{EMPTY_IMAGE}");
    }
    let is_known = context.images.kind() != Kind::Daemon && reference.contains('@');
    if is_known || context.images.kind() == Kind::Layout {
        // A tag says nothing where there is a digest.
        return match parse_name(reference) {
            Ok(mut parsed) if is_known && parsed.tag.is_some() && parsed.digest.is_some() => {
                parsed.tag = None;
                parsed.to_string()
            }
            _ => reference.to_owned(),
        };
    }
    place.identifier(&image.descriptor().digest)
}

/// The digest of go-containerregistry's empty image, by which upstream names each run image in a
/// layout.
const EMPTY_IMAGE: &str = "sha256:9bff545fd88403019875bc484da593c84761e6c89bae9058b76d1054d54548d0";

/// The name that the run image was asked for by; may be empty.
fn name<'a>(context: &ExportContext<'a>) -> &'a str {
    let analyzed = context.analyzed.run_image.as_ref();
    analyzed.map_or("", |it| it.image.as_str())
}

/// How long to wait before each further try to open the run image: as upstream.
const WAITS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Opens an image of a registry that is perhaps not settled: as often as upstream does, while
/// another answer is to be hoped for.
pub(crate) async fn patiently<T, E: Error + 'static>(
    open: impl AsyncFn() -> Result<T, E>,
    may_pass: impl Fn(&E) -> bool,
    log: &dyn Log,
) -> Result<T, E> {
    for (tried, wait) in WAITS.into_iter().enumerate() {
        let error = match open().await {
            Ok(opened) => {
                if tried > 0 {
                    let text = format!("Successfully opened remote image after {tried} retries");
                    log.line(Level::Info, &text);
                }
                return Ok(opened);
            }
            Err(error) if may_pass(&error) => error,
            Err(error) => return Err(error),
        };
        let text = format!(
            "Failed to open remote image (attempt {}/{}): {}, retrying in {wait:?}",
            tried + 1,
            WAITS.len() + 1,
            words::chain(&error)
        );
        log.line(Level::Warn, &text);
        let span = tracing::info_span!("retry", attempt = tried + 1);
        tokio::time::sleep(wait).instrument(span).await;
    }
    open().await
}

/// Whether a registry's answer may be another one next time: what upstream takes for final is not
/// asked for again.
pub(crate) fn is_unsettled(opened: &OpenError) -> bool {
    let ImageError::Store(error) = &*opened.source else {
        return opened.strict && opened.is_of_store();
    };
    // Upstream does so, though whoever asked has tried several times by then.
    let is_outage = matches!(
        error,
        StoreError::Unavailable { .. } | StoreError::Refused { .. }
    );
    if is_outage && !opened.strict {
        return false;
    }
    error
        .answer()
        .is_none_or(|it| !matches!(it.status, 400 | 401 | 403 | 405 | 429))
}

/// Whether another answer is to be hoped for. Without a name there is nothing to ask for.
pub(super) fn may_pass(context: &ExportContext<'_>, reference: &str, error: &ExportError) -> bool {
    let unsettled = match error {
        ExportError::RunImageGone { .. } | ExportError::RunImageLayers(_) => true,
        ExportError::RunImage(error) | ExportError::PreviousImage(error) => is_unsettled(error),
        _ => false,
    };
    unsettled && !reference.is_empty() && context.images.kind() == Kind::Registry
}

/// Opens the run image.
///
/// The analyzer has seen it, so if it is not there, or not whole, a registry that is not settled is to
/// be asked again.
pub(super) async fn open(
    context: &ExportContext<'_>,
    reference: &str,
) -> Result<(Place, Image), ExportError> {
    let gone = || ExportError::RunImageGone {
        name: if reference.is_empty() {
            name(context).to_owned()
        } else {
            reference.to_owned()
        },
    };
    if reference.is_empty() {
        return Err(gone());
    }
    let place = context.images.open(reference).await;
    let place = place.map_err(|error| match context.images.kind() {
        Kind::Daemon => ExportError::Daemon(error),
        Kind::Registry | Kind::Layout => ExportError::Place(error),
    });
    let place = place?.ok_or_else(gone)?;
    let image = place.image(&Platform::host(), context.limits).await;
    let image = image.map_err(ExportError::RunImage)?.ok_or_else(gone)?;
    NoBase::check(&place, &image).map_err(ExportError::RunImageLayers)?;
    Ok((place, image))
}

/// Where a rebase may find run images of this kind: of those that the platform offers the entry that
/// has the one used, or the first. What extensions chose is taken as it is.
///
/// Before Platform API 0.12 one is offered, and nothing is known of the one used.
///
/// # Errors
///
/// When `<layers>/config/metadata.toml` has to say whether extensions took part, and cannot be read.
pub fn run_image_for_export(
    api: PlatformApi,
    analyzed: &Analyzed,
    offered: &Run,
    layers_dir: &Path,
) -> Result<RunImages, FileError> {
    let Some(first) = offered.images.first() else {
        return Ok(RunImages::default());
    };
    if !api.has_targets() {
        return Ok(first.clone());
    }
    let used = analyzed.run_image.as_ref();
    let used = used.map_or("", |it| it.image.as_str());
    if let Some(entry) = offered.images.iter().find(|it| contains(it, used)) {
        return Ok(entry.clone());
    }
    let build: BuildMetadata = files::read_required(&metadata_path(layers_dir))?;
    if build.extensions.is_empty() {
        return Ok(first.clone());
    }
    Ok(RunImages {
        image: used.to_owned(),
        mirrors: Vec::new(),
    })
}

/// Whether `name`, with whatever digest, is one of `images`.
pub(crate) fn contains(images: &RunImages, name: &str) -> bool {
    let name = normal(name);
    normal(&images.image) == name || images.mirrors.iter().any(|it| normal(it) == name)
}

/// The file in which the builder says what it made.
pub(super) fn metadata_path(layers_dir: &Path) -> PathBuf {
    layers_dir.join("config").join("metadata.toml")
}

/// The name without its digest, and with all that is left out when it is written.
pub(crate) fn normal(name: &str) -> String {
    let Ok(mut reference) = parse_name(name) else {
        return name.to_owned();
    };
    reference.digest = None;
    if reference.tag.is_none() {
        reference.tag = oci::Tag::LATEST.parse().ok();
    }
    reference.to_string()
}
