//! What comes before an export: the images that are opened for it, in upstream's order.

use oci::Image;

use super::extended::{self, Extended};
use super::run_image::{self, patiently};
use super::{ExportContext, ExportError};
use crate::api::PlatformApi;
use crate::cache::DirectoryCache;
use crate::files::analyzed::LayersMetadata;
use crate::images::{DaemonImages, Kind, Place, digest_problem};
use crate::{Level, Log};

/// What an image is made of besides layers: opened, and told of.
#[derive(Debug)]
pub struct Opened {
    pub(super) run_image: Box<(Place, Image)>,
    /// The image whose layers can be reused, if there is one.
    pub(super) previous: Option<Box<(Place, Image)>>,
    pub(super) launch_cache: Option<DirectoryCache>,
    pub(super) extended: Option<Extended>,
    /// In seconds since 1970.
    pub(super) created: Option<i64>,
}

/// Opens the run image, and the image whose layers can be reused.
pub async fn open(context: &ExportContext<'_>, log: &dyn Log) -> Result<Opened, ExportError> {
    let kind = context.images.kind();
    let extended = extended::open(context)?;
    if extended.is_some() && kind == Kind::Registry {
        log.line(Level::Debug, "Using config from extensions...");
    }
    if kind == Kind::Layout {
        check_identifier("run", run_image::reference(context)?)?;
        if let Some(previous) = context.analyzed.previous_image() {
            check_identifier("previous", previous)?;
        }
    }
    tell_previous(context, log)?;
    let created = source_date_epoch(context.api, context.source_date_epoch, log);
    if kind == Kind::Layout {
        for name in context.names {
            let shown = context.images.shown(name).map_err(ExportError::Place)?;
            log.line(Level::Info, &format!("Using app image: {shown}"));
        }
    }
    let reference = run_image::reference(context)?;
    let opening = async || {
        let previous = previous_image(context).await?;
        Ok((previous, run_image::open(context, reference).await?))
    };
    let may_pass = |error: &ExportError| run_image::may_pass(context, reference, error);
    let (previous, run_image) = patiently(opening, may_pass, log).await?;
    let launch_cache = launch_cache(context, log)?;
    Ok(Opened {
        run_image: Box::new(run_image),
        previous: previous.map(Box::new),
        launch_cache,
        extended,
        created,
    })
}

/// In a layout an image is known by path and digest, the latter for the form only.
fn check_identifier(of: &'static str, identifier: &str) -> Result<(), ExportError> {
    let problem = match identifier.split_once('@') {
        Some((_, digest)) if !digest.contains('@') => digest_problem(digest),
        _ => Some(format!(
            "identifier {identifier} does not have the format '[path]@[digest]'"
        )),
    };
    problem.map_or(Ok(()), |problem| {
        Err(ExportError::Identifier { of, problem })
    })
}

/// Says which image's layers can be reused.
fn tell_previous(context: &ExportContext<'_>, log: &dyn Log) -> Result<(), ExportError> {
    let Some(reference) = context.analyzed.previous_image() else {
        return Ok(());
    };
    if context.images.kind() == Kind::Registry {
        let text = format!("Reusing layers from image '{reference}'");
        log.line(Level::Info, &text);
        return Ok(());
    }
    let shown = context.images.shown(reference);
    let shown = shown.map_err(ExportError::Place)?;
    if context.images.kind() == Kind::Daemon {
        let text = format!("Reusing layers from image with id '{shown}'");
        log.line(Level::Debug, &text);
    } else {
        log.line(Level::Info, &format!("Reusing layers from image '{shown}'"));
    }
    Ok(())
}

/// The image whose layers can be reused, if there is one.
async fn previous_image(
    context: &ExportContext<'_>,
) -> Result<Option<(Place, Image)>, ExportError> {
    let Some(reference) = context.analyzed.previous_image() else {
        return Ok(None);
    };
    let place = context.images.open(reference).await;
    let Some(place) = place.map_err(ExportError::Place)? else {
        return Ok(None);
    };
    let platform = oci::Platform::host();
    let image = place.image(&platform, context.limits).await;
    let image = match image {
        // Nothing is said of its layers, so nobody wants to know more of it.
        Err(error)
            if error.is_of_config() && context.analyzed.metadata == LayersMetadata::default() =>
        {
            None
        }
        image => image.map_err(ExportError::PreviousImage)?,
    };
    Ok(image.map(|image| (place, image)))
}

/// When an image is said to be made, in seconds since 1970, from Platform API 0.9 on: what
/// `SOURCE_DATE_EPOCH` says.
pub fn source_date_epoch(api: PlatformApi, text: Option<&str>, log: &dyn Log) -> Option<i64> {
    let text = text.filter(|it| api.has_source_date_epoch() && !it.is_empty())?;
    let seconds = text.parse().ok();
    if seconds.is_none() {
        log.line(Level::Warn, "Ignoring invalid SOURCE_DATE_EPOCH");
    }
    // Go's time that is none: upstream takes it for a variable that is not set.
    seconds.filter(|it| *it != YEAR_ONE)
}

/// The beginning of the first year, in seconds since 1970.
const YEAR_ONE: i64 = -62_135_596_800;

/// Where layers are kept besides the daemon, if the image goes to one and they are to be kept.
fn launch_cache(
    context: &ExportContext<'_>,
    log: &dyn Log,
) -> Result<Option<DirectoryCache>, ExportError> {
    let folder = context.images.daemon().and_then(DaemonImages::launch_cache);
    folder
        .map(|it| DirectoryCache::open(it, log))
        .transpose()
        .map_err(ExportError::LaunchCache)
}
