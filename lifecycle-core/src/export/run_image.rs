//! What the image is based on.

use oci::{Image, Platform};

use super::{ExportContext, ExportError};
use crate::files::run::RunImages;
use crate::images::{Place, parse_name};

/// Which run image it is, for good.
pub(super) fn reference<'a>(context: &ExportContext<'a>) -> Result<&'a str, ExportError> {
    let run_image = context.analyzed.run_image.as_ref();
    run_image
        .map(|it| it.reference.as_str())
        .ok_or(ExportError::NoRunImage)
}

/// The name that it was asked for by; before Platform API 0.12 the one that the platform offers.
pub(super) fn name(context: &ExportContext<'_>) -> String {
    let analyzed = context.analyzed.run_image.as_ref();
    analyzed
        .map(|it| it.image.clone())
        .filter(|it| !it.is_empty())
        .unwrap_or_else(|| images(context).image)
}

/// The run image, and where it lies.
pub(super) async fn open(context: &ExportContext<'_>) -> Result<(Place, Image), ExportError> {
    let reference = reference(context)?;
    if reference.is_empty() {
        return Err(ExportError::RunImageGone);
    }
    let place = context.images.open(reference).await;
    let place = place
        .map_err(ExportError::Place)?
        .ok_or(ExportError::RunImageGone)?;
    let image = place.image(&Platform::host(), context.limits).await;
    let image = image
        .map_err(ExportError::RunImage)?
        .ok_or(ExportError::RunImageGone)?;
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
