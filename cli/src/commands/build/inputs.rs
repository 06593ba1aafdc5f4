//! What a build is made of: the app's source, the run image, and the image that it replaces.

use std::ffi::OsString;
use std::sync::Arc;

use lifecycle_core::provenance::Source;
use oci::{Image, Limits, Location, MemoryStore, Platform, Reference, Store};
use platform::{base, source};

use super::borrowing::Borrowing;
use super::settings::Settings;
use super::staging::{Named, Staging};
use crate::commands::copy::tag;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::images::Images;
use crate::ui::Ui;

/// Copies the app, and says what was copied.
pub(super) fn take_source(
    settings: &Settings,
    staging: &Staging,
    environment: &Environment,
) -> Result<Source, CommandError> {
    let tree = source::copy(&settings.app, &staging.root().join("workspace"))
        .context(|| format!("failed to take the source in `{}`", settings.app.display()))?;
    let path = environment.variables.get(&OsString::from("PATH"));
    Ok(Source {
        tree,
        git: source::git(
            &settings.app,
            path.map(OsString::as_os_str),
            environment.home().as_deref(),
        ),
    })
}

/// Brings the run image into the staged layout; its layers stay where they are.
pub(super) async fn run_image(
    settings: &Settings,
    staging: &Staging,
    images: &Images<'_>,
    ui: &Ui,
) -> Result<Named, CommandError> {
    let store: Arc<dyn Store> = Arc::new(staging.store().clone());
    let offered = settings
        .builder
        .run
        .images
        .first()
        .map(|it| it.image.as_str());
    let name = settings
        .run_image
        .as_deref()
        .or(offered)
        .unwrap_or(base::NAME);
    if name == base::NAME {
        ui.begin("run image", "making the static base");
        let image = base::make(&*store, staging.root())
            .await
            .map_err(CommandError::undecided)?;
        return Ok(Named {
            name: base::NAME.to_owned(),
            digest: image.digest,
            store,
        });
    }
    ui.begin("run image", name.to_owned());
    let reference: Reference = name
        .parse()
        .context(|| format!("`{name}` is not a run image"))?;
    let found = images.find(&reference).await?;
    let (host, limits) = (Platform::host(), Limits::default());
    let failed = || format!("failed to fetch the run image `{name}`");
    let image = Image::read(&*found.store, &found.descriptor, &host, &limits).await;
    let image = image.context(failed)?;
    let is_for = image.config().platform();
    if !is_for.os.is_empty() && !is_for.is_for(&host) {
        return Err(Message(format!(
            "the run image `{name}` is for {is_for}, not for {host}"
        ))
        .into());
    }
    let borrowed = staging.store().borrow(&image, &found.store).await;
    borrowed.context(failed)?;
    Ok(Named {
        name: label(&reference),
        digest: image.descriptor().digest.clone(),
        store,
    })
}

/// What the image is to call its run image: a path of this machine says nothing elsewhere.
fn label(reference: &Reference) -> String {
    match &reference.location {
        Location::Registry(repository) => repository.to_string(),
        Location::DockerArchive {
            name: Some(name), ..
        } => name.to_string(),
        Location::Layout(path)
        | Location::LayoutArchive(path)
        | Location::DockerArchive { path, .. } => path
            .file_name()
            .map_or_else(|| "run".to_owned(), |it| it.to_string_lossy().into_owned()),
        Location::DockerDaemon(_) => reference.location.to_string(),
    }
}

/// The image that the new one replaces: its layers may be used again.
pub(super) async fn previous(
    settings: &Settings,
    images: &Images<'_>,
) -> Result<Option<Named>, CommandError> {
    let Some(destination) = settings
        .destinations
        .first()
        .filter(|_| settings.cache.is_some())
    else {
        return Ok(None);
    };
    let selector = oci::Selector::Tag(tag(destination)?);
    let Some(store) = images.existing(destination).await? else {
        return Ok(None);
    };
    let found = match store.resolve(&selector).await {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(crate::images::with_hint(error, destination)),
    };
    let failed = || format!("failed to read the image before, `{destination}`");
    let image = Image::read(&*store, &found, &Platform::host(), &Limits::default()).await;
    let image = image
        .context(failed)
        .map_err(|it| it.hint("`--no-cache` builds without it"))?;
    // Every phase reads it again.
    let read = Borrowing::new(Arc::new(MemoryStore::new()));
    read.borrow(&image, &store).await.context(failed)?;
    Ok(Some(Named {
        name: label_of_previous(destination),
        digest: image.descriptor().digest.clone(),
        store: Arc::new(read),
    }))
}

fn label_of_previous(destination: &Reference) -> String {
    format!("previous:{}", destination.location)
}
