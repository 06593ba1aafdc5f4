//! What comes before a rebase: the image and its new run image are opened, in upstream's order.

use futures_util::future::{OptionFuture, join};
use oci::{Image, Platform};

use super::{RebaseContext, RebaseError, run_image};
use crate::Log;
use crate::analyze::best_mirror;
use crate::export::run_image::{is_unsettled, patiently};
use crate::images::{Kind, NoBase, Place};

/// The image that is rebased, and the name of the run image that it goes to.
#[derive(Debug)]
pub struct App {
    pub(super) place: Place,
    pub(super) image: Image,
    run_image: String,
}

/// The run image that an image goes to.
#[derive(Debug)]
pub struct Base {
    pub(super) place: Place,
    pub(super) image: Image,
    pub(super) name: String,
}

/// Opens the image that is rebased, and finds the run image that was asked for, else the nearest of
/// those that the image names. `readable` says whether a name may be read.
///
/// # Errors
///
/// When the image is missing or cannot be read, or names no run image and none was asked for.
pub async fn open_app(
    context: &RebaseContext<'_>,
    readable: impl AsyncFn(&str) -> bool,
) -> Result<App, RebaseError> {
    // What answers while the image is read need not be asked afterwards.
    let named = context.run_image.filter(|it| !it.is_empty());
    let named = named.filter(|_| context.images.kind() == Kind::Registry);
    let ahead = OptionFuture::from(named.map(|it| context.images.check_read(it)));
    let (app, _) = join(find(context, context.app), ahead).await;
    let app = app.map_err(|error| match error {
        RebaseError::Place(source) => RebaseError::AppUnread(source),
        error => error,
    })?;
    let (place, image) = app.ok_or(RebaseError::NoApp)?;
    // What a registry says it has not is not used, even if it comes.
    let is_there = context.images.is_there(context.app).await;
    if !is_there.unwrap_or(false) {
        return Err(RebaseError::NoApp);
    }
    let run_image = run_image_name(context, &image, readable).await?;
    Ok(App {
        place,
        image,
        run_image,
    })
}

/// Opens the run image that `app` goes to.
///
/// # Errors
///
/// When it cannot be read, also after several tries.
pub async fn open_base(
    context: &RebaseContext<'_>,
    app: &App,
    log: &dyn Log,
) -> Result<Base, RebaseError> {
    let name = app.run_image.clone();
    let open = async || {
        let found = find(context, &name).await.map_err(|error| match error {
            RebaseError::Image(source) => RebaseError::RunImage(source),
            RebaseError::Place(source) => RebaseError::RunImageUnread(source),
            other => other,
        })?;
        let (place, image) = found.ok_or_else(|| RebaseError::NoRunImage { name: name.clone() })?;
        NoBase::check(&place, &image).map_err(RebaseError::RunImageLayers)?;
        Ok((place, image))
    };
    let may_pass = |error: &RebaseError| match error {
        RebaseError::NoRunImage { .. } | RebaseError::RunImageLayers(_) => {
            context.images.kind() == Kind::Registry
        }
        RebaseError::RunImage(error) => {
            context.images.kind() == Kind::Registry && is_unsettled(error)
        }
        _ => false,
    };
    let (place, image) = patiently(open, may_pass, log).await?;
    Ok(Base { place, image, name })
}

async fn find(
    context: &RebaseContext<'_>,
    name: &str,
) -> Result<Option<(Place, Image)>, RebaseError> {
    let place = context.images.open(name).await;
    let Some(place) = place.map_err(RebaseError::Place)? else {
        return Ok(None);
    };
    let image = place.image(&Platform::host(), context.limits).await;
    let image = image.map_err(RebaseError::Image)?;
    Ok(image.map(|image| (place, image)))
}

/// The run image that was asked for, else the nearest of those that the image names.
async fn run_image_name(
    context: &RebaseContext<'_>,
    app: &Image,
    readable: impl AsyncFn(&str) -> bool,
) -> Result<String, RebaseError> {
    let named = run_image(context.api, app).map_err(|error| match error {
        RebaseError::Label(error) => RebaseError::AppLabel(error),
        error => error,
    })?;
    if let Some(name) = context.run_image.filter(|it| !it.is_empty()) {
        return Ok(name.to_owned());
    }
    if named.images.image.is_empty() {
        return Err(RebaseError::NoRunImageMetadata);
    }
    let nearest = best_mirror(&named.images, context.app, readable).await;
    nearest.map_err(RebaseError::Mirrors)
}
