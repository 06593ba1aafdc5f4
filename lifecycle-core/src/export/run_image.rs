//! What the image is based on.

use std::time::Duration;

use oci::{Image, ImageError, Platform, StoreError};

use super::{ExportContext, ExportError};
use crate::files::run::RunImages;
use crate::images::{Kind, Place, parse_name};
use crate::{Level, Log};

/// Which run image it is, for good.
pub(super) fn reference<'a>(context: &ExportContext<'a>) -> Result<&'a str, ExportError> {
    let run_image = context.analyzed.run_image.as_ref();
    run_image
        .map(|it| it.reference.as_str())
        .ok_or(ExportError::NoRunImage)
}

/// Which run image it is, for good, as it was found: who wrote the file may not have known more than a
/// name.
pub(super) fn identity(
    context: &ExportContext<'_>,
    (place, image): &(Place, Image),
) -> Result<String, ExportError> {
    let reference = reference(context)?;
    let is_known = context.images.kind() != Kind::Daemon && reference.contains('@');
    if is_known || context.images.kind() == Kind::Layout {
        return Ok(reference.to_owned());
    }
    Ok(place.identifier(&image.descriptor().digest))
}

/// The name that it was asked for by; before Platform API 0.12 the one that the platform offers.
pub(super) fn name(context: &ExportContext<'_>) -> String {
    let analyzed = context.analyzed.run_image.as_ref();
    analyzed
        .map(|it| it.image.clone())
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| images(context).image)
}

/// How long to wait before each further try to open the run image: as upstream.
const WAITS: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// The run image, and where it lies.
///
/// The analyzer has seen it, so if it is not there, or not whole, a registry that is not settled is
/// asked again.
pub(super) async fn open(
    context: &ExportContext<'_>,
    log: &dyn Log,
) -> Result<(Place, Image), ExportError> {
    let reference = reference(context)?;
    for (tried, wait) in WAITS.into_iter().enumerate() {
        let error = match try_open(context, reference).await {
            Err(error) if may_pass(context, reference, &error) => error,
            opened => return opened,
        };
        let text = format!(
            "Failed to open remote image (attempt {}/{}): {}, retrying in {wait:?}",
            tried + 1,
            WAITS.len() + 1,
            crate::chain(&error)
        );
        log.line(Level::Warn, &text);
        tokio::time::sleep(wait).await;
    }
    try_open(context, reference).await
}

/// Whether another answer is to be hoped for. What the registry client tries again by itself is not
/// tried again here.
fn may_pass(context: &ExportContext<'_>, reference: &str, error: &ExportError) -> bool {
    let unsettled = match error {
        ExportError::RunImageGone { .. } => true,
        ExportError::RunImage(ImageError::Store(error)) => !matches!(
            error,
            StoreError::Unavailable { .. } | StoreError::Refused { .. }
        ),
        _ => false,
    };
    unsettled && !reference.is_empty() && context.images.kind() == Kind::Registry
}

async fn try_open(
    context: &ExportContext<'_>,
    reference: &str,
) -> Result<(Place, Image), ExportError> {
    let gone = || ExportError::RunImageGone {
        name: if reference.is_empty() {
            name(context)
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
    Ok((place, image))
}

/// Where a rebase may find run images of this kind: the entry of `run.toml` that has the one used,
/// or the first.
pub(super) fn images(context: &ExportContext<'_>) -> RunImages {
    let offered = &context.run.images;
    let first = || offered.first().cloned().unwrap_or_default();
    if !context.api.has_targets() {
        return first();
    }
    let used = context.analyzed.run_image.as_ref();
    let used = used.map_or("", |it| it.image.as_str());
    let same = |it: &str| normal(it) == normal(used);
    if let Some(entry) = offered.iter().find(|entry| entry.all().any(same)) {
        return entry.clone();
    }
    if context.group.group_extensions.is_empty() {
        first()
    } else {
        RunImages {
            image: used.to_owned(),
            mirrors: Vec::new(),
        }
    }
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
