//! What a build is made of: the app's source, the run image, and the image that it replaces.

use std::sync::Arc;

use lifecycle_core::provenance::Source;
use oci::{Found, Image, Limits, MemoryStore, Platform, Store};

use super::borrowing::Borrowing;
use super::staging::{Named, Staging};
use super::{BuildProgress, Request, RunError, RunImage};
use crate::{base, source};

/// Copies the app, and says what was copied.
pub(super) fn take_source(request: &Request<'_>, staging: &Staging) -> Result<Source, RunError> {
    let app = request.app;
    let tree = source::copy_files(app, &staging.workspace(), request.files);
    let tree = tree.map_err(|source| RunError::Source {
        app: app.to_owned(),
        source,
    })?;
    Ok(Source {
        tree,
        git: source::git(app, request.git.path, request.git.home),
    })
}

/// Brings the run image into the staged layout; its layers stay where they are.
pub(super) async fn run_image(
    request: &Request<'_>,
    staging: &Staging,
    progress: &dyn BuildProgress,
) -> Result<Named, RunError> {
    let store: Arc<dyn Store> = Arc::new(staging.borrowing().clone());
    let RunImage::Found { name, shown, found } = request.run_image else {
        progress.begin("run image", "making the static base");
        let image = base::make(&*store, staging.root(), request.platform).await?;
        return Ok(Named {
            name: base::NAME.to_owned(),
            digest: image.digest,
            store,
        });
    };
    progress.begin("run image", shown);
    let (wanted, limits) = (request.platform, Limits::default());
    let failed = |source| RunError::RunImage {
        name: shown.clone(),
        source: Box::new(source),
    };
    let image = Image::read(&*found.store, &found.descriptor, wanted, &limits).await;
    let image = image.map_err(failed)?;
    let is_for = image.config().platform();
    if !is_for.os.is_empty() && !is_for.is_for(wanted) {
        return Err(RunError::OtherPlatform {
            name: shown.clone(),
            is_for: is_for.into(),
            host: wanted.clone().into(),
        });
    }
    let borrowed = staging.borrowing().borrow(&image, &found.store).await;
    borrowed.map_err(|error| failed(error.into()))?;
    Ok(Named {
        name: name.clone(),
        digest: image.descriptor().digest.clone(),
        store,
    })
}

/// The image that the new one replaces: its layers may be used again.
pub(super) async fn previous(found: &Found, wanted: &Platform) -> Result<Named, RunError> {
    let failed = |source| RunError::Previous {
        name: found.reference.to_string(),
        source: Box::new(source),
    };
    let limits = Limits::default();
    let image = Image::read(&*found.store, &found.descriptor, wanted, &limits).await;
    let image = image.map_err(failed)?;
    // Every phase reads it again.
    let read = Borrowing::new(Arc::new(MemoryStore::new()));
    let borrowed = read.borrow(&image, &found.store).await;
    borrowed.map_err(|error| failed(error.into()))?;
    Ok(Named {
        name: format!("previous:{}", found.reference.location),
        digest: image.descriptor().digest.clone(),
        store: Arc::new(read),
    })
}
